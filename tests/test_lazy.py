"""Lazy arrays: what is asked for equals numpy on the whole; one box round it is read."""

import pickle
from dataclasses import dataclass, field

import numpy as np
import pytest
import xarray as xr
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from xarray.core import indexing

from gssm_cube.interpolate import interpolate_days, upsample_cells
from gssm_cube.lazy import CellReader, CompositeReader, PackedArray
from gssm_cube.variables import FILL, Packing

SHAPE = (7, 5, 6)
CODES = np.random.default_rng(0).integers(-300, 300, SHAPE).astype("int16")
CODES[2, 1, 3] = FILL
PACKING = Packing(0.01, 1.0)


@dataclass
class HeldReader:
    """Reads from memory and notes the regions."""

    codes: np.ndarray
    regions: list = field(default_factory=list)

    def read(self, region):
        assert all(part.step is None and 0 <= part.start < part.stop for part in region)
        self.regions.append(region)
        return self.codes[region]


def lazy(reader, shape=SHAPE, packing=PACKING):
    array = PackedArray(reader, shape, packing)
    return xr.Variable(("time", "lat", "lon"), indexing.LazilyIndexedArray(array))


def slices(size):
    """Slices of any step; an empty one that runs backwards fails in xarray's own indexing."""
    return st.slices(size).filter(lambda s: (s.step or 1) > 0 or len(range(*s.indices(size))))


def indexers(size):
    """What ``isel`` takes on an axis: an integer, a slice of any step, numbers or a mask."""
    number = st.integers(-size, size - 1)
    return st.one_of(
        number,
        slices(size),
        st.lists(number, max_size=2 * size).map(lambda places: np.array(places, dtype=int)),
        st.lists(st.booleans(), min_size=size, max_size=size).map(np.array),
    )


def outer(array, keys):
    """Index each axis by itself, the last one first."""
    for axis, key in reversed(list(enumerate(keys))):
        array = array[(slice(None),) * axis + (key,)]
    return array


# ---- indexing ---------------------------------------------------------------------------------


@given(keys=st.tuples(*map(indexers, SHAPE)))
@settings(max_examples=200, deadline=None)
def test_any_mixture_of_indexers_equals_numpy(keys):
    found = lazy(HeldReader(CODES)).isel(dict(zip(("time", "lat", "lon"), keys, strict=True)))
    np.testing.assert_array_equal(found.values, outer(PACKING.decode(CODES), keys))
    assert found.dtype == found.values.dtype == np.float32


@given(first=st.tuples(*map(slices, SHAPE)), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_selection_of_a_selection_equals_numpy(first, data):
    expected = PACKING.decode(CODES)[first]
    choices = (indexers(size) if size else st.just(slice(None)) for size in expected.shape)
    keys = tuple(data.draw(choice) for choice in choices)
    # xarray itself fails where two slices compose to an empty one that runs backwards.
    assume(0 not in outer(expected, keys).shape)
    found = lazy(HeldReader(CODES))[first]
    found = found.isel(dict(zip(found.dims, keys, strict=True)))
    np.testing.assert_array_equal(found.values, outer(expected, keys))


@pytest.mark.parametrize(
    "places",
    [[0, 0, 2], [0, 2, 1], [2, 1, 0], [2, 0, 1], [1, 1, 1], [-1, 0], [3], []],
)
def test_repeated_and_shuffled_days_come_as_asked(places):
    found = lazy(HeldReader(CODES)).isel(time=places)
    np.testing.assert_array_equal(found.values, PACKING.decode(CODES)[places])


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 9))
@settings(max_examples=50, deadline=None)
def test_single_places_equal_numpy(seed, count):
    places = [np.random.default_rng(seed).integers(0, size, count) for size in SHAPE]
    points = {
        dim: xr.Variable("place", place)
        for dim, place in zip(("time", "lat", "lon"), places, strict=True)
    }
    found = lazy(HeldReader(CODES)).isel(points)
    np.testing.assert_array_equal(found.values, PACKING.decode(CODES)[tuple(places)])


