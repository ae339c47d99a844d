"""Composites: MODIS dates by hand, smoothing against scipy and numpy, and on real NDVI."""

from datetime import date

import numpy as np
import pytest
import rasterio
from scipy.signal import savgol_filter

from gssm_cube.harmonise.vegetation import (
    composite_dates,
    composite_starts,
    reliability_weights,
    smooth_composites,
)

REGULAR = np.arange(20) * 16.0


def smooth_one(values, days, at, weights=None, **options):
    """Smooth one pixel at one or several days."""
    values, days = np.asarray(values, dtype="float64"), np.asarray(days, dtype="float64")
    weights = np.ones_like(values) if weights is None else np.asarray(weights, dtype="float64")
    return smooth_composites(values, days, weights, np.atleast_1d(at), **options)


# ---- dates ------------------------------------------------------------------------------------


def test_composites_enclose_the_period():
    starts = composite_starts(date(2019, 1, 5), date(2019, 2, 1))
    np.testing.assert_array_equal(starts.astype(str), ["2019-01-01", "2019-01-17", "2019-02-02"])


def test_a_period_that_begins_and_ends_on_starts_takes_just_these():
    starts = composite_starts(date(2019, 1, 17), date(2019, 2, 2))
    np.testing.assert_array_equal(starts.astype(str), ["2019-01-17", "2019-02-02"])


def test_composites_begin_anew_with_each_year_leap_or_not():
    starts = composite_starts(date(2019, 12, 25), date(2020, 12, 31))
    assert starts[:2].astype(str).tolist() == ["2019-12-19", "2020-01-01"]
    assert starts[-2:].astype(str).tolist() == ["2020-12-18", "2021-01-01"]
    assert starts.size == 1 + 23 + 1


def test_a_pixels_date_follows_its_start_into_the_next_year():
    starts = np.array(["2019-12-19", "2020-02-18"], dtype="datetime64[D]")
    day_of_year = np.array([[353, 365, 3, -1], [49, 61, 64, 65]], dtype="int16")
    expected = [
        ["2019-12-19", "2019-12-31", "2020-01-03", "NaT"],
        ["2020-02-18", "2020-03-01", "2020-03-04", "NaT"],  # the last is 16 days late
    ]
    found = composite_dates(starts, day_of_year)
    days = np.array(expected, dtype="datetime64[D]")
    numbers = np.where(np.isnat(days), np.nan, days.astype("int64"))
    np.testing.assert_array_equal(found, numbers)
    assert found.dtype == np.float32


def test_missing_days_of_year_stay_missing():
    found = composite_dates(["2019-01-01"], np.array([[np.nan, 0.0, 1.0, 366.0]]))
    np.testing.assert_array_equal(np.isnan(found), [[True, True, False, True]])


# ---- weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int8", "int16", "float32"])
def test_reliability_says_how_much_a_value_counts(dtype):
    weights = reliability_weights(np.array([-1, 0, 1, 2, 3, 4, 127], dtype=dtype))
    np.testing.assert_array_equal(weights, np.array([0, 1, 0.5, 0.2, 0.1, 0, 0], "float32"))


# ---- smoothing --------------------------------------------------------------------------------


def test_regular_composites_are_smoothed_as_by_savitzky_and_golay():
    values = np.random.default_rng(0).normal(size=(20, 2, 3))
    days = np.broadcast_to(REGULAR[:, None, None], values.shape)
    smooth = smooth_composites(values, days, np.ones_like(values), REGULAR)
    expected = savgol_filter(values, 7, 3, axis=0)
    np.testing.assert_allclose(smooth[3:-3], expected[3:-3], rtol=1e-9, atol=1e-12)


def test_irregular_weighted_dates_are_fitted_as_by_polyfit():
    rng = np.random.default_rng(1)
    days = REGULAR + rng.integers(0, 16, 20)
    values, weights = rng.normal(size=20), rng.choice([0.1, 0.5, 1.0], 20)
    for at in REGULAR[3:-4]:
        near = np.abs(days - at) <= 48
        fit = np.polyfit(days[near] - at, values[near], 3, w=np.sqrt(weights[near]))
        np.testing.assert_allclose(smooth_one(values, days, at, weights), fit[-1], rtol=1e-6)


def test_a_cubic_comes_back_whatever_the_dates_and_weights():
    rng = np.random.default_rng(2)
    days = REGULAR + rng.integers(0, 16, 20)
    cubic = np.polynomial.Polynomial([0.3, 2e-3, -1e-5, 2e-8])
    at = np.arange(60.0, 250.0, 7.0)
    smooth = smooth_one(cubic(days), days, at, rng.choice([0.1, 0.5, 1.0], 20))
    np.testing.assert_allclose(smooth, cubic(at), rtol=1e-9)


