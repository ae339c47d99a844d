"""The block kernel: scikit-learn on the decoded codes is the oracle, to the bit."""

import gc
import os
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from gssm_cube.forest import CompiledForest, compile_forest, lanes, load_forest, predict_codes
from gssm_cube.forest.lane_walk import BY_EIGHT, BY_FOUR, SCALAR
from gssm_cube.forest.packed import (
    LEAF,
    NODE,
    PAIR,
    QUAD,
    code_thresholds,
    feature_packings,
    packed_forest,
)
from gssm_cube.variables import FILL, PREDICTORS, Packing

NAMES = ["tair", "clay", "apei", "lat"]
DYNAMIC, STATIC = ["tair", "apei"], ["clay", "lat"]
Piece = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]


def decoded(dynamic, static, names) -> pd.DataFrame:
    """All rows of a piece, day-major, as float32 values."""
    shape = next(iter(dynamic.values())).shape
    codes = {name: np.broadcast_to((dynamic | static)[name], shape).ravel() for name in names}
    return pd.DataFrame({n: PREDICTORS[n].packing.decode(c) for n, c in codes.items()})


def oracle(fitted, dynamic, static) -> np.ndarray:
    """What scikit-learn predicts with one job, NaN where a feature is missing."""
    table = decoded(dynamic, static, fitted.feature_names_in_)
    expected = np.full(len(table), np.nan)
    valid = table.notna().all(axis="columns").to_numpy()
    if valid.any():
        expected[valid] = fitted.predict(table[valid])
    return expected.reshape(next(iter(dynamic.values())).shape)


def made_piece(shape, seed=0, low=-30, high=31) -> Piece:
    """Codes of few values, so that thresholds meet many ties."""
    rng = np.random.default_rng(seed)
    dynamic = {n: rng.integers(low, high, shape).astype("int16") for n in DYNAMIC}
    static = {n: rng.integers(low, high, shape[1:]).astype("int16") for n in STATIC}
    return dynamic, static


def fit(model):
    table = decoded(*made_piece((40, 4, 4), seed=5), NAMES)
    noise = np.random.default_rng(6).normal(size=len(table))
    target = table["tair"] * table["clay"] + table["apei"] + table["lat"] + 0.05 * noise
    return model.fit(table, 0.25 + 0.1 * np.tanh(target))


@pytest.fixture(scope="module")
def fitted() -> RandomForestRegressor:
    return fit(RandomForestRegressor(7, max_features=0.5, random_state=1))


@pytest.fixture(scope="module")
def forest(fitted) -> CompiledForest:
    return compile_forest(fitted)


@pytest.fixture(params=[SCALAR, BY_FOUR, BY_EIGHT], ids=["scalar", "by four", "by eight"])
def each_path(request, monkeypatch) -> None:
    monkeypatch.setattr(lanes, "PATH", request.param)


def hand_forest() -> CompiledForest:
    """Two trees: tair <= 1 degC ? 0.1 : (clay <= 20 % ? 0.2 : 0.3), and a single leaf of 0.4."""
    return CompiledForest(
        features=("tair", "clay"),
        feature=np.array([0, -1, 1, -1, -1, -1], "int16"),
        threshold=np.array([1.0, -2.0, 20.0, -2.0, -2.0, -2.0]),
        right=np.array([2, 0, 4, 1, 2, 0], "uint32"),
        leaf=np.array([0.1, 0.2, 0.3, 0.4]),
        node_offsets=np.array([0, 5, 6]),
        leaf_offsets=np.array([0, 3, 4]),
    )


def test_thresholds_are_the_last_codes_that_are_not_above_them():
    # 1 decodes to the float32 nearest 0.1, which is above 0.1, so a row of 0.1 goes right.
    thresholds = np.array([0.05, 0.1, 0.15, 0.2, -0.05])
    assert code_thresholds(thresholds, Packing(0.1)).tolist() == [0, 0, 1, 1, -1]


def test_a_threshold_below_or_above_all_codes_sends_all_to_one_side():
    below_all, above_all = code_thresholds(np.array([-1e9, 1e9]), Packing(0.1)).tolist()
    assert (below_all, above_all) == (FILL, 32767)  # the fill code itself is never compared


