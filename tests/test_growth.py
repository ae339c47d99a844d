"""A store grows by one replacement of its root's metadata; until then readers see the old one."""

import json
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
import xarray as xr
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from object_server import moto_server

from gssm_cube.grid import Block, Layout, Tile
from gssm_cube.product import Layers, create_product, open_product, write_block
from gssm_cube.storage import locations
from gssm_cube.storage.growth import (
    begin_growth,
    end_growth,
    forget_growth,
    is_growing,
    mend,
    next_file,
    set_attrs,
    whole_document,
)
from gssm_cube.storage.stores import array_of, created_whole, open_group, read_layout

# One tile; a window of 366 days and four days of the next.
LAYOUT = Layout(Tile(118, 372), 1, 1, date(2018, 3, 1), date(2019, 3, 5), 48)
LONGER = replace(LAYOUT, last_day=date(2019, 3, 8))


def layers(days, value):
    """Return layers of one tile: a value, none in the corner."""
    ssm = np.full((days, 48, 48), value, dtype="int16")
    ssm[:, 0, 0] = -32768
    return Layers(ssm, ssm // 10, np.zeros(ssm.shape, dtype="uint16"))


def block(layout, number):
    return Block(Tile(118, 372), layout.windows()[number])


@pytest.fixture
def store(tmp_path):
    """A product whose first window is 0.2 and whose second, short one is 0.3 m3 m-3."""
    path = tmp_path / "ssm.zarr"
    create_product(path, LAYOUT, {"forest_digest": "abc"})
    for number, value in enumerate((200, 300)):
        shape = layers(LAYOUT.windows()[number].days, value)
        write_block(path, LAYOUT, block(LAYOUT, number), shape)
    return path


def objects(store):
    """Bytes of all that is not metadata."""
    files = (path for path in store.rglob("*") if path.is_file() and path.name != "zarr.json")
    return {str(path.relative_to(store)): path.read_bytes() for path in files}


def read(store):
    return open_product(store).load()


def test_readers_see_nothing_of_new_days_until_all_at_once(store):
    before = read(store)
    create_product(store, LONGER, {"forest_digest": "abc", "history": "longer"})
    xr.testing.assert_identical(read(store), before)
    write_block(store, LONGER, block(LONGER, 1), layers(7, 300))
    xr.testing.assert_identical(read(store), before)
    assert read_layout(store) == LAYOUT
    end_growth(store)
    after = read(store)
    assert read_layout(store) == LONGER and after.attrs["history"] == "longer"
    assert after.attrs["time_coverage_end"] == "2019-03-09T00:00:00Z"
    assert after.sizes["time"] == 373 and after.time.values[-1] == np.datetime64("2019-03-08")
    assert after["time_bounds"].values[-1, 1] == np.datetime64("2019-03-09")
    for name in ("ssm", "ssm_spread", "quality"):
        np.testing.assert_array_equal(after[name][:370], before[name])
    np.testing.assert_allclose(after["ssm"][370:, 1:, 1:], 0.3)


@pytest.fixture
def far_store(store, monkeypatch):
    """The same product in an object store."""
    with moto_server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        url = f"s3://{server.make_bucket()}/ssm.zarr"
        create_product(url, LAYOUT, {"forest_digest": "abc"})
        for name, content in objects(store).items():
            locations.write(locations.join(url, name), content)
        yield url


def test_a_product_in_an_object_store_grows_all_at_once_as_well(store, far_store):
    for place in (store, far_store):
        create_product(place, LONGER, {"forest_digest": "abc", "history": "longer"})
        write_block(place, LONGER, block(LONGER, 1), layers(7, 300))
    assert read(far_store).sizes["time"] == 370 and is_growing(far_store)
    end_growth(far_store)
    end_growth(store)
    assert read(far_store).equals(read(store)) and read(far_store).attrs["history"] == "longer"
    assert not is_growing(far_store) and locations.read(next_file(far_store)) is None
    set_attrs(far_store, {"note": 3}, "ssm")
    assert read(far_store)["ssm"].attrs["note"] == 3
    assert whole_document(far_store)["consolidated_metadata"]["metadata"].keys() >= {"ssm", "time"}


def test_objects_of_whole_windows_are_not_touched(store):
    before = objects(store)
    create_product(store, LONGER, {})
    write_block(store, LONGER, block(LONGER, 1), layers(7, 300))
    end_growth(store)
    after = objects(store)
    touched = {name for name in before if after[name] != before[name]}
    assert touched == {"ssm/c/1/0/0", "ssm_spread/c/1/0/0"}
    assert after.keys() - before.keys() == {"time/c/1", "time_bounds/c/1/0"}


@pytest.mark.parametrize("consolidated", [None, True, False])
def test_plain_xarray_opens_a_product_before_and_after(store, consolidated):
    options = {"chunks": None, "consolidated": consolidated}
    create_product(store, LONGER, {})
    assert xr.open_zarr(store, **options).sizes["time"] == 370
    end_growth(store)
    assert xr.open_zarr(store, **options).sizes["time"] == 373


def test_a_growth_that_was_given_up_is_forgotten(store):
    before = read(store)
    create_product(store, LONGER, {})
    create_product(store, LAYOUT, {"forest_digest": "abc"})
    assert not is_growing(store) and not next_file(store).parent.exists()
    xr.testing.assert_identical(read(store), before)
    create_product(store, LONGER, {})
    longest = replace(LONGER, last_day=date(2020, 3, 5))
    create_product(store, longest, {})
    end_growth(store)
    assert read_layout(store) == longest


def test_the_end_of_a_growth_that_was_cut_short_is_made_up_for(store):
    create_product(store, LONGER, {})
    next_file(store).replace(store / "zarr.json")  # killed right after this
    assert read(store).sizes["time"] == 373
    assert zarr.open_array(str(store / "ssm"), mode="r").shape[0] == 370
    create_product(store, LONGER, {})
    assert zarr.open_array(str(store / "ssm"), mode="r").shape[0] == 373
    assert not is_growing(store)


def test_other_days_than_more_at_the_end_are_refused(store):
    later = replace(LAYOUT, first_day=date(2018, 3, 2), last_day=date(2019, 3, 8))
    shorter = replace(LAYOUT, last_day=date(2019, 3, 4))
    for other in (later, shorter):
        with pytest.raises(ValueError, match="spans .* the cube spans"):
            create_product(store, other, {})
    assert not LAYOUT.continues(LAYOUT) and LONGER.continues(LAYOUT)


def test_days_of_another_forest_are_refused_and_a_new_one_in_place_is_told(store, caplog):
    with pytest.raises(ValueError, match="forest abc, now it is def: days may be added by the s"):
        create_product(store, LONGER, {"forest_digest": "def"})
    assert not is_growing(store) and "anew" not in caplog.text
    create_product(store, LAYOUT, {"forest_digest": "def"})
    assert "forest abc, now it is def: all is predicted anew; `version` would keep" in caplog.text


def test_attributes_are_told_at_once_wherever_they_are_repeated(store):
    create_product(store, LONGER, {})
    set_attrs(store, {"units": "1"}, "ssm")
    set_attrs(store, {"note": "here"})
    for opened in (open_group(store), zarr.open_group(str(store), use_consolidated=False)):
        assert opened["ssm"].attrs["units"] == "1" and opened.attrs["note"] == "here"
        assert opened["ssm"].shape[0] == 370
    end_growth(store)
    for opened in (open_group(store), zarr.open_group(str(store), use_consolidated=False)):
        assert opened["ssm"].attrs["units"] == "1" and opened.attrs["note"] == "here"
        assert opened["ssm"].shape[0] == 373


def test_a_store_whose_root_repeats_nothing_grows_as_well(store):
    document = json.loads((store / "zarr.json").read_text())
    del document["consolidated_metadata"]
    (store / "zarr.json").write_text(json.dumps(document))
    before = read(store)
    create_product(store, LONGER, {})
    xr.testing.assert_identical(read(store), before)
    end_growth(store)
    assert read(store).sizes["time"] == 373


def test_mending_a_sound_store_writes_nothing(store):
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    mend(store)
    forget_growth(store)
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before


@settings(max_examples=20)
@given(steps=st.lists(st.integers(1, 500), min_size=1, max_size=4))
def test_a_store_that_grew_in_steps_is_one_that_was_made_at_once(steps, tmp_path_factory):
    folder = tmp_path_factory.mktemp("grown")
    days = np.cumsum(steps)

    def create(name, last):
        layout = replace(LAYOUT, last_day=LAYOUT.first_day + timedelta(days=int(last) - 1))
        create_product(folder / name, layout, {})

    create("grown", days[0])
    for last in days[1:]:
        create("grown", last)
        end_growth(folder / "grown")
    create("made", days[-1])
    grown, made = (open_group(folder / name) for name in ("grown", "made"))
    assert dict(grown.attrs) == dict(made.attrs)
    for name in sorted(made):
        one, other = array_of(grown, name), array_of(made, name)
        assert one.shape == other.shape and dict(one.attrs) == dict(other.attrs)
    for name in ("time", "time_bounds"):
        np.testing.assert_array_equal(array_of(grown, name)[:], array_of(made, name)[:])


def test_only_the_named_dimensions_of_the_named_groups_grow(tmp_path):
    with created_whole(tmp_path / "s.zarr") as root:
        for group in ("one", "other"):
            root.create_group(group).create_array(
                "a", shape=(3, 3), chunks=(2, 2), dtype="int16", dimension_names=("time", "lat")
            )
        root.create_array("scalar", data=np.array(1.0))
    begin_growth(tmp_path / "s.zarr", {"one": {"time": 5}}, {})
    end_growth(tmp_path / "s.zarr")
    root = open_group(tmp_path / "s.zarr")
    assert root["one/a"].shape == (5, 3) and root["other/a"].shape == (3, 3)
    assert whole_document(tmp_path / "s.zarr") == json.loads(
        (tmp_path / "s.zarr/zarr.json").read_text()
    )
