"""Prediction of table rows: features by name, the very bits of scikit-learn.

A forest goes left where ``x <= threshold``, with x float32 and the threshold float64. Against the
largest float32 that is not above the threshold the answer is the same for every float32 x, so
rows are compared in float32 and nothing is lost.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

LANES = 16  # rows that walk a tree together, so that their cache misses overlap
NODE = np.dtype([("threshold", "f4"), ("feature", "u4"), ("child", "u4"), ("leaf", "u4")])

Tree = tuple[NDArray[np.void], NDArray[np.float64]]


def table_values(table: pd.DataFrame, features: Sequence[str]) -> NDArray[np.float32]:
    """Return the named columns of a table as float32, in the order of the names.

    Parameters
    ----------
    table : DataFrame
        One row per sample, in the units of training; other columns are ignored.
    features : sequence of str
        Columns to take.

    Returns
    -------
    ndarray (row, feature), float32
        Cast as scikit-learn casts; missing is NaN, too large for float32 is infinite. A column's
        values stand side by side, as a table holds them: it takes the array without a copy.

    Raises
    ------
    ValueError
        If a column is missing, double or not numeric.
    """
    check_columns(table, features)
    values = np.empty((len(table), len(features)), dtype="float32", order="F")
    for position, name in enumerate(features):
        column = table[name]
        if not pd.api.types.is_numeric_dtype(column.dtype):
            raise ValueError(
                f"feature {name!r} has type {column.dtype}, expected numbers; "
                "leave it out or convert it"
            )
        with np.errstate(over="ignore"):
            values[:, position] = column.to_numpy(dtype="float32", na_value=np.nan)
    return values


def check_columns(table: pd.DataFrame, names: Sequence[str]) -> None:
    """Raise a ValueError that names the columns which a table lacks or has twice."""
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise ValueError(
            f"the table lacks the columns {missing}, it has {list(map(str, table.columns))}; "
            "name columns that are there or add the missing ones"
        )
    double = table.columns[table.columns.duplicated()].intersection(list(names))
    if len(double):
        raise ValueError(f"the table has the columns {list(double)} more than once; keep one each")


def float32_thresholds(thresholds: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return the largest float32 that is not above each float64 threshold.

    Parameters
    ----------
    thresholds : ndarray (node), float64
        As scikit-learn fits them.

    Returns
    -------
    ndarray (node), float32
        ``x <= result`` equals ``x <= threshold`` for every float32 x.
    """
    with np.errstate(over="ignore"):
        nearest = np.asarray(thresholds).astype("float32")
        below = np.nextafter(nearest, np.float32(-np.inf))
    return np.where(nearest.astype("float64") > thresholds, below, nearest)


def walking_tree(
    feature: NDArray[np.int16],
    threshold: NDArray[np.floating],
    right: NDArray[np.uint32],
    leaves: NDArray[np.float64],
) -> Tree:
    """Return one tree laid out for the row kernel: 16 bytes a node, and the leaf values.

    Siblings stand side by side, so the next node is ``child + (x > threshold)``, without a
    branch. A leaf is its own child behind an infinite threshold: who has arrived stays.
    """
    inner = np.flatnonzero(feature >= 0)
    place = np.zeros(feature.size, dtype="int64")
    place[inner + 1] = 2 * np.arange(inner.size) + 1
    place[right[inner]] = 2 * np.arange(inner.size) + 2
    is_leaf = feature < 0
    nodes = np.zeros(feature.size, NODE)
    nodes["threshold"][place] = np.where(is_leaf, np.float32(np.inf), float32_thresholds(threshold))
    nodes["feature"][place] = np.where(is_leaf, 0, feature)
    nodes["child"][place] = np.where(is_leaf, place, np.roll(place, -1))
    nodes["leaf"][place] = np.where(is_leaf, right, 0)
    return nodes, np.ascontiguousarray(leaves)


def sum_of_trees(trees: Sequence[Tree], values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the sum over the trees of every row.

    Parameters
    ----------
    trees : sequence of (nodes, leaves)
        From `walking_tree`, in the forest's order.
    values : ndarray (row, feature), float32
        Features in the forest's order; every feature index of the trees lies inside.

    Returns
    -------
    ndarray (row), float64
        Added tree by tree, as scikit-learn does with one job; NaN where a feature is NaN.
    """
    total = np.zeros(len(values))
    for found in _values_by_tree(trees, values):
        total += found
    total[np.isnan(values).any(axis=1)] = np.nan
    return total


def sum_and_spread(
    trees: Sequence[Tree], values: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum and the population standard deviation over the trees of every row.

    Parameters
    ----------
    trees, values
        As for `sum_of_trees`.

    Returns
    -------
    sum, spread : ndarray (row), float64
        The sum has the bits of `sum_of_trees`; both are NaN where a feature is NaN.
    """
    total, square = np.zeros(len(values)), np.zeros(len(values))
    first = np.zeros(len(values))
    for number, found in enumerate(_values_by_tree(trees, values)):
        total += found
        # Squares are taken about the first tree's value: about zero they would cancel.
        first = found.copy() if number == 0 else first
        square += (found - first) ** 2
    variance = square / len(trees) - (total / len(trees) - first) ** 2
    spread = np.sqrt(np.maximum(variance, 0.0))
    missing = np.isnan(values).any(axis=1)
    total[missing] = spread[missing] = np.nan
    return total, spread


def _values_by_tree(
    trees: Sequence[Tree], values: NDArray[np.float32]
) -> Iterator[NDArray[np.float64]]:
    """Each tree's value of every row, in one array that is used again."""
    rows, features = values.shape
    padded = np.zeros((-(-rows // LANES) * LANES, features), dtype="float32")
    padded[:rows] = values
    found = np.empty(len(padded))
    for nodes, leaves in trees:
        _walk(nodes, leaves, padded, found)
        yield found[:rows]


@njit(nogil=True, cache=True)
def _walk(nodes, leaves, values, found):  # type: ignore[no-untyped-def]
    """Write one tree's value of every row; the number of rows is a multiple of LANES."""
    at = np.zeros(LANES, np.uint64)
    for start in range(0, values.shape[0], LANES):
        at[:] = 0
        moving = True
        while moving:
            # Looking every fourth step whether all have arrived is cheaper than every step.
            for _ in range(4):
                moved = _step(nodes, values, start, at)
            moving = moved != 0
        for lane in range(LANES):
            found[start + lane] = leaves[nodes[at[lane]].leaf]


@njit(nogil=True, cache=True, inline="always")
def _step(nodes, values, start, at):  # type: ignore[no-untyped-def]
    """Move every lane down one node; return 0 if none has moved."""
    moved = np.uint64(0)
    for lane in range(LANES):
        here = at[lane]
        node = nodes[here]
        above = values[start + lane, np.uint64(node.feature)] > node.threshold
        there = np.uint64(node.child) + np.uint64(above)
        moved |= here ^ there
        at[lane] = there
    return moved
