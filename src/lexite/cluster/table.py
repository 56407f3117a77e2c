"""Encoded passages as Arrow: a row for each, with what an index needs of it and of its document.

| column | type | what |
|---|---|---|
| ``id`` | string | of the document |
| ``passage`` | int32 | which passage of the document, from 0 |
| ``begin``, ``end`` | int64 | where it lies in the text, in characters |
| ``title``, ``text``, ``fields`` | string | of the document, in the row of its first passage alone; fields are JSON |
| ``terms``, ``weights`` | list of int32, of float32 | latent terms with raw weights, ascending |
| ``words``, ``word_weights`` | list of string (dictionary), of float32 | literal words with raw weights |

Terms, weights and words go from numpy into Arrow and back without a Python object for each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexite.corpus.conversion import converted
from lexite.corpus.passages import CutDocuments, cut_documents
from lexite.corpus.records import Document
from lexite.errors import CorpusError, StorageError
from lexite.index.dictionary import WordRows
from lexite.index.field_types import FieldType, json_value, plain_value
from lexite.index.fields import arrow
from lexite.scoring.rows import CSRRows, SparseRows
from lexite.scoring.words import LiteralConfig
from lexite.search.indexing import summed_fields
from lexite.terms.piece_counts import PieceCounts

if TYPE_CHECKING:
    from lexite.cluster.settings import TermsSettings
    from lexite.corpus.records import FieldValue
    from lexite.search.unread import UnreadDocuments
    from lexite.terms import LatentTermEncoder
    from lexite.terms.static_counts import StaticCounter

PURPOSE = "Encoding shards"
_PARSED = ("date", "datetime")


def schema() -> Any:
    """The columns."""
    pa = arrow(PURPOSE)
    return pa.schema(
        [
            ("id", pa.string()),
            ("passage", pa.int32()),
            ("begin", pa.int64()),
            ("end", pa.int64()),
            ("title", pa.string()),
            ("text", pa.string()),
            ("fields", pa.string()),
            ("terms", pa.list_(pa.int32())),
            ("weights", pa.list_(pa.float32())),
            ("words", pa.list_(pa.dictionary(pa.int32(), pa.string()))),
            ("word_weights", pa.list_(pa.float32())),
        ]
    )


def encode_documents(
    documents: Sequence[Document],
    encoder: LatentTermEncoder,
    settings: TermsSettings,
    counter: StaticCounter | None = None,
    unread: UnreadDocuments | None = None,
) -> Any:
    """Encodes some documents: a pure function, but for what it counts.

    Args:
        documents: the documents; they go through the model together.
        encoder: the vocabulary with its model.
        settings: how they are cut, and what is kept of them.
        counter: counts their codes for a static table; None: nothing does.
        unread: takes those that the vocabulary cannot read; None: nothing does.

    Returns:
        A record batch of Arrow with the columns of :func:`schema`.

    Raises:
        CorpusError: a text is not valid UTF-8.
        BackboneError: the model fails.
    """
    cut = cut_documents(documents, settings.passages, settings.field_weights)
    counts = PieceCounts(encoder.components.unread_pieces)
    floor = None if cut.fields is None else 0.0  # of sums of fields it is taken afterwards
    encoded = encoder.encode_documents(cut.encoded_texts, floor=floor, static=counter, pieces=counts)
    rows = summed_fields(encoder, encoded, cut)
    if unread is not None:
        unread.note(documents, rows, counts, settings.literal, cut.bounds, cut.encoded_bounds)
    return _batch(documents, cut, rows, settings)


def _batch(documents: Sequence[Document], cut: CutDocuments, rows: SparseRows, settings: TermsSettings) -> Any:
    pa = arrow(PURPOSE)
    sizes = np.diff(cut.bounds)
    owners = np.repeat(np.arange(len(documents)), sizes)
    ordinals = np.arange(len(owners)) - np.repeat(cut.bounds[:-1], sizes)

    def of_documents(values: Sequence[str | None]) -> Any:
        """Texts of documents, in the rows of their first passages."""
        try:
            return pa.array(values, pa.string()).take(pa.array(np.where(ordinals == 0, owners, -1), mask=ordinals != 0))
        except UnicodeEncodeError as error:
            bad = next(d.id for d, value in zip(documents, values, strict=True) if value is not None and not _is_unicode(value))
            raise CorpusError(f"Document '{bad}': the text holds half of a surrogate pair (\\ud800 to \\udfff).") from error

    indptr = pa.array(np.asarray(rows.indptr, dtype=np.int32))
    words, word_weights = _word_columns(cut, settings.literal, pa)
    kept = [document.fields if settings.store_fields else {} for document in documents]
    columns = [
        pa.array([document.id for document in documents], pa.string()).take(pa.array(owners)),
        pa.array(ordinals.astype(np.int32)),
        pa.array(cut.spans[:, 0].copy()),
        pa.array(cut.spans[:, 1].copy()),
        of_documents([document.title if settings.store_text else None for document in documents]),
        of_documents([document.text if settings.store_text else None for document in documents]),
        of_documents([_written(fields) if fields else None for fields in kept]),
        pa.ListArray.from_arrays(indptr, pa.array(np.asarray(rows.indices, dtype=np.int32))),
        pa.ListArray.from_arrays(indptr, pa.array(np.asarray(rows.data, dtype=np.float32))),
        words,
        word_weights,
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema())


def _word_columns(cut: CutDocuments, literal: LiteralConfig | None, pa: Any) -> tuple[Any, Any]:
    """The words of passages and their raw weights."""
    known: dict[str, int] = {}
    counts: Sequence[Mapping[str, float]] = [{} for _ in cut.texts]
    if literal is not None:
        found: Sequence[Mapping[str, float]] = [literal.words_of(text) for text in cut.encoded_texts]
        counts = found if cut.fields is None else cut.fields.summed_counts(found)
    numbers = np.array([known.setdefault(word, len(known)) for count in counts for word in count], dtype=np.int32)
    values = np.array([n for count in counts for n in count.values()], dtype=np.float64)
    weights = (values * (literal.literal_weight_documents if literal else 1.0)).astype(np.float32)
    indptr = pa.array(np.concatenate([[0], np.cumsum([len(count) for count in counts])]).astype(np.int32))
    words = pa.DictionaryArray.from_arrays(pa.array(numbers), pa.array(list(known), pa.string()))
    return pa.ListArray.from_arrays(indptr, words), pa.ListArray.from_arrays(indptr, pa.array(weights))


@dataclass(frozen=True)
class EncodedPassages:
    """Some whole documents out of a shard.

    Attributes:
        documents: the documents. Titles and texts are empty where the shard does not keep them.
        cut: their passages, without texts.
        rows: raw weights of the latents of the passages.
        words: their literal words.
    """

    documents: list[Document]
    cut: CutDocuments
    rows: CSRRows
    words: WordRows


def decoded(batch: Any, n_latents: int, types: Mapping[str, FieldType], where: str) -> EncodedPassages:
    """The documents of a record batch, whose first row is the first passage of a document.

    Args:
        batch: with the columns of :func:`schema`.
        n_latents: number of latent terms.
        types: of the fields.
        where: the file, for messages.

    Raises:
        StorageError: the columns do not fit each other.
    """
    ordinals = batch.column("passage").to_numpy(zero_copy_only=False)
    firsts = np.flatnonzero(ordinals == 0)
    if not len(firsts) or firsts[0] != 0:
        raise StorageError(f"{where} is damaged: a document has no first passage. Encode the shard again.")
    ids, titles, texts, fields = (
        batch.column(name).take(_indices(firsts)).to_pylist() for name in ("id", "title", "text", "fields")
    )
    documents = [
        Document(id, text or "", title or "", fields=_read(written, types))
        for id, title, text, written in zip(ids, titles, texts, fields, strict=True)
    ]
    bounds = np.concatenate([firsts, [len(ordinals)]]).astype(np.int64)
    spans = np.stack([batch.column(name).to_numpy(zero_copy_only=False) for name in ("begin", "end")], axis=1)
    indptr, terms = _flat(batch.column("terms"))
    _, weights = _flat(batch.column("weights"))
    word_bounds, words = _flat(batch.column("words"))
    _, word_weights = _flat(batch.column("word_weights"))
    rows = CSRRows(indptr, _numbers(terms), _numbers(weights), (len(ordinals), n_latents))
    known = words.dictionary.to_pylist()
    counted = WordRows(known, word_bounds, _numbers(words.indices), _numbers(word_weights))
    return EncodedPassages(documents, CutDocuments([""] * len(ordinals), bounds, spans), rows, counted)


def whole_documents(batches: Iterator[Any]) -> Iterator[Any]:
    """Record batches, so cut that each holds whole documents."""
    pa = arrow(PURPOSE)
    held: Any = None
    for batch in batches:
        joined = batch if held is None else pa.concat_batches([held, batch])
        firsts = np.flatnonzero(joined.column("passage").to_numpy(zero_copy_only=False) == 0)
        last = int(firsts[-1]) if len(firsts) else 0
        if last:
            yield joined.slice(0, last)
        held = joined.slice(last)
    if held is not None and held.num_rows:
        yield held


def _flat(column: Any) -> tuple[NDArray[np.int64], Any]:
    """Row bounds of a list column, from 0, and its values."""
    offsets = column.offsets.to_numpy(zero_copy_only=False).astype(np.int64)
    return offsets - offsets[0], column.values.slice(int(offsets[0]), int(offsets[-1] - offsets[0]))


def _numbers(values: Any) -> NDArray[Any]:
    numbers: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return numbers


def _indices(places: NDArray[np.int64]) -> Any:
    return arrow(PURPOSE).array(places)


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _written(fields: Mapping[str, FieldValue]) -> str:
    """Fields as JSON; dates and times as ISO 8601 writes them."""
    present = {name: value for name, given in fields.items() if (value := plain_value(given)) is not None}
    return json.dumps({name: json_value(value) for name, value in present.items()}, ensure_ascii=False)


def _read(written: str | None, types: Mapping[str, FieldType]) -> dict[str, FieldValue]:
    if not written:
        return {}
    values: dict[str, Any] = json.loads(written)
    return {name: converted(value, types[name]) if types.get(name) in _PARSED else value for name, value in values.items()}
