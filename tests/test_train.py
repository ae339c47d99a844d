"""Presets and fitting."""

import logging

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from gssm_cube.forest import PRESETS, Boosting, Preset, Weights, find_preset, train_forest
from gssm_cube.variables import PREDICTORS

SMALL = Preset(name="small", features=("wet", "warm"), trees=5)


@pytest.fixture
def samples() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(200, 3)), columns=["wet", "warm", "other"])
    return table.assign(observed=0.2 + 0.1 * (table["wet"] > 0))


def test_gssm1km_is_the_published_recipe():
    preset = PRESETS["gssm1km"]
    assert preset.features == (
        *("apei", "evaporation", "tair", "lst", "lst_diff", "ndvi", "evi", "clay", "sand", "silt"),
        *("porosity", "omc", "ti", "elevation", "wtd", "dtb", "lat", "lon"),
    )
    assert len(preset.features) == 18
    assert (preset.trees, preset.min_samples_leaf, preset.max_samples) == (20, 1, 0.5)
    assert (preset.max_features, preset.bootstrap) == ("sqrt", True)


def test_zhang2021_uses_the_index_of_rain_alone():
    preset = PRESETS["zhang2021"]
    assert preset.features == (
        *("api", "lst", "lst_diff", "ndvi", "evi", "clay", "sand", "silt", "lat", "lon"),
    )
    assert preset.trees == 100


def test_the_default_has_the_16_predictors_without_the_position_and_the_memory():
    features = PRESETS["default"].features
    assert set(PRESETS["gssm1km"].features) - set(features) == {"lat", "lon"}
    assert set(features) == set(PREDICTORS) - {"api", "lat", "lon"}
    assert len(features) == len(set(features)) == 38


def test_every_feature_of_every_preset_is_in_the_table_of_variables():
    assert all(set(preset.features) <= set(PREDICTORS) for preset in PRESETS.values())


def test_the_forest_is_fitted_as_the_preset_says(samples):
    preset = Preset(
        name="p", features=("wet",), trees=3, min_samples_leaf=7, max_features=0.5, max_samples=0.4
    )
    found = train_forest(samples, preset, seed=11).get_params()
    expected = {"n_estimators": 3, "min_samples_leaf": 7, "max_features": 0.5, "max_samples": 0.4}
    assert {name: found[name] for name in expected} == expected
    assert (found["random_state"], found["n_jobs"], found["bootstrap"]) == (11, 1, True)


def test_memory_forest_is_an_extremely_randomised_forest_without_the_position(samples):
    preset = PRESETS["memory_forest"]
    assert not {"lat", "lon"} & set(preset.features)
    assert set(preset.increasing) < set(preset.features)
    forest = train_forest(samples, preset, features=["wet", "warm"])
    assert isinstance(forest, ExtraTreesRegressor) and not forest.bootstrap
    assert type(train_forest(samples, SMALL)) is RandomForestRegressor


def test_memory_and_default_blend_that_forest_with_boosted_trees_and_places_a_third_each():
    forest, memory, default = (PRESETS[n] for n in ("memory_forest", "memory", "default"))
    assert memory.features == forest.features == default.features[: len(forest.features)]
    for preset in (memory, default):
        assert (preset.trees, preset.kind, preset.increasing) == (
            *(forest.trees, forest.kind, forest.increasing),
        )
        assert set(preset.weights.model_dump().values()) == {1 / 3}
        # Climate tells a booster which station a row is of.
        assert set(preset.unseen_by_booster) == {n for n in forest.features if "climate_" in n}


def test_a_booster_is_not_shown_what_the_preset_keeps_from_it(samples):
    preset = Preset(
        name="p", features=("wet", "warm", "other"), trees=3, weights=Weights(forest=0, booster=1),
        boosting=Boosting(trees=2), unseen_by_booster=("warm",),
    )  # fmt: skip
    found = train_forest(samples, preset)
    assert found.members[0].features == ("wet", "other")
    assert found.feature_names_in_.tolist() == ["wet", "warm", "other"]


