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
    | 3  3  4  4  5  5  6  6 |                 . . . . # # # #      bits = 0xfefcf8f0e0c08000
    | 3  4  4  5  5  6  6  7 |                 . . . # # # # #
    | 4  4  5  5  6  6  7  7 |                 . . # # # # # #
    | 4  5  5  6  6  7  7  8 | lanes 56-63     . # # # # # # #
    +------------------------+

A node of a tree owns a list of (key, mask); the mask tells which lanes of the key came this far.
At the root these are the valid rows, so sea and missing values are lanes without a bit. A split
ands each mask with the bits and appends what is left of it to the lists of the children; here with
8 of the 64 lanes::

    node owns       key   7  mask 1111 0110    ->   left    7  0011 0000    right   7  1100 0110
                    key   8  mask 1111 1111         child   8  1111 1111    child  31  0000 0011
                    key  31  mask 0000 0011                 (31 is empty: dropped)  (8: dropped)

Costs fall with the likeness of the rows: a tree is walked once for a whole sub-block (48 x 48
pixels x 61 days), a static feature is compared once a group for all days, and where the range of
a feature in the sub-block lies on one side of a threshold nothing is compared at all. Lists go
down depth first in one arena: the right part takes the place of the list, the left one is
appended, so (depth + 1) x (keys + 8) entries are enough.

At a leaf every row of the list gets the leaf's number, counted in the order of arrival: 16 bits a
row, where the value itself would be 64. A node below which two levels are left or fewer hands out
its leaves at once. The values are added once the tree is done, in float64
and in the order of the trees, and divided last. That is what scikit-learn does with one job, so
the results have its bits. If a tree needs more than 65,535 numbers, it is done in several goes.
The parts of a blend are summed up one after the other over the same lanes, then weighed.

Thresholds are int16 codes (see `packed`), so nothing is decoded. Splitting a list has three forms
with the same result: eight entries at a time (AVX-512), four (AVX2), or one by one.
"""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gssm_cube.forest.compiled import CompiledForest
from gssm_cube.forest.lane_vectors import LANES, copy8, greater64, host_features
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
from gssm_cube.forest.packed import PackedForest, feature_packings, packed_forest, read_only
from gssm_cube.forest.parts import part_of_spread, tree_ranges
from gssm_cube.variables import FILL, Packing

GROUP = 8  # edge of a group, pixels
SUB_BLOCK = (61, 48, 48)  # days, rows, columns: an inner chunk of the stores in six slices
_ALL = np.uint64(2**64 - 1)
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
        Also return the population standard deviation over the trees of the first part that is
        their mean; 0 where there is none.
    packings : mapping, optional
        Of features that are not in the table of predictors, or packed in another way.

    Returns
    -------
    ndarray (time, lat, lon), float64, m3 m-3, or a tuple of two
        To the bit what `CompiledForest.predict` says of the decoded codes, which is what
        scikit-learn predicts with one job; NaN where a feature is missing. The GIL is released
        meanwhile.

    Raises
    ------
    ValueError
        If a feature is missing or given twice, has no packing, or does not fit the others.
    """
    shape = check_codes(forest.features, dynamic, static)
    packed = packed_forest(forest, feature_packings(forest.features, packings))
    given = [dynamic.get(name, static.get(name)) for name in forest.features]
    arrays = [read_only(np.asarray(array)) for array in given]
    results = [np.empty(shape) for _ in range(2 if spread else 1)]
    for sub_block in _sub_blocks(shape):
        block = _lay_out(arrays, sub_block)
        planes = _predict(forest, packed, block, spread=spread)
        for plane, result in zip(planes, results, strict=True):
            _unpack(plane, block.valid, *sub_block, result)
    return tuple(results) if spread else results[0]


def _predict(
    forest: CompiledForest, packed: PackedForest, block: Block, *, spread: bool
) -> list[NDArray[np.float64]]:
    """Return the estimate of each row of a sub-block, and its spread if wanted."""
    still = {name for name, static in zip(forest.features, block.static, strict=True) if static}
    telling, deviation, weighed = part_of_spread(forest.parts), None, []
    for number, trees in enumerate(tree_ranges(forest.parts)):
        part, days = forest.parts[number], 1
        seen = block
        if forest.part_features[number] <= still:
            seen, days = _one_day(block)
        sums = _sums(seen.valid.size * LANES, spread and number == telling)
        predict_sub_block(PATH, packed.only(trees), seen, _scratch(packed, seen), sums, NUMBERS)
        weighed.append(_every_day(part.weighed(sums.total), days))
        if sums.first.size:
            deviation = _every_day(_deviation(sums, part.trees), days)
    estimate = reduce(np.add, weighed)
    if not spread:
        return [estimate]
    return [estimate, np.zeros_like(estimate) if deviation is None else deviation]