@pytest.mark.parametrize("name", PREDICTORS)
def test_code_thresholds_split_all_codes_as_decoded_values_are_split(name):
    packing = PREDICTORS[name].packing
    codes = np.arange(FILL + 1, 32768).astype("int16")
    values = packing.decode(codes)
    rng = np.random.default_rng(3)
    middle = (values[1:].astype("float64") + values[:-1]) / 2  # where scikit-learn puts thresholds
    pool = np.concatenate([rng.choice(middle, 20), rng.choice(values, 20), values[[0, -1]]])
    for threshold, code in zip(pool, code_thresholds(pool, packing), strict=True):
        np.testing.assert_array_equal(codes <= code, values.astype("float64") <= threshold)


def test_a_node_is_a_word_of_threshold_feature_and_right_child():
    packed = packed_forest(hand_forest(), feature_packings(["tair", "clay"]))
    nodes = packed.nodes.view(NODE)
    assert nodes["threshold"][[0, 2]].tolist() == [100, 2000]
    assert nodes["feature"].tolist() == [QUAD, LEAF, PAIR + 1, LEAF, LEAF, LEAF]
    assert nodes["right"].tolist() == [2, 0, 1, 1, 2, 0]  # a pair has its left leaf there
    assert packed.depth == 3


def test_two_trees_by_hand(each_path):
    tair = np.array([[[100, 101]], [[200, FILL]]], "int16")  # 1.00 and 1.01, 2.00 degC
    ssm, spread = predict_codes(
        hand_forest(), {"tair": tair}, {"clay": np.array([[2001, 2000]], "int16")}, spread=True
    )
    np.testing.assert_allclose(ssm, [[[0.25, 0.3]], [[0.35, np.nan]]], rtol=1e-15)
    np.testing.assert_allclose(spread, [[[0.15, 0.1]], [[0.05, np.nan]]], rtol=1e-12)


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1), (3, 8, 8), (2, 9, 17), (62, 8, 16), (2, 49, 50), (3, 7, 100), (0, 8, 8)],
    ids=str,
)
def test_pieces_of_any_shape_have_the_bits_of_scikit_learn(fitted, forest, shape):
    piece = made_piece(shape)
    np.testing.assert_array_equal(predict_codes(forest, *piece), oracle(fitted, *piece))


@pytest.mark.parametrize(
    "model",
    [
        RandomForestRegressor(1, random_state=0, bootstrap=False),
        RandomForestRegressor(200, random_state=0, min_samples_leaf=40),
        RandomForestRegressor(3, random_state=0, max_depth=1),
        ExtraTreesRegressor(4, random_state=0, min_samples_leaf=400),  # roots that are leaves
        ExtraTreesRegressor(9, random_state=0),
    ],
    ids=["one tree", "200 trees", "stumps", "single leaves", "extra"],
)
def test_every_kind_of_forest_has_the_bits_of_scikit_learn(model, each_path):
    piece = made_piece((4, 10, 19))
    fit(model)
    np.testing.assert_array_equal(
        predict_codes(compile_forest(model), *piece), oracle(model, *piece)
    )


def test_missing_days_and_pixels_are_nan_and_leave_the_others_alone(fitted, forest, each_path):
    dynamic, static = made_piece((5, 12, 12))
    dynamic["apei"][2, 3, 4] = dynamic["tair"][4, :8, :8] = FILL
    static["clay"][9:, :] = FILL
    ssm, spread = predict_codes(forest, dynamic, static, spread=True)
    expected = oracle(fitted, dynamic, static)
    assert np.isnan(expected).sum() == 5 * 3 * 12 + 64 + 1
    np.testing.assert_array_equal(ssm, expected)
    np.testing.assert_array_equal(np.isnan(spread), np.isnan(expected))


def test_a_piece_of_sea_is_nan_throughout(forest):
    dynamic, static = made_piece((3, 16, 16))
    static["lat"][:] = FILL
    ssm, spread = predict_codes(forest, dynamic, static, spread=True)
    assert np.isnan(ssm).all() and np.isnan(spread).all()


def test_a_single_valid_pixel_is_predicted(fitted, forest):
    dynamic, static = made_piece((3, 16, 16))
    land = np.zeros((16, 16), bool)
    land[13, 2] = True
    static["clay"][~land] = FILL
    ssm = predict_codes(forest, dynamic, static)
    np.testing.assert_array_equal(np.isnan(ssm), np.broadcast_to(~land, ssm.shape))
    np.testing.assert_array_equal(ssm, oracle(fitted, dynamic, static))


@pytest.mark.parametrize("low, high", [(7, 8), (-32767, 32768), (32000, 32768), (-32767, -32000)])
def test_constant_features_and_codes_at_the_ends_have_the_bits_of_scikit_learn(
    fitted, forest, low, high
):
    piece = made_piece((3, 16, 16), low=low, high=high)
    for codes in (piece[0]["tair"], piece[1]["clay"]):
        codes.flat[0], codes.flat[-1] = low, high - 1
    np.testing.assert_array_equal(predict_codes(forest, *piece), oracle(fitted, *piece))


