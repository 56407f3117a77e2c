"""The BM25 evaluator of NanoBEIR on a local copy of the data set's layout, read by the library's loader without a network."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import datasets
import pytest
from datasets import Dataset
from sentence_transformers.sparse_encoder.evaluation import SparseNanoBEIREvaluator
from word_count_model import collection, word_model

from lexite.errors import ConfigError
from lexite.integrations.sentence_transformers.evaluation import BM25InformationRetrievalEvaluator
from lexite.integrations.sentence_transformers.nano_beir import BM25NanoBEIREvaluator
from lexite.scoring.config import BM25Config

COLLECTIONS = {"NanoSciFact": collection(1, 50, 8), "NanoNFCorpus": collection(2, 45, 5)}
NAMES = ["scifact", "nfcorpus"]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """Keeps what the library reads out of the cache of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def nano(tmp_path_factory) -> Path:
    """The data set's layout: a folder for each subset, a Parquet file for each split, and their list in README.md."""
    return write_nano(tmp_path_factory.mktemp("NanoBEIR"), "parquet")


def write_nano(folder: Path, ending: str) -> Path:
    lines = ["---", "configs:"]
    for subset in ("corpus", "queries", "qrels"):
        (folder / subset).mkdir(parents=True)
        lines += [f"- config_name: {subset}", "  data_files:"]
        for split, parts in COLLECTIONS.items():
            path = folder / subset / f"{split}-00000-of-00001.{ending}"
            write_rows(path, rows_of(subset, *parts))
            lines += [f"  - split: {split}", f"    path: {path.relative_to(folder)}"]
    (folder / "README.md").write_text("\n".join([*lines, "---", "# NanoBEIR"]), encoding="utf-8")
    return folder


def rows_of(subset: str, queries, corpus, relevant) -> list[dict[str, str]]:
    if subset == "qrels":
        return [{"query-id": query, "corpus-id": document} for query, found in relevant.items() for document in sorted(found)]
    return [{"_id": i, "text": text} for i, text in (corpus if subset == "corpus" else queries).items()]


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    if path.suffix == ".parquet":
        Dataset.from_list(rows).to_parquet(str(path))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def single(split: str, model, **options) -> dict[str, float]:
    """What the evaluator of one collection says; like the library's loader, without empty documents."""
    queries, corpus, relevant = COLLECTIONS[split]
    corpus = {document: text for document, text in corpus.items() if text}
    return BM25InformationRetrievalEvaluator(queries, corpus, relevant, name=split, **options)(model)


@pytest.mark.parametrize("scoring", [None, BM25Config(k1=0.7, idf="bm25+")])
def test_each_collection_is_searched_with_its_own_statistics(nano, scoring):
    model = word_model()
    evaluate = BM25NanoBEIREvaluator(NAMES, dataset_id=str(nano), scoring=scoring)
    results = evaluate(model)
    expected = [single(split, model, scoring=scoring) for split in COLLECTIONS]
    assert {key: results[key] for part in expected for key in part} == pytest.approx({**expected[0], **expected[1]})
    values = [part[f"{split}_bm25_ndcg@10"] for split, part in zip(COLLECTIONS, expected, strict=True)]
    assert values[0] != values[1]
    assert results["NanoBEIR_mean_bm25_ndcg@10"] == pytest.approx(sum(values) / 2)
    assert evaluate.primary_metric == "NanoBEIR_mean_bm25_ndcg@10"
    assert [sub.similarity.statistics.n_documents for sub in evaluate.evaluators] == [
        sum(bool(text) for text in COLLECTIONS[split][1].values()) for split in COLLECTIONS
    ]


def test_names_and_sparsity_are_the_librarys(nano):
    model = word_model()
    own = BM25NanoBEIREvaluator(NAMES, dataset_id=str(nano))(model)
    theirs = SparseNanoBEIREvaluator(NAMES, dataset_id=str(nano))(model)
    assert set(own) == {key.replace("_dot_", "_bm25_") for key in theirs}
    for key in ("query_active_dims", "corpus_active_dims", "corpus_sparsity_ratio", "avg_flops"):
        assert own[f"NanoBEIR_mean_{key}"] == pytest.approx(theirs[f"NanoBEIR_mean_{key}"])


