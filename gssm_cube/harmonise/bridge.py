"""A bridge from VIIRS to MODIS land surface temperature, fitted where both saw the same pixel.

Terra passes at about 10:30 and 22:30 local time, Suomi NPP at 13:30 and 01:30, with another
algorithm: VIIRS days are warmer, by more the more the ground warms and cools. So pixels are
classed by two figures of their frozen climatology, which every pixel of the cube has: the mean
LST, which stands for climate and season length, and the mean day-minus-night range, which is what
three hours of sun are worth there (dry and bare ground much, wet ground and canopy little). Each
class has one line ``MODIS = intercept + slope x VIIRS`` for the day and one for the night; the
slope takes up the season. Fitted once on stated days, then frozen and saved with the cube.
Aqua, which passes when Suomi NPP does, is bridged in the same way; so are vegetation indices, given
in percent, whose noise and steps are then like those of kelvin.

The fit is robust to clouds that one sensor missed: a median offset first, then iteratively
reweighted least squares with Tukey's bisquare (Beaton and Tukey 1974,
doi:10.1080/00401706.1974.10489171). It needs sums and a histogram per class only, so pairs stream
by once a round, and memory does not grow with them.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FORMAT = "gssm_cube bridge 1"
MEAN_EDGES = (-10.0, 0.0, 10.0, 20.0, 30.0)  # degC
RANGE_EDGES = (5.0, 10.0, 15.0, 20.0)  # K
OVERPASSES = ("day", "night")
KINDS = ("line", "offset", "none")

_TUKEY = 4.685  # 95 % efficiency for normal errors
_MAD = 1.4826  # standard deviations a median absolute deviation
_BIN = 0.05  # K: a little more than the 0.02 K of the digital numbers
_BINS = 2400  # -60..60 K; departures beyond fall into the outer bins
_SCALE_FLOOR = 0.1  # K: two bins, else an exact relation would have no width


@dataclass(frozen=True)
class Limits:
    """What a class needs for a line, or else for an offset; pairs are pixel-days.

    Pairs of one day share its weather, so days count too. ``spread`` is the standard deviation
    (K) of VIIRS among them; a slope beyond ``slope`` is no change of sensor. All ours.
    """

    line_pairs: int = 500
    line_days: int = 30
    offset_pairs: int = 50
    spread: float = 3.0
    slope: tuple[float, float] = (0.5, 1.5)


@dataclass(frozen=True)
class Pairs:
    """What both sensors saw on one day at one place, any one shape; it counts as a day.

    ``viirs`` and ``modis`` in degC, NaN where not usable; ``classes`` from ``pixel_classes``.
    """

    viirs: NDArray[Any]
    modis: NDArray[Any]
    classes: NDArray[np.int16]


# ---- classes ----------------------------------------------------------------------------------


def class_count() -> int:
    """Return the number of pixel classes."""
    return (len(MEAN_EDGES) + 1) * (len(RANGE_EDGES) + 1)


def pixel_classes(day_mean: NDArray[Any], night_mean: NDArray[Any]) -> NDArray[np.int16]:
    """Return the class of each pixel.

    Parameters
    ----------
    day_mean, night_mean : array, degC
        Means over the year of the day's and the night's frozen LST climatology (the first
        harmonic coefficient), of MODIS.

    Returns
    -------
    array, int16
        Same shape; ``row x 5 + column`` by mean and range, -1 where either is missing. A value
        on an edge belongs to the upper class.
    """
    mean = (np.asarray(day_mean, "float64") + night_mean) / 2
    swing = np.asarray(day_mean, "float64") - night_mean
    numbers = np.digitize(mean, MEAN_EDGES) * (len(RANGE_EDGES) + 1)
    numbers = numbers + np.digitize(swing, RANGE_EDGES)
    return np.where(np.isnan(mean), -1, numbers).astype("int16")


def class_table() -> pd.DataFrame:
    """Return the bounds of each class: mean LST (degC) and day-minus-night range (K)."""
    means, ranges = ((-np.inf, *edges, np.inf) for edges in (MEAN_EDGES, RANGE_EDGES))
    rows = [
        (*mean, *swing)
        for mean in zip(means[:-1], means[1:], strict=True)
        for swing in zip(ranges[:-1], ranges[1:], strict=True)
    ]
    columns = ["mean_from", "mean_to", "range_from", "range_to"]
    return pd.DataFrame(rows, columns=columns).rename_axis("class")


# ---- the fit ----------------------------------------------------------------------------------


@dataclass
class _Sums:
    """Weighted sums of one round: eight numbers and a histogram a class."""

    moments: NDArray[np.float64]  # (6, class): w, wx, wy, wxx, wxy, and wd
    pairs: NDArray[np.int64]
    days: NDArray[np.int64]
    histogram: NDArray[np.int64]  # (class, bin), of departures from the line before

    @classmethod
    def empty(cls) -> "_Sums":
        """Zeros."""
        count = class_count()
        whole = (np.zeros(shape, "int64") for shape in (count, count, (count, _BINS)))
        return cls(np.zeros((6, count)), *whole)


@dataclass(frozen=True)
class _Lines:
    """A line and the scale of departures from it, a class each; scale infinite: no weighting."""

    intercept: NDArray[np.float64]
    slope: NDArray[np.float64]
    scale: NDArray[np.float64]


def fit_bridge(
    days: Callable[[], Iterable[Pairs]], *, limits: Limits | None = None, rounds: int = 6
) -> pd.DataFrame:
    """Fit the lines of one overpass.

    Parameters
    ----------
    days : callable
        Gives the overlap, a day at a time, anew at each call, always the same: it is called
        ``rounds + 1`` times. Sum in one fixed order for one fixed result.
    limits : Limits, optional
    rounds : int
        Of reweighting, at least 1.

    Returns
    -------
    DataFrame, one row a class
        ``kind`` (``line``; ``offset``: too few pairs or days, too little spread, or no sensible
        slope, so slope 1; ``none``: fewer pairs than an offset needs), ``intercept`` (degC, NaN
        for ``none``), ``slope``, ``scale`` (K, robust standard deviation about the line before
        the last round), ``pairs``, ``days``, and the bounds of the class.

    Raises
    ------
    ValueError
        If shapes of a day differ, or no day has a pair at all.
    """
    limits = limits or Limits()
    count = class_count()
    lines = _Lines(np.zeros(count), np.ones(count), np.full(count, np.inf))
    sums = _add_up(days(), lines)
    if not sums.pairs.any():
        raise ValueError(
            "no day on which VIIRS and MODIS both saw a classed pixel, expected an overlap such "
            "as 2012-2023; give days of both sensors"
        )
    centre, scale = _centre_and_scale(sums.histogram)
    lines = _Lines(centre, np.ones(count), scale)
    kinds = np.full(count, "none", dtype=object)
    for _ in range(rounds):
        sums = _add_up(days(), lines)
        lines, kinds = _solve(sums, limits)
    return _table(lines, kinds, sums)


def _add_up(days: Iterable[Pairs], lines: _Lines) -> _Sums:
    """Add up a round over all days."""
    sums = _Sums.empty()
    for pairs in days:
        _add_day(sums, pairs, lines)
    return sums


def _add_day(sums: _Sums, pairs: Pairs, lines: _Lines) -> None:
    """Add the pairs of a day, weighted by their departure from the line so far."""
    if not pairs.viirs.shape == pairs.modis.shape == pairs.classes.shape:
        raise ValueError(
            f"VIIRS is {pairs.viirs.shape}, MODIS {pairs.modis.shape}, their classes "
            f"{pairs.classes.shape}, expected one shape; cut them from one grid"
        )
    both = ~np.isnan(pairs.viirs) & ~np.isnan(pairs.modis) & (pairs.classes >= 0)
    x, y = pairs.viirs[both].astype("float64"), pairs.modis[both].astype("float64")
    number, count = pairs.classes[both].astype("intp"), len(sums.pairs)
    departure = y - lines.intercept[number] - lines.slope[number] * x
    weight = _bisquare(departure / (_TUKEY * lines.scale[number]))
    for row, term in enumerate((1.0, x, y, x * x, x * y, y - x)):
        sums.moments[row] += np.bincount(number, weight * term, count)
    seen = np.bincount(number, minlength=count)
    sums.pairs += seen
    sums.days += seen > 0
    bins = np.clip(np.floor(departure / _BIN) + _BINS // 2, 0, _BINS - 1).astype("intp")
    flat = np.bincount(number * _BINS + bins, minlength=count * _BINS)
    sums.histogram += flat.reshape(count, _BINS)


def _bisquare(ratio: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tukey's weights: 1 at 0, falling to 0 at 1 and beyond."""
    return np.square(1 - np.minimum(np.square(ratio), 1.0))


