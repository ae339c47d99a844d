"""Zarr stores: whole shards, missing where unwritten, the same bytes from every writer."""

import hashlib
import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import zarr

from gssm_cube.grid import Layout, Tile
from gssm_cube.storage import stores
from gssm_cube.variables import FILL, PREDICTORS

LAYOUT = Layout(Tile(60, 370), 1, 2, date(2018, 3, 1), date(2019, 4, 1), 96)  # 397 days
ATTRS = stores.packed_attrs(PREDICTORS["lst"].packing)
DAYS, WEST = slice(0, 366), (slice(0, 96), slice(0, 96))
SPEC_CODECS = {"bytes", "blosc", "sharding_indexed", "crc32c"}


def make(path):
    """Create a store of one daily array and return the array."""
    with stores.created_whole(path) as root:
        stores.write_position(root, LAYOUT)
        stores.write_days(root, "time", LAYOUT.time)
        stores.create_daily_array(root, "lst", LAYOUT, "int16", FILL, ATTRS)
        root.attrs["gssm_layout"] = LAYOUT.to_dict()
    return stores.array_of(stores.open_group(path, "r+"), "lst")


def codes_of(seed, days=366):
    return np.random.default_rng(seed).integers(-300, 300, (days, 96, 96)).astype("int16")


def objects_of(path):
    """Chunk objects of the daily array, by name inside the store."""
    files = (p for p in (path / "lst" / "c").rglob("*") if p.is_file())
    return sorted(str(p.relative_to(path)) for p in files)


def codecs_of(metadata):
    """Names of all codecs, the shards' inner ones included."""
    for codec in metadata:
        yield codec["name"]
        for inner in ("codecs", "index_codecs"):
            yield from codecs_of(codec.get("configuration", {}).get(inner, []))


@pytest.fixture
def array(tmp_path):
    return make(tmp_path / "s.zarr")


# ---- created whole ----------------------------------------------------------------------------


def test_a_store_that_fails_half_way_leaves_nothing_and_can_be_made_again(tmp_path):
    place = tmp_path / "s.zarr"
    with pytest.raises(RuntimeError, match="half way"), stores.created_whole(place) as root:
        stores.write_position(root, LAYOUT)
        raise RuntimeError("half way")
    assert list(tmp_path.iterdir()) == []
    make(place)
    assert list(tmp_path.iterdir()) == [place]


def test_a_store_is_not_at_its_place_before_it_is_complete(tmp_path):
    place = tmp_path / "s.zarr"
    with stores.created_whole(place):
        assert not place.exists()
    assert (place / "zarr.json").is_file()


def test_what_a_killed_process_left_is_not_built_upon(tmp_path):
    (tmp_path / "s.zarr.partial").mkdir()
    (tmp_path / "s.zarr.partial" / "stale").write_text("")
    make(tmp_path / "s.zarr")
    assert not (tmp_path / "s.zarr" / "stale").exists()


def test_what_is_there_already_is_kept(tmp_path):
    (tmp_path / "s.zarr").mkdir()
    (tmp_path / "s.zarr" / "precious").write_text("")
    match = r"s\.zarr exists and is not a complete store"
    with pytest.raises(ValueError, match=match), stores.created_whole(tmp_path / "s.zarr"):
        pass
    assert (tmp_path / "s.zarr" / "precious").exists()


# ---- metadata ---------------------------------------------------------------------------------


def test_a_daily_array_has_the_chunks_and_codecs_of_the_design(array, tmp_path):
    metadata = json.loads((tmp_path / "s.zarr" / "lst" / "zarr.json").read_text())
    shard = metadata["chunk_grid"]["configuration"]["chunk_shape"]
    (sharding,) = metadata["codecs"]
    assert sharding["name"] == "sharding_indexed" and shard == [366, 96, 96]
    assert sharding["configuration"]["chunk_shape"] == [366, 48, 48]
    blosc = sharding["configuration"]["codecs"][-1]["configuration"]
    assert (blosc["cname"], blosc["clevel"], blosc["shuffle"]) == ("zstd", 3, "shuffle")
    assert metadata["dimension_names"] == ["time", "lat", "lon"]
    assert (metadata["zarr_format"], metadata["data_type"]) == (3, "int16")
    # Both: xarray heeds the attribute, what was never written comes from Zarr's own.
    assert metadata["fill_value"] == metadata["attributes"]["_FillValue"] == -32768
    assert metadata["attributes"]["scale_factor"] == 0.01


def test_only_codecs_of_the_zarr_specification_are_used(array, tmp_path):
    files = sorted((tmp_path / "s.zarr").rglob("zarr.json"))
    arrays = [m for f in files if (m := json.loads(f.read_text()))["node_type"] == "array"]
    assert len(arrays) == 4
    for metadata in arrays:
        assert set(codecs_of(metadata["codecs"])) <= SPEC_CODECS


def test_coordinates_are_the_layouts_own(array, tmp_path):
    root = stores.open_group(tmp_path / "s.zarr")
    np.testing.assert_array_equal(root["lat"][:], LAYOUT.lat)
    np.testing.assert_array_equal(root["lon"][:], LAYOUT.lon)
    np.testing.assert_array_equal(root["time"][:], np.arange(397))
    assert root["time"].attrs["units"] == "days since 2018-03-01"


def test_an_array_without_shards_has_chunks_only(tmp_path):
    root = zarr.open_group(str(tmp_path), mode="w")
    array = stores.create_array(root, "a", ("y",), (5,), (2,), None, "float32", np.nan, {})
    assert array.shards is None and np.isnan(array[:]).all()


# ---- writing ----------------------------------------------------------------------------------


