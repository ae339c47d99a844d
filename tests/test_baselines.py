"""Baselines, worked by hand."""

import numpy as np
import pandas as pd
import pytest

from gssm_cube.skill.baselines import TrainingStations


def train(**levels: tuple[float, int]) -> pd.DataFrame:
    """One station per name: its level and its days, from 1 January 2019 on."""
    frames = [
        pd.DataFrame({
            "station": name, "observed": level,
            "time": pd.date_range("2019-01-01", periods=days),
        })
        for name, (level, days) in levels.items()
    ]  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def told(table: pd.DataFrame, **columns: np.ndarray) -> TrainingStations:
    """What the stations of a table say, given one after the other."""
    parts = (days for _, days in table.assign(**columns).groupby("station"))
    return TrainingStations.of(parts, list(columns))


def test_the_mean_of_training_weighs_stations_and_not_days():
    assert told(train(a=(0.1, 300), b=(0.3, 3))).mean == pytest.approx(0.2)


def test_the_climatology_of_a_day_is_the_mean_of_the_31_days_about_it():
    table = train(a=(0.0, 365))
    table["observed"] = np.arange(365.0)
    found = told(table).climatology(["2021-03-01", "2024-02-29"])  # both are the 60th day: index 59
    np.testing.assert_allclose(found, [59, 59])
    # 1 January: 0..15 and, across the year's end, the days 351..364 (day 366 has no value).
    expected = (np.arange(16).sum() + np.arange(351, 365).sum()) / 30
    np.testing.assert_allclose(told(table).climatology(["2021-01-01"]), [expected])


def test_stations_count_by_the_mean_of_their_years():
    one = train(a=(0.1, 20))
    long = pd.concat([one.assign(time=one["time"] + pd.DateOffset(years=y)) for y in range(5)])
    both = pd.concat([long, train(b=(0.3, 20))], ignore_index=True)
    np.testing.assert_allclose(told(both).climatology(["2030-01-05"]), [0.2])


def test_a_season_without_training_days_gets_the_mean():
    both = train(a=(0.1, 20), b=(0.3, 10))
    np.testing.assert_allclose(told(both).climatology(["2020-07-01"]), [0.2])


def test_a_bucket_is_rescaled_by_one_line_that_stations_share():
    # Station a at filling 0 and b at 1; ten times the days of a do not move the line.
    table = train(a=(0.1, 50), b=(0.4, 5))
    bucket = np.where(table["station"] == "a", 0.0, 1.0)
    np.testing.assert_allclose(
        told(table, bucket=bucket).rescaled("bucket", [0, 0.5, 2, np.nan]), [0.1, 0.25, 0.7, np.nan]
    )


def test_the_line_is_that_of_weighted_least_squares():
    rng = np.random.default_rng(0)
    table = train(a=(0.1, 30), b=(0.2, 60))
    table["observed"] = rng.random(90)
    x = rng.random(90)
    weights = np.where(table["station"] == "a", 1 / 30, 1 / 60)
    slope, base = np.polyfit(x, table["observed"], 1, w=np.sqrt(weights))
    found = told(table, x=x).rescaled("x", [0.0, 1.0])
    np.testing.assert_allclose(found, [base, base + slope], atol=1e-12)


def test_a_constant_bucket_gives_the_mean_and_a_missing_one_is_refused():
    table = train(a=(0.1, 50), b=(0.4, 5))
    found = told(table, x=np.ones(55)).rescaled("x", [1.0, 7.0])
    np.testing.assert_allclose(found, [0.25, 0.25])
    with pytest.raises(ValueError, match="0 training rows have a value"):
        told(table, x=np.full(55, np.nan)).rescaled("x", [1.0])
