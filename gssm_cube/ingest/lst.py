"""Land surface temperature: harmonics over all years, then blocks without gaps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from gssm_cube import cube
from gssm_cube.blocks import checksum, digest, parse_block, parse_tile, write_marker
from gssm_cube.flags import LST_FLAGS
from gssm_cube.grid import Block, Layout, Window
from gssm_cube.harmonise import temperature
from gssm_cube.harmonise.regrid import fill_from_nearest
from gssm_cube.harmonise.spatial import fill_residual
from gssm_cube.ingest.bridges import BridgedLst
from gssm_cube.ingest.meteo import cell_slices
from gssm_cube.ingest.padded import HOLE_PIXELS, Padded, pack
from gssm_cube.ingest.scratch import LST_RUN_DAYS, lst_degrees
from gssm_cube.ingest.sensors import OVERPASSES
from gssm_cube.interpolate import upsample_window
from gssm_cube.storage.locations import Location
from gssm_cube.storage.stores import array_of, open_group, write_region
from gssm_cube.variables import PREDICTORS, names_of

Filling = Literal["temporal", "temporal_spatial"]
DEFAULT_FILLING: Filling = "temporal"
REACH_PIXELS = 16.0  # over which a day's departure from the estimate in time fades by e
RIM_REACHES = 3  # beyond the tile: a departure fades to e**-3, a twentieth, on the way


@dataclass(frozen=True)
class TairClimatology:
    """Task: harmonics of air temperature on a chunk of cells, over the frozen days."""

    cube: Location
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

    cube: Location
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
    """Task: LST of a block, gaps filled, some days at a time.

    A pixel that Terra did not see takes a partner's LST over the cube's bridge, in the order of
    ``partners``; only what none saw is filled, in time, and with ``reach_pixels`` in space too.
    """

    cube: Location
    scratch: Path
    layout: Layout
    key: str
    partners: tuple[str, ...] = ()
    reach_pixels: float | None = None

    def __call__(self, unit: str) -> dict[str, Any]:
        """Write ``lst``, ``lst_diff`` and what was filled."""
        block = parse_block(unit, self.layout)
        rows, cols = self.layout.tile_slices(block.tile)
        root = open_group(self.cube, "r+")
        shape = (block.window.days, self.layout.tile_size, self.layout.tile_size)
        layers = {"quality": np.zeros(shape, dtype="uint16")}
        layers |= {name: np.full(shape, cube.FILL, dtype="int16") for name in names_of("daily")}
        stores = (root, open_group(self.scratch))
        reader = LstReader(*stores, self.layout, block, self.partners, self.reach_pixels)
        for days in slices_of(block.window.slice, LST_RUN_DAYS):
            part = slice(days.start - block.window.start, days.stop - block.window.start)
            day, night, layers["quality"][part] = reader.filled(days)
            layers["lst"][part] = pack("lst", temperature.lst_mean(day, night).values)
            difference = temperature.lst_difference(day, night)
            layers["lst_diff"][part] = pack("lst_diff", difference.values)
        return self._write(root, unit, (block.window.slice, rows, cols), layers)

    def _write(
        self,
        root: zarr.Group,
        unit: str,
        region: tuple[slice, slice, slice],
        layers: dict[str, NDArray[Any]],
    ) -> dict[str, Any]:
        """Write the shards and the marker; each layer leaves ``layers``, as encoding needs room."""
        facts: dict[str, Any] = count_pixels(layers["lst"], layers["quality"])
        objects, sums = [], {}
        for name in list(layers):
            values = layers.pop(name)
            sums[name] = checksum(values)
            objects += write_region(array_of(root, f"daily/{name}"), region, values)
        facts["checksum"] = digest([sums[name] for name in (*names_of("daily"), "quality")])
        write_marker(self.cube, "daily", unit, self.key, objects, **facts)
        return facts


def count_pixels(lst: NDArray[np.int16], quality: NDArray[np.uint16]) -> dict[str, int]:
    """Count pixel-days with a value, and with each flag; a day at a time, without copies."""
    counts = {"valid": sum(int(np.count_nonzero(day != cube.FILL)) for day in lst)}
    for name, bit in LST_FLAGS.items():
        days = (int(np.count_nonzero(day & bit)) for day in quality)
        counts[name.removeprefix("lst_")] = sum(days)
    return counts


def slices_of(window: slice, length: int) -> Iterator[slice]:
    """Cut a window of the daily axis at multiples of a length, where the scratch's chunks end."""
    start = window.start
    while start < window.stop:
        stop = min((start // length + 1) * length, window.stop)
        yield slice(start, stop)
        start = stop


class LstReader:
    """Fills the gaps of a block's LST, some days at a time; what does not change is held.

    For the step in space it sees a rim of ``RIM_REACHES`` reaches round the tile, so that what
    neighbouring tiles say of their border differs by the fade over the rim at most.
    """

    def __init__(
        self,
        root: zarr.Group,
        scratch_root: zarr.Group,
        layout: Layout,
        block: Block,
        partners: Sequence[str] = (),
        reach_pixels: float | None = None,
    ) -> None:
        self.layout, self.scratch_root, self.reach = layout, scratch_root, reach_pixels
        rim = rim_pixels(reach_pixels) if reach_pixels else 0
        self.rows, self.cols, self.core = Padded(layout, block.tile).within(rim)
        place = (self.rows, self.cols)
        self.land = np.asarray(array_of(root, "static/land")[place]) == 1
        self.partners = [BridgedLst(root, scratch_root, name, *place) for name in partners]
        self.harmonics = {
            name: np.asarray(array_of(root, f"climatology/{name}")[(slice(None), *place)])
            for name in OVERPASSES
        }
        self.cells = cell_box(layout, *place)
        number = cube.METEO.index("tair")
        self.first = block.window.start
        self.tair = np.asarray(
            array_of(root, "meteo/cells")[(number, block.window.slice, *self.cells)]
        )
        self.tair_harmonics = np.asarray(
            array_of(root, "climatology/tair")[(slice(None), *self.cells)]
        )

    def filled(self, days: slice) -> tuple[xr.DataArray, xr.DataArray, NDArray[np.uint16]]:
        """Return day and night LST (degC) of the tile without gaps, and the flags."""
        terms = temperature.harmonic_terms(self.layout.time[days])
        curve = temperature.climatology(terms, self.tair_harmonics)
        tair_curve = self._refine(PREDICTORS["tair"].packing.encode(curve))
        tair = self._refine(self.tair[days.start - self.first : days.stop - self.first])
        core = (slice(None), *self.core)
        arrays = []
        quality = np.zeros((len(terms), *self.land.shape), dtype="uint16")
        for name, harmonics in self.harmonics.items():
            observed = self._observed(name, days, quality)
            usual = temperature.climatology(terms, harmonics)
            estimate = temperature.estimate_lst(usual, tair, tair_curve)
            if self.reach is not None:
                moved = self._move(estimate, observed, self.reach)
                quality[moved & self.land] |= LST_FLAGS[f"{name}_spatial"]
            values, was_gap = temperature.fill_lst_gaps(observed, estimate)
            quality[was_gap & self.land] |= LST_FLAGS[f"{name}_filled"]
            quality[np.isnan(values) & self.land] |= LST_FLAGS["lst_missing"]
            values = values[core]
            arrays.append(xr.DataArray(values, dims=cube.DIMS, attrs={"units": "degC"}, name=name))
        return arrays[0], arrays[1], quality[core]

    def _observed(self, name: str, days: slice, quality: NDArray[np.uint16]) -> NDArray[Any]:
        """Return what Terra or else a partner saw over land, degC; flag the partners' part."""
        numbers = array_of(self.scratch_root, name)[(days, self.rows, self.cols)]
        observed = lst_degrees(numbers)
        for partner in self.partners:
            taken = partner.complete(name, observed, days)
            quality[taken & self.land] |= partner.flag(name)
        observed[:, ~self.land] = np.nan
        return observed

    def _move(
        self, estimate: NDArray[Any], observed: NDArray[Any], reach: float
    ) -> NDArray[np.bool_]:
        """Move estimates in gaps, in place, by what the day's observations round them depart.

        Returns where by a code or more.
        """
        aspect = np.cos(np.radians(self.layout.lat[self.rows]))
        moved = np.zeros(estimate.shape, dtype=bool)
        for number, residual in enumerate(observed - estimate):
            gaps = np.isnan(residual)
            if not gaps.all():
                surface = fill_residual(residual, reach_pixels=reach, aspect=aspect)
                moved[number] = gaps & (np.abs(surface) >= PREDICTORS["lst"].packing.scale)
                estimate[number][gaps] += surface[gaps]
        return moved & np.isnan(observed) & ~np.isnan(estimate)

    def _refine(self, cells: NDArray[np.int16]) -> NDArray[np.float32]:
        """Refine cells to the pixels."""
        n = self.layout.cell_pixels
        rows, cols = (
            slice(pixels.start - n * held.start, pixels.stop - n * held.start)
            for pixels, held in zip((self.rows, self.cols), self.cells, strict=True)
        )
        return PREDICTORS["tair"].packing.decode(upsample_window(cells, rows, cols, n))


def rim_pixels(reach_pixels: float) -> int:
    """Return the rim of the step in space: whole multiples of 16, where coarse pixels align."""
    return 16 * -(-int(RIM_REACHES * reach_pixels) // 16)


def cell_box(layout: Layout, rows: slice, cols: slice) -> tuple[slice, slice]:
    """Cell rows and columns round rows and columns of pixels."""
    n = layout.cell_pixels
    return (
        slice(rows.start // n, (rows.stop - 1) // n + 2),
        slice(cols.start // n, (cols.stop - 1) // n + 2),
    )
