"""What differs between two products: counted by tile and year, and mapped, tile by tile.

Soil moisture is compared code by code where the products overlap in space and time. Codes are
thousandths of m3 m-3, so a count of each possible difference gives exact percentiles in little
room.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from gssm_cube.blocks import Progress, silent
from gssm_cube.grid import Layout, Tile, inner_chunks, moved
from gssm_cube.product.store import check_product
from gssm_cube.release.difference_maps import open_canvas
from gssm_cube.storage.shards import read_box
from gssm_cube.storage.stores import array_of, open_group, read_layout
from gssm_cube.variables import FILL, SSM

LARGEST = 1000  # codes: 1 m3 m-3; farther apart no two values are
PERCENTILES = (5, 50, 95)
STEP = SSM.packing.scale


class Counts(NamedTuple):
    """Pixel-days by year.

    Parameters
    ----------
    differences : (year, 2001) int64
        By difference, second minus first, from -1000 to 1000 codes.
    alone : (year, 2) int64
        With a value in the first product only, in the second only.
    """

    differences: Any
    alone: Any


class Tally(NamedTuple):
    """Counts of a tile, and sums of its pixels over all days.

    Parameters
    ----------
    counts : Counts
    pixels : (3, lat, lon) int64
        Days compared, sum of the differences in codes, days that differ.
    """

    counts: Counts
    pixels: NDArray[np.int64]


@dataclass(frozen=True)
class Difference:
    """Two products compared.

    Parameters
    ----------
    first, second : dict
        Of each: forest, version of the software, box and days.
    by_tile : DataFrame
        One row a ``tile`` and ``year``: ``compared``, ``changed``, ``only_first``,
        ``only_second`` (pixel-days), and of second minus first, m3 m-3: ``mean``, ``rms``,
        ``p05``, ``p50``, ``p95``, ``largest`` (absolute); NaN where nothing was compared.
    by_year : DataFrame
        The same by ``year``.
    overall : dict
        The same of all.
    """

    first: dict[str, Any]
    second: dict[str, Any]
    by_tile: pd.DataFrame
    by_year: pd.DataFrame
    overall: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; numbers that there are not are None."""
        tables = {"by_year": self.by_year, "by_tile": self.by_tile}
        rows = {name: list(map(_plain, t.to_dict("records"))) for name, t in tables.items()}
        ends = {"first": self.first, "second": self.second, "overall": _plain(self.overall)}
        return ends | rows


def compare_products(
    first: str | Path,
    second: str | Path,
    *,
    map_path: Path | None = None,
    threads: int = 4,
    progress: Progress = silent,
) -> Difference:
    """Compare the soil moisture of two products where they overlap.

    Parameters
    ----------
    first, second : path
        Products on the same grid; boxes, periods and sizes of tiles may differ.
    map_path : Path, optional
        Gets the mean difference of each pixel: GeoTIFF (``.tif``, at full resolution, with the
        share of days that differ as a second band) or a picture (``.png``).
    threads : int
        Tiles that are read at the same time; each holds two inner chunks.
    progress : callable

    Returns
    -------
    Difference

    Raises
    ------
    FileNotFoundError, ValueError
        If one is no product, they lie on different grids, or do not overlap.
    """
    for store in (first, second):
        check_product(store)
    layouts = read_layout(first), read_layout(second)
    tiles = shared_tiles(*layouts)
    days = shared_days(*layouts)
    work = partial(tally_tile, (first, second), layouts, days)
    done, rows, total = 0, [], Counts(0, 0)
    with open_canvas(map_path, layouts[0]) as canvas, ThreadPoolExecutor(threads) as pool:
        for batch in (tiles[k : k + threads] for k in range(0, len(tiles), threads)):
            for tile, tally in zip(batch, pool.map(work, batch), strict=True):
                canvas.add(tile, tally.pixels)
                rows += [{"tile": str(tile), **row} for row in by_year(tally.counts, days)]
                total = Counts(*(a + b for a, b in zip(total, tally.counts, strict=True)))
                done += 1
            progress("diff", done, len(tiles))
    ends = describe(first, layouts[0]), describe(second, layouts[1])
    overall = statistics(*(part.sum(axis=0) for part in total))
    return Difference(*ends, pd.DataFrame(rows), pd.DataFrame(by_year(total, days)), overall)


