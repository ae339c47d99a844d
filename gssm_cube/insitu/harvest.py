"""The files of an ISMN archive, station by station, to sensors' days; in several processes."""

import logging
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gssm_cube.insitu.archive import DAMAGE, Members, open_archive
from gssm_cube.insitu.ismn import (
    SOIL_MOISTURE,
    SOIL_TEMPERATURE,
    FileName,
    Sensor,
    parse_file_name,
    read_sensors,
    read_static,
)
from gssm_cube.insitu.lines import Rows
from gssm_cube.insitu.quality import (
    KEPT,
    REASONS,
    Rules,
    cold_hours,
    daily_means,
    day_shift,
    frozen_days,
    judge_rows,
)

logger = logging.getLogger(__name__)

DEPTH_OUTSIDE = "depth outside"
NOT_MOISTURE = "not soil moisture"
DEEPEST_FROST = 0.1  # m: deeper soil temperature says little about the top 5 cm

# Starting two processes takes 1-2 s, in which one reads about 20 MB of zip.
WORTH_PROCESSES = 32 * 2**20  # bytes on disk

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Piece:
    """What one file says of one sensor: its days, its frozen days and its rows by reason.

    ``days`` and ``frozen`` are arrays of `quality.DAYS` and `quality.FROZEN_DAYS`.
    """

    sensor: Sensor
    days: NDArray[np.void]
    frozen: NDArray[np.void]
    rows: tuple[int, ...]
    classes: dict[str, str | None] = field(default_factory=dict)


@dataclass
class Reading:
    """What the files of one station say, and which were left out and why."""

    pieces: list[Piece] = field(default_factory=list)
    left_out: list[dict[str, str]] = field(default_factory=list)
    files: int = 0
    files_read: int = 0

    def leave_out(self, member: str, name: FileName | None, reason: str) -> None:
        """Note why a file is not read."""
        network = name.network if name else "unknown"
        station = f"{network}/{name.station}" if name else ""
        entry = {"file": member, "network": network, "station": station, "reason": reason}
        self.left_out.append(entry)


def read_archive(
    archive: str | Path,
    rules: Rules,
    *,
    processes: int | None = 1,
    progress: Progress | None = None,
) -> Iterator[Reading]:
    """Read all stations of an archive, in the order of their names.

    Parameters
    ----------
    archive : str or Path
        Zip, folder, or folder of zips.
    rules : Rules
        Which rows count.
    processes : int or None
        The readings are the same for any number. None takes all cores for an archive of more
        than 32 MB, else one.
    progress : callable, optional
        Called with files done and files in all, after each station.

    Yields
    ------
    Reading
        One a station.
    """
    with open_archive(archive) as members, ExitStack() as stack:
        groups = list(group_members(members).values())
        total, done = sum(map(len, groups)), 0
        for reading in _read_groups(archive, members, groups, rules, processes, stack):
            done += reading.files
            if progress is not None:
                progress(done, total)
            yield reading


def group_members(members: Iterable[str]) -> dict[str, list[str]]:
    """Return the data files by station as their names have it; a foreign name is its own group."""
    groups: dict[str, list[str]] = {}
    for member in members:
        if member.lower().endswith(".stm"):
            name = parse_file_name(member)
            groups.setdefault(name.place if name else member, []).append(member)
    return dict(sorted(groups.items()))


def read_place(members: Members, files: list[str], rules: Rules) -> Reading:
    """Read the files of one station; what is damaged is named and the rest is read.

    A file that is empty, cut, foreign, encrypted or too large is left out as ``unreadable``.

    Parameters
    ----------
    members : dict of str to callable
        From `open_archive`.
    files : list of str
        Data files of the station, of all variables.
    rules : Rules

    Returns
    -------
    Reading
    """
    reading = Reading(files=len(files))
    names = {file: parse_file_name(file) for file in files}
    wanted = [file for file in files if _is_wanted(file, names[file], rules, reading)]
    cold = _read_cold_hours(members, names, reading) if wanted else None
    classes: dict[str, dict] = {}  # by static file: the sensors of a station share it
    for file in wanted:
        name = names[file]
        static = name.static if name else ""
        if static not in classes:
            classes[static] = _read_classes(members, name, reading)
        try:
            sensors = read_sensors(members[file](), name)
        except DAMAGE as error:
            _damaged(reading, file, name, error)
            continue
        reading.files_read += 1
        for sensor, rows in sensors:
            if not rules.holds(sensor.depth):
                reading.leave_out(file, name, DEPTH_OUTSIDE)
                continue
            reading.pieces.append(read_piece(sensor, rows, rules, cold, classes[static]))
    return reading


