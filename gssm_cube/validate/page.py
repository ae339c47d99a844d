"""The page of a comparison: one HTML file that needs nothing else, and its figures as PNG."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from gssm_cube.plots.exhibits import Exhibit
from gssm_cube.skill.score_rows import number
from gssm_cube.statistics.bootstrap import LEAST_STATIONS
from gssm_cube.validate import plots
from gssm_cube.validate.compare import best_products
from gssm_cube.validate.findings import Findings
from gssm_cube.validate.settings import Comparison

MEASURES = {  # score: title, digits
    "station_ubrmse": ("ubRMSD", 4), "station_rmse": ("RMSD", 4), "station_bias": ("bias", 4),
    "station_r": ("r", 3), "station_spearman_r": ("Spearman r", 3),
    "station_anomaly_r": ("anomaly r", 3), "station_climatology_r": ("climatology r", 3),
    "station_kge": ("KGE", 3), "rmse": ("RMSD", 4), "ubrmse": ("ubRMSD", 4), "r": ("r", 3),
}  # fmt: skip
STRATUM_MEASURES = ("station_ubrmse", "station_r", "station_anomaly_r", "station_bias")
STRATA = {"network": "network", "koeppen": "climate", "land_cover": "land cover",
          "irrigation": "irrigation", "season": "season", "ground": "ground"}  # fmt: skip
RESOLVED = {"stations": 0, "cells": 0, "spatial_r": 2, "pattern_r": 2, "change_r": 2, "rmse": 4,
            "coarse_rmse": 4, "gain": 2}  # fmt: skip
SERIES = 3  # stations shown where the settings choose none


def write_page(path: Path, found: Findings, settings: Comparison) -> Path:
    """Write the page of a comparison; the PNG files go to ``figures`` beside it.

    Parameters
    ----------
    path : Path
    found : Findings
    settings : Comparison

    Returns
    -------
    Path
    """
    exhibits = list(_exhibits(found, settings))
    folder = path.parent / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    for exhibit in exhibits:
        (folder / f"{exhibit.name}.png").write_bytes(exhibit.image)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gssm_cube"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["number"] = number
    text = environment.get_template("validation.html.j2").render(
        title=settings.title,
        headline=headline(found),
        facts=_facts(found, settings),
        grids=_grids(found),
        strata=list(_strata(found.tables["scores"])),
        triplets=_triplets(found.tables["triplet_medians"]),
        consistency=_records(found.tables["consistency"]),
        resolution=list(_resolution(found.tables["resolution"])),
        resolution_titles=list(RESOLVED),
        stratum_measures=[MEASURES[name][0] for name in STRATUM_MEASURES],
        exhibits=exhibits,
    )
    path.write_text(text, encoding="utf-8")
    return path


def headline(found: Findings) -> str:
    """Return the first sentence: which product is significantly nearest to the stations."""
    products = found.matched.products
    days, count = found.counts["own"]["common"], len(found.matched.stations)
    judged = f"{days:,} common station-days of {count} stations"
    if len(products) == 1:
        return f"{products[0]} was judged on {judged}."
    if best := found.winners["own"]:
        return (
            f"By the ubRMSD of the stations {best} is significantly nearer to them than every "
            f"other product, on {judged}."
        )
    differences = found.tables["differences"]
    if not (differences["grid"] == "own").any():
        scored = int(next(iter(found.by_station.values()))["rmse"].notna().sum())
        return (
            f"Nothing can be said of which product is nearer: {scored} stations have days enough, "
            f"at least {LEAST_STATIONS} are needed; {judged}."
        )
    return (
        f"By the ubRMSD of the stations no product is significantly nearer than all, on {judged}."
    )


# ---- tables ---------------------------------------------------------------------------------


def _facts(found: Findings, settings: Comparison) -> dict[str, str]:
    """Return what the reader must know of the comparison."""
    days = found.matched.days[np.flatnonzero(found.matched.common.any(axis=0))]
    counts = found.counts["own"]
    alone = ", ".join(f"{name} {counts[name]:,}" for name in found.matched.products)
    facts = {
        "days": f"{days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d}",
        "station-days of each product": alone,
        "station-days in common": f"{counts['common']:,}",
        "least days of a station": str(settings.min_days),
    }
    if "coarse" in found.counts:
        degrees = f"{settings.coarse_degrees:g} degrees"
        facts["common grid"] = f"{degrees}, {found.counts['coarse']['common']:,} cell-days"
    return facts


def _grids(found: Findings) -> list[dict[str, Any]]:
    """Scores and verdicts on each grid: a row a score, a column a product."""
    titles = {"own": "Each product on its own grid", "coarse": "All on a common coarse grid"}
    scores = found.tables["scores"]
    grids = []
    for grid, said in found.sentences.items():
        chosen = scores[(scores["grid"] == grid) & (scores["stratum"] == "all")]
        parts = {str(name): part for name, part in chosen.groupby("product", sort=False)}
        columns = [_cells(part, MEASURES) for part in parts.values()]
        rows = [
            {"name": title, "of": "pooled days" if pooled else "median of the stations",
             "cells": [column[place] for column in columns]}
            for place, (title, _, pooled) in enumerate(
                (*about, not name.startswith("station_")) for name, about in MEASURES.items()
            )
        ]  # fmt: skip
        counts = chosen.groupby("product", sort=False)[["days", "stations"]].first()
        grids.append({
            "title": titles[grid], "products": list(parts), "rows": rows, "sentences": said,
            "days": number(counts["days"].iloc[0], 0) if len(counts) else "0",
            "stations": number(counts["stations"].iloc[0], 0) if len(counts) else "0",
        })  # fmt: skip
    return grids


def _cells(part: pd.DataFrame, names: Any) -> list[dict[str, str]]:
    """Value and interval of some scores as text."""
    values = part.set_index("score").to_dict("index")
    cells = []
    for name in names:
        row = values.get(name, {})
        known = np.isfinite([row.get("low", np.nan), row.get("high", np.nan)]).all()
        between = f"{number(row['low'], 3)} to {number(row['high'], 3)}" if known else ""
        cells.append({"value": number(row.get("value"), MEASURES[name][1]), "between": between})
    return cells


def _strata(scores: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Rows of the strata, products side by side."""
    chosen = scores[(scores["grid"] == "own") & (scores["stratum"] != "all")]
    for (stratum, group), part in chosen.groupby(["stratum", "group"], sort=False):
        if not part["stations"].any():
            continue
        rows = [
            {"name": product, "stations": number(of["stations"].iloc[0], 0),
             "cells": [cell["value"] for cell in _cells(of, STRATUM_MEASURES)]}
            for product, of in part.groupby("product", sort=False)
        ]  # fmt: skip
        yield {"title": f"{STRATA[str(stratum)]} {group}", "rows": rows}


