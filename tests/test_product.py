"""The SSM Zarr: plain xarray reads it; blocks fill it; nothing else is let in."""

import json
import re
from datetime import date

import numpy as np
import pytest
import xarray as xr
import zarr

from gssm_cube.flags import PRODUCT_FLAGS
from gssm_cube.grid import Block, Layout, Tile
from gssm_cube.product import create_product, interval, open_product, write_block
from gssm_cube.variables import FILL

# Two tiles side by side; the second window has four days.
LAYOUT = Layout(Tile(118, 372), 1, 2, date(2018, 2, 20), date(2019, 2, 24), 48)
WEST, EAST = LAYOUT.tiles()
FIRST, SECOND = LAYOUT.windows()
CODES = np.random.default_rng(0).integers(0, 600, (366, 48, 48)).astype("int16")
CODES[5, 7, 9] = FILL
SPREAD = np.where(CODES == FILL, FILL, CODES // 10).astype("int16")
QUALITY = np.random.default_rng(1).integers(0, 2048, CODES.shape).astype("uint16")


def first_days(count):
    layers = {"ssm": CODES, "ssm_spread": SPREAD, "quality": QUALITY}
    return {name: layer[:count] for name, layer in layers.items()}


@pytest.fixture
def empty(tmp_path):
    create_product(tmp_path / "ssm.zarr", LAYOUT, {"forest_digest": "abc"})
    return tmp_path / "ssm.zarr"


@pytest.fixture
def store(empty):
    """The first window of the western tile is written."""
    write_block(empty, LAYOUT, Block(WEST, FIRST), first_days(366))
    return empty


# ---- values -----------------------------------------------------------------------------------


def test_a_block_is_read_as_it_was_written_and_the_rest_is_missing(store):
    ssm = open_product(store)["ssm"].values
    expected = np.where(CODES == FILL, np.nan, CODES * 0.001)
    np.testing.assert_allclose(ssm[:366, :, :48], expected, rtol=1e-12)
    assert np.isnan(ssm[366:]).all() and np.isnan(ssm[:, :, 48:]).all()


def test_a_block_is_one_object_of_each_layer_in_its_place(empty):
    names = [
        write_block(empty, LAYOUT, Block(tile, window), first_days(window.days))
        for window in (FIRST, SECOND)
        for tile in (WEST, EAST)
    ]
    places = ("0/0/0", "0/0/1", "1/0/0", "1/0/1")
    layers = ("ssm", "ssm_spread", "quality")
    assert names == [[f"{layer}/c/{place}" for layer in layers] for place in places]
    assert all((empty / name).is_file() for block in names for name in block)
    ssm = open_product(empty)["ssm"]
    np.testing.assert_allclose(ssm[366:, :, 48:].values, CODES[:4] * 0.001, rtol=1e-12)


def test_a_block_of_another_shape_is_refused(empty):
    with pytest.raises(ValueError, match=r"values are int16 \(366, 48, 48\), expected int16 \(4,"):
        write_block(empty, LAYOUT, Block(WEST, SECOND), first_days(366))


def test_a_tile_outside_is_refused(empty):
    with pytest.raises(ValueError, match="tile r118c374 is outside the store"):
        write_block(empty, LAYOUT, Block(Tile(118, 374), FIRST), first_days(366))


def test_flags_come_back_as_they_were_written_and_are_0_elsewhere(store):
    quality = open_product(store)["quality"]
    assert quality.dtype == np.uint16
    np.testing.assert_array_equal(quality.values[:366, :, :48], QUALITY)
    assert not quality.values[366:].any() and not quality.values[:, :, 48:].any()


def test_the_interval_follows_from_the_spread_and_two_constants(tmp_path):
    said = {"level": 0.9, "factor": 2.0, "floor": 0.05}
    create_product(tmp_path / "ssm.zarr", LAYOUT, {"interval": json.dumps(said)})
    write_block(tmp_path / "ssm.zarr", LAYOUT, Block(WEST, FIRST), first_days(366))
    product = open_product(tmp_path / "ssm.zarr")
    found = interval(product.isel(time=slice(3, 9), lat=slice(5, 10), lon=slice(7, 12)))
    place = (slice(3, 9), slice(5, 10), slice(7, 12))
    ssm, spread = CODES[place] / 1000, SPREAD[place] / 1000
    missing = CODES[place] == FILL
    assert missing.sum() == 1
    half = 2 * np.sqrt(spread**2 + 0.05**2)
    upper, lower = (np.where(missing, np.nan, v) for v in (ssm + half, ssm - half))
    np.testing.assert_allclose(found["ssm_upper"], upper, rtol=1e-6)
    np.testing.assert_allclose(found["ssm_lower"], np.maximum(lower, 0), rtol=1e-6, atol=1e-9)
    assert (lower < 0).any() and found["ssm_lower"].attrs["units"] == "m3 m-3"
    lazy = interval(open_product(tmp_path / "ssm.zarr", chunks={}))
    assert lazy.chunks and lazy["ssm_upper"].dims == ("time", "lat", "lon")


def test_a_product_without_a_calibrated_interval_says_so(store):
    with pytest.raises(ValueError, match="no calibrated interval: too few stations"):
        interval(open_product(store))


# ---- opening ----------------------------------------------------------------------------------


def test_it_opens_as_plain_xarray_opens_it(store):
    plain = xr.open_zarr(store, chunks=None, consolidated=False)
    xr.testing.assert_identical(open_product(store), plain.set_coords("depth_bounds"))
    assert list(open_product(store).data_vars) == ["quality", "ssm", "ssm_spread"]


def test_nothing_is_read_and_no_dask_graph_is_built_unless_asked_for(store):
    assert not open_product(store).chunks
    inner = open_product(store, chunks={})
    assert inner["ssm"].chunks == ((366, 4), (48,), (48, 48))
    assert open_product(store, chunks={"lat": 16})["ssm"].chunks[1] == (16, 16, 16)
    xr.testing.assert_identical(inner.compute(), open_product(store).compute())


def test_the_series_nearest_to_a_place_is_named_dated_and_in_units(store):
    place = {"lat": LAYOUT.lat[7] + 0.003, "lon": LAYOUT.lon[9] - 0.003}
    series = open_product(store)["ssm"].sel(place, method="nearest")
    assert series.name == "ssm"
    assert series.attrs["units"] == "m3 m-3"
    assert series.attrs["long_name"] == "Surface soil moisture, 0-5 cm"
    np.testing.assert_array_equal(series["time"].values, LAYOUT.time.astype("M8[ns]"))
    assert np.isnan(series.sel(time="2018-02-25"))  # five days after the first
    np.testing.assert_allclose(series.sel(time="2018-02-26"), CODES[6, 7, 9] * 0.001)
    assert series.sel(time="2018").size == 315


def test_it_says_what_cf_asks_for(store):
    product = open_product(store)
    ssm = product["ssm"]
    assert product.attrs["Conventions"] == "CF-1.11"
    assert product.attrs["gssm_day"] == "UTC"
    assert product.attrs["forest_digest"] == "abc"
    assert ssm.attrs["standard_name"] == "volume_fraction_of_condensed_water_in_soil"
    assert ssm.attrs["cell_methods"] == "time: mean area: mean"
    assert ssm.encoding.get("coordinates", ssm.attrs.get("coordinates")) == "depth"
    assert ssm.attrs["ancillary_variables"] == "ssm_spread quality"
    flags = product["quality"].attrs
    assert flags["standard_name"] == "quality_flag"
    meanings = dict(zip(flags["flag_meanings"].split(), flags["flag_masks"], strict=True))
    assert meanings == PRODUCT_FLAGS
    for name, standard, axis in (
        ("time", "time", "T"), ("lat", "latitude", "Y"), ("lon", "longitude", "X"),
    ):  # fmt: skip
        assert product[name].attrs["standard_name"] == standard
        assert product[name].attrs["axis"] == axis
    assert product["time"].encoding["units"] == "days since 2018-02-20"


def test_the_depth_is_a_scalar_coordinate_with_bounds(store):
    product = open_product(store)
    depth = product["ssm"].coords["depth"]
    assert depth.shape == () and depth.item() == 0.025
    assert (depth.attrs["units"], depth.attrs["positive"]) == ("m", "down")
    np.testing.assert_array_equal(product[depth.attrs["bounds"]], [0.0, 0.05])


# ---- creating ---------------------------------------------------------------------------------


def test_an_existing_product_keeps_its_values_and_gets_the_new_attributes(store):
    before = open_product(store)["ssm"].load()
    create_product(store, LAYOUT, {"forest_digest": "def"})
    product = open_product(store)
    assert product.attrs["forest_digest"] == "def"
    xr.testing.assert_identical(product["ssm"].load(), before)


@pytest.mark.parametrize(
    "other",
    [
        Layout(Tile(118, 372), 1, 1, LAYOUT.first_day, LAYOUT.last_day, 48),
        Layout(Tile(118, 372), 1, 2, LAYOUT.first_day, date(2019, 2, 25), 48),
    ],
)
def test_another_box_or_period_is_refused(store, other):
    match = re.escape(f"the cube spans {other.to_dict()}")
    with pytest.raises(ValueError, match=match):
        create_product(store, other, {})


def test_other_stores_are_refused(tmp_path):
    zarr.open_group(str(tmp_path / "foreign"), mode="w")
    with pytest.raises(ValueError, match="foreign is not an SSM product"):
        open_product(tmp_path / "foreign")
    with pytest.raises(ValueError, match="foreign is not an SSM product"):
        create_product(tmp_path / "foreign", LAYOUT, {})
    with pytest.raises(FileNotFoundError, match="no Zarr store at .*nowhere"):
        open_product(tmp_path / "nowhere")
