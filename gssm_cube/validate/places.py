"""Daily values of products at places: in the pixel that holds a station, or over a coarse cell."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm_cube.blocks import Progress, silent
from gssm_cube.statistics.sphere import nearest
from gssm_cube.validate.products import Part, files_of, open_part, stored_values
from gssm_cube.validate.series import Series, is_series, open_series
from gssm_cube.validate.settings import Source
from gssm_cube.validate.units import units_of, volumetric

logger = logging.getLogger(__name__)

BIN_CELLS = 48  # least edge of the bins in which places are read together
MOST_VALUES = 16_000_000  # read at once: 0.13 GB
ROUNDING = 1e-6  # of a pixel
UNEVEN = 1.5  # how much wider than its neighbour a pixel may be


@dataclass(frozen=True)
class Places:
    """Where products are read.

    ``lat`` and ``lon`` (place) in degrees. ``half`` is half the edge, in degrees, of the cell over
    which pixels with their centre inside are averaged; 0 takes the pixel that holds the place, as
    a product does that is coarser than the cell.
    """

    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    half: float = 0.0

    def __len__(self) -> int:
        return len(self.lat)


@dataclass(frozen=True)
class Boxes:
    """Rows and columns of a grid, first and behind the last, of the places that lie on it."""

    place: NDArray[np.int64]
    row: NDArray[np.int64]  # (place, 2)
    col: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.place)

    def of(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> "Boxes":
        """Return some of them."""
        return Boxes(self.place[chosen], self.row[chosen], self.col[chosen])


def read_places(
    name: str,
    source: Source,
    places: Places,
    days: pd.DatetimeIndex,
    *,
    progress: Progress = silent,
) -> NDArray[np.float32]:
    """Read a product at places, as means of the UTC day.

    Parameters
    ----------
    name : str
        Of the product, for messages.
    source : Source
    places : Places
    days : DatetimeIndex (day)
        Every day from the first to the last.
    progress : callable

    Returns
    -------
    ndarray (place, day), float32, m3 m-3
        NaN where the product has nothing, and outside its grid.

    Raises
    ------
    FileNotFoundError, ValueError
        If the product cannot be read, or its units are not known or not what they seem.
    """
    kind, files = files_of(name, source)
    if kind == "points":
        values, said = _read_points(name, source, files, places, days), None
    elif kind == "netcdf" and is_series(files[0]):
        values, said = _read_series(name, source, files, places, days, progress)
    else:
        values, said = _read_grids(name, source, kind, files, places, days, progress)
    units = units_of(name, source.units, said)
    porosity = _porosity(name, source, places)
    found = volumetric(name, values, units, porosity=porosity, depth=source.depth)
    logger.info(
        "%s: %d files, %d values at %d of %d places", name, len(files), np.isfinite(found).sum(),
        np.isfinite(found).any(axis=1).sum(), len(places),
    )  # fmt: skip
    return found.astype("float32")


def boxes_on(lat: NDArray[np.float64], lon: NDArray[np.float64], places: Places) -> Boxes:
    """Return the rows and columns of each place on a grid; places outside are left out.

    Parameters
    ----------
    lat, lon : ndarray (row), (column), degrees
        Pixel centres, in either direction; longitudes may count to 180 or to 360.
    places : Places
    """
    rows = _spans(lat, places.lat, places.half, circle=False)
    cols = _spans(lon, places.lon, places.half, circle=True)
    inside = np.flatnonzero((rows[:, 0] >= 0) & (cols[:, 0] >= 0))
    return Boxes(inside, rows[inside], cols[inside])


def coarse_cells(
    lat: NDArray[np.float64], lon: NDArray[np.float64], degrees: float
) -> tuple[NDArray[np.int64], Places]:
    """Return the coarse cell of each station, and the cells as places.

    Parameters
    ----------
    lat, lon : ndarray (station), degrees
    degrees : float
        Edge of the cells, which meet at 0 degrees.

    Returns
    -------
    ndarray (station), int64; Places
        Where among the cells a station's stands, and their centres.
    """
    around = round(360 / degrees)
    row = np.floor(lat / degrees).astype("int64")
    col = np.floor(lon / degrees).astype("int64") % around
    cells, index = np.unique(np.column_stack([row, col]), axis=0, return_inverse=True)
    centre = (cells + 0.5) * degrees
    east = (centre[:, 1] + 180) % 360 - 180
    return index.ravel(), Places(centre[:, 0], east, degrees / 2)


def _spans(
    axis: NDArray[np.float64], wanted: NDArray[np.float64], half: float, *, circle: bool
) -> NDArray[np.int64]:
    """First and behind the last index (place, 2) along an axis; -1 for outside."""
    if axis.size < 2:
        raise ValueError(f"a grid has {axis.size} rows or columns, expected at least two")
    if circle:  # count longitudes from the first column eastwards, or around the place's own
        west = np.nanmin(axis) - abs(axis[1] - axis[0]) / 2
        axis, wanted = (axis - west) % 360, (wanted - west) % 360
    order = np.argsort(axis)
    centres = axis[order]
    middles = (centres[1:] + centres[:-1]) / 2
    steps = np.diff(centres)
    # Rows of equal areas grow slowly towards the poles; a hole between two parts does not.
    reach = UNEVEN * np.minimum(np.r_[steps[0], steps], np.r_[steps, steps[-1]]) / 2
    reach[[0, -1]] = steps[[0, -1]] / 2
    place = np.searchsorted(middles, wanted)
    near = np.abs(centres[place] - wanted) <= reach[place] * (1 + ROUNDING)
    first = np.searchsorted(centres, wanted - half, side="left")
    last = np.searchsorted(centres, wanted + half, side="left")
    single = (last - first < 1) | (half == 0)
    first, last = np.where(single, place, first), np.where(single, place, last - 1)
    # Back to the axis as it runs, which may be downwards or begin in the middle.
    ends = np.sort(np.column_stack([order[first], order[last]]), axis=1)
    whole = ends[:, 1] - ends[:, 0] == last - first
    known = whole & (near | ~single)
    return np.where(known[:, None], ends + [0, 1], -1)


def _read_grids(
    name: str,
    source: Source,
    kind: str,
    files: list[str],
    places: Places,
    days: pd.DatetimeIndex,
    progress: Progress,
) -> tuple[NDArray[np.float64], str | None]:
    """Means (place, day) of all files in the product's units, and the units that they state."""
    total = np.zeros((len(places), len(days)))
    count = np.zeros(total.shape, dtype="int32")
    said: str | None = None
    found = False
    for number, path in enumerate(files, start=1):
        with open_part(name, source, kind, path) as part:
            said = said or part.units
            boxes = boxes_on(part.lat, part.lon, places)
            found = found or len(boxes) > 0
            times, index = _wanted(part, days)
            for group in _together(part, boxes) if times.size else ():
                _add(part, group, times, index, total, count)
        progress(name, number, len(files))
    if not found:
        logger.warning("%s: none of %d places lies on its grid", name, len(places))
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, total / np.maximum(count, 1), np.nan), said


