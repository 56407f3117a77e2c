"""One query by several threads under filters, deletions and exclusions: the hits of one thread, bit for bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from helpers_index import documents_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array

import lexite.index.scorer
import lexite.kernels.retrieval  # one query would be answered without it, in one thread
from lexite.index import BM25Config, BM25Index, VocabularyInfo
from lexite.index.checks import check_weights
from lexite.index.reference import reference_search
from lexite.index.scorer import QUERIES_WORTH_BUILDING
from lexite.kernels.posting_lists import CHUNK
from lexite.scoring.rounding import rounded_weights

Arrays = tuple[NDArray[np.int32], NDArray[np.float32]]
N_TERMS = 20
N_DOCUMENTS = 3 * CHUNK + 900
OWN, OTHER, FROM_ROWS = BM25Config(), BM25Config(k1=0.7, b=0.3), BM25Config(k1=1.3)
"""Scorings of the lists of the index, of lists made in memory, and without lists: chosen documents are read from rows."""
FILTERS = (
    "none",
    "among few",
    "among many",
    "among one chunk",
    "among nothing",
    "live few",
    "live many",
    "live one chunk",
    "live nothing",
)


@dataclasses.dataclass(frozen=True)
class Thinned:
    """An index of several segments, from which documents were deleted."""

    index: BM25Index
    weights: csr_array
    dead: NDArray[np.bool_]

    def expected(self, query: csr_array, scoring: BM25Config) -> Arrays:
        """All hits of the reference among the living documents, the best first."""
        living = np.flatnonzero(~self.dead)
        found, scores = reference_search(self.weights[living], query, scoring, len(living))
        n = int((found[0] >= 0).sum())
        return living[found[0, :n]].astype(np.int32), scores[0, :n]


@pytest.fixture(scope="module")
def thinned(tmp_path_factory: pytest.TempPathFactory) -> Thinned:
    """Weights on a coarse grid, so that many scores are equal, and rows of terms that are rare in some chunks."""
    path, generator = tmp_path_factory.mktemp("shared") / "i", np.random.default_rng(8)
    level = 0.1 + np.repeat(generator.random(N_DOCUMENTS // 2048 + 1), 2048)[:N_DOCUMENTS, None]
    held = generator.random((N_DOCUMENTS, N_TERMS)) < level * np.linspace(0.8, 0.002, N_TERMS)
    weights = csr_array((held * np.ceil(generator.gamma(1.5, 1.5, held.shape) * level)).astype(np.float32))
    with BM25Index.create(path, VocabularyInfo("f", "shared", N_TERMS), segment_postings=int(weights.nnz * 0.4)) as writer:
        for start in range(0, N_DOCUMENTS, 4096):
            rows = weights[start : start + 4096]
            writer.add(documents_of(str(start + i) for i in range(rows.shape[0])), rows)
        writer.commit()
        dead = generator.random(N_DOCUMENTS) < 0.15
        writer.delete([str(number) for number in np.flatnonzero(dead)])
        writer.commit()
    index = BM25Index.open(path)
    assert len(index._scorer.segments) > 1 and int(index._scorer.first[-1]) == N_DOCUMENTS
    for _ in range(QUERIES_WORTH_BUILDING + 1):
        index._scorer.top(check_weights(weights[:1], N_TERMS, str), 1, OTHER, np.array([-1]))
    assert len(index._scorer._lists_of) == 1
    rounded = csr_array((rounded_weights(weights.data), weights.indices, weights.indptr), shape=weights.shape)
    return Thinned(index, rounded, dead)


@pytest.fixture(scope="module", autouse=True)
def split_everything() -> Iterator[list[int]]:
    """Splits whatever has chunks, and tells into how many parts each search was split."""
    parts, merge = list[int](), lexite.index.scorer._merge_rankings
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexite.index.scorer, "CHUNKS_TO_SPLIT", 1)
        patch.setattr(lexite.index.scorer, "_merge_rankings", lambda own, all: (parts.append(len(own)), merge(own, all)))
        yield parts


def chosen_by(name: str, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Which documents a filter lets through."""
    if name.endswith("one chunk"):
        first = CHUNK * int(generator.integers(3))
        return (np.arange(N_DOCUMENTS) >= first + 5) & (np.arange(N_DOCUMENTS) < first + CHUNK - 9)
    share = {"few": 0.002, "many": 0.6, "nothing": 0.0}[name.split()[-1]]
    return np.asarray(generator.random(N_DOCUMENTS) < share)


