"""Reading Parquet files, with pyarrow."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from lexite.corpus.fields import FieldNames, FieldReader
from lexite.corpus.mirror import make_readable
from lexite.corpus.options import DamagedSource
from lexite.corpus.sources import Source
from lexite.corpus.values import SourceFields
from lexite.errors import CorpusError, MissingExtraError

ROWS_AT_ONCE = 1024
_INDEX_OF_PANDAS = "__index_level_"


def read_parquet(source: Source, fields: FieldReader, further: SourceFields | None) -> Iterator[tuple[int, dict[str, object]]]:
    """The rows of a Parquet file with their numbers from 1; only the columns that are needed are read.

    Raises:
        MissingExtraError: pyarrow is not installed.
        CorpusError: a chosen column is missing, one name stands twice, or no column holds text.
        DamagedSource: the file is not Parquet, or damaged.
    """
    try:
        arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise MissingExtraError("pyarrow", "parquet", "Reading Parquet files") from None
    number = 0
    try:
        make_readable(source.path)
        with parquet.ParquetFile(source.path) as file:
            schema = file.schema_arrow
            _check_names(schema.names, source.name)
            names = fields.choose_columns(schema.names, source.name)
            columns = [name for name in dict.fromkeys(names) if name is not None and name in schema.names]
            columns += _further(schema, names, further, arrow) if further is not None else []
            groups = None if source.span is None else list(range(*source.span))
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, row_groups=groups, columns=columns):
                for values in zip(*(_values(batch.column(name), arrow) for name in columns), strict=True):
                    number += 1
                    yield number, dict(zip(columns, values, strict=True))
    except (arrow.ArrowException, OSError) as error:
        place = f"{source.name}, after row {number}" if number else source.name
        raise DamagedSource(f"{place}: not a readable Parquet file ({_first_line(error)}).") from error


def _check_names(names: Sequence[str], where: str) -> None:
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise CorpusError(f"{where}: there is more than one column called {twice!r}. Give each column a name of its own.")


def _further(schema: Any, names: FieldNames, further: SourceFields, arrow: Any) -> list[str]:
    """The further columns whose type a field can hold; the others are noted."""
    kept = []
    further.ignore(names)
    for column in schema:
        if column.name.startswith(_INDEX_OF_PANDAS) or not further.keeps(column.name):
            continue
        if _is_storable(column.type, arrow.types):
            kept.append(column.name)
        elif not arrow.types.is_null(column.type):
            further.leave_out(column.name, f"it is of the type {str(column.type)[:60]}")
    return kept


def _is_storable(kind: Any, types: Any) -> bool:
    if types.is_dictionary(kind):
        return _is_storable(kind.value_type, types)
    if types.is_list(kind) or types.is_large_list(kind):
        return _is_text(kind.value_type, types)
    simple = (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal, types.is_date, types.is_timestamp)
    return _is_text(kind, types) or any(is_kind(kind) for is_kind in simple)


def _is_text(kind: Any, types: Any) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _values(column: Any, arrow: Any) -> list[object]:
    """The values of a column. Some writers store text as plain bytes: it is decoded, and stays bytes where it is not UTF-8."""
    if arrow.types.is_timestamp(column.type):  # Python has no nanoseconds
        column = column.cast(arrow.timestamp("us", column.type.tz), safe=False)
    elif arrow.types.is_decimal(column.type):
        column = column.cast(arrow.float64())
    try:
        values: list[object] = column.to_pylist()
    except UnicodeDecodeError:
        values = column.cast(arrow.large_binary()).to_pylist()
    return [_decode(value) if isinstance(value, bytes) else value for value in values]


def _decode(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
