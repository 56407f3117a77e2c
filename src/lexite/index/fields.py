"""Fields of documents on the disk: one Arrow file for each segment, written once and mapped into memory afterwards.

The file holds a column for each field that a document of the segment has, in batches of rows; a document without a field has
null there. Arrow's types: ``large_string``, ``int64``, ``double``, ``bool``, ``date32``, ``timestamp[us]`` in UTC,
``list<large_string>``.
"""

from __future__ import annotations

import datetime
import functools
import importlib
import importlib.util
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexite.errors import IndexFormatError, MissingExtraError
from lexite.files import storage_errors
from lexite.index.field_types import FieldType, in_utc, joined_type, plain_value, type_of
from lexite.index.storage import FileRecord, FileWriter

if TYPE_CHECKING:
    from lexite.corpus.records import FieldValue

FIELDS_NAME = "fields.arrow"
EXTRA = "fields"
ROWS_AT_ONCE = 8192  # rows that wait as Python values
CHARACTERS_AT_ONCE = 1 << 24  # their texts, about
BATCH_ROWS = 16384  # rows of a batch on the disk, at least, but for the last


def arrow(purpose: str) -> Any:
    """The library pyarrow.

    Args:
        purpose: what needs it, as the beginning of a sentence.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module("pyarrow")
    except ImportError:
        raise MissingExtraError("pyarrow", EXTRA, purpose) from None


def has_arrow() -> bool:
    """Whether pyarrow is installed; it is not imported."""
    return importlib.util.find_spec("pyarrow") is not None


def arrow_type(kind: FieldType, pa: Any) -> Any:
    """The type of a field's column."""
    types = {
        "text": pa.large_string,
        "integer": pa.int64,
        "number": pa.float64,
        "boolean": pa.bool_,
        "date": pa.date32,
        "datetime": lambda: pa.timestamp("us"),
        "list": lambda: pa.list_(pa.large_string()),
    }
    return types[kind]()


