"""Gridded products as their providers deliver them: NetCDF, Zarr and stacks of GeoTIFFs.

A product is a sequence of parts, a file each (a Zarr is one), of which any box of days, rows and
columns can be read. Nothing but what stations need is in memory.
"""

import glob
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
import xarray as xr
from numpy.typing import NDArray
from rasterio.enums import Interleaving
from rasterio.windows import Window

from gssm_cube.validate.settings import Source

Read = Callable[[slice, slice, slice], NDArray[np.float64]]

ENDINGS = {
    ".nc": "netcdf", ".nc4": "netcdf", ".h5": "netcdf", ".hdf5": "netcdf", ".zarr": "zarr",
    ".tif": "geotiff", ".tiff": "geotiff", ".csv": "points", ".parquet": "points",
}  # fmt: skip
# SMAP's afternoon passes and its level 4 have names of their own; x and y may be metres.
LAT = ("lat", "latitude", "latitude_pm", "cell_lat", "y")
LON = ("lon", "longitude", "longitude_pm", "cell_lon", "x")
TIME = ("time", "valid_time")
# A time of day may follow at once, as in 20180101000000.
DAY_IN_NAME = re.compile(r"(?<!\d)(\d{4})[-_.]?(\d{2})[-_.]?(\d{2})(?:\d{4}|\d{6})?(?!\d)")
ORDINAL_IN_NAME = re.compile(r"(?<!\d)(\d{4})(\d{3})(?!\d)")
NO_DAYS = pd.DatetimeIndex([])
YEAR_IN_NAME = re.compile(r"(?<!\d)((?:19|20)\d{2})(?!\d)")


@dataclass(frozen=True)
class Part:
    """Some days of a product on its own grid.

    ``days`` (time) in UTC, ``lat`` (row) and ``lon`` (column) of the pixel centres in degrees,
    ``units`` if the file states them, and ``read``: slices of time, rows and columns to values in
    the product's units, NaN where there are none.
    """

    days: pd.DatetimeIndex
    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    units: str | None
    chunk: tuple[int, int, int]
    read: Read


def files_of(name: str, source: Source) -> tuple[str, list[str]]:
    """Return the kind of a product and its files in the order of their names.

    Parameters
    ----------
    name : str
        Of the product, for messages.
    source : Source

    Returns
    -------
    str, list of str
        ``netcdf``, ``zarr``, ``geotiff`` or ``points``.

    Raises
    ------
    FileNotFoundError
        If there is nothing.
    ValueError
        If the ending is not known, or a folder mixes several.
    """
    path = source.path.rstrip("/")
    if path.endswith(".zarr"):
        if "://" not in path and not Path(path).is_dir():
            raise FileNotFoundError(f"product {name}: no Zarr at {path}")
        return "zarr", [path]
    if Path(path).is_dir():
        found = sorted(str(file) for file in Path(path).rglob("*") if _kind(file.name))
    else:
        found = sorted(glob.glob(path, recursive=True))
    if not found:
        raise FileNotFoundError(f"product {name}: no file of {sorted(ENDINGS)} at {path}")
    kinds = {_kind(file) for file in found}
    if len(kinds) > 1 or None in kinds:
        endings = sorted({Path(file).suffix for file in found})
        raise ValueError(
            f"product {name}: {path} holds files that end in {endings}, expected one kind of "
            f"{sorted(ENDINGS)}; give a pattern such as {path}/*.nc"
        )
    return str(kinds.pop()), found


def stored_values(stored: NDArray[Any], source: Source) -> NDArray[np.float64]:
    """Return stored numbers as values in the product's units; NaN where they mean missing."""
    values = stored.astype("float64")
    if source.missing:
        values[np.isin(values, source.missing)] = np.nan
    return values if source.scale == 1 else values * source.scale


@contextmanager
def open_part(
    name: str, source: Source, kind: str, path: str, *, dated: bool = True
) -> Iterator[Part]:
    """Open one file of a product.

    Parameters
    ----------
    name : str
        Of the product, for messages.
    source : Source
    kind, path : str
        As `files_of` gives them.
    dated : bool
        Whether the values are of days; those of a layer such as porosity are not.

    Raises
    ------
    ValueError
        If the file does not say what its variable, days or grid are.
    """
    try:
        if kind == "geotiff":
            with rasterio.open(path) as image:
                yield _raster_part(name, source, image, dated)
            return
        options: dict[str, Any] = {"engine": "netcdf4", "group": source.group}
        if kind == "zarr":
            options = {"engine": "zarr", "consolidated": None if "://" in path else False}
        with xr.open_dataset(path, chunks=None, decode_timedelta=False, **options) as dataset:
            whole = dataset if source.group is None else _with_root(dataset, path)
            yield _dataset_part(name, source, whole, path, dated)
    except OSError as error:
        raise ValueError(
            f"product {name}: {path} cannot be read, it may be cut off: {error}; fetch it again"
        ) from error


# ---- NetCDF and Zarr --------------------------------------------------------------------------


