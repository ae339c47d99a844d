"""Places on the sphere: distances, nearest neighbours, clusters."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist
from sklearn.neighbors import BallTree

EARTH_KM = 6371.0  # mean radius; the ellipsoid differs by 0.6 % at most


def nearest_km(
    lat: ArrayLike, lon: ArrayLike, to_lat: ArrayLike, to_lon: ArrayLike
) -> NDArray[np.float64]:
    """Return how far each place is from the nearest of other places, along the sphere.

    Parameters
    ----------
    lat, lon : array (place), degrees
        From here.
    to_lat, to_lon : array (other), degrees
        To the nearest of these; at least one.

    Returns
    -------
    ndarray (place), float64, km
    """
    return nearest(lat, lon, to_lat, to_lon)[1]


def nearest(
    lat: ArrayLike, lon: ArrayLike, to_lat: ArrayLike, to_lon: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return which of other places is nearest to each place, and how far it is in km.

    Parameters
    ----------
    lat, lon : array (place), degrees
    to_lat, to_lon : array (other), degrees
        At least one.

    Returns
    -------
    ndarray (place), int64; ndarray (place), float64, km
    """
    tree = BallTree(_radians(to_lat, to_lon), metric="haversine")
    distance, index = tree.query(_radians(lat, lon))
    return index[:, 0], EARTH_KM * distance[:, 0]


def group_centres(
    groups: ArrayLike, lat: ArrayLike, lon: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Return the centre of each group's places, each place counted once.

    Parameters
    ----------
    groups, lat, lon : array (row)
        Group and place (degrees) of each row; rows of one station repeat its place.

    Returns
    -------
    names : ndarray (group)
        Sorted.
    lat, lon : ndarray (group), degrees
        Of the mean direction, so that 180 degrees east is no border.
    index : ndarray (row)
        Where in ``names`` each row's group stands.
    """
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    rows = np.column_stack([index, np.asarray(lat, "float64"), np.asarray(lon, "float64")])
    places = np.unique(rows, axis=0)
    total = np.zeros((names.size, 3))
    np.add.at(total, places[:, 0].astype("int64"), _directions(places[:, 1], places[:, 2]))
    east = np.degrees(np.arctan2(total[:, 1], total[:, 0]))
    north = np.degrees(np.arctan2(total[:, 2], np.hypot(total[:, 0], total[:, 1])))
    return names, north, east, index


def cluster_tree(lat: ArrayLike, lon: ArrayLike, method: str) -> NDArray[np.float64]:
    """Return SciPy's linkage of places by their distances along the sphere, in km.

    Parameters
    ----------
    lat, lon : array (place), degrees
        At least two; memory grows with the square: 30 MB for 2,700 places.
    method : str
        ``"average"``, ``"complete"`` and so on.
    """
    chords = pdist(_directions(np.asarray(lat, "float64"), np.asarray(lon, "float64")))
    return linkage(2 * EARTH_KM * np.arcsin(np.clip(chords / 2, 0, 1)), method)


def _radians(lat: ArrayLike, lon: ArrayLike) -> NDArray[np.float64]:
    """Pairs as BallTree takes them."""
    return np.radians(np.column_stack([np.atleast_1d(lat), np.atleast_1d(lon)]).astype("float64"))


def _directions(lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return unit vectors from the centre of the Earth."""
    north, east = np.radians(lat), np.radians(lon)
    along = np.cos(north)
    return np.column_stack([along * np.cos(east), along * np.sin(east), np.sin(north)])
