"""The report of a run: one HTML page that needs nothing else, and its figures as PNG files."""

import logging
import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import product as combinations
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gssm_cube.grid import WINDOW_DAYS, Grid
from gssm_cube.plots import figures
from gssm_cube.plots.exhibits import SPLITS as SPLIT_TITLES
from gssm_cube.plots.exhibits import Exhibit
from gssm_cube.skill.predictions import COLUMNS, PLACE, Predictions
from gssm_cube.skill.score_rows import number, score_rows, stratum_rows
from gssm_cube.variables import PREDICTORS

logger = logging.getLogger(__name__)

MIN_DAYS = 100  # fewer give no score of a station's own
SAME_DEGREES = 0.1  # stations of one name that are farther apart are two
MAP_PIXELS = 2000  # edge of the largest map that is drawn pixel by pixel
PIECE_PIXELS = 240  # edge of what a map reads at once: whole inner chunks, about 0.2 GB


def write_report(
    path: Path,
    *,
    title: str,
    scores: dict,
    predictions: pd.DataFrame | Path,
    importance: pd.Series,
    stations: pd.DataFrame,
    product: xr.Dataset,
    cube: xr.Dataset,
    facts: dict[str, str],
    more: Sequence[Exhibit] = (),
) -> Path:
    """Write the report of a run: one self-contained page and its figures.

    Parameters
    ----------
    path : Path
        The HTML page; the PNG files go to ``figures`` beside it.
    title : str
        Heading of the page.
    scores : dict
        By split (``new_stations``, ``new_years``, ``random_rows``, ``truth``): ``n``, ``rmse``,
        ``ubrmse``, ``bias`` (m3 m-3), ``r``, and ``stations`` with the medians, or ``skipped``
        with the reason; also ``rows`` (read, dropped, kept) and ``forest``. Values may be None.
    predictions : DataFrame or Path
        ``station``, ``lat``, ``lon``, ``time``, ``observed``, ``predicted`` (m3 m-3), ``split``; or
        the file of `predictions.write_predictions`, which is read a part at a time.
    importance : Series (predictor)
        Its name says which measure of importance it is.
    stations : DataFrame
        One row a station: ``station``, ``network``, ``lat``, ``lon``, ``days``.
    product : Dataset
        ``ssm`` (time, lat, lon), m3 m-3; lazy, read piece by piece.
    cube : Dataset
        ``apei`` (time, lat, lon), mm; lazy, read at one pixel.
    facts : dict
        What the reader must know of the run: period, area, versions, hashes.
    more : sequence of Exhibit
        Shown last, by the ``title`` and ``caption`` among their values.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ValueError
        If the predictions or the stations lack a column.
    """
    predicted = Predictions(predictions)
    check_columns("predictions", predicted.columns, COLUMNS)
    check_columns("stations", stations.columns, [*PLACE, "network", "days"])
    logger.info("report: starts, %d predictions at %d stations", len(predicted), len(stations))
    mean = mean_map(product["ssm"])
    exhibits = [
        *_skill_exhibits(predicted, stations, mean.notnull()),
        _importance_exhibit(importance),
        _map_exhibit(mean, product),
        *_series_exhibits(predicted, stations, product, cube),
        *more,
    ]
    folder = path.parent / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    for exhibit in exhibits:
        (folder / f"{exhibit.name}.png").write_bytes(exhibit.image)
    path.write_text(_page(title, scores, facts, exhibits), encoding="utf-8")
    logger.info("report: %d figures, page at %s", len(exhibits), path)
    return path


def check_columns(name: str, found: Collection[str], expected: list[str]) -> None:
    """Raise unless a table has the columns that the report shows."""
    if missing := [column for column in expected if column not in found]:
        raise ValueError(
            f"{name}: columns {missing} are missing (found {list(found)}); "
            f"give write_report a table with {expected}"
        )


# ---- what the figures show ----------------------------------------------------------------


