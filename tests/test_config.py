"""Configurations: checked keys, types and limits; recipes; counts."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lexite.config import differences, differing, from_dict, load_recipe, option, option_aliases, parse_count, to_dict
from lexite.errors import ConfigError
from lexite.sae import SAEConfig


@dataclass(frozen=True)
class Example:
    size: int = option(10, "A count.", minimum=1, maximum=10**9, count=True)
    rate: float = option(0.5, "A number.", minimum=0.0)
    name: str | None = option(None, "A name.")
    mode: Literal["fast", "slow"] = option("fast", "A choice.")
    on: bool = option(False, "A switch.")


def test_defaults_and_given_values() -> None:
    assert from_dict(Example, {}) == Example()
    given = {"size": "2k", "rate": 1, "name": "a", "mode": "slow", "on": True}
    assert from_dict(Example, given) == Example(2000, 1.0, "a", "slow", True)
    assert from_dict(Example, to_dict(Example(size=7))) == Example(size=7)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sizes": 1}, "here: unknown key 'sizes'. Did you mean 'size'?"),
        ({"zzz": 1}, "here: unknown key 'zzz'."),
        ({"size": 0}, "here: size is 0, but must be at least 1."),
        ({"size": "2G"}, "here: size is 2000000000, but must be at most"),
        ({"size": 1.5}, "here: size: 1.5 is not a count"),
        ({"size": True}, "is not a count"),
        ({"rate": "fast"}, "here: rate is 'fast', but must be a number."),
        ({"rate": float("nan")}, "rate is nan, but must be a finite number"),
        ({"rate": float("inf")}, "rate is inf, but must be a finite number"),
        ({"name": 3}, "here: name is 3, but must be text."),
        ({"mode": "other"}, "here: mode is 'other'; choose one of fast, slow."),
        ({"on": 1}, "here: on is 1, but must be true or false."),
    ],
)
def test_what_does_not_fit_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        from_dict(Example, values, "here")
    assert message in str(error.value)


@given(st.integers(0, 10**12))
def test_counts_go_round(number: int) -> None:
    assert parse_count(number) == parse_count(str(number)) == number
    assert parse_count(f"{number}k") == number * 1000


@pytest.mark.parametrize("text", ["", "k", "1.0001k", "-5", "ten", "1e-3", None, True])
def test_what_is_not_a_count_is_refused(text: Any) -> None:
    with pytest.raises(ConfigError, match="not a count"):
        parse_count(text)


def test_differences_name_both_values() -> None:
    assert differences({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == ["b: 2 -> 3", "c: None -> 4"]


settings_by_name = st.dictionaries(
    st.sampled_from("abcd"), st.none() | st.integers(0, 2) | st.sampled_from(["x", "y"]), max_size=4
)


@given(settings_by_name, settings_by_name)
def test_what_differs_is_named_with_both_values_and_nothing_else(one: dict[str, Any], other: dict[str, Any]) -> None:
    told = differing({"inner": one, "same": Example()}, {"inner": other, "same": Example()})
    names = [key for key in [*one, *(key for key in other if key not in one)] if one.get(key) != other.get(key)]
    assert [part.split(" ")[0] for part in told.split(", ") if part] == names and "same" not in told
    for key in names:
        both = ["none" if side.get(key) is None else repr(side[key]) for side in (one, other)]
        assert f"{key} of inner ({both[0]} and {both[1]})" in told


def test_configurations_are_compared_by_their_fields() -> None:
    one, other = {"example": Example(), "on": True}, {"example": Example(rate=0.25, name="a"), "on": True}
    assert differing(one, other) == "rate of example (0.5 and 0.25), name of example (none and 'a')"
    assert differing(one, {"example": None, "on": False}, ", not ") == "example (some, not none), on (True, not False)"
    assert differing(one, dict(one)) == ""


def test_a_key_of_a_recipe_may_have_a_further_name(tmp_path: Path) -> None:
    path, aliases = tmp_path / "recipe.yaml", option_aliases(fields(SAEConfig))
    assert aliases == {"sae": "rule"}
    for text in ("sae: gated\nk: 3\n", "rule: gated\nk: 3\n"):
        path.write_text(text)
        assert load_recipe(path, aliases) == {"rule": "gated", "k": 3}
    path.write_text("sae: gated\nrule: topk\n")
    with pytest.raises(ConfigError, match=r"recipe\.yaml: 'sae' and 'rule' are the same key"):
        load_recipe(path, aliases)


def test_a_recipe_is_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("learning-rate: 1e-3\nsize: 10M\n")
    assert load_recipe(path) == {"learning_rate": "1e-3", "size": "10M"}
    path.write_text("# nothing\n")
    assert load_recipe(path) == {}
    path.write_text("a: [1\nb: 2\n")
    with pytest.raises(ConfigError, match=r"recipe\.yaml, line 2: not valid YAML"):
        load_recipe(path)
    path.write_text("- a\n")
    with pytest.raises(ConfigError, match="this file holds a list"):
        load_recipe(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_recipe(path)
    with pytest.raises(ConfigError, match="does not exist"):
        load_recipe(tmp_path / "missing.yaml")


def test_of_long_lists_only_what_differs_is_named() -> None:
    one, other = [f"f{n}" for n in range(5000)], [f"f{n}" for n in range(10, 5001)]
    assert differences({"files": one}, {"files": other}) == ["files: ['f0', 'f1', 'f2'] and 7 more -> ['f5000']"]
    assert differences({"files": ["a", "b"]}, {"files": ["b", "a"]}) == ["files: ['a', 'b'] -> ['b', 'a']"]
    assert differences({"files": ["a"]}, {"files": None}) == ["files: ['a'] -> None"]
    assert differences({"files": [["a"]]}, {"files": [["b"], ["a"]]}) == ["files: [] -> [['b']]"]
