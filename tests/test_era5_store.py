"""ERA5-Land from a Zarr on a loopback web server, in the layout of Earth Data Hub."""

import json
import pickle
from datetime import date

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from web_server import TOKEN, WebServer
from web_world import ALL_UNITS, UNITS, write_empty_store

from gssm_cube.costs.request_costs import costs
from gssm_cube.download.web_downloads import Archives, archive_sources, complete_from_web
from gssm_cube.grid import Layout, Tile
from gssm_cube.settings import Era5Land
from gssm_cube.sources import era5_cells, era5_land
from gssm_cube.sources.era5_store import (
    USUAL,
    StoreLayout,
    chunk_requests,
    layout_of,
    time_chunks,
    usual_layout,
)
from gssm_cube.sources.tries import NoAccess, Refused
from gssm_cube.sources.web import Web
from gssm_cube.sources.web_zarr import WebStore, open_store
from gssm_cube.web_settings import Web as WebSettings

LAYOUT = Layout(Tile(115, 449), 1, 2, date(2019, 7, 8), date(2019, 7, 9), 48)  # across 0 E
HOURS = np.arange("2019-07-01T00", "2019-07-12T00", dtype="M8[h]")
ROW, COLS = 900 - round(10 * LAYOUT.cell_lat[0]), np.rint(10 * LAYOUT.cell_lon).astype(int) % 3600


def write_store(path, zarr_format=3, chunks=(96, 4, 5), stamps=HOURS, lats=1472, units=UNITS):
    """Write noise on all cells of the layout, each row and column with its own."""
    write_empty_store(path, stamps.astype("M8[ns]"), chunks, zarr_format, lats, units)
    group, rng = zarr.open_group(path, mode="r+"), np.random.default_rng(0)
    middles = {"t2m": 290.0, "tp": 0.001, "e": -0.001, "swvl1": 0.3, "stl1": 285.0}
    for name in units:
        middle = middles[name]
        values = rng.normal(middle, abs(middle) / 10, (stamps.size, *LAYOUT.cells_shape))
        rows = slice(ROW, ROW + LAYOUT.cells_shape[0])
        west = COLS >= 1800
        for half in (west, ~west):
            cols = slice(int(COLS[half][0]), int(COLS[half][-1]) + 1)
            group[name][:, rows, cols] = values[:, :, half].astype("float32")


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("EARTHDATAHUB_TOKEN", TOKEN)
    with WebServer(tmp_path / "served") as running:
        (tmp_path / "served" / "guarded").mkdir(parents=True)
        yield running


@pytest.fixture
def run(server, tmp_path):
    """Settings of a run that takes ERA5-Land from the server, and nothing else."""

    class Run:
        class sources:  # noqa: N801
            addresses = {"era5_land": f"{server.url}/guarded/era5-land-v0.zarr"}

        layout = LAYOUT
        folder = tmp_path / "run"
        era5_land = Era5Land()
        web = WebSettings()

    return Run


def download(run):
    """Download without waiting; return the files as the ingest finds them."""
    complete_from_web(run, pause=lambda seconds: None)
    return era5_land.find_files(run.folder / "web")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_the_files_hold_what_the_store_holds(server, run, zarr_format):
    path = server.folder / "guarded" / "era5-land-v0.zarr"
    write_store(path, zarr_format)
    files = download(run)
    assert [str(file.first)[5:] for file in files] == ["07-01T00", "07-05T00", "07-09T00"]
    wanted = HOURS[HOURS <= np.datetime64("2019-07-10T23")]
    assert files[-1].last == wanted[-1]
    (store,) = era5_land.find_files(path)
    for name in ("t2m", "tp", "e"):
        ours = era5_cells.read_stamps(files, name, wanted, LAYOUT)
        theirs = era5_cells.read_stamps([store], name, wanted, LAYOUT)
        np.testing.assert_array_equal(ours, theirs)
        assert not np.isnan(ours).any()


def test_each_chunk_is_asked_once_and_nothing_again(server, run):
    write_store(server.folder / "guarded" / "era5-land-v0.zarr")
    download(run)
    chunks = [asked.path for asked in server.asked if "/c/" in asked.path]
    chunks = [path for path in chunks if path.split("/")[-5] in ("t2m", "tp", "e")]
    assert len(chunks) == len(set(chunks))
    planned = archive_sources(run)
    assert not planned.lacking("era5_land")
    asked = len(server.asked)
    assert "nothing is lacking" in complete_from_web(run)
    assert len(server.asked) == asked


