"""Samples as a folder: what is read for them, what is done again, what is refused."""

import json
import shutil
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from distributed import Client, LocalCluster

from gssm_cube import blocks, predict
from gssm_cube.cube import composite_starts_of, open_cube
from gssm_cube.grid import Layout
from gssm_cube.insitu.station_tables import COLUMNS, StationWriter, read_station_parts
from gssm_cube.samples import sample_cube, write_samples
from gssm_cube.sampling.picks import READERS, Picked, find_needs
from gssm_cube.sampling.sample_store import (
    MANIFEST,
    count_rows,
    open_samples,
    read_manifest,
    read_rows,
    sample_files,
    scratch_of,
    write_part,
    write_row_index,
    write_rows,
)
from gssm_cube.splits import place_groups
from gssm_cube.storage.stores import array_of, open_group
from gssm_cube.variables import PREDICTORS

W, E = (30, 40), (31, 60)  # a pixel in each of the two tiles


def table_of(layout, places, days, name="NET/{}"):
    rows = [
        {
            "network": "NET", "station": name.format(number), "lat": layout.lat[row],
            "lon": layout.lon[col], "elevation": 12.5, "time": pd.Timestamp(day),
            "observed": 0.01 * number, "land_cover": "crops" if number else None,
        }
        for number, (row, col) in enumerate(places)
        for day in days
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    table.attrs["day"] = "UTC"
    return table


@pytest.fixture
def two(small_world, tmp_path):
    """Two stations, a tile each, in both windows: table, folder of samples."""
    table = table_of(small_world.layout, [W, E], ["2018-03-01", "2018-07-09", "2019-03-03"])
    folder = tmp_path / "samples"
    write_samples(small_world.cube, table, folder)
    return table, folder


# ---- what is read -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    """A cube of the real layout over two windows and two chunks of cells, with its stations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(predict.__file__).rsplit("/", 2)[0] + "/benchmarks")
        import sparse_cube
    layout = Layout.covering((-24.0, 28.0, -20.0, 44.0), date(2001, 1, 1), date(2002, 1, 20), 480)
    # A shared pixel, a shared chunk, both sides of a tile's border, and row 1439 between two
    # chunks of cells, whose two tiles read them both.
    places = [(0, 0), (0, 0), (40, 41), (100, 100), (479, 9), (480, 9), (1439, 7), (1440, 7)]
    store = tmp_path_factory.mktemp("sparse") / "features.zarr"
    sparse_cube.write_sparse_cube(store, layout, places)
    return sparse_cube, store, layout, sparse_cube.station_table(layout, places, every=5)


def test_each_stored_chunk_is_read_once(sparse, tmp_path):
    module, store, layout, table = sparse
    with module.counted(store) as count:
        write_samples(store, table, tmp_path / "samples")
    ideal = module.ideal_bytes(store, layout, table)
    assert min(ideal["meteo/cells"], ideal["daily/lst"], ideal["composite/ndvi"]) > 100_000
    assert count.read == {name: ideal[name] for name in count.read}
    assert sum(count.read.values()) == sum(ideal.values())


def test_of_the_chosen_features_alone_chunks_are_read(sparse, tmp_path):
    module, store, layout, table = sparse
    ideal = module.ideal_bytes(store, layout, table)
    chosen = {"lst": "daily/lst", "clay": "static/clay", "evi": "composite/evi"}
    for feature, array in chosen.items():
        with module.counted(store) as count:
            write_samples(store, table, tmp_path / feature, features=[feature])
        assert count.read == {array: ideal[array]}


def test_stations_of_a_real_layout_get_the_cube_s_values(sparse, tmp_path):
    _, store, _, table = sparse
    found = sample_cube(store, table[table["time"] < "2001-01-20"])
    features = open_cube(store)
    for station, rows in found.groupby("station"):
        place = {"lat": rows["station_lat"].iloc[0], "lon": rows["station_lon"].iloc[0]}
        pixel = features.sel(place, method="nearest").sel(time=rows["time"].to_numpy())
        for name in PREDICTORS:
            expected = np.broadcast_to(pixel[name].values.astype("float32"), len(rows))
            assert expected.tobytes() == rows[name].to_numpy().tobytes(), (station, name)
        assert rows[["apei", "lst", "ndvi"]].notna().all(axis=None)


def test_a_day_on_which_a_composite_starts_needs_no_other():
    layout = Layout.covering((-32.0, 43.2, -31.2, 43.6), date(2018, 3, 1), date(2019, 3, 5), 48)
    starts = 16 * np.arange(30)  # the 24th composite, of the next year's chunk, starts on day 368
    place = {"block": "b", "tile": "t", "window": "w00", "row": 5, "col": 7}
    years = {}
    for day in (352, 353, 368):
        places = pd.DataFrame([{**place, "day": day}])
        years[day] = sorted(find_needs(places, layout, starts, ["composite"])["composite"]["unit"])
    assert years == {352: ["t_y00"], 353: ["t_y00", "t_y01"], 368: ["t_y01"]}


def test_needs_are_among_the_units_that_prediction_reads(small_world):
    layout, store = small_world.layout, small_world.cube
    starts = composite_starts_of(open_group(store), layout)
    block = blocks.parse_block("r116c371_w00", layout)
    place = {"block": str(block), "tile": "r116c371", "window": "w00", "row": 47, "col": 95}
    places = pd.DataFrame([{**place, "day": day} for day in range(366)])
    units = predict.input_units(layout, block, tuple(map(int, starts)), reanalysis=True)
    for stage, needs in find_needs(places, layout, starts, READERS).items():
        assert sorted(set(needs["unit"])) == sorted(units[stage])


def test_a_place_that_was_not_picked_is_an_error():
    picked = Picked(np.array([[1, 2]], "int16"), np.array([[3, 3], [4, 9]]))
    np.testing.assert_array_equal(picked.at(np.array([3]), np.array([9])), [[2]])
    for row, col in ((3, 5), (9, 9), (0, 0)):
        with pytest.raises(ValueError, match="1 of 2 places were not picked; remove the"):
            picked.at(np.array([3, row]), np.array([4, col]))


# ---- the table in parts -----------------------------------------------------------------------


def station_file(path, layout, parts):
    """A station table in as many parts as lists of places; the table of all."""
    tables = []
    with StationWriter(path, "UTC") as writer:
        for number, places in enumerate(parts):
            table = table_of(layout, places, ["2018-03-01", "2019-03-03"], f"NET/{number}-{{}}")
            table = table.assign(hours=24, sensors=1, spread=np.nan, koeppen="Cfb")
            table = table.astype(COLUMNS)[list(COLUMNS)]
            table.attrs["day"] = "UTC"
            tables.append(table)
            writer.add(table)
        counts = pd.DataFrame({"network": ["NET"], "reason": ["kept"], "rows": [48]})
        writer.finish(counts)
    every = pd.concat(tables, ignore_index=True)
    every.attrs["day"] = "UTC"
    return every


def test_a_file_of_parts_gives_the_samples_of_the_whole_table(small_world, tmp_path):
    # Both parts have a station in the western tile, whose samples are one file.
    path = tmp_path / "stations.parquet"
    every = station_file(path, small_world.layout, [[W, E], [W], [E, W]])
    assert [len(part) for part in read_station_parts(path)] == [4, 2, 4]
    write_samples(small_world.cube, path, tmp_path / "parts")
    write_samples(small_world.cube, every, tmp_path / "whole")
    found, expected = (open_samples(tmp_path / name) for name in ("parts", "whole"))
    pd.testing.assert_frame_equal(found, expected)
    assert len(found) == 10
    # Nor does it matter for what is to be done again.
    assert write_samples(small_world.cube, path, tmp_path / "whole")[1] == 4


def test_rows_of_a_run_that_stopped_are_not_sampled_twice(small_world, tmp_path):
    path, folder = tmp_path / "stations.parquet", tmp_path / "samples"
    station_file(path, small_world.layout, [[W], [E]])
    stale = pa.table({"station": ["NET/9"], "time": [pd.Timestamp("2018-03-01")]})
    write_rows(scratch_of(folder), "000007", stale)
    where = {"unit": "r116c370_w00", "part": "000007", "start": 0, "rows": 1, "key": "old"}
    write_row_index(scratch_of(folder), pd.DataFrame([where]))
    assert read_rows(scratch_of(folder), "r116c370_w00") == (stale, "old")
    write_samples(small_world.cube, path, folder)
    assert set(open_samples(folder)["station"]) == {"NET/0-0", "NET/1-0"}


def test_a_changed_value_in_any_part_is_sampled_again(small_world, tmp_path):
    path, folder = tmp_path / "stations.parquet", tmp_path / "samples"
    every = station_file(path, small_world.layout, [[W], [E]])
    write_samples(small_world.cube, path, folder)
    changed = every.assign(observed=every["observed"].where(every.index != 3, 0.4))
    changed.attrs["day"] = "UTC"
    status, skipped = write_samples(small_world.cube, changed, folder)
    assert (len(status), skipped) == (1, 3)


# ---- what is written --------------------------------------------------------------------------


def test_columns_of_the_table_and_of_the_cube_stand_side_by_side(small_world, two):
    table, folder = two
    found = open_samples(folder)
    assert found.attrs["day"] == "UTC"
    assert list(found["station_elevation"]) == [12.5] * 6
    assert list(found["land_cover"].isna()) == [True] * 3 + [False] * 3
    groups = place_groups(table["lat"], table["lon"])
    np.testing.assert_array_equal(found["place_block"], groups)
    root = open_group(small_world.cube)
    quality = array_of(root, "daily/quality")[:]
    days = [0, 130, 367]
    np.testing.assert_array_equal(found["lst_quality"], [*quality[days, *W], *quality[days, *E]])
    for name, column in (("land", "land"), ("filled", "static_filled")):
        layer = array_of(root, f"static/{name}")[:]
        np.testing.assert_array_equal(found[column], [layer[W]] * 3 + [layer[E]] * 3)


def test_any_reader_of_partitioned_parquet_takes_the_folder(two):
    table, folder = two
    found = pd.read_parquet(folder)
    assert sorted(found["window"].astype(int)) == [0, 0, 0, 0, 1, 1]
    assert sorted(found["time"]) == sorted(table["time"])


def test_chosen_columns_come_alone_and_in_order(two):
    _, folder = two
    found = open_samples(folder, columns=["observed", "station"])
    assert list(found.columns) == ["observed", "station"]
    assert list(found["station"]) == ["NET/0"] * 3 + ["NET/1"] * 3
    more = open_samples(folder, columns=["observed"], optional=["wetness", "station", "observed"])
    assert list(more) == ["observed", "station"]
    with pytest.raises(ValueError, match=r"has no columns \['wetness'\], it has"):
        open_samples(folder, columns=["wetness"])


def test_rows_that_lack_a_feature_are_counted(tmp_path):
    values = {"lst": np.array([1, np.nan, 2], "float32"), "ti": np.array([np.nan] * 2 + [1.0])}
    rows = pa.table({"station": ["a", "a", "b"]})
    facts = write_part(tmp_path / "s", "r000c000_w00", rows, values, "key")
    assert facts == {"rows": 3, "incomplete": 2}


def test_with_dask_the_samples_are_the_same(small_world, two, tmp_path):
    table, folder = two
    shape = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(host="127.0.0.1", **shape) as cluster, Client(cluster) as client:
        status, skipped = write_samples(small_world.cube, table, tmp_path / "d", client=client)
    assert (len(status), skipped) == (4, 0)
    for path in sample_files(folder):
        there = tmp_path / "d" / path.relative_to(folder)
        assert there.read_bytes() == path.read_bytes()


# ---- what is done again -----------------------------------------------------------------------


def test_nothing_is_done_twice_and_no_scratch_stays(small_world, two):
    table, folder = two
    status, skipped = write_samples(small_world.cube, table.sample(frac=1, random_state=2), folder)
    assert (len(status), skipped) == (0, 4)
    assert read_manifest(folder)["blocks"] == 4
    assert not scratch_of(folder).exists()


def test_a_new_station_is_done_in_its_own_blocks_only(small_world, two):
    table, folder = two
    more = table_of(small_world.layout, [(5, 5)], ["2018-05-05"], name="NEW/{}")
    both = pd.concat([table, more])
    status, skipped = write_samples(small_world.cube, both, folder)
    assert (list(status["unit"]), skipped) == (["r116c370_w00"], 3)
    pd.testing.assert_frame_equal(open_samples(folder), sample_cube(small_world.cube, both))


def test_a_new_year_is_added_to_the_old_ones(small_world, two, tmp_path):
    table, whole = two
    folder = tmp_path / "growing"
    status, _ = write_samples(small_world.cube, table[table["time"] < "2019-01-01"], folder)
    assert list(status["unit"]) == ["r116c370_w00", "r116c371_w00"]
    status, skipped = write_samples(small_world.cube, table, folder)
    assert (list(status["unit"]), skipped) == (["r116c370_w01", "r116c371_w01"], 2)
    pd.testing.assert_frame_equal(open_samples(folder), open_samples(whole))


def test_a_station_that_is_gone_leaves_no_sample(small_world, two):
    table, folder = two
    write_samples(small_world.cube, table[table["station"] == "NET/1"], folder)
    assert set(open_samples(folder)["station"]) == {"NET/1"}
    assert sorted(path.name for path in folder.rglob("*.parquet")) == ["r116c371.parquet"] * 2


def test_a_change_of_the_cube_or_of_an_observation_is_noticed(small_world, tmp_path):
    table = table_of(small_world.layout, [W, E], ["2018-07-09"])
    store, folder = small_world.copy_cube(tmp_path), tmp_path / "samples"
    write_samples(store, table, folder)
    marker = blocks.read_marker(store, "daily", "r116c371_w00")
    text = json.dumps({**marker, "checksum": "other"})
    (blocks.marker_folder(store, "daily") / "r116c371_w00.json").write_text(text)
    status, _ = write_samples(store, table, folder)
    assert list(status["unit"]) == ["r116c371_w00"]
    status, _ = write_samples(store, table.assign(observed=[0.0, 0.5]), folder)
    assert list(status["unit"]) == ["r116c371_w00"]


def test_a_failed_block_is_named_and_the_others_are_done(small_world, tmp_path):
    table = table_of(small_world.layout, [W, E], ["2018-07-09"])
    store, folder = small_world.copy_cube(tmp_path), tmp_path / "samples"
    shard = store / "daily/lst/c/0/0/0"
    whole = shard.read_bytes()
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(blocks.UnitsFailed, match="1 of its units failed(.|\n)*r116c370_w00: "):
        write_samples(store, table, folder)
    with pytest.raises(FileNotFoundError, match="no whole samples at .*samples to its end first"):
        open_samples(folder)
    shard.write_bytes(whole)
    status, skipped = write_samples(store, table, folder)
    assert (list(status["unit"]), skipped) == (["r116c370_w00"], 1)


def test_a_failed_pick_spoils_its_own_blocks_only(small_world, tmp_path):
    table = table_of(small_world.layout, [W, E], ["2018-07-09"])
    store, folder = small_world.copy_cube(tmp_path), tmp_path / "samples"
    shard = store / "static/clay/c/0/1"
    shard.write_bytes(b"damaged")
    with pytest.raises(blocks.UnitsFailed, match="static r116c371 was not read") as caught:
        write_samples(store, table, folder)
    assert sorted(caught.value.failed["unit"]) == ["r116c371", "r116c371_w00"]
    assert blocks.read_marker(folder, "samples", "r116c370_w00")["rows"] == 1


# ---- what is refused --------------------------------------------------------------------------


def test_a_table_with_a_column_that_samples_add_is_refused(small_world, tmp_path):
    table = table_of(small_world.layout, [W], ["2018-07-09"]).assign(clay=1.0, pixel=3)
    with pytest.raises(ValueError, match=r"columns \['clay', 'pixel'\], which samples add"):
        write_samples(small_world.cube, table, tmp_path / "samples")


def test_a_folder_that_is_not_whole_is_refused(two):
    _, folder = two
    lost = folder / "window=01" / "r116c371.parquet"
    aside = lost.rename(folder / "aside")
    with pytest.raises(FileNotFoundError, match="has lost 1 of 4 files, such as r116c371.parquet"):
        open_samples(folder)
    aside.rename(lost)
    about = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**about, "format": "x"}))
    with pytest.raises(ValueError, match="holds 'x', expected 'gssm_cube samples 1'; remove"):
        open_samples(folder)
    (folder / MANIFEST).unlink()
    assert sample_files(folder) == [folder / MANIFEST]
    shutil.rmtree(folder)
    with pytest.raises(FileNotFoundError, match="no whole samples at"):
        open_samples(folder)


def test_samples_are_counted_by_station_and_tile_from_their_files(small_world, two):
    _, folder = two
    table = open_samples(folder)
    expected = table.groupby(["station", "tile"]).size().reset_index(name="rows")
    pd.testing.assert_frame_equal(count_rows(folder), expected, check_dtype=False)


def test_a_table_of_samples_is_as_its_files_have_it_sorted(two):
    _, folder = two
    table = open_samples(folder)
    files = [pd.read_parquet(path) for path in sorted(folder.glob("*/*.parquet"))]
    expected = pd.concat(files).sort_values(["station", "time"], ignore_index=True)
    pd.testing.assert_frame_equal(table, expected[table.columns], check_exact=True)
