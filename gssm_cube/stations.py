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
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from gssm_cube.ismn import (
    DAMAGE,
    SOIL_MOISTURE,
    Sensor,
    open_archive,
    parse_file_name,
    read_sensors,
    read_static,
)
from gssm_cube.variables import SSM

logger = logging.getLogger(__name__)

COLUMNS = (
    "network", "station", "lat", "lon", "elevation", "time", "observed", "hours", "sensors",
    "spread", "koeppen", "land_cover",
)  # fmt: skip

# Every row has one of these reasons: the first, from the top, that applies.
REASONS = (
    "unreadable line",
    "outside the period",
    "missing value",
    "frozen flag D01-D03",
    "flag not G",
    "out of range",
    "duplicate stamp",
    "too few hours a day",
    "kept",
)
_DUPLICATE, _TOO_FEW, _KEPT = 6, 7, 8

MISSING = -999.0  # ISMN writes -9999, older files -999.99
FROZEN = {"D01", "D02", "D03"}  # soil, air or GLDAS soil below 0 degC (Dorigo et al. 2013)
TWO_INCHES = 0.0508 - 0.05 + 1e-6  # m: SCAN's "5 cm" sensors are 2 inches deep

# Three quarters of the day, as in the check against NOAA's own daily values (r 0.9995). Every
# sensor of the archives looked at is hourly; 18 hours cost them 2-14 % of the days, most of all
# where days are lost to frost anyway. For sparser sensors lower it.
MINIMUM_HOURS = 18

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Rules:
    """What a station-day must satisfy; depths in m, days included."""

    depth: tuple[float, float] = (0.0, 0.05)
    minimum_hours: int = MINIMUM_HOURS
    first_day: date | str | None = None
    last_day: date | str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.depth[0] <= self.depth[1]:
            raise ValueError(f"depth is {self.depth}, expected (from, to) in m, 0 <= from <= to")
        if not 1 <= self.minimum_hours <= 24:
            raise ValueError(f"minimum_hours is {self.minimum_hours}, expected 1 to 24")
        if self.first_day and self.last_day and pd.Timestamp(self.last_day) < pd.Timestamp(
            self.first_day
        ):
            raise ValueError(f"last_day {self.last_day} is before first_day {self.first_day}")

    def holds(self, depth: tuple[float, float]) -> bool:
        """Tell whether a sensor lies wholly within the depth, give or take two inches."""
        low, high = self.depth
        return depth[0] >= low - 1e-6 and depth[1] <= high + TWO_INCHES


@dataclass
class _Harvest:
    """What is gathered while the members go by; days are station-sensor-days."""

    days: list[pd.DataFrame] = field(default_factory=list)
    places: dict[str, dict] = field(default_factory=dict)
    rows: Counter = field(default_factory=Counter)  # (network, reason): rows
    left_out: list[dict] = field(default_factory=list)
    soil_moisture_files: int = 0

    def leave_out(self, member: str, network: str, reason: str) -> None:
        self.left_out.append({"file": member, "network": network, "reason": reason})


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
        harvest = _harvest_members(members, rules, progress)
    if not harvest.soil_moisture_files:
        raise ValueError(_nothing_found(archive, harvest))
    table = _station_days(harvest)
    counts = _count_table(harvest)
    logger.info(
        "stations: %d stations, %d station-days; kept %d of %d rows; %d files left out",
        table["station"].nunique(),
        len(table),
        harvest_rows := counts.loc[counts["reason"] == "kept", "rows"].sum(),
        counts["rows"].sum(),
        len(harvest.left_out),
    )
    return table, counts


def judge_rows(rows: pd.DataFrame, rules: Rules) -> pd.Categorical:
    """Give every row of a sensor the one reason why it is kept or dropped.

    Parameters
    ----------
    rows : DataFrame
        ``stamp`` (UTC), ``value`` (m3 m-3) and ``flag`` (categorical), as delivered.
    rules : Rules

    Returns
    -------
    Categorical
        Of ``REASONS``, one per row. Of two good rows with one stamp the first is kept.
    """
    stamp, value, flag = rows["stamp"], rows["value"], rows["flag"].astype("category")
    frozen = [text for text in flag.cat.categories if FROZEN & set(str(text).split(","))]
    low, high = SSM.valid_range
    tests = [
        stamp.isna() | value.isna() | flag.isna() | (flag == ""),
        _outside(stamp, rules),
        value <= MISSING,
        flag.isin(frozen),
        flag != "G",
        ~value.between(low, high),
    ]
    codes = np.select(tests, range(len(tests)), default=_KEPT)
    good = codes == _KEPT
    codes[good] = np.where(stamp[good].duplicated(), _DUPLICATE, _KEPT)
    good = codes == _KEPT
    hours = _hours_of_day(stamp[good])
    codes[good] = np.where(hours < rules.minimum_hours, _TOO_FEW, _KEPT)
    return pd.Categorical.from_codes(codes, categories=list(REASONS))
