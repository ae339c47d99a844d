"""Inner chunks straight from a store's shards: the values that zarr reads, sooner.

zarr hands every inner chunk from thread to thread and reads a shard's index again for each call:
for our chunks that costs more than to inflate them. Here a thread opens a shard, reads its index
once and inflates the chunks that are asked for, one after another, into one buffer. Only arrays
of the form that ``stores`` writes are read so; all others are zarr's. From an object store the
chunks that are asked for come in few requests, or, where a shard is ``held``, all in one.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import google_crc32c
import numcodecs.blosc
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BytesCodec, ShardingCodec
from zarr.core.metadata import ArrayV3Metadata
from zarr.storage import LocalStore

from gssm_cube.storage import object_stores
from gssm_cube.storage.remote_zarr import RemoteStore

Numbers = NDArray[np.int64]
Chunk = NDArray[Any]
Stretch = bytes | memoryview
Stretches = Callable[[Sequence[tuple[int, int]]], Iterable[Stretch]]  # of (offset, length)
ABSENT = 2**64 - 1  # offset of an inner chunk that was never written


def read_box(array: "zarr.Array | Shards", box: tuple[slice, ...]) -> Chunk:
    """Return ``array[box]``.

    Parameters
    ----------
    array : zarr.Array, or what ``held`` made of it, or values in memory
    box : tuple of slice
        One for each axis, with start and stop, step 1, within the array.
    """
    if isinstance(array, Shards):
        return _box_of(array, box)
    shards = shards_of(array)
    return np.asarray(array[box]) if shards is None else _box_of(shards, box)


def _box_of(shards: "Shards", box: tuple[slice, ...]) -> Chunk:
    """Inflate the chunks that a box touches and put their parts together."""
    start = np.array([part.start for part in box])
    stop = np.array([part.stop for part in box])
    found = np.empty(stop - start, shards.dtype)
    first = start // shards.chunk
    places = np.indices(tuple(-(-stop // shards.chunk) - first)).reshape(len(box), -1).T + first
    for place, chunk in shards.chunks(places):
        origin = place * shards.chunk
        low, high = np.maximum(origin, start), np.minimum(origin + shards.chunk, stop)
        part = found[_slices(low - start, high - start)]
        part[...] = shards.fill if chunk is None else chunk[_slices(low - origin, high - origin)]
    return found


def read_points(array: zarr.Array, *points: Numbers) -> Chunk:
    """Return ``array.vindex[points]``; each inner chunk is inflated once.

    Parameters
    ----------
    array : zarr.Array
    points : (point,) int64
        One for each axis, not negative, within the array.
    """
    shards = shards_of(array)
    if shards is None:
        return np.asarray(array.vindex[points])
    found = np.empty(points[0].size, array.dtype)
    grid, size = tuple(shards.grid), shards.chunk[:, np.newaxis]
    chunks, inside = np.divmod(np.stack(points), size)
    numbers = np.ravel_multi_index(tuple(chunks), grid)
    offsets = np.ravel_multi_index(tuple(inside), tuple(shards.chunk))
    order = np.argsort(numbers, kind="stable")
    distinct, first = np.unique(numbers[order], return_index=True)
    groups = dict(zip(distinct.tolist(), np.split(order, first[1:]), strict=True))
    for place, chunk in shards.chunks(np.stack(np.unravel_index(distinct, grid)).T):
        rows = groups[int(np.ravel_multi_index(tuple(place), grid))]
        found[rows] = shards.fill if chunk is None else chunk.reshape(-1)[offsets[rows]]
    return found


def _slices(start: Numbers, stop: Numbers) -> tuple[slice, ...]:
    """Return a box."""
    return tuple(slice(a, b) for a, b in zip(start, stop, strict=True))


def held(array: zarr.Array, box: tuple[slice, ...]) -> "zarr.Array | Shards":
    """Begin to fetch the shards that a box touches, whole, if the array is in an object store.

    Parameters
    ----------
    array : zarr.Array
    box : tuple of slice
        One for each axis, with start and stop.

    Returns
    -------
    zarr.Array or Shards
        For ``read_box``: the array itself where it is on disk, where a chunk is read as soon;
        else its shards in memory, each fetched in one request, for reads within the box alone.
    """
    shards = shards_of(array)
    if shards is None or not isinstance(shards.objects, AtUrl):
        return array
    size = shards.chunk * shards.ratio
    ranges = [range(part.start // n, -(-part.stop // n)) for part, n in zip(box, size, strict=True)]
    url, names = shards.objects.place, ("/".join(map(str, owner)) for owner in product(*ranges))
    fetched = {name: object_stores.fetch(f"{url}/{name}") for name in names}
    return replace(shards, objects=Held(url, fetched))


# ---- where shards lie -------------------------------------------------------------------------


class Objects(Protocol):
    """The objects of one array."""

    @property
    def place(self) -> Path | str:
        """Where they lie, for messages."""
        ...

    def open(self, name: str, tail: int) -> AbstractContextManager[tuple[Stretch, Stretches]]:
        """Give an object's last bytes and what reads stretches of it.

        Raises
        ------
        FileNotFoundError
            If it is not there.
        ValueError
            If it ends before.
        """
        ...


@dataclass(frozen=True)
class OnDisk:
    """Objects in a folder."""

    place: Path

    @contextmanager
    def open(self, name: str, tail: int) -> Iterator[tuple[Stretch, Stretches]]:
        """Open a file, and read each stretch when it is asked for, over the one before."""
        with open(self.place / name, "rb") as file:
            descriptor = file.fileno()
            last = memoryview(bytearray(tail))
            read_at(descriptor, os.fstat(descriptor).st_size - tail, last)
            yield last, partial(_read_each, descriptor)


@dataclass(frozen=True)
class AtUrl:
    """Objects under a URL."""

    place: str

    @contextmanager
    def open(self, name: str, tail: int) -> Iterator[tuple[Stretch, Stretches]]:
        """Ask for the last bytes; then for all stretches at once, near ones in one request."""
        url = f"{self.place}/{name}"
        last = object_stores.get_tail(url, tail)
        yield (
            _whole(last, -tail, tail),
            lambda wanted: object_stores.get_stretches(url, wanted) if wanted else (),
        )


@dataclass(frozen=True)
class Held:
    """Objects in memory, or on their way."""

    place: str
    objects: Mapping[str, Future[memoryview | None]]

    @contextmanager
    def open(self, name: str, tail: int) -> Iterator[tuple[Stretch, Stretches]]:
        """Wait for an object and give parts of it."""
        if name not in self.objects:
            raise ValueError(f"{self.place}/{name} lies outside of what is held, {[*self.objects]}")
        content = self.objects[name].result()
        if content is None:
            raise FileNotFoundError(f"{self.place}/{name}")
        yield (
            _whole(content[-tail:], len(content) - tail, tail),
            lambda wanted: (_whole(content[a : a + n], a, n) for a, n in wanted),
        )


def _whole(found: Stretch, offset: int, length: int) -> Stretch:
    """Return a stretch, or raise if its object ends before."""
    if len(found) != length:
        raise ValueError(
            f"a shard ends within a chunk: {len(found)} of {length} bytes at {offset}; write it "
            "again"
        )
    return found


def _read_each(descriptor: int, wanted: Sequence[tuple[int, int]]) -> Iterator[Stretch]:
    """Read stretches of an open file into one buffer: fresh memory costs as much as a copy."""
    buffer = np.empty(max((n for _, n in wanted), default=0), "uint8").data
    for offset, length in wanted:
        read_at(descriptor, offset, buffer[:length])
        yield buffer[:length]


def read_at(descriptor: int, offset: int, buffer: memoryview) -> None:
    """Fill a buffer with bytes of an open file.

    Raises
    ------
    ValueError
        If the file ends before.
    """
    read = os.preadv(descriptor, [buffer], offset) if offset >= 0 else 0
    _whole(buffer[:read], offset, len(buffer))


# ---- the shards of an array -------------------------------------------------------------------


@dataclass(frozen=True)
class Shards:
    """The objects of one sharded array, and how they are cut."""

    objects: Objects
    chunk: Numbers  # shape of an inner chunk
    ratio: Numbers  # inner chunks along each axis of a shard
    grid: Numbers  # inner chunks along each axis of the array
    dtype: np.dtype
    fill: Any

    def chunks(self, places: Numbers) -> Iterator[tuple[Numbers, Chunk | None]]:
        """Yield (place, values) of inner chunks, shard by shard; None where none was written.

        The values are overwritten when the next chunk is asked for.
        """
        values = np.empty(self.chunk, self.dtype)
        owners, which = np.unique(places // self.ratio, axis=0, return_inverse=True)
        tail = 16 * int(np.prod(self.ratio)) + 4
        for number, owner in enumerate(owners):
            inside = places[which.ravel() == number]
            with ExitStack() as stack:
                opening = self.objects.open("/".join(map(str, owner)), tail)
                try:
                    index, stretches = stack.enter_context(opening)
                except FileNotFoundError:
                    yield from ((place, None) for place in inside)
                    continue
                yield from self._of_shard(self._index(index), stretches, inside, values)

    def _of_shard(
        self, index: NDArray[np.uint64], stretches: Stretches, places: Numbers, values: Chunk
    ) -> Iterator[tuple[Numbers, Chunk | None]]:
        """Inflate inner chunks of an open shard."""
        entries = [(place, *map(int, index[tuple(place % self.ratio)])) for place in places]
        yield from ((place, None) for place, offset, _ in entries if offset == ABSENT)
        there = [entry for entry in entries if entry[1] != ABSENT]
        found = stretches([(offset, length) for _, offset, length in there])
        for (place, _, _), stretch in zip(there, found, strict=True):
            numcodecs.blosc.decompress(stretch, values)
            yield place, values

    def _index(self, stored: Stretch) -> NDArray[np.uint64]:
        """Return where each inner chunk lies in a shard: offset and length."""
        index, checksum = bytes(stored[:-4]), stored[-4:]
        if google_crc32c.value(index) != int.from_bytes(checksum, "little"):
            raise ValueError(
                f"a shard of {self.objects.place} is damaged (its index has another checksum); "
                "remove its marker and write it again"
            )
        return np.frombuffer(index, "<u8").reshape(*self.ratio, 2)


def shards_of(array: zarr.Array) -> Shards | None:
    """Return the shards of an array of the one form that is read here, None for all others."""
    if not isinstance(array, zarr.Array):  # values in memory
        return None
    store, about = array.store_path.store, array.metadata
    if not isinstance(about, ArrayV3Metadata):
        return None
    objects: Objects
    if isinstance(store, LocalStore):
        objects = OnDisk(Path(store.root) / array.store_path.path / "c")
    elif isinstance(store, RemoteStore):
        objects = AtUrl(f"{store.url}/{array.store_path.path}/c")
    else:
        return None
    if about.chunk_key_encoding.name != "default" or len(about.codecs) != 1:
        return None
    outer = about.codecs[0]
    if not isinstance(outer, ShardingCodec) or outer.index_location.value != "end":
        return None
    kinds = [type(codec) for codec in outer.codecs]
    little = array.dtype.newbyteorder("<") == array.dtype
    if kinds != [BytesCodec, BloscCodec] or len(outer.index_codecs) != 2 or not little:
        return None
    chunk = np.array(outer.chunk_shape)
    return Shards(
        objects,
        chunk,
        np.array(array.shards) // chunk,
        -(-np.array(array.shape) // chunk),
        array.dtype,
        array.fill_value,
    )
