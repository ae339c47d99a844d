"""Aqua's LST and the vegetation of VIIRS and Aqua beside Terra's: bridged, used, and told apart."""

import re
from datetime import date, timedelta

import numpy as np
import pytest
from raster_press import read_raster, write_raster

from gssm_cube import ingest
from gssm_cube.flags import FLAGS
from gssm_cube.harmonise import vegetation
from gssm_cube.harmonise.bridge import bridge_from_json
from gssm_cube.ingest import inputs, scratch, sensors
from gssm_cube.ingest.composites import read_composites
from gssm_cube.ingest.run import describe_gaps
from gssm_cube.storage.stores import array_of, open_group
from gssm_cube.variables import PREDICTORS

AQUA = {"Day": (2.0, 0.95), "Night": (-0.5, 1.0)}  # Terra = a + b x Aqua, degC
LOST_DAY = "2018-09-11"
LOST_COMPOSITE = "2018-07-28"
VIIRS = (0.02, 0.97)  # Terra = a + b x VIIRS, of NDVI and EVI
AQUA_GREEN = (-0.03, 1.05)  # Terra = a + b x Aqua
LAG = 8  # days from Terra's composite to Aqua's (MOD13 user guide, Didan et al. 2015)


def stamp_of(day):
    when = date.fromisoformat(day)
    return f"doy{when.year}{when.timetuple().tm_yday:03d}"


