"""The walk of the block kernel: every tree once over a sub-block, lists of lane masks going down.

`lanes` tells how it works. Indices are uint64 throughout: a signed one would cost a test for
negative numbers at each access. Arrays are taken out of their tuples before a loop: inside, numba
would count references to each, atomically. An edit of `lane_vectors` alone leaves numba's cache of
this file as it was: touch this file as well.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gssm_cube.forest.lane_vectors import blend64, blend64_of4, greater64, prefetch, split4, split8
from gssm_cube.forest.packed import PAIR, QUAD

SCALAR, BY_FOUR, BY_EIGHT = 0, 4, 8  # how a list is split: one by one, AVX2, AVX-512
PAD = 8  # entries that a vector may write past the end of a list

_ZERO, _ONE, _TWO, _SIX = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(6)
_EIGHT, _LOW_BYTE, _PAD = np.uint64(8), np.uint64(255), np.uint64(PAD)


class Block(NamedTuple):
    """A sub-block in lanes; a key is ``group * days + day``.

    Parameters
    ----------
    codes : ndarray, int16
        Planes of 64 lanes, by key for a dynamic feature and by group for a static one.
    start : ndarray (feature), uint64
        Where the plane of each feature begins.
    static : ndarray (feature), bool
    low, high : ndarray (feature), int16
        Range of the codes of valid rows.
    group : ndarray (key), uint32
    valid : ndarray (key), uint64
        Bit i is set where row i of the key has all features.
    """

    codes: NDArray[np.int16]
    start: NDArray[np.uint64]
    static: NDArray[np.bool_]
    low: NDArray[np.int16]
    high: NDArray[np.int16]
    group: NDArray[np.uint32]
    valid: NDArray[np.uint64]


class Scratch(NamedTuple):
    """What a walk writes to.

    Parameters
    ----------
    keys, masks : ndarray, uint32 and uint64
        The lists, one behind the other: (depth + 1) x (keys + PAD) entries.
    bits : ndarray (key + PAD), uint64
        Of the list at hand: which lanes go right.
    group_bits : ndarray (group), uint64
    stack : ndarray (depth + 1, 3), uint64
        Node, start and stop of the lists that wait.
    plane : ndarray (row), uint16
        Number of the leaf of each row, counted in the order of arrival; 0 is none yet.
    arrived : ndarray (65536), uint32
        Leaf of each number.
    table : ndarray (65536), float64
        Value of each number.
    """

    keys: NDArray[np.uint32]
    masks: NDArray[np.uint64]
    bits: NDArray[np.uint64]
    group_bits: NDArray[np.uint64]
    stack: NDArray[np.uint64]
    plane: NDArray[np.uint16]
    arrived: NDArray[np.uint32]
    table: NDArray[np.float64]


class Sums(NamedTuple):
    """Sums over the trees, each (row), float64; all but ``total`` are empty without spread.

    Squares are taken about the first tree's value: about zero they would cancel. The mean about
    it follows from the total.
    """

    total: NDArray[np.float64]
    first: NDArray[np.float64]
    square: NDArray[np.float64]


@njit(nogil=True, cache=True)
def predict_sub_block(path, forest, block, scratch, sums, limit):  # type: ignore[no-untyped-def]
    """Add the value of every tree to every valid row, in the order of the trees.

    Parameters
    ----------
    path : int
        SCALAR, BY_FOUR or BY_EIGHT; the bits of the result are the same.
    forest : PackedForest
    block : Block
    scratch : Scratch
    sums : Sums
        Written anew.
    limit : int
        Numbers that leaves may take in one go, 4 to 65,535.
    """
    for array in (sums.total, sums.square):
        array.fill(0.0)
    scratch.table[0] = 0.0
    for tree in range(forest.node_offsets.size - 1):
        nodes = forest.nodes[forest.node_offsets[tree] : forest.node_offsets[tree + 1]]
        leaves = forest.leaves[forest.leaf_offsets[tree] : forest.leaf_offsets[tree + 1]]
        waiting = _list_valid(block.valid, scratch)
        while waiting > _ZERO:
            if leaves.size + 3 > limit:  # it may take several goes, and a row has its leaf in one
                scratch.plane.fill(0)
            waiting, used = _walk(path, nodes, block, scratch, np.uint64(limit), waiting)
            for number in range(_ONE, used):
                scratch.table[number] = leaves[scratch.arrived[number]]
            _add(scratch.plane, scratch.table, sums, tree > 0)
        if tree == 0:
            for row in range(sums.first.size):
                sums.first[row] = sums.total[row]


@njit(nogil=True, cache=True)
def _list_valid(valid, scratch):  # type: ignore[no-untyped-def]
    """Put all keys with valid rows into the root's list; return how many lists wait."""
    length = _ZERO
    for key in range(np.uint64(valid.size)):
        scratch.keys[length] = np.uint32(key)
        scratch.masks[length] = valid[key]
        length += np.uint64(valid[key] != _ZERO)
    if length == _ZERO:
        return _ZERO
    return _wait(scratch.stack, _ZERO, _ZERO, _ZERO, length)


