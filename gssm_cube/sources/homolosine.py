"""Rasters in the Interrupted Goode Homolosine projection, read as rows of cells by lobe.

The projection is equal-area, and within a lobe a parallel is a straight line along which x grows
evenly with longitude. So a row of cells is a band between two latitudes whose cells have one width
in degrees; width and place change with latitude only. Nothing is resampled here.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
from numpy.typing import NDArray

from gssm_cube.sources.raster import Bounds, cells_within, open_raster, read_window

# As ISRIC writes it (files.isric.org/soilgrids); ESRI:54052 is the same.
PROJECTION = "+proj=igh +lat_0=0 +lon_0=0 +datum=WGS84 +units=m"
# West, east, middle meridian, of the north and of the south: Goode (1925); PROJ, "igh".
NORTHERN = ((-180, -40, -100), (-40, 180, 30))
SOUTHERN = ((-180, -100, -160), (-100, -20, -60), (-20, 80, 20), (80, 180, 140))
# Meridians lean, at 70 N far from the middle one by several cells a row. In an eighth of a row the
# lean, which cancels about the band's middle, stays below half a cell.
BANDS = 8


@dataclass(frozen=True)
class Lobe:
    """One lobe: between two longitudes, on one side of the equator, round a middle meridian."""

    west: int
    east: int
    middle: int
    north: bool

    def cut(self, bounds: Bounds) -> Bounds | None:
        """Return the part of a box on this lobe, if there is any."""
        west, east = max(bounds[0], self.west), min(bounds[2], self.east)
        sides = (0.0, 90.0) if self.north else (-90.0, 0.0)
        south, north = max(bounds[1], sides[0]), min(bounds[3], sides[1])
        return (west, south, east, north) if west < east and south < north else None


LOBES = tuple(
    Lobe(*lobe, north) for north, lobes in ((True, NORTHERN), (False, SOUTHERN)) for lobe in lobes
)


@dataclass(frozen=True)
class LobeRaster:
    """Values of cells of one lobe, and where bands of its rows lie, in degrees.

    ``values`` (row, col) float32, NaN where missing. ``lat_edges`` (band + 1) descend; band ``i``
    belongs to row ``rows[i]``, whose first cell begins at ``lon_first[i]`` and is ``lon_step[i]``
    wide. Cells count between the longitudes ``limits`` only.
    """

    values: NDArray[np.float32]
    lat_edges: NDArray[np.float64]
    rows: NDArray[np.int64]
    lon_first: NDArray[np.float64]
    lon_step: NDArray[np.float64]
    limits: tuple[float, float]

    @property
    def place(self) -> tuple[NDArray[Any], ...]:
        """What says where the cells lie."""
        return self.lat_edges, self.rows, self.lon_first, self.lon_step, np.array(self.limits)


def is_homolosine(crs: Any) -> bool:
    """Whether a coordinate system is the projection of SoilGrids."""
    found = crs.to_dict() if crs is not None else {}
    origin = all(found.get(key, 0) == 0 for key in ("lat_0", "lon_0", "x_0", "y_0"))
    wgs84 = found.get("datum") == "WGS84" or found.get("ellps") == "WGS84"
    return found.get("proj") == "igh" and found.get("units") == "m" and origin and wgs84


def project(lon: Any, lat: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return x and y, m, of places in degrees."""
    x, y = pyproj.Proj(PROJECTION)(lon, lat)
    return np.asarray(x, "float64"), np.asarray(y, "float64")


def read_homolosine(
    path: Path | str, bounds: Bounds, missing: float | None = None
) -> list[LobeRaster]:
    """Read the cells that touch ``bounds``, by lobe.

    Parameters
    ----------
    path : Path
        GeoTIFF, or VRT with its tiles beside it.
    bounds : tuple, degrees
        Longitudes -180..180.
    missing : float, optional
        A value that is missing whatever the file declares.

    Raises
    ------
    ValueError
        If the file is damaged, has another projection, or does not reach the bounds.
    """
    with open_raster(path) as source:
        if not is_homolosine(source.crs):
            raise ValueError(
                f"{path}: coordinate system is {source.crs}, expected {PROJECTION}; reproject it"
            )
        cuts = [(lobe, lobe.cut(bounds)) for lobe in LOBES]
        parts = [_read_lobe(source, lobe, cut, missing) for lobe, cut in cuts if cut is not None]
    found = [part for part in parts if part is not None]
    if not found:
        raise ValueError(f"{path} does not reach {bounds}: give the file of this region")
    return found


def boxes_of(bounds: Bounds) -> list[Bounds]:
    """Left, bottom, right, top of the boxes, m, that hold a box in degrees: one a lobe."""
    boxes = []
    for lobe in LOBES:
        cut = lobe.cut(bounds)
        if cut is not None:
            sides = np.array([cut[1], cut[3]])
            # Parallels are longest at the side next to the equator.
            reach = np.outer([cut[0] - lobe.middle, cut[2] - lobe.middle], _growth(lobe, sides))
            y = project([lobe.middle] * 2, sides)[1]
            x = _meridian(lobe) + reach
            boxes.append((float(x.min()), float(y.min()), float(x.max()), float(y.max())))
    return boxes


def _read_lobe(source: Any, lobe: Lobe, cut: Bounds, missing: float | None) -> LobeRaster | None:
    """Read what a lobe holds of a box; None where the file has nothing of it."""
    transform, (height, width) = source.transform, source.shape
    top, bottom = project([lobe.middle] * 2, [cut[3], cut[1]])[1]
    rows = cells_within(transform.f, transform.e, top, bottom, height)
    if not rows:
        return None
    sides = cut[1], cut[3]
    lat_edges, band_rows = _bands(transform, rows, lobe, sides)
    middle_x, growth = _meridian(lobe), _growth(lobe, (lat_edges[:-1] + lat_edges[1:]) / 2)
    # x of the cut's sides in every band: the widest stretch is read.
    reach = middle_x + np.outer([cut[0] - lobe.middle, cut[2] - lobe.middle], growth)
    cols = cells_within(transform.c, transform.a, reach[0].min(), reach[1].max(), width)
    if not cols:
        return None
    edge = transform.c + transform.a * cols.start
    return LobeRaster(
        read_window(source, rows, cols, missing),
        lat_edges,
        band_rows,
        lobe.middle + (edge - middle_x) / growth,
        transform.a / growth,
        (cut[0], cut[2]),
    )


def _bands(
    transform: Any, rows: range, lobe: Lobe, sides: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Cut rows into bands within two latitudes: edges, descending, and each band's row."""
    steps = np.arange(len(rows) * BANDS + 1) / BANDS
    y = transform.f + transform.e * (rows.start + steps)
    south, north = project([lobe.middle] * 2, sides)[1]
    # A band that only touches the cut has no height and is left out.
    y = np.clip(y, south, north)
    keep = np.flatnonzero(y[:-1] - y[1:] > 1e-6 * -transform.e)
    x = np.full(keep.size + 1, _meridian(lobe))
    edges = np.append(y[keep], y[keep[-1] + 1])
    lat = np.asarray(pyproj.Proj(PROJECTION)(x, edges, inverse=True)[1], "float64")
    return lat, (keep // BANDS).astype("int64")


@cache
def _meridian(lobe: Lobe) -> float:
    """Return x of a lobe's middle meridian, which is straight."""
    return float(project(lobe.middle, 10 if lobe.north else -10)[0])


def _growth(lobe: Lobe, lat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how much x grows by degree of longitude along parallels, m."""
    x, _ = project(np.full(lat.size, lobe.middle + 20.0), lat)
    return (x - _meridian(lobe)) / 20.0
