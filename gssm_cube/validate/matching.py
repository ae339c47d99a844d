"""Stations and products side by side on the days that all of them have."""

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm_cube.blocks import Progress, silent
from gssm_cube.validate.places import Places, coarse_cells, read_places
from gssm_cube.validate.references import ABOUT, Reference
from gssm_cube.validate.settings import Comparison

logger = logging.getLogger(__name__)

STATION = "station"  # the column of what was measured
GridName = Literal["own", "coarse"]


@dataclass(frozen=True)
class Matched:
    """Series of stations, or of coarse cells with stations, and of all products.

    ``values`` (column, place, day) in m3 m-3, the first column is ``station``; NaN in all columns
    unless all have a value. ``alone`` (column): station-days on which the stations and that product
    have one, ``stations``, ``days`` and ``frozen`` as in `Reference`.
    """

    grid: GridName
    columns: tuple[str, ...]
    values: NDArray[np.float32]
    stations: pd.DataFrame
    days: pd.DatetimeIndex
    alone: dict[str, int]
    frozen: NDArray[np.bool_] | None = None

    @property
    def products(self) -> tuple[str, ...]:
        """Names of the products."""
        return self.columns[1:]

    @property
    def names(self) -> list[str]:
        """Names of the stations or cells."""
        return [str(name) for name in self.stations.index]

    @property
    def common(self) -> NDArray[np.bool_]:
        """Station-days (place, day) that count."""
        return np.isfinite(self.values[0])

    def table(self, product: str, stations: pd.Index) -> pd.DataFrame:
        """Return a product's common days at some stations, as `within_cells` takes them."""
        chosen = self.stations.index.get_indexer(stations)
        place, day = np.nonzero(self.common[chosen])
        about = self.stations[["lat", "lon"]].to_numpy()[chosen]
        number = self.columns.index(product)
        return pd.DataFrame({
            "station": stations.to_numpy()[place],
            "lat": about[place, 0], "lon": about[place, 1], "time": self.days[day],
            "observed": self.values[0, chosen[place], day].astype("float64"),
            "predicted": self.values[number, chosen[place], day].astype("float64"),
        })  # fmt: skip


def match(
    settings: Comparison, reference: Reference, grid: GridName, *, progress: Progress = silent
) -> Matched:
    """Read all products at the stations, or over coarse cells, and keep what all have.

    Parameters
    ----------
    settings : Comparison
    reference : Reference
    grid : {"own", "coarse"}
        Each product's pixel that holds the station, or cells of ``coarse_degrees``, over which
        stations and products are averaged.
    progress : callable

    Returns
    -------
    Matched

    Raises
    ------
    FileNotFoundError, ValueError
        If a product cannot be read, or no station-day is common to all.
    """
    if grid == "coarse":
        reference, places = coarse_reference(reference, settings.coarse_degrees)
    else:
        about = reference.stations
        places = Places(about["lat"].to_numpy("float64"), about["lon"].to_numpy("float64"))
    series = [reference.observed]
    for name, source in settings.products.items():
        series.append(read_places(name, source, places, reference.days, progress=progress))
    return keep_common(reference, grid, (STATION, *settings.products), np.stack(series))


def keep_common(
    reference: Reference, grid: GridName, columns: tuple[str, ...], values: NDArray[np.float32]
) -> Matched:
    """Make NaN of every station-day that one of the columns lacks.

    Parameters
    ----------
    reference : Reference
    grid : {"own", "coarse"}
    columns : tuple of str
    values : ndarray (column, place, day), m3 m-3
        Changed in place.

    Raises
    ------
    ValueError
        If nothing is left; the message says how much each product has by itself.
    """
    known = np.isfinite(values)
    alone = {
        name: int((known[0] & known[number]).sum()) for number, name in enumerate(columns) if number
    }
    common = known.all(axis=0)
    logger.info("%s grid: %d common station-days of %s", grid, common.sum(), alone)
    if not common.any():
        raise ValueError(
            f"no station-day is common to the {known[0].sum()} of the stations and all products; "
            f"with the stations each has {alone}: look at days and places, or leave one out"
        )
    values[:, ~common] = np.nan
    return Matched(
        grid, columns, values, reference.stations, reference.days, alone, reference.frozen
    )


def coarse_reference(reference: Reference, degrees: float) -> tuple[Reference, Places]:
    """Average the stations of each coarse cell.

    Parameters
    ----------
    reference : Reference
    degrees : float
        Edge of the cells.

    Returns
    -------
    Reference, Places
        Cells in place of stations; what the stations of a cell do not share is unknown of it.
    """
    stations = reference.stations
    lat, lon = (stations[name].to_numpy("float64") for name in ("lat", "lon"))
    index, cells = coarse_cells(lat, lon, degrees)
    shape = len(cells), len(reference.days)
    total, count = np.zeros(shape), np.zeros(shape, dtype="int32")
    np.add.at(total, index, np.nan_to_num(reference.observed, nan=0.0))
    np.add.at(count, index, np.isfinite(reference.observed))
    observed = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype("float32")
    about = stations[list(ABOUT)].groupby(index).agg(_shared)
    names = [f"{lat:+.3f} {lon:+.3f}" for lat, lon in zip(cells.lat, cells.lon, strict=True)]
    table = about.assign(lat=cells.lat, lon=cells.lon).set_axis(pd.Index(names, name="station"))
    frozen = None
    if reference.frozen is not None:
        frozen = np.zeros(shape, dtype="bool")
        np.logical_or.at(frozen, index, reference.frozen)
    return Reference(table, reference.days, observed, frozen), cells


def _shared(values: pd.Series) -> object:
    """Return what all stations of a cell have; None if they differ."""
    found = values.dropna().unique()
    return found[0] if len(found) == 1 else None
