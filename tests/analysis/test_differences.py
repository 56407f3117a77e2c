"""Differences: what was planted is found at the rate that was asked for, and halves of one corpus differ in nothing."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import background, corpus
from scipy import stats

from lexite.analysis import Corpus, differences
from lexite.analysis.chance import difference_interval, discoveries, stratified_test
from lexite.errors import ArgumentError

N_LATENTS = 300


def test_planted_differences_are_found_at_the_rate() -> None:
    """Thirty of 300 concepts are planted; nearly all are found, and few others."""
    found = wrong = 0
    for seed in range(6):
        first, second = background(700, N_LATENTS, seed), background(900, N_LATENTS, seed + 100)
        planted = np.arange(0, 300, 10)
        extra = np.random.default_rng(seed).random((700, len(planted))) < 0.25
        first[:, planted] = np.maximum(first[:, planted], extra)
        result = differences(corpus(first, "a"), corpus(second, "b"), most=N_LATENTS, splits=0)
        over = {each.latent for each in result.over}
        found += len(over & set(planted.tolist()))
        wrong += len(over - set(planted.tolist())) + result.n_under
    assert found >= 0.95 * 180
    assert wrong <= 0.1 * (found + wrong)  # the rate is .05; 6 corpora make it vary


def test_random_halves_differ_in_nothing() -> None:
    """Of 40 corpora cut in halves, as few have a discovery as the rate allows."""
    with_one = 0
    for seed in range(40):
        present = background(600, N_LATENTS, seed)
        order = np.random.default_rng(seed + 1000).permutation(600)
        result = differences(corpus(present[order[:300]]), corpus(present[order[300:]]), splits=0)
        with_one += bool(result.n_over + result.n_under)
    assert with_one <= stats.binom.ppf(0.999, 40, 0.05)


def test_longer_documents_alone_are_no_difference() -> None:
    """Documents of one corpus are twice as long, so each concept is more frequent; that is not told as a difference."""
    short, long = background(800, N_LATENTS, 1), background(800, N_LATENTS, 2, longer=0.35)
    assert long.mean() > 1.25 * short.mean()
    result = differences(corpus(short), corpus(long), splits=0)
    apart = stats.binomtest(int(long[:, 0].sum()), 800, float(short[:, 0].mean())).pvalue
    assert apart < 1e-4 and result.n_over + result.n_under <= 3


def test_corpora_whose_lengths_do_not_overlap_are_compared_all_the_same() -> None:
    """All documents of one corpus are longer than all of the other, so no stratum would have both."""
    generator = np.random.default_rng(0)
    present = (generator.random((200, 60)) < 0.5).astype(np.float32)
    present[:100, 50:], present[100:, 10:] = 0, 0
    result = differences(corpus(present[:100]), corpus(present[100:]), splits=3)
    assert {each.latent for each in result.over} >= set(range(10, 50)) and result.chance[1] == 0


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.integers(60, 200), st.integers(5, 60))
def test_swapping_the_corpora_swaps_the_result(seed: int, n: int, n_latents: int) -> None:
    one, two = corpus(background(n, n_latents, seed), "a"), corpus(background(n + 7, n_latents, seed + 1), "b")
    there = differences(one, two, most=100, splits=0)
    back = differences(two, one, most=100, splits=0)
    assert [each.latent for each in there.over] == [each.latent for each in back.under]
    assert (there.n_over, there.n_under, there.tested) == (back.n_under, back.n_over, back.tested)
    for each, other in zip(there.over, back.under, strict=True):
        assert each.difference == pytest.approx(-other.difference) and each.p == pytest.approx(other.p)
        assert each.difference_interval == pytest.approx((-other.difference_interval[1], -other.difference_interval[0]))


def test_the_test_is_that_of_statistics_books() -> None:
    """One stratum is a 2×2 table with Yates' correction, but for the factor (n - 1) / n of Mantel and Haenszel."""
    generator = np.random.default_rng(0)
    for n_a, n_b, a, b in itertools.product((40.0, 90.0), (50.0, 70.0), (3.0, 20.0), (10.0, 33.0)):
        test = stratified_test(np.array([[a]]), np.array([n_a]), np.array([[b]]), np.array([n_b]))
        table = np.array([[a, n_a - a], [b, n_b - b]]).astype(int)
        plain = stats.chi2_contingency(table, correction=True).statistic * (table.sum() - 1) / table.sum()
        assert test.statistic[0] == pytest.approx(plain, rel=1e-9)
        assert test.odds_ratio[0] == pytest.approx(stats.contingency.odds_ratio(table, kind="sample").statistic)
        interval = stats.contingency.odds_ratio(table, kind="sample").confidence_interval(0.95)
        assert (test.low[0], test.high[0]) == pytest.approx(tuple(interval), rel=1e-6)
    p = generator.random(50)
    assert discoveries(p, 0.3).tolist() == (stats.false_discovery_control(p) <= 0.3).tolist()


def test_intervals_hold_the_true_difference_as_often_as_they_say() -> None:
    generator = np.random.default_rng(3)
    a, b = generator.binomial(150, 0.3, 4000), generator.binomial(120, 0.2, 4000)
    low, high = difference_interval(a.astype(float), 150, b.astype(float), 120)
    assert 0.94 <= np.mean((low <= 0.1) & (high >= 0.1)) <= 0.965


def test_the_result_tells_chance_and_shows_examples(tmp_path: Path) -> None:
    first, second = background(300, 40, 5), background(300, 40, 6)
    first[:, 7] = 1
    result = differences(corpus(first, "a"), corpus(second, "b"), splits=8)
    assert result.over[0].latent == 7 and result.over[0].share == 1 and result.chance[0] <= 0.5
    assert [example.id.split("-")[0] for example in result.over[0].examples] == ["a", "a"]
    assert result.to_json()["over"][0]["label"] == "concept 7"
    assert any("concept 7 (7)  100.0% against" in line for line in result.lines())
    assert sorted(path.suffix for path in result.plot(tmp_path / "plot")) == [".png", ".svg"]


def test_concepts_without_a_name_are_left_out_where_names_are_wanted() -> None:
    first, second = background(300, 40, 5), background(300, 40, 6)
    first[:, 7:9] = 1
    one, two = corpus(first, "a"), corpus(second, "b")
    labels = {7: "e.g. “an example”", 8: "a name"}
    one = Corpus(one.rows, "a", lambda latent: labels.get(latent, f"latent {latent}"), one.show)
    assert [each.latent for each in differences(one, two, splits=0, most=1, named=True).over] == [8]
    assert {each.latent for each in differences(one, two, splits=0, most=2).over} == {7, 8}


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ArgumentError, match="9 documents; differences need 10"):
        differences(corpus(background(9, 5, 0)), corpus(background(30, 5, 0)))
    with pytest.raises(ArgumentError, match="different vocabularies"):
        differences(corpus(background(20, 5, 0)), corpus(background(20, 6, 0)))
    assert len(Corpus(corpus(background(20, 5, 0)).rows, "x").part(np.array([3, 4]), "y")) == 2
