"""Lazy arrays that read packed codes, refine them to 1 km and days, and decode them.

xarray sees ordinary backend arrays: nothing is read before values are asked for, no Dask graph is
built unless chunks are asked for, and a read touches only the chunks that it needs.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import zarr
from numpy.typing import NDArray
from xarray.backends.common import BackendArray
from xarray.core import indexing

from gssm_cube.flags import FLAGS
from gssm_cube.interpolate import (
    interpolate_days,
    nearest_window,
    upsample_window,
)
from gssm_cube.storage.shards import Shards, read_box
from gssm_cube.variables import FILL, Packing, Upsampling

Region = tuple[slice, ...]


class Reader(Protocol):
    """Reads the int16 codes of one feature, or flags, in a region of plain slices."""

    def read(self, region: Region) -> NDArray[Any]:
        """Return codes of (time, lat, lon) or (lat, lon) slices with step one."""
        ...


@dataclass(frozen=True)
class StoredReader:
    """Codes as they stand in the store."""

    array: zarr.Array | Shards

    def read(self, region: Region) -> NDArray[np.int16]:
        """Read a region."""
        return read_box(self.array, region)


@dataclass(frozen=True)
class CompositeReader:
    """Composites, linear in time to days."""

    array: zarr.Array | Shards
    starts: NDArray[np.int64]  # days after the first day of the daily axis

    def read(self, region: Region) -> NDArray[np.int16]:
        """Read the composites round a region and interpolate."""
        time, lat, lon = region
        near = composites_round(self.starts, time)
        codes = read_box(self.array, (near, lat, lon))
        return interpolate_days(codes, self.starts[near], np.arange(time.start, time.stop))


def composites_round(starts: NDArray[np.int64], days: slice) -> slice:
    """Return the composites that days lie in or between, one before and after included."""
    first = int(np.searchsorted(starts, days.start, side="right")) - 1
    stop = int(np.searchsorted(starts, days.stop - 1, side="right")) + 1
    return slice(max(first, 0), min(stop, len(starts)))


@dataclass(frozen=True)
class CellReader:
    """Cells of 0.1 deg, bilinear to pixels unless ``upsampling`` is ``nearest``.

    ``cells`` is (feature, time, cell row, cell column), or without the time; a Zarr array or
    values held in memory, which then begin at ``origin`` (time, cell row, cell column).
    """

    cells: zarr.Array | NDArray[np.int16]
    feature: int
    cell_pixels: int
    origin: tuple[int, ...] = (0, 0, 0)
    upsampling: Upsampling = "bilinear"

    def read(self, region: Region) -> NDArray[np.int16]:
        """Read the cells round a region and refine them."""
        *time, lat, lon = region
        n = self.cell_pixels
        top, left = lat.start // n, lon.start // n
        bottom, right = (lat.stop - 1) // n + 2, (lon.stop - 1) // n + 2
        wanted = (*time, slice(top, bottom), slice(left, right))
        pairs = zip(wanted, self.origin, strict=True)
        box = tuple(slice(part.start - start, part.stop - start) for part, start in pairs)
        sizes = self.cells.shape[1:]
        if any(b.start < 0 or b.stop > size for b, size in zip(box, sizes, strict=True)):
            raise ValueError(
                f"{region} reaches outside the block whose cells are held, {sizes} "
                f"from {self.origin}; open the cube without a block"
            )
        place: Any = (self.feature, *box)
        codes = self.cells[place]
        rows = slice(lat.start - top * n, lat.stop - top * n)
        cols = slice(lon.start - left * n, lon.stop - left * n)
        refine = upsample_window if self.upsampling == "bilinear" else nearest_window
        return refine(np.asarray(codes), rows, cols, n)


@dataclass(frozen=True)
class QualityReader:
    """All that the cube's layers of flags say of a pixel and day, joined by ``or``.

    A day between two composites has the flags of both. ``predictor_missing`` is found by looking
    at the codes of static layers and meteorology.
    """

    daily: zarr.Array | Shards
    composite: zarr.Array | Shards
    starts: NDArray[np.int64]  # of the composites, days after the first day of the daily axis
    land: zarr.Array
    filled: zarr.Array | Shards
    static: tuple[zarr.Array, ...]
    cells: zarr.Array
    cell_pixels: int
    upsampling: Upsampling

    def read(self, region: Region) -> NDArray[np.uint16]:
        """Read a region; 0 over the sea."""
        time, lat, lon = region
        flags = self.read_origin(region)
        lacking = np.any([np.asarray(a[lat, lon]) == FILL for a in self.static], axis=0)
        missing = lacking | self._meteo_missing(time, lat, lon)
        missing |= flags & (FLAGS["lst_missing"] | FLAGS["vegetation_missing"]) > 0
        flags[missing] |= FLAGS["predictor_missing"]
        flags[:, np.asarray(self.land[lat, lon]) == 0] = 0
        return flags

    def read_origin(self, region: Region) -> NDArray[np.uint16]:
        """Read where values came from, without looking whether one of all predictors is missing."""
        time, lat, lon = region
        flags = read_box(self.daily, region) | self._of_composites(time, lat, lon)
        flags[:, read_box(self.filled, (lat, lon)) == 1] |= FLAGS["static_filled"]
        return flags

    def _of_composites(self, time: slice, lat: slice, lon: slice) -> NDArray[np.uint16]:
        """Join the flags of the composites before and after each day; its own where it is one."""
        days, last = np.arange(time.start, time.stop), len(self.starts) - 1
        before = np.clip(np.searchsorted(self.starts, days, side="right") - 1, 0, last)
        after = np.where(self.starts[before] == days, before, np.minimum(before + 1, last))
        first = int(before[0])
        flags = read_box(self.composite, (slice(first, int(after.max()) + 1), lat, lon))
        return flags[before - first] | flags[after - first]

    def _meteo_missing(self, time: slice, lat: slice, lon: slice) -> NDArray[np.bool_]:
        """Where a meteorological feature is missing."""
        n = self.cell_pixels
        rows, cols = (slice(p.start // n, (p.stop - 1) // n + 2) for p in (lat, lon))
        codes = np.asarray(self.cells[:, time, rows, cols])
        holes = np.where((codes == FILL).any(axis=0, keepdims=True), FILL, 0).astype("int16")
        origin = (time.start, rows.start, cols.start)
        reader = CellReader(holes, 0, n, origin, self.upsampling)
        return reader.read((time, lat, lon)) == FILL


class PackedArray(BackendArray):
    """What xarray wraps: codes of a reader, decoded to float32 unless ``packing`` is None."""

    def __init__(self, reader: Reader, shape: tuple[int, ...], packing: Packing | None) -> None:
        self.reader = reader
        self.shape = shape
        self.packing = packing
        self.dtype = np.dtype("int16" if packing is None else "float32")

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Answer xarray: integers, slices and lists on each axis by itself."""
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Read the box round the wanted places, then pick them."""
        places = [np.arange(n)[k] for k, n in zip(key, self.shape, strict=True)]
        lengths = tuple(np.shape(p)[0] for p in places if np.ndim(p))
        if 0 in lengths:
            return np.empty(lengths, dtype=self.dtype)
        box = tuple(slice(int(np.min(p)), int(np.max(p)) + 1) for p in places)
        codes = self.reader.read(box)
        for axis, (place, part) in enumerate(zip(places, box, strict=True)):
            if np.ndim(place) and not np.array_equal(place, np.arange(part.start, part.stop)):
                codes = np.take(codes, place - part.start, axis=axis)
        picked = codes[tuple(0 if np.ndim(place) == 0 else slice(None) for place in places)]
        return picked if self.packing is None else self.packing.decode(picked)
