"""The ingest in order: what is to do, what was done before, and what each step needs."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from gssm_cube import blocks, cube
from gssm_cube.blocks import Client, Progress, Work
from gssm_cube.grid import Layout
from gssm_cube.ingest import bridges, extension, keys, lst, meteo, scratch, sensors, static
from gssm_cube.ingest import inputs as files
from gssm_cube.ingest import vegetation as composites
from gssm_cube.ingest.gaps import describe_gaps, floored_share
from gssm_cube.ingest.keys import FileKeys
from gssm_cube.sources import era5_land
from gssm_cube.statistics.years import first_held_day
from gssm_cube.storage import locations
from gssm_cube.storage.growth import end_growth
from gssm_cube.storage.locations import Location
from gssm_cube.storage.run_log import NO_LOG, RunLog
from gssm_cube.storage.stores import open_group
from gssm_cube.variables import Upsampling

logger = logging.getLogger(__name__)

Row = dict[str, str | int]
Stores = tuple[Location, Path]  # the cube, and what waits to go into it


@dataclass(frozen=True)
class Step:
    """One kind of task: its markers' store and stage, its units with their keys, its work."""

    name: str
    store: Location
    stage: str
    keys: Mapping[str, str]
    work: Work
    reads: Callable[[str], Sequence[str]] = lambda unit: ()  # units of the scratch

    def to_do(self) -> list[str]:
        """Units without a valid marker."""
        return blocks.not_done(self.store, self.stage, self.keys)

    def only(self, units: Iterable[str]) -> "Step":
        """Return the step for some of its units."""
        return replace(self, keys={unit: self.keys[unit] for unit in sorted(set(units))})


@dataclass(frozen=True)
class Means:
    """Who works for a run, and who hears of it."""

    client: Client | None
    progress: Progress
    log: RunLog


def harmonise(
    store: Location,
    layout: Layout,
    folders: Mapping[str, Any],
    *,
    upsampling: Upsampling = "bilinear",
    lst_filling: lst.Filling = lst.DEFAULT_FILLING,
    refit_climatology: bool = False,
    climate_years: tuple[int, int] | None = None,
    scratch_place: Path | None = None,
    client: Client | None = None,
    progress: Progress = blocks.silent,
    log: RunLog = NO_LOG,
) -> pd.DataFrame:
    """Build the feature cube from provider files, or what is missing of it.

    After a file has changed only the units that depend on it are made again. The climatology of
    LST, the climate, and the bridges from other sensors to Terra's, stay as they were fitted first.
    A cube of the layout's first days grows: readers see all the new days at once, at the end.

    Parameters
    ----------
    store : path or URL
        Feature cube; its markers lie beside it.
    layout : Layout
    folders : mapping
        Place of each source, see ``inputs.find_inputs``.
    upsampling : "bilinear" or "nearest"
        How meteorology at 0.1 deg becomes 1 km whenever the cube is read.
    lst_filling : "temporal" or "temporal_spatial"
        Whether gaps of LST also take what was seen round them on that day.
    refit_climatology : bool
        Fit the LST climatology and the bridges anew if files have changed since.
    climate_years : (first, last), optional
        Calendar years over which the climate of a place is the mean; by default those of the
        layout that are not held out as new years.
    scratch_place : Path, optional
        On a disk that all workers see; beside the cube by default, needed for a URL.
    client : distributed.Client, optional
    progress : callable
    log : RunLog
        Gets a row for each unit.

    Returns
    -------
    DataFrame
        One row a step: ``step``, ``units``, ``skipped`` (done before).

    Raises
    ------
    FileNotFoundError, ValueError
        Before any work: missing days, wrong units or grids, another cube at that place.
    """
    waiting = scratch_place or scratch_of(store)
    found = files.find_inputs(folders, layout)
    hashes = FileKeys(layout, found, upsampling)
    rows = []
    with blocks.locked(store, partial(_prepare, store, hashes)):
        held = extension.held_climate_years(store, refit_climatology)
        years = climate_years or held or default_climate_years(layout)
        fitting = extension.fitted_layout(store, layout, refit_climatology)
        extension.describe_memory(store, found.lead_days, years)
        means = Means(client, progress, log)
        rows.append(_run(_static_step(store, hashes), means))
        check_land(store)
        cube.note_floored_slopes(store, floored_share(store))
        fits = keys.fitted_digests(store, hashes, refit_climatology)
        sources = _scratch_steps((store, waiting), hashes)
        passes = _final_steps((store, waiting), hashes, fitting, fits, years, lst_filling)
        for stages, steps in passes:
            reading = [sources[stage] for stage in stages]
            rows += _run_pass(reading, steps, layout, means)
            fitted = {name for step in steps for name in (step.stage, *step.keys)}
            keys.freeze(store, {name: fits[name] for name in fits if name in fitted})
        end_growth(store)
        scratch.remove_scratch(waiting)
    logger.info("%s", describe_gaps(store))
    return pd.DataFrame(rows).groupby("step", sort=False, as_index=False).sum()


