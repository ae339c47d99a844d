"""Every form in which people have ERA5-Land gives the same days, each under its own label."""

import shutil
from dataclasses import replace
from datetime import date

import netCDF4
import numpy as np
import pytest
import xarray as xr
import zarr
from era5_files import hours, new_dataset, write_new, write_old, write_zarr

from gssm_cube.grid import Layout
from gssm_cube.ingest import era5_days
from gssm_cube.ingest.era5_days import fill_coast
from gssm_cube.sources import era5_cells, era5_land

DAYS = np.arange(np.datetime64("2019-01-01"), np.datetime64("2019-01-04"))
LAYOUT = Layout.covering((-0.4, 10.0, 0.0, 10.4), DAYS[0].item(), DAYS[-1].item(), 48)
LAT, LON = LAYOUT.cell_lat, LAYOUT.cell_lon  # 10.4..10.0, -0.4..0.0: the wrap at 0
STAMPS = hours("2019-01-01T00", "2019-01-04T00")
# Day d (1, 2, 3) has d mm of rain in its first ten hours, 0.5 d mm of evaporation, 280 + d K.
EXPECTED = {"precipitation": [1.0, 2.0, 3.0], "evaporation": [0.5, 1.0, 1.5],
            "tair": [7.85, 8.85, 9.85]}  # fmt: skip


def hourly(stamps=STAMPS, lat=LAT, lon=LON):
    """Fields on the hours; the totals since 00 UTC close at the next 00 UTC."""
    owner = (stamps - 1).astype("M8[D]").astype("int64") - DAYS[0].astype("int64") + 1.0
    hour = (stamps - (stamps - 1).astype("M8[D]")).astype("int64")  # 1..24
    share = np.minimum(hour, 10) / 10
    own = stamps.astype("M8[D]").astype("int64") - DAYS[0].astype("int64") + 1.0
    rows = {"t2m": 280 + own, "tp": owner * share / 1000, "e": -0.5 * owner * share / 1000}
    return {k: np.tile(v[:, None, None], (1, len(lat), len(lon))) for k, v in rows.items()}


def daily(lat=LAT, lon=LON):
    rows = {"t2m": [281.0, 282, 283], "tp": [0.001, 0.002, 0.003], "e": [-0.0005, -0.001, -0.0015]}
    return {
        k: np.tile(np.array(v)[:, None, None], (1, len(lat), len(lon))) for k, v in rows.items()
    }


def daily_values(name, files, days, layout):
    """One of what a variable gives."""
    source = next(s for s, names in era5_days.VARIABLES.items() if name in names)
    values, clipped = era5_days.daily_values(source, files, days, layout)
    return values[name], clipped


def check(place, tolerance=1e-4, layout=LAYOUT):
    files = era5_land.find_files(place)
    assert not era5_land.missing_days(files, DAYS[0], DAYS[-1]).size
    for name, rows in EXPECTED.items():
        values, _ = daily_values(name, files, DAYS, layout)
        assert values.shape == (3, *layout.cells_shape)
        expected = np.broadcast_to(np.array(rows)[:, None, None], values.shape)
        np.testing.assert_allclose(values, expected, atol=tolerance)
    return files


# ---- each source form labels its days ---------------------------------------------------------


def test_old_packed_netcdf_gives_the_days_to_packing_precision(tmp_path):
    write_old(tmp_path / "a.nc", STAMPS, LAT, LON, hourly())
    check(tmp_path, 1e-4)


def test_final_and_preliminary_halves_of_an_expver_axis_are_merged(tmp_path):
    fields = {}
    for name, values in hourly().items():
        both = np.stack([values, values], axis=1)
        both[40:, 0], both[:40, 1] = np.nan, np.nan
        fields[name] = both
    write_old(tmp_path / "a.nc", STAMPS, LAT, LON, fields, versions=[1, 5])
    assert check(tmp_path, 1e-4)[0].versions == ("1", "5")


def test_where_both_versions_have_a_value_the_final_one_stands(tmp_path):
    fields = {name: np.stack([v * 1.01, v], axis=1) for name, v in hourly().items()}
    write_old(tmp_path / "a.nc", STAMPS, LAT, LON, fields, versions=[5, 1])
    check(tmp_path, 1e-3)  # a version packs to 0.0001 K, a wrong version is 2.8 K off


