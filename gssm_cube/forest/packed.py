"""A compiled forest as the block kernel walks it: eight bytes a node, thresholds as int16 codes.

One node is one word: bits 0-15 the threshold, 16-31 the feature, 32-63 the right child. Derived
from a `CompiledForest` at first use and kept as long as that forest lives, or mapped from where
it was saved.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gssm_cube.variables import FILL, PREDICTORS, Packing

if TYPE_CHECKING:
    from gssm_cube.forest.compiled import CompiledForest

NODE = np.dtype([("threshold", "<i2"), ("feature", "<i2"), ("right", "<u4")])
LEAF = -1  # in place of a feature; `right` is then the number of the leaf in its tree
PAIR = 0x4000  # added to the feature where both children are leaves; `right` is the left leaf
QUAD = 0x2000  # added where each child is a leaf or a pair: two levels are left
_CODES = np.arange(FILL + 1, 32768).astype("int16")  # all but the fill code


class PackedForest(NamedTuple):
    """Arrays of a forest for the block kernel.

    Parameters
    ----------
    nodes : ndarray (node), uint64
        Words of `NODE`, tree by tree in preorder: the left child is the next node.
    leaves : ndarray (leaf), float64, m3 m-3
    node_offsets, leaf_offsets : ndarray (tree + 1), int64
    depth : int
        Nodes on the longest way down from a root.
    """

    nodes: NDArray[np.uint64]
    leaves: NDArray[np.float64]
    node_offsets: NDArray[np.int64]
    leaf_offsets: NDArray[np.int64]
    depth: int

    def only(self, trees: slice) -> "PackedForest":
        """Return a run of the trees alone, over the same nodes and leaves."""
        ends = slice(trees.start, trees.stop + 1)
        return self._replace(
            node_offsets=self.node_offsets[ends], leaf_offsets=self.leaf_offsets[ends]
        )


_Forms = dict[tuple[Packing, ...], PackedForest]
_packed: "WeakKeyDictionary[CompiledForest, _Forms]" = WeakKeyDictionary()
_packing_lock = threading.Lock()


def code_thresholds(thresholds: NDArray[np.floating], packing: Packing) -> NDArray[np.int16]:
    """Return the largest code whose decoded value is not above each threshold.

    Parameters
    ----------
    thresholds : ndarray (node), float32 or float64
        In the feature's units.
    packing : Packing
        Of the feature.

    Returns
    -------
    ndarray (node), int16
        ``code <= result`` equals ``packing.decode(code) <= threshold`` for every code but the
        fill code, which is also the result where nothing goes left.
    """
    values = packing.decode(_CODES).astype("float64")
    not_above = np.searchsorted(values, thresholds.astype("float64"), side="right")
    return (not_above + FILL).astype("int16")


def feature_packings(
    features: Sequence[str], packings: Mapping[str, Packing] | None = None
) -> tuple[Packing, ...]:
    """Return the packing of each feature: the given one, else that of the predictors' table.

    Raises
    ------
    ValueError
        If a feature has neither.
    """
    known = {name: variable.packing for name, variable in PREDICTORS.items()} | dict(packings or {})
    missing = [name for name in features if name not in known]
    if missing:
        raise ValueError(
            f"the features {missing} have no packing, so they have no codes; give their packings "
            "or predict rows of values instead"
        )
    return tuple(known[name] for name in features)


def known_packings(features: Sequence[str]) -> bool:
    """Whether all features are in the table of predictors, and few enough for a node."""
    return set(features) <= set(PREDICTORS) and len(features) < QUAD


def keep_packed(
    forest: "CompiledForest",
    packings: tuple[Packing, ...],
    nodes: NDArray[np.uint64],
    depth: int,
) -> None:
    """Take packed nodes that were made before as the form of a forest under these packings."""
    offsets, leaf_offsets = np.array(forest.node_offsets), np.array(forest.leaf_offsets)
    packed = PackedForest(read_only(nodes), read_only(forest.leaf), offsets, leaf_offsets, depth)
    with _packing_lock:
        _packed.setdefault(forest, {})[packings] = packed


def packed_as_derived(forest: "CompiledForest") -> bool:
    """Whether all packed forms that a forest keeps are those that its arrays give."""
    with _packing_lock:
        forms = dict(_packed.get(forest, {}))
    derived = {packings: _pack(forest, packings) for packings in forms}
    return all(
        form.depth == derived[packings].depth
        and np.array_equal(form.nodes, derived[packings].nodes)
        for packings, form in forms.items()
    )


def packed_forest(forest: "CompiledForest", packings: tuple[Packing, ...]) -> PackedForest:
    """Return the packed form of a forest, made once per process.

    Parameters
    ----------
    forest : CompiledForest
    packings : tuple of Packing
        One for each feature, in the forest's order.

    Raises
    ------
    ValueError
        If the forest has more features than a node can say.
    """
    if len(forest.features) >= QUAD:
        raise ValueError(f"the forest has {len(forest.features)} features, expected under {QUAD}")
    with _packing_lock:
        forms = _packed.setdefault(forest, {})
        if packings not in forms:
            forms[packings] = _pack(forest, packings)
        return forms[packings]


def _pack(forest: "CompiledForest", packings: tuple[Packing, ...]) -> PackedForest:
    """Put thresholds, features and children into words."""
    feature, right = read_only(forest.feature), read_only(forest.right)
    nodes = np.zeros(feature.size, NODE)
    nodes["feature"] = feature
    nodes["right"] = right
    for number, packing in enumerate(packings):
        chosen = np.flatnonzero(feature == number)
        nodes["threshold"][chosen] = code_thresholds(forest.threshold[chosen], packing)
    for tree in range(forest.trees):
        _mark_last(nodes[forest.tree_slices(tree)[0]])
    offsets, leaf_offsets = np.array(forest.node_offsets), np.array(forest.leaf_offsets)
    depth = int(_deepest(feature, right, offsets))
    leaves = read_only(forest.leaf)
    return PackedForest(read_only(nodes.view("uint64")), leaves, offsets, leaf_offsets, depth)


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a contiguous view that cannot be written: mapped or not, one type for numba."""
    view = np.ascontiguousarray(array).view(np.ndarray)
    view.flags.writeable = False
    return view


def _mark_last(tree: NDArray[np.void]) -> None:
    """Mark the nodes of one tree below which one or two levels are left: fewer visits."""
    last = tree["feature"] == LEAF
    pairs = _with_children(tree, last)
    tree["right"][pairs] = tree["right"][pairs + 1]
    tree["feature"][pairs] += PAIR
    last[pairs] = True
    tree["feature"][_with_children(tree, last)] += QUAD


def _with_children(tree: NDArray[np.void], chosen: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Nodes that are not chosen themselves, but whose two children are."""
    others = np.flatnonzero(~chosen)
    return others[chosen[others + 1] & chosen[tree["right"][others]]]


@njit(nogil=True, cache=True)
def _deepest(feature, right, offsets):  # type: ignore[no-untyped-def]
    """Nodes on the longest way from a root to a leaf."""
    depth, deepest = np.ones(feature.size, np.int64), 1
    for tree in range(offsets.size - 1):
        root = offsets[tree]
        for node in range(root, offsets[tree + 1]):
            deepest = max(deepest, depth[node])
            if feature[node] >= 0:
                depth[node + 1] = depth[node] + 1
                depth[root + right[node]] = depth[node] + 1
    return deepest
