"""Boosted trees of LightGBM, as nodes in preorder.

LightGBM adds the leaves of its trees, in their order, starting from 0; shrinkage and the first
guess are in the leaves. So a walk that does the same has its bits. Thresholds are float64, a row
goes left where it is not above, as in scikit-learn, but for values next to zero, which LightGBM
reads as zero. What it does with a missing value does not matter: a row that lacks a feature has no
estimate here.
"""

import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Objectives whose estimate is the sum itself; the others take it through a function.
PLAIN = ("regression", "regression_l1", "huber", "fair", "quantile", "mape")
NEXT_TO_ZERO = float(np.float32(1e-35))  # LightGBM's kZeroThreshold


class FlatTree(NamedTuple):
    """One tree as arrays in preorder: the left child is the next node.

    Parameters
    ----------
    feature : ndarray (node), int
        -1 at a leaf.
    threshold : ndarray (node), float64
    right : ndarray (node), int
        Right child; at a leaf, the number of its value.
    leaves : ndarray (leaf), float64
    """

    feature: NDArray[np.signedinteger]
    threshold: NDArray[np.float64]
    right: NDArray[np.signedinteger]
    leaves: NDArray[np.float64]


def is_booster(model: Any) -> bool:
    """Whether it is LightGBM's regressor; LightGBM need not be installed to say no."""
    return any(kind.__name__ == "LGBMRegressor" for kind in type(model).__mro__)


def booster_names(model: Any) -> tuple[str, ...]:
    """Return the names of the features.

    Raises
    ------
    ValueError
        If it was fitted on an array.
    """
    names = tuple(map(str, model.booster_.feature_name()))
    if all(re.fullmatch(r"Column_\d+", name) for name in names):
        raise ValueError("the booster has no feature names; fit it on a DataFrame, not an array")
    return names


def booster_trees(model: Any) -> list[FlatTree]:
    """Return the trees of a fitted LGBMRegressor, in the order of their sum.

    Raises
    ------
    ValueError
        If it is not fitted, or its estimate is not the plain sum of leaves behind
        ``feature <= threshold``.
    """
    if not hasattr(model, "booster_"):
        raise ValueError("the booster is not fitted; fit it before compiling")
    said = model.booster_.dump_model()
    objective = str(said.get("objective", "custom"))
    if objective not in PLAIN:
        raise ValueError(
            f"the booster's objective is {objective!r}, whose estimate is no plain sum of trees; "
            f"expected one of {PLAIN}"
        )
    if said["average_output"]:
        raise ValueError(
            "the booster averages its trees (boosting 'rf'); fit a RandomForestRegressor instead"
        )
    return [_flat_tree(tree["tree_structure"]) for tree in said["tree_info"]]


def _flat_tree(root: dict[str, Any]) -> FlatTree:
    """Lay out one tree, by a stack: a tree may be as deep as it has leaves."""
    feature: list[int] = []
    right: list[int] = []
    threshold: list[float] = []
    leaves: list[float] = []
    waiting: list[tuple[dict[str, Any], int | None]] = [(root, None)]
    while waiting:
        node, parent = waiting.pop()
        number = len(feature)
        if parent is not None:
            right[parent] = number
        if "split_feature" in node:
            _check_split(node)
            feature.append(node["split_feature"])
            threshold.append(_clear_of_zero(node["threshold"]))
            right.append(0)  # until it is known
            waiting += [(node["right_child"], number), (node["left_child"], None)]
        else:
            _check_leaf(node)
            feature.append(-1)
            threshold.append(-2.0)
            right.append(len(leaves))
            leaves.append(node["leaf_value"])
    return FlatTree(
        np.array(feature), np.array(threshold, "float64"), np.array(right), np.array(leaves)
    )


def _clear_of_zero(threshold: float) -> float:
    """Move a threshold so that values next to zero go where zero goes."""
    if abs(threshold) > NEXT_TO_ZERO:
        return threshold
    return NEXT_TO_ZERO if threshold >= 0 else float(np.nextafter(-NEXT_TO_ZERO, -np.inf))


def _check_split(node: dict[str, Any]) -> None:
    """Raise unless a node compares numbers."""
    if node["decision_type"] != "<=":
        raise ValueError(
            f"the booster splits by categories ({node['decision_type']!r}); fit it on numbers"
        )
    if node["missing_type"] == "Zero":
        raise ValueError(
            "the booster takes zeros as missing (zero_as_missing); fit it without that"
        )


def _check_leaf(node: dict[str, Any]) -> None:
    """Raise unless a leaf is one number."""
    if "leaf_coeff" in node:
        raise ValueError("the booster has linear models in its leaves (linear_tree); fit without")
