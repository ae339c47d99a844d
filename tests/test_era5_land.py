"""ERA5-Land files as the Climate Data Store writes them: hours, cells, units, and what lacks."""

from datetime import date

import netCDF4
import numpy as np
import pytest
import xarray as xr

from gssm_cube.grid import Layout
from gssm_cube.sources import era5_land
from gssm_cube.sources.era5_cells import read_stamps

DAYS = date(2019, 1, 1), date(2019, 1, 2)
LAYOUT = Layout.covering((20.0, 10.0, 20.4, 10.4), *DAYS, 48)  # cells 10.4..10.0 N, 20.0..20.4 E
LAT, LON = np.array([10.4, 10.3, 10.2, 10.1, 10.0]), np.array([20.0, 20.1, 20.2, 20.3, 20.4])
UNITS = {"t2m": "K", "tp": "m", "e": "m of water equivalent"}
SCALES = {"t2m": 2.0, "tp": 1.0, "e": -1.0}
FIRST, LAST = np.datetime64("2019-01-01"), np.datetime64("2019-01-02")
HOURS = np.arange(FIRST.astype("M8[h]"), np.datetime64("2019-01-03T00") + 1)


def value(lat, lon, hours):
    """Return a value that tells its hour and place: hour, then lat and lon in tenths."""
    hour = (hours - FIRST.astype("M8[h]")).astype("float64")
    tenths = 100 * np.rint(10 * lat)[:, None] + np.rint(10 * (lon % 360) - 2000) % 100
    return 2e4 * hour[:, None, None] + tenths


def write(path, first, last, lat=LAT, lon=LON, units=UNITS, hours=None):
    """Write the hours from `first` to `last`, both included, or those given."""
    if hours is None:
        hours = np.arange(np.datetime64(first, "h"), np.datetime64(last, "h") + 1)
    axes = {"valid_time": hours.astype("M8[s]").astype("int64"), "latitude": lat, "longitude": lon}
    with netCDF4.Dataset(path, "w") as file:
        for name, places in axes.items():
            file.createDimension(name, len(places))
            file.createVariable(name, "i8" if name == "valid_time" else "f8", (name,))[:] = places
        file["valid_time"].units = "seconds since 1970-01-01"
        file.createVariable("number", "i8", ())[...] = 0
        for name, unit in units.items():
            array = file.createVariable(name, "f8", tuple(axes), fill_value=np.nan)
            if unit is not None:
                array.units = unit
            array[:] = SCALES[name] * value(np.asarray(lat), np.asarray(lon), hours)
    return path


def read(folder, layout=LAYOUT):
    files = era5_land.find_files(folder)
    return xr.Dataset({name: read_stamps(files, name, HOURS, layout) for name in UNITS})


def check(found, layout=LAYOUT):
    """All 49 hours on the layout's cells, each with its own value."""
    np.testing.assert_array_equal(found["time"].values.astype("M8[h]"), HOURS)
    expected = value(layout.cell_lat, layout.cell_lon, HOURS)
    for name, scale in SCALES.items():
        np.testing.assert_array_equal(found[name].values, scale * expected)


def test_all_hours_from_midnight_to_the_midnight_after_are_read(tmp_path):
    write(tmp_path / "a.nc", "2018-12-30T00", "2019-01-05T23")
    found = read(tmp_path)
    check(found)
    np.testing.assert_allclose(found["lat"], [10.4, 10.3, 10.2, 10.1, 10.0])
    np.testing.assert_allclose(found["lon"], [20.0, 20.1, 20.2, 20.3, 20.4])


def test_cells_are_cut_from_a_larger_area(tmp_path):
    lat, lon = np.arange(112, 95, -1) / 10, np.arange(190, 210) / 10
    write(tmp_path / "a.nc", "2019-01-01T00", "2019-01-03T00", lat, lon)
    check(read(tmp_path))


def test_latitude_may_ascend(tmp_path):
    write(tmp_path / "a.nc", "2019-01-01T00", "2019-01-03T00", lat=LAT[::-1])
    check(read(tmp_path))


def test_longitudes_may_run_from_0_to_360(tmp_path):
    layout = Layout.covering((-0.4, 10.0, 0.0, 10.4), *DAYS, 48)
    lon = np.array([0.0, 0.1, 359.5, 359.6, 359.7, 359.8, 359.9])
    write(tmp_path / "a.nc", "2019-01-01T00", "2019-01-03T00", lon=lon)
    check(read(tmp_path, layout), layout)


def test_the_cell_at_180_east_is_the_one_at_180_west(tmp_path):
    layout = Layout.covering((179.6, 10.0, 180.0, 10.4), *DAYS, 48)
    lon = np.array([-180.0, -179.9, 179.5, 179.6, 179.7, 179.8, 179.9])
    write(tmp_path / "a.nc", "2019-01-01T00", "2019-01-03T00", lon=lon)
    check(read(tmp_path, layout), layout)


