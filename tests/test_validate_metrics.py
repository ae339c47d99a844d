"""Scores of products at stations equal pytesmo's; triple collocation too; the rest by hand."""

import numpy as np
import pandas as pd
import pytest
from pytesmo import metrics as pytesmo
from pytesmo.time_series.anomaly import calc_anomaly, calc_climatology

from gssm_cube.statistics.bootstrap import confidence, mean_scores, paired_difference
from gssm_cube.statistics.scores import anomalies, station_table
from gssm_cube.validate.metrics import (
    climatology_anomalies,
    grouped_tables,
    product_tables,
    published_table,
    seasonal_cycle,
)
from gssm_cube.validate.triplets import (
    bootstrapped,
    median_triplets,
    triple_collocation,
    triplet_table,
)

CLOSE = {"rtol": 0, "atol": 1e-10}
DAYS = pd.date_range("2015-03-01", "2019-07-15", name="time")


def worlds(stations=6, products=2, seed=0, missing=0.2):
    """Values (column, station, day): a seasonal truth, seen with noise, bias and gaps."""
    rng = np.random.default_rng(seed)
    season = 0.08 * np.cos(2 * np.pi * DAYS.day_of_year.to_numpy() / 365.25)
    wet = rng.normal(0, 0.03, (stations, DAYS.size)).cumsum(axis=1) * 0.1
    truth = 0.25 + season + wet - wet.mean(axis=1, keepdims=True)
    columns = [
        truth * (1 + 0.1 * k) + 0.02 * k + rng.normal(0, 0.02 + 0.01 * k, truth.shape)
        for k in range(products + 1)
    ]
    values = np.stack(columns).astype("float32")
    values[rng.random(values.shape) < missing / (products + 1)] = np.nan
    return values


@pytest.fixture(scope="module")
def values():
    return worlds()


@pytest.fixture(scope="module")
def tables(values):
    return product_tables(values, DAYS, [f"s{k}" for k in range(6)], ["a", "b"])


def common(values, station):
    """The complete days of a station: DataFrame of all columns."""
    at = values[:, station].T.astype("float64")
    complete = np.isfinite(at).all(axis=1)
    return pd.DataFrame(at[complete], DAYS[complete], ["station", "a", "b"])


@pytest.mark.parametrize("product", ["a", "b"])
@pytest.mark.parametrize("station", [0, 5])
def test_every_score_equals_that_of_pytesmo_on_the_same_series(values, tables, product, station):
    frame = common(values, station)
    x, y = frame["station"].to_numpy(), frame[product].to_numpy()
    found = tables[product].loc[f"s{station}"]
    assert found["n"] == len(frame) < DAYS.size
    expected = {
        "rmse": pytesmo.rmsd(x, y),
        "ubrmse": pytesmo.ubrmsd(x, y),
        "bias": -pytesmo.bias(x, y),  # pytesmo: the first less the second
        "r": pytesmo.pearson_r(x, y),
        "spearman_r": pytesmo.spearman_r(x, y),
    }
    np.testing.assert_allclose(found[list(expected)].astype(float), [*expected.values()], **CLOSE)
    r = expected["r"]
    kge = 1 - np.sqrt((r - 1) ** 2 + (y.std() / x.std() - 1) ** 2 + (y.mean() / x.mean() - 1) ** 2)
    np.testing.assert_allclose(found["kge"], kge, **CLOSE)


@pytest.mark.parametrize("product", ["a", "b"])
def test_correlations_of_anomalies_equal_those_of_pytesmo(values, tables, product):
    frame = common(values, 2)
    known = anomalies(frame[product]).notna()  # pytesmo asks for one day of 35, we for 15
    moving = [calc_anomaly(frame[name], window_size=35)[known] for name in ("station", product)]
    found = tables[product].loc["s2"]
    np.testing.assert_allclose(
        found["anomaly_r"], pytesmo.pearson_r(*map(np.array, moving)), **CLOSE
    )
    seasonal = [
        calc_anomaly(series, climatology=calc_climatology(series), respect_leap_years=False)
        for series in (frame["station"].asfreq("D"), frame[product].asfreq("D"))
    ]
    both = [series.reindex(frame.index).to_numpy() for series in seasonal]
    np.testing.assert_allclose(found["climatology_r"], pytesmo.pearson_r(*both), **CLOSE)


def test_the_35_day_anomaly_of_each_day_equals_that_of_pytesmo(values):
    series = common(values, 1)["station"]
    found = anomalies(series)
    known = found.notna()
    assert 0.9 < known.mean()
    np.testing.assert_allclose(found[known], calc_anomaly(series, window_size=35)[known], **CLOSE)


def test_the_climatology_equals_that_of_pytesmo_day_by_day(values):
    frame = common(values, 3)
    found = seasonal_cycle(frame.to_numpy(), frame.index)
    for place, name in enumerate(frame):
        expected = calc_climatology(frame[name].asfreq("D"))
        np.testing.assert_allclose(found[:, place], expected, **CLOSE)


