"""Static queries beside those of the model: the same index, the same run, the table of the corpus itself."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from scipy.sparse import csr_array

from lexite.errors import ConfigError
from lexite.evaluation import COLUMNS, evaluate_collections
from lexite.index import BM25Index, LiteralConfig
from lexite.terms import EncodedQueries, StaticTable
from lexite.terms.card import SYSTEMS, results_section
from lexite.terms.static_counts import FLOOR

QUERIES = {"q1": "cats hunt birds", "q2": "dogs bark", "q9": "dogs bark near fences"}  # those that are judged


@pytest.fixture
def backbone(piece_backbone):
    return piece_backbone


def corpus_of(pets):
    with gzip.open(pets / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        return {row["_id"]: row["text"] for row in map(json.loads, file)}


def table_by_hand(encoder, texts, known=None):
    """(n_pieces, n_latents) the mean code of each word over the texts, moved from ``known`` by the formula."""
    words = encoder.backbone.words
    sums, counts = np.zeros((len(words), encoder.n_latents)), np.zeros(len(words))
    for text in texts:
        codes = encoder.codes(encoder.backbone.encode([text], "document"), encoder.k_for("document"))
        for word, values, indices in zip(text.split(), codes.values.tolist(), codes.indices.tolist(), strict=True):
            counts[words.index(word)] += 1
            for value, latent in zip(values, indices, strict=True):
                sums[words.index(word), latent] += max(value, 0)
    prior = np.zeros(len(words)) if known is None else np.minimum(known.counts, 20)
    rows = np.zeros_like(sums) if known is None else known.weights.toarray()
    means = (sums + prior[:, None] * rows) / np.maximum(counts + prior, 1)[:, None]
    return np.where(means >= FLOOR * means.max(axis=1, keepdims=True), means, 0)


def ranked(path, query):
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    return [(row[2], float(row[4])) for row in rows if row[0] == query]


def expected(encoder, corpus, table, scoring=None):
    """Rankings of the judged queries, whose weights are summed up by hand; without the query's own document."""
    index = BM25Index.in_memory(encoder.encode_documents(corpus.values()), list(corpus), scoring or encoder.scoring)
    words, result = encoder.backbone.words, {}
    for query in QUERIES:
        weights = np.sum([table[words.index(word)] for word in QUERIES[query].split()], axis=0, dtype=np.float32)
        hits = index.search(EncodedQueries(csr_array(weights[None])), 100)[0]
        result[query] = [(hit.id, pytest.approx(hit.score, rel=2e-3)) for hit in hits if hit.id != query]
    return result


def test_static_queries_stand_beside_the_models(encoder, pets, tmp_path):
    report = evaluate_collections(encoder, [pets], static=True, runs_dir=tmp_path)
    assert list(report.collections["pets"]) == ["latent", "static", "dense", "bm25"]
    assert set(report.significance["pets"]) == {"static", "dense", "bm25"}
    assert report.settings["static"] is True
    corpus = corpus_of(pets)
    table = table_by_hand(encoder, corpus.values())
    wanted = expected(encoder, corpus, table)
    assert {query: ranked(tmp_path / "pets.static.run", query) for query in QUERIES} == wanted
    assert {query: ranked(tmp_path / "pets.latent.run", query) for query in QUERIES} != wanted
    row, latent = report.collections["pets"]["static"], report.collections["pets"]["latent"]
    assert tuple(row) == COLUMNS
    for column in ("postings_per_document", "bytes_per_document"):
        assert row[column] == latent[column], "it is the same index"
    used = [np.count_nonzero(sum(table[encoder.backbone.words.index(w)] for w in QUERIES[q].split())) for q in QUERIES]
    assert row["terms_per_query"] == np.mean(used)
    assert report.seconds["pets"]["static"] == report.seconds["pets"]["latent"]


def test_the_model_ranks_as_without_static_queries(encoder, backbone, pets):
    plain = evaluate_collections(encoder, [pets], baselines=[])
    once, backbone.n_encoded = backbone.n_encoded, 0
    both = evaluate_collections(encoder, [pets], baselines=[], static=True)
    assert both.collections["pets"]["latent"] == plain.collections["pets"]["latent"]
    assert backbone.n_encoded == once, "no second pass over the documents"
    assert list(plain.collections["pets"]) == ["latent"] and plain.settings["static"] is False


def test_a_cache_gives_the_same(encoder, backbone, pets, tmp_path):
    direct = evaluate_collections(encoder, [pets], static=True)
    for _ in range(2):
        cached = evaluate_collections(encoder, [pets], static=True, cache=tmp_path / "cache")
        assert cached.collections == direct.collections
        backbone.n_encoded = 0
    assert evaluate_collections(encoder, [pets], static=True, cache=tmp_path / "cache").collections == direct.collections
    assert backbone.n_encoded == 0


def test_the_table_of_the_vocabulary_is_moved(encoder, pets, tmp_path):
    generator, words = np.random.default_rng(0), encoder.backbone.words
    weights = np.where(generator.random((len(words), encoder.n_latents)) < 0.1, 2.0, 0).astype(np.float32)
    table = StaticTable(csr_array(weights), np.full(len(words), 30), encoder.backbone.fast_tokenizer.to_str())
    encoder = encoder.replaced(static=table)
    evaluate_collections(encoder, [pets], static=True, baselines=[], runs_dir=tmp_path)
    corpus = corpus_of(pets)
    wanted = expected(encoder, corpus, table_by_hand(encoder, corpus.values(), encoder.static))
    assert {query: ranked(tmp_path / "pets.static.run", query) for query in QUERIES} == wanted


def test_with_literal_words(encoder, pets, make_collection, tmp_path):
    second = make_collection("more", {"a": "cats purr", "b": "dogs bark", "q": "fish swim"}, {"q": "cats"}, {"q": {"a": 1}})
    report = evaluate_collections(
        encoder, [pets, second], literal=LiteralConfig(literal=True), static=True, runs_dir=tmp_path, baselines=["bm25"]
    )
    assert list(report.mean) == ["latent+words", "static+words", "bm25"]
    assert (tmp_path / "more.static+words.run").is_file()
    rows = report.collections["pets"]
    plain = evaluate_collections(encoder, [pets], static=True, baselines=[]).collections["pets"]
    words = sum(len(QUERIES[query].split()) for query in QUERIES) / 3
    assert rows["static+words"]["terms_per_query"] == pytest.approx(plain["static"]["terms_per_query"] + words)
    assert "static+words" in {cell for column in report.table().columns for cell in column.cells}


def test_a_query_of_unknown_words_finds_nothing(encoder, make_collection):
    path = make_collection("few", {"a": "cats purr", "b": "dogs bark"}, {"q": "zebras"}, {"q": {"a": 1}})
    row = evaluate_collections(encoder, [path], baselines=[], static=True).collections["few"]["static"]
    assert row["nDCG@10"] == row["terms_per_query"] == 0.0


def test_a_backbone_without_a_tokenizer_is_refused_before_any_work(late_encoder, pets):
    with pytest.raises(ConfigError, match="no tokenizer that can be carried along.*Leave static=True out"):
        evaluate_collections(late_encoder, [pets], static=True)
    assert late_encoder.backbone.n_encoded == 0


def test_the_card_knows_the_systems(encoder, pets):
    report = evaluate_collections(encoder, [pets], static=True).to_json()
    section = results_section(report)
    assert "| nDCG@10 | latent terms | static queries | dense cosine | lexical BM25 |" in section
    assert SYSTEMS["static+words"] == "static queries and words"
