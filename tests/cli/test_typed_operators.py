"""Required and excluded words on the command line, and weights of fields."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from lexite.index import BM25Index


@pytest.fixture
def words_index(tiny_vocabulary: Path, documents: Path, tmp_path: Path, lexite) -> Path:
    path = tmp_path / "words.lexite"
    assert lexite("index", documents, "-o", path, "--vocabulary", tiny_vocabulary).status == 0
    return path


def ids(lexite, *words: str | Path) -> list[str]:
    done = lexite("search", *words, "--json")
    assert done.status == 0, done.err
    return [hit["id"] for hit in done.json["hits"]]


def test_typed_queries_have_operators(lexite, words_index: Path) -> None:
    assert ids(lexite, words_index, "read +json") == ["d3"]
    without = ids(lexite, words_index, 'sea moon rain -"rain and snow"')
    assert set(without) == set(ids(lexite, words_index, "sea moon rain")) - {"d2"}
    done = lexite("search", "--json", words_index, "--", "sea", "moon", "rain", '-"rain and snow"')
    assert [hit["id"] for hit in done.json["hits"]] == without
    assert ids(lexite, words_index, 'the "cow gives milk"', "drink") == ["d1"]
    assert set(ids(lexite, words_index, "read +json", "--no-operators")) == set(ids(lexite, words_index, "read json"))
    assert ids(lexite, words_index, "--static", "read +json") == ["d3"]


def test_queries_of_files_and_pipes_mean_what_they_say(
    lexite, words_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "queries.txt"
    file.write_text("read +json\n", encoding="utf-8")
    assert len(ids(lexite, words_index, "--queries", file)) > 1
    assert ids(lexite, words_index, "--queries", file, "--operators") == ["d3"]
    for options, n_hits in (([], 2), (["--operators"], 1)):
        monkeypatch.setattr("sys.stdin", io.StringIO("read +json\n"))
        assert min(len(ids(lexite, words_index, *options)), 2) == n_hits
    done = lexite("search", words_index, "--queries", file, "--operators", "--run", "-")
    assert [line.split()[2] for line in done.out.splitlines()] == ["d3"]


def test_what_no_document_has_is_said(lexite, words_index: Path) -> None:
    assert (
        "No document has 'zebra' or 'red cow', which the query requires."
        in lexite("search", words_index, 'milk +zebra "red cow"').out
    )
    done = lexite("search", words_index, 'milk +zebra "red cow"', "--json")
    assert done.json["hits"] == [] and done.json["missing"] == ["zebra", "red cow"]
    assert "has all that it requires and nothing that it excludes" in lexite("search", words_index, "+milk +json").out
    assert "missing" not in lexite("search", words_index, "+milk +json", "--json").json


def test_operators_that_cannot_be_answered(lexite, words_index: Path, tiny_index: Path, tmp_path: Path) -> None:
    assert "has no literal words, so words cannot be required" in lexite("search", tiny_index, "read +json").error
    assert len(ids(lexite, tiny_index, "read +json", "--no-operators")) > 1
    assert "only says what is not wanted" in lexite("search", words_index, "--", "-milk").error
    terms = tmp_path / "terms.jsonl"
    terms.write_text('{"id": "1", "terms": [[3, 1.0]]}\n', encoding="utf-8")
    done = lexite("search", words_index, "--terms", terms, "--operators")
    assert done.status == 2 and "Leave --operators out" in done.err


def test_a_word_that_looks_like_an_option_is_explained(lexite, words_index: Path) -> None:
    done = lexite("search", words_index, "rain", "-snow")
    assert done.status == 2 and "No such option: -s. A query that excludes a word is one argument" in done.err
    assert "excludes" not in lexite("search", words_index, "rain", "--snow").err


def test_a_conversation_goes_on_after_a_query_that_cannot_be_answered(
    lexite, words_index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = iter(["-milk", "read +zebra", "read +json", ""])

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda prompt: next(lines))
    done = lexite("search", words_index)
    assert done.status == 0
    for part in ("only says what is not wanted", "No document has 'zebra'", "Reading JSON"):
        assert part in done.out


def test_weights_of_fields_are_recorded_and_shown(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    path = tmp_path / "i"
    build = ["index", documents, "-o", path, "--vocabulary", tiny_vocabulary]
    assert lexite(*build, "--field-weight", "title=2", "--field-weight", "headings=0").status == 0
    weights = {"title": 2.0, "headings": 0.0, "body": 1.0}
    assert lexite("info", path, "--json").json["field_weights"] == weights
    assert "field weights" in lexite("info", path).out
    more = tmp_path / "more.jsonl"
    more.write_text(json.dumps({"_id": "new", "title": "Zebra", "text": "A zebra."}) + "\n", encoding="utf-8")
    assert lexite("add", path, more).status == 0
    index = BM25Index.open(path)
    row = index.rows(["new"]).toarray()[0]
    assert {index.word(term): row[term] for term in range(index.n_latents, index.n_terms) if row[term]} == {"zebra": 12.0}
    assert ids(lexite, path, "+zebra") == ["new"]


def test_wrong_weights_of_fields_are_named(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    build = ["index", documents, "-o", tmp_path / "i", "--vocabulary", tiny_vocabulary, "--field-weight"]
    assert "There is no field 'tags'" in lexite(*build, "tags=2").error
    assert "'title' is no weight of a field" in lexite(*build, "title").error
    assert "must be 0, or a number" in lexite(*build, "title=-2").error
    assert not (tmp_path / "i").exists()


def test_a_recipe_may_hold_weights_of_fields(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"vocabulary: {tiny_vocabulary}\nfield_weight: [title=3]\n", encoding="utf-8")
    assert lexite("index", documents, "-o", tmp_path / "i", "--recipe", recipe).status == 0
    weights = BM25Index.open(tmp_path / "i").field_weights
    assert weights is not None and weights.title == 3.0


@pytest.mark.slow
def test_weights_of_fields_are_measured(lexite, collection: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    measure = ["eval", collection, "--vocabulary", tiny_vocabulary, "--baselines", "none", "--json", "-"]
    plain = lexite(*measure)
    assert plain.status == 0, plain.err
    weighed = [lexite(*measure, "--field-weight", "title=4", *more) for more in ([], ["--cache", tmp_path / "cache"])]
    costs = [run.json["mean"]["latent+words"]["postings_per_document"] for run in (plain, *weighed)]
    assert costs[0] != costs[1] == costs[2]
    assert weighed[0].json["settings"]["field_weights"] == {"title": 4.0, "headings": 1.0, "body": 1.0}
    assert weighed[0].json["mean"] == weighed[1].json["mean"] and plain.json["settings"]["field_weights"] is None
