"""The days of a station from the days of its sensors, and where they wait for one another."""

from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from gssm_cube.insitu.quality import FROZEN_DAYS

STATION_DAYS = np.dtype(
    [("time", "M8[D]"), ("observed", "f8"), ("hours", "i8"), ("sensors", "i8"), ("spread", "f8")]
)
IN_MEMORY = 64 * 2**20  # bytes of sensors' days; a sensor has 24 a day, so 25 years of 300 sensors


def average_sensors(sensors: list[int], pieces: list[NDArray[np.void]]) -> tuple[NDArray, int]:
    """Average the days of a station's sensors, each of the same weight.

    Parameters
    ----------
    sensors : list of int
        Which sensor each piece is of.
    pieces : list of array of ``quality.DAYS``
        In the order of the files. A day that a sensor has in two files counts once.

    Returns
    -------
    days : array of ``STATION_DAYS``, one per day
        ``observed`` (m3 m-3), ``hours`` (of the sensor with fewest), ``sensors``, ``spread``
        (standard deviation between sensors, m3 m-3, NaN for one).
    repeated : int
        Rows of the days that did not count.
    """
    owner = np.repeat(sensors, [piece.size for piece in pieces])
    days = np.concatenate(pieces)
    order = np.lexsort((owner, days["time"]))
    owner, days = owner[order], days[order]
    again = np.zeros(days.size, dtype=bool)
    again[1:] = (days["time"][1:] == days["time"][:-1]) & (owner[1:] == owner[:-1])
    repeated = int(days["rows"][again].sum())
    return _by_day(days[~again]), repeated


def join_frozen(pieces: list[NDArray[np.void]]) -> NDArray[np.void]:
    """Return a station's frozen days (``quality.FROZEN_DAYS``), most frozen hours of any sensor."""
    days = np.concatenate(pieces)
    days = days[np.argsort(days["time"], kind="stable")]
    first = _starts(days["time"])
    found = np.empty(first.size, FROZEN_DAYS)
    found["time"] = days["time"][first]
    for name in ("frozen_hours", "hours"):
        found[name] = np.maximum.reduceat(days[name], first) if first.size else 0
    return found


def _by_day(days: NDArray[np.void]) -> NDArray[np.void]:
    """Average sorted days of sensors."""
    first = _starts(days["time"])
    found = np.empty(first.size, STATION_DAYS)
    if not first.size:
        return found
    count = np.diff(first, append=days.size)
    mean = np.add.reduceat(days["observed"], first) / count
    square = np.add.reduceat((days["observed"] - np.repeat(mean, count)) ** 2, first)
    found["time"], found["observed"], found["sensors"] = days["time"][first], mean, count
    found["hours"] = np.minimum.reduceat(days["hours"], first)
    found["spread"] = np.nan
    several = count > 1
    found["spread"][several] = np.sqrt(square[several] / (count[several] - 1))
    return found


def _starts(times: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Return where each of sorted days begins."""
    if not times.size:
        return np.zeros(0, dtype="int64")
    return np.flatnonzero(np.append(True, times[1:] != times[:-1]))


@dataclass(frozen=True)
class Span:
    """Where an array lies in a spool."""

    start: int
    size: int  # bytes
    dtype: np.dtype


class Spool:
    """Arrays that wait in memory, and beyond 64 MB in a temporary file.

    A station may be spread over an archive, so its days wait until all files are read; memory
    must not grow with the archive.
    """

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=IN_MEMORY)

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def put(self, array: NDArray) -> Span:
        """Append an array; return where it is."""
        start = self._file.seek(0, 2)
        return Span(start, self._file.write(array.tobytes()), array.dtype)

    def get(self, span: Span) -> NDArray:
        """Read an array."""
        self._file.seek(span.start)
        return np.frombuffer(self._file.read(span.size), dtype=span.dtype)
