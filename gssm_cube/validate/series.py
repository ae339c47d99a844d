"""NetCDF files of series, a location each, as ASCAT's are delivered: ragged arrays of CF 9.3.

All observations of a file stand in one row. Either a variable tells how many each location has
(contiguous), or one tells of each observation which location it belongs to (indexed). Only the
locations that stations need are read.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gssm_cube.validate.products import LAT, LON, TIME, stored_values
from gssm_cube.validate.settings import Source

COUNTS, INDEX = "sample_dimension", "instance_dimension"  # attributes that CF gives to them


@dataclass(frozen=True)
class Series:
    """Locations of a file.

    ``lat`` and ``lon`` (location) in degrees, ``units`` if the file states them, and ``read``: a
    location to its days in UTC and its values in the product's units, NaN where there are none.
    """

    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    units: str | None
    read: Callable[[int], tuple[pd.DatetimeIndex, NDArray[np.float64]]]


def is_series(path: str) -> bool:
    """Tell whether a NetCDF file holds series of locations instead of a grid."""
    try:
        with xr.open_dataset(path, engine="netcdf4", decode_cf=False) as dataset:
            return any({COUNTS, INDEX} & {*array.attrs} for array in dataset.variables.values())
    except OSError:
        return False  # whoever opens it as a grid says what is wrong


@contextmanager
def open_series(name: str, source: Source, path: str) -> Iterator[Series]:
    """Open one file of series.

    Parameters
    ----------
    name : str
        Of the product, for messages.
    source : Source
    path : str

    Raises
    ------
    ValueError
        If the file does not say what its variable, times or places are.
    """
    where = f"product {name}, {Path(path).name}"
    with xr.open_dataset(path, engine="netcdf4", chunks=None, decode_timedelta=False) as dataset:
        lat, lon, time = (_named(where, dataset, names) for names in (LAT, LON, TIME))
        if source.variable is None or source.variable not in dataset:
            raise ValueError(
                f"{where}: no variable {source.variable!r}; set `variable` to one of "
                f"{list(dataset.data_vars)}"
            )
        field = dataset[source.variable]
        rows_of = _rows_of(where, dataset)

        def read(location: int) -> tuple[pd.DatetimeIndex, NDArray[np.float64]]:
            rows = {str(field.dims[0]): rows_of(location)}
            values = stored_values(field.isel(rows).to_numpy(), source)
            if source.flag is not None:
                raised = np.nan_to_num(dataset[source.flag].isel(rows).to_numpy(), nan=-1)
                values[(raised.astype("int64") & source.bad_bits) != 0] = np.nan
            return pd.DatetimeIndex(time.isel(rows).to_numpy()).floor("D"), values

        north, east = (axis.to_numpy().astype("float64") for axis in (lat, lon))
        yield Series(north, east, field.attrs.get("units"), read)


def _named(where: str, dataset: xr.Dataset, names: Sequence[str]) -> xr.DataArray:
    """Return the variable of one of the names."""
    found = next((name for name in names if name in dataset.variables), None)
    if found is None:
        raise ValueError(
            f"{where}: no variable of {list(names)} (it has {list(dataset.variables)})"
        )
    return dataset[found]


def _rows_of(where: str, dataset: xr.Dataset) -> Callable[[int], slice | NDArray[np.int64]]:
    """Return what gives the observations of a location."""
    for array in dataset.variables.values():
        if COUNTS in array.attrs:
            ends = np.cumsum(array.to_numpy().astype("int64"))
            return lambda place: slice(int(ends[place - 1]) if place else 0, int(ends[place]))
        if INDEX in array.attrs:
            index = array.to_numpy()
            return lambda place: np.flatnonzero(index == place)
    raise ValueError(f"{where}: no variable has {COUNTS} or {INDEX}, as other files of it have")
