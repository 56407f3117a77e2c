"""Windows: the text is covered, each token counted once, and context kept on both sides of a cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lexite.backbone.windows import split_windows

sizes = st.tuples(st.integers(0, 400), st.integers(1, 60), st.integers(0, 70))


@given(sizes)
def test_each_token_is_kept_exactly_once_and_in_order(case: tuple[int, int, int]) -> None:
    n_tokens, room, overlap = case
    kept = [t for w in split_windows(n_tokens, room, overlap) for t in range(w.keep_start, w.keep_stop)]
    assert kept == list(range(n_tokens))


@given(sizes)
def test_windows_fit_and_contain_what_they_keep(case: tuple[int, int, int]) -> None:
    n_tokens, room, overlap = case
    for window in split_windows(n_tokens, room, overlap):
        assert 0 <= window.start <= window.keep_start < window.keep_stop <= window.stop <= n_tokens
        assert window.stop - window.start <= room


@given(sizes)
def test_neighbours_share_the_overlap_and_cut_it_in_the_middle(case: tuple[int, int, int]) -> None:
    n_tokens, room, overlap = case
    windows = split_windows(n_tokens, room, overlap)
    shared = min(overlap, room // 2)
    for left, right in zip(windows, windows[1:], strict=False):
        assert left.stop - right.start == shared
        assert abs((left.stop - left.keep_stop) - (right.keep_start - right.start)) <= 1


@given(sizes)
def test_no_more_windows_than_needed_and_of_equal_length(case: tuple[int, int, int]) -> None:
    n_tokens, room, overlap = case
    windows = split_windows(n_tokens, room, overlap)
    lengths = [w.stop - w.start for w in windows]
    shared = min(overlap, room // 2)
    if windows:
        assert max(lengths) - min(lengths) <= 1
        assert len(windows) == 1 or (len(windows) - 1) * (room - shared) + shared < n_tokens


def test_a_text_that_fits_is_one_untouched_window() -> None:
    assert [tuple(w) for w in split_windows(7, 7, 3)] == [(0, 7, 0, 7)]
    assert split_windows(0, 7, 3) == []