def _one_day(block: Block) -> tuple[Block, int]:
    """Return a block with one day for all, for trees that see only what is static; the days."""
    groups = int(block.group[-1]) + 1
    by_group = block.valid.reshape(groups, -1)
    valid = np.bitwise_or.reduce(by_group, axis=1)
    one = block._replace(group=np.arange(groups, dtype="uint32"), valid=valid)
    return one, by_group.shape[1]


def _every_day(values: NDArray[np.float64], days: int) -> NDArray[np.float64]:
    """Return the lanes of one day repeated for all days."""
    if days == 1:
        return values
    return np.repeat(values.reshape(-1, LANES), days, axis=0).reshape(-1)


def check_codes(features: Sequence[str], dynamic: Codes, static: Codes) -> tuple[int, int, int]:
    """Return the shape (time, lat, lon) of a piece; raise unless all features fit it."""
    missing = [name for name in features if name not in dynamic and name not in static]
    if missing:
        raise ValueError(
            f"the forest needs {missing}, the codes have {sorted([*dynamic, *static])}"
        )
    double = [name for name in features if name in dynamic and name in static]
    if double:
        raise ValueError(f"{double} are given as dynamic and as static codes; keep one each")
    if not dynamic:
        raise ValueError("no dynamic codes are given, so the number of days is not known")
    shape = np.shape(next(iter(dynamic.values())))
    for codes, expected in ((dynamic, shape), (static, shape[1:])):
        for name, array in codes.items():
            if len(shape) != 3 or array.shape != expected or array.dtype != np.int16:
                raise ValueError(
                    f"{name!r} has shape {array.shape} and type {array.dtype}, expected int16 "
                    f"codes of shape {expected if len(shape) == 3 else '(time, lat, lon)'}"
                )
    return shape


def _sub_blocks(shape: tuple[int, int, int]) -> Iterator[SubBlock]:
    """Parts of a piece, those at its far edges smaller."""
    starts = [range(0, length, step) for length, step in zip(shape, SUB_BLOCK, strict=True)]
    for corner in product(*starts):
        ends = zip(corner, SUB_BLOCK, shape, strict=True)
        days, rows, cols = (min(step, length - first) for first, step, length in ends)
        yield SubBlock((corner[0], corner[1], corner[2]), (days, rows, cols))


