"""Scores: worked by hand, and against scikit-learn and SciPy."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import root_mean_squared_error

from gssm_cube.statistics.scores import (
    anomalies,
    bias,
    kge,
    pearson_r,
    pooled_scores,
    rmse,
    score_table,
    ubrmse,
)

OBSERVED = [0.1, 0.2, 0.3, 0.4]
PREDICTED = [0.2, 0.2, 0.2, 0.6]  # errors 0.1, 0, -0.1, 0.2


@pytest.fixture
def pairs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(8)
    observed = rng.random(5000)
    return observed, observed + rng.normal(0.03, 0.1, 5000)


def stations(**errors: list[float]) -> pd.DataFrame:
    """One station per name; observed rises from day to day by 0.1."""
    frames = [
        pd.DataFrame({"station": name, "observed": np.arange(len(error)) / 10, "error": error})
        for name, error in errors.items()
    ]
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(predicted=frame["observed"] + frame["error"])


def test_four_pairs_by_hand():
    assert rmse(OBSERVED, PREDICTED) == pytest.approx(math.sqrt(0.06 / 4), abs=1e-12)
    assert bias(OBSERVED, PREDICTED) == pytest.approx(0.05, abs=1e-12)
    assert ubrmse(OBSERVED, PREDICTED) == pytest.approx(math.sqrt(0.06 / 4 - 0.0025), abs=1e-12)
    # Covariance 0.06, variances 0.05 and 0.12.
    assert pearson_r(OBSERVED, PREDICTED) == pytest.approx(0.06 / math.sqrt(0.05 * 0.12), abs=1e-12)


def test_too_wet_is_a_positive_bias():
    assert bias([0.1], [0.3]) == pytest.approx(0.2)


def test_scores_agree_with_scikit_learn_and_scipy_to_1e_10(pairs):
    observed, predicted = pairs
    centred = predicted - predicted.mean() + observed.mean()
    assert rmse(*pairs) == pytest.approx(root_mean_squared_error(observed, predicted), abs=1e-10)
    assert ubrmse(*pairs) == pytest.approx(root_mean_squared_error(observed, centred), abs=1e-10)
    assert pearson_r(*pairs) == pytest.approx(stats.pearsonr(observed, predicted)[0], abs=1e-10)


def test_pairs_with_a_nan_do_not_count(pairs):
    observed, predicted = (np.concatenate([side, [np.nan, 0.1, np.nan]]) for side in pairs)
    predicted[-2] = np.nan
    assert pooled_scores(observed, predicted) == pooled_scores(*pairs)


def test_no_pair_gives_nan_and_a_table_of_none():
    nothing = [np.nan], [0.2]
    assert all(math.isnan(score(*nothing)) for score in (rmse, ubrmse, bias, pearson_r))
    expected = {"n": 0, "rmse": None, "ubrmse": None, "bias": None, "r": None}
    assert pooled_scores(*nothing) == expected


def test_a_constant_side_has_no_correlation():
    # The mean of many 0.1 is not 0.1 in binary: a test of the variance would be fooled.
    assert math.isnan(pearson_r(np.full(1000, 0.1), np.arange(1000)))
    assert math.isnan(pearson_r([0.1], [0.2]))


def test_sides_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match=r"observed has shape \(2,\), predicted \(3,\)"):
        rmse([1, 2], [1, 2, 3])


def test_station_figures_are_medians_over_stations_with_enough_days():
    table = stations(a=[0.1, 0.1, 0.1], b=[0.2, 0.2, 0.2], c=[0.6, 0.6, 0.6], d=[9.0])
    found = score_table(table, min_days=3)
    assert found["n"] == 10
    assert (found["stations"]["count"], found["stations"]["left_out"]) == (3, 1)
    assert found["stations"]["bias"] == pytest.approx(0.2)
    assert found["stations"]["rmse"] == pytest.approx(0.2)
    assert found["stations"]["ubrmse"] == pytest.approx(0.0, abs=1e-12)
    assert found["stations"]["r"] == pytest.approx(1.0)
    assert found["bias"] == pytest.approx((0.3 + 0.6 + 1.8 + 9.0) / 10)


def test_a_station_needs_100_days_with_both_values():
    table = stations(a=[0.1] * 100, b=[0.1] * 99, c=[0.1] * 99 + [np.nan])
    found = score_table(table)["stations"]
    assert (found["count"], found["left_out"]) == (1, 2)


def test_a_table_of_scores_is_json_even_where_no_station_has_enough_days():
    found = score_table(stations(a=[0.1, 0.2]))
    assert found["stations"]["rmse"] is None
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def season(days: int = 200, seed: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    observed = 0.3 + np.cumsum(rng.normal(0, 0.01, days))
    return pd.DataFrame({
        "station": "a", "time": pd.date_range("2020-01-01", periods=days),
        "observed": observed, "predicted": 0.1 + 0.5 * observed + rng.normal(0, 0.02, days),
    })  # fmt: skip


def test_kge_of_a_halved_series_by_hand():
    # r 1, the ratios of the standard deviations and of the means 0.5.
    assert kge([0.2, 0.4], [0.1, 0.2]) == pytest.approx(1 - math.sqrt(0.5), abs=1e-12)
    assert kge(OBSERVED, OBSERVED) == pytest.approx(1, abs=1e-12)


def test_kge_agrees_with_numpy_to_1e_10(pairs):
    observed, predicted = pairs
    r = np.corrcoef(observed, predicted)[0, 1]
    ratios = np.std(predicted) / np.std(observed), np.mean(predicted) / np.mean(observed)
    expected = 1 - np.linalg.norm([r - 1, ratios[0] - 1, ratios[1] - 1])
    assert kge(*pairs) == pytest.approx(expected, abs=1e-10)


def test_kge_needs_variation_and_a_mean():
    assert math.isnan(kge([0.2, 0.2], [0.1, 0.2]))
    assert math.isnan(kge([-0.5, 0.5], [0.1, 0.2]))


def test_an_anomaly_is_the_deviation_from_35_days_of_which_15_must_be_there():
    days = pd.date_range("2021-03-01", periods=60)
    ramp = pd.Series(np.arange(60.0), days)
    found = anomalies(ramp)
    np.testing.assert_allclose(found[17:43], 0, atol=1e-12)  # the mean of a ramp is its middle
    assert found.iloc[0] == pytest.approx(-8.5)  # of the days 0 to 17
    kept, side = (
        ramp[(ramp.index.day % 2 == 0) & (ramp.index < "2021-04-20")],
        pd.Timedelta(days=17),
    )
    expected = [kept[day - side : day + side] for day in kept.index]
    hand = [
        day.size >= 15 and value - day.mean() for day, value in zip(expected, kept, strict=True)
    ]
    hand = [math.nan if value is False else value for value in hand]
    np.testing.assert_allclose(anomalies(kept), hand, atol=1e-12)
    assert 0 < np.isnan(hand).sum() < len(hand)


def test_the_anomaly_r_of_a_station_is_that_of_its_anomalies_and_blind_to_its_season():
    table = season()
    by_day = table.set_index("time")
    expected = stats.pearsonr(anomalies(by_day["observed"]), anomalies(by_day["predicted"]))[0]
    found = score_table(table)
    assert found["stations"]["anomaly_r"] == pytest.approx(expected, abs=1e-10)
    assert found["anomaly_r"] == pytest.approx(expected, abs=1e-10)
    ramp = np.arange(len(table)) / 1000
    steeper = score_table(table.assign(observed=table["observed"] - ramp))
    middle = steeper["stations"]["anomaly_r"]
    assert middle == pytest.approx(found["stations"]["anomaly_r"], abs=0.1)
    assert abs(steeper["r"] - found["r"]) > 0.3


def test_pooled_anomalies_are_those_of_all_stations():
    tables = [season(seed=number).assign(station=str(number)) for number in range(4)]
    both = [t.set_index("time")[["observed", "predicted"]].apply(anomalies) for t in tables]
    pooled = pd.concat(both).dropna()
    found = score_table(pd.concat(tables, ignore_index=True))["anomaly_r"]
    assert found == pytest.approx(np.corrcoef(pooled.T)[0, 1], abs=1e-10)


def test_without_days_there_are_no_anomalies():
    found = score_table(season().drop(columns="time"))
    assert found["anomaly_r"] is None and found["stations"]["anomaly_r"] is None
