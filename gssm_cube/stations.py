"""From an ISMN archive to a quality-checked daily table of surface soil moisture.

A row of the archive is one hour of one sensor. It is kept only if ISMN calls it good, and every
row that is not kept is counted under exactly one reason. The day is the UTC day: the hours
stamped 00 to 23.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from gssm_cube.ismn import (
    ALL_DAYS,
    DAMAGE,
    DUPLICATE,
    KEPT,
    REASONS,
    SOIL_MOISTURE,
    FileName,
    Sensor,
    daily_means,
    judge_rows,
    open_archive,
    parse_file_name,
    read_sensors,
    read_static,
)

logger = logging.getLogger(__name__)

# The columns of the table, one row per station-day.
COLUMNS = {
    "network": "str", "station": "str", "lat": "float64", "lon": "float64",
    "elevation": "float64", "time": "datetime64[us]", "observed": "float64", "hours": "int64",
    "sensors": "int64", "spread": "float64", "koeppen": "str", "land_cover": "str",
}  # fmt: skip

DEPTH_OUTSIDE = "depth outside"

TWO_INCHES = 0.0508 - 0.05 + 1e-6  # m: SCAN's "5 cm" sensors are 2 inches deep

# Three quarters of the day, as in the check against NOAA's own daily values (r 0.9995). All
# sensors that we saw are hourly; of their days with any good hour 18 hours cost 2-14 % (iRON:
# 23 %). A network of sparser sensors is lost: lower it, and see the counts.
MINIMUM_HOURS = 18

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Rules:
    """What a station-day must satisfy; depths in m, UTC days included."""

    depth: tuple[float, float] = (0.0, 0.05)
    minimum_hours: int = MINIMUM_HOURS
    first_day: date | str | None = None
    last_day: date | str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.depth[0] <= self.depth[1]:
            raise ValueError(f"depth is {self.depth}, expected (from, to) in m, 0 <= from <= to")
        if not 1 <= self.minimum_hours <= 24:
            raise ValueError(f"minimum_hours is {self.minimum_hours}, expected 1 to 24")
        first, last = self.period
        if last < first:
            raise ValueError(f"last_day {last} is before first_day {first}: swap them")

    @property
    def period(self) -> tuple[np.datetime64, np.datetime64]:
        """First and last day; all days if not given."""
        first, last = ALL_DAYS
        if self.first_day is not None:
            first = np.datetime64(pd.Timestamp(self.first_day).date(), "D")
        if self.last_day is not None:
            last = np.datetime64(pd.Timestamp(self.last_day).date(), "D")
        return first, last

    def holds(self, depth: tuple[float, float]) -> bool:
        """Tell whether a sensor lies wholly within the depth, give or take two inches."""
        low, high = self.depth
        return depth[0] >= low - 1e-6 and depth[1] <= high + TWO_INCHES


def read_stations(
    archive: str | Path,
    *,
    depth: tuple[float, float] = (0.0, 0.05),
    minimum_hours: int = MINIMUM_HOURS,
    first_day: date | str | None = None,
    last_day: date | str | None = None,
    progress: Progress | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the daily soil moisture of all stations of an ISMN archive.

    A row is kept if its flag is exactly ``G`` and its value lies in 0..1 m3 m-3. A sensor's day
    is the mean of its kept rows, a station's day the mean of its sensors' days.

    Parameters
    ----------
    archive : str or Path
        Zip or folder, in the form header+values, CEOP in separate files, or combined CEOP.
    depth : tuple of float, m
        Sensors wholly within are used; 0.0508 m (2 inches) passes for 0.05.
    minimum_hours : int
        Distinct hours (UTC, by stamp) that a sensor's day needs.
    first_day, last_day : date or str, optional
        UTC, both included.
    progress : callable, optional
        Called with files done and files in all, after each data file.

    Returns
    -------
    table : DataFrame, one row per station-day
        ``network``, ``station`` ("NETWORK/NAME"), ``lat``, ``lon`` (deg), ``elevation`` (m, NaN if
        unknown), ``time`` (UTC day), ``observed`` (m3 m-3), ``hours`` (of the sensor with
        fewest), ``sensors``, ``spread`` (standard deviation between sensors, m3 m-3, NaN for
        one), ``koeppen``, ``land_cover`` (missing if unknown). ``attrs["day"]`` is "UTC".
    counts : DataFrame
        ``network``, ``reason``, ``rows``; every row read has one reason. Files not read are
        dicts of ``file``, ``network``, ``reason`` in ``attrs["files"]``; ``attrs["files_read"]``.

    Raises
    ------
    FileNotFoundError
        If there is no archive.
    ValueError
        If it holds no readable soil moisture file or unsafe member names.

    References
    ----------
    Dorigo et al. (2013), doi:10.2136/vzj2012.0097 (flags)
    """
    rules = Rules(depth, minimum_hours, first_day, last_day)
    logger.info("stations: reading %s", archive)
    with open_archive(archive) as members:
        harvest = _Harvest(members, rules)
        files = [member for member in members if member.lower().endswith(".stm")]
        for done, member in enumerate(files, start=1):
            harvest.add_file(member)
            if progress is not None:
                progress(done, len(files))
    _check_anything_read(archive, harvest)
    table = _average_sensors(_drop_repeated_days(harvest), harvest)
    counts = _count_rows(harvest)
    logger.info(
        "stations: %d stations, %d station-days; kept %d of %d rows; %d files left out",
        table["station"].nunique(),
        len(table),
        counts.loc[counts["reason"] == REASONS[KEPT], "rows"].sum(),
        counts["rows"].sum(),
        len(harvest.left_out),
    )
    return table, counts


