"""The cube from Earth Engine is the cube from files: the small world, served both ways."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from ee_server import EarthEngineServer, let_anyone_in
from ee_world import ASSETS, catalog_of

from gssm_cube import pipeline
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


def codes_of(store: Path) -> dict[str, np.ndarray]:
    """All arrays of a cube as stored, by group and name."""
    root = zarr.open_group(store, mode="r")
    arrays = (
        member for member in root.members(max_depth=None) if isinstance(member[1], zarr.Array)
    )
    return {name: array[:] for name, array in arrays}


def test_the_cube_from_earth_engine_equals_that_from_files(
    small_world, short, alone, server, account, tmp_path
):
    settings = read_settings(write_run(tmp_path, small_world, short, server))
    pipeline.harmonise(settings)
    assert server.most_in_flight <= 20
    assert codes_of(settings.cube).keys() == codes_of(alone[0] / "features.zarr").keys()
    for name, expected in codes_of(alone[0] / "features.zarr").items():
        np.testing.assert_array_equal(codes_of(settings.cube)[name], expected, err_msg=name)
    asked = len(server.pixels)
    pipeline.harmonise(settings)
    assert len(server.pixels) == asked
