"""ERA5-Land from a Zarr on a web server, in the layout of Earth Data Hub: chunk by chunk.

earthdatahub.destine.eu, collection era5: dims (valid_time, latitude, longitude), cells of 0.1 deg
from 90 N and 0 E, without Antarctica; hourly values accumulate since 00 UTC. Chunks differ between
versions (2880 x 64 x 64, later 1440 x 50 x 100), so the store itself is asked for them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import netCDF4
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gssm_cube.grid import Layout
from gssm_cube.sources import era5_land
from gssm_cube.sources.ee_files import (
    add_axes,
    add_meteo_variable,
    add_stamps,
    remove_shorter,
)
from gssm_cube.sources.ee_requests import Box, PixelGrid, common
from gssm_cube.sources.tries import Refused
from gssm_cube.storage.files import replaced

TURN = 3600  # cells round the globe


@dataclass(frozen=True)
class StoreLayout:
    """What a store says of itself: its variables, stamps, cells and chunks."""

    names: tuple[str, ...]
    units: tuple[str, ...]
    first: str  # stamp
    step: Literal["h", "D"]
    north: int  # tenths of a degree, of the first row; rows run southward
    west: int
    shape: tuple[int, int, int]  # time, latitude, longitude
    chunks: tuple[int, int, int]

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)

    @classmethod
    def of(cls, values: dict[str, Any]) -> "StoreLayout":
        """Return what ``to_dict`` gave."""
        known: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        return cls(**known)

    def only(self, names: Iterable[str]) -> "StoreLayout":
        """Return the layout with those of its variables that are named."""
        held = {n: u for n, u in zip(self.names, self.units, strict=True) if n in set(names)}
        return replace(self, names=tuple(held), units=tuple(held.values()))

    @property
    def is_daily(self) -> bool:
        """Whether the store holds daily aggregates."""
        return self.step == "D"

    @property
    def _first(self) -> np.datetime64:
        """First stamp."""
        return np.datetime64(self.first).astype(f"M8[{self.step}]")

    def stamps(self, places: range) -> NDArray[np.datetime64]:
        """Return the stamps of some places on the time axis."""
        return self._first + np.arange(places.start, places.stop)

    def times_of(self, stamps: NDArray[np.datetime64]) -> range:
        """Return the places of the wanted stamps that the store has; they follow one another."""
        places = (stamps[[0, -1]] - self._first).astype("int64")
        return common(range(int(places[0]), int(places[1]) + 1), range(self.shape[0]))


# What is planned with until a store has been asked: Earth Data Hub's hourly one.
USUAL = StoreLayout(
    ("t2m", "tp", "e", "swvl1", "stl1"),
    ("K", "m", "m of water equivalent", "m**3 m**-3", "K"),
    "1950-01-01T00",
    "h",
    900,
    0,
    (2**20, 1472, 3600),
    (1440, 50, 100),
)


def usual_layout(address: str) -> StoreLayout:
    """Return what a store is taken to be until it has been asked: daily if its name says so."""
    if "daily" not in address.rsplit("/", 1)[-1]:
        return USUAL
    return replace(USUAL, first="1950-01-02", step="D", chunks=(480, 50, 100))


@dataclass(frozen=True)
class ChunkRequest:
    """The part of one chunk of one variable that a run needs; the whole chunk is fetched."""

    address: str
    name: str
    times: range  # places in the store
    rows: range
    cols: range
    out: tuple[int, int]  # first row and column in the run's cells
    chunk_values: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Stamps, rows and columns."""
        return len(self.times), len(self.rows), len(self.cols)

    @property
    def bytes(self) -> int:
        """Size of the chunk, uncompressed."""
        return 4 * self.chunk_values

    @property
    def about(self) -> str:
        """What is asked, for people."""
        place = f"rows {self.rows.start}-{self.rows.stop - 1}, columns {self.cols.start}-"
        return f"{self.address}, {self.name}, {place}{self.cols.stop - 1}"


# ---- what a store says of itself --------------------------------------------------------------


def layout_of(dataset: xr.Dataset, address: str) -> StoreLayout:
    """Return the layout of an open store.

    Raises
    ------
    Refused
        If it is not ERA5-Land by the hour or day, from north to south and west to east.
    """
    try:
        era5_land.check_grid(dataset, address)
        names = era5_land.check_variables(dataset, address)
        arrays = [dataset[name] for name in names]
        axis = era5_land.time_axis(arrays[0])
        stamps = dataset[axis].values
        daily = all(era5_land.says_daily(address, array) for array in arrays)
        step: Literal["h", "D"] = (
            "D" if era5_land.check_stamps(stamps, address, daily) == "day" else "h"
        )
    except ValueError as error:
        raise Refused(str(error)) from error
    lat, lon = (_tenths(dataset, arrays[0], dim, address) for dim in (1, 2))
    shape, chunks = arrays[0].shape, arrays[0].encoding.get("chunks") or arrays[0].shape
    units = tuple(str(array.attrs["units"]) for array in arrays)
    ends = stamps[[0, -1]].astype(f"M8[{step}]")
    if int((ends[1] - ends[0]).astype("int64")) != stamps.size - 1:
        raise Refused(f"{address} has a stamp twice; download NetCDF files instead")
    place = str(ends[0]), step, int(lat[0]), int(lon[0])
    return StoreLayout(names, units, *place, _three(shape), _three(chunks))


