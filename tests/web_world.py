"""The invented world's provider files as open archives have them, below a folder to be served."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
import xarray as xr
import zarr
from rasterio.transform import Affine

from gssm_cube.sources import modis
from gssm_cube.sources.ee_files import SINUSOIDAL
from gssm_cube.sources.modis_files import PRODUCTS
from gssm_cube.sources.sinusoidal import RADIUS, SinusoidalGrid

STORE = "guarded/era5/era5-land-v0.zarr"
MADE = "2021001020304"
BOX = [-180.0, 40.0, -20.0, 50.0]  # that items claim, wider than any tile
ARCHIVE_SOIL_TILE = 20  # cells
UNITS = {"t2m": "K", "tp": "m", "e": "m of water equivalent"}
ALL_UNITS = UNITS | {"swvl1": "m**3 m**-3", "stl1": "K"}


# ---- ERA5-Land --------------------------------------------------------------------------------


def write_store(
    folder: Path, path: Path, chunks: tuple[int, int, int], zarr_format: Any = 3, lats: int = 1472
) -> None:
    """Write the hours of a folder of NetCDF files into a store of the globe, 0 to 360 E."""
    months = [xr.load_dataset(file) for file in sorted(folder.glob("*.nc"))]
    hours = xr.concat(
        months, "valid_time", data_vars="minimal", coords="minimal", compat="override"
    )
    row = round(900 - 10 * float(hours["latitude"][0]))
    col = round(10 * float(hours["longitude"][0])) % 3600
    write_empty_store(path, hours["valid_time"].values, chunks, zarr_format, lats, ALL_UNITS)
    group = zarr.open_group(path, mode="r+")
    for name in ALL_UNITS:
        values = hours[name].values
        _, height, width = values.shape
        group[name][:, row : row + height, col : col + width] = values


def write_empty_store(
    path: Path,
    stamps: np.ndarray,
    chunks: tuple[int, int, int],
    zarr_format: Any,
    lats: int,
    units: dict[str, str],
) -> None:
    """Write axes and metadata, consolidated, as Earth Data Hub has them."""
    import dask.array as da

    dims = ("valid_time", "latitude", "longitude")
    shape = (stamps.size, lats, 3600)
    coords = {
        "valid_time": stamps,
        "latitude": 90 - np.arange(lats) / 10,
        "longitude": np.arange(3600) / 10,
    }
    empty = da.full(shape, np.nan, dtype="float32", chunks=shape)  # a graph of one task
    arrays = {name: (dims, empty, {"units": unit}) for name, unit in units.items()}
    encoding = {name: {"chunks": chunks} for name in units}
    dataset = xr.Dataset(arrays, coords)
    dataset.to_zarr(
        path, compute=False, zarr_format=zarr_format, consolidated=True, encoding=encoding
    )


# ---- MODIS ------------------------------------------------------------------------------------


def write_cogs(
    raw: Path, folder: Path, served: Path, product: str, days: list[date], tile: str, url: str
) -> list[dict[str, Any]]:
    """Write cut-outs of a product as tiles, as COGs, and return their items.

    A product of 500 m is made of that of 1 km: each pixel four times.
    """
    coarse = product.replace("13A1", "13A2")
    layers = modis.LST_LAYERS if product.endswith("11A1") else modis.VEGETATION_LAYERS
    held = modis.find_files(raw, coarse, layers)
    items = []
    for day in days:
        (paths,) = held[day].values()
        name = f"{product}.A{day:%Y%j}.{tile}.061.{MADE}"
        assets = {}
        for layer in layers:
            asset = layer if product.endswith("11A1") else f"500m_16_days_{layer}"
            place = folder / product / tile[1:3] / tile[4:] / f"{day:%Y%j}" / f"{name}_{asset}.tif"
            write_tile(paths[layer], place, layer, PRODUCTS[product].grid, tile)
            assets[asset] = f"{url}/{place.relative_to(served).as_posix()}"
        items.append(item_of(name, day, assets))
    return items


def write_tile(cutout: Path, path: Path, layer: str, grid: SinusoidalGrid, tile: str) -> None:
    """Write a tile that holds a cut-out's values at their place, and fills."""
    with rasterio.open(cutout) as source:
        values, transform = source.read(1), source.transform
    times = grid.pixels_per_degree // 120
    values = values.repeat(times, 0).repeat(times, 1)
    found = grid.place_of(transform.c, transform.f)
    assert found is not None
    size, coding = grid.tile_size, modis.CODINGS[layer]
    top, left = int(tile[4:]) * size, int(tile[1:3]) * size
    whole = np.full((size, size), coding.fill, dtype=values.dtype)
    row, col = found[0] - top, found[1] - left
    whole[row : row + values.shape[0], col : col + values.shape[1]] = values
    corner = left * grid.pixel - np.pi * RADIUS, np.pi * RADIUS / 2 - top * grid.pixel
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="COG", height=size, width=size, count=1, dtype=whole.dtype,
        crs=SINUSOIDAL, nodata=None if layer.startswith("QC") else coding.fill,
        transform=Affine(grid.pixel, 0, corner[0], 0, -grid.pixel, corner[1]),
        compress="deflate", level=1, blocksize=256, overviews="none",
    ) as raster:  # fmt: skip
        raster.write(whole, 1)