def read_piece(
    sensor: Sensor,
    rows: Rows,
    rules: Rules,
    cold: NDArray[np.datetime64] | None = None,
    classes: dict[str, str | None] | None = None,
) -> Piece:
    """Judge and average the rows of one sensor.

    Parameters
    ----------
    sensor : Sensor
    rows : Rows
        Stamps in UTC, values in m3 m-3.
    rules : Rules
    cold : array of datetime64[h], optional
        Hours of frozen soil.
    classes : dict, optional
        ``koeppen`` and ``land_cover``.

    Returns
    -------
    Piece
    """
    shift = day_shift(sensor.lon, rules.day)
    codes = judge_rows(rows, rules, shift=shift, frozen_hours=cold)
    counts = np.bincount(codes, minlength=len(REASONS))
    kept = codes == KEPT
    return Piece(
        sensor=sensor,
        days=daily_means(rows.stamp[kept], rows.value[kept], shift),
        frozen=frozen_days(rows.stamp, codes, shift),
        rows=tuple(counts.tolist()),
        classes=classes or {},
    )


def _read_groups(
    archive: str | Path,
    members: Members,
    groups: list[list[str]],
    rules: Rules,
    processes: int | None,
    stack: ExitStack,
) -> Iterable[Reading]:
    """Read the groups here or in a pool of processes, in their order."""
    if processes is None:
        processes = (os.cpu_count() or 1) if _size(Path(archive)) > WORTH_PROCESSES else 1
    processes = min(processes, len(groups))
    if processes <= 1:
        return (read_place(members, group, rules) for group in groups)
    # A fork of this process could inherit a lock that another thread of it holds.
    kind = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(kind)
    if kind == "forkserver":
        context.set_forkserver_preload(["gssm_cube.insitu.warm"])
    pool = stack.enter_context(ProcessPoolExecutor(processes, mp_context=context))
    return pool.map(partial(_read_elsewhere, str(archive), rules), groups, chunksize=4)


def _read_elsewhere(archive: str, rules: Rules, files: list[str]) -> Reading:
    """Read one station in a process of the pool, which opens the archive once."""
    return read_place(_opened(archive)[1], files, rules)


@cache
def _opened(archive: str) -> tuple[ExitStack, Members]:
    """Return an archive that stays open until the process ends; whoever drops it closes it."""
    stack = ExitStack()
    return stack, stack.enter_context(open_archive(archive))


def _size(archive: Path) -> int:
    """Return the bytes of an archive on disk; of a folder's text a tenth, as a zip would have."""
    if archive.is_file():
        return archive.stat().st_size
    sizes = ((p.stat().st_size, p.suffix.lower()) for p in archive.rglob("*") if p.is_file())
    return sum(size if suffix == ".zip" else size // 10 for size, suffix in sizes)


def _is_wanted(file: str, name: FileName | None, rules: Rules, reading: Reading) -> bool:
    """Tell whether a file is to be read; note why not. A foreign name may hold anything."""
    if name and name.variable not in SOIL_MOISTURE:
        reading.leave_out(file, name, NOT_MOISTURE)
    elif name and not rules.holds(name.depth):
        reading.leave_out(file, name, DEPTH_OUTSIDE)
    else:
        return True
    return False


def _read_cold_hours(
    members: Members, names: dict[str, FileName | None], reading: Reading
) -> NDArray[np.datetime64] | None:
    """Return the hours in which any shallow soil temperature sensor was below 0 degC."""
    found = []
    for file, name in names.items():
        if not name or name.variable not in SOIL_TEMPERATURE or name.depth[1] > DEEPEST_FROST:
            continue
        try:
            found += [cold_hours(rows) for _, rows in read_sensors(members[file](), name)]
        except DAMAGE as error:
            _damaged(reading, file, name, error)
    return np.unique(np.concatenate(found)) if found else None


def _read_classes(
    members: Members, name: FileName | None, reading: Reading
) -> dict[str, str | None]:
    """Return climate and land cover; none where the file is missing or damaged, which is noted."""
    if name is None or name.static not in members:
        return {}
    try:
        return read_static(members[name.static]())
    except DAMAGE as error:
        _damaged(reading, name.static, name, error)
        return {}


def _damaged(reading: Reading, file: str, name: FileName | None, error: BaseException) -> None:
    """Note that a file cannot be read."""
    logger.warning("stations: cannot read %s: %s", file, error)
    reading.leave_out(file, name, f"unreadable: {error}")
