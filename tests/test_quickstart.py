"""Where sources come from is told, files are fetched by commands, and a quick start runs it all."""

import json
import shutil
from datetime import date
from pathlib import Path

import pytest
from cube_codes import check_same_codes
from ee_server import EarthEngineServer, let_anyone_in
from ee_world import ASSETS, catalog_of
from file_server import Fault, FileServer
from provider_world import lead_there, open_providers
from tests_of_commands import invoke

from gssm_cube import open_product, pipeline, quickstart
from gssm_cube.check import check_run
from gssm_cube.cluster_settings import Cluster
from gssm_cube.costs.routes import run_routes, summary
from gssm_cube.earthengine_settings import EarthEngine
from gssm_cube.quickstart import ROUTES, Start, file_sources, prepare
from gssm_cube.release.citations import SOURCES
from gssm_cube.settings import read_settings
from gssm_cube.sources import tries

TILE = "h15v04"
BOX = (-32.0, 43.2, -31.6, 43.6)  # a tile of 48 pixels
NAMES = tuple(ROUTES["fetch"])


@pytest.fixture
def lead(tmp_path, monkeypatch):
    """Serve a world on loopback and let the program go there; return its servers."""
    monkeypatch.setattr(tries, "FIRST_PAUSE", 0.0)
    monkeypatch.setenv("NETRC", str(tmp_path / "no_netrc"))
    with FileServer() as server:

        def serve(raw):
            found = open_providers(server, raw, TILE, tmp_path / "served")
            lead_there(monkeypatch, found)
            return found

        yield serve


@pytest.fixture
def libraries():
    for name in ("cdsapi", "earthaccess"):
        pytest.importorskip(name, reason=f"{name} is not installed (extra fetch)")


def write_run(folder: Path, small_world, short) -> Path:
    """Write a run of the small world's last days whose folders are empty."""
    text = small_world.write_settings(folder).read_text()
    text = text.replace(
        f"first_day = {small_world.layout.first_day}", f"first_day = {short.first_day}"
    )
    for name in NAMES:
        text = text.replace(str(small_world.folders[name]), f"raw/{name}")
    path = folder / "run.toml"
    path.write_text(text)
    return path


# ---- where sources come from ------------------------------------------------------------------


def test_each_source_has_its_way_licence_bytes_and_request(small_world, short, tmp_path):
    settings = read_settings(write_run(tmp_path, small_world, short))
    routes = {route.source: route for route in run_routes(settings)}
    assert list(routes) == [*NAMES, "ismn"]
    meteo = routes["era5_land"]
    # 385 days and an hour beyond the month's: 2018-02-14 .. 2019-03-06; 5 x 9 cells, 3 variables;
    # two more in the months of the run's own days, 1 February to 6 March.
    assert (meteo.files, meteo.bytes) == (14, 4 * 45 * 24 * (3 * 386 + 2 * 34))
    assert meteo.request.startswith('cdsapi.Client().retrieve("reanalysis-era5-land", {"variable":')
    assert routes["mod11a1"].files == 20
    assert "granule_name='MOD11A1.A*.h15v04.061.*'" in routes["mod11a1"].request
    assert routes["bedrock"].bytes is None and routes["bedrock"].account == "none"
    assert routes["ismn"].route == "by hand" and routes["ismn"].files == 0
    for name, route in routes.items():
        assert all(source.licence in route.licence for source in SOURCES[name])
    assert "and what the servers tell of wtd, bedrock" in summary(list(routes.values()))


def test_without_the_soil_of_era5_land_only_weather_is_to_come(small_world, short, tmp_path):
    path = write_run(tmp_path, small_world, short)
    path.write_text(path.read_text() + "[era5_land]\nsoil = false\n")
    meteo = run_routes(read_settings(path))[0]
    assert (meteo.source, meteo.files, meteo.bytes) == ("era5_land", 14, 4 * 3 * 45 * 24 * 386)


def test_a_licence_is_that_of_what_stands_in_a_source_s_place(tmp_path):
    settings = prepare(tmp_path, Start(BOX, 2018, "open", 48))
    licences = {route.source: route.licence for route in run_routes(settings)}
    assert licences["merit_hydro"] == SOURCES["copernicus_dem"][0].licence


def test_sources_that_are_there_need_nothing(small_world, tmp_path):
    settings = read_settings(small_world.write_settings(tmp_path))
    assert {route.files for route in run_routes(settings)} == {0}
    assert summary(run_routes(settings)) == "still to come: 0 files, 0 requests, about 0 B"