def _dataset_part(name: str, source: Source, dataset: xr.Dataset, path: str, dated: bool) -> Part:
    """Return a dataset as a part."""
    where = f"product {name}, {Path(path).name}"
    lat, lon = (_axis(where, dataset, names, along) for names, along in ((LAT, 0), (LON, 1)))
    (rows, lats), (cols, lons) = lat, lon
    field = _variable(where, source, dataset, rows, cols)
    time = next((dim for dim in field.dims if dim in TIME or _is_time(dataset, str(dim))), None)
    chunk = _chunk_of(field, (time, rows, cols))
    field = _three_dims(where, field, time, rows, cols)
    days = _days_of_field(where, dataset, field, time, path) if dated else NO_DAYS
    unpacked = _unpacked(source, field)
    flag = None
    if source.flag is not None:
        if source.flag not in dataset:
            raise ValueError(f"{where}: no variable {source.flag!r} (it has {list(dataset)})")
        flag = _three_dims(where, dataset[source.flag], time, rows, cols)

    def read(times: slice, across: slice, along: slice) -> NDArray[np.float64]:
        box = {"time": times, rows: across, cols: along}
        values = stored_values(field.isel(box).to_numpy(), unpacked)
        if flag is None:
            return values
        raised = flag.isel(box).to_numpy()
        known = np.isfinite(raised)
        bits = np.where(known, raised, 0).astype("int64") & source.bad_bits
        return np.where(known & (bits == 0), values, np.nan)

    return Part(days, lats, lons, field.attrs.get("units"), chunk, read)


def _unpacked(source: Source, field: xr.DataArray) -> Source:
    """Return the settings with `missing` as the numbers that the file's own packing makes of it."""
    packing = field.encoding
    scale, offset = packing.get("scale_factor", 1.0), packing.get("add_offset", 0.0)
    if not source.missing or (scale == 1 and offset == 0):
        return source
    stored = np.array(source.missing)
    # As the reader decodes: in the precision of the field.
    missing = (stored.astype(field.dtype) * field.dtype.type(scale)) + field.dtype.type(offset)
    return source.model_copy(update={"missing": tuple(missing.astype("float64").tolist())})


def _with_root(dataset: xr.Dataset, path: str) -> xr.Dataset:
    """Add the coordinates of a file's root to those of a group: SMAP's level 4 keeps them there."""
    with xr.open_dataset(path, engine="netcdf4", decode_times=False) as root:
        wanted = {
            str(key): (array.dims, array.to_numpy())
            for key, array in root.variables.items()
            if str(key).lower() in (*LAT, *LON) and key not in dataset.variables
        }
    return dataset.assign_coords(wanted)


def _variable(
    where: str, source: Source, dataset: xr.Dataset, rows: str, cols: str
) -> xr.DataArray:
    """Return the variable that the settings name, or the only one on the grid."""
    if source.variable is not None:
        if source.variable not in dataset:
            raise ValueError(
                f"{where}: no variable {source.variable!r}; it has {list(dataset.data_vars)}"
            )
        return dataset[source.variable]
    positions = {*LAT, *LON}
    choice = [
        str(key)
        for key, array in dataset.data_vars.items()
        if {rows, cols} <= {*array.dims} and str(key).lower() not in positions
    ]
    if "ssm" in choice:
        return dataset["ssm"]
    if len(choice) != 1:
        raise ValueError(f"{where}: variables on the grid are {choice}; set `variable` to one")
    return dataset[choice[0]]


def _axis(
    where: str, dataset: xr.Dataset, names: Sequence[str], along: int
) -> tuple[str, NDArray[np.float64]]:
    """Return dimension and centres of rows (``along`` 0) or columns (1)."""
    known = {str(key).lower(): key for key in dataset.variables}
    found = next((known[name] for name in names if name in known), None)
    if found is None:
        raise ValueError(
            f"{where}: no coordinate of {list(names)} (it has {list(dataset.variables)}); "
            "rename the one that is meant"
        )
    axis = dataset[found]
    if axis.ndim == 1:
        return str(axis.dims[0]), _degrees(where, axis.to_numpy().astype("float64"), along)
    if axis.ndim == 2:
        values = stored_values(axis.to_numpy(), Source(path="", missing=(-9999.0,)))
        other = 1 - along
        with np.errstate(invalid="ignore"):
            straight = np.nanmax(np.nanmax(values, other) - np.nanmin(values, other)) < 1e-3
        if straight:  # as of a cylindrical EASE grid
            return str(axis.dims[along]), _degrees(where, np.nanmean(values, axis=other), along)
    raise ValueError(
        f"{where}: {found} has dims {axis.dims} and changes along both, expected a grid whose rows "
        "have one latitude; regrid it first"
    )


def _degrees(where: str, centres: NDArray[np.float64], along: int) -> NDArray[np.float64]:
    """Return centres of rows or columns; raise unless they are degrees."""
    low, high = ((-90, 90), (-180, 360))[along]
    if not (np.nanmin(centres) >= low and np.nanmax(centres) <= high):
        raise ValueError(
            f"{where}: {('rows', 'columns')[along]} run from {np.nanmin(centres):g} to "
            f"{np.nanmax(centres):g}, expected degrees in {low} .. {high}; warp it first"
        )
    return centres