class FieldBuffer:
    """Fields of documents that wait to become a segment. Some thousand rows wait in memory, those before in a file.

    Args:
        folder: of the segment. It must exist when rows are put away, and not before.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FIELDS_NAME
        self._waiting = folder / "fields.tmp"
        self._columns: dict[str, list[Any]] = {}
        self._n = self._characters = 0
        self._without = 0  # rows before the first that has a field
        self._types: dict[str, FieldType] = {}  # of all rows

    def append(self, id: str, fields: Mapping[str, FieldValue | None]) -> None:
        """Takes the fields of the next document. Their types fit those of the documents before.

        Raises:
            StorageError: rows cannot be put away.
        """
        for name, given in fields.items():
            value = plain_value(given)
            if value is None:
                continue
            kind = type_of(value, name, id)
            joined = joined_type(self._types.get(name, kind), kind)
            assert joined is not None, "the writer has compared the types"
            self._types[name] = joined
            column = self._columns.setdefault(name, [])
            column.extend([None] * (self._n - len(column)))
            column.append(stored_value(value))
            self._characters += len(value) if isinstance(value, str) else sum(map(len, value)) if kind == "list" else 8
        self._n += 1
        if self._n >= ROWS_AT_ONCE or self._characters >= CHARACTERS_AT_ONCE:
            self._put_away()

    def write(self) -> FileRecord | None:
        """Writes the file of the segment and flushes it; None when no document has a field.

        Raises:
            StorageError: it cannot be written.
        """
        if not self._types:
            return None
        self._put_away()
        pa = arrow("Storing fields")
        try:
            return write_columns(self._path, self._types, self._batches(pa))
        finally:
            with storage_errors(self._waiting):
                self._waiting.unlink(missing_ok=True)

    def _put_away(self) -> None:
        """Appends the waiting rows to the file beside: a stream of Arrow for each time, since fields may be new or wider."""
        if not self._types:
            self._without += self._n
        elif self._n:
            pa = arrow("Storing fields")
            for column in self._columns.values():
                column.extend([None] * (self._n - len(column)))
            types = {name: self._types[name] for name in self._columns}
            arrays = [pa.array(column, arrow_type(types[name], pa)) for name, column in self._columns.items()]
            arrays.append(pa.nulls(self._n))  # says how many rows there are, even without a column
            batch = pa.RecordBatch.from_arrays(arrays, names=[*types, ""])
            with (
                storage_errors(self._waiting),
                open(self._waiting, "ab") as file,
                pa.ipc.new_stream(file, batch.schema) as stream,
            ):
                stream.write_batch(batch)
        self._columns, self._n, self._characters = {}, 0, 0

    def _batches(self, pa: Any) -> Iterator[Any]:
        if self._without:
            yield pa.RecordBatch.from_arrays([pa.nulls(self._without)], names=[""])
        with storage_errors(self._waiting), open(self._waiting, "rb") as file:
            size = self._waiting.stat().st_size
            while file.tell() < size:
                yield from pa.ipc.open_stream(file)


def write_columns(path: Path, types: Mapping[str, FieldType], batches: Iterable[Any]) -> FileRecord:
    """Writes rows durably.

    Args:
        path: the file; it must not exist.
        types: of the columns.
        batches: tables or batches of Arrow. A column that one lacks is null there; whole numbers become numbers where
            ``types`` says so.

    Raises:
        StorageError: it cannot be written.
    """
    pa = arrow("Storing fields")
    schema = pa.schema([(name, arrow_type(kind, pa)) for name, kind in types.items()])
    with FileWriter(path) as file, pa.ipc.new_file(pa.PythonFile(_Sink(file), mode="w"), schema) as writer:
        waiting: list[Any] = []
        for batch in batches:
            waiting.append(_conformed(batch, schema, pa))
            if sum(part.num_rows for part in waiting) >= BATCH_ROWS:
                _write_batch(writer, waiting, pa)
                waiting = []
        _write_batch(writer, waiting, pa)
    return file.record


class _Sink:
    """A file as pyarrow writes to one."""

    def __init__(self, file: FileWriter) -> None:
        self._file = file
        self.closed = False

    def write(self, data: Any) -> int:
        self._file.write(memoryview(data).tobytes() if not isinstance(data, bytes) else data)
        return len(data)

    def tell(self) -> int:
        return self._file.bytes

    def flush(self) -> None:
        """The writer of files flushes when it closes."""

    def close(self) -> None:
        self.closed = True


def _write_batch(writer: Any, waiting: Sequence[Any], pa: Any) -> None:
    table = pa.Table.from_batches(waiting) if waiting else None
    if table is not None and table.num_rows:
        for batch in table.combine_chunks().to_batches():
            writer.write_batch(batch)


def _conformed(batch: Any, schema: Any, pa: Any) -> Any:
    """A batch with the columns of a schema, in its order."""
    arrays = []
    for field in schema:
        place = batch.schema.get_field_index(field.name)
        arrays.append(pa.nulls(batch.num_rows, field.type) if place < 0 else _cast(batch.column(place), field.type, pa))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _cast(column: Any, wanted: Any, pa: Any) -> Any:
    if column.type == wanted:
        return column
    return importlib.import_module("pyarrow.compute").cast(column, wanted, safe=False)  # large whole numbers are rounded


class StoredFields:
    """The fields of a segment. The file is looked into when a field is first asked for.

    Args:
        path: the file, for messages.
        content: its bytes, mapped.
        n_documents: of the segment.
    """

    def __init__(self, path: Path, content: NDArray[np.uint8], n_documents: int) -> None:
        self._path, self._content, self._n_documents = path, content, n_documents
        self.names: tuple[str, ...] = ()  # of the columns, once the file was looked into
        self._checked: set[str] = set()
        self._columns: dict[tuple[int, str, FieldType], Any] = {}

    @functools.cached_property
    def _batches(self) -> tuple[Any, ...]:
        pa = arrow("Reading the fields of documents")
        try:
            file = pa.ipc.open_file(pa.py_buffer(self._content))
            batches = tuple(file.get_batch(number) for number in range(file.num_record_batches))
            self.names = tuple(file.schema.names)
        except (pa.ArrowException, OSError, ValueError) as error:  # a UnicodeDecodeError of a name is a ValueError too
            raise self._damaged() from error
        if sum(batch.num_rows for batch in batches) != self._n_documents or len(set(self.names)) != len(self.names):
            raise self._damaged()
        return batches

    @functools.cached_property
    def _firsts(self) -> list[int]:
        return [0, *accumulate(batch.num_rows for batch in self._batches)]

    def batches(self, types: Mapping[str, FieldType]) -> tuple[Any, ...]:
        """The rows, as record batches of Arrow. Their columns are taken with :meth:`column`, which checks them.

        Args:
            types: of the fields in the index.

        Raises:
            IndexFormatError: the file is damaged.
        """
        batches = self._batches
        if not set(self.names) <= set(types):
            raise self._damaged()
        return batches

    def column(self, number: int, name: str, kind: FieldType) -> Any:
        """A column of one batch, as an array of Arrow.

        Args:
            number: of the batch.
            name: of the field; documents of a segment without it have null.
            kind: its type in the index.

        Raises:
            IndexFormatError: the file is damaged.
        """
        known = self._columns.get((number, name, kind))
        if known is not None:
            return known
        pa = arrow("Reading the fields of documents")
        wanted, batch = arrow_type(kind, pa), self._batches[number]
        place = batch.schema.get_field_index(name)
        if place < 0:
            return pa.nulls(batch.num_rows, wanted)
        self._check(name, wanted, pa)
        found = self._columns[number, name, kind] = _cast(batch.column(place), wanted, pa)
        return found

    def row(self, document: int, types: Mapping[str, FieldType]) -> dict[str, FieldValue]:
        """The fields of a document, without those that it lacks.

        Args:
            document: its number in the segment.
            types: of the fields in the index.

        Raises:
            IndexFormatError: the file is damaged.
        """
        self.batches(types)
        number = bisect_right(self._firsts, document) - 1
        local = document - self._firsts[number]
        found: dict[str, FieldValue] = {}
        for name in self.names:
            value = self.column(number, name, types[name])[local].as_py()
            if value is not None:
                found[name] = value.replace(tzinfo=datetime.timezone.utc) if types[name] == "datetime" else value
        return found

    def _check(self, name: str, wanted: Any, pa: Any) -> None:
        """Looks through a column once, before anything relies on it: offsets of a damaged file may point anywhere."""
        if name in self._checked:
            return
        for batch in self._batches:
            column = batch.column(batch.schema.get_field_index(name))
            if column.type != wanted and not (pa.types.is_int64(column.type) and pa.types.is_float64(wanted)):
                raise self._damaged()
            try:
                column.validate(full=True)
            except pa.ArrowException as error:
                raise self._damaged() from error
        self._checked.add(name)

    def _damaged(self) -> IndexFormatError:
        return IndexFormatError(f"{self._path} is damaged. Build the index again, or restore the file.")


def merge_columns(
    path: Path, sources: Iterable[tuple[StoredFields | None, NDArray[np.bool_]]], types: Mapping[str, FieldType]
) -> FileRecord | None:
    """Writes the fields of the living documents of several segments, in their order.

    Args:
        path: the new file.
        sources: of each segment its fields, None where it has none, and which documents live.
        types: of the fields in the index.

    Returns:
        None when no document has a field, and nothing is written.

    Raises:
        IndexFormatError: a source is damaged.
        StorageError: the file cannot be written.
    """
    listed = [(fields, live, () if fields is None else fields.batches(types)) for fields, live in sources]
    present = {name for fields, _, _ in listed if fields is not None for name in fields.names}
    if not present:
        return None
    pa = arrow("Merging segments with fields")
    kept = {name: kind for name, kind in types.items() if name in present}

    def rows() -> Iterator[Any]:
        for fields, live, batches in listed:
            if fields is None:
                yield pa.RecordBatch.from_arrays([pa.nulls(int(live.sum()))], names=[""])
                continue
            first = 0
            for number, batch in enumerate(batches):
                alive = live[first : first + batch.num_rows]
                first += batch.num_rows
                columns = [fields.column(number, name, kind) for name, kind in kept.items()]
                whole = pa.RecordBatch.from_arrays(columns, names=list(kept))
                yield whole if alive.all() else whole.filter(boolean_array(alive, pa))

    return write_columns(path, kept, rows())


def stored_value(value: Any) -> Any:
    """A value as Arrow takes it: times in UTC, lists as lists."""
    if isinstance(value, datetime.datetime):
        return in_utc(value).replace(tzinfo=None)
    return list(value) if isinstance(value, tuple) else value


def boolean_array(values: NDArray[np.bool_], pa: Any, known: NDArray[np.bool_] | None = None) -> Any:
    """Truth values as an array of Arrow. It is made of buffers: pyarrow's own conversions import pandas where there is one.

    Args:
        values: the values.
        pa: pyarrow.
        known: which of them are known; the others are null. None: all.
    """
    buffers = [None if bits is None else pa.py_buffer(np.packbits(bits, bitorder="little")) for bits in (known, values)]
    return pa.Array.from_buffers(pa.bool_(), len(values), buffers)
