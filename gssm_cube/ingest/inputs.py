"""The files of a run: found, and checked for gaps before anything is read."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm_cube.blocks import digest
from gssm_cube.grid import Layout
from gssm_cube.harmonise import memory, vegetation, water
from gssm_cube.harmonise.regrid import sinusoidal_index
from gssm_cube.ingest.sensors import own_start
from gssm_cube.sources import (
    bedrock,
    era5_cells,
    era5_land,
    groundwater,
    merit_hydro,
    modis,
    soilgrids,
    viirs,
)
from gssm_cube.sources.doors import Tell, stop, told
from gssm_cube.sources.sinusoidal import KILOMETRE, span

logger = logging.getLogger(__name__)

LEAD_DAYS = memory.SPIN_UP_DAYS  # meteorology before the first day
LEAST_LEAD_DAYS = water.WINDOW_DAYS - 1  # the index looks so far back
# Vegetation before and after, days: the smoother's half window; own dates lag starts by up to 15.
COMPOSITE_REACH = (48 + 15, 48)


@dataclass(frozen=True)
class Inputs:
    """The files of a run, found and checked for gaps by their names and headers."""

    era5_land: list[era5_land.MeteoFile]
    lst: modis.Files
    vegetation: modis.Files
    soilgrids: dict[str, Path]
    merit_hydro: merit_hydro.Files
    wtd: list[Path]
    bedrock: Path
    # By sensor; VIIRS LST by overpass as well. Nothing where no folder is named.
    lst_partners: dict[str, Any] = field(default_factory=dict)
    vegetation_partners: dict[str, Any] = field(default_factory=dict)
    lead_days: int = LEAD_DAYS  # of meteorology before the first day


def meteo_days(layout: Layout) -> NDArray[np.datetime64]:
    """Days of meteorology that a layout needs: a year of lead-in, then its own."""
    first = layout.time[0] - LEAD_DAYS
    return np.arange(first, layout.time[-1] + 1)


def composite_starts(layout: Layout) -> NDArray[np.datetime64]:
    """Composites that the cube holds: from the one before the first day to one after the last."""
    return vegetation.composite_starts(layout.first_day, layout.last_day)


def vegetation_starts(layout: Layout) -> NDArray[np.datetime64]:
    """Composites that the smoother reaches from those of the cube."""
    held = composite_starts(layout)
    first, last = held[0] - COMPOSITE_REACH[0], held[-1] + COMPOSITE_REACH[1]
    around = vegetation.composite_starts(first.item(), last.item())
    return around[(around >= first) & (around <= last)]


def missing_composites(seen: Iterable[date], layout: Layout) -> list[date]:
    """Return the composites that a run cannot do without.

    The newest may be absent, down to 48 days before the last that the cube holds: what then lacks
    its later neighbours is smoothed from the earlier ones and provisional.
    """
    there, starts = set(seen), vegetation_starts(layout).astype(object)
    newest = max(there & set(starts), default=date.min)
    needed = (composite_starts(layout)[-1] - vegetation.HALF_WINDOW_DAYS).item()
    return [day for day in starts if day not in there and (day < newest or day <= needed)]


def newest_composite(found: Inputs) -> np.datetime64:
    """Start of the newest composite that any sensor has."""
    files = (found.vegetation, *found.vegetation_partners.values())
    return np.datetime64(max(day for days in files for day in days), "D")


def modis_tiles(layout: Layout) -> set[str]:
    """Names (``h18v04``) of the MODIS tiles that a layout touches."""
    rows, cols = sinusoidal_index(layout.lat, layout.lon[[0, -1]])
    return KILOMETRE.tiles(span(rows), span(cols))


def find_inputs(folders: Mapping[str, Any], layout: Layout) -> Inputs:
    """Find the files of all sources and check that no day is missing.

    Parameters
    ----------
    folders : mapping
        ``era5_land``, ``mod11a1``, ``mod13a2``, ``soilgrids``, ``merit_hydro``, ``wtd``,
        ``bedrock``; optionally ``myd11a1``, ``vnp21a1d`` with ``vnp21a1n``, ``myd13a2``,
        ``vnp13a2``: then days and composites that any sensor holds are enough.
    layout : Layout

    Raises
    ------
    FileNotFoundError
        If a source has no file, or days are missing: which ones.
    ValueError
        If a header tells of other units, another grid or another place.
    """
    meteo = find_meteo(folders["era5_land"], layout)
    partners = find_lst_partners(folders, layout)
    greener = find_vegetation_partners(folders, layout)
    return Inputs(
        meteo,
        find_lst(folders["mod11a1"], layout, days_of(partners)),
        find_vegetation(folders["mod13a2"], layout, starts_of(greener)),
        find_soil(folders["soilgrids"], layout),
        find_terrain(folders["merit_hydro"], layout),
        find_water_table(folders["wtd"], layout),
        find_bedrock(folders["bedrock"], layout),
        partners,
        greener,
        lead_days(meteo, layout),
    )


# ---- doors: each raises the first fault, or tells them all ------------------------------------


def find_meteo(place: Any, layout: Layout, tell: Tell = stop) -> list[era5_land.MeteoFile]:
    """Find the files of ERA5-Land that reach the days of a layout and those before it."""
    files = era5_land.find_files(place, tell)
    first, last = meteo_days(layout)[[0, -1]]
    if files:
        check_lead(files, place, layout, tell)
    # Files of other days must not count: a new download would otherwise renew the whole cube.
    files = [file for file in files if file.first <= last + 1 and file.last >= first]
    for file in files[:1]:  # every file is checked again when it is read
        with told(tell):
            era5_land.check_cells(file, layout)
    return files


def lead_days(files: list[era5_land.MeteoFile], layout: Layout) -> int:
    """Return the days of meteorology before the first day: 365, or what there is."""
    days = meteo_days(layout)
    return LEAD_DAYS - era5_land.missing_days(files, days[0], days[-1]).size


def check_lead(
    files: list[era5_land.MeteoFile], place: Any, layout: Layout, tell: Tell = stop
) -> None:
    """Tell of days that are missing behind the first that is there, or if the lead is too short.

    A lead of 33 to 364 days is enough to go on, with a warning.
    """
    days, lead = meteo_days(layout), lead_days(files, layout)
    missing = era5_land.missing_days(files, days[0], days[-1])
    if not np.array_equal(missing, days[: missing.size]) or lead < LEAST_LEAD_DAYS:
        check_complete("ERA5-Land", place, list(missing), tell)
        return
    if missing.size:
        logger.warning(
            "ERA5-Land in %s begins %d days before %s, expected %d: the memory of water is spun "
            "up on the first year that is there, repeated", place, lead, days[LEAD_DAYS], LEAD_DAYS
        )  # fmt: skip
    if era5_cells.step_of(files, "t2m") == "day" and not era5_land.has_extremes(files):
        logger.warning(
            "ERA5-Land in %s has daily means of temperature only: without its extremes there is no "
            "potential evaporation, and the features of memory are missing; use hourly files, or "
            "add mn2t and mx2t",
            place,
        )


def find_lst(folder: Path, layout: Layout, elsewhere: Set[date], tell: Tell = stop) -> modis.Files:
    """Find MOD11A1 of a layout's days; those that others saw, or within an outage, may lack."""
    every = modis.find_files(folder, "MOD11A1", modis.LST_LAYERS, tell)
    found = modis.only_tiles(every, modis_tiles(layout))
    days = layout.time.astype(object)
    seen = found.keys() | elsewhere
    if every:
        missing = [day for day in days if day not in seen and not modis.in_outage(day)]
        check_complete("MOD11A1", folder, missing, tell)
    return _checked(found.only(days), tell)


