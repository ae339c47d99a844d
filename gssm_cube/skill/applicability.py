"""How unlike all stations a place is: the dissimilarity index, as information.

The index (Meyer and Pebesma 2021, doi:10.1111/2041-210X.13650) is the distance from a place to
the most similar training station, in predictors that are standardised and weighted by their
importance, in units of the mean distance between stations. Only what does not change in time
counts: soil, terrain, means of climate. It tells where the map leaves what the stations have
seen. It is no estimate of error, and no threshold is drawn: on real stations it ranks errors
weakly, and errors beyond the usual threshold were no larger.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree
from scipy.spatial.distance import pdist

from gssm_cube.statistics.station_parts import Parts, parts_of

MAP_PIXELS = 1000  # edge of the largest overview that has every pixel
ATTRS = {
    "long_name": "Dissimilarity from the most similar station",
    "units": "1",
    "comment": "Information on where stations are lacking, not an estimate of error; 1 is the "
    "mean distance between stations (Meyer and Pebesma 2021, doi:10.1111/2041-210X.13650)",
}


@dataclass(frozen=True, eq=False)
class Reference:
    """The training stations, in the space in which dissimilarity is measured.

    Parameters
    ----------
    names : tuple of str
        Predictors that do not change in time.
    centre, scale : ndarray (predictor)
        A value stands at ``(value - centre) * scale``: standardised, times importance.
    points : ndarray (station, predictor)
        Where the stations stand.
    stations : tuple of str
        Their names.
    """

    names: tuple[str, ...]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    points: NDArray[np.float64]
    stations: tuple[str, ...]

    @property
    def unit(self) -> float:
        """Mean distance between two stations."""
        return float(pdist(self.points).mean())

    def dissimilarity(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the index of places.

        Parameters
        ----------
        values : array (place, predictor)
            In the order of ``names``, in the predictors' own units.

        Returns
        -------
        ndarray (place)
            0 at a place like a station; NaN where a predictor is missing.
        """
        placed = (np.asarray(values, dtype="float64") - self.centre) * self.scale
        found = np.full(len(placed), np.nan)
        known = np.isfinite(placed).all(axis=1)
        if known.any():
            found[known] = KDTree(self.points).query(placed[known])[0] / self.unit
        return found

    def held_out(self, folds: ArrayLike) -> NDArray[np.float64]:
        """Return the index of each station from the stations of other folds.

        Parameters
        ----------
        folds : array (station)
            In the order of ``stations``.
        """
        folds, unit = np.asarray(folds), self.unit
        found = np.empty(len(self.points))
        for fold in np.unique(folds):
            inside = folds == fold
            found[inside] = KDTree(self.points[~inside]).query(self.points[inside])[0] / unit
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {
            "names": list(self.names),
            "centre": self.centre.tolist(),
            "scale": self.scale.tolist(),
            "points": self.points.tolist(),
            "stations": list(self.stations),
        }

    @classmethod
    def from_dict(cls, said: dict[str, Any]) -> "Reference":
        """Return what `to_dict` said."""
        centre, scale, points = (
            np.asarray(said[name], dtype="float64") for name in ("centre", "scale", "points")
        )
        return cls(tuple(said["names"]), centre, scale, points, tuple(said["stations"]))


def constant_in_place(samples: Parts, names: Sequence[str]) -> list[str]:
    """Return the features that have one value at each station: statics, means of climate.

    Parameters
    ----------
    samples : DataFrame, or parts of whole stations
        ``station`` and the features, a row per station-day.
    names : sequence of str
        Features to look at.
    """
    return _places(samples, names)[1]


def _places(samples: Parts, names: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Return the first row of each station, and which features do not change in any."""
    first, same = [], pd.Series(True, index=list(names))
    for part in parts_of(samples):
        by_station = part.groupby("station", observed=True)[list(names)]
        first.append(by_station.first())
        same &= (by_station.max() == by_station.min()).all()
    return pd.concat(first).sort_index(), [name for name in names if same[name]]


def reference_of(samples: Parts, importance: pd.Series) -> Reference | None:
    """Return the space of the training stations.

    Parameters
    ----------
    samples : DataFrame, or parts of whole stations
        ``station`` and the features, a row per station-day, nothing missing.
    importance : Series (feature)
        Weight of each feature, as the forest has it; those that change in time are left out.

    Returns
    -------
    Reference or None
        None if fewer than two stations differ in a feature that is constant in place.
    """
    first, names = _places(samples, [str(name) for name in importance.index])
    places = first[names].astype("float64")
    deviation = places.std(ddof=0)
    used = [name for name in names if deviation[name] > 0 and importance[name] > 0]
    if len(places) < 2 or not used:
        return None
    centre = places[used].mean().to_numpy()
    scale = (importance[used] / deviation[used]).to_numpy(dtype="float64")
    points = (places[used].to_numpy() - centre) * scale
    return Reference(tuple(used), centre, scale, points, tuple(map(str, places.index)))


def dissimilarity_layer(reference: Reference, features: xr.Dataset) -> xr.DataArray:
    """Return the index of every pixel.

    Parameters
    ----------
    reference : Reference
    features : Dataset (lat, lon)
        The reference's predictors by name; a large area in Dask chunks or in pieces.

    Returns
    -------
    DataArray (lat, lon), float32
        Named ``dissimilarity``; lazy if the features are; NaN where one is missing.

    Raises
    ------
    ValueError
        If a predictor is missing or changes in time.
    """
    for name in reference.names:
        dims = features[name].dims if name in features else ()
        if not dims or not set(dims) <= {"lat", "lon"}:
            raise ValueError(
                f"{name} has dims {dims}, expected (lat, lon): give the cube's static layers"
            )
    arrays = xr.broadcast(*(features[name].astype("float64") for name in reference.names))

    def index(*values: NDArray[np.float64]) -> NDArray[np.float32]:
        table = np.column_stack([value.ravel() for value in values])
        return reference.dissimilarity(table).reshape(values[0].shape).astype("float32")

    layer = xr.apply_ufunc(index, *arrays, dask="parallelized", output_dtypes=["float32"])
    return layer.transpose("lat", "lon").rename("dissimilarity").assign_attrs(ATTRS)


def overview_layer(
    said: dict[str, Any] | None, features: xr.Dataset, *, largest: int = MAP_PIXELS
) -> xr.DataArray | None:
    """Return the index of every pixel of a run, or of every n-th of a large one, for a map.

    Parameters
    ----------
    said : dict or None
        From `Reference.to_dict`; None gives None.
    features : Dataset (lat, lon)
        As `open_cube` gives it.
    largest : int
        Pixels along an edge of the map at most.
    """
    if said is None:
        return None
    step = -(-max(features.sizes["lat"], features.sizes["lon"]) // largest)
    every = slice(step // 2, None, step)
    return dissimilarity_layer(Reference.from_dict(said), features.isel(lat=every, lon=every))
