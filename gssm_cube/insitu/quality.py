"""Which rows of a sensor are kept, why the others are not, and the days that the kept ones make.

Every row gets exactly one reason. The day is that of the cube: UTC, the hours stamped 00 to 23;
or the station's local standard day, for cubes built on hourly meteorology.
"""

from dataclasses import dataclass
from datetime import date
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm_cube.insitu.lines import Rows
from gssm_cube.insitu.spectrum import LOW, NOTHING, PLATEAU, SPIKE, find_artefacts, whole_hours
from gssm_cube.variables import SSM

# Every row has one of these reasons: the first, from the top, that applies.
REASONS = (
    "unreadable line",
    "outside the period",
    "missing value",
    "frozen flag D01-D03",
    "flag not G",
    "out of range",
    "frozen soil",
    "duplicate stamp",
    "spike",
    "constant low",
    "saturated plateau",
    "too few hours a day",
    "kept",
)
PERIOD, FROZEN_FLAG, FROZEN_SOIL, DUPLICATE = 1, 3, 6, 7
ARTEFACT = {SPIKE: 8, LOW: 9, PLATEAU: 10}
TOO_FEW_HOURS, KEPT = 11, 12
MISSING = -999.0  # ISMN writes -9999, older files -999.99
FROZEN = {"D01", "D02", "D03"}  # soil, air or GLDAS soil below 0 degC (Dorigo et al. 2013)
COLDEST = -60.0  # degC: soil colder than this is no reading (C01 of soil temperature, ibid.)
ALL_DAYS = np.datetime64("0001-01-01"), np.datetime64("9999-12-31")

TWO_INCHES = 0.0508 - 0.05 + 1e-6  # m: SCAN's "5 cm" sensors are 2 inches deep

# Three quarters of the day, as in the check against NOAA's own daily values (r 0.9995). All
# sensors that we saw are hourly; of their days with any good hour 18 hours cost 2-14 % (iRON:
# 23 %). A network of sparser sensors is lost: lower it, and see the counts.
MINIMUM_HOURS = 18

Day = Literal["UTC", "local"]
NO_SHIFT = np.timedelta64(0, "m")

# A sensor's days, and its days with any frozen hour; compact, for a world of them is passed on.
DAYS = np.dtype(
    [("time", "M8[D]"), ("observed", "f8"), ("hours", "i4"), ("rows", "i4")],
)
FROZEN_DAYS = np.dtype([("time", "M8[D]"), ("frozen_hours", "i4"), ("hours", "i4")])


@dataclass(frozen=True)
class Rules:
    """What a station-day must satisfy; depths in m, both days included, in the day's own time."""

    depth: tuple[float, float] = (0.0, 0.05)
    minimum_hours: int = MINIMUM_HOURS
    first_day: date | str | None = None
    last_day: date | str | None = None
    day: Day = "UTC"
    screening: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.depth[0] <= self.depth[1]:
            raise ValueError(f"depth is {self.depth}, expected (from, to) in m, 0 <= from <= to")
        if not 1 <= self.minimum_hours <= 24:
            raise ValueError(f"minimum_hours is {self.minimum_hours}, expected 1 to 24")
        if self.day not in ("UTC", "local"):
            raise ValueError(f"day is {self.day!r}, expected 'UTC' or 'local'")
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


def day_shift(lon: float, day: Day) -> np.timedelta64:
    """Return what to add to a UTC stamp so that its date is the station's day.

    The local standard time is UTC + round(lon / 15) hours. A local stamp closes its hour, as
    NOAA's do, so it moves back half an hour; a UTC day has the hours stamped 00 to 23.
    """
    minutes = 60 * round(lon / 15) - 30 if day == "local" else 0
    return np.timedelta64(minutes, "m")


def judge_rows(
    rows: Rows,
    rules: Rules,
    *,
    shift: np.timedelta64 = NO_SHIFT,
    frozen_hours: NDArray[np.datetime64] | None = None,
) -> NDArray[np.int8]:
    """Give every row of a sensor the one reason why it is kept or dropped.

    A row is good if its flag is exactly ``G``, its value lies in 0..1 m3 m-3 and the soil is not
    known to be frozen; of two good rows with one stamp the first is kept. Spikes, constant low
    values and saturated plateaus that the flags missed are sought by `spectrum.find_artefacts`.

    Parameters
    ----------
    rows : Rows
        Stamps in UTC, values in m3 m-3, as `read_sensors` gives them.
    rules : Rules
        Their period and hours count in the day that ``shift`` makes.
    shift : timedelta64
        From `day_shift`.
    frozen_hours : array of datetime64[h], optional
        UTC hours with soil temperature below 0 degC.

    Returns
    -------
    array of int8, one per row
        Positions in ``REASONS``; ``KEPT`` is the last.
    """
    stamp = rows.stamp
    local = _shifted(stamp, shift)
    codes = _judge_alone(rows, local, rules.period)
    if frozen_hours is not None and frozen_hours.size:
        frozen = np.isin(stamp.astype("datetime64[h]"), frozen_hours)
        codes[(codes == KEPT) & frozen] = FROZEN_SOIL
    good = np.flatnonzero(codes == KEPT)
    if good.size and np.any(stamp[good[1:]] <= stamp[good[:-1]]):
        good = good[np.argsort(stamp[good], kind="stable")]
        first = _changes(stamp[good])
        codes[good[~first]] = DUPLICATE
        good = good[first]
    if rules.screening and good.size:
        good = _screen(rows, codes, good)
    _, number, hours = _days_of(local[good])
    codes[good[hours[number] < rules.minimum_hours]] = TOO_FEW_HOURS
    return codes