def find_vegetation(
    folder: Path, layout: Layout, elsewhere: Set[date] = frozenset(), tell: Tell = stop
) -> modis.Files:
    """Find MOD13A2 of the composites that the smoother reaches; others may hold some of them.

    A folder may hold MOD13A1 (500 m) in its place.
    """
    product = modis.vegetation_product(folder, "MOD13A2")
    every = modis.find_files(folder, product, modis.VEGETATION_LAYERS, tell)
    found = modis.only_tiles(every, modis_tiles(layout))
    if every:
        missing = missing_composites(found.keys() | elsewhere, layout)
        check_complete(product, folder, missing, tell)
    starts = vegetation_starts(layout).astype(object)
    return _checked(found.only(starts), tell)


def _checked(files: modis.Files, tell: Tell) -> modis.Files:
    """Return files whose first is on its grid; every file is checked again when it is read."""
    with told(tell):
        modis.check_day(next(iter(files.values()), {}))
    return files


def find_lst_partners(
    folders: Mapping[str, Any], layout: Layout, tell: Tell = stop
) -> dict[str, Any]:
    """Find the LST of the sensors beside Terra that are named, by sensor, of a layout's days."""
    found: dict[str, Any] = {}
    if "myd11a1" in folders:
        files = modis.find_files(folders["myd11a1"], "MYD11A1", modis.LST_LAYERS, tell)
        near, wanted = modis.only_tiles(files, modis_tiles(layout)), layout.time.astype(object)
        found["aqua"] = _checked(near.only(wanted), tell)
    if npp := find_viirs(folders, layout, tell):
        found["viirs"] = npp
    return found


def find_vegetation_partners(
    folders: Mapping[str, Any], layout: Layout, tell: Tell = stop
) -> dict[str, Any]:
    """Find the vegetation of the sensors beside Terra, by sensor and start of Terra's composite."""
    found: dict[str, modis.Files | viirs.Files] = {}
    if "myd13a2" in folders:
        product = modis.vegetation_product(folders["myd13a2"], "MYD13A2")
        files = modis.find_files(folders["myd13a2"], product, modis.VEGETATION_LAYERS, tell)
        found["aqua"] = _checked(modis.only_tiles(files, modis_tiles(layout)), tell)
    if "vnp13a2" in folders:
        found["viirs"] = viirs.find_files(folders["vnp13a2"], viirs.VNP13A2, tell)
    starts = vegetation_starts(layout).astype(object)
    return {
        sensor: files.at({start: own_start(sensor, start) for start in starts})
        for sensor, files in found.items()
    }


