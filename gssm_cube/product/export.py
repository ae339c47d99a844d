"""A part of the product in other forms: NetCDF, Cloud Optimized GeoTIFF, tables, plain Zarr.

Values are the product's own int16 codes, so nothing is rounded twice. A part is written block by
block beside its place, and moved there when it is whole.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
import rasterio.shutil
import shapely
import xarray as xr
from dask.callbacks import Callback
from numcodecs import Blosc
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from rasterio.transform import Affine
from rasterio.windows import Window

from gssm_cube.blocks import Progress, silent
from gssm_cube.grid import CHUNK_PIXELS, WINDOW_DAYS
from gssm_cube.product import open_product, series
from gssm_cube.product.attributes import coverage_attrs
from gssm_cube.storage.files import partial_path, replaced
from gssm_cube.storage.locations import Location
from gssm_cube.storage.stores import DIMS, layout_in, open_dataset
from gssm_cube.variables import FILL, SSM

NODATA = 65535
STEP = 5 * CHUNK_PIXELS  # pixels read at once for a GeoTIFF
FORMS = (".nc", ".tif", ".zarr", ".csv", ".parquet")
KEPT = ("units", "calendar", "dtype")  # of a variable's encoding
DEFLATE = {"compress": "deflate", "predictor": 2}


@dataclass(frozen=True)
class Part:
    """What is exported of a product.

    Parameters
    ----------
    box : (west, south, east, north), degrees, optional
        Pixels whose centres lie inside.
    region : polygon, optional
        The same; pixels of its box that lie outside are missing.
    first_day, last_day : date, optional
        Both included.
    """

    box: tuple[float, float, float, float] | None = None
    region: shapely.Geometry | None = None
    first_day: date | None = None
    last_day: date | None = None

    def select(self, dataset: xr.Dataset) -> xr.Dataset:
        """Select the part, lazily.

        Raises
        ------
        ValueError
            If it has no pixel or no day.
        """
        box = self.box or (self.region.bounds if self.region is not None else None)
        chosen = dataset
        if box is not None:
            west, south, east, north = box
            chosen = chosen.sel(lat=slice(north, south), lon=slice(west, east))
        first, last = (str(day) if day else None for day in (self.first_day, self.last_day))
        chosen = chosen.sel(time=slice(first, last))
        if 0 in (chosen.sizes[name] for name in DIMS):
            lat, lon, time = (dataset[name].values for name in ("lat", "lon", "time"))
            raise ValueError(
                f"the part {box or 'of all places'}, {first or 'first'} to {last or 'last'} has no "
                f"pixel or no day; the product spans {lon.min():.2f} to {lon.max():.2f} deg east, "
                f"{lat.min():.2f} to {lat.max():.2f} deg north, {str(time[0])[:10]} to "
                f"{str(time[-1])[:10]}"
            )
        return chosen


def export(
    store: Location, target: Path, part: Part | None = None, *, progress: Progress = silent
) -> list[Path]:
    """Write a part of a product in the form that the target's name ends in.

    Parameters
    ----------
    store : path
        The product.
    target : Path
        ``.nc`` NetCDF-4, CF; ``.zarr`` Zarr format 2 without shards, for GDAL before 3.13;
        ``.tif`` Cloud Optimized GeoTIFF, a band a day and a file a year (``name_2019.tif``),
        uint16 = m3 m-3 x 1000, 65535 where there is no value, bands named by their days.
    part : Part, optional
        All of it by default.
    progress : callable
        Called as ``progress(stage, done, total)``.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    ValueError
        If the form is unknown, the part empty, or something is there already.
    """
    part = part or Part()
    codes = part.select(_open_codes(store))
    if target.suffix == ".tif":
        return _write_geotiffs(codes, target, part.region, progress)
    if target.suffix not in (".nc", ".zarr"):
        raise ValueError(f"{target}: the form is {target.suffix!r}, expected one of {FORMS}")
    _check_free(target)
    writer = _netcdf_writer if target.suffix == ".nc" else _zarr_writer
    with replaced(target) as partial, _Told(progress):
        writer(_masked(codes, part.region), partial).compute(scheduler="threads")
    return [target]


def export_points(
    store: Location,
    target: Path,
    points: pd.DataFrame,
    *,
    first_day: date | None = None,
    last_day: date | None = None,
) -> list[Path]:
    """Write the series of points as a table (.csv, .parquet) or NetCDF: a row a point and day.

    Parameters
    ----------
    points : DataFrame
        Columns ``lat`` and ``lon``, degrees; its index names the points.

    Raises
    ------
    ValueError
        If the form is unknown, a point lies outside, or something is there already.
    """
    writers: dict[str, Callable[[xr.Dataset, Path], Any]] = {
        ".csv": lambda found, path: _series_table(found).to_csv(path, index=False),
        ".parquet": lambda found, path: _series_table(found).to_parquet(path),
        ".nc": lambda found, path: found.to_netcdf(path),
    }
    if target.suffix not in writers:
        raise ValueError(
            f"{target}: the form of points is {target.suffix!r}, expected one of {list(writers)}"
        )
    _check_free(target)
    found = series(store, points, first_day=first_day, last_day=last_day)
    with replaced(target) as partial:
        writers[target.suffix](found, partial)
    return [target]


def _series_table(found: xr.Dataset) -> pd.DataFrame:
    """One row a point and day that has a value."""
    rows = found.to_dataframe().reset_index().dropna(subset=["ssm"])
    return rows[["point", "lat", "lon", "pixel_lat", "pixel_lon", "time", "ssm"]]


def read_points(path: Path) -> pd.DataFrame:
    """Read points from a CSV: columns lat, lon and, to name them, point or station.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or names occur twice.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no points at {path}: give a CSV with columns lat, lon and point")
    table = pd.read_csv(path)
    for name in ("point", "station"):
        if name in table:
            table = table.set_index(name)
            break
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][0]
        raise ValueError(f"{path} names {twice!r} twice; give each point a name of its own")
    return table


