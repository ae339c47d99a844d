"""The stations that products are compared with: their places, and their values by day."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm_cube.validate.settings import Comparison
from gssm_cube.validate.units import VOLUMETRIC, volumetric

NEEDED = ("station", "lat", "lon", "time", "observed")
ABOUT = ("network", "koeppen", "land_cover", "irrigated")  # what a table may say of a station
ONE_PLACE = 0.01  # degrees: files of a station may round its place unequally
IRRIGATED = "irrigated"  # in the words of ESA CCI land cover


@dataclass(frozen=True)
class Reference:
    """Stations and what they measured.

    ``stations``: a row each, indexed by name, with ``lat``, ``lon``, ``network`` and what the
    table says of ``koeppen``, ``land_cover`` and ``irrigated``. ``observed`` (station, day) in
    m3 m-3 on ``days``, every day from the first to the last; ``frozen`` the same in truth values
    where the table has them.
    """

    stations: pd.DataFrame
    days: pd.DatetimeIndex
    observed: NDArray[np.float32]
    frozen: NDArray[np.bool_] | None = None


def read_reference(settings: Comparison) -> Reference:
    """Read the stations of a comparison.

    Parameters
    ----------
    settings : Comparison
        Its ``stations`` is a table, Parquet or CSV, or an ISMN archive.

    Returns
    -------
    Reference

    Raises
    ------
    FileNotFoundError
        If it is not there.
    ValueError
        If columns are missing, a station has no place or several, most observations are no
        volumes, or nothing is left in the chosen days.
    """
    table = _read_table(settings.stations)
    _check_places(settings.stations, table)
    observed = table["observed"].to_numpy("float64")[None]
    table = table.assign(observed=volumetric("stations", observed, VOLUMETRIC)[0])
    table = table.dropna(subset=["observed"])
    # Stamps with a zone are brought to UTC, others are UTC.
    day = pd.DatetimeIndex(pd.to_datetime(table["time"], utc=True)).tz_localize(None).floor("D")
    inside = np.ones(len(table), dtype="bool")
    if settings.first_day is not None:
        inside &= day >= pd.Timestamp(settings.first_day)
    if settings.last_day is not None:
        inside &= day <= pd.Timestamp(settings.last_day)
    if not inside.any():
        raise ValueError(
            f"stations {settings.stations}: none of {len(table)} observations lies in the days "
            f"{settings.first_day} to {settings.last_day} that are compared"
        )
    return _reference(table[inside], day[inside])


def irrigation_of(stations: pd.DataFrame) -> pd.Series:
    """Tell which stations are irrigated: as the table says, or by their land cover.

    Parameters
    ----------
    stations : DataFrame (station)

    Returns
    -------
    Series (station)
        "irrigated", "rainfed", or missing where nothing is known.
    """
    if stations["irrigated"].notna().any():
        said = stations["irrigated"]
        watered = said.astype("str").str.lower().isin(["true", "1", "1.0", "yes"])
    else:
        said = stations["land_cover"]
        words = said.astype("str").str.lower()
        watered = words.str.contains(IRRIGATED, regex=False)
        watered &= ~words.str.contains("not irrigated", regex=False)
    return watered.map({True: "irrigated", False: "rainfed"}).astype("object").where(said.notna())


def _read_table(path: Path) -> pd.DataFrame:
    """Read a table of station-days, or the days of an archive."""
    if not path.exists():
        raise FileNotFoundError(f"no stations at {path}: give a table or an ISMN archive")
    if path.suffix == ".parquet":
        table = pd.read_parquet(path)
    elif path.suffix == ".csv":
        table = pd.read_csv(path, parse_dates=["time"] if "time" in _header(path) else None)
    else:
        from gssm_cube.stations import read_stations  # late: a table needs no reader of archives

        table, _ = read_stations(path)
    if missing := [name for name in NEEDED if name not in table]:
        raise ValueError(
            f"stations {path}: columns {missing} are missing (found {list(table.columns)}); a "
            f"table has {list(NEEDED)} and perhaps {list(ABOUT)} and frozen"
        )
    return table


def _check_places(path: Path, table: pd.DataFrame) -> None:
    """Raise unless each station stands at one place on the globe."""
    places = table[["station", "lat", "lon"]].drop_duplicates()
    on_globe = places["lat"].between(-90, 90) & places["lon"].between(-180, 360)
    if not on_globe.all():
        lost = places.loc[~on_globe, "station"].unique()
        raise ValueError(
            f"stations {path}: {len(lost)} have no place on the globe, such as {lost[0]!r}; give "
            "lat in -90 .. 90 and lon in -180 .. 360 degrees"
        )
    reach = places.groupby("station", observed=True)[["lat", "lon"]].agg(np.ptp)
    several = reach.index[(reach > ONE_PLACE).any(axis=1)]
    if several.size:
        raise ValueError(
            f"stations {path}: {several.size} names stand at several places, such as "
            f"{several[0]!r}; write the network before the name, as in 'SCAN/Abrams'"
        )


def _header(path: Path) -> list[str]:
    """Return the names of a CSV's columns."""
    return list(pd.read_csv(path, nrows=0).columns)


def _reference(table: pd.DataFrame, day: pd.DatetimeIndex) -> Reference:
    """Put the rows of a table where station and day say."""
    number, names = pd.factorize(table["station"], sort=True)
    about = [name for name in ABOUT if name in table]
    first = table.iloc[np.unique(number, return_index=True)[1]][["lat", "lon", *about]]
    stations = first.set_axis(pd.Index(np.asarray(names).astype("str"), name="station"))
    stations = stations.reindex(columns=["lat", "lon", *ABOUT]).astype(
        dict.fromkeys(ABOUT, "object")
    )
    days = pd.date_range(day.min(), day.max(), name="time")
    row, col = number, (day - days[0]).days.to_numpy()
    shape = len(stations), len(days)
    total, count = np.zeros(shape), np.zeros(shape, dtype="int32")
    np.add.at(total, (row, col), table["observed"].to_numpy("float64"))
    np.add.at(count, (row, col), 1)
    observed = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype("float32")
    frozen = None
    if "frozen" in table:
        frozen = np.zeros(shape, dtype="bool")
        raised = table["frozen"].eq(True).to_numpy("bool")  # what is not known is not frozen
        frozen[row[raised], col[raised]] = True
    return Reference(stations, days, observed, frozen)
