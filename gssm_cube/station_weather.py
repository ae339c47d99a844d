"""Features of a station table from its own weather columns, by the functions of the cube.

| role | columns that are looked for | what |
|---|---|---|
| ``station`` ``time`` | ``station``, ``wban``; ``time``, ``lst_date`` | name, and day |
| ``lat`` ``lon`` | ``station_lat``, ``latitude``; ... | degrees |
| ``observed`` | ``observed``, ``soil_moisture_5_daily`` | m3 m-3; outside 0 to 0.8 is missing |
| ``rain`` | ``rain``, ``p_daily_calc`` | precipitation, mm d-1 |
| ``tmin`` ``tmax`` ``tair`` | the same; ``t_daily_min`` ``t_daily_max`` ``t_daily_mean`` | degC |
| ``lst`` ``lst_min`` ``lst_max`` | the same; ``sur_temp_daily_avg``, ``_min``, ``_max`` | degC |
| ``clay`` ``sand`` ``silt`` | the same; ``clay_pct``, ... | % |
| ``porosity`` | ``porosity``, ``saturation_m3m3`` | m3 m-3 |
| ``organic_carbon`` | ``organic_carbon``, ``organic_carbon_pct`` | % |
| ``elevation`` | ``elevation``, ``elevation_m`` | m |

The second names are those of NOAA's Climate Reference Network and of soil data joined to it. A
table must have the weather and the first five roles; without the rest their features are not made.
The year before a station's first day is taken to be like its first year of the table (a shorter
table is repeated), so that the memory has a past. The climate is the mean of all days of the
table; the observed soil moisture is never looked at.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm_cube.harmonise import memory
from gssm_cube.harmonise.climate import climate_means, climate_sums
from gssm_cube.harmonise.soil import VAN_BEMMELEN
from gssm_cube.variables import names_of

logger = logging.getLogger(__name__)

NAMES = {
    "station": ("station", "wban"),
    "time": ("time", "lst_date"),
    "lat": ("station_lat", "latitude"),
    "lon": ("station_lon", "longitude"),
    "observed": ("observed", "soil_moisture_5_daily"),
    "rain": ("rain", "p_daily_calc"),
    "tmin": ("tmin", "t_daily_min"),
    "tmax": ("tmax", "t_daily_max"),
    "tair": ("tair", "t_daily_mean"),
    "lst": ("lst", "sur_temp_daily_avg"),
    "lst_min": ("lst_min", "sur_temp_daily_min"),
    "lst_max": ("lst_max", "sur_temp_daily_max"),
    "clay": ("clay", "clay_pct"),
    "sand": ("sand", "sand_pct"),
    "silt": ("silt", "silt_pct"),
    "porosity": ("porosity", "saturation_m3m3"),
    "organic_carbon": ("organic_carbon", "organic_carbon_pct"),
    "elevation": ("elevation", "elevation_m"),
}
NEEDED = ("station", "time", "lat", "lon", "observed", "rain", "tmin", "tmax", "tair")
WEATHER = {"rain": "precipitation", "tmin": "tmin", "tmax": "tmax", "tair": "tair"}
MADE = (
    *("precipitation", "pet", *memory.RECURSIVE, *memory.SUMS, *memory.MEANS),
    *names_of("climate"),
)
SAME = ("tair", "lst", "clay", "sand", "silt", "porosity", "elevation")
POSSIBLE = (*MADE, *SAME, "lst_diff", "climate_lst_diff", "omc")
OBSERVED_RANGE = (0.0, 0.8)  # m3 m-3: more than any mineral soil holds is a fault of the sensor


def find_columns(table: pd.DataFrame, chosen: Mapping[str, str]) -> dict[str, str]:
    """Return the column of each role that a table has.

    Parameters
    ----------
    table : DataFrame
    chosen : mapping
        Columns by role, before those that are looked for.

    Raises
    ------
    ValueError
        If a role is not known, a chosen column not there, or a needed role without a column.
    """
    unknown = sorted(set(chosen) - set(NAMES))
    if unknown:
        raise ValueError(f"roles {unknown} are not known, expected some of {list(NAMES)}")
    absent = sorted(name for name in chosen.values() if name not in table)
    if absent:
        raise ValueError(f"the table has no columns {absent}; it has {list(table.columns)}")
    found = {role: next((n for n in names if n in table), None) for role, names in NAMES.items()}
    columns = {role: name for role, name in {**found, **chosen}.items() if name is not None}
    lacking = {role: NAMES[role] for role in NEEDED if role not in columns}
    if lacking:
        raise ValueError(
            f"the table has no column for {list(lacking)} (looked for "
            f"{[n for names in lacking.values() for n in names]}); name them, such as "
            f"{next(iter(lacking))}=COLUMN"
        )
    return columns


def derive_features(table: pd.DataFrame, columns: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Add the features of memory and climate to a table of station-days.

    Parameters
    ----------
    table : DataFrame
        A row per station-day in any order; days may be missing, see ``harmonise.memory``.
    columns : mapping, optional
        Columns by role where they have other names than this module looks for.

    Returns
    -------
    DataFrame
        The table with ``station``, ``time``, ``station_lat``, ``station_lon``, ``observed``, and
        features by name (float32). NaN on days that lack rain or temperature.

    Raises
    ------
    ValueError
        If columns are missing, or a station has a day twice.
    """
    named = find_columns(table, columns or {})
    day = pd.to_datetime(table[named["time"]]).to_numpy().astype("M8[D]")
    _check_rows(table[named["station"]], day)
    made = {name: np.full(len(table), np.nan, "float32") for name in _derived(named)}
    for places in table.groupby(named["station"], sort=False, observed=True).indices.values():
        rows = np.asarray(places)[np.argsort(day[places], kind="stable")]
        for name, values in _of_station(table.iloc[rows], named, day[rows]).items():
            made[name][rows] = values
    derived: dict[str, Any] = {name: table[named[name]] for name in SAME if name in named}
    derived |= made
    derived |= {NAMES[role][0]: table[named[role]] for role in ("station", "lat", "lon")}
    derived |= {"time": pd.to_datetime(table[named["time"]])}
    observed = _plausible(table[named["observed"]])
    lost = int(np.isnan(made["swe"]).sum())
    logger.info(
        "features of %d rows: %d lack rain or temperature; the memory of each station starts "
        "from its first year, repeated", len(table), lost,
    )  # fmt: skip
    return table.assign(**derived, observed=observed)


