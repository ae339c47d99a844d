"""Values of ERA5-Land on a layout's 0.1 deg cells, variable by variable and row by row of cells.

A slab of cell rows is read at once for all wanted stamps: its rows are whole chunks of the file,
so that each chunk is read once, and memory does not grow with the area.
"""

from collections.abc import Iterator

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gssm_cube.grid import Layout
from gssm_cube.sources.era5_land import DIMS, MeteoFile, Step, indices_of, open_location

SLAB_VALUES = 2**24  # 64 MB of float32
# Files packed apart give the same hour in steps of their own: twice the half step of 16 bits over
# the largest range (150 K, 2 m) is 0.002 K and 0.03 mm. What differs by more is other data.
SAME = {"t2m": 0.01, "mn2t": 0.01, "mx2t": 0.01, "tp": 1e-4, "e": 1e-4, "stl1": 0.01, "swvl1": 1e-4}

Values = NDArray[np.float32]


def step_of(files: list[MeteoFile], name: str) -> Step:
    """Step of the files that hold a variable, which is the same in all."""
    return next(file.step for file in files if name in file.names)


def slabs(files: list[MeteoFile], name: str, stamps: int, layout: Layout) -> list[slice]:
    """Cut the cell rows so that a slab is about 64 MB and cuts no chunk of the file.

    Parameters
    ----------
    files : list of MeteoFile
        The chunks of the first one that holds the variable count.
    name : str
    stamps : int
        Stamps that are read at once.
    layout : Layout
    """
    file = next(file for file in files if name in file.names)
    with open_location(file.path) as dataset:
        array = dataset[name]
        axis = next(str(dim) for dim in array.dims if DIMS.get(str(dim)) == "lat")
        chunk = array.encoding.get("preferred_chunks", {}).get(axis, 1)
        places = indices_of(dataset[axis].values, layout.cell_lat, file.path, "lat")
    rows, cols = layout.cells_shape
    edges = np.flatnonzero(np.diff(places // chunk, prepend=-1, append=-1))
    slab, most = [], max(1, SLAB_VALUES // (stamps * cols))
    start = 0
    for edge, following in zip(edges[1:-1], edges[2:], strict=True):
        if following - start > most:
            slab.append(slice(start, int(edge)))
            start = int(edge)
    return [*slab, slice(start, rows)]


def read_stamps(
    files: list[MeteoFile],
    name: str,
    stamps: NDArray[np.datetime64],
    layout: Layout,
    rows: slice = slice(None),
) -> xr.DataArray:
    """Read one variable at some stamps on the layout's cells.

    Parameters
    ----------
    files : list of MeteoFile
    name : str
        ``t2m``, ``mn2t``, ``mx2t`` or ``stl1`` K, ``tp`` or ``e`` m, ``swvl1`` m3 m-3.
    stamps : (stamp,) datetime64
        Whole hours, or days of daily aggregates; rising.
    layout : Layout
    rows : slice
        Cell rows of the layout.

    Returns
    -------
    DataArray (time, lat, lon), float32, the files' units
        In memory. NaN where no file holds the stamp, and over the sea.

    Raises
    ------
    ValueError
        If a file's cells are not those of the layout, a file cannot be read, or two files differ
        on the same stamp.
    """
    hours = stamps.astype("M8[h]")
    lat, lon = layout.cell_lat[rows], layout.cell_lon
    values = np.full((hours.size, lat.size, lon.size), np.nan, dtype="float32")
    for file in files:
        if name in file.names and file.first <= hours[-1] and file.last >= hours[0]:
            for where, part in _read_file(file, name, hours, lat, lon):
                _merge(values, where, part, f"{file.path}: {name}", hours, SAME[name])
    coords = {"time": hours.astype("M8[ns]"), "lat": lat, "lon": lon}
    return xr.DataArray(values, coords, ("time", "lat", "lon"), name)


def _read_file(
    file: MeteoFile,
    name: str,
    hours: NDArray[np.datetime64],
    lat: NDArray[np.float64],
    lon: NDArray[np.float64],
) -> Iterator[tuple[NDArray[np.intp], Values]]:
    """Yield places in ``hours`` and their values; a stamp that is there twice comes twice."""
    with open_location(file.path) as dataset:
        array = dataset[name].reset_coords(drop=True)
        array = array.rename({dim: DIMS[str(dim)] for dim in array.dims if dim in DIMS})
        held = array["time"].values.astype("M8[D]" if file.step == "day" else "M8[h]")
        box = {
            "lat": indices_of(array["lat"].values, lat, file.path, "lat"),
            "lon": indices_of(array["lon"].values, lon, file.path, "lon"),
        }
        unique, first, count = np.unique(
            held.astype("M8[h]"), return_index=True, return_counts=True
        )
        _, where, inside = np.intersect1d(hours, unique, return_indices=True)
        for repeat in range(count[inside].max(initial=0)):
            again = count[inside] > repeat
            box["time"] = first[inside[again]] + repeat
            yield where[again], _read_box(array, box, file)


def _read_box(array: xr.DataArray, box: dict[str, NDArray[np.intp]], file: MeteoFile) -> Values:
    """Read some places of each axis, in runs of neighbours; versions are merged."""
    lon_runs = _runs(box["lon"])
    span = {dim: int(box[dim].min()) for dim in ("time", "lat")}
    cut = {dim: slice(span[dim], int(box[dim].max()) + 1) for dim in ("time", "lat")}
    try:
        parts = [_final(array.isel(cut | {"lon": run})) for run in lon_runs]
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{file.path} cannot be read ({error}); download it again") from error
    known = np.concatenate([np.arange(run.start, run.stop) for run in lon_runs])
    cols = np.searchsorted(known, box["lon"])
    values = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)
    for axis, places in enumerate((box["time"] - span["time"], box["lat"] - span["lat"], cols)):
        if not np.array_equal(places, np.arange(values.shape[axis])):
            values = np.take(values, places, axis=axis)
    return values


def _runs(places: NDArray[np.intp]) -> list[slice]:
    """Slices of neighbours that hold all places, rising; a hole of up to 100 is read along."""
    unique = np.unique(places)
    breaks = np.flatnonzero(np.diff(unique) > 100) + 1
    return [slice(int(run[0]), int(run[-1]) + 1) for run in np.split(unique, breaks)]


def _final(array: xr.DataArray) -> Values:
    """Values (time, lat, lon); final ones before preliminary ones where both have a place."""
    if "expver" not in array.dims:
        return array.transpose("time", "lat", "lon").values.astype("float32", copy=False)
    order = np.argsort([int(version) for version in array["expver"].values])
    layers = array.transpose("expver", "time", "lat", "lon").values.astype("float32")[order]
    merged = layers[0]
    for layer in layers[1:]:
        np.copyto(merged, layer, where=np.isnan(merged))
    return merged


def _merge(
    values: Values,
    where: NDArray[np.intp],
    part: Values,
    what: str,
    hours: NDArray[np.datetime64],
    same: float,
) -> None:
    """Fill what is missing; raise if what is there already differs."""
    # Neighbours are a view, not a copy.
    whole = where.size == where[-1] - where[0] + 1
    region = slice(int(where[0]), int(where[-1]) + 1) if whole else where
    there = values[region]
    if not np.isnan(there).all():
        gap = np.abs(there - part)
        if np.fmax.reduce(gap, axis=None) > same:
            stamp = hours[where[np.flatnonzero((gap > same).any(axis=(1, 2)))[0]]]
            raise ValueError(
                f"{what} at {stamp}:00 differs by up to {np.nanmax(gap):.4g} from another file or "
                "from the same stamp before; keep one of them"
            )
        part = np.where(np.isnan(there), part, there)
    values[region] = part