@njit(nogil=True, cache=True, inline="always")
def _wait(stack, waiting, node, start, stop):  # type: ignore[no-untyped-def]
    """Put a node and its list on the stack; return how many wait."""
    stack[waiting, 0] = node
    stack[waiting, 1] = start
    stack[waiting, 2] = stop
    return waiting + _ONE


@njit(nogil=True, cache=True, inline="always")
def _resume(stack, waiting):  # type: ignore[no-untyped-def]
    """Take the newest list from the stack; return how many wait still, its node and its ends."""
    newest = waiting - _ONE
    return newest, stack[newest, 0], stack[newest, 1], stack[newest, 2]


@njit(nogil=True, cache=True, inline="always")
def _read(word):  # type: ignore[no-untyped-def]
    """Threshold, feature and right child of a node; see `packed`."""
    threshold = np.int16(word & np.uint64(0xFFFF))
    feature = np.int64(np.int16((word >> np.uint64(16)) & np.uint64(0xFFFF)))
    return threshold, feature, word >> np.uint64(32)


@njit(nogil=True, cache=True)
def _walk(path, nodes, block, scratch, limit, waiting):  # type: ignore[no-untyped-def]
    """Go down one tree until no list waits or the numbers are used up; return both counts."""
    codes, start_of, static, low, high, group, _ = block
    keys, masks, bits, group_bits, stack, plane, arrived, _ = scratch
    used = _ONE
    while waiting > _ZERO and used + _TWO < limit:  # a node takes up to four
        waiting, node, start, stop = _resume(stack, waiting)
        while True:
            threshold, feature, right = _read(nodes[node])
            if feature < 0 or feature >= PAIR:
                used = _arrive(codes, start_of, static, group, feature, threshold, right,
                               keys, masks, plane, arrived, start, stop, used)  # fmt: skip
                break
            prefetch(nodes, right)
            last = feature >= QUAD
            feature = feature - QUAD if last else feature
            if high[feature] <= threshold:
                node += _ONE
                continue
            if low[feature] > threshold:
                node = right
                continue
            if last:
                used = _arrive2(codes, start_of, static, group, feature, threshold, right, nodes,
                                node, keys, masks, plane, arrived, start, stop, used)  # fmt: skip
                break
            first, still = start_of[feature], static[feature]
            if stop - start < _EIGHT:
                left_stop, right_stop = _split_short(codes, first, still, threshold, group,
                                                     keys, masks, start, stop)  # fmt: skip
            else:
                _compare(codes, first, still, threshold, group, keys, bits, group_bits, start, stop)
                left_stop, right_stop = _split(path, keys, masks, bits, start, stop)
            if left_stop == stop + _PAD:
                node, stop = right, right_stop
                continue
            if right_stop > start:
                waiting = _wait(stack, waiting, right, start, right_stop)
            node, start, stop = node + _ONE, stop + _PAD, left_stop
    return waiting, used


@njit(nogil=True, cache=True, inline="always")
def _arrive(  # type: ignore[no-untyped-def]
    codes, start_of, static, group, feature, threshold, right,
    keys, masks, plane, arrived, start, stop, used,
):  # fmt: skip
    """Give a leaf, or two at once, a number and write it to the rows; return numbers used."""
    number, other = np.uint16(used), np.uint16(used + _ONE)
    arrived[used] = np.uint32(right)
    if feature < 0:
        for entry in range(start, stop):
            blend64(plane, np.uint64(keys[entry]) << _SIX, masks[entry], _ZERO, number, number)
        return used + _ONE
    arrived[used + _ONE] = np.uint32(right + _ONE)
    first, still = start_of[feature - PAIR], static[feature - PAIR]
    for entry in range(start, stop):
        at = np.uint64(keys[entry]) << _SIX
        lanes = np.uint64(group[keys[entry]]) << _SIX if still else at
        bits = greater64(codes, first + lanes, threshold)
        blend64(plane, at, masks[entry], bits, number, other)
    return used + _TWO


@njit(nogil=True, cache=True, inline="always")
def _arrive2(  # type: ignore[no-untyped-def]
    codes, start_of, static, group, feature, threshold, right, nodes,
    node, keys, masks, plane, arrived, start, stop, used,
):  # fmt: skip
    """Do as `_arrive` for a node whose children are leaves or pairs: two levels at once."""
    left_limit, left_feature, left_leaf = _read(nodes[node + _ONE])
    right_limit, right_feature, right_leaf = _read(nodes[right])
    left_limit, left_feature, ll, lr, used = _number_side(
        left_limit, left_feature, left_leaf, arrived, used
    )
    right_limit, right_feature, rl, rr, used = _number_side(
        right_limit, right_feature, right_leaf, arrived, used
    )
    first, still = start_of[feature], static[feature]
    left_first, left_still = start_of[left_feature], static[left_feature]
    right_first, right_still = start_of[right_feature], static[right_feature]
    for entry in range(start, stop):
        at, of_group = np.uint64(keys[entry]) << _SIX, np.uint64(group[keys[entry]]) << _SIX
        bits = greater64(codes, first + (of_group if still else at), threshold)
        left_bits = right_bits = _ZERO
        if ll != lr:  # a pair
            left_bits = greater64(codes, left_first + (of_group if left_still else at), left_limit)
        if rl != rr:
            right_bits = greater64(
                codes, right_first + (of_group if right_still else at), right_limit
            )
        blend64_of4(plane, at, masks[entry], bits, left_bits, right_bits, ll, lr, rl, rr)
    return used


