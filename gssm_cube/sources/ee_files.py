"""Answers of Earth Engine as the files that providers deliver, for the readers of those files.

So all that is checked, planned and remembered of files holds for these too, and the sources of a
run can be mixed. Each writer is a task on the answers of one delivery; a file appears whole or not
at all.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.windows import Window

from gssm_cube.sources.ee_requests import Box, PixelGrid, Request, hull
from gssm_cube.sources.homolosine import PROJECTION, is_homolosine
from gssm_cube.sources.modis_files import COLLECTION
from gssm_cube.sources.sinusoidal import RADIUS
from gssm_cube.storage.files import replaced

Answers = Sequence[tuple[Request, NDArray[np.void]]]
SINUSOIDAL = f"+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R={RADIUS} +units=m +no_defs"
Part = tuple[tuple[int, int], NDArray[Any]]  # first row and column in the file, values
BLOCK = 512  # pixels of a GeoTIFF's own tiles
Profile = dict[str, Any]


def whole_box(answers: Answers) -> Box:
    """Rows and columns that hold all answers."""
    rows, cols = answers[0][0].rows, answers[0][0].cols
    for request, _ in answers:
        rows, cols = hull(rows, request.rows), hull(cols, request.cols)
    return rows, cols


# ---- MODIS ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TileFiles:
    """Writes a MODIS tile, or the part of it that a run needs: a GeoTIFF a day and layer."""

    folder: Path
    product: str
    tile: str
    layers: tuple[str, ...]  # in the order of the request's bands

    def path(self, day: date, layer: str) -> Path:
        """Where a layer of a day goes."""
        name = f"{self.product}.A{day:%Y%j}.{self.tile}.{COLLECTION}_{layer}.tif"
        return self.folder / f"{day:%Y}" / name

    def __call__(self, answers: Answers) -> None:
        """Write all days of the one answer."""
        ((request, answer),) = answers
        profile = _profile(request.grid, (request.rows, request.cols), SINUSOIDAL)
        fields = iter(answer.dtype.names or ())
        for stamp in request.stamps:
            for layer, band in zip(self.layers, request.bands, strict=True):
                values = np.ascontiguousarray(answer[next(fields)])
                path = self.path(stamp.astype("M8[D]").item(), layer)
                about = profile | {"nodata": band.fill, "dtype": band.dtype}
                _write_geotiff(path, about, [((0, 0), values)])


# ---- maps -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MapFiles:
    """Writes a GeoTIFF for each band of an image, of all its parts.

    ``nodata`` is what a file declares as missing, and what is written where nothing was asked.
    """

    files: tuple[Path, ...]  # in the order of the request's bands
    nodata: tuple[float, ...]
    dtypes: tuple[str, ...]
    recode: Mapping[int, int] | None = None  # of values, before they are brought to those types

    def __call__(self, answers: Answers) -> None:
        """Write the bands one after another, part by part."""
        box = whole_box(answers)
        grid = answers[0][0].grid
        profile = _profile(grid, box, projection_of(grid)) | {"sparse_ok": True}
        for number, path in enumerate(self.files):
            about = {"nodata": self.nodata[number], "dtype": self.dtypes[number]}
            _write_geotiff(path, profile | about, self._parts(number, answers, box))

    def _parts(self, number: int, answers: Answers, box: Box) -> Iterator[Part]:
        """Yield the parts of one band in the file's type, one at a time."""
        for request, answer in answers:
            values = np.array(answer[(answer.dtype.names or ())[number]])
            if values.dtype.kind == "i":  # codes; -1 m is a height like others
                for found, wanted in (self.recode or {}).items():
                    values[values == found] = wanted
            place = request.rows.start - box[0].start, request.cols.start - box[1].start
            yield place, values.astype(self.dtypes[number], copy=False)


def projection_of(grid: PixelGrid) -> str:
    """Return a grid's projection as the readers of maps know it.

    Raises
    ------
    ValueError
        If it is neither EPSG:4326 nor SoilGrids' own.
    """
    crs = CRS.from_user_input(grid.crs)
    if crs.to_epsg() == 4326:
        return "EPSG:4326"
    if is_homolosine(crs):
        return PROJECTION
    raise ValueError(
        f"a map is in {grid.crs[:80]}, expected EPSG:4326 or {PROJECTION}; upload it in one of "
        "these"
    )


def _profile(grid: PixelGrid, box: Box, crs: str) -> Profile:
    """Return what GDAL must know of rows and columns of a grid."""
    left, top = grid.corner_of(box)
    return {
        "driver": "GTiff",
        "count": 1,
        "height": len(box[0]),
        "width": len(box[1]),
        "crs": CRS.from_string(crs),
        "transform": Affine(grid.cell[0], 0, left, 0, -grid.cell[1], top),
        "compress": "deflate",
        "zlevel": 1,
        "bigtiff": "if_safer",
    }


