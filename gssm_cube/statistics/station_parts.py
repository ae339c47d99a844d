"""Tables of station-days that may come in parts, so that no more than a part is held."""

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import pandas as pd

# A table, or what gives its parts, as often as it is asked: each has all rows of its stations.
Parts: TypeAlias = pd.DataFrame | Iterable[pd.DataFrame]


def parts_of(table: Parts) -> Iterable[pd.DataFrame]:
    """Return the parts of a table: it is one itself if it came whole."""
    return [table] if isinstance(table, pd.DataFrame) else table


def station_by_station(table: Parts) -> Iterator[pd.DataFrame]:
    """Yield the rows of each station, by ``station``, in the order of the parts."""
    for part in parts_of(table):
        for _, days in part.groupby("station", observed=True):
            yield days
