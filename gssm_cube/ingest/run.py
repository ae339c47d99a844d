"""The ingest in order: what is to do, what was done before, and what each step needs."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gssm_cube import blocks, cube
from gssm_cube.blocks import Client, Progress, Work, digest
from gssm_cube.grid import Layout
from gssm_cube.ingest import inputs as files
from gssm_cube.ingest import lst, meteo, scratch, static, viirs
from gssm_cube.ingest import vegetation as composites
from gssm_cube.ingest.inputs import fingerprint
from gssm_cube.interpolate import Upsampling
from gssm_cube.stores import open_group
from gssm_cube.variables import PREDICTORS

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Step:
    """One kind of task: its markers' store and stage, its units, its key and its work."""

    name: str
    store: Path
    stage: str
    units: Sequence[str]
    key: str
    work: Callable[[str], Work]

    def to_do(self) -> list[str]:
        """Units without a valid marker."""
        done = (blocks.is_done(self.store, self.stage, unit, self.key) for unit in self.units)
        return [unit for unit, ready in zip(self.units, done, strict=True) if not ready]


def harmonise(
    store: Path,
    layout: Layout,
    folders: Mapping[str, Path],
    *,
    upsampling: Upsampling = "bilinear",
    client: Client | None = None,
    progress: Progress = blocks.silent,
) -> pd.DataFrame:
    """Build the feature cube from provider files, or what is missing of it.

    Parameters
    ----------
    store : Path
        Feature cube; markers and scratch lie beside it.
    layout : Layout
    folders : mapping
        Folder of each source, see ``inputs.find_inputs``.
    upsampling : "bilinear" or "nearest"
        How meteorology at 0.1 deg becomes 1 km whenever the cube is read.
    client : distributed.Client, optional
    progress : callable

    Returns
    -------
    DataFrame
        One row a step: ``step``, ``units``, ``skipped`` (done before).

    Raises
    ------
    FileNotFoundError, ValueError
        Before any work: missing days, wrong units or grids, another cube at that place.
    """
    found = files.find_inputs(folders, layout)
    starts = files.composite_starts(layout)
    about = {"title": "GSSM features", "gssm_day": "UTC"}
    cube.create_cube(store, layout, starts, about, upsampling)
    rows = []
    with blocks.locked(store):
        blocks.remove_partial_files(store)
        rows.append(_run(_static_step(store, layout, found), client, progress))
        check_land(store)
        final = _final_steps(store, layout, found, len(starts))
        if any(step.to_do() for step in final):
            for step in _scratch_steps(store, layout, found):
                rows.append(_run(step, client, progress))
        for step in final:
            rows.append(_run(step, client, progress))
        scratch.remove_scratch(scratch_of(store))
    logger.info("%s", describe_gaps(store))
    return pd.DataFrame(rows)


def scratch_of(store: Path) -> Path:
    """Return the place of a cube's scratch."""
    return Path(f"{store}.scratch")


def _run(step: Step, client: Client | None, progress: Progress) -> dict[str, str | int]:
    """Run what is to do of one step."""
    units = step.to_do()
    skipped = len(step.units) - len(units)
    logger.info("%s: %d to do, %d done before", step.name, len(units), skipped)
    blocks.run_units(step.work(step.key), units, stage=step.name, client=client, progress=progress)
    return {"step": step.name, "units": len(units), "skipped": skipped}


def describe_gaps(store: Path) -> str:
    """Say what was filled and what is missing, from the markers."""
    static, daily = (_markers(store, stage) for stage in ("static", "daily"))
    land, filled, lacking = (sum(m[name] for m in static) for name in ("land", "filled", "lacking"))
    names = ("valid", "day_filled", "night_filled", "missing")
    valid, day, night, missing = (sum(m[name] for m in daily) for name in names)
    # Markers of cubes that were built before VIIRS was known do not count it.
    from_viirs = sum(m.get(name, 0) for m in daily for name in ("day_viirs", "night_viirs"))
    pixel_days = max(valid + missing, 1)
    return (
        f"static: {land} land pixels, {filled} filled from nearby land, {lacking} lack a layer; "
        f"LST: {day / pixel_days:.0%} of day and {night / pixel_days:.0%} of night values filled, "
        f"{from_viirs / (2 * pixel_days):.0%} from VIIRS, "
        f"{missing} of {pixel_days} pixel-days missing"
    )


def _markers(store: Path, stage: str) -> list[dict[str, Any]]:
    """All markers of a stage."""
    folder = blocks.marker_folder(store, stage)
    found = (blocks.read_marker(store, stage, path.stem) for path in sorted(folder.glob("*.json")))
    return [marker for marker in found if marker is not None]


def check_land(store: Path) -> None:
    """Raise if the box has no land at all."""
    if not land_tiles(store):
        raise ValueError(f"{store} has no land: check the run's bounds and MERIT Hydro's tiles")


def land_tiles(store: Path) -> list[str]:
    """Labels of the tiles with land, from the markers of the static step."""
    return [marker["unit"] for marker in _markers(store, "static") if marker["land"]]


