"""Seams of a product in space and time: at the borders of tiles and windows there must be none.

What is compared with the border are its neighbours: the edges between pixels, or the days, near by.
Across tiles a difference of second order, the step across an edge less the mean of the steps beside
it, is the same for all of them where the field is whole, however steep it is. In time it is the
median over places of the step from one day to the next: on most days most places have no rain.

Hills and rain hide small steps. Where the same estimate can be made again without borders, it is
taken off first: then hills and rain are gone, and the step of the borders themselves is left.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gssm_cube.blocks import Progress, silent
from gssm_cube.grid import CHUNK_PIXELS, WINDOW_DAYS, Layout
from gssm_cube.storage.stores import open_dataset, read_layout
from gssm_cube.validate.consistency import COLUMNS
from gssm_cube.validate.steps import LIMIT, judge_steps

logger = logging.getLogger(__name__)

Values = NDArray[np.float64]
Border = tuple[float, Values]  # its step, and those of its neighbours
# Slices of time, rows and columns to what is estimated there in one piece, m3 m-3.
Control = Callable[[slice, slice, slice], NDArray[np.floating]]

BOXES, FEW_BOXES = 240, 12  # looked at of each kind of border; with a control, which is exact
SEA = 8  # times as many are tried, for most of a globe is water
LEAST_BOXES = 12  # of a border in time: a median needs places of different weather
NEAR_DAYS = 60  # before and after a border in time, which are its neighbours
CONTROL_DAYS = 32  # looked at with a control
LEAST_PIXELS = 20  # with a step, of a border
LEAST_NEAR = 10  # neighbours, for what is usual
NEIGHBOURS, WHOLE = "neighbours", "the same without borders"


@dataclass(frozen=True)
class _Field:
    """The store's values, less a control's where there is one."""

    ssm: xr.DataArray
    layout: Layout
    control: Control | None

    @property
    def boxes(self) -> int:
        """How many boxes are looked at."""
        return BOXES if self.control is None else FEW_BOXES

    def read(self, days: slice, rows: slice, cols: slice) -> Values:
        """Return a box (time, lat, lon), m3 m-3."""
        box = {"time": days, "lat": rows, "lon": cols}
        values = self.ssm.isel(box).transpose("time", "lat", "lon").to_numpy().astype("float64")
        if self.control is None or not np.isfinite(values).any():
            return values
        return values - self.control(days, rows, cols)


def seam_rows(
    ssm: xr.DataArray,
    layout: Layout,
    changes: Mapping[str, date],
    *,
    product: str = "ssm",
    control: Control | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Compare the steps at tile and window borders, and on days of change, with their neighbours.

    Parameters
    ----------
    ssm : DataArray (time, lat, lon), m3 m-3
        The whole store, lazy; at most 240 boxes of two inner chunks are read of each kind of
        border.
    layout : Layout
        Of the store.
    changes : mapping of date
        Named days on which a sensor or the meteorology changed.
    product : str
        Name in the table.
    control : callable, optional
        The same estimate made in one piece, as `replay.replayed` gives it. Tile and window borders
        are then judged a second time, by what is left of the product without it, in 12 boxes.
    seed : int
        Of the choice of boxes, and of neighbours.
    progress : callable

    Returns
    -------
    DataFrame
        A row for tiles ("tile"), windows ("window") and each change ("day of change") that the
        store spans, ``against`` the neighbours or the control: ``step`` and ``usual``, the roots of
        the mean square of the step at borders beyond the neighbours', and of the neighbours', m3
        m-3; ``low`` and ``high``, its 95 % interval; ``detectable``, the step that 80 % of such
        looks would see; ``n`` (borders); ``limit``; ``outcome``: "pass" if the interval lies below
        the limit, "fail" if above, else "cannot tell".
    """
    rng = np.random.default_rng(seed)
    starts = [window.start for window in layout.windows()][1:]
    rows = []
    looks = {NEIGHBOURS: None} | ({} if control is None else {WHOLE: control})
    for against, made in looks.items():
        field = _Field(ssm, layout, made)
        tiles = _tile_borders(field, rng, progress)
        rows += _judged("tile", against, "tile borders", product, tiles, rng)
        windows = _day_borders(field, starts, rng, progress)
        rows += _judged("window", against, "window borders", product, windows, rng)
    field = _Field(ssm, layout, None)
    for name, day in changes.items():
        found = _day_borders(field, [(day - layout.first_day).days], rng, progress)
        rows += _judged("day of change", NEIGHBOURS, f"{name}, {day}", product, found, rng)
    return pd.DataFrame(rows, columns=COLUMNS)


