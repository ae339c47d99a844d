"""Terrain from Copernicus DEM on a loopback STAC catalog, beside that from MERIT Hydro."""

from datetime import date

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine
from rasterio.windows import Window, from_bounds
from web_server import WebServer
from web_world import item_of, write_static_catalog

from gssm_cube.ingest.padded import Padded
from gssm_cube.ingest.static import terrain_means
from gssm_cube.orders import folder_of
from gssm_cube.sources import merit_hydro
from gssm_cube.web_downloads import complete_from_web
from gssm_cube.web_settings import Web as WebSettings

NAME = "Copernicus_DSM_COG_30_N{lat}_00_W{lon:03d}_00_DEM"


def write_dem(path, south, west, values, wide=1.0):
    """Write a tile of 1 degree; its cells are so many times 3 arcsec wide."""
    high, across = 1 / 1200, wide / 1200
    transform = Affine(across, 0, west - across / 2, 0, -high, south + 1 + high / 2)
    with rasterio.open(
        path, "w", driver="GTiff", height=values.shape[0], width=values.shape[1], count=1,
        dtype="float32", crs="EPSG:4326", transform=transform, compress="deflate", tiled=True,
        blockxsize=256, blockysize=256,
    ) as raster:  # fmt: skip
        raster.write(values.astype("float32"), 1)


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    with WebServer(folder) as running:
        yield running


def catalog(server, names):
    """Write the catalog of some tiles; return its address."""
    items = [
        item_of(name, date(2021, 4, 22), {"data": f"{server.url}/{name}.tif"}) for name in names
    ]
    write_static_catalog(server.folder, "dem", items)
    return f"stac+{server.url}/dem/collection.json"


def write_world(server, small_world):
    """Write the small world's heights as Copernicus DEM has them: the sea is 0."""
    (path,) = small_world.folders["merit_hydro"].glob("*_elv.tif")
    names = []
    with rasterio.open(path) as source:
        for lat, west in ((42, -33), (42, -32), (43, -33), (43, -32)):
            half = 0.5 / 1200
            box = (west - half, lat + half, west + 1 - half, lat + 1 + half)
            window = from_bounds(*box, source.transform).round_offsets().round_lengths()
            values = source.read(1, window=Window(window.col_off, window.row_off, 1200, 1200))
            names.append(NAME.format(lat=lat, lon=-west))
            write_dem(
                server.folder / f"{names[-1]}.tif", lat, west, np.where(values == -9999, 0, values)
            )
    return catalog(server, names)


def test_terrain_from_heights_is_in_the_form_of_merit_hydro(small_world, server, tmp_path):
    class Run:
        class sources:  # noqa: N801
            addresses = {"merit_hydro": write_world(server, small_world)}

        layout = small_world.layout
        folder = tmp_path / "run"
        web = WebSettings()

    complete_from_web(Run, pause=lambda seconds: None)
    address = Run.sources.addresses["merit_hydro"]
    folder = folder_of(tmp_path / "run" / "web", "merit_hydro", address, Run.layout)
    ours = merit_hydro.find_files(folder)
    theirs = merit_hydro.find_files(small_world.folders["merit_hydro"])
    for tile in small_world.layout.tiles():
        padded = Padded(small_world.layout, tile)
        (found, land, _), (expected, its_land, _) = (
            terrain_means(files, padded) for files in (ours, theirs)
        )
        np.testing.assert_array_equal(land, its_land)
        core = padded.core
        np.testing.assert_array_equal(found["elevation"][core], expected["elevation"][core])
        # Directions are found anew, and rivers lack what comes from beyond the rim.
        gap = (found["ti"] - expected["ti"])[core][land[core]]
        print(
            tile,
            np.abs(gap).max(),
            np.abs(gap).mean(),
            np.corrcoef(found["ti"][core][land[core]], expected["ti"][core][land[core]])[0, 1],
        )
        assert 0
