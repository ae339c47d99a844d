"""Daily series of many places at once: each chunk of the store is read once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gssm_cube.grid import CHUNK_PIXELS, WINDOW_DAYS, Layout
from gssm_cube.product.store import check_product
from gssm_cube.storage.locations import Location
from gssm_cube.storage.shards import read_box
from gssm_cube.storage.stores import array_of, open_group, read_layout
from gssm_cube.variables import FILL, SSM


@dataclass(frozen=True)
class Part:
    """One chunk of the store and the points in it."""

    days: slice
    rows: slice
    cols: slice
    points: NDArray[np.int64]


def series(
    store: Location,
    points: pd.DataFrame,
    *,
    first_day: date | None = None,
    last_day: date | None = None,
    threads: int = 8,
) -> xr.Dataset:
    """Read the series of the pixels that hold some points.

    Parameters
    ----------
    store : path
        The product.
    points : DataFrame
        Columns ``lat`` and ``lon``, degrees; its index names the points.
    first_day, last_day : date, optional
        Both included; all of the product by default.
    threads : int
        Chunks that are read at the same time.

    Returns
    -------
    Dataset (point, time)
        ``ssm`` m3 m-3, in memory, with the place that was asked for (``lat``, ``lon``) and the
        centre of its pixel (``pixel_lat``, ``pixel_lon``).

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no product, a point lies outside it, or no day of the period does not.
    """
    check_product(store)
    layout = read_layout(store)
    rows, cols = find_pixels(layout, points)
    days = find_days(layout, first_day, last_day)
    array = array_of(open_group(store), "ssm")
    codes = np.full((len(points), days.stop - days.start), FILL, dtype="int16")

    def read(part: Part) -> None:
        box = read_box(array, (part.days, part.rows, part.cols))
        row, col = rows[part.points] - part.rows.start, cols[part.points] - part.cols.start
        place = slice(part.days.start - days.start, part.days.stop - days.start)
        codes[part.points, place] = box[:, row, col].T

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(read, _parts(rows, cols, days)):
            pass
    coords = {
        "point": points.index.to_numpy(),
        "time": layout.time[days].astype("datetime64[ns]"),
        "lat": ("point", points["lat"].to_numpy("float64")),
        "lon": ("point", points["lon"].to_numpy("float64")),
        "pixel_lat": ("point", layout.lat[rows]),
        "pixel_lon": ("point", layout.lon[cols]),
    }
    return xr.Dataset({"ssm": (("point", "time"), SSM.packing.decode(codes), SSM.attrs)}, coords)


def find_pixels(
    layout: Layout, points: pd.DataFrame
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the store's rows and columns of the pixels that hold the points.

    Raises
    ------
    ValueError
        If the columns are not there, or points lie outside the store.
    """
    lacking = {"lat", "lon"} - set(points.columns)
    if lacking:
        raise ValueError(f"points lack {sorted(lacking)}: they have {list(points.columns)}")
    lat, lon = (points[name].to_numpy("float64") for name in ("lat", "lon"))
    known = (np.abs(lat) <= 90) & (np.abs(lon) <= 360)
    rows = layout.grid.row_of(np.where(known, lat, 0)) - layout.row
    cols = layout.grid.col_of(np.where(known, lon, 0)) - layout.col
    inside = (rows >= 0) & (rows < layout.shape[0]) & (cols >= 0) & (cols < layout.shape[1])
    outside = points.index[~(inside & known)]
    if len(outside):
        west, south, east, north = layout.bounds
        raise ValueError(
            f"{len(outside)} of {len(points)} points lie outside the product, such as "
            f"{outside[0]!r}; it spans {west:.2f} to {east:.2f} deg east and {south:.2f} to "
            f"{north:.2f} deg north"
        )
    return rows, cols


def find_days(layout: Layout, first_day: date | None, last_day: date | None) -> slice:
    """Return the days of a store within a period, both ends included.

    Raises
    ------
    ValueError
        If there is none.
    """
    begin = np.datetime64(first_day or layout.first_day, "D")
    end = np.datetime64(last_day or layout.last_day, "D")
    start = int(np.searchsorted(layout.time, begin))
    stop = int(np.searchsorted(layout.time, end, side="right"))
    if start >= stop:
        raise ValueError(
            f"no day from {begin} to {end} is in the product, which spans {layout.first_day} to "
            f"{layout.last_day}; give a period within it"
        )
    return slice(start, stop)


def _parts(rows: NDArray[np.int64], cols: NDArray[np.int64], days: slice) -> Iterator[Part]:
    """Yield the chunks that hold points, place by place, and their part of the period."""
    chunk = np.stack([rows, cols], axis=1) // CHUNK_PIXELS
    places, of_place = np.unique(chunk, axis=0, return_inverse=True)
    order = np.argsort(of_place, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(of_place.ravel(), minlength=len(places)))[:-1])
    for group in groups:
        box = [slice(int(a[group].min()), int(a[group].max()) + 1) for a in (rows, cols)]
        for start in range(days.start // WINDOW_DAYS * WINDOW_DAYS, days.stop, WINDOW_DAYS):
            within = slice(max(start, days.start), min(start + WINDOW_DAYS, days.stop))
            yield Part(within, box[0], box[1], group)