def test_what_is_written_is_read_and_the_rest_is_missing(array, tmp_path):
    codes = codes_of(1)
    names = stores.write_region(array, (DAYS, *WEST), codes)
    again = stores.array_of(stores.open_group(tmp_path / "s.zarr"), "lst")
    np.testing.assert_array_equal(again[DAYS, :, :96], codes)
    assert (again[:, :, 96:] == FILL).all() and (again[366:] == FILL).all()
    assert names == objects_of(tmp_path / "s.zarr") == ["lst/c/0/0/0"]


def test_the_names_of_several_shards_are_the_files_that_are_there(array, tmp_path):
    region = (slice(366, 397), slice(0, 96), slice(0, 192))  # the short last window, both tiles
    names = stores.write_region(array, region, np.ones((31, 96, 192), dtype="int16"))
    assert sorted(names) == objects_of(tmp_path / "s.zarr") == ["lst/c/1/0/0", "lst/c/1/0/1"]


def test_a_block_that_is_all_missing_has_no_object_and_removes_an_older_one(array, tmp_path):
    for value, count in ((FILL, 0), (5, 1), (FILL, 0)):
        codes = np.full((366, 96, 96), value, dtype="int16")
        assert stores.write_region(array, (DAYS, *WEST), codes) == ["lst/c/0/0/0"]
        assert len(objects_of(tmp_path / "s.zarr")) == count


@pytest.mark.parametrize(
    "region",
    [
        (slice(0, 366), slice(0, 96), slice(0, 48)),
        (slice(0, 366), slice(48, 96), slice(0, 96)),
        (slice(0, 365), slice(0, 96), slice(0, 96)),
        (slice(1, 366), slice(0, 96), slice(0, 96)),
        (slice(366, 396), slice(0, 96), slice(0, 96)),
        (slice(0, 366), slice(0, 96), slice(48, 144)),
    ],
)
def test_a_region_that_cuts_a_shard_is_refused_and_nothing_written(array, tmp_path, region):
    codes = np.zeros([part.stop - part.start for part in region], dtype="int16")
    with pytest.raises(ValueError, match=r"cuts a shard of \(366, 96, 96\)"):
        stores.write_region(array, region, codes)
    assert objects_of(tmp_path / "s.zarr") == []


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((1, 96, 96), "int16"),  # would be repeated on every day
        np.zeros((397, 96, 96), "int16"),
        np.zeros((366, 96, 96), "float32"),  # would be cut to whole codes
    ],
)
def test_values_of_another_shape_or_kind_are_refused(array, tmp_path, values):
    with pytest.raises(ValueError, match=r"expected int16 \(366, 96, 96\)"):
        stores.write_region(array, (DAYS, *WEST), values)
    assert objects_of(tmp_path / "s.zarr") == []


# ---- the same bytes ---------------------------------------------------------------------------

WRITER = """
import sys
sys.path.insert(0, {folder!r})
from test_stores import DAYS, WEST, codes_of, make, stores
stores.write_region(make({path!r}), (DAYS, *WEST), codes_of(3))
"""


def shard_hash(path):
    return hashlib.sha256((Path(path) / "lst/c/0/0/0").read_bytes()).hexdigest()


def test_bytes_of_a_shard_do_not_depend_on_what_was_there(tmp_path):
    once, twice = make(tmp_path / "once"), make(tmp_path / "twice")
    sea = codes_of(3)
    sea[:, 48:] = FILL  # half of the inner chunks are not stored
    stores.write_region(once, (DAYS, *WEST), sea)
    for codes in (codes_of(4), sea, sea):
        stores.write_region(twice, (DAYS, *WEST), codes)
    assert shard_hash(tmp_path / "once") == shard_hash(tmp_path / "twice")


def test_bytes_of_a_short_last_shard_do_not_depend_on_what_was_there(tmp_path):
    last = (slice(366, 397), *WEST)
    written = []
    for name, seeds in (("once", [5]), ("twice", [6, 5])):
        array = make(tmp_path / name)
        for seed in seeds:
            stores.write_region(array, last, codes_of(seed, days=31))
        written.append((tmp_path / name / "lst/c/1/0/0").read_bytes())
    assert written[0] == written[1]


def test_bytes_of_a_shard_are_the_same_from_another_process(tmp_path):
    stores.write_region(make(tmp_path / "here"), (DAYS, *WEST), codes_of(3))
    script = WRITER.format(folder=str(Path(__file__).parent), path=str(tmp_path / "there"))
    subprocess.run([sys.executable, "-c", script], check=True)
    assert shard_hash(tmp_path / "here") == shard_hash(tmp_path / "there")


# ---- opening ----------------------------------------------------------------------------------


def test_a_store_that_is_not_there_is_named(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name in ("nowhere", "empty", "file"):
        with pytest.raises(FileNotFoundError, match=f"no Zarr store at .*{name}: run the stage"):
            stores.open_group(tmp_path / name)


def test_an_array_is_not_a_store(array, tmp_path):
    with pytest.raises(FileNotFoundError, match="no Zarr store at .*lst"):
        stores.open_group(tmp_path / "s.zarr" / "lst")


def test_an_array_that_is_not_there_is_named_with_those_that_are(array, tmp_path):
    with pytest.raises(ValueError, match=r"no array 'ssm'; it has \['lat', 'lon', 'lst', 'time'\]"):
        stores.array_of(stores.open_group(tmp_path / "s.zarr"), "ssm")


def test_the_layout_comes_back_from_the_store(array, tmp_path):
    assert stores.read_layout(tmp_path / "s.zarr") == LAYOUT


def test_a_foreign_store_is_refused(tmp_path):
    zarr.open_group(str(tmp_path / "foreign"), mode="w")
    with pytest.raises(ValueError, match="it is not a store of gssm_cube"):
        stores.read_layout(tmp_path / "foreign")