# ---- what the forms share ---------------------------------------------------------------------


class _Told(Callback):
    """Tell the progress of a Dask graph, task by task."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress

    def _posttask(self, key: Any, value: Any, dsk: Any, state: Any, worker: Any) -> None:
        """Count what is finished."""
        total = sum(len(state[part]) for part in ("ready", "waiting", "running", "finished"))
        self.progress("export", len(state["finished"]), total)


def _open_codes(store: Location) -> xr.Dataset:
    """Open a product's codes as they stand in the store, lazily."""
    opened = open_product(store)  # says clearly what is wrong with a store
    codes = open_dataset(store, mask_and_scale=False)
    return codes.set_coords([name for name in opened.coords if name in codes.variables])


def _check_free(target: Path) -> None:
    """Raise if something is there."""
    if target.exists():
        raise ValueError(f"{target} is there already; remove it, or give another name")
    target.parent.mkdir(parents=True, exist_ok=True)


def _masked(codes: xr.Dataset, region: shapely.Geometry | None) -> xr.Dataset:
    """Return codes in Dask chunks, missing outside a region."""
    sizes = dict(zip(DIMS, (WINDOW_DAYS, CHUNK_PIXELS, CHUNK_PIXELS), strict=True))
    chunked = codes.chunk(sizes)
    if region is None:
        return chunked
    dims = DIMS[1:]
    inside = xr.DataArray(_inside(codes, region), dims=dims).chunk({d: sizes[d] for d in dims})
    layers = {
        name: array.where(inside, array.attrs.get("_FillValue", 0)).astype(array.dtype)
        for name, array in chunked.data_vars.items()
        if set(dims) <= set(map(str, array.dims))
    }
    return chunked.assign({n: a.assign_attrs(chunked[n].attrs) for n, a in layers.items()})


def _inside(codes: xr.Dataset, region: shapely.Geometry) -> NDArray[np.bool_]:
    """Pixels whose centres lie in a region, (lat, lon)."""
    shape = codes.sizes["lat"], codes.sizes["lon"]
    return geometry_mask([region], shape, _transform(codes), invert=True)


def _coverage(codes: xr.Dataset) -> dict[str, Any]:
    """Return the attributes of where and when a part is."""
    place = _transform(codes)
    south = place.f + place.e * codes.sizes["lat"]
    east = place.c + place.a * codes.sizes["lon"]
    days = codes["time"].values.astype("datetime64[D]").astype(object)
    return coverage_attrs((place.c, south, east, place.f), days[0], days[-1])


def _transform(codes: xr.Dataset) -> Affine:
    """Return the affine transform of a part's pixels."""
    step = 1 / layout_in(codes.attrs).grid.pixels_per_degree
    west, north = float(codes["lon"][0]) - step / 2, float(codes["lat"][0]) + step / 2
    return Affine(step, 0, west, 0, -step, north)


