"""Station days placed on the cube: whether they belong to it, and which pixel they lie in."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm_cube.grid import WINDOW_DAYS, Layout
from gssm_cube.insitu.station_tables import read_station_parts
from gssm_cube.sampling.picks import FLAGS
from gssm_cube.splits import place_groups
from gssm_cube.storage.locations import Location
from gssm_cube.storage.stores import open_group
from gssm_cube.variables import STORED

logger = logging.getLogger(__name__)

OWN = ("pixel", "tile", "place_block", *FLAGS.values())
LARGEST = (1000, 1000, 1000)  # one more than any row or column of tiles, or window
RENAMED = {name: f"station_{name}" for name in ("lat", "lon", "elevation")}


def check_day(store: Location, table: pd.DataFrame) -> None:
    """Raise unless cube and station table mean the same by a day."""
    found = table.attrs.get("day", "UTC")
    expected = open_group(store).attrs.get("gssm_day")
    if found != expected:
        raise ValueError(
            f"station days are {found!r}, days of {store} are {expected!r}; read the stations "
            "again with the cube's day"
        )


def check_columns(table: pd.DataFrame) -> None:
    """Raise if a table has columns that samples add."""
    added = {*OWN, *RENAMED.values(), *STORED} - RENAMED.keys()
    taken = sorted(name for name in map(str, table.columns) if name in added or name[0] == "_")
    if taken:
        raise ValueError(
            f"the station table has columns {taken}, which samples add or use; rename them"
        )


def check_places(path: Path, layout: Layout) -> None:
    """Raise as ``place_stations`` does if the stations of a file do not lie in the cube."""
    for _ in placed_parts(path, layout):
        pass


def place_stations(table: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    """Return the rows within the cube's days, with the pixel and tile of each station.

    Raises
    ------
    ValueError
        If a station lies outside the cube, naming it, no row is left, or a column is one that
        samples add.
    """
    [placed] = placed_parts(table, layout)
    return placed


def placed_parts(table: pd.DataFrame | Path, layout: Layout) -> Iterator[pd.DataFrame]:
    """Yield the parts of a table within the cube's days, placed; raise if all are empty."""
    parts = iter([table]) if isinstance(table, pd.DataFrame) else read_station_parts(table)
    rows, kept, spans = 0, 0, []
    for part in parts:
        check_columns(part)
        placed = _place_part(part, layout)
        rows, kept = rows + len(part), kept + len(placed)
        if len(part):
            spans += [part["time"].min(), part["time"].max()]
        if len(placed):
            placed.attrs = part.attrs
            yield placed
    if not kept:
        span = f"{min(spans)} .. {max(spans)}" if spans else "no day"
        raise ValueError(
            f"no station day lies within {layout.first_day} .. {layout.last_day}; the table spans "
            f"{span}"
        )
    logger.info("samples: %d of %d station days lie in the cube", kept, rows)


def _place_part(table: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    """Return the rows within the cube's days, with where they lie; raise if any is outside."""
    places, which = _distinct_places(table)
    inside = _inside(places, layout)
    if not inside.all():
        west, south, east, north = layout.bounds
        names = sorted(table.loc[~inside[which], "station"].unique())
        raise ValueError(
            f"{len(names)} stations lie outside the cube ({west:.2f}..{east:.2f} E, "
            f"{south:.2f}..{north:.2f} N): {', '.join(names[:5])}; enlarge the bounds or leave "
            "them out of the archive"
        )
    day = table["time"].to_numpy().astype("M8[D]")
    in_time = (day >= layout.time[0]) & (day <= layout.time[-1])
    which, number = which[in_time], (day[in_time] - layout.time[0]).astype("int64")
    row, col = layout.grid.row_of(places["lat"]), layout.grid.col_of(places["lon"])
    tile, window = (row // layout.tile_size, col // layout.tile_size), number // WINDOW_DAYS
    group = place_groups(places["lat"], places["lon"], grid=layout.grid)
    return (
        table[in_time]
        .rename(columns=RENAMED)
        .assign(
            pixel=(row * layout.grid.cols + col)[which],
            tile=_labels("r{:03d}c{:03d}", *tile).astype("str").take(which),
            place_block=group[which],
            _row=(row - layout.row)[which],
            _col=(col - layout.col)[which],
            _day=number,
            _block=_labels("r{:03d}c{:03d}_w{:02d}", tile[0][which], tile[1][which], window),
        )
    )


def _distinct_places(table: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Return ``lat`` and ``lon`` of the few places of a table, and which of them each row has.

    Rows of a place mostly follow each other: where they do, only the first is looked at.
    """
    found = table[["lat", "lon"]].to_numpy("float64")
    moved = (found[1:] != found[:-1]).any(axis=1)
    begins = np.flatnonzero(np.append(len(found) > 0, moved))
    (lat, lats), (lon, lons) = (
        pd.factorize(column, use_na_sentinel=False) for column in found[begins].T
    )
    which, pairs = pd.factorize(lat * len(lons) + lon)
    rows, cols = np.divmod(pairs, max(len(lons), 1))
    places = pd.DataFrame({"lat": lats[rows], "lon": lons[cols]})
    return places, np.repeat(which, np.diff(begins, append=len(found)))


def _labels(form: str, *numbers: NDArray[np.int64]) -> Any:
    """Return each row's label as a category; rows are many, labels few: each is made once."""
    code = np.ravel_multi_index(numbers, LARGEST[: len(numbers)])
    which, distinct = pd.factorize(code, sort=True)
    made = zip(*np.unravel_index(distinct, LARGEST[: len(numbers)]), strict=True)
    labels = pd.Index([form.format(*label) for label in made], dtype="str")
    return pd.Categorical.from_codes(which, dtype=pd.CategoricalDtype(labels))


def _inside(places: pd.DataFrame, layout: Layout) -> NDArray[np.bool_]:
    """Whether a place's pixel belongs to the box; one on its south or east edge does not."""
    known = places["lat"].between(-90, 90) & places["lon"].between(-180, 180)
    row = layout.grid.row_of(places["lat"].where(known, 0.0)) - layout.row
    col = layout.grid.col_of(places["lon"].where(known, 0.0)) - layout.col
    rows, cols = layout.shape
    return known.to_numpy() & (row >= 0) & (row < rows) & (col >= 0) & (col < cols)


def places_of(placed: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that tell what of the cube a row needs."""
    names = ["_block", "tile", "_row", "_col", "_day"]
    return placed[names].rename(columns=lambda name: name.removeprefix("_"))


def describe_unchosen(counts: pd.DataFrame, layout: Layout) -> str:
    """Say which stations lie in tiles of the box that the run does not choose; nothing if none do.

    Such tiles are never harmonised, so their samples have no features.

    Parameters
    ----------
    counts : DataFrame
        ``rows`` of each ``station`` and ``tile``, which may come in parts.
    layout : Layout
    """
    lost = counts[~counts["tile"].isin([str(tile) for tile in layout.tiles()])]
    if lost.empty:
        return ""
    names, tiles = (sorted(lost[name].unique()) for name in ("station", "tile"))
    more = f", ... {names[-1]}" if len(names) > 5 else ""
    return (
        f"{lost['rows'].sum()} days of {len(names)} stations have no features, for their tiles "
        f"({', '.join(tiles[:5])}{', ...' * (len(tiles) > 5)}) are not among those of the run: "
        f"{', '.join(names[:5])}{more}; choose these tiles as well, or leave the stations out"
    )
