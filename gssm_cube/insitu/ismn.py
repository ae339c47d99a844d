"""What an ISMN archive says: file names, headers, rows, flags, static variables.

Three forms are read: header+values (one header line, then rows), CEOP in separate files (every
line repeats the header) and the old combined CEOP (all depths of a station in one file). Stamps
are UTC.
"""

# The text is read here and not by the package `ismn`: that one unpacks every file of a zip to a
# temporary folder, reads all files once for their metadata and again for their values, and
# returns -9999 as a value. benchmarks/README.md has both times.

import csv
import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from gssm_cube.insitu.lines import Rows, read_lines
from gssm_cube.variables import PREDICTORS

SOIL_MOISTURE = ("sm", "soil-moisture")  # today's and the readme's name of the variable
SOIL_TEMPERATURE = ("ts", "soil-temperature")
_FILE_NAME = re.compile(
    r"(?P<head>.+)_(?P<variable>[^_]+)_(?P<depth_from>-?\d+\.\d+)_(?P<depth_to>-?\d+\.\d+)"
    r"_(?P<sensor>.+)_\d{8}_\d{8}\.stm",
    re.IGNORECASE,
)
_NUMBER = r"-?\d+(?:[.,]\d+)?"  # some tools write a decimal comma
_PLACE = (
    rf"\S+\s+(?P<network>\S+)\s+(?P<station>\S.*?)\s+(?P<lat>{_NUMBER})\s+(?P<lon>{_NUMBER})"
    rf"\s+(?P<elevation>{_NUMBER})"
)
_HEADER = re.compile(
    rf"{_PLACE}\s+(?P<depth_from>{_NUMBER})\s+(?P<depth_to>{_NUMBER})(?:\s+(?P<sensor>.*))?"
)
_COMBINED = re.compile(rf"{_PLACE}\s+\S+\s+{_NUMBER}\s+{_NUMBER}\s+\S+\s+{_NUMBER}\s+\S+\s*")
_TWO_STAMPS = re.compile(r"(?:\d{4}/\d\d/\d\d \d\d:\d\d ){2}")  # nominal, then actual time

# Words of a line: date, hour, value, flag, depth. CEOP: the actual time, which is what
# header+values gives.
_HEADER_COLUMNS = (0, 1, 2, 3, -1)
_CEOP_COLUMNS = (2, 3, 12, 13, -1)
_COMBINED_COLUMNS = (2, 3, 14, 15, 11)


@dataclass(frozen=True)
class FileName:
    """What the name of an ISMN data file says; depths in m."""

    network: str
    station: str
    variable: str
    depth: tuple[float, float]
    sensor: str
    static: str  # the member with the station's static variables, if it has one
    place: str  # network and station as written, the same for all files of a station


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
    variable = match["variable"].lower()
    return FileName(network, station, variable, depth, match["sensor"], static, match["head"])


def read_sensors(text: bytes, name: FileName | None) -> list[tuple[Sensor, Rows]]:
    """Read the sensors of one data file and their rows, unfiltered.

    Parameters
    ----------
    text : bytes
        The whole file, in any of the three forms, with any line ends.
    name : FileName or None
        Overrules the header: old headers round 0.0508 m to 0.05. None for the combined form.

    Returns
    -------
    list of (Sensor, Rows)
        In the file's order; values in m3 m-3, as delivered. What cannot be read in a line is
        NaT, NaN or "".

    Raises
    ------
    ValueError
        If the first line is in none of the forms or there are no rows.
    """
    lines = text.lstrip()
    if not lines:
        raise ValueError("the file is empty")
    start = re.search(rb"[\r\n]|$", lines)
    end = start.start() if start else len(lines)
    line = lines[: min(end, 400)].decode("utf-8", errors="replace")
    content = _TWO_STAMPS.sub("", line, count=1)
    header, combined = _HEADER.fullmatch(content), _COMBINED.fullmatch(content)
    if header and content == line:
        return [(_sensor(header, name), _read_rows(lines[end:], _HEADER_COLUMNS))]
    if header:
        sensor = _sensor(header, name)
        sensor = replace(sensor, name=name.sensor if name else "")
        return [(sensor, _read_rows(lines, _moved(_CEOP_COLUMNS, header)))]
    if combined and content != line:
        return _split_depths(combined, _read_rows(lines, _moved(_COMBINED_COLUMNS, combined)))
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


def _sensor(match: re.Match[str], name: FileName | None) -> Sensor:
    """Return the sensor that a header describes, its name and depth as the file is named."""
    lat, lon, elevation = (_decimal(match[key]) for key in ("lat", "lon", "elevation"))
    if not (-90 <= lat <= 90 and -180 <= lon <= 180):
        raise ValueError(f"the header places the station at {lat}, {lon}, which is not on Earth")
    groups = match.groupdict()
    depth = _decimal(groups.get("depth_from")), _decimal(groups.get("depth_to"))
    return Sensor(
        network=match["network"],
        station=name.station if name else match["station"],
        lat=lat,
        lon=lon,
        elevation=_known_elevation(elevation),
        depth=name.depth if name else depth,
        name=name.sensor if name else (groups.get("sensor") or "").strip(),
    )


def _decimal(text: str | None) -> float:
    """Return a number of a header, with a decimal point or comma; NaN where there is none."""
    return float(text.replace(",", ".")) if text else np.nan


def _known_elevation(metres: float) -> float:
    """Return NaN for -99.9 and its like; heights below the sea are real."""
    low, high = PREDICTORS["elevation"].valid_range
    return np.nan if abs(metres + 99.9) < 0.1 or not low <= metres <= high else metres


def _split_depths(match: re.Match[str], rows: Rows) -> list[tuple[Sensor, Rows]]:
    """Return one sensor per depth of a combined file; rows without a depth are its own."""
    place = _sensor(match, None)
    # A depth that cannot be read stays with the file (depth -1) and so is never selected.
    depths = (
        np.full(rows.value.size, -1.0)
        if rows.depth is None
        else np.nan_to_num(rows.depth, nan=-1.0)
    )
    return [
        (replace(place, depth=(float(depth), float(depth))), rows.where(depths == depth))
        for depth in np.unique(depths)
    ]


def _moved(columns: tuple[int, ...], match: re.Match[str]) -> tuple[int, ...]:
    """Return the places of the words behind a station's name, which may be of several words."""
    words = len(match["station"].split()) - 1
    return tuple(place + words if place > 3 else place for place in columns)


def _read_rows(text: bytes, columns: tuple[int, ...]) -> Rows:
    """Read the rows below a header; raise if there are none."""
    rows = read_lines(text, columns)
    if not rows.value.size:
        raise ValueError("there are no rows below the header")
    return rows
