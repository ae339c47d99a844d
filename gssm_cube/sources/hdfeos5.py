"""HDF-EOS5 grids on the 1 km sinusoidal grid, as VIIRS land tiles are delivered, read by window.

Where a grid lies is taken from its ``StructMetadata.0``; what a number means is checked against
the field's own attributes. Needs h5py, the extra ``viirs``. Format: HDF-EOS5 Data Model, File
Format and Library (ESDS-RFC-008).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from gssm_cube.sources.sinusoidal import KILOMETRE, RADIUS, Cutout


@dataclass(frozen=True)
class Layer:
    """A field and what its file must say of it: types, scales and units allowed, and the fill."""

    name: str
    types: tuple[str, ...]
    scales: tuple[float, ...] = ()
    units: tuple[str, ...] = ()
    fill: int | None = None

    @property
    def geotiff(self) -> str:
        """Name in AppEEARS' files, where no name begins with a digit."""
        name = self.name.replace(" ", "_")
        return f"_{name}" if name[0].isdigit() else name


@dataclass(frozen=True)
class Product:
    """A product: short name, name of its grid, and the layers that are read."""

    name: str
    grid: str
    layers: tuple[Layer, ...]


def read_tile(
    path: Path, product: Product, layer: Layer, rows: range, cols: range
) -> Cutout | None:
    """Read the part of an HDF-EOS5 tile within global sinusoidal ``rows`` and ``cols``.

    Parameters
    ----------
    path : Path
    product : Product
        What the file must be, by its name, its own short name and its grid.
    layer : Layer
    rows, cols : range

    Returns
    -------
    Cutout or None
        Numbers as stored; None if the tile lies elsewhere.

    Raises
    ------
    ModuleNotFoundError
        If h5py is not installed.
    ValueError
        If the file is damaged, another product, elsewhere than its name says, or its numbers
        have another type, scale, unit or fill.
    """
    with open_file(path) as file:
        field, row, col = _find_field(path, file, product, layer)
        shape = field.shape
        down = range(max(rows.start, row), min(rows.stop, row + shape[0]))
        across = range(max(cols.start, col), min(cols.stop, col + shape[1]))
        if not down or not across:
            return None
        part = (
            slice(down.start - row, down.stop - row),
            slice(across.start - col, across.stop - col),
        )
        return Cutout(np.asarray(field[part]), down.start, across.start)


def check_tile(path: Path, product: Product) -> None:
    """Raise unless a tile is whole and the product's, where its name says; by its header."""
    with open_file(path) as file:
        for layer in product.layers:
            _find_field(path, file, product, layer)


def _find_field(path: Path, file: Any, product: Product, layer: Layer) -> tuple[Any, int, int]:
    """Return a layer's field, as its decoder expects it, and its first global row and column."""
    _check_product(path, file, product)
    group = f"HDFEOS/GRIDS/{product.grid}/Data Fields/{layer.name}"
    if group not in file:
        raise ValueError(f"{path} has no {group!r}, expected in {product.name}; give its files")
    field = file[group]
    row, col, shape = _place(path, _struct_metadata(path, file), product.grid)
    if field.shape != shape:
        raise ValueError(
            f"{path}: {layer.name!r} is {field.shape}, expected {shape} as its "
            "StructMetadata.0 says; download the file again"
        )
    _check_field(path, field, layer)
    return field, row, col


@contextmanager
def open_file(path: Path) -> Iterator[Any]:
    """Open an HDF5 file for reading; errors of its library become one that names it."""
    try:
        h5py = import_module("h5py")
    except ImportError as error:
        raise ModuleNotFoundError(
            "VIIRS .h5 tiles need h5py, which is not installed; run pip install "
            "'gssm-cube[viirs]', or give GeoTIFF files"
        ) from error
    size = path.stat().st_size
    try:
        # Locks fail on many shared file systems, and nobody writes these files.
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except OSError as error:
        raise ValueError(
            f"{path} ({size} bytes) cannot be read ({error}), expected a whole HDF5 file; it is "
            "cut short or damaged: download it again"
        ) from error


def _check_product(path: Path, file: Any, product: Product) -> None:
    """Raise unless name and metadata agree on the product: day and night have one layout."""
    places = [file.attrs, *_attributes_at(file, "HDFEOS/ADDITIONAL/FILE_ATTRIBUTES")]
    stated = [_plain(place["ShortName"]) for place in places if "ShortName" in place]
    for found in [path.name.split(".")[0], *stated]:
        if found != product.name:
            raise ValueError(f"{path} is {found}, expected {product.name}; give its files")


