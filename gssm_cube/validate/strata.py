"""Parts of the stations and of the days in which products are compared once more."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gssm_cube.validate.matching import Matched
from gssm_cube.validate.references import irrigation_of

LEAST_STATIONS = 2  # of a group
SEASONS = {12: "DJF", 1: "DJF", 2: "DJF", 3: "MAM", 4: "MAM", 5: "MAM",
           6: "JJA", 7: "JJA", 8: "JJA", 9: "SON", 10: "SON", 11: "SON"}  # fmt: skip


def station_groups(stations: pd.DataFrame) -> Iterator[tuple[str, str, pd.Index]]:
    """Yield stratum, group and stations: by network, climate, land cover and irrigation.

    Parameters
    ----------
    stations : DataFrame (station)
        With ``network``, ``koeppen``, ``land_cover`` and ``irrigated``, missing where unknown.

    Yields
    ------
    str, str, Index
        Groups of fewer than two stations are left out, and a stratum with a single group.
    """
    columns = stations.assign(irrigation=irrigation_of(stations))
    for stratum in ("network", "koeppen", "land_cover", "irrigation"):
        groups = columns.groupby(stratum, observed=True).groups
        if len(groups) < 2:
            continue
        for group, members in groups.items():
            if len(members) >= LEAST_STATIONS:
                yield stratum, str(group), members


def day_groups(matched: Matched) -> Iterator[tuple[str, str, NDArray[np.bool_]]]:
    """Yield stratum, group and station-days: by season, and frozen or not where it is known.

    Parameters
    ----------
    matched : Matched

    Yields
    ------
    str, str, ndarray (place or 1, day), bool
    """
    season = matched.days.month.map(SEASONS).to_numpy()
    for name in dict.fromkeys(SEASONS.values()):
        days = season == name
        if days.any():
            yield "season", name, days[None]
    if matched.frozen is not None and (matched.frozen & matched.common).any():
        yield "ground", "frozen", matched.frozen
        yield "ground", "not frozen", ~matched.frozen
