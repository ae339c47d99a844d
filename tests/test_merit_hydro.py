"""MERIT Hydro's tiles: names, the shift by half a cell, borders, the ocean and 180 degrees."""

import tarfile

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine
from rasterio.windows import Window

from gssm_cube.harmonise.regrid import area_mean
from gssm_cube.ingest.inputs import file_paths
from gssm_cube.sources import merit_hydro

CELL = 1 / 1200


def write_tile(folder, south, west, layer, first, values):
    """Write a 5 deg tile with some cells set; `first` is the centre (lat, lon) of the first."""
    values = np.asarray(values, dtype="float32")
    # Rows of the format: the first centre lies a cell south of the tile's north edge.
    row = round((south + 5 - CELL - first[0]) / CELL)
    col = round((first[1] - west) / CELL)
    transform = Affine(CELL, 0, west - CELL / 2, 0, -CELL, south + 5 - CELL / 2)
    profile = dict(driver="GTiff", count=1, dtype="float32", height=6000, width=6000)
    profile |= dict(crs="EPSG:4326", transform=transform, nodata=-9999, tiled=True, sparse_ok=True)
    path = folder / f"{merit_hydro.tile_name(south, west)}_{layer}.tif"
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(values, 1, window=Window(col, row, values.shape[1], values.shape[0]))
    return path


@pytest.mark.parametrize(
    ("corner", "name"),
    [
        ((40, -35), "n40w035"),
        ((0, 0), "n00e000"),
        ((-5, 5), "s05e005"),
        ((-60, -180), "s60w180"),
        ((85, 175), "n85e175"),
        ((10, 180), "n10w180"),  # beyond 180 E the world begins again
    ],
)
def test_tiles_are_named_by_their_south_west_corner(corner, name):
    assert merit_hydro.tile_name(*corner) == name


@pytest.fixture
def two_tiles(tmp_path):
    """Cells round 42 N, 30 W, numbered 1..; the first three columns lie in the western tile."""
    cells = np.arange(1, 19).reshape(3, 6)
    north = 42 + CELL
    paths = {
        "n40w035": write_tile(tmp_path, 40, -35, "elv", (north, -30 - 3 * CELL), cells[:, :3]),
        "n40w030": write_tile(tmp_path, 40, -30, "elv", (north, -30), cells[:, 3:]),
    }
    return {tile: {"elv": path} for tile, path in paths.items()}


BOUNDS = (-30 - 2 * CELL, 42.0, -30 + CELL, 42 + CELL)


def test_cells_cut_by_the_bounds_are_read_across_two_tiles(two_tiles):
    raster = merit_hydro.read_layer(two_tiles, "elv", BOUNDS)
    # Bounds run through centres: columns -2..1 and rows 1, 0 about 42 N, 30 W.
    np.testing.assert_array_equal(raster.values, [[2, 3, 4, 5], [8, 9, 10, 11]])
    np.testing.assert_allclose(raster.lat_edges, 42 + CELL * np.array([1.5, 0.5, -0.5]))
    np.testing.assert_allclose(
        raster.lon_edges, -30 + CELL * np.array([-2.5, -1.5, -0.5, 0.5, 1.5])
    )


def test_where_there_is_no_tile_there_is_ocean(two_tiles):
    del two_tiles["n40w030"]
    raster = merit_hydro.read_layer(two_tiles, "elv", BOUNDS)
    np.testing.assert_array_equal(raster.values, [[2, 3, np.nan, np.nan], [8, 9, np.nan, np.nan]])
    assert np.isnan(merit_hydro.read_layer({}, "elv", BOUNDS).values).all()


def test_the_row_centred_on_a_border_belongs_to_the_northern_tile(tmp_path):
    files = {
        "n45w030": {"elv": write_tile(tmp_path, 45, -30, "elv", (45 + CELL, -29), [[1.0], [2.0]])},
        "n40w030": {"elv": write_tile(tmp_path, 40, -30, "elv", (45 - CELL, -29), [[3.0]])},
    }
    around = (-29.0, 45 - CELL, -29.0, 45 + CELL)
    assert merit_hydro.read_layer(files, "elv", around).values.ravel().tolist() == [1, 2, 3]
    # A box that ends on the border leaves the southern tile alone.
    upper = merit_hydro.read_layer(files, "elv", (-29.0, 45.0, -29.0, 45 + CELL))
    assert upper.values.ravel().tolist() == [1, 2]


