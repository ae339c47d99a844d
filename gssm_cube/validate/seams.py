"""Seams of a product in space and time: at the borders of tiles and windows there must be none.

What is compared with the border are its neighbours: the edges between pixels, or the days, near by.
A difference of second order, the step across an edge less the mean of the steps beside it, is the
same for all of them where the field is whole, however steep it is.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gssm_cube.blocks import Progress, silent
from gssm_cube.grid import CHUNK_PIXELS, WINDOW_DAYS, Layout
from gssm_cube.stores import open_dataset, read_layout
from gssm_cube.validate.consistency import LIMIT

logger = logging.getLogger(__name__)

Values = NDArray[np.float64]

BOXES = 60  # looked at, of each kind of border
NEAR_DAYS = 60  # before and after a border in time, which are its neighbours
LEAST_PIXELS = 20  # with a step, of a border
DRAWS = 1000
COLUMNS = ["kind", "name", "product", "step", "usual", "low", "high", "n", "limit", "passed"]


def seam_rows(
    ssm: xr.DataArray,
    layout: Layout,
    changes: Mapping[str, date],
    *,
    product: str = "ssm",
    seed: int = 0,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Compare the steps at tile and window borders, and on days of change, with their neighbours.

    Parameters
    ----------
    ssm : DataArray (time, lat, lon), m3 m-3
        The whole store, lazy; at most 60 boxes of two inner chunks are read of each kind of border.
    layout : Layout
        Of the store.
    changes : mapping of date
        Named days on which a sensor or the meteorology changed.
    product : str
        Name in the table.
    seed : int
        Of the choice of boxes, and of neighbours.
    progress : callable

    Returns
    -------
    DataFrame
        A row for tiles ("tile"), windows ("window") and each change ("day of change") that the
        store spans: ``step``, the mean size of the step at the borders, m3 m-3; ``usual``, that of
        the neighbours; ``low`` and ``high``, between which 95 % of as many neighbours lie, drawn at
        random; ``n`` (borders); ``limit``; ``passed``: the step is less than the limit above the
        usual, or within what neighbours have.
    """
    rng = np.random.default_rng(seed)
    rows = []
    if pairs := list(_tile_pairs(ssm, layout, rng, progress)):
        rows.append(_judged("tile", "tile borders", product, pairs, rng))
    starts = [window.start for window in layout.windows()][1:]
    if pairs := _day_pairs(ssm, layout, starts, rng, progress):
        rows.append(_judged("window", "window borders", product, pairs, rng))
    for name, day in changes.items():
        at = (day - layout.first_day).days
        if pairs := _day_pairs(ssm, layout, [at], rng, progress):
            rows.append(_judged("day of change", f"{name}, {day}", product, pairs, rng))
    return pd.DataFrame(rows, columns=COLUMNS)


