"""The product in other forms: equal values in the eyes of xarray, rasterio, pandas and gdal."""

import json
import shutil
import subprocess
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import xarray as xr
from product_files import layers_of
from rio_cogeo import cog_validate

from gssm_cube.grid import Block, Layout, Tile
from gssm_cube.product import create_product, open_product, write_block
from gssm_cube.product.export import Part, export, export_points, read_points
from gssm_cube.variables import FILL

# Two tiles side by side, 31 December and 1 January within.
LAYOUT = Layout(Tile(118, 372), 1, 2, date(2018, 12, 20), date(2019, 1, 10), 48)
WEST, SOUTH, EAST, NORTH = LAYOUT.bounds
PART = Part(box=(WEST + 0.1, SOUTH + 0.05, WEST + 0.6, NORTH - 0.1), first_day=date(2018, 12, 28))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "ssm.zarr"
    create_product(path, LAYOUT, {"history": "gssm_cube test"})
    rng = np.random.default_rng(0)
    for tile in LAYOUT.tiles():
        codes = rng.integers(0, 600, (LAYOUT.days, 48, 48)).astype("int16")
        codes[rng.random(codes.shape) < 0.2] = FILL
        write_block(path, LAYOUT, Block(tile, LAYOUT.windows()[0]), layers_of(codes))
    return path


def selected(store: Path) -> xr.DataArray:
    box = PART.box
    part = open_product(store).ssm.sel(lat=slice(box[3], box[1]), lon=slice(box[0], box[2]))
    return part.sel(time=slice("2018-12-28", None))


@pytest.mark.parametrize("name", ["part.nc", "part.zarr"])
def test_a_part_opens_in_xarray_with_equal_values(store, tmp_path, name):
    (path,) = export(store, tmp_path / name, PART)
    opened = xr.open_dataset(path, engine="netcdf4" if name.endswith("nc") else "zarr")
    expected = selected(store)
    assert expected.shape == (14, 30, 60)
    xr.testing.assert_allclose(opened.ssm, expected)
    assert np.isnan(opened.ssm.values).sum() == expected.isnull().sum() > 1000
    assert opened.ssm.attrs["standard_name"] == "volume_fraction_of_condensed_water_in_soil"
    assert opened.attrs["time_coverage_start"] == "2018-12-28T00:00:00Z"
    assert opened.attrs["geospatial_lat_max"] == pytest.approx(NORTH - 0.1)
    np.testing.assert_allclose(opened.depth_bounds, [0, 0.05])
    assert opened.ssm.encoding["dtype"] == np.int16


def test_geotiffs_hold_a_band_a_day_and_a_file_a_year(store, tmp_path):
    paths = export(store, tmp_path / "part.tif", PART)
    assert [path.name for path in paths] == ["part_2018.tif", "part_2019.tif"]
    expected = selected(store)
    with rasterio.open(paths[1]) as image:
        assert image.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert (image.count, image.nodata, image.dtypes[0]) == (10, 65535, "uint16")
        assert image.descriptions[:2] == ("2019-01-01", "2019-01-02")
        assert (image.scales[0], image.units[0]) == (0.001, "m3 m-3")
        values = image.read(masked=True)
        row, col = image.index(float(expected.lon[7]), float(expected.lat[3]))
    assert (row, col) == (3, 7)
    of_year = expected.sel(time="2019")
    np.testing.assert_array_equal(values.mask, of_year.isnull())
    np.testing.assert_allclose(values.filled(0) * 0.001, of_year.fillna(0), atol=1e-9)


def test_geotiffs_are_cloud_optimized_by_the_judgement_of_rio_cogeo(store, tmp_path):
    for path in export(store, tmp_path / "part.tif", PART):
        valid, errors, warnings = cog_validate(path, strict=True)
        assert (valid, errors, warnings) == (True, [], [])


def test_attributes_of_netcdf_and_zarr_are_equal(store, tmp_path):
    (written,) = export(store, tmp_path / "all.nc")
    with (
        xr.open_dataset(written) as netcdf,
        xr.open_zarr(store, chunks=None, consolidated=False) as plain,
    ):
        assert netcdf.quality.attrs["flag_masks"].dtype == netcdf.quality.dtype  # CF 3.5
        layers = {"ssm", "ssm_spread", "quality", "lat", "lon", "time", "depth"}
        for name in layers:
            found, expected = (dict(dataset[name].attrs) for dataset in (netcdf, plain))
            assert plain_values(found) == plain_values(expected), name
        assert {k: plain.attrs[k] for k in plain.attrs if k != "gssm_layout"} == {
            k: netcdf.attrs[k] for k in netcdf.attrs if k != "gssm_layout"
        }
        assert netcdf.attrs["gssm_layout"] == str(plain.attrs["gssm_layout"])


def plain_values(attrs: dict) -> dict:
    """Attributes with arrays as lists."""
    return {name: np.asarray(value).tolist() for name, value in attrs.items()}


