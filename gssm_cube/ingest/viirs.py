"""VIIRS beside MODIS: its daily LST in the scratch, the bridge between them, and its use."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gssm_cube import cube
from gssm_cube.blocks import parse_block, write_marker
from gssm_cube.grid import Layout
from gssm_cube.harmonise import bridge
from gssm_cube.harmonise.regrid import sinusoidal_index
from gssm_cube.ingest.scratch import (
    LST_RUN_DAYS,
    OVERPASSES,
    create_lst_arrays,
    lst_degrees,
    zones,
)
from gssm_cube.sources import viirs
from gssm_cube.sources.sinusoidal import span
from gssm_cube.stores import array_of, open_group

ARRAYS = {"lst_day": "viirs_day", "lst_night": "viirs_night"}  # of the scratch
TABLES = dict(zip(OVERPASSES, bridge.OVERPASSES, strict=True))
ATTRIBUTE = "lst_bridge"  # of the cube, as bridge.bridge_to_json has it
SAMPLE_BLOCKS = 256  # blocks that the bridge is fitted on, at most
SAMPLE_EDGE = 60  # pixels along a tile's edge that are read of them


def create_viirs(store: Path, layout: Layout) -> None:
    """Create the arrays of VIIRS in a scratch; those that are there are kept."""
    create_lst_arrays(open_group(store, "r+"), layout, ARRAYS.values())


@dataclass(frozen=True)
class ViirsDays:
    """Task: a run of days of VNP21A1 to the grid, quality-checked, as digital numbers.

    ``files`` by ``"Day"`` and ``"Night"``; days without files are missing.
    """

    scratch: Path
    files: dict[str, viirs.Files]
    layout: Layout
    key: str

    def __call__(self, unit: str) -> dict[str, Any]:
        """Write day and night LST (0.02 K, 0 missing) of each day."""
        first = int((np.datetime64(unit) - self.layout.time[0]).astype(int))
        days: list[date] = list(self.layout.time[first : first + LST_RUN_DAYS].astype(object))
        root = open_group(self.scratch, "r+")
        for region in zones(self.layout):
            rows, cols = sinusoidal_index(self.layout.lat[region[0]], self.layout.lon[region[1]])
            for name, overpass in OVERPASSES.items():
                values = self._read(overpass, days, rows, cols)
                place = (slice(first, first + len(days)), *region)
                array_of(root, ARRAYS[name])[place] = values
        absent = sum(day not in files for files in self.files.values() for day in days)
        write_marker(self.scratch, "viirs", unit, self.key, absent_days=absent)
        return {"days": len(days), "absent_days": absent}

    def _read(self, overpass: str, days: list[date], rows: Any, cols: Any) -> NDArray[np.uint16]:
        """Return (day, lat, lon) digital numbers of an overpass."""
        values = np.zeros((len(days), *cols.shape), dtype="uint16")
        for number, day in enumerate(days):
            if day in self.files[overpass]:
                files = self.files[overpass][day]
                cutout = viirs.read_lst(files, overpass, span(rows), span(cols))
                values[number] = cutout.at(rows, cols, 0)
        return values


@dataclass(frozen=True)
class LstBridge:
    """Task: the bridge from VIIRS to MODIS, fitted on a sample of blocks, into the cube.

    ``blocks`` are labels of blocks with land, in one fixed order.
    """

    cube: Path
    scratch: Path
    layout: Layout
    blocks: list[str]
    key: str

    def __call__(self, unit: str) -> dict[str, Any]:
        """Fit day and night, write the tables as an attribute."""
        tables = {TABLES[name]: bridge.fit_bridge(partial(self._days, name)) for name in OVERPASSES}
        days = (str(self.layout.first_day), str(self.layout.last_day))
        open_group(self.cube, "r+").attrs[ATTRIBUTE] = bridge.bridge_to_json(tables, days)
        facts = {name: bridge.summary(table) for name, table in tables.items()}
        write_marker(self.cube, "bridge", unit, self.key, **facts)
        return {}

    def _days(self, name: str) -> Iterator[bridge.Pairs]:
        """Yield the days of each sampled block, every few pixels: a block at a time is held."""
        root, scratch_root = open_group(self.cube), open_group(self.scratch)
        step = max(1, self.layout.tile_size // SAMPLE_EDGE)
        for label in self.blocks[:: -(-len(self.blocks) // SAMPLE_BLOCKS)]:
            block = parse_block(label, self.layout)
            rows, cols = self.layout.tile_slices(block.tile)
            thin = (slice(None, None, step),) * 2
            classes = classes_at(root, rows, cols)[thin]
            modis, npp = (
                np.asarray(array_of(scratch_root, array)[(block.window.slice, rows, cols)])
                for array in (name, ARRAYS[name])
            )
            for one, other in zip(modis, npp, strict=True):
                if one.any() and other.any():
                    pair = lst_degrees(other[thin]), lst_degrees(one[thin])
                    yield bridge.Pairs(*pair, classes)


def classes_at(root: zarr.Group, rows: slice, cols: slice) -> NDArray[np.int16]:
    """Return the pixel classes of a region, from the cube's frozen LST climatology."""
    day, night = (
        np.asarray(array_of(root, f"climatology/{name}")[0, rows, cols]) for name in OVERPASSES
    )
    return bridge.pixel_classes(day, night)


class BridgedViirs:
    """VIIRS LST of a block as MODIS would have it, chunk by chunk; its numbers are held."""

    def __init__(
        self, root: zarr.Group, scratch_root: zarr.Group, region: tuple[slice, slice, slice]
    ) -> None:
        self.tables = bridge.bridge_from_json(str(root.attrs[ATTRIBUTE]))
        self.classes = classes_at(root, *region[1:])
        self.numbers = {
            name: np.asarray(array_of(scratch_root, array)[region])
            for name, array in ARRAYS.items()
        }

    def complete(
        self, name: str, observed: NDArray[np.float32], rows: slice, cols: slice
    ) -> NDArray[np.bool_]:
        """Put bridged VIIRS where ``observed`` (time, lat, lon, degC) is NaN; return where.

        ``rows`` and ``cols`` are the chunk's, within the block.
        """
        numbers = self.numbers[name][:, rows, cols]
        classes, table = self.classes[rows, cols], self.tables[TABLES[name]]
        bridged = bridge.apply_bridge(lst_degrees(numbers), classes, table)
        taken = np.isnan(observed) & ~np.isnan(bridged)
        np.copyto(observed, bridged, where=taken)
        return taken


def flag_of(name: str) -> int:
    """Return the bit of the quality layer that says that an overpass came from VIIRS."""
    return cube.LST_FLAGS[f"{name}_viirs"]