def _prepare(store: Location, hashes: FileKeys) -> None:
    """Create the empty cube, or get one that is there ready for what it lacks."""
    layout, soil = hashes.layout, era5_land.soil_names(hashes.found.era5_land)
    starts = files.composite_starts(layout)
    about = {"title": "GSSM features", "gssm_day": "UTC"}
    cube.create_cube(store, layout, starts, about, hashes.upsampling, soil)
    extension.describe_soil(store, soil)
    extension.lengthen_cube(store, layout, starts)
    blocks.remove_partial_files(store)


def default_climate_years(layout: Layout) -> tuple[int, int]:
    """Return the calendar years of a layout that a test on new years does not touch.

    Of one year nothing can be left out.
    """
    first, last, held = layout.first_day.year, layout.last_day.year, first_held_day(layout.time)
    return first, last if held is None else held.astype(object).year - 1


def _run_pass(
    sources: Sequence[Step],
    steps: Sequence[Step],
    layout: Layout,
    means: Means,
) -> Iterator[Row]:
    """Read into the scratch what the steps' units need, then run the steps; yield a row each."""
    needed = {read for step in steps for unit in step.to_do() for read in step.reads(unit)}
    for source in sources if needed else ():
        scratch.create_scratch(Path(source.store), layout)
        reading = source.only(needed)
        if reading.to_do():
            yield _run(reading, means)
    for step in steps:
        yield _run(step, means)


def scratch_of(store: Location) -> Path:
    """Return the place of a cube's scratch.

    Raises
    ------
    ValueError
        If the cube is at a URL.
    """
    if locations.is_url(store):
        raise ValueError(f"{store} is at a URL: give a place on disk for what waits to go there")
    return Path(f"{store}.scratch")


def _run(step: Step, means: Means) -> Row:
    """Run what is to do of one step."""
    units = step.to_do()
    skipped = len(step.keys) - len(units)
    blocks.let_redo(step.store, step.stage, units)
    logger.info("%s: %d to do, %d done before", step.name, len(units), skipped)
    folder = blocks.marker_folder(step.store, step.stage)
    with means.log.stage(step.name, dict.fromkeys(units, 0), skipped, folder) as log:
        blocks.run_units(
            step.work, units, stage=step.name, keys=step.keys,
            client=means.client, progress=means.progress, note=log.add,
        )  # fmt: skip
    return {"step": step.name, "units": len(units), "skipped": skipped}


def check_land(store: Location) -> None:
    """Raise if the box has no land at all."""
    if not any(marker["land"] for marker in blocks.read_markers(store, "static")):
        raise ValueError(f"{store} has no land: check the run's bounds and MERIT Hydro's tiles")


def land_tiles(store: Location, layout: Layout) -> list[str]:
    """Labels of the tiles with land, from the markers of the static step."""
    markers = (blocks.read_marker(store, "static", str(tile)) for tile in layout.tiles())
    return [marker["unit"] for marker in markers if marker and marker["land"]]


