"""The cube from Earth Engine is the cube from files: the small world, served both ways."""

import logging
import shutil
from pathlib import Path

import pytest
from cube_codes import check_same_codes
from ee_server import EarthEngineServer, let_anyone_in
from ee_world import ASSETS, catalog_of, without_soil
from typer.testing import CliRunner

from gssm_cube import pipeline
from gssm_cube.cli import app
from gssm_cube.costs.request_costs import costs
from gssm_cube.download import downloads
from gssm_cube.download.orders import USUAL
from gssm_cube.settings import read_settings


@pytest.fixture(scope="module")
def server(small_world):
    with EarthEngineServer(catalog_of(small_world.raw, small_world.layout)) as running:
        yield running


@pytest.fixture
def account(monkeypatch):
    """Let this process in."""
    let_anyone_in(monkeypatch)
    yield
    import ee

    ee.Reset()


def write_run(folder: Path, small_world, short, server, assets: dict[str, str]) -> Path:
    """Write a run of the small world's last days whose sources come from Earth Engine."""
    text = small_world.write_settings(folder).read_text()
    text = text.replace(
        f"first_day = {small_world.layout.first_day}", f"first_day = {short.first_day}"
    )
    for name, place in assets.items():
        text = text.replace(f'{name} = "{small_world.folders[name]}"', f'{name} = "{place}"')
    path = folder / "run.toml"
    path.write_text(text + f'[earthengine]\nproject = "someone"\nurl = "{server.url}"\n')
    return path


def test_the_cube_from_earth_engine_equals_that_from_files(
    small_world, short, alone, server, account, tmp_path
):
    settings = read_settings(write_run(tmp_path, small_world, short, server, ASSETS))
    pipeline.harmonise(settings)
    assert server.most_in_flight <= 20
    check_same_codes(settings.cube, alone[0] / "features.zarr")
    asked = len(server.pixels)
    pipeline.harmonise(settings)
    assert len(server.pixels) == asked


def test_daily_aggregates_give_the_same_cube_and_mix_with_files(
    small_world, short, alone, server, account, tmp_path, caplog
):
    shutil.copytree(alone[0], tmp_path, dirs_exist_ok=True)
    caplog.set_level(logging.INFO)
    aggregates = {"era5_land": "ee://ECMWF/ERA5_LAND/DAILY_AGGR"}
    asked = len(server.pixels)
    settings = read_settings(write_run(tmp_path, small_world, short, server, aggregates))
    pipeline.harmonise(settings)
    # 385 days of five bands, no more than 1,024 at once, and 20 days of soil
    assert len(server.pixels) - asked == 2 + 1
    assert "meteorology: 1 to do, 0 done before" in caplog.text
    assert "static layers: 0 to do" in caplog.text
    check_same_codes(settings.cube, alone[0] / "features.zarr")


def test_a_collection_without_soil_is_no_error_and_plan_and_check_say_so(
    small_world, short, server, account, tmp_path, monkeypatch
):
    asset = "ECMWF/ERA5_LAND/DAILY_AGGR"
    monkeypatch.setattr(server, "catalog", without_soil(server.catalog, asset))
    path = write_run(tmp_path, small_world, short, server, {"era5_land": f"ee://{asset}"})
    done = CliRunner().invoke(app, ["download", str(path)])
    assert "2 requests to Earth Engine" in done.output, done.output
    remote = downloads.engine_sources(read_settings(path))
    assert not remote.lacking("era5_land")  # so that a run goes on without asking
    assert len(remote.lacking("era5_land", USUAL)) == 1  # so that a download asks again
    for command in ("plan", "check"):
        said = CliRunner().invoke(app, [command, str(path)])
        assert said.exit_code == 0, said.output
        assert "no swvl1, stl1: no baseline of ERA5-Land's soil moisture, the air" in said.output


def test_soil_is_not_asked_for_if_the_settings_say_so(small_world, short, server, tmp_path):
    path = write_run(tmp_path, small_world, short, server, {"era5_land": ASSETS["era5_land"]})
    both, weather = [], []
    for found, text in ((both, ""), (weather, "[era5_land]\nsoil = false\n")):
        path.write_text(path.read_text() + text)
        found += downloads.engine_sources(read_settings(path)).wanted("era5_land")
    assert [d.files[0].name for d in both if d not in weather] == [
        "era5_land_soil_hourly_20190214T00_20190305T23.nc"
    ]
    assert all(delivery in both for delivery in weather)


def test_a_plan_counts_what_the_download_then_sends(small_world, short, server, account, tmp_path):
    maps = {name: ASSETS[name] for name in ("mod13a2", "wtd", "bedrock")}
    path = write_run(tmp_path, small_world, short, server, maps)
    planned = {cost.source: cost for cost in costs(downloads.engine_sources(read_settings(path)))}
    assert {name: cost.requests for name, cost in planned.items()} == dict.fromkeys(maps, 1)
    asked, sent = len(server.pixels), server.bytes_sent
    refused = CliRunner().invoke(app, ["plan", str(path), "--max-requests", "2"])
    assert refused.exit_code == 1
    assert "3 requests to Earth Engine are needed, --max-requests allows 2" in refused.output
    plan = CliRunner().invoke(app, ["plan", str(path), "--max-requests", "3"])
    assert plan.exit_code == 0, plan.output
    assert "as if all of it were land" in plan.output and len(server.pixels) == asked
    done = CliRunner().invoke(app, ["download", str(path)])
    total = sum(cost.bytes for cost in planned.values())
    assert f"3 requests to Earth Engine, {total} bytes" in done.output, done.output
    assert 0 < server.bytes_sent - sent - total < 3 * 10_000  # headers that name the bands
    assert sum(cost.requests for cost in costs(downloads.engine_sources(read_settings(path)))) == 0
    again = CliRunner().invoke(app, ["download", str(path)])
    assert "nothing is lacking" in again.output and len(server.pixels) == asked + 3
