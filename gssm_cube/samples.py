"""Samples: the cube's values at station-days, with the bits that prediction sees.

A unit of work is a block: one tile x one window. What blocks share is read before them, each
stored chunk once (``picks``); a block's samples are one Parquet file (``sample_store``). A block
is done again only if its own station days or its part of the cube have changed.
"""

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import zarr
from numpy.typing import NDArray

from gssm_cube import blocks, cube
from gssm_cube.blocks import Client, Progress, UnitsFailed, digest, silent
from gssm_cube.grid import Layout
from gssm_cube.sampling.picks import (
    FLAGS,
    Pick,
    PixelDays,
    decode_features,
    find_needs,
    needed_names,
    needed_stages,
    sample_codes,
    write_request,
)
from gssm_cube.sampling.placing import OWN, check_day, describe_unchosen, placed_parts, places_of
from gssm_cube.sampling.sample_store import (
    FORMAT,
    STAGE,
    open_samples,
    read_rows,
    remove_manifest,
    remove_others,
    remove_rows,
    remove_scratch,
    scratch_of,
    write_manifest,
    write_part,
    write_row_index,
    write_rows,
)
from gssm_cube.storage.locations import Location
from gssm_cube.storage.run_log import NO_LOG, RunLog
from gssm_cube.storage.stores import array_of, open_group, read_layout
from gssm_cube.variables import PREDICTORS

logger = logging.getLogger(__name__)

MOST_THREADS = 4  # of a run without Dask: more would wait for one disk, and each holds a block


