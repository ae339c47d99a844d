"""The SSM Zarr: plain xarray reads it; blocks fill it; nothing else is let in."""

import re
from datetime import date, timedelta

import numpy as np
import pytest
import xarray as xr
import zarr

from gssm_cube.flags import PRODUCT_FLAGS
from gssm_cube.grid import Block, Layout, Tile
from gssm_cube.product import Layers, create_product, open_product, write_block
from gssm_cube.storage.stores import layout_of
from gssm_cube.variables import FILL

# Two tiles side by side; the second window has four days.
LAYOUT = Layout(Tile(118, 372), 1, 2, date(2018, 2, 20), date(2019, 2, 24), 48)
WEST, EAST = LAYOUT.tiles()
FIRST, SECOND = LAYOUT.windows()
CODES = np.random.default_rng(0).integers(0, 600, (366, 48, 48)).astype("int16")
CODES[5, 7, 9] = FILL
QUALITY = np.random.default_rng(1).integers(0, 2048, CODES.shape).astype("uint16")
SPREAD = np.random.default_rng(2).integers(0, 90, CODES.shape).astype("int16")
SPREAD[5, 7, 9] = FILL
LAYERS = Layers(CODES, SPREAD, QUALITY)
INTERVAL = {"interval": '{"level": 0.9, "factor": 1.5, "floor": 0.05}'}


@pytest.fixture
def empty(tmp_path):
    create_product(tmp_path / "ssm.zarr", LAYOUT, {"forest_digest": "abc"})
    return tmp_path / "ssm.zarr"


@pytest.fixture
def store(empty):
    """The first window of the western tile is written."""
    write_block(empty, LAYOUT, Block(WEST, FIRST), LAYERS)
    return empty


# ---- values -----------------------------------------------------------------------------------


def test_a_block_is_read_as_it_was_written_and_the_rest_is_missing(store):
    ssm = open_product(store)["ssm"].values
    expected = np.where(CODES == FILL, np.nan, CODES * 0.001)
    np.testing.assert_allclose(ssm[:366, :, :48], expected, rtol=1e-12)
    assert np.isnan(ssm[366:]).all() and np.isnan(ssm[:, :, 48:]).all()


def test_a_block_is_one_object_of_each_layer_in_its_place(empty):
    names = [
        write_block(
            empty, LAYOUT, Block(tile, window), Layers(*(part[: window.days] for part in LAYERS))
        )
        for window in (FIRST, SECOND)
        for tile in (WEST, EAST)
    ]
    places = ("0/0/0", "0/0/1", "1/0/0", "1/0/1")
    assert names == [[f"{name}/c/{place}" for name in Layers._fields] for place in places]
    assert all((empty / name).is_file() for block in names for name in block)
    ssm = open_product(empty)["ssm"]
    np.testing.assert_allclose(ssm[366:, :, 48:].values, CODES[:4] * 0.001, rtol=1e-12)


def test_a_block_of_another_shape_is_refused(empty):
    with pytest.raises(ValueError, match=r"values are int16 \(366, 48, 48\), expected int16 \(4,"):
        write_block(
            empty,
            LAYOUT,
            Block(WEST, SECOND),
            LAYERS._replace(quality=QUALITY[:4], ssm_spread=SPREAD[:4]),
        )


def test_a_tile_outside_is_refused(empty):
    with pytest.raises(ValueError, match="tile r118c374 is outside the store"):
        write_block(empty, LAYOUT, Block(Tile(118, 374), FIRST), LAYERS)


def test_flags_come_back_as_they_were_written_and_are_0_elsewhere(store):
    quality = open_product(store)["quality"]
    assert quality.dtype == np.uint16
    np.testing.assert_array_equal(quality.values[:366, :, :48], QUALITY)
    assert not quality.values[366:].any() and not quality.values[:, :, 48:].any()


# ---- opening ----------------------------------------------------------------------------------


def test_it_opens_as_plain_xarray_opens_it(store):
    plain = xr.open_zarr(store, chunks=None, consolidated=False)
    xr.testing.assert_identical(
        open_product(store), plain.set_coords([n for n in plain if n.endswith("_bounds")])
    )
    assert set(open_product(store).data_vars) == {"quality", "ssm", "ssm_spread"}


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
    assert product.attrs["Conventions"] == "CF-1.11, ACDD-1.3"
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
        Layout(Tile(118, 372), 1, 2, LAYOUT.first_day, LAYOUT.last_day - timedelta(days=1), 48),
        Layout(Tile(118, 372), 1, 2, LAYOUT.first_day + timedelta(days=1), date(2019, 2, 25), 48),
    ],
)
def test_another_box_or_period_is_refused(store, other):
    match = re.escape(f"the cube spans {other};")
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


