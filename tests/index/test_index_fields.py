from __future__ import annotations

import datetime
import math
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_fields import NAMES, Row, rows, schema_of, segments_of, stored
from hypothesis import given, settings
from hypothesis import strategies as st

from lexite.errors import CorpusError, FilterError, IndexFormatError, MissingExtraError
from lexite.index import fields as module
from lexite.index.field_types import FieldType, joined_schema, known_field
from lexite.index.field_values import count_values, order_by_field
from lexite.index.fields import StoredFields, merge_columns
from lexite.index.storage import map_bytes

pytest.importorskip("pyarrow")
SCHEMA: dict[str, FieldType] = dict(NAMES)  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None)
@given(rows(), st.integers(1, 5), st.integers(1, 5))
def test_fields_come_back_as_they_were(documents: list[Row], at_once: int, in_batch: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROWS_AT_ONCE", at_once)
        patch.setattr(module, "BATCH_ROWS", in_batch)
        fields = stored(Path(folder), documents)
        if fields is None:
            assert not any(documents)
        else:
            assert [fields.row(number, SCHEMA) for number in range(len(documents))] == documents
        assert {path.name for path in Path(folder).iterdir()} <= {"fields.arrow"}


@settings(max_examples=60, deadline=None)
@given(st.lists(rows(), min_size=1, max_size=4), st.data())
def test_merged_fields_are_those_of_the_living_documents(parts: list[list[Row]], data: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sources, kept = [], []
        for number, documents in enumerate(parts):
            n = len(documents)
            live = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), dtype=bool)
            sources.append((stored(Path(folder) / str(number), documents), live))
            kept += [row for row, lives in zip(documents, live, strict=True) if lives]
        path = Path(folder) / "merged.arrow"
        record = merge_columns(path, sources, SCHEMA)
        if record is None:
            assert not path.exists() and not any(kept)
        else:
            merged = StoredFields(path, map_bytes(path, record), len(kept))
            assert [merged.row(number, SCHEMA) for number in range(len(kept))] == kept


def test_whole_numbers_become_numbers_where_a_document_has_one(tmp_path: Path) -> None:
    schema = schema_of([{"n": 1}, {"n": 2}, {"n": 2.5}, {"n": 3}])
    assert schema == {"n": "number"}
    early = stored(tmp_path / "a", [{"n": 1}, {"n": 2}])
    late = stored(tmp_path / "b", [{"n": 2.5}, {"n": 3}])
    assert early is not None and late is not None
    assert [early.row(number, schema)["n"] for number in (0, 1)] == [1.0, 2.0]
    record = merge_columns(tmp_path / "c", [(early, np.array([True, False])), (late, np.array([True, True]))], schema)
    assert record is not None
    merged = StoredFields(tmp_path / "c", map_bytes(tmp_path / "c", record), 3)
    assert [merged.row(number, schema)["n"] for number in range(3)] == [1.0, 2.5, 3.0]


def test_what_is_absent_is_left_out_and_kinds_of_values_are_kept_plain(tmp_path: Path) -> None:
    zone = datetime.timezone(datetime.timedelta(hours=2))
    given_fields = {
        "none": None,
        "nan": math.nan,
        "numpy": np.int32(7),
        "pair": ("a", "b"),
        "empty": [],
        "zoned": datetime.datetime(2020, 1, 1, 12, tzinfo=zone),
        "naive": datetime.datetime(2020, 1, 1, 12),
    }
    schema = schema_of([given_fields])
    fields = stored(tmp_path, [given_fields])
    assert fields is not None
    assert fields.row(0, schema) == {
        "numpy": 7,
        "pair": ["a", "b"],
        "empty": [],
        "zoned": datetime.datetime(2020, 1, 1, 10, tzinfo=datetime.timezone.utc),
        "naive": datetime.datetime(2020, 1, 1, 12, tzinfo=datetime.timezone.utc),
    }


@pytest.mark.parametrize(
    ("schema", "fields", "words"),
    [
        ({"year": "integer"}, {"year": "unknown"}, ["'d7'", "'year'", "'unknown' is text", "whole numbers"]),
        ({"day": "date"}, {"day": datetime.datetime(2020, 1, 1)}, ["a date with a time", "holds dates"]),
        ({"draft": "boolean"}, {"draft": 1}, ["a whole number", "true or false"]),
        ({"tags": "list"}, {"tags": "law"}, ["is text", "lists of text"]),
        ({}, {"a": {"b": 1}}, ["'d7'", "'a'", "no value of a field"]),
        ({}, {"a": [1, 2]}, ["no value of a field"]),
        ({}, {"a": 1 << 63}, ["64 bits"]),
        ({}, {"a": math.inf}, ["infinite"]),
        ({}, {"a": "\ud800"}, ["surrogate"]),
        ({}, {"a": ["\ud800"]}, ["surrogate"]),
        ({}, {"_id": "x"}, ["'_id'", "another name"]),
        ({}, {"": "x"}, ["printable characters"]),
        ({}, {"a\nb": "x"}, ["printable characters"]),
        ({}, {"a": datetime.datetime.min.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=2)))}, ["years"]),
        ({str(n): "text" for n in range(1000)}, {"more": "x"}, ["1,000 at most"]),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(schema: Any, fields: Any, words: list[str]) -> None:
    with pytest.raises(CorpusError) as caught:
        joined_schema(schema, fields, "d7")
    assert [word for word in words if word not in str(caught.value)] == [], str(caught.value)


