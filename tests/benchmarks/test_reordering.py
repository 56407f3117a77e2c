"""Orders of documents: what bisection puts together, and bounds of blocks against plain sums."""

from __future__ import annotations

import numpy as np
from bisection import LEAF, bisected
from block_bounds import blocks_reaching, bounds_of_blocks, sizes
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csc_array, csr_array

from lexite.kernels.impacts import DIRECTORY_BYTES
from lexite.kernels.posting_lists import CHUNK


def topics(n: int, seed: int) -> tuple[csr_array, np.ndarray]:
    """Documents of four topics with ten terms of their own each, and the topic of each document."""
    generator = np.random.default_rng(seed)
    topic = generator.integers(0, 4, n)
    dense = np.zeros((n, 40), np.float32)
    for number in range(n):
        dense[number, topic[number] * 10 + generator.choice(10, 5, replace=False)] = 1.0
    return csr_array(dense), topic


@settings(max_examples=10, deadline=None)
@given(n=st.integers(1, 300), seed=st.integers(0, 1000))
def test_bisection_is_an_order(n: int, seed: int) -> None:
    documents, _ = topics(n, seed)
    start = np.random.default_rng(seed).permutation(n)
    order = bisected(documents.indptr.astype(np.int64), documents.indices, 40, start)
    assert sorted(order.tolist()) == list(range(n))


def test_bisection_puts_documents_of_a_topic_together() -> None:
    documents, topic = topics(64 * LEAF, 1)
    documents = csr_array(np.hstack([documents.toarray(), np.ones((64 * LEAF, 1), np.float32)]))  # a term of all is no help
    order = bisected(documents.indptr.astype(np.int64), documents.indices, 41, np.arange(64 * LEAF))
    assert (np.diff(topic) != 0).mean() > 0.7
    assert (np.diff(topic[order]) != 0).mean() < 0.05
    before, after = sizes(documents, np.arange(64 * LEAF)), sizes(documents, order)
    assert after[1] < before[1]


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 60), size=st.sampled_from([1, 3, 8]), seed=st.integers(0, 1000))
def test_blocks_that_reach_a_score(n: int, size: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    dense = ((generator.random((n, 12)) < 0.4) * (0.1 + generator.random((n, 12)))).astype(np.float32)
    by_term, order = csc_array(dense), generator.permutation(n)
    terms, weights = np.array([0, 3, 7], np.int32), generator.random(3).astype(np.float32)
    parts = np.split(dense[order][:, terms], np.arange(size, n, size))
    bounds = np.array([part.max(axis=0).astype(np.float64) @ weights for part in parts])
    least = float(np.median(bounds)) + 1e-5
    place = np.argsort(order)
    arrays = by_term.indptr.astype(np.int64), by_term.indices, by_term.data
    reaching, n_largest = blocks_reaching(*arrays, terms, weights, place, size, least)
    assert reaching == (bounds >= least).sum()
    assert n_largest == sum(int((part.max(axis=0) > 0).sum()) for part in parts)


def test_every_hit_is_in_a_block_that_reaches_it() -> None:
    generator = np.random.default_rng(3)
    dense = ((generator.random((200, 12)) < 0.5) * generator.random((200, 12))).astype(np.float32)
    query = np.arange(12, dtype=np.int32), np.ones(12, np.float32)
    found = list(bounds_of_blocks(csc_array(dense), [query], {"a": np.arange(200)}, (1, 200)))
    assert [entry[:3] for entry in found] == [("a", 1, 10 / 200), ("a", 200, 1.0)]
    assert found[0][3] == 1.0


def test_sizes_of_lists() -> None:
    # Term 0 is in documents 0, 1 and 300, so it has gaps of 1, 1 and 299: 1 + 1 + 2 pairs of two bytes. Term 1 is one triple.
    rows, columns = np.array([0, 1, 300, CHUNK + 700]), np.array([0, 0, 0, 1])
    documents = csr_array((np.ones(4, np.float32), (rows, columns)), shape=(CHUNK + 701, 2))
    total, bits = sizes(documents, np.arange(CHUNK + 701))
    assert total * 4 == 2 * 4 + 3 + DIRECTORY_BYTES * 2 * 2
    assert np.isclose(bits * 4, np.log2(299) + np.log2(CHUNK + 701))
