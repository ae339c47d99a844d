"""What an ISMN archive says: members, file names, headers, rows, flags, static variables.

Three forms are read: header+values (one header line, then rows), CEOP in separate files (every
line repeats the header) and the old combined CEOP (all depths of a station in one file). Stamps
are UTC. Nothing is unpacked to disk, and one member is in memory at a time.
"""

import csv
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm_cube.variables import PREDICTORS, SSM

# What a damaged, encrypted or foreign member can raise while it is inflated and parsed.
DAMAGE = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)

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
DUPLICATE, TOO_FEW_HOURS, KEPT = 6, 7, 8
MISSING = -999.0  # ISMN writes -9999, older files -999.99
FROZEN = {"D01", "D02", "D03"}  # soil, air or GLDAS soil below 0 degC (Dorigo et al. 2013)
ALL_DAYS = np.datetime64("0001-01-01"), np.datetime64("9999-12-31")

SOIL_MOISTURE = ("sm", "soil-moisture")  # today's and the readme's name of the variable
_FILE_NAME = re.compile(
    r"(?P<head>.+)_(?P<variable>[^_]+)_(?P<depth_from>-?\d+\.\d+)_(?P<depth_to>-?\d+\.\d+)"
    r"_(?P<sensor>.+)_\d{8}_\d{8}\.stm",
    re.IGNORECASE,
)
_NUMBER = r"-?\d+(?:\.\d+)?"
_PLACE = (
    rf"\S+\s+(?P<network>\S+)\s+(?P<station>\S.*?)\s+(?P<lat>{_NUMBER})\s+(?P<lon>{_NUMBER})"
    rf"\s+(?P<elevation>{_NUMBER})"
)
_HEADER = re.compile(
    rf"{_PLACE}\s+(?P<depth_from>{_NUMBER})\s+(?P<depth_to>{_NUMBER})(?:\s+(?P<sensor>.*))?"
)
_COMBINED = re.compile(rf"{_PLACE}\s+\S+\s+{_NUMBER}\s+{_NUMBER}\s+\S+\s+{_NUMBER}\s+\S+\s*")
_TWO_STAMPS = re.compile(r"(?:\d{4}/\d\d/\d\d \d\d:\d\d ){2}")  # nominal, then actual time

# Columns of a line, by form. CEOP: the actual time, which is what header+values gives.
_HEADER_COLUMNS = {"date": 0, "hour": 1, "value": 2, "flag": 3}
_CEOP_COLUMNS = {"date": 2, "hour": 3, "value": 12, "flag": 13}
_COMBINED_COLUMNS = {"date": 2, "hour": 3, "depth": 11, "value": 14, "flag": 15}


@dataclass(frozen=True)
class FileName:
    """What the name of an ISMN data file says; depths in m."""

    network: str
    station: str
    variable: str
    depth: tuple[float, float]
    sensor: str
    static: str  # the member with the station's static variables, if it has one


@dataclass(frozen=True)
class Sensor:
    """One instrument at one depth (m); ``elevation`` (m) is NaN where the header has none."""

    network: str
    station: str
    lat: float
    lon: float
    elevation: float
    depth: tuple[float, float]
    name: str

    @property
    def station_id(self) -> str:
        """Unique over networks."""
        return f"{self.network}/{self.station}"


@contextmanager
def open_archive(archive: str | Path) -> Iterator[dict[str, Callable[[], bytes]]]:
    """Open a zip or a folder as a mapping from member name to a function that reads it.

    Parameters
    ----------
    archive : str or Path
        ISMN download, zipped or unpacked.

    Yields
    ------
    dict of str to callable
        Sorted by name; valid until the context is left.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``archive``.
    ValueError
        If it is no zip, or a member's name points outside the archive.
    """
    path = Path(archive)
    if not path.exists():
        raise FileNotFoundError(f"no ISMN archive at {path}: give the zip or the unpacked folder")
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        yield {p.relative_to(path).as_posix(): p.read_bytes for p in files}
        return
    try:
        opened = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"{path} is not a readable zip ({error}): give the zip as ISMN delivers it, or the "
            "unpacked folder"
        ) from error
    with opened as file:
        names = sorted(info.filename for info in file.infolist() if not info.is_dir())
        check_member_names(names, path)
        yield {name: partial(file.read, name) for name in names}


