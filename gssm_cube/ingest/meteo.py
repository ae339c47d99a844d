"""Meteorological predictors on chunks of 0.1 deg cells, window by window, and their climate.

A window continues from the state in which the one before left the memory of water; the state is
kept in the cube, so that windows may be made in several runs, or added later.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from gssm_cube import cube
from gssm_cube.blocks import checksum, write_marker
from gssm_cube.grid import Block, Layout, Window
from gssm_cube.harmonise import climate, memory, water
from gssm_cube.harmonise.memory import MemoryState
from gssm_cube.ingest.inputs import LEAD_DAYS, meteo_days
from gssm_cube.ingest.keys import METEO_BACK_DAYS, in_years
from gssm_cube.ingest.padded import pack
from gssm_cube.ingest.scratch import METEO
from gssm_cube.storage.locations import Location
from gssm_cube.storage.stores import DIMS, array_of, open_group, write_region
from gssm_cube.variables import PREDICTORS

WEATHER = ("precipitation", "tair", "tmin", "tmax")
SLAB_ROWS = 24  # of cells: with 120 columns and a window's 18 features 76 MB of float32
Values = dict[str, NDArray[np.float32]]


def cell_units(layout: Layout, windows: bool = True) -> list[str]:
    """Labels of the chunks of cells that tiles touch, window by window: ``k00k01_w00``."""
    size, window = cube.CELL_CHUNK, layout.windows()[0]
    touched = set()
    for tile in layout.tiles():
        _, *axes = cube.cell_region(layout, Block(tile, window))
        rows, cols = (range(a.start // size, (a.stop - 1) // size + 1) for a in axes)
        touched |= {(row, col) for row in rows for col in cols}
    places = [f"k{row:02d}k{col:02d}" for row, col in sorted(touched)]
    if not windows:
        return places
    return [f"{place}_{window}" for window in layout.windows() for place in places]


def cell_slices(unit: str, layout: Layout) -> tuple[slice, slice]:
    """Cell rows and columns of a label."""
    row, col = (int(part) for part in unit.split("_")[0].removeprefix("k").split("k"))
    return tuple(  # type: ignore[return-value]
        slice(k * cube.CELL_CHUNK, min((k + 1) * cube.CELL_CHUNK, size))
        for k, size in zip((row, col), layout.cells_shape, strict=True)
    )


@dataclass(frozen=True)
class MeteoCells:
    """Task: a window of meteorology on a chunk of 0.1 deg cells.

    The window before must be done. ``lead_days`` of meteorology lie before the first window.
    """

    cube: Location
    scratch: Path
    layout: Layout
    key: str
    lead_days: int = LEAD_DAYS

    def __call__(self, unit: str) -> dict[str, Any]:
        """Write the stacked features, and the state at the end."""
        window = self.layout.windows()[int(unit.split("_w")[1])]
        cells = cell_slices(unit, self.layout)
        root = open_group(self.cube, "r+")
        codes, state = self._compute(root, window, cells)
        region = (slice(0, len(cube.METEO)), window.slice, *cells)
        objects = write_region(array_of(root, "meteo/cells"), region, codes)
        place = (slice(window.number, window.number + 1), slice(0, cube.STATE_VALUES), *cells)
        objects += write_region(array_of(root, "meteo/state"), place, state[np.newaxis])
        facts = {"missing": int((codes == cube.FILL).sum()), "checksum": checksum(codes)}
        facts["state_checksum"] = checksum(state)
        write_marker(self.cube, "meteo", unit, self.key, objects, **facts)
        return facts

    def _compute(
        self, root: zarr.Group, window: Window, cells: tuple[slice, slice]
    ) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
        """Return the window's codes (feature, day, row, column), and the state at its end."""
        daily = self._read(slice(window.start - METEO_BACK_DAYS, window.start + window.days), cells)
        lat = self.layout.cell_lat[cells[0]][:, np.newaxis]
        state = np.stack(self._state(root, window, cells, lat))
        codes = np.empty((len(cube.METEO), window.days, *state.shape[1:]), dtype="int16")
        for top in range(0, len(lat), SLAB_ROWS):  # floats of a part of the cells at a time
            rows = slice(top, top + SLAB_ROWS)
            before = MemoryState(*state[:, rows])
            features, after = meteo_features(daily.isel(lat=rows), lat[rows], before)
            codes[:, :, rows] = np.stack([pack(name, features[name]) for name in cube.METEO])
            state[:, rows] = np.stack(after)
        return codes, state

    def _state(
        self,
        root: zarr.Group,
        window: Window,
        cells: tuple[slice, slice],
        lat: NDArray[np.float64],
    ) -> MemoryState:
        """Return where the window before left the memory, or spin it up."""
        if window.number:
            place = (window.number - 1, slice(None), *cells)
            return MemoryState(*np.asarray(array_of(root, "meteo/state")[place]))
        # A short lead-in is followed by what it lacks to a year, to be run through first.
        stop = min(LEAD_DAYS - self.lead_days, self.layout.days)
        daily = self._read(slice(-self.lead_days, stop), cells)
        weather = {name: daily[name].values for name in WEATHER}
        return memory.spin_up(weather, daily["time"].values.astype("M8[D]"), lat, self.lead_days)

    def _read(self, days: slice, cells: tuple[slice, slice]) -> xr.Dataset:
        """Read daily meteorology; days count from the first of the cube, those before below 0."""
        root = open_group(self.scratch)
        part = slice(LEAD_DAYS + days.start, LEAD_DAYS + days.stop)
        units = {"precipitation": "mm", "evaporation": "mm"}
        return xr.Dataset(
            {
                name: (
                    DIMS,
                    np.asarray(array_of(root, name)[(part, *cells)]),
                    {"units": units.get(name, "degC")},
                )
                for name in METEO
            },
            {"time": meteo_days(self.layout)[part].astype("M8[ns]")},
        )


