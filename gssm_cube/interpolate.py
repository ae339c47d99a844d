"""From what the cube stores to 1 km and days, in exact integers on packed codes.

Meteorology is stored at 0.1 deg and vegetation every 16 days; both are refined where they are
read. The arithmetic is integer, so a single pixel and a whole block give the same bits.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gssm_cube.variables import FILL


def interpolate_days(
    codes: NDArray[np.int16], starts: NDArray[np.int64], days: NDArray[np.int64]
) -> NDArray[np.int16]:
    """Return daily codes, linear in time between composites.

    Parameters
    ----------
    codes : (composite, ...) int16
    starts : (composite,) int
        Day number of each composite, ascending.
    days : (day,) int
        Within ``starts``; a day outside is missing.

    Returns
    -------
    (day, ...) int16
        ``floor(value + 0.5)``; missing where one of the two composites is.
    """
    last = len(starts) - 1
    before = np.clip(np.searchsorted(starts, days, side="right") - 1, 0, last)
    after = np.minimum(before + 1, last)
    # The last composite has none after it: only its own day is known.
    length = np.maximum(starts[after] - starts[before], 1).astype("int32")
    passed = (days - starts[before]).astype("int32")
    shape = (-1, *(1,) * (codes.ndim - 1))
    length, passed = length.reshape(shape), passed.reshape(shape)
    left, right = codes[before], codes[after]
    total = left * (length - passed) + right * passed
    daily = (2 * total + length) // (2 * length)
    # On a composite's own day the other one has no weight and may be missing.
    missing = ((left == FILL) & (passed < length)) | ((right == FILL) & (passed > 0))
    missing |= (passed < 0) | (passed >= length)
    return np.where(missing, FILL, daily).astype("int16")


def upsample_cells(codes: NDArray[np.int16], cell_pixels: int = 12) -> NDArray[np.int16]:
    """Interpolate codes bilinearly from cell centres to all the pixels between them.

    Parameters
    ----------
    codes : array (..., n + 1, m + 1), int16
        Codes at cell centres, border to border; -32768 is missing.
    cell_pixels : int
        Pixels along the edge of a cell.

    Returns
    -------
    array (..., cell_pixels * n, cell_pixels * m), int16
        Missing where any of the four cells is. See ``upsample_window``.
    """
    rows, cols = ((size - 1) * cell_pixels for size in codes.shape[-2:])
    return upsample_window(codes, slice(0, rows), slice(0, cols), cell_pixels)


def upsample_window(
    codes: NDArray[np.int16], rows: slice, cols: slice, cell_pixels: int = 12
) -> NDArray[np.int16]:
    """Interpolate codes bilinearly to a window of pixels, with the bits of the full result.

    Pixel j between two centres weighs the second by (2 j + 1) / (2 cell_pixels). The sum of
    weight x weight x code is an exact integer and is rounded half up, so that a pixel has the
    same bits whatever window it is computed in.

    Parameters
    ----------
    codes : array (..., n + 1, m + 1), int16
        Codes at cell centres; -32768 is missing.
    rows, cols : slice, pixels
        Counted from the first cell centre, step 1.
    cell_pixels : int
        Pixels along the edge of a cell.

    Returns
    -------
    array (..., rows, cols), int16

    Raises
    ------
    ValueError
        If the window reaches past the last cell centre.
    """
    row_cells, row_weights = _weights_of(rows, codes.shape[-2], cell_pixels)
    col_cells, col_weights = _weights_of(cols, codes.shape[-1], cell_pixels)
    layers = np.ascontiguousarray(codes, dtype="int16").reshape(-1, *codes.shape[-2:])
    pixels = np.empty((len(layers), row_cells.size, col_cells.size), dtype="int16")
    _bilinear(layers, row_cells, row_weights, col_cells, col_weights, cell_pixels, pixels)
    return pixels.reshape(*codes.shape[:-2], *pixels.shape[1:])


def nearest_window(
    codes: NDArray[np.int16], rows: slice, cols: slice, cell_pixels: int = 12
) -> NDArray[np.int16]:
    """Give each pixel of a window the code of the nearest cell centre.

    Parameters
    ----------
    codes : array (..., n + 1, m + 1), int16
        Codes at cell centres; -32768 is missing.
    rows, cols : slice, pixels
        Counted from the first cell centre, step 1.
    cell_pixels : int
        Pixels along the edge of a cell; where it is odd, the pixel in the middle between two
        centres takes the second.

    Returns
    -------
    array (..., rows, cols), int16

    Raises
    ------
    ValueError
        If the window reaches past the last cell centre.
    """
    places = []
    for window, size in zip((rows, cols), codes.shape[-2:], strict=True):
        first, weights = _weights_of(window, size, cell_pixels)
        places.append(first + (weights >= cell_pixels))
    return np.ascontiguousarray(codes[..., places[0][:, None], places[1]])


def _weights_of(
    pixels: slice, cells: int, cell_pixels: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the first cell of each pixel and the second cell's weight, in 1 / (2 n)."""
    size = (cells - 1) * cell_pixels
    if pixels.step not in (None, 1) or not 0 <= pixels.start <= pixels.stop <= size:
        raise ValueError(
            f"pixels {pixels} are not a window of 0..{size}, which {cells} cell centres "
            f"with {cell_pixels} pixels a cell span; read more cells"
        )
    numbers = np.arange(pixels.start, pixels.stop)
    return numbers // cell_pixels, 2.0 * (numbers % cell_pixels) + 1.0


@njit(cache=True, nogil=True)
def _bilinear(
    layers: NDArray[np.int16],
    row_cells: NDArray[np.int64],
    row_weights: NDArray[np.float64],
    col_cells: NDArray[np.int64],
    col_weights: NDArray[np.float64],
    cell_pixels: int,
    pixels: NDArray[np.int16],
) -> None:
    """Fill ``pixels`` (layer, row, col), row by row."""
    line = np.empty(layers.shape[2])
    for layer in range(layers.shape[0]):
        for row in range(row_cells.size):
            upper, lower = layers[layer, row_cells[row]], layers[layer, row_cells[row] + 1]
            _blend_rows(upper, lower, row_weights[row], 2.0 * cell_pixels, line)
            _blend_cols(line, col_cells, col_weights, 2.0 * cell_pixels, pixels[layer, row])


@njit(cache=True, nogil=True)
def _blend_rows(
    upper: NDArray[np.int16],
    lower: NDArray[np.int16],
    weight: float,
    whole: float,
    line: NDArray[np.float64],
) -> None:
    """Blend two rows of cells; float64 holds the integer sums exactly, and NaN for missing."""
    for cell in range(line.size):
        line[cell] = (whole - weight) * upper[cell] + weight * lower[cell]
        if upper[cell] == FILL or lower[cell] == FILL:
            line[cell] = np.nan


@njit(cache=True, nogil=True)
def _blend_cols(
    line: NDArray[np.float64],
    cells: NDArray[np.int64],
    weights: NDArray[np.float64],
    whole: float,
    pixels: NDArray[np.int16],
) -> None:
    """Blend neighbouring cells of a row, round half up and write the codes."""
    unit = 1.0 / (whole * whole)
    half = 0.5 * whole * whole
    for col in range(cells.size):
        left, right = line[cells[col]], line[cells[col] + 1]
        total = (whole - weights[col]) * left + weights[col] * right
        # The extra 0.5 keeps the product off whole numbers, where it could round down.
        code = np.floor((total + half + 0.5) * unit)
        pixels[col] = FILL if np.isnan(code) else np.int16(code)
