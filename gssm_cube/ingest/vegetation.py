"""Vegetation indices: a year of smoothed composites of a tile."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gssm_cube import cube
from gssm_cube.blocks import checksum, digest, parse_tile, write_marker
from gssm_cube.flags import VEGETATION_FLAGS
from gssm_cube.grid import Layout
from gssm_cube.harmonise import vegetation
from gssm_cube.harmonise.regrid import fill_from_nearest
from gssm_cube.ingest.bridges import (
    GOOD_WEIGHT,
    classes_at,
    complete_vegetation,
    read_bridge,
)
from gssm_cube.ingest.composites import read_composites
from gssm_cube.ingest.inputs import COMPOSITE_REACH, vegetation_starts
from gssm_cube.ingest.padded import HOLE_PIXELS, Padded, pack
from gssm_cube.storage.locations import Location
from gssm_cube.storage.stores import array_of, open_group, write_region
from gssm_cube.variables import names_of

INDICES = names_of("composite")


def composite_units(layout: Layout, tiles: list[str], composites: int) -> list[str]:
    """Labels of tile-years of composites: ``r058c185_y00``."""
    years = range(-(-composites // cube.COMPOSITES_A_YEAR))
    return [f"{tile}_y{year:02d}" for year in years for tile in tiles]


@dataclass(frozen=True)
class CompositeTile:
    """Task: a year of smoothed vegetation of a tile.

    ``newest`` is the start of the newest composite of all files; ``partners`` stand in, over the
    cube's bridges, where Terra has no good or marginal observation.
    """

    cube: Location
    scratch: Path
    layout: Layout
    key: str
    newest: np.datetime64
    partners: tuple[str, ...] = ()

    def __call__(self, unit: str) -> dict[str, Any]:
        """Smooth on each pixel's own dates, fill small holes from nearby land, and write."""
        padded = Padded(self.layout, parse_tile(unit))
        rows, cols, core = padded.within()
        root = open_group(self.cube, "r+")
        land = np.asarray(array_of(root, "static/land")[rows, cols]) == 1
        composites, at, near = self._composites(root, int(unit.split("_y")[1]))
        region = (composites, *self.layout.tile_slices(padded.tile))
        smoother = Smoother(root, open_group(self.scratch), near, rows, cols, self.partners)
        provisional = vegetation.is_provisional(at, self.newest)
        quality = np.zeros((len(at), *land.shape), dtype="uint16")
        quality[provisional] = VEGETATION_FLAGS["vegetation_provisional"]
        objects: list[str] = []
        facts: dict[str, Any] = {}
        checksums = []
        for name in INDICES:
            values, flags = filled_index(smoother, name, at, land)
            quality |= flags
            codes = pack(name, values[(slice(None), *core)])
            objects += write_region(array_of(root, f"composite/{name}"), region, codes)
            facts[f"{name}_missing"] = int(((codes == cube.FILL) & land[core]).sum())
            checksums.append(checksum(codes))
        quality = np.where(land, quality, np.uint16(0))[(slice(None), *core)]
        objects += write_region(array_of(root, "composite/quality"), region, quality)
        facts |= composite_facts(quality, land[core])
        facts["checksum"] = digest([*checksums, checksum(quality)])
        write_marker(self.cube, "composite", unit, self.key, objects, **facts)
        return facts

    def _composites(
        self, root: zarr.Group, year: int
    ) -> tuple[slice, NDArray[np.datetime64], slice]:
        """Return a year's places in the cube, its dates, and their reach in the scratch."""
        starts = self.layout.time[0] + cube.composite_starts_of(root, self.layout)
        first = year * cube.COMPOSITES_A_YEAR
        composites = slice(first, min(first + cube.COMPOSITES_A_YEAR, len(starts)))
        at = starts[composites]
        every = vegetation_starts(self.layout)
        begin = np.searchsorted(every, at[0] - COMPOSITE_REACH[0])
        end = np.searchsorted(every, at[-1] + COMPOSITE_REACH[1], side="right")
        return composites, at, slice(int(begin), int(end))


def filled_index(
    smoother: "Smoother", name: str, at: NDArray[np.datetime64], land: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
    """Return an index (1) at the dates ``at``, small holes filled from nearby land, and flags."""
    smooth, flags = smoother.smooth(name, at)
    for number, layer in enumerate(smooth):
        smooth[number], holes = fill_from_nearest(layer, land, HOLE_PIXELS)
        flags[number, holes] |= VEGETATION_FLAGS["vegetation_filled"]
    values = np.where(land, smooth, np.float32(np.nan))
    flags[np.isnan(values)] |= VEGETATION_FLAGS["vegetation_missing"]
    return values, flags


def composite_facts(quality: NDArray[np.uint16], land: NDArray[np.bool_]) -> dict[str, int]:
    """Count pixels of composites over land, and of them each flag."""
    counts = {
        name.removeprefix("vegetation_"): int(np.count_nonzero(quality & bit))
        for name, bit in VEGETATION_FLAGS.items()
    }
    return {"valid": int(len(quality) * land.sum()) - counts["missing"], **counts}


class Smoother:
    """Smooths the composites of a region, Terra's completed by its partners'."""

    def __init__(
        self,
        root: zarr.Group,
        scratch_root: zarr.Group,
        near: slice,
        rows: slice,
        cols: slice,
        partners: tuple[str, ...] = (),
    ) -> None:
        self.scratch_root, self.place, self.partners = scratch_root, (near, rows, cols), partners
        self.starts = np.asarray(scratch_root.attrs["composites"], dtype="M8[D]")[near]
        self.tables = {
            sensor: read_bridge(root, f"vegetation_{sensor}", INDICES) for sensor in partners
        }
        self.classes = classes_at(root, rows, cols)

    def smooth(
        self, name: str, at: NDArray[np.datetime64]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint16]]:
        """Return an index (1) at the dates ``at``, NaN where nothing is near, and its flags."""
        composites = read_composites(self.scratch_root, "terra", name, *self.place)
        flags = np.zeros(composites.values.shape, dtype="uint16")
        for sensor in self.partners:
            other = read_composites(self.scratch_root, sensor, name, *self.place)
            taken = complete_vegetation(composites, other, self.classes, self.tables[sensor][name])
            flags[taken] |= VEGETATION_FLAGS[f"vegetation_{sensor}"]
        flags[composites.weights < GOOD_WEIGHT] |= VEGETATION_FLAGS["vegetation_filled"]
        smooth = vegetation.smooth_composites(
            composites.values, composites.dates, composites.weights, at
        )
        return smooth, flags[np.searchsorted(self.starts, at)]
