"""Baselines of the one table, each against a reference of its own."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from lexite.corpus import ReadOptions
from lexite.errors import ConfigError, CorpusError, ModelError
from lexite.evaluation import evaluate_collections
from lexite.evaluation.baselines import Cut, baselines_of
from lexite.evaluation.baselines.bm25f import BM25FConfig, BM25FSystem, bm25f_of, bm25f_weights
from lexite.evaluation.baselines.encoders import SparseEncoderSystem
from lexite.evaluation.baselines.files import RunFileSystem, VectorFilesSystem
from lexite.evaluation.baselines.lexical import LexicalSystem
from lexite.evaluation.baselines.weights import lightest_cut, measured
from lexite.evaluation.judged import open_collections, read_collection

# Few weights, so that there are many ties
matrices = st.integers(1, 5).flatmap(
    lambda width: st.lists(
        st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=width, max_size=width), min_size=1, max_size=7
    )
)


@pytest.fixture
def judged(pets):
    return read_collection(open_collections([pets], "test")[0], ReadOptions())


@pytest.fixture
def vectors(tmp_path):
    """Weights of the pets' documents and queries."""
    folder = tmp_path / "unicoil"
    folder.mkdir()
    documents = {"d1": {"cat": 3, "purr": 1.5}, "d2": {"dog": 2}, "d3": {"bird": 1}, "d4": {"cat": 2, "bird": 4, "hunt": 1}}
    documents |= {"d5": {}, "q9": {"dog": 1, "bark": 5}}
    lines = [json.dumps({"id": id, "contents": "…", "vector": vector}) for id, vector in documents.items()]
    (folder / "documents.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "queries.tsv").write_text("q1\tcat cat bird\nq2\tdog bark bark\nq9\tdog\nq8\tfish\n", encoding="utf-8")
    return folder


# Weights


@given(matrices, st.data())
def test_dot_products_rank_as_a_plain_loop_does(rows, data):
    n_terms = len(rows[0])
    queries = data.draw(st.lists(st.lists(st.sampled_from([0.0, 1.0, 3.0]), min_size=n_terms, max_size=n_terms), min_size=1))
    top_k = data.draw(st.integers(1, 8))
    result = measured(csr_array(np.array(rows)), csr_array(np.array(queries)), top_k)
    for query, ranking in zip(queries, result.rankings, strict=True):
        scores = [sum(a * b for a, b in zip(query, row, strict=True)) for row in rows]
        order = sorted((d for d in range(len(rows)) if scores[d] > 0), key=lambda d: (-scores[d], d))[:top_k]
        assert ranking.documents.tolist() == order
        assert ranking.scores.tolist() == [scores[d] for d in order]
    assert result.costs.postings_per_document == pytest.approx(np.count_nonzero(rows) / len(rows))
    assert result.costs.terms_per_query == pytest.approx(np.count_nonzero(queries) / len(queries))
    assert result.costs.bytes_per_document == (8 * np.count_nonzero(rows) + 4 * (n_terms + 1)) / len(rows)


@given(matrices, st.floats(0.1, 6))
def test_cutting_keeps_the_heaviest_of_each_row(rows, mean):
    weights = np.array(rows, dtype=np.float32)
    cut = lightest_cut(csr_array(weights), mean).toarray()
    assert np.count_nonzero(cut) == min(int(mean * len(rows)), np.count_nonzero(weights))
    assert np.all((cut == 0) | (cut == weights))
    sizes = np.count_nonzero(cut, axis=1)
    for row, kept in zip(weights, cut, strict=True):
        lost = row[(kept == 0) & (row > 0)]
        assert not len(lost) or not kept.any() or lost.max() <= kept[kept > 0].min()
        if len(lost):  # every row that lost some has as many as the others that lost, or one more
            assert np.count_nonzero(kept) >= sizes.max() - 1


def test_a_cut_must_leave_something():
    with pytest.raises(ConfigError, match=r"postings is 0\.0, but must be above 0"):
        Cut(postings=0.0)


# BM25F


def test_bm25f_by_hand():
    """Two documents, title and body; every number is written out."""
    title, body = csr_array([[1.0, 0.0], [0.0, 0.0]]), csr_array([[2.0, 1.0], [0.0, 4.0]])
    config = BM25FConfig(k1=1.2, b=0.75)
    found = bm25f_weights([(2.0, title), (1.0, body)], config).toarray()
    b_title, b_body, b_other = 0.25 + 0.75 * 1 / 0.5, 0.25 + 0.75 * 3 / 3.5, 0.25 + 0.75 * 4 / 3.5
    first = 2.0 * 1 / b_title + 1.0 * 2 / b_body
    idf = [math.log(1 + (2 - 1 + 0.5) / (1 + 0.5)), math.log(1 + (2 - 2 + 0.5) / (2 + 0.5))]
    second, other = 1 / b_body, 4 / b_other
    expected = [[idf[0] * first / (1.2 + first), idf[1] * second / (1.2 + second)], [0, idf[1] * other / (1.2 + other)]]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_bm25f_of_one_field_is_bm25(judged):
    ours, theirs = BM25FSystem().run(judged, 5), LexicalSystem().run(judged, 5)
    for own, other in zip(ours.rankings, theirs.rankings, strict=True):
        assert own.documents.tolist() == other.documents.tolist()
        np.testing.assert_allclose(own.scores, other.scores, rtol=1e-5)
    assert ours.costs.postings_per_document == theirs.costs.postings_per_document
    assert ours.costs.terms_per_query == theirs.costs.terms_per_query


def test_a_title_and_a_heading_count_more(tmp_path, make_collection):
    path = make_collection(
        "titled", {"a": "cats sleep under trees", "b": "# Cats\nThey sleep under trees."}, {"q": "cats"}, {"q": {"b": 1}}
    )
    collection = read_collection(open_collections([path], "test")[0], ReadOptions())
    flat = BM25FSystem(bm25f_of("headings=0")).run(collection, 2)
    assert flat.rankings[0].documents.tolist() == [0]
    assert BM25FSystem(bm25f_of("headings=5")).run(collection, 2).rankings[0].documents.tolist() == [1, 0]


@pytest.mark.parametrize(
    "written, message",
    [("url=2", "no number 'url'"), ("b=2", "b is '2'"), ("k1=much", "k1 is 'much'"), ("title=-1", "'title' is -1")],
)
def test_wrong_numbers_of_bm25f(written, message):
    with pytest.raises(ConfigError, match=message):
        bm25f_of(written)


# Weights from files


def test_weights_from_files_are_ranked_by_dot_product(judged, vectors):
    result = VectorFilesSystem(str(vectors)).run(judged, 3)
    by_query = dict(zip([query.id for query in judged.queries], result.rankings, strict=True))
    named = {q: [judged.document_ids[n] for n in ranking.documents] for q, ranking in by_query.items()}
    assert named == {"q1": ["d4", "d1", "d3"], "q2": ["q9", "d2"], "q9": ["d2", "q9"]}
    assert by_query["q1"].scores.tolist() == [2 * 2 + 4, 2 * 3, 1]
    assert result.costs.postings_per_document == 9 / 6


def test_a_folder_of_documents_and_queries_with_weights(judged, vectors):
    lines = (vectors / "documents.jsonl").read_text(encoding="utf-8").splitlines()
    (vectors / "documents.jsonl").unlink()
    (vectors / "documents").mkdir()
    (vectors / "documents" / "part-0.jsonl").write_text("\n".join(lines[:2]), encoding="utf-8")
    with gzip.open(vectors / "documents" / "part-1.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(lines[2:]))
    (vectors / "queries.tsv").unlink()
    queries = {"q1": {"cat": 2, "bird": 1}, "q2": {"dog": 1, "bark": 2}, "q9": {"dog": 1}}
    text = "".join(json.dumps({"id": id, "vector": vector}) + "\n" for id, vector in queries.items())
    (vectors / "queries.jsonl").write_text(text, encoding="utf-8")
    found = VectorFilesSystem(str(vectors)).run(judged, 3)
    assert found.rankings[0].scores.tolist() == [8, 6, 1]


@pytest.mark.parametrize(
    "file, line, message",
    [
        ("documents.jsonl", "{", r"documents.jsonl, line 7: not a JSON object"),
        ("documents.jsonl", "[1]", r"line 7: not a JSON object such as"),
        ("documents.jsonl", '{"vector": {}}', r"line 7: the field 'id' is missing"),
        ("documents.jsonl", '{"id": "x", "vector": [1]}', r"line 7: the field 'vector' is \[1\]"),
        ("documents.jsonl", '{"id": "x", "vector": {"cat": "heavy"}}', r"line 7: .*weight 'heavy' for 'cat'"),
        ("documents.jsonl", '{"id": "x", "vector": {"cat": NaN}}', r"line 7: .*weight nan for 'cat'"),
        ("documents.jsonl", '{"id": "x", "vector": {}}', r"line 7: the collection has no document 'x'"),
        ("documents.jsonl", '{"id": "d1", "vector": {}}', r"line 7: the document 'd1' has weights already"),
        ("queries.tsv", "only words", r"queries.tsv, line 5: not an id, a tab, and terms"),
    ],
)
def test_bad_lines_of_weights_are_named(judged, vectors, file, line, message):
    with open(vectors / file, "a", encoding="utf-8") as stream:
        stream.write(line + "\n")
    with pytest.raises(CorpusError, match=message):
        VectorFilesSystem(str(vectors)).run(judged, 3)


def test_documents_without_weights_and_missing_files(judged, vectors):
    (vectors / "documents.jsonl").write_text('{"id": "d1", "vector": {"cat": 1}}\n', encoding="utf-8")
    with pytest.raises(CorpusError, match=r"no weights of 5 of 6 documents: 'd2', 'd3', 'd4' and 2 more"):
        VectorFilesSystem(str(vectors)).run(judged, 3)
    (vectors / "queries.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(CorpusError, match="two files of queries: queries.jsonl and queries.tsv"):
        VectorFilesSystem(str(vectors)).check(judged)
    (vectors / "documents.jsonl").unlink()
    with pytest.raises(CorpusError, match="has no weights of documents"):
        VectorFilesSystem(str(vectors)).check(judged)
    with pytest.raises(CorpusError, match="nowhere is no folder of weights"):
        VectorFilesSystem("nowhere").check(judged)


# Runs


def test_a_run_is_measured_as_it_stands(encoder, pets, tmp_path):
    evaluate_collections(encoder, [pets], baselines=["bm25"], runs_dir=tmp_path)
    pattern = str(tmp_path / "{collection}.bm25.run")
    report = evaluate_collections(encoder, [pets], baselines=["bm25", f"run:{pattern}"])
    rows = report.collections["pets"]
    assert {m: rows["run-bm25"][m] for m in ("nDCG@10", "R@100", "MRR@10")} == {
        m: rows["bm25"][m] for m in ("nDCG@10", "R@100", "MRR@10")
    }
    assert rows["run-bm25"]["postings_per_document"] is None
    assert report.mean["run-bm25"]["bytes_per_document"] is None
    assert report.table().row_count == 3


def test_a_run_of_another_collection(judged, tmp_path):
    run = tmp_path / "x.run"
    run.write_text("q1 Q0 nowhere 1 2.0 t\n", encoding="utf-8")
    with pytest.raises(CorpusError, match=r"x\.run ranks documents that the collection does not hold: 'nowhere'"):
        RunFileSystem(str(run)).check(judged)
    run.write_text("other Q0 d1 1 2.0 t\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="nothing for any of the 3 judged queries of pets"):
        RunFileSystem(str(run)).check(judged)
    run.write_text("q1 Q0 d1 1\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="line 1"):
        RunFileSystem(str(run)).check(judged)


def test_files_are_checked_before_anything_is_run(encoder, pets, backbone):
    with pytest.raises(CorpusError, match="nowhere.run does not exist"):
        evaluate_collections(encoder, [pets], baselines=["run:nowhere.run"])
    assert backbone.n_encoded == 0


# SPLADE


@pytest.fixture(scope="module")
def splade(tmp_path_factory) -> Path:
    """A tiny SPLADE with random weights."""
    import torch
    from sentence_transformers import SparseEncoder
    from sentence_transformers.sparse_encoder.modules import MLMTransformer, SpladePooling
    from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

    root = tmp_path_factory.mktemp("splade")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "cats", "dogs", "bark", "near", "fences", "birds", "hunt", "purr"]
    (root / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertForMaskedLM(config).eval().save_pretrained(root / "mlm")
    BertTokenizerFast(str(root / "vocab.txt"), do_lower_case=True).save_pretrained(root / "mlm")
    SparseEncoder(modules=[MLMTransformer(str(root / "mlm")), SpladePooling("max")], device="cpu").save(str(root / "tiny"))
    return root / "tiny"


def test_splade_is_ranked_by_its_own_dot_products(judged, splade):
    import torch
    from sentence_transformers import SparseEncoder

    model = SparseEncoder(str(splade), device="cpu")
    with torch.no_grad():
        documents = model.encode_document(list(judged.texts()), convert_to_sparse_tensor=False).numpy()
        queries = model.encode_query(judged.query_texts, convert_to_sparse_tensor=False).numpy()
    result = SparseEncoderSystem(str(splade), "cpu").run(judged, 6)
    for query, ranking in zip(queries, result.rankings, strict=True):
        scores = documents @ query
        assert len(ranking.documents) == np.count_nonzero(scores > 0)
        np.testing.assert_allclose(ranking.scores, np.sort(scores)[::-1], rtol=1e-4)
        np.testing.assert_allclose(scores[ranking.documents], ranking.scores, rtol=1e-4)
    assert result.costs.postings_per_document == np.count_nonzero(documents > 0) / 6


def test_all_systems_in_one_table_at_equal_postings(encoder, pets, splade, vectors):
    named = ["dense", "bm25f", f"sparse:{splade}", f"vectors:{vectors}"]
    report = evaluate_collections(encoder, [pets], baselines=named, k_documents=1, postings="equal", query_terms=2)
    rows = report.collections["pets"]
    assert list(rows) == ["latent", "dense", "bm25f", "sparse-tiny", "vectors-unicoil"]
    for system in ("bm25f", "sparse-tiny", "vectors-unicoil"):
        assert rows[system]["postings_per_document"] <= rows["latent"]["postings_per_document"]
        assert rows[system]["terms_per_query"] <= 2
    assert report.settings["postings"] == "equal"
    cut = evaluate_collections(encoder, [pets], baselines=[f"sparse:{splade}"], postings=1.5).collections["pets"]["sparse-tiny"]
    assert cut["postings_per_document"] == 1.5


def test_what_is_no_sparse_encoder(judged, tmp_path):
    with pytest.raises(ModelError, match="cannot be loaded as a SparseEncoder"):
        SparseEncoderSystem(str(tmp_path / "nowhere")).run(judged, 3)


# Names


@pytest.mark.parametrize(
    "written, message",
    [
        (["splade"], "'splade' is not a baseline. Choose among dense, bm25, bm25f, sparse:MODEL"),
        (["sparse"], "needs to know which. Write sparse:MODEL"),
        (["dense:x"], "takes nothing behind a colon"),
        (["bm25f:b=7"], "b is '7'"),
        (["run:a/x.run", "run:b/x.run"], "Two baselines are called 'run-x'"),
    ],
)
def test_wrong_names(written, message):
    with pytest.raises(ConfigError, match=message):
        baselines_of(written)


@pytest.mark.parametrize("options", [{"postings": 0}, {"postings": "many"}, {"query_terms": True}])
def test_wrong_cuts_are_told_before_any_work(encoder, pets, backbone, options):
    with pytest.raises(ConfigError, match=f"{next(iter(options))} is"):
        evaluate_collections(encoder, [pets], baselines=["bm25f"], **options)
    assert backbone.n_encoded == 0
