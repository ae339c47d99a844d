"""HDF-EOS2 grids, the HDF4 files in which MODIS tiles are delivered, read by window.

Where a grid lies is taken from its ``StructMetadata.0``, never from the file's name. HDF4 is not
thread-safe, so one lock lets one thread of a process in at a time: read tiles with processes of
one thread each. Needs pyhdf, the extra ``modis-hdf``. Format: HDF-EOS Library User's Guide,
vol. 1 (170-EMD-001).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm_cube.sources.sinusoidal import RADIUS

_LOCK = RLock()
_SINUSOIDAL = "GCTP_SNSOID"


@dataclass(frozen=True)
class GridHeader:
    """What a file says of its grid: name, shape (row, col), corners in m, projection, fields.

    ``params`` are the GCTP parameters, of which the first is the radius of the sphere in m.
    """

    name: str
    shape: tuple[int, int]
    corner: tuple[float, float]
    opposite: tuple[float, float]
    projection: str
    params: tuple[float, ...]
    fields: tuple[str, ...]

    @property
    def pixel(self) -> tuple[float, float]:
        """Width and height of a pixel, m."""
        rows, cols = self.shape
        width, height = self.opposite[0] - self.corner[0], self.corner[1] - self.opposite[1]
        return width / cols, height / rows


@dataclass(frozen=True)
class HdfGrid:
    """An open file with one grid; valid within ``open_grid`` only."""

    path: Path
    header: GridHeader
    file: Any

    def read(self, field: str, rows: slice, cols: slice) -> NDArray[Any]:
        """Read a window of a field (row, col) as stored; nothing else is decoded into memory.

        Raises
        ------
        ValueError
            If the field is not there or of another shape, the window reaches beyond it, or its
            bytes are damaged.
        """
        height, width = self.header.shape
        if not (0 <= rows.start < rows.stop <= height and 0 <= cols.start < cols.stop <= width):
            raise ValueError(
                f"{self.path}: rows {rows.start}..{rows.stop} and columns {cols.start}.."
                f"{cols.stop} were asked for, expected a window within {height} x {width}"
            )
        with _reporting(self.path, f"field {field!r}"), self._select(field) as dataset:
            start, count = (
                (rows.start, cols.start),
                (rows.stop - rows.start, cols.stop - cols.start),
            )
            return np.asarray(dataset.get(start=start, count=count)).reshape(count)

    def attributes(self, field: str) -> dict[str, Any]:
        """Return the attributes of a field, such as ``scale_factor``."""
        with _reporting(self.path, f"field {field!r}"), self._select(field) as dataset:
            return dict(dataset.attributes())

    @contextmanager
    def _select(self, field: str) -> Iterator[Any]:
        """Open a field of the grid's own shape."""
        if field not in self.header.fields:
            raise ValueError(
                f"{self.path} has no field {field!r}, only {list(self.header.fields)}: give a "
                "file of the product that this run names"
            )
        dataset = self.file.select(field)
        try:
            found = tuple(np.atleast_1d(dataset.info()[2]).tolist())
            if found != self.header.shape:
                raise ValueError(
                    f"{self.path}: field {field!r} is {found}, expected {self.header.shape} as "
                    "its StructMetadata.0 says; download the file again"
                )
            yield dataset
        finally:
            dataset.endaccess()


@contextmanager
def open_grid(path: Path) -> Iterator[HdfGrid]:
    """Open the one grid of an HDF-EOS2 file; other threads wait until it is closed.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModuleNotFoundError
        If pyhdf is not installed.
    ValueError
        If the file is not HDF4, is cut short, or does not hold exactly one grid.
    """
    sd = _pyhdf_sd()
    size, changed = _stamp(path)
    with _LOCK:
        with _reporting(path, "it"):
            file = sd.SD(str(path))
        try:
            yield HdfGrid(path, _header(path, size, changed), file)
        finally:
            file.end()


def read_header(path: Path) -> GridHeader:
    """Return what a file says of its grid; raises as ``open_grid``."""
    with open_grid(path) as grid:
        return grid.header


def parse_struct_metadata(text: str) -> dict[str, Any]:
    """Return the groups and objects of a ``StructMetadata.0`` as nested dicts.

    Values stay text but for their quotes; objects of data fields go by their running names
    (``DataField_1``), as in the file.
    """
    root: dict[str, Any] = {}
    nested = [root]
    for line in text.replace("\0", "").splitlines():
        key, equals, value = (part.strip() for part in line.partition("="))
        if key in ("GROUP", "OBJECT"):
            nested.append(nested[-1].setdefault(value, {}))
        elif key in ("END_GROUP", "END_OBJECT") and len(nested) > 1:
            nested.pop()
        elif equals:
            nested[-1][key] = value.strip('"')
    return root


