"""ERA5-Land hourly NetCDF (Munoz-Sabater et al. 2021, doi:10.24381/cds.e2161bac).

Accumulations (``tp``, ``e``) run since 00 UTC: the stamp 00 UTC of a day is the whole total of the
day before. Evaporation is negative when water leaves the ground.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from gssm_cube.grid import Layout

# Units as CDS writes them.
UNITS = {"t2m": ("K",), "tp": ("m",), "e": ("m of water equivalent", "m")}
NAMES = {"valid_time": "time", "latitude": "lat", "longitude": "lon"}


@dataclass(frozen=True)
class HourlyFile:
    """One file and the hours that it holds, without a gap from first to last."""

    path: Path
    first: np.datetime64
    last: np.datetime64


def find_files(folder: Path) -> list[HourlyFile]:
    """Return the files and their hours, from their headers, in order of time.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If a file lacks a variable or has other units, or is not hourly.
    """
    paths = sorted(folder.rglob("*.nc"))
    if not paths:
        raise FileNotFoundError(f"no ERA5-Land NetCDF in {folder}")
    files = []
    for path in paths:
        with _open(path) as dataset:
            check_variables(dataset, path)
            hours = check_hours(dataset["time"].values, path)
            files.append(HourlyFile(path, hours[0], hours[-1]))
    return sorted(files, key=lambda file: file.first)


def check_variables(dataset: xr.Dataset, path: Path) -> None:
    """Raise unless a file has the variables in the expected units."""
    for name, expected in UNITS.items():
        if name not in dataset:
            raise ValueError(f"{path} lacks {name!r}, it has {list(dataset.data_vars)}")
        found = dataset[name].attrs.get("units", "missing")
        if found not in expected:
            raise ValueError(f"{path}: units of {name} are {found!r}, expected {expected[0]!r}")


def check_hours(stamps: np.ndarray, path: Path) -> np.ndarray:
    """Return a file's stamps; raise unless hour follows hour (one that is there twice may stay)."""
    steps = np.diff(stamps)
    wrong = np.flatnonzero((steps != np.timedelta64(1, "h")) & (steps != np.timedelta64(0, "h")))
    if wrong.size:
        before, after = stamps[wrong[0] : wrong[0] + 2].astype("M8[m]")
        raise ValueError(
            f"{path} is not hourly: {after} follows {before}; order all 24 hours of the day"
        )
    return stamps


def _open(path: Path) -> xr.Dataset:
    """Open one file lazily under the project's names of dimensions."""
    dataset = xr.open_dataset(path, engine="netcdf4", chunks=None)
    return dataset.rename({old: new for old, new in NAMES.items() if old in dataset.dims})


def check_cells(file: HourlyFile, layout: Layout) -> None:
    """Raise unless a file holds the layout's cells; reads its header only."""
    with _open(file.path) as dataset:
        _places(dataset["lat"].values, layout.cell_lat, file.path, "latitude")
        _places(dataset["lon"].values, layout.cell_lon, file.path, "longitude")


def missing_days(files: list[HourlyFile], first: np.datetime64, last: np.datetime64) -> np.ndarray:
    """Return the days with missing hours, from 00 UTC of ``first`` to 00 UTC after ``last``."""
    hours = np.arange(first.astype("M8[h]"), (last + 1).astype("M8[h]") + 1)
    held = np.zeros(hours.size, dtype=bool)
    for file in files:
        held |= (hours >= file.first) & (hours <= file.last)
    return np.unique(hours[~held].astype("M8[D]"))


def read_hours(
    files: list[HourlyFile], first: np.datetime64, last: np.datetime64, layout: Layout
) -> xr.Dataset:
    """Read all hours from 00 UTC of ``first`` to 00 UTC of the day after ``last``.

    Returns
    -------
    Dataset (time, lat, lon)
        ``t2m`` K, ``tp`` and ``e`` m since 00 UTC, on the layout's 0.1 deg cells; hours that no
        file holds are NaN.

    Raises
    ------
    ValueError
        If a file's cells are not those of the layout.
    """
    hours = np.arange(first.astype("M8[h]"), (last + 1).astype("M8[h]") + 1)
    pieces = [
        _read_piece(file.path, hours[[0, -1]], layout)
        for file in files
        if file.first <= hours[-1] and file.last >= hours[0]
    ]
    merged = xr.concat(pieces, "time", join="exact", coords="minimal", compat="override")
    return merged.drop_duplicates("time").reindex(time=hours.astype("M8[ns]"))


def _read_piece(path: Path, hours: np.ndarray, layout: Layout) -> xr.Dataset:
    """Read one file's part between two hours on the layout's cells."""
    with _open(path) as dataset:
        part = dataset[list(UNITS)].reset_coords(drop=True)
        part = part.sel(time=slice(hours[0], hours[1]))
        rows = _places(part["lat"].values, layout.cell_lat, path, "latitude")
        cols = _places(part["lon"].values, layout.cell_lon, path, "longitude")
        part = part.isel(lat=rows, lon=cols).load()
    return part.assign_coords(lat=layout.cell_lat, lon=layout.cell_lon)


def _places(found: np.ndarray, wanted: np.ndarray, path: Path, axis: str) -> np.ndarray:
    """Where the wanted coordinates stand in the file's; longitudes compare modulo 360."""
    gap = found[:, None] - wanted[None, :]
    if axis == "longitude":
        gap = (gap + 180) % 360 - 180
    nearest = np.abs(gap).argmin(axis=0)
    off = np.abs(np.take_along_axis(gap, nearest[None, :], axis=0))[0]
    if off.max() > 0.01:
        raise ValueError(
            f"{path}: {axis} {found.min():.2f}..{found.max():.2f} does not hold the cells "
            f"{wanted.min():.1f}..{wanted.max():.1f} of this run (0.1 deg, centred on multiples "
            "of 0.1); order the whole area"
        )
    return nearest
