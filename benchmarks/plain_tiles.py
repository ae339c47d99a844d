"""The plain script beside which the ingest of tiles is timed: open, mask, warp, stack, write.

By rioxarray for GeoTIFF, pyhdf for HDF-EOS2, h5py for HDF-EOS5. Each reads no more of a file than
the box of the cube's tile, keeps by quality as the products' guides say, and lets GDAL reproject to
the nearest pixel. Nothing is checked: names are trusted for what is in the files.
"""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import rioxarray
import tile_files
import xarray as xr
from numpy.typing import NDArray
from pyhdf.SD import SD
from rasterio.enums import Resampling
from rasterio.transform import Affine
from rasterio.warp import transform_bounds
from tile_files import CORNER, OVERPASSES, SINUSOIDAL, TILE

from gssm_cube.grid import Layout
from gssm_cube.ingest.inputs import vegetation_starts
from gssm_cube.sources import modis, viirs
from gssm_cube.sources.sinusoidal import KILOMETRE, RADIUS

VEGETATION = ("NDVI", "EVI", "pixel reliability", "composite day of the year")
RANKS = np.array([0, 0, 1, 1, 1, 3, 3, 3, 2, 3, -1, -1], "int16")  # of VNP13 as MOD13's


def by_script(folder: Path, layout: Layout, store: Path, form: str) -> None:
    """Bring all files of a form to the grid, into one Zarr."""
    product, box = form.split()[0], box_of(layout)
    place = tile_files.place_of(folder, form)
    if product in ("MOD13A2", "VNP13A2"):
        starts = vegetation_starts(layout).astype(object)
        stacks = vegetation_stacks(place, form, starts, box, target_of(layout))
    else:
        days = [tile_files.FIRST + timedelta(n) for n in range(layout.days)]
        stacks = lst_stacks(place, form, days, box, target_of(layout))
    dataset = xr.Dataset(stacks).drop_vars("spatial_ref")
    for variable in dataset.variables.values():
        variable.encoding.clear()
    encoding = {name: {"chunks": (16, *layout.shape)} for name in stacks}
    dataset.to_zarr(store, mode="w", zarr_format=3, consolidated=False, encoding=encoding)