@lru_cache(maxsize=4096)
def _header(path: Path, size: int, changed: int) -> GridHeader:
    """Header of a file as it was at a size and time: pyhdf takes 30 ms to read its text."""
    with _reporting(path, "its metadata"):
        file = _pyhdf_sd().SD(str(path))
        try:
            text = _struct_metadata(file)
        finally:
            file.end()
    grids = parse_struct_metadata(text).get("GridStructure", {})
    if len(grids) != 1:
        raise ValueError(
            f"{path} holds {len(grids)} HDF-EOS2 grids, expected one as MODIS tiles have; give "
            "the tiles as delivered"
        )
    try:
        return _parse_header(next(iter(grids.values())))
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path}: StructMetadata.0 states no usable {error}, expected the corners, shape and "
            "projection of a grid; download the file again"
        ) from error


def _struct_metadata(file: Any) -> str:
    """Text of StructMetadata, whose parts .0, .1, ... belong together."""
    attributes = [file.attr(number) for number in range(file.info()[1])]
    names = [attribute.info()[0] for attribute in attributes]
    parts = sorted(
        (int(name.partition(".")[2] or 0), str(attribute.get()))
        for name, attribute in zip(names, attributes, strict=True)
        if name.startswith("StructMetadata")
    )
    return "".join(text for _, text in parts)


def _parse_header(grid: Mapping[str, Any]) -> GridHeader:
    """Header of a parsed grid."""
    if grid.get("GridOrigin", "HDFE_GD_UL") != "HDFE_GD_UL":
        raise ValueError(f"GridOrigin (found {grid['GridOrigin']}, expected HDFE_GD_UL)")
    shape = int(grid["YDim"]), int(grid["XDim"])
    if min(shape) < 1:
        raise ValueError(f"shape (found {shape})")
    corner, opposite = (_numbers(grid[name]) for name in ("UpperLeftPointMtrs", "LowerRightMtrs"))
    fields = tuple(field["DataFieldName"] for field in grid["DataField"].values())
    return GridHeader(
        name=grid["GridName"],
        shape=shape,
        corner=(corner[0], corner[1]),
        opposite=(opposite[0], opposite[1]),
        projection=grid["Projection"],
        params=_numbers(grid.get("ProjParams", "()")),
        fields=fields,
    )


def _numbers(text: str) -> tuple[float, ...]:
    """Numbers of ``(1.0,2.0)``."""
    return tuple(float(part) for part in text.strip("()").split(",") if part)


def check_sinusoidal(path: Path, header: GridHeader) -> None:
    """Raise unless a grid is the sinusoidal projection of the MODIS sphere about 0 E."""
    turned = any(header.params[4:8])  # central meridian, false easting and northing
    if header.projection != _SINUSOIDAL or header.params[:1] != (RADIUS,) or turned:
        raise ValueError(
            f"{path}: projection is {header.projection} with parameters {header.params}, expected "
            f"{_SINUSOIDAL} on a sphere of {RADIUS} m about 0 E; give the tiles as delivered"
        )


def check_field(
    grid: HdfGrid, field: str, dtype: str, expected: Mapping[str, tuple[Any, ...]]
) -> None:
    """Raise unless a field has the type and attributes its decoder is written for.

    Parameters
    ----------
    grid : HdfGrid
    field : str
    dtype : str
        Such as ``"uint16"``.
    expected : mapping
        Allowed values of each attribute that must be there.

    Raises
    ------
    ValueError
        Naming file, field, what was found and what was expected.
    """
    found: dict[str, Any] = {"type": _dtype_of(grid, field)} | grid.attributes(field)
    for name, allowed in {"type": (dtype,), **expected}.items():
        if found.get(name) not in allowed:
            raise ValueError(
                f"{grid.path}: {name} of {field!r} is {found.get(name, 'missing')!r}, expected "
                f"{' or '.join(repr(value) for value in allowed)}; its units are not those this "
                "run decodes: download the file again"
            )


def _dtype_of(grid: HdfGrid, field: str) -> str:
    """Type of a field as NumPy names it."""
    types = _pyhdf_sd().SDC
    names = "int8 uint8 int16 uint16 int32 uint32 float32 float64".split()
    known = {getattr(types, name.upper()): name for name in names}
    with _reporting(grid.path, f"field {field!r}"), grid._select(field) as dataset:
        number = dataset.info()[3]
    return known.get(number, f"HDF type {number}")


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of change of a file."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


@contextmanager
def _reporting(path: Path, part: str) -> Iterator[None]:
    """Turn errors of the HDF4 library into one that names the file."""
    from pyhdf.error import HDF4Error

    try:
        yield
    except HDF4Error as error:
        raise ValueError(
            f"{path} ({path.stat().st_size} bytes): {part} cannot be read ({error}), expected a "
            "whole HDF4 file; it is cut short or damaged: download it again"
        ) from error


def _pyhdf_sd() -> Any:
    """Return pyhdf's module of scientific data sets; say how to get it where it is absent."""
    try:
        from pyhdf import SD
    except ImportError as error:
        raise ModuleNotFoundError(
            "MODIS .hdf tiles need pyhdf, which is not installed; run pip install "
            "'gssm-cube[modis-hdf]', or give GeoTIFF files"
        ) from error
    return SD
