"""MaxSim: for each token of a query the most similar token of a passage, added up (Khattab and Zaharia 2020, arXiv 2004.12832).

The similarity of two tokens is the cosine of their states. A passage's tokens come as codes of a sparse autoencoder, which are
never decoded: with q a query token of unit length, d_l the atom of latent l, b the decoder's bias and n the norm of the
passage's token,

    sim(q, token) = (q · b + Σ value_l · (q · d_l)) / n

so that only the products q · d_l are computed over the width of a state. Or a passage's tokens come as vectors. A passage
scores Σ weight_i · max over its tokens of sim(q_i, token).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lexite.errors import IndexFormatError
from lexite.kernels.atom_products import Atoms, padded_queries, products_of
from lexite.kernels.threads import parallel_ranges

FEW = 6  # entries of a token that take one pass
SMALLEST_RANGE = 64  # passages under which a second thread does not pay
_FAST = {"contract", "reassoc", "nsz"}  # sums may be reordered; NaN and infinity keep their meaning
Floats = NDArray[np.float32]
Numbers = NDArray[np.int64]


class LengthsBy(NamedTuple):
    """What the norms of tokens are computed by.

    Attributes:
        atoms: (n_latents, d) the decoder's rows, float32 or int8.
        steps: (n_latents,) float32, what the numbers of each row are multiplied by.
    """

    atoms: Floats | NDArray[np.int8]
    steps: Floats


def maxsim_codes(
    queries: Floats,
    weights: Floats,
    atoms: Atoms,
    bias: Floats,
    tokens: Numbers,
    entries: Numbers,
    latents: NDArray[np.int32],
    values: Floats,
    norms: Floats | LengthsBy,
) -> Floats:
    """MaxSim of a query with passages whose tokens are codes.

    Args:
        queries: (n_queries, d) states of the query's tokens, of unit length.
        weights: (n_queries,) what each of them counts.
        atoms: (n_latents, d) the decoder's rows, in a form of :mod:`lexite.kernels.atom_products`.
        bias: (d,) the decoder's bias.
        tokens: (n_passages + 1,); passage ``p`` has the tokens ``tokens[p]:tokens[p + 1]``.
        entries: (n_tokens + 1,); token ``t`` has the entries ``entries[t]:entries[t + 1]``.
        latents: (n_entries,) below twice ``n_latents``: ``n_latents + l`` is latent l with a negative sign.
        values: (n_entries,) activations.
        norms: (n_tokens,) norms of the tokens' states; or what they are computed by, on the way. A token of norm 0 is similar
            to nothing, with similarity 0.

    Returns:
        (n_passages,); minus infinity for a passage without a token.

    Raises:
        IndexFormatError: a latent that the decoder does not have.
    """
    scores = np.full(len(tokens) - 1, -np.inf, dtype=np.float32)
    if not len(queries) or not len(scores):
        return scores
    _check_latents(latents, atoms.shape[0])
    padded = padded_queries(queries)
    products = products_of(atoms, latents, padded)
    offsets = padded @ bias / products.lane_steps
    counts = np.zeros(len(padded), dtype=np.float32)
    counts[: len(weights)] = weights
    counts *= products.lane_steps  # a step is above 0, so it may as well come after the largest of a token's similarities
    codes = products.values, products.row_steps, offsets, counts, tokens, entries, latents, values
    if not isinstance(norms, LengthsBy):
        parallel_ranges(_codes, len(scores), *codes, norms, scores, smallest=SMALLEST_RANGE)
    elif int(np.diff(entries).max(initial=0)) <= FEW:
        parallel_ranges(_few_codes, len(scores), *codes, *norms, bias, scores, smallest=SMALLEST_RANGE)
    else:
        computed = code_norms(norms.atoms, bias, entries, latents, values, norms.steps)
        parallel_ranges(_codes, len(scores), *codes, computed, scores, smallest=SMALLEST_RANGE)
    return scores


def maxsim_codes_reference(
    queries: Floats,
    weights: Floats,
    atoms: Floats,
    bias: Floats,
    tokens: Numbers,
    entries: Numbers,
    latents: NDArray[np.int32],
    values: Floats,
    norms: Floats,
) -> Floats:
    """The plain definition of :func:`maxsim_codes`: every token is decoded, every similarity computed."""
    decoded = _decoded(atoms, bias, entries, latents, values)
    lengths = np.where(norms > 0, norms, 1.0)[:, None]
    return maxsim_vectors_reference(queries, weights, np.where(norms[:, None] > 0, decoded / lengths, 0.0), tokens)


def code_norms(
    atoms: Floats | NDArray[np.int8],
    bias: Floats,
    entries: Numbers,
    latents: NDArray[np.int32],
    values: Floats,
    steps: Floats | None = None,
) -> Floats:
    """Norms of the states that codes stand for, for another decoder than the one whose norms are kept.

    Args:
        atoms: (n_latents, d) the decoder's rows; in int8 they take a quarter of the time that is spent on reading them.
        bias: (d,) its bias.
        entries: (n_tokens + 1,); token ``t`` has the entries ``entries[t]:entries[t + 1]``.
        latents: (n_entries,), as for :func:`maxsim_codes`.
        values: (n_entries,) activations.
        steps: (n_latents,) what the numbers of each row are multiplied by; None for 1.

    Returns:
        (n_tokens,) ‖bias + Σ value · step · atom‖.

    Raises:
        IndexFormatError: a latent that the decoder does not have.
    """
    _check_latents(latents, len(atoms))
    norms = np.empty(len(entries) - 1, dtype=np.float32)
    scales = np.ones(len(atoms), dtype=np.float32) if steps is None else steps
    parallel_ranges(_norms, len(norms), atoms, scales, bias, entries, latents, values, norms)
    return norms


def code_norms_reference(atoms: Floats, bias: Floats, entries: Numbers, latents: NDArray[np.int32], values: Floats) -> Floats:
    """The plain definition of :func:`code_norms`."""
    norms: Floats = np.linalg.norm(_decoded(atoms, bias, entries, latents, values), axis=1).astype(np.float32)
    return norms


def maxsim_vectors(queries: Floats, weights: Floats, vectors: Floats, tokens: Numbers) -> Floats:
    """MaxSim of a query with passages whose tokens are vectors, compared by their products.

    Args:
        queries: (n_queries, d), of unit length where the similarity is to be the cosine.
        weights: (n_queries,) what each of them counts.
        vectors: (n_tokens, d), likewise.
        tokens: (n_passages + 1,); passage ``p`` has the rows ``tokens[p]:tokens[p + 1]``.

    Returns:
        (n_passages,); minus infinity for a passage without a token.
    """
    scores = np.full(len(tokens) - 1, -np.inf, dtype=np.float32)
    if len(queries) and len(scores):
        products = vectors @ queries.T  # (n_tokens, n_queries)
        parallel_ranges(_products, len(scores), products, weights, tokens, scores, smallest=SMALLEST_RANGE)
    return scores


def maxsim_vectors_reference(queries: Floats, weights: Floats, vectors: NDArray[Any], tokens: Numbers) -> Floats:
    """The plain definition of :func:`maxsim_vectors`."""
    scores = np.full(len(tokens) - 1, -np.inf, dtype=np.float64)
    for passage, (start, stop) in enumerate(zip(tokens[:-1], tokens[1:], strict=True)):
        if stop > start and len(queries):
            similar = queries.astype(np.float64) @ vectors[start:stop].astype(np.float64).T
            scores[passage] = weights @ similar.max(axis=1)
    return scores.astype(np.float32)


def _check_latents(latents: NDArray[np.int32], n_latents: int) -> None:
    """Refuses numbers of latents with which a compiled loop would read beyond the atoms."""
    if len(latents) and not 0 <= int(latents.min()) <= int(latents.max()) < 2 * n_latents:
        raise IndexFormatError(
            f"A token has a latent beyond the {n_latents} of the decoder. Its codes are damaged, or of another vocabulary."
        )


def _decoded(atoms: Floats, bias: Floats, entries: Numbers, latents: NDArray[np.int32], values: Floats) -> NDArray[np.float64]:
    """The state that each token's codes stand for, plainly: ``(n_tokens, d)``."""
    signed = np.concatenate([atoms, -atoms]).astype(np.float64)
    rows = [
        bias + values[start:stop].astype(np.float64) @ signed[latents[start:stop]]
        for start, stop in zip(entries[:-1], entries[1:], strict=True)
    ]
    return np.array(rows).reshape(-1, len(bias))