def sample_cube(
    store: Location,
    table: pd.DataFrame,
    *,
    features: Sequence[str] | None = None,
    client: Client | None = None,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Return features of the cube at every station-day; see ``write_samples``."""
    with TemporaryDirectory() as place:
        folder = Path(place) / "samples"
        write_samples(store, table, folder, features=features, client=client, progress=progress)
        return open_samples(folder)


def write_samples(
    store: Location,
    table: pd.DataFrame | Path,
    folder: Path,
    *,
    features: Sequence[str] | None = None,
    client: Client | None = None,
    progress: Progress = silent,
    log: RunLog = NO_LOG,
) -> tuple[pd.DataFrame, int]:
    """Write features of the cube at every station-day, or what is missing of them.

    Each stored chunk that a station-day needs is read once, whatever the number of stations and
    blocks that share it. Memory holds one part of the table, which pixels it needs in which
    window, and of the cube one block or chunk a task.

    Parameters
    ----------
    store : path or URL
        Feature cube.
    table : DataFrame or Path
        Station days: ``station``, ``network``, ``lat``, ``lon`` (deg), ``time`` (UTC day),
        ``observed`` (m3 m-3), and whatever else should be kept; or a file of
        `stations.write_archive`, which is read part by part.
    folder : Path
        Gets a Parquet file a block. Its columns: those of the table, ``lat``, ``lon`` and
        ``elevation`` of the station renamed to ``station_lat`` and so on; ``pixel`` (global
        number), ``tile``, ``place_block`` (of 25 km, see ``place_groups``); one float32 column a
        feature in its units, NaN where the cube has none; ``lst_quality`` (bits of
        ``flags.LST_FLAGS``), ``static_filled`` and ``land`` (0 or 1); what the cube holds of
        ERA5-Land's own soil, ``swvl1`` (m3 m-3) and ``stl1`` (degC).
    features : sequence of str, optional
        Which features and of the last three flags to write, and so to read; all by default.
    client : distributed.Client, optional
        Its workers must see both paths. Without one, a few threads of this process do the work.
    progress : callable
    log : RunLog
        Gets a row for each block.

    Returns
    -------
    status : DataFrame
        One row for each block that was sampled.
    skipped : int
        Blocks that were done before, from the same station days and the same part of the cube.

    Raises
    ------
    ValueError
        If a station lies outside the cube, no row is left, the days are defined otherwise, a
        feature is unknown, or the table has a column that samples add.
    UnitsFailed
        If blocks failed, after all were tried; the folder is not whole then.
    """
    layout = read_layout(store)
    root = open_group(store)
    chosen = choose_features(features, cube.reanalysis_of(root))
    starts = cube.composite_starts_of(root, layout)
    parts = _placed(table, layout)
    survey = _survey(store, parts(), layout, starts, chosen)
    units = sorted(survey.hashes)
    with blocks.locked(folder):
        blocks.remove_partial_files(folder)
        keys = _keys(store, layout, survey, chosen)
        todo = [unit for unit in units if not blocks.is_done(folder, STAGE, unit, keys[unit])]
        remove_manifest(folder)
        _request_rows(folder, parts(), {unit: keys[unit] for unit in todo})
        run = _Run(store, folder, layout, starts, chosen, client, progress, log)
        status = _run(run, survey.needs, todo, len(units) - len(todo))
        remove_others(folder, units)
        counts = write_manifest(folder, units, survey.day)
        remove_scratch(folder)
    logger.info(
        "samples: %d rows in %d blocks, %d of them new; %d rows lack a feature",
        counts["rows"], len(units), len(todo), counts["incomplete"],
    )  # fmt: skip
    return status, len(units) - len(todo)


def choose_features(
    features: Sequence[str] | None, reanalysis: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the names of features and flags in the order of the samples' columns; all by default.

    ``reanalysis`` names what the cube has beside them.

    Raises
    ------
    ValueError
        If one is unknown, or none is named.
    """
    known = (*PREDICTORS, *reanalysis, *FLAGS.values())
    unknown = [] if features is None else sorted(set(features) - set(known))
    if unknown or (features is not None and not features):
        raise ValueError(
            f"features are {list(features or [])}, expected some of {', '.join(known)}"
        )
    return tuple(name for name in known if features is None or name in features)


# ---- what is to do ----------------------------------------------------------------------------


@dataclass
class _Survey:
    """What a table asks of the cube: pixels and cells by stage, and each block's station days."""

    day: str
    needs: dict[str, pd.DataFrame]
    hashes: dict[str, str]
    columns: list[str]


def _placed(table: pd.DataFrame | Path, layout: Layout) -> Callable[[], Iterable[pd.DataFrame]]:
    """Return what gives the parts of a table, placed: of a file anew, of one in memory again."""
    if isinstance(table, Path):
        return partial(placed_parts, table, layout)
    placed = list(placed_parts(table, layout))
    return lambda: placed


def _survey(
    store: Location,
    parts: Iterable[pd.DataFrame],
    layout: Layout,
    starts: NDArray[np.int64],
    chosen: tuple[str, ...],
) -> _Survey:
    """Go once through the table: check it, and note what it asks for."""
    needs: dict[str, list[pd.DataFrame]] = {}
    totals: dict[str, NDArray[np.uint64]] = {}
    day, columns, tiles = "", [], {str(tile) for tile in layout.tiles()}
    stages = needed_stages(chosen)
    unchosen = []
    for placed in parts:
        check_day(store, placed)
        day, columns = placed.attrs.get("day", "UTC"), list(map(str, placed.columns))
        for stage, need in find_needs(places_of(placed), layout, starts, stages).items():
            needs.setdefault(stage, []).append(need)
        lost = placed[~placed["tile"].isin(tiles)]
        unchosen.append(lost.groupby(["station", "tile"]).size().reset_index(name="rows"))
        for unit, total in _row_totals(placed).items():
            totals[unit] = totals.get(unit, np.zeros(3, "uint64")) + total
    if elsewhere := describe_unchosen(pd.concat(unchosen), layout):
        logger.warning("samples: %s", elsewhere)
    joined = {stage: pd.concat(tables).drop_duplicates() for stage, tables in needs.items()}
    return _Survey(day, joined, {u: digest(t.tolist()) for u, t in totals.items()}, columns)


def _row_totals(placed: pd.DataFrame) -> dict[str, NDArray[np.uint64]]:
    """Return for each block its rows, and the sums of their hashes and of the squares of these.

    Sums are the same whatever the order of rows, and in whatever parts they come.
    """
    # What placing adds follows from these and the layout.
    own = [name for name in map(str, placed) if name not in OWN and name[0] != "_"]
    hashes = pd.util.hash_pandas_object(placed[own], index=False).to_numpy()
    place, units = pd.factorize(placed["_block"])
    totals = np.zeros((len(units), 3), "uint64")
    for column, values in enumerate((np.ones_like(hashes), hashes, hashes * hashes)):
        np.add.at(totals[:, column], place, values)  # modulo 2**64
    return dict(zip(map(str, units), totals, strict=True))


def _keys(
    store: Location, layout: Layout, survey: _Survey, chosen: tuple[str, ...]
) -> dict[str, str]:
    """Return each block's key: a hash of its station days and of its part of the cube."""
    needs = survey.needs.items()
    inputs = {stage: table.groupby("block")["unit"].unique() for stage, table in needs}
    about = (FORMAT, layout.to_dict(), survey.columns, chosen)
    keys = {}
    for unit, rows in survey.hashes.items():
        parts = {stage: sorted(units[unit]) for stage, units in inputs.items()}
        parts["daily"] = [unit]
        found = {name: blocks.stage_digest(store, name, part) for name, part in parts.items()}
        keys[unit] = digest(about, rows, found)
    return keys


def _request_rows(folder: Path, parts: Iterable[pd.DataFrame], keys: dict[str, str]) -> None:
    """Write down the rows of the blocks that are to do, for the tasks to read."""
    scratch = scratch_of(folder)
    remove_rows(scratch)
    if not keys:
        return
    index = []
    for number, placed in enumerate(parts):
        rows, where = _by_block(placed[placed["_block"].isin(list(keys))])
        write_rows(scratch, f"{number:06d}", rows)
        index.append(where.assign(part=f"{number:06d}"))
    joined = pd.concat(index, ignore_index=True)
    write_row_index(scratch, joined.assign(key=joined["unit"].map(keys)))


def _by_block(placed: pd.DataFrame) -> tuple[pa.Table, pd.DataFrame]:
    """Return rows by block, station and time, and where those of each block stand."""
    block = placed["_block"].cat.codes.to_numpy()
    station = pd.factorize(placed["station"], sort=True)[0]
    order = np.lexsort([placed["time"].to_numpy(), station, block])
    ordered = block[order]
    start = np.flatnonzero(np.diff(ordered, prepend=-1))
    units = placed["_block"].cat.categories[ordered[start]]
    where = {"unit": units, "start": start, "rows": np.diff(start, append=len(placed))}
    rows = pa.Table.from_pandas(placed.drop(columns="_block"), preserve_index=False)
    return rows.take(pa.array(order)).replace_schema_metadata(), pd.DataFrame(where)


# ---- doing it ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    """Where a run reads and writes, and who works for it."""

    store: Location
    folder: Path
    layout: Layout
    starts: NDArray[np.int64]
    chosen: tuple[str, ...]
    client: Client | None
    progress: Progress
    log: RunLog

    def units(
        self, work: blocks.Work, units: list[str], stage: str, note: blocks.Note = blocks.ignore
    ) -> tuple[pd.DataFrame, ...]:
        """Run units; return the status of all of them, and of those that failed."""
        try:
            found = blocks.run_units(
                work, units, stage=stage, client=self.client, progress=self.progress, note=note,
                threads=min(len(os.sched_getaffinity(0)), MOST_THREADS),
            )  # fmt: skip
        except UnitsFailed as error:
            return pd.DataFrame(), error.failed
        return found, found[:0]


def _run(run: _Run, needs: dict[str, pd.DataFrame], todo: list[str], skipped: int) -> pd.DataFrame:
    """Pick what the blocks share, then sample them; a pick that fails spoils only its blocks."""
    scratch, failed = scratch_of(run.folder), []
    for stage, table in needs.items():
        work = Pick(run.store, scratch, run.layout, stage, needed_names(stage, run.chosen))
        units = _request_picks(run, stage, table, todo)
        failed.append(run.units(work, units, f"samples, {stage}")[1])
    sampling = SampleBlock(run.store, run.folder, run.layout, run.starts, run.chosen)
    place = blocks.marker_folder(run.folder, STAGE)
    with run.log.stage(STAGE, dict.fromkeys(todo, 0), skipped, place) as log:
        status, lost = run.units(sampling, todo, STAGE, log.add)
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
        names = needed_names(stage, run.chosen)
        key = digest(FORMAT, pixels, names, blocks.stage_digest(run.store, stage, [str(unit)]))
        if not blocks.is_done(scratch, stage, str(unit), key):
            write_request(scratch, stage, str(unit), places, key)
            units.append(str(unit))
    return units


@dataclass(frozen=True)
class SampleBlock:
    """Task: the samples of one block, one file and one marker."""

    cube: Location
    folder: Path
    layout: Layout
    starts: NDArray[np.int64]  # of the composites, on the daily axis
    chosen: tuple[str, ...]

    def __call__(self, unit: str) -> dict[str, Any]:
        """Write the block's samples."""
        scratch = scratch_of(self.folder)
        rows, key = read_rows(scratch, unit)
        row, col, day = (rows[name].to_numpy() for name in ("_row", "_col", "_day"))
        places = PixelDays(blocks.parse_block(unit, self.layout), row, col, day)
        codes = sample_codes(
            self._root, self._daily, scratch, self.layout, self.starts, places, self.chosen
        )
        values: dict[str, Any] = dict(decode_features(codes, self.layout, row, col))
        flags = {name: codes[flag] for flag, name in FLAGS.items() if flag in codes}
        values |= {name: found.astype("uint8") for name, found in flags.items()}
        columns = {name: values[name] for name in self.chosen}
        rows = rows.drop_columns(["_row", "_col", "_day"])
        return write_part(self.folder, unit, rows, columns, key)

    @cached_property
    def _root(self) -> zarr.Group:
        """The cube, opened once for all blocks: for one feature that takes a tenth of the time."""
        return open_group(self.cube)

    @cached_property
    def _daily(self) -> dict[str, zarr.Array]:
        """The chosen daily arrays, opened once as well."""
        names = needed_names("daily", self.chosen)
        return {name: array_of(self._root, f"daily/{name}") for name in names}