def check_member_names(names: list[str], archive: Path) -> None:
    """Raise if a member's name is absolute or climbs out of the archive."""
    for name in names:
        parts = re.split(r"[/\\]", name)
        if parts[0] == "" or ".." in parts or re.match(r"[A-Za-z]:", name):
            raise ValueError(
                f"{archive}: member {name!r} points outside the archive, expected relative names "
                "without '..'; download the archive again from ISMN"
            )


def parse_file_name(member: str) -> FileName | None:
    """Return what a member's name says, None if it is not named as ISMN names its files."""
    path = PurePosixPath(member)
    match = _FILE_NAME.fullmatch(path.name)
    if match is None or match["head"].count("_") < 2:
        return None
    _, network, station = match["head"].split("_", 2)
    # The folder's name tells where the station's begins if the network's holds an underscore.
    if match["head"].endswith(f"_{path.parent.name}"):
        station = path.parent.name
    depth = float(match["depth_from"]), float(match["depth_to"])
    static = str(path.with_name(f"{match['head']}_static_variables.csv"))
    return FileName(network, station, match["variable"].lower(), depth, match["sensor"], static)


def read_sensors(text: bytes, name: FileName | None) -> list[tuple[Sensor, pd.DataFrame]]:
    """Read the sensors of one data file and their rows, unfiltered.

    Parameters
    ----------
    text : bytes
        The whole file, in any of the three forms, with any line ends.
    name : FileName or None
        Overrules the header: old headers round 0.0508 m to 0.05. None for the combined form.

    Returns
    -------
    list of (Sensor, DataFrame)
        Rows in the file's order: ``stamp`` (datetime64[m], UTC), ``value`` (m3 m-3, as
        delivered) and ``flag`` (categorical). What cannot be read in a line is NaT, NaN or "".

    Raises
    ------
    ValueError
        If the first line is in none of the forms or there are no rows.
    """
    # Bare CR, CR LF, and even LF CR after a header occur; empty lines are skipped.
    lines = text.replace(b"\r", b"\n").lstrip()
    first, _, rest = lines.partition(b"\n")
    line = first[:400].decode("utf-8", errors="replace")
    content = _TWO_STAMPS.sub("", line, count=1)
    header, combined = _HEADER.fullmatch(content), _COMBINED.fullmatch(content)
    if header and content == line:
        return [(_sensor(header, name), _read_rows(rest, _HEADER_COLUMNS))]
    if header:
        sensor = _sensor(header, name)
        sensor = replace(sensor, name=name.sensor if name else "")
        return [(sensor, _read_rows(lines, _CEOP_COLUMNS))]
    if combined and content != line:
        return _split_depths(combined, _read_rows(lines, _COMBINED_COLUMNS))
    raise ValueError(f"the first line is {line[:60]!r}, expected an ISMN header or CEOP row")


def read_static(text: bytes) -> dict[str, str | None]:
    """Return ``koeppen`` and ``land_cover`` of a static_variables.csv, None where absent.

    The newest Koeppen-Geiger map gives the class ("Cfb"), the newest ESA CCI map the land cover
    in words. Columns are taken by position, for some files have no heading.
    """
    found: dict[str, tuple[str, str]] = {}
    for cells in csv.reader(text.decode("utf-8", errors="replace").splitlines(), delimiter=";"):
        if len(cells) < 7:
            continue
        value, description, source = cells[4], cells[5], cells[6]
        if cells[0] == "climate classification" and source.startswith("koeppen"):
            if value not in ("", "None", "masked"):
                found["koeppen"] = max(found.get("koeppen", ("", "")), (source, value))
        elif cells[0] == "land cover classification" and source.startswith("CCI"):
            words = description or value
            found["land_cover"] = max(found.get("land_cover", ("", "")), (source, words))
    return {key: found[key][1] if key in found else None for key in ("koeppen", "land_cover")}


