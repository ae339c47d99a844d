"""Products in every form are read at stations as m3 m-3: pixels, cells, days, units, faults."""

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gssm_cube.validate.places import Places, boxes_on, coarse_cells, read_places
from gssm_cube.validate.settings import Source
from gssm_cube.validate.units import SPELLINGS, units_of, volumetric

DAYS = pd.date_range("2020-01-01", periods=4, name="time")
LAT, LON = np.array([50.75, 50.25, 49.75]), np.array([5.25, 5.75, 6.25, 6.75])
VALUES = np.arange(48.0).reshape(4, 3, 4) / 100  # day, row, column
AT = Places(np.array([50.3, 49.6]), np.array([5.6, 6.9]))  # row 1, column 1; row 2, column 3
EXPECTED = np.array([VALUES[:, 1, 1], VALUES[:, 2, 3]])


def dataset(values=VALUES, days=DAYS, **attrs):
    coords = {"time": days, "lat": LAT, "lon": LON}
    field = xr.DataArray(values, coords, ("time", "lat", "lon"), attrs={"units": "m3 m-3"} | attrs)
    return field.to_dataset(name="sm")


def write_tif(path, bands, *, days=(), dtype="float32", nodata=None, **profile):
    profile = {
        "driver": "GTiff", "height": 3, "width": 4, "count": len(bands), "dtype": dtype,
        "crs": "EPSG:4326", "transform": rasterio.Affine(0.5, 0, 5.0, 0, -0.5, 51.0),
        "nodata": nodata,
    } | profile  # fmt: skip
    with rasterio.open(path, "w", **profile) as image:
        image.write(np.asarray(bands).astype(dtype))
        if len(days):
            image.descriptions = [str(day)[:10] for day in days]


def read(path, places=AT, days=DAYS, **source):
    return read_places("x", Source(path=str(path), **source), places, days)


# ---- forms --------------------------------------------------------------------------------------


def test_a_netcdf_file(tmp_path):
    dataset().to_netcdf(tmp_path / "sm.nc")
    np.testing.assert_allclose(read(tmp_path / "sm.nc"), EXPECTED, rtol=1e-6)


def test_a_folder_of_netcdf_files_with_hours_gives_means_of_days(tmp_path):
    hours = pd.date_range("2019-12-31 18:00", periods=40, freq="3h")
    values = np.broadcast_to(np.arange(40.0)[:, None, None] / 100, (40, 3, 4))
    for number, part in enumerate((slice(0, 13), slice(13, 40))):
        dataset(values[part], hours[part]).to_netcdf(tmp_path / f"part{number}.nc")
    # 2 hours belong to the day before; then 8 a day.
    expected = [np.arange(2 + 8 * day, 10 + 8 * day).mean() / 100 for day in range(4)]
    np.testing.assert_allclose(read(tmp_path), [expected] * 2, rtol=1e-6)


def test_a_zarr_in_chunks(tmp_path):
    chunks = {"sm": {"chunks": (3, 2, 3)}}
    dataset().to_zarr(tmp_path / "sm.zarr", encoding=chunks, consolidated=False)
    np.testing.assert_allclose(read(tmp_path / "sm.zarr"), EXPECTED, rtol=1e-6)


def test_geotiffs_with_the_day_in_their_names(tmp_path):
    for day, band in zip(DAYS, VALUES, strict=True):
        write_tif(tmp_path / f"sm_v45_{day:%Y%m%d}.tif", [band], nodata=-3.4e38)
    np.testing.assert_allclose(read(tmp_path, units="m3/m3"), EXPECTED, rtol=1e-6)


def test_geotiffs_of_years_with_a_band_a_day(tmp_path):
    """As GSSM1km is delivered: a continent and a year a file, thousandths, no word on nothing."""
    codes = np.full((366, 3, 4), 100.0)
    codes[:4] = np.round(VALUES * 1000)
    codes[0, 1, 1] = 65535
    write_tif(tmp_path / "Europe_2020.tif", codes, dtype="uint16")
    write_tif(tmp_path / "Asia_2020.tif", codes, dtype="uint16",
              transform=rasterio.Affine(0.5, 0, 60.0, 0, -0.5, 51.0))  # fmt: skip
    days = pd.date_range("2020-01-01", "2020-12-31")
    found = read(tmp_path, days=days, units="m3 m-3", scale=0.001, missing=[65535])
    np.testing.assert_allclose(found[:, 1:4], EXPECTED[:, 1:], atol=5e-4)
    assert np.isnan(found[0, 0]) and np.isfinite(found[1, 0])
    np.testing.assert_allclose(found[:, 365], 0.1, rtol=1e-6)


