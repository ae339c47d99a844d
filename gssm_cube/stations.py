"""From an ISMN archive and other tables to a quality-checked daily table of soil moisture.

A row of the archive is one hour of one sensor. It is kept only if ISMN calls it good, and every
row that is not kept is counted under exactly one reason. A station's day is the mean of its
sensors' days; their standard deviation is kept beside it as the error of the observation.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm_cube.insitu.harvest import DEPTH_OUTSIDE, Piece, Progress, Reading, read_archive
from gssm_cube.insitu.ismn import Sensor
from gssm_cube.insitu.quality import DUPLICATE, KEPT, MINIMUM_HOURS, REASONS, Day, Rules
from gssm_cube.insitu.station_days import Span, Spool, average_sensors, join_frozen
from gssm_cube.insitu.station_tables import COLUMNS, FROZEN_COLUMNS, StationWriter
from gssm_cube.insitu.tables import read_places

logger = logging.getLogger(__name__)

PART_ROWS = 2**17  # station-days that are made, and written, at a time: 20 MB
SAME_PLACE = 0.01  # degrees: sensors of one name that are farther apart are two stations


@dataclass(frozen=True)
class StationData:
    """What an archive gives: the days, the frozen days set aside, and the count of rows."""

    table: pd.DataFrame
    counts: pd.DataFrame
    frozen: pd.DataFrame


def read_stations(
    archive: str | Path,
    *,
    depth: tuple[float, float] = (0.0, 0.05),
    minimum_hours: int = MINIMUM_HOURS,
    first_day: date | str | None = None,
    last_day: date | str | None = None,
    day: Day = "UTC",
    screening: bool = True,
    tables: Sequence[str | Path] = (),
    processes: int | None = 1,
    progress: Progress | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the daily soil moisture of all stations; `gather_stations` without the frozen days.

    Parameters
    ----------
    archive, depth, minimum_hours, first_day, last_day, day, screening, tables, processes, progress
        As for `gather_stations`.

    Returns
    -------
    table, counts : DataFrame
        As `gather_stations` has them.
    """
    rules = Rules(depth, minimum_hours, first_day, last_day, day, screening)
    data = gather_stations(archive, rules, tables=tables, processes=processes, progress=progress)
    return data.table, data.counts


def gather_stations(
    archive: str | Path,
    rules: Rules | None = None,
    *,
    tables: Sequence[str | Path] = (),
    processes: int | None = 1,
    progress: Progress | None = None,
) -> StationData:
    """Read the daily soil moisture of all stations of an ISMN archive and of other tables.

    A row is kept if its flag is exactly ``G``, its value lies in 0..1 m3 m-3, the soil is not
    known to be frozen, and it is neither a spike nor part of a constant low run or a saturated
    plateau. A sensor's day is the mean of its kept rows, a station's day the mean of its sensors'
    days. Two places of one name in a network, more than 0.01 degrees apart, are two stations;
    the later one has its coordinates in its name.

    Parameters
    ----------
    archive : str or Path
        Zip, folder, or folder of zips, in the form header+values, CEOP in separate files, or
        combined CEOP.
    rules : Rules, optional
        ``depth`` (m): sensors wholly within are used, 0.0508 m (2 inches) passes for 0.05;
        ``minimum_hours``: distinct hours that a sensor's day needs; ``first_day``, ``last_day``:
        both included; ``day``: "UTC" (hours stamped 00 to 23) or "local" (the station's local
        standard day); ``screening``: whether spikes, constant runs and plateaus are sought.
    tables : sequence of path
        Stations outside ISMN, in the form that `tables` documents.
    processes : int or None
        How many read the archive; the result is the same. None takes what is worth it. Scripts
        that ask for more than one need the usual guard ``if __name__ == "__main__"``.
    progress : callable, optional
        Called with files done and files in all, after each station.

    Returns
    -------
    StationData
        ``table``, one row per station-day: ``network``, ``station`` ("NETWORK/NAME"), ``lat``,
        ``lon`` (deg), ``elevation`` (m, NaN if unknown), ``time`` (day), ``observed`` (m3 m-3),
        ``hours`` (of the sensor with fewest), ``sensors``, ``spread`` (standard deviation
        between sensors, m3 m-3, NaN for one), ``koeppen``, ``land_cover`` (missing if unknown);
        ``attrs["day"]`` is the rules' day. ``counts``: ``network``, ``reason``, ``rows``; every
        row read has one reason. Files not read are dicts of ``file``, ``network``, ``station``,
        ``reason`` in ``attrs["files"]``; ``attrs["files_read"]``; stations without a day are
        dicts of ``station``, ``reason`` (the most frequent) in ``attrs["without_a_day"]``; those
        with days, and the days, are numbers in ``attrs["stations"]`` and ``attrs["days"]``.
        ``frozen``, one row per station-day with frozen hours: ``frozen_hours`` (flag D01-D03 or
        soil temperature below 0 degC), ``hours`` (with any value) and ``frozen``, true if at
        least half of them are.

    Raises
    ------
    FileNotFoundError
        If there is no archive or table.
    ValueError
        If it holds no readable soil moisture file or unsafe member names, or a table is wrong.

    References
    ----------
    Dorigo et al. (2013), doi:10.2136/vzj2012.0097 (flags, spikes, plateaus)
    """
    rules = rules or Rules()
    with _harvested(archive, rules, tables, processes, progress) as harvest:
        parts = list(harvest.parts(rules.day))
        days, frozen = ([part[place] for part in parts] for place in (0, 1))
        return StationData(_joined(days), _count_rows(harvest), _joined(frozen))