def test_jsonl_files_are_read_alike(nano, tmp_path):
    model = word_model()
    read = BM25NanoBEIREvaluator(["SciFact"], dataset_id=str(write_nano(tmp_path / "lines", "jsonl")))(model)
    assert read == pytest.approx(BM25NanoBEIREvaluator(["SciFact"], dataset_id=str(nano))(model))


def test_results_are_written_and_kept_for_the_card(nano, tmp_path):
    model = word_model()
    evaluate = BM25NanoBEIREvaluator(NAMES, dataset_id=str(nano), write_predictions=True, scoring=BM25Config(b=0.25))
    results = evaluate(model, str(tmp_path), epoch=3, steps=70)
    evaluate(model, str(tmp_path), epoch=4)
    with (tmp_path / "BM25-NanoBEIR_evaluation_mean_results.csv").open() as file:
        first, second = csv.DictReader(file)
    assert (first["epoch"], first["steps"], second["epoch"]) == ("3", "70", "4")
    for column, key in {"bm25-NDCG@10": "bm25_ndcg@10", "bm25-MAP@100": "bm25_map@100", "avg_flops": "avg_flops"}.items():
        assert float(first[column]) == pytest.approx(results[f"NanoBEIR_mean_{key}"]), column
    assert len(list(tmp_path.glob("*Nano*_predictions_bm25.jsonl"))) == 2
    card = model.model_card_data.eval_results_dict
    assert card[evaluate]["NanoBEIR_mean_bm25_ndcg@10"] == results["NanoBEIR_mean_bm25_ndcg@10"]
    assert all(sub in card for sub in evaluate.evaluators)
    assert evaluate.get_config_dict()["scoring"]["b"] == 0.25 and evaluate.description == "BM25 Nano BEIR"


def test_prompts_limits_and_other_scores_reach_each_collection(nano):
    model = word_model()
    evaluate = BM25NanoBEIREvaluator(
        NAMES,
        dataset_id=str(nano),
        max_active_dims=2,
        ndcg_at_k=[5],
        aggregate_fn=max,
        aggregate_key="best",
        query_prompts={"scifact": "w1 ", "nfcorpus": "w2 "},
        corpus_prompts="w3 ",
        score_functions={"dot": model.similarity},
        main_score_function="dot",
    )
    results = evaluate(model)
    assert evaluate.primary_metric == "NanoBEIR_best_2_dot_ndcg@5"
    expected = single("NanoSciFact", word_model(), max_active_dims=2, ndcg_at_k=[5], query_prompt="w1 ", corpus_prompt="w3 ")
    other = single("NanoNFCorpus", word_model(), max_active_dims=2, ndcg_at_k=[5], query_prompt="w2 ", corpus_prompt="w3 ")
    values = expected["NanoSciFact_bm25_ndcg@5"], other["NanoNFCorpus_bm25_ndcg@5"]
    assert (results["NanoSciFact_2_bm25_ndcg@5"], results["NanoNFCorpus_2_bm25_ndcg@5"]) == pytest.approx(values)
    assert results["NanoBEIR_best_2_bm25_ndcg@5"] == pytest.approx(max(values))
    assert "NanoBEIR_best_2_dot_ndcg@5" in results


def test_what_cannot_be_loaded_is_named(nano):
    with pytest.raises(ValueError, match="not valid NanoBEIR datasets"):
        BM25NanoBEIREvaluator(["nothing"], dataset_id=str(nano))
    with pytest.raises(ValueError, match="subset 'corpus' split 'NanoNQ'"):
        BM25NanoBEIREvaluator(["nq"], dataset_id=str(nano))
    with pytest.raises(ValueError, match="missing query prompts"):
        BM25NanoBEIREvaluator(NAMES, dataset_id=str(nano), query_prompts={"scifact": "w1 "})
    with pytest.raises(ConfigError, match="may not name one 'bm25'"):
        BM25NanoBEIREvaluator(NAMES, dataset_id=str(nano), score_functions={"bm25": max})
    with pytest.raises(ConfigError, match="main_score_function is 'dot'"):
        BM25NanoBEIREvaluator(NAMES, dataset_id=str(nano), main_score_function="dot")