def test_spread_has_the_bits_of_the_rows_kernel_and_leaves_the_mean_alone(forest, each_path):
    dynamic, static = made_piece((4, 20, 12))
    ssm, spread = predict_codes(forest, dynamic, static, spread=True)
    rows = decoded(dynamic, static, forest.features).to_numpy()
    mean, deviation = forest.predict_array_with_spread(rows)
    np.testing.assert_array_equal(ssm.ravel(), mean)
    np.testing.assert_array_equal(spread.ravel(), deviation)


@pytest.mark.parametrize("numbers", [4, 5, 17])
def test_leaves_beyond_the_numbers_of_one_go_are_added_in_the_next(forest, monkeypatch, numbers):
    dynamic, static = made_piece((4, 9, 9))
    static["clay"][3, 3] = FILL
    expected = predict_codes(forest, dynamic, static, spread=True)
    monkeypatch.setattr(lanes, "NUMBERS", numbers)
    found = predict_codes(forest, dynamic, static, spread=True)
    np.testing.assert_array_equal(found, expected)


def test_a_tree_with_more_leaves_than_numbers_is_done_in_two_goes(monkeypatch):
    # Leaf n takes n < tair <= n + 1; three levels, and the two lower ones take four numbers.
    forest = CompiledForest(
        features=("tair",),
        feature=np.array([0, 0, 0, -1, -1, 0, -1, -1, 0, 0, -1, -1, -1], "int16"),
        threshold=np.array([4.0, 2.0, 1.0, -2, -2, 3.0, -2, -2, 6.0, 5.0, -2, -2, -2]),
        right=np.array([8, 5, 4, 0, 1, 7, 2, 3, 12, 11, 4, 5, 6], "uint32"),
        leaf=np.arange(7) / 10,
        node_offsets=np.array([0, 13]),
        leaf_offsets=np.array([0, 7]),
    )
    tair = np.array([[[50, 100, 150, 250, 350, 450, 550, 650, 32767]]], "int16")
    expected = [[[0.0, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.6]]]
    for numbers in (4, lanes.NUMBERS):
        monkeypatch.setattr(lanes, "NUMBERS", numbers)
        np.testing.assert_array_equal(predict_codes(forest, {"tair": tair}, {}), expected)


def test_two_threads_give_the_bits_of_one(forest):
    pieces = [made_piece((70, 30, 50), seed) for seed in range(8)]
    expected = [predict_codes(forest, *piece) for piece in pieces]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda piece: predict_codes(forest, *piece), pieces))
    np.testing.assert_array_equal(found, expected)


def test_a_saved_forest_predicts_the_same_bits_from_mapped_arrays(forest, tmp_path):
    piece = made_piece((4, 9, 12))
    forest.save(tmp_path)
    found = predict_codes(load_forest(tmp_path), *piece)
    np.testing.assert_array_equal(found, predict_codes(forest, *piece))


def test_the_codes_stay_writable(forest):
    dynamic, static = made_piece((2, 8, 8))
    predict_codes(forest, dynamic, static)
    assert dynamic["tair"].flags.writeable and static["clay"].flags.writeable


def test_read_only_and_strided_codes_are_read_as_they_are(forest):
    dynamic, static = made_piece((4, 20, 12))
    expected = predict_codes(forest, dynamic, static)[:, ::2]
    views = [{n: a[..., ::2, :] for n, a in codes.items()} for codes in (dynamic, static)]
    for array in views[0].values():
        array.flags.writeable = False
    np.testing.assert_array_equal(predict_codes(forest, *views), expected)


def test_a_feature_may_be_dynamic_in_one_piece_and_static_in_another(forest):
    dynamic, static = made_piece((4, 9, 12))
    clay = np.broadcast_to(static["clay"], (4, 9, 12))
    moved = predict_codes(forest, dynamic | {"clay": clay}, {"lat": static["lat"]})
    np.testing.assert_array_equal(moved, predict_codes(forest, dynamic, static))


def test_features_are_found_by_name_beside_others(forest):
    dynamic, static = made_piece((2, 8, 8))
    turned = dict(reversed(dynamic.items())) | {"ndvi": dynamic["tair"]}
    np.testing.assert_array_equal(
        predict_codes(forest, turned, static), predict_codes(forest, dynamic, static)
    )