def days_of(partners: Mapping[str, Any]) -> set[date]:
    """Return the days on which a sensor beside Terra has LST, by one overpass at least."""
    npp = partners.get("viirs", {})
    return {*partners.get("aqua", {}), *(day for files in npp.values() for day in files)}


def starts_of(partners: Mapping[str, Any]) -> set[date]:
    """Return the composites of which a sensor beside Terra has vegetation."""
    return {start for files in partners.values() for start in files}


def find_viirs(
    folders: Mapping[str, Any], layout: Layout, tell: Tell = stop
) -> dict[str, viirs.Files]:
    """Find VIIRS LST of a layout's days by overpass; nothing if no folder is named.

    Raises
    ------
    ValueError
        If only the day or only the night is named.
    FileNotFoundError
        As ``viirs.find_files``.
    """
    names = {overpass: p.name.lower() for overpass, p in viirs.LST_PRODUCTS.items()}
    named = [name for name in names.values() if name in folders]
    if not named:
        return {}
    if len(named) < len(names):
        raise ValueError(
            f"of VIIRS only {named[0]} is named, expected {' and '.join(names.values())}: LST is "
            "the mean of day and night; name both or none"
        )
    found = {
        overpass: viirs.find_files(folders[name], viirs.LST_PRODUCTS[overpass], tell)
        for overpass, name in names.items()
    }
    # Files of other days must not count, as for MODIS.
    wanted = layout.time.astype(object)
    return {overpass: files.only(wanted) for overpass, files in found.items()}


def find_soil(folder: Path, layout: Layout, tell: Tell = stop) -> dict[str, Path]:
    """Find the layers of SoilGrids, which must reach a layout in their mapped units."""
    files = soilgrids.find_files(folder, tell)
    soilgrids.check_files(files, layout.bounds, tell)
    return files


def soil_tiles(files: Mapping[str, Path], bounds: tuple[float, float, float, float]) -> list[Path]:
    """Tiles behind the layers that are VRTs, within bounds: they are what is read."""
    return [tile for path in files.values() for tile in soilgrids.tiles_behind(path, bounds)]


def find_terrain(folder: Path, layout: Layout, tell: Tell = stop) -> merit_hydro.Files:
    """Find the tiles of MERIT Hydro, of which one at least must reach a layout."""
    files = merit_hydro.find_files(folder, tell)
    if files and not merit_hydro.reaches(files, layout.bounds):
        tell(
            ValueError(
                f"no MERIT Hydro tile of {sorted(files)} reaches {layout.bounds}; give the tiles "
                "of this region"
            )
        )
    return files


def find_water_table(folder: Path, layout: Layout, tell: Tell = stop) -> list[Path]:
    """Find the files of the water table, of which one at least must reach a layout."""
    files = groundwater.find_files(folder, tell)
    sound = groundwater.check_files(files, tell)
    with told(tell):
        if sound:
            groundwater.check_reach(sound, layout.bounds)
    return files


def find_bedrock(folder: Path, layout: Layout) -> Path:
    """Find the depth to bedrock, one file, which must reach a layout; raises what is wrong."""
    path = bedrock.find_files(folder)
    bedrock.check_file(path, layout.bounds)
    return path


class MissingDays(FileNotFoundError):
    """Days that a run needs are not there."""

    def __init__(self, text: str, days: list[date]) -> None:
        super().__init__(text)
        self.days = days


def check_complete(source: str, folder: Any, missing: list[Any], tell: Tell = stop) -> None:
    """Raise, or tell, the days that a source lacks."""
    if missing:
        days = [str(day) for day in missing]
        shown = ", ".join(days[:5]) + (f", ... {days[-1]}" if len(days) > 5 else "")
        text = (
            f"{source} in {folder} lacks {len(days)} days that this run needs: {shown}; "
            "download them, or change the period"
        )
        tell(MissingDays(text, [np.datetime64(day, "D").item() for day in missing]))


def fingerprint(files: Any) -> str:
    """Return a hash of names, sizes and times of files, however they are nested."""
    return digest(
        [(str(p.name), p.stat().st_size, p.stat().st_mtime_ns) for p in file_paths(files)],
        list(_urls(files)),
    )


def _urls(files: Any) -> Iterator[str]:
    """Yield the stores behind URLs: their size and time are not asked for."""
    if isinstance(files, list):
        yield from (str(f.path) for f in files if isinstance(f, era5_land.MeteoFile) and f.is_url)


def file_paths(files: Any) -> Iterator[Path]:
    """Yield all paths in nested mappings, lists or inputs, in a stable order."""
    if isinstance(files, Path):
        yield files
    elif isinstance(files, era5_land.MeteoFile):
        yield from era5_land.stamp_files(files)
    elif isinstance(files, merit_hydro.Member):
        yield files.archive
    elif isinstance(files, Inputs):
        parts = (getattr(files, name) for name in Inputs.__dataclass_fields__)
        yield from file_paths([part for part in parts if not isinstance(part, int)])
    elif isinstance(files, Mapping):
        for key in sorted(files):
            yield from file_paths(files[key])
    else:
        for part in files:
            yield from file_paths(part)
