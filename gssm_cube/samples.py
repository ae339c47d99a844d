"""Samples: the cube's values at station-days, with the bits that prediction sees.

A unit of work is a block: one tile x one window. What blocks share is read before them, each
stored chunk once (``picks``); a block's samples are one Parquet file (``sample_store``). A block
is done again only if its own station days or its part of the cube have changed.
"""

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from gssm_cube import blocks, cube
from gssm_cube.blocks import Client, Progress, UnitsFailed, digest, silent
from gssm_cube.grid import WINDOW_DAYS, Layout
from gssm_cube.picks import (
    Pick,
    Places,
    decode_features,
    find_needs,
    sample_codes,
    write_request,
)
from gssm_cube.sample_store import (
    FORMAT,
    STAGE,
    open_samples,
    read_rows,
    remove_manifest,
    remove_others,
    remove_scratch,
    scratch_of,
    write_manifest,
    write_part,
    write_rows,
)
from gssm_cube.splits import place_groups
from gssm_cube.stores import open_group, read_layout
from gssm_cube.variables import PREDICTORS

logger = logging.getLogger(__name__)

FLAGS = {"quality": "lst_quality", "filled": "static_filled", "land": "land"}
OWN = ("pixel", "tile", "place_block", *FLAGS.values())
RENAMED = {name: f"station_{name}" for name in ("lat", "lon", "elevation")}


def sample_cube(
    store: Path, table: pd.DataFrame, *, client: Client | None = None, progress: Progress = silent
) -> pd.DataFrame:
    """Return all features of the cube at every station-day; see ``write_samples``."""
    with TemporaryDirectory() as place:
        folder = Path(place) / "samples"
        write_samples(store, table, folder, client=client, progress=progress)
        return open_samples(folder)


def write_samples(
    store: Path,
    table: pd.DataFrame,
    folder: Path,
    *,
    client: Client | None = None,
    progress: Progress = silent,
) -> tuple[pd.DataFrame, int]:
    """Write all features of the cube at every station-day, or what is missing of them.

    Each stored chunk that a station-day needs is read once, whatever the number of stations and
    blocks that share it. Memory holds the table, and of the cube one block or chunk a task.

    Parameters
    ----------
    store : Path
        Feature cube.
    table : DataFrame
        Station days: ``station``, ``network``, ``lat``, ``lon`` (deg), ``time`` (UTC day),
        ``observed`` (m3 m-3), and whatever else should be kept.
    folder : Path
        Gets a Parquet file a block. Its columns: those of the table, ``lat``, ``lon`` and
        ``elevation`` of the station renamed to ``station_lat`` and so on; ``pixel`` (global
        number), ``tile``, ``place_block`` (of 25 km, see ``place_groups``); one float32 column a
        feature in its units, NaN where the cube has none; ``lst_quality`` (bits of
        ``flags.LST_FLAGS``), ``static_filled`` and ``land`` (0 or 1).
    client : distributed.Client, optional
        Its workers must see both paths.
    progress : callable

    Returns
    -------
    status : DataFrame
        One row for each block that was sampled.
    skipped : int
        Blocks that were done before, from the same station days and the same part of the cube.

    Raises
    ------
    ValueError
        If a station lies outside the cube, no row is left, the days are defined otherwise, or
        the table has a column that samples add.
    UnitsFailed
        If blocks failed, after all were tried; the folder is not whole then.
    """
    layout = read_layout(store)
    check_day(store, table)
    check_columns(table)
    placed = place_stations(table, layout)
    starts = cube.composite_starts_of(open_group(store), layout)
    needs = find_needs(_places_of(placed), layout, starts)
    units = sorted(placed["_block"].unique())
    with blocks.locked(folder):
        blocks.remove_partial_files(folder)
        keys = _keys(store, layout, placed, needs)
        todo = [unit for unit in units if not blocks.is_done(folder, STAGE, unit, keys[unit])]
        remove_manifest(folder)
        if todo:
            _request_rows(folder, placed, {unit: keys[unit] for unit in todo})
        status = _run(_Run(store, folder, layout, client, progress), needs, todo)
        remove_others(folder, units)
        counts = write_manifest(folder, units, table.attrs.get("day", "UTC"))
        remove_scratch(folder)
    logger.info(
        "samples: %d rows of %d stations in %d blocks, %d of them new; %d rows lack a feature",
        counts["rows"], placed["station"].nunique(), len(units), len(todo), counts["incomplete"],
    )  # fmt: skip
    return status, len(units) - len(todo)