def judge_rows(
    rows: pd.DataFrame,
    *,
    minimum_hours: int,
    period: tuple[np.datetime64, np.datetime64] = ALL_DAYS,
) -> NDArray[np.int8]:
    """Give every row of a sensor the one reason why it is kept or dropped.

    A row is good if its flag is exactly ``G`` and its value lies in 0..1 m3 m-3; of two good
    rows with one stamp the first is kept.

    Parameters
    ----------
    rows : DataFrame
        ``stamp`` (UTC), ``value`` (m3 m-3) and ``flag`` (categorical), as `read_sensors` gives.
    minimum_hours : int
        Distinct hours with good rows that a UTC day needs.
    period : tuple of datetime64[D]
        First and last day, both included.

    Returns
    -------
    array of int8, one per row
        Positions in ``REASONS``; ``KEPT`` is the last.
    """
    stamp = rows["stamp"].to_numpy()
    codes = _judge_alone(rows, period)
    good = np.flatnonzero(codes == KEPT)
    good = good[np.argsort(stamp[good], kind="stable")]
    first = _changes(stamp[good])
    codes[good[~first]] = DUPLICATE
    good = good[first]
    _, number, hours = _days_of(stamp[good])
    codes[good[hours[number] < minimum_hours]] = TOO_FEW_HOURS
    return codes


def daily_means(rows: pd.DataFrame) -> pd.DataFrame:
    """Average the good rows of one sensor over the UTC day, hours 00 to 23 by stamp.

    Parameters
    ----------
    rows : DataFrame
        ``stamp`` and ``value`` (m3 m-3), no stamp twice.

    Returns
    -------
    DataFrame, one row per day
        ``time``, ``observed`` (m3 m-3), ``hours`` (distinct) and ``rows``.
    """
    rows = rows.sort_values("stamp", kind="stable")
    day, number, hours = _days_of(rows["stamp"].to_numpy())
    count = np.bincount(number, minlength=day.size)
    total = np.bincount(number, weights=rows["value"].to_numpy(), minlength=day.size)
    time = day.astype("datetime64[us]")
    return pd.DataFrame({"time": time, "observed": total / count, "hours": hours, "rows": count})


def _judge_alone(
    rows: pd.DataFrame, period: tuple[np.datetime64, np.datetime64]
) -> NDArray[np.int8]:
    """Give the reasons that a row shows by itself, in the order of ``REASONS``."""
    day, value = rows["stamp"].to_numpy().astype("datetime64[D]"), rows["value"].to_numpy()
    # Flags are judged once per distinct text; -1 is a line without a flag.
    flags, flag = rows["flag"].cat.categories, rows["flag"].cat.codes.to_numpy()
    low, high = SSM.valid_range
    tests = [
        np.isnat(day) | np.isnan(value) | np.isin(flag, [-1, *np.flatnonzero(flags == "")]),
        (day < period[0]) | (day > period[1]),
        value <= MISSING,
        np.isin(flag, [i for i, text in enumerate(flags) if FROZEN & set(text.split(","))]),
        ~np.isin(flag, np.flatnonzero(flags == "G")),
        (value < low) | (value > high),
    ]
    return np.select(tests, range(len(tests)), default=KEPT).astype("int8")


