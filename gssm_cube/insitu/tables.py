"""Stations outside ISMN: a documented table (CSV or Parquet), checked row by row.

| column | | what |
|---|---|---|
| ``network``, ``station`` | needed | names; a station is known as NETWORK/STATION |
| ``lat``, ``lon`` | needed | degrees north and east, WGS 84 |
| ``time`` | needed | ISO 8601; UTC unless it states an offset |
| ``observed`` | needed | soil moisture, m3 m-3; empty or -9999 is missing |
| ``depth_from``, ``depth_to`` | needed | m below the surface, the upper end first |
| ``sensor`` | | tells several instruments of a station apart |
| ``flag`` | | quality as ISMN writes it; ``G`` is good, and what a table without flags means |
| ``elevation`` | | m |
| ``koeppen``, ``land_cover`` | | classes as text |

A sensor whose times all lie at midnight, one a day, is daily: its values are days as the run
defines them, and neither the minimum of hours nor the search for spikes applies. All others are
hours, judged as those of ISMN.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gssm_cube.insitu.harvest import DEPTH_OUTSIDE, Piece, Reading, read_piece
from gssm_cube.insitu.ismn import Sensor
from gssm_cube.insitu.lines import Rows
from gssm_cube.insitu.quality import Rules

NEEDED = ("network", "station", "lat", "lon", "time", "observed", "depth_from", "depth_to")
OPTIONAL = ("sensor", "flag", "elevation", "koeppen", "land_cover")
NUMBERS = {
    "lat": (-90.0, 90.0, "-90 to 90"),
    "lon": (-180.0, 180.0, "-180 to 180"),
    "depth_from": (0.0, 10.0, "metres, 0 to 10"),
    "depth_to": (0.0, 10.0, "metres, 0 to 10"),
}
KEY = ["network", "station", "lat", "lon", "depth_from", "depth_to", "sensor"]


def read_table(path: str | Path) -> pd.DataFrame:
    """Read and check a table of stations.

    Parameters
    ----------
    path : str or Path
        ``.csv`` or ``.parquet`` in the form that this module documents.

    Returns
    -------
    DataFrame
        All columns of the form, in its types; ``time`` (datetime64[s], UTC).

    Raises
    ------
    FileNotFoundError
        If there is no file.
    ValueError
        If a column is missing or unknown, or a cell is impossible; it names the first such row
        (the header of a CSV is row 1), the column, what was found and what was expected.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no station table at {path}: correct [stations] tables")
    table = _read_file(path)
    _check_columns(path, list(table.columns))
    defaults: dict[str, Any] = {
        "sensor": "",
        "flag": "G",
        "elevation": np.nan,
        "koeppen": None,
        "land_cover": None,
    }
    table = table.assign(**{k: v for k, v in defaults.items() if k not in table})
    for name in ("network", "station"):
        text = table[name].astype("str").str.strip()
        _check(path, table, name, table[name].notna() & (text != ""), "a name")
        table[name] = text
    for name, (low, high, words) in NUMBERS.items():
        number = pd.to_numeric(table[name], errors="coerce")
        _check(path, table, name, number.between(low, high), words)
        table[name] = number.astype("float64")
    ordered = table["depth_to"] >= table["depth_from"]
    _check(path, table, "depth_to", ordered, "a depth not above depth_from")
    table["time"] = _read_times(path, table)
    table["observed"] = _read_observed(path, table)
    table["elevation"] = pd.to_numeric(table["elevation"], errors="coerce").astype("float64")
    for name in ("sensor", "flag"):
        table[name] = table[name].astype("object").where(table[name].notna(), "").astype("str")
    return table


def read_places(path: str | Path, rules: Rules) -> Iterator[Reading]:
    """Read a table of stations, one Reading a sensor, as `harvest.read_archive` gives them.

    Parameters
    ----------
    path : str or Path
        As for `read_table`, whose errors it raises.
    rules : Rules
        Sensors outside its depth are left out and named.
    """
    table = read_table(path)
    for number, (_, rows) in enumerate(table.groupby(KEY, sort=True)):
        first = rows.iloc[0]
        depth = float(first["depth_from"]), float(first["depth_to"])
        reading = Reading(files_read=int(number == 0))
        if rules.holds(depth):
            reading.pieces.append(_piece(rows, first, depth, rules))
        else:
            station = f"{first['network']}/{first['station']}"
            entry = {"file": str(path), "network": first["network"], "station": station}
            reading.left_out.append(entry | {"reason": DEPTH_OUTSIDE})
        yield reading


