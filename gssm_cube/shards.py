"""Inner chunks straight from the shards of a local store: the values that zarr reads, sooner.

zarr hands every inner chunk from thread to thread and reads a shard's index again for each call:
for our chunks that costs more than to inflate them. Here a thread opens a shard, reads its index
once and inflates the chunks that are asked for, one after another, into one buffer. Only arrays
of the form that ``stores`` writes are read so; all others are zarr's.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numcodecs.blosc
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BytesCodec, ShardingCodec
from zarr.core.metadata import ArrayV3Metadata
from zarr.storage import LocalStore

Numbers = NDArray[np.int64]
Chunk = NDArray[Any]
ABSENT = 2**64 - 1  # offset of an inner chunk that was never written


def read_box(array: zarr.Array, box: tuple[slice, ...]) -> Chunk:
    """Return ``array[box]``.

    Parameters
    ----------
    array : zarr.Array
    box : tuple of slice
        One for each axis, with start and stop, step 1, within the array.
    """
    shards = shards_of(array)
    if shards is None:
        return np.asarray(array[box])
    start = np.array([part.start for part in box])
    stop = np.array([part.stop for part in box])
    found = np.empty(stop - start, array.dtype)
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
    where = np.stack(points)
    size = shards.chunk[:, np.newaxis]
    numbers = np.ravel_multi_index(tuple(where // size), tuple(shards.grid))
    distinct, which, count = np.unique(numbers, return_inverse=True, return_counts=True)
    groups = dict(zip(distinct.tolist(), _runs(which, count), strict=True))
    for place, chunk in shards.chunks(np.stack(np.unravel_index(distinct, tuple(shards.grid))).T):
        rows = groups[int(np.ravel_multi_index(tuple(place), tuple(shards.grid)))]
        found[rows] = shards.fill if chunk is None else chunk[tuple(where[:, rows] % size)]
    return found


def _runs(which: Numbers, count: Numbers) -> list[Numbers]:
    """Return for each group the places where its number stands."""
    return np.split(np.argsort(which, kind="stable"), np.cumsum(count)[:-1])


def _slices(start: Numbers, stop: Numbers) -> tuple[slice, ...]:
    """Return a box."""
    return tuple(slice(a, b) for a, b in zip(start, stop, strict=True))


@dataclass(frozen=True)
class Shards:
    """The objects of one sharded array, and how they are cut."""

    folder: Path
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
        for number, owner in enumerate(owners):
            inside = places[which.ravel() == number]
            try:
                file = open(self.folder / "c" / "/".join(map(str, owner)), "rb")
            except FileNotFoundError:
                yield from ((place, None) for place in inside)
                continue
            with file:
                yield from self._of_shard(file.fileno(), inside, values)

    def _of_shard(
        self, descriptor: int, places: Numbers, values: Chunk
    ) -> Iterator[tuple[Numbers, Chunk | None]]:
        """Inflate inner chunks of an open shard."""
        index = self._index(descriptor)
        for place in places:
            offset, length = map(int, index[tuple(place % self.ratio)])
            if offset == ABSENT:
                yield place, None
                continue
            numcodecs.blosc.decompress(read_at(descriptor, offset, length), values)
            yield place, values

    def _index(self, descriptor: int) -> NDArray[np.uint64]:
        """Read where each inner chunk lies in a shard: offset and length."""
        size = 16 * int(np.prod(self.ratio)) + 4
        stored = read_at(descriptor, os.fstat(descriptor).st_size - size, size)
        index, checksum = stored[:-4], stored[-4:]
        if google_crc32c.value(index) != int.from_bytes(checksum, "little"):
            raise ValueError(
                f"a shard of {self.folder} is damaged (its index has another checksum); remove "
                "its marker and write it again"
            )
        return np.frombuffer(index, "<u8").reshape(*self.ratio, 2)


def read_at(descriptor: int, offset: int, length: int) -> bytes:
    """Read bytes of an open file.

    Raises
    ------
    ValueError
        If the file ends before.
    """
    found = os.pread(descriptor, length, offset) if offset >= 0 else b""
    if len(found) != length:
        raise ValueError(
            f"a shard ends within a chunk: {len(found)} of {length} bytes at {offset}; write it "
            "again"
        )
    return found


def shards_of(array: zarr.Array) -> Shards | None:
    """Return the shards of an array of the one form that is read here, None for all others."""
    store, about = array.store_path.store, array.metadata
    if not isinstance(store, LocalStore) or not isinstance(about, ArrayV3Metadata):
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
        Path(store.root) / array.store_path.path,
        chunk,
        np.array(array.shards) // chunk,
        -(-np.array(array.shape) // chunk),
        array.dtype,
        array.fill_value,
    )
