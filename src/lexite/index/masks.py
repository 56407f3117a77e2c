"""Evaluating filters: from a condition to the documents for which it is true, with pyarrow.

Values that fields are compared with are made into Arrow's from buffers: ``pyarrow.scalar`` and ``pyarrow.array`` import pandas
where that is installed, which takes longer than a filter over a million documents.
"""

from __future__ import annotations

import datetime
import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lexite.index.conditions import (
    Between,
    Both,
    Condition,
    Contains,
    Either,
    IsNull,
    Leaf,
    Like,
    Negation,
    OneOf,
    Operator,
    Value,
    leaves,
)
from lexite.index.field_types import ID_FIELD, FieldType
from lexite.index.fields import StoredFields, arrow, arrow_type, boolean_array
from lexite.index.ids import IdTable

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_FUNCTIONS = {
    "=": "equal",
    "<>": "not_equal",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
}
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1


@dataclass(frozen=True)
class FieldedDocuments:
    """The documents of a segment as filters see them.

    Attributes:
        ids: their ids.
        fields: their fields; None when none has any.
        n_documents: deleted ones included.
    """

    ids: IdTable
    fields: StoredFields | None
    n_documents: int


def documents_that_pass(
    condition: Condition, segments: Sequence[FieldedDocuments], schema: Mapping[str, FieldType]
) -> list[NDArray[np.bool_]]:
    """For each segment, which documents a filter lets pass, deleted ones included.

    Args:
        condition: checked (:func:`lexite.index.filters.read_filter`).
        segments: of the index.
        schema: types of its fields.

    Raises:
        IndexFormatError: a file is damaged.
        MissingExtraError: pyarrow is not installed.
    """
    pa = arrow("Filtering")
    compute = importlib.import_module("pyarrow.compute")
    fields = {leaf.field for leaf in leaves(condition)}
    masks = []
    for segment in segments:
        mask = np.zeros(segment.n_documents, dtype=bool)
        first = 0
        for n_rows, columns in _pieces(segment, fields, schema, pa):
            found = _Evaluation(columns, schema, pa, compute).of(condition)
            mask[first : first + n_rows] = true_values(found)
            first += n_rows
        masks.append(mask)
    return masks


def _pieces(
    segment: FieldedDocuments, names: set[str], schema: Mapping[str, FieldType], pa: Any
) -> Sequence[tuple[int, dict[str, Any]]]:
    """Runs of rows, each with the columns that are asked for."""
    ids = id_column(segment, pa) if ID_FIELD in names else None
    stored = sorted(names - {ID_FIELD})
    if segment.fields is None:
        nulls = {name: pa.nulls(segment.n_documents, arrow_type(schema[name], pa)) for name in stored}
        return [(segment.n_documents, nulls | ({} if ids is None else {ID_FIELD: ids}))]
    pieces, first = [], 0
    for number, batch in enumerate(segment.fields.batches(schema)):
        columns = {name: segment.fields.column(number, name, schema[name]) for name in stored}
        if ids is not None:
            columns[ID_FIELD] = ids.slice(first, batch.num_rows)
        pieces.append((batch.num_rows, columns))
        first += batch.num_rows
    return pieces


def id_column(segment: FieldedDocuments, pa: Any) -> Any:
    """The ids of a segment as an array of Arrow, over the memory where they are."""
    table = segment.ids
    bounds = np.ascontiguousarray(table.bounds)
    if not 0 == bounds[0] <= bounds[-1] <= len(table.data) or np.any(np.diff(bounds) < 0):
        raise table.damaged()
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(np.ascontiguousarray(table.data))]
    return pa.Array.from_buffers(pa.large_string(), segment.n_documents, buffers)


