"""The cube from open archives is the cube from files: the small world, served both ways."""

import shutil
from pathlib import Path

import pytest
import web_world
from cube_codes import check_same_codes
from web_server import API, SIGNER, TOKEN, Page, WebServer

from gssm_cube import pipeline
from gssm_cube.costs.request_costs import costs
from gssm_cube.download import orders
from gssm_cube.download.web_downloads import archive_sources
from gssm_cube.ingest.inputs import vegetation_starts
from gssm_cube.settings import read_settings
from gssm_cube.sources import modis


@pytest.fixture(scope="module")
def server(small_world, short, tmp_path_factory):
    """Serve the small world's last days in the forms of open archives."""
    served = tmp_path_factory.mktemp("served")
    raw = small_world.folders
    with WebServer(served) as running:
        (tile,) = orders.modis_boxes(short)
        web_world.write_store(raw["era5_land"], served / web_world.STORE, (1440, 10, 20))
        about = raw["mod11a1"], served / "cogs", served
        days = short.time.astype(object).tolist()
        lst = web_world.write_cogs(*about, "MOD11A1", days, tile, running.url)
        running.pages["modis-11A1-061"] = Page(lst)
        held = modis.find_files(raw["mod13a2"], "MOD13A2", modis.VEGETATION_LAYERS)
        starts = [day for day in vegetation_starts(short).astype(object) if day in held]
        about = raw["mod13a2"], served / "open", served
        green = web_world.write_cogs(*about, "MOD13A1", starts, tile, running.url)
        web_world.write_static_catalog(served, "modis-13A1-061", green)
        web_world.write_soil(raw["soilgrids"], served / "soilgrids")
        shutil.copytree(raw["merit_hydro"], served / "merit")
        web_world.write_water_table(raw["wtd"] / "wtd_annualmean.nc", served / "wtd.tif")
        shutil.copy(raw["bedrock"] / "BDTICM_M_1km_ll.tif", served)
        yield running


def addresses_of(server) -> dict[str, str]:
    """What the settings say of the sources."""
    return {
        "era5_land": f"{server.url}/{web_world.STORE}",
        "mod11a1": f"stac+{server.url}{API}/collections/modis-11A1-061",
        "mod13a2": f"stac+{server.url}/modis-13A1-061/collection.json",
        "soilgrids": f"{server.url}/soilgrids",
        "merit_hydro": f"{server.url}/merit/{{tile}}_{{layer}}.tif",
        "wtd": f"{server.url}/wtd.tif",
        "bedrock": f"{server.url}/BDTICM_M_1km_ll.tif",
    }


def write_run(folder: Path, small_world, short, server, names=None) -> Path:
    """Write a run of the small world's last days whose sources come from open archives."""
    text = small_world.write_settings(folder).read_text()
    text = text.replace(
        f"first_day = {small_world.layout.first_day}", f"first_day = {short.first_day}"
    )
    for name, place in addresses_of(server).items():
        if names is None or name in names:
            text = text.replace(f'{name} = "{small_world.folders[name]}"', f'{name} = "{place}"')
    path = folder / "run.toml"
    path.write_text(text + f'[web]\nsigner = "{server.url}{SIGNER}"\n')
    return path


def test_the_cube_from_open_archives_equals_that_from_files(
    small_world, short, alone, server, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("EARTHDATAHUB_TOKEN", TOKEN)
    settings = read_settings(write_run(tmp_path, small_world, short, server))
    planned = {cost.source: cost.requests for cost in costs(archive_sources(settings))}
    pipeline.harmonise(settings)
    assert server.most_in_flight <= 8
    check_same_codes(settings.cube, alone[0] / "features.zarr")
    asked = len(server.asked)
    pipeline.harmonise(settings)
    assert len(server.asked) == asked
    assert planned["mod11a1"] == 20 * 4 * 2
