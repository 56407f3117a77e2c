"""Batches: every sequence once, within the budget, the longest first; padding on the right."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lexite.backbone.batches import pad, padded_length, plan_batches, share_of_batch

lengths_and_budget = st.tuples(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 200))


@given(lengths_and_budget)
def test_every_sequence_is_in_one_batch_within_the_budget(case: tuple[list[int], int]) -> None:
    lengths, budget = case
    batches = list(plan_batches(lengths, budget))
    assert sorted(i for batch in batches for i in batch) == [i for i, n in enumerate(lengths) if n]
    for batch in batches:
        longest = max(lengths[i] for i in batch)
        assert lengths[batch[0]] == longest
        assert len(batch) == 1 or longest * len(batch) <= budget


@given(lengths_and_budget)
def test_lengths_fall_and_ties_keep_their_order(case: tuple[list[int], int]) -> None:
    lengths, budget = case
    order = [i for batch in plan_batches(lengths, budget) for i in batch]
    assert order == sorted(order, key=lambda i: (-lengths[i], i))


def test_padding_is_on_the_right_and_masked() -> None:
    ids, mask = pad([np.array([5, 6, 7]), np.array([8])], pad_id=9, width=4)
    assert ids.tolist() == [[5, 6, 7, 9], [8, 9, 9, 9]]
    assert mask.tolist() == [[1, 1, 1, 0], [1, 0, 0, 0]]


@given(st.integers(0, 600), st.integers(4, 512))
def test_padded_lengths_are_few_and_within_the_window(length: int, window: int) -> None:
    padded = padded_length(length, window)
    assert length <= padded < length + 8
    assert padded <= window or padded == length
    assert padded % 8 == 0 or padded in (window, length)


@given(st.integers(1, 4096), st.integers(1, 64), st.integers(1, 10**6))
def test_batches_that_run_at_once_share_the_limit(limit: int, threads: int, total: int) -> None:
    share = share_of_batch(limit, threads, total)
    assert 1 <= share <= limit
    assert share * threads <= limit or share <= 512
    assert share <= -(-total // threads)
