"""What soil can hold and when it is frozen, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gssm_cube.physics import MARGIN, bound, frozen, residual_water

share = st.floats(0, 100)


def test_residual_water_of_a_loam_is_that_of_the_regression():
    # Clay 20 %, sand 40 %, porosity 0.45, term by term.
    expected = (
        -0.0182482 + 0.0349076 + 0.1026976 + 0.013226787 - 0.06158 - 0.0194886
        - 0.01476873 + 0.0552654 - 0.00955152
    )  # fmt: skip
    assert residual_water(20.0, 40.0, 0.45) == pytest.approx(expected, abs=1e-9)
    assert 0.07 < expected < 0.09


def test_clay_holds_more_back_than_sand():
    sand, loam, clay = (residual_water(c, s, 0.45) for c, s in ((5, 70), (20, 40), (50, 20)))
    assert sand < loam < clay


def test_soils_beyond_the_regression_count_as_its_last():
    assert residual_water(90.0, 2.0, 0.5) == residual_water(60.0, 5.0, 0.5)
    assert residual_water(1.0, 97.0, 0.4) == residual_water(5.0, 70.0, 0.4)


@given(share, share, st.floats(0.0, 1.0))
def test_residual_water_is_small_and_never_negative(clay, sand, porosity):
    assert 0 <= residual_water(clay, sand, porosity) < 0.25


def test_what_is_missing_gives_no_residual_water():
    assert np.isnan(residual_water(np.nan, 40.0, 0.45))
    assert np.isnan(residual_water(20.0, 40.0, np.nan))


def test_an_estimate_is_flagged_outside_and_cut_far_above():
    ssm = np.array([0.05, 0.2, 0.43, 0.46, np.nan])  # residual water 0.08, porosity 0.4
    found = bound(ssm, np.array(0.08), np.array(0.4))
    assert found.below_residual.tolist() == [True, False, False, False, False]
    assert found.above_porosity.tolist() == [False, False, True, True, False]
    assert found.clipped.tolist() == [False, False, False, True, False]
    np.testing.assert_allclose(found.ssm, [0.05, 0.2, 0.43, 0.45, np.nan])


def test_soil_that_is_not_known_sets_no_bound():
    found = bound(np.array([0.01, 0.9]), np.full(2, np.nan), np.full(2, np.nan))
    assert not (found.below_residual | found.above_porosity | found.clipped).any()
    assert found.ssm.tolist() == [0.01, 0.9]


@given(arrays("float64", (3, 2), elements=st.floats(0, 1)), st.floats(0.2, 0.8))
def test_bounding_twice_is_bounding_once_and_lowers_only_what_is_clipped(ssm, porosity):
    once = bound(ssm, np.array(0.05), np.array(porosity))
    twice = bound(once.ssm, np.array(0.05), np.array(porosity))
    np.testing.assert_array_equal(twice.ssm, once.ssm)
    assert not twice.clipped.any()
    assert (once.ssm <= porosity + MARGIN).all()
    np.testing.assert_array_equal(once.ssm[~once.clipped], ssm[~once.clipped])


def test_a_cold_week_or_a_cover_of_snow_is_frozen_ground():
    tair_7d = np.array([-0.1, 0.0, 5.0, 5.0, np.nan, np.nan])
    swe = np.array([0.0, 10.0, 10.1, np.nan, 20.0, np.nan])
    assert frozen(tair_7d, swe).tolist() == [True, False, True, False, True, False]


def test_the_soil_s_own_temperature_goes_before_that_of_the_air():
    tair_7d = np.array([-5.0, 5.0, -5.0, 5.0, np.nan])
    stl1 = np.array([0.1, -0.1, np.nan, np.nan, -0.1])
    swe = np.array([0.0, 0.0, 0.0, 11.0, 0.0])
    assert frozen(tair_7d, swe, stl1).tolist() == [False, True, True, True, True]
