"""The documents of an index as engines hold them: one for each passage, with names of terms and values of a route.

A document of lexite scores what its best passage scores. An engine does the same when each passage is a document of its own
there, and hits of the same document are collapsed. Passages that are joined into one document would score for terms that stand
apart, so they are not joined.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexite.engines.routes import Route, stored_values
from lexite.engines.statistics import Statistics
from lexite.engines.term_names import TermNames

if TYPE_CHECKING:
    from lexite.corpus.records import FieldValue
    from lexite.index import BM25Index


@dataclass(frozen=True, slots=True)
class EngineDocument:
    """A passage as an engine holds it.

    Attributes:
        id: its own id: that of the document for the first passage, ``DOCUMENT#2`` for the one after the next.
        document: id of its document, by which hits are collapsed.
        number: number of its document in the index.
        terms: (n,) int32, ascending.
        values: (n,) what the route holds.
        title: of the document; empty where it does not go along.
        text: of the passage; likewise.
        fields: of the document; likewise.
        ordinal: which passage of its document it is, from 0.
        length: the sum of its transformed weights.
        span: where the passage begins and ends in the text of its document, in characters; None where it is all of it.
    """

    id: str
    document: str
    number: int
    terms: NDArray[np.int32]
    values: NDArray[Any]
    title: str = ""
    text: str = ""
    fields: Mapping[str, FieldValue] = field(default_factory=dict)
    ordinal: int = 0
    length: float = 0.0
    span: tuple[int, int] | None = None


def passage_id(document: str, ordinal: int) -> str:
    """The id of a passage.

    >>> passage_id("d1", 0), passage_id("d1", 2)
    ('d1', 'd1#2')
    """
    return f"{document}#{ordinal}" if ordinal else document


def passage_ids(index: BM25Index) -> Iterator[tuple[str, int]]:
    """The ids of all passages, in order, each with the number of its document."""
    for chunk in index.iterate_passages():
        for number, ordinal in zip(chunk.documents.tolist(), chunk.ordinals.tolist(), strict=True):
            yield passage_id(index.document_id(number), ordinal), number


def engine_documents(
    index: BM25Index,
    route: Route,
    statistics: Statistics,
    *,
    first_document: int = 0,
    text: bool = False,
    fields: bool = False,
) -> Iterator[list[EngineDocument]]:
    """The passages of an index from a document on, those of each document together, in bounded memory.

    Args:
        index: the index.
        route: what they hold.
        statistics: the mean length and the scoring that are baked in.
        first_document: number of the first document.
        text: whether titles and texts go along.
        fields: whether fields do.
    """
    scoring = statistics.scoring
    for chunk in index.iterate_passages(scoring.document_transform, first_document=first_document):
        rows = chunk.rows
        bounds = rows.indptr.astype(np.int64)
        values = stored_values(route, rows.data, bounds, chunk.lengths, statistics.average_length, scoring)
        together: list[EngineDocument] = []
        for place, (number, ordinal) in enumerate(zip(chunk.documents.tolist(), chunk.ordinals.tolist(), strict=True)):
            if not ordinal:
                if together:
                    yield together
                together = []
                stored = index.stored(number) if text or fields else None
                identifier = stored.id if stored else index.document_id(number)
            part = slice(int(bounds[place]), int(bounds[place + 1]))
            begin, end = chunk.spans[place].tolist()
            own_text = ""
            if stored is not None and text:
                own_text = stored.text if begin < 0 else stored.text[begin:end]
            together.append(
                EngineDocument(
                    passage_id(identifier, ordinal),
                    identifier,
                    number,
                    rows.indices[part],
                    values[part],
                    stored.title if stored is not None and text else "",
                    own_text,
                    stored.fields if stored is not None and fields else {},
                    ordinal,
                    float(chunk.lengths[place]),
                    None if begin < 0 else (begin, end),
                )
            )
        if together:
            yield together


def term_names(index: BM25Index) -> TermNames:
    """The names of an index's terms."""
    return TermNames(index.n_latents, index.word)
