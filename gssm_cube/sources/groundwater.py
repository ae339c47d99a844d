"""Water table depth (Fan et al. 2013, doi:10.1126/science.1229881): NetCDF at 30 arcsec.

One file a continent. The files give the water table as a height, negative below the surface;
``mask`` is 0 at sea and on other continents, where ``WTD`` is 0.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gssm_cube.sources import whole
from gssm_cube.sources.doors import Tell, stop, told
from gssm_cube.sources.raster import Bounds, Raster

VARIABLE = "WTD"  # m
MASK = "mask"
CELLS_PER_DEGREE = 120
ABOVE_SHARE = 0.01  # rounding may lift a wetland above the surface, another sign lifts all


def find_files(folder: Path, tell: Tell = stop) -> list[Path]:
    """Return the NetCDF files (one a continent).

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    files = sorted(folder.glob("*.nc"))
    if not files:
        text = f"no water table depth NetCDF (variable {VARIABLE}) in {folder}"
        tell(FileNotFoundError(f"{text}; download those of the continents"))
    return files


def check_files(files: list[Path], tell: Tell = stop) -> list[Path]:
    """Raise, or tell, which file is not of this kind, or has the box of another; headers only.

    Returns the sound ones.
    """
    boxes: dict[tuple[float, ...], Path] = {}
    for path in files:
        with told(tell):
            with _open(path) as dataset:
                lat, lon = (_axis(path, dataset[axis].values) for axis in ("lat", "lon"))
            ends = (lat.min(), lat.max(), lon.min(), lon.max())
            other = boxes.setdefault(tuple(round(end * CELLS_PER_DEGREE) for end in ends), path)
            if other != path:
                raise ValueError(f"{other} and {path} have the same box; keep one")
    return list(boxes.values())


def check_reach(files: list[Path], bounds: Bounds) -> None:
    """Raise unless one of the files reaches ``bounds``."""
    if not any(_overlap(extent(path), bounds) for path in files):
        raise _unreached(files, bounds)


def _overlap(one: Bounds, other: Bounds) -> bool:
    """Whether two boxes overlap, or lie within a cell of one another."""
    apart = (one[0] - other[2], other[0] - one[2], one[1] - other[3], other[1] - one[3])
    return max(apart) <= 1 / CELLS_PER_DEGREE


def _unreached(files: list[Path], bounds: Bounds) -> ValueError:
    """Say that no file reaches the bounds."""
    names = [path.name for path in files]
    return ValueError(
        f"no water table file reaches {bounds}; there are {names}; download the continent's"
    )


def extent(path: Path) -> Bounds:
    """West, south, east, north of a file's cell centres, from its axes."""
    with xr.open_dataset(path, engine="netcdf4", chunks=None) as dataset:
        lat, lon = dataset["lat"].values, dataset["lon"].values
    if lon.max() > 180:  # 0..360: taken to reach all round
        return -180.0, float(lat.min()), 180.0, float(lat.max())
    return float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())


def read_depth(files: list[Path], bounds: Bounds) -> Raster:
    """Read the depth below the surface, m, positive, from all files that reach ``bounds``.

    Boxes of continents overlap and each holds its own continent: where the first is empty, the
    next one counts.

    Raises
    ------
    ValueError
        If no file reaches the bounds, or one is damaged, of another grid, unit or sign.
    """
    found = (_read_part(path, bounds) for path in files)
    parts = [part for part in found if part is not None]
    if not parts:
        raise _unreached(files, bounds)
    return parts[0] if len(parts) == 1 else _mosaic(parts)


@contextmanager
def _open(path: Path) -> Iterator[xr.Dataset]:
    """Open a file whose variable is one map in metres on a latitude-longitude grid."""
    try:
        whole.check_netcdf(path)
        with xr.open_dataset(path, engine="netcdf4", chunks=None) as dataset:
            _check_variable(path, dataset)
            yield dataset
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); download it again") from error


def _check_variable(path: Path, dataset: xr.Dataset) -> None:
    """Raise unless a dataset has one map of heights in metres over lat and lon."""
    if VARIABLE not in dataset:
        raise ValueError(
            f"{path} has {list(dataset.data_vars)}, expected {VARIABLE}; give the annual means"
        )
    layer = dataset[VARIABLE]
    sizes = {str(name): size for name, size in layer.sizes.items() if size > 1}
    if set(sizes) != {"lat", "lon"} or not {"lat", "lon"} <= set(dataset.coords):
        raise ValueError(
            f"{path}: {VARIABLE} has {sizes}, expected one map over lat and lon in degrees; give "
            "the annual mean, in EPSG:4326"
        )
    unit = layer.attrs.get("units", "m")
    if unit not in ("m", "meter", "meters", "metre", "metres"):
        raise ValueError(f"{path}: units of {VARIABLE} are {unit!r}, expected 'm'; convert it")


