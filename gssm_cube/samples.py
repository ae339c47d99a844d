"""Training samples: the cube's values at stations, through prediction's own code path."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd

from gssm_cube import cube
from gssm_cube.blocks import Progress, silent
from gssm_cube.grid import CHUNK_PIXELS, Layout
from gssm_cube.stores import DIMS, read_layout
from gssm_cube.variables import PREDICTORS

logger = logging.getLogger(__name__)


def sample_cube(store: Path, table: pd.DataFrame, *, progress: Progress = silent) -> pd.DataFrame:
    """Return all features of the cube at every station-day.

    Stations that share an inner chunk share its one read; the values are those that prediction
    sees, to the last bit.

    Parameters
    ----------
    store : Path
        Feature cube.
    table : DataFrame
        Station days: ``station``, ``network``, ``lat``, ``lon`` (deg), ``time`` (UTC day),
        ``observed`` (m3 m-3), and whatever else should be kept.
    progress : callable

    Returns
    -------
    DataFrame
        The table's rows within the cube's days, ``lat`` and ``lon`` of the station renamed to
        ``station_lat`` and ``station_lon``, with ``pixel`` (global number), ``tile``, and one
        float32 column a feature in its units; NaN where the cube has none.

    Raises
    ------
    ValueError
        If a station lies outside the cube, no row is left, or the days are defined otherwise.
    """
    layout = read_layout(store)
    check_day(store, table)
    placed = place_stations(table, layout)
    groups = placed.groupby(["_chunk_row", "_chunk_col"], sort=True)
    pieces = []
    for number, (_, rows) in enumerate(groups, start=1):
        pieces.append(_sample_chunk(store, layout, rows))
        progress("samples", number, groups.ngroups)
    samples = pd.concat(pieces).sort_values(["station", "time"], ignore_index=True)
    logger.info("samples: %d rows of %d stations", len(samples), samples["station"].nunique())
    return samples


def check_day(store: Path, table: pd.DataFrame) -> None:
    """Raise unless cube and station table mean the same by a day."""
    found = table.attrs.get("day", "UTC")
    expected = cube.open_cube(store).attrs.get("gssm_day")
    if found != expected:
        raise ValueError(
            f"station days are {found!r}, days of {store} are {expected!r}; read the stations "
            "again with the cube's day"
        )


def place_stations(table: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    """Return the rows within the cube's days, with the pixel and tile of each station.

    Raises
    ------
    ValueError
        If a station lies outside the cube, naming it, or no row is left.
    """
    inside = _inside(table, layout)
    if not inside.all():
        west, south, east, north = layout.bounds
        names = sorted(table.loc[~inside, "station"].unique())
        raise ValueError(
            f"{len(names)} stations lie outside the cube ({west:.2f}..{east:.2f} E, "
            f"{south:.2f}..{north:.2f} N): {', '.join(names[:5])}; enlarge the bounds or leave "
            "them out of the archive"
        )
    day = table["time"].to_numpy().astype("M8[D]")
    in_time = (day >= layout.time[0]) & (day <= layout.time[-1])
    if not in_time.any():
        raise ValueError(
            f"no station day lies within {layout.first_day} .. {layout.last_day}; the table spans "
            f"{table['time'].min()} .. {table['time'].max()}"
        )
    placed = table[in_time].rename(columns={"lat": "station_lat", "lon": "station_lon"})
    logger.info("samples: %d of %d station days lie in the cube", len(placed), len(table))
    row = layout.grid.row_of(placed["station_lat"])
    col = layout.grid.col_of(placed["station_lon"])
    size = layout.tile_size
    return placed.assign(
        pixel=row * layout.grid.cols + col,
        tile=[f"r{r:03d}c{c:03d}" for r, c in zip(row // size, col // size, strict=True)],
        _row=row - layout.row,
        _col=col - layout.col,
        _chunk_row=(row - layout.row) // CHUNK_PIXELS,
        _chunk_col=(col - layout.col) // CHUNK_PIXELS,
        _day=(day[in_time] - layout.time[0]).astype("int64"),
    )


def _inside(table: pd.DataFrame, layout: Layout) -> pd.Series:
    """Whether a row's pixel belongs to the box; a place on its south or east edge does not."""
    known = table["lat"].between(-90, 90) & table["lon"].between(-180, 180)
    row = layout.grid.row_of(table["lat"].where(known, 0.0)) - layout.row
    col = layout.grid.col_of(table["lon"].where(known, 0.0)) - layout.col
    rows, cols = layout.shape
    return known & (row >= 0) & (row < rows) & (col >= 0) & (col < cols)


def _sample_chunk(store: Path, layout: Layout, rows: pd.DataFrame) -> pd.DataFrame:
    """Read an inner chunk window by window and pick its stations' days."""
    top = int(rows["_chunk_row"].iloc[0]) * CHUNK_PIXELS
    left = int(rows["_chunk_col"].iloc[0]) * CHUNK_PIXELS
    features = cube.open_cube(store).drop_vars("land")
    box = features.isel(lat=slice(top, top + CHUNK_PIXELS), lon=slice(left, left + CHUNK_PIXELS))
    pieces = []
    for window in layout.windows():
        within = rows[rows["_day"].between(window.start, window.start + window.days - 1)]
        if not within.empty:
            place = (within["_day"] - window.start, within["_row"] - top, within["_col"] - left)
            chunk = box.isel(time=window.slice).load()
            pieces.append(_pick(chunk, within, [np.asarray(p) for p in place]))
    picked = pd.concat(pieces)
    return picked[[name for name in picked.columns if not name.startswith("_")]]


def _pick(chunk, rows: pd.DataFrame, place: list[np.ndarray]) -> pd.DataFrame:  # type: ignore[no-untyped-def]
    """Add the features at (day, row, column) places to rows."""
    where = dict(zip(DIMS, place, strict=True))
    columns = {}
    for name in PREDICTORS:
        array = chunk[name]
        dims = [dim for dim in DIMS if dim in array.dims]
        values = array.transpose(*dims).values[tuple(where[dim] for dim in dims)]
        columns[name] = values.astype("float32")
    return rows.assign(**columns)
