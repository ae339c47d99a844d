"""The whole comparison: read, match, score, and write what was found."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from gssm_cube.blocks import Progress, silent
from gssm_cube.skill.resolution import cell_of, within_cells
from gssm_cube.validate.compare import (
    difference_rows,
    score_rows,
    sentences,
    station_rows,
    tables_of,
    winner,
)
from gssm_cube.validate.consistency import COLUMNS, autocorrelation_rows, change_rows
from gssm_cube.validate.findings import Findings
from gssm_cube.validate.matching import Matched, match
from gssm_cube.validate.references import irrigation_of, read_reference
from gssm_cube.validate.settings import Comparison
from gssm_cube.validate.triplets import median_triplets, triplet_table

logger = logging.getLogger(__name__)

FILES = {
    "scores": "scores.parquet",
    "stations": "station_scores.parquet",
    "differences": "differences.parquet",
    "triplets": "triplets.parquet",
    "triplet_medians": "triplet_medians.parquet",
    "consistency": "consistency.parquet",
    "autocorrelation": "autocorrelation.parquet",
    "resolution": "resolution.parquet",
}
RESOLVED = ("cells", "stations", "n", "spatial_r", "pattern_r", "change_r", "rmse", "coarse_rmse",
            "gain", "gain_stations")  # fmt: skip


def compare(settings: Comparison, *, progress: Progress = silent) -> Findings:
    """Compare products at stations.

    Parameters
    ----------
    settings : Comparison
    progress : callable

    Returns
    -------
    Findings

    Raises
    ------
    FileNotFoundError, ValueError
        If stations or a product cannot be read, or have no day in common.
    """
    reference = read_reference(settings)
    logger.info("compare: %d stations, %d days", len(reference.stations), len(reference.days))
    own = match(settings, reference, "own", progress=progress)
    found = {"own": compare_matched(own, settings)}
    if settings.coarse_degrees:
        coarse = match(settings, reference, "coarse", progress=progress)
        found["coarse"] = compare_matched(coarse, settings)
    result = _joined(found)
    steps = change_rows(own, settings.all_changes, draws=settings.draws, seed=settings.seed)
    result.tables["consistency"] = pd.concat([steps, _seams(settings, progress)], ignore_index=True)
    result.tables["autocorrelation"] = autocorrelation_rows(own, min_days=settings.min_days)
    result.tables["resolution"] = resolution_rows(own, settings.draws)
    return result


def compare_matched(matched: Matched, settings: Comparison) -> Findings:
    """Score what is matched on one grid, without a look at time or resolution."""
    grid, names = matched.grid, matched.names
    draws = {"draws": settings.draws, "seed": settings.seed}
    by_station, by_days = tables_of(matched, min_days=settings.min_days)
    differences = difference_rows(grid, by_station, **draws)
    triplets = triplet_table(matched.values, names, matched.columns, min_days=settings.min_days)
    tables = {
        "scores": score_rows(matched, by_station, by_days, **draws),
        "stations": station_rows(matched, by_station),
        "differences": differences,
        "triplets": triplets.assign(grid=grid),
        "triplet_medians": median_triplets(triplets, **draws).assign(grid=grid),
    }
    counts = {"common": int(matched.common.sum()), **matched.alone}
    return Findings(
        tables, matched, by_station, {grid: sentences(differences)}, {grid: winner(differences)},
        {grid: counts},
    )  # fmt: skip


def resolution_rows(matched: Matched, draws: int) -> pd.DataFrame:
    """Return what each product knows below 0.1 degrees, where stations stand close together.

    Parameters
    ----------
    matched : Matched
        On the products' own grids.
    draws : int
        Of the stations with replacement.

    Returns
    -------
    DataFrame
        ``product``, ``group`` ("all", "irrigated", "rainfed"), what `resolution.within_cells`
        tells, the ends of its intervals as ``..._low`` and ``..._high``, or ``skipped``.
    """
    close = _close_stations(matched.stations)
    irrigation = irrigation_of(close)
    groups: dict[str, pd.Index | None] = {"all": None}
    if irrigation.eq("irrigated").any():
        groups |= {group: close.index[irrigation.eq(group)] for group in ("irrigated", "rainfed")}
    rows = []
    for product in matched.products:
        held = matched.table(product, close.index)
        for group, members in groups.items():
            said = _resolved(within_cells(held, members=members, draws=draws))
            rows.append({"product": product, "group": group} | said)
    return pd.DataFrame(rows)


def write_findings(found: Findings, settings: Comparison) -> list[Path]:
    """Write the tables as Parquet, the NetCDF of QA4SM's layout, and the page.

    Parameters
    ----------
    found : Findings
    settings : Comparison

    Returns
    -------
    list of Path
        The page comes last.
    """
    from gssm_cube.validate.page import write_page  # late: matplotlib
    from gssm_cube.validate.qa4sm import write_qa4sm

    folder = settings.folder
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, file in FILES.items():
        if name in found.tables:
            found.tables[name].to_parquet(folder / file, index=False)
            paths.append(folder / file)
    paths.append(write_qa4sm(folder / "qa4sm.nc", found, settings))
    paths.append(write_page(folder / "validation.html", found, settings))
    logger.info("compare: %d files in %s", len(paths), folder)
    return paths


def _joined(found: dict[str, Findings]) -> Findings:
    """Put what was found on both grids into one."""
    own, parts = found["own"], list(found.values())
    tables = {
        name: pd.concat([part.tables[name] for part in parts], ignore_index=True)
        for name in own.tables
    }
    return Findings(
        tables, own.matched, own.by_station,
        {grid: said for part in parts for grid, said in part.sentences.items()},
        {grid: name for part in parts for grid, name in part.winners.items()},
        {grid: count for part in parts for grid, count in part.counts.items()},
    )  # fmt: skip


def _seams(settings: Comparison, progress: Progress) -> pd.DataFrame:
    """Look for seams in the product that the settings name, if they do."""
    store = settings.borders_of
    if store is None:
        return pd.DataFrame(columns=COLUMNS)
    from gssm_cube.replay import replayed  # late: most comparisons have neither cube nor forest
    from gssm_cube.validate.seams import seams_of_store

    control = None
    if settings.cube is not None:
        control = replayed(str(settings.cube), str(settings.forest))
    return seams_of_store(
        store, settings.all_changes,
        product=store.stem, control=control, seed=settings.seed, progress=progress,
    )  # fmt: skip


def _close_stations(stations: pd.DataFrame) -> pd.DataFrame:
    """Return the stations that share a cell of 0.1 degrees with another."""
    cell = pd.Series(cell_of(stations["lat"], stations["lon"]))
    return stations[cell.duplicated(keep=False).to_numpy()]


def _resolved(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known within cells as one flat row."""
    if "skipped" in said:
        return {"skipped": said["skipped"]}
    row = {name: said[name] for name in RESOLVED}
    for name, ends in said["interval"].items():
        row |= dict(zip((f"{name}_low", f"{name}_high"), ends or (None, None), strict=True))
    return row
