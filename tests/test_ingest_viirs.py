"""VIIRS in the ingest: days without MODIS are bridged, and the cube says which sensor saw what."""

import json
import os
import re
import shutil

import numpy as np
import pytest
from raster_press import read_raster, write_raster

from gssm_cube import cube, ingest
from gssm_cube.flags import LST_FLAGS
from gssm_cube.harmonise.bridge import bridge_from_json
from gssm_cube.ingest import inputs
from gssm_cube.ingest.run import describe_gaps
from gssm_cube.storage.stores import array_of, open_group
from gssm_cube.variables import PREDICTORS

LINES = {"Day": (3.0, 0.9), "Night": (-1.0, 1.05)}  # MODIS = a + b x VIIRS, degC
LOST = ("2018-06-20", "2018-09-11", "2019-01-15")  # days that MODIS is taken from
NAMES = {"Day": "VNP21A1D", "Night": "VNP21A1N"}


def as_viirs(modis, quality, overpass):
    """Numbers that the bridge brings back to MODIS's, where MODIS is usable."""
    intercept, slope = LINES[overpass]
    usable = (modis >= 7500) & ((quality & 3 == 0) | ((quality & 3 == 1) & (quality >> 6 <= 1)))
    celsius = modis * 0.02 - 273.15
    numbers = np.round(((celsius - intercept) / slope + 273.15) / 0.02)
    return np.where(usable, numbers, 0).astype("uint16")


def write_viirs(modis_folder, folder):
    for path in sorted(modis_folder.rglob("MOD11A1.061_LST_*.tif")):
        overpass, stamp = re.search(r"LST_(Day|Night)_1km_(doy\d+)_", path.name).groups()
        other = path.with_name(path.name.replace(f"LST_{overpass}_1km", f"QC_{overpass}"))
        lst, profile = read_raster(path)
        numbers = as_viirs(lst, read_raster(other)[0], overpass)
        product = NAMES[overpass]
        place = folder / product.lower()
        place.mkdir(parents=True, exist_ok=True)
        for layer, values in {"LST_1KM": numbers, "QC": np.zeros_like(numbers)}.items():
            name = f"{product}.002_{layer}_{stamp}_aid0001.tif"
            write_raster(place / name, values, profile | {"nodata": None})
    return {product.lower(): folder / product.lower() for product in NAMES.values()}


def done(steps):
    """Units done by step, those without left out."""
    return {row.step: row.units for row in steps.itertuples() if row.units}


@pytest.fixture(scope="module")
def bridged(small_world, tmp_path_factory):
    """The small world's cube again, with VIIRS and without MODIS on three days."""
    folder = tmp_path_factory.mktemp("viirs")
    folders = small_world.link_raw(folder / "raw")
    folders |= write_viirs(folders["mod11a1"], folder)
    for day in LOST:
        stamp = np.datetime64(day)
        number = int((stamp - stamp.astype("M8[Y]").astype("M8[D]")).astype(int)) + 1
        for path in folders["mod11a1"].rglob(f"*_doy{day[:4]}{number:03d}_*"):
            path.unlink()
    store = small_world.copy_cube(folder)
    ingest.harmonise(store, small_world.layout, folders, refit_climatology=True)
    return store, folders


def daily(store, name):
    return array_of(open_group(store), f"daily/{name}")[:]


def flag(quality, name):
    return quality & LST_FLAGS[name] > 0


@pytest.fixture(scope="module")
def lost_days(small_world):
    return np.searchsorted(small_world.layout.time, np.array(LOST, "M8[D]"))


def test_the_bridge_of_the_cube_is_the_one_that_was_built_in(bridged):
    tables = bridge_from_json(open_group(bridged[0]).attrs["bridge_lst_viirs"])
    for overpass, table in zip(("Day", "Night"), tables.values(), strict=True):
        lines = table[table["kind"] == "line"]
        intercept, slope = LINES[overpass]
        assert len(lines) and lines["pairs"].sum() > 10_000
        # Numbers are whole: a hundredth of a kelvin is rounded away.
        middle = intercept + slope * 15.0
        np.testing.assert_allclose(lines["intercept"] + lines["slope"] * 15.0, middle, atol=0.02)
        np.testing.assert_allclose(lines["slope"], slope, atol=0.002)