def summarise(counts: pd.DataFrame) -> str:
    """Return the counts of `read_stations` as text: a table by network, then the files."""
    wide = counts.pivot_table(index="network", columns="reason", values="rows", aggfunc="sum")
    wide = wide.reindex(columns=REASONS[::-1]).dropna(axis="columns", how="all").fillna(0)
    wide.loc["all"] = wide.sum()
    table = Table("network", "read", *map(str, wide.columns))
    for column in table.columns[1:]:
        column.justify = "right"
    for network, row in wide.iterrows():
        table.add_row(str(network), *(f"{int(number):,}" for number in (row.sum(), *row)))
    text = StringIO()
    Console(file=text, width=120).print("ISMN rows by network and reason", table)
    return text.getvalue() + _summarise_files(counts)


def write_stations(table: pd.DataFrame, counts: pd.DataFrame, path: str | Path) -> None:
    """Write the table as Parquet, the counts in its metadata, in one step or not at all."""
    path = Path(path)
    losses = {"rows": counts.to_dict("list"), **counts.attrs}
    labelled = table.copy(deep=False)
    labelled.attrs = {**table.attrs, "counts": json.dumps(losses, default=int)}
    partial_path = path.with_name(f"{path.name}.partial")
    labelled.to_parquet(partial_path, index=False)
    partial_path.replace(path)
    logger.info("stations: wrote %d station-days to %s", len(table), path)


def read_station_table(path: str | Path) -> pd.DataFrame:
    """Read the table that `write_stations` wrote; ``attrs["day"]`` says whose day it is.

    Raises
    ------
    FileNotFoundError
        If there is no file.
    ValueError
        If it is not such a table.
    """
    table = _read_parquet(Path(path))
    del table.attrs["counts"]
    return table


def read_station_counts(path: str | Path) -> pd.DataFrame:
    """Read the counts that `write_stations` wrote, as `read_stations` gave them."""
    losses = json.loads(_read_parquet(Path(path)).attrs["counts"])
    counts = pd.DataFrame(losses.pop("rows"))
    counts.attrs = losses
    return counts


def _read_parquet(path: Path) -> pd.DataFrame:
    """Read a station table with its attributes and check that it is one."""
    if not path.is_file():
        raise FileNotFoundError(f"no station table at {path}: run the stage stations first")
    table = pd.read_parquet(path)
    missing = [name for name in COLUMNS if name not in table]
    if missing or not {"day", "counts"} <= table.attrs.keys():
        raise ValueError(
            f"{path} is no station table (missing columns: {missing}; attributes: "
            f"{list(table.attrs)}), expected one from write_stations; run the stage stations again"
        )
    return table


