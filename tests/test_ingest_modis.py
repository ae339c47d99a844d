"""MODIS tiles on their way into the scratch: values, seams, and what is absent."""

import logging
from datetime import date, timedelta

import numpy as np
import pyproj
import pytest
from hdfeos_writer import write_lst, write_vegetation

from gssm_cube import blocks
from gssm_cube.grid import Layout
from gssm_cube.ingest import scratch, sensors
from gssm_cube.ingest.inputs import modis_tiles, vegetation_starts
from gssm_cube.sources import modis
from gssm_cube.storage.stores import array_of, open_group

SINUSOIDAL = "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"
LEFT, TOP, PIXEL = -20015109.354, 10007554.677, 926.62543305
FIRST = date(2019, 1, 1)
# Two tiles of 48 pixels round 47.1 N, where tiles h18 and h19 meet at 14.7 E.
LAYOUT = Layout.covering((14.41, 47.01, 15.19, 47.39), FIRST, FIRST + timedelta(2), 48)
ROWS, SEAM = range(5080, 5190), 22800


def test_only_tiles_that_the_layout_touches_are_wanted():
    assert modis_tiles(LAYOUT) == {"h18v04", "h19v04"}


def pixel_of(lat, lon):
    """Global sinusoidal row and column by PROJ."""
    x, y = pyproj.Proj(SINUSOIDAL)(*np.meshgrid(lon, lat))
    return (np.floor(n / PIXEL).astype(int) for n in (TOP - y, x - LEFT))


def numbers_of(row, col):
    """Digital numbers that tell where a pixel lies."""
    return 8000 + 300 * (row - ROWS.start) + (col - SEAM + 100)


def tile_numbers(cols):
    return np.asarray(numbers_of(np.array(ROWS)[:, None], np.array(cols)[None]))


TILES = {"h18v04": range(SEAM - 100, SEAM), "h19v04": range(SEAM, SEAM + 100)}


def write_day(folder, day, tiles, product="MOD11A1"):
    for tile in tiles:
        numbers = tile_numbers(TILES[tile]).astype("uint16")
        clear = np.zeros(numbers.shape, "uint8")
        layers = dict(zip(modis.LST_LAYERS, (numbers, clear, numbers - 400, clear), strict=True))
        place = {"row": ROWS.start, "col": TILES[tile].start, "product": product}
        write_lst(folder, day, tile, layers, **place)


@pytest.mark.parametrize("product", ["MOD11A1", "MYD11A1"])
def test_tiles_of_each_day_come_through_the_seam_and_absent_ones_are_counted(
    tmp_path, caplog, product
):
    write_day(tmp_path, FIRST, ["h18v04", "h19v04"], product)
    write_day(tmp_path, FIRST + timedelta(1), ["h19v04"], product)
    files = modis.find_files(tmp_path, product, modis.LST_LAYERS)  # no third day
    scratch.create_scratch(tmp_path / "s", LAYOUT)
    with caplog.at_level(logging.WARNING):
        facts = scratch.LstDays(tmp_path / "s", sensors.ModisLst(files), LAYOUT, "key")(str(FIRST))
    assert facts == {"days": 3, "absent_tiles": 1}
    assert blocks.read_marker(tmp_path / "s", "lst", str(FIRST))["absent_tiles"] == 1
    assert "absent on single days are left missing: 2019-01-02 h18v04" in caplog.text

    row, col = pixel_of(LAYOUT.lat, LAYOUT.lon)
    west = col < SEAM
    assert 0.2 < west.mean() < 0.8
    numbers = numbers_of(row, col)
    root = open_group(tmp_path / "s")
    for name, less in (("lst_day", 0), ("lst_night", 400)):
        stored = np.asarray(array_of(root, name)[:])
        expected = numbers - less
        expected[expected < 7500] = 0
        np.testing.assert_array_equal(stored[0], expected)
        np.testing.assert_array_equal(stored[1], np.where(west, 0, expected))
        np.testing.assert_array_equal(stored[2], 0)


@pytest.mark.parametrize(("product", "size"), [("MOD13A2", 1), ("MYD13A1", 2)])
def test_a_composite_of_either_size_lands_on_the_same_pixels(tmp_path, product, size):
    start = vegetation_starts(LAYOUT)[0].item()
    doy = start.timetuple().tm_yday
    for tile, cols in TILES.items():
        ndvi = (tile_numbers(cols) // 8).astype("int16").repeat(size, 0).repeat(size, 1)
        layers = {
            "NDVI": ndvi,
            "EVI": ndvi - 900,
            "pixel reliability": np.ones(ndvi.shape, "int8"),
            "composite day of the year": np.full(ndvi.shape, doy + 2, "int16"),
        }
        place = {"row": size * ROWS.start, "col": size * cols.start}
        write_vegetation(tmp_path, start, tile, layers, product=product, **place)
    files = modis.find_files(tmp_path, product, modis.VEGETATION_LAYERS)
    scratch.create_scratch(tmp_path / "s", LAYOUT)
    facts = scratch.VegetationComposite(
        tmp_path / "s", sensors.ModisVegetation(files), LAYOUT, "key"
    )(str(start))
    assert facts == {"composites": 1, "absent_tiles": 0}
    root = open_group(tmp_path / "s")
    expected = numbers_of(*pixel_of(LAYOUT.lat, LAYOUT.lon)) // 8
    found = {name: np.asarray(array_of(root, name)[0]) for name in sensors.VEGETATION}
    np.testing.assert_array_equal(found["ndvi"], expected)
    np.testing.assert_array_equal(found["evi"], expected - 900)
    np.testing.assert_array_equal(found["reliability"], 1)
    np.testing.assert_array_equal(found["day"], doy + 2)
