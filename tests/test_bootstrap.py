"""Intervals over stations: the same as from resampled rows, and as wide as they should be."""

import numpy as np
import pandas as pd
import pytest

from gssm_cube.statistics.bootstrap import confidence, paired_difference
from gssm_cube.statistics.scores import score_table, station_table

MEASURES = ("rmse", "ubrmse", "bias", "r", "anomaly_r")


def station_days(
    stations: int = 12, days: int = 120, noise: float = 0.03, seed: int = 5
) -> pd.DataFrame:
    """Stations with a bias and a level of their own; the last has too few days for itself."""
    rng = np.random.default_rng(seed)
    station = np.repeat(np.arange(stations), days)
    observed = rng.uniform(0.1, 0.4, stations)[station] + rng.normal(0, 0.05, station.size)
    errors = rng.normal(0, 0.05, stations)[station] + rng.normal(0, noise, station.size)
    table = pd.DataFrame({
        "station": station, "time": np.tile(pd.date_range("2020-01-01", periods=days), stations),
        "observed": observed, "predicted": observed + errors,
    })  # fmt: skip
    return table.drop(index=table.index[-40:])


def resampled(table: pd.DataFrame, draws: int, seed: int) -> pd.DataFrame:
    """Scores of rows that are really drawn, station by station: slow and plain."""
    parts = [rows for _, rows in table.groupby("station")]
    chosen = np.random.default_rng(seed).integers(0, len(parts), (draws, len(parts)))
    rows = []
    for stations in chosen:
        drawn = [parts[s].assign(station=place) for place, s in enumerate(stations)]
        found = score_table(pd.concat(drawn, ignore_index=True))
        rows.append({**{name: found[name] for name in MEASURES},
                     **{f"station_{k}": v for k, v in found["stations"].items()}})  # fmt: skip
    return pd.DataFrame(rows)


def test_the_intervals_are_those_of_resampled_rows():
    table = station_days()
    found = confidence(station_table(table), draws=30, seed=2)
    slow = resampled(table, 30, 2)
    for name, interval in found.items():
        np.testing.assert_allclose(interval, slow[name].quantile([0.025, 0.975]), atol=1e-10)
    assert len(found) == 11


def test_a_difference_is_that_of_the_scores_and_its_interval_that_of_resampled_rows():
    table = station_days()
    worse = table.assign(predicted=table["predicted"] + 0.05 * (table["station"] % 2))
    found = paired_difference(station_table(worse), station_table(table), draws=30, seed=2)
    slow = resampled(worse, 30, 2) - resampled(table, 30, 2)
    whole = [score_table(t)["rmse"] for t in (worse, table)]
    assert found["rmse"]["difference"] == pytest.approx(whole[0] - whole[1], abs=1e-10)
    for name in found:
        np.testing.assert_allclose(
            found[name]["interval"], slow[name].quantile([0.025, 0.975]), atol=1e-10
        )


def test_the_interval_of_a_bias_is_as_wide_as_theory_says():
    rng = np.random.default_rng(11)
    own = rng.normal(0, 0.05, 400)
    table = pd.DataFrame({"station": np.arange(400), "observed": 0.3, "predicted": 0.3 + own})
    low, high = confidence(station_table(table), draws=4000)["bias"]
    error = own.std() / np.sqrt(400)
    assert low == pytest.approx(own.mean() - 1.96 * error, abs=0.15 * error)
    assert high == pytest.approx(own.mean() + 1.96 * error, abs=0.15 * error)


def test_days_of_a_station_do_not_make_the_interval_narrower():
    one = station_days(20).groupby("station", as_index=False).first()
    hundred = one.loc[one.index.repeat(100)]
    widths = [np.diff(confidence(station_table(t))["bias"])[0] for t in (one, hundred)]
    assert widths[0] == pytest.approx(widths[1], rel=1e-9)


def test_a_small_gain_at_every_station_is_significant_though_intervals_overlap():
    table = station_days(30, 110)
    error = table["predicted"] - table["observed"]
    better = table.assign(predicted=table["observed"] + 0.97 * error)
    intervals = [confidence(station_table(t))["rmse"] for t in (better, table)]
    assert intervals[0][1] > intervals[1][0]
    found = paired_difference(station_table(better), station_table(table))["rmse"]
    assert found["difference"] < 0 and found["significant"]
    same = paired_difference(station_table(table), station_table(table))["rmse"]
    assert (same["difference"], same["significant"]) == (0.0, False)


def test_few_stations_give_no_interval():
    few = station_table(station_days(4))
    assert confidence(few) == {} and paired_difference(few, few) == {}


def test_scores_that_no_station_has_are_none():
    found = confidence(station_table(station_days(8, 60).drop(columns="time")))
    assert found["anomaly_r"] is None and found["station_r"] is None
    assert found["rmse"][0] < found["rmse"][1]


def test_models_judged_on_other_rows_are_not_compared():
    table = station_days()
    with pytest.raises(ValueError, match="12 and 12 stations with unequal days"):
        paired_difference(station_table(table), station_table(table[1:]))