def test_the_command_tells_mixed_sources_as_a_table_and_as_json(small_world, short, tmp_path):
    path = write_run(tmp_path, small_world, short)
    text = path.read_text().replace('"raw/mod11a1"', '"ee://MODIS/061/MOD11A1"')
    text = text.replace('"raw/era5_land"', '"https://example.org/era5-land.zarr"')
    path.write_text(text + '[earthengine]\nproject = "someone"\n')
    shown = invoke("sources", path, "--json", tmp_path / "sources.json")
    found = {
        route["source"]: route for route in json.loads((tmp_path / "sources.json").read_text())
    }
    assert found["mod11a1"]["route"] == "Earth Engine" and found["mod11a1"]["requests"] == 1
    assert found["era5_land"]["route"] == "open archive" and found["era5_land"]["requests"] > 0
    assert found["soilgrids"]["route"] == "files"
    assert "CC-BY-NC 4.0 or ODbL 1.0" in found["merit_hydro"]["licence"]
    assert "https://example.org/era5-land.zarr" in shown and "1 requests" in shown
    assert "merit_hydro: GET http" in shown
    assert "MERIT Hydro, by registration: register at http" in shown and "ECMWF" not in shown


# ---- fetch ------------------------------------------------------------------------------------


def test_all_that_is_fetched_gives_the_cube_of_local_files(
    lead, libraries, small_world, short, alone, tmp_path
):
    """Of HDF tiles, lists of tiles, packages and zips: code by code."""
    providers = lead(small_world.raw)
    providers.server.faults += [
        Fault("cut", match=r"hdf|tif|cache|nc", times=6, after=700),
        Fault(503, match="merit|soil", times=3),
    ]
    path = write_run(tmp_path, small_world, short)
    said = invoke("fetch", "all", path, "--yes")
    assert "mod11a1: 20 files fetched" in said
    settings = read_settings(path)
    report = check_run(settings, lambda: None, "0", lambda *step: None)
    assert [finding.faults for finding in report.findings if finding.faults] == []
    pipeline.harmonise(settings)
    check_same_codes(settings.cube, alone[0] / "features.zarr")
    sent = providers.server.sent
    assert invoke("fetch", "all", path).count("nothing is lacking") == 7
    assert providers.server.sent == sent


def test_fetch_asks_first_and_refuses_what_does_not_come_as_files(
    lead, small_world, short, tmp_path, monkeypatch
):
    lead(small_world.raw)
    path = write_run(tmp_path, small_world, short)
    monkeypatch.setattr("typer.confirm", lambda line: False)
    assert "bedrock: not fetched" in invoke("fetch", "bedrock", path)
    said = invoke("fetch", "ismn", path, status=1)
    assert "ismn is" in said and "expected a folder of files of one of era5_land" in said
    assert "nonsense is None" in invoke("fetch", "nonsense", path, status=1)


# ---- quick start ------------------------------------------------------------------------------


def test_settings_of_a_quick_start_are_a_calendar_year_of_whole_tiles(tmp_path):
    settings = prepare(tmp_path, Start(BOX, 2018, tile_size=48))
    assert (settings.first_day, settings.last_day) == (date(2018, 1, 1), date(2018, 12, 31))
    assert settings.layout.bounds == pytest.approx(BOX)
    assert settings.sources.era5_land == tmp_path / "raw" / "era5_land"
    assert prepare(tmp_path, Start(BOX, 2018, tile_size=48)) == settings
    with pytest.raises(ValueError, match="of another quick start.*gssm fetch all"):
        prepare(tmp_path, Start(BOX, 2019, tile_size=48))


def test_a_quick_start_by_earth_engine_needs_a_project_and_fetches_the_rest(tmp_path):
    with pytest.raises(ValueError, match="needs --project"):
        prepare(tmp_path, Start(BOX, 2018, "ee", 48))
    settings = prepare(tmp_path, Start(BOX, 2018, "ee", 48, "someone"))
    assert set(settings.sources.assets) == set(NAMES) - {"wtd", "bedrock"}
    assert set(file_sources(settings)) == {"wtd", "bedrock"}
    routes = {route.source: route for route in run_routes(settings)}
    assert routes["era5_land"].requests and routes["wtd"].files == 1
    with pytest.raises(ValueError, match="route is 'moon', expected one of fetch, ee"):
        prepare(tmp_path / "moon", Start(BOX, 2018, "moon"))


def test_a_quick_start_says_what_comes_and_does_nothing_without_consent(tmp_path, monkeypatch):
    monkeypatch.setattr("typer.confirm", lambda line: False)
    words = ["--bbox", *map(str, BOX), "--year", "2018", "--tile-size", "48"]
    said = invoke("quickstart", tmp_path / "q", *words, status=1)
    assert "still to come" in said and "cdsapi.Client()" in said and "nothing was done" in said
    assert [path.name for path in (tmp_path / "q").iterdir()] == ["run.toml"]


