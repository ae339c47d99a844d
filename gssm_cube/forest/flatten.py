"""From a fitted model to a compiled forest: flat arrays in preorder."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from gssm_cube.forest.blend import Blend
from gssm_cube.forest.boosted import FlatTree, booster_names, booster_trees, is_booster
from gssm_cube.forest.compiled import ARRAYS, CompiledForest
from gssm_cube.forest.parts import Part


class _Run(NamedTuple):
    """Trees of one model, which see the features of these names."""

    part: Part
    trees: list[FlatTree]
    names: tuple[str, ...]


def compile_forest(
    forest: Any, *, preset: str = "", card: Mapping[str, Any] | None = None
) -> CompiledForest:
    """Turn a fitted model of trees into flat arrays.

    Parameters
    ----------
    forest : RandomForestRegressor, ExtraTreesRegressor, LGBMRegressor or Blend
        Fitted on a DataFrame, one output.
    preset : str
        Name of the recipe, for the record.
    card : mapping, optional
        Model card; plain values that JSON can hold.

    Returns
    -------
    CompiledForest

    Raises
    ------
    TypeError
        If it is another kind of model.
    ValueError
        If it is not fitted, has several outputs, no feature names, or no preorder; or, of
        LightGBM, if its estimate is no plain sum of leaves behind ``feature <= threshold``.
    """
    runs = _runs(forest)
    names = _feature_names(forest, runs)
    trees = [tree for run in runs for tree in run.trees]
    features = [_renumbered(tree, run.names, names) for run in runs for tree in run.trees]
    arrays = {
        "feature": np.concatenate(features),
        # As float64: `CompiledForest` rounds them down.
        "threshold": np.concatenate([tree.threshold for tree in trees]),
        "right": np.concatenate([tree.right for tree in trees]),
        "leaf": np.concatenate([tree.leaves for tree in trees]),
        "node_offsets": np.cumsum([0, *(tree.feature.size for tree in trees)]),
        "leaf_offsets": np.cumsum([0, *(tree.leaves.size for tree in trees)]),
    }
    types = ARRAYS | {"threshold": "<f8"}
    typed = {name: array.astype(types[name]) for name, array in arrays.items()}
    parts = tuple(run.part for run in runs)
    return CompiledForest(names, **typed, preset=preset, card=dict(card or {}), parts=parts)


def _runs(forest: Any) -> list[_Run]:
    """Return the trees of a model, or of each member of a blend."""
    if isinstance(forest, Blend):
        return [
            _run(member.model, member.name, member.weight, member.features)
            for member in forest.members
        ]
    return [_run(forest, "booster" if is_booster(forest) else "forest", 1.0, None)]


def _run(model: Any, name: str, weight: float, names: tuple[str, ...] | None) -> _Run:
    """Return the trees of one model; a member of a blend is told what its features are."""
    if is_booster(model):
        trees = booster_trees(model)
        part = Part(name, len(trees), weight, averaged=False)
        return _Run(part, trees, names or booster_names(model))
    _check_compilable(model)
    trees = [_flat_tree(estimator.tree_) for estimator in model.estimators_]
    known = tuple(map(str, model.feature_names_in_))
    return _Run(Part(name, len(trees), weight), trees, known)


def _feature_names(forest: Any, runs: Sequence[_Run]) -> tuple[str, ...]:
    """Return the features of the whole; there must be few enough for an index of 16 bits."""
    names = forest.features if isinstance(forest, Blend) else runs[0].names
    if len(names) > np.iinfo("int16").max:
        raise ValueError(f"the forest has {len(names)} features, expected under 32768")
    return names


def _renumbered(tree: FlatTree, own: Sequence[str], names: Sequence[str]) -> NDArray[np.int64]:
    """Return the features of a tree's nodes as numbers among all names; -1 at a leaf."""
    place = {name: number for number, name in enumerate(names)}
    number = np.array([*(place[name] for name in own), -1])
    return number[tree.feature]


def _flat_tree(tree: Any) -> FlatTree:
    """Return one tree of scikit-learn, its leaves numbered as they come."""
    is_leaf = tree.children_left < 0
    _check_preorder(tree, is_leaf)
    return FlatTree(
        feature=np.where(is_leaf, -1, tree.feature),
        threshold=tree.threshold,
        right=np.where(is_leaf, np.cumsum(is_leaf) - 1, tree.children_right),
        leaves=tree.value[is_leaf, 0, 0],
    )


def _check_compilable(forest: Any) -> None:
    """Raise unless it is a fitted forest of one output that knows its features by name."""
    if not isinstance(forest, RandomForestRegressor | ExtraTreesRegressor):
        raise TypeError(
            f"a {type(forest).__name__} cannot be compiled, expected a RandomForestRegressor, an "
            "ExtraTreesRegressor, an LGBMRegressor or a Blend of them"
        )
    if not hasattr(forest, "estimators_"):
        raise ValueError("the forest is not fitted; fit it before compiling")
    if forest.n_outputs_ != 1:
        raise ValueError(f"the forest has {forest.n_outputs_} outputs, expected 1")
    if not hasattr(forest, "feature_names_in_"):
        raise ValueError("the forest has no feature names; fit it on a DataFrame, not an array")


def _check_preorder(tree: Any, is_leaf: NDArray[np.bool_]) -> None:
    """Raise unless every left child is the next node."""
    inner = np.flatnonzero(~is_leaf)
    if not np.array_equal(tree.children_left[inner], inner + 1):
        raise ValueError(
            "the nodes of a tree are not in preorder (max_leaf_nodes grows trees so); "
            "limit trees by min_samples_leaf or max_depth instead"
        )
