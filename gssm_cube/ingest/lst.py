"""Land surface temperature: harmonics over all years, then blocks without gaps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from gssm_cube import cube
from gssm_cube.blocks import checksum, parse_block, parse_tile, write_marker
from gssm_cube.grid import Block, Layout, Window, inner_chunks
from gssm_cube.harmonise import temperature
from gssm_cube.harmonise.regrid import fill_from_nearest
from gssm_cube.ingest.meteo import cell_slices
from gssm_cube.ingest.padded import HOLE_PIXELS, Padded, pack
from gssm_cube.ingest.scratch import OVERPASSES, lst_degrees
from gssm_cube.ingest.viirs import BridgedViirs, flag_of
from gssm_cube.interpolate import upsample_window
from gssm_cube.stores import array_of, open_group, write_region
from gssm_cube.variables import PREDICTORS, names_of


@dataclass(frozen=True)
class TairClimatology:
    """Task: harmonics of air temperature on a chunk of cells, over the frozen days."""

    cube: Path
    layout: Layout
    key: str

    def __call__(self, unit: str) -> dict[str, Any]:
        """Fit over all windows and write."""
        root = open_group(self.cube, "r+")
        cells = cell_slices(unit, self.layout)
        number = cube.METEO.index("tair")
        lhs, rhs = np.zeros(()), np.zeros(())
        for window in self.layout.windows():
            codes = array_of(root, "meteo/cells")[(number, window.slice, *cells)]
            values = PREDICTORS["tair"].packing.decode(codes)
            left, right = temperature.normal_equations(_terms(self.layout, window), values)
            lhs, rhs = lhs + left, rhs + right
        coefficients = temperature.solve_harmonics(lhs, rhs)
        region = (slice(0, cube.TERMS), *cells)
        objects = write_region(array_of(root, "climatology/tair"), region, coefficients)
        facts = {"checksum": checksum(coefficients)}
        write_marker(self.cube, "tair_climatology", unit, self.key, objects, **facts)
        return facts


@dataclass(frozen=True)
class LstClimatology:
    """Task: harmonics of day and night LST of a tile, small holes filled from nearby land."""

    cube: Path
    scratch: Path
    layout: Layout
    key: str

    def __call__(self, unit: str) -> dict[str, Any]:
        """Fit over all windows, on the tile and its rim, and write; the mean swing as well."""
        padded = Padded(self.layout, parse_tile(unit))
        rows, cols, core = padded.within()
        root = open_group(self.cube, "r+")
        land = np.asarray(array_of(root, "static/land")[rows, cols]) == 1
        region = (slice(0, cube.TERMS), *self.layout.tile_slices(padded.tile))
        objects: list[str] = []
        facts: dict[str, Any] = {}
        means = []
        for name in OVERPASSES:
            coefficients = self._fit(name, rows, cols)
            coefficients, filled = fill_from_nearest(coefficients, land, HOLE_PIXELS)
            coefficients = np.where(land, coefficients, np.nan)[(slice(None), *core)]
            array = array_of(root, f"climatology/{name}")
            objects += write_region(array, region, coefficients.astype("float32"))
            facts[f"{name}_holes"] = int((filled & land)[core].sum())
            facts[f"{name}_checksum"] = checksum(coefficients)
            means.append(coefficients[0])
        swing = pack("climate_lst_diff", means[0] - means[1])
        objects += write_region(array_of(root, "climatology/climate_lst_diff"), region[1:], swing)
        write_marker(self.cube, "climatology", unit, self.key, objects, **facts)
        return facts

    def _fit(self, name: str, rows: slice, cols: slice) -> NDArray[np.float32]:
        """Add up the normal equations window by window, and solve."""
        array = array_of(open_group(self.scratch), name)
        lhs, rhs = np.zeros(()), np.zeros(())
        for window in self.layout.windows():
            values = lst_degrees(array[window.slice, rows, cols])
            left, right = temperature.normal_equations(_terms(self.layout, window), values)
            lhs, rhs = lhs + left, rhs + right
        return temperature.solve_harmonics(lhs, rhs)


def _terms(layout: Layout, window: Window) -> NDArray[np.float64]:
    """Harmonic terms of a window's days."""
    return temperature.harmonic_terms(layout.time[window.slice])


