"""MODIS 1 km land products, collection 061, as AppEEARS delivers them: a GeoTIFF per layer and day.

Files are cut-outs of the global sinusoidal grid (sphere of radius 6371007.181 m, 43,200 x 21,600
pixels of 926.6 m). MOD11A1: doi:10.5067/MODIS/MOD11A1.061; MOD13A2: doi:10.5067/MODIS/MOD13A2.061.
"""

import re
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow

RADIUS = 6371007.181  # m
PIXEL = 2 * np.pi * RADIUS / 43200  # m
LST_LAYERS = ("LST_Day_1km", "QC_Day", "LST_Night_1km", "QC_Night")
VEGETATION_LAYERS = tuple(
    f"_1_km_16_days_{layer}"
    for layer in ("NDVI", "EVI", "pixel_reliability", "composite_day_of_the_year")
)
# Days on which Terra's instrument gave nothing, as NASA's outage list has them.
OUTAGES = (
    (date(2016, 2, 18), date(2016, 2, 28)),
    (date(2022, 10, 10), date(2022, 10, 19)),
)

Files = dict[date, dict[str, Path]]


@dataclass(frozen=True)
class Cutout:
    """A window of the global sinusoidal grid: values (row, col) and its first row and column."""

    values: NDArray[Any]
    row: int
    col: int

    def at(self, rows: NDArray[np.int32], cols: NDArray[np.int32], fill: int) -> NDArray[Any]:
        """Return the values of global rows (n,) and columns (n, m); ``fill`` outside."""
        i, j = np.broadcast_arrays(rows[:, None] - self.row, cols - self.col)
        height, width = self.values.shape
        inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
        found = self.values[np.where(inside, i, 0), np.where(inside, j, 0)]
        return np.where(inside, found, self.values.dtype.type(fill))


def find_files(folder: Path, product: str, layers: tuple[str, ...]) -> Files:
    """Return the files of a product by day and layer.

    Parameters
    ----------
    folder : Path
        Searched with its sub-folders for ``<product>.061_<layer>_doy<year><day>_*.tif``.
    product : str
        Such as ``"MOD11A1"``.
    layers : tuple of str
        Layers that every day must have.

    Raises
    ------
    FileNotFoundError
        If there is none, or a day lacks a layer.
    ValueError
        If a layer of a day is there twice.
    """
    pattern = re.compile(rf"{product}\.061_(?P<layer>\w+)_doy(?P<year>\d{{4}})(?P<day>\d{{3}})_")
    found: Files = {}
    for path in folder.rglob(f"{product}.061_*.tif"):
        match = pattern.match(path.name)
        if match and match["layer"] in layers:
            day = date(int(match["year"]), 1, 1) + timedelta(days=int(match["day"]) - 1)
            other = found.setdefault(day, {}).setdefault(match["layer"], path)
            if other != path:
                raise ValueError(
                    f"{product} of {day} is there twice: {other} and {path}; leave one area"
                )
    if not found:
        raise FileNotFoundError(f"no {product}.061 GeoTIFF (such as AppEEARS delivers) in {folder}")
    for day, files in sorted(found.items()):
        missing = set(layers) - set(files)
        if missing:
            raise FileNotFoundError(f"{product} of {day} in {folder} lacks {sorted(missing)}")
    return dict(sorted(found.items()))


def in_outage(day: date) -> bool:
    """Whether Terra's instrument is known to have given nothing on a day."""
    return any(first <= day <= last for first, last in OUTAGES)


def read_cutout(path: Path, rows: range | None = None, cols: range | None = None) -> Cutout:
    """Read a file, or its part within global sinusoidal ``rows`` and ``cols``.

    Raises
    ------
    ValueError
        If the file is not on the MODIS 1 km sinusoidal grid.
    """
    # Without the option GDAL lists the folder, thousands of files, at every opening.
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"), rasterio.open(path) as source:
        row, col = _origin(source, path)
        if rows is None or cols is None:
            return Cutout(source.read(1), row, col)
        top, bottom = max(rows.start, row), min(rows.stop, row + source.height)
        left, right = max(cols.start, col), min(cols.stop, col + source.width)
        if bottom <= top or right <= left:
            return Cutout(np.zeros((1, 1), source.dtypes[0]), -1, -1)
        window = RasterWindow(left - col, top - row, right - left, bottom - top)
        return Cutout(source.read(1, window=window), top, left)


def _origin(source: rasterio.DatasetReader, path: Path) -> tuple[int, int]:
    """First global row and column of a file."""
    transform = source.transform
    col = (transform.c + np.pi * RADIUS) / PIXEL
    row = (np.pi * RADIUS / 2 - transform.f) / PIXEL
    off = max(abs(row - round(row)), abs(col - round(col)))
    sizes = (transform.a / PIXEL, -transform.e / PIXEL)
    if max(abs(sizes[0] - 1), abs(sizes[1] - 1)) > 1e-5 or off > 0.01:
        raise ValueError(
            f"{path} is not on the MODIS 1 km sinusoidal grid: pixel {transform.a:.3f} x "
            f"{-transform.e:.3f} m, expected {PIXEL:.3f} m from ({-np.pi * RADIUS:.3f}, "
            f"{np.pi * RADIUS / 2:.3f}); order the native projection"
        )
    return round(row), round(col)


def check_grid(path: Path) -> None:
    """Raise unless a file is on the MODIS 1 km sinusoidal grid; reads its header only."""
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"), rasterio.open(path) as source:
        _origin(source, path)


def usable_lst(numbers: NDArray[np.uint16], quality: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where MOD11A1 is kept.

    Digital numbers within 7500-65535, mandatory QA (bits 1-0) 00, or 01 with an LST error
    (bits 7-6) of at most 2 K. Wan (2013), MODIS LST products user's guide, collection 6.
    """
    mandatory, error = quality & 0b11, quality >> 6
    return (numbers >= 7500) & ((mandatory == 0) | ((mandatory == 1) & (error <= 1)))


def read_lst(files: dict[str, Path], overpass: str, rows: range, cols: range) -> Cutout:
    """Read the ``"Day"`` or ``"Night"`` overpass: digital numbers of 0.02 K, 0 where not usable."""
    lst = read_cutout(files[f"LST_{overpass}_1km"], rows, cols)
    quality = read_cutout(files[f"QC_{overpass}"], rows, cols)
    places = [(part.row, part.col, part.values.shape) for part in (lst, quality)]
    if places[0] != places[1]:
        raise ValueError(f"{files[f'QC_{overpass}']} covers another area than its LST")
    usable = usable_lst(lst.values, quality.values)
    return Cutout(np.where(usable, lst.values, 0).astype("uint16"), lst.row, lst.col)
