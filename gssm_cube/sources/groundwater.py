"""Water table depth (Fan et al. 2013, doi:10.1126/science.1229881): NetCDF at 30 arcsec.

The files give the water table as a height, negative below the surface.
"""

from pathlib import Path

import numpy as np
import xarray as xr

from gssm_cube.sources.raster import Bounds, Raster

VARIABLE = "WTD"  # m


def find_files(folder: Path) -> list[Path]:
    """Return the NetCDF files (one a continent).

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    files = sorted(folder.glob("*.nc"))
    if not files:
        raise FileNotFoundError(f"no water table depth NetCDF (variable {VARIABLE}) in {folder}")
    return files


def check_files(files: list[Path]) -> None:
    """Raise unless every file has the variable; reads headers only."""
    for path in files:
        with xr.open_dataset(path, engine="netcdf4", chunks=None) as dataset:
            if VARIABLE not in dataset:
                raise ValueError(f"{path} has {list(dataset.data_vars)}, expected {VARIABLE}")


def extent(path: Path) -> Bounds:
    """West, south, east, north of a file's cell centres, from its axes."""
    with xr.open_dataset(path, engine="netcdf4", chunks=None) as dataset:
        lat, lon = dataset["lat"].values, dataset["lon"].values
    if lon.max() > 180:  # 0..360: taken to reach all round
        return -180.0, float(lat.min()), 180.0, float(lat.max())
    return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())


def read_depth(files: list[Path], bounds: Bounds) -> Raster:
    """Read the depth below the surface, m, positive, from all files that reach ``bounds``.

    Boxes of continents overlap and each holds its own continent: where the first is empty, the
    next one counts.

    Raises
    ------
    ValueError
        If no file reaches the bounds.
    """
    parts = [part for part in (_read_part(path, bounds) for path in files) if part.values.size]
    if not parts:
        names = [path.name for path in files]
        raise ValueError(f"no water table file reaches {bounds}; there are {names}")
    return parts[0] if len(parts) == 1 else _mosaic(parts)


def _read_part(path: Path, bounds: Bounds) -> Raster:
    """Read the cells whose centres lie within bounds, and one more on each side."""
    west, south, east, north = bounds
    with xr.open_dataset(path, engine="netcdf4", chunks=None) as dataset:
        layer = dataset[VARIABLE].squeeze(drop=True).sortby("lat", ascending=False)
        step = abs(float(layer.lat[1] - layer.lat[0]))
        rows, cols = slice(north + step, south - step), slice(west - step, east + step)
        part = layer.sel(lat=rows, lon=cols).transpose("lat", "lon").load()
    lat, lon = part.lat.values.astype("float64"), part.lon.values.astype("float64")
    lat_edges = np.append(lat + step / 2, lat[-1:] - step / 2)
    lon_edges = np.append(lon - step / 2, lon[-1:] + step / 2)
    return Raster(-part.values.astype("float32"), lat_edges, lon_edges)


def _mosaic(parts: list[Raster]) -> Raster:
    """Lay parts of one grid over each other, the first on top."""
    north, west = parts[0].lat_edges[0], parts[0].lon_edges[0]
    step = north - parts[0].lat_edges[1]
    rows = [round((north - part.lat_edges[0]) / step) for part in parts]
    cols = [round((part.lon_edges[0] - west) / step) for part in parts]
    top, left = min(rows), min(cols)
    sizes = [part.values.shape for part in parts]
    bottom = max(row + size[0] for row, size in zip(rows, sizes, strict=True))
    right = max(col + size[1] for col, size in zip(cols, sizes, strict=True))
    values = np.full((bottom - top, right - left), np.nan, dtype="float32")
    for part, row, col in zip(parts, rows, cols, strict=True):
        height, width = part.values.shape
        under = values[row - top : row - top + height, col - left : col - left + width]
        np.copyto(under, part.values, where=np.isnan(under))
    lat_edges = north - step * np.arange(top, bottom + 1)
    return Raster(values, lat_edges, west + step * np.arange(left, right + 1))
