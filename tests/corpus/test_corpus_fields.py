"""Further columns become typed fields of documents, whatever they are read from."""

from __future__ import annotations

import csv
import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lexite.corpus import ReadOptions, ReadReport, read_documents
from lexite.corpus.conversion import converted, inferred
from lexite.errors import ConfigError, CorpusError


def fields(path: Path, report: ReadReport | None = None, **options: Any) -> list[dict[str, object]]:
    return [dict(document.fields) for document in read_documents(path, ReadOptions(**options), report)]


def jsonl(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps({"id": n, "text": "x", **record}) + "\n" for n, record in enumerate(records)))
    return path


def test_json_keeps_its_types(tmp_path: Path):
    record = {"year": 2020, "share": 0.5, "open": True, "lang": "en", "tags": ["law", "tax"], "day": "2024-02-29", "none": []}
    assert fields(jsonl(tmp_path / "a.jsonl", record, {"year": None})) == [record, {}]


def test_id_text_and_title_are_no_fields(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text('{"_id": 1, "doc_id": "d", "Title": "t", "text": "x"}')
    (document,) = read_documents(tmp_path / "a.jsonl")
    assert (document.title, document.fields) == ("t", {"doc_id": "d"})


def test_what_no_field_can_hold_is_left_out_and_told_once(tmp_path: Path):
    odd = {"meta": {"a": 1}, "mixed": [1, "a"], "vector": [0.5], "huge": 1 << 70, "year": 1}
    report = ReadReport()
    path = jsonl(tmp_path / "a.jsonl", odd, odd, {"nan": float("nan"), "metadata": {}})
    assert fields(path, report) == [{"year": 1}, {"year": 1}, {}]
    assert report.notes == [
        f"{path}: the field 'meta' is left out: it holds objects.",
        f"{path}: the field 'mixed' is left out: it holds lists of something other than text.",
        f"{path}: the field 'vector' is left out: it holds lists of something other than text.",
        f"{path}: the field 'huge' is left out: it holds whole numbers of more than 64 bits.",
    ]


def test_chosen_fields(tmp_path: Path):
    path = jsonl(tmp_path / "a.jsonl", {"Year": 1, "b c": 2, "d": 3})
    assert fields(path, fields="none") == [{}]
    report = ReadReport()
    assert fields(path, report, fields="year, b c,gone") == [{"Year": 1, "b c": 2}]
    assert report.notes == ["No document has the field 'gone' of --fields."]


def test_a_value_of_another_type_is_a_bad_record(tmp_path: Path):
    path = jsonl(tmp_path / "a.jsonl", {"year": 2020}, {"year": 2020.5}, {"year": "n/a"}, {"year": 7})
    message = (
        "a.jsonl, line 3: the field 'year' is 'n/a', but it held a number before. Take it as text: --field-type year=text."
    )
    with pytest.raises(CorpusError) as caught:
        fields(path)
    assert message in str(caught.value)
    report = ReadReport()
    assert fields(path, report, skip_bad=True) == [{"year": 2020}, {"year": 2020.5}, {"year": 7}]
    assert report.reasons == {"bad field": 1}
    assert fields(path, field_type=("year=text",))[2:] == [{"year": "n/a"}, {"year": "7"}]


def test_types_hold_over_all_sources(tmp_path: Path):
    jsonl(tmp_path / "a.jsonl", {"year": 2020})
    (tmp_path / "b.csv").write_text("id,text,year\nb,x,2021\nc,x,soon\n")
    with pytest.raises(CorpusError, match=r"b\.csv, line 3: the field 'year' is 'soon', but it held a whole number before"):
        list(read_documents([tmp_path / "a.jsonl", tmp_path / "b.csv"]))


def test_types_of_a_table_are_found(tmp_path: Path):
    rows = (
        "id,text,n,x,b,d,t,zip,s,e\n1,x,5,1,true,2024-02-29,2024-02-29T12:30,01234,a,\n"
        "2,x,-7,2.5,FALSE,,2024-03-01 00:00Z,9,, \n"
    )
    (tmp_path / "a.csv").write_text(rows)
    first, second = fields(tmp_path / "a.csv")
    day, time = datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 12, 30)
    assert first == {"n": 5, "x": 1.0, "b": True, "d": day, "t": time, "zip": "01234", "s": "a"}
    assert second == {"n": -7, "x": 2.5, "b": False, "t": datetime.datetime(2024, 3, 1), "zip": "9"}
    (tmp_path / "a.tsv").write_text(rows.replace(",", "\t"))
    assert fields(tmp_path / "a.tsv") == [first, second]


