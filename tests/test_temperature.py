"""Daily means, harmonics against least squares, and gaps filled by hand and at real stations."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gssm_cube.harmonise.temperature import (
    climatology,
    daily_mean,
    estimate_lst,
    fill_lst_gaps,
    harmonic_terms,
    lst_difference,
    lst_mean,
    normal_equations,
    solve_harmonics,
)

DAYS = np.arange("2019-01-01", "2021-01-01", dtype="datetime64[D]")  # 2020 is a leap year
COEFFICIENTS = np.array([288.0, -10.0, 4.0, 2.0, -1.0, 0.5, 0.25])


def hourly(values, start="2019-01-01T00"):
    time = (np.datetime64(start) + np.arange(len(values))).astype("datetime64[ns]")
    return xr.DataArray(values, {"time": time}, ("time",), "t2m", {"units": "K"})


def overpass(value, units="K", name="day"):
    coords = {"time": DAYS[:2].astype("datetime64[ns]"), "lat": [2.0, 1.0], "lon": [5.0]}
    values = np.full((2, 2, 1), value, dtype="float32")
    return xr.DataArray(values, coords, ("time", "lat", "lon"), name, {"units": units})


@pytest.fixture(scope="module")
def clear_sky():
    """Two years at 2 x 3 pixels of known harmonics plus noise, 40 % missing."""
    rng = np.random.default_rng(2)
    curve = harmonic_terms(DAYS) @ COEFFICIENTS
    values = curve[:, None, None] + rng.normal(0, 2, (DAYS.size, 2, 3))
    return np.where(rng.random(values.shape) < 0.4, np.nan, values)


# ---- air temperature --------------------------------------------------------------------------


def test_a_day_is_the_mean_of_its_hours_from_0_to_23():
    mean = daily_mean(hourly(np.r_[np.arange(24.0), np.full(24, 50.0)]))
    np.testing.assert_array_equal(mean, [11.5, 50.0])
    np.testing.assert_array_equal(mean["time"].values, DAYS[:2])
    assert mean.attrs["units"] == "K"


def test_fewer_than_24_hours_are_no_day():
    values = hourly(np.ones(72))
    np.testing.assert_array_equal(daily_mean(values[1:-1]), [np.nan, 1.0, np.nan])
    np.testing.assert_array_equal(daily_mean(values.drop_isel(time=30)), [1.0, np.nan, 1.0])
    holed = values.copy()
    holed[5] = np.nan
    np.testing.assert_array_equal(daily_mean(holed), [np.nan, 1.0, 1.0])


def test_daily_means_are_lazy_and_keep_space():
    block = xr.DataArray(np.ones((48, 2), "float32"), dims=("time", "lat"))
    block = block.assign_coords(time=hourly(np.ones(48))["time"]).chunk(time=24, lat=1)
    mean = daily_mean(block)
    assert mean.chunks == ((1, 1), (1, 1)) and mean.dtype == np.float32
    np.testing.assert_array_equal(mean, np.ones((2, 2)))


# ---- harmonics --------------------------------------------------------------------------------


def test_terms_start_at_new_year_and_repeat_by_calendar_day():
    terms = harmonic_terms(["2019-01-01", "2020-01-01", "2019-02-28", "2020-02-28"])
    np.testing.assert_allclose(terms[:2], [[1, 1, 0, 1, 0, 1, 0]] * 2)
    np.testing.assert_array_equal(terms[2], terms[3])
    angle = 2 * np.pi * 58 / 365.25
    expected = [1] + [wave(k * angle) for k in (1, 2, 3) for wave in (np.cos, np.sin)]
    np.testing.assert_allclose(terms[2], expected)


def test_harmonics_are_those_of_least_squares_on_the_clear_days(clear_sky):
    terms = harmonic_terms(DAYS)
    coefficients = solve_harmonics(*normal_equations(terms, clear_sky))
    for row, col in np.ndindex(2, 3):
        series = clear_sky[:, row, col]
        clear = ~np.isnan(series)
        expected = np.linalg.lstsq(terms[clear], series[clear])[0]
        np.testing.assert_allclose(coefficients[:, row, col], expected, rtol=1e-5, atol=1e-5)


def test_both_sides_add_over_pieces_of_time(clear_sky):
    terms = harmonic_terms(DAYS)
    whole = normal_equations(terms, clear_sky)
    pieces = [normal_equations(terms[s], clear_sky[s]) for s in (slice(0, 100), slice(100, None))]
    for both, first, second in zip(whole, *pieces, strict=True):
        assert both.dtype == np.float64
        np.testing.assert_allclose(first + second, both, rtol=1e-12, atol=1e-8)
    np.testing.assert_array_equal(whole[0][0, 0], (~np.isnan(clear_sky)).sum(axis=0))


def test_noiseless_days_give_back_coefficients_and_curve():
    terms = harmonic_terms(DAYS)
    curve = terms @ COEFFICIENTS
    coefficients = solve_harmonics(*normal_equations(terms, curve[:, None]))
    assert coefficients.dtype == np.float32
    np.testing.assert_allclose(coefficients[:, 0], COEFFICIENTS, rtol=1e-5)
    np.testing.assert_allclose(climatology(terms, coefficients)[:, 0], curve, rtol=1e-6)


def test_many_pixels_are_cut_into_pieces_unseen():
    terms = harmonic_terms(DAYS[:366:6])
    level = np.arange(9000, dtype="float32")  # more than one piece
    coefficients = solve_harmonics(*normal_equations(terms, np.tile(level, (len(terms), 1))))
    np.testing.assert_allclose(coefficients[0], level, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(("days", "solved"), [(30, True), (29, False), (0, False)])
def test_fewer_days_than_the_minimum_are_not_fitted(days, solved):
    chosen = DAYS[:: DAYS.size // 31][:days]
    values = np.full(DAYS.shape, np.nan)
    values[np.isin(DAYS, chosen)] = 5.0
    coefficients = solve_harmonics(*normal_equations(harmonic_terms(DAYS), values))
    assert np.isfinite(coefficients).all() == solved and np.isnan(coefficients).all() != solved


@pytest.mark.parametrize(("last_day_of_year", "solved"), [(300, True), (183, False), (40, False)])
def test_a_pixel_that_lacks_half_the_year_is_singular(last_day_of_year, solved):
    terms = harmonic_terms(DAYS)
    day_of_year = (DAYS - DAYS.astype("datetime64[Y]")).astype(int)
    values = np.where(day_of_year < last_day_of_year, 280.0, np.nan)
    coefficients = solve_harmonics(*normal_equations(terms, values))
    assert np.isfinite(coefficients).all() == solved


def test_a_pixel_that_is_never_clear_does_not_harm_its_neighbours(clear_sky):
    values = clear_sky.copy()
    values[:, 0, 1] = np.nan
    terms = harmonic_terms(DAYS)
    coefficients = solve_harmonics(*normal_equations(terms, values))
    alone = solve_harmonics(*normal_equations(terms, values[:, 1:, 2:]))
    assert np.isnan(coefficients[:, 0, 1]).all()
    np.testing.assert_allclose(coefficients[:, 1:, 2:], alone, rtol=1e-5)


# ---- gaps -------------------------------------------------------------------------------------


def test_a_gap_is_the_climatology_plus_the_departure_of_the_air():
    observed = np.array([300.0, np.nan, np.nan, np.nan], dtype="float32")
    curve = np.array([290.0, 291.0, 292.0, np.nan], dtype="float32")
    air = np.array([10.0, 12.5, np.nan, 10.0], dtype="float32")
    air_curve = np.array([8.0, 11.0, 11.0, 11.0], dtype="float32")
    filled, is_filled = fill_lst_gaps(observed, estimate_lst(curve, air, air_curve))
    np.testing.assert_array_equal(filled, [300.0, 292.5, np.nan, np.nan])
    np.testing.assert_array_equal(is_filled, [False, True, False, False])
    assert filled.dtype == np.float32
    np.testing.assert_array_equal(curve, np.array([290, 291, 292, np.nan], "float32"))


@pytest.mark.real_data
def test_at_real_stations_the_air_improves_on_the_climatology(real_data):
    table = pd.read_parquet(real_data / "tables" / "uscrn_daily_2020_kit.parquet")
    surface, air = (
        table.pivot(index="lst_date", columns="wban", values=name).to_numpy("float32")
        for name in ("sur_temp_daily_avg", "t_daily_avg")
    )
    cloudy = np.random.default_rng(4).random(surface.shape) < 0.3
    observed = np.where(cloudy, np.nan, surface)
    terms = harmonic_terms(np.unique(table["lst_date"]))
    curve, air_curve = (
        climatology(terms, solve_harmonics(*normal_equations(terms, values)))
        for values in (observed, air)
    )
    filled, is_filled = fill_lst_gaps(observed, estimate_lst(curve, air, air_curve))
    np.testing.assert_array_equal(filled[~np.isnan(observed)], observed[~np.isnan(observed)])
    errors = [estimate[is_filled] - surface[is_filled] for estimate in (filled, curve)]
    rmse, rmse_of_climatology = (np.sqrt(np.nanmean(error**2)) for error in errors)
    assert rmse < 0.6 * rmse_of_climatology and rmse < 2.5


# ---- day and night ----------------------------------------------------------------------------


def test_mean_and_difference_of_day_and_night():
    day, night = overpass(300.0), overpass(284.0, name="night")
    day[0, 0, 0] = np.nan
    mean, swing = lst_mean(day, night), lst_difference(day, night)
    np.testing.assert_array_equal(mean.values.ravel(), [np.nan, 292.0, 292.0, 292.0])
    np.testing.assert_array_equal(swing.values.ravel(), [np.nan, 16.0, 16.0, 16.0])
    assert (mean.name, mean.attrs["units"]) == ("lst", "K")
    assert (swing.name, swing.attrs["units"]) == ("lst_diff", "K")


def test_celsius_stays_celsius_in_the_mean_and_becomes_kelvin_in_the_difference():
    day, night = overpass(20.0, "degC"), overpass(10.0, "degC", "night")
    assert lst_mean(day, night).attrs["units"] == "degC"
    assert lst_difference(day, night).attrs["units"] == "K"


@pytest.mark.parametrize("combine", [lst_mean, lst_difference])
def test_day_and_night_stay_lazy_with_their_chunks(combine):
    day, night = overpass(300.0), overpass(284.0, name="night")
    lazy = combine(day.chunk(lat=1), night.chunk(lat=1))
    assert lazy.chunks == ((2,), (1, 1), (1,)) and lazy.dtype == np.float32
    xr.testing.assert_identical(lazy.compute(), combine(day, night))


@pytest.mark.parametrize("combine", [lst_mean, lst_difference])
def test_day_and_night_in_different_units_or_places_are_refused(combine):
    day = overpass(300.0)
    with pytest.raises(ValueError, match="'K' and 'degC'"):
        combine(day, overpass(10.0, "degC", "night"))
    with pytest.raises(ValueError, match="day and night lie on different grids"):
        combine(day, overpass(280.0, name="night").assign_coords(lat=[3.0, 2.0]))
