"""What each unit of the ingest depends on: its key, and the part of the scratch that it reads.

A key is a hash of the facts (name, size, time) of the very files that reach a unit, so that one
changed file renews the units of its days and places only. Keys are known before anything runs, so
a re-run reads again just the days that these units need.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm_cube import blocks, cube
from gssm_cube.blocks import digest
from gssm_cube.grid import Layout, Tile, Window
from gssm_cube.harmonise import water
from gssm_cube.ingest import scratch
from gssm_cube.ingest.inputs import (
    COMPOSITE_REACH,
    LEAD_DAYS,
    Inputs,
    composite_starts,
    fingerprint,
    soil_tiles,
    vegetation_starts,
)
from gssm_cube.ingest.padded import Padded
from gssm_cube.ingest.sensors import lst_stage, vegetation_stage
from gssm_cube.sources import groundwater, merit_hydro
from gssm_cube.sources.raster import Bounds
from gssm_cube.storage.growth import set_attrs
from gssm_cube.storage.locations import Location
from gssm_cube.storage.stores import open_group
from gssm_cube.variables import PREDICTORS, Upsampling

METEO_BACK_DAYS = water.WINDOW_DAYS - 1  # that a window of meteorology reads before its first
Days = tuple[np.datetime64, np.datetime64]  # first and last, both included
MARGIN = 0.02  # deg: more than half a cell of any static source


@dataclass(frozen=True)
class FileKeys:
    """Hashes of a run's files by day and place; each file is looked at once.

    Parameters
    ----------
    layout : Layout
    found : Inputs
    upsampling : "bilinear" or "nearest"
        How readers refine the meteorology: what they see depends on it.
    """

    layout: Layout
    found: Inputs
    upsampling: Upsampling = "bilinear"

    @cached_property
    def base(self) -> str:
        """Hash of what all units share: format, layout, packings."""
        packings = [f"{name} {variable.packing}" for name, variable in PREDICTORS.items()]
        # Not the last day: days that are added leave the units of those before as they are.
        place = {k: value for k, value in self.layout.to_dict().items() if k != "last_day"}
        return digest(cube.FORMAT, place, packings)

    @property
    def meteo_days(self) -> Days:
        """First and last day of meteorology that there are."""
        first, last = self.layout.time[[0, -1]]
        return first - self.found.lead_days, last

    @cached_property
    def _meteo(self) -> list[str]:
        """Hash of each file of meteorology."""
        return [fingerprint([file]) for file in self.found.era5_land]

    @cached_property
    def _lst(self) -> list[str]:
        """Hash of the LST files of each day; of none where the instrument gave nothing."""
        return [fingerprint(self.found.lst.get(day, {})) for day in self.layout.time.astype(object)]

    @cached_property
    def _lst_partners(self) -> dict[str, list[str]]:
        """Hash of the LST files of each day of the sensors beside Terra."""

        def of_day(sensor: str, day: date) -> Any:
            held = self.found.lst_partners[sensor]
            by_overpass = {name: held[name].get(day, {}) for name in held if sensor == "viirs"}
            return by_overpass or held.get(day, {})

        days = self.layout.time.astype(object)
        return {
            sensor: [fingerprint(of_day(sensor, day)) for day in days]
            for sensor in self.found.lst_partners
        }

    @cached_property
    def _composites(self) -> dict[str, list[str]]:
        """Hash of the files of each composite by sensor; of none where there are none."""
        held = {"terra": self.found.vegetation, **self.found.vegetation_partners}
        days = vegetation_starts(self.layout).astype(object)
        return {
            sensor: [fingerprint(files.get(day, {})) for day in days]
            for sensor, files in held.items()
        }

    def meteo(self, days: Days) -> str:
        """Hash of the files that hold hours of days, from 00 UTC to 00 UTC after the last."""
        pairs = zip(self.found.era5_land, self._meteo, strict=True)
        first, last = days
        held = [key for f, key in pairs if f.first <= last + 1 and f.last >= first]
        return digest(self.base, self.upsampling, held)

    def lst(self, part: slice) -> str:
        """Hash of the LST files of a part of the daily axis."""
        return digest(self.base, self._lst[part])

    def lst_partner(self, sensor: str, part: slice) -> str:
        """Hash of the LST files of a sensor beside Terra, of a part of the daily axis."""
        return digest(self.base, self._lst_partners[sensor][part])

    def composites(self, sensor: str, part: slice) -> str:
        """Hash of a sensor's files of a part of the composites that are read."""
        return digest(self.base, self._composites[sensor][part])

    @cached_property
    def _global(self) -> str:
        """Hash of the static layers that are one file for all tiles; of VRTs the text alone."""
        return digest(self.base, fingerprint((self.found.soilgrids, self.found.bedrock)))

    @cached_property
    def _wtd(self) -> list[tuple[Path, Bounds]]:
        """Water table files and where they reach."""
        return [(path, groundwater.extent(path)) for path in self.found.wtd]

    def static(self, tile: Tile) -> str:
        """Hash of the static files that reach a tile and its rim."""
        bounds = Padded(self.layout, tile).bounds
        tiles = self.found.merit_hydro
        terrain = [tiles[name] for name in merit_tiles(bounds) if name in tiles]
        depth = [path for path, extent in self._wtd if overlap(extent, bounds)]
        soil = soil_tiles(self.found.soilgrids, bounds)
        parts = [terrain, depth, soil] if soil else [terrain, depth]
        return digest(self._global, *map(fingerprint, parts))


