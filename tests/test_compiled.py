"""The compiled forest: its arrays, and saving without pickle."""

import hashlib
import json
import mmap
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import (
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeRegressor

from gssm_cube.forest import CompiledForest, compile_forest, forest_hash, load_forest
from gssm_cube.forest.packed import feature_packings, packed_forest
from gssm_cube.variables import Packing

TABLE = pd.DataFrame(
    np.random.default_rng(3).normal(size=(120, 3)), columns=["wet", "warm", "flat"]
).astype("float32")
TARGET = (TABLE["wet"] * TABLE["warm"]).to_numpy()


@pytest.fixture(scope="module")
def fitted() -> RandomForestRegressor:
    return RandomForestRegressor(6, random_state=0).fit(TABLE, TARGET)


@pytest.fixture(scope="module")
def forest(fitted: RandomForestRegressor) -> CompiledForest:
    return compile_forest(fitted, preset="default", card={"rmse": 0.05, "days": "UTC"})


@pytest.fixture
def folder(forest: CompiledForest, tmp_path: Path) -> Path:
    forest.save(tmp_path / "forest")
    return tmp_path / "forest"


def edit_record(folder: Path, **changes) -> None:
    path = folder / "forest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def save_forged(forest: CompiledForest, folder: Path, **arrays) -> None:
    """Save with matching hashes, so that only the look at the structure can notice."""
    fields = {name: getattr(forest, name) for name in forest.__dataclass_fields__}
    CompiledForest(**(fields | arrays)).save(folder)


def test_a_step_compiles_to_one_split_and_two_leaves():
    step = pd.DataFrame({"wet": [1.0, 2.0, 3.0, 4.0]})
    model = RandomForestRegressor(1, bootstrap=False).fit(step, [0.1, 0.1, 0.3, 0.3])
    forest = compile_forest(model)
    assert forest.features == ("wet",)
    assert forest.feature.tolist() == [0, -1, -1]
    assert forest.threshold[0] == 2.5
    assert forest.right.tolist() == [2, 0, 1]
    np.testing.assert_allclose(forest.leaf, [0.1, 0.3])
    assert (forest.node_offsets.tolist(), forest.leaf_offsets.tolist()) == ([0, 3], [0, 2])


def test_arrays_hold_scikit_learns_trees_one_after_another(fitted, forest):
    for number, estimator in enumerate(fitted.estimators_):
        tree, (nodes, leaves) = estimator.tree_, forest.tree_slices(number)
        inner = tree.children_left >= 0
        rounded = forest.threshold[nodes].astype("float64")
        above = np.nextafter(forest.threshold[nodes], np.float32(np.inf)).astype("float64")
        assert (rounded <= tree.threshold).all() and (above > tree.threshold).all()
        np.testing.assert_array_equal(forest.feature[nodes][inner], tree.feature[inner])
        np.testing.assert_array_equal(forest.right[nodes][inner], tree.children_right[inner])
        np.testing.assert_array_equal(tree.children_left[inner], np.flatnonzero(inner) + 1)
        np.testing.assert_array_equal(forest.leaf[leaves], tree.value[~inner].ravel())


def test_a_saved_forest_predicts_the_same_bits_from_mapped_arrays(fitted, forest, folder):
    opened = load_forest(folder)
    assert isinstance(opened.threshold, np.memmap)
    assert not opened.threshold.flags.writeable
    np.testing.assert_array_equal(opened.predict(TABLE), fitted.predict(TABLE))
    assert (opened.features, opened.preset, opened.card) == (
        *(forest.features, "default", {"rmse": 0.05, "days": "UTC"}),
    )


def test_the_folder_holds_plain_arrays_and_one_record(folder):
    assert sorted(path.name for path in folder.iterdir()) == [
        *("feature.npy", "forest.json", "leaf.npy", "leaf_offsets.npy", "node_offsets.npy"),
        *("right.npy", "threshold.npy"),
    ]
    types = {path.stem: np.load(path, allow_pickle=False).dtype for path in folder.glob("*.npy")}
    assert types["feature"] == np.int16 and types["right"] == np.uint32
    assert types["threshold"] == np.float32 and types["leaf"] == np.float64


def test_the_record_states_the_hash_of_each_array(forest, folder):
    record = json.loads((folder / "forest.json").read_text())
    expected = hashlib.sha256(forest.leaf.tobytes()).hexdigest()
    assert record["arrays"]["leaf"]["sha256"] == expected
    assert (record["version"], record["features"]) == (4, ["wet", "warm", "flat"])


def test_the_digest_is_of_trees_and_names_and_not_of_the_card(fitted, forest, folder):
    again = compile_forest(RandomForestRegressor(6, random_state=0).fit(TABLE, TARGET))
    assert again.digest == forest.digest == forest_hash(folder) == load_forest(folder).digest
    other = compile_forest(RandomForestRegressor(6, random_state=1).fit(TABLE, TARGET))
    renamed = TABLE.rename(columns={"wet": "damp"})
    named = compile_forest(RandomForestRegressor(6, random_state=0).fit(renamed, TARGET))
    assert len({forest.digest, other.digest, named.digest}) == 3


def test_saving_over_a_forest_leaves_the_mapped_one_whole(fitted, folder):
    opened = load_forest(folder)
    compile_forest(RandomForestRegressor(2, random_state=9).fit(TABLE, TARGET)).save(folder)
    np.testing.assert_array_equal(opened.predict(TABLE), fitted.predict(TABLE))
    assert load_forest(folder).trees == 2


@pytest.mark.parametrize(
    "model", [DecisionTreeRegressor(), GradientBoostingRegressor(), RandomForestClassifier()]
)
def test_another_kind_of_model_is_refused(model):
    with pytest.raises(TypeError, match=f"{type(model).__name__} cannot be compiled"):
        compile_forest(model)


@pytest.mark.parametrize(
    "fit, message",
    [
        (lambda m: m, "not fitted"),
        (lambda m: m.fit(TABLE, np.stack([TARGET, TARGET], axis=1)), "2 outputs, expected 1"),
        (lambda m: m.fit(TABLE.to_numpy(), TARGET), "no feature names"),
        (lambda m: m.set_params(max_leaf_nodes=20).fit(TABLE, TARGET), "not in preorder"),
    ],
)
def test_a_forest_that_the_arrays_cannot_say_is_refused(fit, message):
    with pytest.raises(ValueError, match=message):
        compile_forest(fit(RandomForestRegressor(2, random_state=0)))


def test_a_folder_without_a_forest_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no forest in .*nowhere"):
        load_forest(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"version": 5}, "has format version 5, this package reads 4; update"),
        ({"format": "other"}, "not the record of a gssm_cube forest"),
        ({"arrays": {}}, "lacks .*'feature'"),
    ],
)
def test_a_newer_or_foreign_record_is_refused(folder, changes, message):
    edit_record(folder, **changes)
    with pytest.raises(ValueError, match=message):
        load_forest(folder)