@pytest.mark.parametrize(
    ("days", "values", "expected"),
    [
        ([0], [7.0], 7.0),
        ([-16, 32], [1.0, 4.0], 2.5),  # two values: their mean
        ([-16, 0, 16], [0.0, 3.0, 0.0], 1.0),  # three: a line
        ([-30, -10, 10, 30], [9.0, 1.0, 1.0, 9.0], 0.0),  # four: a parabola, x2 / 100
        ([-49, 49], [1.0, 1.0], np.nan),
    ],
)
def test_few_values_lower_the_order(days, values, expected):
    np.testing.assert_allclose(smooth_one(values, days, 0.0), [expected], atol=1e-12)


def test_values_count_up_to_both_ends_of_the_window():
    np.testing.assert_allclose(smooth_one([1.0, 3.0], [-48, 48], 0.0), [2.0])


def test_values_far_to_one_side_are_averaged_rather_than_extrapolated():
    days, values = [-48, -46, -44, -42, -40], [0.2, 0.8, 0.2, 0.8, 0.5]
    np.testing.assert_allclose(smooth_one(values, days, 0.0), [0.5])


def test_values_of_one_day_are_averaged_by_weight():
    values, weights = [1.0, 2.0, 2.0, 2.0, 2.0], [0.6, 0.1, 0.1, 0.1, 0.1]
    np.testing.assert_allclose(smooth_one(values, [5] * 5, 0.0, weights), [1.4])


def test_missing_values_dates_and_weights_do_not_count():
    days = np.array([-32, -16, 0, 16, 32, 8, 4, 12.0])
    values = np.array([1, 2, 3, 4, 5, np.nan, 90, 90])
    weights = np.array([1, 1, 1, 1, 1, 1, 0, 1.0])
    days[-1] = np.nan
    np.testing.assert_allclose(smooth_one(values, days, 0.0, weights), [3.0])


def test_scaling_all_weights_changes_nothing():
    rng = np.random.default_rng(3)
    values, weights = rng.normal(size=20), rng.choice([0.1, 0.5, 1.0], 20)
    full, small = (smooth_one(values, REGULAR, REGULAR, weights * k) for k in (1.0, 0.01))
    np.testing.assert_allclose(small, full, rtol=1e-6, atol=1e-6)


def test_a_pixel_without_values_is_missing_and_float32_stays_float32():
    values = np.full((20, 1, 2), 0.5, dtype="float32")
    values[:, 0, 1] = np.nan
    days = np.broadcast_to(REGULAR[:, None, None], values.shape).astype("float32")
    smooth = smooth_composites(values, days, np.ones_like(values), REGULAR)
    assert smooth.dtype == np.float32 and smooth.shape == (20, 1, 2)
    np.testing.assert_allclose(smooth[:, 0], [[0.5, np.nan]] * 20, rtol=1e-6)


def test_dates_and_numbers_of_days_mean_the_same():
    values = np.random.default_rng(4).normal(size=20)
    dates = np.datetime64("1970-01-01") + REGULAR.astype("int64")
    by_number, by_date = smooth_one(values, REGULAR, REGULAR), smooth_one(values, REGULAR, dates)
    np.testing.assert_array_equal(by_number, by_date)


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"shapes \(3,\), \(2,\) and \(3,\)"):
        smooth_composites(np.zeros(3), np.zeros(2), np.zeros(3), [0.0])


@pytest.mark.real_data
def test_real_composites_left_out_are_found_again(real_data):
    folder = real_data / "grids" / "modis" / "MOD13A1_NDVI_2016"
    layers = []
    for path in sorted(folder.glob("*.tif")):
        with rasterio.open(path) as source:
            layer = source.read(1, masked=True).astype("float32").filled(np.nan)
            layers.append(layer if source.dtypes[0] == "float32" else layer * 1e-4)
    ndvi = np.stack(layers)
    assert len(ndvi) == 23
    days = np.broadcast_to(16.0 * np.arange(23)[:, None, None], ndvi.shape)
    errors = []
    for left_out in range(4, 19):
        weights = np.ones_like(ndvi)
        weights[left_out] = 0.0
        estimate = smooth_composites(ndvi, days, weights, [16.0 * left_out])[0]
        errors.append(np.nanmedian(np.abs(estimate - ndvi[left_out])))
    spread = np.nanmedian(np.abs(ndvi[4:19] - np.nanmean(ndvi, axis=0)))
    assert np.mean(errors) < 0.6 * spread