def test_files_by_day_and_by_month_are_joined_in_order_of_time(tmp_path):
    write(tmp_path / "z_december.nc", "2018-12-01T00", "2018-12-31T23")
    write(tmp_path / "y_first.nc", "2019-01-01T00", "2019-01-01T23")
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub" / "a_rest.nc", "2019-01-02T00", "2019-01-31T23")
    files = era5_land.find_files(tmp_path)
    assert [file.path.name for file in files] == ["z_december.nc", "y_first.nc", "a_rest.nc"]
    assert files[1].last == np.datetime64("2019-01-01T23")
    check(read(tmp_path))
    assert not era5_land.missing_days(files, np.datetime64("2018-12-01"), LAST).size


def test_hours_that_are_there_twice_count_once(tmp_path):
    write(tmp_path / "a.nc", "2019-01-01T00", "2019-01-02T05")
    hours = np.arange(np.datetime64("2019-01-02T03"), np.datetime64("2019-01-03T01"))
    write(tmp_path / "b.nc", None, None, hours=np.repeat(hours, 2))
    check(read(tmp_path))


def test_hours_that_no_file_holds_are_missing_and_their_days_are_named(tmp_path):
    write(tmp_path / "a.nc", "2019-01-01T00", "2019-01-01T20")
    write(tmp_path / "b.nc", "2019-01-02T00", "2019-01-02T23")
    files = era5_land.find_files(tmp_path)
    found = read_stamps(files, "t2m", HOURS, LAYOUT)
    lost = found["time"].values[np.isnan(found.values).all(axis=(1, 2))].astype("M8[h]")
    late = ["2019-01-01T21", "2019-01-01T22", "2019-01-01T23", "2019-01-03T00"]
    np.testing.assert_array_equal(lost, np.array(late, "M8[h]"))
    # The total of 2 January is the stamp 00 UTC of the third, which is not there either.
    missing = era5_land.missing_days(files, np.datetime64("2018-12-31"), LAST)
    days = ["2018-12-31", "2019-01-01", "2019-01-03"]
    np.testing.assert_array_equal(missing, np.array(days, "M8[D]"))


@pytest.mark.parametrize(
    ("hours", "message"),
    [
        (["2019-01-01T00", "2019-01-01T01", "2019-01-01T03"], "01-01T03:00 follows .*01-01T01:00"),
        (["2019-01-01T00", "2019-01-02T00"], "01-02T00:00 follows .*01-01T00:00"),  # daily
        (["2019-01-01T01", "2019-01-01T00"], "01-01T00:00 follows .*01-01T01:00"),
    ],
)
def test_a_file_with_gaps_is_refused_by_the_hour(tmp_path, hours, message):
    write(tmp_path / "a.nc", None, None, hours=np.array(hours, "M8[h]"))
    with pytest.raises(ValueError, match=rf"a\.nc is not hourly: .*{message}"):
        era5_land.find_files(tmp_path)


@pytest.mark.parametrize(
    ("units", "message"),
    [
        (UNITS | {"tp": "mm"}, "units of tp are 'mm', expected 'm'"),
        (UNITS | {"t2m": "C"}, "units of t2m are 'C', expected 'K'"),
        (UNITS | {"e": "kg m**-2"}, "units of e are .*, expected 'm of water equivalent'"),
        ({"t2m": "K", "tp": None}, "units of tp are 'missing', expected 'm'"),
    ],
)
def test_other_units_are_refused_also_when_they_change_half_way(tmp_path, units, message):
    write(tmp_path / "good.nc", "2019-01-01T00", "2019-01-01T02")
    write(tmp_path / "a.nc", "2019-01-01T00", "2019-01-01T02", units=units)
    with pytest.raises(ValueError, match=message):
        era5_land.find_files(tmp_path)


@pytest.mark.parametrize(
    ("lat", "lon", "axis"),
    [
        (LAT[1:], LON, "latitude"),
        (LAT, LON[:-1], "longitude"),
    ],
)
def test_other_cells_are_refused_with_both_spans(tmp_path, lat, lon, axis):
    write(tmp_path / "a.nc", "2019-01-01T00", "2019-01-03T00", lat, lon)
    message = rf"{axis} .* does not hold the cells (10\.0\.\.10\.4|20\.0\.\.20\.4) of this run"
    with pytest.raises(ValueError, match=message):
        read(tmp_path)
    with pytest.raises(ValueError, match=message):
        era5_land.check_cells(era5_land.find_files(tmp_path)[0], LAYOUT)


@pytest.mark.parametrize(
    ("lat", "lon", "message"),
    [
        (np.arange(11, 9, -0.25), LON, "latitude 11, 10.75, ... steps by 0.25 deg"),
        (LAT, np.arange(20, 21, 0.25), "longitude 20, 20.25, ... steps by 0.25 deg"),
        (LAT + 0.05, LON, "latitude 10.45, 10.35, ... steps by 0.1 deg, expected multiples"),
        (LAT[::2], LON, "latitude 10.4, 10.2, ... steps by 0.2 deg"),
    ],
)
def test_another_grid_is_not_era5_land(tmp_path, lat, lon, message):
    write(tmp_path / "a.nc", "2019-01-01T00", "2019-01-03T00", lat, lon)
    with pytest.raises(ValueError, match=rf"a\.nc: {message}.*this is not ERA5-Land"):
        era5_land.find_files(tmp_path)


def test_a_folder_without_files_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no ERA5-Land NetCDF or Zarr in"):
        era5_land.find_files(tmp_path)
