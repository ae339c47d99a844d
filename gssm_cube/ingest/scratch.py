"""First half of the ingest: each provider file is read once and lands, by day, in a scratch store.

The scratch has the grid of the cube but few days (or one composite) a chunk, as files come; the
cube has a window of days a chunk, as it is read. Writing days straight into the cube would rewrite
each shard 366 times. The scratch is deleted when the cube is complete.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gssm_cube.blocks import write_marker
from gssm_cube.grid import Layout
from gssm_cube.harmonise.regrid import sinusoidal_index
from gssm_cube.ingest import era5_days
from gssm_cube.ingest.inputs import LEAD_DAYS, meteo_days, vegetation_starts
from gssm_cube.ingest.sensors import (
    OVERPASSES,
    PARTNERS,
    VEGETATION,
    LstReader,
    VegetationReader,
    lst_array,
    lst_stage,
    vegetation_array,
    vegetation_stage,
)
from gssm_cube.sources import era5_land, modis
from gssm_cube.sources.sinusoidal import span
from gssm_cube.storage.stores import array_of, codec, created_whole, open_group
from gssm_cube.variables import FILL

METEO_RUN_DAYS = 32  # days a task reads
LST_RUN_DAYS = 16  # also the days of a chunk: 184 MB a zone and overpass
ZONE_DEGREES = 20
METEO = tuple(name for names in era5_days.VARIABLES.values() for name in names)
SOIL = tuple(era5_days.SOIL)


# ---- the store --------------------------------------------------------------------------------


def create_scratch(store: Path, layout: Layout) -> None:
    """Create the empty scratch; one that is there is kept, unless its days are others."""
    about: dict[str, Any] = {"layout": layout.to_dict(), "meteo": [*METEO, *SOIL]}
    if (store / "zarr.json").exists() and about.items() <= dict(open_group(store).attrs).items():
        return
    remove_scratch(store)
    rows, cols = layout.cells_shape
    days, starts = len(meteo_days(layout)), vegetation_starts(layout)
    size, zone = layout.tile_size, zone_size(layout)
    chunks, shards = (1, size, size), (1, zone, zone)
    with created_whole(store) as root:
        for name in (*METEO, *SOIL):
            cells = (METEO_RUN_DAYS, rows, cols)
            _array(root, name, (days, rows, cols), cells, None, "float32", np.nan)
        run, spread = (LST_RUN_DAYS, size, size), (LST_RUN_DAYS, zone, zone)
        for sensor in ("terra", *PARTNERS):
            for name in OVERPASSES:
                shape = (layout.days, *layout.shape)
                _array(root, lst_array(sensor, name), shape, run, spread, "uint16", 0)
            for name in VEGETATION:
                shape = (len(starts), *layout.shape)
                _array(root, vegetation_array(sensor, name), shape, chunks, shards, "int16", FILL)
        root.attrs.update({**about, "composites": [str(day) for day in starts]})


def lst_degrees(numbers: Any) -> NDArray[np.float32]:
    """Return LST in degC of digital numbers (0.02 K, 0 missing)."""
    degrees = np.asarray(numbers).astype("float32")
    missing = degrees <= 0
    degrees *= np.float32(0.02)  # in place: a window of a tile is large
    degrees -= np.float32(273.15)
    degrees[missing] = np.nan
    return degrees


def remove_scratch(store: Path) -> None:
    """Delete a scratch: its markers first, for they must never outlive the values."""
    shutil.rmtree(f"{store}.markers", ignore_errors=True)
    shutil.rmtree(store, ignore_errors=True)


def _array(
    root: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    shards: tuple[int, ...] | None,
    dtype: str,
    fill: float,
) -> None:
    """Create one array, compressed lightly."""
    root.create_array(
        name,
        shape=shape,
        chunks=chunks,
        shards=shards,
        dtype=dtype,
        fill_value=fill,
        compressors=[codec(level=1)],
        config={"write_empty_chunks": False},
    )


def zone_size(layout: Layout) -> int:
    """Edge of a zone in pixels: whole tiles, about 20 deg, no more than the store."""
    zone = ZONE_DEGREES * layout.grid.pixels_per_degree
    tiles = min(zone // layout.tile_size, max(layout.tile_rows, layout.tile_cols))
    return layout.tile_size * max(1, tiles)


def zones(layout: Layout) -> Iterator[tuple[slice, slice]]:
    """Cut a store into zones; those without a tile that is worked on are left out."""
    size, (rows, cols) = zone_size(layout), layout.shape
    corners = ((part.start for part in layout.tile_slices(tile)) for tile in layout.tiles())
    for row, col in sorted({(row // size * size, col // size * size) for row, col in corners}):
        yield slice(row, min(row + size, rows)), slice(col, min(col + size, cols))


# ---- tasks ------------------------------------------------------------------------------------


def meteo_units(layout: Layout) -> list[str]:
    """Labels of the runs of days of meteorology: their first days."""
    return [str(day) for day in meteo_days(layout)[::METEO_RUN_DAYS]]


def lst_units(layout: Layout) -> list[str]:
    """Labels of the runs of days of LST: their first days."""
    return [str(day) for day in layout.time[::LST_RUN_DAYS]]


def vegetation_units(layout: Layout) -> list[str]:
    """Labels of the composites: their start dates."""
    return [str(day) for day in vegetation_starts(layout)]


@dataclass(frozen=True)
class MeteoDays:
    """Task: a run of days of ERA5-Land to daily values on the cells, coast filled from land."""

    scratch: Path
    files: list[era5_land.MeteoFile]
    layout: Layout
    key: str
    soil: tuple[str, ...] = ()  # of what ERA5-Land says of the soil, what is read of own days

    def __call__(self, unit: str) -> dict[str, Any]:
        """Write precipitation, evaporation (mm d-1, upward) and air temperatures (degC)."""
        days = meteo_days(self.layout)
        first = int((np.datetime64(unit) - days[0]).astype(int))
        last = min(first + METEO_RUN_DAYS, len(days)) - 1
        root, missing, below = open_group(self.scratch, "r+"), 0, 0
        for source in (*era5_days.VARIABLES, *self.soil):
            run = slice(max(first, LEAD_DAYS) if source in self.soil else first, last + 1)
            if run.start > last:
                continue
            found, clipped = era5_days.daily_values(source, self.files, days[run], self.layout)
            below += clipped
            for name, values in found.items():
                missing += era5_days.fill_coast(values)
                array_of(root, name)[run] = values
        write_marker(self.scratch, "meteo", unit, self.key, missing=missing, clipped=below)
        return {"days": last - first + 1, "missing": missing, "clipped": below}


@dataclass(frozen=True)
class LstDays:
    """Task: a run of days of LST of one sensor to the grid, quality-checked, as numbers."""

    scratch: Path
    reader: LstReader
    layout: Layout
    key: str

    def __call__(self, unit: str) -> dict[str, Any]:
        """Write day and night LST (0.02 K, 0 missing) of each day."""
        first = int((np.datetime64(unit) - self.layout.time[0]).astype(int))
        days: list[date] = list(self.layout.time[first : first + LST_RUN_DAYS].astype(object))
        root, sensor = open_group(self.scratch, "r+"), self.reader.sensor
        for region in zones(self.layout):
            rows, cols = sinusoidal_index(self.layout.lat[region[0]], self.layout.lon[region[1]])
            place = (slice(first, first + len(days)), *region)
            for name, overpass in OVERPASSES.items():
                values = self._read(overpass, days, rows, cols)
                array_of(root, lst_array(sensor, name))[place] = values
        facts = self.reader.absent(days)
        write_marker(self.scratch, lst_stage(sensor), unit, self.key, **facts)
        return {"days": len(days), **facts}

    def _read(self, overpass: str, days: list[date], rows: Any, cols: Any) -> NDArray[np.uint16]:
        """Return (day, lat, lon) digital numbers of an overpass; a day without a file is 0."""
        values = np.zeros((len(days), *cols.shape), dtype="uint16")
        for number, day in enumerate(days):
            cutout = self.reader.read(day, overpass, span(rows), span(cols))
            if cutout is not None:
                values[number] = cutout.at(rows, cols, 0)
        return values


@dataclass(frozen=True)
class VegetationComposite:
    """Task: one composite of one sensor to the grid; one without a file stays missing."""

    scratch: Path
    reader: VegetationReader
    layout: Layout
    key: str

    def __call__(self, unit: str) -> dict[str, Any]:
        """Write NDVI, EVI (0.0001), reliability and the composite day of the year."""
        starts = vegetation_starts(self.layout)
        number = int(np.flatnonzero(starts == np.datetime64(unit))[0])
        start: date = starts[number].item()
        root, sensor = open_group(self.scratch, "r+"), self.reader.sensor
        fills = [modis.CODINGS[layer].fill for layer in modis.VEGETATION_LAYERS]
        for region in zones(self.layout):
            rows, cols = sinusoidal_index(self.layout.lat[region[0]], self.layout.lon[region[1]])
            cutouts = self.reader.read(start, span(rows), span(cols)) or ()
            for name, cutout, fill in zip(VEGETATION, cutouts, fills, strict=False):
                values = cutout.at(rows, cols, fill).astype("int16")
                place = (slice(number, number + 1), *region)
                array_of(root, vegetation_array(sensor, name))[place] = values[None]
        facts = self.reader.absent(start)
        write_marker(self.scratch, vegetation_stage(sensor), unit, self.key, **facts)
        return {"composites": 1, **facts}
