"""encode, info, eval, demo."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from lexite.cli import demo
from lexite.corpus import Document
from lexite.index import BM25Index


def test_encode_prints_jsonl(lexite, documents: Path, tiny_vocabulary: Path) -> None:
    done = lexite("encode", documents, "--vocabulary", tiny_vocabulary)
    records = [json.loads(line) for line in done.out.splitlines()]
    assert [record["id"] for record in records] == ["d1", "d2", "d3", "d4", "d5", "d6"]
    assert all(0 <= int(term) < 64 and weight > 0 for record in records for term, weight in record["terms"].items())


def test_encode_writes_a_matrix_that_scipy_reads(lexite, documents: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    words = ["encode", documents, "--vocabulary", tiny_vocabulary, "-o"]
    assert lexite(*words, tmp_path / "raw.npz", "--raw").out.startswith("6 texts, ")
    assert lexite(*words, tmp_path / "w.npz", "--json").json["texts"] == 6
    raw, weights = scipy.sparse.load_npz(tmp_path / "raw.npz"), scipy.sparse.load_npz(tmp_path / "w.npz")
    assert weights.shape == (6, 64) and weights.format == "csr"
    np.testing.assert_array_equal(weights.toarray(), raw.toarray())  # the transform of documents is none
    queries = [*words[:-1], "--kind", "query", "-o"]
    assert lexite(*queries, tmp_path / "qr.npz", "--raw").status == lexite(*queries, tmp_path / "q.npz").status == 0
    raw_queries, as_queries = scipy.sparse.load_npz(tmp_path / "qr.npz"), scipy.sparse.load_npz(tmp_path / "q.npz")
    np.testing.assert_allclose(as_queries.toarray(), raw_queries.toarray() ** 0.75, rtol=1e-6)
    with np.load(tmp_path / "w.npz", allow_pickle=False) as file:
        assert file["ids"].tolist() == ["d1", "d2", "d3", "d4", "d5", "d6"]
    assert lexite(*words, tmp_path / "w.jsonl").status == 0
    records = [json.loads(line) for line in (tmp_path / "w.jsonl").read_text().splitlines()]
    for row, record in enumerate(records):
        assert record["terms"] == pytest.approx({str(t): weights[row, t] for t in weights[[row]].indices}, rel=1e-5)


def test_encode_with_fewer_latents_and_as_queries(lexite, tiny_vocabulary: Path, tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text('{"_id": "1", "text": "the cat and the dog drink milk"}\n')

    def terms(*words: str) -> int:
        done = lexite("encode", tmp_path / "one.jsonl", "--vocabulary", tiny_vocabulary, *words)
        return sum(len(json.loads(line)["terms"]) for line in done.out.splitlines())

    assert terms("--k-documents", "1") < terms()
    assert terms("--k-documents", "1", "--kind", "query") == terms("--kind", "query")
    assert terms("--k-queries", "1", "--kind", "query") == terms("--k-documents", "1")


def test_encode_reads_queries_as_queries(lexite, tiny_vocabulary: Path, tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text("milk of the cow\nrain\n")
    (tmp_path / "more.jsonl").write_text('{"qid": "q7", "question": "how to parse json"}\n')
    words = ["encode", "--vocabulary", tiny_vocabulary, "--kind", "query", tmp_path / "queries.txt"]
    done = lexite(*words, tmp_path / "more.jsonl")
    assert [json.loads(line)["id"] for line in done.out.splitlines()] == ["1", "2", "q7"]
    assert "occurred in a source before" in lexite(*words, tmp_path / "queries.txt", "-o", tmp_path / "w.npz").error


def test_encode_has_one_thing_for_stdout(lexite, documents: Path) -> None:
    assert "--json has no place" in lexite("encode", documents, "--json").usage


def test_encode_needs_a_known_format(lexite, documents: Path) -> None:
    assert lexite("encode", documents, "-o", "weights.csv").usage.startswith("weights.csv should end in .npz or .jsonl")


def test_info_of_an_index(lexite, tiny_index: Path) -> None:
    facts = lexite("info", tiny_index, "--json").json
    assert facts["kind"] == "index" and facts["n_documents"] == 6 and "verified" not in facts
    assert lexite("info", tiny_index, "--verify", "--json").json["verified"] is True
    text = lexite("info", tiny_index).out
    assert "n documents" in text and "vocabulary\n" in text and "  name" in text


def test_info_finds_damage_when_asked(lexite, own_index: Path) -> None:
    file = max(
        (path for path in own_index.rglob("*") if path.is_file() and "segments" in path.parts), key=lambda p: p.stat().st_size
    )
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert file.name in lexite("info", own_index, "--verify").error


def test_info_of_a_vocabulary(lexite, tiny_vocabulary: Path) -> None:
    facts = lexite("info", tiny_vocabulary, "--json", "--verify").json
    assert facts["kind"] == "vocabulary" and facts["sae"]["n_latents"] == 64 and facts["verified"] is True


def test_info_of_states_and_checkpoints(lexite, tmp_path: Path) -> None:
    np.save(tmp_path / "states.npy", np.ones((5, 4), np.float32))
    facts = lexite("info", tmp_path, "--json").json
    assert (facts["kind"], facts["n_tokens"], facts["d_model"]) == ("states", 5, 4)
    checkpoint = tmp_path / "run" / "checkpoint-00000000004096"
    checkpoint.mkdir(parents=True)
    (checkpoint / "checkpoint.json").write_text('{"format_version": 1, "tokens": 4096}')
    for path in (checkpoint, checkpoint.parent):
        facts = lexite("info", path, "--json").json
        assert (facts["kind"], facts["path"], facts["tokens"]) == ("checkpoint", str(checkpoint), 4096)
    assert lexite("info", checkpoint, "--verify").status == 1


def test_info_of_the_installation(lexite) -> None:
    facts = lexite("info", "--json").json
    assert (
        facts["kind"] == "installation"
        and facts["packages"]["torch"]
        and set(facts["extras"])
        == {
            "minilm",
            "parquet",
            "documents",
            "ir-datasets",
            "zstd",
            "int8",
            "plots",
            "analysis",
            "eval",
            "fields",
            "german",
        }
    )
    assert "fast bf16" in lexite("info").out


def test_info_of_something_else(lexite, tmp_path: Path) -> None:
    assert lexite("info", tmp_path / "none").error == f"{tmp_path / 'none'} does not exist."
    assert "is not an index, a vocabulary, a checkpoint or" in lexite("info", tmp_path).error


def test_eval_prints_a_table_and_writes_json(lexite, collection: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    words = ["eval", collection, "--vocabulary", tiny_vocabulary, "--runs", tmp_path / "runs", "--cache", tmp_path / "cache"]
    done = lexite(*words, "--json", tmp_path / "r.json")
    assert done.status == 0 and "latent" in done.out and "nDCG@10" in done.out
    report = json.loads((tmp_path / "r.json").read_text())
    assert set(report) >= {"vocabulary", "collections", "mean"} and set(report["collections"]) == {"tiny"}
    columns = {"nDCG@10", "R@100", "MRR@10", "postings_per_document", "terms_per_query", "bytes_per_document"}
    assert {system: set(row) for system, row in report["mean"].items()} == dict.fromkeys(
        ("latent+words", "dense", "bm25"), columns
    )
    assert any((tmp_path / "runs").iterdir())


def test_eval_on_stdout_without_baselines(lexite, collection: Path, tiny_vocabulary: Path) -> None:
    words = ["eval", collection, "--vocabulary", tiny_vocabulary, "--baselines", "none", "--k1", "9", "--json", "-"]
    for more, system in (([], "latent+words"), (["--no-literal"], "latent")):
        done = lexite(*words, *more)
        assert set(done.json["mean"]) == {system} and done.json["settings"]["scoring"]["k1"] == 9


def test_eval_refuses_before_it_works(lexite, collection: Path, tiny_vocabulary: Path, tmp_path: Path) -> None:
    words = ["eval", collection, "--vocabulary", tiny_vocabulary]
    assert "cannot be written" in lexite(*words, "--json", tmp_path).error
    assert "'splade' is not a baseline" in lexite(*words, "--baselines", "dense,splade").usage


def test_eval_takes_a_recipe(lexite, collection: Path, tiny_vocabulary: Path, tmp_path: Path, monkeypatch) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"collections: [{collection}]\nbaselines: [bm25]\nvocabulary: {tiny_vocabulary}\n")
    assert set(lexite("eval", "--recipe", recipe, "--json", "-").json["mean"]) == {"latent+words", "bm25"}
    monkeypatch.setattr("lexite.cli.eval.load_vocabulary", lambda *arguments: pytest.fail("too early"))
    qrels = tmp_path / "judged" / "qrels" / "test.tsv"
    shutil.copytree(collection, tmp_path / "judged")
    qrels.write_text(qrels.read_text() + "q1\tnowhere\t1\n")
    recipe.write_text(f"collections: [{tmp_path / 'judged'}]\n")
    assert "nowhere" in lexite("eval", "--recipe", recipe).error, "before the model is loaded"
    recipe.write_text("collections: [a]\ntop_k: 5\n")
    assert "--top-k is 5" in lexite("eval", "--recipe", recipe).error
    recipe.write_text("collections:\n")
    assert lexite("eval", "--recipe", recipe).usage.startswith("No collections were named.")


@pytest.fixture
def small_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Three docstrings in place of six thousand, and a cache folder of our own."""
    three = [
        Document("json.loads", "Parse json text to an object.", "json.loads"),
        Document("shutil.rmtree", "Delete a tree of files.", "shutil.rmtree"),
        Document("random.choice", "Choose a list value by number.", "random.choice"),
    ]
    monkeypatch.setattr("lexite.corpus.builtin_documents", lambda: iter(three))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lexite"


