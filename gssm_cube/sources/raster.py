"""Rasters in geographic coordinates (EPSG:4326), read by window."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rioxarray
import xarray as xr
from numpy.typing import NDArray

Bounds = tuple[float, float, float, float]  # west, south, east, north, degrees


@dataclass(frozen=True)
class Raster:
    """Values of cells and the cells' edges.

    ``values`` (lat, lon) float32, NaN where missing; ``lat_edges`` descend, ``lon_edges`` ascend,
    both in degrees and one longer than the axis.
    """

    values: NDArray[np.float32]
    lat_edges: NDArray[np.float64]
    lon_edges: NDArray[np.float64]


def read_geotiff(path: Path, bounds: Bounds) -> Raster:
    """Read the cells of a GeoTIFF that touch ``bounds``.

    Raises
    ------
    ValueError
        If the file is not north-up EPSG:4326, or does not reach the bounds at all.
    """
    layer = rioxarray.open_rasterio(path, mask_and_scale=False, cache=False)
    if not isinstance(layer, xr.DataArray):
        raise ValueError(f"{path} holds several rasters, expected one band")
    with layer:
        rows, cols = _region(layer, path, bounds)
        transform = layer.rio.transform()
        part = layer.isel(band=0, y=_slice(rows), x=_slice(cols)).values
        values = part.astype("float32")
        if layer.rio.nodata is not None:
            values[part == layer.rio.nodata] = np.nan
    return Raster(
        values, _edges(transform.f, transform.e, rows), _edges(transform.c, transform.a, cols)
    )


def check_geotiff(path: Path, bounds: Bounds) -> None:
    """Raise unless a file is north-up EPSG:4326 and reaches ``bounds``; reads its header only."""
    layer = rioxarray.open_rasterio(path, cache=False)
    if not isinstance(layer, xr.DataArray):
        raise ValueError(f"{path} holds several rasters, expected one band")
    with layer:
        _region(layer, path, bounds)


def check_geographic(layer: xr.DataArray, path: Path) -> None:
    """Raise unless a raster is north-up EPSG:4326."""
    if layer.rio.crs is None or layer.rio.crs.to_epsg() != 4326:
        raise ValueError(
            f"{path}: coordinate system is {layer.rio.crs}, expected EPSG:4326; reproject the file"
        )
    transform = layer.rio.transform()
    if transform.b or transform.d or transform.e >= 0:
        raise ValueError(f"{path}: rows do not run from north to south; rewrite it north-up")


def _region(layer: xr.DataArray, path: Path, bounds: Bounds) -> tuple[range, range]:
    """Rows and columns within bounds; raise where there are none, or the grid is another."""
    check_geographic(layer, path)
    transform = layer.rio.transform()
    rows = _cells(transform.f, transform.e, bounds[3], bounds[1], layer.sizes["y"])
    cols = _cells(transform.c, transform.a, bounds[0], bounds[2], layer.sizes["x"])
    if not rows or not cols:
        raise ValueError(f"{path} does not reach {bounds}: give the file of this region")
    return rows, cols


def _cells(edge: float, step: float, first: float, last: float, size: int) -> range:
    """Cells of an axis that touch the stretch between two places; a 1e-6 of a cell is rounding."""
    start = int(np.floor((first - edge) / step + 1e-6))
    stop = int(np.ceil((last - edge) / step - 1e-6))
    return range(max(start, 0), min(stop, size))


def _slice(cells: range) -> slice:
    """Cells as a slice."""
    return slice(cells.start, cells.stop)


def _edges(edge: float, step: float, cells: range) -> NDArray[np.float64]:
    """Edges of cells, one more than cells."""
    return np.asarray(edge + step * np.arange(cells.start, cells.stop + 1), dtype="float64")