def daily_means(
    stamp: NDArray[np.datetime64], value: NDArray[np.float64], shift: np.timedelta64 = NO_SHIFT
) -> NDArray[np.void]:
    """Average the good rows of one sensor over the day.

    Parameters
    ----------
    stamp : array of datetime64, UTC
        None twice.
    value : array of float, m3 m-3
    shift : timedelta64
        From `day_shift`; none is the UTC day, hours 00 to 23 by stamp.

    Returns
    -------
    array of ``DAYS``, one per day
        ``time``, ``observed`` (m3 m-3), ``hours`` (distinct) and ``rows``.
    """
    stamp = _shifted(stamp, shift)
    if np.any(stamp[1:] < stamp[:-1]):
        order = np.argsort(stamp, kind="stable")
        stamp, value = stamp[order], value[order]
    day, number, hours = _days_of(stamp)
    days = np.empty(day.size, DAYS)
    days["time"], days["hours"] = day, hours
    days["rows"] = np.bincount(number, minlength=day.size)
    days["observed"] = np.bincount(number, weights=value, minlength=day.size) / days["rows"]
    return days


def frozen_days(
    stamp: NDArray[np.datetime64], codes: NDArray[np.int8], shift: np.timedelta64
) -> NDArray[np.void]:
    """Count the frozen hours of every day that has any.

    Parameters
    ----------
    stamp : array of datetime64, UTC
    codes : array of int8
        From `judge_rows`.
    shift : timedelta64
        From `day_shift`.

    Returns
    -------
    array of ``FROZEN_DAYS``, one per day
        ``time``, ``frozen_hours`` (flag D01-D03 or soil below 0 degC) and ``hours`` (with any
        value within the period), both distinct.
    """
    frozen = (codes == FROZEN_FLAG) | (codes == FROZEN_SOIL)
    if not frozen.any():
        return np.empty(0, FROZEN_DAYS)
    present = (codes > PERIOD) & (codes != 2)
    local = _shifted(stamp, shift)
    days, _, hours = _days_of(np.sort(local[present]))
    cold_days, _, cold = _days_of(np.sort(local[frozen]))
    found = np.empty(cold_days.size, FROZEN_DAYS)
    found["time"], found["frozen_hours"] = cold_days, cold
    found["hours"] = hours[np.searchsorted(days, cold_days)]
    return found


def cold_hours(rows: Rows) -> NDArray[np.datetime64]:
    """Return the UTC hours in which a soil temperature sensor was below 0 degC, flag ``G``."""
    cold = (rows.value >= COLDEST) & (rows.value < 0) & rows.has_flag("G")
    stamp = rows.stamp[cold]
    return np.unique(stamp[~np.isnat(stamp)].astype("datetime64[h]"))


def _screen(rows: Rows, codes: NDArray[np.int8], good: NDArray[np.int64]) -> NDArray[np.int64]:
    """Mark the good rows that are artefacts; return the others."""
    # All readable values make up the series, so that a flagged spike is not a gap.
    low, high = SSM.valid_range
    series = np.flatnonzero((codes > 2) & (rows.value >= low) & (rows.value <= high))
    found = find_artefacts(rows.stamp[series], rows.value[series])
    if not found.any():
        return good
    kinds = np.full(rows.value.size, NOTHING, dtype="int8")
    kinds[series] = found
    for kind, reason in ARTEFACT.items():
        codes[good[kinds[good] == kind]] = reason
    return good[kinds[good] == NOTHING]


def _judge_alone(
    rows: Rows,
    local: NDArray[np.datetime64],
    period: tuple[np.datetime64, np.datetime64],
) -> NDArray[np.int8]:
    """Give the reasons that a row shows by itself, in the order of ``REASONS``."""
    # Flags are judged once per distinct text.
    by_flag = np.full(len(rows.flags), 4, dtype="int8")
    for place, text in enumerate(rows.flags):
        if FROZEN & set(text.split(",")):
            by_flag[place] = FROZEN_FLAG
        elif text in ("", "G"):
            by_flag[place] = KEPT if text else 0
    codes = by_flag[rows.flag]
    low, high = SSM.valid_range
    codes[(codes == KEPT) & ((rows.value < low) | (rows.value > high))] = 5
    codes[rows.value <= MISSING] = 2
    codes[(local < period[0]) | (local >= period[1] + 1)] = PERIOD
    codes[np.isnan(rows.value) | (rows.flag == 0) | np.isnat(local)] = 0
    return codes


def _shifted(stamp: NDArray, shift: np.timedelta64) -> NDArray[np.datetime64]:
    """Return stamps as the day counts them."""
    shifted: NDArray = np.add(stamp, shift)
    return shifted


def _days_of(stamp: NDArray[np.datetime64]) -> tuple[NDArray, NDArray, NDArray]:
    """Return the days of sorted stamps, each stamp's place among them, and their hours."""
    hour = whole_hours(stamp)
    day = hour // 24
    new_day = _changes(day)
    number = np.cumsum(new_day) - 1
    days = day[new_day].view("datetime64[D]")
    return days, number, np.bincount(number[_changes(hour)], minlength=days.size)


def _changes(values: NDArray) -> NDArray[np.bool_]:
    """Tell which of sorted values differ from the one before; the first does."""
    return np.append(True, values[1:] != values[:-1])[: values.size]
