"""Effective resolution: what is known below the cell of the meteorology, by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gssm_cube.skill.resolution import cell_of, departures, downscaling_gain, within_cells


def held_out(rows):
    """Rows of station, latitude, day, observed and predicted."""
    table = pd.DataFrame(rows, columns=["station", "lat", "day", "observed", "predicted"])
    time = pd.Timestamp("2020-01-01") + pd.to_timedelta(table.pop("day"), unit="D")
    return table.assign(lon=10.0, time=time)


def three_stations(pattern, change, days=60, seed=0):
    """Three stations of one cell: the estimate knows ``pattern`` and ``change`` times the truth."""
    rng = np.random.default_rng(seed)
    base, own = rng.normal(0.25, 0.05, days), rng.normal(0, 0.02, (3, days))
    level = np.array([-0.05, 0.0, 0.05])
    rows = [
        (f"s{k}", 45.0 + 0.01 * k, day, base[day] + level[k] + own[k, day],
         base[day] + pattern * level[k] + change * own[k, day])
        for k in range(3)
        for day in range(days)
    ]  # fmt: skip
    return held_out(rows)


def test_cells_are_centred_on_multiples_of_a_tenth_and_meet_at_the_antimeridian():
    assert cell_of(45.04, 10.0) == cell_of(44.96, 10.049)
    assert cell_of(45.06, 10.0) != cell_of(45.04, 10.0)
    assert cell_of(0.0, 180.0) == cell_of(0.0, -180.0) == cell_of(0.0, 179.96)
    assert cell_of(-0.04, 0.04) == cell_of(0.04, -0.04)


@given(st.floats(-89.9, 89.9), st.floats(-180, 179.9))
def test_no_two_places_of_a_cell_are_farther_apart_than_a_tenth(lat, lon):
    for north, east in ((0.1001, 0.0), (0.0, 0.1001)):
        assert cell_of(lat + north, lon + east) != cell_of(lat, lon)


def test_departures_are_from_the_mean_of_the_day_s_stations():
    rows = departures(held_out([
        ("a", 45.01, 0, 0.20, 0.30),
        ("b", 45.02, 0, 0.30, 0.34),
        ("c", 45.31, 0, 0.90, 0.90),  # another cell, alone
        ("a", 45.01, 1, 0.25, 0.31),  # alone on this day
    ]))  # fmt: skip
    assert rows["station"].tolist() == ["a", "b"]
    np.testing.assert_allclose(rows["coarse"], 0.32)
    np.testing.assert_allclose(rows["observed_off"], [-0.05, 0.05])
    np.testing.assert_allclose(rows["predicted_off"], [-0.02, 0.02])


def test_the_gain_of_merlin_by_hand():
    # Slope, r and bias of the coarse one: 1/2, 1, 1/20; of the fine one: 3/4, 1, 1/40.
    observed = np.array([0.1, 0.2, 0.3])
    coarse, fine = 0.2 + (observed - 0.2) / 2 + 0.05, 0.2 + 0.75 * (observed - 0.2) + 0.025
    efficiency = (0.5 - 0.25) / (0.5 + 0.25)
    accuracy = (0.05 - 0.025) / (0.05 + 0.025)
    expected = (efficiency + 0.0 + accuracy) / 3
    assert downscaling_gain(observed, coarse, fine) == pytest.approx(expected)
    assert downscaling_gain(observed, fine, coarse) == pytest.approx(-expected)
    assert downscaling_gain(observed, fine, fine) == 0
    assert downscaling_gain(observed, coarse, observed) == pytest.approx(2 / 3, abs=1e-6)
    assert np.isnan(downscaling_gain(observed, np.full(3, 0.2), fine))


def test_an_estimate_of_the_cell_knows_nothing_within_it():
    found = within_cells(three_stations(0, 0))
    assert found["spatial_r"] is found["pattern_r"] is found["change_r"] is None
    assert found["rmse"] == pytest.approx(found["coarse_rmse"])
    assert (found["cells"], found["stations"], found["n"]) == (1, 3, 180)
    assert found["gain"] == pytest.approx(0)


def test_a_known_pattern_without_changes_is_told_from_known_changes():
    still, moving = within_cells(three_stations(1, 0)), within_cells(three_stations(0, 1))
    assert still["pattern_r"] > 0.99 and still["change_r"] is None
    assert moving["change_r"] == pytest.approx(1) and abs(moving["pattern_sd"] - 0.041) < 0.005
    assert still["rmse"] < still["coarse_rmse"] and moving["rmse"] < moving["coarse_rmse"]
    assert still["gain"] > 0.2
    low, high = still["interval"]["spatial_r"]
    assert low <= still["spatial_r"] <= high


def test_noise_below_the_cell_has_no_skill_and_costs():
    table = three_stations(0, 0, days=400)
    noise = np.random.default_rng(1).normal(0, 0.03, len(table))
    found = within_cells(table.assign(predicted=table["predicted"] + noise))
    assert abs(found["change_r"]) < 0.1
    assert found["rmse"] > found["coarse_rmse"] and found["gain"] < 0


def test_stations_apart_are_skipped_with_a_reason():
    table = three_stations(1, 1)
    apart = table.assign(lat=table["station"].map({"s0": 10.0, "s1": 20.0, "s2": 30.0}))
    assert within_cells(apart) == {
        "skipped": "fewer than three stations share a cell of 0.1 degrees with another"
    }