def test_the_soil_of_the_own_days_comes_in_files_of_its_own(server, run):
    path = server.folder / "guarded" / "era5-land-v0.zarr"
    write_store(path, units=ALL_UNITS)
    weather, soil = [], []
    for file in download(run):
        (soil if set(file.names) == set(era5_land.SOIL) else weather).append(file)
    assert {file.names for file in weather} == {("t2m", "tp", "e")}
    assert [(str(file.first), str(file.last)) for file in soil] == [
        ("2019-07-08T00", "2019-07-08T23"), ("2019-07-09T00", "2019-07-09T23"),
    ]  # fmt: skip
    own = np.arange("2019-07-08T00", "2019-07-10T00", dtype="M8[h]")
    (store,) = era5_land.find_files(path)
    for name in era5_land.SOIL:
        ours = era5_cells.read_stamps(soil, name, own, LAYOUT)
        np.testing.assert_array_equal(ours, era5_cells.read_stamps([store], name, own, LAYOUT))
        assert not np.isnan(ours).any()
    assert "nothing is lacking" in complete_from_web(run)


def test_chunks_of_soil_are_planned_until_a_store_says_that_it_has_none(server, run):
    write_store(server.folder / "guarded" / "era5-land-v0.zarr", units=UNITS | {"swvl1": "m3 m-3"})
    planned = {
        request.name for d in archive_sources(run).wanted("era5_land") for request in d.requests
    }
    assert planned == set(ALL_UNITS)
    files = download(run)
    assert era5_land.lacking_soil(files) == "no stl1: the air tells frozen ground"
    assert era5_land.soil_names(files) == ("swvl1",)
    assert [cost.requests for cost in costs(archive_sources(run))] == [0]


def test_without_soil_in_the_settings_none_is_asked_for(server, run, monkeypatch):
    monkeypatch.setattr(run, "era5_land", Era5Land(soil=False))
    write_store(server.folder / "guarded" / "era5-land-v0.zarr", units=ALL_UNITS)
    assert not era5_land.soil_names(download(run))
    assert not [asked for asked in server.asked if "/swvl1/c/" in asked.path]


@pytest.mark.parametrize("kind", ["rotten", "cut", "short", 503, 429])
def test_a_chunk_that_does_not_come_whole_is_asked_again(server, run, kind):
    path = server.folder / "guarded" / "era5-land-v0.zarr"
    write_store(path)
    server.fail(kind, times=2, path="/t2m/c/")
    files = download(run)
    (store,) = era5_land.find_files(path)
    for_all = [
        era5_cells.read_stamps(held, "t2m", HOURS[:200], LAYOUT) for held in (files, [store])
    ]
    np.testing.assert_array_equal(*for_all)


def test_a_chunk_that_is_not_there_is_missing(server, run):
    path = server.folder / "guarded" / "era5-land-v0.zarr"
    write_store(path)
    gone = path / "t2m" / "c" / "0" / str(ROW // 4) / str(COLS[0] // 5)
    gone.unlink()
    values = era5_cells.read_stamps(download(run), "t2m", HOURS[:200], LAYOUT)
    assert np.isnan(values[:96, 0, 0]).all() and not np.isnan(values[96:, 0, 0]).any()


def test_an_expired_token_ends_the_run_and_what_is_done_is_kept(server, run, monkeypatch):
    write_store(server.folder / "guarded" / "era5-land-v0.zarr")
    server.fail(401, times=99, path="/e/c/")
    with pytest.raises(NoAccess, match="has expired: set it in the environment"):
        download(run)
    server.faults.clear()
    asked = len(server.asked)
    assert len(download(run)) == 3
    again = [a.path for a in server.asked[asked:] if "/t2m/c/" in a.path]
    before = [a.path for a in server.asked[:asked] if "/t2m/c/" in a.path and a.status == 200]
    assert len(set(again) & set(before)) <= 8  # those that were in flight
    assert not any(TOKEN in file.read_text() for file in run.folder.rglob("*.json"))


def test_daily_aggregates_are_known_by_their_name(server, run, tmp_path):
    days = np.arange("2019-06-01", "2019-07-12", dtype="M8[D]")
    name = "guarded/era5-land-daily-utc-v1.zarr"
    write_store(server.folder / name, stamps=days, chunks=(20, 4, 5))
    run.sources.addresses = {"era5_land": f"{server.url}/{name}"}
    files = download(run)
    assert {file.step for file in files} == {"day"}
    assert (str(files[0].first), str(files[-1].last)) == ("2019-06-01T00", "2019-07-09T00")


def test_a_store_without_consolidated_metadata_or_none_at_all_is_refused(server):
    web = Web({"127.0.0.1": "EARTHDATAHUB_TOKEN"}, pause=lambda seconds: None)
    path = server.folder / "guarded" / "a.zarr"
    write_empty_store(path, HOURS.astype("M8[ns]"), (96, 4, 5), 3, 1472, UNITS)
    about = json.loads((path / "zarr.json").read_text())
    del about["consolidated_metadata"]
    (path / "zarr.json").write_text(json.dumps(about))
    for name in ("a.zarr", "b.zarr"):
        with pytest.raises(Refused, match=f"{name} (has no consolidated|holds no Zarr)"):
            open_store(f"{server.url}/guarded/{name}", web)


def test_a_store_of_a_coding_that_nobody_knows_is_asked_once(server):
    pauses: list[float] = []
    web = Web({"127.0.0.1": "EARTHDATAHUB_TOKEN"}, pause=pauses.append)
    path = server.folder / "guarded" / "a.zarr"
    write_empty_store(path, HOURS.astype("M8[ns]"), (96, 4, 5), 3, 1472, UNITS)
    about = (path / "zarr.json").read_text()
    (path / "zarr.json").write_text(about.replace('"zstd"', '"of-another-world"'))
    with pytest.raises(Refused, match="a.zarr cannot be read.*of-another-world"):
        open_store(f"{server.url}/guarded/a.zarr", web)
    assert not pauses


@pytest.mark.parametrize("kind", ["rotten", "cut", "short", 503])
def test_metadata_that_do_not_come_whole_are_asked_again(server, kind):
    web = Web({"127.0.0.1": "EARTHDATAHUB_TOKEN"}, pause=lambda seconds: None)
    write_empty_store(
        server.folder / "guarded" / "a.zarr", HOURS.astype("M8[ns]"), (96, 4, 5), 3, 1472, UNITS
    )
    server.fail(kind, times=2, path="zarr.json")
    assert "t2m" in open_store(f"{server.url}/guarded/a.zarr", web)


def test_a_store_is_never_pickled():
    with pytest.raises(TypeError, match="does not travel"):
        pickle.dumps(WebStore("https://host/a.zarr", Web()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.isel(latitude=slice(None, None, -1)), "do not run with time, southward"),
        (lambda d: d.isel(valid_time=[0, 1, 1, 2]), "has a stamp twice"),
        (lambda d: d.isel(valid_time=[0, 2, 4]), "is not hourly"),
        (lambda d: d.isel(latitude=slice(None, None, 5)), "this is not ERA5-Land"),
    ],
)
def test_stores_of_another_layout_are_refused(change, message):
    coords = {
        "valid_time": HOURS[:6].astype("M8[ns]"),
        "latitude": 90 - np.arange(30) / 10,
        "longitude": np.arange(40) / 10,
    }
    fields = {
        name: (tuple(coords), np.zeros((6, 30, 40), "f4"), {"units": unit})
        for name, unit in (("t2m", "K"), ("tp", "m"), ("e", "m"))
    }
    with pytest.raises(Refused, match=message):
        layout_of(change(xr.Dataset(fields, coords)), "https://host/a.zarr")


