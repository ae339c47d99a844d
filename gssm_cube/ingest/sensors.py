"""The sensors of daily LST and of vegetation: how a day of each is read, where it is kept.

Terra leads. Aqua and Suomi NPP (VIIRS) pass at about 13:30 and 01:30 local time, three hours after
Terra, so that they stand in only where Terra saw nothing, and only over a bridge
(``harmonise.bridge``) fitted where both saw the same pixel: what three hours of sun are worth goes
into its lines, for each class of pixels. Aqua comes before VIIRS, for its algorithm is Terra's.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Protocol

import numpy as np

from gssm_cube.sources import modis, viirs
from gssm_cube.sources.sinusoidal import Cutout

logger = logging.getLogger(__name__)

OVERPASSES = {"lst_day": "Day", "lst_night": "Night"}
VEGETATION = ("ndvi", "evi", "reliability", "day")
PARTNERS = ("aqua", "viirs")  # in the order in which they stand in for Terra
AQUA_LAG = timedelta(days=8)  # its composites start on day 9, 25, ..., 361


def lst_array(sensor: str, overpass: str) -> str:
    """Name of the scratch's array of ``lst_day`` or ``lst_night`` of a sensor."""
    return overpass if sensor == "terra" else f"{overpass}_{sensor}"


def vegetation_array(sensor: str, layer: str) -> str:
    """Name of the scratch's array of a layer of ``VEGETATION`` of a sensor."""
    return layer if sensor == "terra" else f"{layer}_{sensor}"


def lst_stage(sensor: str) -> str:
    """Stage of the scratch that reads a sensor's LST."""
    return "lst" if sensor == "terra" else f"lst_{sensor}"


def vegetation_stage(sensor: str) -> str:
    """Stage of the scratch that reads a sensor's vegetation."""
    return "vegetation" if sensor == "terra" else f"vegetation_{sensor}"


class LstReader(Protocol):
    """Reads daily LST of one sensor."""

    @property
    def sensor(self) -> str:
        """Which: ``terra``, ``aqua`` or ``viirs``."""
        ...

    def read(self, day: date, overpass: str, rows: range, cols: range) -> Cutout | None:
        """Return digital numbers (0.02 K, 0 missing); None where there is no file."""
        ...

    def absent(self, days: list[date]) -> dict[str, Any]:
        """Count what is absent on days."""
        ...


@dataclass(frozen=True)
class ModisLst:
    """MOD11A1, or MYD11A1 of Aqua."""

    files: modis.Files
    sensor: str = "terra"

    def read(self, day: date, overpass: str, rows: range, cols: range) -> Cutout | None:
        """Read a day; one in an outage has no file."""
        files = self.files.get(day)
        return None if files is None else modis.read_lst(files, overpass, rows, cols)

    def absent(self, days: list[date]) -> dict[str, Any]:
        """Count tiles that other days have."""
        return {"absent_tiles": count_absent_tiles(self.files, days)}


@dataclass(frozen=True)
class ViirsLst:
    """VNP21A1D and VNP21A1N, by ``"Day"`` and ``"Night"``."""

    files: Mapping[str, viirs.Files]
    sensor: str = "viirs"

    def read(self, day: date, overpass: str, rows: range, cols: range) -> Cutout | None:
        """Read a day."""
        files = self.files[overpass].get(day)
        return None if files is None else viirs.read_lst(files, overpass, rows, cols)

    def absent(self, days: list[date]) -> dict[str, Any]:
        """Count days and nights without a file."""
        missing = (day not in files for files in self.files.values() for day in days)
        return {"absent_days": sum(missing)}


class VegetationReader(Protocol):
    """Reads composites of one sensor."""

    @property
    def sensor(self) -> str:
        """Which: ``terra``, ``aqua`` or ``viirs``."""
        ...

    def read(self, start: date, rows: range, cols: range) -> Iterable[Cutout] | None:
        """Return the layers of ``VEGETATION`` as MOD13A2 codes them; None without a file."""
        ...

    def absent(self, start: date) -> dict[str, Any]:
        """Count what is absent of a composite."""
        ...


@dataclass(frozen=True)
class ModisVegetation:
    """MOD13A2 (or MOD13A1 by area), or MYD13A2 of Aqua, by the start of Terra's composite."""

    files: modis.Files
    sensor: str = "terra"

    def read(self, start: date, rows: range, cols: range) -> Iterable[Cutout] | None:
        """Read a composite."""
        files, begin = self.files.get(start), own_start(self.sensor, start)
        if files is None:
            return None
        return modis.read_vegetation(files, begin, rows, cols).values()

    def absent(self, start: date) -> dict[str, Any]:
        """Count tiles that other composites have."""
        return {"absent_tiles": count_absent_tiles(self.files, [start])}


@dataclass(frozen=True)
class ViirsVegetation:
    """VNP13A2."""

    files: viirs.Files
    sensor: str = "viirs"

    def read(self, start: date, rows: range, cols: range) -> Iterable[Cutout] | None:
        """Read a composite."""
        files = self.files.get(start)
        if files is None:
            return None
        return [viirs.read_vegetation(files, name, rows, cols) for name in VEGETATION]

    def absent(self, start: date) -> dict[str, Any]:
        """Count the composite itself."""
        return {"absent_composites": int(start not in self.files)}


def lst_readers(terra: modis.Files, partners: Mapping[str, Any]) -> dict[str, LstReader]:
    """Return the reader of each product of LST that is there."""
    readers: dict[str, LstReader] = {"MOD11A1": ModisLst(terra)}
    if "aqua" in partners:
        readers["MYD11A1"] = ModisLst(partners["aqua"], "aqua")
    if "viirs" in partners:
        readers["VNP21A1"] = ViirsLst(partners["viirs"])
    return readers


def vegetation_readers(
    terra: modis.Files, partners: Mapping[str, Any]
) -> dict[str, VegetationReader]:
    """Return the reader of each product of vegetation that is there."""
    readers: dict[str, VegetationReader] = {"MOD13A2": ModisVegetation(terra)}
    if "aqua" in partners:
        readers["MYD13A2"] = ModisVegetation(partners["aqua"], "aqua")
    if "viirs" in partners:
        readers["VNP13A2"] = ViirsVegetation(partners["viirs"])
    return readers


def own_start(sensor: str, start: Any) -> Any:
    """First day of a sensor's composite that stands beside Terra's; dates or datetime64."""
    if sensor != "aqua":
        return start
    # NumPy adds no timedelta to an array of days.
    return start + (AQUA_LAG if isinstance(start, date) else np.timedelta64(AQUA_LAG, "D"))


def count_absent_tiles(files: modis.Files, days: list[date]) -> int:
    """Count, over days, the tiles that are absent though other days have them; warn of them."""
    gaps = modis.missing_tiles(files)
    absent = {day: gaps[day] for day in days if day in gaps}
    if absent:
        logger.warning(
            "MODIS tiles absent on single days are left missing: %s",
            "; ".join(f"{day} {', '.join(tiles)}" for day, tiles in absent.items()),
        )
    return sum(map(len, absent.values()))
