"""Downloads from open archives on loopback: what is asked, delivered, kept, and what fails."""

import os
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine
from rasterio.windows import Window
from typer.testing import CliRunner
from web_server import API, SIGNER, Page, WebServer, wait_until
from web_world import item_of

from gssm_cube.cli import app
from gssm_cube.costs.request_costs import costs
from gssm_cube.download import orders
from gssm_cube.download.downloads import RemoteSources, open_requests
from gssm_cube.download.orders import Catalog
from gssm_cube.download.web_downloads import WHOM, archive_sources, complete_from_web
from gssm_cube.download.web_orders import asks_whole_files, sends, web_deliveries
from gssm_cube.grid import Layout, Tile
from gssm_cube.settings import Era5Land
from gssm_cube.sources import modis, soilgrids, tries
from gssm_cube.sources.ee_files import SINUSOIDAL
from gssm_cube.sources.sinusoidal import KILOMETRE
from gssm_cube.sources.tries import NoAccess, Refused
from gssm_cube.sources.web_tiff import blocks_of
from gssm_cube.web_settings import EXAMPLES
from gssm_cube.web_settings import Web as WebSettings

DAYS = [date(2019, 7, day) for day in range(1, 7)]
LAYOUT = Layout(Tile(118, 372), 1, 1, DAYS[0], DAYS[-1], 48)  # one tile off Portugal
((TILE, BOX),) = orders.modis_boxes(LAYOUT).items()
SHAPE = len(BOX[0]), len(BOX[1])
COLLECTION = f"{API}/collections/modis-11A1-061"


def numbers(day: date) -> np.ndarray:
    """LST of a day, digital numbers; a corner is masked."""
    values = np.add.outer(np.arange(SHAPE[0]), 2 * np.arange(SHAPE[1])) + 14000 + day.day
    values[:5, :5] = 0
    return values


