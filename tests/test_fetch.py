"""Each source is fetched from its provider's interface, on loopback, in forms that are read."""

import logging
import shutil
import tarfile
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from file_server import Fault, FileServer
from hypothesis import given
from hypothesis import strategies as st
from provider_world import KEY, lead_there, open_providers

from gssm_cube.fetch import cds, earthdata, tars, web
from gssm_cube.fetch import run as fetching
from gssm_cube.fetch.run import PROVIDERS, fetch, providers_of
from gssm_cube.fetch.transfer import RemoteFile
from gssm_cube.grid import Layout
from gssm_cube.ingest import inputs
from gssm_cube.sources import (
    bedrock,
    era5_cells,
    era5_land,
    groundwater,
    merit_hydro,
    soilgrids,
    tries,
)
from gssm_cube.sources.tries import NoAccess, NoAnswer, Refused, Stopped, Watch

TILE = "h15v04"
WEATHER, SOIL = tuple(era5_land.UNITS), tuple(era5_land.SOIL)


def yes(line):
    return True


@pytest.fixture
def providers(small_world, tmp_path, monkeypatch):
    monkeypatch.setattr(tries, "FIRST_PAUSE", 0.0)
    monkeypatch.setenv("NETRC", str(tmp_path / "no_netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with FileServer() as server:
        found = open_providers(server, small_world.raw, TILE, tmp_path / "served")
        lead_there(monkeypatch, found)
        yield found


@pytest.fixture
def store(providers):
    pytest.importorskip("cdsapi", reason="cdsapi is not installed (extra fetch)")
    return providers.store


@pytest.fixture
def daac(providers):
    pytest.importorskip("earthaccess", reason="earthaccess is not installed (extra fetch)")
    return providers.daac


@pytest.fixture
def days(short):
    """The last four days."""
    return replace(short, first_day=date(2019, 3, 2))


def total(folder, pattern="*"):
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file())


# ---- ERA5-Land --------------------------------------------------------------------------------


def test_orders_are_of_months_with_all_hours_and_one_hour_after_the_last_day(short, tmp_path):
    spans = cds.lacking(short, tmp_path)
    assert len(spans) == 14  # 2018-02-14 .. 2019-03-06
    assert (spans[0].first, spans[0].last) == (date(2018, 2, 14), date(2018, 2, 28))
    request = cds.request_of(spans[0], short)
    assert request["day"] == [f"{day}" for day in range(14, 29)]
    assert request["time"][0] == "00:00" and len(request["time"]) == 24
    # Soil in the months of the run's own days, 2019-02-14 .. 2019-03-05; its means end there.
    assert [span.names for span in spans] == [cds.VARIABLES] * 12 + [cds.VARIABLES + cds.SOIL] * 2
    # Cells of 0.1 deg round two tiles of 0.4 deg: north, west, south, east.
    assert request["area"] == [43.6, -32.0, 43.2, -31.2]
    assert (request["year"], request["month"]) == ("2018", "02")


@given(first=st.dates(date(2001, 1, 1), date(2030, 1, 1)), days=st.integers(0, 800))
def test_orders_hold_each_day_once_and_never_two_months(first, days):
    last = first + timedelta(days)
    layout = Layout.covering((-32.0, 43.2, -31.6, 43.6), first, last, 48)
    spans = cds.lacking(layout, Path("/nowhere"))
    held = [span.first + timedelta(n) for span in spans for n in range(span.days)]
    assert held == [first - timedelta(365) + timedelta(n) for n in range(365 + days + 2)]
    assert all((span.first.year, span.first.month) == (span.last.year, span.last.month)
               for span in spans)  # fmt: skip
    assert {len(span.hours) for span in spans[:-1]} == {24}


def test_where_a_month_begins_after_the_last_day_one_hour_is_ordered(small_world, tmp_path):
    layout = replace(small_world.layout, last_day=date(2019, 2, 28))
    last = cds.lacking(layout, tmp_path)[-1]
    assert (last.first, last.last, last.hours) == (date(2019, 3, 1), date(2019, 3, 1), (0,))
    assert last.names == cds.VARIABLES
    assert cds.request_of(last, layout)["time"] == ["00:00"]


def test_era5_land_comes_as_the_store_gives_it_and_reads_the_same(
    store, short, small_world, tmp_path
):
    folder = tmp_path / "era5"
    shutil.copytree(small_world.raw / "era5_land", folder)
    for month in ("2018_07", "2018_08", "2019_02"):
        (folder / f"era5_land_{month}.nc").unlink()
    line = fetch("era5_land", short, folder, confirm=yes)
    assert line.startswith("era5_land: 3 files fetched")
    assert len(list(folder.glob("*_?.nc"))) == 6  # instantaneous and accumulated apart
    assert inputs.lead_days(inputs.find_meteo(folder, short), short) == 365
    ours, theirs = (
        era5_land.find_files(place) for place in (folder, small_world.raw / "era5_land")
    )
    for month, names in (("2018-07", WEATHER), ("2019-02", WEATHER + SOIL)):
        stamps = np.datetime64(month, "D") + np.arange(24 * 26, 24 * 31).astype("m8[h]")
        for name in names:
            np.testing.assert_array_equal(
                era5_cells.read_stamps(ours, name, stamps, short).values,
                era5_cells.read_stamps(theirs, name, stamps, short).values,
            )
    assert "nothing is lacking" in fetch("era5_land", short, folder, confirm=yes)
    assert sorted(len(order["variable"]) for order in store.orders) == [3, 3, 5]  # soil: own days


def test_soil_that_lacks_beside_weather_is_ordered_alone_and_weather_stays(
    store, short, small_world, tmp_path
):
    folder = tmp_path / "era5"
    folder.mkdir()
    for path in (small_world.raw / "era5_land").glob("*.nc"):
        (folder / path.name).hardlink_to(path)
    february = small_world.raw / "era5_land" / "era5_land_2019_02.nc"
    (folder / february.name).unlink()
    with xr.open_dataset(february) as month:
        month.drop_vars(SOIL).to_netcdf(folder / "era5_land_20190201_20190228.nc")
    [span] = cds.lacking(short, folder)
    assert (span.first, span.last, span.names) == (date(2019, 2, 14), date(2019, 2, 28), cds.SOIL)
    assert cds.lacking(short, folder, soil=False) == []
    fetch("era5_land", short, folder, confirm=yes)
    assert store.orders[0]["variable"] == list(cds.SOIL)
    files = era5_land.find_files(folder)
    days = short.time[[0, -1]]
    assert not era5_land.missing_days(files, *days, WEATHER + SOIL).size
    assert cds.need(short, folder).files == 0


def test_without_soil_orders_are_of_weather_alone(short, tmp_path):
    names = {span.names for span in cds.lacking(short, tmp_path, soil=False)}
    assert names == {cds.VARIABLES}
    assert providers_of(soil=False)["era5_land"].need(short, tmp_path).bytes == sum(
        4 * 3 * 45 * span.stamps for span in cds.lacking(short, tmp_path)
    )


def first_order(short, folder):
    return next(cds.orders(short, folder, Watch()))


def test_a_kill_while_the_store_works_does_not_order_twice(store, short, tmp_path, monkeypatch):
    store.looks = 10**6

    def killed(self, seconds):
        raise Stopped("killed")

    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(Watch, "pause", killed)
        first_order(short, tmp_path).get(Watch())
    assert len(store.orders) == 1 and not list(tmp_path.glob("*.nc"))
    store.looks = 0
    first_order(short, tmp_path).get(Watch())
    assert len(store.orders) == 1 and len(list(tmp_path.glob("*.nc"))) == 2
    assert not list(tmp_path.glob("*.order"))


def test_an_order_that_the_store_forgot_or_that_failed_is_given_again(store, short, tmp_path):
    store.failing = True
    with pytest.raises(RuntimeError, match="MARS is asleep"):
        first_order(short, tmp_path).get(Watch())
    store.failing = False
    store.orders.clear()
    first_order(short, tmp_path).get(Watch())
    assert len(store.orders) == 1 and len(list(tmp_path.glob("*.nc"))) == 2


def test_what_is_too_much_at_once_is_ordered_by_the_variable(store, short, tmp_path):
    store.most = 1
    first_order(short, tmp_path).get(Watch())
    assert [order["variable"] for order in store.orders] == [[name] for name in cds.VARIABLES]
    assert len(list(tmp_path.glob("*.nc"))) == 3


def test_weather_and_soil_that_are_too_much_together_come_by_the_variable(store, short, tmp_path):
    store.most = 3
    *_, last = cds.orders(short, tmp_path, Watch())  # the days of March
    last.get(Watch())
    assert [order["variable"] for order in store.orders] == [
        [name] for name in (*cds.VARIABLES, *cds.SOIL)
    ]
    held = {name for file in era5_land.find_files(tmp_path) for name in file.names}
    assert held == {*WEATHER, *SOIL}


def test_a_plain_netcdf_is_taken_as_well(store, short, tmp_path):
    store.zipped = False
    first_order(short, tmp_path).get(Watch())
    assert [path.name for path in tmp_path.glob("era5*")] == ["era5_land_20180214_20180228.nc"]


def test_a_wrong_key_is_told_before_anything_is_ordered(store, short, tmp_path, monkeypatch):
    monkeypatch.setenv("CDSAPI_KEY", "another-key")
    with pytest.raises(NoAccess, match="does not let us in.*cdsapirc") as told:
        fetch("era5_land", short, tmp_path / "era5", confirm=yes)
    assert "another-key" not in str(told.value)
    assert not store.orders


@pytest.mark.parametrize("key", [None, "12345:a-key-of-before-2024"])
def test_no_key_or_one_of_the_old_interface_is_told(key, store, monkeypatch):
    monkeypatch.delenv("CDSAPI_KEY")
    if key:
        monkeypatch.setenv("CDSAPI_KEY", key)
    with pytest.raises(NoAccess, match="accept the licence"):
        cds.check_access()


def test_a_zarr_is_no_folder_for_files(short, tmp_path):
    (tmp_path / "zarr.json").write_text("{}")
    with pytest.raises(ValueError, match="is a Zarr, and NetCDF is fetched"):
        cds.lacking(short, tmp_path)


def test_a_folder_of_daily_aggregates_or_of_another_area_is_refused(short, small_world, tmp_path):
    daily = xr.open_dataset(small_world.raw / "era5_land" / "era5_land_2018_07.nc")
    daily.isel(valid_time=slice(0, None, 24)).to_netcdf(tmp_path / "era5_land_daily.nc")
    with pytest.raises(ValueError, match="daily aggregates.*another folder"):
        cds.lacking(short, tmp_path)
    (tmp_path / "era5_land_daily.nc").unlink()
    daily.isel(longitude=slice(0, 3)).to_netcdf(tmp_path / "era5_land_2018_07.nc")
    with pytest.raises(ValueError, match="does not hold the cells"):
        cds.lacking(short, tmp_path)


# ---- MODIS ------------------------------------------------------------------------------------


def test_lst_comes_as_tiles_of_the_last_production(daac, days, tmp_path):
    folder = tmp_path / "mod11a1"
    line = fetch("mod11a1", days, folder, confirm=yes)
    assert line.startswith("mod11a1: 4 files fetched")
    found = inputs.find_lst(folder, days, frozenset())
    assert len(found) == 4
    assert all(path.name.endswith(".2021001000000.hdf") for path in folder.rglob("*.hdf"))
    assert "nothing is lacking" in fetch("mod11a1", days, folder, confirm=yes)


def test_only_days_and_tiles_that_lack_are_asked_for(daac, short, small_world, tmp_path):
    product = earthdata.PRODUCTS["mod11a1"]
    assert sum(map(len, earthdata.lacking(product, short, tmp_path).values())) == 20
    # The world's own files are cut-outs of the area: then no tile lacks.
    assert earthdata.lacking(product, short, small_world.raw / "mod11a1") == {}


def test_days_that_the_archive_lacks_are_told(daac, days, tmp_path, caplog):
    daac.without = {date(2019, 3, 3), date(2019, 3, 4)}
    with caplog.at_level(logging.WARNING, "gssm_cube"):
        line = fetch("mod11a1", days, tmp_path / "mod11a1", confirm=yes)
    assert line.startswith("mod11a1: 2 files")
    assert "no MOD11A1 of this region on 2 days: 2019-03-03 .. 2019-03-04" in caplog.text


def test_a_refused_token_or_none_is_told(daac, days, tmp_path, monkeypatch):
    monkeypatch.setenv("EARTHDATA_TOKEN", "expired-token")
    with pytest.raises(NoAccess, match=r"mod11a1|hdf.*401.*netrc") as told:
        fetch("mod11a1", days, tmp_path / "mod11a1", confirm=yes)
    assert "expired-token" not in str(told.value)
    monkeypatch.delenv("EARTHDATA_TOKEN")
    with pytest.raises(NoAccess, match="no credentials for NASA.*EARTHDATA_TOKEN"):
        earthdata.check_access()


def test_a_file_that_is_no_hdf_is_not_kept(tmp_path):
    path = tmp_path / "MOD11A1.hdf"
    path.write_bytes(b"<html>")
    with pytest.raises(ValueError, match="expected an HDF file"):
        earthdata.check_hdf(path)


def test_days_of_an_outage_are_not_asked_for(short):
    outage = replace(short, first_day=date(2016, 2, 10), last_day=date(2016, 3, 5))
    days = earthdata.PRODUCTS["mod11a1"].days(outage)
    assert len(days) == 25 - 11
    assert len(earthdata.PRODUCTS["vnp21a1d"].days(outage)) == 25


# ---- maps -------------------------------------------------------------------------------------


def test_soilgrids_comes_as_lists_and_the_tiles_of_the_region(
    providers, short, small_world, tmp_path
):
    folder = tmp_path / "soil"
    fetch("soilgrids", short, folder, confirm=yes)
    files = inputs.find_soil(folder, short)
    assert files["clay"] == folder / "clay" / "clay_0-5cm_mean.vrt"
    theirs = soilgrids.find_files(small_world.raw / "soilgrids")
    for name in soilgrids.LAYERS:
        [ours] = soilgrids.read_layer(files, name, short.bounds)
        [wanted] = soilgrids.read_layer(theirs, name, short.bounds)
        np.testing.assert_array_equal(ours.values, wanted.values)
    assert "nothing is lacking" in fetch("soilgrids", short, folder, confirm=yes)


def test_a_list_of_tiles_that_leads_out_of_its_folder_is_refused(providers, short, tmp_path):
    west, _, _, north = short.bounds
    providers.server.files["/soil/clay/clay_0-5cm_mean.vrt"] = (
        '<VRTDataset rasterXSize="900" rasterYSize="900"><SRS>EPSG:4326</SRS>'
        f"<GeoTransform>{west - 1}, 0.01, 0, {north + 1}, 0, -0.01</GeoTransform>"
        '<VRTRasterBand dataType="Int16" band="1"><SimpleSource>'
        '<SourceFilename relativeToVRT="1">../../evil.tif</SourceFilename>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    ).encode()
    with pytest.raises(Refused, match=r"names .*evil.tif, expected tiles below it"):
        fetch("soilgrids", short, tmp_path / "soil", confirm=yes)
    assert not list(tmp_path.rglob("evil.tif*"))


def test_of_packages_of_merit_hydro_only_the_tiles_of_the_region_come(
    providers, short, small_world, tmp_path
):
    folder = tmp_path / "merit"
    fetch("merit_hydro", short, folder, confirm=yes)
    wanted = {tile for tile, _ in web.merit_lacking(short, tmp_path / "none")}
    found = inputs.find_terrain(folder, short)
    assert set(found) == wanted - {path.stem for path in folder.glob("*.sea")}
    for name in merit_hydro.LAYERS:
        ours = merit_hydro.read_layer(found, name, short.bounds)
        theirs = merit_hydro.find_files(small_world.raw / "merit_hydro")
        np.testing.assert_array_equal(
            ours.values, merit_hydro.read_layer(theirs, name, short.bounds).values
        )
    held = sum(len(c) for path, c in providers.server.files.items() if path.endswith(".tar"))
    assert total(folder, "*.tif") <= held
    assert "nothing is lacking" in fetch("merit_hydro", short, folder, confirm=yes)


def test_where_packages_come_only_whole_they_are_read_where_they_lie(providers, short, tmp_path):
    providers.server.ranges = False
    fetch("merit_hydro", short, tmp_path / "merit", confirm=yes)
    assert len(list((tmp_path / "merit").glob("*.tar"))) == 3
    assert inputs.find_terrain(tmp_path / "merit", short)


def test_merit_hydro_needs_its_name_and_password(providers, short, tmp_path, monkeypatch):
    providers.server.account = ("someone", "secret")
    fetch("merit_hydro", short, tmp_path / "merit", confirm=yes)
    monkeypatch.setenv("MERIT_HYDRO_PASSWORD", "wrong")
    with pytest.raises(NoAccess, match="401.*register at") as told:
        fetch("merit_hydro", short, tmp_path / "again", confirm=yes)
    assert "wrong" not in str(told.value)
    monkeypatch.delenv("MERIT_HYDRO_PASSWORD")
    with pytest.raises(NoAccess, match="no account for MERIT Hydro"):
        web.check_merit_access()


def test_a_tile_that_no_package_has_is_sea(providers, short, tmp_path):
    for path in [p for p in providers.server.files if p.endswith(".tar")]:
        del providers.server.files[path]
    line = fetch("merit_hydro", short, tmp_path / "merit", confirm=yes)
    assert "has nothing of what is lacking" in line
    assert [path.name for path in (tmp_path / "merit").glob("*.sea")] == ["n40w035.sea"]


@pytest.mark.parametrize(
    ("tile", "package"),
    [
        ("n40w035", "n30w060"),
        ("s05e000", "s30e000"),
        ("n85w180", "n60w180"),
        ("s60e175", "s60e150"),
    ],
)
def test_tiles_lie_in_packages_of_thirty_degrees(tile, package):
    assert web.package_of(tile) == package


@given(st.integers(-12, 17), st.integers(-36, 35))
def test_a_package_holds_its_tiles_whole(row, col):
    tile = merit_hydro.tile_name(5 * row, 5 * col)
    west, south, east, north = merit_hydro.tile_bounds(tile)
    left, bottom, _, _ = merit_hydro.tile_bounds(web.package_of(tile))
    assert left <= west and bottom <= south and east <= left + 30 and north <= bottom + 30
    assert left % 30 == bottom % 30 == 0


def test_an_archive_that_is_no_tar_is_refused():
    with FileServer() as server:
        server.files["/a.tar"] = b"x" * 2_000
        remote = RemoteFile(f"{server.url}/a.tar", web.requests.Session())
        with pytest.raises(ValueError, match="no whole tar archive .byte 0"):
            list(tars.entries(remote, Watch()))


def test_a_header_in_an_archive_that_comes_cut_is_asked_again(tmp_path, monkeypatch):
    monkeypatch.setattr(tries, "FIRST_PAUSE", 0.0)
    (tmp_path / "one.tif").write_bytes(b"x" * 700)
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.add(tmp_path / "one.tif", "one.tif")
    with FileServer() as server:
        server.files["/a.tar"] = (tmp_path / "a.tar").read_bytes()
        server.faults.append(Fault("cut", times=2, after=100))
        remote = RemoteFile(f"{server.url}/a.tar", web.requests.Session())
        assert list(tars.entries(remote, Watch())) == [tars.Entry("one.tif", 512, 700)]


def test_a_list_of_tiles_that_is_cut_is_not_kept(tmp_path):
    path = tmp_path / "clay.vrt"
    path.write_text("<VRTDataset><VRTRasterBand>")
    with pytest.raises(ValueError, match="is no VRT"):
        web.check_list(path)


def test_water_table_and_bedrock_come_as_files(providers, short, tmp_path):
    fetch("wtd", short, tmp_path / "wtd", confirm=yes)
    fetch("bedrock", short, tmp_path / "bedrock", confirm=yes)
    assert [path.name for path in inputs.find_water_table(tmp_path / "wtd", short)] == [
        "NAMERICA_WTD_annualmean.nc"
    ]
    assert inputs.find_bedrock(tmp_path / "bedrock", short).name == bedrock.FILE_NAME


def test_a_map_of_the_users_own_is_enough(small_world, short):
    assert groundwater.find_files(small_world.raw / "wtd")[0].name == "wtd_annualmean.nc"
    assert web.water_lacking(short, small_world.raw / "wtd") == []


# ---- what all share ---------------------------------------------------------------------------


def test_nothing_comes_without_consent_and_sizes_are_told_before(providers, short, tmp_path):
    told = []
    line = fetch("bedrock", short, tmp_path / "bedrock", confirm=lambda line: told.append(line))
    assert line == "bedrock: not fetched"
    size = providers.server.files["/bedrock/BDTICM_M_1km_ll.tif"].stat().st_size
    assert told[0].startswith(f"bedrock: 1 files, about {size / 1e6:,.0f} MB")
    assert not list((tmp_path / "bedrock").iterdir())
    assert not providers.server.asked("bedrock")  # only its headers


def test_a_disk_that_is_too_small_is_told_before(providers, short, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "SPARE", 1e15)
    with pytest.raises(ValueError, match="GB free, about .* will come; free some"):
        fetch("bedrock", short, tmp_path / "bedrock", confirm=yes)


def test_a_file_that_cannot_be_had_is_named_when_all_others_are_there(providers, short, tmp_path):
    fetch("soilgrids", short, tmp_path / "whole", confirm=yes)
    tiles = sorted((tmp_path / "whole").rglob("tileSG*.tif"))
    lost = tiles[0].relative_to(tmp_path / "whole")
    del providers.server.files[f"/soil/{lost}"]
    with pytest.raises(RuntimeError, match=f"1 of {len(tiles)} files.*{lost.name}.*not there"):
        fetch("soilgrids", short, tmp_path / "soil", confirm=yes)
    assert len(list((tmp_path / "soil").rglob("tileSG*.tif"))) == len(tiles) - 1


def test_every_source_of_files_has_a_provider_that_says_what_it_needs(short, tmp_path):
    for name, provider in PROVIDERS.items():
        need = provider.need(short, tmp_path / name)
        assert need.files > 0 and need.request and need.basis
        assert provider.account == "none" or "http" in provider.advice


def test_all_accounts_that_do_not_let_us_in_are_told_at_once(
    providers, short, tmp_path, monkeypatch
):
    pytest.importorskip("cdsapi", reason="cdsapi is not installed (extra fetch)")
    monkeypatch.delenv("CDSAPI_KEY")
    monkeypatch.delenv("MERIT_HYDRO_PASSWORD")
    folders = {name: tmp_path / name for name in ("era5_land", "merit_hydro", "wtd")}
    with pytest.raises(NoAccess) as told:
        fetching.check_accounts(list(folders), short, folders)
    assert [line.split(":")[0] for line in str(told.value).splitlines()] == [
        "no key for the Climate Data Store (Missing/incomplete configuration file",
        "no account for MERIT Hydro",
    ]
    assert KEY not in str(told.value)


def test_a_server_that_does_not_answer_ends_the_work(providers, short, tmp_path, monkeypatch):
    monkeypatch.setattr(tries, "TRIES", 2)
    providers.server.faults.append(Fault(503, match="NAMERICA", times=99))
    with pytest.raises(NoAnswer, match="start again later"):
        fetch("wtd", short, tmp_path / "wtd", confirm=yes)