@dataclass(frozen=True)
class DailyBlock:
    """Task: LST of a block, gaps filled, streamed by inner chunks.

    With ``viirs``, a pixel that MODIS did not see takes VIIRS over the cube's bridge; only what
    neither saw is filled.
    """

    cube: Path
    scratch: Path
    layout: Layout
    key: str
    viirs: bool = False

    def __call__(self, unit: str) -> dict[str, Any]:
        """Write ``lst``, ``lst_diff`` and what was filled."""
        block = parse_block(unit, self.layout)
        rows, cols = self.layout.tile_slices(block.tile)
        root = open_group(self.cube, "r+")
        shape = (block.window.days, self.layout.tile_size, self.layout.tile_size)
        codes = {name: np.full(shape, cube.FILL, dtype="int16") for name in names_of("daily")}
        quality = np.zeros(shape, dtype="uint8")
        reader = LstReader(root, open_group(self.scratch), self.layout, block, viirs=self.viirs)
        for lat, lon in inner_chunks(rows, cols):
            if not np.any(array_of(root, "static/land")[lat, lon]):
                continue
            place = (
                slice(None),
                slice(lat.start - rows.start, lat.stop - rows.start),
                slice(lon.start - cols.start, lon.stop - cols.start),
            )
            day, night, quality[place] = reader.filled(lat, lon)
            codes["lst"][place] = pack("lst", temperature.lst_mean(day, night).values)
            difference = temperature.lst_difference(day, night)
            codes["lst_diff"][place] = pack("lst_diff", difference.values)
        return self._write(root, unit, (block.window.slice, rows, cols), codes, quality)

    def _write(
        self,
        root: zarr.Group,
        unit: str,
        region: tuple[slice, slice, slice],
        codes: dict[str, NDArray[np.int16]],
        quality: NDArray[np.uint8],
    ) -> dict[str, Any]:
        """Write the shards and the marker."""
        objects = write_region(array_of(root, "daily/quality"), region, quality)
        for name, values in codes.items():
            objects += write_region(array_of(root, f"daily/{name}"), region, values)
        flags = cube.LST_FLAGS
        facts = {
            "valid": int((codes["lst"] != cube.FILL).sum()),
            "day_filled": int((quality & flags["lst_day_filled"] > 0).sum()),
            "night_filled": int((quality & flags["lst_night_filled"] > 0).sum()),
            "missing": int((quality & flags["lst_missing"] > 0).sum()),
            "day_viirs": int((quality & flags["lst_day_viirs"] > 0).sum()),
            "night_viirs": int((quality & flags["lst_night_viirs"] > 0).sum()),
            "checksum": checksum(np.stack(list(codes.values()))),
        }
        write_marker(self.cube, "daily", unit, self.key, objects, **facts)
        return facts


class LstReader:
    """Fills the gaps of a block's LST chunk by chunk; its numbers and 0.1 deg cells are held."""

    def __init__(
        self,
        root: zarr.Group,
        scratch_root: zarr.Group,
        layout: Layout,
        block: Block,
        *,
        viirs: bool = False,
    ) -> None:
        self.root, self.layout, self.window = root, layout, block.window
        self.rows, self.cols = layout.tile_slices(block.tile)
        region = (block.window.slice, self.rows, self.cols)
        # A block's digital numbers at once: scratch chunks are whole tiles.
        self.numbers = {
            name: np.asarray(array_of(scratch_root, name)[region]) for name in OVERPASSES
        }
        self.viirs = BridgedViirs(root, scratch_root, region) if viirs else None
        days, self.cell_rows, self.cell_cols = cube.cell_region(layout, block)
        number = cube.METEO.index("tair")
        cells = (self.cell_rows, self.cell_cols)
        tair = array_of(root, "meteo/cells")[(number, days, *cells)]
        self.tair = np.asarray(tair)
        self.terms = _terms(layout, block.window)
        curve = temperature.climatology(
            self.terms, np.asarray(array_of(root, "climatology/tair")[(slice(None), *cells)])
        )
        self.tair_curve = PREDICTORS["tair"].packing.encode(curve)

    def filled(
        self, lat: slice, lon: slice
    ) -> tuple[xr.DataArray, xr.DataArray, NDArray[np.uint8]]:
        """Return day and night LST (degC) of a chunk without gaps, and the flags."""
        land = np.asarray(array_of(self.root, "static/land")[lat, lon]) == 1
        tair, tair_curve = (
            self._refine(self.tair, lat, lon),
            self._refine(self.tair_curve, lat, lon),
        )
        arrays, quality = [], np.zeros((self.window.days, *land.shape), dtype="uint8")
        rows = slice(lat.start - self.rows.start, lat.stop - self.rows.start)
        cols = slice(lon.start - self.cols.start, lon.stop - self.cols.start)
        for name, numbers in self.numbers.items():
            observed = lst_degrees(numbers[:, rows, cols])
            if self.viirs is not None:
                taken = self.viirs.complete(name, observed, rows, cols)
                quality[taken & land] |= flag_of(name)
            observed[:, ~land] = np.nan
            harmonics = array_of(self.root, f"climatology/{name}")[:, lat, lon]
            curve = temperature.climatology(self.terms, np.asarray(harmonics))
            values, was_gap = temperature.fill_lst_gaps(observed, curve, tair, tair_curve)
            quality[was_gap & land] |= cube.LST_FLAGS[f"{name}_filled"]
            quality[np.isnan(values) & land] |= cube.LST_FLAGS["lst_missing"]
            arrays.append(xr.DataArray(values, dims=cube.DIMS, attrs={"units": "degC"}, name=name))
        return arrays[0], arrays[1], quality

    def _refine(self, cells: NDArray[np.int16], lat: slice, lon: slice) -> NDArray[np.float32]:
        """Refine held cells to the pixels of a chunk."""
        n = self.layout.cell_pixels
        row, col = self.cell_rows.start * n, self.cell_cols.start * n
        rows, cols = slice(lat.start - row, lat.stop - row), slice(lon.start - col, lon.stop - col)
        return PREDICTORS["tair"].packing.decode(upsample_window(cells, rows, cols, n))
