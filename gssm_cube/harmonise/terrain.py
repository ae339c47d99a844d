"""The topographic index from MERIT Hydro's flow directions.

Cells shrink eastward with latitude (dx = dy cos(lat)), so slope distance and flow width depend
on row and direction.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

FlowWidth = Literal["projected", "cell"]

EARTH_RADIUS = 6371007.181  # m, sphere of the WGS84 ellipsoid's area
MOUTH, SINK, OCEAN = 0, 255, 247  # MERIT Hydro writes the latter two as -1 and -9 as well
MISSING = -9999

# Direction code to (rows down, columns right): Yamazaki et al. (2019), doi:10.1029/2019WR024873
NEIGHBOURS = {
    1: (0, 1),
    2: (1, 1),
    4: (1, 0),
    8: (1, -1),
    16: (0, -1),
    32: (-1, -1),
    64: (-1, 0),
    128: (-1, 1),
}


def topographic_index(
    elevation: NDArray[Any],
    upstream_area: NDArray[Any],
    direction: NDArray[Any],
    lat: ArrayLike,
    *,
    cell_degrees: float = 1 / 1200,
    minimum_slope: float = 0.001,
    flow_width: FlowWidth = "projected",
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return ln(SCA / tan slope), and where the slope is the minimum rather than the terrain's.

    SCA, the specific catchment area, is the upstream area over the width that the flow crosses;
    tan slope is the drop to the downstream cell over the distance to it.

    Parameters
    ----------
    elevation : array (lat, lon), m
        MERIT Hydro ``elv``, hydrologically adjusted, so flats abound; -9999 or NaN is ocean.
    upstream_area : array (lat, lon), km2
        ``upa``, the cell itself included; what is not positive is missing.
    direction : array (lat, lon), integers
        ``dir``: 1 east, clockwise by powers of two to 128 north-east; 0 river mouth, 255 (-1)
        inland sink, 247 (-9) ocean. A mouth and a sink get the minimum slope.
    lat : array (lat), degrees
        Cell centres, north first.
    cell_degrees : float, degrees
    minimum_slope : float, m m-1
    flow_width : {"projected", "cell"}
        "projected": dy for east-west flow, dx for north-south, 2 dx dy / sqrt(dx2 + dy2), the
        cell's extent across the flow, on diagonals, and the mean of dx and dy for mouths and
        sinks. "cell": sqrt(dx dy) throughout. The literature is not of one mind.

    Returns
    -------
    ti : array (lat, lon), float32
        NaN at sea and where the downstream cell is at sea or outside the array: give a margin
        of one cell.
    floored : array (lat, lon), bool
        False where ``ti`` is NaN.

    Raises
    ------
    ValueError
        If shapes or codes are not as above, or rows run northward.

    References
    ----------
    Beven and Kirkby (1979), doi:10.1080/02626667909491834; Yamazaki et al. (2019),
    doi:10.1029/2019WR024873
    """
    codes = direction.astype("uint8")  # -1 and -9 wrap to 255 and 247
    lat = np.asarray(lat, dtype="float64")
    _check_inputs(elevation, upstream_area, codes, lat)
    dy = np.radians(cell_degrees) * EARTH_RADIUS
    dx = dy * np.cos(np.radians(lat))
    land = np.where(elevation == MISSING, np.nan, elevation).astype("float32")
    area = np.where(upstream_area > 0, upstream_area, np.nan).astype("float32")
    ti = np.full(land.shape, np.nan, dtype="float32")
    floored = np.zeros(land.shape, dtype=bool)
    padded = np.pad(land, 1, constant_values=np.nan)
    for code, (down, right) in NEIGHBOURS.items():
        rows, cols = np.nonzero(codes == code)
        drop = land[rows, cols] - padded[rows + 1 + down, cols + 1 + right]
        slope = drop / np.hypot(right * dx, down * dy)[rows]
        width = _width(flow_width, dx, dy, down, right)[rows]
        ti[rows, cols] = _index(area[rows, cols], width, np.maximum(slope, minimum_slope))
        floored[rows, cols] = slope < minimum_slope
    rows, cols = np.nonzero(((codes == MOUTH) | (codes == SINK)) & ~np.isnan(land))
    width = _width(flow_width, dx, dy, 0, 0)[rows]
    ti[rows, cols] = _index(area[rows, cols], width, minimum_slope)
    floored[rows, cols] = True
    return ti, floored & ~np.isnan(ti)


def _width(
    rule: FlowWidth, dx: NDArray[np.float64], dy: float, down: int, right: int
) -> NDArray[np.float64]:
    """Return the width that flow in one direction crosses, m, by row."""
    if rule == "cell":
        return np.sqrt(dx * dy)
    if rule != "projected":
        raise ValueError(f"flow_width is {rule!r}, expected 'projected' or 'cell'")
    if down and right:
        return 2 * dx * dy / np.hypot(dx, dy)
    if down:
        return dx
    return np.full_like(dx, dy) if right else (dx + dy) / 2


def _index(
    area: NDArray[np.float32], width: NDArray[np.float64], slope: NDArray[Any] | float
) -> NDArray[np.float64]:
    """Return ln(SCA / tan slope) of an upstream area in km2."""
    return np.log(area * 1e6 / (width * slope))


def _check_inputs(
    elevation: NDArray[Any],
    upstream_area: NDArray[Any],
    codes: NDArray[np.uint8],
    lat: NDArray[np.float64],
) -> None:
    """Raise unless shapes agree, rows run southward and every direction is known."""
    shapes = {elevation.shape, upstream_area.shape, codes.shape}
    if len(shapes) > 1 or lat.shape != elevation.shape[:1]:
        raise ValueError(
            f"shapes are {sorted(shapes)} with {lat.size} latitudes, expected one shape "
            "(lat, lon) for all; read the three layers over the same box"
        )
    if (np.diff(lat) >= 0).any():
        raise ValueError(
            f"latitudes run from {lat[0]} to {lat[-1]}, expected north first; flip the rows"
        )
    found = set(np.flatnonzero(np.bincount(codes.ravel(), minlength=256)).tolist())
    unknown = sorted(found - {*NEIGHBOURS, MOUTH, SINK, OCEAN})
    if unknown:
        raise ValueError(
            f"direction holds the codes {unknown}, expected powers of two to 128, 0, 247 and "
            "255; is this MERIT Hydro's dir layer?"
        )


def steepness(
    elevation: NDArray[Any], lat: ArrayLike, *, cell_degrees: float = 1 / 1200
) -> NDArray[np.float64]:
    """Return the slope of terrain, m m-1: rise over run by central differences.

    Parameters
    ----------
    elevation : array (lat, lon), m
        NaN is ocean.
    lat : array (lat), degrees
        Cell centres.
    cell_degrees : float, degrees

    Returns
    -------
    array (lat, lon), float64
        NaN along the rim and beside the ocean, where a difference has no second side.
    """
    dy = np.radians(cell_degrees) * EARTH_RADIUS
    dx = dy * np.cos(np.radians(np.asarray(lat, dtype="float64")))[:, np.newaxis]
    slope = np.full(elevation.shape, np.nan)
    height = elevation.astype("float64")
    south = (height[2:, 1:-1] - height[:-2, 1:-1]) / (2 * dy)
    east = (height[1:-1, 2:] - height[1:-1, :-2]) / (2 * dx[1:-1])
    slope[1:-1, 1:-1] = np.where(np.isnan(height[1:-1, 1:-1]), np.nan, np.hypot(south, east))
    return slope