def _attributes_at(file: Any, group: str) -> list[Any]:
    """Attributes of a group, if it is there."""
    return [file[group].attrs] if group in file else []


def _struct_metadata(path: Path, file: Any) -> str:
    """Text of StructMetadata.0."""
    name = "HDFEOS INFORMATION/StructMetadata.0"
    if name not in file:
        raise ValueError(f"{path} has no {name!r}, expected an HDF-EOS5 grid; download it again")
    return str(_plain(file[name][()]))


def _place(path: Path, text: str, grid: str) -> tuple[int, int, tuple[int, int]]:
    """First global row and column, and the shape, of a grid by its StructMetadata."""
    part = re.search(rf'GridName="{re.escape(grid)}"(.*?)END_GROUP=GRID_\d', text, re.DOTALL)
    stated = dict(re.findall(r"(\w+)=([^\n]*)", part[1])) if part else {}
    try:
        shape = int(stated["YDim"]), int(stated["XDim"])
        left, top, right, bottom = (
            float(number)
            for key in ("UpperLeftPointMtrs", "LowerRightMtrs")
            for number in stated[key].strip("() ").split(",")
        )
        radius = float(stated["ProjParams"].strip("() ").split(",")[0])
        sinusoidal = "SNSOID" in stated["Projection"] and abs(radius - RADIUS) < 1e-3
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path}: StructMetadata.0 states no usable {error} of grid {grid}, expected its "
            "size, corners and projection; download the file again"
        ) from error
    place = KILOMETRE.place_of(left, top)
    pixel = (right - left) / shape[1], (top - bottom) / shape[0]
    if not sinusoidal or place is None or not KILOMETRE.has_pixel(*pixel):
        raise ValueError(
            f"{path} is not on the 1 km sinusoidal grid: pixel {pixel[0]:.3f} x {pixel[1]:.3f} m "
            f"from ({left:.3f}, {top:.3f}), {stated['Projection']}, expected "
            f"{KILOMETRE.pixel:.3f} m; give the tiles as delivered"
        )
    _check_tile_name(path, place)
    return (*place, shape)


def _check_tile_name(path: Path, place: tuple[int, int]) -> None:
    """Raise unless a tile lies where its name says, for tiles are chosen by name."""
    named = re.search(r"\.h(\d\d)v(\d\d)\.", path.name)
    if named and (int(named[2]), int(named[1])) != tuple(n // KILOMETRE.tile_size for n in place):
        raise ValueError(
            f"{path} starts at row {place[0]}, column {place[1]} of the sinusoidal grid, expected "
            f"tile {named[0].strip('.')} as it is named; download the file again"
        )


def _check_field(path: Path, field: Any, layer: Layer) -> None:
    """Raise unless type, scale, offset, units and fill are those the decoder is written for."""
    attrs = {name: _plain(field.attrs[name]) for name in field.attrs}
    found = {
        "type": (field.dtype.name, layer.types),
        "scale_factor": (attrs.get("scale_factor"), layer.scales),
        "units": (attrs.get("units"), layer.units),
        # Only the values' own offset matters, and only if one is stated.
        "add_offset": (attrs.get("add_offset", 0), (0,) if layer.scales else ()),
        "_FillValue": (attrs.get("_FillValue", layer.fill), (layer.fill,) if layer.scales else ()),
    }
    for name, (value, allowed) in found.items():
        if allowed and not any(_same(value, one) for one in allowed):
            stated = "missing" if value is None else repr(value)
            raise ValueError(
                f"{path}: {name} of {layer.name!r} is {stated}, "
                f"expected {' or '.join(map(str, allowed))}; these are not the numbers this "
                "reader decodes: give the files as delivered"
            )


def _same(value: Any, wanted: Any) -> bool:
    """Whether an attribute is as wanted; numbers may be stored in single precision."""
    if isinstance(wanted, str) or value is None or isinstance(value, str):
        return bool(value == wanted)
    return bool(np.isclose(value, wanted, rtol=1e-6, atol=0))


def _plain(value: Any) -> Any:
    """Attribute or text as str or number: HDF5 gives bytes and arrays of one."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").rstrip("\0")
    return value.item() if isinstance(value, np.generic) else value