@njit(nogil=True, cache=True, inline="always")
def _number_side(threshold, feature, leaf, arrived, used):  # type: ignore[no-untyped-def]
    """Give the leaves of a leaf or a pair numbers; return how to choose and what is used."""
    arrived[used] = np.uint32(leaf)
    if feature < 0:
        return threshold, np.int64(0), np.uint16(used), np.uint16(used), used + _ONE
    arrived[used + _ONE] = np.uint32(leaf + _ONE)
    return threshold, feature - PAIR, np.uint16(used), np.uint16(used + _ONE), used + _TWO


@njit(nogil=True, cache=True, inline="always")
def _compare(  # type: ignore[no-untyped-def]
    codes, first, still, threshold, group, keys, bits, group_bits, start, stop
):
    """Find for each entry of a list which lanes go right."""
    if still:
        _compare_groups(codes, first, threshold, group, keys, bits, group_bits, start, stop)
        return
    for entry in range(start, stop):
        lanes = np.uint64(keys[entry]) << _SIX
        bits[entry - start] = greater64(codes, first + lanes, threshold)


@njit(nogil=True, cache=True, inline="always")
def _compare_groups(  # type: ignore[no-untyped-def]
    codes, first, threshold, group, keys, bits, group_bits, start, stop
):
    """Do so for a static feature, once for each group where that is less work."""
    # Keys ascend in a list, so its groups lie between the first and the last.
    lowest, highest = np.uint64(group[keys[start]]), np.uint64(group[keys[stop - _ONE]])
    if highest - lowest >= stop - start:
        for entry in range(start, stop):
            lanes = np.uint64(group[keys[entry]]) << _SIX
            bits[entry - start] = greater64(codes, first + lanes, threshold)
        return
    for number in range(lowest, highest + _ONE):
        group_bits[number] = greater64(codes, first + (number << _SIX), threshold)
    for entry in range(start, stop):
        bits[entry - start] = group_bits[group[keys[entry]]]


@njit(nogil=True, cache=True, inline="always")
def _split_short(  # type: ignore[no-untyped-def]
    codes, first, still, threshold, group, keys, masks, start, stop
):
    """Compare and split a short list at once: a vector read of what was just written would wait."""
    left, right = stop + _PAD, start
    for entry in range(start, stop):
        key, mask = keys[entry], masks[entry]
        lanes = np.uint64(group[key] if still else key) << _SIX
        to_right = greater64(codes, first + lanes, threshold)
        left, right = _append(keys, masks, key, mask & ~to_right, mask & to_right, left, right)
    return left, right


@njit(nogil=True, cache=True, inline="always")
def _append(keys, masks, key, goes_left, goes_right, left, right):  # type: ignore[no-untyped-def]
    """Append one key to both lists; an empty part will be written over."""
    keys[left], masks[left] = key, goes_left
    keys[right], masks[right] = key, goes_right
    return left + np.uint64(goes_left != _ZERO), right + np.uint64(goes_right != _ZERO)


@njit(nogil=True, cache=True, inline="always")
def _split(path, keys, masks, bits, start, stop):  # type: ignore[no-untyped-def]
    """Split a list of eight or more by the bits of each entry."""
    left, right = stop + _PAD, start
    if path == SCALAR:
        for entry in range(start, stop):
            key, mask, to_right = keys[entry], masks[entry], bits[entry - start]
            left, right = _append(keys, masks, key, mask & ~to_right, mask & to_right, left, right)
        return left, right
    step = np.uint64(path)
    for entry in range(start, stop, step):
        at, remaining = entry - start, stop - entry
        if path == BY_EIGHT:
            found = split8(keys, masks, bits, entry, at, remaining, left, right)
        else:
            found = split4(keys, masks, bits, entry, at, remaining, left, right)
        left += found & _LOW_BYTE
        right += found >> _EIGHT
    return left, right


@njit(nogil=True, cache=True)
def _add(plane, table, sums, about_first):  # type: ignore[no-untyped-def]
    """Add the value of one tree to the sums of all rows that have arrived."""
    total, first, square = sums.total, sums.first, sums.square
    if not (about_first and first.size):
        for row in range(plane.size):
            total[row] += table[plane[row]]
        return
    for row in range(plane.size):  # one pass: each array comes from memory once
        value = table[plane[row]]
        total[row] += value
        deviation = value - first[row] if plane[row] else 0.0
        square[row] += deviation * deviation