def _centre_and_scale(
    histogram: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Median of each class, and 1.4826 times the median distance from it, to a bin."""
    middle = _median_bin(histogram)
    centre = ((middle + 0.5 - _BINS // 2) * _BIN).astype("float64")
    distances = np.zeros_like(histogram)
    number, place = np.nonzero(histogram)
    away = np.abs(place - middle[number])
    np.add.at(distances, (number, away), histogram[number, place])
    scale = np.maximum(_median_bin(distances) * (_BIN * _MAD), _SCALE_FLOOR).astype("float64")
    return centre, scale


def _median_bin(histogram: NDArray[np.int64]) -> NDArray[np.intp]:
    """First bin at which half of a class is reached."""
    running = np.cumsum(histogram, axis=1)
    return np.argmax(2 * running >= running[:, -1:], axis=1)


def _solve(sums: _Sums, limits: Limits) -> tuple[_Lines, NDArray[Any]]:
    """Line or offset of each class, by what it holds, and the scale of its departures."""
    w, wx, wy, wxx, wxy, wd = sums.moments
    heavy = np.where(w > 0, w, np.nan)
    mean_x, mean_y = wx / heavy, wy / heavy
    variance = np.maximum(wxx / heavy - mean_x**2, 0)
    wide = variance >= limits.spread**2
    slope = (wxy / heavy - mean_x * mean_y) / np.where(wide, variance, np.nan)
    low, high = limits.slope
    enough = (sums.pairs >= limits.line_pairs) & (sums.days >= limits.line_days)
    line = enough & wide & (slope >= low) & (slope <= high)
    offset = ~line & (sums.pairs >= limits.offset_pairs) & (w > 0)
    slope = np.where(line, slope, 1.0)
    intercept = np.where(line, mean_y - slope * mean_x, wd / heavy)
    _, scale = _centre_and_scale(sums.histogram)
    kinds = np.select([line, offset], KINDS[:2], KINDS[2]).astype(object)
    return _Lines(np.nan_to_num(intercept), slope, scale), kinds


def _table(lines: _Lines, kinds: NDArray[Any], sums: _Sums) -> pd.DataFrame:
    """Table of coefficients; a class without a fit has none."""
    fitted = kinds != "none"
    columns = {
        "kind": kinds,
        "intercept": np.where(fitted, lines.intercept, np.nan),
        "slope": np.where(fitted, lines.slope, np.nan),
        "scale": np.where(fitted, lines.scale, np.nan),
        "pairs": sums.pairs,
        "days": sums.days,
    }
    return class_table().assign(**columns)


# ---- use --------------------------------------------------------------------------------------


def apply_bridge(
    viirs: NDArray[Any], classes: NDArray[np.int16], table: pd.DataFrame
) -> NDArray[np.float32]:
    """Return VIIRS LST as MODIS would have measured it.

    Parameters
    ----------
    viirs : array (..., lat, lon), degC
        Of the overpass that ``table`` was fitted for; NaN where not usable.
    classes : array (lat, lon)
        From ``pixel_classes``.
    table : DataFrame
        From ``fit_bridge``.

    Returns
    -------
    array (..., lat, lon), float32, degC
        NaN where VIIRS is, and in pixels without a class or of a class without a fit.
    """
    # The last entry serves class -1.
    intercept, slope = (
        np.append(table[name].to_numpy("float64"), np.nan).astype("float32")[classes]
        for name in ("intercept", "slope")
    )
    return intercept + slope * np.asarray(viirs, "float32")


def summary(table: pd.DataFrame) -> dict[str, Any]:
    """Return counts for the report: classes and pairs by kind, and the classes left without.

    Classes that no pixel pair fell into are ``empty``; those with pairs but too few are
    ``thin``, and their VIIRS is not used.
    """
    none = table["kind"] == "none"
    return {
        "classes": {kind: int((table["kind"] == kind).sum()) for kind in KINDS},
        "pairs": {kind: int(table.loc[table["kind"] == kind, "pairs"].sum()) for kind in KINDS},
        "empty": [int(n) for n in table.index[none & (table["pairs"] == 0)]],
        "thin": [int(n) for n in table.index[none & (table["pairs"] > 0)]],
    }


# ---- frozen with the cube ---------------------------------------------------------------------


def bridge_to_json(tables: dict[str, pd.DataFrame], days: tuple[str, str]) -> str:
    """Return the tables of a bridge as text for the cube's attributes.

    Parameters
    ----------
    tables : dict
        From ``fit_bridge``, such as ``"day"`` and ``"night"``.
    days : tuple of str
        First and last day of the overlap they were fitted on.
    """
    rows = {name: _to_lists(table) for name, table in tables.items()}
    about = {"format": FORMAT, "fitted_on": list(days)}
    edges = {"mean_edges": list(MEAN_EDGES), "range_edges": list(RANGE_EDGES)}
    return json.dumps({**about, **edges, **rows}, sort_keys=True)


def bridge_from_json(text: str, names: Sequence[str] = OVERPASSES) -> dict[str, pd.DataFrame]:
    """Return the tables of ``bridge_to_json``, by their names, bit for bit.

    Raises
    ------
    ValueError
        If the text is another format, or its classes are cut otherwise.
    """
    saved = json.loads(text)
    found = [saved.get(key) for key in ("format", "mean_edges", "range_edges")]
    expected = [FORMAT, list(MEAN_EDGES), list(RANGE_EDGES)]
    if found != expected:
        raise ValueError(
            f"the bridge is {found}, expected {expected} (format, edges of the classes); fit it "
            "anew with this version"
        )
    return {name: _from_lists(saved[name]) for name in names}


def _to_lists(table: pd.DataFrame) -> dict[str, list[Any]]:
    """Columns as plain lists; NaN is null, which JSON knows."""
    names = ["kind", "intercept", "slope", "scale", "pairs", "days"]
    return {
        name: [None if value != value else value for value in table[name].tolist()]
        for name in names
    }


def _from_lists(columns: dict[str, list[Any]]) -> pd.DataFrame:
    """Table of saved columns; null is NaN."""
    numbers = {
        name: np.array([np.nan if value is None else value for value in columns[name]], "float64")
        for name in ("intercept", "slope", "scale")
    }
    counts = {name: np.array(columns[name], "int64") for name in ("pairs", "days")}
    kind = np.array(columns["kind"], dtype=object)
    return class_table().assign(kind=kind, **numbers, **counts)