@pytest.mark.parametrize(("south", "east"), [(10, 180), (-15, 180), (-15, 0)])
def test_the_last_pixel_before_a_meridian_takes_half_a_cell_from_the_tile_beyond(
    tmp_path, south, east
):
    ramp = np.tile(np.arange(10.0), (12, 1))
    north = south + 1 + CELL
    here = write_tile(tmp_path, south, east - 5, "elv", (north, east - 10 * CELL), ramp)
    west = -180 if east == 180 else east
    beyond = write_tile(tmp_path, south, west, "elv", (north, west), np.full((12, 1), 10.0))
    files = {path.name[:7]: {"elv": path} for path in (here, beyond)}
    edges = [south + 1, south + 1 - 1 / 120], [east - 1 / 120, east]
    bounds = (edges[1][0], edges[0][1], edges[1][1], edges[0][0])
    raster = merit_hydro.read_layer(files, "elv", bounds)
    mean, share = area_mean(raster.values, raster.lat_edges, raster.lon_edges, *edges)
    # 11 columns 0..10, the first and the last by half: their mean is the middle one.
    np.testing.assert_allclose(mean, 5.0, atol=1e-6)
    np.testing.assert_allclose(share, 1.0, atol=1e-9)


def test_the_north_pole_has_no_cell_of_its_own(tmp_path):
    path = write_tile(tmp_path, 85, 0, "elv", (90 - CELL, 1.0), [[4.0]])
    raster = merit_hydro.read_layer({"n85e000": {"elv": path}}, "elv", (1.0, 90 - CELL, 1.0, 90.0))
    np.testing.assert_array_equal(raster.values, [[np.nan], [4.0]])


def test_files_are_found_by_tile_and_layer_in_any_folder(tmp_path):
    for layer in merit_hydro.LAYERS:
        (tmp_path / layer).mkdir()
        (tmp_path / layer / f"s05e010_{layer}.tif").touch()
    files = merit_hydro.find_files(tmp_path)
    assert {layer: path.name for layer, path in files["s05e010"].items()} == {
        "elv": "s05e010_elv.tif",
        "upa": "s05e010_upa.tif",
        "dir": "s05e010_dir.tif",
    }


def test_a_tile_without_one_of_its_layers_is_refused_by_name(tmp_path):
    (tmp_path / "n40w035_elv.tif").touch()
    (tmp_path / "n40w035_upa.tif").touch()
    with pytest.raises(FileNotFoundError, match=r"lacks n40w035_dir\.tif"):
        merit_hydro.find_files(tmp_path)


