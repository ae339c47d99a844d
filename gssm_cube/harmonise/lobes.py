"""Area means of rasters whose rows follow parallels with cells of their own width.

Such are pseudo-cylindrical grids, as the lobes of Goode's homolosine. Cells are cut where the
target's meridians and parallels cut them: nothing is sampled at points.
"""

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gssm_cube.harmonise.regrid import area_weights

Floats = NDArray[np.float64]
_SLAB = 2048  # bands summed at once, so that intermediate sums stay small


def lobe_sums(
    values: NDArray[Any],
    lat_edges: Floats,
    rows: NDArray[np.integer],
    lon_first: Floats,
    lon_step: Floats,
    limits: tuple[float, float],
    target_lat_edges: Floats,
    target_lon_edges: Floats,
) -> tuple[Floats, Floats]:
    """Return the sums of area x value and of area over the valid cells of each target.

    Add up the lobes that meet in a box, then call ``mean_of_sums``.

    Parameters
    ----------
    values : array (row, col)
        NaN is missing.
    lat_edges : array (band + 1), degrees, descending
        Bands of constant latitude, one or more a row.
    rows : array (band)
        The row of ``values`` that a band belongs to.
    lon_first, lon_step : array (band), degrees
        Where the first cell begins, and how wide cells are, at the band's middle latitude.
    limits : (west, east), degrees
        Cells beyond are left out: there the next lobe begins.
    target_lat_edges, target_lon_edges : array, degrees
        Descending and ascending.

    Returns
    -------
    sums, areas : array (target lat, target lon), float64
        Areas in degrees of longitude times the difference of sin(lat).

    Raises
    ------
    ValueError
        If edges are not monotonic, or bands, rows and widths do not fit.
    """
    bands = lat_edges.size - 1
    sizes = {rows.size, lon_first.size, lon_step.size}
    if sizes != {bands}:
        raise ValueError(
            f"rows, lon_first and lon_step have sizes {sorted(sizes)}, expected {bands}: one edge "
            "more than bands"
        )
    weights, _ = area_weights(lat_edges, target_lat_edges)
    edges = np.clip(np.asarray(target_lon_edges, dtype="float64"), *limits)
    sums, areas = np.zeros((2, weights.shape[0], edges.size - 1))
    for start in range(0, bands, _SLAB):
        slab = slice(start, start + _SLAB)
        part = _along_bands(values, rows[slab], lon_first[slab], lon_step[slab], edges)
        sums += weights[:, slab] @ part[0]
        areas += weights[:, slab] @ part[1]
    return sums, areas


def mean_of_sums(
    sums: Floats, areas: Floats, target_lat_edges: Floats, target_lon_edges: Floats
) -> tuple[NDArray[np.float32], Floats]:
    """Return the mean over the valid area of each target cell, and how much of it is valid.

    Parameters
    ----------
    sums, areas : array (target lat, target lon)
        From ``lobe_sums``, added up over lobes.
    target_lat_edges, target_lon_edges : array, degrees

    Returns
    -------
    mean : array (target lat, target lon), float32
        NaN where nothing is valid.
    share : array (target lat, target lon), float64, 0..1
    """
    heights = -np.diff(np.sin(np.radians(target_lat_edges)))
    whole = np.outer(heights, np.diff(target_lon_edges))
    mean = np.full(areas.shape, np.nan, dtype="float32")
    valid = areas > 1e-9 * whole  # less is rounding
    mean[valid] = sums[valid] / areas[valid]
    return mean, np.minimum(areas / whole, 1.0)


@njit(cache=True, nogil=True)
def _along_bands(
    values: NDArray[Any],
    rows: NDArray[np.integer],
    first: Floats,
    step: Floats,
    edges: Floats,
) -> tuple[Floats, Floats]:
    """Sum value x length and valid length, degrees, between edges along each band."""
    sums = np.zeros((rows.size, edges.size - 1))
    lengths = np.zeros((rows.size, edges.size - 1))
    for band in range(rows.size):
        row, width = values[rows[band]], step[band]
        for target in range(edges.size - 1):
            left = max((edges[target] - first[band]) / width, 0.0)
            right = min((edges[target + 1] - first[band]) / width, float(row.size))
            total, length = _between(row, left, right)
            sums[band, target], lengths[band, target] = total * width, length * width
    return sums, lengths


@njit(cache=True, nogil=True)
def _between(row: NDArray[Any], left: float, right: float) -> tuple[float, float]:
    """Sum value x length and valid length between two places in a row, in cells."""
    total, length = 0.0, 0.0
    while left < right:
        end = min(int(left) + 1.0, right)
        if not np.isnan(row[int(left)]):
            total += row[int(left)] * (end - left)
            length += end - left
        left = end
    return total, length