def test_new_netcdf_by_day_with_one_variable_a_file(tmp_path):
    for day in np.unique(STAMPS.astype("M8[D]")):
        part = STAMPS.astype("M8[D]") == day
        for name, values in hourly().items():
            write_new(tmp_path / f"{day}_{name}.nc", STAMPS[part], LAT, LON, {name: values[part]})
    files = check(tmp_path)
    assert {file.names for file in files} == {("t2m",), ("tp",), ("e",)}
    assert {file.versions for file in files} == {("0001",)}


def test_hourly_zarr_from_0_to_360_gives_the_days(tmp_path):
    lon = np.arange(3600) / 10
    keep = np.r_[0:3, 3590:3600]  # a part that wraps, as in the global store
    fields = hourly(lon=lon[keep])
    write_zarr(tmp_path / "era5-land-v0.zarr", STAMPS, LAT, lon[keep], fields, (73, 3, 4))
    assert check(tmp_path)[0].step == "hour"
    check(tmp_path / "era5-land-v0.zarr")


def test_daily_zarr_is_never_shifted(tmp_path):
    write_zarr(tmp_path / "era5-land-daily-utc-v1.zarr", DAYS, LAT, LON % 360, daily(), (2, 3, 4))
    assert check(tmp_path)[0].step == "day"


def test_daily_netcdf_that_says_so_is_never_shifted(tmp_path):
    dataset = new_dataset(DAYS, LAT, LON, daily())
    for name, method in (("t2m", "mean"), ("tp", "sum"), ("e", "sum")):
        dataset[name].attrs["cell_methods"] = f"valid_time: {method}"
    dataset.to_netcdf(tmp_path / "a.nc")
    check(tmp_path)


def test_midnights_alone_are_not_taken_for_daily_aggregates(tmp_path):
    part = STAMPS[::24]
    fields = {name: values[::24] for name, values in hourly().items()}
    write_new(tmp_path / "a.nc", part, LAT, LON, fields)
    with pytest.raises(ValueError, match="is not hourly: .* need 'daily' in the name"):
        era5_land.find_files(tmp_path)


def test_daily_means_may_stand_beside_hourly_totals(tmp_path):
    fields = hourly()
    write_new(tmp_path / "a.nc", STAMPS, LAT, LON, {k: fields[k] for k in ("tp", "e")})
    write_new(tmp_path / "t2m_daily_mean.nc", DAYS, LAT, LON, {"t2m": daily()["t2m"]})
    check(tmp_path)


def test_one_variable_in_two_steps_is_refused(tmp_path):
    write_new(tmp_path / "a.nc", STAMPS, LAT, LON, hourly())
    write_new(tmp_path / "t2m_daily.nc", DAYS, LAT, LON, {"t2m": daily()["t2m"]})
    with pytest.raises(ValueError, match="hourly in one file and daily in another"):
        era5_land.find_files(tmp_path)


def test_a_store_behind_a_url_is_opened(tmp_path):
    write_zarr("memory://era5/daily.zarr", DAYS, LAT, LON % 360, daily(), (2, 3, 4))
    (file,) = check("memory://era5/daily.zarr")
    assert file.is_url and era5_land.stamp_files(file) == []


def test_drifted_coordinates_are_the_cells_that_they_stand_for(tmp_path):
    drift = np.linspace(-2e-4, 2e-4, LON.size)
    write_new(tmp_path / "a.nc", STAMPS, LAT.astype("f4"), (LON % 360) + drift, hourly())
    check(tmp_path)


# ---- the wanted box wraps ---------------------------------------------------------------------


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("turn", [0, 360])
def test_the_box_at_180_is_read_from_both_ends_of_the_axis(tmp_path, ascending, turn):
    layout = Layout.covering((179.6, 10.0, 180.0, 10.4), *LAYOUT.time[[0, -1]].tolist(), 48)
    lon = np.arange(-1800, 1800) / 10 if not turn else np.arange(3600) / 10
    keep = (np.abs((lon - 180 + 180) % 360 - 180) < 0.55) | (np.abs(lon % 360) < 0.15)
    lat = LAT[::-1] if ascending else LAT
    fields = hourly(lat=lat, lon=lon[keep])
    fields["t2m"] = fields["t2m"] + (lon[keep] % 360) / 1000
    write_new(tmp_path / "a.nc", STAMPS, lat, lon[keep], fields)
    values, _ = daily_values("tair", era5_land.find_files(tmp_path), DAYS, layout)
    expected = 7.85 + np.array([179.6, 179.7, 179.8, 179.9, 180.0]) / 1000
    np.testing.assert_allclose(values[0], np.tile(expected, (5, 1)), atol=1e-4)