def write_layer(path: Path, values: np.ndarray, dtype: str, nodata: int = 0) -> None:
    """Write a tile of MODIS in which only the box of the layout holds values."""
    size, pixel = KILOMETRE.tile_size, KILOMETRE.pixel
    top, left = int(TILE[4:]) * size, int(TILE[1:3]) * size
    x, y = orders.SINUSOIDAL.corner_of((range(top, top + 1), range(left, left + 1)))
    window = Window(BOX[1].start - left, BOX[0].start - top, SHAPE[1], SHAPE[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", height=size, width=size, count=1, dtype=dtype,
        crs=SINUSOIDAL, transform=Affine(pixel, 0, x, 0, -pixel, y), sparse_ok=True, tiled=True,
        blockxsize=256, blockysize=256, compress="deflate", nodata=nodata,
    ) as raster:  # fmt: skip
        raster.write(values.astype(dtype), 1, window=window)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Tiles of six days below a folder."""
    folder = tmp_path_factory.mktemp("served")
    for day in DAYS:
        for layer in modis.LST_LAYERS:
            values = np.zeros(SHAPE) if layer.startswith("QC") else numbers(day)
            dtype = modis.CODINGS[layer].dtype
            write_layer(folder / "cogs" / f"{day}_{layer}.tif", values, dtype)
    return folder


@pytest.fixture
def server(served):
    with WebServer(served) as running:
        items = [
            item_of(
                f"MOD11A1.A{day:%Y%j}.{TILE}.061.2020001000000",
                day,
                {layer: f"{running.url}/cogs/{day}_{layer}.tif" for layer in modis.LST_LAYERS},
            )
            for day in DAYS
        ]
        running.pages["modis-11A1-061"] = Page(items)
        yield running


class Run:
    """Settings of a run of MOD11A1 alone."""

    layout = LAYOUT

    def __init__(self, url: str, folder: Path, at_once: int = 3) -> None:
        self.sources = self
        self.addresses = {"mod11a1": f"stac+{url}{COLLECTION}"}
        self.folder = folder
        self.era5_land = Era5Land()
        self.web = WebSettings(at_once=at_once, signer=f"{url}{SIGNER}")


@pytest.fixture
def run(server, tmp_path):
    return Run(server.url, tmp_path)


def complete(run, **more) -> str:
    """Download without waiting between tries."""
    return complete_from_web(run, pause=lambda seconds: None, **more)


def days_on_disk(run) -> dict[date, np.ndarray]:
    """LST by day of all files that were delivered, read as the ingest reads them."""
    files = modis.find_files(run.folder / "web", "MOD11A1", modis.LST_LAYERS)
    return {day: modis.read_lst(tiles, "Day", *BOX).values for day, tiles in files.items()}


def test_tiles_become_files_that_the_ingest_reads(server, run):
    (cost,) = costs(archive_sources(run))
    assert (cost.requests, cost.bytes) == (6 * 4 * 2, 6 * 6 * SHAPE[0] * SHAPE[1])
    complete(run)
    found = days_on_disk(run)
    assert list(found) == DAYS
    for day, values in found.items():
        np.testing.assert_array_equal(values, numbers(day))
    assert len(server.files_asked()) <= cost.requests
    assert server.most_in_flight <= 3
    assert server.minted == 1


def test_what_is_there_is_not_asked_again(server, run):
    complete(run)
    asked = len(server.asked)
    assert "nothing is lacking" in complete(run)
    assert len(server.asked) == asked
    (path,) = run.folder.rglob("*A2019185*QC_Night.tif")  # the fourth day's
    path.unlink()
    complete(run)
    assert {a.path for a in server.files_asked()[-1:]} == {"/cogs/2019-07-04_QC_Night.tif"}


def test_more_requests_than_allowed_are_not_begun(server, run):
    with pytest.raises(ValueError, match="48 requests to open archives are needed, .* allows 47"):
        complete(run, max_requests=47)
    assert not server.files_asked()
    complete(run, max_requests=48)


def test_a_day_without_an_item_is_noted_and_asked_for_again_when_it_may_have_come(server, run):
    page = server.pages["modis-11A1-061"]
    page.items, items = [item for item in page.items if "A2019184" not in item["id"]], page.items
    complete(run)
    assert sorted(days_on_disk(run)) == [day for day in DAYS if day.day != 3]
    assert "nothing is lacking" in complete(run)
    page.items = items  # it came later
    complete(run, absent_too=True)
    assert sorted(days_on_disk(run)) == DAYS


def test_a_tile_that_is_masked_throughout_becomes_a_day_without_a_value(server, run, tmp_path):
    masked = server.folder / "cogs" / "masked.tif"
    write_layer(masked, np.zeros(SHAPE), "uint16")
    items = server.pages["modis-11A1-061"].items
    items[2]["assets"]["LST_Day_1km"]["href"] = f"{server.url}/cogs/masked.tif"
    complete(run)
    assert not days_on_disk(run)[DAYS[2]].any()
    assert days_on_disk(run)[DAYS[3]].any()


def test_an_empty_collection_and_a_wrong_one_are_refused(server, run):
    server.pages["modis-11A1-061"].items = []
    with pytest.raises(Refused, match="has nothing of MOD11A1 from 2019-07-01 to 2019-07-06"):
        complete(run)
    run.addresses = {"mod11a1": f"stac+{server.url}{API}/collections/no-11A1"}
    with pytest.raises(Refused, match="no-11A1 is not there"):
        complete(run)


def test_a_file_that_is_refused_is_named_when_all_others_are_done(server, run):
    server.fail(400, path="/cogs/2019-07-02_LST_Night_1km.tif")
    with pytest.raises(RuntimeError, match="1 of 24 requests were refused.*07-02_LST_Night_1km"):
        complete(run)
    assert len(list(run.folder.rglob("MOD11A1*.tif"))) == 23
    complete(run)
    assert sorted(days_on_disk(run)) == DAYS


def test_a_file_that_is_damaged_at_its_place_is_named_when_all_others_are_done(server, run):
    whole = server.folder / "cogs" / f"{DAYS[1]}_LST_Night_1km.tif"
    with rasterio.open(whole) as source:
        ((start, stop), *_) = blocks_of(source, Window(0, 0, source.width, source.height))
    content = whole.read_bytes()
    spoilt = content[:start] + bytes(stop - start) + content[stop:]
    (server.folder / "cogs" / "spoilt.tif").write_bytes(spoilt)
    items = server.pages["modis-11A1-061"].items
    items[1]["assets"]["LST_Night_1km"]["href"] = f"{server.url}/cogs/spoilt.tif"
    with pytest.raises(
        RuntimeError, match="1 of 24 requests were refused.*spoilt.tif: what came cannot be read"
    ):
        complete(run)
    assert len(list(run.folder.rglob("MOD11A1*.tif"))) == 23
    assert sum(asked.path == "/cogs/spoilt.tif" for asked in server.asked) == 8


@pytest.mark.timeout(120)
def test_who_waits_to_ask_again_keeps_no_download_that_ends_from_ending(server, run, monkeypatch):
    monkeypatch.setattr(tries, "FIRST_PAUSE", 300.0)
    monkeypatch.setattr(tries, "LONGEST_PAUSE", 300.0)
    for day in DAYS[:2]:
        server.fail(503, path=f"/cogs/{day}_LST_Day_1km.tif")
    server.fail(403, times=99, path="QC_Day")

    def hold(path: str) -> None:
        if "QC_Day" in path:
            wait_until(lambda: sum(asked.status == 503 for asked in server.asked) == 2)

    server.hold = hold
    with pytest.raises(NoAccess, match="QC_Day.*access is denied"):
        complete_from_web(run)


def test_storms_and_cuts_pass(server, run):
    server.fail(429, times=6, path="/cogs/")
    server.fail("cut", times=2, path="LST_Day")
    server.fail("short", times=2, path="QC_Day")
    server.fail(503, times=2, path=SIGNER)
    server.fail(500, times=1, path=API)
    complete(run)
    for day, values in days_on_disk(run).items():
        np.testing.assert_array_equal(values, numbers(day))


DOWNLOAD = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_web_downloads import Run
from gssm_cube.download.web_downloads import complete_from_web
complete_from_web(Run({url!r}, Path({folder!r}), 2))
"""


def test_a_kill_repeats_at_most_the_requests_in_flight(server, run):
    gate = {"open": False}

    def hold(path: str) -> None:
        if path.startswith("/cogs"):
            wait_until(lambda: len(server.files_asked()) <= 9 or gate["open"], 120)

    server.hold = hold
    text = DOWNLOAD.format(tests=str(Path(__file__).parent), url=server.url, folder=str(run.folder))
    process = subprocess.Popen([sys.executable, "-c", text])
    try:
        wait_until(lambda: len(server.files_asked()) >= 10, 120)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    gate["open"] = True
    held = {path.name for path in run.folder.rglob("*.tif")}
    before = {asked.path for asked in server.files_asked()}
    remote = archive_sources(run)
    left = open_requests(remote.lacking("mod11a1"), remote.folder)
    count = len(server.files_asked())
    complete(run)
    again = {asked.path for asked in server.files_asked()[count:]}
    assert held and len(left) < 24
    assert len(again & before) <= 2
    assert sorted(days_on_disk(run)) == DAYS


# ---- SoilGrids --------------------------------------------------------------------------------


def test_a_list_of_tiles_that_leads_elsewhere_is_refused(tmp_path):
    address = "https://host/soil"
    folder = orders.folder_of(tmp_path, "soilgrids", address, LAYOUT)
    west, south, east, north = LAYOUT.bounds
    for layer in soilgrids.LAYERS:
        path = folder / layer / f"{layer}_0-5cm_mean.vrt"
        path.parent.mkdir(parents=True)
        path.write_text(
            '<VRTDataset rasterXSize="900" rasterYSize="900"><SRS>EPSG:4326</SRS>'
            f"<GeoTransform>{west - 1}, 0.01, 0, {north + 1}, 0, -0.01</GeoTransform>"
            '<VRTRasterBand dataType="Int16" band="1"><SimpleSource>'
            '<SourceFilename relativeToVRT="1">../../../../evil.tif</SourceFilename>'
            "</SimpleSource></VRTRasterBand></VRTDataset>"
        )
    with pytest.raises(Refused, match=r"names .*evil.tif, expected tiles below it"):
        list(web_deliveries("soilgrids", address, LAYOUT, tmp_path, Catalog()))


# ---- counts -----------------------------------------------------------------------------------


def test_most_of_a_tile_is_asked_as_a_file_and_a_part_as_header_and_blocks(tmp_path):
    wide = Layout.covering((-6.0, 40.0, 8.0, 50.0), DAYS[0], DAYS[0], 480)
    address = "stac+https://host/collections/modis-11A1-061"
    whole = {}
    for delivery in web_deliveries("mod11a1", address, wide, tmp_path, Catalog()):
        (request,) = delivery.requests
        whole[delivery.write.tile] = asks_whole_files(request)
        assert sends(request) == (1 if asks_whole_files(request) else 2)
    assert whole["h18v04"] and not whole["h18v05"]


def test_a_plan_tells_requests_and_stops_at_the_limit(server, tmp_path):
    folders = ("mod13a2", "merit_hydro", "wtd", "bedrock", "soilgrids", "era5_land")
    sources = "".join(f'{name} = "raw/{name}"\n' for name in folders)
    path = tmp_path / "run.toml"
    west, south, east, north = (round(edge, 6) for edge in LAYOUT.bounds)
    path.write_text(
        f"bounds = [{west}, {south}, {east}, {north}]\ntile_size = 48\n"
        f"first_day = {DAYS[0]}\nlast_day = {DAYS[-1]}\n"
        f'[sources]\nmod11a1 = "stac+{server.url}{COLLECTION}"\nismn = "ismn.zip"\n{sources}'
    )
    refused = CliRunner().invoke(app, ["plan", str(path), "--max-requests", "47"])
    assert refused.exit_code == 1
    assert "From open archives" in refused.output
    assert "48 requests to open archives are needed, --max-requests allows 47" in refused.output
    assert not server.asked


def test_requests_of_a_tile_year_are_those_worked_by_hand(tmp_path):
    # 42..46 N, 4..0 W, 366 days, in one tile of MODIS.
    layout = Layout.covering((-4, 42, 0, 46), date(2019, 1, 1), date(2020, 1, 1))
    names = ("era5_land", "mod11a1", "mod13a2", "wtd", "bedrock")
    remote = RemoteSources(
        {name: EXAMPLES[name] for name in names}, layout, tmp_path, WHOM, web_deliveries, sends
    )
    found = {cost.source: cost for cost in costs(remote)}
    # A layer a day is a header and its blocks.
    assert found["mod11a1"].requests == 366 * 4 * 2
    assert found["mod13a2"].requests == 31 * 4 * 2
    assert found["mod11a1"].bytes == 480 * 357 * 6 * 366
    assert found["mod13a2"].bytes == (2 * 480) * (2 * 357) * (2 + 2 + 1 + 2) * 31
    # 17,568 hours in chunks of 1,440 touch 14; two chunks southward and two across 0 E; 28.8 MB.
    # Of the soil the 8,784 own hours are wanted, from 604,848 after 1950-01-01 on: 7 chunks.
    assert found["era5_land"].requests == (14 * 3 + 7 * 2) * 2 * 2
    assert found["era5_land"].bytes == (14 * 3 + 7 * 2) * 4 * 1440 * 50 * 100 * 4
    assert found["wtd"].requests == found["bedrock"].requests == 2
