"""What the classes for frameworks share: metadata that come back as they were, and conditions that are never unknown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexite import Document, Searcher
from lexite.errors import ArgumentError, ConfigError, CorpusError, IndexFormatError
from lexite.index.conditions import Both, Comparison, Condition, Contains, Either, IsNull, Like, Negation, OneOf
from lexite.index.field_types import type_of
from lexite.integrations.shared.conditions import EVERYTHING, NOTHING, Conditions
from lexite.integrations.shared.documents import KeptDocuments
from lexite.integrations.shared.metadata import RECORD, fields_of, metadata_of
from lexite.integrations.shared.mongo import condition_of
from lexite.terms import LatentTermEncoder

NAMES = st.text(min_size=1, max_size=6) | st.sampled_from(["_id", "_score", RECORD, "a.b", "a", "b"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
VALUES = st.recursive(
    LEAVES | st.lists(LEAVES, max_size=3), lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_metadata_come_back_as_they_were(metadata: dict[str, Any]) -> None:
    fields = fields_of(metadata, "d", {"embedding": [0.5]})
    assert metadata_of(fields) == (metadata, {"embedding": [0.5]})
    for name, value in fields.items():  # an index takes each of them
        assert type_of(value, name, "d")
        assert name not in ("_id", "_score")


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(CorpusError, match="Document 'd': its metadata 'b'"):
        fields_of({"a": 1, "b": {"c": object()}}, "d")
    with pytest.raises(CorpusError, match="the name 3"):
        fields_of({3: "x"}, "d")  # type: ignore[dict-item]


def value_of(condition: Condition, fields: dict[str, Any]) -> bool | None:
    """SQL's logic of three values, plainly: None is unknown."""
    if isinstance(condition, Negation):
        inner = value_of(condition.part, fields)
        return None if inner is None else not inner
    if isinstance(condition, (Both, Either)):
        parts = [value_of(part, fields) for part in condition.parts]
        decisive = isinstance(condition, Either)
        return decisive if decisive in parts else None if None in parts else not decisive
    value = "id" if condition.field == "_id" else fields.get(condition.field)
    if isinstance(condition, IsNull):
        return value is None
    if value is None:
        return None
    if isinstance(condition, OneOf):
        return value in condition.values
    if isinstance(condition, Contains):
        return condition.value in value
    assert isinstance(condition, Comparison) and not isinstance(condition, Like)
    return {
        "=": value == condition.value,
        "<": value < condition.value,
        "<=": value <= condition.value,
        ">": value > condition.value,
        ">=": value >= condition.value,
    }[condition.operator]


def plainly(filter: dict[str, Any], fields: dict[str, Any]) -> bool:
    """What a dictionary of operators means, with two values."""

    def holds(operator: str, value: Any, wanted: Any) -> bool:
        if operator in ("$ne", "$nin"):
            return not holds({"$ne": "$eq", "$nin": "$in"}[operator], value, wanted)
        if operator == "$eq":
            return wanted in value if isinstance(value, list) and wanted is not None else value == wanted
        if operator == "$in":
            return any(holds("$eq", value, each) for each in wanted)
        if operator == "$exists":
            return (value is not None) == wanted
        if value is None:
            return False
        return {"$lt": value < wanted, "$lte": value <= wanted, "$gt": value > wanted, "$gte": value >= wanted}[operator]

    for name, wanted in filter.items():
        if name == "$and":
            true = all(plainly(each, fields) for each in wanted)
        elif name == "$or":
            true = any(plainly(each, fields) for each in wanted)
        elif name == "$not":
            true = not plainly(wanted, fields)
        else:
            true = all(holds(operator, fields.get(name), value) for operator, value in wanted.items())
        if not true:
            return False
    return True


YEARS = st.integers(0, 3)
LEAF = st.one_of(
    st.fixed_dictionaries(
        {"year": st.dictionaries(st.sampled_from(["$eq", "$ne", "$lt", "$lte", "$gt", "$gte"]), YEARS, min_size=1)}
    ),
    st.fixed_dictionaries({"year": st.fixed_dictionaries({"$in": st.lists(YEARS | st.none(), max_size=3)})}),
    st.fixed_dictionaries({"tags": st.fixed_dictionaries({"$nin": st.lists(st.sampled_from("xy"), max_size=2)})}),
    st.fixed_dictionaries({"tags": st.fixed_dictionaries({"$eq": st.sampled_from("xy") | st.none()})}),
    st.fixed_dictionaries({"none": st.fixed_dictionaries({"$exists": st.booleans()})}),
    st.fixed_dictionaries({"none": st.dictionaries(st.sampled_from(["$eq", "$ne", "$gt"]), YEARS, min_size=1)}),
)
FILTERS = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"$and": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"$or": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"$not": inner}),
    ),
    max_leaves=5,
)
FIELDS = st.fixed_dictionaries({}, optional={"year": YEARS, "tags": st.lists(st.sampled_from("xy"), min_size=1, unique=True)})


@given(FILTERS, FIELDS)
def test_conditions_are_never_unknown_and_mean_what_the_dictionary_says(filter: dict[str, Any], fields: dict[str, Any]) -> None:
    condition = condition_of(filter, Conditions({"year": "integer", "tags": "list"}, absent_is_null=True))
    assert value_of(condition, fields) is plainly(filter, fields)
    assert value_of(EVERYTHING, fields) is True and value_of(NOTHING, fields) is False


def test_values_of_filters_are_values_and_no_language(tiny_vocabulary: Path) -> None:
    hostile = ["x' or '1' = '1", '"; drop', "%", "_", "\\", "a--b", "\n", "日本"]
    encoder = LatentTermEncoder.from_pretrained(tiny_vocabulary)
    documents = [Document(str(place), "milk", fields={"name": name, "odd \"name'": name}) for place, name in enumerate(hostile)]
    with Searcher.build(documents, vocabulary=encoder, show_progress=False) as searcher:
        kept = KeptDocuments(searcher)
        for field in ("name", "odd \"name'"):
            for place, name in enumerate(hostile):
                chosen = kept.select(lambda make, field=field, name=name: make.equal(field, name))
                assert [stored.id for stored in chosen] == [str(place)]
                assert str(place) in [s.id for s in kept.select(lambda make, f=field, n=name: make.has_part(f, n))]
        assert len(kept.select(lambda make: make.has_part("name", "%"))) == 1


def test_what_can_have_no_effect_is_refused(tiny_vocabulary: Path, tmp_path: Path) -> None:
    encoder = LatentTermEncoder.from_pretrained(tiny_vocabulary)
    with Searcher.build([Document("a", "milk")], vocabulary=encoder, show_progress=False) as searcher:
        with pytest.raises(ConfigError, match="profile can have no effect"):
            KeptDocuments(searcher, profile="small")
        with pytest.raises(ConfigError, match="static can have no effect"):
            KeptDocuments(searcher, static=True)
        with pytest.raises(ArgumentError, match="not by 3"):
            KeptDocuments(searcher).delete([3])  # type: ignore[list-item]
        kept = KeptDocuments(searcher)
        kept.close()
        assert len(searcher) == 1, "a searcher that was handed in stays open"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file.json").write_text(json.dumps({}))
    with pytest.raises(IndexFormatError):
        KeptDocuments(tmp_path / "other")
