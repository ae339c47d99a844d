"""Static layers of one tile: `StaticTile` beside a plain rioxarray script that does the same job.

    python benchmarks/ingest_static.py [--quick] [--json FILE]

Invented terrain and soil in the providers' formats (MERIT Hydro in 5 deg tiles, SoilGrids in
homolosine, water table NetCDF, bedrock GeoTIFF) are read, averaged onto one tile and written to
Zarr; then each source by itself is read and averaged again. The two take turns, each in a process
of its own, on one thread; figures are medians, megapixels those of the source. The plain script
derives soil and topographic index by the package's own functions, so that what differs is reading,
reprojecting (GDAL's average) and writing.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rioxarray
import xarray as xr
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.windows import Window
from rioxarray.merge import merge_arrays
from scipy.ndimage import zoom

from gssm_cube import cube
from gssm_cube.grid import Layout
from gssm_cube.harmonise import soil, terrain
from gssm_cube.ingest.inputs import Inputs, composite_starts
from gssm_cube.ingest.padded import Padded
from gssm_cube.ingest.static import StaticTile, soil_means, terrain_means
from gssm_cube.sources import bedrock, groundwater, homolosine, merit_hydro, soilgrids
from gssm_cube.sources.synthetic import flow_directions, upstream_area

logger = logging.getLogger("ingest_static")

SOUTH_WEST = (4.0, 48.0)  # of the tile; it lies on four tiles of MERIT Hydro
CELL = 1 / 1200
MARGIN = 0.1  # deg
OPTIONS = ("static_tile", "rioxarray")
SOURCES = ("MERIT Hydro", "SoilGrids", "water table", "bedrock")
SOIL = {"clay": 231, "sand": 412, "silt": 357, "bdod": 132, "soc": 480}


def layout_of(tile_size: int) -> Layout:
    """Return a layout of one tile."""
    west, south = SOUTH_WEST
    side = tile_size / 120
    bounds = (west, south, west + side, south + side)
    return Layout.covering(bounds, date(2018, 1, 1), date(2018, 1, 2), tile_size)


def noise(shape: tuple[int, int], seed: int, grain: int = 12) -> NDArray[np.float32]:
    """Return a rough field of about -1..1, correlated over some cells."""
    coarse = np.random.default_rng(seed).uniform(-1, 1, [n // grain + 3 for n in shape])
    return zoom(coarse.astype("float32"), grain, order=1)[: shape[0], : shape[1]]


def write_tif(path: Path, values: NDArray[Any], crs: str, transform: Affine, nodata: int) -> None:
    """Write a tiled, compressed GeoTIFF."""
    height, width = values.shape
    profile = dict(driver="GTiff", count=1, height=height, width=width, dtype=values.dtype)
    profile |= dict(crs=crs, transform=transform, nodata=nodata, tiled=True, compress="deflate")
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(values, 1)


def write_merit(folder: Path, layout: Layout) -> None:
    """Write the three layers round a tile, cut into the format's 5 deg tiles."""
    west, south, east, north = layout.bounds
    left, top = (round(v / CELL) for v in (west + 180 - MARGIN, 90 - north - MARGIN))
    rows, cols = (round((span + 2 * MARGIN) / CELL) for span in (north - south, east - west))
    lat = 90 - CELL * (top + np.arange(rows))
    elv = (300 + 250 * noise((rows, cols), 0, 60) + 20 * noise((rows, cols), 1)).astype("float32")
    codes = flow_directions(elv, lat)
    layers = {"elv": elv, "upa": upstream_area(elv, codes, lat), "dir": codes}
    for row in range((top - 1) // 6000, (top + rows - 2) // 6000 + 1):
        for col in range(left // 6000, (left + cols - 1) // 6000 + 1):
            for name, values in layers.items():
                write_merit_tile(folder, name, (row, col), values, (top - 1, left))


def write_merit_tile(
    folder: Path, name: str, place: tuple[int, int], values: NDArray[Any], first: tuple[int, int]
) -> None:
    """Write what lies on one tile; the rest of it is not stored."""
    origin = [6000 * at - cell for at, cell in zip(place, first, strict=True)]
    spans = [(max(o, 0), min(o + 6000, n)) for o, n in zip(origin, values.shape, strict=True)]
    part = values[slice(*spans[0]), slice(*spans[1])]
    south, west = 85 - 5 * place[0], 5 * place[1] - 180
    profile = dict(driver="GTiff", count=1, height=6000, width=6000, dtype=values.dtype)
    profile |= dict(crs="EPSG:4326", nodata=247 if name == "dir" else -9999, tiled=True)
    profile |= dict(compress="deflate", sparse_ok=True)
    transform = Affine(CELL, 0, west - CELL / 2, 0, -CELL, south + 5 - CELL / 2)
    path = folder / f"{merit_hydro.tile_name(south, west)}_{name}.tif"
    window = Window(spans[1][0] - origin[1], spans[0][0] - origin[0], part.shape[1], part.shape[0])
    with rasterio.open(path, "w", **profile, transform=transform) as raster:
        raster.write(np.ascontiguousarray(part), 1, window=window)


def write_soil(folder: Path, layout: Layout) -> None:
    """Write the five layers in homolosine round a tile."""
    west, south, east, north = layout.bounds
    sides = (
        np.linspace(west - MARGIN, east + MARGIN, 50),
        np.linspace(south - MARGIN, north + MARGIN),
    )
    x, y = homolosine.project(*np.meshgrid(*sides))
    left, top = (int(np.floor(v / 250)) for v in (x.min(), -y.max()))
    shape = int(np.ceil(-y.min() / 250)) - top, int(np.ceil(x.max() / 250)) - left
    transform = Affine(250, 0, 250 * left, 0, -250, -250 * top)
    for seed, (name, middle) in enumerate(SOIL.items()):
        values = np.rint(middle * (1 + 0.3 * noise(shape, seed))).astype("int16")
        path = folder / f"{name}_0-5cm_mean.tif"
        write_tif(path, values, homolosine.PROJECTION, transform, -32768)


def write_coarse(folder: Path, layout: Layout) -> None:
    """Write water table and bedrock at 30 arcsec."""
    size = layout.tile_size + 24
    west, north = layout.bounds[0] - MARGIN, layout.bounds[3] + MARGIN
    lat, lon = (north - (np.arange(size) + 0.5) / 120), west + (np.arange(size) + 0.5) / 120
    heights = xr.DataArray(
        -10 - 5 * noise((size, size), 7), (("lat", lat), ("lon", lon)), name="WTD"
    )
    heights.assign_attrs(units="m").to_netcdf(folder / "WTD_annualmean.nc", engine="netcdf4")
    bedrock_depth = (1000 + 500 * noise((size, size), 8)).astype("int32")
    transform = Affine(1 / 120, 0, west, 0, -1 / 120, north)
    write_tif(folder / bedrock.FILE_NAME, bedrock_depth, "EPSG:4326", transform, bedrock.NODATA)


# ---- the two ----------------------------------------------------------------------------------


def find_inputs(folder: Path) -> Inputs:
    """Return the static files; the other sources are empty."""
    return Inputs(
        [], {}, {}, soilgrids.find_files(folder), merit_hydro.find_files(folder),
        groundwater.find_files(folder), bedrock.find_files(folder),
    )  # fmt: skip


def by_static_tile(folder: Path, layout: Layout, store: Path) -> None:
    """Write the tile with this package."""
    StaticTile(store, find_inputs(folder), layout, "key")(str(next(layout.tiles())))


def average_source(folder: Path, layout: Layout, source: str) -> None:
    """Read and average one source as ``StaticTile`` does."""
    files, padded = find_inputs(folder), Padded(layout, next(layout.tiles()))
    if source == "SoilGrids":
        soil_means(files.soilgrids, padded)
    elif source == "MERIT Hydro":
        terrain_means(files.merit_hydro, padded)
    elif source == "water table":
        padded.mean(groundwater.read_depth(files.wtd, padded.bounds))
    else:
        padded.mean(bedrock.read_depth(files.bedrock, padded.bounds))


def by_rioxarray(folder: Path, layout: Layout, store: Path) -> None:
    """Write the tile as a plain script would: open, derive, reproject by average, to Zarr."""
    means = {}
    for source in SOURCES:
        means |= plain_means(folder, layout, source)
    xr.Dataset(means).to_zarr(store, mode="w", zarr_format=3, consolidated=False)


def plain_means(folder: Path, layout: Layout, source: str) -> dict[str, xr.DataArray]:
    """Return what a plain script makes of one source."""
    west, south, east, north = layout.bounds
    target = {
        "dst_crs": "EPSG:4326",
        "shape": layout.shape,
        "transform": Affine(1 / 120, 0, west, 0, -1 / 120, north),
        "resampling": Resampling.average,
    }
    fine = plain_fine(folder, source, (west - 0.05, south - 0.05, east + 0.05, north + 0.05))
    means = {}
    for name in list(fine):
        layer = fine.pop(name).rio.write_nodata(np.nan, encoded=False)
        means[name] = layer.rio.reproject(**target).drop_vars("spatial_ref")
    return means


def plain_fine(
    folder: Path, source: str, box: tuple[float, float, float, float]
) -> dict[str, xr.DataArray]:
    """Return the layers of a source on its own grid."""
    if source == "SoilGrids":
        return plain_soil(folder)
    if source == "MERIT Hydro":
        return plain_terrain(folder, box)
    if source == "water table":
        with xr.open_dataset(folder / "WTD_annualmean.nc", engine="netcdf4") as file:
            heights = file["WTD"].rename(lat="y", lon="x").rio.write_crs("EPSG:4326").load()
        return {"wtd": -heights}
    return {"dtb": rioxarray.open_rasterio(folder / bedrock.FILE_NAME, masked=True)[0]}


def plain_terrain(folder: Path, box: tuple[float, float, float, float]) -> dict[str, xr.DataArray]:
    """Return elevation and topographic index at 3 arcsec, mosaicked."""
    layers = {}
    for name in merit_hydro.LAYERS:
        parts = [rioxarray.open_rasterio(path) for path in sorted(folder.glob(f"*_{name}.tif"))]
        clipped = [part.rio.clip_box(*box) for part in parts]
        layers[name] = merge_arrays(clipped)[0]
    elv = layers["elv"]
    index, _ = terrain.topographic_index(
        elv.values, layers["upa"].values, layers["dir"].values, elv.y.values
    )
    return {"elevation": elv.where(elv != -9999), "ti": elv.copy(data=index)}


def plain_soil(folder: Path) -> dict[str, xr.DataArray]:
    """Return soil predictors at 250 m."""
    path = "{}_0-5cm_mean.tif"
    maps = {n: rioxarray.open_rasterio(folder / path.format(n), masked=True)[0] for n in SOIL}
    fine = {name: soil.texture(maps[name]) for name in ("clay", "sand", "silt")}
    fine["omc"] = soil.organic_matter(maps["soc"])
    fine["porosity"] = soil.porosity(maps["bdod"], fine["omc"] / 100)
    return {name: layer.rio.write_crs(maps["clay"].rio.crs) for name, layer in fine.items()}


# ---- measuring --------------------------------------------------------------------------------


def run_one(option: str, folder: Path, layout: Layout, store: Path) -> dict[str, Any]:
    """Do the job twice in this process and time the second, then source by source."""
    work = {"static_tile": by_static_tile, "rioxarray": by_rioxarray}[option]
    alone = {"static_tile": average_source, "rioxarray": plain_means}[option]
    if option == "static_tile":
        cube.create_cube(store, layout, composite_starts(layout), {"title": "", "gssm_day": "UTC"})
    work(folder, layout, store)
    row: dict[str, Any] = timed(lambda: work(folder, layout, store))
    row["sources"] = {name: timed(lambda n=name: alone(folder, layout, n)) for name in SOURCES}
    return row


def timed(work: Callable[[], Any]) -> dict[str, float]:
    """Run something; CPU seconds, and the highest memory meanwhile, MB, of which held before."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew (Linux)
    before, begin = peak_memory(), time.process_time()
    work()
    return {
        "cpu_s": time.process_time() - begin,
        "peak_mb": peak_memory(),
        "before_mb": before,
    }


def peak_memory() -> float:
    """Return this process's largest resident memory so far, MB (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def largest_differences(stores: dict[str, Path]) -> dict[str, float]:
    """Return the 99th percentile of the absolute difference by layer, in the layer's unit."""
    ours = xr.open_zarr(stores["static_tile"], group="static", consolidated=False, chunks=None)
    plain = xr.open_zarr(stores["rioxarray"], consolidated=False, chunks=None)
    return {
        str(name): float(np.nanpercentile(np.abs(ours[name].values - plain[name].values), 99))
        for name in plain.data_vars
    }


def measure(folder: Path, layout: Layout, rounds: int) -> dict[str, Any]:
    """Let the two take turns, each in a process of its own."""
    found: dict[str, list[dict[str, Any]]] = {option: [] for option in OPTIONS}
    stores = {option: folder / f"{option}_0.zarr" for option in OPTIONS}
    for turn in range(rounds):
        for option in OPTIONS:
            store = folder / f"{option}_{turn}.zarr"
            command = [sys.executable, __file__, "--only", option, "--folder", str(folder)]
            command += ["--store", str(store), "--tile-size", str(layout.tile_size)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[option].append(json.loads(done.stdout.splitlines()[-1]))
    result: dict[str, Any] = {"differences_p99": largest_differences(stores)}
    for source, pixels in {"all": 0.0, **source_pixels(folder, layout)}.items():
        runs = {o: [run if source == "all" else run["sources"][source] for run in found[o]]
                for o in OPTIONS}  # fmt: skip
        row: dict[str, Any] = {
            option: {key: float(np.median([run[key] for run in runs[option]]))
                     for key in ("cpu_s", "peak_mb", "before_mb")}
            for option in OPTIONS
        }  # fmt: skip
        pairs = zip(*runs.values(), strict=True)
        row["ratio"] = float(np.median([plain["cpu_s"] / own["cpu_s"] for own, plain in pairs]))
        for option in OPTIONS if pixels else ():
            row[option]["mpx_per_cpu_s"] = pixels / row[option]["cpu_s"]
        result[source] = row
        logger.info("%-12s %s", source, json.dumps(row))
    logger.info("differences, 99th percentile: %s", result["differences_p99"])
    return result


def source_pixels(folder: Path, layout: Layout) -> dict[str, float]:
    """Return the source's own pixels under the tile, all layers, in millions."""
    with rasterio.open(folder / "clay_0-5cm_mean.tif") as raster:
        soil_cells = raster.width * raster.height
    area = layout.tile_size**2 / 1e6
    counts = {"MERIT Hydro": 3 * 100 * area, "SoilGrids": 5 * soil_cells / 1e6}
    return counts | {"water table": area, "bedrock": area}


def main() -> None:
    """Read the command line, run, and write JSON where it is wanted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--quick", action="store_true", help="a tile of 96 pixels, one round")
    parser.add_argument("--only", choices=OPTIONS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tile-size", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        layout = layout_of(given.tile_size)
        print(json.dumps(run_one(given.only, given.folder, layout, given.store)))
        return
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    os.environ |= {"OMP_NUM_THREADS": "1", "GDAL_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    layout = layout_of(96 if given.quick else 480)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for write in (write_merit, write_soil, write_coarse):
            write(folder, layout)
        result = measure(folder, layout, 1 if given.quick else 3)
    if given.json:
        given.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
