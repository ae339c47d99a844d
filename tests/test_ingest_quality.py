"""Flags of the cube: what was filled, what is provisional until more files come, what misses."""

import json
import shutil

import numpy as np
import pytest

from gssm_cube import ingest
from gssm_cube.cube import METEO, open_quality
from gssm_cube.flags import FLAGS, LST_FLAGS, VEGETATION_FLAGS
from gssm_cube.harmonise.vegetation import is_provisional
from gssm_cube.ingest.inputs import find_inputs
from gssm_cube.ingest.run import describe_gaps
from gssm_cube.storage.stores import array_of, open_group
from gssm_cube.variables import FILL

LATER = ("2019097", "2019113")  # composites of 7 and 23 April 2019


def has(quality, name):
    return quality & FLAGS[name] > 0


def array(store, path):
    return array_of(open_group(store), path)[:]


def test_no_two_flags_share_a_bit():
    assert len(set(FLAGS.values())) == len(FLAGS) == 16
    assert sum(FLAGS.values()) == 2**16 - 1


def test_the_newest_48_days_are_provisional():
    # The next composite after that of 22 March 2019 starts on 7 April: 48 days before is 18 Feb.
    at = np.array(["2019-02-02", "2019-02-17", "2019-02-18", "2019-03-06"], "M8[D]")
    found = is_provisional(at, np.datetime64("2019-03-22"))
    np.testing.assert_array_equal(found, [False, False, True, True])


def test_after_the_last_composite_of_a_year_the_next_starts_on_new_year():
    # 19 December is the 353rd day; the next starts on 1 January: 48 days before is 14 November.
    at = np.array(["2018-11-13", "2018-11-14"], "M8[D]")
    np.testing.assert_array_equal(is_provisional(at, np.datetime64("2018-12-19")), [False, True])


def hide(folders, stamps, away):
    """Move files of composites out of the folder."""
    away.mkdir()
    for stamp in stamps:
        for path in folders["mod13a2"].glob(f"*_doy{stamp}_*"):
            path.rename(away / path.name)


@pytest.fixture(scope="module")
def early_and_late(small_world, short, tmp_path_factory):
    """A cube made before the two latest composites were there, a copy, and it made up later."""
    folder = tmp_path_factory.mktemp("early")
    folders = small_world.link_raw(folder / "raw")
    hide(folders, LATER, folder / "away")
    store = folder / "features.zarr"
    ingest.harmonise(store, short, folders)
    shutil.copytree(store, folder / "before.zarr")
    for path in (folder / "away").iterdir():
        path.rename(folders["mod13a2"] / path.name)
    steps = ingest.harmonise(store, short, folders)
    return folder / "before.zarr", store, steps


def test_later_composites_overwrite_the_provisional_days_and_no_others(small_world, early_and_late):
    before, after, steps = early_and_late
    done = {row.step: row.units for row in steps.itertuples() if row.units}
    assert done.keys() == {"MOD13A2 files", "vegetation"} and done["vegetation"] == 2
    land = array(after, "static/land") == 1
    early, late = (has(array(s, "composite/quality"), "vegetation_provisional")
                   for s in (before, after))  # fmt: skip
    assert not late.any()
    np.testing.assert_array_equal(
        early[:, land], [[False], [True], [True]] * np.ones(land.sum(), bool)
    )
    for name in ("ndvi", "evi"):
        old, new = (array(s, f"composite/{name}") for s in (before, after))
        np.testing.assert_array_equal(old[0], new[0])
        assert (old[1:] != new[1:])[:, land].mean() > 0.3
    # And they are then what they would have been with all files from the start.
    whole = array(small_world.cube, "composite/ndvi")[-3:]
    np.testing.assert_array_equal(array(after, "composite/ndvi"), whole)


def test_days_beside_a_provisional_composite_are_provisional(early_and_late):
    quality = open_quality(early_and_late[0])
    land = array(early_and_late[0], "static/land") == 1
    by_day = has(quality.values, "vegetation_provisional")[:, land]
    # The first day, 14 February, lies between 2 February, which is not, and 18 February, which is.
    assert by_day.all()


