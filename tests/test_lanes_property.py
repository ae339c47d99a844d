"""The block kernel on forests and codes that hypothesis makes; a plain walk is the oracle.

scikit-learn cannot be given trees, so a walk of five lines stands in for it here; `test_lanes`
compares with scikit-learn itself.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gssm_cube.forest import CompiledForest, lanes, predict_codes
from gssm_cube.forest.lane_walk import BY_EIGHT, BY_FOUR, SCALAR
from gssm_cube.forest.packed import code_thresholds
from gssm_cube.variables import FILL, PREDICTORS, Packing

FEATURES = ("tair", "ndvi", "clay", "lon")
PACKINGS = [PREDICTORS[name].packing for name in FEATURES]
ENDS = [-32767, -32766, -1, 0, 1, 32766, 32767]


def thresholds(feature: int) -> st.SearchStrategy[float]:
    """Decoded codes themselves, places between two, and places beyond all codes."""
    packing = PACKINGS[feature]
    codes = st.sampled_from(ENDS) | st.integers(-20, 20)
    at = codes.map(lambda code: float(packing.decode(code)))
    between = codes.map(lambda code: (code + 0.5) * packing.scale + packing.offset)
    return at | between | st.sampled_from([-1e9, 1e9])


@st.composite
def trees(draw, deepest: int = 6) -> list[tuple[int, float, int]]:
    """Nodes (feature, threshold, right) in preorder; a leaf is (-1, value, 0)."""
    if deepest == 0 or draw(st.integers(0, 4)) == 0:
        return [(-1, draw(st.floats(0, 1)), 0)]
    feature = draw(st.integers(0, len(FEATURES) - 1))
    threshold = draw(thresholds(feature))
    left, right = draw(trees(deepest=deepest - 1)), draw(trees(deepest=deepest - 1))
    moved = [(f, t, r + len(left) + 1 if f >= 0 else 0) for f, t, r in right]
    shifted = [(f, t, r + 1 if f >= 0 else 0) for f, t, r in left]
    return [(feature, threshold, len(left) + 1), *shifted, *moved]


def as_forest(grown: list[list[tuple[int, float, int]]]) -> CompiledForest:
    """Flat arrays of some trees."""
    nodes = [node for tree in grown for node in tree]
    feature = np.array([node[0] for node in nodes], "int16")
    value = np.array([node[1] for node in nodes])
    numbers = [np.cumsum([node[0] < 0 for node in tree]) - 1 for tree in grown]
    right = np.array([node[2] for node in nodes])
    return CompiledForest(
        features=FEATURES,
        feature=feature,
        threshold=np.where(feature < 0, -2.0, value),
        right=np.where(feature < 0, np.concatenate(numbers), right).astype("uint32"),
        leaf=value[feature < 0],
        node_offsets=np.cumsum([0, *map(len, grown)]),
        leaf_offsets=np.cumsum([0, *(sum(n[0] < 0 for n in tree) for tree in grown)]),
    )


def walked(grown: list[list[tuple[int, float, int]]], row: np.ndarray) -> float:
    """Mean over the trees of one row of float32 values, summed in their order."""
    total = 0.0
    for tree in grown:
        node = 0
        while tree[node][0] >= 0:
            feature, threshold, right = tree[node]
            node = node + 1 if float(row[feature]) <= threshold else right
        total += tree[node][1]
    return total / len(grown)


def drawn_codes(seed: int, shape: tuple[int, int, int], missing: float, wide: bool):
    """Codes near the thresholds or anywhere, some of them missing."""
    rng = np.random.default_rng(seed)
    pool = np.concatenate([ENDS, np.arange(-22, 23)]) if not wide else np.arange(FILL + 1, 32768)
    codes = {}
    for name, size in zip(FEATURES, [shape, shape, shape[1:], shape[1:]], strict=True):
        drawn = rng.choice(pool, size).astype("int16")
        codes[name] = np.where(rng.random(size) < missing, FILL, drawn).astype("int16")
    return {n: codes[n] for n in FEATURES[:2]}, {n: codes[n] for n in FEATURES[2:]}


def expected_of(grown, dynamic, static) -> np.ndarray:
    shape = dynamic["tair"].shape
    columns = [np.broadcast_to((dynamic | static)[n], shape).ravel() for n in FEATURES]
    rows = np.stack([p.decode(c) for p, c in zip(PACKINGS, columns, strict=True)], axis=1)
    missing = np.isnan(rows).any(axis=1)
    found = [
        np.nan if gone else walked(grown, row) for row, gone in zip(rows, missing, strict=True)
    ]
    return np.array(found).reshape(shape)


@given(
    grown=st.lists(trees(), min_size=1, max_size=4),
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 5), st.integers(1, 19), st.integers(1, 19)),
    missing=st.sampled_from([0.0, 0.05, 0.6]),
    wide=st.booleans(),
    numbers=st.sampled_from([4, 7, lanes.NUMBERS]),
)
@settings(max_examples=120, deadline=None)
def test_any_forest_over_any_codes_has_the_bits_of_a_plain_walk(
    grown, seed, shape, missing, wide, numbers
):
    dynamic, static = drawn_codes(seed, shape, missing, wide)
    forest, expected = as_forest(grown), expected_of(grown, dynamic, static)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "NUMBERS", numbers)
        for path in (SCALAR, BY_FOUR, BY_EIGHT):
            patch.setattr(lanes, "PATH", path)
            found = predict_codes(forest, dynamic, static)
            np.testing.assert_array_equal(found, expected)


@given(
    grown=st.lists(trees(deepest=4), min_size=1, max_size=3),
    sub_block=st.tuples(st.integers(1, 4), st.sampled_from([8, 16]), st.sampled_from([8, 24])),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_the_size_of_the_sub_blocks_changes_no_bit(grown, sub_block, seed):
    piece = drawn_codes(seed, (5, 20, 27), 0.1, wide=False)
    whole = predict_codes(as_forest(grown), *piece, spread=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "SUB_BLOCK", sub_block)
        parts = predict_codes(as_forest(grown), *piece, spread=True)
    np.testing.assert_array_equal(parts, whole)


@given(
    scale=st.floats(1e-5, 100), offset=st.floats(-300, 300), code=st.integers(FILL + 1, 32767),
    steps=st.integers(-2, 2), between=st.booleans(),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_code_thresholds_split_the_codes_round_them_as_values_are_split(
    scale, offset, code, steps, between
):
    packing = Packing(scale, offset)
    threshold = float(packing.decode(code)) + (scale / 2 if between else 0.0)
    for _ in range(abs(steps)):
        threshold = np.nextafter(threshold, np.copysign(np.inf, steps))
    derived = int(code_thresholds(np.array([threshold]), packing)[0])
    near = np.clip([code - 1, code, code + 1, derived, derived + 1], FILL + 1, 32767)
    for other in near.astype("int16"):
        assert (other <= derived) == (float(packing.decode(other)) <= threshold)
