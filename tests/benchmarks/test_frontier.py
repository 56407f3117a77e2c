"""What the frontier benchmark makes of codes and of measurements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from frontier import CHOSEN_ON, Bench, Encoded, Way, summary, ways

from lexite import LatentTermEncoder
from lexite.evaluation import evaluate_collections
from lexite.evaluation.cache import StateCache
from lexite.scoring.config import BM25Config
from lexite.scoring.words import LiteralConfig, literal_words
from lexite.terms.config import PROFILES, TermsConfig


def test_rows_are_sums_of_the_first_codes_without_the_small_ones() -> None:
    values = np.array([[4.0, 1.0], [2.0, 0.5], [3.0, 2.0]], dtype=np.float32)
    indices = np.array([[0, 1], [0, 2], [1, 2]], dtype=np.int32)
    codes = Encoded(values, indices, np.array([0, 2, 3]))
    assert codes.rows(2, 0.0, 3).toarray().tolist() == [[6.0, 1.0, 0.5], [0.0, 3.0, 2.0]]
    assert codes.rows(1, 0.0, 3).toarray().tolist() == [[6.0, 0.0, 0.0], [0.0, 3.0, 0.0]]
    assert codes.rows(2, 0.1, 3).toarray().tolist() == [[6.0, 1.0, 0.0], [0.0, 3.0, 2.0]]


def test_the_default_and_both_profiles_come_first() -> None:
    own = TermsConfig(k_documents=8, k_queries=6)
    found = ways(own, BM25Config(), 8)
    assert [way.label for way in found[:3]] == ["default", "full", "small"] and found[0].terms == own
    assert found[1].terms == TermsConfig(k_documents=8, k_queries=8, floor_documents=0.0, floor_queries=0.0)
    assert found[2].terms == PROFILES["small"]
    assert len({(way.family, way.label) for way in found}) == len(found)
    changed = [way for way in found if way.family == "scoring"]
    assert changed and all(way.scoring != BM25Config() and way.terms == own for way in changed)


def test_halves_are_apart_and_limit_is_in_no_mean() -> None:
    def row(value: float, documents: int) -> dict[str, float]:
        sizes = {"postings_per_document": 10.0, "terms_per_query": 5.0, "postings_200_words": 30.0 * documents}
        return {"nDCG@10": value, "R@100": value, "documents_200_words": float(documents), **sizes}

    rows = {name: row(0.4, 2) for name in CHOSEN_ON} | {"npl": row(0.1, 0), "medline": row(0.3, 1), "limit_small": row(0.9, 50)}
    found = summary(Way("f", "l", TermsConfig(), BM25Config()), rows)
    assert found["ndcg_chosen_on"] == pytest.approx(0.4) and found["ndcg_rest"] == pytest.approx(0.2)
    assert found["ndcg"] == pytest.approx((5 * 0.4 + 0.4) / 7) and found["postings_200_words"] == pytest.approx(30.0)


def test_words_count_among_postings_and_terms(tiny_vocabulary: Path, collection: Path, tmp_path: Path) -> None:
    encoder = LatentTermEncoder.from_pretrained(tiny_vocabulary)
    bench = Bench(encoder, StateCache(str(tmp_path / "cache"), encoder), str(collection), 4)
    bench.of_200_words[:2] = True  # as if these were of such a length
    terms = replace(encoder.terms, k_documents=4, k_queries=4)
    plain, words = (
        bench.measure(Way("f", "l", terms, encoder.scoring, literal)) for literal in (None, LiteralConfig(literal=True))
    )
    counts = [len(literal_words(text)) for text in bench.texts]
    assert words["postings_200_words"] - plain["postings_200_words"] == sum(counts[:2]) > 0
    assert words["postings_per_document"] - plain["postings_per_document"] == pytest.approx(np.mean(counts))
    of_queries = [len(literal_words(text)) for text in bench.collection.query_texts]
    assert words["terms_per_query"] - plain["terms_per_query"] == pytest.approx(np.mean(of_queries))
    report = evaluate_collections(encoder, [collection], literal=LiteralConfig(literal=True))
    for name in ("nDCG@10", "terms_per_query", "postings_per_document"):
        assert words[name] == pytest.approx(report.collections["tiny"]["latent+words"][name])