def meteo_features(
    daily: xr.Dataset, lat: NDArray[np.float64], state: MemoryState
) -> tuple[Values, MemoryState]:
    """Return the meteorological predictors, and the state of the memory at the end.

    Parameters
    ----------
    daily : Dataset (time, lat, lon)
        ``precipitation`` and ``evaporation`` (upward positive), mm; ``tair``, ``tmin`` and
        ``tmax``, degC. The first 33 days only serve the indices and sums.
    lat : array (lat, 1), degrees north
    state : MemoryState (lat, lon)
        At the end of the 33rd day.
    """
    rain, evaporation = daily["precipitation"], daily["evaporation"]
    indices = {
        "apei": water.apei(rain, evaporation),
        "api": water.apei(rain, xr.zeros_like(evaporation)),
        "evaporation": evaporation,
        "tair": daily["tair"],
    }
    late = slice(METEO_BACK_DAYS - memory.LOOK_BACK_DAYS, None)
    weather = {name: daily[name].values[late] for name in WEATHER}
    days = daily["time"].values[late].astype("M8[D]")
    features, state = memory.memory_features(weather, days, lat, state)
    features |= {name: values.values[METEO_BACK_DAYS:] for name, values in indices.items()}
    return features, state


@dataclass(frozen=True)
class ReanalysisCells:
    """Task: a window of what ERA5-Land itself says of the soil, on a chunk of 0.1 deg cells."""

    cube: Location
    scratch: Path
    layout: Layout
    key: str

    def __call__(self, unit: str) -> dict[str, Any]:
        """Write the stacked codes; what no file holds stays missing."""
        window = self.layout.windows()[int(unit.split("_w")[1])]
        cells, root = cell_slices(unit, self.layout), open_group(self.cube, "r+")
        start = LEAD_DAYS + window.start
        days, waiting = slice(start, start + window.days), open_group(self.scratch)
        names = cube.reanalysis_of(root)
        daily = {name: np.asarray(array_of(waiting, name)[(days, *cells)]) for name in names}
        codes = np.stack([pack(name, values) for name, values in daily.items()])
        region = (slice(0, len(names)), window.slice, *cells)
        objects = write_region(array_of(root, "meteo/reanalysis"), region, codes)
        facts = {"missing": int((codes == cube.FILL).sum()), "checksum": checksum(codes)}
        write_marker(self.cube, "reanalysis", unit, self.key, objects, **facts)
        return facts


@dataclass(frozen=True)
class ClimateCells:
    """Task: the climate of a chunk of cells, over the days of the cube in ``years``."""

    cube: Location
    layout: Layout
    years: tuple[int, int]
    key: str

    def __call__(self, unit: str) -> dict[str, Any]:
        """Add up the windows and write the stacked means."""
        root, cells = open_group(self.cube, "r+"), cell_slices(unit, self.layout)
        total: NDArray[np.float64] = np.zeros(())
        for window in self.layout.windows():
            chosen = in_years(self.layout, window, self.years)
            if chosen.any():
                daily = {n: self._decoded(root, n, window, cells)[chosen] for n in climate.NEEDED}
                days = self.layout.time[window.slice][chosen]
                total = total + climate.climate_sums(daily, days)
        means = climate.climate_means(total)
        codes = np.stack([pack(name, means[name]) for name in cube.CLIMATE])
        region = (slice(0, len(cube.CLIMATE)), *cells)
        objects = write_region(array_of(root, "meteo/climate"), region, codes)
        facts = {"checksum": checksum(codes)}
        write_marker(self.cube, "climate", unit, self.key, objects, **facts)
        return facts

    @staticmethod
    def _decoded(
        root: zarr.Group, name: str, window: Window, cells: tuple[slice, slice]
    ) -> NDArray[np.float32]:
        """Values of one feature in a window."""
        place = (cube.METEO.index(name), window.slice, *cells)
        return PREDICTORS[name].packing.decode(array_of(root, "meteo/cells")[place])
