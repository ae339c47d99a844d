"""A block as the product keeps it: every flag against what open_cube and open_quality say."""

import numpy as np
import pytest

from gssm_cube.cube import open_cube, open_quality
from gssm_cube.estimate import COUNTED, estimate_block
from gssm_cube.flags import FLAGS, PRODUCT_FLAGS, product_flags
from gssm_cube.forest import Preset, compile_forest, train_forest
from gssm_cube.grid import Block
from gssm_cube.physics import residual_water
from gssm_cube.predict import predict_block
from gssm_cube.storage.stores import array_of, open_group, read_layout
from gssm_cube.variables import FILL, PREDICTORS, SSM

FEATURES = ("surplus_11d", "lst", "ndvi", "clay")
ALL = tuple(PREDICTORS)


def has(quality, name):
    return quality & PRODUCT_FLAGS[name] > 0


def bits(flags, *names):
    return np.array([sum(flags[name] for name in names)], dtype="uint16")


@pytest.fixture(scope="module")
def block(small_world):
    """The first window of the western tile."""
    layout = read_layout(small_world.cube)
    return Block(next(iter(layout.tiles())), layout.windows()[0])


@pytest.fixture(scope="module")
def fitted(small_world):
    region = open_cube(small_world.cube).isel(time=slice(0, None, 37), lat=slice(0, None, 5))
    table = region[list(FEATURES)].to_dataframe().reset_index().dropna()
    table["observed"] = 0.2 + 0.01 * table["surplus_11d"] + 0.002 * table["clay"]
    preset = Preset(name="small", features=FEATURES, trees=3, min_samples_leaf=20)
    return train_forest(table, preset)


@pytest.fixture(scope="module")
def forest(fitted):
    return compile_forest(fitted, preset="small")


@pytest.fixture(scope="module")
def features(small_world, block):
    rows, cols = read_layout(small_world.cube).tile_slices(block.tile)
    return open_cube(small_world.cube).isel(time=block.window.slice, lat=rows, lon=cols).load()


def estimate(store, block, forest, frozen="flag"):
    return estimate_block(store, read_layout(store), block, forest, frozen)


@pytest.fixture(scope="module")
def flagged(small_world, block, forest):
    return estimate(small_world.cube, block, forest)


# ---- the cube's flags -------------------------------------------------------------------------


def test_day_and_night_and_all_sensors_are_gathered():
    found = product_flags(bits(FLAGS, "lst_night_filled", "lst_day_aqua"), ALL)
    assert found == bits(PRODUCT_FLAGS, "lst_filled", "lst_other_sensor")
    found = product_flags(bits(FLAGS, "vegetation_viirs", "vegetation_provisional"), ALL)
    assert found == bits(PRODUCT_FLAGS, "vegetation_other_sensor", "vegetation_provisional")
    assert product_flags(bits(FLAGS, "static_filled"), ALL) == bits(PRODUCT_FLAGS, "static_filled")
    assert product_flags(np.zeros(1, "uint16"), ALL) == 0


def test_what_the_forest_does_not_look_at_is_not_flagged():
    every = np.array([65535], dtype="uint16")
    assert product_flags(every, ("swe", "lst_diff")) == bits(
        PRODUCT_FLAGS, "lst_filled", "lst_other_sensor", "static_filled"
    )
    assert product_flags(every, ("swe", "clay")) == bits(PRODUCT_FLAGS, "static_filled")


def test_the_product_s_flags_are_those_of_the_cube(small_world, block, flagged, features):
    layout = read_layout(small_world.cube)
    region = (block.window.slice, *layout.tile_slices(block.tile))
    known = open_quality(small_world.cube).values[region]
    land = features["land"].values == 1
    filled = known & (FLAGS["lst_day_filled"] | FLAGS["lst_night_filled"]) > 0
    assert filled[:, land].any() and not filled[:, land].all()
    np.testing.assert_array_equal(has(flagged.quality, "lst_filled"), filled & land)
    provisional = known & FLAGS["vegetation_provisional"] > 0
    np.testing.assert_array_equal(has(flagged.quality, "vegetation_provisional"), provisional)


# ---- physics ----------------------------------------------------------------------------------


