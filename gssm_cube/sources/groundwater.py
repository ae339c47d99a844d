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


def read_depth(files: list[Path], bounds: Bounds) -> Raster:
    """Read the depth below the surface, m, positive, from the first file that reaches ``bounds``.

    Raises
    ------
    ValueError
        If no file reaches the bounds.
    """
    for path in files:
        with xr.open_dataset(path, engine="netcdf4", chunks=None) as dataset:
            layer = dataset[VARIABLE].squeeze(drop=True).sortby("lat", ascending=False)
            part = _within(layer, bounds)
            if part.size:
                return _raster(part)
    raise ValueError(f"no water table file reaches {bounds}; there are {[p.name for p in files]}")


def _within(layer: xr.DataArray, bounds: Bounds) -> xr.DataArray:
    """Return the cells whose centres lie within bounds, and one more on each side."""
    west, south, east, north = bounds
    step = abs(float(layer.lat[1] - layer.lat[0]))
    return layer.sel(
        lat=slice(north + step, south - step), lon=slice(west - step, east + step)
    ).load()


def _raster(part: xr.DataArray) -> Raster:
    """Return a raster of depths, positive downwards."""
    step = abs(float(part.lat[1] - part.lat[0]))
    lat_edges = np.append(part.lat.values + step / 2, part.lat.values[-1] - step / 2)
    lon_edges = np.append(part.lon.values - step / 2, part.lon.values[-1] + step / 2)
    values = -part.transpose("lat", "lon").values.astype("float32")
    return Raster(values, lat_edges, lon_edges)
