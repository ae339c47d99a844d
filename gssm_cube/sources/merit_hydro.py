"""MERIT Hydro (Yamazaki et al. 2019, doi:10.1029/2019WR024873): 5 x 5 deg GeoTIFFs, 3 arcsec.

Cell centres lie on multiples of 3 arcsec, so the grid is shifted by half a cell against ours. A
tile is named by its south-west corner. Where there is no file, there is no land. Packages of
30 x 30 deg (``elv_n30w120.tar``) are read where they lie.
"""

import re
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from gssm_cube.sources.doors import Tell, stop, told
from gssm_cube.sources.raster import Bounds, Raster, check_geotiff, open_raster, read_geotiff

LAYERS = ("elv", "upa", "dir")  # m, km2, D8 code
CELLS_PER_DEGREE = 1200
HALF = 0.5 / CELLS_PER_DEGREE  # deg
OCEAN = 247
TILE_DEGREES = 5
_CORNER = re.compile(r"(?P<ns>[ns])(?P<lat>\d\d)(?P<ew>[ew])(?P<lon>\d{3})")
_NAME = re.compile(rf"(?P<tile>[ns]\d\d[ew]\d{{3}})_(?P<layer>{'|'.join(LAYERS)})\.tif")


def tile_name(south: int, west: int) -> str:
    """Name of the tile with this south-west corner, such as ``n40w035``; 180 E is 180 W."""
    west = (west + 180) % 360 - 180
    ns, ew = "s" if south < 0 else "n", "w" if west < 0 else "e"
    return f"{ns}{abs(south):02d}{ew}{abs(west):03d}"


@dataclass(frozen=True)
class Member:
    """A file within a package as delivered; read in place, so that nothing is unpacked."""

    archive: Path
    name: str

    @property
    def gdal_path(self) -> str:
        """Path that GDAL opens."""
        return f"/vsitar/{{{self.archive.resolve()}}}/{self.name}"


Files = dict[str, dict[str, Path | Member]]  # tile, layer


def find_files(folder: Path, tell: Tell = stop) -> Files:
    """Return the files of each tile, by layer: GeoTIFFs, or members of packages (``.tar``).

    A package beside its own unpacked files is passed over.

    Raises
    ------
    FileNotFoundError
        If there is no tile at all, or a tile lacks one of its layers.
    ValueError
        If a file is there twice, or a package is damaged or leads out of itself.
    """
    loose = ((path.name, path) for path in sorted(folder.rglob("*.tif")))
    found = _by_tile(loose, tell)
    members: list[Member] = []
    for archive in sorted(folder.rglob("*.tar")):
        with told(tell):
            members += list_members(archive)
    packed = _by_tile(((PurePosixPath(m.name).name, m) for m in members), tell)
    for tile, layers in packed.items():
        found[tile] = layers | found.get(tile, {})
    if not found:
        text = f"no MERIT Hydro tile (such as n40w035_elv.tif) in {folder}"
        tell(FileNotFoundError(f"{text}; download those of this region"))
    for tile, layers in found.items():
        missing = [f"{tile}_{layer}.tif" for layer in LAYERS if layer not in layers]
        if missing:
            text = f"MERIT Hydro in {folder} lacks {', '.join(missing)}"
            tell(FileNotFoundError(f"{text}; download them"))
    return dict(sorted(found.items()))


def tile_bounds(name: str) -> Bounds:
    """West, south, east, north of a tile by its name."""
    match = _CORNER.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} names no tile, expected such as 'n40w035'; rename it")
    south = float(match["lat"]) * (1 if match["ns"] == "n" else -1)
    west = float(match["lon"]) * (1 if match["ew"] == "e" else -1)
    return west, south, west + TILE_DEGREES, south + TILE_DEGREES


def check_tile(name: str, layers: dict[str, Path | Member], tell: Tell = stop) -> None:
    """Raise, or tell, which layer of a tile is cut, no EPSG:4326, or not where its name says."""
    west, south, east, north = tile_bounds(name)
    inside = (west + 1, south + 1, east - 1, north - 1)  # of a neighbour nothing
    for layer in layers.values():
        with told(tell):
            check_geotiff(gdal_path(layer), inside)