def describe(store: str | Path, layout: Layout) -> dict[str, Any]:
    """Say what a product is."""
    attrs = open_group(store).attrs
    said = {name: str(attrs.get(name, "unknown")) for name in ("forest_digest", "history")}
    days = {"first_day": str(layout.first_day), "last_day": str(layout.last_day)}
    return {"product": Path(store).name, **said, **days, "bounds": list(layout.bounds)}


def shared_tiles(first: Layout, second: Layout) -> list[Tile]:
    """Return the first product's tiles that the second reaches.

    Raises
    ------
    ValueError
        If their grids differ, or none is shared.
    """
    if first.grid != second.grid:
        raise ValueError(
            f"the products have {first.grid.pixels_per_degree} and "
            f"{second.grid.pixels_per_degree} pixels a degree, expected the same grid"
        )
    tiles = [tile for tile in first.tiles() if _shared_pixels(first, second, tile)]
    if not tiles:
        raise ValueError(
            f"the products do not overlap: they span {first.bounds} and {second.bounds} degrees "
            "(west, south, east, north)"
        )
    return tiles


def shared_days(first: Layout, second: Layout) -> NDArray[np.datetime64]:
    """Return the days of both; raises if there are none."""
    days = np.intersect1d(first.time, second.time)
    if not days.size:
        raise ValueError(
            f"the products share no day: {first.first_day} to {first.last_day} and "
            f"{second.first_day} to {second.last_day}"
        )
    return days


def _shared_pixels(first: Layout, second: Layout, tile: Tile) -> tuple[slice, slice] | None:
    """Return the part of a tile, as rows and columns of the first store, that the second has."""
    parts = []
    starts = zip((first.row, first.col), (second.row, second.col), strict=True)
    for part, size, (one, other) in zip(first.tile_slices(tile), second.shape, starts, strict=True):
        start, stop = max(part.start, other - one), min(part.stop, other - one + size)
        if start >= stop:
            return None
        parts.append(slice(start, stop))
    return parts[0], parts[1]


def tally_tile(
    stores: tuple[str | Path, str | Path],
    layouts: tuple[Layout, Layout],
    days: NDArray[np.datetime64],
    tile: Tile,
) -> Tally:
    """Compare one tile, an inner chunk of a window at a time."""
    first, second = layouts
    arrays = [array_of(open_group(store), "ssm") for store in stores]
    years, place = np.unique(days.astype("M8[Y]"), return_inverse=True)
    rows, cols = first.tile_slices(tile)
    shapes = (years.size, 2 * LARGEST + 1), (years.size, 2)
    counts = Counts(*(np.zeros(shape, dtype="int64") for shape in shapes))
    pixels = np.zeros((3, first.tile_size, first.tile_size), dtype="int64")
    shift = second.row - first.row, second.col - first.col
    for part, own in _spans(layouts, days):
        for lat, lon in _chunks(layouts, tile):
            codes = read_box(arrays[0], (part[0], lat, lon))
            there = (moved(lat, -shift[0]), moved(lon, -shift[1]))
            others = read_box(arrays[1], (part[1], *there))
            within = (slice(None), moved(lat, -rows.start), moved(lon, -cols.start))
            count(codes, others, place[own], *counts, pixels[within])
    return Tally(counts, pixels)