def box_of(layout: Layout) -> tuple[slice, slice]:
    """Rows and columns of the sinusoidal tile round the cube's tile."""
    bounds = transform_bounds("EPSG:4326", SINUSOIDAL, *layout.bounds, densify_pts=101)
    left, right = (int((x + np.pi * RADIUS) // KILOMETRE.pixel) for x in bounds[::2])
    bottom, top = (int((np.pi * RADIUS / 2 - y) // KILOMETRE.pixel) for y in bounds[1::2])
    return (
        slice(max(top - 1 - CORNER[0], 0), min(bottom + 2 - CORNER[0], 1200)),
        slice(max(left - 1 - CORNER[1], 0), min(right + 2 - CORNER[1], 1200)),
    )


def target_of(layout: Layout) -> xr.DataArray:
    """Empty plane of the cube's tile."""
    west, _, _, north = layout.bounds
    coords = {"y": layout.lat, "x": layout.lon}
    plane = xr.DataArray(np.zeros(layout.shape, "uint16"), coords, ("y", "x"))
    transform = Affine(1 / 120, 0, west, 0, -1 / 120, north)
    return plane.rio.write_crs(4326).rio.write_transform(transform)


def warp(layers: list[xr.DataArray], fill: int, target: xr.DataArray) -> xr.DataArray:
    """Reproject planes to the nearest pixel, and stack them."""
    planes = [layer.rio.write_nodata(fill) for layer in layers]
    warped = [p.rio.reproject_match(target, resampling=Resampling.nearest) for p in planes]
    return xr.concat(warped, "time").drop_attrs()


def lst_stacks(
    place: Path, form: str, days: list[date], box: tuple[slice, slice], target: xr.DataArray
) -> dict[str, xr.DataArray]:
    """Return day and night LST of all days."""
    usable = (viirs if form.startswith("VNP") else modis).usable_lst
    stacks = {}
    for overpass in OVERPASSES:
        layers = []
        for day in days:
            numbers, flags = read_layers(lst_paths(place, form, day, overpass), box)
            kept = usable(numbers.values, flags.values)
            layers.append(numbers.where(kept, 0).astype("uint16"))
        stacks[f"lst_{overpass.lower()}"] = warp(layers, 0, target)
    return stacks


def vegetation_stacks(
    place: Path, form: str, starts: list[date], box: tuple[slice, slice], target: xr.DataArray
) -> dict[str, xr.DataArray]:
    """Return NDVI, EVI, reliability and day of all composites, in the numbers of MOD13A2."""
    names, fills = ("ndvi", "evi", "reliability", "day"), (-3000, -3000, -1, -1)
    found: dict[str, list[xr.DataArray]] = {name: [] for name in names}
    for start in starts:
        layers = read_layers(vegetation_paths(place, form, start), box)
        if form.startswith("VNP"):
            layers[:2] = [layer.where(np.abs(layer) <= 10000, -3000) for layer in layers[:2]]
            layers[2] = layers[2].copy(data=RANKS[layers[2].values])
        for name, layer in zip(names, layers, strict=True):
            found[name].append(layer.astype("int16"))
    return {
        name: warp(layers, fill, target)
        for (name, layers), fill in zip(found.items(), fills, strict=True)
    }


# ---- files ------------------------------------------------------------------------------------


def read_layers(paths: list[tuple[Path, str]], box: tuple[slice, slice]) -> list[xr.DataArray]:
    """Read a box of each layer, given by its file and its name there."""
    suffix = paths[0][0].suffix
    if suffix == ".tif":
        opened = (rioxarray.open_rasterio(path).squeeze("band", drop=True) for path, _ in paths)
        return [raster[box].load() for raster in opened]
    if suffix == ".hdf":
        file = SD(str(paths[0][0]))
        layers = [on_the_sphere(file.select(name)[box], box) for _, name in paths]
        file.end()
        return layers
    with h5py.File(paths[0][0]) as tile:
        return [on_the_sphere(tile[name][box], box) for _, name in paths]


def on_the_sphere(values: NDArray[Any], box: tuple[slice, slice]) -> xr.DataArray:
    """Give a box of the tile its coordinates."""
    rows, cols = (np.arange(part.start, part.stop) + 0.5 for part in box)
    y = np.pi * RADIUS / 2 - (CORNER[0] + rows) * KILOMETRE.pixel
    x = (CORNER[1] + cols) * KILOMETRE.pixel - np.pi * RADIUS
    return xr.DataArray(values, {"y": y, "x": x}, ("y", "x")).rio.write_crs(SINUSOIDAL)


def lst_paths(place: Path, form: str, day: date, overpass: str) -> list[tuple[Path, str]]:
    """Files and fields of an overpass: LST, quality."""
    stem = f"MOD11A1.A{day:%Y%j}.{TILE}.061.2021001000000"
    layers = (f"LST_{overpass}_1km", f"QC_{overpass}")
    product = OVERPASSES[overpass]
    if form == "MOD11A1 HDF-EOS2":
        return [(place / f"{stem}.hdf", layer) for layer in layers]
    if form == "MOD11A1 GeoTIFF":
        return [(place / f"{stem}_{layer}.tif", layer) for layer in layers]
    if form == "VNP21A1 GeoTIFF":
        names = (f"{product}.002_{n}_doy{day:%Y%j}_aid0001.tif" for n in ("LST_1KM", "QC"))
        return [(place / name, "") for name in names]
    path = place / f"{product}.A{day:%Y%j}.{TILE}.002.{day:%Y%j}123456.h5"
    group = "HDFEOS/GRIDS/VIIRS_Grid_Daily_1km_LST21/Data Fields"
    return [(path, f"{group}/{layer}") for layer in ("LST_1KM", "QC")]


def vegetation_paths(place: Path, form: str, start: date) -> list[tuple[Path, str]]:
    """Files and fields of a composite."""
    stem = f"MOD13A2.A{start:%Y%j}.{TILE}.061.2021001000000"
    if form == "MOD13A2 HDF-EOS2":
        return [(place / f"{stem}.hdf", f"1 km 16 days {name}") for name in VEGETATION]
    if form == "MOD13A2 GeoTIFF":
        return [(place / f"{stem}_{layer}.tif", layer) for layer in modis.VEGETATION_LAYERS]
    path = place / f"VNP13A2.A{start:%Y%j}.{TILE}.002.{start:%Y%j}123456.h5"
    group = "HDFEOS/GRIDS/VIIRS_Grid_16Day_VI_1km/Data Fields/1 km 16 days"
    return [(path, f"{group} {name}") for name in VEGETATION]
