"""Who is held out from whom: rows, years, places.

A random-row split says nothing about new places: neighbouring days of one station fall on both
sides. It is here for comparison with what others print. In every split by place, stations that
share a 1 km pixel or a block of 25 km stay together: coarser groups are made of whole blocks.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.cluster.hierarchy import fcluster

from gssm_cube.grid import Grid
from gssm_cube.statistics.sphere import cluster_tree, group_centres
from gssm_cube.statistics.years import HELD_FRACTION, first_held_day

logger = logging.getLogger(__name__)

# A degree of latitude at the equator, where it is shortest on WGS 84: blocks are never smaller.
KM_PER_DEGREE = 110.574
BLOCK_KM = 25.0  # edge of the blocks that are held out whole
REGION_KM = 1500.0  # across at most: a large country, or a quarter of a continent


@dataclass(frozen=True)
class Split:
    """Which rows are judged by a forest that was trained on which others.

    Parameters
    ----------
    folds : ndarray (row), int
        Each fold is judged by a forest of rows of the others.
    judged, trained : ndarray (row), bool, optional
        Rows that may be judged, and those that may be trained on; all if not given.
    """

    folds: NDArray[np.integer]
    judged: NDArray[np.bool_] | None = None
    trained: NDArray[np.bool_] | None = None

    def parts(self) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
        """Yield rows to train on and rows to judge, fold by fold, where there are both."""
        every = np.ones(self.folds.size, dtype=bool)
        judged = every if self.judged is None else self.judged
        trained = every if self.trained is None else self.trained
        for fold in np.unique(self.folds):
            inside = self.folds == fold
            train, test = ~inside & trained, inside & judged
            if train.any() and test.any():
                yield train, test

    @property
    def count(self) -> int:
        """Number of folds that have both, of as many forests."""
        return sum(1 for _ in self.parts())


def split_random_rows(
    rows: int, *, held_fraction: float = HELD_FRACTION, seed: int = 0
) -> NDArray[np.bool_]:
    """Hold out rows at random, whatever their place and day: for comparison only.

    Parameters
    ----------
    rows : int
        Number of rows.
    held_fraction : float
        Share held out, rounded up to whole rows.
    seed : int
        Same seed, same rows.

    Returns
    -------
    ndarray (row), bool
        True where a row is held out.
    """
    if not 0 < held_fraction < 1:
        raise ValueError(f"held_fraction is {held_fraction}, expected between 0 and 1")
    held = np.zeros(rows, dtype=bool)
    chosen = np.random.default_rng(seed).permutation(rows)[: int(np.ceil(rows * held_fraction))]
    held[chosen] = True
    return held


def random_folds(rows: int, *, k: int = 5, seed: int = 0) -> NDArray[np.int8]:
    """Deal rows to folds at random, whatever their place and day: for comparison only.

    Parameters
    ----------
    rows : int
        Number of rows.
    k : int
        Folds, of equal size but for one row; 127 at most.
    seed : int
        Same seed, same folds.

    Returns
    -------
    ndarray (row), int8
    """
    return np.random.default_rng(seed).permutation(np.resize(np.arange(k, dtype="int8"), rows))


def split_years(time: ArrayLike) -> NDArray[np.bool_] | None:
    """Hold out the last quarter of the years, rounded up to whole years; see `first_held_day`.

    Parameters
    ----------
    time : array (row), datetime64
        Days of the rows, UTC.

    Returns
    -------
    ndarray (row), bool, or None
        True where a row lies in a held-out year; None if there is only one calendar year.
    """
    first = first_held_day(time)
    return None if first is None else np.asarray(time).astype("M8[D]") >= first


def place_groups(
    lat: ArrayLike, lon: ArrayLike, *, block_km: float = BLOCK_KM, grid: Grid | None = None
) -> NDArray[np.int64]:
    """Return the number of the block that holds each place.

    The centre of the place's 1 km pixel decides, so stations that share a pixel share a block.
    Blocks are cells of at least ``block_km`` in both directions: equal bands of latitude, each
    cut into as many equal cells as its edge nearer to the pole is long. Two places on either
    side of an edge are in two blocks, however near they are.

    Parameters
    ----------
    lat, lon : array (row), degrees
        Places of the rows.
    block_km : float
        Least edge of a block, km.
    grid : Grid, optional
        The pixels; 1 km if not given.

    Returns
    -------
    ndarray (row), int64
        The same place has the same number in every table.
    """
    _check_places(lat, lon)
    if not block_km > 0:
        raise ValueError(f"block_km is {block_km}, expected more than 0")
    grid = grid or Grid()
    north = grid.lat(grid.row_of(lat))
    east = grid.lon(grid.col_of(lon))
    bands = max(1, int(180 * KM_PER_DEGREE / block_km))
    band = np.minimum(((90 - north) / 180 * bands).astype("int64"), bands - 1)
    edges = np.abs(90 - np.stack([band, band + 1]) * (180 / bands)).max(axis=0)
    around = 360 * KM_PER_DEGREE / block_km  # cells round the equator
    cells = np.maximum(1, around * np.cos(np.radians(edges))).astype("int64")
    cell = np.minimum(((east + 180) / 360 * cells).astype("int64"), cells - 1)
    return band * (int(around) + 1) + cell


def place_folds(groups: ArrayLike, *, k: int = 5, seed: int = 0) -> NDArray[np.int64] | None:
    """Deal whole groups to folds at random, so that folds differ by one group at most.

    Parameters
    ----------
    groups : array (row)
        Group of each row, from `place_groups`.
    k : int
        Folds; one per group if there are fewer groups.
    seed : int
        Same seed and groups, same folds, in whatever order the rows stand.

    Returns
    -------
    ndarray (row), int64, or None
        Fold of each row, from 0; None if there are fewer than two groups.
    """
    if k < 2:
        raise ValueError(f"k is {k}, expected 2 folds or more")
    names, group = np.unique(np.asarray(groups), return_inverse=True)
    if names.size < 2:
        return None
    if names.size < k:
        logger.warning("only %d groups of places: %d folds, not %d", names.size, names.size, k)
    folds = np.arange(names.size) % min(k, names.size)
    return np.random.default_rng(seed).permutation(folds)[group].astype("int64")


def blocks_of(places: pd.DataFrame) -> NDArray[np.int64]:
    """Return the block of 25 km (see `place_groups`) of rows with ``lat`` and ``lon``, degrees."""
    return place_groups(places["lat"], places["lon"])


def coarser_groups(
    groups: ArrayLike, lat: ArrayLike, lon: ArrayLike, *, block_km: float
) -> NDArray[np.int64]:
    """Gather whole groups into larger blocks, by the centre of each group's places.

    Parameters
    ----------
    groups, lat, lon : array (row)
        Group of each row, from `place_groups`, and its place (degrees).
    block_km : float
        Least edge of the larger blocks.

    Returns
    -------
    ndarray (row), int64
    """
    _, north, east, index = group_centres(groups, lat, lon)
    return place_groups(north, east, block_km=block_km)[index]


def region_groups(
    groups: ArrayLike, lat: ArrayLike, lon: ArrayLike, *, across_km: float = REGION_KM
) -> NDArray[np.int64]:
    """Gather whole groups into regions, by complete-linkage clusters of their centres.

    Regions have no seed: the same places give the same regions. Clusters follow where stations
    stand, which borders of countries do not, and no table of borders is needed.

    Parameters
    ----------
    groups, lat, lon : array (row)
        Group of each row, from `place_groups`, and its place (degrees).
    across_km : float
        No two centres of a region are farther apart.

    Returns
    -------
    ndarray (row), int64
        Region of each row, from 0.
    """
    names, north, east, index = group_centres(groups, lat, lon)
    if names.size < 2:
        return np.zeros(index.size, dtype="int64")
    region = fcluster(cluster_tree(north, east, "complete"), across_km, "distance")
    return region[index].astype("int64") - 1


def _check_places(lat: ArrayLike, lon: ArrayLike) -> None:
    """Raise unless every place is on the globe."""
    lat, lon = np.asarray(lat, dtype="float64"), np.asarray(lon, dtype="float64")
    outside = ~((np.abs(lat) <= 90) & (np.abs(lon) <= 360))  # NaN counts as outside
    if outside.any():
        raise ValueError(
            f"{outside.sum()} of {outside.size} places are missing or off the globe, expected "
            "latitude in -90..90 and longitude in -180..180 degrees; drop or correct them"
        )
