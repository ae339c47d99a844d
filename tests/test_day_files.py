"""Files of many days held as packed names."""

import os
import pickle
import tracemalloc
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gssm_cube.sources import modis
from gssm_cube.sources.day_files import DayFiles, Names, walk

FIRST = date(2019, 12, 31)
ROOT = Path("/data/raw")
# Anything that a file's name may hold, line ends and undecodable bytes among it.
NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"])
    | st.sampled_from([chr(0xDC80 + n) for n in (0, 100)]),
    min_size=1, max_size=12,
).filter(lambda name: name not in (".", ".."))  # fmt: skip
KEYS = st.sampled_from(["h18v04", "h19v04", "", "hdf", "QC_Day", "LST Day"])
DAYS = st.integers(0, 400).map(lambda n: FIRST + timedelta(n))
NESTED = st.dictionaries(
    DAYS, st.dictionaries(KEYS, st.dictionaries(KEYS, NAMES, min_size=1), max_size=3), max_size=4
)


def with_paths(days):
    return {
        day: {
            tile: {layer: ROOT / name for layer, name in layers.items()}
            for tile, layers in tiles.items()
        }
        for day, tiles in days.items()
    }


@given(NESTED)
def test_what_was_packed_comes_back_and_days_without_files_are_left_out(days):
    expected = {day: tiles for day, tiles in with_paths(days).items() if tiles}
    files = DayFiles.of(ROOT, with_paths(days).items())
    assert list(files) == list(expected) and len(files) == len(expected)
    assert {day: files[day] for day in files} == expected
    assert {day: set(held) for day, held in files.parts.items()} == {
        day: set(tiles) for day, tiles in expected.items()
    }
    assert pickle.loads(pickle.dumps(files)) == files


@given(NESTED, st.sets(KEYS), st.dictionaries(DAYS, DAYS))
def test_choosing_tiles_and_days_is_as_with_plain_dicts(days, wanted, places):
    plain = {day: tiles for day, tiles in with_paths(days).items() if tiles}
    files = DayFiles.of(ROOT, plain.items())
    near = {day: {t: tiles[t] for t in tiles if t in wanted} for day, tiles in plain.items()}
    chosen = files.only_parts(wanted)
    assert dict(chosen) == {day: tiles for day, tiles in near.items() if tiles}
    assert chosen.parts == {day: set(tiles) for day, tiles in near.items() if tiles}
    moved = files.at(places)
    assert dict(moved) == {day: plain[held] for day, held in places.items() if held in plain}
    assert list(files.only(sorted(plain, reverse=True))) == sorted(plain, reverse=True)


@given(st.lists(st.tuples(DAYS, NAMES), max_size=8, unique=True))
def test_names_come_day_by_day_in_order_with_their_keys(rows):
    names = Names(ROOT)
    for day, name in rows:
        names.add(day, ("h18v04", "hdf"), ROOT / name)
    found = [(day, path.name) for day, files in names.by_day() for path, _ in files]
    assert found == sorted(rows, key=lambda row: (row[0], os.fsencode(row[1] + "\0")))
    assert list(names.by_day()) == []  # each day is given once


def test_an_unknown_day_is_not_there():
    files = DayFiles(ROOT, {}, {})
    assert FIRST not in files and files.get(FIRST, {}) == {} and not files
    with pytest.raises(KeyError):
        files[FIRST]


def test_a_folder_is_walked_through_with_its_sub_folders_but_not_through_links(tmp_path):
    for name in ("MOD11A1.a", "deep/er/MOD11A1_b", "deep/MOD11A2.c", "MOD11A1.d/MOD11A1.e"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "round").symlink_to(tmp_path)
    found = sorted(str(p.relative_to(tmp_path)) for p in walk(tmp_path, ("MOD11A1.", "MOD11A1_")))
    assert found == ["MOD11A1.a", "MOD11A1.d/MOD11A1.e", "deep/er/MOD11A1_b"]
    assert list(walk(tmp_path / "nowhere", ("",))) == []


def held_by_this_module() -> int:
    """Bytes that were allocated by what this module called; not those of other threads."""
    ours = tracemalloc.Filter(True, __file__, all_frames=True)
    return sum(trace.size for trace in tracemalloc.take_snapshot().filter_traces([ours]).traces)


def test_three_thousand_tiles_take_less_than_a_sixth_of_what_their_paths_would(tmp_path):
    tiles = [f"h{h:02d}v{v:02d}" for h in range(30) for v in range(10)]
    for number in range(10):
        for tile in tiles:
            name = f"MOD11A1.A2019{number + 1:03d}.{tile}.061.{2020000000000 + number}.hdf"
            (tmp_path / name).touch()
    modis.find_files(tmp_path, "MOD11A1", modis.LST_LAYERS)  # what is loaded once is loaded
    tracemalloc.start(20)  # frames, from the allocation up to this module's
    try:
        files = modis.find_files(tmp_path, "MOD11A1", modis.LST_LAYERS)
        held = held_by_this_module()
        paths = {day: files[day] for day in files}
        expanded = held_by_this_module()
    finally:
        tracemalloc.stop()
    assert sum(len(day) for day in paths.values()) == 3000
    assert held < (expanded - held) / 6
