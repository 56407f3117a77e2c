from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lexite.evaluation import paired_test

differences = st.lists(st.integers(-100, 100).map(lambda n: n / 100), min_size=2, max_size=9)


@given(differences.filter(lambda values: np.std(values) > 1e-3))
def test_the_t_test_is_scipys(values):
    expected = stats.ttest_rel(values, np.zeros(len(values))).pvalue
    result = paired_test([values])
    assert result.p_t_test == pytest.approx(expected, abs=1e-9)
    assert result.mean_difference == pytest.approx(np.mean(values))
    assert result.n_queries == len(values)


@settings(deadline=None)
@given(differences)
def test_few_queries_are_permuted_exactly(values):
    observed = abs(sum(values))
    patterns = list(itertools.product([-1, 1], repeat=len(values)))
    reached = [abs(sum(s * v for s, v in zip(signs, values, strict=True))) >= observed - 1e-9 for signs in patterns]
    assert paired_test([values]).p_randomisation == pytest.approx(np.mean(reached))


def test_many_queries_are_sampled_near_the_exact_value():
    values = np.random.default_rng(3).normal(0.05, 0.3, 60)
    expected = stats.permutation_test(
        (values, np.zeros(60)), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=20_000, rng=7
    ).pvalue
    result = paired_test([values])
    assert result.p_randomisation == pytest.approx(expected, abs=0.02)
    assert result == paired_test([values])  # the same seed, the same value
    assert result.p_randomisation != paired_test([values], seed=1).p_randomisation


def test_no_difference_is_chance_and_a_constant_one_is_not():
    same = paired_test([[0.0, 0.0, 0.0]])
    assert (same.mean_difference, same.p_t_test, same.p_randomisation) == (0.0, 1.0, 1.0)
    constant = paired_test([[0.1] * 6])
    assert constant.p_t_test == 0.0
    assert constant.p_randomisation == 2 / 2**6


def test_a_t_test_of_one_query_is_undefined():
    result = paired_test([[0.3]])
    assert result.p_t_test is None
    assert result.p_randomisation == 1.0


def test_collections_weigh_the_same():
    result = paired_test([[0.1, 0.3], [0.0] * 6])
    assert result.mean_difference == pytest.approx(0.1)
    assert result.n_queries == 8


def test_several_collections_by_welch_and_satterthwaite():
    """With two collections, of which one is negated, it is Welch's test of two means."""
    random = np.random.default_rng(0)
    first, second = random.normal(0.2, 0.3, 12), random.normal(0.0, 0.1, 30)
    expected = stats.ttest_ind(first, second, equal_var=False).pvalue
    assert paired_test([first, -second]).p_t_test == pytest.approx(expected)


@pytest.mark.parametrize("groups", [[], [[]], [[0.1], []]])
def test_nothing_to_test_is_refused(groups):
    with pytest.raises(ValueError, match="at least one"):
        paired_test(groups)