def searched(
    thinned: Thinned, query: csr_array, top_k: int, scoring: BM25Config, excluded: int, threads: int, **how: Any
) -> Arrays:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEXITE_THREADS", str(threads))
        rows = check_weights(query, N_TERMS, str)
        return thinned.index._scorer.top(rows, top_k, scoring, np.array([excluded], dtype=np.int64), **how)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    threads=st.integers(2, 6),
    top_k=st.sampled_from([1, 10, 400]),
    n_terms=st.sampled_from([1, 2, 3, N_TERMS]),
    name=st.sampled_from(FILTERS),
    place=st.sampled_from([-1, 0, 5]),
    scoring=st.sampled_from([OWN, OTHER, FROM_ROWS]),
)
@example(seed=1, threads=2, top_k=10, n_terms=1, name="live many", place=0, scoring=OWN)
@example(seed=2, threads=2, top_k=10, n_terms=1, name="among many", place=0, scoring=OTHER)
@example(seed=3, threads=3, top_k=400, n_terms=2, name="live one chunk", place=5, scoring=OWN)
@example(seed=5, threads=4, top_k=10, n_terms=2, name="among few", place=0, scoring=FROM_ROWS)
@example(seed=4, threads=2, top_k=1, n_terms=1, name="none", place=0, scoring=OWN)
def test_several_threads_find_what_one_finds(
    thinned: Thinned,
    split_everything: list[int],
    seed: int,
    threads: int,
    top_k: int,
    n_terms: int,
    name: str,
    place: int,
    scoring: BM25Config,
) -> None:
    """Whatever may be a hit, however few terms are asked for, and whichever hit is excluded."""
    name = "among few" if scoring == FROM_ROWS else name  # more would be worth lists
    generator = np.random.default_rng(seed)
    terms = np.sort(generator.choice(N_TERMS, n_terms, replace=False))
    values = (generator.gamma(1.0, 1.0, n_terms) + 0.01).astype(np.float32)
    query = csr_array((values, terms, [0, n_terms]), shape=(1, N_TERMS))
    documents, scores = thinned.expected(query, scoring)
    how: dict[str, Any] = {}
    if name != "none":
        allowed = chosen_by(name, generator)
        kept = allowed[documents]
        documents, scores = documents[kept], scores[kept]
        if name.startswith("among"):  # deleted documents may be named: they are no hits
            how["among"] = [generator.permutation(np.flatnonzero(allowed))]
        else:
            bounds = thinned.index._scorer.first[1:-1]
            how["live"] = np.split((allowed & ~thinned.dead).view(np.uint8), bounds)
    excluded = int(documents[place]) if 0 <= place < len(documents) else -1
    others = documents != excluded
    n = min(top_k, int(others.sum()))
    del split_everything[:]
    alone = searched(thinned, query, top_k, scoring, excluded, 1, **how)
    shared = searched(thinned, query, top_k, scoring, excluded, threads, **how)
    n_chunks = sum(-(-segment.n_passages // CHUNK) for segment in thinned.index._scorer.segments)
    assert split_everything[-1] == min(threads, n_chunks)
    np.testing.assert_array_equal(shared[0], alone[0])
    np.testing.assert_array_equal(shared[1].view(np.uint32), alone[1].view(np.uint32))
    np.testing.assert_array_equal(shared[0][0, :n], documents[others][:n])
    np.testing.assert_array_equal(shared[1][0, :n].view(np.uint32), scores[others][:n].view(np.uint32))
    assert (shared[0][0, n:] == -1).all()
    assert not thinned.dead[shared[0][0, :n]].any() and excluded not in shared[0][0, :n].tolist()
