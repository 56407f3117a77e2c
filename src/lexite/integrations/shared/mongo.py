"""Filters as dictionaries with operators after a dollar sign, as vector stores of LangChain take them, as conditions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lexite.errors import FilterError
from lexite.index.conditions import Condition, Negation, Operator
from lexite.integrations.shared.conditions import Conditions, all_of, any_of

_ORDERS: dict[str, Operator] = {"$lt": "<", "$lte": "<=", "$gt": ">", "$gte": ">="}
OPERATORS = (
    *("$eq", "$ne", *_ORDERS, "$in", "$nin", "$between", "$all", "$exists", "$like", "$ilike", "$contains"),
    *("$and", "$or", "$not"),
)


def condition_of(given: Mapping[str, Any], make: Conditions) -> Condition:
    """The condition that a dictionary stands for.

    Args:
        given: names of fields with values, or with dictionaries of operators; or ``$and``, ``$or`` and ``$not``. All parts of
            a dictionary must be true.
        make: makes conditions.

    Raises:
        FilterError: it is none.

    >>> print(condition_of({"year": {"$gte": 2020}, "lang": "en"}, Conditions({"year": "integer", "lang": "text"})))
    (year >= 2020 and not year is null) and (lang = 'en' and not lang is null)
    """
    if not isinstance(given, Mapping):
        raise FilterError(f'A filter is a dictionary such as {{"year": {{"$gte": 2020}}}}, not a {type(given).__name__}.')
    return all_of([_part(name, value, make) for name, value in given.items()])


def _part(name: object, value: Any, make: Conditions) -> Condition:
    if not isinstance(name, str):
        raise FilterError(f"The filter has {name!r} where the name of a field or an operator is wanted.")
    if name in ("$and", "$or"):
        if not isinstance(value, (list, tuple)) or not value:
            raise FilterError(f"After {name} stands a list of filters.")
        parts = [condition_of(each, make) for each in value]
        return all_of(parts) if name == "$and" else any_of(parts)
    if name == "$not":
        listed = value if isinstance(value, (list, tuple)) else [value]
        return Negation(all_of([condition_of(each, make) for each in listed]))
    if name.startswith("$"):
        raise _unknown(name)
    if not isinstance(value, Mapping):
        return make.equal(name, value)
    if not value:
        raise FilterError(f"The filter says nothing of '{name}'. Give a value, or an operator: {', '.join(OPERATORS)}.")
    return all_of([_operation(name, operator, wanted, make) for operator, wanted in value.items()])


def _operation(field: str, operator: str, value: Any, make: Conditions) -> Condition:
    if operator == "$eq":
        return make.equal(field, value)
    if operator == "$ne":
        return make.differs(field, value)
    if operator in _ORDERS:
        return make.ordered(field, _ORDERS[operator], value)
    if operator in ("$in", "$nin", "$all", "$between"):
        if not isinstance(value, (list, tuple)) or (operator == "$between" and len(value) != 2):
            raise FilterError(f"After {operator} stands a list{' of two values' if operator == '$between' else ''}.")
        if operator == "$between":
            return all_of([make.ordered(field, ">=", value[0]), make.ordered(field, "<=", value[1])])
        if operator == "$all":
            return make.contains_all(field, value)
        found = make.one_of(field, value)
        return found if operator == "$in" else Negation(found)
    if operator == "$exists":
        if not isinstance(value, bool):
            raise FilterError("After $exists stands True or False.")
        return make.exists(field, value)
    if operator == "$contains":
        return make.contains_all(field, [value])
    if operator in ("$like", "$ilike"):
        return make.like(field, value, any_case=operator == "$ilike")
    if operator == "$not" and isinstance(value, Mapping):
        return Negation(all_of([_operation(field, inner, wanted, make) for inner, wanted in value.items()]))
    raise _unknown(operator)


def _unknown(operator: object) -> FilterError:
    return FilterError(f"A filter has no operator {operator!r}. It has {', '.join(OPERATORS)}.")