def test_a_stack_that_does_not_begin_with_its_year_is_not_guessed(tmp_path):
    """MODIS begins on 24 February 2000: 312 days of that year, which are not the first 312."""
    write_tif(tmp_path / "Europe_2000.tif", np.full((312, 3, 4), 0.1))
    with pytest.raises(ValueError, match="312 bands and only the year 2000 in the name, expected"):
        read(tmp_path, units="m3 m-3")
    (tmp_path / "Europe_2000.tif").rename(tmp_path / "Europe_20000224.tif")
    days = pd.date_range("2000-01-01", "2000-12-31")
    assert np.isfinite(read(tmp_path, days=days, units="m3 m-3")).sum(axis=1).tolist() == [312, 312]


def test_a_day_in_a_name_may_go_on_with_the_time(tmp_path):
    for day, band in zip(DAYS, VALUES, strict=True):
        write_tif(tmp_path / f"ESACCI-COMBINED-{day:%Y%m%d}000000-fv08.1.tif", [band])
    np.testing.assert_allclose(read(tmp_path, units="m3 m-3"), EXPECTED, rtol=1e-6)


def test_missing_numbers_are_the_stored_ones_of_a_packed_file(tmp_path):
    packing = {"dtype": "int16", "scale_factor": 0.001, "add_offset": 0.1, "_FillValue": -32768}
    values = VALUES.copy()
    values[1, 1, 1] = 0.1 + 0.001 * 7000  # no soil moisture: what the maker calls a lake
    dataset(values).to_netcdf(tmp_path / "sm.nc", encoding={"sm": packing})
    found = read(tmp_path / "sm.nc", missing=[7000])
    np.testing.assert_array_equal(np.isnan(found[0]), [False, True, False, False])
    at = Places(np.array([49.6]), np.array([6.3]))
    found = read(tmp_path / "sm.nc", at, missing=[7000, 0])  # 0 is packed from 0.1
    np.testing.assert_array_equal(np.isnan(found[0]), [True, False, False, False])


def test_bands_that_name_their_day_may_leave_days_out(tmp_path):
    days = DAYS[[0, 3]]
    write_tif(tmp_path / "ssm.tif", VALUES[[0, 3]], days=days, interleave="pixel")
    found = read(tmp_path / "ssm.tif", units="m3 m-3")
    np.testing.assert_allclose(found[:, [0, 3]], EXPECTED[:, [0, 3]], rtol=1e-6)
    assert np.isnan(found[:, 1:3]).all()


def test_points_give_the_nearest_within_reach(tmp_path):
    rows = [(50.31, 5.61, day, 10.0 + k) for k, day in enumerate(DAYS)]
    rows += [(50.31, 5.61, DAYS[0] + pd.Timedelta("11h"), 30.0), (20.0, 5.6, DAYS[1], 99.0)]
    table = pd.DataFrame(rows, columns=["lat", "lon", "date", "sm"])
    table.to_csv(tmp_path / "points.csv", index=False)
    columns = {"time": "date", "value": "sm"}
    found = read(tmp_path / "points.csv", units="%", columns=columns)
    np.testing.assert_allclose(found[0], [0.20, 0.11, 0.12, 0.13], rtol=1e-6)
    assert np.isnan(found[1]).all()  # 120 km away


def test_points_in_a_cell_are_averaged(tmp_path):
    rows = [(50.1, 5.1, 0.1), (50.2, 5.2, 0.3), (50.9, 5.1, 0.9)]
    table = pd.DataFrame(rows, columns=["lat", "lon", "value"]).assign(time=DAYS[0])
    table.to_parquet(tmp_path / "points.parquet")
    cell = Places(np.array([50.125, 30.0]), np.array([5.125, 5.0]), half=0.125)
    found = read(tmp_path / "points.parquet", cell, units="m3 m-3", max_km=1)
    np.testing.assert_allclose(found[0, 0], 0.2, rtol=1e-6)
    assert np.isnan(found[0, 1:]).all() and np.isnan(found[1]).all()


