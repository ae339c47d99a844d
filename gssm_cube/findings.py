"""What the estimates at held-out stations tell beyond their scores.

How they fare against baselines and in each stratum, how wide an interval must be, and whether
unlike places err more.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import spearmanr

from gssm_cube.applicability import Reference
from gssm_cube.bootstrap import confidence, paired_difference
from gssm_cube.intervals import (
    LEVEL,
    Calibration,
    calibrate,
    coverage,
    coverage_over_splits,
    least_stations,
)
from gssm_cube.scores import plain, score_table, station_table
from gssm_cube.trials import STRATA, baseline_names

# Differences that are told; the others follow from them or say little.
COMPARED = ("rmse", "r", "station_r", "station_ubrmse", "station_anomaly_r")
LEAST_STRATUM = 2  # stations; one alone is no stratum
LEAST_RANKED = 10  # stations of a rank correlation


def baseline_scores(held: pd.DataFrame) -> dict[str, Any]:
    """Return the scores of each baseline, and how much the forest differs from it.

    Parameters
    ----------
    held : DataFrame
        From `trials.out_of_fold`.

    Returns
    -------
    dict
        By baseline a `score_table` with ``forest_less_baseline``: paired differences with 95 %
        intervals over stations, on the rows where the baseline has a value.
    """
    ours = station_table(held)
    return {name: versus(held, held[name], ours) for name in baseline_names(held)}


def versus(
    held: pd.DataFrame, other: pd.Series, ours: pd.DataFrame | None = None
) -> dict[str, Any]:
    """Return the scores of another estimate of the same rows, and the paired differences to it.

    ``ours`` is the `station_table` of all held-out rows, where it is known already.
    """
    both = held.assign(other=other).dropna(subset="other")
    theirs = both.assign(predicted=both["other"])
    table = station_table(theirs)
    mine = ours if ours is not None and len(both) == len(held) else station_table(both)
    difference = paired_difference(mine, table)
    told = {name: difference[name] for name in COMPARED if name in difference}
    return score_table(theirs, stations=table) | {"forest_less_baseline": told}


def strata_scores(held: pd.DataFrame) -> dict[str, Any]:
    """Return the scores by network, climate and land cover, where the columns are there.

    Parameters
    ----------
    held : DataFrame
        ``station``, ``observed``, ``predicted`` (m3 m-3), ``time``, and any of ``network``,
        ``koeppen``, ``land_cover``.

    Returns
    -------
    dict
        By column and value a `score_table` with the 95 % ``interval`` of its RMSE; values with
        one station are left out.
    """
    found: dict[str, Any] = {}
    for column in (name for name in STRATA if name in held):
        values = {}
        for value, rows in held.groupby(column, observed=True):
            if rows["station"].nunique() < LEAST_STRATUM:
                continue
            stations = station_table(rows)
            interval = {"rmse": confidence(stations).get("rmse")}
            values[str(value)] = score_table(rows, stations=stations) | {"interval": interval}
        found[column] = values
    return found


def calibrated(
    held: pd.DataFrame, groups: NDArray[np.int64]
) -> tuple[Calibration | None, dict[str, Any]]:
    """Calibrate the interval on all held-out stations, and say how it covers others.

    Parameters
    ----------
    held : DataFrame
        From `trials.out_of_fold`, all rows.
    groups : ndarray (row)
        Places that stay together where a part of the stations judges the others' calibration.

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
    count = held["station"].nunique()
    needed = least_stations(LEVEL)
    if count < needed:
        return None, {"skipped": f"{count} stations, {needed} are needed for {LEVEL:.0%}"}
    calibration = calibrate(held)
    said = calibration.to_dict()
    own = coverage(held, calibration)
    said |= {name: own[name] for name in ("coverage", "width", "station_coverage")}
    try:
        over = coverage_over_splits(held, groups=groups)
    except ValueError:  # a part of few stations cannot calibrate: there is nothing to judge by
        return calibration, said
    spread = over["coverage"].quantile([0.025, 0.975]).tolist()
    means = {str(name): plain(over[name].mean()) for name in over if name != "stations"}
    elsewhere = means | {"coverage_range": spread, "divisions": len(over)}
    return calibration, said | {"elsewhere": elsewhere}


def applicability_note(held: pd.DataFrame, reference: Reference | None) -> dict[str, Any]:
    """Say how far held-out stations were from the others, and whether unlike ones err more."""
    if reference is None:
        return {"skipped": "no feature is constant at each station and differs among them"}
    by_station = held.groupby("station", observed=True)
    folds = by_station["fold"].first()
    error = by_station[["observed", "predicted"]].apply(
        lambda days: np.sqrt(np.mean((days["predicted"] - days["observed"]) ** 2))
    )
    index = reference.held_out(folds)
    note = {
        "label": "information, not an estimate of error",
        "features": list(reference.names),
        "index": np.quantile(index, [0, 0.25, 0.5, 0.75, 1]).tolist(),
    }
    if len(folds) >= LEAST_RANKED:
        note["rank_correlation_with_rmse"] = plain(spearmanr(index, error.to_numpy())[0])
    return note