def _piece(rows: pd.DataFrame, first: pd.Series, depth: tuple[float, float], rules: Rules) -> Piece:
    """Judge the rows of one sensor, hourly or daily."""
    sensor = Sensor(
        first["network"], first["station"], float(first["lat"]), float(first["lon"]),
        float(first["elevation"]), depth, first["sensor"],
    )  # fmt: skip
    classes = {k: first[k] if pd.notna(first[k]) else None for k in ("koeppen", "land_cover")}
    judged = _rows(rows)
    if not _is_daily(judged.stamp):
        return read_piece(sensor, judged, rules, None, classes)
    as_given = replace(rules, minimum_hours=1, screening=False, day="UTC")
    piece = read_piece(sensor, judged, as_given, None, classes)
    piece.days["hours"] = 24
    return piece


def _rows(table: pd.DataFrame) -> Rows:
    """Return the rows of a sensor as those of a file."""
    codes, flags = pd.factorize(table["flag"].where(table["flag"] != "", None))
    return Rows(
        table["time"].to_numpy(),
        table["observed"].to_numpy(),
        (codes + 1).astype("int16"),
        ("", *flags),
    )


def _is_daily(stamp: np.ndarray) -> bool:
    """Tell whether all times are midnights, each of another day."""
    return bool(np.all(stamp == stamp.astype("M8[D]"))) and np.unique(stamp).size == stamp.size


def _read_file(path: Path) -> pd.DataFrame:
    """Read a CSV as text, or a Parquet file as it is."""
    if path.suffix.lower() == ".parquet":
        return pd.read_parquet(path)
    if path.suffix.lower() == ".csv" and not path.stat().st_size:
        raise ValueError(f"{path} is empty, expected a header and rows; remove it from the tables")
    if path.suffix.lower() == ".csv":
        return pd.read_csv(path, dtype="str", skipinitialspace=True, encoding="utf-8-sig")
    raise ValueError(f"{path} is named {path.suffix!r}, expected .csv or .parquet; rename it")


def _check_columns(path: Path, found: list[str]) -> None:
    """Raise if columns are missing or unknown."""
    missing = [name for name in NEEDED if name not in found]
    unknown = [name for name in found if name not in (*NEEDED, *OPTIONAL)]
    if missing or unknown:
        raise ValueError(
            f"{path}: columns missing: {missing}, unknown: {unknown}; expected {', '.join(NEEDED)} "
            f"and if you have them {', '.join(OPTIONAL)}; rename or remove columns"
        )


def _check(path: Path, table: pd.DataFrame, column: str, good: pd.Series, expected: str) -> None:
    """Raise if a cell is not good, naming the first."""
    bad = np.flatnonzero(~good.to_numpy(dtype="bool"))
    if bad.size:
        raise ValueError(
            f"{path}, row {bad[0] + 2}, column {column}: found {table[column].iloc[bad[0]]!r}, "
            f"expected {expected} ({bad.size} such rows); correct the table"
        )


def _read_times(path: Path, table: pd.DataFrame) -> pd.Series:
    """Return times in UTC without an offset."""
    times = pd.to_datetime(table["time"], errors="coerce", utc=True, format=_time_format(table))
    _check(path, table, "time", times.notna(), "ISO 8601 such as 2020-07-01T13:00")
    return times.dt.tz_localize(None).astype("datetime64[s]")


def _time_format(table: pd.DataFrame) -> str | None:
    """Return how text is parsed; times that are already such are taken as they are."""
    return None if pd.api.types.is_datetime64_any_dtype(table["time"]) else "ISO8601"


def _read_observed(path: Path, table: pd.DataFrame) -> pd.Series:
    """Return soil moisture with -9999 for missing; raise on words and on percent."""
    number = pd.to_numeric(table["observed"], errors="coerce").astype("float64")
    readable = number.notna() | table["observed"].isna()
    _check(path, table, "observed", readable, "a number or nothing")
    known = number[number > -999.0]
    if len(known) and known.median() > 1:
        raise ValueError(
            f"{path}, column observed: half of the values are above {known.median():g}, expected "
            "m3 m-3 from 0 to 1; divide percent by 100"
        )
    return number.fillna(-9999.0)
