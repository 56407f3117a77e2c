"""Filters, counts and orders of an opened index: what its fields say about its documents.

What evaluates them is imported when it is needed, so that other searches do not wait for it.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lexite.caching import remembered
from lexite.errors import ArgumentError, FilterError
from lexite.index.field_types import SCORE_FIELD, FieldType
from lexite.index.fields import has_arrow
from lexite.index.segment import Segment

if TYPE_CHECKING:
    from lexite.index.conditions import Condition
    from lexite.index.field_values import Facet, FieldOrder
    from lexite.index.filters import Where
    from lexite.index.masks import FieldedDocuments

logger = logging.getLogger("lexite")
MASKS_KEPT, ORDERS_KEPT = 16, 4


@dataclass(frozen=True)
class Passing:
    """The documents that a filter lets pass, and their passages, without deleted ones.

    Attributes:
        documents: for each segment, (n_documents,) which pass.
        live: for each segment, (n_passages,) uint8, 1 for the passages of these documents: the form that kernels take.
        n_passages: number of these passages.
    """

    documents: tuple[NDArray[np.bool_], ...]
    live: tuple[NDArray[np.uint8], ...]
    n_passages: int

    @classmethod
    def of(cls, segments: Sequence[Segment], documents: Sequence[NDArray[np.bool_]]) -> Passing:
        """Documents with their passages.

        Args:
            segments: of the index.
            documents: for each segment, which living documents pass.
        """
        live = tuple(each.of_passages(mask).view(np.uint8) for each, mask in zip(segments, documents, strict=True))
        return cls(tuple(documents), live, sum(int(mask.sum()) for mask in live))

    def restricted(self, segments: Sequence[Segment], documents: Sequence[NDArray[np.bool_]]) -> Passing:
        """Those of them that are among other documents."""
        return Passing.of(segments, [own & other for own, other in zip(self.documents, documents, strict=True)])

    @functools.cached_property
    def passages(self) -> NDArray[np.int64]:
        """The numbers of these passages, ascending."""
        return numbers_of(self.live)

    @functools.cached_property
    def all_documents(self) -> NDArray[np.bool_]:
        """Which documents pass, numbered through all segments."""
        return np.concatenate([np.zeros(0, dtype=bool), *self.documents])


class DocumentFields:
    """The fields of an opened index. What filters let pass and how fields sort is kept for the next search.

    Args:
        segments: of the index.
        types: of the fields.
        name: of the index, for messages.
    """

    def __init__(self, segments: Sequence[Segment], types: Mapping[str, FieldType], name: object) -> None:
        self._segments, self.types, self._name = tuple(segments), types, name
        self._passing = remembered(self._evaluate, MASKS_KEPT)
        self._order = remembered(self._sort, ORDERS_KEPT)

    @functools.cached_property
    def shown(self) -> Mapping[str, FieldType]:
        """Types of the fields that documents are read with: none where pyarrow is not installed, which is said once."""
        if not self.types or has_arrow():
            return self.types
        logger.warning(
            "%s has fields, which are not read without the package 'pyarrow'. Run: pip install 'lexite[fields]'", self._name
        )
        return {}

    def passing(self, where: Where | None) -> Passing:
        """The documents that a filter lets pass; all living ones for None.

        Raises:
            FilterError: the filter cannot be read, or a field or a value does not fit.
            MissingExtraError: a package that filters need is not installed.
            IndexFormatError: a file is damaged.
        """
        if where is None:
            return self._passing(None)
        from lexite.index.filters import read_filter

        return self._passing(read_filter(where, self.types))

    def order(self, field: str, descending: bool) -> FieldOrder:
        """All documents, deleted ones included, in the order of a field.

        Raises:
            FilterError, MissingExtraError, IndexFormatError: as :func:`lexite.index.field_values.order_by_field`.
        """
        return self._order(field, descending)

    def counts(self, field: str, masks: Sequence[NDArray[np.bool_]], n_most: int) -> Facet:
        """How often the values of a field occur among some documents.

        Args:
            field: its name.
            masks: for each segment, the documents that count.
            n_most: how many values to return at most.

        Raises:
            FilterError, MissingExtraError, IndexFormatError: as :func:`lexite.index.field_values.count_values`.
        """
        from lexite.index.field_values import count_values

        return count_values(field, self._fielded(), self.types, masks, n_most)

    def check(self, where: Where | None, sort: str | None) -> None:
        """Looks whether a search could filter and sort so; see ``BM25Index.check_fields``."""
        if where is not None:
            self.passing(where)
        if sort is not None and (by := read_sort(sort)):
            self.order(*by)

    def select(self, where: Where | None, sort: str | None) -> NDArray[np.int64]:
        """The numbers of all documents that pass a filter, in order; see ``BM25Index.select``."""
        passing = self.passing(where).all_documents
        if sort is None:
            return np.flatnonzero(passing).astype(np.int64)
        by = read_sort(sort)
        if by is None:
            raise FilterError(
                "Documents have a score only as hits of a query, so they cannot be sorted by it. Sort by a field."
            )
        order = self.order(*by).documents
        return order[passing[order]]

    def facets(
        self, fields: str | Sequence[str], where: Where | None, among: NDArray[np.int64] | None, n_values: int
    ) -> list[Facet]:
        """How often the values of fields occur; see ``BM25Index.facets``. ``among`` holds numbers of documents."""
        if isinstance(n_values, bool) or not isinstance(n_values, int) or n_values < 1:
            raise ArgumentError(f"n_values is {n_values!r}, but must be a whole number and at least 1.")
        masks = list(self.passing(where).documents)
        if among is not None:
            chosen = np.zeros(sum(len(mask) for mask in masks), dtype=bool)
            chosen[among] = True
            parts = np.split(chosen, np.cumsum([len(mask) for mask in masks])[:-1])
            masks = [mask & part for mask, part in zip(masks, parts, strict=False)]
        return [self.counts(name, masks, n_values) for name in ([fields] if isinstance(fields, str) else fields)]

    def _evaluate(self, condition: Condition | None) -> Passing:
        living = [np.ones(each.n_documents, dtype=bool) if each.deleted is None else ~each.deleted for each in self._segments]
        if condition is not None:
            from lexite.index.masks import documents_that_pass

            masks = documents_that_pass(condition, self._fielded(), self.types)
            living = [mask & alive for mask, alive in zip(masks, living, strict=True)]
        return Passing.of(self._segments, living)

    def _sort(self, field: str, descending: bool) -> FieldOrder:
        from lexite.index.field_values import order_by_field

        return order_by_field(field, self._fielded(), self.types, descending=descending)

    def _fielded(self) -> list[FieldedDocuments]:
        from lexite.index.masks import FieldedDocuments

        return [FieldedDocuments(each.ids, each.fields, each.n_documents) for each in self._segments]


def read_sort(sort: str) -> tuple[str, bool] | None:
    """The field that a person wants hits sorted by, and whether the largest values come first; None for the order of scores.

    Raises:
        FilterError: it is no field with a direction.

    >>> read_sort("year:desc"), read_sort("year"), read_sort("_score")
    (('year', True), ('year', False), None)
    """
    if not isinstance(sort, str) or not sort:
        raise FilterError(f"Hits are sorted by the name of a field, such as 'year' or 'year:desc', not by {sort!r}.")
    if sort in (SCORE_FIELD, f"{SCORE_FIELD}:desc"):
        return None
    if sort == f"{SCORE_FIELD}:asc":
        raise FilterError(f"Hits are sorted by score with the best first only. Write '{SCORE_FIELD}', or leave the sort out.")
    field, _, direction = sort.rpartition(":")
    return (field, direction == "desc") if field and direction in ("asc", "desc") else (sort, False)


def numbers_of(masks: Sequence[NDArray[np.uint8]] | Sequence[NDArray[np.bool_]]) -> NDArray[np.int64]:
    """The places of what masks let pass, numbered through all of them.

    >>> numbers_of([np.array([True, False]), np.array([True])]).tolist()
    [0, 2]
    """
    return np.flatnonzero(np.concatenate([np.zeros(0, dtype=bool), *(mask.view(np.bool_) for mask in masks)])).astype(np.int64)
