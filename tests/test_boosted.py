"""Boosted trees in the kernels: LightGBM is the oracle, to the bit."""

import lightgbm
import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMRegressor

from gssm_cube.forest import compile_forest, lanes, predict_codes
from gssm_cube.forest.lane_walk import BY_EIGHT, BY_FOUR, SCALAR
from gssm_cube.variables import FILL, PREDICTORS

NAMES = ["tair", "clay", "apei"]
QUIET = {"verbose": -1, "n_jobs": 1, "random_state": 0}


def drawn_codes(shape, seed: int, names=NAMES) -> dict[str, np.ndarray]:
    """Codes of few values, so that rows and thresholds meet often."""
    rng = np.random.default_rng(seed)
    return {name: rng.integers(-25, 26, shape).astype("int16") for name in names}


def decoded(codes) -> pd.DataFrame:
    return pd.DataFrame({n: PREDICTORS[n].packing.decode(c.ravel()) for n, c in codes.items()})


TABLE = decoded(drawn_codes(800, seed=1))
TARGET = (
    0.2 + 0.1 * np.tanh(TABLE["tair"] * TABLE["apei"]) + 0.01 * np.sin(40 * TABLE["clay"])
).to_numpy()


def fit(**how) -> LGBMRegressor:
    return LGBMRegressor(**(QUIET | {"n_estimators": 40, "num_leaves": 9} | how)).fit(TABLE, TARGET)


def assert_same_bits(model: LGBMRegressor, rows: pd.DataFrame) -> None:
    forest = compile_forest(model)
    np.testing.assert_array_equal(forest.predict(rows), model.predict(rows))


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"extra_trees": True, "feature_fraction_bynode": 0.5},
        {"boosting_type": "dart"},
        {"objective": "quantile", "alpha": 0.3},
        {"boost_from_average": False},
        {"monotone_constraints": [1, 0, 1], "monotone_constraints_method": "intermediate"},
        {"subsample": 0.5, "subsample_freq": 1, "reg_lambda": 5.0},
        {"max_depth": 1},
        {"num_leaves": 200, "min_child_samples": 1},  # deep chains
    ],
    ids=lambda how: next(iter(how), "plain"),
)
def test_the_sum_of_boosted_trees_has_the_bits_of_lightgbm(how):
    assert_same_bits(fit(**how), TABLE)


def test_a_booster_that_found_nothing_to_split_is_its_mean():
    model = LGBMRegressor(**QUIET).fit(TABLE[:5], TARGET[:5])
    forest = compile_forest(model)
    assert forest.feature.tolist() == [-1]
    np.testing.assert_allclose(forest.predict(TABLE[:9]), TARGET[:5].mean(), rtol=1e-7)
    assert_same_bits(model, TABLE)


def test_values_at_and_beside_the_thresholds_go_where_lightgbm_sends_them():
    model = fit()
    forest = compile_forest(model)
    near = forest.threshold[forest.feature >= 0]
    # LightGBM reads what is not beyond 1e-35 as zero, on either side.
    odd = np.array([np.inf, -np.inf, -0.0, 0.0, 1e-38, -1e-38, 1e-35, -1e-35], "float32")
    pool = np.concatenate([odd, near, np.nextafter(near, np.float32(np.inf))])
    drawn = np.random.default_rng(0).choice(pool, (3000, 3))
    assert_same_bits(model, pd.DataFrame(drawn, columns=NAMES))


def test_early_stopping_leaves_the_trees_that_lightgbm_uses():
    model = LGBMRegressor(**QUIET, n_estimators=200, num_leaves=31, min_child_samples=2)
    stop = lightgbm.early_stopping(3, verbose=False)
    noisy = TARGET + np.random.default_rng(0).normal(0, 0.3, TARGET.size)
    model.fit(TABLE[:400], noisy[:400], eval_X=TABLE[400:], eval_y=noisy[400:], callbacks=[stop])
    assert 0 < model.best_iteration_ < 200
    assert compile_forest(model).trees == model.best_iteration_
    assert_same_bits(model, TABLE)


@pytest.mark.parametrize("path", [SCALAR, BY_FOUR, BY_EIGHT])
def test_blocks_have_the_bits_of_lightgbm_and_no_estimate_where_a_feature_is_missing(
    path, monkeypatch
):
    monkeypatch.setattr(lanes, "PATH", path)
    shape = (5, 19, 50)
    dynamic, static = drawn_codes(shape, 3, ["tair", "apei"]), drawn_codes(shape[1:], 4, ["clay"])
    dynamic["tair"][2, 4, 5] = static["clay"][7, 8] = FILL
    model = fit(min_child_samples=1)
    found, spread = predict_codes(compile_forest(model), dynamic, static, spread=True)
    codes = {name: np.broadcast_to((dynamic | static)[name], shape) for name in NAMES}
    missing = np.any([code == FILL for code in codes.values()], axis=0)
    expected = model.predict(decoded(codes)).reshape(shape)
    np.testing.assert_array_equal(found, np.where(missing, np.nan, expected))
    assert missing.sum() == 1 + 5
    # The trees of a sum do not tell how sure it is.
    np.testing.assert_array_equal(spread, np.where(missing, np.nan, 0.0))


def test_a_row_that_lacks_a_feature_has_no_estimate_whatever_lightgbm_makes_of_it():
    holed = TABLE[:6].copy()
    holed.loc[2, "apei"] = np.nan
    model = fit()
    assert np.isfinite(model.predict(holed)).all()
    found, spread = compile_forest(model).predict_with_spread(holed)
    assert np.flatnonzero(np.isnan(found)).tolist() == [2]
    assert np.flatnonzero(np.isnan(spread)).tolist() == [2]


@pytest.mark.filterwarnings("ignore:categorical_feature keyword")
@pytest.mark.parametrize(
    "how, message",
    [
        ({"objective": "poisson"}, "objective is 'poisson', whose estimate is no plain sum"),
        ({"reg_sqrt": True}, "objective is 'regression sqrt'"),
        ({"objective": lambda y, p: (p - y, np.ones(y.size))}, "objective is 'custom'"),
        ({"boosting_type": "rf", "subsample": 0.5, "subsample_freq": 1}, "averages its trees"),
        ({"zero_as_missing": True}, "takes zeros as missing"),
        ({"linear_tree": True}, "linear models in its leaves"),
        ({"categorical_feature": [0], "min_data_per_group": 1}, "splits by categories"),
    ],
)  # fmt: skip
def test_a_booster_that_is_no_plain_sum_of_numbers_is_refused(how, message):
    table = TABLE.assign(tair=TABLE["tair"].rank(method="dense") % 4)
    target = TARGET + 0.1 * (table["tair"] == 1).to_numpy()
    model = LGBMRegressor(**(QUIET | {"n_estimators": 5} | how)).fit(table, target)
    with pytest.raises(ValueError, match=message):
        compile_forest(model)


def test_a_booster_without_a_fit_or_without_names_is_refused():
    with pytest.raises(ValueError, match="booster is not fitted"):
        compile_forest(LGBMRegressor())
    with pytest.raises(ValueError, match="no feature names; fit it on a DataFrame"):
        compile_forest(LGBMRegressor(**QUIET).fit(TABLE.to_numpy(), TARGET))
