from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from lexite.cli import session
from lexite.index import BM25Index, read_trec_run
from lexite.search import MatchedTerm, Passage, SearchHit
from lexite.search.snippets import snippets


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_query_gives_hits_with_terms_that_add_up(lexite, tiny_index: Path) -> None:
    done = lexite("search", tiny_index, "milk", "of", "the", "cow", "--json", "--top-k", "6")
    (answer,) = lines(done.out)
    assert answer["query"] == "milk of the cow" and [hit["rank"] for hit in answer["hits"]] == list(range(1, 7))
    scores = [hit["score"] for hit in answer["hits"]]
    assert scores == sorted(scores, reverse=True) and scores[-1] > 0
    for hit in answer["hits"]:
        assert set(hit) == {
            "rank",
            "id",
            "score",
            "coverage",
            "title",
            "fields",
            "snippet",
            "start",
            "end",
            "terms",
            "common_share",
        }
        assert set(hit["terms"][0]) == {"term", "label", "contribution"}
        assert 0 < sum(term["contribution"] for term in hit["terms"]) <= hit["score"] * 1.0001


def test_hits_are_shown_with_title_score_snippet_and_labels(lexite, tiny_index: Path) -> None:
    done = lexite("search", tiny_index, "moon", "and", "sun", "--top-k", "6")
    assert done.status == 0 and done.err == ""
    shown = done.out.splitlines()
    assert shown[0].startswith("  1  ") and len(shown) == 18
    assert any("Reading JSON  " in line and line.endswith("d3") for line in shown)
    assert "     The moon and the sun and the stars. Time is read from a clock by date and number." in shown
    assert all(line == line.rstrip() for line in shown)


def test_the_snippet_is_the_passage_that_matches(lexite, tiny_vocabulary: Path, tmp_path: Path) -> None:
    filler = "Rain falls on the lake and the wind moves the ship on the sea. " * 12
    text = f"{filler} The patient takes a dose of the drug in the cancer trial. {filler}"
    (tmp_path / "long.jsonl").write_text(json.dumps({"_id": "long", "text": text}) + "\n")
    index = tmp_path / "i"
    words = ["-o", index, "--vocabulary", tiny_vocabulary, "--no-literal", "--passages", "none"]
    assert lexite("index", tmp_path / "long.jsonl", *words).status == 0
    query = ["dose", "of", "the", "drug", "in", "the", "cancer", "trial"]
    best = lines(lexite("search", index, *query, "--json").out)[0]["hits"][0]["snippet"]
    first = lines(lexite("search", index, *query, "--json", "--no-snippets").out)[0]["hits"][0]["snippet"]
    assert "drug in the cancer trial" in best and len(best) <= 240
    assert first.startswith("Rain falls") and "drug" not in first


def test_scoring_and_k_change_the_search_only(lexite, tiny_index: Path) -> None:
    words = ["search", tiny_index, "how to parse json text", "--json"]
    plain = lines(lexite(*words).out)[0]["hits"]
    for change in (["--k1", "0"], ["--b", "0"], ["--query-transform", "none"], ["--k-queries", "1"], ["--idf", "bm25+"]):
        changed = lines(lexite(*words, *change).out)[0]["hits"]
        assert [hit["score"] for hit in changed] != [hit["score"] for hit in plain], change
    assert BM25Index.open(tiny_index).scoring.k1 == 2.5


def test_files_of_queries_and_trec_runs(lexite, tiny_index: Path, collection: Path, tmp_path: Path) -> None:
    queries = collection / "queries.jsonl"
    answers = lines(lexite("search", tiny_index, "--queries", queries, "--json").out)
    assert [answer["id"] for answer in answers] == ["q1", "q2", "q3"]
    done = lexite("search", tiny_index, "--queries", queries, "--run", tmp_path / "run.txt", "--top-k", "2")
    assert done.out == f"3 queries, 6 hits: {tmp_path / 'run.txt'}\n"
    words = ["search", tiny_index, "--queries", queries, "--top-k", "2", "--run"]
    assert lexite(*words, tmp_path / "run.txt", "--json").json == {"run": str(tmp_path / "run.txt"), "queries": 3, "hits": 6}
    assert lexite(*words, "-").out == (tmp_path / "run.txt").read_text()
    assert "--json has no place" in lexite(*words, "-", "--json").usage
    run = read_trec_run(tmp_path / "run.txt")
    assert {query: list(row) for query, row in run.items()} == {
        answer["id"]: [hit["id"] for hit in answer["hits"][:2]] for answer in answers
    }
    shown = lexite("search", tiny_index, "--queries", queries).out
    assert "milk of the cow" in shown and "how to parse json text" in shown