def seams_of_store(
    store: str | Path,
    changes: Mapping[str, date],
    *,
    product: str,
    seed: int = 0,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Do as `seam_rows` for a product of this project.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no store, or it was not written by this project.
    """
    layout = read_layout(store)
    with open_dataset(store) as dataset:
        return seam_rows(
            dataset["ssm"], layout, changes, product=product, seed=seed, progress=progress
        )


def second_differences(field: Values) -> Values:
    """Return how far each step lies from the mean of the steps beside it.

    Parameters
    ----------
    field : ndarray (..., pixel)

    Returns
    -------
    ndarray (..., pixel - 3)
        Entry k belongs to the step from pixel k + 1 to pixel k + 2.
    """
    steps = np.diff(field, axis=-1)
    return steps[..., 1:-1] - (steps[..., :-2] + steps[..., 2:]) / 2


def _judged(
    kind: str,
    name: str,
    product: str,
    pairs: Sequence[tuple[float, Values]],
    rng: np.random.Generator,
) -> tuple[object, ...]:
    """Row of the table, of the step at each border and the steps of its neighbours."""
    step = float(np.mean([at for at, _ in pairs]))
    usual = float(np.mean([near.mean() for _, near in pairs]))
    drawn = np.mean([rng.choice(near, DRAWS) for _, near in pairs], axis=0)
    low, high = np.quantile(drawn, [0.025, 0.975])
    passed = bool(step - usual < LIMIT or step <= high)
    return kind, name, product, step, usual, float(low), float(high), len(pairs), LIMIT, passed


def _tile_pairs(
    ssm: xr.DataArray, layout: Layout, rng: np.random.Generator, progress: Progress
) -> Iterator[tuple[float, Values]]:
    """Yield the step at tile borders, and at the other edges of the chunks beside them."""
    boxes = list(_tile_boxes(ssm.shape, layout.tile_size))
    chosen = rng.permutation(len(boxes))[:BOXES]
    for number, (rows, cols, across) in enumerate((boxes[k] for k in chosen), start=1):
        first = int(rng.integers(0, len(layout.windows()))) * WINDOW_DAYS
        box = {"time": slice(first, first + WINDOW_DAYS), "lat": rows, "lon": cols}
        values = ssm.isel(box).transpose("time", "lat", "lon").to_numpy()
        progress("tile borders", number, len(chosen))
        mean = _mean_over_time(values)
        found = second_differences(mean if across == "lon" else mean.T)
        known = np.isfinite(found).sum(axis=0) >= LEAST_PIXELS
        with np.errstate(invalid="ignore", divide="ignore"):
            sizes = np.abs(np.nansum(found, axis=0) / np.isfinite(found).sum(axis=0))
        border = CHUNK_PIXELS - 2  # from the last pixel of a chunk to the first of the next
        # A step beside the border holds half of a seam: such edges are no neighbours.
        known_near = known.copy()
        known_near[border - 1 : border + 2] = False
        if known[border] and known_near.any():
            yield float(sizes[border]), sizes[known_near]


def _tile_boxes(shape: tuple[int, ...], size: int) -> Iterator[tuple[slice, slice, str]]:
    """Yield rows and columns of two chunks on either side of a border, and across what it is."""
    _, height, width = shape
    half = CHUNK_PIXELS
    for start in range(0, height, half):
        for border in range(size, width, size):
            yield slice(start, start + half), slice(border - half, border + half), "lon"
    for start in range(0, width, half):
        for border in range(size, height, size):
            yield slice(border - half, border + half), slice(start, start + half), "lat"


def _day_pairs(
    ssm: xr.DataArray,
    layout: Layout,
    borders: Sequence[int],
    rng: np.random.Generator,
    progress: Progress,
) -> list[tuple[float, Values]]:
    """Return the step on the first day after each border in time, and on the days about it."""
    chunks = [
        (row, col)
        for row in range(0, ssm.sizes["lat"], CHUNK_PIXELS)
        for col in range(0, ssm.sizes["lon"], CHUNK_PIXELS)
    ]
    inside = [at for at in borders if 2 <= at < layout.days - 2]
    each = max(1, BOXES // max(len(inside), 1))
    pairs = []
    for number, at in enumerate(inside, start=1):
        days = slice(max(at - NEAR_DAYS, 0), min(at + NEAR_DAYS, layout.days))
        found = []
        for row, col in (chunks[k] for k in rng.permutation(len(chunks))[:each]):
            rows, cols = slice(row, row + CHUNK_PIXELS), slice(col, col + CHUNK_PIXELS)
            values = (
                ssm.isel(time=days, lat=rows, lon=cols).transpose("time", "lat", "lon").to_numpy()
            )
            series = values.reshape(len(values), -1).T.astype("float64")
            found.append(second_differences(series[np.isfinite(series).any(axis=1)]))
        progress("days of change", number, len(inside))
        pairs += _pair_of_days(np.concatenate(found), at - days.start - 2)
    return pairs


def _pair_of_days(found: Values, border: int) -> list[tuple[float, Values]]:
    """Return the size of the mean step of a border and of its neighbours; none if not known."""
    known = np.isfinite(found).sum(axis=0) >= LEAST_PIXELS
    with np.errstate(invalid="ignore", divide="ignore"):
        sizes = np.abs(np.nansum(found, axis=0) / np.isfinite(found).sum(axis=0))
    near = known.copy()
    near[max(border - 1, 0) : border + 2] = False
    if not known[border] or not near.any():
        return []
    return [(float(sizes[border]), sizes[near])]


def _mean_over_time(values: NDArray[np.floating]) -> Values:
    """Mean (lat, lon) of the days that have a value everywhere that any has; NaN over water."""
    known = np.isfinite(values)
    land = known.any(axis=0)
    whole = known[:, land].mean(axis=1) > 0.999 if land.any() else np.zeros(len(values), "bool")
    # Pixels of unequal days would step by their days: frozen pixels lack the winter.
    chosen = values[whole].astype("float64")
    if not len(chosen):
        return np.full(land.shape, np.nan)
    return np.where(np.isfinite(chosen).all(axis=0), chosen.mean(axis=0), np.nan)
