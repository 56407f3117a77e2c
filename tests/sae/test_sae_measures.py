"""Power laws, histograms, coherence, error: against their definitions written out plainly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lexite.errors import ConfigError, ModelError
from lexite.sae.measures import ErrorSums, decoder_coherence, density_histogram, fvu
from lexite.sae.zipf import fit_zipf, fit_zipf_mandelbrot, zipf_counts, zipf_targets

exponents = st.floats(0, 3)
positive = st.floats(1e-9, 1.0)


@given(n=st.integers(20, 400), exponent=st.floats(0.05, 3), scale=st.floats(1e-6, 10), seed=st.integers(0, 99))
def test_a_power_law_is_found_exactly(n: int, exponent: float, scale: float, seed: int) -> None:
    values = scale * np.arange(1, n + 1.0) ** -exponent
    fit = fit_zipf(np.random.default_rng(seed).permutation(np.append(values, [0.0] * 7)))
    assert fit.n_used == n
    assert (fit.exponent, fit.exponent_middle) == pytest.approx((exponent, exponent), rel=1e-6)
    assert fit.log10_scale == pytest.approx(math.log10(scale), abs=1e-6)
    assert (fit.r2, fit.r2_middle) == pytest.approx((1.0, 1.0))


@given(values=st.lists(positive, min_size=12, max_size=60))
def test_the_fit_is_that_of_polyfit(values: list[float]) -> None:
    fit = fit_zipf(values)
    logs, ranks = np.log(sorted(values, reverse=True)), np.log(np.arange(1, len(values) + 1))

    def reference(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
        slope, intercept = np.polyfit(x, y, 1)
        variance = float(((y - y.mean()) ** 2).sum())
        return -slope, 1 - float(((y - slope * x - intercept) ** 2).sum()) / variance if variance > 1e-9 else 1.0

    low, high = int(0.1 * len(values)), int(0.9 * len(values))  # 0.1 n < r <= 0.9 n
    assert (fit.exponent, fit.r2) == pytest.approx(reference(ranks, logs), abs=1e-6)
    assert (fit.exponent_middle, fit.r2_middle) == pytest.approx(reference(ranks[low:high], logs[low:high]), abs=1e-5)


@given(values=st.lists(positive, min_size=5, max_size=40), factor=st.floats(1e-3, 1e3))
def test_the_unit_of_the_values_does_not_matter(values: list[float], factor: float) -> None:
    one, other = fit_zipf(values), fit_zipf(np.array(values) * factor)
    assert other.exponent == pytest.approx(one.exponent, abs=1e-6)
    assert other.log10_scale == pytest.approx(one.log10_scale + math.log10(factor), abs=1e-6)
    if one.exponent > 1e-6:  # where all are equal, R² is 1 by definition
        assert other.r2 == pytest.approx(one.r2, abs=1e-4)


def test_curves_without_a_slope() -> None:
    assert (fit_zipf([0.3] * 50).exponent, fit_zipf([0.3] * 50).r2, fit_zipf([0.3] * 50).r2_middle) == (0.0, 1.0, 1.0)
    assert (fit_zipf([]).n_used, fit_zipf([0, 0]).n_used, fit_zipf([0, 2]).n_used) == (0, 0, 1)
    assert fit_zipf([0, 2]).exponent == fit_zipf([0, 2]).r2 == 0.0


@pytest.mark.parametrize("bad", [[1.0, -0.5], [float("nan")], [1.0, float("inf")]])
def test_what_is_no_density_is_refused(bad: list[float]) -> None:
    with pytest.raises(ConfigError, match="finite values of at least 0"):
        fit_zipf(bad)


@given(exponent=st.floats(0.3, 2.5), offset=st.floats(0, 100))
def test_a_curve_of_mandelbrot_is_found(exponent: float, offset: float) -> None:
    values = 0.1 * (np.arange(1, 2001) + offset) ** -exponent
    alpha, beta = fit_zipf_mandelbrot(values)
    assert alpha == pytest.approx(exponent, rel=1e-3)
    assert beta == pytest.approx(offset, rel=2e-3, abs=2e-3)


def test_mandelbrot_is_no_worse_than_zipf() -> None:
    values = np.random.default_rng(0).lognormal(-6, 2, 3000)
    alpha, beta = fit_zipf_mandelbrot(values)
    logs, ranks = np.log(np.sort(values)[::-1]), np.arange(1, 3001)

    def error(offset: float) -> float:
        x = np.log(ranks + offset)
        return float(((logs - np.polyval(np.polyfit(x, logs, 1), x)) ** 2).sum())

    assert error(beta) <= min(error(offset) for offset in [0, 1, 10, 100, 1000, 3000]) + 1e-9 and alpha > 0
    with pytest.raises(ConfigError, match="three latents"):
        fit_zipf_mandelbrot([1, 0.5, 0])


@given(n=st.integers(1, 3000), total=st.floats(1e-3, 1e9), alpha=exponents, beta=st.floats(-0.9, 50))
def test_targets_sum_to_the_total_and_follow_the_curve(n: int, total: float, alpha: float, beta: float) -> None:
    targets = zipf_targets(n, total, alpha, beta)
    assert targets.dtype == np.float64 and targets.shape == (n,)
    assert targets.sum() == pytest.approx(total)
    assert (np.diff(targets) <= 0).all() and (targets > 0).all()
    assert targets[0] / targets[-1] == pytest.approx(((n + beta) / (1 + beta)) ** alpha, rel=1e-6)


@given(data=st.data(), n=st.integers(1, 500), largest=st.integers(1, 400), alpha=exponents, beta=st.floats(-0.9, 50))
def test_counts_sum_exactly_within_their_limits(data: st.DataObject, n: int, largest: int, alpha: float, beta: float) -> None:
    total = data.draw(st.integers(n, n * largest))
    counts = zipf_counts(n, total, alpha, beta, largest)
    assert counts.dtype == np.int64 and counts.shape == (n,)
    assert int(counts.sum()) == total
    assert counts.min() >= 1 and counts.max() <= largest
    assert (np.diff(counts) <= 0).all()


def test_counts_follow_the_targets_where_no_limit_is_near() -> None:
    counts, targets = zipf_counts(100, 100_000, 0.7, 3.0, largest=50_000), zipf_targets(100, 100_000, 0.7, 3.0)
    assert (np.abs(counts - targets) < 1).all()


def test_what_a_limit_takes_is_spread_over_the_other_ranks_in_proportion() -> None:
    counts = zipf_counts(1000, 50_000, 1.0, 0.0, largest=1000).astype(float)
    capped, raised = (counts == 1000).sum(), (counts == 1).sum()
    inner = np.arange(1, 1001)[capped : 1000 - raised - 1]
    products = counts[capped : 1000 - raised - 1] * inner  # count · rank is one constant
    assert capped >= 5 and (np.abs(products - products[0]) <= inner + inner[0]).all()


def test_counts_of_a_large_dictionary() -> None:
    counts = zipf_counts(65_536, 16 * 8192, 1.0, 5.0, largest=8192)
    assert counts.sum() == 16 * 8192 and counts[-1] == 1


@pytest.mark.parametrize(
    "arguments",
    [(10, 9, 1.0, 0.0, 5), (10, 51, 1.0, 0.0, 5), (0, 0, 1.0, 0.0, 5), (10, 20, -1.0, 0.0, 5), (10, 20, 21.0, 0.0, 5),
     (10, 20, 1.0, -1.0, 5), (10, 20, 1.0, float("nan"), 5)],
)  # fmt: skip
def test_impossible_counts_are_refused(arguments: tuple[int, int, float, float, int]) -> None:
    with pytest.raises(ConfigError):
        zipf_counts(*arguments)


@pytest.mark.parametrize("total", [0.0, -1.0, float("inf"), float("nan")])
def test_impossible_totals_are_refused(total: float) -> None:
    with pytest.raises(ConfigError, match="total"):
        zipf_targets(10, total, 1.0)


@given(counts=arrays(np.int64, st.integers(0, 200), elements=st.integers(0, 5000)), factor=st.integers(1, 1000))
def test_histograms_hold_every_latent_and_do_not_depend_on_the_sample_size(counts: np.ndarray, factor: int) -> None:
    histogram = density_histogram(counts, 5000)
    assert sum(histogram["latents"]) + histogram["never"] == len(counts)
    assert histogram["never"] == int((counts == 0).sum())
    assert len(histogram["log10_density"]) == len(histogram["latents"]) + 1
    assert density_histogram(counts * factor, 5000 * factor) == histogram


def test_bins_begin_at_their_lower_edge() -> None:
    histogram = density_histogram([1, 10, 100, 10**6, 10**9, 10**9 - 1, 3162278 * 100], 10**9)
    filled = {edge: n for edge, n in zip(histogram["log10_density"], histogram["latents"], strict=False) if n}
    assert filled == {-7.0: 3, -3.0: 1, -0.5: 3}  # rarer than the first bin: in the first; 1: in the last


@pytest.mark.parametrize(("counts", "n_tokens"), [([1], 0), ([11], 10), ([-1], 10)])
def test_impossible_histograms_are_refused(counts: list[int], n_tokens: int) -> None:
    with pytest.raises(ConfigError):
        density_histogram(counts, n_tokens)


def test_coherence_is_that_of_the_whole_matrix() -> None:
    atoms = torch.randn(300, 16, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.1, 5, 300).unsqueeze(1)
    cosines = np.abs(np.corrcoef(np.hstack([atoms.numpy(), -atoms.numpy()])))  # of centred rows: cosines of (x, -x)
    np.fill_diagonal(cosines, 0)
    measured = decoder_coherence(atoms)
    assert measured.largest == pytest.approx(cosines.max(1).mean(), abs=1e-5)
    assert measured.mean == pytest.approx(cosines.sum() / (300 * 299), abs=1e-5)
    some = decoder_coherence(atoms, sample=40, seed=3)
    assert some.atoms == 40 and some == decoder_coherence(atoms, sample=40, seed=3) != decoder_coherence(atoms, 40, 4)
    assert some.largest == pytest.approx(measured.largest, abs=0.1)


def test_coherence_of_copies_and_of_orthogonal_atoms() -> None:
    assert decoder_coherence(torch.eye(8)).largest == 0
    assert decoder_coherence(torch.cat([torch.eye(8), -3 * torch.eye(8), torch.zeros(4, 8)])).largest == pytest.approx(1)
    with pytest.raises(ModelError, match="two atoms"):
        decoder_coherence(torch.zeros(5, 3))


def test_fvu_is_about_the_mean() -> None:
    states = 100 + torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    mean = states.mean(0)
    assert fvu(states, mean.expand_as(states)) == pytest.approx(1.0, rel=1e-5)
    assert fvu(states, states) == 0
    assert fvu(states, states + 0.1) == pytest.approx(50 * 6 * 0.01 / float((states - mean).square().sum()), rel=1e-3)
    assert fvu(torch.ones(4, 2), torch.ones(4, 2)) == 0 and fvu(torch.ones(4, 2), torch.zeros(4, 2)) == math.inf


def test_errors_are_summed_over_blocks() -> None:
    states, errors = torch.randn(90, 5) + 2, torch.randn(90, 5)
    sums = ErrorSums()
    assert sums.fvu == 0
    for block, error in zip(states.split(13), errors.split(13), strict=True):
        sums.add(block, error)
    assert sums.n_tokens == 90 and sums.fvu == pytest.approx(fvu(states, states - errors))
