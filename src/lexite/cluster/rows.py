"""Rows of any table into rows of terms: the function that Ray and Spark run on their workers.

A row that cannot be encoded becomes a row with an ``error`` and no terms: one record never ends a job.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from lexite.backbone.base import TEXTS_PER_CHUNK
from lexite.cluster.settings import TermsSettings
from lexite.cluster.table import PURPOSE, encode_documents, schema
from lexite.corpus.passages import PassageConfig
from lexite.corpus.records import Document, unusable_name
from lexite.corpus.text_fields import FieldWeights
from lexite.errors import ConfigError
from lexite.index.field_types import plain_value
from lexite.index.fields import arrow
from lexite.scoring.words import LiteralConfig

if TYPE_CHECKING:
    from lexite.terms import LatentTermEncoder

LONGEST_ERROR = 500


@dataclass(frozen=True)
class RowEncoding:
    """What a worker needs to know. It is small, and goes to workers as it is; the model is loaded where it arrives.

    Attributes:
        vocabulary: a folder that all workers see, or a name on the Hugging Face hub.
        id_column: column of the ids.
        text_column: column of the texts.
        title_column: column of the titles; where a table has none, titles are empty.
        passages: how long texts are cut; None leaves them whole.
        field_weights: how much title, headings and body count, encoded apart; None encodes them together.
        literal: how words are counted.
        store_text: whether titles and texts are kept in the result.
        store_fields: whether the other columns are kept in it.
        loading: how the vocabulary is loaded, as for :func:`lexite.search.queries.load_encoder`: ``prefix``, ``profile``,
            ``terms``, ``device``, ``precision`` …
    """

    vocabulary: str
    id_column: str = "id"
    text_column: str = "text"
    title_column: str = "title"
    passages: PassageConfig | None = field(default_factory=PassageConfig)
    field_weights: FieldWeights | None = None
    literal: LiteralConfig = field(default_factory=LiteralConfig)
    store_text: bool = True
    store_fields: bool = True
    loading: Mapping[str, Any] = field(default_factory=dict)

    def encoder(self) -> LatentTermEncoder:
        """The vocabulary with its model, loaded once in a process."""
        return _loaded(self.vocabulary, repr(sorted(self.loading.items())), _Loading(self.loading))


class _Loading:
    """Options of loading, which are told apart by their text alone."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = dict(values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Loading)

    def __hash__(self) -> int:
        return 0


@functools.lru_cache(maxsize=1)
def _loaded(vocabulary: str, told_apart_by: str, loading: _Loading) -> LatentTermEncoder:
    from lexite.search.queries import load_encoder

    return load_encoder(vocabulary, **loading.values)


def result_schema() -> Any:
    """The columns of encoded rows: those of shards, with words as plain texts, and ``error``, which is null as a rule."""
    pa = arrow(PURPOSE)
    plain = [pa.field(c.name, pa.list_(pa.string())) if c.name == "words" else c for c in schema()]
    return pa.schema([*plain, pa.field("error", pa.string())])


def encode_table(table: Any, how: RowEncoding, settings: TermsSettings | None = None) -> Any:
    """Encodes the rows of a table of Arrow.

    Args:
        table: with a column of ids and one of texts. Ids that are no text are written as text.
        how: how they are encoded.
        settings: of the vocabulary; None makes them.

    Returns:
        A table with the columns of :func:`result_schema`: for each row its passages, or one row with an ``error``.

    Raises:
        ConfigError: a column is missing.
        ModelError, BackboneError: the vocabulary or its model cannot be loaded.
    """
    pa = arrow(PURPOSE)
    missing = next((name for name in (how.id_column, how.text_column) if name not in table.column_names), None)
    if missing is not None:
        raise ConfigError(f"There is no column '{missing}'; there is {', '.join(table.column_names)}. Name the columns.")
    encoder = how.encoder()
    settings = settings or settings_for(how, encoder)
    parts = [_encoded(list(rows), encoder, settings) for rows in _documents(table, how)]
    return pa.concat_tables(parts) if parts else result_schema().empty_table()


def settings_for(how: RowEncoding, encoder: LatentTermEncoder) -> TermsSettings:
    """The settings of shards that rows are encoded with."""
    return TermsSettings.of(
        encoder,
        literal=how.literal,
        passages=how.passages,
        field_weights=how.field_weights,
        store_text=how.store_text,
        store_fields=how.store_fields,
        static=False,
    )


@dataclass(frozen=True)
class _Bad:
    """A row that cannot be encoded."""

    id: str | None
    reason: str


def _documents(table: Any, how: RowEncoding) -> Iterator[list[Document | _Bad]]:
    """The documents of a table, some hundred at a time."""
    known = (how.id_column, how.text_column, how.title_column)
    others = [name for name in table.column_names if how.store_fields and name not in known]
    columns = [name for name in (*known, *others) if name in table.column_names]
    for batch in table.select(columns).to_batches(max_chunksize=TEXTS_PER_CHUNK):
        yield [_document(row, how, others) for row in batch.to_pylist()]


def _document(row: Mapping[str, Any], how: RowEncoding, others: Iterable[str]) -> Document | _Bad:
    id, text, title = row[how.id_column], row[how.text_column], row.get(how.title_column) or ""
    if id is None or str(id) == "":
        return _Bad(None, "It has no id.")
    if not isinstance(text, str) or not isinstance(title, str):
        return _Bad(str(id), f"Its text is a {type(text if not isinstance(text, str) else title).__name__}, not text.")
    if not f"{title}{text}".strip():
        return _Bad(str(id), "The text is empty.")
    fields = {name: value for name in others if (value := plain_value(row[name])) is not None}
    bad = next((f"field {name!r}: {problem}" for name in fields if (problem := unusable_name(name))), None)
    return Document(str(id), text, title, fields=fields) if bad is None else _Bad(str(id), bad)


def _encoded(rows: list[Document | _Bad], encoder: LatentTermEncoder, settings: TermsSettings) -> Any:
    """Encodes documents together; where that fails, one by one, to find those that are to blame."""
    good = [row for row in rows if isinstance(row, Document)]
    tables = [_errors([row for row in rows if isinstance(row, _Bad)])]
    try:
        tables += [_without_error(encode_documents(good, encoder, settings))] if good else []
    except Exception as problem:  # whatever it is, one record must not end a job of millions
        if len(good) == 1:
            tables.append(_errors([_Bad(good[0].id, f"{type(problem).__name__}: {problem}")]))
        else:
            tables += [_encoded([document], encoder, settings) for document in good]
    return arrow(PURPOSE).concat_tables(tables)


def _without_error(batch: Any) -> Any:
    pa = arrow(PURPOSE)
    wanted = result_schema()
    columns = [batch.column(name).cast(wanted.field(name).type) for name in batch.schema.names]
    return pa.Table.from_arrays([*columns, pa.nulls(batch.num_rows, pa.string())], schema=wanted)


def _errors(bad: list[_Bad]) -> Any:
    pa = arrow(PURPOSE)
    wanted = result_schema()
    made = {
        "id": pa.array([row.id for row in bad], pa.string()),
        "error": pa.array([row.reason[:LONGEST_ERROR] for row in bad], pa.string()),
        "passage": pa.array(np.zeros(len(bad), dtype=np.int32)),
    }
    columns = [made.get(column.name, pa.nulls(len(bad), column.type)) for column in wanted]
    return pa.Table.from_arrays(columns, schema=wanted)