def _read_part(path: Path, bounds: Bounds) -> Raster | None:
    """Read the cells of a file that touch bounds; None where there are none."""
    west, south, east, north = bounds
    with _open(path) as dataset:
        lat = _axis(path, dataset["lat"].values)
        lon = _axis(path, dataset["lon"].values)
        lon = lon - 360 * (lon > 180)  # files may run to 360
        half = 0.5 / CELLS_PER_DEGREE * (1 - 1e-6)
        rows = np.flatnonzero((lat > south - half) & (lat < north + half))
        cols = np.flatnonzero((lon > west - half) & (lon < east + half))
        if not rows.size or not cols.size:
            return None
        values = _read_cells(dataset, rows, cols)
    # North first, west first.
    lat, lon = lat[rows], lon[cols]
    values = values[np.ix_(np.argsort(-lat), np.argsort(lon))]
    _check_sign(path, values)
    lat_edges = lat.max() + (0.5 - np.arange(lat.size + 1)) / CELLS_PER_DEGREE
    lon_edges = lon.min() + (np.arange(lon.size + 1) - 0.5) / CELLS_PER_DEGREE
    return Raster(np.maximum(-values, 0), lat_edges, lon_edges)


def _read_cells(
    dataset: xr.Dataset, rows: NDArray[np.intp], cols: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Read rows and columns as they lie in the file, without what is masked."""
    runs = np.split(cols, np.flatnonzero(np.diff(cols) > 1) + 1)  # two across Greenwich
    layers = []
    for name in (VARIABLE, MASK):
        if name not in dataset:
            continue
        first = {dim: 0 for dim in dataset[name].dims if dim not in ("lat", "lon")}
        layer = dataset[name].isel(first).transpose("lat", "lon")
        boxes = [(slice(rows[0], rows[-1] + 1), slice(run[0], run[-1] + 1)) for run in runs]
        layers.append(np.concatenate([layer[box].values for box in boxes], axis=1))
    heights = layers[0].astype("float32")
    return heights if len(layers) == 1 else np.where(layers[1] == 0, np.float32("nan"), heights)


def _axis(path: Path, centres: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return centres of a regular axis of 30 arcsec, without the rounding of float32."""
    places = np.asarray(centres, "float64") * CELLS_PER_DEGREE
    steps = np.diff(places)
    if places.size < 2 or not (np.allclose(steps, 1, 0, 0.02) or np.allclose(steps, -1, 0, 0.02)):
        raise ValueError(
            f"{path}: cells along an axis from {centres[0]} to {centres[-1]} are not 30 arcsec "
            "apart; give the file as delivered"
        )
    whole = np.round(places - 0.5) + 0.5
    snapped = whole if np.abs(whole - places).max() < 0.2 else places
    return snapped / CELLS_PER_DEGREE


def _check_sign(path: Path, heights: NDArray[np.float32]) -> None:
    """Raise where the water table lies above the surface."""
    above = int((heights > 0).sum())
    if above > ABOVE_SHARE * np.isfinite(heights).sum():
        raise ValueError(
            f"{path}: {above} heights of the water table are above 0 (highest "
            f"{np.nanmax(heights):g}), expected heights at or below the surface; turn the sign"
        )


def _mosaic(parts: list[Raster]) -> Raster:
    """Lay parts of one grid over each other, the first on top."""
    north, west = parts[0].lat_edges[0], parts[0].lon_edges[0]
    step = north - parts[0].lat_edges[1]
    rows = [round((north - part.lat_edges[0]) / step) for part in parts]
    cols = [round((part.lon_edges[0] - west) / step) for part in parts]
    top, left = min(rows), min(cols)
    sizes = [part.values.shape for part in parts]
    bottom = max(row + size[0] for row, size in zip(rows, sizes, strict=True))
    right = max(col + size[1] for col, size in zip(cols, sizes, strict=True))
    values = np.full((bottom - top, right - left), np.nan, dtype="float32")
    for part, row, col in zip(parts, rows, cols, strict=True):
        height, width = part.values.shape
        under = values[row - top : row - top + height, col - left : col - left + width]
        np.copyto(under, part.values, where=np.isnan(under))
    lat_edges = north - step * np.arange(top, bottom + 1)
    return Raster(values, lat_edges, west + step * np.arange(left, right + 1))
