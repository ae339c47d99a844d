"""All that a run needs, looked at before it starts: files, stations, forest, disk and time.

Reads names and headers. Costs are those of ``plan``; what is wrong with the files is told by the
doors through which the ingest goes.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gssm_cube import blocks, plan
from gssm_cube.blocks import Progress
from gssm_cube.cube import check_cube
from gssm_cube.download.remote_sources import local_sources
from gssm_cube.forest import find_preset, load_forest
from gssm_cube.ingest.findings import Finding
from gssm_cube.ingest.survey import Look, Workers, survey
from gssm_cube.insitu.archive import open_archive
from gssm_cube.insitu.harvest import group_members
from gssm_cube.insitu.ismn import parse_file_name
from gssm_cube.insitu.quality import Rules
from gssm_cube.insitu.tables import read_table
from gssm_cube.settings import Settings
from gssm_cube.sources.doors import told
from gssm_cube.storage import locations
from gssm_cube.storage.stores import exists, read_layout

MEMORY = "checked.json"  # of the run's folder: headers that were sound


@dataclass(frozen=True)
class Disk:
    """Bytes that a run will write at most at a time, that are written, and that are free.

    Stores at URLs take none of the disk's.
    """

    scratch: float
    cube: float
    product: float
    written: int
    free: int
    place: str

    @property
    def needed(self) -> float:
        """Bytes that are still to come."""
        return max(0.0, self.scratch + self.cube + self.product - self.written)


@dataclass(frozen=True)
class Report:
    """What a check found: a finding a source, costs, and whether the run can start."""

    findings: list[Finding]
    disk: Disk
    core_hours: dict[str, float]
    cores: int | None  # unknown where a scheduler elsewhere has them
    land_known: bool

    @property
    def can_start(self) -> bool:
        """Whether nothing keeps the run from starting."""
        return not any(finding.faults for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return all as JSON-like values."""
        return {
            "can_start": self.can_start,
            "sources": [finding.to_dict() for finding in self.findings],
            "disk": asdict(self.disk) | {"needed": self.disk.needed},
            "core_hours": self.core_hours,
            "cores": self.cores,
            "land_known": self.land_known,
        }


def check_run(settings: Settings, workers: Workers, version: str, progress: Progress) -> Report:
    """Look at all that a run needs.

    Parameters
    ----------
    settings : Settings
    workers : callable
        Gives the run's workers as a context; entered only if many files are to be opened.
    version : str
        Of the package.
    progress : callable

    Returns
    -------
    Report
    """
    memory = settings.folder / MEMORY
    looks, known = survey(
        local_sources(settings),
        settings.layout,
        known=_recall(memory),
        version=version,
        workers=workers,
        progress=progress,
    )
    _remember(memory, known)
    findings = [look.finding for look in looks.values()]
    findings.append(_look_at_archive(settings))
    if settings.stations.tables:
        findings.append(_look_at_tables(settings))
    if not locations.is_url(settings.cube) and exists(settings.cube):
        findings.append(_look_at_cube(settings))
    findings.append(_look_at_forest(settings))
    settings = _with_a_preset(settings)
    costs, land_known = _costs(settings, looks, progress)
    disk = _disk(settings, costs)
    findings.append(_look_at_disk(disk))
    cores = None if "://" in settings.cluster.kind else _cores(settings)
    return Report(findings, disk, plan.core_hours(settings, costs), cores, land_known)


# ---- what was sound before --------------------------------------------------------------------


def _recall(path: Path) -> dict[str, str]:
    """Return the hashes of headers that were sound; nothing if they cannot be read."""
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def _remember(path: Path, known: Mapping[str, str]) -> None:
    """Write the hashes down where there is a folder; a check makes none."""
    if path.parent.is_dir() and os.access(path.parent, os.W_OK):
        blocks.write_atomically(path, json.dumps(known, indent=0))


# ---- stations and forest ----------------------------------------------------------------------


def _look_at_archive(settings: Settings) -> Finding:
    """Look at the members of the ISMN archive by their names."""
    place, rules = settings.sources.ismn, settings.stations
    low, high = rules.depth
    finding = Finding("ISMN", str(place), wanted=f"soil moisture at {low:g}..{high:g} m")
    with told(finding.tell), open_archive(place) as members:
        groups = group_members(members)
        names = [parse_file_name(member) for group in groups.values() for member in group]
        known = [name for name in names if name is not None]
        depths = Rules(rules.depth)
        wanted = [n for n in known if n.variable == "sm" and depths.holds(n.depth)]
        finding.files = len(names)
        networks = len({name.network for name in known})
        finding.found = (
            f"{len(groups)} stations of {networks} networks, {len(wanted)} sensors at that depth"
        )
        if not wanted and len(known) == len(names):
            finding.add(
                f"{place} holds {len(names)} data files, none of soil moisture at {low:g}..{high:g}"
                " m; download that variable, or widen [stations] depth"
            )
    if place.is_file():
        finding.size = place.stat().st_size
    return finding


