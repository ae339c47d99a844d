"""Aqua and VIIRS beside Terra: bridges to it, fitted on what both saw, frozen in the cube, used."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gssm_cube.blocks import parse_block, parse_tile, write_marker
from gssm_cube.flags import LST_FLAGS
from gssm_cube.grid import Layout
from gssm_cube.harmonise import bridge
from gssm_cube.ingest.composites import Composites, read_composites
from gssm_cube.ingest.scratch import lst_degrees
from gssm_cube.ingest.sensors import OVERPASSES, lst_array
from gssm_cube.storage.growth import set_attrs
from gssm_cube.storage.locations import Location
from gssm_cube.storage.stores import array_of, open_group
from gssm_cube.variables import names_of

LST_TABLES = {"lst_day": "day", "lst_night": "night"}  # of a bridge, as it is kept
SAMPLE_UNITS = 256  # blocks or tiles that a bridge is fitted on, at most
SAMPLE_EDGE = 60  # pixels along a tile's edge that are read of them
PERCENT = 100.0  # the bridge's bins and floors are made for kelvin: 0.0005 of an index
# Composites are few, two years of them are enough; an index must vary by 0.03.
VEGETATION_LIMITS = bridge.Limits(line_days=46, spread=3.0)
GOOD_WEIGHT = 0.5  # reliability 0 or 1


def attribute_of(name: str) -> str:
    """Attribute of the cube that keeps a bridge (``lst_viirs``, ``vegetation_aqua``, ...)."""
    return f"bridge_{name}"


@dataclass(frozen=True)
class LstBridge:
    """Task: the bridge from a sensor's LST to Terra's, fitted on a sample of blocks.

    The unit is ``lst_`` and the sensor; ``blocks`` are labels of blocks with land, in one order.
    """

    cube: Location
    scratch: Path
    layout: Layout
    blocks: list[str]
    key: str

    def __call__(self, unit: str) -> dict[str, Any]:
        """Fit day and night, write the tables as an attribute."""
        sensor = unit.removeprefix("lst_")
        tables = {
            table: bridge.fit_bridge(partial(self._days, sensor, name))
            for name, table in LST_TABLES.items()
        }
        write_bridge(self.cube, unit, tables, self.layout, self.key)
        return {}

    def _days(self, sensor: str, name: str) -> Iterator[bridge.Pairs]:
        """Yield the days of each sampled block, every few pixels: a block at a time is held."""
        root, scratch_root = open_group(self.cube), open_group(self.scratch)
        for label in sample(self.blocks):
            block = parse_block(label, self.layout)
            rows, cols = self.layout.tile_slices(block.tile)
            thin = thinned(self.layout)
            classes = classes_at(root, rows, cols)[thin]
            terra, other = (
                np.asarray(array_of(scratch_root, array)[(block.window.slice, rows, cols)])
                for array in (name, lst_array(sensor, name))
            )
            for one, two in zip(terra, other, strict=True):
                if one.any() and two.any():
                    yield bridge.Pairs(lst_degrees(two[thin]), lst_degrees(one[thin]), classes)


@dataclass(frozen=True)
class VegetationBridge:
    """Task: the bridge from a sensor's NDVI and EVI to Terra's, fitted on a sample of tiles.

    The unit is ``vegetation_`` and the sensor. Composites pair by their place in the year, though
    each pixel has its own date in either: what that adds is noise, which the fit averages.
    """

    cube: Location
    scratch: Path
    layout: Layout
    tiles: list[str]
    key: str

    def __call__(self, unit: str) -> dict[str, Any]:
        """Fit both indices, write the tables as an attribute."""
        sensor = unit.removeprefix("vegetation_")
        tables = {
            name: bridge.fit_bridge(partial(self._composites, sensor, name),
                                    limits=VEGETATION_LIMITS)
            for name in names_of("composite")
        }  # fmt: skip
        write_bridge(self.cube, unit, tables, self.layout, self.key)
        return {}

    def _composites(self, sensor: str, name: str) -> Iterator[bridge.Pairs]:
        """Yield the composites of each sampled tile, of good or marginal pixels, in percent."""
        root, scratch_root = open_group(self.cube), open_group(self.scratch)
        for label in sample(self.tiles):
            rows, cols = self.layout.tile_slices(parse_tile(label))
            thin = thinned(self.layout)
            classes = classes_at(root, rows, cols)[thin]
            for number in range(array_of(scratch_root, name).shape[0]):
                near = slice(number, number + 1)
                one, two = (
                    good_percent(read_composites(scratch_root, s, name, near, rows, cols))[0][thin]
                    for s in ("terra", sensor)
                )
                yield bridge.Pairs(two, one, classes)


def good_percent(composites: Composites) -> NDArray[np.float32]:
    """Values of good or marginal pixels in percent, else NaN."""
    good = composites.weights >= GOOD_WEIGHT
    return np.where(good, composites.values * np.float32(PERCENT), np.float32(np.nan))


def sample(units: Sequence[str]) -> Sequence[str]:
    """Return evenly spread units, 256 at most."""
    return units[:: max(1, -(-len(units) // SAMPLE_UNITS))]


def thinned(layout: Layout) -> tuple[slice, slice]:
    """Every few rows and columns of a tile."""
    step = max(1, layout.tile_size // SAMPLE_EDGE)
    return (slice(None, None, step), slice(None, None, step))


def write_bridge(
    store: Location, name: str, tables: Mapping[str, Any], layout: Layout, key: str
) -> None:
    """Keep a bridge in the cube, with the days that it was fitted on, and its marker."""
    days = (str(layout.first_day), str(layout.last_day))
    text = bridge.bridge_to_json(dict(tables), days)
    set_attrs(store, {attribute_of(name): text})
    facts = {table: bridge.summary(rows) for table, rows in tables.items()}
    write_marker(store, "bridge", name, key, **facts)


def classes_at(root: zarr.Group, rows: slice, cols: slice) -> NDArray[np.int16]:
    """Return the pixel classes of a region, from the cube's frozen LST climatology."""
    day, night = (
        np.asarray(array_of(root, f"climatology/{name}")[0, rows, cols]) for name in OVERPASSES
    )
    return bridge.pixel_classes(day, night)


