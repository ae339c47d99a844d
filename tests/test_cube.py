"""The feature cube: written block by block, read back as one Dataset, to the bit."""

import json
import pickle
from datetime import date

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from gssm_cube import cube
from gssm_cube.grid import Block, Layout, Tile
from gssm_cube.interpolate import interpolate_days
from gssm_cube.storage.stores import array_of, open_group, write_region
from gssm_cube.variables import FILL, PREDICTORS, SSM, names_of

# Two tiles side by side; the second window has four days.
LAYOUT = Layout(Tile(118, 372), 1, 2, date(2018, 2, 20), date(2019, 2, 24), 48)
FIRST, LAST = np.datetime64("2018-02-18"), np.datetime64("2019-02-24")
STARTS = np.append(np.arange(FIRST, LAST, 16), LAST)  # on the last day: none comes after it
WEST, EAST = LAYOUT.tiles()
WINDOWS = LAYOUT.windows()
BLOCKS = [Block(tile, window) for window in WINDOWS for tile in (WEST, EAST)]


def random_codes(rng, name, shape):
    """Codes within a feature's range, a few of them missing."""
    low, high = PREDICTORS[name].packing.encode(PREDICTORS[name].valid_range)
    codes = rng.integers(low, high, shape, endpoint=True).astype("int16")
    codes[rng.random(shape) < 0.01] = FILL
    return codes


def write_everything(store):
    """Fill all groups with random codes, shard by shard; return the codes by name."""
    rng = np.random.default_rng(0)
    cube.create_cube(store, LAYOUT, STARTS, {"title": "random codes"})
    root, codes = open_group(store, "r+"), {}
    shapes = {"static": (48, 96), "daily": (370, 48, 96), "composite": (len(STARTS), 48, 96)}
    shapes["climatology"] = (48, 96)
    for group, shape in shapes.items():
        for name in names_of(group):
            codes[name] = random_codes(rng, name, shape)
            write_region(array_of(root, f"{group}/{name}"), whole(shape), codes[name])
    cells = np.stack([random_codes(rng, name, (370, 5, 9)) for name in cube.METEO])
    write_region(array_of(root, "meteo/cells"), whole(cells.shape), cells)
    codes |= dict(zip(cube.METEO, cells, strict=True))
    climate = np.stack([random_codes(rng, name, (5, 9)) for name in cube.CLIMATE])
    write_region(array_of(root, "meteo/climate"), whole(climate.shape), climate)
    codes |= dict(zip(cube.CLIMATE, climate, strict=True))
    codes["land"] = rng.integers(0, 2, (48, 96)).astype("uint8")
    write_region(array_of(root, "static/land"), whole((48, 96)), codes["land"])
    return codes


def whole(shape):
    return tuple(slice(0, size) for size in shape)


