"""Whether files are whole, by their headers: each states where its parts lie.

HDF5 needs none of this, its library compares a file's size with what the file states.
Formats: TIFF 6.0, sections 2 and 15; libtiff, "The BigTIFF File Format"; HDF4 Reference Manual,
"Data descriptors"; NetCDF classic format specification.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from scipy.io import netcdf_file


@dataclass(frozen=True)
class _Tiff:
    """Where a kind of TIFF has its first directory, and how its numbers are written."""

    first: int
    count: struct.Struct
    entry: struct.Struct  # tag, type, number of values, values or their place
    offset: struct.Struct


_TIFFS = {
    mark + version: _Tiff(first, *(struct.Struct(order + form) for form in forms))
    for mark, order in ((b"II", "<"), (b"MM", ">"))
    for version, first, forms in (
        (struct.pack(order + "H", 42), 4, ("H", "HHII", "I")),
        (struct.pack(order + "H", 43), 8, ("Q", "HHQQ", "Q")),  # BigTIFF
    )
}
_VALUE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
                16: 8, 17: 8, 18: 8}  # fmt: skip
_DESCRIPTOR = struct.Struct(">HHii")  # tag, reference, offset, length
_NULL = 1  # tag of a descriptor that is not used


def check_netcdf(path: Path) -> None:
    """Raise if a file is an archive, or a classic NetCDF cut short.

    netCDF4 finds that an HDF5 file is cut, but reads zeros behind the end of a classic one.
    """
    with path.open("rb") as file:
        magic = file.read(4)
    if magic[:2] == b"PK":
        raise ValueError(f"{path} is a zip archive under the name of NetCDF; unzip it")
    if magic not in (b"CDF\x01", b"CDF\x02"):
        return
    try:
        netcdf_file(path, mmap=True).close()
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{path} is cut short: {error}; download it again") from error


def check_directory(path: Path | str) -> None:
    """Raise if a TIFF's directories lie behind its end, with what they say of it.

    GDAL reads on without them: what is missing would then no longer be known as missing.
    """
    if not Path(path).is_file():
        return
    with Path(path).open("rb") as file:
        kind = _TIFFS.get(file.read(4))
        if kind is not None:
            _check_end(Path(path), _directories_end(file, kind))


def _directories_end(file: BinaryIO, kind: "_Tiff") -> int:
    """Return the byte behind a TIFF's last directory and its last value."""
    file.seek(kind.first)
    place, end, seen = _number(file, kind.offset), 0, set()
    while place and place not in seen:
        seen.add(place)
        file.seek(place)
        count = _number(file, kind.count)
        table = file.read(kind.entry.size * count)
        end = max(end, file.tell() + kind.entry.size * count - len(table) + kind.offset.size)
        if len(table) < kind.entry.size * count:
            return end
        for _, dtype, values, at in kind.entry.iter_unpack(table):
            size = _VALUE_BYTES.get(dtype, 1) * values
            if size > kind.offset.size:  # else it stands in the entry
                end = max(end, at + size)
        place = _number(file, kind.offset)
    return end


def directories_end(path: Path) -> tuple[int, int]:
    """Return where a TIFF's first directory begins, and the byte behind all directories.

    Raises
    ------
    ValueError
        If the file is no TIFF.
    """
    with path.open("rb") as file:
        kind = _TIFFS.get(file.read(4))
        if kind is None:
            raise ValueError(f"{path} is no TIFF")
        file.seek(kind.first)
        return _number(file, kind.offset), _directories_end(file, kind)


def _number(file: BinaryIO, form: struct.Struct) -> int:
    """Read one number; 0 behind the end."""
    return int(form.unpack(file.read(form.size).ljust(form.size, b"\0"))[0])


def check_geotiff(source: Any, path: Path | str) -> None:
    """Raise if blocks of an open GeoTIFF lie behind the file's end; other rasters pass."""
    if source.driver != "GTiff" or not Path(path).is_file():
        return
    end = 0
    for (row, col), _ in source.block_windows(1):
        start, length = (
            source.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=1)
            for what in ("OFFSET", "SIZE")
        )
        if start is not None:  # else the block was never written
            end = max(end, int(start) + int(length))
    _check_end(Path(path), end)


def check_hdf4(path: Path) -> None:
    """Raise if parts of an HDF4 file lie behind its end."""
    size, end, block = path.stat().st_size, 4, 4
    with path.open("rb") as file:
        while block:
            file.seek(block)
            count, following = struct.unpack(">hi", file.read(6).ljust(6, b"\0"))
            end = max(end, block + 6 + _DESCRIPTOR.size * count)
            if end > size:
                break
            table = file.read(_DESCRIPTOR.size * count)
            parts = (part for part in _DESCRIPTOR.iter_unpack(table) if part[0] != _NULL)
            end = max([end, *(start + length for _, _, start, length in parts if length > 0)])
            block = following if following > block else 0
    _check_end(path, end)


def _check_end(path: Path, end: int) -> None:
    """Raise if a file ends before its last part."""
    size = path.stat().st_size
    if size < end:
        raise ValueError(
            f"{path} has {size} bytes, expected {end} as its header says: it is cut short; "
            "download it again"
        )