def _triplets(medians: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the triple collocation: error and correlation with the truth."""
    rows = []
    chosen = medians[medians["grid"] == "own"]
    for (triplet, column), part in chosen.groupby(["triplet", "column"], sort=False):
        by = part.set_index("measure").to_dict("index")
        cells = []
        for measure, digits in (("err_std", 4), ("r_truth", 3), ("snr_db", 1)):
            row = by[measure]
            known = np.isfinite([row["low"], row["high"]]).all()
            ends = f"{number(row['low'], digits)} to {number(row['high'], digits)}" if known else ""
            cells.append({"value": number(row["value"], digits), "between": ends})
        rows.append({"triplet": str(triplet).replace("|", ", "), "name": column, "cells": cells,
                     "stations": number(by["err_std"]["stations"], 0)})  # fmt: skip
    return rows


def _resolution(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Rows of what is known within a cell."""
    for row in _records(table):
        known = row.get("skipped") is None or row.get("skipped") != row.get("skipped")
        cells = [number(row.get(name), digits) for name, digits in RESOLVED.items()]
        yield {"name": f"{row['product']}, {row['group']} stations",
               "skipped": None if known else row["skipped"], "cells": cells}  # fmt: skip


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as mappings by name."""
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


# ---- figures --------------------------------------------------------------------------------


def _exhibits(found: Findings, settings: Comparison) -> Iterator[Exhibit]:
    """Figures with their titles and captions."""
    stations, products = found.matched.stations, found.matched.products
    scored = {name: table[table["r"].notna()] for name, table in found.by_station.items()}
    if any(len(table) for table in scored.values()):
        yield Exhibit.of(
            "boxes", plots.box_plots(scored), title="How the stations' scores spread",
            caption="Box: half of the stations, with the median; whiskers: 5th to 95th percentile. "
            "All products on the same station-days.",
        )  # fmt: skip
        yield Exhibit.of(
            "score_maps", plots.score_maps(scored, stations), title="Correlation at each station",
            caption="Pearson's r on the common days, one scale for all maps.",
        )  # fmt: skip
    best = best_products(scored)
    if len(products) > 1 and len(best):
        yield Exhibit.of(
            "winners", plots.winner_map(best, stations, products),
            title="The best product at each station",
            caption="By Pearson's r, in brackets the number of stations. Near ties count as well: "
            "the differences above tell what is significant.",
        )  # fmt: skip
    for place, station in enumerate(_shown(found, settings), start=1):
        yield Exhibit.of(
            f"series_{place}", plots.station_series(_series_of(found, station), products),
            title=f"Series of {station}",
            caption="Only days that all products and the station have.",
        )  # fmt: skip
    memory = found.tables["autocorrelation"]
    if memory["r"].notna().any():
        yield Exhibit.of(
            "memory", plots.memory_curves(memory, products), title="How long they remember",
            caption="Correlation of a day with so many days before, median over the stations. A "
            "product above the stations is too smooth in time, one below is too nervous.",
        )  # fmt: skip


def _shown(found: Findings, settings: Comparison) -> list[str]:
    """Stations whose series are shown: the chosen ones, or those with the most common days."""
    known = found.matched.names
    if settings.show:
        if missing := [name for name in settings.show if name not in known]:
            raise ValueError(
                f"show has {missing}, which are no stations of the comparison; it has {known[:20]}"
            )
        return list(settings.show)
    days = pd.Series(found.matched.common.sum(axis=1), index=known)
    return list(days[days > 0].nlargest(SERIES).index)


def _series_of(found: Findings, station: str) -> pd.DataFrame:
    """Series of a station and all products on the days from the first to the last in common."""
    matched = found.matched
    values = matched.values[:, matched.names.index(station)]
    days = np.flatnonzero(np.isfinite(values[0]))
    inside = slice(days[0], days[-1] + 1) if days.size else slice(0, 0)
    return pd.DataFrame(values[:, inside].T, matched.days[inside], list(matched.columns))