def _chunk_of(field: xr.DataArray, dims: tuple[Any, ...]) -> tuple[int, int, int]:
    """Chunk along time, rows and columns; of one where the file has none."""
    sizes = field.encoding.get("preferred_chunks") or {}
    time, row, col = (int(sizes.get(dim, 1)) for dim in dims)
    return time, row, col


def _days_of_field(
    where: str, dataset: xr.Dataset, field: xr.DataArray, time: Any, path: str
) -> pd.DatetimeIndex:
    """Days that the dataset says, along a dimension or for the whole file, or else its name."""
    said = time if time is not None else next((key for key in TIME if key in dataset.coords), None)
    if said is None or not _is_time(dataset, str(said)):
        return _days_of_name(where, path, field.sizes["time"])
    return pd.DatetimeIndex(np.atleast_1d(dataset[said].to_numpy()))


def _is_time(dataset: xr.Dataset, dim: str) -> bool:
    """Tell whether a dimension holds times."""
    return dim in dataset.coords and np.issubdtype(dataset[dim].dtype, np.datetime64)


def _three_dims(where: str, field: xr.DataArray, time: Any, rows: str, cols: str) -> xr.DataArray:
    """Return a field as (time, row, column); other dimensions must have one entry."""
    single = {dim: 0 for dim in field.dims if dim not in (time, rows, cols)}
    if wide := [dim for dim in single if field.sizes[dim] != 1]:
        raise ValueError(
            f"{where}: {field.name} has dims {field.dims}, expected time, {rows} and {cols}; "
            f"choose one of {wide} before"
        )
    field = field.isel(single)
    field = field.expand_dims("time") if time is None else field.rename({time: "time"})
    return field.transpose("time", rows, cols)


# ---- GeoTIFF ----------------------------------------------------------------------------------


def _raster_part(name: str, source: Source, image: rasterio.DatasetReader, dated: bool) -> Part:
    """Return an image as a part, a band a day."""
    where = f"product {name}, {Path(image.name).name}"
    if image.crs is None or not image.crs.is_geographic or image.transform.b:
        raise ValueError(
            f"{where}: the grid is {image.crs}, expected degrees with north up; warp it first "
            "(gdalwarp -t_srs EPSG:4326)"
        )
    transform = image.transform
    lat = transform.f + transform.e * (np.arange(image.height) + 0.5)
    lon = transform.c + transform.a * (np.arange(image.width) + 0.5)
    scales, offsets = np.array(image.scales), np.array(image.offsets)

    def read(times: slice, across: slice, along: slice) -> NDArray[np.float64]:
        bands = np.arange(image.count)[times]
        window = Window.from_slices(across, along, height=image.height, width=image.width)
        stored = image.read(list(bands + 1), window=window, masked=True)
        values = stored_values(stored.astype("float64").filled(np.nan), source)
        return values * scales[bands, None, None] + offsets[bands, None, None]

    days = _days_of_bands(where, image) if dated else NO_DAYS
    together = image.count if image.interleaving == Interleaving.pixel else 1
    units = image.units[0] or image.tags(1).get("units")
    return Part(days, lat, lon, units, (together, *image.block_shapes[0]), read)


def _days_of_bands(where: str, image: rasterio.DatasetReader) -> pd.DatetimeIndex:
    """Days of the bands: as they are described, or from the day or year in the file's name on."""
    said = [DAY_IN_NAME.search(text or "") for text in image.descriptions]
    if all(said):
        return pd.DatetimeIndex(["-".join(match.groups()) for match in said if match])
    return _days_of_name(where, image.name, image.count)


def _days_of_name(where: str, path: str, count: int) -> pd.DatetimeIndex:
    """So many days from the one in a file's name on."""
    name = Path(path).name
    try:
        if match := DAY_IN_NAME.search(name):
            first = pd.Timestamp("-".join(match.groups()))
        elif match := ORDINAL_IN_NAME.search(name):
            first = pd.to_datetime("".join(match.groups()), format="%Y%j")
        elif (match := YEAR_IN_NAME.search(name)) and count > 1:
            first = pd.Timestamp(int(match[1]), 1, 1)
            _check_year(where, first, count)
        else:
            raise ValueError("none in it")
    except ValueError as error:
        raise ValueError(
            f"{where}: neither bands nor dimensions say the day and the name does not either "
            f"({error}), expected YYYYMMDD, YYYY-MM-DD or YYYYDDD in it"
        ) from error
    return pd.date_range(first, periods=count)


def _check_year(where: str, first: pd.Timestamp, count: int) -> None:
    """Raise unless a stack of which only the year is known has a band for each of its days."""
    days = 366 if first.is_leap_year else 365
    if count != days:
        raise ValueError(
            f"{where}: {count} bands and only the year {first.year} in the name, expected {days}: "
            "describe the bands by their days (YYYY-MM-DD), or put the first day into the name"
        )


def _kind(name: str) -> str | None:
    """Return the kind of a file by its ending."""
    return ENDINGS.get(Path(name).suffix.lower())
