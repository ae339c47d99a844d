"""Each kind of source against an independent reprojection: largest difference, and area mean.

    python benchmarks/reprojection.py [--json FILE]

Rough fields (100 to 900, neighbouring cells up to 200 apart) on each source's own grid are brought
to ours by the package, and by GDAL (rasterio), scipy, or many points a pixel that pyproj projects.
The fields and judges of the area means are those of ``tests/test_reprojection.py``.
"""

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject
from scipy.interpolate import RegularGridInterpolator

from gssm_cube.harmonise.regrid import sinusoidal_index
from gssm_cube.interpolate import upsample_window
from gssm_cube.sources.sinusoidal import KILOMETRE, RADIUS, Cutout, span

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))
import test_reprojection as judges

logger = logging.getLogger("reprojection")

SINUSOIDAL = f"+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R={RADIUS} +units=m +no_defs"
DEGREES = {  # cell in degrees, and how far its corner lies aside, in cells
    "MERIT Hydro (3 arcsec, half a cell aside)": (1 / 1200, 0.5),
    "SoilGrids in EPSG:4326": (0.00225, 0.3),
    "water table, bedrock (30 arcsec)": (1 / 120, 0.0),
}
Figures = dict[str, float]


def in_degrees(folder: Path, cell: float, shift: float, north: int) -> Figures:
    """Area means of a grid in degrees against GDAL's average."""
    edges = judges.edges_from(north, 600)
    count = int(judges.PIXELS / 120 / cell) + 4
    transform = Affine(cell, 0, 5 - (1 + shift) * cell, 0, -cell, north / 120 + (1 + shift) * cell)
    values = judges.rough((count, count))
    path = judges.write(folder / "a.tif", values, transform)
    mean, _ = judges.mean_in_degrees(path, *edges)
    lat, lon = transform.f - cell * np.arange(count + 1), transform.c + cell * np.arange(count + 1)
    cut = np.clip(lat, edges[0][-1], edges[0][0]), np.clip(lon, edges[1][0], edges[1][-1])
    areas = np.outer(-np.diff(np.sin(np.radians(cut[0]))), np.diff(cut[1]))
    return {
        "largest": float(np.abs(mean - judges.warp(path, *edges)).max()),
        "area_mean": abs(area_mean(mean, edges[0]) / np.average(values, weights=areas) - 1),
    }


def in_homolosine(folder: Path, place: str) -> Figures:
    """SoilGrids as delivered, against 60 x 60 points a pixel."""
    edges, path = judges.edges_from(*judges.PLACES[place]), folder / "a.tif"
    values, transform = judges.write_homolosine(path, *edges, lambda s, *_: judges.rough(s))
    mean, _ = judges.mean_of_lobes(path, *edges)
    gap = np.abs(mean - judges.points_mean(values, transform, *edges))
    exact = judges.equal_parts_mean(values, transform, *edges)
    return {
        "largest": float(gap.max()),
        "rms": float(np.sqrt(np.mean(gap**2))),
        "area_mean": abs(area_mean(mean, edges[0]) / exact - 1),
    }


def in_sinusoidal(north: int, size: int = 480) -> Figures:
    """Pixels of 1 km taken by index, against GDAL's nearest; their area mean in the box."""
    lat, lon = 90 - (np.arange(size) + north + 0.5) / 120, (np.arange(size) + 0.5) / 120 + 5
    rows, cols = sinusoidal_index(lat, lon)
    down, across = span(rows), span(cols)
    values = np.rint(judges.rough((len(down), len(across)))).astype("uint16")
    found = Cutout(values, down.start, across.start).at(rows, cols, 0)
    pixel, expected = KILOMETRE.pixel, np.zeros((size, size), "uint16")
    corner = across.start * pixel - np.pi * RADIUS, np.pi * RADIUS / 2 - down.start * pixel
    reproject(
        values, expected, resampling=Resampling.nearest, tolerance=0, src_crs=SINUSOIDAL,
        src_transform=Affine(pixel, 0, corner[0], 0, -pixel, corner[1]), dst_crs="EPSG:4326",
        dst_transform=Affine(1 / 120, 0, 5, 0, -1 / 120, 90 - north / 120),
    )  # fmt: skip
    # The projection keeps areas: the mean of the box is that of its pixels, cut at its sides.
    ends = (np.cos(np.radians(lat))[:, None] * (np.array([5, 5 + size / 120])) + 180) * 120
    left, right = ends[:, :1], ends[:, 1:]
    edge = np.arange(across.start, across.stop)
    held = np.clip(np.minimum(right, edge + 1) - np.maximum(left, edge), 0, 1)
    exact = np.average(values, weights=held)
    lat_edges = 90 - (north + np.arange(size + 1)) / 120
    return {
        "differ": float((found != expected).mean()),
        "area_mean": abs(area_mean(found, lat_edges) / exact - 1),
    }


def by_bilinear() -> Figures:
    """Cells of 0.1 deg refined in integers, against scipy, in codes."""
    cells = np.rint(10 * judges.rough((42, 42))).astype("int16")
    found = upsample_window(cells[None], slice(0, 480), slice(0, 480), 12)[0]
    place = (np.arange(480) + 0.5) / 12
    linear = RegularGridInterpolator((np.arange(42), np.arange(42)), cells.astype("float64"))
    expected = linear(np.stack(np.meshgrid(place, place, indexing="ij"), axis=-1))
    # A tile begins at a cell's middle: cells on its sides count half.
    weights = np.ones(41)
    weights[[0, -1]] = 0.5
    exact = np.average(cells[:41, :41], weights=np.outer(weights, weights))
    return {
        "largest": float(np.abs(found - expected).max()),
        "area_mean": abs(float(found.mean()) / exact - 1),
    }


def area_mean(values: NDArray[Any], lat_edges: NDArray[np.float64]) -> float:
    """Mean of a plane on our grid by true area."""
    heights = -np.diff(np.sin(np.radians(lat_edges)))
    return float(np.average(values.mean(axis=1, dtype="float64"), weights=heights))


def compare(folder: Path) -> Iterator[tuple[str, Figures]]:
    """Yield the figures of each kind of source: the largest over the places that are tried."""
    yield "MODIS, VIIRS (1 km)", worst(in_sinusoidal(n) for n in (0, 4800, 10560, 14400))
    yield "ERA5-Land (0.1 deg, bilinear)", by_bilinear()
    yield "SoilGrids in homolosine", worst(in_homolosine(folder, p) for p in judges.PLACES)
    for name, (cell, shift) in DEGREES.items():
        norths = (60 * 120, -120 * 20, 80 * 120)
        yield name, worst(in_degrees(folder, cell, shift, north) for north in norths)


def worst(rows: Iterator[Figures]) -> Figures:
    """Return the largest of each figure."""
    every = list(rows)
    return {name: max(row[name] for row in every) for name in every[0]}


def main() -> None:
    """Print or keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as name, rasterio.Env():
        result = dict(compare(Path(name)))
    for source, row in result.items():
        logger.info("%-42s %s", source, {key: f"{value:.2g}" for key, value in row.items()})
    if given.json:
        given.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