def _sensor(match: re.Match[str], name: FileName | None) -> Sensor:
    """Return the sensor that a header describes, its name and depth as the file is named."""
    lat, lon, elevation = (float(match[key]) for key in ("lat", "lon", "elevation"))
    if not (-90 <= lat <= 90 and -180 <= lon <= 180):
        raise ValueError(f"the header places the station at {lat}, {lon}, which is not on Earth")
    groups = match.groupdict()
    depth = float(groups.get("depth_from") or "nan"), float(groups.get("depth_to") or "nan")
    return Sensor(
        network=match["network"],
        station=name.station if name else match["station"],
        lat=lat,
        lon=lon,
        elevation=_known_elevation(elevation),
        depth=name.depth if name else depth,
        name=name.sensor if name else (groups.get("sensor") or "").strip(),
    )


def _known_elevation(metres: float) -> float:
    """Return NaN for -99.9 and its like; heights below the sea are real."""
    low, high = PREDICTORS["elevation"].valid_range
    return np.nan if abs(metres + 99.9) < 0.1 or not low <= metres <= high else metres


def _split_depths(match: re.Match[str], rows: pd.DataFrame) -> list[tuple[Sensor, pd.DataFrame]]:
    """Return one sensor per depth of a combined file; rows without a depth are its own."""
    place = _sensor(match, None)
    # A depth that cannot be read stays with the file (depth -1) and so is never selected.
    depths = pd.to_numeric(rows["depth"], errors="coerce").fillna(-1.0)
    columns = rows.drop(columns="depth")
    return [
        (replace(place, depth=(float(depth), float(depth))), group.reset_index(drop=True))
        for depth, group in columns.groupby(depths)
    ]


def _read_rows(text: bytes, columns: dict[str, int]) -> pd.DataFrame:
    """Parse the rows by whitespace; dates, hours and flags once per distinct text."""
    if not text.strip():
        raise ValueError("there are no rows below the header")
    if not text.isascii():  # a stray byte may cost its row, not the file
        text = text.decode("ascii", errors="replace").encode("ascii", errors="replace")
    table = pd.read_csv(
        BytesIO(text),
        sep=_separator(text),
        header=None,
        names=list(columns),
        usecols=list(columns.values()),
        dtype=dict.fromkeys(("date", "hour", "flag"), "category"),
        keep_default_na=False,
        quoting=csv.QUOTE_NONE,
        low_memory=False,
    )
    date = _parse_texts(table.pop("date"), "%Y/%m/%d", "datetime64[D]")
    hour = _parse_texts(table.pop("hour"), "%H:%M", "datetime64[m]")
    table["stamp"] = date + (hour - hour.astype("datetime64[D]"))
    table["value"] = pd.to_numeric(table["value"], errors="coerce").astype("float64")
    return table


def _separator(text: bytes) -> str:
    """Return one space where no two blanks meet, which the C parser splits a third faster."""
    blank = np.frombuffer(text, dtype="uint8") <= ord(" ")
    return r"\s+" if b"\t" in text or np.any(blank[1:] & blank[:-1]) else " "


def _parse_texts(texts: pd.Series, form: str, dtype: str) -> NDArray[np.datetime64]:
    """Return times of categorical texts, NaT where a text is not of the form."""
    times = pd.to_datetime(pd.Series(texts.cat.categories), format=form, errors="coerce")
    codes = texts.cat.codes.to_numpy()
    return np.append(times.to_numpy(), np.datetime64("NaT")).astype(dtype)[codes]


def _days_of(stamp: NDArray[np.datetime64]) -> tuple[NDArray, NDArray, NDArray]:
    """Return the days of sorted stamps, each stamp's place among them, and their hours."""
    day, hour = stamp.astype("datetime64[D]"), stamp.astype("datetime64[h]")
    new_day = _changes(day)
    number = np.cumsum(new_day) - 1
    days = day[new_day]
    return days, number, np.bincount(number[_changes(hour)], minlength=days.size)


def _changes(values: NDArray) -> NDArray[np.bool_]:
    """Tell which of sorted values differ from the one before; the first does."""
    return np.append(True, values[1:] != values[:-1])[: values.size]