class _Evaluation:
    """Evaluates conditions over columns of equal length.

    Args:
        columns: arrays of Arrow, by field.
        schema: types of the fields.
        pa: pyarrow.
        compute: its functions.
    """

    def __init__(self, columns: dict[str, Any], schema: Mapping[str, FieldType], pa: Any, compute: Any) -> None:
        self._columns, self._schema, self._pa, self._compute = columns, schema, pa, compute

    def of(self, condition: Condition) -> Any:
        """True, false or null for each row."""
        if isinstance(condition, Both):
            return self._joined(condition.parts, self._compute.and_kleene)
        if isinstance(condition, Either):
            return self._joined(condition.parts, self._compute.or_kleene)
        if isinstance(condition, Negation):
            return self._compute.invert(self.of(condition.part))
        return self._leaf(condition, self._columns[condition.field])

    def _joined(self, parts: Sequence[Condition], join: Callable[[Any, Any], Any]) -> Any:
        found = self.of(parts[0])
        for part in parts[1:]:
            found = join(found, self.of(part))
        return found

    def _leaf(self, condition: Leaf, column: Any) -> Any:
        compute = self._compute
        if isinstance(condition, IsNull):
            return compute.is_null(column)
        if isinstance(condition, Like):
            return compute.match_like(column, condition.pattern, ignore_case=condition.any_case)
        if isinstance(condition, Contains):
            return self._contains(column, condition.value)
        if isinstance(condition, OneOf):
            return self._one_of(column, condition)
        if isinstance(condition, Between):
            low = self._compared(column, condition.field, ">=", condition.low)
            return compute.and_kleene(low, self._compared(column, condition.field, "<=", condition.high))
        return self._compared(column, condition.field, condition.operator, condition.value)

    def _compared(self, column: Any, field: str, operator: Operator, value: Value) -> Any:
        kind = self._kind(field)
        if kind == "integer" and isinstance(value, (int, float)):
            known = whole_comparison(operator, value)
            if isinstance(known, bool):  # whatever the field holds
                return (self._compute.equal if known else self._compute.not_equal)(column, column)
            operator, value = known
        elif kind == "number":
            value = rounded(value)
        return getattr(self._compute, _FUNCTIONS[operator])(column, self._array([value], kind)[0])

    def _one_of(self, column: Any, condition: OneOf) -> Any:
        kind = self._kind(condition.field)
        values: list[Any] = list(condition.values)
        if kind == "integer":
            values = [int(value) for value in values if not isinstance(whole_comparison("=", value), bool)]
        elif kind == "number":
            values = [rounded(value) for value in values]
            if 0.0 in values:  # is_in tells 0.0 from -0.0, which are equal
                values += [0.0, -0.0]
        found = true_values(self._compute.is_in(column, value_set=self._array(values, kind)))
        return boolean_array(found, self._pa, ~true_values(self._compute.is_null(column)))

    def _contains(self, column: Any, value: str) -> Any:
        same = true_values(self._compute.equal(column.flatten(), self._array([value], "text")[0]))
        found = np.zeros(len(column), dtype=bool)
        found[whole_numbers(self._compute.list_parent_indices(column))[same]] = True
        return boolean_array(found, self._pa, ~true_values(self._compute.is_null(column)))

    def _kind(self, field: str) -> FieldType:
        return "text" if field == ID_FIELD else self._schema[field]

    def _array(self, values: Sequence[Any], kind: FieldType) -> Any:
        """Values of one type as an array."""
        pa = self._pa
        if kind == "text":
            encoded = [value.encode("utf-8", "surrogatepass") for value in values]
            bounds = np.concatenate([[0], np.cumsum([len(value) for value in encoded])]).astype(np.int64)
            data = [pa.py_buffer(bounds), pa.py_buffer(b"".join(encoded))]
        elif kind == "boolean":
            return boolean_array(np.array(values, dtype=bool), pa)
        elif kind == "date":
            data = [pa.py_buffer(np.array([(value - _EPOCH.date()).days for value in values], dtype=np.int32))]
        elif kind == "datetime":
            microsecond = datetime.timedelta(microseconds=1)
            data = [pa.py_buffer(np.array([(value - _EPOCH) // microsecond for value in values], dtype=np.int64))]
        else:
            data = [pa.py_buffer(np.array(values, dtype=np.int64 if kind == "integer" else np.float64))]
        return pa.Array.from_buffers(arrow_type(kind, pa), len(values), [None, *data])


def true_values(array: Any) -> NDArray[np.bool_]:
    """Where an array of truth values is true; null counts as false."""
    n = len(array)
    validity, values = array.buffers()
    found = _bits(values, array.offset, n)
    return found if validity is None else found & _bits(validity, array.offset, n)


def whole_numbers(array: Any) -> NDArray[np.int64]:
    """The numbers of an array of int64 without nulls."""
    values: NDArray[np.int64] = np.frombuffer(array.buffers()[1] or b"", dtype=np.int64)
    return values[array.offset : array.offset + len(array)]


def _bits(buffer: Any, offset: int, n: int) -> NDArray[np.bool_]:
    if not n:
        return np.zeros(0, dtype=bool)
    first = offset // 8
    packed = np.frombuffer(buffer, dtype=np.uint8)[first : (offset + n + 7) // 8]
    start = offset - 8 * first
    return np.unpackbits(packed, bitorder="little")[start : start + n].view(np.bool_)


def whole_comparison(operator: Operator, value: Value) -> bool | tuple[Operator, int]:
    """A comparison of whole numbers of 64 bits with any number, as one with a whole number; or its outcome for all of them.

    >>> whole_comparison("<", 2.5), whole_comparison("=", 2.5), whole_comparison(">", 1e30)
    (('<=', 2), False, False)
    """
    number = float(value) if isinstance(value, float) else int(value)  # type: ignore[arg-type]
    if number > _MOST or number < _LEAST:
        return operator == "<>" or (operator in ("<", "<=")) == (number > 0) and operator != "="
    if isinstance(number, int) or number.is_integer():
        return operator, int(number)
    if operator in ("=", "<>"):
        return operator == "<>"
    return ("<=", math.floor(number)) if operator in ("<", "<=") else (">=", math.ceil(number))


def rounded(value: Any) -> float:
    """A number in double precision; one that is too large is infinite, which no field holds."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
