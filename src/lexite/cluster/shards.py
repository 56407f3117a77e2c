"""One shard of sources, encoded: a file of terms, the counts for a static table, and a record that says it is whole."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexite.backbone.base import TEXTS_PER_CHUNK
from lexite.cluster.place import Hashing, Place, place_of, read_record, sha256_of, write_record
from lexite.cluster.settings import TermsSettings, agree_on_settings
from lexite.cluster.table import PURPOSE, encode_documents, schema
from lexite.corpus.documents import read_parts
from lexite.corpus.files import FileEntry, list_files
from lexite.corpus.options import BadFile, ReadOptions, ReadReport
from lexite.corpus.sharding import Shard, digest_of_parts, parts_of_shard
from lexite.errors import StorageError
from lexite.files import json_checksum
from lexite.index.field_types import FieldType, joined_schema
from lexite.index.fields import arrow
from lexite.kernels.threads import same_cut_everywhere
from lexite.progress import progress
from lexite.search.indexing import chunks
from lexite.search.unread import UnreadDocuments

if TYPE_CHECKING:
    from lexite.corpus import Document
    from lexite.corpus.passages import PassageConfig
    from lexite.corpus.text_fields import FieldWeights
    from lexite.scoring.words import LiteralConfig
    from lexite.terms import LatentTermEncoder
    from lexite.terms.static_counts import StaticCounter

ROWS_PER_GROUP = 4096  # passages that wait in memory before they are written


@dataclass(frozen=True)
class ShardFiles:
    """Names of the files of a shard.

    >>> ShardFiles.of(Shard(3, 64)).terms
    'terms-00003-of-00064.parquet'
    """

    terms: str
    static: str
    record: str

    @classmethod
    def of(cls, shard: Shard) -> ShardFiles:
        """The names for a shard."""
        name = f"{shard.number:05d}-of-{shard.count:05d}"
        return cls(f"terms-{name}.parquet", f"static-{name}.safetensors", f"shard-{name}.json")


@dataclass(frozen=True)
class ShardReport:
    """What became of a shard.

    Attributes:
        shard: which one.
        skipped: whether it was there already, made of the same bytes with the same settings.
        documents: documents in it.
        passages: their passages.
        postings: latent terms of all passages.
        bytes: length of the file of terms.
        unread: documents that the vocabulary cannot read, as :meth:`UnreadDocuments.to_json` tells them.
        read: what was read and left out.
    """

    shard: Shard
    skipped: bool
    documents: int
    passages: int
    postings: int
    bytes: int
    unread: Mapping[str, Any] = field(default_factory=dict)
    read: ReadReport = field(default_factory=ReadReport)


def encode_shard(
    sources: Sequence[str | Path] | str | Path,
    out: str | Path,
    shard: Shard,
    encoder: LatentTermEncoder,
    *,
    literal: LiteralConfig | None = None,
    passages: PassageConfig | None = None,
    field_weights: FieldWeights | None = None,
    store_text: bool = True,
    static: bool = True,
    read: ReadOptions | None = None,
    show_progress: bool = False,
) -> ShardReport:
    """Encodes one shard of sources into a folder that all shards share.

    It is a pure function of the bytes of the shard and of the settings: on machines of one kind the files are the same byte for
    byte, however many threads there are. A shard that is there already, made of the same bytes
    with the same settings, is left as it is. Memory does not grow with the shard, but for its ids (20 bytes each).

    Args:
        sources: files, folders and patterns; the same for all shards.
        out: the folder.
        shard: which share is encoded.
        encoder: the vocabulary with its model.
        literal: how words are counted; None for the defaults, which count them.
        passages: how long texts are cut; None leaves them whole.
        field_weights: how much title, headings and body count, encoded apart; None encodes them together.
        store_text: whether titles and texts are kept.
        static: whether codes are counted for a static table.
        read: names of fields, and whether bad records are skipped.
        show_progress: whether progress is shown on stderr.

    Raises:
        CorpusError: a source cannot be read, or a record is bad.
        StorageError: the folder holds shards that were made otherwise, or cannot be written.
        MissingExtraError: pyarrow is not installed.
    """
    arrow(PURPOSE)
    read, report = read or ReadOptions(), ReadReport()
    listed = [sources] if isinstance(sources, (str, Path)) else list(sources)
    place = place_of(out)
    settings = TermsSettings.of(
        encoder,
        n_shards=shard.count,
        literal=literal,
        passages=passages,
        field_weights=field_weights,
        store_text=store_text,
        store_fields=read.fields.strip() != "none",
        static=static,
        sources=_identity(listed),
        reading=read.what_is_read() | {"fields": read.fields, "field_type": list(read.field_type)},
    )
    parts = parts_of_shard(listed, shard, report)
    prepare(place, settings, encoder)
    digest = shard_digest(settings, digest_of_parts(parts))
    if (found := finished(place, shard, digest)) is not None:
        return found
    documents = read_parts(parts, read, report, numbers=shard.count == 1)
    return write_shard(place, shard, digest, documents, encoder, settings, report=report, show_progress=show_progress)


def prepare(place: Place, settings: TermsSettings, encoder: LatentTermEncoder) -> None:
    """Makes a folder ready for shards; refuses one that holds others. Errors are those of :func:`agree_on_settings`."""
    from lexite.terms.static_counts import untouched_table

    pooling = encoder.terms.pooling
    table = untouched_table(encoder.static, encoder.backbone, encoder.n_latents, pooling) if settings.static else None
    agree_on_settings(place, settings, table)


def shard_digest(settings: TermsSettings, content: str) -> str:
    """What identifies a shard: how it is made, and of what.

    Args:
        settings: of its folder.
        content: digest of the sources that the shard reads.
    """
    return json_checksum({"settings": settings.digest, "content": content})


def finished(place: Place, shard: Shard, digest: str) -> ShardReport | None:
    """The report of a shard that is there and has this digest; None where it has to be made."""
    names = ShardFiles.of(shard)
    there = place.names()
    if not {names.record, names.terms} <= there:
        return None
    record = read_record(place, names.record)
    if record.get("digest") != digest or sha256_of(place, names.terms) != record["sha256"]:
        return None
    documents, passages, postings, n_bytes = (int(record[name]) for name in ("documents", "passages", "postings", "bytes"))
    return ShardReport(shard, True, documents, passages, postings, n_bytes, record["unread"])


def write_shard(
    place: Place,
    shard: Shard,
    digest: str,
    documents: Iterable[Document],
    encoder: LatentTermEncoder,
    settings: TermsSettings,
    *,
    report: ReadReport | None = None,
    show_progress: bool = False,
) -> ShardReport:
    """Encodes documents and writes them as a shard. Its record is written last: without it the shard is not there.

    Args:
        place: the folder, made ready by :func:`prepare`.
        shard: which one it is.
        digest: of :func:`shard_digest`.
        documents: read once, some hundred at a time.
        encoder: the vocabulary with its model.
        settings: of the folder.
        report: of the reading, for the record.
        show_progress: whether progress is shown on stderr.

    Raises:
        CorpusError, StorageError: as :func:`encode_shard`.
    """
    from lexite.terms.static_counts import counter_for

    names, report = ShardFiles.of(shard), report or ReadReport()
    counter = counter_for(encoder.backbone, encoder.n_latents) if settings.static else None
    made = _Made(encoder, settings, counter)
    pa, parquet = arrow(PURPOSE), importlib.import_module("pyarrow.parquet")
    bar_of = progress("Encoding", unit="documents", show=show_progress)
    with place.write(names.terms) as file, bar_of as bar, same_cut_everywhere():
        sink = Hashing(file)
        with parquet.ParquetWriter(pa.PythonFile(sink, mode="w"), schema(), compression="zstd") as writer:
            for table, count in _groups(made, documents):
                writer.write_table(table)
                bar.advance(count)
    static_sha256 = None
    if counter is not None:
        with place.write(names.static) as file:
            counted = Hashing(file)
            counted.write(counter.to_bytes())
        static_sha256 = counted.sha256
    record = {
        "shard": str(shard),
        "digest": digest,
        "documents": made.documents,
        "passages": made.passages,
        "postings": made.postings,
        "bytes": sink.bytes,
        "sha256": sink.sha256,
        "static_sha256": static_sha256,
        "field_types": made.types,
        "unread": made.unread.to_json(),
        "skipped": report.skipped,
        "skipped_messages": report.messages,
    }
    write_record(place, names.record, record)
    return ShardReport(shard, False, made.documents, made.passages, made.postings, sink.bytes, made.unread.to_json(), report)


class _Made:
    """What was made of a shard so far."""

    def __init__(self, encoder: LatentTermEncoder, settings: TermsSettings, counter: StaticCounter | None) -> None:
        self._encoder, self._settings, self._counter = encoder, settings, counter
        self.unread = UnreadDocuments()
        self.types: Mapping[str, FieldType] = {}
        self.documents = self.passages = self.postings = 0

    def encoded(self, documents: list[Document]) -> Any:
        """The record batch of some documents, which are counted."""
        if self._settings.store_fields:
            for document in documents:
                self.types = joined_schema(self.types, document.fields, document.id)
        batch = encode_documents(documents, self._encoder, self._settings, self._counter, self.unread)
        self.documents += len(documents)
        self.passages += batch.num_rows
        self.postings += len(batch.column("terms").values)
        return batch


def _groups(made: _Made, documents: Iterable[Document]) -> Iterator[tuple[Any, int]]:
    """Tables of some thousand passages, and how many documents each has."""
    pa = arrow(PURPOSE)
    waiting: list[Any] = []
    count = 0
    for chunk in chunks(documents, TEXTS_PER_CHUNK):
        waiting.append(made.encoded(chunk))
        count += len(chunk)
        if sum(batch.num_rows for batch in waiting) >= ROWS_PER_GROUP:
            yield pa.Table.from_batches(waiting).unify_dictionaries(), count
            waiting, count = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting).unify_dictionaries(), count


def missing_shards(place: Place, count: int) -> list[int]:
    """The numbers of the shards that are not there."""
    names = place.names()
    wanted = (ShardFiles.of(Shard(number, count)) for number in range(count))
    return [number for number, files in enumerate(wanted) if not {files.record, files.terms} <= names]


def _identity(sources: Sequence[str | Path]) -> str:
    """What identifies the files of sources: their ids, order and sizes."""
    entries = list_files(list(sources))
    try:
        return json_checksum({"files": [[entry.id, _size(entry)] for entry in entries]})
    except BadFile as problem:
        raise StorageError(str(problem)) from problem


def _size(entry: FileEntry) -> int | None:
    """The bytes of a file; None where a folder has it and it cannot be read, which ends nothing."""
    try:
        return entry.size()
    except BadFile:
        if entry.one_of_many:
            return None
        raise