# ---- NetCDF and Zarr --------------------------------------------------------------------------


def _netcdf_writer(codes: xr.Dataset, path: Path) -> Any:
    """Return the task that writes a NetCDF-4 of codes and the attributes that decode them."""
    encoding = {}
    for name, array in codes.variables.items():
        array.encoding = {k: v for k, v in array.encoding.items() if k in KEPT}
        if "flag_masks" in array.attrs:  # CF: of the variable's own type, which JSON cannot say
            array.attrs["flag_masks"] = np.array(array.attrs["flag_masks"], array.dtype)
        if "time" in array.dims and len(array.dims) == len(DIMS):
            chunks = tuple(max(sizes) for sizes in array.chunksizes.values())
            encoding[str(name)] = {"zlib": True, "complevel": 4, "chunksizes": chunks}
        elif np.issubdtype(array.dtype, np.floating):
            encoding[str(name)] = {"_FillValue": None}  # CF: a coordinate is never missing
    return _plain(codes).to_netcdf(path, engine="netcdf4", encoding=encoding, compute=False)


def _zarr_writer(codes: xr.Dataset, path: Path) -> Any:
    """Return the task that writes a Zarr of format 2, without shards."""
    encoding = {}
    for name, array in codes.variables.items():
        array.encoding = {k: v for k, v in array.encoding.items() if k in KEPT}
        if array.chunks:
            compressor = Blosc(cname="zstd", clevel=3, shuffle=Blosc.SHUFFLE)
            encoding[str(name)] = {"compressors": compressor}
    return _plain(codes).to_zarr(path, zarr_format=2, encoding=encoding, compute=False)


def _plain(codes: xr.Dataset) -> xr.Dataset:
    """Return codes whose attributes every format can hold."""
    attrs = {**codes.attrs, **_coverage(codes)}
    simple = {k: v if isinstance(v, str | int | float) else str(v) for k, v in attrs.items()}
    return codes.assign_attrs(simple)


# ---- GeoTIFF ----------------------------------------------------------------------------------


def _write_geotiffs(
    codes: xr.Dataset, target: Path, region: shapely.Geometry | None, progress: Progress
) -> list[Path]:
    """Write a file a calendar year; return them."""
    years = np.unique(codes["time"].dt.year.values)
    inside = None if region is None else _inside(codes, region)
    paths = [target.with_name(f"{target.stem}_{year}.tif") for year in years]
    for path in paths:
        _check_free(path)
    for done, (year, path) in enumerate(zip(years, paths, strict=True)):
        progress("export", done, len(paths))
        tiled = partial_path(path)
        try:
            _write_tiled(codes["ssm"].sel(time=str(year)), tiled, _transform(codes), inside)
            with replaced(path) as cog:
                rasterio.shutil.copy(
                    tiled, cog, driver="COG", overview_resampling="average", bigtiff="if_safer",
                    blocksize=512, **DEFLATE,
                )  # fmt: skip
        finally:
            tiled.unlink(missing_ok=True)
    progress("export", len(paths), len(paths))
    return paths


def _write_tiled(
    ssm: xr.DataArray, path: Path, transform: Affine, inside: NDArray[np.bool_] | None
) -> None:
    """Write a tiled GeoTIFF, a band a day, block by block of pixels."""
    days, height, width = ssm.shape
    profile = {
        "driver": "GTiff", "count": days, "height": height, "width": width, "dtype": "uint16",
        "nodata": NODATA, "crs": "EPSG:4326", "transform": transform, "tiled": True,
        "blockxsize": CHUNK_PIXELS, "blockysize": CHUNK_PIXELS, "interleave": "band",
        "bigtiff": "if_safer",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile, **DEFLATE) as image:
        image.descriptions = [str(day)[:10] for day in ssm["time"].values]
        image.scales = (SSM.packing.scale,) * days
        image.units = ("m3 m-3",) * days
        for rows, cols in _steps(height, width):
            codes = ssm[:, rows, cols].values
            values = np.where(codes == FILL, NODATA, codes).astype("uint16")
            if inside is not None:
                values[:, ~inside[rows, cols]] = NODATA
            image.write(values, window=Window.from_slices(rows, cols))


def _steps(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Cut a part into squares of 240 pixels."""
    for top in range(0, height, STEP):
        for left in range(0, width, STEP):
            yield slice(top, min(top + STEP, height)), slice(left, min(left + STEP, width))