def test_names_are_found_in_other_capitals_where_one_is_meant() -> None:
    assert known_field("YEAR", {"Year": "integer"}) == "Year"
    assert known_field("year", {"Year": "integer", "year": "integer"}) == "year"
    with pytest.raises(FilterError, match="no field 'YEAR'"):
        known_field("YEAR", {"Year": "integer", "year": "integer"})


def test_long_lists_of_fields_are_cut_in_messages() -> None:
    with pytest.raises(FilterError, match="and 70 more"):
        known_field("zz", {f"field{n}": "text" for n in range(100)})


@settings(max_examples=60, deadline=None)
@given(rows(), st.data())
def test_facets_count_what_a_plain_loop_counts(documents: list[Row], data: Any) -> None:
    field = data.draw(st.sampled_from(list(NAMES)))
    n = len(documents)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), dtype=bool)
    counts: Counter[Any] = Counter()
    chosen = [row for row, meant in zip(documents, mask, strict=True) if meant]
    for row in chosen:
        value = row.get(field)
        counts.update(set(value) if isinstance(value, list) else [] if value is None else [value])
    with tempfile.TemporaryDirectory() as folder:
        segments = segments_of(Path(folder), documents, [2])
        sizes = np.cumsum([segment.n_documents for segment in segments])[:-1]
        facet = count_values(field, segments, SCHEMA, np.split(mask, sizes), 5)
    expected = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    assert facet.values == tuple(expected[:5])
    assert (facet.n_values, facet.n_documents) == (len(expected), len(chosen))
    assert facet.n_without == sum(row.get(field) is None for row in chosen)


@settings(max_examples=60, deadline=None)
@given(rows(), st.sampled_from([name for name, kind in NAMES.items() if kind != "list"]), st.booleans())
def test_documents_are_sorted_as_by_a_plain_sort(documents: list[Row], field: str, descending: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        order = order_by_field(field, segments_of(Path(folder), documents, [3]), SCHEMA, descending=descending)
    having = [number for number, row in enumerate(documents) if row.get(field) is not None]
    values = sorted({documents[number][field] for number in having}, reverse=descending)
    expected = sorted(having, key=lambda number: (values.index(documents[number][field]), number))
    lacking = [number for number in range(len(documents)) if number not in having]
    assert order.documents.tolist() == expected + lacking
    groups = [documents[number].get(field) for number in order.documents.tolist()]
    same = [a == b for a, b in zip(groups, groups[1:], strict=False)]
    assert (np.diff(order.groups) == 0).tolist() == same


def test_lists_have_no_order(tmp_path: Path) -> None:
    with pytest.raises(FilterError, match="lists of text, which have no order"):
        order_by_field("tags", segments_of(tmp_path, [{"tags": ["a"]}], []), SCHEMA, descending=False)


def test_documents_without_a_file_of_fields_lack_all(tmp_path: Path) -> None:
    segments = segments_of(tmp_path, [{}, {}, {"year": 1}], [2])
    assert segments[0].fields is None
    assert order_by_field("year", segments, SCHEMA, descending=True).documents.tolist() == [2, 0, 1]
    facet = count_values("year", segments, SCHEMA, [np.ones(2, bool), np.ones(1, bool)])
    assert (facet.values, facet.n_without) == (((1, 1),), 2)


def test_a_missing_pyarrow_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'lexite\[fields\]'"):
        module.arrow("Filtering")


def test_another_number_of_rows_is_damage(tmp_path: Path) -> None:
    assert stored(tmp_path, [{"year": 1}, {"year": 2}]) is not None
    content = np.fromfile(tmp_path / "fields.arrow", dtype=np.uint8)
    with pytest.raises(IndexFormatError, match=r"fields\.arrow is damaged"):
        StoredFields(tmp_path / "fields.arrow", content, 3).row(0, SCHEMA)
    with pytest.raises(IndexFormatError, match="damaged"):
        StoredFields(tmp_path / "fields.arrow", content, 2).row(0, {"year": "text"})
    with pytest.raises(IndexFormatError, match="damaged"):
        StoredFields(tmp_path / "fields.arrow", content[:40], 2).row(0, SCHEMA)


def test_no_damaged_byte_ends_the_process(tmp_path: Path) -> None:
    documents = [{"year": n, "lang": "e" * n, "tags": ["a", "bc"] * n, "draft": True, "price": 0.5} for n in range(1, 6)]
    assert stored(tmp_path, documents) is not None
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from lexite.errors import IndexFormatError; from lexite.index.fields import StoredFields\n"
        "from lexite.index.filters import read_filter; from lexite.index.ids import IdTable\n"
        "from lexite.index.masks import FieldedDocuments, documents_that_pass\n"
        f"path = Path({str(tmp_path / 'fields.arrow')!r}); good = np.fromfile(path, dtype=np.uint8)\n"
        "schema = {'year': 'integer', 'lang': 'text', 'tags': 'list', 'draft': 'boolean', 'price': 'number'}\n"
        "where = read_filter(\"lang like '%e%' or 'bc' in tags or year > 3 or draft or price < 1\", schema)\n"
        "ids = IdTable.build([b'%d' % n for n in range(5)])\n"
        "refused = 0\n"
        "for place in range(len(good)):\n"
        "    for change in (1, 128, 255):\n"
        "        content = good.copy(); content[place] ^= change\n"
        "        fields = StoredFields(path, content, 5)\n"
        "        try:\n"
        "            documents_that_pass(where, [FieldedDocuments(ids, fields, 5)], schema)\n"
        "            [fields.row(n, schema) for n in range(5)]\n"
        "        except IndexFormatError:\n"
        "            refused += 1\n"
        "print(refused, len(good))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[0]) > 100