# ---- slabs ------------------------------------------------------------------------------------


def test_slabs_cut_no_chunk_and_give_the_bits_of_one_piece(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    fields = hourly()
    fields["t2m"] = fields["t2m"] + rng.normal(0, 5, fields["t2m"].shape)
    write_zarr(tmp_path / "a.zarr", STAMPS, LAT, LON % 360, fields, (24, 2, 5))
    files = era5_land.find_files(tmp_path)
    whole, _ = daily_values("tair", files, DAYS, LAYOUT)
    monkeypatch.setattr(era5_cells, "SLAB_VALUES", 72 * 5)
    cuts = era5_cells.slabs(files, "t2m", 72, LAYOUT)
    assert [(cut.start, cut.stop) for cut in cuts] == [(0, 2), (2, 4), (4, 5)]
    np.testing.assert_array_equal(daily_values("tair", files, DAYS, LAYOUT)[0], whole)


def test_a_run_of_days_reads_each_chunk_once(tmp_path, monkeypatch):
    write_zarr(tmp_path / "a.zarr", STAMPS, LAT, LON % 360, hourly(), (24, 2, 5))
    files = era5_land.find_files(tmp_path)
    reads, get = [], zarr.storage.LocalStore.get

    async def counted(self, key, *args, **kwargs):
        reads.append(key)
        return await get(self, key, *args, **kwargs)

    monkeypatch.setattr(zarr.storage.LocalStore, "get", counted)
    monkeypatch.setattr(era5_cells, "SLAB_VALUES", 72 * 5)
    daily_values("tair", files, DAYS, LAYOUT)
    chunks = [key for key in reads if key.startswith("t2m/c/")]
    assert len(chunks) == len(set(chunks)) == 3 * 3  # days by rows; the wrap lies in one chunk


# ---- broken input -----------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["NETCDF3_64BIT_OFFSET", "NETCDF4"])
@pytest.mark.parametrize("lost", [3, 4000])
def test_a_file_cut_short_is_refused_at_its_header(tmp_path, format, lost):
    path = write_old(tmp_path / "a.nc", STAMPS, LAT, LON, hourly(), format=format)
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(ValueError, match=r"a\.nc .*download it again"):
        era5_land.find_files(tmp_path)


def test_a_zip_under_the_name_of_netcdf_is_named(tmp_path):
    (tmp_path / "download.nc").write_bytes(b"PK\x03\x04 and so on")
    with pytest.raises(ValueError, match="zip archive under the name of NetCDF; unzip it"):
        era5_land.find_files(tmp_path)


def test_a_damaged_chunk_is_an_error_and_no_number(tmp_path):
    noise = np.random.default_rng(0).normal(1, 0.01, (73, 5, 5))
    path, fields = tmp_path / "a.nc", {name: v * noise for name, v in hourly().items()}
    packing = {name: {"zlib": True, "fletcher32": True} for name in fields}
    new_dataset(STAMPS, LAT, LON, fields).to_netcdf(path, encoding=packing)
    files, content = era5_land.find_files(tmp_path), bytearray(path.read_bytes())
    third = len(content) // 3
    content[third : 2 * third] = bytes(third)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.nc cannot be (read|opened) .*download it again"):
        for name in EXPECTED:
            daily_values(name, files, DAYS, LAYOUT)


def test_a_variable_in_no_file_is_named(tmp_path):
    fields = hourly()
    write_new(tmp_path / "a.nc", STAMPS, LAT, LON, {k: fields[k] for k in ("t2m", "tp")})
    with pytest.raises(ValueError, match=r"lacks 'e', its files hold \['t2m', 'tp'\]"):
        era5_land.find_files(tmp_path)


def test_a_day_that_one_variable_lacks_is_missing_and_empties_no_other_day(tmp_path):
    fields = hourly()
    write_new(tmp_path / "t.nc", STAMPS, LAT, LON, {"t2m": fields["t2m"]})
    for part in (slice(0, 24), slice(49, 73)):
        names = ("tp", "e")
        cut = {name: fields[name][part] for name in names}
        write_new(tmp_path / f"{part.start}.nc", STAMPS[part], LAT, LON, cut)
    files = era5_land.find_files(tmp_path)
    lost = era5_land.missing_days(files, DAYS[0], DAYS[-1])
    np.testing.assert_array_equal(lost, np.array(["2019-01-02", "2019-01-03"], "M8[D]"))
    rain, _ = daily_values("precipitation", files, DAYS, LAYOUT)
    assert np.isnan(rain[:2]).all()  # closed by 00 UTC of the 2nd and the 3rd
    np.testing.assert_allclose(rain[2], 3.0, rtol=1e-6)
    assert not np.isnan(daily_values("tair", files, DAYS, LAYOUT)[0]).any()


@pytest.mark.parametrize(("off", "fine"), [(0.0, True), (0.005, True), (0.5, False)])
def test_the_same_hours_in_two_files_must_agree(tmp_path, off, fine):
    fields = hourly()
    write_new(tmp_path / "a.nc", STAMPS, LAT, LON, fields)
    again = {"t2m": fields["t2m"][24:48] + off}
    write_new(tmp_path / "b.nc", STAMPS[24:48], LAT, LON, again)
    files = era5_land.find_files(tmp_path)
    if fine:
        check(tmp_path)
        return
    with pytest.raises(ValueError, match=r"t2m at 2019-01-02T00:00 differs by up to 0\.5"):
        daily_values("tair", files, DAYS, LAYOUT)


@pytest.mark.parametrize(
    ("source", "name", "change", "message"),
    [
        ("t2m", "tair", lambda v: v - 273.15, "t2m spans 7.85 to 9.85 K, expected 150 to 350"),
        ("tp", "precipitation", lambda v: v * 1000, "spans 1000 to 3000 mm, expected -1 to 2000"),
        ("tp", "precipitation", lambda v: v - 0.0035, "spans -2.5 to -0.5 mm"),
        ("e", "evaporation", lambda v: v * 1000, "spans 500 to 1500 mm, expected -100 to 100"),
    ],
)
def test_values_in_other_units_than_the_file_says_are_refused(
    tmp_path, source, name, change, message
):
    fields = hourly()
    write_new(tmp_path / "a.nc", STAMPS, LAT, LON, fields | {source: change(fields[source])})
    with pytest.raises(ValueError, match=message):
        daily_values(name, era5_land.find_files(tmp_path), DAYS, LAYOUT)


def test_amounts_an_hour_are_not_taken_for_running_totals(tmp_path):
    fields = hourly()
    rain = np.zeros_like(fields["tp"])
    rain[23] = 0.002  # 2 mm before 23 UTC of the first day, nothing in the last hour
    write_new(tmp_path / "a.nc", STAMPS, LAT, LON, fields | {"tp": rain})
    with pytest.raises(ValueError, match="falls by 2 mm within the last hour of a day"):
        daily_values("precipitation", era5_land.find_files(tmp_path), DAYS, LAYOUT)


def test_noise_below_zero_is_clipped_and_counted_and_dew_stays(tmp_path):
    fields = hourly()
    fields["tp"][24, 1, 2], fields["tp"][23, 1, 2] = -1e-6, -1e-6
    fields["e"][24] = 1e-4  # dew: downward is positive in ERA5-Land
    write_new(tmp_path / "a.nc", STAMPS, LAT, LON, fields)
    files = era5_land.find_files(tmp_path)
    rain, clipped = daily_values("precipitation", files, DAYS, LAYOUT)
    assert clipped == 1 and rain[0, 1, 2] == 0.0 and rain.min() == 0.0
    upward, none = daily_values("evaporation", files, DAYS, LAYOUT)
    np.testing.assert_allclose(upward[0], -0.1, rtol=1e-6)
    assert none == 0


# ---- sea --------------------------------------------------------------------------------------


def test_the_sea_is_filled_from_land_and_a_missing_day_of_land_stays_missing():
    values = np.full((2, 2, 3), np.nan, dtype="float32")
    values[:, :, 0] = [[1, 2], [3, 4]]
    values[1, 0, 0] = np.nan
    assert fill_coast(values) == 1
    np.testing.assert_array_equal(values[0], [[1, 1, 1], [2, 2, 2]])
    np.testing.assert_array_equal(values[1], [[np.nan] * 3, [4, 4, 4]])


def test_an_hour_lost_everywhere_leaves_the_coast_of_other_days_filled():
    values = np.full((2, 1, 3), np.nan, dtype="float32")
    values[0, 0, 1:] = 5.0
    assert fill_coast(values) == 2
    np.testing.assert_array_equal(values[:, 0], [[5, 5, 5], [np.nan] * 3])


def test_open_sea_alone_stays_missing():
    values = np.full((2, 2, 2), np.nan, dtype="float32")
    assert fill_coast(values) == 0 and np.isnan(values).all()


# ---- real files -------------------------------------------------------------------------------


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("daily_surface_cancities_1990-1993.nc", "is not gridded: dims .*location"),
        ("zampy_era5_mtpr_2020-1.nc", "latitude 60, 59.75, ... steps by 0.25 deg.*not ERA5-Land"),
        ("landmask_0.1_0.1.nc", r"holds none of .*\['land'\]"),
    ],
)
def test_real_files_that_are_not_era5_land_meteorology_are_refused(real_data, name, message):
    with pytest.raises(ValueError, match=message):
        era5_land.read_header(real_data / "grids" / "era5" / name)


