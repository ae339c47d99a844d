"""All that is wrong or missing in the files of a run, source by source, from names and headers.

The doors of ``inputs``, through which the ingest goes, tell here all that they would raise there.
Where a source has many files the door looks at the first only, as the ingest checks each again
when it reads it; the survey then opens them all, by the same functions.
"""

from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from gssm_cube import blocks
from gssm_cube.blocks import Client, Progress
from gssm_cube.grid import Layout
from gssm_cube.ingest import inputs, keys
from gssm_cube.ingest.findings import Finding, ranges
from gssm_cube.ingest.padded import Padded
from gssm_cube.ingest.payloads import ByDay, ByOverpass
from gssm_cube.sources import bedrock, era5_land, merit_hydro, modis, soilgrids, viirs
from gssm_cube.sources.day_files import DayFiles
from gssm_cube.sources.doors import Tell, told

Check = Callable[..., None]  # of (payload, tell=...)
Workers = Callable[[], AbstractContextManager[Client | None]]
FEW = 300  # units below which workers are not worth their start
PARTNERS = {  # sensors beside Terra but VIIRS LST: what looks for their files
    "myd11a1": inputs.find_lst_partners,
    "myd13a2": inputs.find_vegetation_partners,
    "vnp13a2": inputs.find_vegetation_partners,
}
BATCH = 512  # units, such as days of all tiles, that are sent out at a time


@dataclass
class Look:
    """A source's finding so far, and what is still to be opened: payloads by label."""

    finding: Finding
    found: Any
    check: Check | None = None
    payloads: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class HeaderCheck:
    """Task: the headers of some files; what is wrong comes back as text."""

    check: Check
    payloads: Mapping[str, Any]

    def __call__(self, unit: str) -> dict[str, Any]:
        """Check the files of a unit."""
        errors: list[Exception] = []
        self.check(self.payloads[unit], tell=errors.append)
        return {"faults": [str(error) for error in errors]}


def survey(
    folders: Mapping[str, Any],
    layout: Layout,
    *,
    known: Mapping[str, str],
    version: str,
    workers: Workers = nullcontext,
    progress: Progress = blocks.silent,
) -> tuple[dict[str, Look], dict[str, str]]:
    """Look at all gridded sources of a run.

    Parameters
    ----------
    folders : mapping
        As for ``inputs.find_inputs``.
    layout : Layout
    known : mapping
        Hashes of files whose headers were sound before, by source and unit.
    version : str
        Of the package: another one's checks may see more.
    workers : callable
        Gives a context with a client, or with None; entered only if many files are to be opened.
    progress : callable

    Returns
    -------
    looks : dict of str to Look
        By the source's key in ``folders``; VIIRS under ``viirs``.
    known : dict
        The same hashes as they are now.
    """
    looks = _look(folders, layout, progress)
    hashes = {
        (source, unit): blocks.digest(version, layout.to_dict(), inputs.fingerprint(payload))
        for source, look in looks.items()
        for unit, payload in look.payloads.items()
    }
    todo = [place for place, key in hashes.items() if known.get(" ".join(place)) != key]
    sound = set(hashes) - set(todo)
    with workers() if len(todo) >= FEW else nullcontext() as client:
        for source, look in looks.items():
            look.finding.headers = len(look.payloads)
            units = [unit for place, unit in todo if place == source]
            sound |= {(source, unit) for unit in _open_headers(look, units, client, progress)}
    return looks, {" ".join(place): hashes[place] for place in sorted(sound)}