def overlap(one: Bounds, other: Bounds) -> bool:
    """Whether two boxes overlap, with a margin of more than a cell's half."""
    apart = (one[0] - other[2], other[0] - one[2], one[1] - other[3], other[1] - one[3])
    return max(apart) <= MARGIN


def merit_tiles(bounds: Bounds) -> list[str]:
    """Names of the MERIT Hydro tiles that touch bounds, with a margin."""
    size = merit_hydro.TILE_DEGREES
    west, south, east, north = bounds
    rows = range(int((south - MARGIN) // size), int((north + MARGIN) // size) + 1)
    cols = range(int((west - MARGIN) // size), int((east + MARGIN) // size) + 1)
    return [merit_hydro.tile_name(row * size, col * size) for row in rows for col in cols]


# ---- days that units reach --------------------------------------------------------------------


def window_days(layout: Layout, window: Window) -> Days:
    """First and last day of a window."""
    first = layout.time[0] + window.start
    return first, first + window.days - 1


def run_days(layout: Layout, unit: str) -> Days:
    """First and last day of a run of days of meteorology in the scratch."""
    first = np.datetime64(unit, "D")
    return first, min(first + scratch.METEO_RUN_DAYS - 1, layout.time[-1])


def composite_reach(layout: Layout, year: int) -> slice:
    """Composites that are read for a year of the cube's, as a part of all that are read."""
    held = composite_starts(layout)[year * cube.COMPOSITES_A_YEAR :][: cube.COMPOSITES_A_YEAR]
    every = vegetation_starts(layout)
    begin = np.searchsorted(every, held[0] - COMPOSITE_REACH[0])
    end = np.searchsorted(every, held[-1] + COMPOSITE_REACH[1], side="right")
    return slice(int(begin), int(end))


def meteo_runs(layout: Layout, unit: str) -> list[str]:
    """Labels of the scratch's runs of days that a unit of meteorology reads.

    The first window spins the memory up, if need be on the first year, repeated.
    """
    window = layout.windows()[number_of(unit)]
    back = METEO_BACK_DAYS if window.number else LEAD_DAYS
    first = LEAD_DAYS + window.start - back
    return _runs(scratch.meteo_units(layout), first, LEAD_DAYS + window.start + window.days,
                 scratch.METEO_RUN_DAYS)  # fmt: skip


def lst_runs(layout: Layout, window: Window) -> list[str]:
    """Labels of the scratch's runs of days that a window of LST reads."""
    stop = window.start + window.days
    return _runs(scratch.lst_units(layout), window.start, stop, scratch.LST_RUN_DAYS)


def _runs(units: Sequence[str], start: int, stop: int, length: int) -> list[str]:
    """Units of runs of ``length`` days that hold any of the days from start to stop."""
    return list(units[start // length : (stop - 1) // length + 1])


def number_of(unit: str) -> int:
    """Return the number of the window or year that a label such as ``r058c185_w00`` ends in."""
    return int(unit.rsplit("_", 1)[1][1:])


# ---- keys of units ----------------------------------------------------------------------------


def static_keys(files: FileKeys) -> dict[str, str]:
    """Key of each tile of the static layers."""
    return {str(tile): files.static(tile) for tile in files.layout.tiles()}


def meteo_keys(files: FileKeys, units: Sequence[str]) -> dict[str, str]:
    """Key of each window of meteorology: all days until its end, for what fell is remembered."""
    layout, first = files.layout, files.meteo_days[0]
    keys = [
        digest(
            files.meteo((first, window_days(layout, window)[1])),
            files.found.lead_days,
            window.days,
        )
        for window in layout.windows()
    ]
    return {unit: keys[number_of(unit)] for unit in units}


def reanalysis_keys(files: FileKeys, units: Sequence[str]) -> dict[str, str]:
    """Key of each window of ERA5-Land's own soil: its days alone, for nothing is remembered."""
    windows = files.layout.windows()
    keys = [files.meteo(window_days(files.layout, window)) for window in windows]
    return {unit: keys[number_of(unit)] for unit in units}


def climate_keys(
    meteo: Mapping[str, str], units: Sequence[str], layout: Layout, years: tuple[int, int]
) -> dict[str, str]:
    """Key of the climate of each chunk of cells: the windows that hold its years, and these."""
    windows = [window for window in layout.windows() if in_years(layout, window, years).any()]
    return {
        unit: digest(years, [meteo[f"{unit}_{window}"] for window in windows]) for unit in units
    }


def in_years(layout: Layout, window: Window, years: tuple[int, int]) -> NDArray[np.bool_]:
    """Tell which days of a window lie in the years of the climate, first and last included."""
    year = layout.time[window.slice].astype("M8[Y]").astype("int64") + 1970
    return (year >= years[0]) & (year <= years[1])


def climatology_keys(units: Sequence[str], fitted: str, land: dict[str, str]) -> dict[str, str]:
    """Key of each tile's (or cells') climatology: what it was fitted on, and where land is."""
    return {unit: digest("climatology", fitted, land.get(unit)) for unit in units}


def bridge_keys(fits: Mapping[str, str], kind: str) -> dict[str, str]:
    """Key of each bridge of LST or vegetation: its files, and what its pixel classes came of."""
    return {
        name: digest("bridge", fitted, fits["climatology"])
        for name, fitted in fits.items()
        if name.startswith(f"{kind}_")
    }


def daily_keys(
    files: FileKeys,
    units: Sequence[str],
    climatology: dict[str, str],
    fits: Mapping[str, str],
    reach_pixels: float | None = None,
) -> dict[str, str]:
    """Key of each block of LST: the files of its days, air temperature, climatology and land.

    With other sensors also their files of these days, and the bridges; with a reach in space the
    climatology of neighbouring tiles as well.
    """
    layout, bridges = files.layout, bridge_keys(fits, "lst")

    def partners(window: Window) -> list[str]:
        return [files.lst_partner(sensor, window.slice) for sensor in files.found.lst_partners]

    keys = [
        digest(files.lst(window.slice), files.meteo(window_days(layout, window)),
               [*partners(window), *bridges.values()])
        for window in layout.windows()
    ]  # fmt: skip
    if reach_pixels:
        climatology = {
            tile: with_neighbours(climatology, tile, reach_pixels) for tile in climatology
        }
    return {unit: digest(keys[number_of(unit)], climatology[tile_of(unit)]) for unit in units}


def with_neighbours(keys: Mapping[str, str], label: str, reach_pixels: float) -> str:
    """Hash of a tile's key and those of its eight neighbours, and of how far they are seen."""
    tile, near = Tile.parse(label), (-1, 0, 1)
    around = [keys.get(str(Tile(tile.row + i, tile.col + j))) for i in near for j in near]
    return digest(around, reach_pixels)


def composite_keys(
    files: FileKeys, units: Sequence[str], land: dict[str, str], fits: Mapping[str, str]
) -> dict[str, str]:
    """Key of each tile-year of vegetation: the composites in its reach, bridges, and land."""
    sensors = ("terra", *files.found.vegetation_partners)
    bridges = list(bridge_keys(fits, "vegetation").values())

    def year_key(year: int) -> str:
        reach = composite_reach(files.layout, year)
        return digest([files.composites(sensor, reach) for sensor in sensors], bridges)

    keys = {year: year_key(year) for year in sorted({number_of(unit) for unit in units})}
    return {unit: digest(keys[number_of(unit)], land[tile_of(unit)]) for unit in units}


def scratch_keys(files: FileKeys) -> dict[str, dict[str, str]]:
    """Key of each unit of the scratch's stages."""
    layout = files.layout
    length = scratch.LST_RUN_DAYS
    runs = {
        unit: slice(number * length, (number + 1) * length)
        for number, unit in enumerate(scratch.lst_units(layout))
    }
    stages = {
        "meteo": {u: files.meteo(run_days(layout, u)) for u in scratch.meteo_units(layout)},
        "lst": {unit: files.lst(run) for unit, run in runs.items()},
    }
    for sensor in files.found.lst_partners:
        of_runs = {unit: files.lst_partner(sensor, run) for unit, run in runs.items()}
        stages[lst_stage(sensor)] = of_runs
    starts = scratch.vegetation_units(layout)
    for sensor in ("terra", *files.found.vegetation_partners):
        stages[vegetation_stage(sensor)] = {
            unit: files.composites(sensor, slice(number, number + 1))
            for number, unit in enumerate(starts)
        }
    return stages


def tile_of(unit: str) -> str:
    """Label of the tile of a label such as ``r058c185_w00``."""
    return unit.split("_")[0]


# ---- what the cube itself says ----------------------------------------------------------------


def land_digests(store: Location, tiles: Sequence[str]) -> dict[str, str]:
    """Hash of the land of each tile and its neighbours (holes are filled from there)."""

    def land(row: int, col: int) -> str | None:
        marker = blocks.read_marker(store, "static", str(Tile(row, col)))
        return marker.get("land_checksum") if marker else None

    near = (-1, 0, 1)
    places = {label: Tile.parse(label) for label in tiles}
    return {
        label: digest([land(tile.row + i, tile.col + j) for i in near for j in near])
        for label, tile in places.items()
    }


def fitted_digests(store: Location, files: FileKeys, refit: bool) -> dict[str, str]:
    """Hashes of the files that climatology and bridges were, or are to be, fitted on, by name.

    Once fitted they are frozen: a changed file must not change the past. ``refit`` lets them
    follow. Names of bridges are ``lst_viirs``, ``vegetation_aqua`` and so on.
    """
    whole = files.layout.time[[0, -1]]
    every = slice(None)
    now = {"climatology": digest(files.lst(every), files.meteo((whole[0], whole[-1])))}
    for sensor in files.found.lst_partners:
        now[f"lst_{sensor}"] = digest(files.lst(every), files.lst_partner(sensor, every))
    for sensor in files.found.vegetation_partners:
        pair = (files.composites("terra", every), files.composites(sensor, every))
        now[f"vegetation_{sensor}"] = digest(*pair)
    held = {} if refit else dict(open_group(store)["climatology"].attrs)
    return {name: str(held.get(f"{name}_digest", key)) for name, key in now.items()}


def freeze(store: Location, fits: Mapping[str, str]) -> None:
    """Note in the cube what its climatology or bridges were fitted on."""
    held = open_group(store)["climatology"].attrs
    said = {f"{name}_digest": fitted for name, fitted in fits.items()}
    if any(held.get(name) != value for name, value in said.items()):
        set_attrs(store, said, "climatology")