def test_the_climatology_of_a_record_with_long_holes_equals_that_of_pytesmo(values):
    frame = common(values, 3)
    frame = frame[~frame.index.month.isin([12, 1, 2, 3])]
    found = seasonal_cycle(frame.to_numpy(), frame.index)[:, 0]
    expected = calc_climatology(frame["station"].asfreq("D"))
    np.testing.assert_allclose(found, expected, **CLOSE)
    assert np.isnan(found).sum() > 50


def test_two_years_make_no_climatology():
    days = pd.date_range("2018-01-01", periods=400)
    assert np.isnan(climatology_anomalies(np.arange(400.0)[:, None], days)).all()


def test_scores_of_a_season_are_those_of_its_days_with_anomalies_of_the_whole_series(values):
    winter = DAYS.month.isin([12, 1, 2])[None]
    found = grouped_tables(values, DAYS, list("abcdef"), ["p", "q"], {"winter": winter})
    row = found["winter"]["q"].loc["b"]
    frame = common(values, 1)
    chosen = frame.index.month.isin([12, 1, 2])
    x, y = frame["station"][chosen].to_numpy(), frame["b"][chosen].to_numpy()
    expected = [len(x), pytesmo.rmsd(x, y), pytesmo.spearman_r(x, y)]
    np.testing.assert_allclose(row[["n", "rmse", "spearman_r"]].astype(float), expected, **CLOSE)
    moving = anomalies(frame)[chosen].dropna()
    expected = pytesmo.pearson_r(moving["station"].to_numpy(), moving["b"].to_numpy())
    np.testing.assert_allclose(row["anomaly_r"], expected, **CLOSE)


def test_tables_hold_what_the_scores_of_samples_hold(values, tables):
    """The same station-days as a long table, through the scores of `evaluate`."""
    rows = pd.concat([
        common(values, k)[["station", "a"]].set_axis(["observed", "predicted"], axis=1)
        .assign(station=f"s{k}").reset_index()
        for k in range(6)
    ])  # fmt: skip
    expected = station_table(rows)
    np.testing.assert_allclose(tables["a"][expected.columns], expected, rtol=1e-9, atol=1e-12)


def test_too_few_days_give_a_count_and_no_score(values):
    short = values[:, :1, :60]
    found = product_tables(short, DAYS[:60], ["s0"], ["a", "b"])["a"]
    assert found.loc["s0", "n"] == np.isfinite(short[:, 0]).all(axis=0).sum()
    assert found.loc["s0", ["rmse", "r", "spearman_r", "climatology_r"]].isna().all()


def test_a_station_without_a_common_day_and_a_constant_product():
    values = np.array([[[0.1, 0.2, np.nan]] * 2, [[0.3, 0.3, 0.3]] * 2])
    values[0, 1] = np.nan
    found = product_tables(values, DAYS[:3], ["x", "y"], ["flat"], min_days=2)["flat"]
    assert found.index.tolist() == ["x"]
    np.testing.assert_allclose(
        found.loc["x", ["bias", "rmse"]].astype(float), [0.15, np.sqrt(0.025)]
    )
    assert found.loc["x", ["r", "kge", "spearman_r"]].isna().all()


def test_nothing_in_common_gives_empty_tables():
    found = product_tables(np.full((2, 1, 3), np.nan), DAYS[:3], ["x"], ["a"])
    assert found["a"].empty and "rmse" in found["a"]


def test_intervals_and_paired_differences_take_the_tables(tables):
    ends = confidence(tables["a"], draws=200)
    whole = mean_scores([tables["a"]])
    for name in ("rmse", "station_r", "station_spearman_r", "station_climatology_r"):
        assert ends[name][0] <= whole[name] <= ends[name][1]
    found = paired_difference(tables["a"], tables["b"], draws=200)["station_spearman_r"]
    assert found["difference"] > 0 and found["significant"]


def test_published_scores_of_stations_have_medians_and_no_pooled_score():
    table = published_table(pd.DataFrame({"r": [0.1, 0.5, 0.9]}, ["a", "b", "c"]))
    found = mean_scores([table])
    assert found["station_r"] == 0.5 and np.isnan(found["rmse"]) and np.isnan(found["station_kge"])
    with pytest.raises(ValueError, match=r"columns \['R'\] are no scores, expected some of"):
        published_table(pd.DataFrame({"R": [0.1]}))


# ---- triple collocation -------------------------------------------------------------------------