def _look(folders: Mapping[str, Any], layout: Layout, progress: Progress) -> dict[str, Look]:
    """Look at the names of all sources, and at the headers that the doors read."""
    looks: dict[str, Look] = {}
    steps: dict[str, Callable[[], Look]] = {
        "era5_land": lambda: _look_at_meteo(folders["era5_land"], layout),
        "viirs": lambda: _look_at_viirs(folders, layout),
        **{name: partial(_look_at_partner, folders, name, layout) for name in PARTNERS},
        "mod11a1": lambda: _look_at_lst(
            folders["mod11a1"],
            layout,
            inputs.days_of({"viirs": looks["viirs"].found, "aqua": looks["myd11a1"].found}),
        ),
        "mod13a2": lambda: _look_at_vegetation(
            folders["mod13a2"],
            layout,
            inputs.starts_of({name: looks[name].found for name in ("myd13a2", "vnp13a2")}),
        ),
        "soilgrids": lambda: _look_at_soil(folders["soilgrids"], layout),
        "bedrock": lambda: _look_at_bedrock(folders["bedrock"], layout),
        "merit_hydro": lambda: _look_at_terrain(
            folders["merit_hydro"], layout, looks["bedrock"].found
        ),
        "wtd": lambda: _look_at_water_table(folders["wtd"], layout),
    }
    for source, step in steps.items():
        progress("sources", len(looks), len(steps))
        looks[source] = step()
    progress("sources", len(looks), len(steps))
    return {source: look for source, look in looks.items() if look.finding.place}


def _open_headers(
    look: Look, units: list[str], client: Client | None, progress: Progress
) -> list[str]:
    """Open the files of units, take what is wrong as faults, and return the sound units."""
    sound = []
    for start in range(0, len(units), BATCH):

        def step(stage: str, done: int, total: int, start: int = start) -> None:
            progress(stage, start + done, len(units))

        sound += _open_batch(look, units[start : start + BATCH], client, step)
    return sound


def _open_batch(
    look: Look, units: list[str], client: Client | None, progress: Progress
) -> list[str]:
    """Open the files of some units; only their names travel to the workers."""
    if look.check is None or not units:
        return []
    finding = look.finding
    work = HeaderCheck(look.check, {unit: look.payloads[unit] for unit in units})
    stage = f"headers, {finding.source}"
    try:
        status = blocks.run_units(work, units, stage=stage, client=client, progress=progress)
    except blocks.UnitsFailed as error:  # what no door foresaw
        for unit, text in zip(error.failed["unit"], error.failed["error"], strict=True):
            finding.add(f"{finding.source}, {unit}: {text}; look at these files")
        failed = set(error.failed["unit"])
        return _open_batch(look, [u for u in units if u not in failed], client, progress)
    for text in (text for texts in status["faults"] for text in texts):
        finding.add(text)
    return [unit for unit, texts in zip(status["unit"], status["faults"], strict=True) if not texts]


# ---- sources with days ------------------------------------------------------------------------


def _measure(finding: Finding, paths: Iterable[Path]) -> None:
    """Count files that are there, and bytes."""
    for path in paths:
        with suppress(FileNotFoundError):
            finding.size += path.stat().st_size
            finding.files += 1


def _tell_days(finding: Finding, wanted: list[date]) -> Tell:
    """Return what takes a door's errors: missing days are listed, the rest are faults."""

    def tell(error: Exception) -> None:
        if isinstance(error, inputs.MissingDays):
            finding.missing = ranges(error.days, wanted)
        finding.tell(error)

    return tell


def _look_at_meteo(place: Any, layout: Layout) -> Look:
    """Look at ERA5-Land, with its days before the first."""
    days: list[date] = inputs.meteo_days(layout).astype(object).tolist()
    finding = Finding(
        "ERA5-Land",
        str(place),
        wanted=f"{days[0]} to {days[-1]} and 00 UTC after ({inputs.LEAD_DAYS} days of lead-in)",
    )
    after = days[-1] + timedelta(1)  # whose first hour closes the last day's totals
    files = inputs.find_meteo(place, layout, _tell_days(finding, [*days, after]))
    _measure(finding, set(inputs.file_paths(files)))
    if files:
        first, last = min(f.first for f in files), max(f.last for f in files)
        names = sorted({name for file in files for name in file.names})
        told_of = [", ".join(names), era5_land.lacking_soil(files)]
        span = f"{first.astype('M8[D]')} to {last.astype('M8[D]')}"
        finding.found = f"{span}, {'; '.join(filter(None, told_of))}"
    first_day, last_day = inputs.meteo_days(layout)[[0, -1]]
    twice = era5_land.repeated_days(files, first_day, last_day).astype(object).tolist()
    if twice:
        finding.warn(
            f"hours of {len(twice)} days are in more than one file: "
            f"{', '.join(ranges(twice, days)[:5])}; the ingest compares their values and stops if "
            "they differ"
        )
    payloads = {str(file.path): file for file in files}
    return Look(finding, files, partial(_check_cells, layout=layout), payloads)


