"""Bring provider grids onto ours: area means, the MODIS sinusoidal grid, holes.

Nothing here samples a fine layer at points: what is finer than a pixel is averaged by area. What
is coarser is kept as it is and interpolated where it is read (``interpolate``).
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt
from scipy.sparse import csr_array

_SLIVER = 1e-9  # of the smallest cell: edges that agree but for rounding leave such overlaps
_STRIP = 512  # source columns reduced at once, so that float64 copies stay small


def overlap_weights(source_edges: ArrayLike, target_edges: ArrayLike) -> csr_array:
    """Return the length that each source cell shares with each target cell.

    Parameters
    ----------
    source_edges, target_edges : array (n + 1), degrees
        Edges of neighbouring cells, ascending or descending, each its own way. Longitudes are
        not wrapped: a caller at 180 E appends the first source column and its edge.

    Returns
    -------
    csr_array (n_target, n_source), degrees
    """
    source, target = _edges(source_edges, "source_edges"), _edges(target_edges, "target_edges")
    lower, upper, cells = _segments(source, target)
    return csr_array((upper - lower, cells), shape=(target.size - 1, source.size - 1))


def area_mean(
    values: NDArray[Any],
    source_lat_edges: ArrayLike,
    source_lon_edges: ArrayLike,
    target_lat_edges: ArrayLike,
    target_lon_edges: ArrayLike,
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return the mean over the valid area of each target cell, and how much of it is valid.

    Cells need not be aligned: each counts by the area, on the sphere, that falls into the target.

    Parameters
    ----------
    values : array (source lat, source lon)
        NaN is missing.
    source_lat_edges, source_lon_edges, target_lat_edges, target_lon_edges : array, degrees
        As for ``overlap_weights``; latitudes within -90..90.

    Returns
    -------
    mean : array (target lat, target lon)
        In the floating type of ``values``, computed in float64; NaN where nothing is valid.
    share : array (target lat, target lon), float64, 0..1
        Share of the target cell's area that is valid.

    Raises
    ------
    ValueError
        If edges are not monotonic, or their number does not fit ``values``.
    """
    lat_weights, heights = area_weights(source_lat_edges, target_lat_edges)
    lon_weights = overlap_weights(source_lon_edges, target_lon_edges)
    widths = np.abs(np.diff(np.asarray(target_lon_edges, dtype="float64")))
    expected = (lat_weights.shape[1], lon_weights.shape[1])
    if values.shape != expected:
        raise ValueError(
            f"values have shape {values.shape}, expected {expected} from the source edges; "
            "give one edge more than cells along each axis"
        )
    sums, areas = _weighted_sums(values, lat_weights, lon_weights)
    valid = areas > 0
    mean = np.full(areas.shape, np.nan, dtype=np.result_type(values.dtype, np.float32))
    mean[valid] = sums[valid] / areas[valid]
    return mean, np.minimum(areas / np.outer(heights, widths), 1.0)


