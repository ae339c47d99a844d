"""Zarr stores at a URL: in an object store, or read from a web server."""

from typing import Any

import zarr
from zarr.storage import ObjectStore, StorePath

from gssm_cube.storage.object_stores import explained, opened, send

ZARR_CONCURRENCY = 64  # objects that zarr asks for at a time; its own 10 suit disks


class RemoteStore(ObjectStore):
    """A Zarr store at a URL, which travels as that URL alone and names it in its errors."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        super().__init__(opened(url), read_only=read_only)
        zarr.config.set({"async.concurrency": ZARR_CONCURRENCY})
        self.url = url

    def __reduce__(self) -> tuple[Any, ...]:
        return _remote_store, (self.url, self.read_only)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RemoteStore):
            return False
        return (self.url, self.read_only) == (other.url, other.read_only)

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return self.url

    def with_read_only(self, read_only: bool = False) -> "RemoteStore":
        """Return the same store to be read, or to be written as well."""
        return RemoteStore(self.url, read_only=read_only)

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """Return an object or a part of it; None if it is not there."""
        with explained(f"{self.url}/{key}"):
            return await super().get(key, prototype, byte_range)

    async def set(self, key: str, value: Any) -> None:
        """Write an object, whole or not at all."""
        self._check_writable()
        with explained(f"{self.url}/{key}"):
            await send(self.store, key, value.as_buffer_like())

    async def delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        with explained(f"{self.url}/{key}"):
            await super().delete(key)

    async def exists(self, key: str) -> bool:
        """Whether an object is there."""
        with explained(f"{self.url}/{key}"):
            return await super().exists(key)


class UnreadStore(RemoteStore):
    """A store of which no chunk is read: what is written into it are whole objects.

    zarr reads a shard before it writes it, even if it replaces all of it.
    """

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """Return nothing."""
        return None


def unread(array: zarr.Array) -> zarr.Array:
    """Return an array to write whole objects into; far away, without reading the old ones."""
    store = array.store_path.store
    if not isinstance(store, RemoteStore):
        return array
    place = StorePath(UnreadStore(store.url), array.store_path.path)
    return zarr.Array(zarr.AsyncArray(array.metadata, place, array.async_array.config))


def _remote_store(url: str, read_only: bool) -> RemoteStore:
    """Open a store that came from another process."""
    return RemoteStore(url, read_only=read_only)