def write_archive(
    archive: str | Path,
    path: str | Path,
    rules: Rules | None = None,
    *,
    tables: Sequence[str | Path] = (),
    processes: int | None = 1,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Write the daily soil moisture of all stations to Parquet, in bounded memory.

    Parameters
    ----------
    archive, rules, tables, processes, progress
        As for `gather_stations`, which says how days are made.
    path : str or Path
        Gets the table in parts of whole stations, and its counts; the frozen days lie beside it
        in ``NAME_frozen.parquet``. `read_station_table` reads it, `read_station_parts` a part at
        a time. Both files appear when all is read, or not at all.

    Returns
    -------
    DataFrame
        The counts, as `gather_stations` has them.

    Raises
    ------
    ValueError
        If the name is not one of Parquet; else as `gather_stations` does.
    """
    if (kind := Path(path).suffix) != ".parquet":
        raise ValueError(
            f"{path} ends in {kind!r}, expected .parquet: the table is written as that"
        )
    rules = rules or Rules()
    with (
        _harvested(archive, rules, tables, processes, progress) as harvest,
        StationWriter(path, rules.day) as writer,
    ):
        for days, frozen in harvest.parts(rules.day):
            writer.add(days, frozen)
        counts = _count_rows(harvest)
        writer.finish(counts)
    return counts


@contextmanager
def _harvested(
    archive: str | Path,
    rules: Rules,
    tables: Sequence[str | Path],
    processes: int | None,
    progress: Progress | None,
) -> Iterator["_Harvest"]:
    """Read the archive and the tables; what they hold lies in a spool while the context lasts."""
    logger.info("stations: reading %s", archive)
    with Spool() as spool:
        harvest = _Harvest(spool)
        more = chain.from_iterable(read_places(path, rules) for path in tables)
        for reading in chain(
            read_archive(archive, rules, processes=processes, progress=progress), more
        ):
            harvest.add(reading)
        _check_anything_read(archive, harvest)
        yield harvest
        rows: Counter[str] = sum((s.rows for s in harvest.stations.values()), Counter())
        logger.info(
            "stations: %d places; kept %d of %d rows; %d files left out",
            len(harvest.stations),
            rows[REASONS[KEPT]],
            rows.total(),
            len(harvest.left_out),
        )


@dataclass
class _Station:
    """One place: what is known of it, and where its sensors' days lie."""

    about: dict
    days: list[Span] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)  # which sensor each span is of
    frozen: list[Span] = field(default_factory=list)
    sensors: dict[tuple, int] = field(default_factory=dict)  # (depth, name): number
    rows: Counter[str] = field(default_factory=Counter)  # by reason


@dataclass
class _Harvest:
    """What is gathered from the readings, station by station."""

    spool: Spool
    stations: dict[str, _Station] = field(default_factory=dict)
    places: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    left_out: list[dict] = field(default_factory=list)
    files_read: int = 0
    with_days: Counter[str] = field(default_factory=Counter)  # days of stations that have any

    def add(self, reading: Reading) -> None:
        """Add what the files of one station say."""
        self.left_out += reading.left_out
        self.files_read += reading.files_read
        for piece in reading.pieces:
            station = self.station_of(piece)
            key = (piece.sensor.depth, piece.sensor.name)
            station.owners.append(station.sensors.setdefault(key, len(station.sensors)))
            station.days.append(self.spool.put(piece.days))
            station.frozen.append(self.spool.put(piece.frozen))
            for reason, rows in zip(REASONS, piece.rows, strict=True):
                station.rows[reason] += rows

    def station_of(self, piece: Piece) -> _Station:
        """Return the station of a sensor; a place of the same name elsewhere is another one."""
        sensor = piece.sensor
        known = self.places[sensor.station_id]
        for name in known:
            if _is_near(self.stations[name].about, sensor):
                return self.stations[name]
        where = f" ({sensor.lat:.4f}, {sensor.lon:.4f})" if known else ""
        name = sensor.station_id + where
        if known:
            logger.warning("stations: two places are named %s; one is %s", known[0], name)
        known.append(name)
        about = {"network": sensor.network, "station": name, "lat": sensor.lat, "lon": sensor.lon}
        about |= {"elevation": sensor.elevation, "koeppen": None, "land_cover": None}
        self.stations[name] = _Station(about | piece.classes)
        return self.stations[name]

    def parts(self, day: str) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
        """Yield days and frozen days of whole stations, by network, station and time; once."""
        stations = sorted(
            self.stations.values(), key=lambda s: (s.about["network"], s.about["station"])
        )
        abouts, days, frozen, size = [], [], [], 0
        for station in stations:
            abouts.append(station.about)
            days.append(self._days(station))
            frozen.append(join_frozen([self.spool.get(span) for span in station.frozen]))
            size += days[-1].size + frozen[-1].size
            if size >= PART_ROWS:
                yield _join(abouts, days, COLUMNS, day), _join_frozen(abouts, frozen, day)
                abouts, days, frozen, size = [], [], [], 0
        if abouts or not stations:
            yield _join(abouts, days, COLUMNS, day), _join_frozen(abouts, frozen, day)

    def _days(self, station: _Station) -> NDArray[np.void]:
        """Average a station's sensors; rows that were there twice change their reason."""
        pieces = [self.spool.get(span) for span in station.days]
        days, repeated = average_sensors(station.owners, pieces)
        station.rows[REASONS[KEPT]] -= repeated
        station.rows[REASONS[DUPLICATE]] += repeated
        if days.size:
            self.with_days[station.about["station"]] = days.size
        return days