def _static_step(store: Location, hashes: FileKeys) -> Step:
    """Return the step of the static predictors: all tiles."""
    work = static.StaticTile(store, hashes.found, hashes.layout, "")
    return Step("static layers", store, "static", keys.static_keys(hashes), work)


def _scratch_steps(stores: Stores, hashes: FileKeys) -> dict[str, Step]:
    """Return the steps that read provider files into the scratch, by stage."""
    found, layout, (store, place) = hashes.found, hashes.layout, stores
    held = cube.reanalysis_of(open_group(store))
    soil = tuple(name for name in era5_land.soil_names(found.era5_land) if name in held)
    reading = scratch.MeteoDays(place, found.era5_land, layout, "", soil)
    works: dict[str, tuple[str, Work]] = {"meteo": ("ERA5-Land files", reading)}
    for name, lst_reader in sensors.lst_readers(found.lst, found.lst_partners).items():
        stage = sensors.lst_stage(lst_reader.sensor)
        works[stage] = (f"{name} files", scratch.LstDays(place, lst_reader, layout, ""))
    greener = sensors.vegetation_readers(found.vegetation, found.vegetation_partners)
    for name, reader in greener.items():
        stage = sensors.vegetation_stage(reader.sensor)
        works[stage] = (f"{name} files", scratch.VegetationComposite(place, reader, layout, ""))
    return {
        stage: Step(works[stage][0], place, stage, units, works[stage][1])
        for stage, units in keys.scratch_keys(hashes).items()
    }


def _final_steps(
    stores: Stores,
    hashes: FileKeys,
    fitting: Layout,
    fits: Mapping[str, str],
    years: tuple[int, int],
    filling: lst.Filling,
) -> Iterator[tuple[Sequence[str], Sequence[Step]]]:
    """Yield the steps that write the cube (tiles with land), with the scratch's stages they read.

    Blocks of LST follow the climatology, and with other sensors the bridges, which need it as well.
    """
    store, tiles = stores[0], land_tiles(stores[0], hashes.layout)
    land = keys.land_digests(store, tiles)
    fitted = fits["climatology"]
    learnt = replace(hashes, layout=fitting)
    cells = [_climate_step(store, learnt, years), _tair_step(store, fitting, fitted)]
    yield ["meteo"], [*_meteo_steps(stores, hashes), *cells]
    climatology = keys.climatology_keys(tiles, fitted, land)
    yield ["lst"], [_climatology_step(stores, fitting, climatology)]
    daily = _daily_step(stores, hashes, tiles, climatology, fits, filling)
    partners = tuple(hashes.found.lst_partners)
    stages = [sensors.lst_stage(sensor) for sensor in (*partners, "terra")]
    if partners:
        yield stages, [_bridge_step(stores, hashes, list(daily.keys), fits, "lst")]
    yield stages, [daily]
    partners = tuple(hashes.found.vegetation_partners)
    stages = [sensors.vegetation_stage(sensor) for sensor in ("terra", *partners)]
    if partners:
        yield stages, [_bridge_step(stores, hashes, tiles, fits, "vegetation")]
    yield stages, [_composite_step(stores, hashes, tiles, land, fits)]


def _meteo_steps(stores: Stores, hashes: FileKeys) -> Iterator[Step]:
    """Yield the steps of the meteorology: chunks of cells, each window after the one before."""
    layout, lead = hashes.layout, hashes.found.lead_days
    every = keys.meteo_keys(hashes, meteo.cell_units(layout))
    work = meteo.MeteoCells(*stores, layout, "", lead)
    runs = partial(keys.meteo_runs, layout)
    for window in layout.windows():
        units = {unit: key for unit, key in every.items() if keys.number_of(unit) == window.number}
        yield Step("meteorology", stores[0], "meteo", units, work, runs)
    if cube.reanalysis_of(open_group(stores[0])):
        units = keys.reanalysis_keys(hashes, meteo.cell_units(layout))
        own = meteo.ReanalysisCells(*stores, layout, "")
        yield Step("ERA5-Land's soil", stores[0], "reanalysis", units, own, runs)