def bilinear(cells):
    """The rule of a cell's four corners, with whole arrays of Python-sized integers."""
    days, rows, cols = cells.shape
    row, col = np.arange((rows - 1) * 12)[:, None], np.arange((cols - 1) * 12)[None]
    y, x = 2 * (row % 12) + 1, 2 * (col % 12) + 1
    total, missing = np.zeros((days, row.size, col.size), "int64"), False
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        corner = cells[:, row // 12 + down, col // 12 + right].astype("int64")
        missing = missing | (corner == FILL)
        total += (y if down else 24 - y) * (x if right else 24 - x) * corner
    return np.where(missing, FILL, (2 * total + 576) // 1152).astype("int16")


def as_read(codes):
    """Codes at 1 km and days, and the values that they decode to."""
    days, starts = np.arange(370), (STARTS - LAYOUT.time[0]).astype(int)
    refined = dict(codes)
    for name in names_of("composite"):
        refined[name] = interpolate_days(codes[name], starts, days)
    refined |= {name: bilinear(codes[name]) for name in cube.METEO}
    refined |= {name: bilinear(codes[name][np.newaxis])[0] for name in cube.CLIMATE}
    values = {
        name: array if name == "land" else PREDICTORS[name].packing.decode(array)
        for name, array in refined.items()
    }
    return refined, values


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A full cube: its path, its stored codes, its codes and values as read."""
    store = tmp_path_factory.mktemp("cube") / "features.zarr"
    codes = write_everything(store)
    return store, codes, *as_read(codes)


@pytest.fixture
def empty(tmp_path):
    cube.create_cube(tmp_path / "c.zarr", LAYOUT, STARTS, {})
    return tmp_path / "c.zarr"


def check_equal(dataset, expected, keys=(slice(None),) * 3):
    """All features equal ``expected`` at ``keys`` to the bit."""
    for name, array in expected.items():
        static = array.ndim == 2
        np.testing.assert_array_equal(
            dataset[name].values, array[keys[1:] if static else keys], err_msg=name
        )
        assert dataset[name].dtype == array.dtype


# ---- opening ----------------------------------------------------------------------------------


def test_what_is_written_is_read_on_one_grid_to_the_bit(full):
    dataset = cube.open_cube(full[0])
    assert set(dataset.data_vars) == set(PREDICTORS) - {"lat", "lon"} | {"land"}
    check_equal(dataset, full[3])
    np.testing.assert_array_equal(dataset["time"].values, LAYOUT.time.astype("M8[ns]"))
    np.testing.assert_array_equal(dataset["lat"].values, LAYOUT.lat)
    np.testing.assert_array_equal(dataset["lon"].values, LAYOUT.lon)


def test_codes_come_undecoded_when_asked_for(full):
    dataset = cube.open_cube(full[0], mask_and_scale=False)
    check_equal(dataset, full[2])
    assert dataset["lst"].attrs["scale_factor"] == 0.01
    assert dataset["lst"].attrs["_FillValue"] == FILL


def test_features_carry_their_units_and_sources(full):
    dataset = cube.open_cube(full[0])
    for name in set(PREDICTORS) - {"lat", "lon"}:
        assert dataset[name].attrs == PREDICTORS[name].attrs
    assert dataset["lat"].attrs["units"] == "degrees_north"
    assert dataset["lst"].dims == ("time", "lat", "lon")
    assert dataset["clay"].dims == ("lat", "lon")
    assert dataset.attrs["title"] == "random codes"


@st.composite
def keys_of(draw, size):
    """A number, a slice with any step, a list with repeats or a mask, never empty."""
    kind = draw(st.sampled_from(["number", "slice", "list", "mask"]))
    if kind == "number":
        return draw(st.integers(-size, size - 1))
    if kind == "slice":
        return draw(st.slices(size).filter(lambda s: len(range(*s.indices(size)))))
    places = draw(st.lists(st.integers(-size, size - 1), min_size=1, max_size=5))
    if kind == "list":
        return np.array(places)
    return np.isin(np.arange(size), np.array(places) % size)


@given(keys=st.tuples(keys_of(370), keys_of(48), keys_of(96)))
@settings(max_examples=25, deadline=None)
def test_any_mixture_of_indexers_equals_the_eager_arrays(full, keys):
    found = cube.open_cube(full[0]).isel(dict(zip(("time", "lat", "lon"), keys, strict=True)))
    for name, array in full[3].items():
        for axis, key in reversed(list(enumerate(keys[3 - array.ndim :]))):
            array = array[(slice(None),) * axis + (key,)]
        np.testing.assert_array_equal(found[name].values, array, err_msg=name)


def test_a_series_of_the_pixel_nearest_to_a_place(full):
    dataset = cube.open_cube(full[0])
    series = dataset["apei"].sel(lat=LAYOUT.lat[5] + 0.001, lon=LAYOUT.lon[60], method="nearest")
    np.testing.assert_array_equal(series.values, full[3]["apei"][:, 5, 60])
    february = dataset["ndvi"].sel(time="2019-02")
    assert february.sizes["time"] == 24


@pytest.mark.parametrize("chunks", [{}, {"time": 100, "lat": 20, "lon": 31}])
def test_dask_chunks_give_the_same_values(full, chunks):
    dataset = cube.open_cube(full[0], chunks=chunks)
    expected = (366, 48, 48) if not chunks else (100, 20, 31)
    assert tuple(sizes[0] for sizes in dataset["lst"].chunks) == expected
    check_equal(dataset.compute(scheduler="threads"), full[3])


def test_without_chunks_there_is_no_dask_graph_and_nothing_is_read(full):
    dataset = cube.open_cube(full[0])
    assert not dataset.chunks
    assert not any(variable._in_memory for variable in dataset.data_vars.values())


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_with_its_cells_in_memory_has_the_same_values(full, block):
    keys = (block.window.slice, *LAYOUT.tile_slices(block.tile))
    dataset = cube.open_cube(full[0], block=block)
    place = dict(zip(("time", "lat", "lon"), keys, strict=True))
    check_equal(dataset.isel(place), full[3], keys)
    inner = tuple(slice(k.start + 1, k.stop - 1) for k in keys)
    place = dict(zip(("time", "lat", "lon"), inner, strict=True))
    check_equal(dataset.isel(place), full[3], inner)


def test_beyond_the_block_whose_cells_are_held_nothing_wrong_is_read(full):
    dataset = cube.open_cube(full[0], block=BLOCKS[3])
    with pytest.raises(ValueError, match="open the cube without a block"):
        dataset["tair"].isel(time=5, lat=0, lon=60).load()


def test_an_opened_cube_can_be_sent_to_another_process(full):
    dataset = pickle.loads(pickle.dumps(cube.open_cube(full[0], block=BLOCKS[2])))
    keys = (slice(366, 370), slice(0, 48), slice(0, 48))
    place = dict(zip(("time", "lat", "lon"), keys, strict=True))
    check_equal(dataset.isel(place), full[3], keys)


# ---- composites and cells ---------------------------------------------------------------------


def test_a_composite_holds_on_its_own_day_and_moves_evenly_to_the_next(empty):
    array = array_of(open_group(empty, "r+"), "composite/ndvi")
    levels = (100 * np.arange(len(STARTS)) ** 2).astype("int16")
    codes = np.broadcast_to(levels[:, None, None], (len(STARTS), 48, 96))
    write_region(array, whole(codes.shape), codes)
    ndvi = cube.open_cube(empty, mask_and_scale=False)["ndvi"].isel(lat=3, lon=50).values
    own = (STARTS - LAYOUT.time[0]).astype(int)  # -2, 14, ..., 366, 369
    np.testing.assert_array_equal(ndvi[own[1:]], levels[1:])
    assert ndvi[0] == 13  # 2 of 16 days from 0 to 100: 12.5
    assert own[-2:].tolist() == [366, 369]  # the border of the windows, and the last day
    between = np.interp(np.arange(370), own, levels)
    np.testing.assert_array_equal(ndvi, np.floor(between + 0.5))


def test_the_last_day_alone_is_read_from_the_composite_that_starts_on_it(full):
    last = cube.open_cube(full[0]).isel(time=-1)
    expected = PREDICTORS["ndvi"].packing.decode(full[1]["ndvi"][-1])
    np.testing.assert_array_equal(last["ndvi"].values, expected)


def test_a_pixel_lies_between_the_four_cells_round_it(empty):
    array = array_of(open_group(empty, "r+"), "meteo/cells")
    cells = np.zeros(array.shape, dtype="int16")
    cells[:, :, 1, 2] = 576  # a peak of 576 codes at one cell centre
    write_region(array, whole(cells.shape), cells)
    tair = cube.open_cube(empty, mask_and_scale=False)["tair"].isel(time=7).values
    assert tair[12, 24] == 23 * 23 and tair[11, 23] == 23 * 23  # the pixels that touch it
    assert tair[12, 35] == 23 * 1 and tair[0, 23] == 1 * 23
    assert (np.count_nonzero(tair), tair.sum()) == (24 * 24, 288 * 288)


def test_a_cube_may_give_each_pixel_its_nearest_cell_and_says_so(tmp_path):
    store = tmp_path / "nearest.zarr"
    cube.create_cube(store, LAYOUT, STARTS, {}, "nearest")
    array = array_of(open_group(store, "r+"), "meteo/cells")
    cells = np.zeros(array.shape, dtype="int16")
    cells[:, :, 1, 2] = 576
    write_region(array, whole(cells.shape), cells)
    expected = np.zeros((48, 96))
    expected[6:18, 18:30] = 576  # the twelve by twelve pixels round the centre
    for block in (None, BLOCKS[0]):
        found = cube.open_cube(store, mask_and_scale=False, block=block)["tair"][7, :, :48]
        np.testing.assert_array_equal(found, expected[:, :48])
    assert cube.open_cube(store)["tair"].sizes["lon"] == 96


def test_another_upsampling_is_another_cube(tmp_path):
    store = tmp_path / "cube.zarr"
    cube.create_cube(store, LAYOUT, STARTS, {})
    with pytest.raises(ValueError, match="read with 'bilinear' upsampling, .* ask for 'nearest'"):
        cube.create_cube(store, LAYOUT, STARTS, {}, "nearest")
    with pytest.raises(ValueError, match="upsampling is 'cubic', expected one of"):
        cube.create_cube(tmp_path / "other.zarr", LAYOUT, STARTS, {}, "cubic")


# ---- stored form ------------------------------------------------------------------------------


def test_a_cube_without_values_is_missing_everywhere(empty):
    dataset = cube.open_cube(empty)
    for name in set(PREDICTORS) - {"lat", "lon"}:
        assert np.isnan(dataset[name].values).all(), name
    assert (dataset["land"].values == 0).all()


def test_an_unwritten_block_is_missing_beside_a_written_one(empty):
    array = array_of(open_group(empty, "r+"), "daily/lst")
    codes = np.full((366, 48, 48), 1234, dtype="int16")
    region = (WINDOWS[0].slice, *LAYOUT.tile_slices(WEST))
    assert write_region(array, region, codes) == ["daily/lst/c/0/0/0"]
    lst = cube.open_cube(empty)["lst"].values
    assert (lst[:366, :, :48] == np.float32(12.34)).all()
    assert np.isnan(lst[366:]).all() and np.isnan(lst[:, :, 48:]).all()


def test_plain_xarray_shows_the_groups_as_stored(full):
    tree = xr.open_datatree(full[0], engine="zarr", consolidated=False)
    assert set(tree.children) == {"static", "daily", "composite", "meteo", "climatology"}
    daily = tree["daily"].to_dataset()
    assert daily["lst"].sizes == {"time": 370, "lat": 48, "lon": 96}
    np.testing.assert_allclose(daily["lst"][3].values, full[3]["lst"][3], rtol=1e-6)
    np.testing.assert_array_equal(tree["composite"]["time"].values, STARTS.astype("datetime64[ns]"))
    np.testing.assert_allclose(tree["meteo"]["lat"].values, LAYOUT.cell_lat)
    assert tree["meteo"]["cells"].attrs["features"] == list(cube.METEO)
    missing = np.stack([full[1][name] for name in cube.METEO]) == FILL
    np.testing.assert_array_equal(np.isnan(tree["meteo"]["cells"].values), missing)


def test_every_array_of_codes_declares_its_fill_twice_and_uses_codecs_of_the_specification(empty):
    arrays = {
        str(path.parent.relative_to(empty)): metadata
        for path in empty.rglob("zarr.json")
        if (metadata := json.loads(path.read_text()))["node_type"] == "array"
    }
    coded = {name: m for name, m in arrays.items() if m["data_type"] == "int16"}
    assert len(coded) == 9 + 2 + 2 + 1 + 1 + 1
    for metadata in coded.values():
        assert metadata["fill_value"] == metadata["attributes"]["_FillValue"] == FILL
    for name, metadata in arrays.items():
        names = {codec["name"] for codec in metadata["codecs"]}
        assert names in ({"sharding_indexed"}, {"bytes", "blosc"}), name


def test_shards_and_chunks_are_those_of_the_design(empty):
    root = open_group(empty)
    shapes = {
        "daily/lst": ((366, 48, 48), (366, 48, 48)),
        "static/clay": ((48, 48), (48, 48)),
        "composite/evi": ((23, 48, 48), (23, 48, 48)),
        "climatology/lst_day": ((7, 48, 48), (7, 48, 48)),
        "climatology/climate_lst_diff": ((48, 48), (48, 48)),
        "meteo/cells": (None, (1, 366, 5, 9)),
        "meteo/climate": (None, (7, 5, 9)),
        "meteo/state": (None, (1, 10, 5, 9)),
    }
    for name, (shards, chunks) in shapes.items():
        array = array_of(root, name)
        assert (array.shards, array.chunks) == (shards, chunks), name


# ---- creating ---------------------------------------------------------------------------------


def test_a_cube_of_the_same_layout_is_kept(full):
    before = sorted((p, p.stat().st_mtime_ns) for p in full[0].rglob("*"))
    cube.create_cube(full[0], LAYOUT, STARTS, {"title": "another"})
    assert sorted((p, p.stat().st_mtime_ns) for p in full[0].rglob("*")) == before


def test_a_cube_of_another_layout_is_refused(empty):
    other = Layout(Tile(118, 372), 1, 1, LAYOUT.first_day, LAYOUT.last_day, 48)
    with pytest.raises(
        ValueError, match="spans .* 2 tiles of .*; the settings ask for .* 1 tiles of"
    ):
        cube.create_cube(empty, other, STARTS, {})


def test_other_stores_are_refused(tmp_path):
    zarr.open_group(str(tmp_path / "foreign"), mode="w")
    with pytest.raises(ValueError, match="it is not a store of gssm_cube"):
        cube.open_cube(tmp_path / "foreign")
    attrs = {"gssm_layout": LAYOUT.to_dict(), "gssm_format": f"{SSM.name} of another kind"}
    zarr.open_group(str(tmp_path / "other"), mode="w").attrs.update(attrs)
    for call in (cube.open_cube, lambda store: cube.create_cube(store, LAYOUT, STARTS, {})):
        with pytest.raises(ValueError, match="is not a feature cube"):
            call(tmp_path / "other")
    with pytest.raises(FileNotFoundError, match="no Zarr store at .*nowhere"):
        cube.open_cube(tmp_path / "nowhere")


def test_a_block_needs_the_cells_from_border_to_border():
    regions = [cube.cell_region(LAYOUT, block) for block in BLOCKS]
    assert regions[1] == (slice(0, 366), slice(0, 5), slice(4, 9))
    assert regions[2] == (slice(366, 370), slice(0, 5), slice(0, 5))


def test_a_part_of_the_cube_is_saved_as_netcdf(tmp_path):
    cube.create_cube(tmp_path / "features.zarr", LAYOUT, STARTS, {"title": "empty"})
    part = cube.open_cube(tmp_path / "features.zarr").isel(time=slice(0, 2), lat=slice(0, 3))
    part.to_netcdf(tmp_path / "part.nc")
    with xr.open_dataset(tmp_path / "part.nc") as saved:
        assert set(saved.data_vars) == set(part.data_vars)
        assert saved["apei"].attrs["units"] == "mm"
