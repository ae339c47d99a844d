"""The cube from Earth Engine is the cube from files: the small world, served both ways."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from ee_server import EarthEngineServer
from ee_world import ASSETS, catalog_of
from google.auth.credentials import AnonymousCredentials

from gssm_cube import pipeline
from gssm_cube.settings import read_settings


@pytest.fixture(scope="module")
def server(small_world):
    with EarthEngineServer(catalog_of(small_world.raw, small_world.layout)) as running:
        yield running


@pytest.fixture
def account(server, monkeypatch):
    """Let this process in, without the list of deprecated assets that ee fetches from afar."""
    monkeypatch.setattr("ee.deprecation._FetchDataCatalogStac", dict)
    monkeypatch.setattr("ee.data.get_persistent_credentials", AnonymousCredentials)
    yield
    import ee

    ee.Reset()


def write_run(folder: Path, small_world, short, server, **assets: str) -> Path:
    """Write a run of the small world's last days whose sources come from Earth Engine."""
    text = small_world.write_settings(folder).read_text()
    text = text.replace(
        f"first_day = {small_world.layout.first_day}", f"first_day = {short.first_day}"
    )
    for name, place in (ASSETS | assets).items():
        text = text.replace(f'{name} = "{small_world.folders[name]}"', f'{name} = "{place}"')
    path = folder / "run.toml"
    path.write_text(text + f'[earthengine]\nproject = "someone"\nurl = "{server.url}"\n')
    return path


def test_the_cube_from_earth_engine_equals_that_from_files(
    small_world, short, alone, server, account, tmp_path
):
    settings = read_settings(write_run(tmp_path, small_world, short, server))
    pipeline.harmonise(settings)
    assert server.most_in_flight <= 20
    ours, theirs = (
        xr.open_datatree(p, engine="zarr", mask_and_scale=False)
        for p in (settings.cube, alone[0] / "features.zarr")
    )
    for group in ("static", "daily", "composite", "meteo", "climatology"):
        for name, found in ours[group].data_vars.items():
            expected = theirs[group][name]
            np.testing.assert_array_equal(found.values, expected.values, err_msg=f"{group}/{name}")