def _packings() -> list[str]:
    """Packings, as far as keys depend on them."""
    return [f"{name} {variable.packing}" for name, variable in PREDICTORS.items()]


def _static_step(store: Path, layout: Layout, found: files.Inputs) -> Step:
    """Return the step of the static predictors: all tiles."""
    sources = (found.soilgrids, found.merit_hydro, found.wtd, found.bedrock)
    key = digest(cube.FORMAT, layout.to_dict(), fingerprint(sources), _packings())
    units = [str(tile) for tile in layout.tiles()]
    return Step(
        "static layers", store, "static", units, key,
        lambda key: static.StaticTile(store, found, layout, key),
    )  # fmt: skip


def _scratch_steps(store: Path, layout: Layout, found: files.Inputs) -> list[Step]:
    """Return the steps that read provider files into the scratch."""
    place = scratch_of(store)
    scratch.create_scratch(place, layout)
    era5_key = digest(layout.to_dict(), fingerprint(found.era5_land))
    lst_key = digest(layout.to_dict(), fingerprint(found.lst))
    vegetation_key = digest(layout.to_dict(), fingerprint(found.vegetation))
    return [
        *_viirs_steps(place, layout, found),
        Step(
            "ERA5-Land files", place, "meteo", scratch.meteo_units(layout), era5_key,
            lambda key: scratch.MeteoDays(place, found.era5_land, layout, key),
        ),
        Step(
            "MOD11A1 files", place, "lst", scratch.lst_units(layout), lst_key,
            lambda key: scratch.LstDays(place, found.lst, layout, key),
        ),
        Step(
            "MOD13A2 files", place, "vegetation", scratch.vegetation_units(layout),
            vegetation_key,
            lambda key: scratch.VegetationComposite(place, found.vegetation, layout, key),
        ),
    ]  # fmt: skip


def _viirs_steps(place: Path, layout: Layout, found: files.Inputs) -> list[Step]:
    """Return the step that reads VIIRS into the scratch, if the run has it."""
    if not found.lst_viirs:
        return []
    viirs.create_viirs(place, layout)
    key = digest(layout.to_dict(), fingerprint(found.lst_viirs))
    return [
        Step(
            "VNP21A1 files", place, "viirs", scratch.lst_units(layout), key,
            lambda key: viirs.ViirsDays(place, found.lst_viirs, layout, key),
        )
    ]  # fmt: skip


def _bridge_steps(
    store: Path, layout: Layout, found: files.Inputs, day_blocks: list[str], key: str
) -> list[Step]:
    """Return the step that fits VIIRS to MODIS, if the run has it."""
    if not found.lst_viirs:
        return []
    return [
        Step(
            "LST bridge", store, "bridge", ["all"], key,
            lambda key: viirs.LstBridge(store, scratch_of(store), layout, day_blocks, key),
        )
    ]  # fmt: skip


def _final_steps(store: Path, layout: Layout, found: files.Inputs, n_composites: int) -> list[Step]:
    """Return the steps that write the cube from the scratch: tiles with land only."""
    place, tiles = scratch_of(store), land_tiles(store)
    land = blocks.stage_digest(store, "static", (str(tile) for tile in layout.tiles()))
    # Readers refine the cells, so what they see depends on how.
    how = cube.upsampling_of(open_group(store))
    meteo_key = digest(
        cube.FORMAT, layout.to_dict(), fingerprint(found.era5_land), _packings(), how
    )
    lst_key = digest(meteo_key, land, fingerprint(found.lst))
    # Without VIIRS the key is as ever: cubes that were built before stay done.
    block_key = digest(lst_key, fingerprint(found.lst_viirs)) if found.lst_viirs else lst_key
    vegetation_key = digest(land, layout.to_dict(), fingerprint(found.vegetation), _packings())
    day_blocks = [f"{tile}_{window}" for window in layout.windows() for tile in tiles]
    years = composites.composite_units(layout, tiles, n_composites)
    return [
        Step(
            "meteorology", store, "meteo", meteo.cell_units(layout), meteo_key,
            lambda key: meteo.MeteoCells(store, place, layout, key),
        ),
        Step(
            "air temperature climatology", store, "tair_climatology",
            meteo.cell_units(layout, windows=False), meteo_key,
            lambda key: lst.TairClimatology(store, layout, key),
        ),
        Step(
            "LST climatology", store, "climatology", tiles, lst_key,
            lambda key: lst.LstClimatology(store, place, layout, key),
        ),
        *_bridge_steps(store, layout, found, day_blocks, block_key),
        Step(
            "LST blocks", store, "daily", day_blocks, block_key,
            lambda key: lst.DailyBlock(store, place, layout, key, bool(found.lst_viirs)),
        ),
        Step(
            "vegetation", store, "composite", years, vegetation_key,
            lambda key: composites.CompositeTile(store, place, layout, key),
        ),
    ]  # fmt: skip