def rewrite(source, target, change, **profile):
    values, about = read_raster(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_raster(target, change(values), about | profile)


def write_aqua(terra, folder):
    """MYD11A1 that the bridge brings back to Terra's, with Terra's own flags."""
    for path in sorted(terra.glob("MOD11A1.061_LST_*.tif")):
        overpass = re.search("LST_(Day|Night)", path.name)[1]
        intercept, slope = AQUA[overpass]

        def change(numbers, intercept=intercept, slope=slope):
            celsius = numbers * 0.02 - 273.15
            aqua = np.round(((celsius - intercept) / slope + 273.15) / 0.02)
            return np.where(numbers > 0, aqua, 0).astype("uint16")

        rewrite(path, folder / path.name.replace("MOD", "MYD"), change)
        quality = path.with_name(path.name.replace(f"LST_{overpass}_1km", f"QC_{overpass}"))
        (folder / quality.name.replace("MOD", "MYD")).hardlink_to(quality)
    return folder


def index_before(line, lowest, fill):
    """What changes numbers of Terra's index into those that a line brings back to them."""
    intercept, slope = line

    def index(numbers):
        other = np.round((numbers / 1e4 - intercept) / slope * 1e4)
        return np.where(numbers > -3000, np.clip(other, lowest, 10000), fill).astype("int16")

    return index


def write_viirs_vegetation(terra, folder):
    """VNP13A2 on Terra's own dates; its ranks 1, 4, 8 and 9 stand for MOD13's 0 to 3."""
    index = index_before(VIIRS, -10000, -15000)

    def rank(ranks):
        return np.array([1, 4, 8, 9, -1], "int16")[ranks]

    for path in sorted(terra.glob("MOD13A2.061_*.tif")):
        layer = re.search("_1_km_16_days_(.*)_doy", path.name)[1]
        change = {"NDVI": index, "EVI": index, "pixel_reliability": rank}.get(layer, lambda v: v)
        name = path.name.replace("MOD13A2.061", "VNP13A2.002")
        rewrite(path, folder / name, change, nodata=None)
    return folder


def write_aqua_vegetation(terra, folder):
    """MYD13A2 with Terra's own ranks, each composite and each pixel's date eight days later."""
    index = index_before(AQUA_GREEN, -2000, -3000)

    def later(days):  # of a year of 365 days; -1 is fill
        return np.where(days > 0, (days - 1 + LAG) % 365 + 1, days).astype("int16")

    changes = {"NDVI": index, "EVI": index, "composite_day_of_the_year": later}
    for path in sorted(terra.glob("MOD13A2.061_*.tif")):
        layer, year, day = re.search(r"_16_days_(.*)_doy(\d{4})(\d{3})_", path.name).groups()
        start = date(int(year), 1, 1) + timedelta(int(day) - 1 + LAG)
        name = path.name.replace("MOD", "MYD").replace(f"doy{year}{day}", stamp_of(str(start)))
        rewrite(path, folder / name, changes.get(layer, lambda values: values))
    return folder


@pytest.fixture(scope="module")
def beside(small_world, tmp_path_factory):
    """The small world's cube with both, without Terra's LST of a day and one composite."""
    folder = tmp_path_factory.mktemp("partners")
    folders = small_world.link_raw(folder / "raw")
    folders["myd11a1"] = write_aqua(folders["mod11a1"], folder / "myd11a1")
    folders["vnp13a2"] = write_viirs_vegetation(folders["mod13a2"], folder / "vnp13a2")
    lost = [*folders["mod11a1"].glob(f"*_{stamp_of(LOST_DAY)}_*"),
            *folders["mod13a2"].glob(f"*_{stamp_of(LOST_COMPOSITE)}_*")]  # fmt: skip
    assert len(lost) == 8
    for path in lost:
        path.unlink()
    store = small_world.copy_cube(folder)
    steps = ingest.harmonise(store, small_world.layout, folders, refit_climatology=True)
    return store, folders, steps


@pytest.fixture(scope="module")
def greener(small_world, tmp_path_factory):
    """The small world's cube with Aqua's vegetation, without one of Terra's composites."""
    folder = tmp_path_factory.mktemp("greener")
    folders = small_world.link_raw(folder / "raw")
    folders["myd13a2"] = write_aqua_vegetation(folders["mod13a2"], folder / "myd13a2")
    lost = [*folders["mod13a2"].glob(f"*_{stamp_of(LOST_COMPOSITE)}_*")]
    assert len(lost) == 4
    for path in lost:
        path.unlink()
    store = small_world.copy_cube(folder)
    ingest.harmonise(store, small_world.layout, folders)
    return store


def array(store, path):
    return array_of(open_group(store), path)[:]


def has(quality, name):
    return quality & FLAGS[name] > 0


def composite_number(store):
    """Place of the lost composite on the cube's axis."""
    axis = array_of(open_group(store), "composite/time")
    starts = np.datetime64(axis.attrs["units"].split()[-1]) + axis[:]
    return int(np.flatnonzero(starts == np.datetime64(LOST_COMPOSITE))[0])


@pytest.fixture(scope="module")
def terra(small_world, tmp_path_factory):
    """Terra's composites of both indices, with the one that ``greener`` lacks."""
    place, layout = tmp_path_factory.mktemp("terra") / "scratch", small_world.layout
    scratch.create_scratch(place, layout)
    files = inputs.find_vegetation(small_world.folders["mod13a2"], layout)
    reader = sensors.ModisVegetation(files)
    for unit in scratch.vegetation_units(layout):
        scratch.VegetationComposite(place, reader, layout, "")(unit)
    every = (slice(None),) * 3
    return {name: read_composites(open_group(place), "terra", name, *every)
            for name in ("ndvi", "evi")}  # fmt: skip


def test_the_frozen_bridges_are_the_lines_that_were_built_in(beside):
    attrs = open_group(beside[0]).attrs
    for overpass, table in bridge_from_json(attrs["bridge_lst_aqua"]).items():
        intercept, slope = AQUA[overpass.capitalize()]
        lines = table[table["kind"] == "line"]
        assert len(lines)
        middle = lines["intercept"] + lines["slope"] * 15.0
        np.testing.assert_allclose(middle, intercept + slope * 15.0, atol=0.02)
    tables = bridge_from_json(attrs["bridge_vegetation_viirs"], ("ndvi", "evi"))
    for table in tables.values():
        lines = table[table["kind"] == "line"]  # in percent
        assert len(lines) and lines["pairs"].sum() > 5000
        middle = lines["intercept"] + lines["slope"] * 40.0
        np.testing.assert_allclose(middle, 100 * VIIRS[0] + VIIRS[1] * 40.0, atol=0.03)


def test_a_day_without_terra_comes_out_as_with_it_and_says_aqua(small_world, beside):
    day = int(np.searchsorted(small_world.layout.time, np.datetime64(LOST_DAY)))
    before, after = (array(s, "daily/quality")[day] for s in (small_world.cube, beside[0]))
    land = array(small_world.cube, "static/land") == 1
    seen = land & (before == 0)
    assert seen.mean() > 0.05
    assert has(after, "lst_day_aqua")[seen].all() and has(after, "lst_night_aqua")[seen].all()
    assert not has(after, "lst_day_filled")[seen].any()
    packing = PREDICTORS["lst"].packing
    old, new = (packing.decode(array(s, "daily/lst")[day]) for s in (small_world.cube, beside[0]))
    np.testing.assert_allclose(new[seen], old[seen], atol=0.05)


def test_a_lost_composite_takes_viirs_where_that_is_good_and_keeps_its_values(small_world, beside):
    number = composite_number(small_world.cube)
    before, after = (array(s, "composite/quality")[number] for s in (small_world.cube, beside[0]))
    land = array(small_world.cube, "static/land") == 1
    good = land & ~has(before, "vegetation_filled")
    assert good.mean() > 0.2
    np.testing.assert_array_equal(has(after, "vegetation_viirs"), good)
    # VIIRS is as bad as Terra was elsewhere, and stands in nowhere else.
    np.testing.assert_array_equal(has(after, "vegetation_filled"), land & ~good)
    others = np.delete(array(beside[0], "composite/quality"), number, axis=0)
    assert not has(others, "vegetation_viirs").any()
    for name in ("ndvi", "evi"):
        old, new = (
            array(s, f"composite/{name}")[number][good] for s in (small_world.cube, beside[0])
        )
        # A window that loses its cloudy values (weight 0.1) with the composite moves a little.
        assert np.median(np.abs(new - old)) < 20 and np.abs(new - old).max() < 600


def test_a_lost_composite_takes_aqua_s_of_eight_days_later_on_its_own_dates(
    small_world, greener, terra
):
    number = composite_number(greener)
    before, after = (array(s, "composite/quality")[number] for s in (small_world.cube, greener))
    land = array(greener, "static/land") == 1
    good = land & ~has(before, "vegetation_filled")
    np.testing.assert_array_equal(has(after, "vegetation_aqua"), good)
    np.testing.assert_array_equal(has(after, "vegetation_filled"), land & ~good)
    others = np.delete(array(greener, "composite/quality"), number, axis=0)
    assert good.mean() > 0.2 and not has(others, "vegetation_aqua").any()
    at = np.array([LOST_COMPOSITE], "M8[D]")
    lost = inputs.vegetation_starts(small_world.layout) == at
    for name, seen in terra.items():
        # Terra's own composite, as if seen eight days later, and on its dates.
        later, same = (
            vegetation.smooth_composites(
                seen.values, seen.dates + lag * lost[:, None, None], seen.weights, at
            )[0]
            for lag in (LAG, 0)
        )
        new = PREDICTORS[name].packing.decode(array(greener, f"composite/{name}")[number])
        moves = good & (np.abs(later - same) > 0.005)
        assert moves.sum() > 100
        errors = np.abs(new - later)[moves]
        # The cloudy values of this composite (weight 0.1) are lost, hence the tail.
        assert np.median(errors) < 0.001
        assert np.median(np.abs(new - same)[moves]) > 5 * np.median(errors)


def test_the_frozen_bridge_of_aqua_s_vegetation_is_the_line_that_was_built_in(greener):
    tables = bridge_from_json(open_group(greener).attrs["bridge_vegetation_aqua"], ("ndvi", "evi"))
    for table in tables.values():
        lines = table[table["kind"] == "line"]  # in percent
        assert len(lines) and lines["pairs"].sum() > 5000
        middle = lines["intercept"] + lines["slope"] * 40.0
        np.testing.assert_allclose(middle, 100 * AQUA_GREEN[0] + AQUA_GREEN[1] * 40.0, atol=0.03)


def test_what_partners_gave_is_told(beside):
    line = describe_gaps(beside[0])
    assert re.search(r"0% from Aqua, 0% from VIIRS, 0 of \d+ pixel-days missing", line)
    assert re.search(r"vegetation: \d+% filled, 0% from Aqua, \d% from VIIRS, 0% provisional", line)
    assert {"LST bridge", "vegetation bridge", "MYD11A1 files", "VNP13A2 files"} <= set(
        beside[2]["step"]
    )


def test_the_same_files_again_give_nothing_to_do(small_world, beside):
    assert (ingest.harmonise(beside[0], small_world.layout, beside[1])["units"] == 0).all()
