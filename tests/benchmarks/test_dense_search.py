"""The dense peer finds what sorting all scores finds."""

from __future__ import annotations

import numpy as np
from dense_search import best


def test_the_best_are_those_of_a_sort() -> None:
    generator = np.random.default_rng(1)
    vectors = generator.integers(-3, 4, (200, 3)).astype(np.float32)  # few values, so that scores are equal
    for query in generator.integers(-3, 4, (20, 3)).astype(np.float32):
        scores = vectors @ query
        found = best(vectors, query)
        expected = np.argsort(-scores, kind="stable")[:10]
        assert scores[found].tolist() == scores[expected].tolist() and len(set(found.tolist())) == 10
    assert best(vectors[:4], vectors[0]).tolist() == np.argsort(-(vectors[:4] @ vectors[0]), kind="stable").tolist()