def ragged(path, indexed, first=0):
    """Two locations of 3 and 2 observations, percent of saturation; a flag at the last."""
    times = pd.to_datetime(["2020-01-01T06", "2020-01-01T18", "2020-01-03T06",
                            "2020-01-02T06", "2020-01-04T07"])  # fmt: skip
    data = xr.Dataset(
        {"sm": ("obs", np.array([20.0, 40.0, 60.0, 80.0, 10.0]), {"units": "percent saturation"}),
         "proc_flag": ("obs", np.array([0, 0, 2, 0, 1], "i1")),
         "lat": ("locations", [50.3 + first, 49.6]), "lon": ("locations", [5.6, 6.9])},
        {"time": ("obs", times)},
    )  # fmt: skip
    if indexed:
        index = np.array([0, 0, 0, 1, 1])
        data["locationIndex"] = "obs", index, {"instance_dimension": "locations"}
        data = data.isel(obs=[3, 0, 4, 1, 2])  # the order of an index is its own
    else:
        data["row_size"] = "locations", [3, 2], {"sample_dimension": "obs"}
    data.to_netcdf(path)


@pytest.mark.parametrize("indexed", [False, True])
def test_series_of_locations_as_of_ascat_are_read_by_location(tmp_path, indexed):
    ragged(tmp_path / "0165.nc", indexed)
    ragged(tmp_path / "0166.nc", indexed, first=20)  # another cell, whose second place is the same
    ascat = {"variable": "sm", "porosity": 0.5, "max_km": 5}
    found = read(tmp_path, **ascat)
    np.testing.assert_allclose(found[0], [0.15, np.nan, 0.3, np.nan], rtol=1e-6)
    np.testing.assert_allclose(found[1], [np.nan, 0.4, np.nan, 0.05], rtol=1e-6)
    flagged = read(tmp_path, **ascat, flag="proc_flag", bad_bits=1)
    assert np.isnan(flagged[1, 3]) and flagged[0, 2] == found[0, 2]
    far = Places(np.array([10.0]), np.array([5.6]))
    assert np.isnan(read(tmp_path, far, **ascat)).all()
    with pytest.raises(ValueError, match=r"no variable None; set `variable` to one of \['sm', "):
        read(tmp_path, porosity=0.5)


def test_separable_two_dimensional_coordinates_are_rows_and_columns(tmp_path):
    data = dataset()
    lat, lon = np.meshgrid(LAT, LON, indexing="ij")
    lat[0, 0] = -9999.0
    flat = xr.Dataset(
        {"sm": (("time", "y", "x"), VALUES, {"units": "m3 m-3"}),
         "latitude": (("y", "x"), lat), "longitude": (("y", "x"), lon)},
        {"time": data["time"]},
    )  # fmt: skip
    flat.to_netcdf(tmp_path / "ease.nc")
    np.testing.assert_allclose(read(tmp_path / "ease.nc"), EXPECTED, rtol=1e-6)
    flat["latitude"].values[:] = lat + 0.1 * lon
    flat.to_netcdf(tmp_path / "swath.nc")
    with pytest.raises(ValueError, match="changes along both, expected a grid whose rows"):
        read(tmp_path / "swath.nc")


