"""Coarse maps: means over land worked with plain xarray, resume, and what a change redoes."""

import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from product_files import layers_of

from gssm_cube import blocks
from gssm_cube.flags import PRODUCT_FLAGS
from gssm_cube.grid import Block, Layout, Tile
from gssm_cube.product import create_product, open_product, overviews, write_block
from gssm_cube.product.coarsen import coarsen, gather_flags
from gssm_cube.product.overviews import open_overview, write_overviews
from gssm_cube.storage.growth import end_growth, is_growing
from gssm_cube.variables import FILL

# Two tiles side by side at 60 deg north, where rows shrink; the second window has five days.
LAYOUT = Layout(Tile(74, 372), 1, 2, date(2018, 2, 20), date(2019, 2, 25), 48)


def test_a_square_is_the_mean_of_its_land_by_area():
    codes = np.array([[[100, 200], [FILL, 400]]], dtype="int16")
    weights = np.array([1.0, 0.5])  # the second row is half as long
    # (100 + 200 + 0.5 x 400) / 2.5
    assert coarsen(codes, weights, 2).tolist() == [[[200]]]


def test_a_square_of_sea_is_missing():
    codes = np.full((2, 4, 4), FILL, dtype="int16")
    codes[1, 3, 3] = 7
    expected = [[[FILL, FILL], [FILL, FILL]], [[FILL, FILL], [FILL, 7]]]
    assert coarsen(codes, np.ones(4), 2).tolist() == expected


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3, 6]), st.floats(0, 1))
def test_means_are_those_of_numpy(seed, factor, missing):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 1000, (2, 12, 6)).astype("int16")
    codes[rng.random(codes.shape) < missing] = FILL
    weights = rng.uniform(0.1, 1, 12)
    valid = np.where(codes == FILL, np.nan, codes)
    shape = (2, 12 // factor, factor, 6 // factor, factor)
    weight = np.where(np.isnan(valid), 0, weights[:, np.newaxis]).reshape(shape).sum((2, 4))
    total = np.nan_to_num(valid * weights[:, np.newaxis]).reshape(shape).sum((2, 4))
    found = coarsen(codes, weights, factor)
    assert ((found == FILL) == (weight == 0)).all()
    land = weight > 0
    np.testing.assert_allclose(found[land], total[land] / weight[land], atol=0.5 + 1e-9)


def test_a_square_has_the_flags_of_at_least_half_of_its_land():
    # Land: two pixels with a value, one frozen; the fourth is sea.
    codes = np.array([[[100, 200], [FILL, FILL]]], dtype="int16")
    flags = np.array([[[1, 1 | 4], [128 | 4, 0]]], dtype="uint16")
    assert gather_flags(flags, codes, 2).tolist() == [[[1 | 4]]]  # 2, 2 and 1 of 3
    flags[0, 0] = 0
    assert gather_flags(flags[:, :1], codes[:, :1], 1).tolist() == [[[0, 0]]]
    assert gather_flags(flags[:, 1:], codes[:, 1:], 1).tolist() == [[[128 | 4, 0]]]


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 3, 6]))
def test_flags_are_those_that_numpy_counts(seed, factor):
    rng = np.random.default_rng(seed)
    codes = np.where(rng.random((2, 12, 6)) < 0.4, FILL, 300).astype("int16")
    flags = rng.integers(0, 2**16, codes.shape, dtype="uint16")
    flags[rng.random(codes.shape) < 0.6] = 0
    shape = (2, 12 // factor, factor, 6 // factor, factor)
    land = ((codes != FILL) | (flags > 0)).reshape(shape).sum((2, 4))
    expected = np.zeros(land.shape, int)
    for bit in range(16):
        count = (flags >> bit & 1).reshape(shape).sum((2, 4))
        expected += np.where((count > 0) & (count >= land / 2), 2**bit, 0)
    np.testing.assert_array_equal(gather_flags(flags, codes, factor), expected)


def write_tile(store: Path, tile: Tile, seed: int) -> None:
    """Write random blocks of a tile, a third of it sea, one corner flagged, with their markers."""
    rng = np.random.default_rng(seed)
    sea = rng.random((48, 48)) < 0.33
    for window in LAYOUT.windows():
        codes = rng.integers(0, 600, (window.days, 48, 48)).astype("int16")
        codes[:, sea] = FILL
        layers = layers_of(codes)
        layers.quality[:, :12, :12] = np.where(sea[:12, :12], 0, PRODUCT_FLAGS["lst_filled"])
        objects = write_block(store, LAYOUT, Block(tile, window), layers)
        facts = {"checksum": blocks.checksum(codes)}
        blocks.write_marker(store, "predict", str(Block(tile, window)), "k", objects, **facts)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("overviews") / "ssm.zarr"
    create_product(store, LAYOUT, {})
    for seed, tile in enumerate(LAYOUT.tiles()):
        write_tile(store, tile, seed)
    assert write_overviews(store) == (61 + 1, 0)
    return store


@pytest.fixture
def store(written: Path, tmp_path: Path) -> Path:
    """A copy to be spoilt."""
    for name in ("ssm.zarr", "ssm.zarr.markers"):
        shutil.copytree(written.with_name(name), tmp_path / name)
    return tmp_path / "ssm.zarr"


@pytest.mark.parametrize(("degrees", "factor"), [(0.05, 6), (0.1, 12)])
def test_a_level_is_the_product_coarsened(written, degrees, factor):
    fine = open_product(written).ssm
    weights = np.cos(np.deg2rad(fine.lat)).broadcast_like(fine).where(fine.notnull())
    square = {"lat": factor, "lon": factor}
    total, weight = ((part).coarsen(square).sum() for part in (fine * weights, weights))
    expected = (total / weight).where(weight > 0)
    coarse = open_overview(written, degrees).ssm
    assert coarse.dims == ("time", "lat", "lon")
    np.testing.assert_allclose(coarse.lat, expected.lat, atol=1e-9)
    np.testing.assert_allclose(coarse.lon, expected.lon, atol=1e-9)
    np.testing.assert_array_equal(coarse.time, expected.time)
    np.testing.assert_allclose(coarse, expected, atol=0.5001e-3)


def test_spread_and_flags_are_coarse_too(written):
    coarse = open_overview(written, 0.1)
    assert coarse.ssm.notnull().all()  # a third is sea, pixel by pixel, but no whole cell
    np.testing.assert_allclose(coarse.ssm_spread, 0.02)
    flagged = (coarse.quality == PRODUCT_FLAGS["lst_filled"]).values
    assert flagged[:, 0, [0, 4]].all() and flagged.sum() == 2 * LAYOUT.days  # a corner of each tile
    assert "lst_filled" in coarse.quality.attrs["flag_meanings"]


def test_no_scratch_is_left_and_a_day_is_an_object(written):
    assert sorted(p.name for p in written.parent.iterdir()) == [
        "ssm.zarr", "ssm.zarr.lock", "ssm.zarr.markers",
    ]  # fmt: skip
    chunks = list((written / "overview_0p10" / "ssm" / "c").glob("*/0/0"))
    assert len(chunks) == LAYOUT.days


def test_what_is_done_is_skipped(store):
    assert write_overviews(store) == (0, 62)


def test_a_changed_block_redoes_its_window_only(store):
    tile, window = next(LAYOUT.tiles()), LAYOUT.windows()[1]
    codes = np.full((window.days, 48, 48), 123, dtype="int16")
    objects = write_block(store, LAYOUT, Block(tile, window), layers_of(codes))
    facts = {"checksum": blocks.checksum(codes)}
    blocks.write_marker(store, "predict", str(Block(tile, window)), "k", objects, **facts)
    assert write_overviews(store) == (1, 61)
    west = open_overview(store, 0.1).ssm[366:, :, :4]
    np.testing.assert_allclose(west, 0.123)


def test_days_that_are_added_leave_older_maps_as_they_are(store):
    maps = store / "overview_0p10" / "ssm" / "c"
    before = {path.name: (path / "0/0").read_bytes() for path in maps.iterdir()}
    longer = replace(LAYOUT, last_day=date(2019, 2, 27))
    create_product(store, longer, {})
    tile, window = next(LAYOUT.tiles()), longer.windows()[1]
    codes = np.full((window.days, 48, 48), 123, dtype="int16")
    objects = write_block(store, longer, Block(tile, window), layers_of(codes))
    facts = {"checksum": blocks.checksum(codes)}
    with pytest.raises(ValueError, match="is getting more days; run `gssm predict` to its end"):
        write_overviews(store)
    end_growth(store)
    blocks.write_marker(store, "predict", str(Block(tile, window)), "k", objects, **facts)
    assert open_overview(store, 0.1).sizes["time"] == LAYOUT.days
    assert write_overviews(store) == (2, 61)
    coarse = open_overview(store, 0.1).ssm
    assert coarse.sizes["time"] == LAYOUT.days + 2 and not is_growing(store)
    np.testing.assert_allclose(coarse[-7:, :, :4], 0.123)
    assert coarse.time.values[-1] == np.datetime64("2019-02-27")
    after = {path.name: (path / "0/0").read_bytes() for path in maps.iterdir()}
    assert {name: after[name] for name in map(str, range(366))} == {
        name: before[name] for name in map(str, range(366))
    }


def test_an_interrupted_pass_goes_on_with_what_is_left(store, monkeypatch):
    shutil.rmtree(store.with_name("ssm.zarr.markers") / "overview")
    reference = open_overview(store, 0.05).ssm.load()
    read, calls = overviews.coarsen, []

    def breaks(*arguments):
        calls.append(arguments)
        if len(calls) > 4:  # two levels and two means of the first block's only chunk
            raise OSError("the disk is full")
        return read(*arguments)

    monkeypatch.setattr(overviews, "coarsen", breaks)
    with pytest.raises(blocks.UnitsFailed, match=r"coarsen w00: 1 of its units failed.*\n.*disk"):
        write_overviews(store)
    scratch = store.with_name("ssm.zarr.overview_w00")
    kept = [p.name for p in scratch.with_name(f"{scratch.name}.markers").rglob("*.json")]
    assert kept == [f"{next(LAYOUT.tiles())}_w00.json"]
    calls.clear()
    monkeypatch.setattr(overviews, "coarsen", lambda *a: calls.append(a) or read(*a))
    assert write_overviews(store) == (62, 0)
    assert len(calls) == 12  # three blocks, two levels, two means
    assert not scratch.exists()
    np.testing.assert_array_equal(open_overview(store, 0.05).ssm, reference)


def test_a_level_cut_off_while_it_was_made_is_made_again(store):
    shutil.rmtree(store / "overview_0p10" / "ssm")
    shutil.rmtree(store.with_name("ssm.zarr.markers") / "overview")
    write_overviews(store)
    assert open_overview(store, 0.1).ssm.notnull().any()


def test_a_product_without_overviews_says_how_to_make_them(tmp_path):
    create_product(tmp_path / "ssm.zarr", LAYOUT, {})
    with pytest.raises(ValueError, match="has no overviews yet: run `gssm overviews"):
        open_overview(tmp_path / "ssm.zarr")
    with pytest.raises(ValueError, match=r"degrees is 0.2, expected one of \(0.05, 0.1\)"):
        open_overview(tmp_path / "ssm.zarr", 0.2)
