"""Members of an archive, zipped or not, under names that can do no harm.

Nothing is unpacked to disk, and one member is in memory at a time.
"""

import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

inflater: Any = zlib
try:  # three times as fast; there is no wheel for rarer processors
    from isal import isal_zlib as inflater
except ImportError:
    pass

# What a damaged, encrypted or foreign member can raise while it is inflated and parsed.
DAMAGE = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)

# A sensor's 25 years of hours are 6 MB (CEOP: 20 MB), and deflate shrinks them 8 to 20 times.
LARGEST_MEMBER = 256 * 2**20  # bytes
LARGEST_RATIO = 200
SMALL_MEMBER = 2**20  # bytes; below it no ratio does harm

# A member's own header ends with the lengths of its name and extra field (APPNOTE 4.3.7).
HEADER = struct.Struct("<26xHH")
ENCRYPTED = 1  # of a member's flag bits

Members = dict[str, Callable[[], bytes]]


@contextmanager
def open_archive(archive: str | Path) -> Iterator[Members]:
    """Open a zip, a folder, or a folder that holds zips as a mapping from name to reader.

    Parameters
    ----------
    archive : str or Path
        ISMN download, zipped or unpacked. The members of a zip within a folder are named
        ``ZIP/MEMBER``.

    Yields
    ------
    dict of str to callable
        Sorted by name; valid until the context is left. A member that is, or would inflate to,
        more than 256 MB, or more than 200 times its zipped size, raises ValueError when read.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``archive``.
    ValueError
        If a zip is none, or a member's name points outside its archive.
    """
    path = Path(archive)
    if not path.exists():
        raise FileNotFoundError(f"no ISMN archive at {path}: give the zip or the unpacked folder")
    with ExitStack() as stack:
        members = _zip_members(path, stack) if path.is_file() else _folder_members(path, stack)
        yield dict(sorted(members.items()))


def check_member_names(names: list[str], archive: Path) -> None:
    """Raise if a member's name is absolute or climbs out of the archive."""
    for name in names:
        parts = re.split(r"[/\\]", name)
        if parts[0] == "" or ".." in parts or re.match(r"[A-Za-z]:", name):
            raise ValueError(
                f"{archive}: member {name!r} points outside the archive, expected relative names "
                "without '..'; download the archive again from ISMN"
            )


def _folder_members(folder: Path, stack: ExitStack) -> Members:
    """Return the files of a folder and the members of its zips."""
    members: Members = {}
    for file in (path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        if file.suffix.lower() == ".zip":
            inner = _zip_members(file, stack)
            members |= {f"{name}/{member}": read for member, read in inner.items()}
        else:
            members[name] = partial(_read_file, file)
    return members


def _zip_members(path: Path, stack: ExitStack) -> Members:
    """Return the members of a zip that the stack will close."""
    try:
        file = stack.enter_context(zipfile.ZipFile(path))
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"{path} is not a readable zip ({error}): give the zip as ISMN delivers it, or the "
            "unpacked folder"
        ) from error
    infos = [info for info in file.infolist() if not info.is_dir()]
    check_member_names([info.filename for info in infos], path)
    return {info.filename: partial(_inflate, file, info) for info in infos}


def _inflate(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Inflate a member of sound size, and no more of it than the archive states."""
    _check_size(info.file_size)
    ratio = info.file_size / max(info.compress_size, 1)
    if info.file_size > SMALL_MEMBER and ratio > LARGEST_RATIO:
        raise ValueError(
            f"the member inflates {ratio:.0f} times, expected at most {LARGEST_RATIO}; it is not "
            "read, download the archive again from ISMN"
        )
    if info.compress_type != zipfile.ZIP_DEFLATED or info.flag_bits & ENCRYPTED:
        return file.read(info)
    # In one call: zipfile's own steps of a few kB take half as long again.
    stored = _stored(file, info)
    try:
        text = inflater.decompressobj(-zlib.MAX_WBITS).decompress(stored, info.file_size)
    except inflater.error as error:
        raise zipfile.BadZipFile(f"{info.filename!r} cannot be inflated: {error}") from error
    if len(text) != info.file_size or inflater.crc32(text) != info.CRC:
        raise zipfile.BadZipFile(f"Bad CRC-32 for file {info.filename!r}")
    return text


def _stored(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Return the bytes of a member as they lie in the archive, behind its own header."""
    with file.open(info):  # raises if that header is not the member's
        pass
    stream = file.fp
    if stream is None:
        raise ValueError("the archive is closed")
    stream.seek(info.header_offset)
    header = stream.read(HEADER.size)
    name, extra = HEADER.unpack(header)
    stream.seek(name + extra, 1)
    return stream.read(info.compress_size)


def _read_file(path: Path) -> bytes:
    """Read a file of sound size."""
    _check_size(path.stat().st_size)
    return path.read_bytes()


def _check_size(size: int) -> None:
    """Raise if a member would not fit beside others in memory."""
    if size > LARGEST_MEMBER:
        raise ValueError(
            f"the member is {size / 2**20:.0f} MB large, expected at most "
            f"{LARGEST_MEMBER / 2**20:.0f} MB; split it, or leave it out"
        )