def test_a_region_beyond_the_store_is_refused():
    south = Layout(Tile(370, 449), 1, 1, date(2019, 7, 8), date(2019, 7, 9), 48)
    with pytest.raises(ValueError, match=r"from 90.0 to -57.1 N, expected the cells -58.4 .. -58"):
        list(chunk_requests(USUAL, "https://host/a.zarr", south, range(24)))


def test_before_a_store_is_asked_its_layout_is_taken_to_be_usual():
    assert usual_layout("https://host/era5-land-v0.zarr").chunks == (1440, 50, 100)
    assert usual_layout("https://host/era5-land-daily-utc-v1.zarr").is_daily
    assert StoreLayout.of(json.loads(json.dumps(USUAL.to_dict()))) == USUAL
    assert [len(part) for part in time_chunks(USUAL, range(1400, 2900))] == [40, 1440, 20]


@settings(max_examples=40)
@given(
    st.integers(0, 890), st.integers(1, 12), st.integers(3, 60), st.integers(20, 110), st.booleans()
)
def test_every_cell_comes_once_from_its_own_column_of_the_store(col, n, down, across, wide):
    tiles = 900 if wide else min(n, 900 - col)
    layout = Layout(Tile(100, 0 if wide else col), 1, tiles, date(2019, 7, 8), date(2019, 7, 9), 48)
    store = StoreLayout(
        ("t2m",), ("K",), "1950-01-01T00", "h", 900, 0, (9999, 1472, 3600), (24, down, across)
    )
    rows, cols = layout.cells_shape[0], min(layout.cells_shape[1], 3600)
    found = np.zeros((rows, cols), int)
    for request in chunk_requests(store, "x", layout, range(24)):
        (row, col), (_, height, width) = request.out, request.shape
        found[row : row + height, col : col + width] += 1
        lat = 90 - np.array(request.rows) / 10
        np.testing.assert_allclose(layout.cell_lat[row : row + height], lat, atol=1e-6)
        lon = layout.cell_lon[col : col + width] % 360
        np.testing.assert_allclose((lon * 10).round() % 3600, request.cols, atol=1e-6)
        assert request.rows[0] // down == request.rows[-1] // down
        assert request.cols[0] // across == request.cols[-1] // across
    assert (found == 1).all()


def test_archives_know_the_host_of_the_token_alone():
    archives = Archives({"era5_land": "https://one/a.zarr"}, WebSettings())
    assert archives.web._tokens == {"one": "EARTHDATAHUB_TOKEN"}