def list_members(archive: Path) -> list[Member]:
    """Return the GeoTIFFs of a package, from its headers.

    Raises
    ------
    ValueError
        If it is no complete tar file, or a member's path is absolute or holds ``..``, or a
        GeoTIFF is a link.
    """
    try:
        with tarfile.open(archive, "r:") as package:
            entries = package.getmembers()
    except tarfile.TarError as error:
        raise ValueError(
            f"{archive} is not a complete tar file ({error}); download it again"
        ) from error
    for entry in entries:
        path = PurePosixPath(entry.name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(
                f"{archive} holds {entry.name!r}, expected paths within the package; do not use it"
            )
        if path.suffix == ".tif" and not entry.isreg():
            raise ValueError(f"{archive}: {entry.name} is a link, expected a file; do not use it")
    return [Member(archive, entry.name) for entry in entries if entry.name.endswith(".tif")]


def _by_tile(files: Iterable[tuple[str, Path | Member]], tell: Tell) -> Files:
    """Sort named files by tile and layer; others are passed over."""
    found: Files = {}
    for name, file in files:
        match = _NAME.fullmatch(name)
        if match is None:
            continue
        layers = found.setdefault(match["tile"], {})
        other = layers.setdefault(match["layer"], file)
        if other != file:
            tell(ValueError(f"{name} is there twice, as {other} and {file}; keep one"))
    return found


def gdal_path(file: Path | Member) -> str:
    """Path of a file or member as GDAL opens it."""
    return file.gdal_path if isinstance(file, Member) else str(file)


def reaches(files: Files, bounds: Bounds) -> bool:
    """Whether any tile touches bounds."""
    return any(tile_name(south, west) in files for south, west in tiles_of(*cells_of(bounds)))


def read_layer(files: Files, name: str, bounds: Bounds) -> Raster:
    """Read one layer over all cells that touch ``bounds``, across tiles; NaN over the ocean."""
    rows, cols = cells_of(bounds)
    values = np.full((len(rows), len(cols)), np.nan, dtype="float32")
    lat_edges = 90 - HALF - np.arange(rows.start, rows.stop + 1) / CELLS_PER_DEGREE
    lon_edges = np.arange(cols.start, cols.stop + 1) / CELLS_PER_DEGREE - 180 - HALF
    for tile_south, tile_west in tiles_of(rows, cols):
        paths = files.get(tile_name(tile_south, tile_west))
        if paths is None:
            continue
        # Half a cell of the easternmost pixel lies beyond 180 E, in the first tile of the west.
        turn = 360 if tile_west >= 180 else 0
        wanted = (lon_edges[0] - turn, lat_edges[-1], lon_edges[-1] - turn, lat_edges[0])
        part = read_geotiff(gdal_path(paths[name]), wanted)
        row = round((lat_edges[0] - part.lat_edges[0]) * CELLS_PER_DEGREE)
        col = round((part.lon_edges[0] + turn - lon_edges[0]) * CELLS_PER_DEGREE)
        n_rows, n_cols = part.values.shape
        values[row : row + n_rows, col : col + n_cols] = part.values
    return Raster(values, lat_edges, lon_edges)


def cells_of(bounds: Bounds) -> tuple[range, range]:
    """Return rows and columns that touch bounds, from (180 W, 90 N) of MERIT's own shifted grid."""
    west, south, east, north = bounds
    top, bottom = (_cell(90 - HALF - lat) for lat in (north, south))
    left, right = (_cell(lon + 180 + HALF) for lon in (west, east))
    return range(top, bottom + 1), range(left, right + 1)


def _cell(degrees: float) -> int:
    """Count whole cells in a distance from the corner; a 1e-6 of a cell is rounding."""
    return int(np.floor(degrees * CELLS_PER_DEGREE + 1e-6))


def tiles_of(rows: range, cols: range) -> list[tuple[int, int]]:
    """Return south-west corners of the tiles that hold rows and columns; 180 E is one of them."""
    size = TILE_DEGREES * CELLS_PER_DEGREE
    return [
        (90 - TILE_DEGREES * (row + 1), TILE_DEGREES * col - 180)
        for row in range(rows.start // size, (rows.stop - 1) // size + 1)
        for col in range(cols.start // size, (cols.stop - 1) // size + 1)
    ]


def land_share(files: Files, bounds: Bounds, samples: int = 48) -> float:
    """Estimate the share of land within bounds from a coarse sample of ``elv``."""
    west, south, east, north = bounds
    lats = north - (np.arange(samples) + 0.5) * (north - south) / samples
    lons = west + (np.arange(samples) + 0.5) * (east - west) / samples
    land = 0
    for tile_south, tile_west in tiles_of(*cells_of(bounds)):
        paths = files.get(tile_name(tile_south, tile_west))
        inside_lat = lats[(lats >= tile_south) & (lats < tile_south + TILE_DEGREES)]
        inside_lon = lons[(lons >= tile_west) & (lons < tile_west + TILE_DEGREES)]
        if paths is not None and inside_lat.size and inside_lon.size:
            land += _count_land(paths["elv"], inside_lat, inside_lon)
    return land / samples**2


def _count_land(file: Path | Member, lats: NDArray[np.float64], lons: NDArray[np.float64]) -> int:
    """Count the places of a lattice that are land."""
    with open_raster(gdal_path(file)) as source:
        places = [(lon, lat) for lat in lats for lon in lons]
        values = np.fromiter((value[0] for value in source.sample(places)), "float64")
        return int((values != source.nodata).sum())