def _join_frozen(abouts: list[dict], pieces: list[NDArray[np.void]], day: str) -> pd.DataFrame:
    """Join the frozen days of stations; a day is frozen if at least half of its hours are."""
    table = _join(abouts, pieces, FROZEN_COLUMNS, day)
    return table.assign(frozen=2 * table["frozen_hours"] >= table["hours"])


def _join(
    abouts: list[dict], pieces: list[NDArray[np.void]], columns: dict[str, str], day: str
) -> pd.DataFrame:
    """Join the stations' days, and add what is known of each station to its rows."""
    known = {name: kind for name, kind in columns.items() if name != "frozen"}
    table = pd.DataFrame(columns=list(known)).astype(known)
    if abouts:
        days = np.concatenate(pieces)
        owner = np.repeat(np.arange(len(pieces)), [piece.size for piece in pieces])
        about = pd.DataFrame(abouts)
        kinds = {name: kind for name, kind in known.items() if name in about}
        about = about.astype(kinds)
        rows = {name: about[name].array.take(owner) for name in kinds}
        rows |= {
            name: days[name].astype(known[name].replace("datetime64", "M8"))
            for name in days.dtype.fields or ()
        }
        table = pd.DataFrame({name: rows[name] for name in known})
    table.attrs = {"day": day}
    return table


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the parts of a table as one."""
    table = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
    table.attrs = parts[0].attrs
    return table


def _is_near(about: dict, sensor: Sensor) -> bool:
    """Tell whether a sensor belongs to the place that a station stands at."""
    away = max(abs(about["lat"] - sensor.lat), abs(about["lon"] - sensor.lon))
    return away <= SAME_PLACE


def _count_rows(harvest: _Harvest) -> pd.DataFrame:
    """Return the counts as a table, and in its attributes what was not read or gave no day."""
    total: Counter[tuple[str, str]] = Counter()
    for station in harvest.stations.values():
        for reason, number in station.rows.items():
            total[station.about["network"], reason] += number
    rows = [(*key, number) for key, number in sorted(total.items()) if number]
    counts = pd.DataFrame(rows, columns=["network", "reason", "rows"])
    counts = counts.astype({"network": "str", "reason": "str", "rows": "int64"})
    counts.attrs = {
        "files": harvest.left_out,
        "files_read": harvest.files_read,
        "without_a_day": list(_without_a_day(harvest)),
        "stations": len(harvest.with_days),
        "days": harvest.with_days.total(),
    }
    return counts


def _without_a_day(harvest: _Harvest) -> Iterator[dict[str, str]]:
    """Yield the stations without a kept row, with the reason of most of their rows or files."""
    for name, station in sorted(harvest.stations.items()):
        if not station.rows[REASONS[KEPT]]:
            yield {"station": name, "reason": station.rows.most_common(1)[0][0]}
    unread: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in harvest.left_out:
        if entry["station"] and entry["reason"] != "not soil moisture":
            unread[entry["station"]][entry["reason"].split(":")[0]] += 1
    for name, reasons in sorted(unread.items()):
        if name not in harvest.places:
            yield {"station": name, "reason": reasons.most_common(1)[0][0]}


def _check_anything_read(archive: str | Path, harvest: _Harvest) -> None:
    """Raise if the archive holds no soil moisture file that can be read."""
    reasons = [entry["reason"] for entry in harvest.left_out]
    if harvest.files_read or DEPTH_OUTSIDE in reasons:
        return
    first = f", the first being {reasons[0]!r}" if reasons else ""
    raise ValueError(
        f"{archive}: found no readable ISMN soil moisture file (*_sm_*.stm) among "
        f"{len(reasons)} .stm files{first}; give the zip as ISMN delivers it, or its folder"
    )
