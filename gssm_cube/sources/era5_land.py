"""ERA5-Land as people have it (Munoz-Sabater et al. 2021, doi:10.24381/cds.e2161bac): headers.

NetCDF in the old layout of the Climate Data Store (``time``, packed, ``expver`` as a dimension)
and the new one (``valid_time``, ``expver`` beside it), by any span of time, all variables in a
file or one each; Zarr, hourly or daily, as Earth Data Hub serves it. ``era5_cells`` reads values.

Hourly accumulations (``tp``, ``e``) run since 00 UTC: the stamp 00 UTC of a day is the whole total
of the day before. Daily aggregates hold their own day's total. Evaporation is negative when water
leaves the ground.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gssm_cube.grid import Layout
from gssm_cube.sources import whole
from gssm_cube.sources.doors import Tell, stop, told
from gssm_cube.storage.locations import Location, is_url

# Units as CDS and Earth Data Hub write them.
UNITS = {"t2m": ("K",), "tp": ("m",), "e": ("m of water equivalent", "m")}
# Of daily aggregates that have them: the lowest and highest temperature of the day.
EXTREMES = {"mn2t": ("K",), "mx2t": ("K",)}
# What ERA5-Land says of the soil, where files have it: water and temperature of 0-7 cm.
SOIL = {"swvl1": ("m**3 m**-3", "m3 m-3"), "stl1": ("K",)}
CELL_DEGREES = 0.1
DIMS = {
    "valid_time": "time", "time": "time",
    "latitude": "lat", "lat": "lat",
    "longitude": "lon", "lon": "lon",
}  # fmt: skip

_HOUR, _DAY = np.timedelta64(1, "h"), np.timedelta64(1, "D")
Step = Literal["hour", "day"]


@dataclass(frozen=True)
class MeteoFile:
    """One file or store and the stamps that it holds, without a gap from first to last."""

    path: Location  # a URL is a str
    first: np.datetime64  # hours; a day counts from 00 UTC
    last: np.datetime64
    names: tuple[str, ...] = tuple(UNITS)
    step: Step = "hour"
    versions: tuple[str, ...] = ()  # expver: 1 is final, 5 preliminary (ERA5-Land-T)

    @property
    def is_url(self) -> bool:
        """Whether this is a store behind a URL."""
        return is_url(self.path)

    @property
    def end(self) -> np.datetime64:
        """Last hour that the file answers for: a daily total closes at the next midnight."""
        return self.last if self.step == "hour" else self.last + 24 * _HOUR


def find_files(location: Location, tell: Tell = stop) -> list[MeteoFile]:
    """Return the files of a folder, or the store at a path or URL, in order of time.

    Only headers are read. ``tell`` takes what is wrong; a broken file is left out then.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If a file is broken, not on ERA5-Land's grid, holds no wanted variable or has other
        units; if a variable is in no file, or hourly in one and daily in another.
    """
    paths, found, files = list(_paths(location)), [], []
    if not paths:
        tell(
            FileNotFoundError(
                f"no ERA5-Land NetCDF or Zarr in {location}; convert GRIB to NetCDF, unzip archives"
            )
        )
    for path in paths:
        with told(tell):
            found.append(read_header(path))
    held = sorted({name for file, _ in found for name in file.names})
    for name in [name for name in UNITS if found and name not in held]:
        tell(ValueError(f"{location} lacks {name!r}, its files hold {held}; download it too"))
    for file, known in found:
        with told(tell):
            files.append(_with_step(file, known, found))
    return sorted(files, key=lambda file: file.first)


def _paths(location: Location) -> Iterator[Location]:
    """Yield NetCDF files and Zarr stores below a folder, or the place itself."""
    if is_zarr(location):
        yield location
        return
    for root, folders, names in os.walk(location):
        stores = [name for name in folders if is_zarr(Path(root, name))]
        yield from (Path(root, name) for name in sorted(stores))
        yield from (Path(root, name) for name in sorted(names) if name.endswith(".nc"))
        folders[:] = sorted(set(folders) - set(stores))


def is_zarr(location: Location) -> bool:
    """Whether a location is a URL or holds Zarr metadata (either format)."""
    if is_url(location):
        return True
    return any(Path(location, name).exists() for name in ("zarr.json", ".zgroup", ".zmetadata"))


def stamp_files(file: MeteoFile) -> list[Path]:
    """Files whose time and size tell that a file or store has changed; a URL has none."""
    if not is_zarr(file.path):
        return [Path(file.path)]
    names = ("zarr.json", ".zmetadata", ".zgroup")
    paths = (Path(file.path, name) for name in names)
    return [] if file.is_url else [path for path in paths if path.exists()]


def open_location(location: Location) -> xr.Dataset:
    """Open a file or store lazily; raise ValueError where it is broken."""
    try:
        if is_zarr(location):
            # Earth Data Hub's token lies in ~/.netrc, which aiohttp reads if it may.
            web = (
                {"client_kwargs": {"trust_env": True}} if str(location).startswith("http") else None
            )
            return xr.open_zarr(str(location), chunks=None, storage_options=web)
        whole.check_netcdf(Path(location))
        return xr.open_dataset(location, engine="netcdf4", chunks=None)
    except OSError as error:
        raise ValueError(f"{location} cannot be opened ({error}); download it again") from error


def read_header(location: Location) -> tuple[MeteoFile, bool]:
    """Return what a file holds, and whether its step is known: one stamp alone does not tell."""
    with open_location(location) as dataset:
        check_grid(dataset, location)
        names = check_variables(dataset, location)
        arrays = [dataset[name] for name in names]
        axis = time_axis(arrays[0])
        if any(axis not in array.dims for array in arrays):
            raise ValueError(f"{location}: {list(names)} do not share the axis {axis!r}; split it")
        stamps = dataset[axis].values
        daily = [says_daily(location, array) for array in arrays]
        step = check_stamps(stamps, location, all(daily))
        versions = np.atleast_1d(dataset["expver"].values) if "expver" in dataset else ()
    span = stamps[[0, -1]].astype("M8[D]" if step == "day" else "M8[h]").astype("M8[h]")
    texts = tuple(sorted({str(version) for version in versions}))
    file = MeteoFile(location, span[0], span[1], names, step, texts)
    return file, bool((stamps != stamps[0]).any())


def says_daily(location: Location, array: xr.DataArray) -> bool:
    """Whether a file says of itself that its values are daily aggregates.

    Stamps a day apart do not: the hours 00 UTC alone, which hold the day before, look the same.
    """
    methods = str(array.attrs.get("cell_methods", ""))
    aggregated = "sum" in methods or "mean" in methods
    return aggregated or "daily" in str(location).rsplit("/", 1)[-1].lower()


def _with_step(file: MeteoFile, known: bool, found: list[tuple[MeteoFile, bool]]) -> MeteoFile:
    """Give a file of one stamp the step of its companions; raise where steps differ."""
    steps = {other.step for other, sure in found if sure and set(other.names) & set(file.names)}
    if len(steps) > 1:
        raise ValueError(
            f"{file.path}: {list(file.names)} are hourly in one file and daily in another; keep "
            "one form of a variable"
        )
    if known or not steps:
        return file
    return replace(file, step=steps.pop())


def time_axis(array: xr.DataArray) -> str:
    """Name of an array's time axis; raise unless it lies on time, latitude and longitude."""
    dims = {DIMS[str(dim)]: str(dim) for dim in array.dims if dim in DIMS}
    others = set(map(str, array.dims)) - set(dims.values()) - {"expver"}
    if set(dims) != {"time", "lat", "lon"} or others:
        raise ValueError(
            f"{array.name} has dims {array.dims}, expected valid_time, latitude, longitude"
        )
    return dims["time"]