def _lay_out(arrays: Sequence[NDArray[np.int16]], part: SubBlock) -> Block:
    """Copy a part into lanes, find its valid rows and the range of each feature there."""
    (_, top, left), (days, rows, cols) = part
    groups = -(-rows // GROUP) * -(-cols // GROUP)
    static = np.array([array.ndim == 2 for array in arrays])
    sizes = np.where(static, groups, groups * days) * LANES
    start = (np.cumsum(sizes) - sizes).astype("uint64")
    codes = _arena.take("codes", int(sizes.sum()), "int16")
    valid = np.full(groups * days, _ALL)
    always = np.full(groups, _ALL)
    for array, first in zip(arrays, start, strict=True):
        if array.ndim == 2:
            _fill_lanes(array[np.newaxis], (0, top, left), (1, rows, cols), codes, first, always)
        else:
            _fill_lanes(array, *part, codes, first, valid)
    valid &= np.repeat(always, days)
    somewhen = np.bitwise_or.reduce(valid.reshape(groups, days), axis=1)
    masks = [somewhen if still else valid for still in static]
    ranges = [_find_range(codes, *place) for place in zip(start, masks, strict=True)]
    low, high = np.array(ranges, dtype="int16").T.copy()
    group = np.repeat(np.arange(groups, dtype="uint32"), days)
    return Block(codes, start, static, low, high, group, valid)


def _scratch(forest: PackedForest, block: Block) -> Scratch:
    """Take what the walk of a forest over a block needs from this thread's arena."""
    keys, groups = block.valid.size, int(block.group[-1]) + 1
    entries = (forest.depth + 1) * (keys + PAD)
    return Scratch(
        keys=_arena.take("keys", entries, "uint32"),
        masks=_arena.take("masks", entries, "uint64"),
        bits=_arena.take("bits", keys + PAD, "uint64"),
        group_bits=_arena.take("group_bits", groups, "uint64"),
        stack=_arena.take("stack", 3 * (forest.depth + 1), "uint64").reshape(-1, 3),
        plane=_arena.take("plane", keys * LANES, "uint16"),
        arrived=_arena.take("arrived", NUMBERS + 1, "uint32"),
        table=_arena.take("table", NUMBERS + 1, "float64"),
    )


def _sums(rows: int, spread: bool) -> Sums:
    """Take the sums of a sub-block from this thread's arena."""
    sizes = dict(total=rows) | dict.fromkeys(("first", "square"), rows * spread)
    return Sums(**{name: _arena.take(name, size, "float64") for name, size in sizes.items()})


def _deviation(sums: Sums, trees: int) -> NDArray[np.float64]:
    """Return the standard deviation of each row over the trees."""
    variance = sums.square / trees - (sums.total / trees - sums.first) ** 2
    return np.sqrt(np.maximum(variance, 0.0))


@njit(nogil=True, cache=True)
def _fill_lanes(values, corner, shape, codes, first, valid):  # type: ignore[no-untyped-def]
    """Copy one feature (time, lat, lon) into lanes; clear the bits of rows where it is missing."""
    days, rows, cols = shape
    wide = (cols + GROUP - 1) // GROUP
    flat, line = values.reshape(-1), np.uint64(values.shape[2])
    for key in range(valid.size):
        group, day = key // days, corner[0] + key % days
        top, left = group // wide * GROUP, group % wide * GROUP
        height, width = min(GROUP, rows - top), min(GROUP, cols - left)
        row = np.uint64(day * values.shape[1] + corner[1] + top)
        pixel = row * line + np.uint64(corner[2] + left)
        at = first + np.uint64(LANES * key)
        if width == GROUP and height == GROUP:
            for number in range(np.uint64(GROUP)):
                copy8(flat, pixel + number * line, codes, at + number * np.uint64(GROUP))
        else:
            _copy_edge(flat, pixel, line, height, width, codes[at : at + np.uint64(LANES)])
        valid[key] &= greater64(codes, at, np.int16(FILL))


@njit(nogil=True, cache=True)
def _copy_edge(flat, pixel, line, height, width, lanes):  # type: ignore[no-untyped-def]
    """Copy a square that the edge of the piece cuts; what lies outside is missing."""
    lanes[:] = FILL
    for row in range(height):
        for col in range(width):
            lanes[row * GROUP + col] = flat[pixel + np.uint64(row) * line + np.uint64(col)]


@njit(nogil=True, cache=True)
def _find_range(codes, start, masks):  # type: ignore[no-untyped-def]
    """Lowest and highest code of one feature over the rows of the masks."""
    low, high = np.int16(32767), np.int16(FILL)
    for key in range(np.uint64(masks.size)):
        at, mask = start + np.uint64(LANES) * key, masks[key]
        if mask == _ALL:
            for lane in range(np.uint64(LANES)):
                low, high = min(low, codes[at + lane]), max(high, codes[at + lane])
        elif mask:
            for lane in range(np.uint64(LANES)):
                code = codes[at + lane]
                there = (mask >> lane) & np.uint64(1)
                low, high = min(low, code if there else low), max(high, code if there else high)
    return low, high


@njit(nogil=True, cache=True)
def _unpack(plane, valid, corner, shape, result):  # type: ignore[no-untyped-def]
    """Put lanes back to their days and pixels; NaN where a row is not valid."""
    days, rows, cols = shape
    wide = (cols + GROUP - 1) // GROUP
    for day in range(days):
        for row in range(rows):
            for col in range(cols):
                key = (row // GROUP * wide + col // GROUP) * days + day
                lane = row % GROUP * GROUP + col % GROUP
                there = (valid[key] >> np.uint64(lane)) & np.uint64(1)
                value = plane[key * LANES + lane] if there else np.nan
                result[corner[0] + day, corner[1] + row, corner[2] + col] = value