def _check_cells(file: era5_land.MeteoFile, layout: Layout, tell: Tell) -> None:
    """Tell if a file lacks cells of the layout."""
    with told(tell):
        era5_land.check_cells(file, layout)


def _look_at_lst(folder: Path, layout: Layout, elsewhere: Set[date]) -> Look:
    """Look at MOD11A1: days, outages, and tiles that are absent on single days."""
    days: list[date] = layout.time.astype(object).tolist()
    finding = Finding("MOD11A1", str(folder), wanted=f"{days[0]} to {days[-1]}, {len(days)} days")
    files = inputs.find_lst(folder, layout, elsewhere, _tell_days(finding, days))
    out = [day for day in days if day not in files and modis.in_outage(day)]
    finding.outages = ranges(out, days)
    _describe_modis(finding, files, layout)
    return Look(finding, files, modis.check_tiles, ByDay(files))


def _look_at_vegetation(folder: Path, layout: Layout, elsewhere: Set[date]) -> Look:
    """Look at MOD13A2: all composites that the smoother reaches."""
    starts: list[date] = inputs.vegetation_starts(layout).astype(object).tolist()
    before, after = inputs.COMPOSITE_REACH
    finding = Finding(
        "MOD13A2",
        str(folder),
        wanted=f"{starts[0]} to {starts[-1]}, {len(starts)} composites ({before} days of lead-in, "
        f"{after} of lead-out)",
    )
    files = inputs.find_vegetation(folder, layout, elsewhere, _tell_days(finding, starts))
    _describe_modis(finding, files, layout)
    return Look(finding, files, modis.check_tiles, ByDay(files))


def _describe_modis(finding: Finding, files: modis.Files, layout: Layout) -> None:
    """Say which days and tiles are there, and warn of tiles that are not."""
    _measure(finding, inputs.file_paths(files))
    if not files:
        return
    held = sorted(set().union(*set(files.parts.values())) - {""})
    finding.found = f"{min(files)} to {max(files)}, {len(files)} days, {_some(held) or 'cut-outs'}"
    gaps = modis.missing_tiles(files)
    if gaps:
        first = [f"{day} {', '.join(tiles)}" for day, tiles in list(gaps.items())[:3]]
        finding.warn(
            f"{sum(map(len, gaps.values()))} tiles are absent on {len(gaps)} days on which others "
            f"are there: {'; '.join(first)}; they become gaps: download them if NASA has them"
        )
    never = sorted(inputs.modis_tiles(layout) - set(held)) if held else []
    if never:
        finding.warn(
            f"tiles {_some(never)} of the run's box are there on no day; all is well if they hold "
            "no land, else download them"
        )


def _some(names: list[str], most: int = 6) -> str:
    """Return the first of some names."""
    more = f", ... {len(names)} in all" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _look_at_viirs(folders: Mapping[str, Any], layout: Layout) -> Look:
    """Look at VIIRS, if it is named: days that lack an overpass are gaps."""
    names = [product.name.lower() for product in viirs.LST_PRODUCTS.values()]
    place = ", ".join(str(folders[name]) for name in names if name in folders)
    days: list[date] = layout.time.astype(object).tolist()
    finding = Finding("VIIRS", place, wanted=f"what there is of {days[0]} to {days[-1]}")
    found: dict[str, viirs.Files] = {}
    with told(finding.tell):
        found = inputs.find_viirs(folders, layout, finding.tell)
    _measure(finding, inputs.file_paths(found))
    seen = inputs.days_of({"viirs": found})
    if seen:
        finding.found = f"{min(seen)} to {max(seen)}, {len(seen)} days"
        finding.missing = ranges([day for day in days if day not in seen], days)
    return Look(finding, found, _check_viirs, ByOverpass(found))