def test_frozen_ground_is_flagged_by_its_soil_and_the_snow(flagged, features, forest):
    cold = ((features["stl1"] < 0) | (features["swe"] > 10)).values
    assert (cold != ((features["tair_7d"] < 0) | (features["swe"] > 10)).values).any()
    land = features["land"].values == 1
    assert 0 < (cold & land).sum() < land.sum() * cold.shape[0]
    np.testing.assert_array_equal(has(flagged.quality, "frozen"), cold & land)
    assert not has(flagged.quality, "clipped").any()
    expected = SSM.packing.encode(predict_block(features, forest).values)
    np.testing.assert_array_equal(flagged.codes, expected)


def test_masked_frozen_ground_is_missing_and_nothing_else_differs(
    small_world, block, forest, flagged
):
    masked = estimate(small_world.cube, block, forest, "mask")
    np.testing.assert_array_equal(masked.quality, flagged.quality)
    cold = has(flagged.quality, "frozen")
    np.testing.assert_array_equal(masked.codes, np.where(cold, FILL, flagged.codes))
    np.testing.assert_array_equal(masked.spread, np.where(cold, FILL, flagged.spread))


def test_low_pores_flag_and_cut_and_the_counts_add_up(
    small_world, block, forest, features, tmp_path
):
    store = small_world.copy_cube(tmp_path)
    static = {n: array_of(open_group(store, "r+"), f"static/{n}") for n in ("porosity", "land")}
    row, col = np.argwhere(static["land"][:48, :48] == 1)[0]
    whole = estimate(store, block, forest)
    low = whole.codes[:, row, col].min()
    static["porosity"][row, col] = 10 * (low - 20)  # in steps of 0.0001: far below every day
    found = estimate(store, block, forest)
    assert has(found.quality, "above_porosity")[:, row, col].all()
    clipped = has(found.quality, "clipped")[:, row, col]
    ssm = predict_block(features, forest).values[:, row, col]
    np.testing.assert_array_equal(clipped, ssm > (low + 30) / 1000)
    assert clipped.any() and not clipped.all()
    expected = np.minimum(whole.codes[:, row, col], low + 30)
    np.testing.assert_array_equal(found.codes[:, row, col], expected)
    rest = np.ones((48, 48), dtype=bool)
    rest[row, col] = False
    np.testing.assert_array_equal(found.codes[:, rest], whole.codes[:, rest])
    assert found.counts["above_porosity"] == whole.counts["above_porosity"] + block.window.days
    assert found.counts == {name: has(found.quality, name).sum() for name in COUNTED}


def test_what_lies_below_residual_water_is_flagged_and_kept(flagged, features, forest):
    residual = residual_water(*(features[name].values for name in ("clay", "sand", "porosity")))
    below = predict_block(features, forest).values < residual
    np.testing.assert_array_equal(has(flagged.quality, "below_residual_water"), below)


def test_a_missing_predictor_of_the_forest_is_flagged_and_no_other(
    small_world, block, forest, tmp_path
):
    store = small_world.copy_cube(tmp_path)
    root = open_group(store, "r+")
    rows, cols = np.nonzero(array_of(root, "static/land")[:48, :48] == 1)
    array_of(root, "daily/lst")[7, rows[0], cols[0]] = FILL
    array_of(root, "static/ti")[rows[1], cols[1]] = FILL  # the forest does not look at it
    found = estimate(store, block, forest)
    assert np.argwhere(has(found.quality, "predictor_missing")).tolist() == [[7, rows[0], cols[0]]]
    assert found.codes[7, rows[0], cols[0]] == FILL and found.counts["predictor_missing"] == 1


def test_the_sea_has_neither_value_nor_flag(flagged, features):
    sea = features["land"].values == 0
    assert sea.any()
    assert (flagged.codes[:, sea] == FILL).all() and not flagged.quality[:, sea].any()


# ---- the spread -------------------------------------------------------------------------------


def test_the_spread_is_that_of_the_trees_where_there_is_an_estimate(flagged, features, fitted):
    shape = flagged.codes.shape
    columns = [np.broadcast_to(features[name].values, shape).ravel() for name in FEATURES]
    known = (flagged.codes != FILL).ravel()
    rows = np.stack(columns, axis=1)[known].astype("float32")
    expected = np.std([tree.predict(rows) for tree in fitted.estimators_], axis=0)
    np.testing.assert_allclose(flagged.spread.ravel()[known] * 1e-3, expected, atol=0.51e-3)
    assert (flagged.spread.ravel()[~known] == FILL).all() and expected.max() > 0.005
