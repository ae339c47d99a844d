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
_SLAB = 512  # bands summed at once, so that intermediate sums stay small


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
    values : array (..., row, col)
        Layers on the same cells, or one; NaN is missing.
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
    sums, areas : array (..., target lat, target lon), float64
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
    layers = values.reshape(-1, *values.shape[-2:])
    found = np.zeros((weights.shape[0], 2 * (edges.size - 1) * len(layers)))
    for start in range(0, bands, _SLAB):
        slab = slice(start, start + _SLAB)
        part = _along_bands(layers, rows[slab], lon_first[slab], lon_step[slab], edges)
        shares = weights[:, slab]
        reached = np.flatnonzero(np.diff(shares.indptr))
        found[reached] += shares[reached] @ part.reshape(len(part), -1)
    shape = *values.shape[:-2], weights.shape[0], edges.size - 1
    sums, areas = found.reshape(weights.shape[0], edges.size - 1, 2, -1).transpose(2, 3, 0, 1)
    return sums.reshape(shape), areas.reshape(shape)


def mean_of_sums(
    sums: Floats, areas: Floats, target_lat_edges: Floats, target_lon_edges: Floats
) -> tuple[NDArray[np.float32], Floats]:
    """Return the mean over the valid area of each target cell, and how much of it is valid.

    Parameters
    ----------
    sums, areas : array (..., target lat, target lon)
        From ``lobe_sums``, added up over lobes.
    target_lat_edges, target_lon_edges : array, degrees

    Returns
    -------
    mean : array (..., target lat, target lon), float32
        NaN where nothing is valid.
    share : array (..., target lat, target lon), float64, 0..1
    """
    heights = -np.diff(np.sin(np.radians(target_lat_edges)))
    whole = np.outer(heights, np.diff(target_lon_edges))
    mean = np.full(areas.shape, np.nan, dtype="float32")
    valid = areas > 1e-9 * whole  # less is rounding
    mean[valid] = sums[valid] / areas[valid]
    return mean, np.minimum(areas / whole, 1.0)


@njit(cache=True, nogil=True)
def _along_bands(
    layers: NDArray[Any],
    rows: NDArray[np.integer],
    first: Floats,
    step: Floats,
    edges: Floats,
) -> Floats:
    """Sum value x length and valid length, degrees, between edges along each band.

    Returns (band, target, 2, layer). A row is added up once, from its first cell on, so that a
    sum between two places is a difference.
    """
    number, size = layers.shape[0], layers.shape[2]
    found = np.empty((rows.size, edges.size - 1, 2, number))
    upto = np.zeros((size + 1, 2, number))
    at = np.empty((edges.size, 2, number))
    for band in range(rows.size):
        row, width = layers[:, rows[band]], step[band]
        if band == 0 or rows[band] != rows[band - 1]:
            _add_up(row, upto)
        for edge in range(edges.size):
            _sum_up_to(row, upto, (edges[edge] - first[band]) / width, at[edge])
        _put_differences(at, width, found[band])
    return found


@njit(cache=True, nogil=True)
def _add_up(row: NDArray[Any], upto: Floats) -> None:
    """Sum the valid cells (layer, cell) left of each cell, and count them: (cell, 2, layer)."""
    for layer in range(row.shape[0]):
        for cell in range(row.shape[1]):
            valid = not np.isnan(row[layer, cell])
            upto[cell + 1, 0, layer] = upto[cell, 0, layer] + (row[layer, cell] if valid else 0.0)
            upto[cell + 1, 1, layer] = upto[cell, 1, layer] + (1.0 if valid else 0.0)


@njit(cache=True, nogil=True)
def _sum_up_to(row: NDArray[Any], upto: Floats, place: float, found: Floats) -> None:
    """Sum value x length and valid length left of a place in a row, in cells: (2, layer)."""
    place = min(max(place, 0.0), float(row.shape[1]))
    cell = int(place)
    rest = place - cell
    for layer in range(row.shape[0]):
        found[0, layer], found[1, layer] = upto[cell, 0, layer], upto[cell, 1, layer]
        if rest > 0 and not np.isnan(row[layer, cell]):
            found[0, layer] += rest * row[layer, cell]
            found[1, layer] += rest


@njit(cache=True, nogil=True)
def _put_differences(at: Floats, width: float, found: Floats) -> None:
    """Put what lies between edges (edge, 2, layer) into (target, 2, layer), in degrees."""
    for target in range(found.shape[0]):
        for layer in range(found.shape[2]):
            found[target, 0, layer] = (at[target + 1, 0, layer] - at[target, 0, layer]) * width
            found[target, 1, layer] = (at[target + 1, 1, layer] - at[target, 1, layer]) * width