@pytest.mark.real_data
def test_the_header_of_a_real_era5_land_file_is_read_and_its_sea_is_missing(real_data):
    path = real_data / "grids" / "era5" / "zampy_era5-land_t2m_2020-1_allNaN_ocean.nc"
    file, known = era5_land.read_header(path)
    assert (file.names, file.step, file.versions, known) == (("t2m",), "hour", ("0001",), True)
    span = np.array([file.first, file.last])
    np.testing.assert_array_equal(span, np.array(["2020-01-01T00", "2020-01-01T03"], "M8[h]"))
    day = span[0].astype("M8[D]").item()
    with pytest.raises(ValueError, match="latitude 59.70..60.00 does not hold the cells"):
        era5_land.check_cells(file, Layout.covering((0.0, 59.6, 0.4, 60.0), day, day, 48))


@pytest.mark.real_data
def test_a_real_week_of_soil_moisture_stands_beside_meteorology_and_not_for_it(real_data):
    place = real_data / "grids" / "era5"
    file, known = era5_land.read_header(place / "ERA5_Western-Australia_20200601_20200607.nc")
    assert (file.names, file.step, known) == (("swvl1",), "hour", True)
    assert era5_land.soil_names([file]) == ("swvl1",)
    assert era5_land.soil_names([replace(file, names=("t2m", "tp", "e"))]) == ()


