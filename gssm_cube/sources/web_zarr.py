"""Zarr stores on web servers, read through ``Web``."""

import asyncio
import json
import zlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import xarray as xr
from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype

from gssm_cube.sources.tries import Answer, NotThere, Refused, first_line, read_anew
from gssm_cube.sources.web import Web

# Of damaged bytes: zstd and blosc, gzip, zlib. A wrong sum, or too few bytes, is a ValueError, as
# much else is that is wrong with a store when it is opened, but not once it is.
CODEC_ERRORS = (RuntimeError, EOFError, zlib.error)


class WebStore(Store):
    """A Zarr on a web server, read through ``Web``: counted, tried again, and with its token."""

    supports_writes = supports_deletes = supports_listing = False

    def __init__(self, address: str, web: Web) -> None:
        super().__init__(read_only=True)
        self.address, self.web = address, web

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WebStore) and self.address == other.address

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> Any:
        raise TypeError("a store with a token in its reach does not travel between processes")

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return an object or a part of it; None if it is not there."""
        try:
            part = await asyncio.to_thread(self._get, key, byte_range)
        except NotThere:
            return None
        return prototype.buffer.from_bytes(part)

    def _get(self, key: str, byte_range: ByteRequest | None) -> bytes:
        """Ask for an object, or a part that has a beginning."""
        span = None
        if isinstance(byte_range, RangeByteRequest):
            span = byte_range.start, byte_range.end
        content = self.web.get(f"{self.address}/{key}", span).content
        if isinstance(byte_range, OffsetByteRequest):
            return content[byte_range.offset :]
        if isinstance(byte_range, SuffixByteRequest):
            return content[-byte_range.suffix :]
        return content

    async def get_partial_values(self, prototype: Any, key_ranges: Iterable[Any]) -> list[Any]:
        """Return parts of objects."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    async def exists(self, key: str) -> bool:
        """Whether an object is there."""
        try:
            await asyncio.to_thread(self.web.get, f"{self.address}/{key}")
        except NotThere:
            return False
        return True

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse to write."""
        raise PermissionError(f"{self.address} is read only")

    async def delete(self, key: str) -> None:
        """Refuse to delete."""
        raise PermissionError(f"{self.address} is read only")

    async def list(self) -> AsyncIterator[str]:
        """List nothing: web servers do not."""
        names: tuple[str, ...] = ()
        for key in names:
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """List nothing."""
        names: tuple[str, ...] = ()
        for key in names:
            yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """List nothing."""
        names: tuple[str, ...] = ()
        for key in names:
            yield key


def open_store(address: str, web: Web) -> xr.Dataset:
    """Open a Zarr lazily; its axes are read.

    Raises
    ------
    Refused
        If there is none that can be read, or its metadata are not consolidated: a web server lists
        nothing.
    """

    def ask() -> xr.Dataset:
        try:
            with read_anew(json.JSONDecodeError, UnicodeDecodeError, *CODEC_ERRORS):
                return xr.open_zarr(WebStore(address, web), chunks=None, consolidated=True)
        except Refused:
            raise
        except (FileNotFoundError, KeyError) as error:
            raise Refused(f"{address} holds no Zarr; mend the address") from error
        except ValueError as error:
            fault = f"cannot be read: {first_line(error)}"
            if "onsolidated" in str(error):
                fault = "has no consolidated metadata, and lists nothing"
            raise Refused(f"{address} {fault}") from error

    return web.persist(address, ask)


def read_again(web: Web, what: str, read: Callable[[], Answer]) -> Answer:
    """Return what is read of an open store; chunks that come damaged are asked for again."""

    def ask() -> Answer:
        with read_anew(ValueError, *CODEC_ERRORS):
            return read()

    return web.persist(what, ask)
