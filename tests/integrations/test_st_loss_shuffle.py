"""The buffer that mixes the tokens of many batches."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lexite.errors import ConfigError
from lexite.integrations.sentence_transformers.losses.shuffle import TokenShuffle


def numbered(start: int, n: int) -> torch.Tensor:
    """States that can be told apart, also in bf16."""
    return torch.arange(start, start + n, dtype=torch.float32)[:, None].expand(n, 3)


def test_when_it_is_full_each_state_is_given_out_once() -> None:
    shuffle = TokenShuffle(64, seed=1)
    given = [shuffle.exchange(numbered(16 * step, 16)) for step in range(14)]
    late = torch.cat(given[4:])[:, 0].tolist()
    assert len(set(late)) == len(late) == 160
    assert set(late) <= set(range(224))
    left = set(range(224)) - set(late)
    assert len(left) == 64  # what the buffer still holds: nothing was lost


def test_while_it_fills_states_are_copies_of_what_came() -> None:
    shuffle = TokenShuffle(100, seed=2)
    first, second = shuffle.exchange(numbered(0, 10)), shuffle.exchange(numbered(10, 10))
    assert sorted(first[:, 0].tolist()) == list(range(10))
    assert set(second[:, 0].tolist()) <= set(range(20))
    assert len(set(second[:, 0].tolist())) == 10


def test_tokens_of_a_text_are_spread_over_many_batches() -> None:
    shuffle = TokenShuffle(128, seed=3)
    batches = [shuffle.exchange(numbered(16 * step, 16)) for step in range(16)]
    sources = [len({int(value) // 16 for value in batch[:, 0]}) for batch in batches[8:]]
    assert min(sources) > 4  # of sixteen tokens; without the buffer all are of one


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.lists(st.integers(0, 60), min_size=1, max_size=8), st.integers(0, 5))
def test_as_many_come_out_as_go_in(capacity: int, sizes: list[int], seed: int) -> None:
    shuffle, start = TokenShuffle(capacity, seed), 0
    for size in sizes:
        states = numbered(start, size)
        mixed = shuffle.exchange(states)
        assert mixed.shape == states.shape
        assert mixed.dtype == states.dtype
        start += size
        assert set(mixed[:, 0].tolist()) <= set(range(start))


def test_the_same_seed_gives_the_same_order() -> None:
    one, other, third = TokenShuffle(8, 0), TokenShuffle(8, 0), TokenShuffle(8, 1)
    runs = [[part.exchange(numbered(8 * step, 8)) for step in range(4)] for part in (one, other, third)]
    assert all(torch.equal(a, b) for a, b in zip(runs[0], runs[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(runs[0], runs[2], strict=True))


def test_a_capacity_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        TokenShuffle(0)