@pytest.mark.real_data
def test_the_stamps_of_a_real_week_of_the_new_layout_are_hourly(real_data):
    path = real_data / "grids" / "era5" / "ERA5_Western-Australia_20200601_20200607.nc"
    with era5_land.open_location(path) as dataset:
        era5_land.check_grid(dataset, path)
        assert era5_land.time_axis(dataset["swvl1"]) == "valid_time"
        stamps = dataset["valid_time"].values
        assert set(dataset["expver"].values) == {"0001"}
    assert stamps.size == 168 and era5_land.check_stamps(stamps, path, False) == "hour"


@pytest.mark.real_data
def test_the_hours_of_a_real_week_of_the_new_layout_come_onto_the_cells(real_data, tmp_path):
    """Its own bytes, with soil moisture under the name of a variable that is read."""
    source = real_data / "grids" / "era5" / "ERA5_Western-Australia_20200601_20200607.nc"
    path = tmp_path / "week.nc"
    shutil.copyfile(source, path)
    with netCDF4.Dataset(path, "a") as file:
        file.renameVariable("swvl1", "t2m")
        file["t2m"].units = "K"
    file, known = era5_land.read_header(path)
    assert (file.names, file.step, file.versions, known) == (("t2m",), "hour", ("0001",), True)
    first, last = date(2020, 6, 2), date(2020, 6, 3)
    layout = Layout.covering((117.2, -30.4, 118.0, -30.0), first, last, 48)
    era5_land.check_cells(file, layout)
    stamps = np.arange(np.datetime64("2020-06-02T00"), np.datetime64("2020-06-03T00"))
    found = era5_cells.read_stamps([file], "t2m", stamps, layout)
    with xr.open_dataset(source, engine="netcdf4") as dataset:
        expected = dataset["swvl1"].sel(
            valid_time=stamps.astype("M8[ns]"),
            latitude=layout.cell_lat,
            longitude=layout.cell_lon,
            method="nearest",
        )
        np.testing.assert_array_equal(found.values, expected.values)
    assert found.shape == (24, 5, 9) and 0 < float(found.min()) < float(found.max()) < 1