@dataclass
class _Harvest:
    """What is gathered from the members, file by file."""

    members: dict[str, Callable[[], bytes]]
    rules: Rules
    days: list[pd.DataFrame] = field(default_factory=list)  # one row per sensor-day
    places: dict[str, dict] = field(default_factory=dict)  # by station
    sensors: dict[tuple, int] = field(default_factory=dict)  # (station, depth, name): number
    rows: Counter[tuple[str, str]] = field(default_factory=Counter)  # by network and reason
    left_out: list[dict] = field(default_factory=list)
    files_read: int = 0

    def leave_out(self, member: str, network: str, reason: str) -> None:
        """Note why a file is not read."""
        self.left_out.append({"file": member, "network": network, "reason": reason})

    def damaged(self, member: str, network: str, error: BaseException) -> None:
        """Note that a file cannot be read."""
        logger.warning("stations: cannot read %s: %s", member, error)
        self.leave_out(member, network, f"unreadable: {error}")

    def add_file(self, member: str) -> None:
        """Read one data file, or note why it is left out."""
        name = parse_file_name(member)
        network = name.network if name else "unknown"
        if name and name.variable not in SOIL_MOISTURE:
            return self.leave_out(member, network, "not soil moisture")
        if name and not self.rules.holds(name.depth):
            return self.leave_out(member, network, DEPTH_OUTSIDE)
        try:
            sensors = read_sensors(self.members[member](), name)
        except DAMAGE as error:
            return self.damaged(member, network, error)
        self.files_read += 1
        for sensor, rows in sensors:
            if self.rules.holds(sensor.depth):
                self.add_place(sensor, name)
                self.add_rows(sensor, rows)
            else:
                self.leave_out(member, sensor.network, DEPTH_OUTSIDE)

    def add_place(self, sensor: Sensor, name: FileName | None) -> None:
        """Note the station of a sensor, with its climate and land cover, once."""
        if sensor.station_id in self.places:
            return
        static = self.members.get(name.static) if name else None
        try:
            classes = read_static(static() if static else b"")
        except DAMAGE as error:
            self.damaged(name.static if name else "", sensor.network, error)
            classes = {}
        self.places[sensor.station_id] = {
            "network": sensor.network,
            "station": sensor.station_id,
            "lat": sensor.lat,
            "lon": sensor.lon,
            "elevation": sensor.elevation,
            **classes,
        }

    def add_rows(self, sensor: Sensor, rows: pd.DataFrame) -> None:
        """Judge and average the rows of one sensor."""
        codes = judge_rows(rows, minimum_hours=self.rules.minimum_hours, period=self.rules.period)
        counts = np.bincount(codes, minlength=len(REASONS))
        for reason, number in zip(REASONS, counts, strict=True):
            self.rows[sensor.network, reason] += int(number)
        days = daily_means(rows[codes == KEPT])
        key = (sensor.station_id, sensor.depth, sensor.name)
        days["sensor"] = self.sensors.setdefault(key, len(self.sensors))
        self.days.append(days)


def _drop_repeated_days(harvest: _Harvest) -> pd.DataFrame:
    """Join the sensors' days; a day that a sensor has in two files counts once."""
    nothing = daily_means(pd.DataFrame({"stamp": np.array([], "M8[s]"), "value": []}))
    days = pd.concat([nothing.assign(sensor=0), *harvest.days], ignore_index=True)
    again = days.duplicated(["sensor", "time"])
    stations = [station for station, _, _ in harvest.sensors]
    for sensor, rows in days.loc[again, ["sensor", "rows"]].to_numpy().tolist():
        network = harvest.places[stations[sensor]]["network"]
        harvest.rows[network, REASONS[KEPT]] -= rows
        harvest.rows[network, REASONS[DUPLICATE]] += rows
    return days[~again]


def _average_sensors(days: pd.DataFrame, harvest: _Harvest) -> pd.DataFrame:
    """Average the days of a station's sensors and add what is known of the station."""
    number = {station: place for place, station in enumerate(harvest.places)}
    owner = np.array([number[station] for station, _, _ in harvest.sensors], dtype="int64")
    groups = days.assign(place=owner[days["sensor"].to_numpy()]).groupby(["place", "time"])
    table = groups.agg(
        observed=("observed", "mean"),
        hours=("hours", "min"),
        sensors=("observed", "size"),
        spread=("observed", "std"),
    )
    known = [name for name in COLUMNS if name not in (*table, "time")]
    places = pd.DataFrame(list(harvest.places.values()), columns=known)
    table = table.reset_index().join(places, on="place")
    table = table.sort_values(["network", "station", "time"], ignore_index=True)
    table = table[list(COLUMNS)].astype(COLUMNS)
    table.attrs = {"day": "UTC"}
    return table


def _count_rows(harvest: _Harvest) -> pd.DataFrame:
    """Return the counts as a table, and in its attributes what was not read."""
    rows = [(*key, number) for key, number in sorted(harvest.rows.items()) if number]
    counts = pd.DataFrame(rows, columns=["network", "reason", "rows"])
    counts = counts.astype({"network": "str", "reason": "str", "rows": "int64"})
    counts.attrs = {"files": harvest.left_out, "files_read": harvest.files_read}
    return counts


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


def _summarise_files(counts: pd.DataFrame) -> str:
    """Return one line on the files read and left out, and one for each damaged file."""
    files = counts.attrs["files"]
    kinds = Counter(entry["reason"].split(":")[0] for entry in files)
    left_out = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    lines = [f"Files: {counts.attrs['files_read']} read, left out: {left_out or 'none'}"]
    lines += [
        f"  {entry['file']}: {entry['reason']}"
        for entry in files
        if entry["reason"].startswith("unreadable")
    ]
    return "\n".join(lines) + "\n"
