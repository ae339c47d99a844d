"""A product against the truth: sums over pixel-days equal scikit-learn on the whole."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.metrics import root_mean_squared_error

from gssm_cube.validate import score_against_truth


def field(values, first_day="2018-03-01"):
    """A DataArray (time, lat, lon) from nested lists or an array."""
    values = np.asarray(values, dtype="float32")
    coords = {
        "time": pd.date_range(first_day, periods=values.shape[0]),
        "lat": 50.0 - np.arange(values.shape[1]),
        "lon": 5.0 + np.arange(values.shape[2]),
    }
    return xr.DataArray(values, coords, ("time", "lat", "lon"), name="ssm")


def test_scores_of_four_pairs_worked_by_hand():
    truth = field([[[0.1, 0.2]], [[0.3, 0.4]]])
    product = field([[[0.2, 0.2]], [[0.4, 0.6]]])  # errors 0.1, 0, 0.1, 0.2
    scores = score_against_truth(product, truth)
    assert (scores["n"], scores["missing"], scores["extra"]) == (4, 0, 0)
    np.testing.assert_allclose(scores["bias"], 0.1, rtol=1e-6)
    np.testing.assert_allclose(scores["rmse"], np.sqrt(0.06 / 4), rtol=1e-6)
    np.testing.assert_allclose(scores["ubrmse"], np.sqrt(0.02 / 4), rtol=1e-6)
    np.testing.assert_allclose(scores["r"], 0.07 / np.sqrt(0.05 * 0.11), rtol=1e-6)


def test_coverage_and_width_of_an_interval_worked_by_hand():
    truth = field([[[0.1, 0.2]], [[0.3, np.nan]]])
    product = field([[[0.2, 0.2]], [[0.4, 0.6]]])
    ends = xr.Dataset({
        "ssm_lower": field([[[0.15, 0.1]], [[0.2, 0.0]]]),
        "ssm_upper": field([[[0.25, 0.3]], [[0.5, 1.0]]]),
    })  # fmt: skip
    scores = score_against_truth(product, truth, interval=ends)
    assert scores["coverage"] == pytest.approx(2 / 3)  # the first is too wet, the last not known
    assert scores["width"] == pytest.approx((0.1 + 0.2 + 0.3) / 3)
    assert "coverage" not in score_against_truth(product, truth)


def test_scores_over_several_stretches_of_days_equal_those_of_libraries():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.05, 0.5, (250, 2, 3))
    product = truth + rng.normal(0.02, 0.05, truth.shape)
    truth[rng.random(truth.shape) < 0.2] = np.nan
    product[rng.random(truth.shape) < 0.1] = np.nan
    steps = []
    scores = score_against_truth(
        field(product), field(truth), progress=lambda *step: steps.append(step)
    )
    x, y = (field(a).values.astype("float64") for a in (truth, product))
    both = np.isfinite(x) & np.isfinite(y)
    errors = y[both] - x[both]
    assert scores["n"] == both.sum()
    assert scores["missing"] == (np.isfinite(x) & np.isnan(y)).sum() > 0
    assert scores["extra"] == (np.isnan(x) & np.isfinite(y)).sum() > 0
    np.testing.assert_allclose(scores["rmse"], root_mean_squared_error(x[both], y[both]))
    np.testing.assert_allclose(scores["ubrmse"], errors.std())
    np.testing.assert_allclose(scores["bias"], errors.mean())
    np.testing.assert_allclose(scores["r"], np.corrcoef(x[both], y[both])[0, 1])
    assert steps == [("truth", 1, 3), ("truth", 2, 3), ("truth", 3, 3)]


def test_a_perfect_product_has_no_error():
    truth = field(np.random.default_rng(1).uniform(0, 0.5, (3, 2, 2)))
    scores = score_against_truth(truth, truth)
    assert (scores["rmse"], scores["ubrmse"], scores["bias"]) == (0, 0, 0)
    np.testing.assert_allclose(scores["r"], 1.0)


def test_missing_and_extra_values_are_counted_and_not_scored():
    truth = field([[[0.1, np.nan, 0.3, np.nan]]])
    product = field([[[0.2, 0.5, np.nan, np.nan]]])
    scores = score_against_truth(product, truth)
    assert (scores["n"], scores["missing"], scores["extra"]) == (1, 1, 1)
    np.testing.assert_allclose(scores["bias"], 0.1, rtol=1e-6)


def test_without_a_pair_there_is_a_count_and_no_score():
    scores = score_against_truth(field([[[np.nan, 0.2]]]), field([[[0.1, np.nan]]]))
    assert (scores["n"], scores["missing"], scores["extra"]) == (0, 1, 1)
    assert all(np.isnan(scores[name]) for name in ("rmse", "ubrmse", "bias", "r"))


def test_a_constant_product_has_no_correlation():
    scores = score_against_truth(
        field(np.full((2, 3, 3), 0.3)), field(np.eye(3)[None].repeat(2, 0))
    )
    assert np.isnan(scores["r"])
    np.testing.assert_allclose(scores["bias"], 0.3 - 1 / 3, rtol=1e-5)


def test_the_order_of_dims_does_not_matter():
    truth = field(np.random.default_rng(2).uniform(0, 0.5, (3, 3, 3)))
    product = (truth + 0.1).transpose("lon", "lat", "time")
    scores = score_against_truth(product, truth)
    np.testing.assert_allclose([scores["rmse"], scores["bias"]], 0.1, rtol=1e-5)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.assign_coords(lat=a["lat"] + 0.001),
        lambda a: a.isel(lon=slice(1, None)),
        lambda a: a.assign_coords(time=a["time"] + np.timedelta64(1, "D")),
    ],
)
def test_another_grid_or_period_is_refused(change):
    truth = field(np.zeros((2, 2, 2)))
    with pytest.raises(ValueError, match="product and truth differ in grid or days"):
        score_against_truth(change(truth), truth)