def _look_at_tables(settings: Settings) -> Finding:
    """Read the tables of stations: they are small, and a wrong cell shows only so."""
    tables = settings.stations.tables
    finding = Finding("station tables", ", ".join(map(str, tables)))
    finding.wanted = ", ".join(path.name for path in tables)
    found = []
    for path in tables:
        with told(finding.tell):
            table = read_table(path)
            found.append(f"{path.name}: {table['station'].nunique()} stations")
            finding.files, finding.size = finding.files + 1, finding.size + path.stat().st_size
    finding.found = "; ".join(found)
    return finding


def _look_at_cube(settings: Settings) -> Finding:
    """Say whether the cube that is there is one that these settings go on with."""
    finding = Finding("saved cube", str(settings.cube), wanted="the same tiles, first day and grid")
    with told(finding.tell):
        check_cube(settings.cube, settings.layout, settings.upsampling)
        days = read_layout(settings.cube)
        finding.found = f"{days.first_day} to {days.last_day}"
    return finding


def _look_at_forest(settings: Settings) -> Finding:
    """Compare a saved forest with its hashes; none is saved before the first training."""
    finding = Finding("saved forest", str(settings.forest))
    with told(finding.tell):
        preset = find_preset(settings.training.preset)
        finding.wanted = f"preset {preset.name}, {len(preset.features)} features"
        if not settings.forest.exists():
            finding.found = "none yet"
            return finding
        forest = load_forest(settings.forest, check=True)
        sizes = [path.stat().st_size for path in settings.forest.rglob("*") if path.is_file()]
        finding.files, finding.size = len(sizes), sum(sizes)
        finding.found = f"{forest.preset}: {forest.trees} trees as they were saved"
        if forest.preset != preset.name:
            finding.warn(
                f"{settings.forest} was trained as {forest.preset}, the settings ask for "
                f"{preset.name}; the run will train it anew"
            )
    return finding


# ---- disk and time ----------------------------------------------------------------------------


def _costs(
    settings: Settings, looks: Mapping[str, Look], progress: Progress
) -> tuple[plan.Plan, bool]:
    """Return the run's costs, and whether its land is known: else all is taken for land."""
    terrain, layout = looks["merit_hydro"], settings.layout
    sound = not terrain.finding.faults
    tiles = len(list(layout.tiles()))
    shares = [1.0] * tiles
    with told(terrain.finding.tell):
        for number, share in enumerate(plan.tile_shares(layout, terrain.found) if sound else ()):
            shares[number] = share
            progress("land", number + 1, tiles)
    land_known = not terrain.finding.faults
    findings = [look.finding for look in looks.values()]
    files, size = sum(f.files for f in findings), sum(f.size for f in findings)
    lst, vegetation = ({"viirs", "myd11a1"}, {"vnp13a2", "myd13a2"})
    sensors = (1 + len(lst & looks.keys()), 1 + len(vegetation & looks.keys()))
    return plan.make_plan(settings, shares, files, size, sensors), land_known


def _with_a_preset(settings: Settings) -> Settings:
    """Return settings whose costs can be told: an unknown preset is a fault of its own."""
    try:
        find_preset(settings.training.preset)
    except ValueError:
        training = settings.training.model_copy(update={"preset": "default"})
        return settings.model_copy(update={"training": training})
    return settings


def _disk(settings: Settings, costs: plan.Plan) -> Disk:
    """Compare what will be written with what is free where it goes."""
    place = settings.folder
    while not place.exists():
        place = place.parent
    stores = (settings.cube, settings.scratch, settings.product)
    local = [store for store in stores if not locations.is_url(store)]
    written = sum(found.size for store in local for found in locations.files(store))
    free = shutil.disk_usage(place).free
    cube, product = (
        0.0 if locations.is_url(store) else size
        for store, size in (
            (settings.cube, costs.cube_bytes), (settings.product, costs.product_bytes),
        )
    )  # fmt: skip
    return Disk(costs.scratch_bytes, cube, product, written, free, str(place))


def _look_at_disk(disk: Disk) -> Finding:
    """Say whether the run fits, and may be written."""
    finding = Finding("disk", disk.place)
    finding.wanted = f"about {plan.size(disk.needed)} more"
    finding.found = f"{plan.size(disk.free)} free"
    if disk.needed > disk.free:
        finding.add(
            f"{disk.place} has {plan.size(disk.free)} free, the run needs about "
            f"{plan.size(disk.needed)} (scratch {plan.size(disk.scratch)}, cube "
            f"{plan.size(disk.cube)}, product {plan.size(disk.product)}, less "
            f"{plan.size(disk.written)} that is written); free some, or set folder to another disk"
        )
    if not os.access(disk.place, os.W_OK):
        finding.add(f"{disk.place} may not be written; set folder to a place of yours")
    return finding


def _cores(settings: Settings) -> int:
    """Tasks that run at a time."""
    if settings.cluster.kind == "none":
        return 1
    return settings.cluster.workers or os.cpu_count() or 1
