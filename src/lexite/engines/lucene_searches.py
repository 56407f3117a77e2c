"""Questions as queries of Lucene: a clause for each term, what limits the hits, and their order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lexite.engines.driver import Question
from lexite.engines.forms.base import FIELD
from lexite.engines.lucene_filters import LEAST, MOST, LuceneQueries, field_key
from lexite.engines.lucene_java import Java
from lexite.engines.routes import Route
from lexite.engines.translating import translated
from lexite.index.field_types import ID_FIELD, FieldType


class QuestionWriter:
    """Writes questions as queries of Lucene.

    Args:
        java: its classes.
    """

    def __init__(self, java: Java) -> None:
        self._java: Any = java

    def clauses(self, names: Sequence[str], weights: Sequence[float], pivot: float, route: Route) -> list[Any]:
        """A query for each term, with its weight. By ``pivot`` frequencies saturate, where the route says so."""
        own = self._java
        made = []
        for name, weight in zip(names, weights, strict=True):
            if route.own_idf:
                clause = own.TermQuery(own.Term(FIELD, name))
            elif route.saturates:
                clause = own.FeatureField.newSaturationQuery(FIELD, name, 1.0, pivot)
            else:
                clause = own.FeatureField.newLinearQuery(FIELD, name, 1.0)
            made.append(own.BoostQuery(clause, weight))
        return made

    def question(self, clauses: Sequence[Any], question: Question, fields: Mapping[str, FieldType]) -> Any:
        """The query of a question.

        Args:
            clauses: of its terms.
            question: what limits its hits.
            fields: types of the fields that filters name.
        """
        own = self._java
        builder = own.Builder()
        builder.add(self._disjunction(clauses), own.Occur.MUST)
        if question.among is not None:
            builder.add(self.one_of("doc", question.among), own.Occur.FILTER)
        if question.exclude is not None:
            builder.add(own.TermQuery(own.Term("doc", question.exclude)), own.Occur.MUST_NOT)
        if question.where is not None:
            builder.add(translated(question.where, fields, LuceneQueries(own)), own.Occur.FILTER)
        return builder.build()

    def _disjunction(self, clauses: Sequence[Any]) -> Any:
        own = self._java
        if len(clauses) + 64 > own.IndexSearcher.getMaxClauseCount():
            own.IndexSearcher.setMaxClauseCount(len(clauses) + 64)
        builder = own.Builder()
        for clause in clauses:
            builder.add(clause, own.Occur.SHOULD)
        return builder.build()

    def one_of(self, field: str, values: Sequence[str]) -> Any:
        """The documents that have one of some terms in a field."""
        listed = self._java.ArrayList()
        for value in values:
            listed.add(self._java.BytesRef(value))
        return self._java.TermInSetQuery(field, listed)

    def order(self, sort: tuple[str, bool] | None, fields: Mapping[str, FieldType]) -> Any | None:
        """The order of hits; None: that of scores. Documents without the field come last, in both directions."""
        if sort is None:
            return None
        own, (field, descending) = self._java, sort
        if field == ID_FIELD or fields[field] == "text":
            first = own.SortField(field_key(field), own.SortType.STRING, descending)
            first.setMissingValue(own.SortField.STRING_FIRST if descending else own.SortField.STRING_LAST)
        elif fields[field] == "number":
            first = own.SortField(field_key(field), own.SortType.DOUBLE, descending)
            first.setMissingValue(own.Double(-math.inf if descending else math.inf))
        else:
            first = own.SortField(field_key(field), own.SortType.LONG, descending)
            first.setMissingValue(own.Long(LEAST if descending else MOST))
        return own.Sort(first, own.SortField.FIELD_SCORE)
