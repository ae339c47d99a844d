"""Rasters in geographic coordinates (EPSG:4326), read by window."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from gssm_cube.sources import whole

Bounds = tuple[float, float, float, float]  # west, south, east, north, degrees
LATTICE = 24  # places along each side of a box where a layer's units are looked at


@dataclass(frozen=True)
class Raster:
    """Values of cells and the cells' edges.

    ``values`` (lat, lon) float32, NaN where missing; ``lat_edges`` descend, ``lon_edges`` ascend,
    both in degrees and one longer than the axis.
    """

    values: NDArray[np.float32]
    lat_edges: NDArray[np.float64]
    lon_edges: NDArray[np.float64]

    @property
    def place(self) -> tuple[NDArray[Any], ...]:
        """What says where the cells lie."""
        return self.lat_edges, self.lon_edges


@contextmanager
def open_raster(path: Path | str) -> Iterator[Any]:
    """Open a north-up raster of one band.

    Raises
    ------
    ValueError
        If it is damaged (also where that shows later, in reading), has several bands, or its
        rows do not run from north to south.
    """
    try:
        with rasterio.open(path) as source:
            whole.check_directory(path)
            _check_layout(source, path)
            yield source
    except RasterioError as error:
        raise ValueError(
            f"{path} cannot be read ({error}): it is truncated, or a part of it is missing; "
            "download it again"
        ) from error


def read_geotiff(path: Path | str, bounds: Bounds, missing: float | None = None) -> Raster:
    """Read the cells of a GeoTIFF that touch ``bounds``.

    Parameters
    ----------
    path : Path, or str of GDAL's virtual file systems
    bounds : tuple, degrees
        Longitudes -180..180; the file's own may run to 360.
    missing : float, optional
        A value that is missing whatever the file declares, besides what it does declare.

    Raises
    ------
    ValueError
        If the file is damaged, not north-up EPSG:4326, or does not reach the bounds at all.
    """
    with open_raster(path) as source:
        parts = [
            (turn, rows, cols, read_window(source, rows, cols, missing))
            for turn, rows, cols in _regions(source, path, bounds)
        ]
        transform = source.transform
    first_turn, rows, first, _ = parts[0]
    width = sum(len(cols) for _, _, cols, _ in parts)
    west = transform.c - first_turn
    lon_edges = _edges(west, transform.a, range(first.start, first.start + width))
    values = np.concatenate([values for *_, values in parts], axis=1)
    return Raster(values, _edges(transform.f, transform.e, rows), lon_edges)


def read_window(
    source: Any, rows: range, cols: range, missing: float | None = None
) -> NDArray[np.float32]:
    """Read rows and columns of an open raster; NaN where the value is one of the missing."""
    part = source.read(1, window=Window(cols.start, rows.start, len(cols), len(rows)))
    values = part.astype("float32")
    for mark in (source.nodata, missing):
        if mark is not None and not np.isnan(mark):
            values[part == mark] = np.nan
    return values


def check_geotiff(path: Path | str, bounds: Bounds) -> None:
    """Raise unless a file is whole, north-up EPSG:4326 and reaches ``bounds``, by its header."""
    with open_raster(path) as source:
        whole.check_geotiff(source, path)
        _regions(source, path, bounds)


def sample_lattice(
    source: Any, places: list[tuple[float, float]], missing: float | None = None
) -> NDArray[np.float64]:
    """Return the valid values among places (x, y) of an open raster."""
    values = np.array([value[0] for value in source.sample(places, masked=False)], "float64")
    box = source.bounds
    x, y = np.array(places, "float64").reshape(-1, 2).T
    valid = (x > box.left) & (x < box.right) & (y > box.bottom) & (y < box.top) & ~np.isnan(values)
    for mark in (source.nodata, missing):
        if mark is not None:
            valid &= values != mark
    return values[valid]


def lattice(bounds: Bounds, count: int = LATTICE) -> list[tuple[float, float]]:
    """Return places (lon, lat) spread evenly over a box."""
    west, south, east, north = bounds
    steps = (np.arange(count) + 0.5) / count
    lons, lats = west + (east - west) * steps, north - (north - south) * steps
    return [(float(lon), float(lat)) for lat in lats for lon in lons]


def cells_within(edge: float, step: float, first: float, last: float, size: int) -> range:
    """Cells of an axis that touch the stretch between two places; a 1e-6 of a cell is rounding."""
    start = int(np.floor((first - edge) / step + 1e-6))
    stop = int(np.ceil((last - edge) / step - 1e-6))
    return range(max(start, 0), min(stop, size))


def _check_layout(source: Any, path: Path | str) -> None:
    """Raise unless a raster has one band and rows from north to south."""
    if source.count != 1:
        raise ValueError(f"{path} holds {source.count} bands, expected one; split it")
    transform = source.transform
    if transform.b or transform.d or transform.e >= 0:
        raise ValueError(f"{path}: rows do not run from north to south; rewrite it north-up")


def _regions(source: Any, path: Path | str, bounds: Bounds) -> list[tuple[int, range, range]]:
    """Return turns (0 or 360 deg), rows and columns within bounds; raise if there are none."""
    if source.crs is None or source.crs.to_epsg() != 4326:
        raise ValueError(
            f"{path}: coordinate system is {source.crs}, expected EPSG:4326; reproject the file"
        )
    transform, (height, width) = source.transform, source.shape
    rows = cells_within(transform.f, transform.e, bounds[3], bounds[1], height)
    turns = (0, 360) if transform.c + width * transform.a > 180 + transform.a else (0,)
    regions = []
    for turn in reversed(turns):  # what lies at 180..360 is the west
        west, east = bounds[0] + turn, bounds[2] + turn
        cols = cells_within(transform.c, transform.a, west, east, width)
        if rows and cols:
            regions.append((turn, rows, cols))
    if not regions:
        raise ValueError(f"{path} does not reach {bounds}: give the file of this region")
    return regions


def _edges(edge: float, step: float, cells: range) -> NDArray[np.float64]:
    """Edges of cells, one more than cells."""
    return np.asarray(edge + step * np.arange(cells.start, cells.stop + 1), dtype="float64")
