"""Counting and sorting by the values of a field."""

from __future__ import annotations

import datetime
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lexite.errors import FilterError
from lexite.index.field_types import ID_FIELD, VALUES_COUNTED, FieldType, json_value, known_field, listed_fields
from lexite.index.fields import arrow, arrow_type, boolean_array
from lexite.index.masks import FieldedDocuments, id_column, true_values, whole_numbers

if TYPE_CHECKING:
    from lexite.corpus.records import FieldValue


@dataclass(frozen=True)
class Facet:
    """How often the values of a field occur among some documents.

    Attributes:
        field: its name.
        values: the most frequent values with the number of documents that have each, most frequent first, and equal counts by
            value. A document whose list holds several values counts for each of them.
        n_values: different values in all.
        n_documents: documents that were looked at.
        n_without: how many of them lack the field.
    """

    field: str
    values: tuple[tuple[FieldValue, int], ...]
    n_values: int
    n_documents: int
    n_without: int

    def to_json(self) -> dict[str, Any]:
        """JSON values; dates are written as in ISO 8601."""
        values = [{"value": json_value(value), "documents": count} for value, count in self.values]
        return {
            "field": self.field,
            "values": values,
            "n_values": self.n_values,
            "n_documents": self.n_documents,
            "n_without": self.n_without,
        }


@dataclass(frozen=True)
class FieldOrder:
    """All documents of an index in the order of a field.

    Attributes:
        documents: (n,) int64 numbers; documents with the same value follow each other in their own order.
        groups: (n,) int64, ascending, the same number for documents of the same value.
    """

    documents: NDArray[np.int64]
    groups: NDArray[np.int64]


def count_values(
    field: str,
    segments: Sequence[FieldedDocuments],
    schema: Mapping[str, FieldType],
    masks: Sequence[NDArray[np.bool_]],
    n_most: int = VALUES_COUNTED,
) -> Facet:
    """Counts the values of a field among some documents.

    Args:
        field: what a person calls it.
        segments: of the index.
        schema: types of its fields.
        masks: for each segment, the documents that count.
        n_most: how many values to return at most.

    Raises:
        FilterError: there is no such field.
        IndexFormatError: a file is damaged.
        MissingExtraError: pyarrow is not installed.
    """
    field = known_field(field, schema)
    kind, pa, counts = schema[field], arrow("Counting the values of a field"), dict[Any, int]()
    compute = importlib.import_module("pyarrow.compute")
    n_documents = n_with = 0
    for segment, mask in zip(segments, masks, strict=True):
        n_documents += int(mask.sum())
        first = 0
        for number, batch in enumerate(segment.fields.batches(schema) if segment.fields is not None else ()):
            assert segment.fields is not None
            column = segment.fields.column(number, field, kind)
            own = mask[first : first + batch.num_rows] & true_values(compute.is_valid(column))
            first += batch.num_rows
            n_with += int(own.sum())
            counted = compute.value_counts(_values(compute.filter(column, boolean_array(own, pa)), kind, compute, pa))
            for value, count in zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True):
                value = value.replace(tzinfo=datetime.timezone.utc) if kind == "datetime" else value
                counts[value] = counts.get(value, 0) + count
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return Facet(field, tuple(ranked[:n_most]), len(counts), n_documents, n_documents - n_with)


def _values(column: Any, kind: FieldType, compute: Any, pa: Any) -> Any:
    """The values that are counted: those of each list, each once."""
    if kind != "list":
        return column
    codes = compute.dictionary_encode(column.flatten())
    parents = whole_numbers(compute.list_parent_indices(column))
    pairs = np.unique(parents * max(len(codes.dictionary), 1) + codes.indices.to_numpy())
    values = pairs % max(len(codes.dictionary), 1)
    indices = pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values.astype(np.int64))])
    return codes.dictionary.take(indices)


def order_by_field(
    field: str, segments: Sequence[FieldedDocuments], schema: Mapping[str, FieldType], *, descending: bool
) -> FieldOrder:
    """Sorts the documents of an index by a field. Documents without it come last in both directions.

    Args:
        field: what a person calls it; ``_id`` is the id of a document.
        segments: of the index.
        schema: types of its fields.
        descending: largest values first.

    Raises:
        FilterError: there is no such field, or it holds lists.
        IndexFormatError: a file is damaged.
        MissingExtraError: pyarrow is not installed.
    """
    field = known_field(field, schema, besides=(ID_FIELD,))
    kind: FieldType = "text" if field == ID_FIELD else schema[field]
    if kind == "list":
        raise FilterError(f"The field '{field}' holds lists of text, which have no order. {listed_fields(schema)}")
    pa = arrow("Sorting by a field")
    compute = importlib.import_module("pyarrow.compute")
    chunks = [chunk for segment in segments for chunk in _chunks(segment, field, schema, kind, pa)]
    column = pa.chunked_array(chunks, arrow_type(kind, pa))
    if kind == "boolean":
        column = column.cast(pa.uint8())
    direction = "descending" if descending else "ascending"
    ranks = compute.rank(column, sort_keys=direction, tiebreaker="dense").to_numpy().astype(np.int64)  # null is last in both
    order = np.argsort(ranks, kind="stable")
    return FieldOrder(order.astype(np.int64), ranks[order])


def _chunks(segment: FieldedDocuments, field: str, schema: Mapping[str, FieldType], kind: FieldType, pa: Any) -> list[Any]:
    if field == ID_FIELD:
        return [id_column(segment, pa)]
    if segment.fields is None:
        return [pa.nulls(segment.n_documents, arrow_type(kind, pa))]
    return [segment.fields.column(number, field, kind) for number in range(len(segment.fields.batches(schema)))]