def test_a_forest_is_packed_once_and_forgotten_with_it():
    forest = hand_forest()
    packings = feature_packings(forest.features)
    packed = packed_forest(forest, packings)
    assert packed_forest(forest, packings) is packed
    nodes = weakref.ref(packed.nodes)
    del forest, packed
    gc.collect()
    assert nodes() is None


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda d, s: d.pop("apei"), r"needs \['apei'\], the codes have \['clay', 'lat', 'tair'\]"),
        (lambda d, s: s.update(tair=s["clay"]), r"\['tair'\] are given as dynamic and as static"),
        (lambda d, s: d.update(apei=d["apei"][1:]), r"'apei' has shape \(1, 8, 8\)"),
        (lambda d, s: s.update(clay=s["clay"][1:]), r"expected int16 codes of shape \(8, 8\)"),
        (lambda d, s: d.update(tair=d["tair"] * 1.0), "'tair' has .* type float64"),
        (lambda d, s: d.update({n: a[0] for n, a in d.items()}), r"of shape \(time, lat, lon\)"),
    ],
)
def test_codes_that_do_not_fit_the_forest_or_each_other_are_refused(forest, change, message):
    dynamic, static = made_piece((2, 8, 8))
    change(dynamic, static)
    with pytest.raises(ValueError, match=message):
        predict_codes(forest, dynamic, static)


def test_without_dynamic_codes_the_days_are_not_known(forest):
    static = {name: np.zeros((8, 8), "int16") for name in NAMES}
    with pytest.raises(ValueError, match="no dynamic codes"):
        predict_codes(forest, {}, static)


def test_a_feature_without_packing_is_named():
    with pytest.raises(ValueError, match=r"\['rain'\] have no packing"):
        feature_packings(["tair", "rain"])


def test_a_given_packing_takes_the_place_of_the_tables():
    coarse, usual = feature_packings(["tair", "clay"], {"tair": Packing(0.5)})
    assert (coarse, usual) == (Packing(0.5), Packing(0.01))


def test_the_processor_decides_how_lists_are_split_unless_one_form_is_asked_for():
    wide = frozenset({"avx2", "avx512f", "avx512vl", "avx512bw"})
    plain, avx2 = frozenset({"sse2"}), frozenset({"avx2"})
    assert [lanes.split_path("", f) for f in (plain, avx2, wide)] == [SCALAR, BY_FOUR, BY_EIGHT]
    assert [lanes.split_path("scalar", f) for f in (plain, wide)] == [SCALAR, SCALAR]
    assert [lanes.split_path("vector", f) for f in (plain, wide)] == [BY_FOUR, BY_EIGHT]
    with pytest.raises(ValueError, match="GSSM_LANES is 'fast', expected 'scalar' or 'vector'"):
        lanes.split_path("fast", avx2)


def test_the_environment_can_ask_for_the_scalar_form():
    asked = "from gssm_cube.forest import lanes; raise SystemExit(40 + lanes.PATH)"
    environment = os.environ | {"GSSM_LANES": "scalar"}
    assert subprocess.run([sys.executable, "-c", asked], env=environment).returncode == 40


@pytest.mark.real_data
@pytest.mark.parametrize(
    "file, target",
    [
        ("uscrn_daily_2020_kit.parquet", "soil_moisture_5_daily"),
        ("ismn_s2_s1_smap_10day_kit.csv", "sm_0_5cm_m3m3"),
        ("ecostress_towers_ptjplsm_kit.csv", "SM_surf"),
    ],
)
def test_forests_of_real_tables_have_the_bits_of_scikit_learn(real_data: Path, file, target):
    path = real_data / "tables" / file
    table = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    numbers = table.select_dtypes("number").dropna(axis="columns", thresh=len(table) // 2).dropna()
    features = numbers.drop(columns=target).iloc[:6000]
    ranges = features.abs().max()
    packings = {name: Packing(float(top) / 3000 or 1.0) for name, top in ranges.items()}
    codes = {name: packing.encode(features[name]) for name, packing in packings.items()}
    values = pd.DataFrame({name: packings[name].decode(codes[name]) for name in codes})
    fitted = RandomForestRegressor(5, random_state=0, max_features="sqrt")
    fitted.fit(values, numbers[target].iloc[: len(values)])
    days = len(values) // 40
    dynamic = {name: code[: days * 40].reshape(days, 5, 8) for name, code in codes.items()}
    found = predict_codes(compile_forest(fitted), dynamic, {}, packings=packings)
    np.testing.assert_array_equal(found.ravel(), fitted.predict(values[: days * 40]))