def _derived(named: Mapping[str, str]) -> list[str]:
    """Names of the features that can be made of the columns that there are."""
    names = ["lst_diff", "climate_lst_diff"] if {"lst_min", "lst_max"} <= set(named) else []
    return [*MADE, *names, *(["omc"] if "organic_carbon" in named else [])]


def _check_rows(station: pd.Series, day: NDArray[np.datetime64]) -> None:
    """Raise if a station has a day twice, or a row has neither."""
    if station.isna().any() or np.isnat(day).any():
        raise ValueError(
            f"{int(station.isna().sum())} rows have no station, {int(np.isnat(day).sum())} no day; "
            "drop them"
        )
    twice = pd.DataFrame({"station": station.to_numpy(), "day": day}).duplicated()
    if twice.any():
        place = int(np.flatnonzero(twice)[0])
        raise ValueError(
            f"station {station.iloc[place]} has {day[place]} twice ({int(twice.sum())} such rows); "
            "expected one row a station and day"
        )


def _plausible(observed: pd.Series) -> pd.Series:
    """Return soil moisture with what no soil can hold as missing."""
    low, high = OBSERVED_RANGE
    outside = observed.notna() & ~observed.between(low, high)
    if outside.any():
        logger.warning("%d observed values lie outside %g to %g: missing", outside.sum(), low, high)
    return observed.mask(outside)


def _of_station(
    rows: pd.DataFrame, named: Mapping[str, str], day: NDArray[np.datetime64]
) -> dict[str, Any]:
    """Return all features of the days of one station, in order of time."""
    days = np.arange(day[0], day[-1] + 1)
    held = (day - day[0]).astype("int64")
    weather = {name: _on_days(rows[named[role]], held, days.size) for role, name in WEATHER.items()}
    lat = np.asarray(rows[named["lat"]].iloc[0], dtype="float64")
    past = _past(days.size)
    long = {name: np.concatenate([values[past], values]) for name, values in weather.items()}
    long_days = np.concatenate([days[past], days])
    state = memory.spin_up(long, long_days, lat, past.size)
    recent = past.size - memory.LOOK_BACK_DAYS
    late = {name: values[recent:] for name, values in long.items()}
    features, _ = memory.memory_features(late, long_days[recent:], lat, state)
    climate = climate_means(climate_sums({**features, "tair": weather["tair"]}, days))
    made: dict[str, Any] = {name: values[held] for name, values in features.items()} | climate
    if {"lst_min", "lst_max"} <= set(named):
        made["lst_diff"] = (rows[named["lst_max"]] - rows[named["lst_min"]]).to_numpy("float64")
        made["climate_lst_diff"] = pd.Series(made["lst_diff"]).mean()
    if "organic_carbon" in named:
        made["omc"] = VAN_BEMMELEN * rows[named["organic_carbon"]].to_numpy("float64")
    return made


def _on_days(values: pd.Series, held: NDArray[np.int64], days: int) -> NDArray[np.float64]:
    """Spread values over all days; NaN where there is no row."""
    spread = np.full(days, np.nan)
    spread[held] = values.to_numpy(dtype="float64", na_value=np.nan)
    return spread


def _past(days: int) -> NDArray[np.int64]:
    """Days of a table that stand for the year before it."""
    year = memory.SPIN_UP_DAYS
    return np.arange(year) if days >= year else np.arange(-year, 0) % days


def derive_lacking(
    tables: list[pd.DataFrame],
    features: Sequence[str],
    places: dict[str, str],
    columns: str | None,
) -> tuple[list[pd.DataFrame], dict[str, Any]]:
    """Make the features that tables lack, if all can be; also return the columns of the roles."""
    lacking = set(features) - set(tables[0].columns)
    if columns is None and not (lacking and lacking <= set(POSSIBLE)):
        return tables, places
    pairs = [pair.partition("=")[::2] for pair in columns.split(",")] if columns else []
    chosen = {role: name for role, name in places.items() if name != NAMES[role][0]}
    chosen |= {role.strip(): name.strip() for role, name in pairs}
    return [derive_features(table, chosen) for table in tables], {r: NAMES[r][0] for r in places}
