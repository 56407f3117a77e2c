"""Documents on their way into an engine: checked before anything is sent, sent in batches of bytes, and reported one by one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lexite.engines.documents import EngineDocument, engine_documents, passage_id
from lexite.engines.driver import Driver, Refused
from lexite.engines.forms.base import Collection, Limits
from lexite.engines.record import CollectionRecord
from lexite.engines.statistics import Statistics
from lexite.errors import ConfigError, CorpusError
from lexite.files import json_checksum
from lexite.wording import counted

if TYPE_CHECKING:
    from lexite.index import BM25Index

logger = logging.getLogger(__name__)
BATCH_BYTES = 5_000_000
RECORD_SECONDS = 10.0
"""Seconds between two marks of how far a load has come."""
_SHOWN = 3  # documents of a message
_ID_SHOWN = 40  # characters


@dataclass(frozen=True)
class LoadSettings:
    """How documents are sent.

    Attributes:
        batch_bytes: bytes of a request, about.
        bytes_per_second: the most that is sent in the mean; None: as fast as the engine takes them.
        skip_bad: whether documents that the engine cannot hold are left out; else they are an error.
    """

    batch_bytes: int = BATCH_BYTES
    bytes_per_second: float | None = None
    skip_bad: bool = False

    def check(self) -> None:
        """Refuses settings that cannot work; raises :class:`ConfigError`."""
        if not 1 <= self.batch_bytes <= 90_000_000:
            raise ConfigError(f"batch_bytes is {self.batch_bytes:,}, but must be from 1 to 90,000,000.")
        if self.bytes_per_second is not None and not self.bytes_per_second > 0:
            raise ConfigError(f"bytes_per_second is {self.bytes_per_second}, but must be above 0.")


@dataclass(frozen=True)
class Loaded:
    """What came of sending documents.

    Attributes:
        n_documents: documents that the engine took.
        n_passages: their passages.
        n_bytes: bytes that were sent.
        resumed: documents that had come before, by a load that was stopped.
        refused: documents that the engine did not take, each with the reason.
        drift: how far the mean length has moved from the one that is baked in, as a share; None where that is not known.
    """

    n_documents: int
    n_passages: int
    n_bytes: int
    resumed: int = 0
    refused: tuple[Refused, ...] = ()
    drift: float | None = None


class Throttle:
    """Waits so that no more than some bytes a second are sent.

    Args:
        bytes_per_second: the most; None: no limit.
        clock: seconds.
        sleep: waits.
    """

    def __init__(
        self,
        bytes_per_second: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate, self._clock, self._sleep = bytes_per_second, clock, sleep
        self._began, self._sent = clock(), 0

    def sent(self, n_bytes: int) -> None:
        """Counts bytes, and waits until they may have been sent."""
        self._sent += n_bytes
        if self._rate is not None:
            early = self._sent / self._rate - (self._clock() - self._began)
            if early > 0:
                self._sleep(early)


@dataclass(frozen=True)
class Batch:
    """What a request sent.

    Attributes:
        next_document: number of the document behind it; -1 behind the last.
        n_documents: in it.
        n_passages: in it.
        n_bytes: of it.
        refused: by the engine.
    """

    next_document: int
    n_documents: int
    n_passages: int
    n_bytes: int
    refused: tuple[Refused, ...]


def send(
    driver: Driver, collection: Collection, documents: Iterable[list[EngineDocument]], settings: LoadSettings
) -> Iterator[Batch]:
    """Sends documents in batches.

    Args:
        driver: of the collection.
        collection: how they are written.
        documents: the passages of each document together.
        settings: how large batches are, and how fast.
    """
    throttle = Throttle(settings.bytes_per_second)
    for together, behind in _batches(documents, settings.batch_bytes):
        passages = [each for own in together for each in own]
        written = driver.write(passages, collection)
        refused = _whole_documents(driver, passages, written.refused)
        gone = {each.id for each in refused}
        taken = [own for own in together if own[0].document not in gone]
        yield Batch(behind, len(taken), sum(map(len, taken)), written.n_bytes, refused)
        throttle.sent(written.n_bytes)


def _batches(documents: Iterable[list[EngineDocument]], most: int) -> Iterator[tuple[list[list[EngineDocument]], int]]:
    """Documents of about ``most`` bytes, and the number of the document behind them."""
    together: list[list[EngineDocument]] = []
    n_bytes = 0
    for own in documents:
        size = sum(200 + 14 * len(each.terms) + 2 * len(each.text) + len(each.title) for each in own)
        if together and n_bytes + size > most:
            yield together, own[0].number
            together, n_bytes = [], 0
        together.append(own)
        n_bytes += size
    if together:
        yield together, -1


def _whole_documents(driver: Driver, passages: Sequence[EngineDocument], refused: Sequence[Refused]) -> tuple[Refused, ...]:
    """The documents of refused passages; their other passages are taken out again, so that none is there in part."""
    owners = {each.id: each.document for each in passages}
    reasons: dict[str, str] = {}
    for each in refused:
        reasons.setdefault(owners[each.id], each.reason)
    in_part = [document for document in reasons if sum(owner == document for owner in owners.values()) > 1]
    if in_part:
        driver.settle()
        driver.delete(in_part)
    return tuple(Refused(document, reason) for document, reason in reasons.items())


def cannot_be_held(form: Limits, passages: Iterable[tuple[str, int, int]]) -> Iterator[Refused]:
    """The documents that an engine cannot hold.

    Args:
        form: of the engine.
        passages: document, ordinal and number of terms of each passage.
    """
    most = form.most_terms_of_document
    for document, ordinal, n_terms in passages:
        problem = form.id_problem(passage_id(document, ordinal))
        if problem is None and most is not None and n_terms > most:
            problem = f"it has {counted(n_terms, 'term')}, and {most:,} are the most"
        if problem is not None:
            yield Refused(document, problem)


def refuse(engine: str, refused: Sequence[Refused], what: str) -> None:
    """Raises CorpusError that names documents which an engine does not take, if there are any.

    Args:
        engine: its name.
        refused: the documents.
        what: what became of the others, as a sentence.
    """
    if not refused:
        return
    named = "; ".join(f"'{_short(each.id)}': {each.reason}" for each in refused[:_SHOWN])
    more = f"; and {len(refused) - _SHOWN:,} more" if len(refused) > _SHOWN else ""
    raise CorpusError(
        f"Documents that {engine} does not take: {named}{more}. {what} Give them other ids or contents, or leave them out "
        "with skip_bad=True."
    )


def source_of(index: BM25Index, record: CollectionRecord, statistics: Statistics) -> str:
    """Says of which state of an index a load is, and how it is written. Two loads of the same source write the same."""
    value: Mapping[str, Any] = {
        "statistics": statistics.to_json(),
        "generation": index.generation,
        "n_documents": index.n_documents,
        "route": record.route.name,
        "scale": record.route.scale,
        "text": record.text,
        "keep_terms": record.keep_terms,
        "fields": dict(record.fields),
    }
    return json_checksum(value)


def unholdable(index: BM25Index, form: Limits) -> list[Refused]:
    """The documents of an index that an engine cannot hold, each once; nothing is sent for it."""
    found: dict[str, Refused] = {}
    derived: list[tuple[str, str]] = []
    for chunk in index.iterate_passages():
        sizes = (chunk.rows.indptr[1:] - chunk.rows.indptr[:-1]).tolist()
        own = [index.document_id(number) for number in chunk.documents.tolist()]
        for each in cannot_be_held(form, zip(own, chunk.ordinals.tolist(), sizes, strict=True)):
            found.setdefault(each.id, each)
        derived += [(passage_id(a, o), a) for a, o in zip(own, chunk.ordinals.tolist(), strict=True) if o]
    taken = index.ids.find([name for name, _ in derived]) if derived else ()
    for (_, document), number in zip(derived, taken, strict=True):
        if number >= 0:
            reason = "one of its passages would be called like another document"
            found.setdefault(document, Refused(document, reason))
    return list(found.values())


def documents_to_send(
    index: BM25Index, record: CollectionRecord, statistics: Statistics, first_document: int, left_out: frozenset[str]
) -> Iterator[list[EngineDocument]]:
    """The documents of an index as its engine gets them, but for those that are left out."""
    groups = engine_documents(
        index,
        record.route,
        statistics,
        first_document=first_document,
        text=record.text and index.stores_text,
        fields=bool(record.fields),
    )
    return (own for own in groups if own[0].document not in left_out)


def _short(identifier: str) -> str:
    shown = identifier.encode("utf-8", "backslashreplace").decode()
    return shown if len(shown) <= _ID_SHOWN else f"{shown[:_ID_SHOWN]}…"