@njit(cache=True, nogil=True, fastmath=_FAST)
def _norms(
    atoms: Any, steps: Any, bias: Any, entries: Any, latents: Any, values: Any, norms: Any, start: int, stop: int
) -> None:  # pragma: no cover - compiled
    n_latents, width = atoms.shape
    state = np.empty(width, dtype=np.float32)
    rows, factors = np.empty(FEW, dtype=np.int64), np.empty(FEW, dtype=np.float32)
    for token in range(start, stop):
        first, stop_entry = entries[token], entries[token + 1]
        squares = np.float32(0.0)
        if stop_entry - first <= FEW:
            _pick(latents, values, n_latents, np.float32(1.0), first, stop_entry, rows, factors)
            for place in range(FEW):
                factors[place] *= steps[rows[place]]
            squares = _square_of_few(atoms, bias, rows, factors)
        else:
            state[:] = bias
            for entry in range(first, stop_entry):
                latent, value = latents[entry], values[entry]
                if latent >= n_latents:
                    latent, value = latent - n_latents, -value
                value *= steps[latent]
                for column in range(width):
                    state[column] += value * np.float32(atoms[latent, column])
            for column in range(width):
                squares += state[column] * state[column]
        norms[token] = np.sqrt(squares)


@njit(cache=True, nogil=True, fastmath=_FAST, inline="always")
def _square_of_few(atoms: Any, bias: Any, rows: Any, factors: Any) -> Any:  # pragma: no cover - compiled
    """‖bias + Σ factor · row‖² of :data:`FEW` rows, in one pass over the columns: half the time of a state that is added up."""
    r0, r1, r2, r3, r4, r5 = rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]
    f0, f1, f2, f3, f4, f5 = factors[0], factors[1], factors[2], factors[3], factors[4], factors[5]
    squares = np.float32(0.0)
    for c in range(len(bias)):
        state = bias[c] + f0 * np.float32(atoms[r0, c]) + f1 * np.float32(atoms[r1, c]) + f2 * np.float32(atoms[r2, c])
        state += f3 * np.float32(atoms[r3, c]) + f4 * np.float32(atoms[r4, c]) + f5 * np.float32(atoms[r5, c])
        squares += state * state
    return squares