def _climate_step(store: Location, hashes: FileKeys, years: tuple[int, int]) -> Step:
    """Return the step of the climate of places, which reads the cube alone."""
    layout = hashes.layout
    units = meteo.cell_units(layout, windows=False)
    windows = keys.meteo_keys(hashes, meteo.cell_units(layout))
    return Step(
        "climate", store, "climate", keys.climate_keys(windows, units, layout, years),
        meteo.ClimateCells(store, layout, years, ""),
    )  # fmt: skip


def _tair_step(store: Location, layout: Layout, fitted: str) -> Step:
    """Return the step of the air temperature's climatology, which reads the cube alone."""
    units = meteo.cell_units(layout, windows=False)
    return Step(
        "air temperature climatology", store, "tair_climatology",
        keys.climatology_keys(units, fitted, {}), lst.TairClimatology(store, layout, ""),
    )  # fmt: skip


def _climatology_step(stores: Stores, layout: Layout, climatology: dict[str, str]) -> Step:
    """Return the step of the LST climatology: tiles, over all days."""
    every = scratch.lst_units(layout)
    work = lst.LstClimatology(*stores, layout, "")
    return Step("LST climatology", stores[0], "climatology", climatology, work, lambda unit: every)


def _bridge_step(
    stores: Stores, hashes: FileKeys, labels: list[str], fits: Mapping[str, str], kind: str
) -> Step:
    """Return the step that fits other sensors' LST or vegetation to Terra's on a sample."""
    layout = hashes.layout
    place = (*stores, layout, labels, "")
    every = scratch.lst_units(layout) if kind == "lst" else scratch.vegetation_units(layout)
    work = bridges.LstBridge(*place) if kind == "lst" else bridges.VegetationBridge(*place)
    name = "LST bridge" if kind == "lst" else "vegetation bridge"
    return Step(name, stores[0], "bridge", keys.bridge_keys(fits, kind), work, lambda unit: every)


def _daily_step(
    stores: Stores,
    hashes: FileKeys,
    tiles: Sequence[str],
    climatology: dict[str, str],
    fits: Mapping[str, str],
    filling: lst.Filling,
) -> Step:
    """Return the step of the LST blocks, window by window."""
    layout, windows = hashes.layout, hashes.layout.windows()
    units = [f"{tile}_{window}" for window in windows for tile in tiles]
    reach = lst.REACH_PIXELS if filling == "temporal_spatial" else None
    partners = tuple(s for s in sensors.PARTNERS if s in hashes.found.lst_partners)
    return Step(
        "LST blocks", stores[0], "daily", keys.daily_keys(hashes, units, climatology, fits, reach),
        lst.DailyBlock(*stores, layout, "", partners, reach),
        lambda unit: keys.lst_runs(layout, windows[keys.number_of(unit)]),
    )  # fmt: skip


def _composite_step(
    stores: Stores,
    hashes: FileKeys,
    tiles: Sequence[str],
    land: dict[str, str],
    fits: Mapping[str, str],
) -> Step:
    """Return the step of the vegetation: tile-years of composites."""
    layout, every = hashes.layout, scratch.vegetation_units(hashes.layout)
    count = len(files.composite_starts(layout))
    units = composites.composite_units(layout, list(tiles), count)
    partners = tuple(s for s in sensors.PARTNERS if s in hashes.found.vegetation_partners)
    newest = files.newest_composite(hashes.found)
    return Step(
        "vegetation", stores[0], "composite", keys.composite_keys(hashes, units, land, fits),
        composites.CompositeTile(*stores, layout, "", newest, partners),
        lambda unit: every[keys.composite_reach(layout, keys.number_of(unit))],
    )  # fmt: skip
