"""Paired tests of two systems over the same queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

EXACT_UP_TO = 14
"""Up to this many queries with a difference, all 2^n sign patterns are counted instead of a sample."""
_CHUNK = 512


@dataclass(frozen=True)
class PairedTest:
    """How sure a difference between two systems is.

    Attributes:
        mean_difference: mean over queries of (first system - second system); with several collections, the mean of their means.
        p_t_test: two-sided p-value of the paired t-test; None where it is undefined (a collection with a single query).
        p_randomisation: two-sided p-value of the paired randomisation test.
        n_queries: number of queries.
    """

    mean_difference: float
    p_t_test: float | None
    p_randomisation: float
    n_queries: int


def paired_test(differences: Sequence[npt.ArrayLike], *, samples: int = 10_000, seed: int = 0) -> PairedTest:
    """Tests whether a mean difference could be chance.

    With one collection these are the usual paired tests. With several, the statistic is the mean of the collections' mean
    differences, each collection weighing the same however many queries it has, as in the table's mean row.

    - t-test: t = m / s with m the statistic and s² = Σ_c v_c, v_c = var_c / (n_c C²), var_c the sample variance of the
      differences of collection c with n_c queries, C collections. Degrees of freedom after Welch and Satterthwaite,
      (Σ v_c)² / Σ (v_c² / (n_c - 1)), which is n - 1 for one collection.
    - randomisation test (Smucker, Allan and Carterette 2007): the share of random sign changes of the queries' differences
      whose statistic is at least as far from 0. Exact for up to 14 queries with a difference, else from ``samples`` random
      patterns, (hits + 1) / (samples + 1).

    No correction for several comparisons is made.

    Args:
        differences: for each collection, one number per query: first system minus second.
        samples: number of random sign patterns.
        seed: of the random patterns.

    Raises:
        ValueError: no collection, or one without queries.

    >>> paired_test([[0.1, 0.2, 0.3]]).p_randomisation
    0.25
    """
    groups = [np.asarray(group, dtype=np.float64) for group in differences]
    if not groups or not all(len(group) for group in groups):
        raise ValueError("A paired test needs at least one collection, and each needs at least one query.")
    weights = np.concatenate([np.full(len(group), 1.0 / (len(group) * len(groups))) for group in groups])
    weighted = np.concatenate(groups) * weights
    return PairedTest(
        mean_difference=float(weighted.sum()),
        p_t_test=_t_test(groups),
        p_randomisation=_randomisation(weighted[weighted != 0], samples, seed),
        n_queries=len(weighted),
    )


def _t_test(groups: list[npt.NDArray[np.float64]]) -> float | None:
    from scipy.special import stdtr

    if any(len(group) < 2 for group in groups):
        return None
    mean = float(np.mean([group.mean() for group in groups]))
    variances = np.array([group.var(ddof=1) / (len(group) * len(groups) ** 2) for group in groups])
    total = float(variances.sum())
    if np.isclose(total, 0.0, atol=1e-24):  # all differences are equal: chance explains only a difference of 0
        return 1.0 if np.isclose(mean, 0.0, atol=1e-12) else 0.0
    freedom = total**2 / float(np.sum(variances**2 / np.array([len(group) - 1 for group in groups])))
    return float(2 * stdtr(freedom, -abs(mean) / np.sqrt(total)))


def _randomisation(weighted: npt.NDArray[np.float64], samples: int, seed: int) -> float:
    n = len(weighted)
    if n == 0:
        return 1.0
    reached = abs(float(weighted.sum())) - 1e-12  # rounding of the sums must not lose equal patterns
    if n <= EXACT_UP_TO:
        patterns = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        return float(np.mean(np.abs((2.0 * patterns - 1.0) @ weighted) >= reached))
    random = np.random.default_rng(seed)
    hits = 0
    for start in range(0, samples, _CHUNK):
        signs = 2.0 * random.integers(0, 2, size=(min(_CHUNK, samples - start), n), dtype=np.int8) - 1.0
        hits += int(np.sum(np.abs(signs @ weighted) >= reached))
    return (hits + 1) / (samples + 1)
