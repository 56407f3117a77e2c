"""Codes of passages out of the files of a segment, against slices of the arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lexite.kernels.side_codes import CodeFiles, Gathered, gather_entries, gather_entries_reference, halves


def bounds_of(counts: NDArray[Any]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def files(seed: int, n_passages: int, kind: Any) -> tuple[CodeFiles, NDArray[np.int64]]:
    """Files of a segment, and where each of its passages lies."""
    generator = np.random.default_rng(seed)
    tokens = bounds_of(generator.integers(0, 5, n_passages))
    counts = generator.integers(0, 4, tokens[-1]).astype(np.uint8)
    entries = bounds_of(counts)
    scales = generator.gamma(1.0, 5.0, tokens[-1]).astype(np.float16)
    latents = generator.integers(0, 60, entries[-1]).astype(kind)
    values = generator.integers(1, 256, entries[-1]).astype(np.uint8)
    places = np.stack([tokens[:-1], tokens[1:], entries[tokens[:-1]], entries[tokens[1:]]], axis=1)
    return CodeFiles(counts, scales, latents, values), places


def room_for(places: NDArray[np.int64]) -> tuple[NDArray[np.int64], Gathered]:
    """Where each passage goes, and room for all."""
    sizes = places[:, 1::2] - places[:, 0::2]
    outs = np.concatenate([np.zeros((1, 2), np.int64), np.cumsum(sizes, axis=0)])
    n_tokens, n_entries = outs[-1].tolist()
    found = Gathered(np.zeros(n_tokens, np.int64), np.zeros(n_entries, np.int32), np.zeros(n_entries, np.float32))
    return outs[:-1], found


@given(
    seed=st.integers(0, 2**31),
    n_passages=st.integers(1, 8),
    chosen=st.lists(st.integers(0, 7), max_size=10),
    kind=st.sampled_from([np.uint16, np.int32]),
)
def test_passages_come_in_any_order_and_as_often_as_they_are_asked_for(
    seed: int, n_passages: int, chosen: list[int], kind: Any
) -> None:
    given_files, places = files(seed, n_passages, kind)
    asked = np.ascontiguousarray(places[[number % n_passages for number in chosen]]).reshape(-1, 4)
    (outs, found), (_, expected) = room_for(asked), room_for(asked)
    for array in given_files:
        array.flags.writeable = False  # as in a mapped file
    assert gather_entries(given_files, asked, outs, 255, found)
    assert gather_entries_reference(given_files, asked, outs, 255, expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("change", [1, -1, 200])
def test_counts_that_do_not_add_up_are_told_and_nothing_is_read_beyond_a_passage(change: int) -> None:
    damaged, places = files(3, 6, np.uint16)
    token = int(np.flatnonzero(damaged.counts)[0])
    damaged.counts[token] = (int(damaged.counts[token]) + change) % 256
    outs, found = room_for(places)
    assert not gather_entries(damaged, places, outs, 255, found)
    assert not gather_entries_reference(damaged, places, outs, 255, found)


def test_halves_are_all_numbers_of_fp16() -> None:
    some = np.array([0.0, 1.0, -2.5, 65504.0, 6e-8], dtype=np.float16)
    np.testing.assert_array_equal(halves()[some.view(np.uint16)], some.astype(np.float32))
    assert len(halves()) == 1 << 16
