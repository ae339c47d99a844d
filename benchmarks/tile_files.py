"""Invented days and composites of h18v04, in each form in which the ingest takes them.

Tiles are whole, 1200 x 1200 pixels, deflated as delivered: HDF-EOS2 fields in one piece at level 5
(as MOD11B2's), HDF-EOS5 fields in chunks. The HDF files are those of the tests' writers.
"""

import sys
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine
from scipy.ndimage import gaussian_filter

from gssm_cube.grid import Layout
from gssm_cube.ingest.inputs import vegetation_starts
from gssm_cube.sources import modis
from gssm_cube.sources.sinusoidal import KILOMETRE, RADIUS

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
import hdfeos_writer
import viirs_writer

WEST, SOUTH = 4.0, 44.0  # of the cube's tile
FIRST, DAYS = date(2018, 1, 1), 16
TILE, SHAPE = "h18v04", (1200, 1200)
CORNER = 4 * 1200, 18 * 1200  # global row and column of the tile
SINUSOIDAL = f"+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R={RADIUS} +units=m +no_defs"
FORMS = (
    "MOD11A1 HDF-EOS2", "MOD11A1 GeoTIFF", "VNP21A1 HDF-EOS5", "VNP21A1 GeoTIFF",
    "MOD13A2 HDF-EOS2", "MOD13A2 GeoTIFF", "VNP13A2 HDF-EOS5",
)  # fmt: skip
OVERPASSES = {"Day": "VNP21A1D", "Night": "VNP21A1N"}
Numbers = NDArray[Any]


def layout_of(tile_size: int, days: int) -> Layout:
    """Return a layout of one tile."""
    side = tile_size / 120
    bounds = (WEST, SOUTH, WEST + side, SOUTH + side)
    return Layout.covering(bounds, FIRST, FIRST + timedelta(days - 1), tile_size)


def place_of(folder: Path, form: str) -> Path:
    """Folder of a form's files."""
    return folder / form.replace(" ", "_")


def clouds(shape: tuple[int, int], seed: int) -> NDArray[np.bool_]:
    """Return two fifths of a plane, in patches."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), 12)
    return field > np.quantile(field, 0.6)


def surface(shape: tuple[int, int], seed: int) -> NDArray[np.uint16]:
    """Return LST numbers of 0.02 K, 0 under clouds."""
    rng = np.random.default_rng(seed)
    kelvin = 285 + 40 * gaussian_filter(rng.normal(size=shape), 8) + rng.normal(0, 0.8, shape)
    return np.where(clouds(shape, seed), 0, np.rint(kelvin / 0.02)).astype("uint16")


def write_files(folder: Path) -> None:
    """Write every form, with the same values in each."""
    days = [FIRST + timedelta(number) for number in range(DAYS)]
    for number, day in enumerate(days):
        flags = np.random.default_rng(number).choice([0, 65, 129], SHAPE, p=[0.9, 0.05, 0.05])
        numbers = {name: surface(SHAPE, 2 * number + len(name)) for name in OVERPASSES}
        write_terra_day(folder, day, numbers, flags.astype("uint8"))
        words = np.where(flags == 0, 0, flags << 8 | 1).astype("uint16")
        write_viirs_day(folder, day, numbers, words)
    for number, start in enumerate(vegetation_starts(layout_of(480, DAYS)).astype(object)):
        write_composite(folder, start, number)


def write_terra_day(
    folder: Path, day: date, numbers: Mapping[str, Numbers], flags: Numbers
) -> None:
    """Write MOD11A1 in both forms."""
    layers = {}
    for overpass, values in numbers.items():
        layers |= {f"LST_{overpass}_1km": values, f"QC_{overpass}": flags}
    path = hdfeos_writer.write_lst(place_of(folder, "MOD11A1 HDF-EOS2"), day, TILE, layers)
    for name, values in layers.items():
        target = place_of(folder, "MOD11A1 GeoTIFF") / f"{path.stem}_{name}.tif"
        write_tif(target, values, 0.02 if name.startswith("LST") else 1.0)


def write_viirs_day(
    folder: Path, day: date, numbers: Mapping[str, Numbers], words: Numbers
) -> None:
    """Write VNP21A1D and VNP21A1N as tiles and as cut-outs."""
    for overpass, values in numbers.items():
        product, target = OVERPASSES[overpass], place_of(folder, "VNP21A1 HDF-EOS5")
        viirs_writer.write_lst(target, product, f"{day:%Y%j}", TILE, values, words)
        for name, layer in (("LST_1KM", values), ("QC", words)):
            stem = f"{product}.002_{name}_doy{day:%Y%j}_aid0001"
            write_tif(place_of(folder, "VNP21A1 GeoTIFF") / f"{stem}.tif", layer)


def write_composite(folder: Path, start: date, seed: int) -> None:
    """Write MOD13A2 in both forms and VNP13A2."""
    rng = np.random.default_rng(seed)
    green = 5000 + 60000 * gaussian_filter(rng.normal(size=SHAPE), 8)
    ndvi, evi = ((share * green + rng.normal(0, 100, SHAPE)).astype("int16") for share in (1, 0.6))
    cloudy = clouds(SHAPE, seed)
    rank = cloudy.astype("int8")
    day = np.int16(start.timetuple().tm_yday) + rng.integers(0, 3, SHAPE, dtype="int16")
    fields = {
        "NDVI": ndvi,
        "EVI": evi,
        "pixel reliability": rank,
        "composite day of the year": day,
    }
    place = {"row": CORNER[0], "col": CORNER[1]}
    target = place_of(folder, "MOD13A2 HDF-EOS2")
    path = hdfeos_writer.write_vegetation(target, start, TILE, fields, **place)
    for name, values in zip(modis.VEGETATION_LAYERS, fields.values(), strict=True):
        scale = 0.0001 if values is ndvi or values is evi else 1.0
        write_tif(place_of(folder, "MOD13A2 GeoTIFF") / f"{path.stem}_{name}.tif", values, scale)
    layers = ndvi, evi, np.where(cloudy, 3, 0), day
    target = place_of(folder, "VNP13A2 HDF-EOS5")
    viirs_writer.write_vegetation(target, f"{start:%Y%j}", TILE, *layers)


def write_tif(path: Path, values: Numbers, scale: float = 1.0) -> None:
    """Write a layer as a tiled, deflated GeoTIFF."""
    path.parent.mkdir(exist_ok=True)
    left, top = (CORNER[1] * KILOMETRE.pixel - np.pi * RADIUS,
                 np.pi * RADIUS / 2 - CORNER[0] * KILOMETRE.pixel)  # fmt: skip
    transform = Affine(KILOMETRE.pixel, 0, left, 0, -KILOMETRE.pixel, top)
    profile = dict(driver="GTiff", dtype=values.dtype, count=1, crs=SINUSOIDAL, transform=transform)
    profile |= dict(height=1200, width=1200, tiled=True, compress="deflate", predictor=2)
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(values, 1)
        raster.scales = (scale,)
