"""What the estimates at held-out stations tell beyond their scores.

How they fare against baselines and in each stratum, how wide an interval must be, and whether
unlike places err more.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from gssm_cube.intervals import (
    LEVEL,
    Calibration,
    calibrate,
    coverage,
    coverage_over_splits,
    least_stations,
)
from gssm_cube.skill.applicability import Reference
from gssm_cube.skill.held_out import HeldOut, baseline_names
from gssm_cube.skill.trials import STRATA
from gssm_cube.statistics.bootstrap import confidence, paired_difference
from gssm_cube.statistics.scores import Scoring, plain, rmse, station_table

# Differences that are told; the others follow from them or say little.
COMPARED = ("rmse", "r", "station_r", "station_ubrmse", "station_anomaly_r")
LEAST_STRATUM = 2  # stations; one alone is no stratum
LEAST_RANKED = 10  # stations of a rank correlation


def baseline_scores(held: HeldOut, ours: pd.DataFrame) -> dict[str, Any]:
    """Return the scores of each baseline, and how much the forest differs from it.

    Parameters
    ----------
    held : HeldOut
    ours : DataFrame (station)
        The forest's `scores.station_table`.

    Returns
    -------
    dict
        By baseline a `score_table` with ``forest_less_baseline``: paired differences with 95 %
        intervals over stations, on the rows where the baseline has a value.
    """
    return {name: versus(held, name, ours) for name in baseline_names(held.baselines)}


def versus(held: Iterable[pd.DataFrame], name: str, ours: pd.DataFrame) -> dict[str, Any]:
    """Return the scores of another estimate of the same rows, and the paired differences to it.

    Parameters
    ----------
    held : iterable of DataFrame
        Held-out rows, each part with all of its stations, gone through once.
    name : str
        Column of the other estimate; where it is NaN a row counts for neither.
    ours : DataFrame (station)
        The `scores.station_table` of the held-out rows.
    """
    mine, theirs = [], Scoring()
    for days in held:
        both = days.dropna(subset=name)
        theirs.add(both.assign(predicted=both[name]))
        whole = len(both) == len(days)
        mine.append(ours.loc[days["station"].unique()] if whole else station_table(both))
    difference = paired_difference(pd.concat(mine).sort_index(), theirs.stations)
    told = {name: difference[name] for name in COMPARED if name in difference}
    return theirs.scores() | {"forest_less_baseline": told}


def strata_scores(held: Iterable[pd.DataFrame]) -> dict[str, Any]:
    """Return the scores by network, climate and land cover, where the columns are there.

    Parameters
    ----------
    held : iterable of DataFrame
        ``station``, ``observed``, ``predicted`` (m3 m-3), ``time``, and any of ``network``,
        ``koeppen``, ``land_cover``; each part with all rows of its stations, gone through once.

    Returns
    -------
    dict
        By column and value a `score_table` with the 95 % ``interval`` of its RMSE; values with
        one station are left out.
    """
    found: dict[str, dict[Any, Scoring]] = {}
    for days in held:
        whole, count = station_table(days), days["station"].value_counts(sort=False)
        for column in (name for name in STRATA if name in days):
            values = found.setdefault(column, {})
            for value, rows in days.groupby(column, observed=True):
                own = rows["station"].value_counts(sort=False)
                # A station mostly has one value: it is scored once.
                alike = own.equals(count[own.index])
                table = whole[whole.index.isin(own.index)] if alike else None
                values.setdefault(value, Scoring()).add(rows, table)
    return {
        column: {
            str(value): _stratum(values[value])
            for value in sorted(values)
            if values[value].count >= LEAST_STRATUM
        }
        for column, values in found.items()
    }


def _stratum(scoring: Scoring) -> dict[str, Any]:
    """Scores of a stratum, and how sure its RMSE is."""
    return scoring.scores() | {"interval": {"rmse": confidence(scoring.stations).get("rmse")}}


def calibrated(held: Iterable[pd.DataFrame]) -> tuple[Calibration | None, dict[str, Any]]:
    """Calibrate the interval on all held-out stations, and say how it covers others.

    Parameters
    ----------
    held : iterable of DataFrame
        Held-out rows, each part with all rows of its stations, as often as it is gone through.
        ``group`` tells places that stay together where a part of the stations judges the others'
        calibration.

    Returns
    -------
    calibration : Calibration or None
        None if there are too few stations.
    said : dict
        Its constants; ``coverage`` and ``width`` at the very stations, with ``station_coverage``
        (quantiles); ``elsewhere``, if stations are many enough: the same at stations that did not
        calibrate, as means over ``divisions`` of the stations, with ``coverage_range`` (95 % of
        the divisions); or a reason under ``skipped``.
    """
    count = sum(days["station"].nunique() for days in held)
    needed = least_stations(LEVEL)
    if count < needed:
        return None, {"skipped": f"{count} stations, {needed} are needed for {LEVEL:.0%}"}
    calibration = calibrate(held)
    said = calibration.to_dict()
    own = coverage(held, calibration)
    said |= {name: own[name] for name in ("coverage", "width", "station_coverage")}
    try:
        over = coverage_over_splits(held)
    except ValueError:  # a part of few stations cannot calibrate: there is nothing to judge by
        return calibration, said
    spread = over["coverage"].quantile([0.025, 0.975]).tolist()
    means = {str(name): plain(over[name].mean()) for name in over if name != "stations"}
    elsewhere = means | {"coverage_range": spread, "divisions": len(over)}
    return calibration, said | {"elsewhere": elsewhere}


def applicability_note(held: Iterable[pd.DataFrame], reference: Reference | None) -> dict[str, Any]:
    """Say how far held-out stations were from the others, and whether unlike ones err more."""
    if reference is None:
        return {"skipped": "no feature is constant at each station and differs among them"}
    by_station: dict[Any, tuple[int, float]] = {
        name: (rows["fold"].iloc[0], rmse(rows["observed"], rows["predicted"]))
        for days in held
        for name, rows in days.groupby("station", observed=True)
    }
    folds, error = zip(*(by_station[name] for name in sorted(by_station)), strict=True)
    index = reference.held_out(folds)
    note = {
        "label": "information, not an estimate of error",
        "features": list(reference.names),
        "index": np.quantile(index, [0, 0.25, 0.5, 0.75, 1]).tolist(),
    }
    if len(folds) >= LEAST_RANKED:
        note["rank_correlation_with_rmse"] = plain(spearmanr(index, error)[0])
    return note