def test_queries_come_through_a_pipe(lexite, tiny_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("milk\n\n  rain on the lake \n"))
    answers = lines(lexite("search", tiny_index, "--json").out)
    assert [(answer["id"], answer["query"]) for answer in answers] == [("1", "milk"), ("2", "rain on the lake")]
    monkeypatch.setattr(sys, "stdin", io.StringIO("milk\n"))
    assert lexite("search", tiny_index).out.startswith("\nmilk\n  1  ")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_conversation_ends_with_an_empty_line(lexite, tiny_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal())
    typed = iter(["milk", ""])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    done = lexite("search", tiny_index, "--top-k", "1")
    assert done.status == 0 and "Type a query" in done.out and "  1  " in done.out


@pytest.mark.parametrize("end", [EOFError, KeyboardInterrupt])
def test_a_conversation_ends_with_the_input(end, lexite, tiny_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(prompt: str) -> str:
        raise end

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("builtins.input", stop)
    assert lexite("search", tiny_index).status == 0


def test_no_hits_is_said(lexite, tiny_index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from lexite.cli.hits import print_hits
    from lexite.cli.output import console

    print_hits(console(), [])
    assert capsys.readouterr().out == "No document shares a term with the query.\n"


def test_long_lines_are_wrapped_on_a_terminal_only() -> None:
    from rich.console import Console

    from lexite.cli.hits import print_hits

    passage = Passage("word " * 30, 0, 150)
    hit = SearchHit("d1", 2.5, 1, "", passage, (MatchedTerm(3, "label [bold]", 2.5),), 0)
    narrow, piped = io.StringIO(), io.StringIO()
    print_hits(Console(file=narrow, width=40, force_terminal=True, no_color=True, highlight=False), [hit])
    print_hits(Console(file=piped, width=40, soft_wrap=True), [hit])
    assert len(narrow.getvalue().splitlines()) > 5
    assert piped.getvalue().splitlines()[2] == "     label [bold] 2.50", "labels are not markup"


def test_passages_keep_sentences_together_and_split_long_ones() -> None:
    text = "First one. Second one!\n\nA new paragraph. " + "long " * 100
    parts = snippets(text, 60)
    assert parts[0].text == "First one. Second one! A new paragraph."
    assert all(len(part.text) <= 60 for part in parts)
    assert " ".join(part.text for part in parts).split() == text.split()
    assert all(" ".join(text[part.start : part.end].split()) == part.text for part in parts)
    assert [part.text for part in snippets("x" * 130, 60)] == ["x" * 60, "x" * 60, "x" * 10]
    assert snippets("") == []


def test_line_editing_is_only_a_comfort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "readline", None)
    assert session._enable_line_editing() is None


def test_fields_of_a_file_of_queries_are_named(lexite, tiny_index: Path, tmp_path: Path) -> None:
    file = tmp_path / "queries.jsonl"
    file.write_text('{"nr": "a", "words": "milk"}\nnonsense\n')
    words = ["search", tiny_index, "--queries", file, "--json", "--id-field", "nr", "--text-field", "words"]
    done = lexite(*words, "--skip-bad")
    assert [(answer["id"], answer["query"]) for answer in lines(done.out)] == [("a", "milk")]
    assert "1 was skipped" in done.err and "line 2" in lexite(*words).error


def test_queries_that_are_not_utf8(lexite, tiny_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9\n")))
    assert lexite("search", tiny_index).error.startswith("Standard input, line 1: not valid UTF-8 (byte 0xe9).")
    assert "not valid in the encoding" in lexite("search", tiny_index, "caf\udce9").error


def test_snippets_show_headings_without_their_marks() -> None:
    text = "# Tides ##\n\nThe sea is #1.\n## C # ##\nIt rises.\n    # no heading\n\n#tag is none.\n\nEnd ##"
    (found,) = snippets(text)
    assert found.text == "Tides The sea is #1. C # It rises. # no heading #tag is none. End ##"
    assert text[found.start : found.end].startswith("Tides") and text[found.start : found.end].endswith("End ##")
    assert "".join(part.text for part in snippets(text, 10)).replace(" ", "") == found.text.replace(" ", "")
