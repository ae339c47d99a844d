"""The compiled forest: flat arrays, saved without pickle, mapped on load.

Nodes stand tree by tree in preorder, so a left child is the next node. Thresholds are float32,
rounded down, which is exact for float32 rows; the block kernel's packed nodes are saved beside
them. Opening a forest cannot run code: there are plain arrays and one JSON file.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gssm_cube.forest.folder import check_hashes, map_array, read_record, sha256, write_folder
from gssm_cube.forest.packed import (
    feature_packings,
    keep_packed,
    known_packings,
    packed_as_derived,
    packed_forest,
)
from gssm_cube.forest.parts import Part, part_of_spread, read_parts, tree_ranges
from gssm_cube.forest.rows import (
    Tree,
    float32_thresholds,
    sum_and_spread,
    sum_of_trees,
    table_values,
    walking_tree,
)
from gssm_cube.variables import Packing

logger = logging.getLogger(__name__)

ARRAYS = {
    "feature": "<i2",
    "threshold": "<f4",
    "right": "<u4",
    "leaf": "<f8",
    "node_offsets": "<i8",
    "leaf_offsets": "<i8",
}
NODES = "<u8"  # as the block kernel walks them


@dataclass(frozen=True, eq=False)
class CompiledForest:
    """A fitted forest as flat arrays.

    Parameters
    ----------
    features : tuple of str
        Names, in the order of the feature indices.
    feature : ndarray (node), int16
        Feature of the split; -1 at a leaf.
    threshold : ndarray (node), float32
        In the feature's units; a row goes left where its float32 value is not above it. Given as
        float64, as scikit-learn fits them, the largest float32 not above it is kept: for
        float32 rows that is the same.
    right : ndarray (node), uint32
        Right child, counted from the tree's first node; at a leaf, the number of its value in
        the tree. The left child is the next node.
    leaf : ndarray (leaf), float64, m3 m-3
        Values of the leaves.
    node_offsets, leaf_offsets : ndarray (tree + 1), int64
        Where the nodes and the leaves of each tree begin.
    preset : str
        The recipe's name, for the record.
    card : mapping
        The model card: whatever JSON can say about training and scores.
    parts : tuple of Part
        What the trees are to the estimate; one forest, the mean of all trees, if not given.
    """

    features: tuple[str, ...]
    feature: NDArray[np.int16]
    threshold: NDArray[np.float32]
    right: NDArray[np.uint32]
    leaf: NDArray[np.float64]
    node_offsets: NDArray[np.int64]
    leaf_offsets: NDArray[np.int64]
    preset: str = ""
    card: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        if not self.parts:
            object.__setattr__(self, "parts", (Part("forest", self.trees),))
        if self.threshold.dtype != np.float32:
            object.__setattr__(self, "threshold", float32_thresholds(self.threshold))

    @property
    def trees(self) -> int:
        """Number of trees."""
        return self.node_offsets.size - 1

    @cached_property
    def digest(self) -> str:
        """SHA-256 over arrays, parts and the features' names; preset and card do not count."""
        content = {
            "features": list(self.features),
            "parts": [part.to_dict() for part in self.parts],
            "arrays": {name: sha256(getattr(self, name)) for name in ARRAYS},
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def tree_slices(self, tree: int) -> tuple[slice, slice]:
        """Return where the nodes and the leaves of one tree stand."""
        nodes, leaves = self.node_offsets[tree : tree + 2], self.leaf_offsets[tree : tree + 2]
        return slice(int(nodes[0]), int(nodes[1])), slice(int(leaves[0]), int(leaves[1]))

    @cached_property
    def part_features(self) -> list[frozenset[str]]:
        """Names of the features by which the trees of each part split."""
        ends = [self.node_offsets[[part.start, part.stop]] for part in tree_ranges(self.parts)]
        split = [np.unique(self.feature[first:last]) for first, last in ends]
        return [frozenset(self.features[number] for number in found if number >= 0)
                for found in split]  # fmt: skip

    @cached_property
    def _row_trees(self) -> list[list[Tree]]:
        """The trees of each part as the row kernel walks them, made at first use."""
        slices = (self.tree_slices(tree) for tree in range(self.trees))
        trees = [
            walking_tree(self.feature[at], self.threshold[at], self.right[at], self.leaf[leaves])
            for at, leaves in slices
        ]
        return [trees[part] for part in tree_ranges(self.parts)]

    def predict(
        self, table: pd.DataFrame | ArrayLike, names: Sequence[str] | None = None
    ) -> NDArray[np.float64]:
        """Return the estimate of every row of a table, its features found by name.

        Parameters
        ----------
        table : DataFrame, or array (row, column) with ``names``
            In the units of training; more columns than the features do no harm.
        names : sequence of str, optional
            Columns of an array.

        Returns
        -------
        ndarray (row), float64, m3 m-3
            To the bit what scikit-learn, with one job, and LightGBM predict, and the weighted sum
            of it for a blend; NaN where a feature is missing.
        """
        return self.predict_array(self._values(table, names))

    def predict_with_spread(
        self, table: pd.DataFrame | ArrayLike, names: Sequence[str] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the estimate of every row and the standard deviation over the trees.

        The trees are those of the first part that is a mean of its trees; where there is none,
        the spread is 0.
        """
        return self.predict_array_with_spread(self._values(table, names))

    def predict_array(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the estimate of float32 rows whose columns stand in the order of `features`."""
        checked = self._checked(values)
        pairs = zip(self.parts, self._row_trees, strict=True)
        return reduce(np.add, [part.weighed(sum_of_trees(trees, checked)) for part, trees in pairs])

    def predict_array_with_spread(
        self, values: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return estimate and spread of float32 rows in the order of `features`."""
        checked, telling = self._checked(values), part_of_spread(self.parts)
        spread, weighed = np.zeros(len(checked)), []
        for number, trees in enumerate(self._row_trees):
            if number == telling:
                total, spread = sum_and_spread(trees, checked)
            else:
                total = sum_of_trees(trees, checked)
            weighed.append(self.parts[number].weighed(total))
        estimate = reduce(np.add, weighed)
        return estimate, np.where(np.isnan(estimate), np.nan, spread)

    def _values(
        self, table: pd.DataFrame | ArrayLike, names: Sequence[str] | None
    ) -> NDArray[np.float32]:
        """Features of a table by name; an array must say what its columns are."""
        if isinstance(table, pd.DataFrame):
            return table_values(table, self.features)
        if names is None:
            raise ValueError(
                f"an array came without names of its columns; the forest needs {self.features}"
            )
        return table_values(pd.DataFrame(np.asarray(table), columns=list(names)), self.features)

    def _checked(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Float32 rows as wide as the forest; a narrower array would be read past its end."""
        values = np.asarray(values)
        expected = len(self.features)
        if values.ndim != 2 or values.shape[1] != expected or values.dtype != np.float32:
            raise ValueError(
                f"values have shape {values.shape} and type {values.dtype}, expected float32 "
                f"rows of {expected} features"
            )
        return values

    def save(self, folder: str | Path) -> None:
        """Write the forest to a folder: one .npy file per array and forest.json, written last.

        Where all features have a packing, the nodes are also written as the block kernel walks
        them, so that workers map them instead of making them.

        Files are replaced, never changed in place, so whoever has an older forest of this folder
        mapped keeps it whole.
        """
        arrays = {name: getattr(self, name) for name in ARRAYS}
        record: dict[str, Any] = {
            "preset": self.preset,
            "features": list(self.features),
            "parts": [part.to_dict() for part in self.parts],
            "digest": self.digest,
            "card": dict(self.card),
        }
        if known_packings(self.features):
            packings = feature_packings(self.features)
            packed = packed_forest(self, packings)
            arrays["nodes"] = packed.nodes
            pairs = [[packing.scale, packing.offset] for packing in packings]
            record["packed"] = {"packings": pairs, "depth": packed.depth}
        write_folder(Path(folder), arrays, record)
        logger.info("forest of %d trees saved to %s", self.trees, folder)


def load_forest(folder: str | Path, *, check: bool = False) -> CompiledForest:
    """Open a saved forest, its arrays mapped into memory, nothing read or executed.

    Processes of one machine that open the same folder share one copy of it.

    Parameters
    ----------
    folder : path
        What `CompiledForest.save` wrote.
    check : bool
        Compare the hashes and look at every index: reads all of it. Do so once for a folder from
        elsewhere (``gssm check``): a wrong index would be read outside the arrays.

    Returns
    -------
    CompiledForest

    Raises
    ------
    FileNotFoundError
        If there is no forest.
    ValueError
        If it is foreign, of another format version, truncated or, with ``check``, changed.
    """
    folder = Path(folder)
    record = read_record(folder)
    arrays = {name: map_array(folder, name, ARRAYS[name], record) for name in ARRAYS}
    forest = CompiledForest(
        tuple(record["features"]),
        **arrays,
        preset=record["preset"],
        card=record["card"],
        parts=read_parts(record["parts"], arrays["node_offsets"].size - 1),
    )
    if "packed" in record:
        _keep_saved(forest, map_array(folder, "nodes", NODES, record), record["packed"])
    if check:
        check_hashes(folder, record)
        _check_structure(forest, folder)
        if "packed" in record and not packed_as_derived(forest):
            raise ValueError(f"{folder / 'nodes.npy'} holds other trees; save the forest again")
    logger.debug("forest of %d trees opened from %s", forest.trees, folder)
    return forest


def _keep_saved(forest: CompiledForest, nodes: NDArray[np.uint64], said: dict[str, Any]) -> None:
    """Let the block kernel walk the saved nodes instead of packing them again."""
    packings = tuple(Packing(scale, offset) for scale, offset in said["packings"])
    keep_packed(forest, packings, nodes, int(said["depth"]))


def forest_hash(folder: str | Path) -> str:
    """Return the digest of a saved forest as its record states it, without opening the arrays."""
    return str(read_record(Path(folder))["digest"])


def _check_structure(forest: CompiledForest, folder: Path) -> None:
    """Raise unless every walk from a root ends at a leaf that exists."""
    ends = (forest.node_offsets[[0, -1]], forest.leaf_offsets[[0, -1]])
    sound = (
        forest.trees > 0
        and forest.node_offsets.size == forest.leaf_offsets.size
        and np.array_equal(ends[0], [0, forest.feature.size])
        and np.array_equal(ends[1], [0, forest.leaf.size])
        and forest.threshold.size == forest.right.size == forest.feature.size
        and all(_tree_is_sound(forest, tree) for tree in range(forest.trees))
    )
    if not sound:
        raise ValueError(f"the arrays in {folder} do not form trees; save the forest again")


def _tree_is_sound(forest: CompiledForest, tree: int) -> bool:
    """Whether features exist, every node but the root has one parent, and leaves have values."""
    nodes, leaves = forest.tree_slices(tree)
    feature, right = forest.feature[nodes], forest.right[nodes].astype("int64")
    inner = np.flatnonzero(feature >= 0)
    inside = (
        feature.size > 0
        and feature[-1] == -1  # else its left child would be outside
        and -1 <= feature.min() <= feature.max() < len(forest.features)
        and bool((right[inner] > inner + 1).all() and (right[inner] < feature.size).all())
        and bool((right[feature < 0] < leaves.stop - leaves.start).all())
    )
    if not inside:
        return False
    parents = np.bincount(np.concatenate([inner + 1, right[inner]]), minlength=feature.size)
    return bool((parents[1:] == 1).all())