# ---- what follows from the stored layers ------------------------------------------------------


@pytest.fixture
def judged(empty):
    """A product that knows the constants of its interval."""
    create_product(empty, LAYOUT, INTERVAL)
    write_block(empty, LAYOUT, Block(WEST, FIRST), LAYERS)
    return empty


def test_the_interval_follows_from_spread_and_two_constants(judged):
    product = open_product(judged).isel(time=slice(0, 366), lon=slice(0, 48))
    half = 1.5 * np.sqrt((SPREAD * 1e-3) ** 2 + 0.05**2)
    known = CODES != FILL
    for name, sign in (("ssm_lower", -1), ("ssm_upper", 1)):
        expected = np.clip(CODES * 0.001 + sign * half, 0, 1)
        np.testing.assert_allclose(product[name].values[known], expected[known], atol=0.51e-3)
        assert np.isnan(product[name].values[5, 7, 9])
        assert product[name].attrs["units"] == "m3 m-3"
    assert (product.ssm_lower <= product.ssm).sum() == known.sum()
    assert product.ssm_upper.attrs["long_name"].startswith("Upper end of the 90% interval")
    assert "1.5 sqrt(ssm_spread^2 + 0.05^2)" in product.ssm_upper.attrs["comment"]


def test_the_interval_is_lazy_and_may_have_chunks(judged):
    product = open_product(judged, chunks={})
    assert product["ssm_lower"].chunks == product["ssm"].chunks
    point = {"lat": 3, "lon": slice(2, 7), "time": [1, 40]}
    lazy, eager = (opened["ssm_upper"].isel(point) for opened in (product, open_product(judged)))
    np.testing.assert_array_equal(lazy.compute(), eager)


@pytest.mark.parametrize("interval", [{}, {"interval": "null"}])
def test_a_product_without_constants_has_no_interval(tmp_path, interval):
    create_product(tmp_path / "ssm.zarr", LAYOUT, interval)
    assert "ssm_lower" not in open_product(tmp_path / "ssm.zarr")


def test_the_recommended_mask_leaves_out_what_is_frozen_or_beyond_the_soil(judged):
    masked, whole = open_product(judged, mask="recommended"), open_product(judged)
    bits = 128 + 256 + 512 + 1024  # frozen, below residual water, above porosity, clipped
    left_out = (whole.quality & bits) > 0
    for name in ("ssm", "ssm_lower", "ssm_upper"):
        xr.testing.assert_equal(
            masked[name].astype("float32"), whole[name].where(~left_out).astype("float32")
        )
    assert 0.9 < left_out[:366, :, :48].mean() < 0.95  # 15 of 16 at random
    assert masked.ssm.attrs["mask"] == (
        "missing where quality has frozen or below_residual_water or above_porosity or clipped"
    )
    assert masked.ssm.attrs["units"] == "m3 m-3"


def test_an_unknown_mask_is_refused(judged):
    with pytest.raises(ValueError, match="mask is 'all', expected one of"):
        open_product(judged, mask="all")


def test_a_part_is_saved_by_plain_xarray_in_either_format(store, tmp_path):
    part = open_product(store).isel(time=slice(3, 9), lat=slice(5, 10))
    part.to_netcdf(tmp_path / "part.nc")
    part.drop_encoding().chunk(time=2).to_zarr(tmp_path / "part.zarr")
    with xr.open_dataset(tmp_path / "part.nc") as netcdf:
        xr.testing.assert_allclose(netcdf["ssm"], part["ssm"])
        assert netcdf.attrs["gssm_layout"] == part.attrs["gssm_layout"]
    with xr.open_zarr(tmp_path / "part.zarr") as plain:
        xr.testing.assert_equal(plain["ssm"].load(), part["ssm"].load())


def test_a_layout_written_as_a_mapping_is_still_read(empty):
    root = zarr.open_group(empty, mode="r+", use_consolidated=False)
    root.attrs["gssm_layout"] = LAYOUT.to_dict()
    assert layout_of(root) == LAYOUT
