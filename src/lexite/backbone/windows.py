"""Cutting the tokens of a long text into windows, each token counted once."""

from __future__ import annotations

from typing import NamedTuple


class Window(NamedTuple):
    """A stretch of a text's tokens that goes through the model at once.

    Attributes:
        start: first token of the window.
        stop: token after its last.
        keep_start: first token whose state is taken from this window.
        keep_stop: token after the last whose state is taken from this window.
    """

    start: int
    stop: int
    keep_start: int
    keep_stop: int


def split_windows(n_tokens: int, room: int, overlap: int) -> list[Window]:
    """Splits ``n_tokens`` tokens into the fewest windows of at most ``room`` tokens.

    Neighbouring windows share ``overlap`` tokens and have equal lengths, give or take one. A shared token is taken from
    the window where it is farther from the cut, so that all but the text's own ends have context on both sides. When
    ``room`` is small, the overlap is lowered to half of it.

    Args:
        n_tokens: tokens of the text; 0 gives no window.
        room: tokens that fit in a window, at least 1.
        overlap: tokens that neighbours share, 0 or more.

    Example:
        >>> split_windows(10, 10, 4)
        [Window(start=0, stop=10, keep_start=0, keep_stop=10)]
        >>> for window in split_windows(14, 10, 4):
        ...     print(*window)
        0 9 0 7
        5 14 7 14
    """
    if n_tokens <= 0:
        return []
    if n_tokens <= room:
        return [Window(0, n_tokens, 0, n_tokens)]
    overlap = min(overlap, room // 2)
    count = -(-(n_tokens - overlap) // (room - overlap))
    # The text less one overlap is dealt out evenly: window i begins at bounds[i] and ends an overlap after bounds[i + 1].
    bounds = [i * (n_tokens - overlap) // count for i in range(count + 1)]
    middle = (overlap + 1) // 2
    cuts = [0, *(bound + middle for bound in bounds[1:-1]), n_tokens]
    return [Window(bounds[i], bounds[i + 1] + overlap, cuts[i], cuts[i + 1]) for i in range(count)]
