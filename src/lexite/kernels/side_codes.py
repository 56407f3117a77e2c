"""Reading the token codes of some passages out of the files of a segment, in one pass.

A file has a row for each token, or for each entry of a token (:mod:`lexite.index.side_files`). The rows of a passage follow one
another; passages may lie anywhere.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

USUAL = 6  # entries of a token, unless an index is told otherwise: a loop of so many is compiled for itself
Numbers = NDArray[np.int64]


class CodeFiles(NamedTuple):
    """The codes of all tokens of a segment.

    Attributes:
        counts: (n_tokens,) entries of each token.
        scales: (n_tokens,) float16, the largest activation of each.
        latents: (n_entries,) of each entry.
        values: (n_entries,) levels: parts of the largest activation of their token.
    """

    counts: NDArray[Any]
    scales: NDArray[Any]
    latents: NDArray[Any]
    values: NDArray[Any]


class Gathered(NamedTuple):
    """Room for the codes of some passages.

    Attributes:
        ends: (n_tokens,) the end of each token's entries.
        latents: (n_entries,).
        values: (n_entries,) activations.
    """

    ends: Numbers
    latents: NDArray[np.int32]
    values: NDArray[np.float32]


@functools.cache
def halves() -> NDArray[np.float32]:
    """Each number of fp16, by its bits, (65536,); compiled loops know no fp16."""
    return np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)


def gather_entries(
    files: CodeFiles,
    places: Numbers,
    outs: Numbers,
    levels: int,
    found: Gathered,
) -> bool:
    """Copies the codes of passages, and turns levels into activations.

    Args:
        files: what there is.
        places: (n_passages, 4) where each passage lies in the file: its first token, the end of its tokens, its first entry,
            the end of its entries. All are within the file.
        outs: (n_passages, 2) where its tokens and its entries go.
        levels: what the largest activation of a token is kept as.
        found: is filled.

    Returns:
        Whether the counts of each passage add up to its entries; what is ``found`` is of no use where they do not.
    """
    counts, scales, latents, values = files
    bits = scales.view(np.uint16)
    return bool(_gather(counts, bits, latents, values, places, outs, halves(), np.float32(levels), *found))


def gather_entries_reference(
    files: CodeFiles,
    places: Numbers,
    outs: Numbers,
    levels: int,
    found: Gathered,
) -> bool:
    """The plain definition of :func:`gather_entries`."""
    counts, scales, latents, values = files
    ends, found_latents, activations = found
    for (token, end, entry, last), (out, begin) in zip(places.tolist(), outs.tolist(), strict=True):
        sizes = counts[token:end].astype(np.int64)
        if sizes.sum() != last - entry:
            return False
        ends[out : out + end - token] = begin + np.cumsum(sizes)
        steps = np.repeat(scales[token:end].astype(np.float32) / np.float32(levels), sizes)
        found_latents[begin : begin + last - entry] = latents[entry:last]
        activations[begin : begin + last - entry] = values[entry:last].astype(np.float32) * steps
    return True


@njit(cache=True, nogil=True)
def _gather(
    counts: Any,
    bits: Any,
    latents: Any,
    values: Any,
    places: Any,
    outs: Any,
    numbers: Any,
    levels: Any,
    ends: Any,
    found_latents: Any,
    activations: Any,
) -> bool:  # pragma: no cover - compiled
    for passage in range(places.shape[0]):
        token, last_token, entry, last = places[passage]
        out, place = outs[passage]
        size, done = last - entry, np.int64(0)
        own_latents, own_values = latents[entry:last], values[entry:last]  # loops over parts from 0 are compiled to vectors
        own_counts, own_bits, own_ends = counts[token:last_token], bits[token:last_token], ends[out : out + last_token - token]
        to_latents, to_values = found_latents[place : place + size], activations[place : place + size]
        for each in range(size):
            to_latents[each] = own_latents[each]
        for number in range(last_token - token):
            count = np.int64(own_counts[number])
            if count > size - done:
                return False
            step = numbers[own_bits[number]] / levels
            levels_of, to = own_values[done : done + count], to_values[done : done + count]
            if count == USUAL:
                for each in range(USUAL):
                    to[each] = np.float32(levels_of[each]) * step
            else:
                for each in range(count):
                    to[each] = np.float32(levels_of[each]) * step
            done += count
            own_ends[number] = place + done
        if done != size:
            return False
    return True
