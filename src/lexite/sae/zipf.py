"""Power laws: fitted to how often latents fire, and target curves that follow one. Needs numpy alone.

Ranks count from 1 and follow falling values. Everything is in double precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lexite.errors import ConfigError

LARGEST_EXPONENT = 20.0  # up to this, no weight underflows at a billion ranks
_MIDDLE = (0.1, 0.9)  # shares of the used latents between which a curve is fitted alone
_GRID = 17  # offsets tried in each round of the search for the best one
_ROUNDS = 12


@dataclass(frozen=True, slots=True)
class ZipfFit:
    """A power law m_r ≈ C · r^-exponent through values that are sorted by rank r.

    Attributes:
        exponent: steepness of the law; 0 for values that are all equal, about 1 for the words of a language.
        log10_scale: log10 C, the height of the line at rank 1.
        r2: share of the variance of log m_r that the line explains, over all values above zero.
        exponent_middle: the exponent of a line through the ranks from 10% to 90% of the used latents only.
        r2_middle: R² of that line over the same ranks.
        n_used: number of values above zero, to which the line is fitted.
    """

    exponent: float
    log10_scale: float
    r2: float
    exponent_middle: float
    r2_middle: float
    n_used: int


def fit_zipf(densities: ArrayLike) -> ZipfFit:
    """Fits Zipf's law to the densities of latents, or to any other value of each, by least squares in the log-log plane.

    With the n values above zero sorted so that m_1 ≥ … ≥ m_n, the line ``log m_r = log C - α log r`` minimises
    ``Σ_r (log m_r - log C + α log r)²``, every rank counting the same, and

        R² = 1 - Σ_r (log m_r - line_r)² / Σ_r (log m_r - mean)²

    The middle is the ranks r with ``0.1 n < r ≤ 0.9 n``; it has a line and an R² of its own. The first ranks are few, and
    the last belong to latents that fired once or twice, so the middle says better whether the law holds. (Zipf 1949, Human
    Behavior and the Principle of Least Effort; the middle is ours.) Values that are all equal give α = 0 and R² = 1. With
    fewer than two values there is no line, and everything but ``n_used`` is 0.

    Args:
        densities: one value per latent, in any order and unit: scaling them all changes ``log10_scale`` alone. Those that are
            0 are left out.

    Raises:
        ConfigError: a value is below 0 or not finite.

    >>> fit = fit_zipf(5 / np.arange(1, 101))
    >>> round(fit.exponent, 6), round(fit.r2, 6), fit.n_used
    (1.0, 1.0, 100)
    """
    logs = _sorted_logs(densities)
    ranks = np.log(np.arange(1, len(logs) + 1))
    exponent, scale, r2 = _line(ranks, logs)
    low, high = (int(share * len(logs)) for share in _MIDDLE)
    middle_exponent, _, middle_r2 = _line(ranks[low:high], logs[low:high])
    return ZipfFit(exponent, scale / np.log(10).item(), r2, middle_exponent, middle_r2, len(logs))


def fit_zipf_mandelbrot(densities: ArrayLike) -> tuple[float, float]:
    """Fits the law of Zipf and Mandelbrot, m_r ≈ C · (r + β)^-α, as :func:`fit_zipf` does; β flattens the first ranks.

    β is sought from 0 to the number of values, α and C are those of the best line for it (Mandelbrot 1953, An Informational
    Theory of the Statistical Structure of Language).

    Args:
        densities: one value per latent; those that are 0 are left out.

    Returns:
        α, at least 0 and at most 20, and β.

    Raises:
        ConfigError: a value is below 0 or not finite, or fewer than three are above 0.

    >>> [round(number, 3) for number in fit_zipf_mandelbrot((np.arange(1, 1001) + 7.0) ** -1.2)]
    [1.2, 7.0]
    """
    logs = _sorted_logs(densities)
    if len(logs) < 3:
        raise ConfigError(f"A curve needs three latents that fired, but there are {len(logs)}. Measure on more tokens.")
    ranks = np.arange(1, len(logs) + 1)
    low, high = 0.0, float(np.log1p(len(logs)))  # of log(1 + β)
    for _ in range(_ROUNDS):
        grid = np.linspace(low, high, _GRID)
        best = int(np.argmin([_residual(np.log(ranks + offset), logs) for offset in np.expm1(grid)]))
        low, high = float(grid[max(best - 1, 0)]), float(grid[min(best + 1, _GRID - 1)])
    offset = float(np.expm1(grid[best]))
    return float(np.clip(_line(np.log(ranks + offset), logs)[0], 0.0, LARGEST_EXPONENT)), offset


def zipf_targets(n_latents: int, total: float, alpha: float, beta: float = 0.0) -> NDArray[np.float64]:
    """A target curve: ``total · (r + β)^-α / Σ_s (s + β)^-α`` for the ranks r = 1 … n_latents.

    Args:
        n_latents: length of the curve.
        total: what it sums to, such as k for densities.
        alpha: exponent, from 0 (all equal) to 20.
        beta: offset, above -1.

    Returns:
        ``(n_latents,)``, not rising.

    Raises:
        ConfigError: a number is outside its limits.

    >>> zipf_targets(4, 25.0, alpha=1.0).round(6).tolist()
    [12.0, 6.0, 4.0, 3.0]
    """
    if not (np.isfinite(total) and total > 0):
        raise ConfigError(f"The total of a Zipf curve is {total}, but must be above 0.")
    weights = _weights(n_latents, alpha, beta)
    return weights * (total / float(weights.sum()))


def zipf_counts(n_latents: int, total: int, alpha: float, beta: float, largest: int) -> NDArray[np.int64]:
    """A target curve in whole numbers, each from 1 to ``largest``: how many tokens of a batch each rank gets.

    The real-valued curve is ``min(max(c · (r + β)^-α, 1), largest)`` with the c for which it sums to ``total``. So the limits
    change only the first and the last ranks; the ranks between keep the proportions of the curve. Then the largest remainders
    are rounded up, lower ranks first where they tie, and the others down (Hamilton's method).

    Args:
        n_latents: length of the curve.
        total: what the counts sum to, exactly.
        alpha: exponent, from 0 to 20.
        beta: offset, above -1.
        largest: greatest count, the number of tokens.

    Returns:
        ``(n_latents,)`` int64, not rising.

    Raises:
        ConfigError: fewer than one or more than ``largest`` would fall to each latent, or a number is outside its limits.

    >>> zipf_counts(8, 24, 1.5, 0.0, largest=9).tolist()
    [9, 6, 3, 2, 1, 1, 1, 1]
    """
    weights = _weights(n_latents, alpha, beta)
    if not n_latents <= total <= n_latents * largest:
        raise ConfigError(
            f"{total:,} activations cannot be given to {n_latents:,} latents so that each gets from 1 to {largest:,}. "
            "Take larger batches, a larger k or fewer latents."
        )
    wanted = np.clip(_factor(weights, total, largest) * weights, 1.0, float(largest))
    counts = np.minimum(np.floor(wanted).astype(np.int64), largest)
    missing = int(total) - int(counts.sum())
    open_ranks = np.flatnonzero((wanted > counts) & (counts < largest)) if missing else np.zeros(0, dtype=np.int64)
    if missing > len(open_ranks):  # c has a rounding error, by which a count that should be whole fell just short
        open_ranks = np.flatnonzero(counts < largest)
    remainders = (wanted - counts)[open_ranks]
    counts[open_ranks[np.argsort(-remainders, kind="stable")[:missing]]] += 1
    return counts


def _factor(weights: NDArray[np.float64], total: int, largest: int) -> float:
    """The c for which ``Σ min(max(c w, 1), largest)`` is the total, by bisection. Weights fall, so sums come from one table."""
    sums = np.concatenate([[0.0], np.cumsum(weights)])
    rising = weights[::-1]

    def reached(factor: float) -> float:
        capped = len(weights) - int(np.searchsorted(rising, largest / factor, side="left"))
        raised = int(np.searchsorted(rising, 1.0 / factor, side="right"))
        inner = max(len(weights) - raised, capped)
        return capped * largest + factor * float(sums[inner] - sums[capped]) + (len(weights) - inner)

    low, high = np.log(1.0 / weights[0]), np.log(largest / weights[-1])  # all are 1, and all are the largest
    for _ in range(200):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if reached(float(np.exp(middle))) < total else (low, middle)
    return float(np.exp(high))


def _weights(n_latents: int, alpha: float, beta: float) -> NDArray[np.float64]:
    """(r + β)^-α for the ranks from 1, over that of rank 1."""
    if n_latents < 1:
        raise ConfigError(f"A Zipf curve of {n_latents} latents is empty. Give at least 1.")
    if not 0 <= alpha <= LARGEST_EXPONENT:
        raise ConfigError(f"The exponent of a Zipf curve is {alpha}, but must be from 0 to {LARGEST_EXPONENT:g}.")
    if not (np.isfinite(beta) and beta > -1):
        raise ConfigError(f"The offset of a Zipf curve is {beta}, but must be above -1, so that rank 1 stays above 0.")
    ranks = np.arange(1, n_latents + 1, dtype=np.float64) + beta
    weights: NDArray[np.float64] = np.exp(-alpha * (np.log(ranks) - np.log(ranks[0])))
    return weights


def _sorted_logs(values: ArrayLike) -> NDArray[np.float64]:
    """Logarithms of the values above zero, the largest first."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    if not bool(np.all(flat >= 0)) or not bool(np.all(np.isfinite(flat))):
        raise ConfigError("A power law can be fitted to finite values of at least 0 only. Check the counts.")
    return np.log(np.sort(flat[flat > 0])[::-1])


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float]:
    """Falling slope, intercept and R² of the least-squares line through the points."""
    if len(x) < 2:
        return 0.0, 0.0, 0.0
    x_mean, y_mean = float(x.mean()), float(y.mean())
    dx, dy = x - x_mean, y - y_mean
    slope = float(dx @ dy) / float(dx @ dx)
    variance = float(dy @ dy)
    flat = variance <= len(y) * (1e-12 * max(1.0, abs(y_mean))) ** 2  # nothing but rounding
    if flat:
        return 0.0, y_mean, 1.0
    rest = dy - slope * dx
    return -slope, y_mean - slope * x_mean, 1.0 - float(rest @ rest) / variance


def _residual(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Squared distance from the least-squares line."""
    dx, dy = x - x.mean(), y - y.mean()
    rest = dy - (float(dx @ dy) / float(dx @ dx)) * dx
    return float(rest @ rest)