def _write_geotiff(path: Path, profile: Profile, parts: Iterable[Part]) -> None:
    """Write a raster of parts, each at its row and column."""
    large = min(profile["height"], profile["width"]) > BLOCK
    tiling = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK} if large else {}
    with (
        replaced(path) as partial,
        rasterio.open(partial, "w", **profile, **tiling) as raster,
    ):
        for (row, col), values in parts:
            height, width = values.shape
            raster.write(values, 1, window=Window(col, row, width, height))


# ---- NetCDF -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class MeteoFile:
    """Writes ERA5-Land as the Climate Data Store delivers it, hours or daily aggregates."""

    path: Path
    names: tuple[str, ...]  # such as t2m, in the order of the request's bands
    units: tuple[str, ...]

    def __call__(self, answers: Answers) -> None:
        """Write all stamps of all slabs; shorter files that begin alike are removed."""
        box, (first, _) = whole_box(answers), answers[0]
        with replaced(self.path) as partial, netCDF4.Dataset(partial, "w") as dataset:
            dataset.Conventions = "CF-1.7"
            add_axes(dataset, first.grid, box, ("latitude", "longitude"))
            add_stamps(dataset, np.array(first.stamps))
            for number, name in enumerate(self.names):
                self._add_variable(dataset, name, number, answers, box)
        remove_shorter(self.path)

    def _add_variable(
        self, dataset: Any, name: str, number: int, answers: Answers, box: Box
    ) -> None:
        """Write one variable, slab by slab."""
        variable = add_meteo_variable(dataset, name, self.units[number])
        for request, answer in answers:
            fields = (answer.dtype.names or ())[number :: len(self.names)]
            values = np.stack([answer[field] for field in fields])
            start = request.rows.start - box[0].start
            place = slice(start, start + len(request.rows))
            variable[:, place] = missing_as_nan(values, request.bands[number].fill)


@dataclass(frozen=True)
class WaterTableFile:
    """Writes the water table as Fan et al. have it: heights in m, negative below the surface."""

    path: Path

    def __call__(self, answers: Answers) -> None:
        """Write all parts; what was not asked is missing."""
        box, grid = whole_box(answers), answers[0][0].grid
        projection_of(grid)
        with replaced(self.path) as partial, netCDF4.Dataset(partial, "w") as dataset:
            add_axes(dataset, grid, box, ("lat", "lon"))
            heights = dataset.createVariable(
                "WTD", "f4", ("lat", "lon"), zlib=True, complevel=1, fill_value=np.float32("nan")
            )
            heights.units = "m"
            for request, answer in answers:
                row = request.rows.start - box[0].start
                col = request.cols.start - box[1].start
                place = slice(row, row + len(request.rows)), slice(col, col + len(request.cols))
                values = answer[(answer.dtype.names or ())[0]]
                heights[place] = missing_as_nan(values, request.bands[0].fill)


def remove_shorter(path: Path) -> None:
    """Remove files beside a new one whose names begin alike but for the last stamp."""
    start = path.name.rsplit("_", 1)[0]
    for other in path.parent.glob(f"{start}_*.nc"):
        if other != path:
            other.unlink()


def add_stamps(dataset: Any, stamps: NDArray[np.datetime64]) -> None:
    """Add the axis of stamps."""
    seconds = stamps.astype("M8[s]").astype("int64")
    dataset.createDimension("valid_time", seconds.size)
    time = dataset.createVariable("valid_time", "i8", ("valid_time",))
    time.units = "seconds since 1970-01-01"
    time[:] = seconds


def add_meteo_variable(dataset: Any, name: str, units: str) -> Any:
    """Add a variable of meteorology, to be filled."""
    dims = ("valid_time", "latitude", "longitude")
    variable = dataset.createVariable(
        name, "f4", dims, zlib=True, complevel=1, fill_value=np.float32("nan")
    )
    variable.units = units
    return variable


def add_axes(dataset: Any, grid: PixelGrid, box: Box, names: tuple[str, str]) -> None:
    """Add latitude and longitude of cell centres."""
    left, top = grid.corner_of(box)
    lat = top - grid.cell[1] * (np.arange(len(box[0])) + 0.5)
    lon = left + grid.cell[0] * (np.arange(len(box[1])) + 0.5)
    axes = zip(names, (lat, lon), ("degrees_north", "degrees_east"), strict=True)
    for name, values, units in axes:
        dataset.createDimension(name, values.size)
        axis = dataset.createVariable(name, "f8", (name,))
        axis.units = units
        axis[:] = values


def missing_as_nan(values: NDArray[Any], fill: float) -> NDArray[np.float32]:
    """Return values with NaN in place of a fill."""
    return np.where(values == np.float32(fill), np.float32("nan"), values).astype("float32")
