"""The two ways of documents into a live engine: an index as a whole, and documents one has."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from lexite.config import differing
from lexite.engines.documents import EngineDocument, engine_documents
from lexite.engines.driver import Driver, Refused
from lexite.engines.forms.base import Collection, refuse_fields
from lexite.engines.loading import (
    RECORD_SECONDS,
    Loaded,
    LoadSettings,
    cannot_be_held,
    documents_to_send,
    refuse,
    send,
    source_of,
    unholdable,
)
from lexite.engines.record import CollectionRecord, made_by_lexite
from lexite.engines.routes import check_route
from lexite.engines.statistics import Statistics, statistics_of
from lexite.errors import CorpusError, EngineError
from lexite.index import BM25Index
from lexite.index.field_types import FieldType, joined_schema
from lexite.progress import progress
from lexite.scoring.config import BM25Config
from lexite.scoring.rows import SparseRows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lexite.index.config import DocumentLike


class Target(Protocol):
    """What documents go into: a :class:`lexite.engines.live.LiveEngine`, whose methods these are."""

    driver: Driver
    takes_fields: bool

    @property
    def record(self) -> CollectionRecord:
        """How its documents were made."""
        ...

    @property
    def drift(self) -> float | None:
        """How far the mean length has moved."""
        ...

    def exists(self) -> bool:
        """Whether it is there."""
        ...

    def make(self, record: CollectionRecord) -> None:
        """Makes it."""
        ...

    def drop(self) -> None:
        """Removes it."""
        ...

    def keep_record(self, record: CollectionRecord) -> None:
        """Writes a new record."""
        ...

    def new_record(self, index: BM25Index, scoring: BM25Config) -> CollectionRecord:
        """The record that an index would have."""
        ...

    def forget_counts(self) -> None:
        """Asks for counts anew."""
        ...

    def delete(self, ids: Iterable[str]) -> int:
        """Deletes documents."""
        ...

    def warn_of_drift(self) -> float | None:
        """Warns where the mean length has moved too far."""
        ...


def load_index(
    engine: Target,
    index: BM25Index,
    scoring: BM25Config,
    *,
    overwrite: bool,
    settings: LoadSettings,
    show: bool,
) -> Loaded:
    """Makes a collection that holds an index; arguments and errors as for ``LiveEngine.load``."""
    settings.check()
    driver = engine.driver
    bad = unholdable(index, driver.form)
    if not settings.skip_bad:
        refuse(driver.engine, bad, "Nothing was sent.")
    statistics = statistics_of(index, scoring)
    first = _begun(engine, index, scoring, overwrite)
    record = engine.record
    left_out = frozenset(each.id for each in bad)
    collection = record.collection(driver.name, index.word, index.n_terms)
    refused = list(bad)
    n_documents = n_passages = n_bytes = 0
    numbers = index.select()
    before = int((numbers < first).sum())
    with progress("Loading", index.n_documents, "documents", show) as bar:
        bar.go_on_from(before)
        marked = time.monotonic()
        for batch in send(driver, collection, documents_to_send(index, record, statistics, first, left_out), settings):
            refused += batch.refused
            n_documents, n_passages = n_documents + batch.n_documents, n_passages + batch.n_passages
            n_bytes += batch.n_bytes
            bar.advance(batch.n_documents)
            if batch.next_document >= 0 and time.monotonic() - marked > RECORD_SECONDS:
                driver.settle()
                loading = {"source": (record.loading or {}).get("source"), "next_document": batch.next_document}
                engine.keep_record(dataclasses.replace(record, loading=loading))
                marked = time.monotonic()
    if not driver.capabilities.live_statistics:
        counted = _frequencies_without(index, statistics, frozenset(each.id for each in refused))
        driver.keep_frequencies(_by_name(collection, counted), anew=True)
    driver.settle()
    behind = int(numbers.max(initial=-1)) + 1
    engine.keep_record(dataclasses.replace(record, loading=None, next_number=behind))
    engine.forget_counts()
    if not settings.skip_bad:
        refuse(driver.engine, refused, "The others are there.")
    return Loaded(n_documents, n_passages, n_bytes, before, tuple(refused), engine.drift)


def _frequencies_without(index: BM25Index, statistics: Statistics, gone: frozenset[str]) -> NDArray[np.int64]:
    """In how many passages each term occurs, but for those of documents that an engine did not take."""
    counted = statistics.document_frequency.astype(np.int64)
    for chunk in index.iterate_passages() if gone else ():
        for place, number in enumerate(chunk.documents.tolist()):
            if index.document_id(number) in gone:
                counted[chunk.rows.indices[chunk.rows.indptr[place] : chunk.rows.indptr[place + 1]]] -= 1
    return counted


def _by_name(collection: Collection, counted: NDArray[np.int64]) -> dict[str, int]:
    """Frequencies above 0 by the names of terms."""
    terms = np.flatnonzero(counted)
    return dict(zip(collection.names.of(terms.tolist()), counted[terms].tolist(), strict=True))


def _begun(engine: Target, index: BM25Index, scoring: BM25Config, overwrite: bool) -> int:
    """Makes the collection, or finds the one of a load that was stopped; the number of the document to go on with."""
    wanted = engine.new_record(index, scoring)
    source = source_of(index, wanted, statistics_of(index, scoring))
    if engine.exists():
        _check_own(engine)
        if not overwrite:
            found = engine.record.loading or {} if made_by_lexite(engine.driver.read_record()) else {}
            if found.get("source") == source:
                return int(found["next_document"])
            what = f"an unfinished load of something else{_otherwise(engine.record, wanted)}" if found else "a collection"
            raise EngineError(f"There is {what} at {engine.driver.address} already. Replace it with overwrite=True.")
        check_makeable(engine.driver, wanted)
        engine.drop()
    engine.make(dataclasses.replace(wanted, loading={"source": source, "next_document": 0}))
    return 0


def _otherwise(found: CollectionRecord, wanted: CollectionRecord) -> str:
    """How a load was to be made otherwise, in brackets; empty where it is of another state of the index."""
    kept = ("scoring", "route", "scale", "text", "keep_terms")
    there, here = ({key: record[key] for key in kept} for record in (found.to_json(), wanted.to_json()))
    other = differing(there, here, ", not ")
    return f" ({other})" if other else ""


def check_makeable(driver: Driver, record: CollectionRecord) -> None:
    """Refuses a collection that the engine cannot hold, before anything is made or removed.

    Raises:
        ConfigError: the route cannot express the scoring.
        CorpusError: the engine cannot hold a field.
    """
    check_route(record.route, record.scoring)
    refuse_fields(driver.form, driver.engine, record.collection(driver.name, str))


def _check_own(engine: Target) -> None:
    """Refuses to replace what lexite did not make, unless it is empty.

    Raises:
        EngineError: it is something else.
    """
    driver = engine.driver
    if made_by_lexite(driver.read_record()):
        return
    try:
        empty = not driver.counts().n_passages
    except EngineError:  # it has no such fields
        empty = False
    if not empty:
        raise EngineError(
            f"What is at {driver.address} was not made by lexite, so it is not replaced. Choose another name, or delete it by "
            f"the means of {driver.engine}."
        )


def add_documents(
    engine: Target, documents: Sequence[DocumentLike], rows: SparseRows, *, replace: bool, settings: LoadSettings
) -> Loaded:
    """Adds documents to a collection; arguments and errors as for ``LiveEngine.add``."""
    settings.check()
    driver, record = engine.driver, engine.record
    if len(documents) != rows.shape[0]:
        raise CorpusError(f"There are {len(documents)} documents, but {rows.shape[0]} rows of weights.")
    if rows.shape[1] != record.vocabulary.n_terms:
        raise CorpusError(
            f"The rows have {rows.shape[1]:,} latents, but the vocabulary of {driver.address} has "
            f"{record.vocabulary.n_terms:,}. Nothing was sent."
        )
    sizes = (rows.indptr[1:] - rows.indptr[:-1]).tolist()
    listed = [(each.id, 0, size) for each, size in zip(documents, sizes, strict=True)]
    bad = {each.id: each for each in cannot_be_held(driver.form, listed)}
    if not settings.skip_bad:
        refuse(driver.engine, list(bad.values()), "Nothing was sent.")
    kept = [place for place, each in enumerate(documents) if each.id not in bad]
    own = [documents[place] for place in kept]
    if not own:
        return Loaded(0, 0, 0, 0, tuple(bad.values()), engine.drift)
    _check_ids(engine, [each.id for each in own], replace)
    record = _with_fields(engine, record, own)
    made, batch = _as_engine_documents(record, own, rows, kept)
    if not record.average_length:
        record = dataclasses.replace(record, average_length=batch.average_length(record.scoring.document_transform))
        made, batch = _as_engine_documents(record, own, rows, kept)
    engine.keep_record(dataclasses.replace(record, next_number=record.next_number + len(own)))
    if replace:
        engine.delete([each.id for each in own])
    collection = record.collection(driver.name, batch.word, batch.n_terms)
    refused: list[Refused] = list(bad.values())
    n_documents = n_bytes = 0
    for sent in send(driver, collection, ([each] for each in made), settings):
        refused += sent.refused
        n_documents, n_bytes = n_documents + sent.n_documents, n_bytes + sent.n_bytes
    if not driver.capabilities.live_statistics:
        counted = _frequencies_without(batch, statistics_of(batch), frozenset(each.id for each in refused))
        driver.keep_frequencies(_by_name(collection, counted), anew=False)
    driver.settle()
    engine.forget_counts()
    if not settings.skip_bad:
        refuse(driver.engine, refused, "The others are there.")
    return Loaded(n_documents, n_documents, n_bytes, 0, tuple(refused), engine.warn_of_drift())


def _check_ids(engine: Target, ids: Sequence[str], replace: bool) -> None:
    twice = next((each for place, each in enumerate(ids) if each in ids[:place]), None) if len(set(ids)) < len(ids) else None
    if twice is not None:
        raise CorpusError(f"The id '{twice}' occurs twice among the documents. Nothing was sent.")
    there = set() if replace else engine.driver.present(ids)
    if there:
        raise CorpusError(
            f"{engine.driver.address} has a document '{sorted(there)[0]}' already. Nothing was sent. Replace documents with "
            "replace=True."
        )


def _with_fields(engine: Target, record: CollectionRecord, documents: Sequence[DocumentLike]) -> CollectionRecord:
    """The record with the fields that documents bring; the engine is told of new ones."""
    if not engine.takes_fields:
        return record
    types: Mapping[str, FieldType] = record.fields
    for each in documents:
        types = joined_schema(types, each.fields, each.id)
    changed = next((name for name, kind in record.fields.items() if types[name] != kind), None)
    if changed is not None:
        raise CorpusError(
            f"The field '{changed}' holds {record.fields[changed]} values in the engine, and new documents bring "
            f"{types[changed]} ones. Nothing was sent. Load the documents anew, or change the values."
        )
    new = {name: kind for name, kind in types.items() if name not in record.fields}
    if not new:
        return record
    wider = dataclasses.replace(record, fields=dict(types))
    refuse_fields(engine.driver.form, engine.driver.engine, wider.collection(engine.driver.name, str))
    engine.driver.add_fields(new)
    return wider


def _as_engine_documents(
    record: CollectionRecord, documents: Sequence[DocumentLike], rows: SparseRows, kept: Sequence[int]
) -> tuple[list[EngineDocument], BM25Index]:
    """Documents in the numbers of a route, and the small index that counted their words."""
    from scipy.sparse import csr_array

    shape = (rows.shape[0], rows.shape[1])
    matrix = csr_array((rows.data, rows.indices, rows.indptr), shape=shape)[list(kept)]
    texts = None
    if record.literal is not None:
        texts = [f"{each.title} {each.text}".strip() if each.title else each.text for each in documents]
    ids = [each.id for each in documents]
    index = BM25Index.in_memory(matrix, ids, record.scoring, record.vocabulary, texts=texts, literal=record.literal)
    statistics = statistics_of(index)
    if record.average_length:
        statistics = dataclasses.replace(statistics, average_length=record.average_length)
    made = []
    groups = engine_documents(index, record.route, statistics)
    for place, ((each,), given) in enumerate(zip(groups, documents, strict=True)):
        title, text = (given.title, given.text) if record.text else ("", "")
        fields = {name: given.fields[name] for name in record.fields if given.fields.get(name) is not None}
        number = record.next_number + place
        made.append(dataclasses.replace(each, number=number, title=title, text=text, fields=fields))
    return made, index
