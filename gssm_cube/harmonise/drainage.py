"""Directions of flow and drainage area from heights alone, where no hydrography is at hand.

Depressions are filled from their lowest outlet on (priority-flood: Barnes, Lehman and Mulla 2014,
doi:10.1016/j.cageo.2013.04.024); water goes to the steepest lower neighbour of the filled heights,
and over flats the way that the flood came. What drains into the box from outside is not known.
"""

import heapq
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

KM_PER_DEGREE = 6371.0 * np.pi / 180
MOUTH, SEA = 0, 247  # codes of MERIT Hydro
NOWHERE, INTO_SEA = -1, -2  # ways, beside the eight
CODES = np.array([1, 2, 4, 8, 16, 32, 64, 128], dtype="uint8")  # east, then clockwise
DOWN = np.array([0, 1, 1, 1, 0, -1, -1, -1])
RIGHT = np.array([1, 1, 0, -1, -1, -1, 0, 1])


def drainage(
    heights: NDArray[np.float32], lat: NDArray[np.float64], cell_degrees: float
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return directions of flow and drainage area.

    Parameters
    ----------
    heights : array (row, col), m
        NaN at sea; rows from north to south.
    lat : array (row,), degrees
        Centres of the rows.
    cell_degrees : float

    Returns
    -------
    directions : array (row, col), uint8
        D8 codes of MERIT Hydro: 1 east and clockwise to 128, 0 into the sea, 247 at sea. At the
        edge of the box 0 where no neighbour within is lower.
    area : array (row, col), float32, km2
        Of the cell and all that drains through it from within the box; 0 at sea.
    """
    ratio = np.cos(np.radians(lat))
    order, flooded, filled = _flood(heights)
    directions = _directions(heights, filled, flooded, ratio)
    cells = (KM_PER_DEGREE * cell_degrees) ** 2 * ratio
    return directions, _accumulate(order, directions, cells)


@njit(cache=True)
def _flood(heights: Any) -> Any:
    """Return cells in order of the flood, the way that it came (255 none), and filled heights."""
    rows, cols = heights.shape
    filled = heights.copy()
    flooded = np.full((rows, cols), 255, np.uint8)
    done = np.isnan(heights)
    order = np.empty(rows * cols, np.int32)
    pit = np.empty(rows * cols, np.int32)
    heap = [(np.float32(0), np.int32(0))]
    heap.pop()
    for row in range(rows):
        for col in range(cols):
            if not done[row, col] and _is_outlet(heights, row, col):
                heapq.heappush(heap, (heights[row, col], np.int32(row * cols + col)))
    for _, cell in heap:
        done[cell // cols, cell % cols] = True
    count = first = last = 0
    while first < last or len(heap) > 0:
        if first < last:
            cell = pit[first]
            first += 1
        else:
            cell = heapq.heappop(heap)[1]
        order[count] = cell
        count += 1
        row, col = cell // cols, cell % cols
        for way in range(8):
            i, j = row + DOWN[way], col + RIGHT[way]
            if i < 0 or j < 0 or i >= rows or j >= cols or done[i, j]:
                continue
            done[i, j] = True
            flooded[i, j] = (way + 4) % 8  # back to where the flood came from
            if heights[i, j] <= filled[row, col]:
                filled[i, j] = filled[row, col]
                pit[last] = i * cols + j
                last += 1
            else:
                heapq.heappush(heap, (heights[i, j], np.int32(i * cols + j)))
    return order[:count], flooded, filled


@njit(cache=True)
def _is_outlet(heights: Any, row: int, col: int) -> bool:
    """Whether a cell lies at the box's edge, or beside the sea."""
    rows, cols = heights.shape
    for way in range(8):
        i, j = row + DOWN[way], col + RIGHT[way]
        if i < 0 or j < 0 or i >= rows or j >= cols or np.isnan(heights[i, j]):
            return True
    return False


@njit(cache=True)
def _directions(heights: Any, filled: Any, flooded: Any, ratio: Any) -> Any:
    """Return the code of each cell's steepest lower neighbour, or of the way to its outlet."""
    rows, cols = heights.shape
    codes = np.full((rows, cols), SEA, np.uint8)
    for cell in range(rows * cols):
        row, col = cell // cols, cell % cols
        if np.isnan(heights[row, col]):
            continue
        way = _way_down(filled, row, col, ratio[row])
        if way == NOWHERE and flooded[row, col] < 8:
            way = flooded[row, col]
        codes[row, col] = CODES[way] if way >= 0 else MOUTH
    return codes


@njit(cache=True)
def _way_down(filled: Any, row: int, col: int, ratio: float) -> int:
    """Return the way to the steepest lower neighbour of filled heights; the sea is at 0 m."""
    rows, cols = filled.shape
    steepest, best = 0.0, NOWHERE
    for way in range(8):
        i, j = row + DOWN[way], col + RIGHT[way]
        if i < 0 or j < 0 or i >= rows or j >= cols:
            continue
        sea = np.isnan(filled[i, j])
        below = 0.0 if sea else filled[i, j]
        far = np.sqrt(DOWN[way] ** 2 + (RIGHT[way] * ratio) ** 2)
        slope = (filled[row, col] - below) / far
        if slope > steepest:
            steepest, best = slope, INTO_SEA if sea else way
    return best


@njit(cache=True)
def _accumulate(order: Any, codes: Any, cells: Any) -> Any:
    """Return the area that drains through each cell: the last that was flooded goes first."""
    rows, cols = codes.shape
    area = np.zeros((rows, cols), np.float32)
    for place in range(order.size):
        area[order[place] // cols, order[place] % cols] = cells[order[place] // cols]
    for place in range(order.size - 1, -1, -1):
        row, col = order[place] // cols, order[place] % cols
        for way in range(8):
            if codes[row, col] == CODES[way]:
                area[row + DOWN[way], col + RIGHT[way]] += area[row, col]
    return area
