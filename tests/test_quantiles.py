"""Quantiles in passes: the values that sorting would find."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gssm_cube.statistics.quantiles import Masses, least_reaching

VALUES = st.floats(0, 1e300)
PARTS = st.lists(
    st.tuples(st.lists(VALUES, min_size=1, max_size=20), st.sets(st.integers(0, 2), min_size=1)),
    min_size=1,
    max_size=6,
)


def sorted_quantile(parts, wanted, level):
    """The same by sorting all values."""
    rows = [(x, 1 / len(values)) for values, which in parts if wanted in which for x in values]
    mass = 0.0
    for value, weight in sorted(rows):
        mass += weight
        if mass >= level:
            return value
    return np.nan


@given(PARTS, st.floats(0.01, 7))
def test_each_quantile_is_the_value_that_sorting_finds(parts, level):
    level += 1e-9 * np.pi  # sums of parts of a whole never meet it, however they are rounded

    def masses():
        for values, which in parts:
            yield Masses(np.array(values), 1 / len(values), np.array(sorted(which)))

    found = least_reaching(masses, np.full(3, level))
    np.testing.assert_array_equal(found, [sorted_quantile(parts, k, level) for k in range(3)])


def test_a_level_that_all_values_do_not_reach_has_no_quantile():
    def masses():
        yield Masses(np.array([0.0, 0.0, 2.0]), 0.25, np.array([0, 1]))

    found = least_reaching(masses, np.array([0.4, 0.8, 0.1]))
    np.testing.assert_array_equal(found, [0.0, np.nan, np.nan])