def check_grid(dataset: xr.Dataset, location: Location) -> None:
    """Raise unless latitude and longitude are multiples of 0.1 deg, 0.1 deg apart."""
    for names in (("latitude", "lat"), ("longitude", "lon")):
        name = next((name for name in names if name in dataset.dims), None)
        if name is None:
            raise ValueError(
                f"{location} is not gridded: dims {list(dataset.dims)}, expected latitude and "
                "longitude; order ERA5-Land as a map, not points"
            )
        values = dataset[name].values.astype("float64")
        tenths = np.abs(values - np.rint(values * 10) / 10).max()
        # Two neighbours may stand far apart where an area wraps round at 0 or 180.
        step = np.median(np.abs(np.diff(values))) if values.size > 1 else CELL_DEGREES
        if tenths > 0.01 or abs(step - CELL_DEGREES) > 0.01:
            raise ValueError(
                f"{location}: {name} {values[0]:.4g}, {values[1 % values.size]:.4g}, ... steps by "
                f"{step:.4g} deg, expected multiples of 0.1: this is not ERA5-Land (ERA5 has "
                "0.25 deg); order ERA5-Land on its own grid"
            )


def check_variables(dataset: xr.Dataset, location: Location) -> tuple[str, ...]:
    """Return the wanted variables of a file; raise if there is none, or in other units."""
    known = UNITS | EXTREMES | SOIL
    names = tuple(name for name in known if name in dataset)
    if not names:
        raise ValueError(
            f"{location} holds none of {list(known)}, it has {list(dataset.data_vars)}; remove it"
        )
    for name in names:
        found, expected = dataset[name].attrs.get("units", "missing"), known[name]
        if found not in expected:
            raise ValueError(
                f"{location}: units of {name} are {found!r}, expected {expected[0]!r}; download it "
                "as ERA5-Land delivers it"
            )
    return names


