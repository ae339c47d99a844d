"""Vegetation indices: a year of smoothed composites of a tile."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from gssm_cube import cube
from gssm_cube.blocks import checksum, digest, parse_tile, write_marker
from gssm_cube.grid import Layout
from gssm_cube.harmonise import vegetation
from gssm_cube.harmonise.regrid import fill_from_nearest
from gssm_cube.ingest.inputs import COMPOSITE_REACH, vegetation_starts
from gssm_cube.ingest.padded import HOLE_PIXELS, Padded, pack
from gssm_cube.stores import array_of, open_group, write_region
from gssm_cube.variables import names_of


def composite_units(layout: Layout, tiles: list[str], composites: int) -> list[str]:
    """Labels of tile-years of composites: ``r058c185_y00``."""
    years = range(-(-composites // cube.COMPOSITES_A_YEAR))
    return [f"{tile}_y{year:02d}" for year in years for tile in tiles]


@dataclass(frozen=True)
class CompositeTile:
    """Task: a year of smoothed vegetation of a tile."""

    cube: Path
    scratch: Path
    layout: Layout
    key: str

    def __call__(self, unit: str) -> dict[str, Any]:
        """Smooth on each pixel's own dates, fill small holes from nearby land, and write."""
        padded = Padded(self.layout, parse_tile(unit))
        rows, cols, core = padded.within()
        root = open_group(self.cube, "r+")
        land = np.asarray(array_of(root, "static/land")[rows, cols]) == 1
        composites, at, near = self._composites(root, int(unit.split("_y")[1]))
        region = (composites, *self.layout.tile_slices(padded.tile))
        objects: list[str] = []
        facts: dict[str, Any] = {}
        checksums = []
        for name in names_of("composite"):
            smooth = smooth_vegetation(open_group(self.scratch), name, near, rows, cols, at)
            layers = [fill_from_nearest(layer, land, HOLE_PIXELS)[0] for layer in smooth]
            codes = pack(name, np.where(land, np.stack(layers), np.nan)[(slice(None), *core)])
            objects += write_region(array_of(root, f"composite/{name}"), region, codes)
            missing = (codes == cube.FILL) & land[core]
            facts[f"{name}_missing"] = int(missing.sum())
            checksums.append(checksum(codes))
        facts["checksum"] = digest(checksums)
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


def smooth_vegetation(
    scratch_root: zarr.Group,
    name: str,
    near: slice,
    rows: slice,
    cols: slice,
    at: NDArray[np.datetime64],
) -> NDArray[np.float32]:
    """Return a vegetation index (1) smoothed at the dates ``at``; NaN where nothing is near."""
    numbers, reliability, day = (
        np.asarray(array_of(scratch_root, layer)[near, rows, cols])
        for layer in (name, "reliability", "day")
    )
    valid = (numbers >= -2000) & (numbers <= 10000)  # MOD13 user guide (Didan et al. 2015)
    values = np.where(valid, numbers * np.float32(0.0001), np.float32(np.nan))
    starts = np.asarray(scratch_root.attrs["composites"], dtype="M8[D]")[near]
    dates = vegetation.composite_dates(starts, day)
    weights = vegetation.reliability_weights(reliability)
    return vegetation.smooth_composites(values, dates, weights, at)