def test_a_later_cell_that_does_not_parse(tmp_path: Path):
    (tmp_path / "a.csv").write_text("id,text,year\n" + "".join(f"{n},x,{n}\n" for n in range(1500)) + "z,x,n/a\n")
    with pytest.raises(CorpusError) as caught:
        fields(tmp_path / "a.csv")
    assert str(caught.value).startswith(
        f"{tmp_path / 'a.csv'}, line 1502: the field 'year' is 'n/a', but the first 1,000 rows hold a whole number there. "
        "Take it as text: --field-type year=text."
    )
    assert fields(tmp_path / "a.csv", field_type=("year=text",))[-2:] == [{"year": "1499"}, {"year": "n/a"}]
    assert len(fields(tmp_path / "a.csv", fields="none")) == 1501


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("text", 5, "5"),
        ("text", True, "true"),
        ("integer", "12", 12),
        ("integer", 3.0, 3),
        ("number", "1e3", 1000.0),
        ("number", 7, 7.0),
        ("boolean", "True", True),
        ("date", "2024-02-29", datetime.date(2024, 2, 29)),
        ("datetime", "2024-02-29T12:30:00+02:00", datetime.datetime(2024, 2, 29, 10, 30)),
        ("datetime", "2024-02-29", datetime.datetime(2024, 2, 29)),
        ("list", "law; tax, civil", ["law", "tax, civil"]),
        ("list", "law|tax", ["law", "tax"]),
        ("list", "law, tax", ["law", "tax"]),
        ("list", '["a;b", "c"]', ["a;b", "c"]),
        ("list", [1, "a", None], ["1", "a"]),
    ],
)
def test_types_that_are_given(tmp_path: Path, kind: str, value: object, expected: object):
    assert fields(jsonl(tmp_path / "a.jsonl", {"f": value}), field_type=(f"F={kind}",)) == [{"f": expected}]
    if isinstance(value, str):
        with open(tmp_path / "a.csv", "w", newline="") as file:
            csv.writer(file).writerows([("id", "text", "f"), (1, "x", value)])
        assert fields(tmp_path / "a.csv", field_type=(f"f={kind}",)) == [{"f": expected}]


@pytest.mark.parametrize(
    ("kind", "value"), [("integer", "1.5"), ("number", "x"), ("boolean", 1), ("date", "29.2."), ("list", {})]
)
def test_values_that_are_not_of_the_type_given(tmp_path: Path, kind: str, value: object):
    with pytest.raises(CorpusError, match=rf"line 1: the field 'f' is .*, but must be .* \(--field-type f={kind}\)"):
        fields(jsonl(tmp_path / "a.jsonl", {"f": value}), field_type=(f"f={kind}",))


@pytest.mark.parametrize("written", ["year", "year=int", "=text", "year=Text"])
def test_types_that_there_are_not(tmp_path: Path, written: str):
    with pytest.raises(
        ConfigError, match="write NAME=TYPE, with a type of text, integer, number, boolean, date, datetime, list"
    ):
        read_documents(jsonl(tmp_path / "a.jsonl", {}), ReadOptions(field_type=(written,)))


@given(st.lists(st.integers(-(10**17), 10**17), min_size=1))
def test_whole_numbers_survive_a_table(values: list[int]):
    cells = [str(value) for value in values]
    assert inferred(cells) == "integer" and [converted(cell, "integer") for cell in cells] == values


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_numbers_survive_a_table(values: list[float]):
    cells = [repr(value) for value in values]
    assert inferred(cells) == "number" and [converted(cell, "number") for cell in cells] == values


@given(st.lists(st.datetimes(), min_size=1))
def test_dates_survive_a_table(values: list[datetime.datetime]):
    assert inferred([value.isoformat() for value in values]) == "datetime"
    assert [converted(value.isoformat(" "), "datetime") for value in values] == values
    days = [value.date() for value in values]
    assert inferred([day.isoformat() for day in days]) == "date"
    assert [converted(day.isoformat(), "date") for day in days] == days


@settings(max_examples=200)
@given(st.lists(st.text(max_size=12), max_size=6))
def test_any_cells_have_a_type_that_reads_them_all(cells: list[str]):
    kind = inferred(cells)
    of_type = {"integer": int, "number": float, "boolean": bool, "date": datetime.date, "datetime": datetime.datetime}
    for cell in cells:
        if cell.strip():
            assert type(converted(cell, kind)) is of_type.get(kind, str)


