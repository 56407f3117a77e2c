"""Pooling and transforms against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from lexite.errors import ConfigError, ModelError
from lexite.sae import SparseCodes
from lexite.scoring.transform import apply_transform, transform_weights
from lexite.terms.pooling import pool, pool_arrays

N_LATENTS = 11


def reference(values, indices, offsets, n_latents, pooling):
    """What pooling must return, dense, in the plainest way."""
    dense = np.zeros((len(offsets) - 1, n_latents), dtype=np.float64)
    for text in range(len(offsets) - 1):
        for token in range(offsets[text], offsets[text + 1]):
            for value, latent in zip(values[token], indices[token], strict=True):
                if value > 0 and pooling == "sum":
                    dense[text, latent] += value
                elif value > 0:
                    dense[text, latent] = max(dense[text, latent], value)
    return dense.astype(np.float32)


@st.composite
def ragged_codes(draw):
    lengths = draw(st.lists(st.integers(0, 5), max_size=6))
    k = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n_tokens = sum(lengths)
    values = rng.exponential(size=(n_tokens, k)).astype(np.float32) * (rng.random((n_tokens, k)) < 0.7)
    indices = np.array([rng.permutation(N_LATENTS)[:k] for _ in range(n_tokens)], dtype=np.int32).reshape(n_tokens, k)
    indices[values == 0] = -1
    return values.astype(np.float32), indices, np.cumsum([0, *lengths]).astype(np.int64)


@settings(max_examples=60, deadline=None)
@given(ragged_codes(), st.sampled_from(["sum", "max"]))
def test_pooling_equals_the_reference(codes, pooling):
    values, indices, offsets = codes
    matrix = pool_arrays(values, indices, offsets, N_LATENTS, pooling)
    assert matrix.dtype == np.float32 and matrix.indices.dtype == np.int32
    assert matrix.shape == (len(offsets) - 1, N_LATENTS)
    np.testing.assert_array_equal(matrix.toarray(), reference(values, indices, offsets, N_LATENTS, pooling))
    assert np.all(matrix.data > 0)
    for start, end in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
        assert np.all(np.diff(matrix.indices[start:end]) > 0)


def test_pooling_of_tensors_is_that_of_arrays():
    values, indices = torch.tensor([[1.0, 2.0], [0.0, 4.0]]), torch.tensor([[3, 1], [-1, 1]], dtype=torch.int32)
    matrix = pool(SparseCodes(values, indices, 5), np.array([0, 2]), 5)
    assert matrix.toarray().tolist() == [[0.0, 6.0, 0.0, 1.0, 0.0]]


def test_long_sums_are_taken_in_double_precision():
    values = np.full((200_000, 1), 0.1, dtype=np.float32)
    matrix = pool_arrays(values, np.zeros((200_000, 1), dtype=np.int32), np.array([0, 200_000]), 1)
    assert matrix.data[0] == np.float32(values.astype(np.float64).sum())


@pytest.mark.parametrize(
    ("indices", "offsets", "message"),
    [
        ([[0, 9]], [0, 1], "latent 9"),
        ([[0, -1]], [0, 1], "latent -1"),
        ([[0, 1]], [0, 2], "rise from 0"),
        ([[0, 1]], [1, 1], "rise from 0"),
        ([[0]], [0, 1], "one shape"),
    ],
)
def test_codes_that_do_not_fit_are_refused(indices, offsets, message):
    with pytest.raises(ModelError, match=message):
        pool_arrays(np.ones((1, 2), dtype=np.float32), np.array(indices, dtype=np.int32), np.array(offsets), 4)


def test_unknown_pooling_is_refused():
    with pytest.raises(ConfigError, match="median"):
        pool_arrays(np.ones((1, 1), dtype=np.float32), np.zeros((1, 1), dtype=np.int32), np.array([0, 1]), 4, "median")


@pytest.mark.parametrize(
    ("transform", "function"),
    [("sqrt", np.sqrt), ("pow0.75", lambda x: x**0.75), ("log1p", np.log1p), ("none", lambda x: x)],
)
def test_transforms_of_sparse_and_dense_agree(transform, function):
    dense = np.array([[0.0, 4.0, 0.5], [0.0, 0.0, 0.0]], dtype=np.float32)
    expected = function(dense).astype(np.float32)
    sparse = csr_array(dense)
    result = apply_transform(sparse, transform)
    np.testing.assert_array_max_ulp(result.toarray(), expected, maxulp=2)
    np.testing.assert_array_max_ulp(apply_transform(dense, transform), expected, maxulp=2)
    assert result.dtype == np.float32 and sparse.data.tolist() == [4.0, 0.5]


def test_unknown_transform_is_refused():
    with pytest.raises(ConfigError, match="square"):
        transform_weights(np.ones(2), "square")
