"""The files of a run: found, and checked for gaps before anything is read."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm_cube.blocks import digest
from gssm_cube.grid import Layout
from gssm_cube.harmonise import vegetation
from gssm_cube.harmonise.regrid import sinusoidal_index
from gssm_cube.ingest.sensors import own_start
from gssm_cube.sources import (
    bedrock,
    era5_land,
    groundwater,
    merit_hydro,
    modis,
    soilgrids,
    viirs,
)
from gssm_cube.sources.sinusoidal import KILOMETRE, span

LEAD_DAYS = 365  # meteorology before the first day: 34-day index, later the memory's spin-up
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


def find_inputs(folders: Mapping[str, Path], layout: Layout) -> Inputs:
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
    """
    meteo = era5_land.find_files(folders["era5_land"])
    lst = modis.find_files(folders["mod11a1"], "MOD11A1", modis.LST_LAYERS)
    greenness = modis.find_files(folders["mod13a2"], "MOD13A2", modis.VEGETATION_LAYERS)
    near = modis_tiles(layout)
    lst, greenness = modis.only_tiles(lst, near), modis.only_tiles(greenness, near)
    days, starts = layout.time.astype(object), vegetation_starts(layout).astype(object)
    first, last = meteo_days(layout)[[0, -1]]
    missing = list(era5_land.missing_days(meteo, first, last))
    check_complete("ERA5-Land", folders["era5_land"], missing)
    partners = find_lst_partners(folders, days, near)
    npp = partners.get("viirs", {})
    seen = {*lst, *partners.get("aqua", {}), *npp.get("Day", {}), *npp.get("Night", {})}
    missing = [day for day in days if day not in seen and not modis.in_outage(day)]
    check_complete("MOD11A1", folders["mod11a1"], missing)
    more = find_vegetation_partners(folders, starts, near)
    missing = missing_composites(
        {*greenness, *(day for one in more.values() for day in one)}, layout
    )
    check_complete("MOD13A2", folders["mod13a2"], missing)
    # Files of other days must not count: a new download would otherwise renew the whole cube.
    inputs = Inputs(
        [file for file in meteo if file.first <= last + 1 and file.last >= first],
        {day: lst[day] for day in days if day in lst},
        {day: greenness[day] for day in starts if day in greenness},
        soilgrids.find_files(folders["soilgrids"]),
        merit_hydro.find_files(folders["merit_hydro"]),
        groundwater.find_files(folders["wtd"]),
        bedrock.find_files(folders["bedrock"]),
        partners,
        more,
    )
    check_grids(inputs, layout)
    return inputs


def find_lst_partners(
    folders: Mapping[str, Path], days: Iterable[date], near: set[str]
) -> dict[str, Any]:
    """Find the LST of the sensors beside Terra that are named, by sensor, of the given days."""
    found: dict[str, Any] = {}
    if "myd11a1" in folders:
        files = modis.find_files(folders["myd11a1"], "MYD11A1", modis.LST_LAYERS)
        files, wanted = modis.only_tiles(files, near), set(days)
        found["aqua"] = {day: tiles for day, tiles in files.items() if day in wanted}
    if npp := find_viirs(folders, days):
        found["viirs"] = npp
    return found


def find_vegetation_partners(
    folders: Mapping[str, Path], starts: Iterable[date], near: set[str]
) -> dict[str, Any]:
    """Find the vegetation of the sensors beside Terra, by sensor and start of Terra's composite."""
    found: dict[str, modis.Files | viirs.Files] = {}
    if "myd13a2" in folders:
        files = modis.find_files(folders["myd13a2"], "MYD13A2", modis.VEGETATION_LAYERS)
        found["aqua"] = modis.only_tiles(files, near)
    if "vnp13a2" in folders:
        found["viirs"] = viirs.find_files(folders["vnp13a2"], viirs.VNP13A2)
    own = {sensor: {start: own_start(sensor, start) for start in starts} for sensor in found}
    return {
        sensor: {start: files[day] for start, day in own[sensor].items() if day in files}
        for sensor, files in found.items()
    }


def find_viirs(folders: Mapping[str, Path], days: Iterable[date]) -> dict[str, viirs.Files]:
    """Find VIIRS LST of the given days by overpass; nothing if no folder is named.

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
        overpass: viirs.find_files(folders[name], viirs.LST_PRODUCTS[overpass])
        for overpass, name in names.items()
    }
    # Files of other days must not count, as for MODIS.
    wanted = set(days)
    return {o: {d: f for d, f in files.items() if d in wanted} for o, files in found.items()}


def check_grids(inputs: Inputs, layout: Layout) -> None:
    """Raise unless the first file of each source is on its grid and reaches the layout.

    Every file is checked again when it is read.
    """
    era5_land.check_cells(inputs.era5_land[0], layout)
    aqua = [held.get("aqua", {}) for held in (inputs.lst_partners, inputs.vegetation_partners)]
    for files in (inputs.lst, inputs.vegetation, *aqua):
        modis.check_day(next(iter(files.values()), {}))
    soilgrids.check_files(inputs.soilgrids, layout.bounds)
    bedrock.check_file(inputs.bedrock, layout.bounds)
    groundwater.check_files(inputs.wtd)
    if not merit_hydro.reaches(inputs.merit_hydro, layout.bounds):
        raise ValueError(
            f"no MERIT Hydro tile of {sorted(inputs.merit_hydro)} reaches {layout.bounds}; give "
            "the tiles of this region"
        )


def check_complete(source: str, folder: Path, missing: list[Any]) -> None:
    """Raise naming the days that a source lacks."""
    if missing:
        days = [str(day) for day in missing]
        shown = ", ".join(days[:5]) + (f", ... {days[-1]}" if len(days) > 5 else "")
        raise FileNotFoundError(
            f"{source} in {folder} lacks {len(days)} days that this run needs: {shown}; "
            "download them, or change the period"
        )


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
        for name in Inputs.__dataclass_fields__:
            yield from file_paths(getattr(files, name))
    elif isinstance(files, Mapping):
        for key in sorted(files):
            yield from file_paths(files[key])
    else:
        for part in files:
            yield from file_paths(part)
