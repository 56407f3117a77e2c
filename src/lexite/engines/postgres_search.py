"""The statement of a search in PostgreSQL. pgvector's distance is the inner product times -1."""

from __future__ import annotations

from typing import Any

from lexite.engines.driver import Question
from lexite.engines.forms.base import Collection
from lexite.engines.postgres_filters import sql_value, where_sql


def search_sql(table: str, vector: str, question: Question, collection: Collection, depth: int | None) -> tuple[str, list[Any]]:
    """A statement and its values. It gives document, score, and where the passage stands.

    Args:
        table: of the passages, as SQL.
        vector: of the question, as pgvector writes it.
        question: its limits.
        collection: types of its fields, and whether documents are cut.
        depth: rows that an approximate index gives; None: all rows are read.
    """
    conditions, values = _conditions(question, collection)
    only = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    columns = "doc, ordinal, number, first, behind, fields"
    inner = f"SELECT {columns}, lexite <#> %s::sparsevec AS distance FROM {table}{only}"
    if depth is None:
        inner, values = f"{inner} OFFSET 0", [vector, *values]
    else:
        inner = f"{inner} ORDER BY lexite <#> %s::sparsevec LIMIT {depth}"
        values = [vector, *values, vector]
    least = [] if question.min_score is None else [-question.min_score]
    found = f"SELECT * FROM ({inner}) AS scored WHERE distance < 0{' AND distance <= %s' if least else ''}"
    values += least
    if collection.has_passages:
        found = f"SELECT DISTINCT ON (doc) * FROM ({found}) AS passages ORDER BY doc, distance, ordinal"
    by, more = _order(question.sort, collection)
    statement = f"SELECT doc, -distance, first, behind FROM ({found}) AS best ORDER BY {by}distance, number LIMIT %s"
    return statement, [*values, *more, question.top_k]


def _conditions(question: Question, collection: Collection) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    values: list[Any] = []
    if question.among is not None:
        conditions.append("doc = ANY(%s)")
        values.append(list(question.among))
    if question.exclude is not None and "\0" not in question.exclude:
        conditions.append("doc <> %s")
        values.append(question.exclude)
    if question.where is not None:
        written, own = where_sql(question.where, collection.fields)
        conditions.append(written)
        values += own
    return conditions, values


def _order(sort: tuple[str, bool] | None, collection: Collection) -> tuple[str, list[Any]]:
    if sort is None:
        return "", []
    field, descending = sort
    expression, values = sql_value(field, collection.fields.get(field, "text"))
    return f"{expression} {'DESC' if descending else 'ASC'} NULLS LAST, ", values
