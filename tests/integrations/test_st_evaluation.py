"""The BM25 evaluator against ir-measures over BM25Index, and against the library's own evaluator in all but the score."""

from __future__ import annotations

import csv
import json

import ir_measures
import numpy as np
import pytest
import torch
from sentence_transformers.sparse_encoder.evaluation import SparseInformationRetrievalEvaluator
from word_count_model import N_TERMS, WordCounts, collection, weights_of, word_model

from lexite.errors import ArgumentError, ConfigError, CorpusError, ModelError
from lexite.evaluation import evaluate_run
from lexite.index import BM25Index
from lexite.integrations.sentence_transformers.conversion import to_sentence_transformers
from lexite.integrations.sentence_transformers.evaluation import BM25InformationRetrievalEvaluator
from lexite.integrations.sentence_transformers.model import LatentTermsSparseEncoder
from lexite.scoring.config import BM25Config
from lexite.terms import EncodedQueries

QUERIES, CORPUS, RELEVANT = collection()
PLAIN = BM25Config(document_transform="none", query_transform="none")
SPARSITY = ["query_active_dims", "query_sparsity_ratio", "corpus_active_dims", "corpus_sparsity_ratio", "avg_flops"]


def evaluator(**options) -> BM25InformationRetrievalEvaluator:
    parts = {"queries": QUERIES, "corpus": CORPUS, "relevant_docs": RELEVANT, "name": "words", **options}
    return BM25InformationRetrievalEvaluator(**parts)


def index_run(scoring: BM25Config = PLAIN, documents=None, queries=None) -> dict[str, dict[str, float]]:
    """Hits of BM25Index."""
    rows = weights_of(list(CORPUS.values())) if documents is None else documents
    index = BM25Index.in_memory(rows, list(CORPUS), scoring)
    weights = weights_of(list(QUERIES.values())) if queries is None else queries
    hits = index.search(EncodedQueries(weights), 100)
    return {query: {hit.id: hit.score for hit in found} for query, found in zip(QUERIES, hits, strict=True)}


def measured(run: dict[str, dict[str, float]]) -> dict[str, float]:
    """What ir-measures says of a run, under the library's names of the measures."""
    grades = {query: dict.fromkeys(found, 1) for query, found in RELEVANT.items()}
    names = {f"accuracy@{k}": f"Success@{k}" for k in (1, 3, 5, 10)}
    names |= {f"precision@{k}": f"P@{k}" for k in (1, 3, 5, 10)} | {f"recall@{k}": f"R@{k}" for k in (1, 3, 5, 10)}
    names |= {"ndcg@10": "nDCG@10", "mrr@10": "RR@10", "map@100": "AP@100"}
    values = ir_measures.calc_aggregate([ir_measures.parse_measure(name) for name in names.values()], grades, run)
    by_name = {str(measure): value for measure, value in values.items()}
    return {own: by_name[str(ir_measures.parse_measure(name))] for own, name in names.items()}


