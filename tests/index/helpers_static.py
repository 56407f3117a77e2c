"""A small static table for indexes of the tests."""

from __future__ import annotations

import numpy as np
from helpers_index import N_TERMS
from scipy.sparse import csr_array
from tokenizers import Tokenizer, models, pre_tokenizers

from lexite.terms import StaticTable

WORDS = ["[UNK]", "red", "green", "blue", "text", "title"]


def tokenizer() -> str:
    """Words are pieces."""
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return str(made.to_str())


def table_of(seed: int, n_latents: int = N_TERMS) -> StaticTable:
    """Random rows on a grid that half precision keeps; nothing is known of ``[UNK]``."""
    generator = np.random.default_rng(seed)
    weights = np.where(generator.random((len(WORDS), n_latents)) < 0.3, generator.integers(1, 9, (len(WORDS), n_latents)), 0)
    weights[0] = 0
    return StaticTable(
        csr_array(weights.astype(np.float32)), np.array([0, *generator.integers(1, 50, len(WORDS) - 1)]), tokenizer()
    )


def assert_same_table(one: StaticTable | None, other: StaticTable) -> None:
    """Both give the same weights, and say the same about themselves."""
    assert one is not None
    np.testing.assert_array_equal(one.weights.toarray(), other.weights.toarray())
    np.testing.assert_array_equal(one.counts, other.counts)
    assert (one.tokenizer, one.special_tokens, one.window, one.pooling) == (
        other.tokenizer,
        other.special_tokens,
        other.window,
        other.pooling,
    )