def check_stamps(stamps: NDArray[np.datetime64], location: Location, says_daily: bool) -> Step:
    """Return the step; raise unless hour follows hour (one may be there twice) or day day."""
    steps = np.diff(stamps)
    if says_daily and (steps == _DAY).all():
        return "day"
    wrong = np.flatnonzero((steps != _HOUR) & (steps != np.timedelta64(0, "h")))
    if not wrong.size:
        return "hour"
    before, after = stamps[wrong[0] : wrong[0] + 2].astype("M8[m]")
    raise ValueError(
        f"{location} is not hourly: {after} follows {before}; order all 24 hours of the day. Daily "
        "aggregates need 'daily' in the name of the file, or cell_methods, to be taken as such"
    )


def has_extremes(files: list[MeteoFile]) -> bool:
    """Whether daily aggregates hold the extremes of temperature."""
    return all(any(name in file.names for file in files) for name in EXTREMES)


def soil_names(files: list[MeteoFile]) -> tuple[str, ...]:
    """Return which variables of the soil any file holds."""
    return tuple(name for name in SOIL if any(name in file.names for file in files))


def lacking_soil(files: list[MeteoFile]) -> str:
    """Return in words what a run does without for what files lack of the soil; nothing if none."""
    uses = {
        "swvl1": "no baseline of ERA5-Land's soil moisture",
        "stl1": "the air tells frozen ground",
    }
    lost = [name for name in SOIL if name not in soil_names(files)]
    return f"no {', '.join(lost)}: {', '.join(uses[name] for name in lost)}" if lost else ""


def missing_days(
    files: list[MeteoFile],
    first: np.datetime64,
    last: np.datetime64,
    names: Iterable[str] = tuple(UNITS),
) -> NDArray[np.datetime64]:
    """Return the days with missing hours, from 00 UTC of ``first`` to 00 UTC after ``last``."""
    hours = np.arange(first.astype("M8[h]"), (last + 1).astype("M8[h]") + 1)
    lost = np.zeros(hours.size, dtype=bool)
    for name in names:
        spans = [(file.first, file.end) for file in files if name in file.names]
        held = np.zeros(hours.size, dtype=bool)
        for start, end in spans:
            held |= (hours >= start) & (hours <= end)
        lost |= ~held
    return np.unique(hours[lost].astype("M8[D]"))


def repeated_days(
    files: list[MeteoFile], first: np.datetime64, last: np.datetime64
) -> NDArray[np.datetime64]:
    """Return the days with hours of a variable in more than one file, from first to last."""
    hours = np.arange(first.astype("M8[h]"), (last + 1).astype("M8[h]"))
    twice = np.zeros(hours.size, dtype=bool)
    for name in UNITS:
        held = np.zeros(hours.size, dtype="int64")
        for file in (file for file in files if name in file.names):
            held += (hours >= file.first) & (hours <= file.last)
        twice |= held > 1
    return np.unique(hours[twice].astype("M8[D]"))


def check_cells(file: MeteoFile, layout: Layout) -> None:
    """Raise unless a file holds the layout's cells; reads its header only."""
    with open_location(file.path) as dataset:
        names = {DIMS[str(dim)]: str(dim) for dim in dataset[file.names[0]].dims if dim in DIMS}
        for dim, wanted in (("lat", layout.cell_lat), ("lon", layout.cell_lon)):
            indices_of(dataset[names[dim]].values, wanted, file.path, dim)


def indices_of(
    found: NDArray[np.floating], wanted: NDArray[np.floating], location: Location, axis: str
) -> NDArray[np.intp]:
    """Where the wanted cell centres stand on a file's axis; longitudes compare modulo 360."""
    turn = 3600 if axis == "lon" else 100000
    tenths = np.rint(np.asarray(found, dtype="float64") * 10).astype("int64") % turn
    asked = np.rint(wanted * 10).astype("int64") % turn
    order = np.argsort(tenths, kind="stable")
    index = np.minimum(np.searchsorted(tenths[order], asked), tenths.size - 1)
    places = order[index]
    if (tenths[places] != asked).any():
        word = {"lat": "latitude", "lon": "longitude"}[axis]
        raise ValueError(
            f"{location}: {word} {found.min():.2f}..{found.max():.2f} does not hold the cells "
            f"{wanted.min():.1f}..{wanted.max():.1f} of this run (0.1 deg, centred on multiples "
            "of 0.1); order the whole area"
        )
    return places
