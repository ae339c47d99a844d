"""Small ERA5-Land files in the layouts that providers write."""

from pathlib import Path

import netCDF4
import numpy as np
import xarray as xr

UNITS = {"t2m": "K", "tp": "m", "e": "m of water equivalent"}


def hours(first: str, last: str) -> np.ndarray:
    """Hours from first to last, both included."""
    return np.arange(np.datetime64(first, "h"), np.datetime64(last, "h") + 1)


def write_old(path: Path, stamps, lat, lon, fields, versions=None, format="NETCDF3_64BIT_OFFSET"):
    """Write the layout of before 2024: classic, int16, hours since 1900, expver as a dimension."""
    dims = ("time", "expver", "latitude", "longitude") if versions else ("time", "latitude",
                                                                         "longitude")  # fmt: skip
    axes = {"time": (stamps - np.datetime64("1900-01-01T00")).astype("int64"),
            "expver": versions, "latitude": lat, "longitude": lon}  # fmt: skip
    with netCDF4.Dataset(path, "w", format=format) as file:
        for name in dims:
            file.createDimension(name, len(axes[name]))
            kind = "f4" if name in ("latitude", "longitude") else "i4"
            file.createVariable(name, kind, (name,))[:] = axes[name]
        file["time"].units = "hours since 1900-01-01 00:00:00.0"
        for name, values in fields.items():
            low, high = np.nanmin(values), np.nanmax(values)
            array = file.createVariable(name, "i2", dims, fill_value=-32767)
            array.missing_value = np.int16(-32767)
            array.scale_factor = max(high - low, 1e-9) / 65532
            array.add_offset = (high + low) / 2
            array.units = UNITS[name]
            array[:] = np.ma.array(np.nan_to_num(values, nan=low), mask=np.isnan(values))
    return path


def new_dataset(stamps, lat, lon, fields, units=UNITS, version="0001"):
    """Dataset as the new Climate Data Store and Earth Data Hub lay it out."""
    axes = ("valid_time", "latitude", "longitude")
    arrays = {
        name: (axes, np.asarray(values, "float32"), {"units": units[name]})
        for name, values in fields.items()
    }
    coords = {
        "number": 0,
        "valid_time": stamps.astype("M8[ns]"),
        "latitude": lat,
        "longitude": lon,
        "expver": ("valid_time", np.full(stamps.size, version, "O")),
    }
    return xr.Dataset(arrays, coords)


def write_new(path: Path, *args, **kwargs) -> Path:
    """Write one NetCDF file of the new layout."""
    new_dataset(*args, **kwargs).to_netcdf(path, engine="netcdf4")
    return path


def write_zarr(store, stamps, lat, lon, fields, chunks, daily=False) -> None:
    """Write a store as Earth Data Hub has them: Zarr v3, valid_time, 0..360, north first."""
    dataset = new_dataset(stamps, lat, lon, fields).drop_vars(["number", "expver"])
    encoding = {name: {"chunks": chunks} for name in fields}
    dataset.to_zarr(store, mode="w", zarr_format=3, encoding=encoding)
