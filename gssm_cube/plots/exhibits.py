"""Figures with the numbers that their titles and captions name; those of stations and of skill."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from gssm_cube.plots import figures, skill_figures, station_figures
from gssm_cube.plots.station_summary import StationSummary

# Ways to hold out, in the order of the figure: random rows last.
SPLITS = {
    "new_stations": "new stations (25 km)",
    "blocks_100km": "blocks of 100 km",
    "blocks_300km": "blocks of 300 km",
    "regions": "regions (1,500 km)",
    "knndm": "matched distances (kNNDM)",
    "new_stations_and_years": "new stations in new years",
    "new_years": "new years",
    "random_rows": "random rows (comparison)",
}


@dataclass(frozen=True)
class Exhibit:
    """One figure as PNG, and the numbers that its title and caption in the template name."""

    name: str
    image: bytes
    values: dict[str, Any]

    @classmethod
    def of(cls, name: str, figure: Figure, **values: Any) -> "Exhibit":
        """Draw a figure."""
        return cls(name, figures.png(figure), values)

    @property
    def uri(self) -> str:
        """The image as a data URI."""
        return "data:image/png;base64," + base64.b64encode(self.image).decode("ascii")


def station_exhibits(summary: StationSummary, counts: pd.DataFrame) -> list[Exhibit]:
    """Return the figures of the station tables, each with its title and caption.

    Parameters
    ----------
    summary : StationSummary
        Of a table that is not empty.
    counts : DataFrame
        As `read_station_counts` gives them.

    Returns
    -------
    list of Exhibit
        ``values`` hold ``title`` and ``caption``.
    """
    stations, days = len(summary.places), summary.days
    read = int(counts["rows"].sum())
    silent = len(counts.attrs["without_a_day"])
    made = {
        "stations_map": (
            station_figures.places_map(summary), "The stations",
            f"{stations} stations with a value{f'; {silent} more gave none' if silent else ''}.",
        ),
        "stations_time": (
            station_figures.coverage(summary), "When the stations measured",
            f"{days:,} station-days of {stations} stations. White: no day was kept.",
        ),
        "stations_losses": (
            station_figures.losses(counts), "What became of the rows read, by network",
            f"{read:,} rows were read; each has one reason.",
        ),
        "stations_ssm": (
            station_figures.histogram(summary), "Soil moisture at the stations",
            f"{days:,} station-days; median {summary.median:.3f} m³ m⁻³.",
        ),
        "stations_agreement": (
            station_figures.agreement(summary), "How far sensors agree",
            f"Left: {len(summary.pairs)} pairs of stations that share a 1 km pixel. Right: sensors "
            "of one station on one day. No estimate of the pixel can be nearer to a station than "
            "this.",
        ),
    }  # fmt: skip
    return [
        Exhibit.of(name, figure, title=title, caption=caption)
        for name, (figure, title, caption) in made.items()
    ]


def skill_exhibits(scores: Mapping[str, Any], layer: xr.DataArray | None) -> list[Exhibit]:
    """Return one figure for each question: how good elsewhere, how sure, where not to trust.

    Parameters
    ----------
    scores : mapping
        Of `evaluate`; what a figure needs and is not there leaves the figure out.
    layer : DataArray (lat, lon), optional
        The dissimilarity index of the run's land.

    Returns
    -------
    list of Exhibit
    """
    new = scores.get("new_stations") or {}
    rows = scores.get("splits") or {name: scores.get(name) for name in SPLITS}
    shown = {name: rows[name] for name in SPLITS if "rmse" in (rows.get(name) or {})}
    made = [_splits(shown)] if "new_stations" in shown else []
    matched = (scores.get("splits") or {}).get("knndm", {}).get("distances")
    if matched:
        made.append(_distances(matched))
    if len(scores.get("learning_curve", [])) > 1:
        made.append(_curve(scores["learning_curve"]))
    if "factor" in (said := new.get("intervals") or {}):
        made.append(_intervals(said))
    if "pattern" in (within := new.get("resolution") or {}):
        made.append(_resolution(within))
    if layer is not None:
        made.append(_applicability(layer, new.get("applicability") or {}))
    return made


def _splits(rows: Mapping[str, Mapping[str, Any]]) -> Exhibit:
    """Every way to hold out, side by side."""
    caption = (
        "Ways that hold out places should agree within their scatter; random rows (grey) know "
        "other days of the same stations and flatter. n counts station-days."
    )
    figure = skill_figures.split_bars(rows, SPLITS)
    return Exhibit.of(
        "splits", figure, title="How good elsewhere: RMSE by what was held out", caption=caption
    )


def _distances(matched: Mapping[str, Any]) -> Exhibit:
    """Show what nearest-neighbour distance matching rests on."""
    clusters = matched["clusters"]
    how = f"{clusters} clusters dealt to folds" if clusters else "places dealt at random"
    caption = (
        f"Folds by matched distances ({how}): the blue curve should follow the black one; they "
        f"are {matched['wasserstein_km']:.0f} km apart on average (Linnenbrink et al. 2024)."
    )
    figure = skill_figures.distance_curves(matched)
    title = "How far predictions are from stations"
    return Exhibit.of("distances", figure, title=title, caption=caption)


def _curve(curve: list[Mapping[str, float]]) -> Exhibit:
    """Show what more stations would give."""
    caption = "A curve that still falls at its right end says that more stations would help."
    figure = skill_figures.learning_curve(curve)
    return Exhibit.of("learning_curve", figure, title="What more stations give", caption=caption)


def _intervals(said: Mapping[str, Any]) -> Exhibit:
    """How the interval covers, station by station."""
    elsewhere = said.get("elsewhere") or {}
    covered = (
        f" At stations that did not calibrate it covers {elsewhere['coverage']:.1%} of the days, "
        f"{elsewhere['width']:.3f} m³ m⁻³ wide on average." if elsewhere else ""
    )  # fmt: skip
    caption = (
        f"Share of days inside the {said['level']:.0%} interval, drawn for the {said['stations']} "
        "stations that calibrated it, by forests that had not seen them: their mean is near what "
        f"was wanted.{covered} The interval carries the unknown "
        "level of the place, so stations differ. It holds for places like the stations."
    )
    figure = skill_figures.station_coverage(
        said["station_coverage"], said["level"], said["coverage"]
    )
    return Exhibit.of(
        "coverage", figure, title="How sure: days inside the interval, by station", caption=caption
    )


def _resolution(said: Mapping[str, Any]) -> Exhibit:
    """Show what is known below the cell of the meteorology."""
    known, ends = [], said["interval"]
    for name, words in (
        ("spatial_r", "of all departures from the cell's mean"),
        ("pattern_r", "of the stations' lasting departures (drawn)"),
        ("change_r", "of what changes from day to day"),
    ):
        if said[name] is not None:
            between = f" ({ends[name][0]:.2f} to {ends[name][1]:.2f})" if ends[name] else ""
            known.append(f"{said[name]:.2f}{between} {words}")
    gain = "" if said["gain"] is None else f" Gain G_DOWN (Merlin et al. 2015) {said['gain']:+.2f}."
    caption = (
        f"{said['stations']} held-out stations that share {said['cells']} cells of 0.1 degrees, "
        f"{said['n']:,} station-days. r with 95 % over stations: {'; '.join(known) or 'none'}. "
        f"RMSE {said['rmse']:.3f} m³ m⁻³, of the cell's mean estimate {said['coarse_rmse']:.3f}."
        f"{gain} "
        "Where r is not above 0, the product's pixels tell no more than its meteorology's cells."
    )
    figure = skill_figures.cell_departures(said)
    title = "How fine: what is known within a cell of 0.1 degrees"
    return Exhibit.of("resolution", figure, title=title, caption=caption)


def _applicability(layer: xr.DataArray, note: Mapping[str, Any]) -> Exhibit:
    """Where no station is alike."""
    rank = note.get("rank_correlation_with_rmse")
    ranks = (
        f" Over held-out stations its rank correlation with RMSE is {rank:.2f}."
        if rank is not None
        else ""
    )
    caption = (
        "Dissimilarity index on what does not change in time: 0 is like a training station, 1 as "
        "far as two stations are on average (Meyer and Pebesma 2021). Information, not an estimate "
        f"of error.{ranks}"
    )
    figure = skill_figures.dissimilarity_map(layer)
    return Exhibit.of(
        "dissimilarity",
        figure,
        title="Where not to trust it: how unlike the stations",
        caption=caption,
    )
