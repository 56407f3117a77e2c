"""Filters of Haystack, over ``id`` and what is in ``meta``, as conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lexite.errors import FilterError
from lexite.index.conditions import Condition, Negation, Operator
from lexite.integrations.shared.conditions import NOTHING, Conditions, all_of, any_of

_ORDERS: dict[str, Operator] = {">": ">", ">=": ">=", "<": "<", "<=": "<="}
_NOT_FILTERED = ("content", "blob", "embedding", "sparse_embedding", "score")


def condition_of(given: Any, make: Conditions) -> Condition:
    """The condition that a filter of Haystack stands for.

    Args:
        given: a dictionary with ``field``, ``operator`` and ``value``, or with ``operator`` and ``conditions``.
        make: makes conditions.

    Raises:
        FilterError: it is none.

    >>> given = {"field": "meta.year", "operator": ">=", "value": 2020}
    >>> print(condition_of(given, Conditions({"year": "integer"})))
    year >= 2020 and not year is null
    """
    if not isinstance(given, Mapping):
        raise FilterError(f"A filter is a dictionary with field, operator and value, not a {type(given).__name__}.")
    if "field" in given:
        return _comparison(given, make)
    for key in ("operator", "conditions"):
        if key not in given:
            raise FilterError(f"The filter lacks '{key}': {dict(given)!r}")
    operator, conditions = given["operator"], given["conditions"]
    if operator not in ("AND", "OR", "NOT") or not isinstance(conditions, (list, tuple)):
        raise FilterError(f"The filter has the operator {operator!r}. It is AND, OR or NOT, before a list of conditions.")
    parts = [condition_of(each, make) for each in conditions]
    if operator == "OR":
        return any_of(parts)
    return all_of(parts) if operator == "AND" else Negation(all_of(parts))


def _comparison(given: Mapping[str, Any], make: Conditions) -> Condition:
    for key in ("operator", "value"):
        if key not in given:
            raise FilterError(f"The filter lacks '{key}': {dict(given)!r}")
    field, operator, value = _field(given["field"]), given["operator"], given["value"]
    if operator == "==":
        return make.equal(field, value)
    if operator == "!=":
        return make.differs(field, value)
    if operator in _ORDERS:
        return NOTHING if value is None else make.ordered(field, _ORDERS[operator], value)
    if operator in ("in", "not in"):
        if not isinstance(value, list):
            raise FilterError(f"After '{operator}' stands a list, not a {type(value).__name__}.")
        found = make.one_of(field, value)
        return found if operator == "in" else Negation(found)
    raise FilterError(f"A filter has no operator {operator!r}. It has ==, !=, >, >=, <, <=, in, not in.")


def _field(name: Any) -> str:
    """The field that Haystack calls ``meta.year``, or ``year`` in older filters, or ``id``."""
    if not isinstance(name, str) or name in _NOT_FILTERED:
        raise FilterError(f"Documents are filtered by id and by what is in meta, not by {name!r}.")
    return "_id" if name == "id" else name.removeprefix("meta.")
