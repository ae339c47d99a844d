"""Inner chunks read straight from shards: the bits that zarr reads, or an error that says why."""

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import GzipCodec
from zarr.storage import MemoryStore

from gssm_cube.storage.shards import read_box, read_points, shards_of
from gssm_cube.storage.stores import create_array

SHAPE, CHUNK, SHARD = (13, 10, 9), (5, 3, 2), (5, 6, 4)
FILL = -7


@pytest.fixture(scope="module")
def array(tmp_path_factory):
    """Ragged shards: one that was never written, one with an inner chunk that was not."""
    group = zarr.open_group(tmp_path_factory.mktemp("store") / "x.zarr", mode="w")
    made = create_array(group, "a/b", "tyx", SHAPE, CHUNK, SHARD, "int16", FILL, {})
    made[:] = np.arange(np.prod(SHAPE), dtype="int16").reshape(SHAPE)
    made[5:10, 6:, 4:8] = FILL  # a whole shard
    made[:5, :3, :2] = FILL  # an inner chunk
    return zarr.open_array(made.store_path, mode="r")


def spans(size: int) -> st.SearchStrategy[slice]:
    edges = st.lists(st.integers(0, size), min_size=2, max_size=2, unique=True)
    return edges.map(lambda pair: slice(min(pair), max(pair)))


@given(box=st.tuples(*map(spans, SHAPE)))
@settings(max_examples=60, deadline=None)
def test_any_box_is_what_zarr_reads(array, box):
    found = read_box(array, box)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array[box])


@given(points=st.lists(st.tuples(*(st.integers(0, n - 1) for n in SHAPE)), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_any_points_are_what_zarr_reads(array, points):
    where = tuple(np.array(points, dtype="int64").T)
    np.testing.assert_array_equal(read_points(array, *where), array.vindex[where])


def test_the_array_s_shards_are_read_here_and_not_by_zarr(array):
    shards = shards_of(array)
    assert shards is not None
    assert (*shards.chunk, *shards.ratio, *shards.grid) == (5, 3, 2, 1, 2, 2, 3, 4, 5)
    store = array.store_path.store.root
    assert not (store / "a/b/c/1/1/1").exists() and (store / "a/b/c/0/0/0").exists()
    assert (read_box(array, (slice(5, 10), slice(6, 10), slice(4, 8))) == FILL).all()


@pytest.mark.parametrize(
    "how",
    [
        {"shards": None},
        {"compressors": [GzipCodec()]},
        {"filters": [zarr.codecs.TransposeCodec(order=(1, 0))]},
        {"dtype": ">i2"},
    ],
    ids=["no shards", "gzip", "transposed", "big-endian"],
)
def test_other_forms_are_left_to_zarr_and_read_the_same(tmp_path, how):
    about = {"shape": (6, 4), "chunks": (3, 2), "shards": (6, 4), "dtype": "int16"} | how
    made = zarr.create_array(tmp_path / "x.zarr", **about)
    values = np.arange(24).reshape(6, 4)
    made[:] = values
    assert shards_of(made) is None
    np.testing.assert_array_equal(read_box(made, (slice(1, 5), slice(0, 3))), values[1:5, :3])
    rows, cols = np.array([5, 0, 5]), np.array([1, 3, 1])
    np.testing.assert_array_equal(read_points(made, rows, cols), values[rows, cols])


def test_an_array_that_is_not_on_disk_is_left_to_zarr():
    made = create_array(
        zarr.open_group(MemoryStore(), mode="w"), "a", "x", [8], [2], [4], "int16", 0, {}
    )
    made[:] = np.arange(8)
    assert shards_of(made) is None
    assert read_box(made, (slice(2, 5),)).tolist() == [2, 3, 4]


def damaged(tmp_path, change):
    """Return an array whose only shard's bytes were changed."""
    group = zarr.open_group(tmp_path / "x.zarr", mode="w")
    made = create_array(group, "a", "x", [64], [32], [64], "int16", 0, {})
    made[:] = np.arange(64) % 5
    path = tmp_path / "x.zarr/a/c/0"
    path.write_bytes(change(path.read_bytes()))
    return made


def test_a_damaged_index_is_refused(tmp_path):
    made = damaged(tmp_path, lambda stored: stored[:-10] + b"\xff" + stored[-9:])
    with pytest.raises(ValueError, match="index has another checksum"):
        read_box(made, (slice(0, 64),))


def test_a_shard_of_a_few_bytes_is_refused(tmp_path):
    made = damaged(tmp_path, lambda stored: stored[:9])
    with pytest.raises(ValueError, match="0 of 36 bytes at -27; write it again"):
        read_points(made, np.array([3]))


def test_a_damaged_chunk_is_refused(tmp_path):
    made = damaged(tmp_path, lambda stored: b"\x00" * 40 + stored[40:])
    with pytest.raises(RuntimeError, match="blosc"):
        read_points(made, np.array([3]))