def item_of(name: str, day: date, assets: dict[str, str]) -> dict[str, Any]:
    """Return an item as the Planetary Computer has it: no datetime, but a start and an end."""
    start = datetime.combine(day, time(), UTC)
    item = pystac.Item(
        name, {"type": "Point", "coordinates": [BOX[0], BOX[1]]}, BOX, None, {},
        start_datetime=start, end_datetime=start + timedelta(hours=23, minutes=59, seconds=59),
    )  # fmt: skip
    for key, href in assets.items():
        item.add_asset(key, pystac.Asset(href, media_type=pystac.MediaType.COG))
    return item.to_dict(include_self_link=False)


def write_static_catalog(folder: Path, name: str, items: list[dict[str, Any]]) -> Path:
    """Write a collection of files that link one another; return its own."""
    extent = pystac.Extent(
        pystac.SpatialExtent([BOX]), pystac.TemporalExtent([[datetime(2000, 1, 1), None]])
    )
    collection = pystac.Collection(name, "a product", extent)
    collection.add_items([pystac.Item.from_dict(item) for item in items])
    collection.normalize_hrefs(str(folder / name))
    collection.save(pystac.CatalogType.SELF_CONTAINED)
    return folder / name / "collection.json"


# ---- maps -------------------------------------------------------------------------------------


def write_soil(raw: Path, folder: Path) -> None:
    """Write each layer of SoilGrids as tiles and the list of them, as ISRIC has it."""
    for file in sorted(raw.glob("*.tif")):
        layer = file.stem.split("_")[0]
        with rasterio.open(file) as source:
            values, transform, nodata = source.read(1), source.transform, source.nodata
        names = list(_tiles(folder / layer, file.stem, values, transform))
        sources = "".join(
            f'<ComplexSource><SourceFilename relativeToVRT="1">./{name}</SourceFilename>'
            f'<SourceBand>1</SourceBand><SrcRect xOff="0" yOff="0" xSize="{w}" ySize="{h}"/>'
            f'<DstRect xOff="{x}" yOff="{y}" xSize="{w}" ySize="{h}"/>'
            "<NODATA>-32768</NODATA></ComplexSource>"
            for name, (y, x, h, w) in names
        )
        numbers = ", ".join(repr(v) for v in transform.to_gdal())
        text = (
            f'<VRTDataset rasterXSize="{values.shape[1]}" rasterYSize="{values.shape[0]}">'
            f"<SRS>EPSG:4326</SRS><GeoTransform>{numbers}</GeoTransform>"
            '<VRTRasterBand dataType="Int16" band="1"><NoDataValue>-32768</NoDataValue>'
            f"{sources}</VRTRasterBand></VRTDataset>"
        )
        assert nodata in (-32768, None)
        (folder / layer / f"{file.stem}.vrt").write_text(text)


def _tiles(
    folder: Path, stem: str, values: np.ndarray, transform: Affine
) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
    """Write a map's tiles; yield name and place (row, column, height, width) of each."""
    step = ARCHIVE_SOIL_TILE
    for row in range(0, values.shape[0], step):
        for col in range(0, values.shape[1], step):
            part = values[row : row + step, col : col + step]
            name = f"{stem}/tileSG-{row:03d}-{col:03d}/tileSG-{row:03d}-{col:03d}_1-1.tif"
            path = folder / name
            path.parent.mkdir(parents=True)
            with rasterio.open(
                path, "w", driver="GTiff", height=part.shape[0], width=part.shape[1], count=1,
                dtype="int16", crs="EPSG:4326", nodata=-32768, compress="deflate",
                transform=transform * Affine.translation(col, row),
            ) as raster:  # fmt: skip
                raster.write(part, 1)
            yield name, (row, col, *part.shape)


def write_water_table(netcdf: Path, path: Path) -> None:
    """Write the water table as a COG of heights."""
    found = xr.load_dataset(netcdf)["WTD"]
    values = found.values.astype("float32")
    corner = float(found["lon"][0]) - 1 / 240, float(found["lat"][0]) + 1 / 240
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="COG", height=values.shape[0], width=values.shape[1], count=1,
        dtype="float32", crs="EPSG:4326", nodata=np.nan, compress="deflate",
        transform=Affine(1 / 120, 0, corner[0], 0, -1 / 120, corner[1]),
    ) as raster:  # fmt: skip
        raster.write(values, 1)
