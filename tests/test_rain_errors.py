"""Rain that is as wrong as wanted."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gssm_cube.skill.rain_errors import degrade_rain, degrade_stations


def gauge(days: int = 1500, seed: int = 0) -> np.ndarray:
    """Three days in ten are wet, with exponential amounts."""
    rng = np.random.default_rng(seed)
    return np.where(rng.random(days) < 0.3, rng.exponential(8.0, days), 0.0)


@pytest.mark.parametrize("wanted", [0.75, 0.48, 0.26])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_correlation_is_as_wanted_and_the_total_is_kept(wanted, seed):
    rain = gauge(seed=seed)
    found = degrade_rain(rain, wanted, seed=seed)
    assert np.corrcoef(rain, found)[0, 1] == pytest.approx(wanted, abs=0.03)
    assert found.sum() == pytest.approx(rain.sum(), rel=1e-12)
    assert found.min() >= 0


def test_rain_of_the_same_days_only_comes_within_two_days_of_a_wet_day():
    rain = np.zeros(400)
    rain[::10] = np.random.default_rng(3).exponential(5.0, 40) + 1
    wet = np.flatnonzero(degrade_rain(rain, 0.5, seed=1))
    assert (np.abs((wet + 5) % 10 - 5) <= 2).all() and (wet % 10 != 0).any()


def test_a_correlation_of_one_changes_nothing():
    np.testing.assert_allclose(degrade_rain(gauge(), 1.0), gauge(), rtol=1e-6)


def test_missing_days_stay_missing_and_the_seed_decides_the_rest():
    rain = gauge()
    rain[100:110] = np.nan
    found = degrade_rain(rain, 0.6, seed=4)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(rain))
    np.testing.assert_array_equal(found, degrade_rain(rain, 0.6, seed=4))
    assert not np.array_equal(found, degrade_rain(rain, 0.6, seed=5), equal_nan=True)


@given(st.integers(0, 30), st.floats(0.25, 0.95))
@settings(max_examples=20, deadline=None)
def test_no_rain_is_lost_whatever_is_wanted(seed, wanted):
    rain = gauge(700, seed)
    found = degrade_rain(rain, wanted, seed=seed, tolerance=1.0)
    assert found.shape == rain.shape and found.sum() == pytest.approx(rain.sum())


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="0 wet days of 30: .* give a longer series"):
        degrade_rain(np.zeros(30), 0.5)
    with pytest.raises(ValueError, match="correlation is 0"):
        degrade_rain(gauge(), 0)


def test_each_station_of_a_table_has_errors_of_its_own_in_any_order_of_rows():
    days = pd.date_range("2020-01-01", periods=400)
    table = pd.DataFrame({
        "station": np.repeat(["a", "b"], 400),
        "time": np.tile(days, 2),
        "rain": np.tile(gauge(400), 2),
    })  # fmt: skip
    found = degrade_stations(table["rain"], table["station"], table["time"], 0.6)
    a, b = found[:400].to_numpy(), found[400:].to_numpy()
    assert not np.array_equal(a, b)  # of the same rain
    for spoilt in (a, b):
        assert np.corrcoef(spoilt, gauge(400))[0, 1] == pytest.approx(0.6, abs=0.03)
    mixed = table.sample(frac=1, random_state=0)
    again = degrade_stations(mixed["rain"], mixed["station"], mixed["time"], 0.6)
    pd.testing.assert_series_equal(again.sort_index(), found)
    alone = table[400:]
    only = degrade_stations(alone["rain"], alone["station"], alone["time"], 0.6)
    np.testing.assert_array_equal(only, b)


def test_days_without_a_row_stay_without_one_and_a_dry_station_is_named():
    days = pd.date_range("2020-01-01", periods=700)
    table = pd.DataFrame({"station": "a", "time": days, "rain": gauge(700)}).drop(range(90, 95))
    found = degrade_stations(table["rain"], table["station"], table["time"], 0.6)
    assert found.index.equals(table.index) and found.notna().all()
    dry = table.assign(rain=0.0)
    with pytest.raises(ValueError, match="station a: 0 wet days of 700"):
        degrade_stations(dry["rain"], dry["station"], dry["time"], 0.6)