def test_parquet_keeps_its_types(tmp_path: Path):
    arrow = pytest.importorskip("pyarrow")
    moment = datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone.utc)
    table = arrow.table(
        {
            "ID": ["a", "b"],
            "Text": ["x", "y"],
            "n": arrow.array([1, None], arrow.int8()),
            "x": arrow.array([0.5, float("nan")]),
            "money": arrow.array([Decimal("1.25"), None]),
            "day": arrow.array([datetime.date(2024, 2, 29), None]),
            "at": arrow.array([moment, None], arrow.timestamp("ns", tz="Europe/Paris")),
            "tags": arrow.array([["a", "b"], None]),
            "lang": arrow.array(["en", "de"]).dictionary_encode(),
            "vector": arrow.array([[0.5], None]),
            "meta": arrow.array([{"a": 1}, None]),
            "nothing": arrow.nulls(2),
            "__index_level_0__": [0, 1],
        }
    )
    pytest.importorskip("pyarrow.parquet").write_table(table, tmp_path / "a.parquet")
    report = ReadReport()
    first, second = fields(tmp_path / "a.parquet", report)
    assert first == {
        "n": 1,
        "x": 0.5,
        "money": 1.25,
        "day": datetime.date(2024, 2, 29),
        "at": datetime.datetime(2024, 2, 29, 12, 30),
        "tags": ["a", "b"],
        "lang": "en",
    }
    assert second == {"lang": "de"}
    assert [note.split(": ", 1)[1] for note in report.notes] == [
        "the field 'vector' is left out: it is of the type list<element: double>.",
        "the field 'meta' is left out: it is of the type struct<a: int64>.",
    ]


def test_two_columns_of_one_name_are_an_error(tmp_path: Path):
    (tmp_path / "a.csv").write_text("id,text,year,year\n1,x,1,2\n")
    with pytest.raises(CorpusError, match=r"a\.csv, line 1: there is more than one column called 'year'"):
        fields(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("ID,Text,TEXT\n1,x,y\n")
    with pytest.raises(CorpusError, match=r"b\.csv, line 1: 'Text', 'TEXT' are all called 'text'"):
        fields(tmp_path / "b.csv")
    (tmp_path / "c.csv").write_text(",ID,id,text,Year,year\n0,9,1,x,1,2\n")
    (document,) = read_documents(tmp_path / "c.csv")
    assert (document.id, document.fields) == ("1", {"ID": 9, "Year": 1, "year": 2})
    arrow = pytest.importorskip("pyarrow")
    table = arrow.Table.from_arrays([arrow.array(["x"])] * 2, names=["text", "text"])
    pytest.importorskip("pyarrow.parquet").write_table(table, tmp_path / "d.parquet")
    with pytest.raises(CorpusError, match=r"d\.parquet: there is more than one column called 'text'"):
        fields(tmp_path / "d.parquet")


@pytest.mark.parametrize("header", ["ID,Title,Text", "id,TITLE,Body", "DocID,title,Abstract"])
def test_columns_match_whatever_their_case(tmp_path: Path, header: str):
    (tmp_path / "a.csv").write_text(f"{header}\nd1,Dog,It barks.\n")
    (tmp_path / "a.jsonl").write_text(json.dumps(dict(zip(header.split(","), ("d1", "Dog", "It barks."), strict=True))))
    for name in ("a.csv", "a.jsonl"):
        (document,) = read_documents(tmp_path / name)
        assert (document.id, document.title, document.text, document.fields) == ("d1", "Dog", "It barks.", {})


def test_the_name_as_it_is_written_comes_first(tmp_path: Path):
    (tmp_path / "a.csv").write_text("ID,Text,text,doc_id\n1,no,yes,2\n")
    (document,) = read_documents(tmp_path / "a.csv")
    assert (document.id, document.text) == ("2", "yes")
    (document,) = read_documents(tmp_path / "a.csv", ReadOptions(id_field="id", text_field="Text"))
    assert (document.id, document.text) == ("1", "no")


def test_a_type_for_a_field_that_nothing_keeps_is_told(tmp_path: Path):
    path = jsonl(tmp_path / "a.jsonl", {"Year": 1, "d": 3})
    report = ReadReport()
    assert fields(path, report, fields="year", field_type=("year=text", "d=text", "nope=integer", "text=list")) == [
        {"Year": "1"}
    ]
    assert report.notes == [
        "No document keeps a field 'd', so its --field-type has no effect.",
        "No document keeps a field 'nope', so its --field-type has no effect.",
        "No document keeps a field 'text', so its --field-type has no effect.",
    ]


def test_a_column_that_is_text_because_of_an_odd_cell_is_told_once(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("id,text,year,price,code,note\n1,x,2020,1,A1,\n2,y,2021,2.5,7,maybe\n3,z,n/a,-,B2,2\n4,w,2022,3,C3,\n")
    report = ReadReport()
    read = fields(path, report)
    assert [each["year"] for each in read] == ["2020", "2021", "n/a", "2022"]
    assert report.notes == [
        f"{path}: the field 'year' is kept as text. Most of its values can be read as a whole number, but 'n/a' cannot. "
        "Leave such cells empty, or confirm with --field-type year=text.",
        f"{path}: the field 'price' is kept as text. Most of its values can be read as a number, but '-' cannot. "
        "Leave such cells empty, or confirm with --field-type price=text.",
    ]
    confirmed = ReadReport()
    fields(path, confirmed, field_type=("year=text", "price=text"))
    assert confirmed.notes == []