@njit(cache=True, nogil=True, fastmath=_FAST)
def _codes(
    products: Any,
    row_steps: Any,
    offsets: Any,
    weights: Any,
    tokens: Any,
    entries: Any,
    latents: Any,
    values: Any,
    norms: Any,
    scores: Any,
    start: int,
    stop: int,
) -> None:  # pragma: no cover - compiled
    n_latents, width = products.shape
    sums, best = np.empty(width, dtype=np.float32), np.empty(width, dtype=np.float32)
    rows, factors = np.zeros(FEW, dtype=np.int64), np.zeros(FEW, dtype=np.float32)
    for passage in range(start, stop):
        if tokens[passage] == tokens[passage + 1]:
            continue
        best[:] = -np.inf
        for token in range(tokens[passage], tokens[passage + 1]):
            scale = np.float32(1.0) / norms[token] if norms[token] > 0.0 else np.float32(0.0)
            first, stop_entry = entries[token], entries[token + 1]
            if stop_entry - first <= FEW:
                _pick(latents, values, n_latents, scale, first, stop_entry, rows, factors)
                for place in range(FEW):
                    factors[place] *= row_steps[rows[place]]
                _best_of_few(products, offsets, scale, rows, factors, best)
                continue
            for lane in range(width):
                sums[lane] = offsets[lane] * scale
            for entry in range(first, stop_entry):
                latent, value = latents[entry], values[entry] * scale
                if latent >= n_latents:
                    latent, value = latent - n_latents, -value
                value *= row_steps[latent]
                for lane in range(width):
                    sums[lane] += value * np.float32(products[latent, lane])
            for lane in range(width):
                best[lane] = max(best[lane], sums[lane])
        score = np.float32(0.0)
        for lane in range(width):
            score += weights[lane] * best[lane]
        scores[passage] = score


