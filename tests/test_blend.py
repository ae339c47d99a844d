"""Blends: how members are fitted, weighed, saved, and predicted."""

import json
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from gssm_cube.forest import (
    Blend,
    Boosting,
    CompiledForest,
    Preset,
    Weights,
    compile_forest,
    load_forest,
    predict_codes,
    train_forest,
)
from gssm_cube.forest.blend import Member, fixed_features, place_members
from gssm_cube.forest.parts import Part
from gssm_cube.forest.train import fit_forest, usable_weights
from gssm_cube.variables import FILL, PREDICTORS

NAMES = ("tair", "apei", "clay", "sand")
THIRD = 1 / 3
QUICK = Boosting(trees=30, min_samples_leaf=5)
BLENDED = Preset(
    name="blended",
    features=NAMES,
    trees=6,
    kind="extremely_randomised",
    bootstrap=False,
    increasing=("apei",),
    weights=Weights(forest=THIRD, booster=THIRD, place=THIRD),
    boosting=QUICK,
    departures=QUICK,
)


def drawn_codes(shape, seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    dynamic = {n: rng.integers(-25, 26, shape).astype("int16") for n in NAMES[:2]}
    static = {n: rng.integers(-25, 26, shape[1:]).astype("int16") for n in NAMES[2:]}
    return dynamic, static


def decoded(dynamic, static) -> pd.DataFrame:
    shape = dynamic["tair"].shape
    codes = {n: np.broadcast_to((dynamic | static)[n], shape).ravel() for n in NAMES}
    return pd.DataFrame({n: PREDICTORS[n].packing.decode(code) for n, code in codes.items()})


@pytest.fixture(scope="module")
def samples() -> pd.DataFrame:
    """Forty days of twenty-four places."""
    table = decoded(*drawn_codes((40, 4, 6), seed=2))
    noise = np.random.default_rng(3).normal(0, 0.01, len(table))
    level = 0.2 + 0.3 * np.sin(30 * table["clay"])
    return table.assign(observed=level + 0.02 * np.tanh(table["apei"]) + noise)


@pytest.fixture(scope="module")
def blend(samples) -> Blend:
    return train_forest(samples, BLENDED)


@pytest.fixture(scope="module")
def forest(blend) -> CompiledForest:
    return compile_forest(blend, preset="blended")


def hand_forest(*parts: Part) -> CompiledForest:
    """Three trees of clay: <= 20 % ? 0.1 : 0.3; <= 20 % ? 0.2 : 0.6; and a single leaf of 0.05."""
    return CompiledForest(
        features=("clay",),
        feature=np.array([0, -1, -1, 0, -1, -1, -1], "int16"),
        threshold=np.array([20.0, -2, -2, 20.0, -2, -2, -2]),
        right=np.array([2, 0, 1, 2, 0, 1, 0], "uint32"),
        leaf=np.array([0.1, 0.3, 0.2, 0.6, 0.05]),
        node_offsets=np.array([0, 3, 6, 7]),
        leaf_offsets=np.array([0, 2, 4, 5]),
        parts=parts,
    )


def test_parts_are_averaged_or_summed_weighed_and_added():
    # clay 10: forest (0.1 + 0.2) / 2 = 0.15, booster 0.05; clay 30: (0.3 + 0.6) / 2 = 0.45.
    forest = hand_forest(Part("forest", 2, 0.5), Part("booster", 1, 2.0, averaged=False))
    found, spread = forest.predict_with_spread(pd.DataFrame({"clay": [10.0, 30.0, np.nan]}))
    np.testing.assert_allclose(found, [0.175, 0.325, np.nan], rtol=1e-15)
    np.testing.assert_allclose(spread, [0.05, 0.15, np.nan], rtol=1e-12)


def test_two_trees_are_a_mean_as_a_forest_and_a_sum_as_a_booster():
    table = pd.DataFrame({"clay": [10.0]})
    as_forest = hand_forest(Part("forest", 2), Part("nothing", 1, 0.0))
    as_booster = hand_forest(Part("booster", 2, averaged=False), Part("nothing", 1, 0.0))
    np.testing.assert_allclose(as_forest.predict(table), [0.15], rtol=1e-15)
    np.testing.assert_allclose(as_booster.predict(table), [0.3], rtol=1e-15)


def test_the_spread_is_of_the_first_part_that_is_a_mean_and_zero_without_one():
    table = pd.DataFrame({"clay": [10.0, 30.0]})
    sums = Part("booster", 1, averaged=False)
    after = hand_forest(sums, Part("forest", 2))
    # Trees two and three, clay 10: 0.2 and 0.05; clay 30: 0.6 and 0.05.
    np.testing.assert_allclose(after.predict_with_spread(table)[1], [0.075, 0.275], rtol=1e-12)
    without = hand_forest(sums, Part("more", 2, averaged=False))
    assert without.predict_with_spread(table)[1].tolist() == [0.0, 0.0]


def test_a_forest_without_parts_is_one_mean_of_all_trees():
    assert hand_forest().parts == (Part("forest", 3),)


def test_compiled_rows_have_the_bits_of_the_members_own_libraries(samples, blend, forest):
    assert [part.name for part in forest.parts] == ["forest", "booster", "place", "departure"]
    assert [part.averaged for part in forest.parts] == [True, False, True, False]
    np.testing.assert_array_equal(forest.predict(samples), blend.predict(samples))
    own = sum(
        member.weight * np.asarray(member.model.predict(samples[list(member.features)].to_numpy()))
        for member in blend.members
        if member.name in ("booster", "departure")
    )
    assert np.abs(forest.predict(samples) - own).max() > 0.01  # the others do count


def test_the_spread_of_a_blend_is_that_of_its_forest(samples, blend, forest):
    extra = blend.members[0].model
    rows = samples[list(NAMES)].to_numpy()
    trees = np.stack([tree.predict(rows) for tree in extra.estimators_])
    found = forest.predict_with_spread(samples)[1]
    np.testing.assert_allclose(found, trees.std(axis=0), rtol=1e-9, atol=1e-12)


def test_a_block_has_the_bits_of_the_rows_of_a_blend(blend, forest):
    dynamic, static = drawn_codes((70, 9, 50), seed=7)
    dynamic["apei"][3, 4, 5] = static["sand"][6, 7] = FILL
    table = decoded(dynamic, static)
    found = predict_codes(forest, dynamic, static, spread=True)
    for plane, expected in zip(found, forest.predict_with_spread(table), strict=True):
        np.testing.assert_array_equal(plane.ravel(), expected)
    there = table.notna().all(axis="columns")
    assert (~there).sum() == 1 + 70
    np.testing.assert_array_equal(found[0].ravel()[there], blend.predict(table[there]))


@given(
    cuts=st.lists(st.integers(1, 3), min_size=1, max_size=3).filter(lambda cuts: sum(cuts) == 3),
    weights=st.lists(st.floats(-2, 2), min_size=3, max_size=3),
    averaged=st.lists(st.booleans(), min_size=3, max_size=3),
    clay=st.lists(st.integers(1990, 2010), min_size=6, max_size=6),
)
@settings(max_examples=60, deadline=None)
def test_any_parts_give_rows_and_blocks_the_same_bits(cuts, weights, averaged, clay):
    kinds = zip(cuts, weights, averaged, strict=False)
    forest = hand_forest(*(Part("p", trees, weight, mean) for trees, weight, mean in kinds))
    codes = np.array(clay, "int16").reshape(1, 2, 3)
    blocks = predict_codes(forest, {"clay": codes}, {}, spread=True)
    values = PREDICTORS["clay"].packing.decode(codes.ravel())
    rows = forest.predict_with_spread(pd.DataFrame({"clay": values}))
    np.testing.assert_array_equal(np.reshape(blocks, (2, 6)), rows)
    leaves = np.where(values[:, None] <= 20, [0.1, 0.2, 0.05], [0.3, 0.6, 0.05])
    expected, first = np.zeros(6), 0
    for part in forest.parts:
        own = leaves[:, first : first + part.trees]
        expected += part.weight * (own.mean(axis=1) if part.averaged else own.sum(axis=1))
        first += part.trees
    np.testing.assert_allclose(rows[0], expected, rtol=1e-12, atol=1e-15)


def test_a_saved_blend_comes_back_with_its_parts_and_its_bits(samples, forest, tmp_path):
    forest.save(tmp_path)
    opened = load_forest(tmp_path, check=True)
    assert opened.parts == forest.parts and opened.digest == forest.digest
    np.testing.assert_array_equal(opened.predict(samples), forest.predict(samples))


def test_the_digest_tells_weights_apart():
    parts = [(Part("a", 2, weight), Part("b", 1, 1 - weight)) for weight in (0.5, 0.25)]
    assert len({hand_forest(*pair).digest for pair in parts} | {hand_forest().digest}) == 3


@pytest.mark.parametrize(
    "parts, message",
    [
        ([{"name": "a", "trees": 2}], "has 3 trees, its parts are"),
        ([{"name": "a", "trees": 3, "weight": float("nan")}], "has 3 trees, its parts are"),
        ([{"name": "a", "trees": 4}, {"name": "b", "trees": -1}], "has 3 trees, its parts are"),
        ([{"name": "a", "trees": 3, "run": "code"}], "unexpected keyword argument 'run'"),
        ([{"name": "a", "trees": "3"}], "parts are"),
        (7, "not iterable"),
        ([], "has 3 trees, its parts are"),
    ],
)
def test_parts_that_do_not_fit_the_trees_are_refused(tmp_path, parts, message):
    hand_forest().save(tmp_path)
    path = tmp_path / "forest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"parts": parts}))
    with pytest.raises(ValueError, match=message):
        load_forest(tmp_path)


def test_a_place_is_learnt_once_and_departures_are_from_its_own_mean():
    # Three days of one place, one of another, two of a third.
    table = pd.DataFrame({"clay": [1, 1, 1, 2, 3, 3], "apei": [5, 6, 7, 5, 5, 6]}, dtype="float32")
    target = np.array([0.1, 0.2, 0.3, 0.5, 0.6, 0.8])
    seen = {}

    def fit_booster(features, departures):
        seen.update(features=list(features), departures=departures)
        return "booster"

    place, departure = place_members(table, target, 0.25, fit_booster, seed=0)
    np.testing.assert_allclose(seen["departures"], [-0.1, 0, 0.1, 0, -0.1, 0.1], atol=1e-15)
    assert (seen["features"], departure.model) == (["clay", "apei"], "booster")
    assert (place.features, departure.features) == (("clay",), ("clay", "apei"))
    assert place.weight == departure.weight == 0.25
    drawn = [tree.tree_.weighted_n_node_samples[0] for tree in place.model.estimators_]
    assert set(drawn) == {3.0}  # a row a place, not a row a day


def test_stations_that_share_all_that_is_fixed_are_one_place(samples):
    twice = pd.concat([samples, samples], ignore_index=True)
    one, two = (train_forest(table, BLENDED).members[2].model for table in (samples, twice))
    rows = samples[["clay", "sand"]][:24]
    np.testing.assert_allclose(one.predict(rows), two.predict(rows), rtol=1e-12)


def test_what_is_said_to_be_fixed_and_changes_with_the_days_is_named(samples):
    moving = samples.assign(clay=np.arange(len(samples)) / 100)
    with pytest.raises(ValueError, match=r"960 rows have 960 distinct sets of \['clay', 'sand'\]"):
        train_forest(moving, BLENDED)


def test_soil_terrain_and_climate_are_fixed_and_the_position_is_no_property_of_a_place():
    names = ("clay", "apei", "climate_tair", "climate_lst_diff", "lat", "lon", "other")
    assert fixed_features(names) == ("clay", "climate_tair", "climate_lst_diff")


def test_each_member_is_told_as_it_is_fitted_and_all_are_counted_before(samples):
    for features, members in ((list(NAMES), 3), (["tair", "apei"], 2)):  # with a place, without
        told = []
        fit_forest(
            samples[features].astype("float32"), samples["observed"].to_numpy("float64"), BLENDED,
            told=lambda *step, told=told: told.append(step),
        )  # fmt: skip
        assert told == [(done, members) for done in range(members + 1)]


def test_without_a_fixed_feature_the_other_members_share_the_weight(samples):
    preset = BLENDED.model_copy(update={"weights": Weights(forest=0.3, booster=0.2, place=0.5)})
    assert usable_weights(preset, NAMES) == {"forest": 0.3, "booster": 0.2, "place": 0.5}
    assert usable_weights(preset, ("apei",)) == pytest.approx({"forest": 0.6, "booster": 0.4})
    found = train_forest(samples, preset, features=["tair", "apei"])
    assert [member.name for member in found.members] == ["forest", "booster"]


def test_a_mean_of_places_alone_needs_what_is_fixed(samples):
    preset = BLENDED.model_copy(update={"weights": Weights(forest=0, place=1)})
    with pytest.raises(ValueError, match="'blended' needs a feature that is fixed in place"):
        train_forest(samples, preset, features=["tair", "apei"])
    found = train_forest(samples, preset)
    assert [member.name for member in found.members] == ["place", "departure"]


def test_weights_must_sum_to_one():
    with pytest.raises(ValidationError, match=r"the weights sum to 1.5, expected 1"):
        Weights(forest=1, booster=0.5)


def test_the_same_seed_gives_the_same_blend_with_one_thread_and_two(samples, forest):
    again = compile_forest(train_forest(samples, BLENDED, n_jobs=1))
    other = compile_forest(train_forest(samples, BLENDED, seed=1))
    assert again.digest == forest.digest != other.digest


def test_a_blend_only_rises_with_a_feature_that_is_said_to(samples):
    falling = samples.assign(observed=0.2 - 0.05 * np.tanh(samples["apei"]) + samples["tair"] / 9)
    line = samples[:50].assign(apei=np.linspace(-2.5, 2.5, 50))
    line[["tair", "clay", "sand"]] = samples[["tair", "clay", "sand"]].iloc[0].to_numpy()
    held = train_forest(falling, BLENDED).predict(line)
    free = train_forest(falling, BLENDED.model_copy(update={"increasing": ()})).predict(line)
    assert (np.diff(held) >= 0).all() and (np.diff(free) < 0).any()


def test_departures_may_fall_where_the_other_members_may_not(samples):
    falling = samples.assign(observed=0.2 - 0.05 * np.tanh(samples["apei"]) + samples["tair"] / 9)
    line = samples[:50].assign(apei=np.linspace(-2.5, 2.5, 50))
    line[["tair", "clay", "sand"]] = samples[["tair", "clay", "sand"]].iloc[0].to_numpy()
    free = QUICK.model_copy(update={"rising": False})
    blend = train_forest(falling, BLENDED.model_copy(update={"departures": free}))
    assert [(np.diff(_alone(blend, member, line)) < 0).any() for member in blend.members] == [
        *(False, False, False, True),
    ]


def _alone(blend: Blend, member: Member, table: pd.DataFrame) -> np.ndarray:
    """What one member of a blend estimates."""
    return replace(blend, members=(replace(member, weight=1.0),)).predict(table)


def test_importance_is_shared_by_weight_and_sums_to_one(blend):
    shares = blend.feature_importances_
    assert shares.sum() == pytest.approx(1) and (shares >= 0).all()
    place = blend.members[2].model.feature_importances_
    only = Blend(NAMES, (blend.members[2],)).feature_importances_
    np.testing.assert_allclose(only, [0, 0, *place], rtol=1e-12)


def test_names_with_blanks_stay_as_they_are(samples):
    named = samples.rename(columns={"tair": "air temperature", "apei": "a[0]"})
    preset = BLENDED.model_copy(update={"features": ("air temperature", "a[0]", "clay")})
    found = compile_forest(train_forest(named, preset))
    assert found.features == ("air temperature", "a[0]", "clay")


def test_without_lightgbm_the_error_says_what_to_install_or_to_choose(samples, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(RuntimeError, match=r"install it and .* libgomp .* such as 'memory_forest'"):
        train_forest(samples, BLENDED)
