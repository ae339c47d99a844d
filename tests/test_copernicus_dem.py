"""Terrain from Copernicus DEM on a loopback STAC catalog, beside that from MERIT Hydro."""

from datetime import date

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine
from rasterio.windows import Window, from_bounds
from web_server import WebServer
from web_world import item_of, write_static_catalog

from gssm_cube.download.orders import ARC_SECONDS_3, folder_of
from gssm_cube.download.web_downloads import complete_from_web
from gssm_cube.grid import Layout
from gssm_cube.ingest.padded import Padded
from gssm_cube.ingest.static import terrain_means
from gssm_cube.settings import Era5Land
from gssm_cube.sources import merit_hydro
from gssm_cube.sources.copernicus_dem import corners_of, read_heights, tiles_of
from gssm_cube.sources.tries import Refused
from gssm_cube.sources.web import Web
from gssm_cube.sources.web_tiff import WebTiffs
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
        era5_land = Era5Land()

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
        # The invented world lets water end in depressions, which are filled here: so rivers differ,
        # and little else.
        index, its_index = (layers["ti"][core][land[core]] for layers in (found, expected))
        gap = np.abs(index - its_index)
        assert np.median(gap) < 0.02
        assert gap.mean() < 0.5


def test_a_parallel_belongs_to_the_tile_below_and_a_meridian_to_that_in_the_east():
    # Centres of rows lie at 90 - (row + 1) / 1200, of columns at col / 1200 - 180.
    row, col = 47 * 1200 - 1, 176 * 1200
    for rows, cols, corner in (
        (row, col, (42, -4)), (row - 1, col, (43, -4)), (row, col - 1, (42, -5)),
    ):  # fmt: skip
        box = range(rows, rows + 1), range(cols, cols + 1)
        assert corners_of(ARC_SECONDS_3, box) == [corner]
    assert len(corners_of(ARC_SECONDS_3, (range(row, row + 1201), range(col, col + 1201)))) == 4


def test_beyond_50_degrees_a_cell_takes_the_wider_one_that_holds_its_centre(server):
    values = np.tile(np.arange(1.0, 801.0), (1200, 1))
    values[0, :] = 0.0  # sea on the northernmost row
    write_dem(server.folder / "a.tif", 52, -4, values, wide=1.5)
    tiffs, tiles = WebTiffs(Web()), {(52, -4): f"{server.url}/a.tif"}
    box = range(37 * 1200 - 1, 37 * 1200 + 1), range(176 * 1200, 176 * 1200 + 6)
    found = read_heights(tiffs, tiles, ARC_SECONDS_3, box)
    # Wide cells end at 0.75, 2.25, 3.75, ... cells of 3 arcsec; centres are at 0, 1, 2, ...
    np.testing.assert_array_equal(found[1], [1, 2, 2, 3, 4, 4])
    assert np.isnan(found[0]).all()
    sea = read_heights(tiffs, {}, ARC_SECONDS_3, box)
    assert np.isnan(sea).all()


def test_a_catalog_without_tiles_of_3_arcsec_is_refused(server, tmp_path):
    glo_30 = "Copernicus_DSM_COG_10_N43_00_W004_00_DEM"

    class Run:
        class sources:  # noqa: N801
            addresses = {"merit_hydro": catalog(server, [glo_30])}

        layout = Layout.covering((-4, 43.2, -3.6, 43.6), date(2019, 1, 1), date(2019, 1, 1), 48)
        folder = tmp_path / "run"
        web = WebSettings()
        era5_land = Era5Land()

    with pytest.raises(Refused, match="has no tile of GLO-90 within"):
        complete_from_web(Run, pause=lambda seconds: None)
    assert tiles_of([{"id": glo_30, "assets": {}}]) == {}