def test_days_without_modis_come_out_as_with_it_and_say_so(small_world, bridged, lost_days):
    before, after = (daily(store, "quality")[lost_days] for store in (small_world.cube, bridged[0]))
    seen = ~flag(before, "lst_day_filled") & ~flag(before, "lst_night_filled")
    land = array_of(open_group(small_world.cube), "static/land")[:] == 1
    seen &= land & ~flag(before, "lst_missing")
    assert seen.any()
    for overpass in ("day", "night"):
        assert flag(after, f"lst_{overpass}_viirs")[seen].all()
        assert not flag(after, f"lst_{overpass}_filled")[seen].any()
    for name in ("lst", "lst_diff"):
        packing = PREDICTORS[name].packing
        old, new = (
            packing.decode(daily(store, name)[lost_days])
            for store in (small_world.cube, bridged[0])
        )
        np.testing.assert_allclose(new[seen], old[seen], atol=0.05)


def test_what_modis_saw_stays_and_what_neither_saw_is_filled(small_world, bridged, lost_days):
    kept = np.setdiff1d(np.arange(small_world.layout.days), lost_days)
    before, after = (daily(store, "quality")[kept] for store in (small_world.cube, bridged[0]))
    np.testing.assert_array_equal(after, before)  # VIIRS saw nothing more there
    seen = (before & 0b111 == 0) & (daily(small_world.cube, "lst")[kept] != cube.FILL)
    old, new = (daily(store, "lst")[kept] for store in (small_world.cube, bridged[0]))
    np.testing.assert_array_equal(new[seen], old[seen])
    after = daily(bridged[0], "quality")
    for overpass in ("day", "night"):
        assert not (
            flag(after, f"lst_{overpass}_viirs") & flag(after, f"lst_{overpass}_filled")
        ).any()


def test_what_came_from_viirs_is_counted(bridged):
    marker = json.loads(
        (bridged[0].with_name("features.zarr.markers") / "bridge" / "lst_viirs.json").read_text()
    )
    assert marker["day"]["classes"]["line"] >= 1
    assert re.search(r"\d+% from VIIRS", describe_gaps(bridged[0]))


def test_the_same_files_again_give_nothing_to_do(small_world, bridged):
    rows = ingest.harmonise(bridged[0], small_world.layout, bridged[1])
    assert (rows["units"] == 0).all() and "LST bridge" in set(rows["step"])


def test_a_changed_file_of_viirs_renews_its_window_and_leaves_the_bridge(
    small_world, bridged, tmp_path
):
    folders = bridged[1]
    store = tmp_path / "features.zarr"
    for name in (bridged[0].name, f"{bridged[0].name}.markers"):
        shutil.copytree(bridged[0].with_name(name), tmp_path / name)
    # 370 days from 2018-03-01: day 369 lies in window 1 and in the runs of days 352 and 368.
    (path,) = folders["vnp21a1d"].glob("*_LST_1KM_doy2019063_*")
    os.utime(path, (1.5e9, 1.5e9))
    rows = ingest.harmonise(store, small_world.layout, folders)
    assert done(rows) == {"VNP21A1 files": 2, "MOD11A1 files": 2, "LST blocks": 2}
    again = ingest.harmonise(store, small_world.layout, folders, refit_climatology=True)
    assert done(again)["LST bridge"] == 1 and done(again)["LST blocks"] == 4
    assert "LST climatology" not in done(again)  # of MODIS alone
    assert done(ingest.harmonise(store, small_world.layout, folders)) == {}


def test_a_day_that_no_sensor_saw_is_named(small_world, bridged):
    store, folders = bridged
    without = {name: path for name, path in folders.items() if not name.startswith("vnp")}
    with pytest.raises(FileNotFoundError, match="MOD11A1 .* lacks 3 days .* 2018-06-20"):
        inputs.find_inputs(without, small_world.layout)


def test_the_day_without_the_night_is_refused(small_world, bridged):
    folders = {name: path for name, path in bridged[1].items() if name != "vnp21a1n"}
    with pytest.raises(ValueError, match="of VIIRS only vnp21a1d is named"):
        inputs.find_inputs(folders, small_world.layout)
