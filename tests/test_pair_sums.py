"""Exact sums: what they add up to, and that scores do not depend on how rows are cut."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gssm_cube.statistics.pair_sums import PairSums, exact_products, exact_sum
from gssm_cube.statistics.scores import bias, kge, pearson_r, rmse, ubrmse

NUMBERS = st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-100)


@given(st.lists(NUMBERS, max_size=30))
def test_a_sum_is_that_of_fractions(values):
    found = exact_sum(np.array(values, "float64"))
    assert found == sum(map(Fraction, values))
    assert float(found) == math.fsum(values)


def test_what_float64_would_lose_is_kept():
    assert exact_sum(np.array([1e16, 1.0, -1e16])) == 1
    assert exact_sum(np.array([0.1, -0.1, 5e-324])) == Fraction(5e-324)
    assert exact_sum(np.empty(0)) == 0


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=20))
def test_products_are_kept_whole(pairs):
    x, y = np.array(pairs, "float64").reshape(-1, 2).T
    assert exact_sum(exact_products(x, y)) == sum(Fraction(a) * Fraction(b) for a, b in pairs)


@pytest.fixture
def pairs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    observed = rng.random(4000)
    predicted = observed + rng.normal(0.02, 0.05, 4000)
    predicted[::9] = np.nan
    return observed, predicted


@given(st.lists(st.integers(0, 4000), max_size=5), st.integers(0, 2**32))
def test_sums_are_the_same_however_rows_are_cut_and_ordered(cuts, seed):
    observed, predicted = np.random.default_rng(3).random((2, 4000))
    order = np.random.default_rng(seed).permutation(4000)
    ends = [0, *sorted(cuts), 4000]
    parts = (order[first:last] for first, last in zip(ends[:-1], ends[1:], strict=True))
    total = sum((PairSums.of(observed[rows], predicted[rows]) for rows in parts), PairSums())
    assert total == PairSums.of(observed, predicted)


def test_scores_are_those_of_the_arrays(pairs):
    found = PairSums.of(*pairs)
    for name, score in {"rmse": rmse, "ubrmse": ubrmse, "bias": bias, "r": pearson_r}.items():
        assert getattr(found, name) == pytest.approx(score(*pairs), abs=1e-15)
    assert found.kge == pytest.approx(kge(*pairs), abs=1e-14)
    there = np.isfinite(pairs[1])
    assert found.n == there.sum()
    expected = [np.std(side[there]) for side in pairs]
    assert found.deviations == pytest.approx(expected, abs=1e-15)


def test_four_pairs_by_hand():
    found = PairSums.of([0.125, 0.25, 0.375, 0.5], [0.25, 0.25, 0.25, 0.75])  # binary fractions
    # Errors 1/8, 0, -1/8, 1/4.
    assert found.bias == 1 / 16
    assert found.rmse == math.sqrt(6 / 256)
    assert found.ubrmse == math.sqrt(6 / 256 - 1 / 256)


def test_a_constant_side_has_no_correlation_and_no_pair_no_score():
    for constant in (PairSums.of(np.full(1000, 0.1), np.arange(1000)), PairSums.of([0.1], [0.2])):
        assert math.isnan(constant.r) and math.isnan(constant.kge)
    nothing = PairSums.of([np.nan, 0.2], [0.1, np.nan])
    assert nothing.n == 0
    assert all(map(math.isnan, (nothing.rmse, nothing.ubrmse, nothing.bias, nothing.r)))


def test_an_infinite_value_leaves_no_score():
    both = PairSums.of([0.1, 0.2], [0.1, 0.3]) + PairSums.of([np.inf], [0.1])
    assert both.n == 3
    assert all(map(math.isnan, (both.rmse, both.ubrmse, both.bias, both.r, both.kge)))


def test_sides_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match=r"observed has shape \(2,\), predicted \(3,\)"):
        PairSums.of([1, 2], [1, 2, 3])
