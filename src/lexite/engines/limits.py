"""Which hits of a search are wanted, as engines are asked: checked against what they can do and what they hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lexite.engines.driver import Driver, Question
from lexite.engines.queries import EngineQuery
from lexite.errors import ArgumentError, CorpusError, FilterError, ModelError
from lexite.index.field_types import ID_FIELD, FieldType, known_field
from lexite.index.filtering import read_sort
from lexite.index.filters import read_filter

if TYPE_CHECKING:
    from lexite.index.document_ids import Among
    from lexite.index.filters import Where


@dataclass(frozen=True)
class Wanted:
    """Limits of a search, as ``BM25Index.search`` takes them.

    Attributes:
        exclude: for each query the id of a document that is no hit.
        among: the only documents that may be hits.
        where: a filter.
        sort: a field, in place of scores.
        min_score: least score of a hit.
    """

    exclude: Sequence[str | None] | None = None
    among: Among | None = None
    where: Where | None = None
    sort: str | None = None
    min_score: float | None = None


def refuse_options(driver: Driver, wanted: Wanted, *, approximate: bool, min_coverage: float | None) -> None:
    """Refuses options that the engine cannot have the effect of; raises ArgumentError."""
    able = driver.capabilities
    cannot: Mapping[str, bool] = {
        "approximate": approximate,
        "exclude": wanted.exclude is not None and not able.exclude,
        "among": wanted.among is not None and not able.among,
        "where": wanted.where is not None and not able.fields,
        "sort": wanted.sort is not None and not able.fields,
        "min_score": wanted.min_score is not None and not able.fields,
        "min_coverage": min_coverage is not None,
    }
    refused = next((name for name, given in cannot.items() if given), None)
    if refused is not None:
        raise ArgumentError(f"{driver.engine} cannot search with {refused}=...: leave it out, or ask an index.")


def questions_of(
    driver: Driver, fields: Mapping[str, FieldType], queries: Sequence[EngineQuery], top_k: int, wanted: Wanted
) -> list[Question]:
    """Queries with their limits, checked.

    Args:
        driver: of the collection.
        fields: types of its fields.
        queries: the queries.
        top_k: documents that are wanted.
        wanted: the limits.

    Raises:
        CorpusError: a document to search among is not there.
        FilterError: the filter or the order do not fit the fields.
        ModelError: limits for another number of queries.
    """
    condition = None if wanted.where is None else read_filter(wanted.where, fields)
    by = None if wanted.sort is None else _order(wanted.sort, fields)
    exclude = wanted.exclude
    left_out = [exclude] * len(queries) if exclude is None else [exclude] if isinstance(exclude, str) else list(exclude)
    if len(left_out) != len(queries):
        raise ModelError(f"Documents to exclude are given for {len(left_out)} queries, but {len(queries)} are asked.")
    allowed = _allowed(driver, wanted.among, len(queries))
    return [
        Question(query, top_k, only, excluded, condition, by, wanted.min_score)
        for query, excluded, only in zip(queries, left_out, allowed, strict=True)
    ]


def _order(sort: str, fields: Mapping[str, FieldType]) -> tuple[str, bool] | None:
    by = read_sort(sort)
    if by is None:
        return None
    field, descending = known_field(by[0], fields, besides=(ID_FIELD,)), by[1]
    if fields.get(field) == "list":
        raise FilterError(f"The field '{field}' holds lists of text, which have no order. Sort by another field.")
    return field, descending


def _allowed(driver: Driver, among: Among | None, n_queries: int) -> list[list[str] | None]:
    """For each query the ids of the only documents that may be hits; None: all."""
    if among is None:
        return [None] * n_queries
    given: Sequence[Any] = list(among)
    if all(isinstance(each, str) for each in given):
        lists = [list(given)] * n_queries
    elif len(given) != n_queries:
        raise ModelError(f"Documents to search among are given for {len(given)} queries, but {n_queries} are asked.")
    else:
        lists = [list(each) for each in given]
    wanted = {each for own in lists for each in own}
    if not all(isinstance(each, str) for each in wanted):
        raise ArgumentError(f"{driver.engine} has no numbers of documents. Search among ids.")
    missing = sorted(wanted - driver.present(sorted(wanted)))
    if missing:
        raise CorpusError(f"{driver.address} has no document '{missing[0]}'.")
    return list(lists)