def _three(numbers: Sequence[int]) -> tuple[int, int, int]:
    """Return three numbers."""
    time, lat, lon = map(int, numbers)
    return time, lat, lon


def _tenths(dataset: xr.Dataset, array: xr.DataArray, place: int, address: str) -> Any:
    """Return an axis in tenths of a degree; raise unless it runs southward, or eastward."""
    name = str(array.dims[place])
    wanted = ("lat", -1) if place == 1 else ("lon", 1)
    tenths = np.rint(dataset[name].values * 10).astype("int64")
    if era5_land.DIMS.get(name) != wanted[0] or (np.diff(tenths) != wanted[1]).any():
        raise Refused(
            f"{address}: {array.dims} do not run with time, southward and eastward, expected the "
            "layout of Earth Data Hub; download NetCDF files instead"
        )
    return tenths


def chunk_requests(
    store: StoreLayout, address: str, layout: Layout, times: range
) -> Iterator[ChunkRequest]:
    """Yield the requests for a layout's cells at some places of the time axis of one chunk.

    Raises
    ------
    ValueError
        If the store ends north of the cells.
    """
    first = store.north - round(layout.cell_lat[0] * 10)
    rows = range(first, first + layout.cells_shape[0])
    if rows.start < 0 or rows.stop > store.shape[1]:
        south = (store.north - store.shape[1] + 1) / 10
        raise ValueError(
            f"{address} reaches from {store.north / 10} to {south} N, expected the cells "
            f"{layout.cell_lat[-1]:.1f} .. {layout.cell_lat[0]:.1f} of this run; take a smaller "
            "region, or ERA5-Land from the Climate Data Store"
        )
    west = round(layout.cell_lon[0] * 10) - store.west
    wanted = range(west, west + min(layout.cells_shape[1], TURN))
    values = int(np.prod(store.chunks))
    for name, part in product(store.names, _steps(rows, store.chunks[1])):
        for cols, place in _columns(store, wanted):
            out = part.start - rows.start, place
            yield ChunkRequest(address, name, times, part, cols, out, values)


def _columns(store: StoreLayout, wanted: range) -> Iterator[tuple[range, int]]:
    """Yield columns of the store by chunk, and where they begin among those that are wanted.

    The wanted ones count from the store's first, on round the globe, and may begin before it.
    """
    for turn in range(wanted.start // TURN, (wanted.stop - 1) // TURN + 1):
        held = common(wanted, range(turn * TURN, turn * TURN + store.shape[2]))
        own = range(held.start - turn * TURN, held.stop - turn * TURN)
        for cols in _steps(own, store.chunks[2]):
            yield cols, cols.start + turn * TURN - wanted.start


def time_chunks(store: StoreLayout, times: range) -> Iterator[range]:
    """Cut places on the time axis at the borders of chunks."""
    yield from _steps(times, store.chunks[0])


def read_chunk(dataset: xr.Dataset, request: ChunkRequest) -> NDArray[np.float32]:
    """Read what a request asks of an open store (time, lat, lon); NaN where it is missing."""
    spans = (request.times, request.rows, request.cols)
    part = dataset[request.name].variable[tuple(slice(s.start, s.stop) for s in spans)]
    return np.asarray(part.values, dtype="float32")


def _steps(span: range, step: int) -> Iterator[range]:
    """Cut a range at the multiples of a step."""
    for start in range(span.start // step * step, span.stop, step):
        yield common(range(start, start + step), span)


# ---- files ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class StoreFile:
    """Writes the stamps of one chunk as the Climate Data Store delivers them."""

    path: Path
    store: StoreLayout
    grid: PixelGrid
    box: Box
    times: range

    def __call__(self, answers: Sequence[tuple[Any, NDArray[Any]]]) -> None:
        """Write all variables; shorter files that begin alike are removed."""
        with replaced(self.path) as partial, netCDF4.Dataset(partial, "w") as dataset:
            dataset.Conventions = "CF-1.7"
            add_axes(dataset, self.grid, self.box, ("latitude", "longitude"))
            add_stamps(dataset, self.store.stamps(self.times))
            variables = {
                name: add_meteo_variable(dataset, name, units)
                for name, units in zip(self.store.names, self.store.units, strict=True)
            }
            for request, values in answers:
                _, rows, cols = request.shape
                row, col = request.out
                place = slice(row, row + rows), slice(col, col + cols)
                variables[request.name][:, *place] = values
        remove_shorter(self.path)
