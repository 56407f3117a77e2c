"""Indexes to export: random ones with words and passages, and plain emulations of how engines score."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array, random_array

from lexite.index import BM25Config, BM25Index, EncodedQueries, LiteralConfig, VocabularyInfo

N_LATENTS = 400


def random_rows(n: int, seed: int, spread: float = 1.0) -> csr_array:
    """Rows whose terms are skewed and whose weights are log-normal, as those of latents are."""
    generator = np.random.default_rng(seed)
    rows = random_array((n, N_LATENTS), density=0.12, rng=generator, format="csr")
    popular = csr_array(rows.toarray() * (generator.random((n, N_LATENTS)) < np.linspace(1, 0.05, N_LATENTS)))
    popular.eliminate_zeros()
    popular.data = np.exp(generator.normal(1.0, spread, popular.nnz)).astype(np.float32)
    return popular.astype(np.float32)


def random_texts(n: int, seed: int) -> list[str]:
    generator = np.random.default_rng(seed)
    words = [f"w{number}" for number in range(300)] + ["東京", "naïve", "x1"]
    chances = 1 / np.arange(1, len(words) + 1)
    return [" ".join(generator.choice(words, 12, p=chances / chances.sum())) for _ in range(n)]


def memory_index(
    n: int = 300, seed: int = 0, scoring: BM25Config | None = None, literal: bool = True, spread: float = 1.0
) -> BM25Index:
    texts = random_texts(n, seed) if literal else None
    config = LiteralConfig() if literal else None
    info = VocabularyInfo("f" * 64, "random", N_LATENTS)
    ids = [f"d{number}" for number in range(n)]
    return BM25Index.in_memory(random_rows(n, seed, spread), ids, scoring, info, texts=texts, literal=config)


def random_queries(n: int = 30, seed: int = 100) -> EncodedQueries:
    return EncodedQueries(random_rows(n, seed), random_texts(n, seed))


@functools.cache
def lucene_idf(n: int, df: int) -> np.float32:
    return np.float32(np.log(1 + (n - df + 0.5) / (df + 0.5)))


def as_bm25(weight: float, value: float, pivot: float, n: int, df: int) -> np.float32:
    """Lucene's ``BM25Similarity`` with b = 0: ``w - w / (1 + f · 1/k1)`` in float32."""
    w = np.float32(weight) * lucene_idf(n, df)
    inverse = np.float32(1) / np.float32(pivot) if pivot else np.float32(np.inf)
    return w - w / (np.float32(1) + np.float32(value) * inverse)


@functools.lru_cache(maxsize=2**20)
def kept_feature(value: float) -> np.float32:
    """What ``FeatureField`` gives back: the upper bits of the float32, the others cut off."""
    return (np.array([value], np.float32).view(np.uint32) >> 15 << 15).view(np.float32)[0]


def as_saturation(weight: float, value: float, pivot: float, n: int, df: int) -> np.float32:
    """``FeatureField.newSaturationQuery``: ``w · (1 - k / (k + f))``."""
    k, w = np.float32(pivot), np.float32(weight)
    return w * (np.float32(1) - k / (k + kept_feature(value)))


def as_linear(weight: float, value: float, pivot: float, n: int, df: int) -> np.float32:
    return np.float32(weight) * kept_feature(value)


def as_product(weight: float, value: float, pivot: float, n: int, df: int) -> np.float32:
    return np.float32(weight) * np.float32(value)


def as_product_with_idf(weight: float, value: float, pivot: float, n: int, df: int) -> np.float32:
    return np.float32(weight) * lucene_idf(n, df) * np.float32(value)


ENGINES: dict[str, Callable[..., np.float32]] = {
    "saturation": as_saturation,
    "linear": as_linear,
    "frequencies": as_bm25,
    "impacts": as_product,
    "impacts-idf": as_product_with_idf,
    "integers": as_product,
}


class Emulated:
    """An engine that holds documents as ``{term: value}`` and counts document frequencies itself."""

    def __init__(self, route: str, documents: dict[str, dict[object, float]], owners: dict[str, str] | None = None) -> None:
        self.route, self.documents, self.owners = route, documents, owners or {}
        self.n = sum(bool(terms) for terms in documents.values())
        self.df: dict[object, int] = {}
        self.lists: dict[object, list[tuple[str, float]]] = {}
        for identifier, terms in documents.items():
            for term, value in terms.items():
                self.df[term] = self.df.get(term, 0) + 1
                self.lists.setdefault(term, []).append((identifier, value))

    def search(self, query: dict[object, float], pivot: float, k: int = 10) -> list[tuple[str, float]]:
        scores: dict[str, np.float32] = {}
        for term, weight in query.items():
            for identifier, value in self.lists.get(term, ()):
                part = ENGINES[self.route](weight, value, pivot, self.n, self.df[term])
                scores[identifier] = scores.get(identifier, np.float32(0)) + part
        best: dict[str, float] = {}
        for identifier, score in scores.items():
            owner = self.owners.get(identifier, identifier)
            best[owner] = max(best.get(owner, 0.0), float(score))
        order = {owner: place for place, owner in enumerate(dict.fromkeys(self.owners.get(i, i) for i in self.documents))}
        return sorted(best.items(), key=lambda pair: (-pair[1], order[pair[0]]))[:k]