def test_nothing_is_read_before_values_are_asked_for_and_then_one_box():
    reader = HeldReader(CODES)
    wanted = lazy(reader).isel(time=slice(1, 6, 2), lat=[4, 2], lon=-1)
    assert reader.regions == []
    assert wanted.shape == (3, 2)
    wanted.values  # noqa: B018
    assert reader.regions == [(slice(1, 6), slice(2, 5), slice(5, 6))]


def test_an_empty_selection_reads_nothing():
    reader = HeldReader(CODES)
    assert lazy(reader).isel(time=slice(3, 3), lat=1).values.shape == (0, 6)
    assert reader.regions == []


def test_without_a_packing_codes_come_as_they_are():
    found = lazy(HeldReader(CODES), packing=None)
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found.values, CODES)


# ---- readers ----------------------------------------------------------------------------------

STARTS = np.array([-3, 4, 9])
COMPOSITES = np.random.default_rng(1).integers(-300, 300, (3, 2, 3)).astype("int16")


@pytest.mark.parametrize("first", range(10))
def test_composites_of_some_days_equal_those_of_all_days(first):
    everything = interpolate_days(COMPOSITES, STARTS, np.arange(10))
    reader = CompositeReader(COMPOSITES, STARTS)
    for stop in range(first + 1, 11):
        found = reader.read((slice(first, stop), slice(0, 2), slice(1, 3)))
        np.testing.assert_array_equal(found, everything[first:stop, :, 1:3])


def test_composites_that_a_stretch_of_days_does_not_touch_are_not_read():
    class Counting:
        def __init__(self):
            self.read = []

        def __getitem__(self, key):
            self.read.append(key[0])
            return COMPOSITES[key]

    array = Counting()
    box = (slice(0, 2), slice(0, 3))
    CompositeReader(array, STARTS).read((slice(0, 4), *box))
    CompositeReader(array, STARTS).read((slice(4, 9), *box))
    assert array.read == [slice(0, 2), slice(1, 3)]


CELLS = np.random.default_rng(2).integers(-300, 300, (2, 4, 4, 5)).astype("int16")  # n = 3


@given(
    time=st.tuples(*[st.integers(0, 4)] * 2).filter(lambda p: p[0] != p[1]),
    rows=st.tuples(*[st.integers(0, 9)] * 2).filter(lambda p: p[0] != p[1]),
    cols=st.tuples(*[st.integers(0, 12)] * 2).filter(lambda p: p[0] != p[1]),
)
@settings(max_examples=60, deadline=None)
def test_pixels_of_some_cells_equal_those_of_all(time, rows, cols):
    region = tuple(slice(*sorted(p)) for p in (time, rows, cols))
    found = CellReader(CELLS, 1, 3).read(region)
    np.testing.assert_array_equal(found, upsample_cells(CELLS[1], 3)[region])


def test_held_cells_count_from_their_origin():
    held = CellReader(CELLS[:, 1:3, 1:, 2:], 0, 3, origin=(1, 1, 2))
    region = (slice(1, 3), slice(3, 9), slice(6, 12))
    np.testing.assert_array_equal(held.read(region), upsample_cells(CELLS[0], 3)[region])


@pytest.mark.parametrize(
    "region",
    [
        (slice(0, 1), slice(3, 9), slice(6, 12)),
        (slice(2, 4), slice(3, 9), slice(6, 12)),
        (slice(1, 2), slice(2, 9), slice(6, 12)),
        (slice(1, 2), slice(3, 9), slice(5, 6)),
    ],
)
def test_a_region_beyond_the_held_cells_is_refused(region):
    held = CellReader(CELLS[:, 1:3, 1:, 2:], 0, 3, origin=(1, 1, 2))
    with pytest.raises(ValueError, match="reaches outside the block whose cells are held"):
        held.read(region)


def test_a_lazy_array_can_be_sent_to_another_process():
    again = pickle.loads(pickle.dumps(lazy(HeldReader(CODES))))
    np.testing.assert_array_equal(again.values, PACKING.decode(CODES))
