"""Prediction of rows: scikit-learn is the oracle, to the bit."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from gssm_cube.forest import CompiledForest, compile_forest
from gssm_cube.forest.rows import check_columns, float32_thresholds, table_values

NAMES = ["wet", "warm", "flat"]
BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    # Few distinct values, so that thresholds and leaves meet many ties.
    return pd.DataFrame(rng.integers(-8, 9, (300, 3)) / 7, columns=NAMES).astype("float32")


@pytest.fixture(scope="module")
def target(table: pd.DataFrame) -> np.ndarray:
    noise = np.random.default_rng(6).normal(size=len(table))
    return (table["wet"] ** 2 + table["warm"] * table["flat"] + 0.1 * noise).to_numpy()


@pytest.fixture(scope="module")
def fitted(table: pd.DataFrame, target: np.ndarray) -> RandomForestRegressor:
    return RandomForestRegressor(17, random_state=1).fit(table, target)


@pytest.fixture(scope="module")
def forest(fitted: RandomForestRegressor) -> CompiledForest:
    return compile_forest(fitted)


def hand_forest() -> CompiledForest:
    """Two trees: wet <= 1 ? 0.1 : 0.3, and a single leaf of 0.4."""
    return CompiledForest(
        features=("wet",),
        feature=np.array([0, -1, -1, -1], "int16"),
        threshold=np.array([1.0, -2.0, -2.0, -2.0]),
        right=np.array([2, 0, 1, 0], "uint32"),
        leaf=np.array([0.1, 0.3, 0.4]),
        node_offsets=np.array([0, 3, 4]),
        leaf_offsets=np.array([0, 2, 3]),
    )


def oracle_by_tree(fitted, values: np.ndarray) -> np.ndarray:
    return np.stack([tree.tree_.predict(values).ravel() for tree in fitted.estimators_])


def test_two_trees_by_hand():
    ssm, spread = hand_forest().predict_with_spread(pd.DataFrame({"wet": [1.0, 1.5, np.nan]}))
    np.testing.assert_allclose(ssm, [0.25, 0.35, np.nan], rtol=1e-15)
    np.testing.assert_allclose(spread, [0.15, 0.05, np.nan], rtol=1e-12)


def test_a_value_at_the_threshold_goes_left_and_the_next_float32_goes_right():
    values = np.array([[BELOW_ONE], [1], [np.nextafter(np.float32(1), np.float32(2))]], "float32")
    np.testing.assert_allclose(hand_forest().predict_array(values), [0.25, 0.25, 0.35])


@pytest.mark.parametrize("rows", [0, 1, 15, 16, 17, 300])
def test_predictions_have_the_bits_of_scikit_learn(fitted, forest, table, rows):
    expected = fitted.predict(table[:rows]) if rows else np.empty(0)
    np.testing.assert_array_equal(forest.predict(table[:rows]), expected, strict=True)


def test_float64_columns_are_cast_as_scikit_learn_casts_them(fitted, forest):
    wide = pd.DataFrame(np.random.default_rng(9).normal(size=(500, 3)), columns=NAMES)
    np.testing.assert_array_equal(forest.predict(wide), fitted.predict(wide))


@pytest.mark.parametrize(
    "model",
    [
        ExtraTreesRegressor(9, random_state=2, bootstrap=True),
        ExtraTreesRegressor(5, random_state=2, min_samples_leaf=400),  # roots that are leaves
        RandomForestRegressor(9, random_state=2, min_samples_leaf=5, max_features=0.33),
        RandomForestRegressor(3, random_state=2, max_depth=2, criterion="absolute_error"),
    ],
    ids=["extra", "stumps", "leaf5", "median"],
)
def test_every_kind_of_forest_has_the_bits_of_scikit_learn(model, table, target):
    model.fit(table, target)
    np.testing.assert_array_equal(compile_forest(model).predict(table), model.predict(table))


def test_infinities_zeros_and_thresholds_themselves_go_where_scikit_learn_sends_them(
    fitted, forest
):
    thresholds = forest.threshold[forest.feature >= 0]
    odd = np.array([np.inf, -np.inf, -0.0, 0.0, 3.4e38, -3.4e38, 1e-45], "float32")
    near = thresholds[:90].astype("float32")
    pool = np.concatenate([odd, near, np.nextafter(near, np.float32(9))])
    values = np.random.default_rng(0).choice(pool, (2000, 3))
    total = np.zeros(len(values))
    for found in oracle_by_tree(fitted, values):
        total += found
    np.testing.assert_array_equal(forest.predict_array(values), total / 17)


def test_spread_is_the_population_deviation_over_trees_and_leaves_the_mean_alone(
    fitted, forest, table
):
    ssm, spread = forest.predict_with_spread(table)
    np.testing.assert_array_equal(ssm, fitted.predict(table))
    expected = oracle_by_tree(fitted, table.to_numpy()).std(axis=0)
    np.testing.assert_allclose(spread, expected, rtol=1e-10, atol=1e-14)


def test_trees_that_agree_have_no_spread(table):
    model = RandomForestRegressor(7, random_state=0).fit(table, np.full(len(table), 0.25))
    assert not compile_forest(model).predict_with_spread(table)[1].any()


def test_a_row_with_a_missing_feature_is_nan_and_the_others_are_not(fitted, forest, table):
    holed = table.copy()
    holed.loc[4, "warm"] = np.nan
    ssm, spread = forest.predict_with_spread(holed)
    assert np.flatnonzero(np.isnan(ssm)).tolist() == [4]
    assert np.flatnonzero(np.isnan(spread)).tolist() == [4]
    np.testing.assert_array_equal(np.delete(ssm, 4), fitted.predict(table.drop(index=4)))


def test_columns_are_found_by_name_in_any_order_beside_others(forest, table):
    shuffled = table[NAMES[::-1]].assign(name="x")
    np.testing.assert_array_equal(forest.predict(shuffled), forest.predict(table))


def test_an_array_is_read_by_the_names_that_come_with_it(forest, table):
    array = table[NAMES[::-1]].to_numpy()
    np.testing.assert_array_equal(forest.predict(array, NAMES[::-1]), forest.predict(table))


def test_an_array_without_names_is_refused(forest, table):
    with pytest.raises(ValueError, match="without names"):
        forest.predict(table.to_numpy())


@pytest.mark.parametrize("shape, dtype", [((4, 2), "float32"), ((4, 3), "float64"), (4, "float32")])
def test_rows_of_another_width_or_type_are_refused(forest, shape, dtype):
    with pytest.raises(ValueError, match="expected float32 rows of 3 features"):
        forest.predict_array(np.zeros(shape, dtype))


def test_a_missing_column_is_named_beside_those_that_are_there():
    with pytest.raises(ValueError, match=r"lacks the columns \['flat'\], it has \['wet', 'a'\]"):
        table_values(pd.DataFrame({"wet": [1.0], "a": [2.0]}), ["wet", "flat"])


def test_a_double_column_is_named():
    double = pd.DataFrame([[1.0, 2.0]], columns=["wet", "wet"])
    with pytest.raises(ValueError, match=r"\['wet'\] more than once"):
        check_columns(double, ["wet"])


def test_a_column_of_words_is_refused():
    with pytest.raises(ValueError, match="feature 'koeppen' has type"):
        table_values(pd.DataFrame({"koeppen": ["Cfb"]}), ["koeppen"])


def test_missing_values_of_nullable_columns_become_nan():
    table = pd.DataFrame({"wet": pd.array([1, None], dtype="Int64")})
    np.testing.assert_array_equal(table_values(table, ["wet"]), np.float32([[1], [np.nan]]))


@given(
    st.floats(allow_nan=False, width=64),
    st.floats(allow_nan=False, width=32),
    st.integers(-2, 2),
)
@settings(max_examples=500, deadline=None)
def test_float32_thresholds_split_every_float32_as_the_float64_ones_do(threshold, value, steps):
    derived = float32_thresholds(np.array([threshold]))[0]
    near = np.float32(derived)
    with np.errstate(over="ignore"):
        for _ in range(abs(steps)):
            near = np.nextafter(near, np.float32(np.copysign(np.inf, steps)))
    for x in (np.float32(value), near):
        assert (x <= derived) == (float(x) <= threshold)