def test_a_quick_start_by_open_archives_needs_one_token_and_files_of_two_maps(tmp_path):
    settings = prepare(tmp_path, Start(BOX, 2018, "open", 48))
    assert set(file_sources(settings)) == {"wtd", "bedrock"}
    routes = {route.source: route for route in run_routes(settings)}
    # 365 days of day and night, each with its quality, of one MODIS tile: a file each, of which
    # the header and what is wanted are asked for.
    assert routes["mod11a1"].requests == 365 * 4 * 2
    asking = [name for name, route in routes.items() if route.route == "open archive"]
    assert asking == ["era5_land", "mod11a1", "mod13a2", "soilgrids", "merit_hydro"]
    tokens = {name for name in asking if "token" in routes[name].account}
    assert tokens == {"era5_land"}
    assert all(routes[name].requests and routes[name].bytes for name in asking)


def test_a_quick_start_by_earth_engine_fetches_water_table_and_bedrock_as_files(
    lead, small_world, short, alone, tmp_path, monkeypatch
):
    """As its settings have it, but for the address of Earth Engine, the hours and the days."""
    lead(small_world.raw)
    let_anyone_in(monkeypatch)
    settings = prepare(tmp_path, Start(BOX, 2018, "ee", 48, "someone"))
    hourly = settings.sources.model_copy(update={"era5_land": ASSETS["era5_land"]})
    said = []
    with EarthEngineServer(catalog_of(small_world.raw, short)) as server:
        about = {
            "bounds": short.bounds, "first_day": short.first_day, "last_day": short.last_day,
            "sources": hourly, "cluster": Cluster(kind="none"),
            "earthengine": EarthEngine(project="someone", url=server.url),
        }  # fmt: skip
        with pytest.raises(FileNotFoundError, match="put an archive of stations at"):
            quickstart.run(settings.model_copy(update=about), tell=said.append)
    assert [line.split(":")[0] for line in said if "fetched" in line] == ["wtd", "bedrock"]
    check_same_codes(settings.cube, alone[0] / "features.zarr")


@pytest.mark.quickstart
def test_a_quick_start_runs_from_servers_to_a_product(
    lead, libraries, small_world, tmp_path, monkeypatch
):
    """On the small world's year: MODIS and most of ERA5-Land are there, all else comes."""
    providers, text_of = lead(small_world.raw), Start.settings_text
    modis = {name: str(small_world.folders[name]) for name in ("mod11a1", "mod13a2")}
    monkeypatch.setitem(ROUTES, "fetch", ROUTES["fetch"] | modis)
    changed = {
        "2018-01-01": str(small_world.layout.first_day),
        "2018-12-31": str(small_world.layout.last_day),
        '"local"\n': '"none"\n[training]\ntrees = 5\nevaluation_trees = 3\n',
    }

    def light(start):
        text = text_of(start)
        for old, new in changed.items():
            text = text.replace(old, new)
        return text

    monkeypatch.setattr(Start, "settings_text", light)
    box = [round(edge, 6) for edge in small_world.layout.bounds]
    folder = tmp_path / "q"
    words = [folder, "--bbox", *box, "--year", "2018", "--tile-size", "48", "--yes"]
    shutil.copytree(small_world.folders["era5_land"], folder / "raw" / "era5_land")
    for month in ("2018_07", "2019_01"):
        (folder / "raw" / "era5_land" / f"era5_land_{month}.nc").unlink()
    providers.server.faults.append(Fault(503, match="bedrock", times=99))
    said = invoke("quickstart", *words, status=1)
    assert "bedrock" in said and "start again later: what has come is kept" in said
    providers.server.faults.clear()
    sent, orders = providers.server.sent, len(providers.store.orders)
    said = invoke("quickstart", *words, status=1)
    assert "for a forest put an archive of stations at" in said
    size = small_world.raw / "bedrock" / "BDTICM_M_1km_ll.tif"
    assert len(providers.store.orders) == orders == 2
    assert sent < providers.server.sent < sent + size.stat().st_size + 2_000
    shutil.copy(small_world.archive, folder / "ismn.zip")
    said = invoke("quickstart", *words)
    assert "Report:" in said and (folder / "report.html").exists()
    ssm = open_product(folder / "ssm.zarr").ssm
    assert ssm.sizes["time"] == 370 and float(ssm.notnull().mean()) > 0.3
    check_same_codes(folder / "features.zarr", small_world.cube)
