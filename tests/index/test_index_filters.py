from __future__ import annotations

import datetime
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_fields import NAMES, Row, Tested, conditions, rows, segments_of
from hypothesis import HealthCheck, given, settings

from lexite.errors import ArgumentError, FilterError, LexiteError, MissingExtraError
from lexite.index.conditions import Both, Comparison, Contains, IsNull, Like, Negation, OneOf
from lexite.index.field_types import FieldType
from lexite.index.filter_language import DEEPEST, date_of, parse_filter
from lexite.index.filters import read_filter
from lexite.index.masks import documents_that_pass

pytest.importorskip("pyarrow")
pytest.importorskip("sqlglot")
SCHEMA: dict[str, FieldType] = dict(NAMES)  # type: ignore[arg-type]


def passing(where: Any, segments: Any, schema: Mapping[str, FieldType] = SCHEMA) -> list[bool]:
    masks = documents_that_pass(read_filter(where, schema), segments, schema)
    return [bool(each) for mask in masks for each in mask]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows(), conditions())
def test_a_filter_is_true_where_a_plain_evaluation_is(documents: list[Row], condition: Tested) -> None:
    text, truth = condition
    with tempfile.TemporaryDirectory() as folder:
        segments = segments_of(Path(folder), documents, [1, 4])
        expected = [truth(row) is True for row in documents]
        assert passing(text, segments) == expected, text
        again = str(read_filter(text, SCHEMA))  # the tree in words is the same filter
        assert passing(again, segments) == expected, again


def test_zero_is_zero_whatever_its_sign(tmp_path: Path) -> None:
    segments = segments_of(tmp_path, [{"price": -0.0}, {"price": 0.0}, {"price": 1.0}, {}], [])
    for text in ("price = 0", "price in (0)", "price in (-0.0)", "price in (0, 2)"):
        assert np.flatnonzero(passing(text, segments)).tolist() == [0, 1], text
    assert np.flatnonzero(passing("price not in (0)", segments)).tolist() == [2]


def nested(form: str, depth: int) -> str:
    text = "year = 1"
    for _ in range(depth):
        text = form.format(text)
    return text


@pytest.mark.parametrize("form", ["({})", "not ({})", "not {}", "(draft or {})", "(draft and not ({} or draft))"])
def test_filters_are_as_deep_as_is_promised(form: str) -> None:
    def asked(frames: int, text: str) -> None:
        if frames:  # a caller that is deep in calls itself
            return asked(frames - 1, text)
        parse_filter(text)

    levels = form.count("(") + form.count("not")
    asked(100, nested(form, DEEPEST // levels))
    with pytest.raises(FilterError, match=f"more than {DEEPEST} deep"):
        parse_filter(nested(form, DEEPEST // levels + 1))


@pytest.mark.parametrize("text", ["2020-W01-3", "20200101  ", "2020-1-001", "２０２０-01-01"])
def test_dates_have_one_form(text: str) -> None:
    with pytest.raises(FilterError, match="is no date"):
        date_of(text)


def test_numbers_at_the_ends_of_64_bits_compare_as_they_are(tmp_path: Path) -> None:
    least, most = -(1 << 63), (1 << 63) - 1
    segments = segments_of(tmp_path, [{"year": least}, {"year": -1}, {"year": 0}, {"year": most}, {}], [])
    answers = {
        f"year < {1 << 63}": [0, 1, 2, 3],
        f"year > {1 << 63}": [],
        f"year > -{(1 << 63) + 1}": [0, 1, 2, 3],
        f"year <> {1 << 70}": [0, 1, 2, 3],
        f"year = {1 << 70}": [],
        f"year = {most}": [3],
        f"year >= {most}": [3],
        f"not year < {1 << 63}": [],
        f"year in (0, {1 << 70}, 1.5)": [2],
        "year > -0.5": [2, 3],
        "year >= -1e300": [0, 1, 2, 3],
    }
    for text, expected in answers.items():
        assert np.flatnonzero(passing(text, segments)).tolist() == expected, text


def test_ids_are_a_field(tmp_path: Path) -> None:
    segments = segments_of(tmp_path, [{"year": 1}, {}, {"year": 2}], [1])
    assert passing("_id in ('0', '2') and year > 1", segments) == [False, False, True]
    assert passing("_id like '%'", segments) == [True] * 3


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("YEAR >= 2020", Comparison("year", ">=", 2020)),
        ("2020 < year", Comparison("year", ">", 2020)),
        ("'law' in tags", Contains("tags", "law")),
        ("'law' in (tags)", Contains("tags", "law")),
        ("draft", Comparison("draft", "=", True)),
        ("lang not like 'a!%%' escape '!'", Negation(Like("lang", "a\\%%"))),
        ("day = date '2020-01-02'", Comparison("day", "=", datetime.date(2020, 1, 2))),
        ("day = '2020-01-02'", Comparison("day", "=", datetime.date(2020, 1, 2))),
        (
            "seen <= '2020-01-02T10:00:00+02:00'",
            Comparison("seen", "<=", datetime.datetime(2020, 1, 2, 8, tzinfo=datetime.timezone.utc)),
        ),
        ("seen > '2020-01-02'", Comparison("seen", ">", datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc))),
        ("\"my field\" in ('a', 'it''s')", OneOf("my field", ("a", "it's"))),
        ("lang is not null and (year = -1)", Both((Negation(IsNull("lang")), Comparison("year", "=", -1)))),
        ("year = 1 -- a remark", Comparison("year", "=", 1)),
    ],
)
def test_expressions_become_trees(text: str, tree: object) -> None:
    assert read_filter(text, SCHEMA) == tree
    assert read_filter(tree, SCHEMA) == tree  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("yaer >= 2020", ["no field 'yaer'", "'year'", "year (whole numbers)", "tags (lists of text)"]),
        ("year = '2020'", ["'year' holds whole numbers", "'2020' is text", "year = 2020", "lang (text)"]),
        ("lang = 3", ["'lang' holds text", "3 is a number"]),
        ("tags = 'law'", ["'tags' holds lists of text", "'a text' in tags"]),
        ("'law' in lang", ["'lang' holds text"]),
        ("year like '2%'", ["Only text is like a pattern"]),
        ("draft > true", ["no order"]),
        ("year", ["no condition by itself"]),
        ("day > '2020'", ["'2020' is no date"]),
        ("day > '2020-02-30'", ["'2020-02-30' is no date"]),
        ("seen > 'yesterday'", ["'yesterday' is no date with a time"]),
        ('lang = "en"', ["single quotation marks: 'en'"]),
        ("year = null", ["is null"]),
        ("year in (1, null)", ["is null"]),
        ("year in ()", ["empty list"]),
        ("year > 1 and", ["something is missing after 'and'"]),
        ("(year > 1", ["parenthesis is never closed"]),
        ("lang = 'en", ["quotation mark is never closed"]),
        ("from = 'me'", ['"from"', "character 1"]),
        ("1 = 1", ["compares two values"]),
        ("", ["empty"]),
        ("year is 3", ["null, true or false"]),
        ("lang like 3", ["3 is no text"]),
        ("lang like 'a' escape 'bc'", ["one character"]),
        ("lang like 'a!' escape '!'", ["escapes nothing"]),
        ("price > 1e999", ["no number"]),
        ("(" * 80 + "year = 1" + ")" * 80, ["nested"]),
        ("not " * 80 + "draft", ["nested"]),
        ("year = " + "- " * 80 + "1", ["nested"]),
        (" or ".join(["year = 1"] * 3000), ["2,000 conditions"]),
        ("year = 1" + " " * 200_000, ["characters"]),
    ],
)
def test_a_wrong_filter_is_answered_in_one_line(text: str, words: list[str]) -> None:
    with pytest.raises(FilterError) as caught:
        read_filter(text, SCHEMA)
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == [], message


