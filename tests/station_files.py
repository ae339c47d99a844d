"""Invented files of an ISMN archive, for the tests of stations."""

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

Reader = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]

HEADER = "NET NET Old_Name 45.5 -3.25 -99.9 0.05 0.05 Probe A"


def hours(values: Sequence[float], day: str = "2020/01/01", flag: str = "G") -> list[str]:
    """Rows for the hours 00, 01, ... of a day."""
    return [f"{day} {hour:02d}:00 {value} {flag} M" for hour, value in enumerate(values)]


def member(
    station: str = "One",
    depth: str = "0.050000_0.050000",
    sensor: str = "Probe-A",
    variable: str = "sm",
) -> str:
    """Name of a data file as ISMN gives it."""
    name = f"NET_NET_{station}_{variable}_{depth}_{sensor}_20200101_20201231.stm"
    return f"NET/{station}/{name}"


def write_zip(path: Path, files: dict[str, Any]) -> Path:
    """Write members; text is encoded, bytes are stored as they are."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def station_file(rows: list[str], header: str = HEADER, end: str = "\n") -> str:
    """Text of a header+values file."""
    return end.join([header, *rows]) + end


def tally(counts: pd.DataFrame) -> dict[Any, int]:
    """Rows by reason, all networks together."""
    return counts.groupby("reason")["rows"].sum().to_dict()


STATIC_HEADING = "quantity_name;unit;depth_from[m];depth_to[m];value;description;source;;;;;;;\n"
STATIC = (
    "saturation;m^3*m^-3;0.00;0.30;1.75;;HWSD;;;;;;;\n"
    "land cover classification;;;;10;Cropland, rainfed;CCI_landcover_2000;;;;;;;\n"
    "land cover classification;;;;130;Grassland;CCI_landcover_2010;;;;;;;\n"
    "land cover classification;;;;None;vineyard;insitu;;;;;;;\n"
    "climate classification;;;;Dfa;Cold;koeppen_geiger_2007;;;;0.1°;;;\n"
    "climate classification;;;;Cfa;Temperate;koeppen_geiger_2017;;;;0.08°;;;\n"
    "climate classification;;;;None;Xeric;insitu;;;;;;;\n"
)