def seams_of_store(
    store: str | Path,
    changes: Mapping[str, date],
    *,
    product: str,
    control: Control | None = None,
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
            dataset["ssm"], layout, changes,
            product=product, control=control, seed=seed, progress=progress,
        )  # fmt: skip


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
    against: str,
    name: str,
    product: str,
    borders: Sequence[Border],
    rng: np.random.Generator,
) -> list[tuple[object, ...]]:
    """Row of the table, if there are such borders."""
    if not borders:
        return []
    found = judge_steps(borders, rng)
    return [(kind, against, name, product, found.step, found.usual, found.low, found.high,
             found.detectable, len(borders), LIMIT, found.outcome)]  # fmt: skip


def _tile_borders(field: _Field, rng: np.random.Generator, progress: Progress) -> list[Border]:
    """Return the step at tile borders, and at the other edges of the chunks beside them."""
    layout = field.layout
    borders: list[Border] = []
    boxes = list(_tile_boxes(field.ssm.shape, layout.tile_size))
    for box in rng.permutation(len(boxes))[: SEA * field.boxes]:
        if len(borders) == field.boxes:
            break
        rows, cols, across = boxes[box]
        first = int(rng.integers(0, len(layout.windows()))) * WINDOW_DAYS
        days = slice(first, min(first + WINDOW_DAYS, layout.days))
        if field.control is not None:
            first = int(rng.integers(days.start, max(days.stop - CONTROL_DAYS, days.start) + 1))
            days = slice(first, min(first + CONTROL_DAYS, days.stop))
        mean = _mean_over_time(field.read(days, rows, cols))
        found = second_differences(mean if across == "lon" else mean.T)
        border = CHUNK_PIXELS - 2  # from the last pixel of a chunk to the first of the next
        # A step beside the border holds half of a seam: such edges are no neighbours.
        borders += _border_of(_means(found), border, beside=1)
        progress("tile borders", len(borders), min(len(boxes), field.boxes))
    return borders


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


def _day_borders(
    field: _Field, starts: Sequence[int], rng: np.random.Generator, progress: Progress
) -> list[Border]:
    """Return the step on the first day after each border in time, and on the days about it."""
    layout = field.layout
    borders: list[Border] = []
    chunks = [
        (row, col)
        for row in range(0, field.ssm.sizes["lat"], CHUNK_PIXELS)
        for col in range(0, field.ssm.sizes["lon"], CHUNK_PIXELS)
    ]
    inside = [at for at in starts if 1 <= at < layout.days]
    if field.control is not None:
        inside = sorted(rng.permutation(inside)[: field.boxes].tolist())
    each = max(LEAST_BOXES if field.control is None else 1, field.boxes // max(len(inside), 1))
    beyond = NEAR_DAYS if field.control is None else CONTROL_DAYS // 2
    for number, at in enumerate(inside, start=1):
        days = slice(max(at - beyond, 0), min(at + beyond, layout.days))
        near = (chunks[k] for k in rng.permutation(len(chunks))[: SEA * each])
        found = islice(_day_steps(field, days, near), each)
        borders += _border_of(_medians([*found], days), at - days.start - 1, beside=0)
        progress("days of change", number, len(inside))
    return borders


def _day_steps(field: _Field, days: slice, chunks: Iterable[tuple[int, int]]) -> Iterator[Values]:
    """Yield the mean step (day - 1) of each chunk that has values."""
    for row, col in chunks:
        rows, cols = slice(row, row + CHUNK_PIXELS), slice(col, col + CHUNK_PIXELS)
        values = field.read(days, rows, cols)
        if np.isfinite(values).any():
            yield _means(np.diff(values.reshape(len(values), -1), axis=0).T)


def _border_of(steps: Values, border: int, *, beside: int) -> list[Border]:
    """Return the step of a border and of its neighbours; none if not known."""
    near = np.isfinite(steps)
    near[max(border - beside, 0) : border + beside + 1] = False
    if not np.isfinite(steps[border]) or near.sum() < LEAST_NEAR:
        return []
    # What neighbours have in common, such as that soils dry on most days, is no step.
    return [(float(steps[border] - steps[near].mean()), steps[near])]


def _means(found: Values) -> Values:
    """Mean (step) over the places that have it; NaN where there are too few."""
    count = np.isfinite(found).sum(axis=0)
    means = np.nansum(found, axis=0) / np.maximum(count, 1)
    return np.where(count >= LEAST_PIXELS, means, np.nan)


def _medians(found: Sequence[Values], days: slice) -> Values:
    """Median (day - 1) over boxes; NaN where none has it."""
    medians = np.full(days.stop - days.start - 1, np.nan)
    steps = np.stack([*found, medians])
    known = np.isfinite(steps).any(axis=0)
    medians[known] = np.nanmedian(steps[:, known], axis=0)
    return medians


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
