"""``lexite search`` with fields: --where, --sort, --offset, --min-score, --min-coverage, --show, --facets."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from lexite import Document, Searcher
from lexite.terms import LatentTermEncoder

pytest.importorskip("pyarrow")
pytest.importorskip("sqlglot")
DOCUMENTS = [
    Document("a", "The cow gives milk.", "Cows", fields={"year": 2019, "lang": "en", "tags": ["farm", "food"], "draft": False}),
    Document("b", "Milk and bread and cheese.", fields={"year": 2021, "lang": "de", "tags": ["food"]}),
    Document("c", "The moon moves the sea.", fields={"year": 2021, "lang": "en", "user_id": 7}),
    Document("d", "A cow and a horse by the sea."),
]
QUERY = ["milk", "cow", "sea", "moon"]


@pytest.fixture(scope="module")
def index(tiny_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    encoder = LatentTermEncoder.from_pretrained(tiny_vocabulary)
    path = tmp_path_factory.mktemp("fields") / "i"
    Searcher.build(DOCUMENTS, path, vocabulary=encoder, show_progress=False)
    return path


def hits(done: Any) -> list[dict[str, Any]]:
    assert done.status == 0, done
    found: list[dict[str, Any]] = json.loads(done.out)["hits"]
    return found


def ids(done: Any) -> list[str]:
    return [hit["id"] for hit in hits(done)]


def test_options_decide_which_hits_come_in_which_order(lexite, index: Path) -> None:
    words = ["search", index, *QUERY, "--json"]
    every = hits(lexite(*words))
    assert [hit["fields"] for hit in every if hit["id"] in "ad"] != [] and {hit["id"] for hit in every} == set("abcd")
    assert ids(lexite(*words, "--where", "year >= 2020 and lang = 'en'")) == ["c"]
    assert ids(lexite(*words, "--sort", "year:desc"))[2:] == ["a", "d"]
    assert ids(lexite(*words, "--sort", "_id", "--offset", "1", "--top-k", "2")) == ["b", "c"]
    assert [hit["rank"] for hit in hits(lexite(*words, "--offset", "2"))] == [3, 4]
    assert len(hits(lexite(*words, "--min-score", str(every[1]["score"] - 1e-4)))) == 2
    covered = sorted(hit["coverage"] for hit in every)[-1]
    assert len(hits(lexite(*words, "--min-coverage", str(covered - 1e-4)))) == 1


def test_fields_of_hits_are_in_json_and_shown_on_request(lexite, index: Path) -> None:
    (hit,) = hits(lexite("search", index, *QUERY, "--json", "--where", "_id = 'a'"))
    assert hit["fields"] == {"year": 2019, "lang": "en", "tags": ["farm", "food"], "draft": False}
    shown = lexite("search", index, *QUERY, "--where", "lang is not null", "--show", "YEAR,tags,draft").out.splitlines()
    assert "     year 2019 · tags farm, food · draft false" in shown
    assert "     year 2021 · tags food" in shown and "     year 2021" in shown
    head = next(line for line in shown if "Cows" in line)
    assert head.endswith("  a") and "%" in head
    plain = lexite("search", index, *QUERY).out
    assert "year 2019" not in plain


def test_values_are_counted_among_what_passes(lexite, index: Path) -> None:
    out = lexite("search", index, "milk", "--facets", "lang, tags", "--where", "year > 2000").out
    assert "lang, 3 documents: en 2 · de 1" in out
    assert "tags, 3 documents: food 2 · farm 1 · none 1" in out
    answer = json.loads(lexite("search", index, "milk", "--facets", "lang", "--json").out)
    (facet,) = answer["facets"]
    assert facet["values"] == [{"value": "en", "documents": 2}, {"value": "de", "documents": 1}]
    assert (facet["field"], facet["n_values"], facet["n_documents"], facet["n_without"]) == ("lang", 2, 4, 1)
    assert "facets" not in json.loads(lexite("search", index, "milk", "--json").out)


def test_runs_and_encoded_queries_are_filtered_too(lexite, index: Path, tmp_path: Path) -> None:
    run = tmp_path / "run.txt"
    assert lexite("search", index, *QUERY, "--where", "year = 2021", "--run", run).status == 0
    assert {line.split()[2] for line in run.read_text().splitlines()} == {"b", "c"}
    terms = tmp_path / "terms.jsonl"
    every = {str(term): 1.0 for term in range(64)}
    terms.write_text(json.dumps({"id": "q", "terms": every}) + "\n")
    words = ["search", index, "--terms", terms, "--where", "year = 2021", "--sort", "lang"]
    assert ids(lexite(*words, "--json")) == ["b", "c"]
    assert ids(lexite(*words, "--json", "--offset", "1")) == ["c"]
    out = lexite(*words, "--show", "lang", "--facets", "year").out
    assert "     lang de" in out and "year, 2 documents: 2021 2" in out


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        (
            "--where",
            "yaer = 2020",
            "There is no field 'yaer'. Did you mean 'year'? The fields are year (whole numbers), lang (text)",
        ),
        ("--where", "year = 'x'", "The field 'year' holds whole numbers."),
        ("--where", "year = ", "The filter cannot be read"),
        ("--where", "tags = 'food'", "'a text' in tags"),
        ("--sort", "tags", "have no order"),
        ("--sort", "price:asc", "There is no field 'price'"),
        ("--show", "price", "There is no field 'price'"),
        ("--show", "year,,lang", "one of them is empty"),
        ("--facets", "price", "There is no field 'price'"),
    ],
)
def test_a_wrong_field_is_one_line_before_a_model_is_loaded(
    lexite, index: Path, option: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lexite.cli.search.Searcher", None)
    assert words in lexite("search", index, "milk", option, value).error


def test_fields_come_from_files_and_follow_every_change(lexite, tiny_vocabulary: Path, tmp_path: Path) -> None:
    def written(name: str, records: list[dict[str, Any]]) -> Path:
        (tmp_path / name).write_text("".join(json.dumps(record) + "\n" for record in records))
        return tmp_path / name

    first = [
        {"_id": "a", "text": "The cow gives milk.", "year": 2019, "tags": ["farm"]},
        {"_id": "b", "text": "Milk and bread.", "year": 2021, "tags": []},
    ]
    path = tmp_path / "i"
    assert lexite("index", written("1.jsonl", first), "-o", path, "--vocabulary", tiny_vocabulary).status == 0
    search = ["search", path, "milk", "cow", "bread", "--json", "--sort", "_id"]
    assert ids(lexite(*search, "--where", "year > 2020 or 'farm' in tags")) == ["a", "b"]
    second = [{"_id": "b", "text": "Milk and cheese.", "year": 2022}, {"_id": "c", "text": "A cow.", "lang": "en"}]
    assert lexite("add", path, written("2.jsonl", second), "--replace").status == 0
    assert [hit["fields"] for hit in hits(lexite(*search))] == [
        {"year": 2019, "tags": ["farm"]},
        {"year": 2022},
        {"lang": "en"},
    ]
    wrong = lexite("add", path, written("3.jsonl", [{"_id": "d", "text": "Milk.", "year": "soon"}]))
    assert "line 1: the field 'year' is 'soon', but must be a whole number, as in the index." in wrong.error
    assert lexite("delete", path, "b").status == 0 and lexite("merge", path).status == 0
    assert ids(lexite(*search, "--where", "year is null or year = 2019")) == ["a", "c"]
    assert ids(lexite(*search, "--where", "year = 2022")) == []


def test_columns_with_names_that_no_field_can_have_are_left_out(lexite, tiny_vocabulary: Path, tmp_path: Path) -> None:
    record = {"pid": "a", "text": "milk", "_id": "other", "_score": 3, "two\nlines": 1, "year": 2019}
    (tmp_path / "a.jsonl").write_text(json.dumps(record) + "\n")
    words = ["-o", tmp_path / "i", "--vocabulary", tiny_vocabulary, "--id-field", "pid"]
    done = lexite("index", tmp_path / "a.jsonl", *words)
    assert done.status == 0 and "'_id' is left out: the name has a meaning of its own" in done.err
    assert [hit["fields"] for hit in hits(lexite("search", tmp_path / "i", "milk", "--json"))] == [{"year": 2019}]


def test_named_fields_need_pyarrow(lexite, tiny_vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jsonl").write_text('{"_id": "a", "text": "milk", "year": 2019}\n')
    words = ["index", tmp_path / "a.jsonl", "-o", tmp_path / "i", "--vocabulary", tiny_vocabulary]
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'lexite[fields]'" in lexite(*words, "--fields", "year").error
    assert not (tmp_path / "i").exists()


def test_control_characters_in_fields_are_shown_not_carried_out(lexite, tiny_vocabulary: Path, tmp_path: Path) -> None:
    odd = Document("a", "The cow gives milk.", fields={"note": "two\nlines\x1b]0;title\x07", "tags": ["\u202etxt"]})
    Searcher.build([odd], tmp_path / "i", vocabulary=LatentTermEncoder.from_pretrained(tiny_vocabulary), show_progress=False)
    out = lexite("search", tmp_path / "i", "milk", "--show", "note,tags", "--facets", "note,tags").out
    assert "     note two lines\\x1b]0;title\\x07 · tags \\u202etxt" in out and "note, 1 document: two lines\\x1b" in out
    assert "\x1b" not in out and "\u202e" not in out
    (hit,) = hits(lexite("search", tmp_path / "i", "milk", "--json"))
    assert hit["fields"] == odd.fields


def test_limits_are_checked(lexite, index: Path) -> None:
    for words in (["--min-coverage", "2"], ["--offset", "-1"], ["--min-score", "much"]):
        assert lexite("search", index, "milk", *words).status == 2


def test_info_lists_fields_with_types(lexite, index: Path) -> None:
    out = lexite("info", index).out
    assert "\nfields\n" in out and "  user_id  integer\n" in out
    assert lexite("info", index, "--json").json["fields"]["tags"] == "list"


def test_nothing_found_says_so(lexite, index: Path) -> None:
    out = lexite("search", index, "milk", "--where", "year = 1000").out
    assert out == "No document shares a term with the query and is within the limits that were given.\n"