def test_composites_that_end_too_early_are_named(small_world, short, tmp_path):
    folders = small_world.link_raw(tmp_path / "raw")
    # The last held composite is that of 6 March, 48 days before is 17 January.
    gone = ("2019017", "2019033", "2019049", "2019065", "2019081", *LATER)
    hide(folders, gone, tmp_path / "away")
    with pytest.raises(FileNotFoundError, match="MOD13A2 .* lacks 1 days .*: 2019-01-17;"):
        find_inputs(folders, short)


def test_vegetation_is_filled_where_its_own_composite_saw_nothing_good(small_world):
    quality, ndvi = (array(small_world.cube, f"composite/{n}") for n in ("quality", "ndvi"))
    land = array(small_world.cube, "static/land") == 1
    filled = has(quality, "vegetation_filled")[:, land]
    # A cloudy composite has a chance of 8 %, and some are snow.
    assert 0.05 < filled.mean() < 0.3
    assert not has(quality, "vegetation_missing").any() and (ndvi[:, land] != FILL).all()
    assert not quality[:, ~land].any()


def test_the_flags_of_a_day_are_those_of_lst_and_of_the_composites_round_it(small_world):
    found = open_quality(small_world.cube)
    assert found.dims == ("time", "lat", "lon") and found.dtype == np.uint16
    assert found.attrs["flag_meanings"].split() == list(FLAGS)
    daily, composite = (array(small_world.cube, f"{g}/quality") for g in ("daily", "composite"))
    axis = array_of(open_group(small_world.cube), "composite/time")
    starts = np.datetime64(axis.attrs["units"].split()[-1]) + axis[:]
    quality = found.values
    for day in (0, 100, 366):
        when = small_world.layout.time[day]
        round_it = [n for n, start in enumerate(starts) if -16 < (start - when).astype(int) < 16]
        round_it = [n for n in round_it if starts[n] == when] or round_it[:2]
        joined = np.bitwise_or.reduce(composite[round_it])
        np.testing.assert_array_equal(quality[day] & sum(VEGETATION_FLAGS.values()), joined)
    np.testing.assert_array_equal(quality & sum(LST_FLAGS.values()), daily)
    filled = array(small_world.cube, "static/filled") == 1
    land = array(small_world.cube, "static/land") == 1
    np.testing.assert_array_equal(has(quality[7], "static_filled"), filled & land)
    assert not has(quality, "predictor_missing").any()
    part = found.isel(time=slice(40, 60), lat=slice(10, 20), lon=7)
    np.testing.assert_array_equal(part.values, quality[40:60, 10:20, 7])


def test_the_share_of_floored_slopes_is_kept_with_the_index_and_told(small_world):
    folder = small_world.cube.with_name("features.zarr.markers") / "static"
    markers = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    floored, slopes = (sum(m[n] for m in markers) for n in ("slopes_floored", "slopes"))
    assert len(markers) == 2 and 0 < floored < slopes
    attrs = array_of(open_group(small_world.cube), "static/ti").attrs
    assert attrs["floored_slopes"] == pytest.approx(floored / slopes, abs=1e-6)
    assert f"slope floored on {floored / slopes:.1%} of the" in describe_gaps(small_world.cube)


def test_a_missing_predictor_of_any_group_is_said(small_world, tmp_path):
    store = small_world.copy_cube(tmp_path)
    root = open_group(store, "r+")
    land = array(store, "static/land") == 1
    row, col = np.argwhere(land)[len(np.argwhere(land)) // 2]
    array_of(root, "static/wtd")[row, col] = FILL
    static = has(open_quality(store).values, "predictor_missing")
    assert static[:, row, col].all() and static.any(axis=0).sum() == 1
    array_of(root, "static/wtd")[row, col] = 0
    array_of(root, "meteo/cells")[METEO.index("tair"), 5, row // 12, col // 12] = FILL
    found = has(open_quality(store).values, "predictor_missing")
    assert found[5, row, col] and not found[[4, 6]].any()
    array_of(root, "daily/quality")[9, row, col] = LST_FLAGS["lst_missing"]
    assert has(open_quality(store).values, "predictor_missing")[9, row, col]