@njit(cache=True, nogil=True, fastmath=_FAST)
def _few_codes(
    products: Any,
    row_steps: Any,
    offsets: Any,
    weights: Any,
    tokens: Any,
    entries: Any,
    latents: Any,
    values: Any,
    atoms: Any,
    steps: Any,
    bias: Any,
    scores: Any,
    start: int,
    stop: int,
) -> None:  # pragma: no cover - compiled
    n_latents, width = products.shape
    best, one = np.empty(width, dtype=np.float32), np.float32(1.0)
    rows, factors, stepped = np.zeros(FEW, dtype=np.int64), np.zeros(FEW, dtype=np.float32), np.zeros(FEW, dtype=np.float32)
    for passage in range(start, stop):
        if tokens[passage] == tokens[passage + 1]:
            continue
        best[:] = -np.inf
        for token in range(tokens[passage], tokens[passage + 1]):
            _pick(latents, values, n_latents, one, entries[token], entries[token + 1], rows, factors)
            for place in range(FEW):
                stepped[place] = factors[place] * steps[rows[place]]
            squares = _square_of_few(atoms, bias, rows, stepped)
            scale = one / np.sqrt(squares) if squares > 0.0 else np.float32(0.0)
            for place in range(FEW):
                factors[place] *= scale * row_steps[rows[place]]
            _best_of_few(products, offsets, scale, rows, factors, best)
        score = np.float32(0.0)
        for lane in range(width):
            score += weights[lane] * best[lane]
        scores[passage] = score


@njit(cache=True, nogil=True, inline="always")
def _pick(
    latents: Any, values: Any, n_latents: int, scale: Any, first: int, stop: int, rows: Any, factors: Any
) -> None:  # pragma: no cover - compiled
    """The rows and factors of up to :data:`FEW` entries; factors of 0 fill them up."""
    for place in range(FEW):
        row, factor = 0, np.float32(0.0)
        if first + place < stop:
            row, factor = latents[first + place], values[first + place] * scale
            if row >= n_latents:
                row, factor = row - n_latents, -factor
        rows[place], factors[place] = row, factor


@njit(cache=True, nogil=True, fastmath=_FAST, inline="always")
def _best_of_few(
    products: Any, offsets: Any, scale: Any, rows: Any, factors: Any, best: Any
) -> None:  # pragma: no cover - compiled
    """The similarities of a token of :data:`FEW` entries, in one pass over the query's tokens, into the best so far."""
    r0, r1, r2, r3, r4, r5 = rows[0], rows[1], rows[2], rows[3], rows[4], rows[5]
    f0, f1, f2, f3, f4, f5 = factors[0], factors[1], factors[2], factors[3], factors[4], factors[5]
    for lane in range(len(best)):
        similar = offsets[lane] * scale + f0 * np.float32(products[r0, lane]) + f1 * np.float32(products[r1, lane])
        similar += f2 * np.float32(products[r2, lane]) + f3 * np.float32(products[r3, lane])
        similar += f4 * np.float32(products[r4, lane]) + f5 * np.float32(products[r5, lane])
        best[lane] = max(best[lane], similar)


@njit(cache=True, nogil=True)
def _products(
    products: Any, weights: Any, tokens: Any, scores: Any, start: int, stop: int
) -> None:  # pragma: no cover - compiled
    width = products.shape[1]
    best = np.empty(width, dtype=np.float32)
    for passage in range(start, stop):
        if tokens[passage] == tokens[passage + 1]:
            continue
        best[:] = -np.inf
        for token in range(tokens[passage], tokens[passage + 1]):
            for lane in range(width):
                best[lane] = max(best[lane], products[token, lane])
        score = np.float32(0.0)
        for lane in range(width):
            score += weights[lane] * best[lane]
        scores[passage] = score
