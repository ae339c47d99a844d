"""The block kernel: a forest over a block of packed codes, to the bit what scikit-learn predicts.

Row by row, a forest is a chain of cache misses. Neighbouring pixels on one day are much alike, so
here 64 of them go down a tree together. Pixels stand in groups of 8 x 8, a pixel is a lane, and a
group on a day is a key::

    one feature of one group, one day          threshold 4: which lanes go right (x > 4)?
    +------------------------+
    | 1  1  2  2  3  3  4  4 | lanes 0-7       . . . . . . . .
    | 1  2  2  3  3  4  4  5 | lanes 8-15      . . . . . . . #      64 int16 codes, two to four
    | 2  2  3  3  4  4  5  5 | ...             . . . . . . # #      vector compares, 64 bits
    | 2  3  3  4  4  5  5  6 |                 . . . . . # # #
    | 3  3  4  4  5  5  6  6 |                 . . . . # # # #      bits = 0x...e0c080
    | 3  4  4  5  5  6  6  7 |                 . . . # # # # #
    | 4  4  5  5  6  6  7  7 |                 . . # # # # # #
    | 4  5  5  6  6  7  7  8 | lanes 56-63     . # # # # # # #
    +------------------------+

A node of a tree owns a list of (key, mask); the mask tells which lanes of the key came this far.
At the root these are the valid rows, so sea and missing values are lanes without a bit. A split
ands each mask with the bits and appends what is left of it to the lists of the children::

    node owns       key   7  mask 1111 0110    ->   left    7  0011 0000    right   7  1100 0110
                    key   8  mask 1111 1111         child   8  1111 1111    child  31  0000 0011
                    key  31  mask 0000 0011                 (31 is empty: dropped)  (8: dropped)

Costs fall with the likeness of the rows: a tree is walked once for a whole sub-block (48 x 48
pixels x 61 days), a static feature is compared once a group for all days, and where the range of
a feature in the sub-block lies on one side of a threshold nothing is compared at all. Lists go
down depth first in one arena: the right part takes the place of the list, the left one is
appended, so (depth + 1) x (keys + 8) entries are enough.

At a leaf every row of the list gets the leaf's number, counted in the order of arrival: 16 bits a
row, where the value itself would be 64. The values are added once the tree is done, in float64
and in the order of the trees, and divided last. That is what scikit-learn does with one job, so
the results have its bits. If a tree needs more than 65,535 numbers, it is done in several goes.

Thresholds are int16 codes (see `packed`), so nothing is decoded. Splitting a list has three forms
with the same result: eight entries at a time (AVX-512), four (AVX2), or one by one.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gssm_cube.forest.compiled import CompiledForest
from gssm_cube.forest.lane_vectors import LANES, greater64, host_features
from gssm_cube.forest.lane_walk import (
    BY_EIGHT,
    BY_FOUR,
    PAD,
    SCALAR,
    Block,
    Scratch,
    Sums,
    predict_sub_block,
)
from gssm_cube.forest.packed import PackedForest, feature_packings, packed_forest
from gssm_cube.variables import FILL, Packing

GROUP = 8  # edge of a group, pixels
SUB_BLOCK = (61, 48, 48)  # days, rows, columns: an inner chunk of the stores in six slices
NUMBERS = 65_535  # that leaves can take in a uint16 plane; 0 is none yet

Codes = Mapping[str, NDArray[np.int16]]


class SubBlock(NamedTuple):
    """A part of a piece: first day, row and column, and how many of each."""

    corner: tuple[int, int, int]
    shape: tuple[int, int, int]


class Arena(threading.local):
    """Arrays of one thread, used again from call to call; they only grow."""

    def __init__(self) -> None:
        self.held: dict[str, NDArray[Any]] = {}

    def take(self, name: str, size: int, dtype: str) -> NDArray[Any]:
        """Return an array of that many elements at a cache line; it holds what it held."""
        held = self.held.get(name)
        if held is None or held.size < size:
            itemsize = np.dtype(dtype).itemsize
            raw = np.zeros(size * itemsize + LANES, "uint8")
            first = -raw.ctypes.data % LANES
            held = self.held[name] = raw[first : first + size * itemsize].view(dtype)
        return held[:size]


_arena = Arena()


def split_path(wanted: str, features: frozenset[str]) -> int:
    """Return how lists are split on a processor.

    Parameters
    ----------
    wanted : str
        ``scalar``, ``vector``, or nothing for what the processor does best.
    features : frozenset of str
        Of the processor, in LLVM's words.

    Raises
    ------
    ValueError
        If another form is wanted.
    """
    if wanted not in ("", "scalar", "vector"):
        raise ValueError(f"GSSM_LANES is {wanted!r}, expected 'scalar' or 'vector'")
    if wanted == "scalar":
        return SCALAR
    if {"avx512f", "avx512vl", "avx512bw"} <= features:
        return BY_EIGHT
    return BY_FOUR if "avx2" in features or wanted == "vector" else SCALAR


PATH = split_path(os.environ.get("GSSM_LANES", ""), host_features())


def predict_codes(
    forest: CompiledForest,
    dynamic: Codes,
    static: Codes,
    *,
    spread: bool = False,
    packings: Mapping[str, Packing] | None = None,
) -> Any:
    """Return the estimate of every pixel and day of a piece of packed features.

    Parameters
    ----------
    forest : CompiledForest
    dynamic : mapping of str to ndarray (time, lat, lon), int16
        Codes by name; at least one. Features that the forest does not know do no harm.
    static : mapping of str to ndarray (lat, lon), int16
        Codes by name; ``lat`` and ``lon`` too.
    spread : bool
        Also return the population standard deviation over the trees.
    packings : mapping, optional
        Of features that are not in the table of predictors, or packed in another way.

    Returns
    -------
    ndarray (time, lat, lon), float64, m3 m-3, or a tuple of two
        To the bit what scikit-learn predicts from the decoded codes with one job, and the spread
        of the rows' kernel; NaN where a feature is missing. The GIL is released meanwhile.

    Raises
    ------
    ValueError
        If a feature is missing or given twice, has no packing, or does not fit the others.
    """
    shape = check_codes(forest.features, dynamic, static)
    packed = packed_forest(forest, feature_packings(forest.features, packings))
    arrays = [np.ascontiguousarray((dynamic | static)[name]) if False else
              np.ascontiguousarray(dynamic[name] if name in dynamic else static[name])
              for name in forest.features]  # fmt: skip
    mean = np.empty(shape)
    deviation = np.empty(shape if spread else (0, 0, 0))
    for part in _sub_blocks(shape):
        block = _pack(arrays, part)
        sums = _sums(block.valid.size * LANES, spread)
        predict_sub_block(PATH, packed, block, _scratch(packed, block), sums, NUMBERS)
        trees = packed.node_offsets.size - 1
        _unpack(sums, trees, block.valid, mean, deviation, part.corner, part.shape)
    return (mean, deviation) if spread else mean