def mean_map(ssm: xr.DataArray, largest: int = MAP_PIXELS) -> xr.DataArray:
    """Return the mean over time of every pixel, or of every n-th of a large area.

    Only a piece of one window is in memory at a time, so the product may be of any size.

    Parameters
    ----------
    ssm : DataArray (time, lat, lon), m3 m-3
        Lazy; NaN is missing and not counted.
    largest : int
        Pixels along an edge of the map at most; beyond it every n-th row and column is taken.

    Returns
    -------
    DataArray (lat, lon), m3 m-3
        NaN where no day has a value; attribute ``step`` is n.
    """
    step = math.ceil(max(ssm.sizes["lat"], ssm.sizes["lon"]) / largest)
    every = slice(step // 2, None, step)
    shown = ssm.transpose("time", "lat", "lon").isel(lat=every, lon=every)
    total, count = np.zeros(shown.shape[1:]), np.zeros(shown.shape[1:], dtype="int32")
    for days, rows, cols in _pieces(shown.shape):
        values = shown[days, rows, cols].to_numpy()
        valid = np.isfinite(values)
        # Faster than nansum, or sum with where; float32 sums of a year would round.
        total[rows, cols] += np.where(valid, values, 0).sum(axis=0, dtype="float64")
        count[rows, cols] += valid.sum(axis=0)
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    coords = {dim: shown[dim] for dim in ("lat", "lon")}
    attrs = {"units": "m3 m-3", "step": step}
    return xr.DataArray(mean.astype("float32"), coords, ("lat", "lon"), "mean_ssm", attrs)


def _pieces(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Cut (time, lat, lon) into pieces that hold whole chunks of a product."""
    sizes = (WINDOW_DAYS, PIECE_PIXELS, PIECE_PIXELS)
    axes = (
        [slice(start, min(start + size, length)) for start in range(0, length, size)]
        for length, size in zip(shape, sizes, strict=True)
    )
    return combinations(*axes)


def station_skill(held_out: pd.DataFrame, min_days: int = MIN_DAYS) -> pd.DataFrame:
    """Return bias and r of each station that has enough days.

    Parameters
    ----------
    held_out : DataFrame
        ``station``, ``lat``, ``lon``, ``observed``, ``predicted`` (m3 m-3), a row a day.
    min_days : int
        Stations with fewer days are left out.

    Returns
    -------
    DataFrame
        ``station``, ``lat``, ``lon``, ``days``, ``bias`` (m3 m-3), ``r``; r is NaN where one
        of the two is constant.
    """
    rows = [
        (*place, len(days), (days["predicted"] - days["observed"]).mean(),
         days["observed"].corr(days["predicted"]))
        for place, days in held_out.groupby(PLACE)
        if len(days) >= min_days
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=[*PLACE, "days", "bias", "r"])


def skill_of_parts(held_out: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the `station_skill` of a table that comes in parts of whole stations."""
    skills = [station_skill(days) for days in held_out]
    # A part without such a station has columns of no type, which would be those of all.
    return pd.concat([skill for skill in skills if len(skill)] or skills[:1], ignore_index=True)


def at_place(field: xr.DataArray, lat: float, lon: float) -> xr.DataArray:
    """Return the series of the pixel that holds a place, by the grid's own rule of borders.

    Parameters
    ----------
    field : DataArray (time, lat, lon)
        On the grid, at least two rows.
    lat, lon : float, deg

    Returns
    -------
    DataArray (time)

    Raises
    ------
    ValueError
        If the place is outside the field.
    """
    step = abs(float(field["lat"][1] - field["lat"][0]))
    grid = Grid(round(1 / step))
    centre = {"lat": float(grid.lat(grid.row_of(lat))), "lon": float(grid.lon(grid.col_of(lon)))}
    try:
        return field.sel(centre, method="nearest", tolerance=step / 4)
    except KeyError as error:
        raise ValueError(
            f"{field.name}: no pixel at {lat:.4f} N {lon:.4f} E; choose a place inside the area"
        ) from error


def station_series(days: pd.DataFrame, product: xr.Dataset, cube: xr.Dataset) -> pd.DataFrame:
    """Return what was observed and predicted at one station, and the APEI of its pixel.

    Parameters
    ----------
    days : DataFrame
        The predictions of one station, of any splits.
    product, cube : Dataset
        ``ssm`` in m3 m-3 and ``apei`` in mm, both (time, lat, lon).

    Returns
    -------
    DataFrame
        Indexed by every day from the first to the last observed: ``observed``, ``held_out``
        (predicted without the station), ``product``, in m3 m-3, and ``apei`` in mm.
    """
    by_day = days.drop_duplicates("time").set_index("time")
    held_out = days[days["split"] == "new_stations"].drop_duplicates("time").set_index("time")
    index = pd.date_range(by_day.index.min(), by_day.index.max(), freq="D", name="time")
    lat, lon = days["lat"].iloc[0], days["lon"].iloc[0]
    columns = {"observed": by_day["observed"], "held_out": held_out["predicted"]}
    for name, field in (("product", product["ssm"]), ("apei", cube["apei"])):
        pixel = at_place(field, lat, lon).sel(time=slice(index[0], index[-1]))
        columns[name] = pd.Series(pixel.to_numpy(), pd.DatetimeIndex(pixel["time"].to_numpy()))
    return pd.DataFrame({name: column.reindex(index) for name, column in columns.items()})


def best_series(
    predictions: Predictions, product: xr.Dataset, cube: xr.Dataset
) -> tuple[tuple, pd.DataFrame] | None:
    """Return the place and series of the best covered station whose pixel has a product.

    Stations that were once held out come first, then those with most days in the product's
    period; None if no station lies on a predicted pixel.
    """
    found = coverage_of(predictions, product["ssm"])
    for place in found.sort_values(["held_out", "days"], ascending=False).index:
        days = _inside(predictions.at(*place), product["ssm"])
        table = station_series(days, product, cube)
        if table["product"].notna().any():
            return place, table
    return None


def coverage_of(predictions: Iterable[pd.DataFrame], ssm: xr.DataArray) -> pd.DataFrame:
    """Count the days of each place within a product's area and period.

    Parameters
    ----------
    predictions : iterable of DataFrame
        ``station``, ``lat``, ``lon``, ``time``, ``split``; a place may be in several parts.
    ssm : DataArray (time, lat, lon)

    Returns
    -------
    DataFrame (station, lat, lon)
        ``held_out``, days as a new station, and ``days`` in all.
    """
    first, last = ssm["time"].to_numpy()[[0, -1]].astype("M8[D]")
    days = (last - first).astype("int64") + 1
    held: Counter = Counter()
    seen: dict[tuple, NDArray[np.bool_]] = {}  # by day
    for part in predictions:
        for place, rows in _inside(part, ssm).groupby(PLACE):
            held[place] += int((rows["split"] == "new_stations").sum())
            there = seen.setdefault(place, np.zeros(days, dtype=bool))
            there[(rows["time"].to_numpy().astype("M8[D]") - first).astype("int64")] = True
    index = pd.MultiIndex.from_tuples(sorted(seen), names=PLACE) if seen else None
    counts = [(held[place], int(seen[place].sum())) for place in sorted(seen)]
    return pd.DataFrame(counts, index=index, columns=["held_out", "days"])


def _inside(rows: pd.DataFrame, ssm: xr.DataArray) -> pd.DataFrame:
    """Rows in a product's period and area, but for its edges."""
    inside = rows[rows["time"].between(*ssm["time"].to_numpy()[[0, -1]])]
    for name in ("lat", "lon"):
        half = abs(float(ssm[name][1] - ssm[name][0])) * 0.4999  # a border may be the neighbour's
        edges = float(ssm[name].min()) - half, float(ssm[name].max()) + half
        inside = inside[inside[name].between(*edges, inclusive="neither")]
    return inside


# ---- the figures and the numbers in their captions -----------------------------------------


def _skill_exhibits(
    predictions: Predictions, stations: pd.DataFrame, land: xr.DataArray
) -> list[Exhibit]:
    """Density plot and station maps of the stations that were held out; none without any."""
    held_out = predictions.of_split("new_stations")
    counts = [(len(days), days.groupby(PLACE).ngroups) for days in held_out]
    if not counts:
        return []
    days, places = zip(*counts, strict=True)
    figure, skill = figures.density(held_out), skill_of_parts(held_out)
    others = stations.drop(_same_places(stations, skill).index)
    maps = [_score_map(skill, others, land, of) for of in ("r", "bias")]
    return [Exhibit.of("density", figure, days=sum(days), stations=sum(places)), *maps]


def _same_places(stations: pd.DataFrame, places: pd.DataFrame) -> pd.DataFrame:
    """Rows of the stations that are among places, whose coordinates may be pixel centres."""
    pairs = stations.reset_index().merge(places[PLACE], on="station", suffixes=("", "_place"))
    near = [(pairs[name] - pairs[f"{name}_place"]).abs() < SAME_DEGREES for name in ("lat", "lon")]
    return stations.loc[pairs["index"][near[0] & near[1]].unique()]


def _score_map(skill: pd.DataFrame, others: pd.DataFrame, land: xr.DataArray, of: str) -> Exhibit:
    """Map of one score of the held-out stations."""
    shown = skill.dropna(subset=[of])
    figure = figures.station_map(shown, others, land, of)
    numbers = {"median": number(shown[of].median(), 3), "stations": len(shown)}
    return Exhibit.of(f"station_{of}", figure, **numbers, others=len(others), min_days=MIN_DAYS)


def _importance_exhibit(importance: pd.Series) -> Exhibit:
    """Bars of the predictors; the caption spells out their names."""
    ranked = importance.sort_values(ascending=False)
    names = {name: PREDICTORS[name].long_name for name in ranked.index if name in PREDICTORS}
    return Exhibit.of(
        "importance",
        figures.importance_bars(ranked),
        ranked=ranked,
        names=names,
        drawn=min(len(ranked), figures.MOST_BARS),
    )


def _map_exhibit(mean: xr.DataArray, product: xr.Dataset) -> Exhibit:
    """Map of mean SSM."""
    first, last = (str(day)[:10] for day in product["time"].to_numpy()[[0, -1]])
    low, high = (number(float(edge), 2) for edge in (mean.min(), mean.max()))
    values = {"first": first, "last": last, "low": low, "high": high, "step": mean.attrs["step"]}
    return Exhibit.of("mean_ssm", figures.ssm_map(mean), **values)


def _series_exhibits(
    predictions: Predictions, stations: pd.DataFrame, product: xr.Dataset, cube: xr.Dataset
) -> list[Exhibit]:
    """Series of the best covered station; none if no station lies on a predicted pixel."""
    best = best_series(predictions, product, cube)
    if best is None:
        return []
    place, table = best
    network = "/".join(_same_places(stations, pd.DataFrame([place], columns=PLACE))["network"])
    days, held_out = len(table.dropna(subset=["observed", "product"])), table["held_out"].notna()
    values = {"station": place[0], "network": network, "days": days, "held_out": held_out.any()}
    return [Exhibit.of("series", figures.series(table), **values)]


# ---- the page ------------------------------------------------------------------------------


def _page(title: str, scores: dict, facts: Mapping[str, str], exhibits: list[Exhibit]) -> str:
    """Render the page."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gssm_cube"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = number
    return environment.get_template("report.html.j2").render(
        title=title,
        facts=facts,
        rows=score_rows(scores),
        strata=stratum_rows(scores.get("new_stations") or {}),
        truth=scores.get("truth") or {},
        counts={name: number(value, 0) for name, value in (scores.get("rows") or {}).items()},
        forest=scores.get("forest") or {},
        new=scores.get("new_stations") or {},
        splits={name: row for name in SPLIT_TITLES if (row := scores.get("splits", {}).get(name))},
        split_titles=SPLIT_TITLES,
        exhibits={exhibit.name: exhibit for exhibit in exhibits},
    )