def test_files_of_smap_are_read_as_they_are_delivered(tmp_path):
    """Level 3: coordinates, fill and names of the afternoon in a group; level 4: in the root."""
    lat, lon = np.meshgrid(LAT, LON, indexing="ij")
    for day, field in zip(DAYS, VALUES, strict=True):
        holes = np.where(field == VALUES[1, 1, 1], -9999.0, field)
        afternoon = xr.Dataset({
            "soil_moisture_pm": (("a", "b"), holes, {"units": "cm**3/cm**3"}),
            "latitude_pm": (("a", "b"), lat), "longitude_pm": (("a", "b"), lon),
            "retrieval_qual_flag_pm": (("a", "b"), np.full((3, 4), 8 + (day == DAYS[2]), "u2")),
        })  # fmt: skip
        path = tmp_path / f"SMAP_L3_SM_P_{day:%Y%m%d}_R18290_001.h5"
        fill = {name: {"_FillValue": -9999.0} for name in ("soil_moisture_pm", "latitude_pm")}
        afternoon.to_netcdf(path, group="Soil_Moisture_Retrieval_Data_PM", encoding=fill)
        path = tmp_path / f"l4/SMAP_L4_SM_gph_{day:%Y%m%d}T013000_Vv7032_001.h5"
        path.parent.mkdir(exist_ok=True)
        root = {"cell_lat": (("a", "b"), lat), "cell_lon": (("a", "b"), lon),
                "y": ("a", 7e6 - 9e3 * np.arange(3)), "x": ("b", 9e3 * np.arange(4.0))}  # fmt: skip
        xr.Dataset(root).to_netcdf(path)
        geo = xr.Dataset({"sm_surface": (("a", "b"), field, {"units": "m3 m-3"})})
        geo.to_netcdf(path, mode="a", group="Geophysical_Data")
    found = read(
        tmp_path / "*_P_*.h5", variable="soil_moisture_pm", flag="retrieval_qual_flag_pm",
        bad_bits=1, group="Soil_Moisture_Retrieval_Data_PM",
    )  # fmt: skip
    expected = EXPECTED.copy()
    expected[0, 1] = expected[:, 2] = np.nan
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    found = read(tmp_path / "l4", group="Geophysical_Data", variable="sm_surface")
    np.testing.assert_allclose(found, EXPECTED, rtol=1e-6)


def test_rows_in_metres_are_no_latitudes(tmp_path):
    dataset().rename(lat="y", lon="x").assign_coords(y=LAT * 1e5).to_netcdf(tmp_path / "sm.nc")
    with pytest.raises(ValueError, match="rows run from 4.975e.06 to .* expected degrees in -90"):
        read(tmp_path / "sm.nc")


def test_a_flag_leaves_values_out(tmp_path):
    data = dataset()
    data["flag"] = xr.zeros_like(data["sm"], dtype="int16")
    data["flag"][0] = 1
    data["flag"][1] = 4
    data.to_netcdf(tmp_path / "sm.nc")
    path = tmp_path / "sm.nc"
    assert np.isnan(read(path, variable="sm", flag="flag")[:, :2]).all()
    found = read(path, variable="sm", flag="flag", bad_bits=4)
    np.testing.assert_array_equal(np.isnan(found[0]), [False, True, False, False])


def test_days_outside_are_missing_and_longitudes_may_count_to_360(tmp_path):
    data = dataset().assign_coords(lon=[359.25, 359.75, 0.25, 0.75]).sortby("lon")
    data.to_netcdf(tmp_path / "sm.nc")
    at = Places(np.array([50.3, 50.3, 50.3]), np.array([-0.3, 0.3, 30.0]))
    days = pd.date_range("2019-12-31", periods=7)
    found = read(tmp_path / "sm.nc", at, days)
    np.testing.assert_allclose(found[0, 1:5], VALUES[:, 1, 1], rtol=1e-6)
    np.testing.assert_allclose(found[1, 1:5], VALUES[:, 1, 2], rtol=1e-6)
    assert np.isnan(found[:, [0, 5, 6]]).all() and np.isnan(found[2]).all()


# ---- cells --------------------------------------------------------------------------------------


def test_a_coarse_cell_takes_the_mean_of_its_pixels_and_a_coarse_product_its_pixel(tmp_path):
    values = VALUES.copy()
    values[0, 0, 0] = np.nan
    dataset(values).to_netcdf(tmp_path / "sm.nc")
    cell = Places(np.array([50.5]), np.array([5.5]), half=0.5)  # rows 0 and 1, columns 0 and 1
    found = read(tmp_path / "sm.nc", cell)
    np.testing.assert_allclose(found[0, 1], VALUES[1, :2, :2].mean(), rtol=1e-6)
    np.testing.assert_allclose(found[0, 0], np.nanmean(values[0, :2, :2]), rtol=1e-6)
    small = Places(np.array([50.3]), np.array([5.6]), half=0.05)
    np.testing.assert_allclose(read(tmp_path / "sm.nc", small)[0], EXPECTED[0], rtol=1e-6)