@pytest.mark.parametrize("reference", [0, 1, 2])
def test_triple_collocation_equals_that_of_pytesmo(values, reference):
    order = [reference, *(k for k in range(3) if k != reference)]
    frame = common(values, 4).to_numpy()[:, order]
    found = triple_collocation(np.cov(frame.T))
    snr, err_std, beta = pytesmo.tcol_metrics(*frame.T, ref_ind=0)
    np.testing.assert_allclose(found["snr_db"], snr, **CLOSE)
    np.testing.assert_allclose(found["err_std"], err_std, **CLOSE)
    np.testing.assert_allclose(found["beta"], beta, **CLOSE)
    ratio = 10 ** (snr / 10)
    np.testing.assert_allclose(found["r_truth"], np.sqrt(ratio / (1 + ratio)), **CLOSE)


def test_triple_collocation_finds_the_errors_that_were_made():
    rng = np.random.default_rng(3)
    truth = rng.normal(0.25, 0.06, 200_000)
    made = np.array([0.02, 0.03, 0.04])
    series = truth + made[:, None] * rng.normal(size=(3, truth.size))
    found = triple_collocation(np.cov(series))
    np.testing.assert_allclose(found["err_std"], made, rtol=0.03)
    np.testing.assert_allclose(found["beta"], 1, rtol=0.01)
    np.testing.assert_allclose(found["r_truth"], 0.06 / np.hypot(0.06, made), rtol=0.01)


def test_covariances_against_the_assumptions_give_no_error():
    found = triple_collocation([[1.0, 0.5, -0.5], [0.5, 1.0, 0.5], [-0.5, 0.5, 1.0]])
    assert all(np.isnan(values).all() for values in found.values())
    found = triple_collocation([[1.0, 0.9, 0.9], [0.9, 1.0, 0.1], [0.9, 0.1, 1.0]])
    assert np.isnan(found["err_std"][0]) and np.isnan(found["r_truth"][0])


def test_a_series_that_runs_against_the_others_keeps_its_error_and_turns_its_correlation():
    """Truth of variance 4; errors of variance 1, 1, 5; the third is the truth turned and halved."""
    found = triple_collocation([[5.0, 4.0, -2.0], [4.0, 5.0, -2.0], [-2.0, -2.0, 1.0 + 5.0]])
    np.testing.assert_allclose(found["beta"], [1, 1, -2])
    np.testing.assert_allclose(found["err_std"], [1, 1, 2 * np.sqrt(5)])  # 5 of its own units
    np.testing.assert_allclose(found["r_truth"], [np.sqrt(0.8), np.sqrt(0.8), -np.sqrt(1 / 6)])
    np.testing.assert_allclose(found["snr_db"], 10 * np.log10([4, 4, 0.2]))


def test_bootstrap_of_single_days_has_the_ends_of_pytesmo_within_the_draw():
    rng = np.random.default_rng(5)
    truth = rng.normal(0.25, 0.06, 600)
    series = (truth + np.array([[0.02], [0.03], [0.04]]) * rng.normal(size=(3, 600))).T
    found = bootstrapped(series, block_days=1, draws=2000)
    expected = pytesmo.tcol_metrics_with_bootstrapped_ci(
        *series.T, nsamples=2000, method="percentile", minimum_data_length=100
    )
    for name, (value, low, high) in zip(("snr_db", "err_std", "beta"), expected, strict=True):
        np.testing.assert_allclose(found[name][:, 0], value, **CLOSE)
        width = np.maximum(np.subtract(high, low), 1e-12)
        assert (np.abs(found[name][:, 1] - low) <= 0.2 * width).all()
        assert (np.abs(found[name][:, 2] - high) <= 0.2 * width).all()


def test_blocks_widen_the_interval_of_errors_that_last():
    rng = np.random.default_rng(6)
    slow = rng.normal(size=(3, 40)).repeat(25, axis=1)
    series = (rng.normal(0.25, 0.06, 1000) + 0.03 * slow).T
    one, block = (bootstrapped(series, block_days=days)["err_std"] for days in (1, 25))
    assert (block[:, 2] - block[:, 1] > 1.5 * (one[:, 2] - one[:, 1])).all()


def test_every_triplet_of_every_station_has_a_row_a_measure(values):
    table = triplet_table(values, list("abcdef"), ["station", "p", "q"], draws=50)
    assert len(table) == 6 * 3 * 4 and set(table["triplet"]) == {"station|p|q"}
    first = table[(table["station"] == "a") & (table["measure"] == "err_std")]
    expected = pytesmo.tcol_metrics(*common(values, 0).to_numpy().T)[1]
    np.testing.assert_allclose(first["value"], expected, **CLOSE)
    known = first["low"] < first["high"]
    assert known.all() and (first["low"] < first["value"]).all()
    medians = median_triplets(table, draws=100)
    assert medians["stations"].eq(6).all() and len(medians) == 12
    assert (medians["low"] <= medians["value"]).all() and (
        medians["value"] <= medians["high"]
    ).all()
    assert triplet_table(values[:, :, :50], list("abcdef"), ["station", "p", "q"]).empty
