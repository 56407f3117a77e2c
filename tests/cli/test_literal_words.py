"""Literal words on the command line: index, search, add, delete, merge, info, eval."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from lexite.index import BM25Index, LiteralConfig
from lexite.scoring.compounds import german_analyser, german_parts
from lexite.search.indexing import index_documents
from lexite.terms import LatentTermEncoder


def jsonl(path: Path, *records: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


@pytest.fixture
def words_index(tiny_vocabulary: Path, documents: Path, tmp_path: Path, lexite) -> Path:
    path = tmp_path / "words.lexite"
    assert lexite("index", documents, "-o", path, "--vocabulary", tiny_vocabulary, "--literal").status == 0
    return path


def hits(lexite, *words: str | Path) -> list[dict]:
    done = lexite("search", *words, "--json")
    assert done.status == 0, done.err
    return json.loads(done.out)["hits"]


def test_a_round_trip(lexite, words_index: Path, tmp_path: Path) -> None:
    assert BM25Index.open(words_index).literal == LiteralConfig(literal=True)
    named = jsonl(tmp_path / "n.jsonl", {"_id": "n", "title": "Visit", "text": "Qzwylla-17 went to sea. " * 9})
    same = jsonl(tmp_path / "s.jsonl", {"_id": "n", "title": "Visit", "text": "Zwyllaq-17 went to sea. " * 9})
    assert lexite("add", words_index, named).status == 0
    (first, *_) = hits(lexite, words_index, "qzwylla 17")
    assert first["id"] == "n" and "Qzwylla-17 went to sea." in first["snippet"]
    found = {term["label"]: term for term in first["terms"] if "word" in term}
    assert set(found) == {'"qzwylla"', '"17"'} and found['"17"']["word"] == "17"
    assert all(term["term"] >= 64 and term["contribution"] > 0 for term in found.values())
    assert sum(term["contribution"] for term in first["terms"]) <= first["score"] * 1.0001
    assert '"qzwylla"' in lexite("search", words_index, "qzwylla", "--top-k", "1").out
    assert lexite("add", words_index, same, "--replace").status == 0
    assert lexite("merge", words_index).status == 0
    assert "qzwylla" not in [term.get("word") for hit in hits(lexite, words_index, "qzwylla 17") for term in hit["terms"]]
    (first, *_) = hits(lexite, words_index, "zwyllaq")
    assert first["id"] == "n" and first["terms"][0]["word"] == "zwyllaq"
    assert lexite("delete", words_index, "n").status == 0
    assert lexite("merge", words_index).status == 0
    assert all("word" not in term for hit in hits(lexite, words_index, "zwyllaq") for term in hit["terms"])
    assert lexite("info", words_index, "--verify").status == 0


def test_words_can_be_left_out_at_search_time(lexite, words_index: Path) -> None:
    with_words, without = (hits(lexite, words_index, "milk of the cow", *more) for more in ((), ("--literal-weight", "0")))
    assert any("word" in term for hit in with_words for term in hit["terms"])
    assert not any("word" in term for hit in without for term in hit["terms"])
    assert hits(lexite, words_index, "milk of the cow", "--literal-weight", "9")[0]["score"] > with_words[0]["score"]


def test_the_passage_with_the_words_is_shown(lexite, tiny_vocabulary: Path, tmp_path: Path) -> None:
    filler = "Rain falls on the lake and the wind moves the ship on the sea. " * 12
    long = jsonl(tmp_path / "long.jsonl", {"_id": "long", "text": f"{filler} Only Qzwylla knows. {filler}"})
    index = tmp_path / "i"
    assert lexite("index", long, "-o", index, "--vocabulary", tiny_vocabulary, "--literal").status == 0
    (hit,) = hits(lexite, index, "qzwylla", "--literal-weight", "100")
    assert "Only Qzwylla knows." in hit["snippet"]


def test_words_are_indexed_unless_told_otherwise(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    build = ["index", documents, "--vocabulary", tiny_vocabulary, "-o"]
    for name, words in {"as-it-is": [], "with": ["--literal"], "without": ["--no-literal"]}.items():
        assert lexite(*build, tmp_path / name, *words).status == 0
    plain, given, without = (BM25Index.open(tmp_path / name) for name in ("as-it-is", "with", "without"))
    assert plain.literal == given.literal == LiteralConfig() and without.literal is None
    assert plain.n_postings == given.n_postings > without.n_postings and without.n_terms == 64
    assert any("word" in term for hit in hits(lexite, tmp_path / "as-it-is", "milk") for term in hit["terms"])


def test_settings_come_from_options_and_recipes(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    build = ["index", documents, "--vocabulary", tiny_vocabulary]
    words = ["--literal", "--literal-weight-documents", "1.5", "--literal-stop-words", "none", "--literal-weight", "0.5"]
    assert lexite(*build, "-o", tmp_path / "a", *words).status == 0
    index = BM25Index.open(tmp_path / "a")
    assert index.literal == LiteralConfig(True, 1.5, "none") and index.scoring.literal_weight == 0.5
    (tmp_path / "r.yaml").write_text("literal: true\nliteral-stop-words: none\n")
    assert lexite(*build, "-o", tmp_path / "b", "--recipe", tmp_path / "r.yaml").status == 0
    assert BM25Index.open(tmp_path / "b").literal == LiteralConfig(True, 4.0, "none")
    assert lexite(*build, "-o", tmp_path / "c", "--recipe", tmp_path / "r.yaml", "--no-literal").status == 0
    assert BM25Index.open(tmp_path / "c").literal is None
    assert "literal-weight" in lexite(*build, "-o", tmp_path / "d", "--literal-weight-documents", "0").err


OPTIONS = [
    ["--literal-weight-documents", "3"],
    ["--literal-stop-words", "none"],
    ["--literal-unspaced", "whole"],
    ["--literal-compounds", "german"],
    ["--literal-weight", "2"],
]


@pytest.mark.parametrize("option", OPTIONS)
def test_options_of_words_are_refused_where_there_are_none(lexite, collection: Path, tmp_path: Path, option: list[str]) -> None:
    for words in (["index", collection, "-o", tmp_path / "i"], ["eval", collection]):
        said = lexite(*words, "--no-literal", *option).usage
        assert said == f"{option[0]} has no effect beside --no-literal. Leave one of them out."
    assert not (tmp_path / "i").exists()


def test_the_weight_of_words_is_refused_where_an_index_has_none(lexite, tiny_index: Path, tmp_path: Path) -> None:
    terms = jsonl(tmp_path / "terms.jsonl", {"id": "1", "terms": {"3": 1.0}})
    for query in (["milk"], ["milk", "--static"], ["--terms", terms]):
        said = lexite("search", tiny_index, *query, "--literal-weight", "2").error
        assert said.startswith(f"{tiny_index} has no literal words, so --literal-weight has no effect.")
        assert lexite("search", tiny_index, *query, "--literal-weight", "0").status == 0  # leaves out what is not there


def test_how_words_are_cut_is_recorded_and_used_again(lexite, tiny_vocabulary: Path, tmp_path: Path) -> None:
    first = jsonl(tmp_path / "a.jsonl", {"_id": "a", "text": "milk 東京都に行く"})
    second = jsonl(tmp_path / "b.jsonl", {"_id": "b", "text": "milk 京都大学"})
    for unspaced, found in (("pairs", {"a", "b"}), ("whole", set())):
        index = tmp_path / unspaced
        words = ["--vocabulary", tiny_vocabulary, "--literal-unspaced", unspaced]
        assert lexite("index", first, "-o", index, *words).status == 0
        assert lexite("add", index, second).status == 0
        assert {
            hit["id"] for hit in hits(lexite, index, "京都", "--literal-weight", "9") if any("word" in t for t in hit["terms"])
        } == found
        assert lexite("info", index, "--json").json["literal_unspaced"] == unspaced


def test_an_index_whose_words_need_a_package_names_it(
    lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("HanTa")
    german = ["--vocabulary", tiny_vocabulary, "--literal-compounds", "german"]
    source = jsonl(tmp_path / "a.jsonl", {"_id": "a", "text": "Das Heizungsventil"}, {"_id": "b", "text": "Tisch"})
    assert lexite("index", source, "-o", tmp_path / "i", *german).status == 0
    (first, *_) = hits(lexite, tmp_path / "i", "Ventil", "--literal-weight", "9")
    assert first["id"] == "a" and first["terms"][0]["word"] == "ventil"
    monkeypatch.setitem(sys.modules, "HanTa.HanoverTagger", None)
    german_analyser.cache_clear()
    german_parts.cache_clear()
    needed = "Splitting German compounds needs the package 'HanTa', which is not installed. Run: pip install 'lexite[german]'"
    assert lexite("search", tmp_path / "i", "Heizungsventil").error == needed
    assert lexite("add", tmp_path / "i", jsonl(tmp_path / "c.jsonl", {"_id": "c", "text": "Kesselventil"})).error == needed
    assert lexite("index", documents, "-o", tmp_path / "new", *german).error == needed
    assert not (tmp_path / "new").exists()
    assert lexite("info", tmp_path / "i").status == 0


def test_texts_need_not_be_kept(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    words = ["-o", tmp_path / "i", "--vocabulary", tiny_vocabulary, "--literal", "--no-text"]
    assert lexite("index", documents, *words).status == 0
    (first, *_) = hits(lexite, tmp_path / "i", "json", "--literal-weight", "50")
    assert first["id"] == "d3" and first["snippet"] == "" and first["terms"][0]["word"] == "json"


def test_info_counts_words(lexite, words_index: Path, tiny_index: Path) -> None:
    facts = lexite("info", words_index, "--json").json
    index = BM25Index.open(words_index)
    assert facts["literal_words"] is True and facts["n_words"] == index.n_terms - 64 > 50
    assert facts["n_postings_words"] == int(index.document_frequency[64:].sum())
    shown = lexite("info", words_index).out
    assert "literal words " in shown and "n words " in shown and "n postings words " in shown
    assert lexite("info", tiny_index, "--json").json["literal_words"] is False


def test_info_verify_names_a_damaged_dictionary(lexite, words_index: Path) -> None:
    file = next((words_index / "words").glob("words-*.bin"))
    content = bytearray(file.read_bytes())
    content[3] ^= 1
    file.write_bytes(content)
    assert lexite("info", words_index).status == 0
    assert file.name in lexite("info", words_index, "--verify").error


def test_stored_terms_may_have_a_text(
    lexite, words_index: Path, tiny_vocabulary: Path, tiny_index: Path, tmp_path: Path
) -> None:
    text = "json milk"
    encoder = LatentTermEncoder.from_pretrained(str(tiny_vocabulary))
    row = encoder.encode_queries([text]).rows
    terms = {str(term): float(weight) for term, weight in zip(row.indices, row.data, strict=True)}
    with_text = jsonl(tmp_path / "with.jsonl", {"id": "1", "terms": terms, "text": text})
    without = jsonl(tmp_path / "without.jsonl", {"id": "1", "terms": terms})
    shown = hits(lexite, words_index, "--terms", with_text)
    asked = hits(lexite, words_index, text)
    assert [(hit["id"], pytest.approx(hit["score"], rel=1e-4)) for hit in asked] == [(h["id"], h["score"]) for h in shown]
    assert {term.get("word") for hit in shown for term in hit["terms"]} >= {"json", "milk"}
    assert all("word" not in term for hit in hits(lexite, words_index, "--terms", without) for term in hit["terms"])
    assert hits(lexite, tiny_index, "--terms", with_text) == hits(lexite, tiny_index, "--terms", without)
    run = ["--run", tmp_path / "run"]
    assert lexite("search", words_index, "--terms", with_text, *run).status == 0
    assert (tmp_path / "run").read_text().split()[2] == shown[0]["id"]
    jsonl(tmp_path / "bad.jsonl", {"id": "1", "terms": terms, "text": 7})
    assert "the text must be text" in lexite("search", words_index, "--terms", tmp_path / "bad.jsonl").error
    jsonl(tmp_path / "word.jsonl", {"id": "1", "terms": {"64": 1.0}})
    assert "'64' is no term of this index, which has the terms 0 to 63" in lexite(
        "search", words_index, "--terms", tmp_path / "word.jsonl"
    ).error  # fmt: skip


def test_queries_of_a_file_are_searched_with_their_words(lexite, words_index: Path, tmp_path: Path) -> None:
    (tmp_path / "q.txt").write_text("json\nmilk\n")
    words = ["--queries", tmp_path / "q.txt", "--literal-weight", "50", "--top-k", "1"]
    assert lexite("search", words_index, *words, "--run", tmp_path / "run").status == 0
    assert [line.split()[2] for line in (tmp_path / "run").read_text().splitlines()] == ["d3", "d1"]


@pytest.mark.parametrize("cache", [True, False])
def test_eval_with_words(lexite, collection: Path, tiny_vocabulary: Path, tmp_path: Path, cache: bool) -> None:
    words = ["eval", collection, "--vocabulary", tiny_vocabulary, "--baselines", "bm25", "--json", "-"]
    words += ["--cache", tmp_path / "cache"] if cache else []
    plain, report = lexite(*words, "--no-literal").json, lexite(*words, "--literal-weight", "100").json
    before, after = plain["collections"]["tiny"]["latent"], report["collections"]["tiny"]["latent+words"]
    assert list(report["collections"]["tiny"]) == ["latent+words", "bm25"]
    assert after["postings_per_document"] > before["postings_per_document"] + 5
    assert after["terms_per_query"] == pytest.approx(before["terms_per_query"] + (4 + 2 + 3) / 3)  # how parse json text, …
    assert after["nDCG@10"] == 1.0
    assert (report["settings"]["literal"], plain["settings"]["literal"]) == (True, False)
    assert report["significance"]["collections"]["tiny"]["bm25"]["n_queries"] == 3
    assert list(plain["collections"]["tiny"]) == ["latent", "bm25"]
    shown = lexite(*words[:-2], "--literal", "--runs", tmp_path / "runs").out
    assert "latent+words" in shown
    assert (tmp_path / "runs" / "tiny.latent+words.run").is_file()


def test_adding_makes_a_dictionary_grow_in_many_chunks(
    lexite, words_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_documents, "__kwdefaults__", {**index_documents.__kwdefaults__, "documents_per_chunk": 2})
    before = BM25Index.open(words_index).n_terms
    records = [{"_id": f"m{i}", "text": f"word{i} common"} for i in range(7)]
    assert lexite("add", words_index, jsonl(tmp_path / "m.jsonl", *records)).status == 0
    assert BM25Index.open(words_index).n_terms == before + 8
    assert hits(lexite, words_index, "word5", "--literal-weight", "50")[0]["id"] == "m5"
