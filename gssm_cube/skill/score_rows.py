"""Scores as rows of text for the report's tables."""

import math
from collections.abc import Mapping
from typing import Any

from gssm_cube.skill.baselines import TITLES

MEASURES = {"rmse": 4, "ubrmse": 4, "bias": 4, "r": 3}  # digits in the table
STRATA_TITLES = {"network": "network", "koeppen": "climate", "land_cover": "land cover"}

# Random rows come last: they say nothing about a place or a year that has no station.
SPLITS = {
    "new_stations": ("New stations", "none of the station's days were used"),
    "new_years": ("New years", "the station is known, the year is not"),
    "truth": (
        "Synthetic truth",
        "the product against the invented world, all land that is not frozen",
    ),
    "random_rows": ("Random rows", "comparison only"),
}


def score_rows(scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row a split, in the order of the table, each with its baselines after it."""
    rows = []
    for key, (name, note) in SPLITS.items():
        score = scores.get(key)
        if score is None:
            continue
        if days := score.get("days"):
            note = f"{note}; here {days[0]} to {days[1]}"
        row = {"name": name, "note": note, "grey": key == "random_rows"}
        rows.append(row | {"skipped": score.get("skipped"), "cells": _cells(score)})
        for title, baseline in _baselines_of(score):
            row = {"name": title, "note": "on the same days"}
            rows.append(row | {"grey": False, "skipped": None, "cells": _cells(baseline)})
    return rows


def _baselines_of(score: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return title and scores of what stands beside a split's, in the order of the table."""
    found = score.get("baseline") or {}
    titles = {key: title[0].upper() + title[1:] for key, title in TITLES.items()}
    return [(title, found[key]) for key, title in titles.items() if key in found]


def stratum_rows(new: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row a network, climate and land cover of the new stations."""
    rows = []
    for column, values in (new.get("strata") or {}).items():
        for value, score in values.items():
            ends = (score.get("interval") or {}).get("rmse")
            between = f"{number(ends[0], 3)}–{number(ends[1], 3)}" if ends else "–"
            medians, digits = score.get("stations") or {}, MEASURES.items()
            pooled = [number(score.get(name), places) for name, places in digits]
            middle = [number(medians.get("ubrmse"), 4), number(medians.get("r"), 3)]
            cells = [pooled[0], between, *pooled[1:], number(score.get("n"), 0), *middle]
            title = f"{STRATA_TITLES[column]} {value}"
            rows.append({"name": title, "cells": [*cells, number(medians.get("count"), 0)]})
    return rows


def _cells(score: Mapping[str, Any]) -> list[str]:
    """Cells of one row: pooled over all days, then the medians of the stations."""
    medians = score.get("stations") or {}
    pooled = [number(score.get(name), digits) for name, digits in MEASURES.items()]
    middle = [number(medians.get(name), digits) for name, digits in MEASURES.items()]
    counts = [number(medians.get(name), 0) for name in ("count", "left_out")]
    return [*pooled, number(score.get("n"), 0), *middle, *counts]


def number(value: float | None, digits: int) -> str:
    """Return a number for the table; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.{digits}f}"