def read_bridge(root: zarr.Group, name: str, tables: Sequence[str]) -> dict[str, Any]:
    """Return the tables of a frozen bridge."""
    return bridge.bridge_from_json(str(root.attrs[attribute_of(name)]), tables)


class BridgedLst:
    """A sensor's LST of a region as Terra would have it."""

    def __init__(
        self, root: zarr.Group, scratch_root: zarr.Group, sensor: str, rows: slice, cols: slice
    ) -> None:
        self.sensor, self.scratch_root, self.place = sensor, scratch_root, (rows, cols)
        self.tables = read_bridge(root, f"lst_{sensor}", list(LST_TABLES.values()))
        self.classes = classes_at(root, rows, cols)

    def complete(self, name: str, observed: NDArray[np.float32], days: slice) -> NDArray[np.bool_]:
        """Put the bridged LST where ``observed`` (day, lat, lon, degC) is NaN; return where."""
        array = array_of(self.scratch_root, lst_array(self.sensor, name))
        numbers = np.asarray(array[(days, *self.place)])
        table = self.tables[LST_TABLES[name]]
        bridged = bridge.apply_bridge(lst_degrees(numbers), self.classes, table)
        taken = np.isnan(observed) & ~np.isnan(bridged)
        np.copyto(observed, bridged, where=taken)
        return taken

    def flag(self, name: str) -> int:
        """Bit that says that an overpass came from this sensor."""
        return LST_FLAGS[f"{name}_{self.sensor}"]


def complete_vegetation(
    terra: Composites,
    other: Composites,
    classes: NDArray[np.int16],
    table: Any,
) -> NDArray[np.bool_]:
    """Put a sensor's good or marginal pixels where Terra has none, in place; return where."""
    index = bridge.apply_bridge(other.values * np.float32(PERCENT), classes, table) / PERCENT
    better = (other.weights >= GOOD_WEIGHT) & (terra.weights < GOOD_WEIGHT)
    taken = better & ~np.isnan(index) & ~np.isnan(other.dates)
    for mine, new in ((terra.values, index), (terra.dates, other.dates),
                      (terra.weights, other.weights)):  # fmt: skip
        np.copyto(mine, new, where=taken, casting="same_kind")
    return taken