def test_demo_answers_and_keeps_its_index(lexite, tiny_vocabulary: Path, small_library: Path, monkeypatch) -> None:
    words = ["demo", "--vocabulary", tiny_vocabulary, "--questions", "2"]
    text = lexite(*words).out
    assert all(question in text for question in demo.QUESTIONS[:2]) and demo.QUESTIONS[2] not in text
    assert "json.loads" in text and text.endswith("lexite search my.lexite\n")
    (place,) = small_library.iterdir()
    assert place.name.startswith("demo-python")
    monkeypatch.setattr(demo, "_built", lambda *arguments: pytest.fail("the index was there"))
    assert lexite(*words).out == text


def test_demo_builds_again_when_asked_or_needed(lexite, tiny_vocabulary: Path, small_library: Path) -> None:
    words = ["demo", "--vocabulary", tiny_vocabulary, "--json", "--questions", "1"]
    first = lexite(*words).json
    assert first["query"] == demo.QUESTIONS[0] and len(first["hits"]) == 3
    (place,) = small_library.iterdir()
    (place / "index.json").write_text("{")
    done = lexite(*words)
    assert done.json == first and "is built again" in done.err
    assert lexite(*words, "--fresh").json == first


def test_the_demo_of_an_environment_without_pyarrow_has_an_index_of_its_own(
    lexite, tiny_vocabulary: Path, small_library: Path, monkeypatch
) -> None:
    words = ["demo", "--vocabulary", tiny_vocabulary, "--questions", "1"]
    assert lexite(*words).status == 0
    monkeypatch.setattr(demo, "has_arrow", lambda: False)
    assert lexite(*words).status == 0
    fields = {tuple(BM25Index.open(place).fields) for place in small_library.iterdir()}
    assert fields == {("module",), ()}, "an index with fields cannot show them there"


def test_demo_without_a_cache_folder(lexite, tiny_vocabulary: Path, small_library: Path, monkeypatch, tmp_path: Path) -> None:
    small_library.parent.write_text("a file is in the way")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = lexite("demo", "--vocabulary", tiny_vocabulary, "--questions", "1")
    assert done.status == 0 and "goes into a temporary folder" in done.err


def test_demo_goes_on_with_a_conversation(lexite, tiny_vocabulary: Path, small_library: Path, monkeypatch) -> None:
    typed: Any = iter(["delete files", ""])
    monkeypatch.setattr("builtins.input", lambda prompt: next(typed))
    done = lexite("demo", "--vocabulary", tiny_vocabulary, "--questions", "0", "--interactive")
    assert "Now your own" in done.out and "shutil.rmtree" in done.out


def test_the_cache_folder_follows_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert demo.cache_folder() == Path.home() / ".cache" / "lexite"


def test_an_index_of_the_demo_is_an_ordinary_one(lexite, tiny_vocabulary: Path, small_library: Path) -> None:
    assert lexite("demo", "--vocabulary", tiny_vocabulary, "--questions", "0").status == 0
    (place,) = small_library.iterdir()
    assert BM25Index.open(place, verify=True).n_documents == 3
