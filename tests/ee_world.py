"""The invented world's provider files as the assets that Earth Engine has of them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from ee_algebra import Band, Collection, Image, milliseconds
from ee_server import SINUSOIDAL, Catalog, to_crs
from raster_press import open_raster, read_raster
from rasterio.windows import from_bounds

from gssm_cube.grid import Layout
from gssm_cube.sources import modis

Read = Callable[[], np.ndarray]
MARGIN = 0.3  # deg of terrain round the layout that is served
WATER_TABLE, BEDROCK = "projects/someone/assets/wtd", "projects/someone/assets/bedrock"
ASSETS = {
    "era5_land": "ee://ECMWF/ERA5_LAND/HOURLY",
    "mod11a1": "ee://MODIS/061/MOD11A1",
    "mod13a2": "ee://MODIS/061/MOD13A2",
    "soilgrids": "ee://projects/soilgrids-isric",
    "merit_hydro": "ee://MERIT/Hydro/v1_0_1",
    "wtd": f"ee://{WATER_TABLE}",
    "bedrock": f"ee://{BEDROCK}",
}
HOURLY_BANDS = {
    "t2m": "temperature_2m", "tp": "total_precipitation", "e": "total_evaporation",
    "swvl1": "volumetric_soil_water_layer_1", "stl1": "soil_temperature_level_1",
}  # fmt: skip
# Names in Earth Engine of the layers of MOD13A2.
VEGETATION = dict(
    zip(modis.VEGETATION_LAYERS, ("NDVI", "EVI", "SummaryQA", "DayOfYear"), strict=True)
)


def band(
    id: str, dtype: str, read: Read, transform: Any, missing: float, crs: str = "EPSG:4326"
) -> Band:
    """Return a band of an array on a grid; ``missing`` cells, and all places off it, are masked."""
    left, top, width, height = transform.c, transform.f, transform.a, -transform.e

    def sample(x: np.ndarray, y: np.ndarray, asked: str) -> tuple[np.ndarray, np.ndarray]:
        x, y = to_crs(x, y, asked, crs)
        values = read()
        rows = np.floor((top - y) / height).astype("int64")
        cols = np.floor((x - left) / width).astype("int64")
        inside = (rows >= 0) & (rows < values.shape[0]) & (cols >= 0) & (cols < values.shape[1])
        found = values[np.where(inside, rows, 0), np.where(inside, cols, 0)]
        valid = inside & ~(np.isnan(found) if np.isnan(missing) else found == missing)
        return np.where(valid, found, 0).astype(dtype), valid

    numbers = (width, 0.0, left, 0.0, -height, top)
    return Band(id, dtype, sample, crs, numbers)


def image(bands: list[Band], asset: str, index: str = "", start: Any = None) -> Image:
    """Return an image, of a collection if it has an index and a start."""
    if not index:
        return Image(tuple(bands), {}, asset)
    about = {"system:index": index, "system:time_start": milliseconds(start)}
    return Image(tuple(bands), about | {"system:id": f"{asset}/{index}"}, f"{asset}/{index}")


def catalog_of(raw: Path, layout: Layout) -> Catalog:
    """Return the assets of a world whose provider files lie in a folder."""
    found = Catalog()
    for asset, images in (
        ("ECMWF/ERA5_LAND/HOURLY", _hourly(raw / "era5_land")),
        ("ECMWF/ERA5_LAND/DAILY_AGGR", _daily(raw / "era5_land")),
        ("MODIS/061/MOD11A1", _modis(raw / "mod11a1", "MOD11A1", modis.LST_LAYERS)),
        ("MODIS/061/MOD13A2", _modis(raw / "mod13a2", "MOD13A2", modis.VEGETATION_LAYERS)),
    ):
        found.collections[asset] = Collection(tuple(images), asset)
    for path in sorted((raw / "soilgrids").glob("*.tif")):
        asset = f"projects/soilgrids-isric/{path.stem.split('_')[0]}_mean"
        found.images[asset] = image([_raster(path, path.stem, "int16", -32768)], asset)
    found.images["MERIT/Hydro/v1_0_1"] = image(_terrain(raw / "merit_hydro", layout), "MERIT")
    found.images[WATER_TABLE] = image([_water_table(raw / "wtd" / "wtd_annualmean.nc")], "wtd")
    depth = raw / "bedrock" / "BDTICM_M_1km_ll.tif"
    missing = float(np.iinfo("int32").min)
    found.images[BEDROCK] = image([_raster(depth, "b1", "int32", missing)], "bedrock")
    return found


# ---- meteorology ------------------------------------------------------------------------------


@cache
def _meteorology(folder: Path) -> tuple[dict[str, np.ndarray], np.ndarray, Any]:
    """All hours in memory by variable, their stamps, and the transform of the cells."""
    months = [xr.load_dataset(path) for path in sorted(folder.glob("*.nc"))]
    hours = xr.concat(
        months, "valid_time", data_vars="minimal", coords="minimal", compat="override"
    )
    lat, lon = hours["latitude"].values, hours["longitude"].values
    corner = (round(lon[0] - 0.05, 2), round(lat[0] + 0.05, 2))
    values = {name: hours[name].values for name in HOURLY_BANDS}
    return (
        values,
        hours["valid_time"].values,
        rasterio.Affine(0.1, 0, corner[0], 0, -0.1, corner[1]),
    )


def _hourly(folder: Path) -> Iterator[Image]:
    values, stamps, transform = _meteorology(folder)
    for number, stamp in enumerate(stamps.astype("M8[h]").astype(object)):
        bands = [
            band(ours, "float32", lambda n=name, k=number: values[n][k], transform, np.nan)
            for name, ours in HOURLY_BANDS.items()
        ]
        yield image(bands, "ECMWF/ERA5_LAND/HOURLY", f"{stamp:%Y%m%dT%H}", stamp.isoformat())


def _daily(folder: Path) -> Iterator[Image]:
    """Aggregates of UTC days: the total of a day is stamped 00 UTC of the next among the hours."""
    values, stamps, transform = _meteorology(folder)
    first = stamps[0].astype("M8[D]").astype(object)
    for number in range(stamps.size // 24 - 1):
        day = slice(24 * number, 24 * number + 24)
        fields = {
            "temperature_2m": lambda d=day: _mean(values["t2m"][d]),
            "temperature_2m_min": lambda d=day: values["t2m"][d].min(axis=0),
            "temperature_2m_max": lambda d=day: values["t2m"][d].max(axis=0),
            "total_precipitation_sum": lambda d=day: values["tp"][d.stop],
            "total_evaporation_sum": lambda d=day: values["e"][d.stop],
            "volumetric_soil_water_layer_1": lambda d=day: _mean(values["swvl1"][d]),
            "soil_temperature_level_1": lambda d=day: _mean(values["stl1"][d]),
        }
        start = first + timedelta(days=number)
        bands = [band(name, "float32", read, transform, np.nan) for name, read in fields.items()]
        yield image(bands, "ECMWF/ERA5_LAND/DAILY_AGGR", f"{start:%Y%m%d}", start.isoformat())


def _mean(hours: np.ndarray) -> np.ndarray:
    return hours.mean(axis=0, dtype="float64")


# ---- MODIS ------------------------------------------------------------------------------------


def _modis(folder: Path, product: str, layers: tuple[str, ...]) -> Iterator[Image]:
    """Cut-outs by day; quality is masked with what it speaks of, as vegetation's fills are."""
    asset = f"MODIS/061/{product}"
    for day, tiles in modis.find_files(folder, product, layers).items():
        (paths,) = tiles.values()
        bands = [_layer(paths, layer) for layer in layers]
        yield image(bands, asset, f"{day:%Y_%m_%d}", day.isoformat())


