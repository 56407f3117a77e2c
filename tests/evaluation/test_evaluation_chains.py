"""Chains of second stages in an evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lexite import Searcher
from lexite.corpus import ReadOptions
from lexite.errors import ConfigError
from lexite.evaluation import evaluate_collections, evaluate_run
from lexite.evaluation.judged import open_collections, read_collection
from lexite.evaluation.kept_queries import KeptQueries
from lexite.index.side_config import SideDataConfig
from lexite.ranking import read_trec_run
from lexite.search.queries import ModelQueries
from lexite.search.strategies import Hybrid, Outside, Rescore
from lexite.search.strategy import Answer

QUERIES = {"q1": "cats hunt birds", "q2": "dogs bark", "q9": "dogs bark near fences"}


def backwards(answer: Answer) -> Answer:
    return answer.with_rankings([list(reversed(hits)) for hits in answer.rankings])


class Counting:
    """Says what it needs of the queries, and asks for it."""

    needs = frozenset({"model"})

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __call__(self, answer: Answer) -> Answer:
        assert answer.encoder is not None
        self.seen += [answer.encoder.encode(list(answer.queries.texts or ())).to_csr()]
        assert np.array_equal(self.seen[-1].toarray(), answer.queries.to_csr().toarray())
        return answer


def test_a_chain_stands_beside_its_first_stage(encoder, pets, tmp_path):
    chains = {"backwards": [backwards], "twice": [backwards, Outside(source=lambda text: {"d5": 1.0, "d1": 0.5})]}
    report = evaluate_collections(encoder, [pets], chains=chains, runs_dir=tmp_path / "runs")
    systems = ["latent", "latent > backwards", "latent > twice", "dense", "bm25"]
    assert list(report.collections["pets"]) == systems
    assert set(report.significance["pets"]) == set(systems[1:])
    run = read_trec_run(tmp_path / "runs" / "pets.latent.backwards.run")
    first = read_trec_run(tmp_path / "runs" / "pets.latent.run")
    with Searcher.build(sorted_documents(pets), tmp_path / "i", vocabulary=encoder, literal=False) as searcher:
        for query, text in QUERIES.items():
            (hits,) = searcher.rank(text, 7, then=backwards)
            assert list(run[query]) == [hit.id for hit in hits if hit.id != query]
            assert set(run[query]) == set(first[query])
    row = report.collections["pets"]["latent > backwards"]
    qrels = {"q1": {"d4": 2, "d3": 1}, "q2": {"d2": 1}, "q9": {"q9": 1, "d2": 1}}
    assert row["nDCG@10"] == pytest.approx(evaluate_run(qrels, run).mean["nDCG@10"])
    for column in ("postings_per_document", "terms_per_query", "bytes_per_document"):
        assert row[column] == report.collections["pets"]["latent"][column]
    assert set(report.milliseconds["pets"]) == set(systems[:3]) and report.to_json()["milliseconds"] == report.milliseconds
    headings = [column.header for column in report.table().columns]
    assert "ms\n/query" in headings
    assert "ms\n/query" not in [c.header for c in evaluate_collections(encoder, [pets], baselines=[]).table().columns]


def sorted_documents(pets):
    return list(read_collection(open_collections([pets], "test")[0], ReadOptions()).read())


def test_dense_scores_and_side_files_are_those_of_the_index(encoder, backbone, pets, tmp_path):
    exact = SideDataConfig(vectors="fp32")
    chains = {"rescore": [Rescore()], "all": [Rescore(), Hybrid(exhaustive=True, weight=1e6)]}
    options = {"chains": chains, "side_data": exact, "baselines": ["dense"]}
    report = evaluate_collections(encoder, [pets], **options, runs_dir=tmp_path / "runs", cache=tmp_path / "cache")
    rows = report.collections["pets"]
    assert rows["latent > all"]["nDCG@10"] == pytest.approx(rows["dense"]["nDCG@10"])
    vectors = backbone.dense([document.text for document in sorted_documents(pets)], "document")
    run = read_trec_run(tmp_path / "runs" / "pets.latent.rescore.run")
    ids = [document.id for document in sorted_documents(pets)]
    for query, text in QUERIES.items():
        scores = dict(zip(ids, (vectors @ backbone.dense([text], "query")[0]).tolist(), strict=True))
        assert run[query] == pytest.approx({name: scores[name] for name in run[query]}, abs=1e-5)
    bytes_each = {name: row["bytes_per_document"] for name, row in rows.items()}
    assert bytes_each["latent > rescore"] > bytes_each["latent"] + 4 * vectors.shape[1] - 1
    assert report.settings["side_data"]["vectors"] == "fp32"
    n_dense, n_encoded = backbone.n_dense, backbone.n_encoded
    evaluate_collections(encoder, [pets], chains=chains, baselines=[], cache=tmp_path / "cache")
    assert backbone.n_encoded == n_encoded, "queries come from the cache"
    assert backbone.n_dense <= n_dense + 1 + len(ids)


def test_queries_are_encoded_once_and_not_at_all_from_a_cache(encoder, backbone, pets, tmp_path):
    counting = Counting()
    evaluate_collections(encoder, [pets], baselines=[], chains={"count": [counting, counting]}, cache=tmp_path / "cache")
    assert len(counting.seen) == 2
    before = backbone.n_encoded
    again = evaluate_collections(encoder, [pets], baselines=[], chains={"count": [Counting()]}, cache=tmp_path / "cache")
    assert backbone.n_encoded == before and "latent > count" in again.collections["pets"]


def test_kept_queries_are_those_of_the_model(encoder, pets):
    collection = read_collection(open_collections([pets], "test")[0], ReadOptions())
    model = ModelQueries(encoder)
    kept = KeptQueries(model, collection, encoder.encode_queries(collection.query_texts))
    for texts in ([], collection.query_texts[1:], [collection.query_texts[0]] * 2, ["another text"]):
        ours, theirs = kept.encode(texts), model.encode(texts)
        assert np.array_equal(ours.to_csr().toarray(), theirs.to_csr().toarray()) and ours.texts == theirs.texts
    fewer = kept.encode(collection.query_texts, k_queries=1)
    assert np.array_equal(fewer.to_csr().toarray(), model.encode(collection.query_texts, k_queries=1).to_csr().toarray())
    assert kept.fingerprint == model.fingerprint
    for texts in (collection.query_texts[::-1], ["another text"]):
        ours, theirs = kept.token_codes(texts), model.token_codes(texts)
        assert np.array_equal(ours.indices, theirs.indices) and np.allclose(ours.values, theirs.values, atol=1e-4)


@pytest.mark.parametrize("name", ["", "a/b", "a > b", "a b"])
def test_a_name_that_is_no_name_of_a_file_is_refused(encoder, pets, name):
    with pytest.raises(ConfigError, match="is no name for a chain"):
        evaluate_collections(encoder, [pets], chains={name: [backwards]})