@pytest.mark.parametrize("kind", ["random", "extremely_randomised"])
def test_an_estimate_only_rises_with_a_feature_that_is_said_to(samples, kind):
    noisy = samples.assign(observed=samples["observed"] + 0.3 * samples["other"] ** 2)
    given = {"name": "p", "features": ("wet", "other"), "trees": 5, "kind": kind}
    line = pd.DataFrame({"wet": np.linspace(-2, 2, 50), "other": np.linspace(-2, 2, 50)})
    for rising in ((), ("other",)):
        forest = train_forest(noisy, Preset(**given, increasing=rising))
        steps = np.diff(forest.predict(line.assign(wet=0.0)[["wet", "other"]]))
        assert (steps >= 0).all() == bool(rising)


def test_the_forest_knows_its_features_by_name_and_learns_the_step(samples):
    forest = train_forest(samples, SMALL)
    assert forest.feature_names_in_.tolist() == ["wet", "warm"]
    dry_wet = pd.DataFrame({"wet": [-1.0, 1.0], "warm": [0.0, 0.0]})
    np.testing.assert_allclose(forest.predict(dry_wet), [0.2, 0.3], atol=1e-12)


def test_the_same_seed_gives_the_same_forest_with_one_thread_and_two(samples):
    noisy = samples.assign(observed=np.random.default_rng(1).random(200))
    one, two = (train_forest(noisy, SMALL, seed=3, n_jobs=jobs) for jobs in (1, 2))
    other = train_forest(noisy, SMALL, seed=4)
    np.testing.assert_array_equal(
        one.predict(noisy[["wet", "warm"]]), two.predict(noisy[["wet", "warm"]])
    )
    assert (one.predict(noisy[["wet", "warm"]]) != other.predict(noisy[["wet", "warm"]])).any()


def test_training_sees_float32(samples):
    # In float64 the two values differ and could be split; in float32 they are one.
    close = pd.DataFrame({"wet": [1.0, 1.0 + 1e-12] * 20, "observed": [0.1, 0.5] * 20})
    preset = Preset(name="p", features=("wet",), trees=1, bootstrap=False)
    assert train_forest(close, preset).estimators_[0].tree_.node_count == 1


def test_features_can_be_given_by_name(samples):
    forest = train_forest(samples, "default", features=["other"])
    assert forest.feature_names_in_.tolist() == ["other"]


def test_rows_with_missing_values_are_dropped_and_counted(samples, caplog):
    holed = samples.copy()
    holed.loc[:9, "wet"] = np.nan
    holed.loc[5:14, "observed"] = np.nan
    holed.loc[20:, "other"] = np.nan  # not a feature: does not count
    with caplog.at_level(logging.INFO):
        forest = train_forest(holed, SMALL)
    assert "kept 185 of 200 rows" in caplog.text
    expected = train_forest(samples[15:], SMALL)
    table = samples[["wet", "warm"]]
    np.testing.assert_array_equal(forest.predict(table), expected.predict(table))


def test_a_missing_feature_is_named(samples):
    with pytest.raises(ValueError, match="lacks the columns .'api'"):
        train_forest(samples.assign(lst=1.0), "zhang2021")


def test_no_complete_row_is_an_error_that_names_the_worst_column(samples):
    with pytest.raises(ValueError, match="no row of 200 .* {'warm': 200"):
        train_forest(samples.assign(warm=np.nan), SMALL)


def test_infinite_values_are_named(samples):
    samples.loc[3, "warm"] = 1e300  # infinite in float32
    with pytest.raises(ValueError, match=r"infinite values \(rows by column: {'warm': 1}\)"):
        train_forest(samples, SMALL)


def test_the_target_cannot_be_a_feature(samples):
    with pytest.raises(ValueError, match="'observed' is the observed column"):
        train_forest(samples, SMALL, features=["wet", "observed"])


@pytest.mark.parametrize("features", [[], ["wet", "wet"]])
def test_features_are_named_once_each(samples, features):
    with pytest.raises(ValueError, match="each named once"):
        train_forest(samples, SMALL, features=features)


def test_a_target_of_words_is_refused(samples):
    with pytest.raises(ValueError, match="observed column 'observed' has type"):
        train_forest(samples.assign(observed="wet"), SMALL)


def test_an_unknown_preset_is_named_beside_the_known_ones():
    with pytest.raises(ValueError, match="'best' is not known, expected one of .*'gssm1km'"):
        find_preset("best")


@pytest.mark.parametrize(
    "wrong", [{"trees": 0}, {"depth": 3}, {"max_samples": 1.5}, {"max_features": 7}]
)
def test_an_impossible_preset_is_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Preset.model_validate({"name": "p", "features": ["wet"], "trees": 1} | wrong)