def _spans(
    layouts: tuple[Layout, Layout], days: NDArray[np.datetime64]
) -> Iterator[tuple[tuple[slice, slice], slice]]:
    """Yield days window by window of the first: in both stores, and in what they share."""
    starts = [int((days[0] - layout.time[0]).astype(int)) for layout in layouts]
    for window in layouts[0].windows():
        begin = max(window.start - starts[0], 0)
        end = min(window.start + window.days - starts[0], days.size)
        if begin < end:
            one, other = (slice(start + begin, start + end) for start in starts)
            yield (one, other), slice(begin, end)


def _chunks(layouts: tuple[Layout, Layout], tile: Tile) -> Iterator[tuple[slice, slice]]:
    """Yield the inner chunks of a tile, cut to what both stores have."""
    shared = _shared_pixels(*layouts, tile)
    if shared is None:
        return
    for chunk in inner_chunks(*layouts[0].tile_slices(tile)):
        cut = [slice(max(c.start, s.start), min(c.stop, s.stop))
               for c, s in zip(chunk, shared, strict=True)]  # fmt: skip
        if all(part.start < part.stop for part in cut):
            yield cut[0], cut[1]


@njit(nogil=True, cache=True)
def count(codes, others, years, differences, alone, pixels):  # type: ignore[no-untyped-def]
    """Count the differences of a box of codes.

    Parameters
    ----------
    codes, others : (time, lat, lon) int16
        Of the first and second product.
    years : (time,) int64
        Row of each day in the tables by year.
    differences, alone, pixels
        See ``Counts`` and ``Tally``; are added to.
    """
    for day, row, col in np.ndindex(codes.shape):
        one, other = codes[day, row, col], others[day, row, col]
        if one == FILL or other == FILL:
            alone[years[day], 0] += other == FILL and one != FILL
            alone[years[day], 1] += one == FILL and other != FILL
            continue
        difference = min(max(int(other) - int(one), -LARGEST), LARGEST)
        differences[years[day], difference + LARGEST] += 1
        pixels[0, row, col] += 1
        pixels[1, row, col] += difference
        pixels[2, row, col] += difference != 0


# ---- what is said -----------------------------------------------------------------------------


def by_year(counts: Counts, days: NDArray[np.datetime64]) -> list[dict[str, Any]]:
    """Return a row for each year of the days that were compared."""
    years = np.unique(days.astype("M8[Y]")).astype("int64") + 1970
    pairs = zip(years, *counts, strict=True)
    return [{"year": int(year), **statistics(d, alone)} for year, d, alone in pairs]


def statistics(differences: NDArray[np.int64], alone: NDArray[np.int64]) -> dict[str, Any]:
    """Return counts of pixel-days, and measures of the differences in m3 m-3.

    Parameters
    ----------
    differences : (2001,) int64
        Pixel-days by difference in codes, from -1000 to 1000.
    alone : (2,) int
        Pixel-days with a value in one product only.
    """
    compared = int(differences.sum())
    codes = np.arange(-LARGEST, LARGEST + 1)
    found: dict[str, Any] = {
        "compared": compared,
        "changed": compared - int(differences[LARGEST]),
        "only_first": int(alone[0]),
        "only_second": int(alone[1]),
    }
    names = ("mean", "rms", *(f"p{p:02d}" for p in PERCENTILES), "largest")
    if not compared:
        return found | dict.fromkeys(names, float("nan"))
    there = codes[differences > 0]
    # The smallest difference that so many per cent of the pixel-days do not exceed.
    ranks = np.ceil(np.array(PERCENTILES) / 100 * compared)
    inner = codes[np.searchsorted(np.cumsum(differences), ranks)]
    mean = float(differences @ codes) / compared
    rms = float(np.sqrt(float(differences @ codes**2) / compared))
    values = (mean, rms, *inner, max(abs(there[0]), abs(there[-1])))
    return found | {n: round(float(v) * STEP, 9) for n, v in zip(names, values, strict=True)}


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    """Return a row for JSON, which has no NaN."""
    return {str(k): None if isinstance(v, float) and np.isnan(v) else v for k, v in row.items()}
