"""Folds that are as far from their training stations as the map is from all stations.

k-fold nearest-neighbour distance matching (Linnenbrink et al. 2024,
doi:10.5194/gmd-17-5897-2024): a score from folds is that of a map only if the held-out stations
are as hard to reach from the others as the map's pixels are from the stations. Stations are
clustered ever more finely, clusters are dealt to folds, and the folds are kept whose distances
to the nearest training station come closest to those of the prediction points.
"""

import logging
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.cluster.hierarchy import fcluster
from scipy.stats import ks_2samp, wasserstein_distance

from gssm_cube.splits import place_folds
from gssm_cube.statistics.sphere import cluster_tree, group_centres, nearest_km

logger = logging.getLogger(__name__)

SIZES = 20  # numbers of clusters to try, evenly spaced on a logarithmic axis
DEALS = 5  # ways to deal the clusters of one size
LARGEST_SHARE = 0.5  # of the stations that a fold may hold, as in the paper
SIGNIFICANCE = 0.05  # of the test for clustered stations, as in the paper
DRAWN_PIXELS = 20_000  # of a run's box, sea included: enough for a distribution of distances


@dataclass(frozen=True)
class MatchedFolds:
    """Folds by nearest-neighbour distance matching, and the distances that they rest on.

    Parameters
    ----------
    folds : ndarray (row), int64
        Fold of each row, from 0.
    clusters : int or None
        Clusters that were dealt to the folds; None if whole groups were dealt at random, because
        stations are no more clustered than the prediction points demand.
    wasserstein_km : float
        Between the distances of the folds and those of the prediction points; 0 is a match.
    fold_km : ndarray (station), km
        From each station to the nearest one of another fold.
    prediction_km : ndarray (prediction point), km
        From each prediction point to the nearest station.
    station_km : ndarray (station), km
        From each station to the nearest one of another group: the least that folds can have.
    """

    folds: NDArray[np.int64]
    clusters: int | None
    wasserstein_km: float
    fold_km: NDArray[np.float64]
    prediction_km: NDArray[np.float64]
    station_km: NDArray[np.float64]


@dataclass(frozen=True)
class _Stations:
    """Distinct places with the index of their group."""

    lat: NDArray[np.float64]
    lon: NDArray[np.float64]
    group: NDArray[np.int64]

    def km_to_other(self, label: NDArray[np.int64]) -> NDArray[np.float64]:
        """Distance of each station to the nearest one with another label than its own."""
        found = np.empty(self.lat.size)
        for value in np.unique(label):
            own = label == value
            found[own] = nearest_km(self.lat[own], self.lon[own], self.lat[~own], self.lon[~own])
        return found


def matched_folds(
    groups: ArrayLike,
    lat: ArrayLike,
    lon: ArrayLike,
    target_lat: ArrayLike,
    target_lon: ArrayLike,
    *,
    k: int = 5,
    seed: int = 0,
) -> MatchedFolds | None:
    """Deal whole groups to folds that are as far apart as prediction points are from stations.

    Parameters
    ----------
    groups, lat, lon : array (row)
        Group of each row, from `place_groups`, and its place (degrees).
    target_lat, target_lon : array (prediction point), degrees
        Where predictions will be made: pixels drawn from the land of a run, for example.
    k : int
        Folds; one per group if there are fewer groups.
    seed : int
        Of the deals; clusters have none.

    Returns
    -------
    MatchedFolds or None
        None if there are fewer than two groups.

    Raises
    ------
    ValueError
        If there is no prediction point.
    """
    lat, lon = np.asarray(lat, dtype="float64"), np.asarray(lon, dtype="float64")
    target_lat, target_lon = np.atleast_1d(target_lat), np.atleast_1d(target_lon)
    if target_lat.size == 0:
        raise ValueError("no prediction point: give places where predictions will be made")
    names, north, east, index = group_centres(groups, lat, lon)
    dealt = place_folds(np.arange(names.size), k=k, seed=seed)
    if dealt is None:
        return None
    stations = _stations(index, lat, lon)
    prediction_km = nearest_km(target_lat, target_lon, stations.lat, stations.lon)
    station_km = stations.km_to_other(stations.group)
    clusters = None
    if _clustered(station_km, prediction_km):
        tree = cluster_tree(north, east, "average")
        best = _best_deal(tree, stations, prediction_km, min(k, names.size), seed)
        dealt, clusters = best if best is not None else (dealt, None)
    fold_km = stations.km_to_other(dealt[stations.group])
    gap = float(wasserstein_distance(fold_km, prediction_km))
    logger.info("kNNDM: %s clusters, %.1f km from a match", clusters or "no", gap)
    return MatchedFolds(dealt[index], clusters, gap, fold_km, prediction_km, station_km)


def prediction_points(
    land: xr.DataArray, *, drawn: int = DRAWN_PIXELS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return places that stand for the land of a run: every n-th pixel of every n-th row.

    Parameters
    ----------
    land : DataArray (lat, lon)
        1 on land; lazy, read at these pixels only.
    drawn : int
        Pixels to look at, about.

    Returns
    -------
    lat, lon : ndarray (point), degrees
    """
    step = max(1, int(np.sqrt(land.size / drawn)))
    every = slice(min(step // 2, min(land.shape) - 1), None, step)
    found = land.transpose("lat", "lon").isel(lat=every, lon=every)
    row, col = np.nonzero(found.to_numpy() == 1)
    return found["lat"].to_numpy()[row], found["lon"].to_numpy()[col]


def _stations(
    index: NDArray[np.int64], lat: NDArray[np.float64], lon: NDArray[np.float64]
) -> _Stations:
    """Distinct places of the rows."""
    group, lat, lon = np.unique(np.column_stack([index, lat, lon]), axis=0).T
    return _Stations(lat, lon, group.astype("int64"))


def _clustered(station_km: NDArray[np.float64], prediction_km: NDArray[np.float64]) -> bool:
    """Whether stations are nearer to one another than prediction points are to them."""
    test = ks_2samp(station_km, prediction_km, alternative="greater")
    return bool(test.pvalue < SIGNIFICANCE)


def _best_deal(
    tree: NDArray[np.float64],
    stations: _Stations,
    prediction_km: NDArray[np.float64],
    k: int,
    seed: int,
) -> tuple[NDArray[np.int64], int] | None:
    """Fold of each group, and how many clusters, of the deal nearest to the target distances."""
    count = tree.shape[0] + 1
    rng = np.random.default_rng(seed)
    weights = np.bincount(stations.group, minlength=count)  # stations of each group
    best, least = None, np.inf
    for size in np.unique(np.round(np.geomspace(k, count, SIZES)).astype(int)):
        cluster = fcluster(tree, size, "maxclust") - 1
        for _ in range(DEALS):
            folds = _deal(np.bincount(cluster, weights), k, rng)[cluster]
            shares = np.bincount(folds, weights, minlength=k) / weights.sum()
            if shares.max() > LARGEST_SHARE or not shares.all():
                continue
            gap = wasserstein_distance(stations.km_to_other(folds[stations.group]), prediction_km)
            if gap < least:
                best, least = (folds, int(cluster.max()) + 1), gap
    return best


def _deal(weights: ArrayLike, k: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Fold of each cluster: the heaviest first, each to the lightest fold, ties at random."""
    weights = np.asarray(weights, dtype="float64")
    folds, load = np.empty(weights.size, dtype="int64"), np.zeros(k)
    for cluster in np.lexsort((rng.random(weights.size), -weights)):
        folds[cluster] = rng.choice(np.flatnonzero(load == load.min()))
        load[folds[cluster]] += weights[cluster]
    return folds