def test_a_folder_without_tiles_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no MERIT Hydro tile \(such as n40w035_elv"):
        merit_hydro.find_files(tmp_path)


def test_the_share_of_land_is_sampled_from_the_tiles_that_there_are(tmp_path):
    # Land on the western half of a box of 8 x 8 cells, whose edges lie between centres.
    path = write_tile(tmp_path, 40, -35, "elv", (42.0, -31.0), np.ones((8, 4)))
    files = {"n40w035": {"elv": path}}
    half = CELL / 2
    bounds = (-31 - half, 42 - 8 * CELL + half, -31 + 8 * CELL - half, 42 + half)
    assert merit_hydro.land_share(files, bounds, samples=8) == 0.5
    assert merit_hydro.land_share({}, bounds, samples=8) == 0.0
    assert merit_hydro.reaches(files, bounds) and not merit_hydro.reaches({}, bounds)
    assert not merit_hydro.reaches(files, (-29.0, 42.0, -28.0, 43.0))


# ---- packages ---------------------------------------------------------------------------------


def pack(archive, *members):
    """Write a package of (name, file or link target)."""
    with tarfile.open(archive, "w") as package:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                package.addfile(entry)
            else:
                entry.size = content.stat().st_size
                with content.open("rb") as file:
                    package.addfile(entry, file)
    return archive


@pytest.fixture
def delivered(tmp_path):
    """Packages ``elv_n30w060.tar`` and so on, each with a folder of one tile."""
    (tmp_path / "loose").mkdir()
    (tmp_path / "merit").mkdir()
    for number, layer in enumerate(merit_hydro.LAYERS, 1):
        cells = number * np.arange(1.0, 7.0).reshape(2, 3)
        tile = write_tile(tmp_path / "loose", 40, -35, layer, (42.0, -31.0), cells)
        name = f"{layer}_n30w060/{tile.name}"
        pack(tmp_path / "merit" / f"{layer}_n30w060.tar", (name, tile))
    return tmp_path


TOP_LEFT = (-31 - CELL / 4, 42 - CELL / 4, -31 + CELL / 4, 42 + CELL / 4)


def test_packages_are_read_where_they_lie(delivered):
    files = merit_hydro.find_files(delivered / "merit")
    assert list(files) == ["n40w035"] and set(files["n40w035"]) == set(merit_hydro.LAYERS)
    before = sorted(delivered.rglob("*"))
    bounds = (-31 - CELL / 4, 42 - 1.25 * CELL, -31 + 2.25 * CELL, 42 + CELL / 4)
    for number, layer in enumerate(merit_hydro.LAYERS, 1):
        values = merit_hydro.read_layer(files, layer, bounds).values
        np.testing.assert_array_equal(values, number * np.arange(1.0, 7.0).reshape(2, 3))
    assert merit_hydro.land_share(files, bounds, samples=4) == 1.0
    assert sorted(delivered.rglob("*")) == before


def test_unpacked_files_go_before_their_package(delivered):
    folder = delivered / "merit" / "elv_n30w060"
    folder.mkdir()
    tile = write_tile(folder, 40, -35, "elv", (42.0, -31.0), [[99.0]])
    files = merit_hydro.find_files(delivered / "merit")
    assert files["n40w035"]["elv"] == tile
    assert merit_hydro.read_layer(files, "elv", TOP_LEFT).values.tolist() == [[99.0]]
    assert isinstance(files["n40w035"]["dir"], merit_hydro.Member)


def test_a_tile_that_is_there_twice_is_refused(delivered):
    again = delivered / "loose" / "again"
    again.mkdir()
    write_tile(again, 40, -35, "elv", (42.0, -31.0), [[1.0]])
    with pytest.raises(ValueError, match=r"n40w035_elv\.tif is there twice, as .*; keep one"):
        merit_hydro.find_files(delivered / "loose")


@pytest.mark.parametrize("name", ["/n40w035_elv.tif", "elv/../../n40w035_elv.tif", "../readme"])
def test_packages_that_lead_out_of_themselves_are_refused(delivered, name):
    tile = delivered / "loose" / "n40w035_elv.tif"
    pack(delivered / "merit" / "bad.tar", (name, tile))
    with pytest.raises(ValueError, match=r"bad\.tar holds '.*', expected paths within"):
        merit_hydro.find_files(delivered / "merit")


def test_links_in_packages_are_refused(delivered):
    pack(delivered / "merit" / "bad.tar", ("elv/n40w040_elv.tif", "/etc/hostname"))
    with pytest.raises(ValueError, match=r"bad\.tar: elv/n40w040_elv\.tif is a link"):
        merit_hydro.find_files(delivered / "merit")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_package_cut_short_is_refused(delivered, share):
    archive = delivered / "merit" / "upa_n30w060.tar"
    content = archive.read_bytes()
    end = 512 + (delivered / "loose" / "n40w035_upa.tif").stat().st_size
    archive.write_bytes(content[: int(share * end)])
    with pytest.raises(ValueError, match=r"upa_n30w060\.tar is not a complete tar file"):
        merit_hydro.find_files(delivered / "merit")


def test_a_layer_that_no_package_holds_is_named(delivered):
    (delivered / "merit" / "dir_n30w060.tar").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks n40w035_dir\.tif"):
        merit_hydro.find_files(delivered / "merit")


def test_a_package_counts_once_in_what_is_read(delivered):
    files = merit_hydro.find_files(delivered / "merit")
    archives = {f"{layer}_n30w060.tar" for layer in merit_hydro.LAYERS}
    assert {path.name for path in file_paths(files)} == archives