def test_coarse_cells_hold_their_stations():
    index, cells = coarse_cells(np.array([50.1, 50.2, -0.1]), np.array([5.1, 5.2, -0.1]), 0.25)
    assert index.tolist() == [1, 1, 0]
    np.testing.assert_allclose(cells.lat, [-0.125, 50.125])
    np.testing.assert_allclose(cells.lon, [-0.125, 5.125])


@given(
    st.floats(-89.9, 89.9), st.floats(-180, 179.99), st.sampled_from([0.25, 0.5, 1.0]),
    st.booleans(), st.booleans(), st.booleans(),
)  # fmt: skip
def test_a_place_lies_in_the_pixel_that_is_taken(lat, lon, step, southwards, to_360, rolled):
    rows = np.arange(-90 + step / 2, 90, step)[:: -1 if southwards else 1]
    cols = np.arange(-180 + step / 2, 180, step) + 180 * to_360
    cols = np.roll(cols, cols.size // 2) if rolled else cols
    found = boxes_on(rows, cols, Places(np.array([lat]), np.array([lon])))
    assert found.place.tolist() == [0] and (np.diff(found.row) == 1).all()
    assert abs(rows[found.row[0, 0]] - lat) <= step / 2 + 1e-9
    assert abs((cols[found.col[0, 0]] - lon + 180) % 360 - 180) <= step / 2 + 1e-9


@given(st.floats(-60, 60), st.floats(-180, 179.99), st.booleans(), st.booleans())
def test_the_pixels_of_a_cell_are_those_whose_centres_lie_inside(lat, lon, southwards, rolled):
    rows = np.arange(-89.95, 90, 0.1)[:: -1 if southwards else 1]
    cols = np.arange(-179.95, 180, 0.1)
    cols = np.roll(cols, cols.size // 2) if rolled else cols
    _, cell = coarse_cells(np.array([lat]), np.array([lon]), 0.5)
    found = boxes_on(rows, cols, cell)
    (top, bottom), (left, right) = found.row[0], found.col[0]
    assert (np.abs(rows[top:bottom] - cell.lat) < 0.25 + 1e-9).all() and bottom - top == 5
    assert (np.abs(cols[left:right] - cell.lon) < 0.25 + 1e-9).all() and right - left == 5


def test_many_days_are_read_a_stretch_at_a_time_and_none_is_lost(tmp_path, monkeypatch):
    days = pd.date_range("2020-01-01", periods=50, name="time")
    values = np.random.default_rng(0).uniform(0, 0.5, (50, 3, 4))
    chunks = {"sm": {"chunksizes": (7, 3, 4)}}
    dataset(values, days).to_netcdf(tmp_path / "sm.nc", encoding=chunks)
    for most in (1, 20, 100, 10_000):
        monkeypatch.setattr("gssm_cube.validate.places.MOST_VALUES", most)
        found = read(tmp_path / "sm.nc", days=days[3:41])
        np.testing.assert_allclose(found, [values[3:41, 1, 1], values[3:41, 2, 3]], rtol=1e-6)


# ---- units --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("units", "spellings"), SPELLINGS.items())
def test_units_are_known_by_all_their_spellings(units, spellings):
    assert {units_of("x", None, f" {s.upper()} ") for s in spellings} == {units}
    assert units_of("x", spellings[0], "K") == units


def test_values_of_every_unit_become_volumes():
    values = np.array([[20.0, 50.0]])
    np.testing.assert_allclose(volumetric("x", values, "%"), [[0.2, 0.5]])
    np.testing.assert_allclose(
        volumetric("x", values, "saturation %", porosity=[0.4]), [[0.08, 0.2]]
    )
    np.testing.assert_allclose(
        volumetric("x", values / 100, "saturation", porosity=0.5), [[0.1, 0.25]]
    )
    np.testing.assert_allclose(volumetric("x", values, "kg m-2", depth=0.1), [[0.2, 0.5]])


def test_porosity_may_be_a_raster_without_a_day(tmp_path):
    dataset(100 * np.ones((4, 3, 4)), units="%").to_netcdf(tmp_path / "ascat.nc")
    write_tif(tmp_path / "porosity.tif", [VALUES[3]])
    found = read(
        tmp_path / "ascat.nc", units="saturation %", porosity=str(tmp_path / "porosity.tif")
    )
    np.testing.assert_allclose(found[:, 0], [VALUES[3, 1, 1], VALUES[3, 2, 3]], rtol=1e-6)


def test_a_few_impossible_values_are_left_out():
    found = volumetric("x", np.array([[0.1, 0.2, 1.5, -0.2, 0.3]]), "m3 m-3")
    np.testing.assert_array_equal(np.isnan(found[0]), [False, False, True, True, False])


# ---- faults -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "units are 'K', expected one of"),
        ({"units": "m3 m-3", "variable": "swvl1"}, "no variable 'swvl1'; it has"),
        ({"units": "saturation"}, "needs `porosity`, a number or a raster"),
        ({"units": "mm"}, "needs the layer's `depth` in m"),
        ({"units": "m3 m-3", "scale": 100}, "values lie outside 0 .. 1 m3 m-3 .* `scale`"),
        ({"units": "m3 m-3", "flag": "quality"}, "no variable 'quality'"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(tmp_path, source, message):
    dataset(units="K").to_netcdf(tmp_path / "sm.nc")
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "sm.nc", **source)


def test_a_choice_of_variables_and_of_levels_is_asked_for(tmp_path):
    data = dataset().assign(other=dataset()["sm"])
    data.to_netcdf(tmp_path / "two.nc")
    with pytest.raises(ValueError, match=r"variables on the grid are \['sm', 'other'\]; set"):
        read(tmp_path / "two.nc")
    dataset().expand_dims(level=[1, 2]).to_netcdf(tmp_path / "levels.nc")
    with pytest.raises(ValueError, match=r"choose one of \['level'\] before"):
        read(tmp_path / "levels.nc")
    dataset().expand_dims(level=[1]).to_netcdf(tmp_path / "level.nc")
    np.testing.assert_allclose(read(tmp_path / "level.nc"), EXPECTED, rtol=1e-6)


def test_files_that_are_not_there_or_of_two_kinds(tmp_path):
    with pytest.raises(FileNotFoundError, match="product x: no file of"):
        read(tmp_path / "nothing*.nc")
    with pytest.raises(FileNotFoundError, match="product x: no Zarr at"):
        read(tmp_path / "no.zarr")
    dataset().to_netcdf(tmp_path / "sm.nc")
    write_tif(tmp_path / "sm_20200101.tif", [VALUES[0]])
    with pytest.raises(ValueError, match="expected one kind"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["sm.nc", "sm_20200101.tif"])
def test_a_file_that_is_cut_off_is_named(tmp_path, name):
    dataset().to_netcdf(tmp_path / "sm.nc")
    write_tif(tmp_path / "sm_20200101.tif", [VALUES[0]])
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match=f"product x: .*{name} cannot be read, it may be cut off"):
        read(path, units="m3 m-3")


def test_a_name_without_a_day_and_a_grid_that_is_not_of_degrees(tmp_path):
    write_tif(tmp_path / "sm.tif", [VALUES[0]])
    with pytest.raises(ValueError, match="expected YYYYMMDD"):
        read(tmp_path / "sm.tif", units="%")
    write_tif(tmp_path / "sm_20209999.tif", [VALUES[0]])
    with pytest.raises(ValueError, match="expected YYYYMMDD"):
        read(tmp_path / "sm_20209999.tif", units="%")
    write_tif(tmp_path / "sm_20200101.tif", [VALUES[0]], crs="EPSG:3035")
    with pytest.raises(ValueError, match="warp it first"):
        read(tmp_path / "sm_20200101.tif", units="%")


def test_a_table_of_points_without_its_columns(tmp_path):
    pd.DataFrame({"lat": [1.0], "lon": [1.0], "time": ["2020-01-01"], "sm": [1.0]}).to_csv(
        tmp_path / "p.csv"
    )
    with pytest.raises(ValueError, match=r"columns \['value'\] are missing .* set `columns`"):
        read(tmp_path / "p.csv", units="%")