def sinusoidal_index(
    lat: ArrayLike, lon: ArrayLike, pixels_per_degree: int = 120
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return row and column of the MODIS sinusoidal grid that hold each grid centre.

    With pixels of 2 pi R / 43200 from (-pi R, pi R / 2), the radius cancels: a row is 1/120 deg
    of latitude, a column 1/120 deg of longitude times cos(lat). So rows depend on latitude alone.

    A pixel whose centre lies outside the globe's outline holds fill. The outermost centres, half a
    grid step from 180 deg, fall into such a pixel in 18 % of the rows: they take the next one
    inside.

    Parameters
    ----------
    lat : array (n), degrees north
    lon : array (m), degrees east, -180..180
    pixels_per_degree : int
        120 for the 1 km grid (43,200 x 21,600 pixels), 240 for the 500 m grid.

    Returns
    -------
    rows : array (n), int32
    cols : array (n, m), int32
        Both global: tile h, v of 1,200 pixels is ``cols // 1200``, ``rows // 1200``.

    References
    ----------
    MODIS Land Team, https://modis-land.gsfc.nasa.gov/GCTP.html (R = 6371007.181 m)
    """
    lat, lon = np.asarray(lat, dtype="float64"), np.asarray(lon, dtype="float64")
    rows = np.floor((90.0 - lat) * pixels_per_degree)
    parallel = np.cos(np.radians(lat))[:, np.newaxis]
    middle = 180 * pixels_per_degree
    cols = np.floor((parallel * lon[np.newaxis, :] + 180.0) * pixels_per_degree)
    reach = np.maximum(np.ceil(parallel * middle - 0.5), 1)  # centres inside, to one side
    cols = np.clip(cols, middle - reach, middle + reach - 1)
    return np.clip(rows, 0, middle - 1).astype("int32"), cols.astype("int32")


def fill_from_nearest(
    values: NDArray[Any], wanted: NDArray[np.bool_], within_pixels: float | None
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Fill holes with the values of the nearest pixel that is complete in all layers.

    A hole takes all layers from one pixel, so that what belongs together (clay, sand and silt)
    stays together. Of several pixels at the same distance scipy's distance transform takes one,
    the same in every run.

    Parameters
    ----------
    values : array (..., lat, lon)
        A pixel with NaN in any layer is a hole.
    wanted : array (lat, lon), bool
        Pixels to fill (land); holes elsewhere stay.
    within_pixels : float or None, pixels
        Largest distance between centres; None for any distance (the coast of ERA5-Land).

    Returns
    -------
    values : array (..., lat, lon)
        A copy.
    filled : array (lat, lon), bool
    """
    holes = np.isnan(values).any(axis=tuple(range(values.ndim - 2)))
    result = values.copy()
    if holes.all():
        return result, np.zeros_like(holes)
    distance, nearest = distance_transform_edt(holes, return_indices=True)
    filled = holes & wanted
    if within_pixels is not None:
        filled &= distance <= within_pixels
    rows, cols = nearest[:, filled]
    result[..., filled] = values[..., rows, cols]
    return result, filled


def _edges(edges: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return edges as float64; raise unless they rise or fall throughout."""
    array = np.asarray(edges, dtype="float64")
    steps = np.diff(array)
    if array.ndim != 1 or array.size < 2 or not ((steps > 0).all() or (steps < 0).all()):
        raise ValueError(
            f"{name} with shape {array.shape} are not monotonic, expected at least two edges "
            "that rise or fall throughout; sort the axis or cut it at the antimeridian"
        )
    return array


def _segments(
    source: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Cut both rows of cells at all edges: lower, upper and (target, source) of each piece."""
    cuts = np.union1d(source, target)
    lower, upper = cuts[:-1], cuts[1:]
    middle = (lower + upper) / 2
    source_cell, target_cell = _cell_of(middle, source), _cell_of(middle, target)
    smallest = min(np.abs(np.diff(source)).min(), np.abs(np.diff(target)).min())
    keep = (source_cell >= 0) & (target_cell >= 0) & (upper - lower > _SLIVER * smallest)
    return lower[keep], upper[keep], (target_cell[keep], source_cell[keep])


def _cell_of(places: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the cell that holds each place, -1 outside."""
    descending = edges[0] > edges[-1]
    cells = np.searchsorted(np.sort(edges), places, side="right") - 1
    last = edges.size - 2
    outside = (cells < 0) | (cells > last)
    return np.where(outside, -1, last - cells if descending else cells)


def _sine_difference(lower: NDArray[np.float64], upper: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sin(upper) - sin(lower) of degrees, without cancellation near the poles."""
    return 2 * np.cos(np.radians((upper + lower) / 2)) * np.sin(np.radians((upper - lower) / 2))


def area_weights(
    source_edges: ArrayLike, target_edges: ArrayLike
) -> tuple[csr_array, NDArray[np.float64]]:
    """Return weights (n_target, n_source) by true area along a meridian, and the targets' own."""
    source = _edges(source_edges, "source_lat_edges")
    target = _edges(target_edges, "target_lat_edges")
    lower, upper, cells = _segments(source, target)
    shape = (target.size - 1, source.size - 1)
    weights = csr_array((_sine_difference(lower, upper), cells), shape=shape)
    return weights, np.abs(_sine_difference(target[:-1], target[1:]))


def _weighted_sums(
    values: NDArray[Any], lat_weights: csr_array, lon_weights: csr_array
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums of area x value and of area over the valid cells of each target."""
    sums, areas = (np.empty((lat_weights.shape[0], values.shape[1])) for _ in range(2))
    for start in range(0, values.shape[1], _STRIP):
        strip = slice(start, start + _STRIP)
        piece = values[:, strip].astype("float64")
        valid = ~np.isnan(piece)
        sums[:, strip] = lat_weights @ np.where(valid, piece, 0.0)
        areas[:, strip] = lat_weights @ valid.astype("float64")
    return (lon_weights @ sums.T).T, (lon_weights @ areas.T).T