def test_a_record_cut_short_is_refused(folder):
    text = (folder / "forest.json").read_text()
    (folder / "forest.json").write_text(text[:40])
    with pytest.raises(ValueError, match="forest.json is not JSON"):
        load_forest(folder)


@pytest.mark.parametrize("keep", [0, 40, -8])
def test_a_truncated_array_is_refused(folder, keep):
    content = (folder / "leaf.npy").read_bytes()
    (folder / "leaf.npy").write_bytes(content[:keep])
    with pytest.raises(ValueError, match="leaf.npy cannot be read"):
        load_forest(folder)


def test_a_missing_array_is_refused(folder):
    (folder / "right.npy").unlink()
    with pytest.raises(ValueError, match="right.npy cannot be read .* missing"):
        load_forest(folder)


def test_a_pickle_in_place_of_an_array_is_not_opened(folder, tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    (folder / "leaf.npy").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="leaf.npy cannot be read"):
        load_forest(folder)
    np.save(folder / "leaf.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="leaf.npy cannot be read"):
        load_forest(folder)
    assert not (tmp_path / "sprung").exists()


def test_an_array_of_another_type_or_size_is_refused(forest, folder):
    np.save(folder / "leaf.npy", forest.leaf.astype("float32"))
    with pytest.raises(ValueError, match="holds <f4 of shape .* expected <f8"):
        load_forest(folder)
    np.save(folder / "leaf.npy", forest.leaf[:-1])
    with pytest.raises(ValueError, match="expected <f8 of shape"):
        load_forest(folder)


def test_one_changed_value_is_noticed_by_the_check_and_by_nothing_else(forest, folder):
    changed = forest.leaf.copy()
    changed[3] += 1e-9
    np.save(folder / "leaf.npy", changed)
    with pytest.raises(ValueError, match=r"leaf.npy is not the file that was saved"):
        load_forest(folder, check=True)
    np.testing.assert_array_equal(load_forest(folder).leaf, changed)


@pytest.mark.parametrize(
    "name, position, value",
    [
        ("feature", 0, 3),  # no such feature
        ("feature", -1, 0),  # the last node would have its left child outside
        ("right", 0, 0),  # a walk without end
        ("right", 0, 3),  # a node with two parents
        ("right", 0, 4_000_000_000),  # outside
        ("right", -1, 4_000_000_000),  # a leaf without a value
        ("node_offsets", -1, 5),
        ("leaf_offsets", 0, 1),
    ],
)
def test_indices_that_would_lead_outside_are_refused(forest, tmp_path, name, position, value):
    forged = getattr(forest, name).copy()
    forged[position] = value
    save_forged(forest, tmp_path, **{name: forged})
    with pytest.raises(ValueError, match="do not form trees"):
        load_forest(tmp_path, check=True)


def owner_of(array):
    """Whatever holds the memory of an array that is a view of a view."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array


@pytest.fixture
def packed_folder(tmp_path) -> Path:
    named = TABLE.rename(columns={"wet": "apei", "warm": "tair", "flat": "clay"})
    compile_forest(RandomForestRegressor(4, random_state=0).fit(named, TARGET)).save(tmp_path)
    return tmp_path


def test_nodes_for_blocks_are_saved_and_mapped_not_made_again(packed_folder):
    opened = load_forest(packed_folder, check=True)
    packed = packed_forest(opened, feature_packings(opened.features))
    saved = np.load(packed_folder / "nodes.npy", mmap_mode="r")
    np.testing.assert_array_equal(packed.nodes, saved)
    assert not packed.nodes.flags.writeable
    assert isinstance(owner_of(packed.nodes), mmap.mmap)
    again = CompiledForest(**{n: getattr(opened, n) for n in opened.__dataclass_fields__})
    derived = packed_forest(again, feature_packings(opened.features))
    np.testing.assert_array_equal(derived.nodes, saved)
    assert derived.depth == packed.depth


def test_another_packing_than_the_saved_one_gives_other_nodes(packed_folder):
    opened = load_forest(packed_folder)
    finer = tuple(Packing(packing.scale / 2) for packing in feature_packings(opened.features))
    nodes = packed_forest(opened, finer).nodes
    assert (nodes != np.load(packed_folder / "nodes.npy")).any()


def test_saved_nodes_of_other_trees_are_noticed_by_the_check(packed_folder):
    nodes = np.load(packed_folder / "nodes.npy")
    nodes[0] += np.uint64(1)
    np.save(packed_folder / "nodes.npy", nodes)
    with pytest.raises(ValueError, match="nodes.npy is not the file that was saved"):
        load_forest(packed_folder, check=True)
    record = json.loads((packed_folder / "forest.json").read_text())
    record["arrays"]["nodes"]["sha256"] = hashlib.sha256(nodes.tobytes()).hexdigest()
    edit_record(packed_folder, arrays=record["arrays"])
    with pytest.raises(ValueError, match="nodes.npy holds other trees"):
        load_forest(packed_folder, check=True)


def test_what_a_forest_takes_is_a_fifth_of_scikit_learn(fitted, forest):
    trees = [estimator.tree_ for estimator in fitted.estimators_]
    theirs = sum(tree.__getstate__()["nodes"].nbytes + tree.value.nbytes for tree in trees)
    ours = sum(getattr(forest, name).nbytes for name in ("feature", "threshold", "right", "leaf"))
    assert 5 * ours <= theirs
