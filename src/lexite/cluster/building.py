"""An index from encoded shards: without a model, and without torch."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexite.cluster.place import Place, place_of, read_bytes, read_record, sha256_of
from lexite.cluster.settings import TermsSettings, read_settings, untouched_static
from lexite.cluster.shards import ShardFiles, missing_shards
from lexite.cluster.table import PURPOSE, decoded, whole_documents
from lexite.corpus.sharding import Shard
from lexite.errors import StorageError
from lexite.index.fields import arrow
from lexite.progress import progress
from lexite.scoring.config import BM25Config
from lexite.search.indexing import Intake

if TYPE_CHECKING:
    from lexite.terms.static import StaticTable

ROWS_AT_ONCE = 4096
NAMED = 12  # missing shards that a message lists


@dataclass(frozen=True)
class BuiltFromTerms:
    """What an index was built from.

    Attributes:
        documents: documents in it.
        shards: how many shards they came from.
        without_terms: documents that have no term at all.
        mostly_unknown: documents that are mostly of word pieces that the vocabulary cannot read.
        precision: in which the model ran that encoded them.
    """

    documents: int
    shards: int
    without_terms: int
    mostly_unknown: int
    precision: str


def index_from_terms(
    terms: str | Path,
    path: str | Path,
    *,
    scoring: BM25Config | None = None,
    store_text: bool = True,
    store_fields: bool | None = None,
    static: bool = True,
    overwrite: bool = False,
    show_progress: bool = False,
) -> BuiltFromTerms:
    """Builds an index from all shards of a folder: the one that a build of the documents themselves would give.

    Args:
        terms: the folder of :func:`lexite.cluster.encode_shard`.
        path: folder of the index.
        scoring: how searches score unless told otherwise; None takes the vocabulary's.
        store_text: whether titles and texts are kept, where the shards have them.
        store_fields: whether fields are kept, where the shards have them; None keeps them.
        static: whether the index gets a static table, where the shards have counts for one.
        overwrite: whether an index that is there may be replaced.
        show_progress: whether progress is shown on stderr.

    Raises:
        StorageError: shards are missing or damaged, or the index cannot be written.
        CorpusError: an id is in two shards, or a field has another type in one of them.
        MissingExtraError: pyarrow is not installed.
    """
    arrow(PURPOSE)
    place = place_of(terms)
    settings = read_settings(place)
    missing = missing_shards(place, settings.n_shards)
    if missing:
        raise StorageError(_missing(place, missing, settings.n_shards))
    table = counted_table(place, settings) if static and settings.static else None
    intake = Intake.into_new(
        path,
        settings.vocabulary,
        scoring or settings.scoring,
        overwrite=overwrite,
        store_text=store_text and settings.store_text,
        store_fields=store_fields is not False and settings.store_fields,
        literal=settings.literal,
        passages=settings.passages,
        field_weights=settings.field_weights,
    )
    with intake, progress("Indexing", settings.n_shards, "shards", show_progress) as bar:
        built = [_take(intake, place, settings, Shard(number, settings.n_shards), bar) for number in range(settings.n_shards)]
        intake.commit(table)
    documents, without, unknown = (sum(counts) for counts in zip(*built, strict=True))
    return BuiltFromTerms(documents, settings.n_shards, without, unknown, settings.precision)


def counted_table(place: Place, settings: TermsSettings) -> StaticTable:
    """The static table of all documents: the vocabulary's, moved to what all shards counted.

    Raises:
        StorageError, ModelError: a file is missing or damaged.
    """
    from lexite.terms.static_counts import StaticCounter

    table = untouched_static(place)
    counter = StaticCounter(table.n_pieces, table.n_latents)
    for number in range(settings.n_shards):
        names = ShardFiles.of(Shard(number, settings.n_shards))
        if sha256_of(place, names.static) != read_record(place, names.record)["static_sha256"]:
            raise _damaged(place, names.static)
        counter.merge(StaticCounter.from_bytes(read_bytes(place, names.static), table.n_latents, f"{place}/{names.static}"))
    return counter.moved(table)


def _take(intake: Intake, place: Place, settings: TermsSettings, shard: Shard, bar: Any) -> tuple[int, int, int]:
    """Takes one shard; gives its documents, those without a term, and those that cannot be read."""
    names = ShardFiles.of(shard)
    record = read_record(place, names.record)
    where, n_latents = f"{place}/{names.terms}", settings.vocabulary.n_terms
    if sha256_of(place, names.terms) != record["sha256"]:
        raise _damaged(place, names.terms)
    taken = 0
    for batch in whole_documents(read_batches(place, names.terms)):
        some = decoded(batch, n_latents, record["field_types"], where)
        intake.put(some.documents, some.rows, some.cut, words=some.words)
        taken += len(some.documents)
    if taken != record["documents"]:
        raise _damaged(place, names.terms)
    bar.advance(1)
    return taken, record["unread"]["without_terms"], record["unread"]["mostly_unknown"]


def read_batches(place: Place, name: str) -> Iterator[Any]:
    """The record batches of a file of terms, some thousand rows at a time.

    Raises:
        StorageError: it is damaged.
    """
    pa, parquet = arrow(PURPOSE), importlib.import_module("pyarrow.parquet")
    with place.open(name) as file:
        try:
            yield from parquet.ParquetFile(pa.PythonFile(file, mode="r")).iter_batches(batch_size=ROWS_AT_ONCE)
        except (pa.ArrowException, OSError) as error:
            raise StorageError(f"{place}/{name} is damaged: {str(error).splitlines()[0]}. Encode the shard again.") from error


def _damaged(place: Place, name: str) -> StorageError:
    advice = "it was damaged, or is being written. Remove it and encode the shard again."
    return StorageError(f"{place}/{name} is not what its record says: {advice}")


def _missing(place: Place, missing: list[int], count: int) -> str:
    named = ", ".join(map(str, missing[:NAMED])) + (" …" if len(missing) > NAMED else "")
    which = f"shard {named} of {count} is" if len(missing) == 1 else f"{len(missing)} of {count} shards are"
    which += " missing" if len(missing) == 1 else f" missing: {named}"
    return f"{place}: {which}. Encode with --shard N/{count} for each of them."