def _layer(paths: dict[str, Path], layer: str) -> Band:
    coding = modis.CODINGS[layer]
    name = VEGETATION.get(layer, layer)
    with open_raster(paths[layer]) as source:
        transform = source.transform
    if not layer.startswith("QC"):
        return band(
            name, coding.dtype, lambda: _values(paths[layer]), transform, coding.fill, SINUSOIDAL
        )
    spoken_of = paths[layer.replace("QC_", "LST_") + "_1km"]

    def quality() -> np.ndarray:
        flags = _values(paths[layer]).astype("int16")
        return np.where(_values(spoken_of) == 0, -1, flags)

    return band(name, coding.dtype, quality, transform, -1, SINUSOIDAL)


@cache
def _values(path: Path) -> np.ndarray:
    """A whole raster, small in this world."""
    return read_raster(path)[0]


# ---- maps -------------------------------------------------------------------------------------


def _raster(path: Path, name: str, dtype: str, missing: float) -> Band:
    with rasterio.open(path) as source:
        transform = source.transform
    return band(name, dtype, lambda: _values(path), transform, missing)


def _terrain(folder: Path, layout: Layout) -> list[Band]:
    """MERIT Hydro round the layout; sinks are -1 and the sea is masked, as Earth Engine has it."""
    west, south, east, north = layout.bounds
    box = (west - MARGIN, south - MARGIN, east + MARGIN, north + MARGIN)
    bands = []
    for name, missing in (("elv", -9999), ("dir", 247), ("upa", -9999)):
        (path,) = folder.glob(f"*_{name}.tif")
        with rasterio.open(path) as source:
            window = from_bounds(*box, source.transform).round_offsets().round_lengths()
            values, transform = source.read(1, window=window), source.window_transform(window)
        if name == "dir":
            values = np.where(values == 255, -1, values.astype("int16"))
        dtype = str(values.dtype)
        bands.append(band(name, dtype, lambda v=values: v, transform, missing))
    return bands


def _water_table(path: Path) -> Band:
    found = xr.load_dataset(path)["WTD"]
    corner = float(found["lon"][0]) - 1 / 240, float(found["lat"][0]) + 1 / 240
    transform = rasterio.Affine(1 / 120, 0, corner[0], 0, -1 / 120, corner[1])
    return band("b1", "float32", lambda: found.values, transform, np.nan)


def without_soil(catalog: Catalog, asset: str) -> Catalog:
    """Return a catalog whose collection of ERA5-Land has no bands of the soil."""
    held = catalog.collections[asset]
    kept = [
        replace(i, bands=tuple(b for b in i.bands if not b.id.startswith(("soil", "volumetric"))))
        for i in held.images
    ]
    changed = catalog.collections | {asset: Collection(tuple(kept), asset)}
    return Catalog(catalog.images, changed)


def without_day(catalog: Catalog, asset: str, day: date) -> None:
    """Take the images of a day out of a collection."""
    held = catalog.collections[asset]
    start = milliseconds(day.isoformat())
    kept = [i for i in held.images if not 0 <= i.properties["system:time_start"] - start < 86400000]
    catalog.collections[asset] = Collection(tuple(kept), asset)