def test_a_region_leaves_out_what_lies_outside(store, tmp_path):
    triangle = shapely.Polygon([(WEST, SOUTH), (EAST, SOUTH), (WEST, NORTH)])
    part = Part(region=triangle, last_day=date(2018, 12, 21))
    (path,) = export(store, tmp_path / "a.nc", part)
    export(store, tmp_path / "b.tif", part)
    whole = open_product(store).ssm.isel(time=slice(0, 2))
    lon, lat = np.meshgrid(whole.lon, whole.lat)
    expected = whole.where(shapely.contains_xy(triangle, lon, lat)).values
    # What lies on the slanting edge may fall to either side.
    clear = np.abs((lon - WEST) / (EAST - WEST) + (lat - SOUTH) / (NORTH - SOUTH) - 1) > 1e-6
    with xr.open_dataset(path) as opened:
        np.testing.assert_allclose(opened.ssm.values[:, clear], expected[:, clear])
    with rasterio.open(tmp_path / "b_2018.tif") as image:
        values = image.read(masked=True)
    np.testing.assert_array_equal(values.mask[:, clear], np.isnan(expected[:, clear]))
    assert 0.3 < np.isfinite(expected).mean() < 0.5


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="needs gdalinfo (gdal-bin)")
def test_gdal_reads_the_plain_zarr_and_the_netcdf(store, tmp_path):
    expected = selected(store).isel(time=0)
    centre = str(float(expected.lon[8])), str(float(expected.lat[3]))
    value = expected.values[3, 8]
    assert np.isfinite(value)
    for name, place in {"part.nc": 'NETCDF:"{}":ssm', "part.zarr": 'ZARR:"{}":/ssm:0'}.items():
        (path,) = export(store, tmp_path / name, PART)
        command = [
            "gdallocationinfo",
            "-b",
            "1",
            "-valonly",
            "-geoloc",
            place.format(path),
            *centre,
        ]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        assert float(found.stdout) == pytest.approx(value * 1000), found.stderr


@pytest.mark.parametrize("name", ["points.csv", "points.parquet"])
def test_points_become_a_table(store, tmp_path, name):
    points = pd.DataFrame(
        {"lat": [NORTH - 0.105, SOUTH + 0.105], "lon": [WEST + 0.105, EAST - 0.105]}, ["p", "q"]
    )
    (path,) = export_points(store, tmp_path / name, points, last_day=date(2018, 12, 31))
    table = pd.read_csv(path) if name.endswith("csv") else pd.read_parquet(path)
    ssm = open_product(store).ssm.sel(time="2018")
    for point, place in points.iterrows():
        expected = ssm.sel(lat=place.lat, lon=place.lon, method="nearest").dropna("time")
        rows = table[table["point"] == point]
        np.testing.assert_allclose(rows["ssm"], expected, rtol=1e-6)
        assert pd.to_datetime(rows["time"]).tolist() == pd.to_datetime(expected.time).tolist()


def test_points_are_named_by_their_column(tmp_path):
    (tmp_path / "p.csv").write_text("station,lat,lon\nDahra,15.4,-15.4\n")
    assert read_points(tmp_path / "p.csv").to_dict("index") == {
        "Dahra": {"lat": 15.4, "lon": -15.4}
    }
    (tmp_path / "q.csv").write_text("point,lat,lon\na,1,1\na,2,2\n")
    with pytest.raises(ValueError, match="names 'a' twice"):
        read_points(tmp_path / "q.csv")


def test_nothing_is_written_over(store, tmp_path):
    (tmp_path / "part.nc").write_text("mine")
    with pytest.raises(ValueError, match="part.nc is there already"):
        export(store, tmp_path / "part.nc")
    (tmp_path / "part_2019.tif").write_text("mine")
    with pytest.raises(ValueError, match="part_2019.tif is there already"):
        export(store, tmp_path / "part.tif")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["part.nc", "part_2019.tif"]


def test_what_an_interrupted_export_left_is_replaced(store, tmp_path):
    (tmp_path / "part.zarr.partial").mkdir()
    (tmp_path / "part.zarr.partial" / "junk").write_text("")
    (path,) = export(store, tmp_path / "part.zarr", PART)
    assert not (path / "junk").exists()
    assert json.loads((path / ".zgroup").read_text()) == {"zarr_format": 2}


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Part(box=(0, 0, 1, 1)), "has no pixel or no day; the product spans"),
        (Part(first_day=date(2021, 1, 1)), "2021-01-01 to last has no pixel or no day"),
    ],
)
def test_an_empty_part_is_refused(store, tmp_path, part, message):
    with pytest.raises(ValueError, match=message):
        export(store, tmp_path / "part.nc", part)


def test_an_unknown_form_is_refused(store, tmp_path):
    with pytest.raises(ValueError, match="the form is '.grib', expected one of"):
        export(store, tmp_path / "part.grib")


def test_progress_reaches_its_end(store, tmp_path):
    told = []
    export(store, tmp_path / "a.nc", PART, progress=lambda *row: told.append(row))
    assert told[-1][1] == told[-1][2] > 1
    assert [row[1] for row in told] == sorted(row[1] for row in told)