@pytest.mark.parametrize(
    "text",
    [
        "year = (select 1)",
        "year in (select year from documents)",
        "exists (select 1)",
        "year = 1; drop table documents",
        "select 1",
        "read_text('/etc/passwd') = 'x'",
        "lang = read_text('/etc/passwd')",
        "lang = getenv('HOME')",
        "lang || 'x' = 'ax'",
        "year + 1 = 2",
        "lower(lang) = 'a'",
        "cast(lang as int) = 1",
        "year = :parameter",
        "year = ?",
        "case when draft then draft else draft end",
        "year = price",
        "year between symmetric 3 and 1",
        "lang like any ('a', 'b')",
        "lang similar to 'a'",
        "year = 1 = 2",
        "year is distinct from 2",
        "__import__('os').system('true')",
    ],
)
def test_nothing_but_conditions_on_fields_is_read(text: str) -> None:
    with pytest.raises(FilterError):
        read_filter(text, SCHEMA)


def test_a_filter_is_text_or_a_tree() -> None:
    with pytest.raises(ArgumentError, match="not a dict"):
        read_filter({"year": 2020}, SCHEMA)  # type: ignore[arg-type]
    with pytest.raises(FilterError, match="no fields"):
        read_filter("year = 1", {})


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    parse_filter.cache_clear()
    monkeypatch.setitem(sys.modules, "sqlglot", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lexite\[fields\]'"):
        parse_filter("year = 1")


@settings(max_examples=300, deadline=None)
@given(conditions(), rows())
def test_spoiled_expressions_are_read_or_refused(condition: Tested, documents: list[Row]) -> None:
    text = condition[0]
    for spoiled in (
        text[:-1],
        text[1:],
        text.replace("(", "", 1),
        text.replace(" ", "", 1),
        text + " " + text,
        text.replace("'", "", 1),
    ):
        try:
            read_filter(spoiled, SCHEMA)
        except LexiteError as error:
            assert "\n" not in str(error) or "\n" in spoiled


def test_a_filter_imports_no_pandas(tmp_path: Path) -> None:
    segments_of(tmp_path, [{"year": 1, "lang": "a", "tags": ["b"]}, {"year": 2}], [])
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from lexite.index.fields import StoredFields; from lexite.index.filters import read_filter\n"
        "from lexite.index.ids import IdTable; from lexite.index.masks import FieldedDocuments, documents_that_pass\n"
        f"path = Path({str(tmp_path / '0' / 'fields.arrow')!r})\n"
        "fields = StoredFields(path, np.fromfile(path, dtype=np.uint8), 2)\n"
        "segments = [FieldedDocuments(IdTable.build([b'0', b'1']), fields, 2)]\n"
        "schema = {'year': 'integer', 'lang': 'text', 'tags': 'list'}\n"
        "where = read_filter(\"year in (1) and lang like 'a%' and 'b' in tags and not year > 3 and _id = '0'\", schema)\n"
        "assert documents_that_pass(where, segments, schema)[0].tolist() == [True, False]\n"
        "assert fields.row(0, schema) == {'year': 1, 'lang': 'a', 'tags': ['b']}\n"
        "assert 'pandas' not in sys.modules, 'pandas'; assert 'torch' not in sys.modules, 'torch'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
