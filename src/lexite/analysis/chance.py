"""What chance does: false discovery rates, stratified tests of shares, intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]


def discoveries(p: Floats, rate: float) -> NDArray[np.bool_]:
    """Which tests are discoveries at a false discovery rate: the step-up rule of Benjamini and Hochberg (1995).

    Args:
        p: ``(n,)`` p-values.
        rate: the share of false ones among the discoveries that is allowed.

    >>> discoveries(np.array([0.001, 0.02, 0.5, 0.03]), 0.05).tolist()
    [True, True, False, True]
    """
    if not len(p):
        return np.zeros(0, dtype=np.bool_)
    order = np.argsort(p, kind="stable")
    below = np.flatnonzero(p[order] <= rate * np.arange(1, len(p) + 1) / len(p))
    found = np.zeros(len(p), dtype=np.bool_)
    if len(below):
        found[order[: below[-1] + 1]] = True
    return found


def difference_interval(a: Floats, n_a: float, b: Floats, n_b: float, level: float = 0.95) -> tuple[Floats, Floats]:
    """Limits of the difference of two shares, a / n_a - b / n_b.

    Newcombe (1998), method 10: from the limits that Wilson's score interval gives for each share.

    >>> low, high = difference_interval(np.array([56.0]), 70, np.array([48.0]), 80)
    >>> round(float(low[0]), 4), round(float(high[0]), 4)
    (0.0524, 0.3339)
    """
    z = float(stats.norm.ppf(0.5 + level / 2))
    low_a, high_a = _wilson(a, n_a, z)
    low_b, high_b = _wilson(b, n_b, z)
    p_a, p_b = a / n_a, b / n_b
    difference = p_a - p_b
    low = difference - np.sqrt((p_a - low_a) ** 2 + (high_b - p_b) ** 2)
    high = difference + np.sqrt((high_a - p_a) ** 2 + (p_b - low_b) ** 2)
    return low, high


def _wilson(count: Floats, n: float, z: float) -> tuple[Floats, Floats]:
    share = count / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return middle - half, middle + half


@dataclass(frozen=True, eq=False)
class StratifiedTest:
    """A term's association with one of two groups, over strata of documents.

    Attributes:
        odds_ratio: ``(n,)`` of Mantel and Haenszel (1959); inf or 0 where a group has none.
        low: lower limit at 95%, by the variance of Robins, Breslow and Greenland (1986).
        high: upper limit.
        statistic: ``(n,)`` of the Cochran-Mantel-Haenszel test with continuity correction.
        p: ``(n,)`` its two-sided p-value.
    """

    odds_ratio: Floats
    low: Floats
    high: Floats
    statistic: Floats
    p: Floats


def stratified_test(a: Floats, n_a: Floats, b: Floats, n_b: Floats) -> StratifiedTest:
    """Compares shares of two groups within strata.

    Args:
        a: ``(n_strata, n)`` documents of the first group with each term.
        n_a: ``(n_strata,)`` documents of the first group.
        b: the same for the second group.
        n_b: likewise.
    """
    total = (n_a + n_b)[:, None]
    good = total[:, 0] > 1
    a, b, total = a[good], b[good], total[good]
    one, two = n_a[good][:, None], n_b[good][:, None]
    c, d = one - a, two - b  # without the term
    has = a + b
    expected = one * has / total
    variance = (one * two * has * (total - has) / (total * total * (total - 1))).sum(0)
    away = np.maximum(np.abs((a - expected).sum(0)) - 0.5, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(variance > 0, away**2 / np.maximum(variance, 1e-300), 0.0)
        r, s = a * d / total, b * c / total
        odds = r.sum(0) / s.sum(0)
        p_, q_ = (a + d) / total, (b + c) / total
        log_variance = (
            (p_ * r).sum(0) / (2 * r.sum(0) ** 2)
            + (p_ * s + q_ * r).sum(0) / (2 * r.sum(0) * s.sum(0))
            + (q_ * s).sum(0) / (2 * s.sum(0) ** 2)
        )
        half = 1.959963984540054 * np.sqrt(log_variance)
        low, high = odds * np.exp(-half), odds * np.exp(half)
    low, high = np.where(np.isfinite(half), low, 0.0), np.where(np.isfinite(half), high, np.inf)
    return StratifiedTest(odds, low, high, statistic, np.asarray(stats.chi2.sf(statistic, 1), dtype=np.float64))


def length_strata(lengths: NDArray[np.int64], n_strata: int) -> NDArray[np.int64]:
    """The stratum of each document by its number of terms: quantiles; documents of equal length are in one stratum.

    >>> length_strata(np.array([3, 9, 3, 1]), 2).tolist()
    [0, 1, 0, 0]
    """
    edges = np.quantile(lengths, np.arange(1, n_strata) / n_strata)
    return np.searchsorted(edges, lengths, side="left").astype(np.int64)