def _look_at_partner(folders: Mapping[str, Any], name: str, layout: Layout) -> Look:
    """Look at Aqua, or the vegetation of VIIRS, if named: it stands in where Terra saw nothing."""
    finding = Finding(name.upper(), str(folders.get(name, "")), wanted="what there is")
    files = DayFiles(Path(), {}, {})
    if name in folders:
        with told(finding.tell):
            [files] = PARTNERS[name]({name: folders[name]}, layout, finding.tell).values()
    _measure(finding, inputs.file_paths(files))
    if files:
        finding.found = f"{min(files)} to {max(files)}, {len(files)} days"
    check: Check = modis.check_tiles
    if name == "vnp13a2":
        check = partial(viirs.check_files, product=viirs.VNP13A2)
    return Look(finding, files, check, ByDay(files))


def _check_viirs(payload: Mapping[str, dict[str, Path]], tell: Tell) -> None:
    """Tell what is wrong with the files of an overpass."""
    for overpass, files in payload.items():
        viirs.check_files(files, viirs.LST_PRODUCTS[overpass], tell)


# ---- static sources ---------------------------------------------------------------------------


def _look_at_soil(folder: Path, layout: Layout) -> Look:
    """Look at the layers of SoilGrids."""
    finding = Finding("SoilGrids", str(folder), wanted=", ".join(soilgrids.LAYERS))
    files = inputs.find_soil(folder, layout, finding.tell)
    tiles: list[Path] = []
    with told(finding.tell):
        tiles = inputs.soil_tiles(files, layout.bounds)
    _measure(finding, {*files.values(), *tiles})
    finding.found = ", ".join(files)
    finding.missing = [name for name in soilgrids.LAYERS if name not in files]
    return Look(finding, files)


def _look_at_terrain(folder: Path, layout: Layout, depth: Path | None) -> Look:
    """Look at MERIT Hydro: a tile that is not there counts as sea."""
    boxes = (Padded(layout, tile).bounds for tile in layout.tiles())
    wanted = sorted({name for box in boxes for name in keys.merit_tiles(box)})
    finding = Finding("MERIT Hydro", str(folder), wanted=_some(wanted))
    every = inputs.find_terrain(folder, layout, finding.tell)
    files = {name: every[name] for name in wanted if name in every}
    _measure(finding, set(inputs.file_paths(files)))  # a package holds many tiles
    finding.found = _some(list(files))
    absent = [name for name in wanted if name not in every]
    sea = [name for name in absent if depth is None or not _has_bedrock(depth, name)]
    if sea:
        finding.warn(
            f"tiles {_some(sea)} are not there; they count as sea: download them if they hold land"
        )
    finding.missing = [name for name in absent if name not in sea]
    if finding.missing:
        finding.warn(
            f"tiles {_some(finding.missing)} are not there, though the map of bedrock has land in "
            "them; they count as sea: download them"
        )
    payloads = {name: {name: layers} for name, layers in files.items()}
    return Look(finding, files, _check_terrain, payloads)


def _has_bedrock(path: Path, name: str) -> bool:
    """Whether the map of bedrock has a value within a tile of MERIT Hydro."""
    try:
        return bedrock.has_land(path, merit_hydro.tile_bounds(name))
    except ValueError:  # it does not reach there
        return False


def _check_terrain(payload: merit_hydro.Files, tell: Tell) -> None:
    """Tell what is wrong with a tile of MERIT Hydro."""
    for name, layers in payload.items():
        merit_hydro.check_tile(name, layers, tell)


def _look_at_water_table(folder: Path, layout: Layout) -> Look:
    """Look at the files of the water table."""
    finding = Finding("water table", str(folder), wanted="the continents of this region")
    files = inputs.find_water_table(folder, layout, finding.tell)
    _measure(finding, set(files))
    finding.found = _some([path.stem for path in files])
    return Look(finding, files)


def _look_at_bedrock(folder: Path, layout: Layout) -> Look:
    """Look at the depth to bedrock."""
    finding = Finding("bedrock", str(folder), wanted=bedrock.FILE_NAME)
    path = None
    with told(finding.tell):
        path = inputs.find_bedrock(folder, layout)
    _measure(finding, [path] if path else [])
    finding.found = path.name if path else ""
    return Look(finding, path)