def strict(run: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """The same order with scores that no scorer can take for ties."""
    return {query: {document: -float(rank) for rank, document in enumerate(hits)} for query, hits in run.items()}


@pytest.mark.parametrize(
    "scoring", [None, BM25Config(k1=0.9, b=0.2, idf="bm25+", delta=0.5), BM25Config(idf="lucene", idf_power=1.0)]
)
def test_metrics_are_those_of_the_index_by_ir_measures(scoring):
    results = evaluator(scoring=scoring)(word_model())
    used = scoring or BM25Config()
    run = index_run(BM25Config(**{**vars(used), "document_transform": "none", "query_transform": "none"}))
    assert any(len(hits) < 10 for hits in run.values()), "some relevant documents must share no term with their query"
    expected = measured(strict(run))
    assert 0.1 < expected["ndcg@10"] < 0.9
    assert {key: results[f"words_bm25_{key}"] for key in expected} == pytest.approx(expected, abs=1e-9)
    grades = {query: dict.fromkeys(found, 1) for query, found in RELEVANT.items()}
    assert results["words_bm25_ndcg@10"] == pytest.approx(evaluate_run(grades, run).mean["nDCG@10"], abs=1e-9)


@pytest.mark.parametrize("chunk", [1, 7, 59, 60, 61])
def test_the_size_of_chunks_changes_nothing(chunk, tmp_path):
    def results(size: int) -> tuple[dict[str, float], dict[str, float], str]:
        folder = tmp_path / str(size)
        values = evaluator(corpus_chunk_size=size, write_predictions=True)(word_model(), str(folder))
        sparsity = {name: values.pop(f"words_{name}") for name in SPARSITY}
        return values, sparsity, (folder / "Information-Retrieval_evaluation_words_predictions_bm25.jsonl").read_text()

    metrics, sparsity, predictions = results(chunk)
    expected, expected_sparsity, expected_predictions = results(50_000)
    assert metrics == expected and predictions == expected_predictions
    assert sparsity == pytest.approx(expected_sparsity), "the library averages over chunks, which rounds"


def test_the_corpus_is_encoded_once_and_known_whole():
    model = word_model()
    evaluate = evaluator(corpus_chunk_size=7)
    evaluate(model)
    assert sorted(model[0].seen) == sorted([*CORPUS.values(), *QUERIES.values()])
    statistics, rows = evaluate.similarity.statistics, weights_of(list(CORPUS.values()))
    assert statistics.n_documents == 60
    assert statistics.document_frequency.tolist() == (rows.toarray() > 0).sum(axis=0).tolist()
    assert statistics.average_length == pytest.approx(rows.sum() / 60)


def test_names_and_sparsity_are_the_librarys():
    model, own = word_model(), evaluator(corpus_chunk_size=25)
    theirs = SparseInformationRetrievalEvaluator(QUERIES, CORPUS, RELEVANT, corpus_chunk_size=25, name="words")
    results, reference = own(model), theirs(model)
    assert set(results) == {key.replace("_dot_", "_bm25_") for key in reference}
    for key in SPARSITY:
        assert results[f"words_{key}"] == pytest.approx(reference[f"words_{key}"]) and reference[f"words_{key}"] > 0
    assert own.primary_metric == "words_bm25_ndcg@10" and own.primary_metric in results
    assert model.model_card_data.eval_results_dict[own] == results
    unnamed = evaluator(name="", ndcg_at_k=[3, 5])
    assert "bm25_ndcg@5" in unnamed(model) and unnamed.primary_metric == "bm25_ndcg@5"


def test_a_model_card_has_the_table_and_the_scoring():
    model = word_model()
    results = evaluator(scoring=BM25Config(k1=1.75))(model)
    tables = model.model_card_data.format_eval_metrics()
    table = next(entry for entry in tables["eval_metrics"] if entry["class_name"].endswith("BM25InformationRetrievalEvaluator"))
    assert table["description"] == "BM25 Information Retrieval" and '"k1": 1.75' in table["config_code"]
    assert f"{results['words_bm25_ndcg@10']:.4f}" in str(table)


def test_results_are_appended_to_a_csv_of_their_own(tmp_path):
    evaluate, model = evaluator(), word_model()
    results = evaluate(model, str(tmp_path), epoch=1, steps=50)
    evaluate(model, str(tmp_path), epoch=2)
    SparseInformationRetrievalEvaluator(QUERIES, CORPUS, RELEVANT, name="words")(model, str(tmp_path))
    with (tmp_path / "BM25-Information-Retrieval_evaluation_words_results.csv").open() as file:
        first, second = csv.DictReader(file)
    assert (first["epoch"], first["steps"], second["epoch"], second["steps"]) == ("1", "50", "2", "-1")
    for column, key in {"bm25-NDCG@10": "bm25_ndcg@10", "bm25-Recall@5": "bm25_recall@5", "avg_flops": "avg_flops"}.items():
        assert float(first[column]) == pytest.approx(results[f"words_{key}"]), column
    evaluator(write_csv=False)(model, str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_predictions_are_the_hits_in_order(tmp_path):
    evaluator(write_predictions=True, map_at_k=[15])(word_model(), str(tmp_path))
    lines = (tmp_path / "Information-Retrieval_evaluation_words_predictions_bm25.jsonl").read_text().splitlines()
    run = index_run()
    assert [json.loads(line)["query_id"] for line in lines] == list(QUERIES)
    for line in map(json.loads, lines):
        assert line["query"] == QUERIES[line["query_id"]]
        expected = list(run[line["query_id"]].items())[:15]
        assert [hit["corpus_id"] for hit in line["results"]] == [document for document, _ in expected]
        assert [hit["score"] for hit in line["results"]] == pytest.approx([score for _, score in expected], rel=1e-5)


def test_equal_scores_rank_by_id_at_the_last_rank_too():
    corpus = {"c": "w1", "b": "w1", "a": "w1", "z": "w2"}
    ranks = {"accuracy_at_k": [1], "precision_recall_at_k": [1], "ndcg_at_k": [2], "map_at_k": [2], "mrr_at_k": [2]}
    for relevant, value in {"a": 1.0, "b": 0.5, "c": 0.0}.items():
        evaluate = evaluator(queries={"q": "w1"}, corpus=corpus, relevant_docs={"q": {relevant}}, corpus_chunk_size=2, **ranks)
        assert evaluate(word_model())["words_bm25_mrr@2"] == value


def test_documents_may_come_from_another_model():
    other = word_model(factor=3.0)
    evaluate, model = evaluator(), word_model()
    results = evaluate(model, corpus_model=other)
    documents = weights_of(list(CORPUS.values())) * np.float32(3.0)
    expected = measured(strict(index_run(documents=documents)))
    assert results["words_bm25_ndcg@10"] == pytest.approx(expected["ndcg@10"])
    assert sorted(model[0].seen) == sorted(QUERIES.values()) and sorted(other[0].seen) == sorted(CORPUS.values())
    assert evaluate.similarity.statistics.total_length == pytest.approx(documents.sum())


@pytest.mark.parametrize("kind", ["coo", "csr", "dense", "list", "scipy"])
@pytest.mark.filterwarnings("ignore:Sparse CSR:UserWarning")
def test_documents_may_be_encoded_before(kind):
    model = word_model()
    expected = evaluator(corpus_chunk_size=7)(model)
    encoded = model.encode_document(list(CORPUS.values()), convert_to_sparse_tensor=kind != "dense")
    forms = {"csr": encoded.to_sparse_csr, "list": lambda: list(encoded), "scipy": lambda: weights_of(list(CORPUS.values()))}
    model[0].seen.clear()
    results = evaluator(corpus_chunk_size=7)(model, corpus_embeddings=forms.get(kind, lambda: encoded)())
    assert results == pytest.approx(expected) and sorted(model[0].seen) == sorted(QUERIES.values())
    with pytest.raises(ArgumentError, match="60 documents, but corpus_embeddings of 59"):
        evaluator()(model, corpus_embeddings=encoded[:59] if kind == "dense" else encoded.to_dense()[:59])


def test_one_query_is_enough():
    one = {"q00": QUERIES["q00"]}
    results = evaluator(queries=one, relevant_docs={"q00": RELEVANT["q00"]})(word_model())
    run = {"q00": index_run()["q00"]}
    grades = {"q00": dict.fromkeys(RELEVANT["q00"], 1)}
    assert results["words_bm25_ndcg@10"] == pytest.approx(evaluate_run(grades, run).mean["nDCG@10"])


def test_prompts_reach_the_model():
    changed = evaluator(queries={query: f"w1 w2 {text}" for query, text in QUERIES.items()})(word_model())
    assert changed != evaluator()(word_model())
    assert evaluator(query_prompt="w1 w2 ")(word_model()) == changed
    assert evaluator(query_prompt_name="asked")(word_model(prompts={"asked": "w1 w2 "})) == changed
    assert evaluator()(word_model(prompts={"query": "w1 w2 "})) == changed
    model = word_model(prompts={"p": "w3 "})
    evaluator(corpus_prompt="w9 ")(model)
    evaluator(corpus_prompt_name="p")(model)
    assert {f"w9 {text}" for text in CORPUS.values()} | {f"w3 {text}" for text in CORPUS.values()} <= set(model[0].seen)


def test_the_scoring_is_the_arguments_then_the_models_then_the_default():
    model = word_model()
    evaluate = evaluator()
    evaluate(model)
    assert evaluate.similarity.scoring == BM25Config()
    model.scoring = BM25Config(k1=0.3)
    results = evaluate(model)
    assert evaluate.similarity.scoring == model.scoring and evaluate.get_config_dict()["scoring"]["k1"] == 0.3
    told = evaluator(scoring=BM25Config(k1=0.3))
    model.scoring = BM25Config(k1=7.0)
    assert told(model) == results


def test_other_scores_are_measured_beside_bm25(tmp_path):
    model = word_model()
    theirs = SparseInformationRetrievalEvaluator(QUERIES, CORPUS, RELEVANT, name="words")(model)
    alone = evaluator()(model)
    both = evaluator(score_functions={"dot": model.similarity}, write_predictions=True, corpus_chunk_size=11)
    results = both(model, str(tmp_path))
    assert results == pytest.approx({**theirs, **alone})
    assert both.primary_metric == "words_bm25_ndcg@10"
    assert len(list(tmp_path.glob("*_predictions_*.jsonl"))) == 2
    other = evaluator(score_functions={"dot": model.similarity}, main_score_function="dot")
    other(model)
    assert other.primary_metric == "words_dot_ndcg@10"


def test_active_dimensions_can_be_limited():
    results = evaluator(max_active_dims=1)(word_model())
    assert results["words_corpus_active_dims"] <= 1.0 < evaluator()(word_model())["words_corpus_active_dims"]


def test_latent_terms_are_encoded_into_rows(tiny_vocabulary, monkeypatch):
    model = to_sentence_transformers(tiny_vocabulary)
    texts = ["The cow gives milk and meat.", "Rain and snow fall on the lake.", "Parse the json text to an object.", "", "cat"]
    corpus = {f"d{number}": text for number, text in enumerate(texts)}
    queries = {"q1": "how to parse json text", "q2": "milk of the cow", "q3": "snow"}
    relevant = {"q1": {"d2"}, "q2": {"d0", "d1"}, "q3": {"d3", "d1"}}
    options = {"queries": queries, "corpus": corpus, "relevant_docs": relevant, "name": "tiny", "corpus_chunk_size": 2}
    library = SparseInformationRetrievalEvaluator(**options)(model)
    limited = BM25InformationRetrievalEvaluator(**options, max_active_dims=1)(model)
    assert limited["tiny_corpus_active_dims"] <= 1.0 < library["tiny_corpus_active_dims"]
    monkeypatch.setattr(LatentTermsSparseEncoder, "encode", None)
    evaluate = BM25InformationRetrievalEvaluator(**options)
    results = evaluate(model)
    assert evaluate.similarity.scoring == model.scoring
    index = BM25Index.in_memory(model.encode_csr(corpus.values(), task="document", raw=True), list(corpus), model.scoring)
    hits = index.search(EncodedQueries(model.encode_csr(queries.values(), task="query", raw=True)), 10)
    run = {query: {hit.id: hit.score for hit in found} for query, found in zip(queries, hits, strict=True)}
    grades = {query: dict.fromkeys(found, 1) for query, found in relevant.items()}
    expected = evaluate_run(grades, run).mean
    assert results["tiny_bm25_ndcg@10"] == pytest.approx(expected["nDCG@10"])
    assert results["tiny_bm25_mrr@10"] == pytest.approx(expected["MRR@10"])
    for key in SPARSITY:
        assert results[f"tiny_{key}"] == pytest.approx(library[f"tiny_{key}"], rel=1e-3), key


class Negative(WordCounts):
    def forward(self, features, **kwargs):
        return {**features, "sentence_embedding": -features["weights"]}


def test_weights_below_zero_are_refused():
    model = word_model()
    model[0] = Negative()
    with pytest.raises(ModelError, match="finite and not negative"):
        evaluator()(model)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"corpus": {}}, CorpusError, "'words' has no documents"),
        ({"relevant_docs": {}}, CorpusError, "No query of the collection 'words' has a relevant document"),
        ({"relevant_docs": {"q00": set()}}, CorpusError, "No query"),
        ({"corpus_chunk_size": 0}, ConfigError, "corpus_chunk_size is 0"),
        ({"score_functions": {"bm25": torch.mm}}, ConfigError, "may not name one 'bm25'"),
        ({"main_score_function": "cosine"}, ConfigError, "main_score_function is 'cosine', but the score functions are bm25"),
        ({"ndcg_at_k": []}, ConfigError, "ndcg_at_k is empty"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_at_once(options, error, message):
    with pytest.raises(error, match=message):
        evaluator(**options)


def test_the_stub_emits_what_the_reference_reads():
    encoded = word_model().encode_document(list(CORPUS.values()))
    assert encoded.shape == (60, N_TERMS)
    np.testing.assert_array_equal(encoded.to_dense().numpy(), weights_of(list(CORPUS.values())).toarray())
