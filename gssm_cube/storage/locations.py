"""Small files and lists of files wherever a store lies: on disk (a path) or at a URL.

On disk a file is written under another name and renamed; in an object store one PUT does the same.
"""

import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import starmap
from pathlib import Path
from typing import NamedTuple, TypeVar

from gssm_cube.storage import object_stores
from gssm_cube.storage.files import replaced

Location = str | Path  # a URL is a str
Item = TypeVar("Item")
Result = TypeVar("Result")


class Found(NamedTuple):
    """A file in a folder."""

    name: str  # within the folder, with slashes
    size: int  # bytes
    modified: float  # seconds since 1970


def is_url(location: Location) -> bool:
    """Whether a file or store is in an object store or on a web server."""
    return "://" in str(location)


def location_of(text: Location) -> Location:
    """Return a path, or a URL without a slash at its end; ``file://`` is a path.

    Raises
    ------
    ValueError
        If it is a URL that no store can have.
    """
    if not is_url(text):
        return Path(text)
    address = str(text)
    if address.startswith("file://"):
        return Path(address.removeprefix("file://"))
    return object_stores.check_url(address)


def beside(location: Location, suffix: str) -> Location:
    """Return what stands beside a store, such as its markers: its name with a suffix."""
    return f"{location}{suffix}" if is_url(location) else Path(f"{location}{suffix}")


def sibling(location: Location, name: str) -> Location:
    """Return what has another name in the same folder."""
    if is_url(location):
        return f"{str(location).rpartition('/')[0]}/{name}"
    return Path(location).with_name(name)


def join(folder: Location, *names: str) -> Location:
    """Return what has a name within a folder."""
    return "/".join([str(folder), *names]) if is_url(folder) else Path(folder, *names)


def read(location: Location) -> bytes | None:
    """Return a file's bytes; None if it is not there."""
    if is_url(location):
        found = object_stores.get(str(location))
        return None if found is None else bytes(found)
    try:
        return Path(location).read_bytes()
    except FileNotFoundError:
        return None


def write(location: Location, content: bytes) -> None:
    """Write a file, and its folder, so that a reader sees all of it or what was there before."""
    if is_url(location):
        object_stores.put(str(location), content)
        return
    with replaced(Path(location)) as partial:
        partial.write_bytes(content)


def create(location: Location, content: bytes) -> bool:
    """Write a file that is not there yet; say False, and do nothing, if it is.

    Of several who try at the same time one succeeds.
    """
    if is_url(location):
        return object_stores.put(str(location), content, new=True)
    try:
        with open(location, "xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def size(location: Location) -> int | None:
    """Return a file's size in bytes; None if it is not there."""
    try:
        return (
            object_stores.size_of(str(location)) if is_url(location) else os.stat(location).st_size
        )
    except FileNotFoundError:
        return None


def delete(location: Location) -> None:
    """Delete a file, if it is there."""
    with suppress(FileNotFoundError):
        if is_url(location):
            object_stores.remove(str(location))
        else:
            os.remove(location)


def files(folder: Location) -> Iterator[Found]:
    """Yield all files in a folder and its folders; none if there is no such folder."""
    if is_url(folder):
        yield from starmap(Found, object_stores.listed(str(folder)))
    elif os.path.isdir(folder):
        yield from _entries(str(folder), "")


def _entries(folder: str, prefix: str) -> Iterator[Found]:
    """Yield what a folder on disk holds."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _entries(entry.path, f"{prefix}{entry.name}/")
                continue
            about = entry.stat()
            yield Found(prefix + entry.name, about.st_size, about.st_mtime)


def folders(folder: Location) -> list[str]:
    """Return the names of the folders right in a folder, sorted; none if it is not there."""
    if is_url(folder):
        return sorted(object_stores.folders(str(folder)))
    if not os.path.isdir(folder):
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())


def names(folder: Location, suffix: str = ".json") -> list[str]:
    """Return the names of the files right in a folder that end so, without their end, sorted."""
    found = (file.name for file in files(folder))
    return sorted(name.removesuffix(suffix) for name in found
                  if name.endswith(suffix) and "/" not in name)  # fmt: skip


def each(location: Location, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Return ``work(item)`` of each item in order; many at a time where it is far away."""
    if not is_url(location):
        return [work(item) for item in items]
    with ThreadPoolExecutor(object_stores.CONCURRENCY) as pool:
        return list(pool.map(work, items))


def check_writable(*stores: Location | None) -> None:
    """Raise unless what stands beside those stores that are at URLs can be written and read.

    Raises
    ------
    StoreError
        If access is denied, there is no such bucket, or nobody answers.
    ValueError
        If a store is on a web server.
    """
    for store in stores:
        if store is None or not is_url(store):
            continue
        if object_stores.is_web(str(store)):
            raise ValueError(f"{store} is on a web server, which is only read; give s3:// or so")
        probe = beside(store, f".probe-{uuid.uuid4().hex}")
        write(probe, b"gssm_cube")
        if read(probe) != b"gssm_cube":
            raise object_stores.StoreError(f"{store}: what is written there reads otherwise")
        twice = create(probe, b"another run")
        delete(probe)
        if twice:
            raise object_stores.StoreError(
                f"{store}: this store writes over what was to be new (it does not know "
                "If-None-Match), so that two runs could not be told apart; use another"
            )
