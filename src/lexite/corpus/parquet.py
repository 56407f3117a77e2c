"""Reading Parquet files, with pyarrow."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from lexite.corpus.fields import FieldReader
from lexite.corpus.options import DamagedSource
from lexite.corpus.sources import Source
from lexite.errors import MissingExtraError

ROWS_AT_ONCE = 1024


def read_parquet(source: Source, fields: FieldReader) -> Iterator[tuple[int, dict[str, object]]]:
    """The rows of a Parquet file with their numbers from 1; only the columns that are needed are read.

    Raises:
        MissingExtraError: pyarrow is not installed.
        CorpusError: a chosen column is missing, or none holds text.
        DamagedSource: the file is not Parquet, or damaged.
    """
    try:
        arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise MissingExtraError("pyarrow", "parquet", "Reading Parquet files") from None
    number = 0
    try:
        with parquet.ParquetFile(source.path) as file:
            names = fields.choose_columns(file.schema_arrow.names, source.name)
            wanted = dict.fromkeys(name for name in names if name is not None)
            columns = [name for name in wanted if name in file.schema_arrow.names]
            for batch in file.iter_batches(batch_size=ROWS_AT_ONCE, columns=columns):
                for values in zip(*(_values(batch.column(name), arrow) for name in columns), strict=True):
                    number += 1
                    yield number, dict(zip(columns, values, strict=True))
    except (arrow.ArrowException, OSError) as error:
        place = f"{source.name}, after row {number}" if number else source.name
        raise DamagedSource(f"{place}: not a readable Parquet file ({_first_line(error)}).") from error


def _values(column: Any, arrow: Any) -> list[object]:
    """The values of a column. Some writers store text as plain bytes: it is decoded, and stays bytes where it is not UTF-8."""
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