def check_day(store: Path, table: pd.DataFrame) -> None:
    """Raise unless cube and station table mean the same by a day."""
    found = table.attrs.get("day", "UTC")
    expected = cube.open_cube(store).attrs.get("gssm_day")
    if found != expected:
        raise ValueError(
            f"station days are {found!r}, days of {store} are {expected!r}; read the stations "
            "again with the cube's day"
        )


def check_columns(table: pd.DataFrame) -> None:
    """Raise if a table has columns that samples add."""
    added = {*OWN, *RENAMED.values(), *PREDICTORS} - RENAMED.keys()
    taken = sorted(name for name in map(str, table.columns) if name in added or name[0] == "_")
    if taken:
        raise ValueError(
            f"the station table has columns {taken}, which samples add or use; rename them"
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
    placed = table[in_time].rename(columns=RENAMED)
    logger.info("samples: %d of %d station days lie in the cube", len(placed), len(table))
    row = layout.grid.row_of(placed["station_lat"])
    col = layout.grid.col_of(placed["station_lon"])
    size, number = layout.tile_size, (day[in_time] - layout.time[0]).astype("int64")
    tiles = [f"r{r:03d}c{c:03d}" for r, c in zip(row // size, col // size, strict=True)]
    windows = [f"w{w:02d}" for w in number // WINDOW_DAYS]
    return placed.assign(
        pixel=row * layout.grid.cols + col,
        tile=tiles,
        place_block=place_groups(placed["station_lat"], placed["station_lon"], grid=layout.grid),
        _row=row - layout.row,
        _col=col - layout.col,
        _day=number,
        _window=windows,
        _block=[f"{tile}_{window}" for tile, window in zip(tiles, windows, strict=True)],
    )


def _inside(table: pd.DataFrame, layout: Layout) -> pd.Series:
    """Whether a row's pixel belongs to the box; a place on its south or east edge does not."""
    known = table["lat"].between(-90, 90) & table["lon"].between(-180, 180)
    row = layout.grid.row_of(table["lat"].where(known, 0.0)) - layout.row
    col = layout.grid.col_of(table["lon"].where(known, 0.0)) - layout.col
    rows, cols = layout.shape
    return known & (row >= 0) & (row < rows) & (col >= 0) & (col < cols)


def _places_of(placed: pd.DataFrame) -> pd.DataFrame:
    """Return the columns that tell what of the cube a row needs."""
    names = ["_block", "tile", "_window", "_row", "_col", "_day"]
    return placed[names].rename(columns=lambda name: name.removeprefix("_"))


# ---- what is to do ----------------------------------------------------------------------------


def _keys(
    store: Path, layout: Layout, placed: pd.DataFrame, needs: dict[str, pd.DataFrame]
) -> dict[str, str]:
    """Return each block's key: a hash of its station days and of its part of the cube."""
    inputs = {stage: table.groupby("block")["unit"].unique() for stage, table in needs.items()}
    about = (FORMAT, layout.to_dict(), list(map(str, placed.columns)))
    keys = {}
    for unit, rows in _row_hashes(placed).items():
        parts = {stage: list(units[unit]) for stage, units in inputs.items()}
        parts["daily"] = [unit]
        found = {name: blocks.stage_digest(store, name, part) for name, part in parts.items()}
        keys[unit] = digest(about, rows, found)
    return keys


def _row_hashes(placed: pd.DataFrame) -> dict[str, str]:
    """Return a hash of each block's rows, whatever their order."""
    hashes = pd.util.hash_pandas_object(placed, index=False)
    groups = hashes.groupby(placed["_block"])
    return {
        str(unit): hashlib.sha256(np.sort(values.to_numpy()).tobytes()).hexdigest()
        for unit, values in groups
    }


def _request_rows(folder: Path, placed: pd.DataFrame, keys: dict[str, str]) -> None:
    """Write down the rows of the blocks that are to do, for the tasks to read."""
    wanted = placed[placed["_block"].isin(list(keys))]
    wanted = wanted.sort_values(["_block", "station", "time"], ignore_index=True)
    starts = wanted["_block"].drop_duplicates()
    # One schema for all files, whatever is missing in some of them.
    rows = pa.Table.from_pandas(wanted.drop(columns=["_block", "_window"]), preserve_index=False)
    stops = [*starts.index[1:], len(wanted)]
    for unit, start, stop in zip(starts, starts.index, stops, strict=True):
        write_rows(scratch_of(folder), unit, rows.slice(start, stop - start), keys[unit])


# ---- doing it ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    """Where a run reads and writes, and who works for it."""

    store: Path
    folder: Path
    layout: Layout
    client: Client | None
    progress: Progress

    def units(self, work: blocks.Work, units: list[str], stage: str) -> tuple[pd.DataFrame, ...]:
        """Run units; return the status of all of them, and of those that failed."""
        try:
            found = blocks.run_units(
                work, units, stage=stage, client=self.client, progress=self.progress
            )
        except UnitsFailed as error:
            return pd.DataFrame(), error.failed
        return found, found[:0]


def _run(run: _Run, needs: dict[str, pd.DataFrame], todo: list[str]) -> pd.DataFrame:
    """Pick what the blocks share, then sample them; a pick that fails spoils only its blocks."""
    scratch, failed = scratch_of(run.folder), []
    for stage, table in needs.items():
        work = Pick(run.store, scratch, run.layout, stage)
        units = _request_picks(run, stage, table, todo)
        failed.append(run.units(work, units, f"samples, {stage}")[1])
    status, lost = run.units(SampleBlock(run.store, run.folder, run.layout), todo, STAGE)
    failures = pd.concat([*failed, lost])
    if len(failures):
        raise UnitsFailed(STAGE, failures)
    return status


def _request_picks(run: _Run, stage: str, needs: pd.DataFrame, todo: list[str]) -> list[str]:
    """Write down what is to be picked for the blocks to do; return the units not picked yet."""
    scratch = scratch_of(run.folder)
    wanted = set(needs.loc[needs["block"].isin(todo), "unit"])
    units = []
    for unit, places in needs[needs["unit"].isin(wanted)].groupby("unit"):
        pixels = sorted(set(zip(places["row"].tolist(), places["col"].tolist(), strict=True)))
        key = digest(FORMAT, pixels, blocks.stage_digest(run.store, stage, [str(unit)]))
        if not blocks.is_done(scratch, stage, str(unit), key):
            write_request(scratch, stage, str(unit), places, key)
            units.append(str(unit))
    return units


@dataclass(frozen=True)
class SampleBlock:
    """Task: the samples of one block, one file and one marker."""

    cube: Path
    folder: Path
    layout: Layout

    def __call__(self, unit: str) -> dict[str, Any]:
        """Write the block's samples."""
        scratch = scratch_of(self.folder)
        rows, key = read_rows(scratch, unit)
        row, col, day = (rows[name].to_numpy() for name in ("_row", "_col", "_day"))
        starts = cube.composite_starts_of(open_group(self.cube), self.layout)
        places = Places(blocks.parse_block(unit, self.layout), row, col, day)
        codes = sample_codes(self.cube, scratch, self.layout, starts, places)
        columns: dict[str, Any] = dict(decode_features(codes, self.layout, row, col))
        columns |= {name: codes[flag].astype("uint8") for flag, name in FLAGS.items()}
        rows = rows.drop_columns(["_row", "_col", "_day"])
        return write_part(self.folder, unit, rows, columns, key)