def _wanted(part: Part, days: pd.DatetimeIndex) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which times of a part lie in the days, and on which of them."""
    index = (part.days.floor("D") - days[0]).days.to_numpy().astype("int64")
    wanted = np.flatnonzero((index >= 0) & (index < len(days)))
    return wanted, index[wanted]


def _together(part: Part, boxes: Boxes) -> Iterator[Boxes]:
    """Yield places that are read at once: those of a bin of whole chunks."""
    edges = np.maximum(part.chunk[1:], BIN_CELLS)
    bins = np.column_stack([boxes.row[:, 0], boxes.col[:, 0]]) // edges
    _, group = np.unique(bins, axis=0, return_inverse=True)
    for number in range(group.max(initial=-1) + 1):
        yield boxes.of(group.ravel() == number)


def _add(
    part: Part,
    boxes: Boxes,
    times: NDArray[np.int64],
    index: NDArray[np.int64],
    total: NDArray[np.float64],
    count: NDArray[np.int32],
) -> None:
    """Add a group's values, a stretch of time after the other."""
    rows = slice(int(boxes.row[:, 0].min()), int(boxes.row[:, 1].max()))
    cols = slice(int(boxes.col[:, 0].min()), int(boxes.col[:, 1].max()))
    cells = (rows.stop - rows.start) * (cols.stop - cols.start)
    step = _days_at_once(cells, part.chunk[0])
    for start in range(int(times[0]) // step * step, int(times[-1]) + 1, step):
        chosen = (times >= start) & (times < start + step)
        if not chosen.any():
            continue
        first, last = int(times[chosen][0]), int(times[chosen][-1])
        block = part.read(slice(first, last + 1), rows, cols)[times[chosen] - first]
        values = _means(block, boxes, rows.start, cols.start)
        known = np.isfinite(values)
        at = np.broadcast_to(boxes.place[:, None], values.shape)
        day = np.broadcast_to(index[chosen], values.shape)
        np.add.at(total, (at, day), np.where(known, values, 0.0))
        np.add.at(count, (at, day), known)


def _days_at_once(cells: int, chunk: int) -> int:
    """Return whole chunks of days; fewer where one chunk is too large to be held."""
    if cells * chunk > 2 * MOST_VALUES:
        return max(1, MOST_VALUES // cells)
    return max(1, MOST_VALUES // (cells * chunk)) * chunk


def _means(block: NDArray[np.float64], boxes: Boxes, top: int, left: int) -> NDArray[np.float64]:
    """Means (place, time) over each place's pixels; NaN where it has none with a value."""
    row, col = boxes.row - top, boxes.col - left
    if (np.diff(row) == 1).all() and (np.diff(col) == 1).all():
        return block[:, row[:, 0], col[:, 0]].T
    means = np.full((len(boxes), len(block)), np.nan)
    for number, ((top, bottom), (left, right)) in enumerate(zip(row, col, strict=True)):
        cell = block[:, top:bottom, left:right]
        known = np.isfinite(cell)
        some = known.any(axis=(1, 2))
        sums = np.where(known, cell, 0.0).sum(axis=(1, 2))
        means[number, some] = sums[some] / known.sum(axis=(1, 2))[some]
    return means


def _porosity(name: str, source: Source, places: Places) -> float | NDArray[np.float64] | None:
    """Return the porosity that the settings give, of a raster at each place."""
    if source.porosity is None or isinstance(source.porosity, float | int):
        return source.porosity
    layer = Source(path=source.porosity, units="m3 m-3")
    kind, files = files_of(f"porosity of {name}", layer)
    with open_part(f"porosity of {name}", layer, kind, files[0], dated=False) as part:
        boxes = boxes_on(part.lat, part.lon, places)
        found = np.full(len(places), np.nan)
        for group in _together(part, boxes):
            rows = slice(int(group.row[:, 0].min()), int(group.row[:, 1].max()))
            cols = slice(int(group.col[:, 0].min()), int(group.col[:, 1].max()))
            block = part.read(slice(0, 1), rows, cols)
            found[group.place] = _means(block, group, rows.start, cols.start)[:, 0]
    return found


def _read_points(
    name: str, source: Source, files: list[str], places: Places, days: pd.DatetimeIndex
) -> NDArray[np.float64]:
    """Means (place, day) of the nearest point's rows."""
    roles = source.columns
    table = pd.concat([_point_table(name, roles, path) for path in files], ignore_index=True)
    points = table[[roles["lat"], roles["lon"]]].drop_duplicates().reset_index(drop=True)
    number = table.merge(points.reset_index(), on=[roles["lat"], roles["lon"]])["index"].to_numpy()
    day = (pd.DatetimeIndex(table[roles["time"]]).floor("D") - days[0]).days.to_numpy()
    value = stored_values(table[roles["value"]].to_numpy("float64"), source)
    good = np.isfinite(value) & (day >= 0) & (day < len(days))
    shape = len(points), len(days)
    total, count = np.zeros(shape), np.zeros(shape, dtype="int32")
    np.add.at(total, (number[good], day[good]), value[good])
    np.add.at(count, (number[good], day[good]), 1)
    lat, lon = (points.iloc[:, place].to_numpy("float64") for place in (0, 1))
    found = np.full((len(places), len(days)), np.nan)
    for place, chosen in enumerate(_points_of(places, lat, lon, source.max_km)):
        known = count[chosen].sum(axis=0)
        sums = total[chosen].sum(axis=0)
        found[place] = np.where(known > 0, sums / np.maximum(known, 1), np.nan)
    return found


def _read_series(
    name: str,
    source: Source,
    files: list[str],
    places: Places,
    days: pd.DatetimeIndex,
    progress: Progress,
) -> tuple[NDArray[np.float64], str | None]:
    """Means (place, day) of the nearest location's series, and the units that the files state."""
    about, said = [], None
    for number, path in enumerate(files):
        with open_series(name, source, path) as series:
            said = said or series.units
            own = np.arange(len(series.lat))
            about.append(np.column_stack([series.lat, series.lon, np.full(own.size, number), own]))
    lat, lon, *numbers = np.concatenate(about).T
    file, location = (column.astype("int64") for column in numbers)
    total = np.zeros((len(places), len(days)))
    count = np.zeros(total.shape, dtype="int32")
    chosen = list(_points_of(places, lat, lon, source.max_km))
    for number, path in enumerate(files):
        wanted = [
            (place, int(location[k]))
            for place, of in enumerate(chosen) for k in of if file[k] == number
        ]  # fmt: skip
        if wanted:
            with open_series(name, source, path) as series:
                _add_series(series, wanted, days, total, count)
        progress(name, number + 1, len(files))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), said


def _add_series(
    series: Series,
    wanted: list[tuple[int, int]],
    days: pd.DatetimeIndex,
    total: NDArray[np.float64],
    count: NDArray[np.int32],
) -> None:
    """Add the values of a file's locations, each to the place that wants it."""
    for place, location in wanted:
        when, values = series.read(location)
        day = (when - days[0]).days.to_numpy()
        good = np.isfinite(values) & (day >= 0) & (day < len(days))
        np.add.at(total[place], day[good], values[good])
        np.add.at(count[place], day[good], 1)


def _points_of(
    places: Places, lat: NDArray[np.float64], lon: NDArray[np.float64], max_km: float
) -> Iterator[NDArray[np.int64]]:
    """Yield the points of each place: those in its cell, or the nearest one within reach."""
    index, km = nearest(places.lat, places.lon, lat, lon)
    for north, east, near, far in zip(places.lat, places.lon, index, km, strict=True):
        across = np.abs((lon - east + 180) % 360 - 180)
        inside = np.flatnonzero((np.abs(lat - north) < places.half) & (across < places.half))
        yield inside if inside.size else np.full(int(far <= max_km), near)


def _point_table(name: str, roles: dict[str, str], path: str) -> pd.DataFrame:
    """Read one table of points; raise unless it has the columns."""
    table = pd.read_parquet(path) if path.endswith(".parquet") else pd.read_csv(path)
    if missing := [column for column in roles.values() if column not in table]:
        raise ValueError(
            f"product {name}, {Path(path).name}: columns {missing} are missing (found "
            f'{list(table.columns)}); set `columns`, such as {{ value = "sm" }}'
        )
    table = table[list(roles.values())]
    return table.assign(**{roles["time"]: pd.to_datetime(table[roles["time"]])})
