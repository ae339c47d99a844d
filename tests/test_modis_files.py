"""Files of MODIS products: found by day and tile in all their forms, and checked for gaps."""

from datetime import date
from itertools import product
from pathlib import Path

import pytest

from gssm_cube.ingest.inputs import file_paths
from gssm_cube.sources import modis
from gssm_cube.sources.modis_files import (
    LST_LAYERS,
    PRODUCTS,
    VEGETATION_LAYERS,
    parse_name,
)

VEGETATION_NAMES = tuple(f"_1_km_16_days_{layer}" for layer in VEGETATION_LAYERS)
STAMP = "2021001000000"


def touch(folder, name, layers, days, ending="aid0001.tif"):
    folder.mkdir(exist_ok=True)
    for layer, day in product(layers, days):
        (folder / f"{name}.061_{layer}_doy{day}_{ending}").touch()


def touch_tiles(folder, name, tiles, days, endings=(".hdf",), stamp=STAMP):
    folder.mkdir(exist_ok=True)
    for tile, day, ending in product(tiles, days, endings):
        (folder / f"{name}.A{day}.{tile}.061.{stamp}{ending}").touch()


def test_cutouts_are_found_by_day_and_layer(tmp_path):
    touch(tmp_path / "a", "MOD11A1", LST_LAYERS, ["2020366", "2019001"])
    touch(tmp_path / "b", "MOD11A1", ["Clear_day_cov"], ["2019001"])
    touch(tmp_path / "b", "MOD13A2", VEGETATION_NAMES, ["2019001"])
    (tmp_path / "a" / "MOD11A1.061_LST_Day_1km_doy2019001_aid0001.tif.aux.xml").touch()
    files = modis.find_files(tmp_path, "MOD11A1", LST_LAYERS)
    assert list(files) == [date(2019, 1, 1), date(2020, 12, 31)]  # 2020 has a day 366
    assert set(files[date(2019, 1, 1)][""]) == set(LST_LAYERS)
    night = files[date(2020, 12, 31)][""]["QC_Night"]
    assert night.name == "MOD11A1.061_QC_Night_doy2020366_aid0001.tif"


def test_cutouts_whose_names_say_the_hour_are_found(tmp_path):
    touch(tmp_path / "a", "MYD11A1", LST_LAYERS, ["2019032000000"])
    assert list(modis.find_files(tmp_path, "MYD11A1", LST_LAYERS)) == [date(2019, 2, 1)]


def test_vegetation_of_either_size_goes_by_the_same_layers(tmp_path):
    touch(tmp_path / "a", "MOD13A2", VEGETATION_NAMES, ["2018065"])
    files = modis.find_files(tmp_path, "MOD13A2", VEGETATION_LAYERS)
    assert list(files) == [date(2018, 3, 6)]
    assert files[date(2018, 3, 6)][""]["NDVI"].name.startswith("MOD13A2.061__1_km_16_days_NDVI")
    fine = [f"_500m_16_days_{layer}.tif" for layer in (*VEGETATION_LAYERS, "VI_Quality")]
    touch_tiles(tmp_path / "b", "MYD13A1", ["h10v06"], ["2022201"], fine)
    files = modis.find_files(tmp_path, "MYD13A1", VEGETATION_LAYERS)
    assert set(files[date(2022, 7, 20)]["h10v06"]) == set(VEGETATION_LAYERS)


def test_hdf_tiles_are_found_one_file_a_tile(tmp_path):
    touch_tiles(tmp_path / "2019", "MOD11A1", ["h18v04", "h19v04"], ["2019001", "2019002"])
    files = modis.find_files(tmp_path, "MOD11A1", LST_LAYERS)
    assert {day: list(tiles) for day, tiles in files.items()} == {
        date(2019, 1, 1): ["h18v04", "h19v04"],
        date(2019, 1, 2): ["h18v04", "h19v04"],
    }
    path = tmp_path / "2019" / f"MOD11A1.A2019002.h19v04.061.{STAMP}.hdf"
    assert files[date(2019, 1, 2)]["h19v04"] == {"hdf": path}
    assert len(list(file_paths(files))) == 4


def test_geotiff_tiles_are_found_by_tile_and_layer(tmp_path):
    endings = [f"_{layer}.tif" for layer in LST_LAYERS]
    touch_tiles(tmp_path / "a", "MOD11A1", ["h18v04", "h19v04"], ["2019001"], endings)
    files = modis.find_files(tmp_path, "MOD11A1", LST_LAYERS)
    day = files[date(2019, 1, 1)]
    assert {tile: set(paths) for tile, paths in day.items()} == {
        "h18v04": set(LST_LAYERS), "h19v04": set(LST_LAYERS)
    }  # fmt: skip
    assert day["h19v04"]["QC_Day"].name == f"MOD11A1.A2019001.h19v04.061.{STAMP}_QC_Day.tif"


@pytest.mark.parametrize(
    ("name", "layer", "day"),
    [
        ("MOD13A1_NDVI_2016_001.tif", "NDVI", date(2016, 1, 1)),
        ("MOD13A1_EVI_2016_366.tif", "EVI", date(2016, 12, 31)),
        ("MOD13A1_Rely_2016_017.tif", "pixel_reliability", date(2016, 1, 17)),
        ("MOD13A1_DOY_2016_017.tif", "composite_day_of_the_year", date(2016, 1, 17)),
        ("MOD13A1.061_NDVI_20160301.tif", "NDVI", date(2016, 3, 1)),
        ("MOD13A1.2016-03-01.EVI.TIF", "EVI", date(2016, 3, 1)),
    ],
)
def test_other_names_are_understood_if_they_say_product_layer_and_day(name, layer, day):
    found = parse_name(Path(name), "MOD13A1", VEGETATION_LAYERS)
    assert (found.day, found.tile, found.layer) == (day, "", layer)


@pytest.mark.parametrize(
    "name", ["MOD13A1_VI_Quality_2016_001.tif", "MOD13A1_NDVIs_2016_001.tif", "MOD13A1_NDVI.csv"]
)
def test_files_of_other_layers_and_kinds_are_left_alone(name):
    assert parse_name(Path(name), "MOD13A1", VEGETATION_LAYERS) is None


@pytest.mark.parametrize(
    "name",
    [
        "MOD11A1.LST_Day_1km.tif",
        "MOD11A1_LST_Day_1km_2019_366.tif",
        "MOD11A1_LST_Day_1km_2019_000.tif",
        "MOD11A1.LST_Day_1km.20190230.tif",
        "MOD11A1.A2019001.061.2021001000000.hdf",
    ],
)
def test_names_without_a_day_or_tile_are_refused(name):
    with pytest.raises(
        ValueError, match="its name says no day, or no tile, expected such as MOD11"
    ):
        parse_name(Path(name), "MOD11A1", LST_LAYERS)


@pytest.mark.parametrize(
    "name",
    ["MOD11A1.A2019001.h18v04.006.2021001000000.hdf", "MOD11A1.006_QC_Day_doy2019001_aid0001.tif"],
)
def test_an_older_collection_is_refused(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"is of collection 006, expected 061; older"):
        modis.find_files(tmp_path, "MOD11A1", LST_LAYERS)


def test_a_day_without_a_layer_is_refused_by_date_and_layer(tmp_path):
    touch(tmp_path / "a", "MOD11A1", LST_LAYERS, ["2019001"])
    touch(tmp_path / "a", "MOD11A1", LST_LAYERS[:3], ["2019002"])
    with pytest.raises(FileNotFoundError, match=r"MOD11A1 of 2019-01-02 .* lacks \['QC_Night'\]"):
        modis.find_files(tmp_path, "MOD11A1", LST_LAYERS)


def test_a_tile_without_a_layer_is_refused_by_tile(tmp_path):
    endings = [f"_{layer}.tif" for layer in LST_LAYERS]
    touch_tiles(tmp_path / "a", "MOD11A1", ["h18v04"], ["2019001"], endings)
    touch_tiles(tmp_path / "a", "MOD11A1", ["h19v04"], ["2019001"], endings[1:])
    message = r"MOD11A1 of 2019-01-01, tile h19v04, in .* lacks \['LST_Day_1km'\]"
    with pytest.raises(FileNotFoundError, match=message):
        modis.find_files(tmp_path, "MOD11A1", LST_LAYERS)


def test_two_areas_in_one_folder_are_refused_rather_than_mixed(tmp_path):
    touch(tmp_path / "a", "MOD11A1", LST_LAYERS, ["2019001"])
    touch(tmp_path / "a", "MOD11A1", ["QC_Day"], ["2019001"], "aid0002.tif")
    with pytest.raises(ValueError, match="MOD11A1 of 2019-01-01 is there twice"):
        modis.find_files(tmp_path, "MOD11A1", LST_LAYERS)


@pytest.mark.parametrize("ending", [".hdf", "_QC_Day.tif"])
def test_two_productions_of_a_tile_are_refused_naming_both(tmp_path, ending):
    touch_tiles(tmp_path / "a", "MOD11A1", ["h18v04"], ["2019001"], [ending], "2021001000000")
    touch_tiles(tmp_path / "b", "MOD11A1", ["h18v04"], ["2019001"], [ending], "2021077111111")
    message = (
        r"MOD11A1 of 2019-01-01, tile h18v04, is there twice: .*h18v04\.061\.2021001000000"
        r".* and .*h18v04\.061\.2021077111111.*; leave the production"
    )
    with pytest.raises(ValueError, match=message):
        modis.find_files(tmp_path, "MOD11A1", LST_LAYERS)


@pytest.mark.parametrize("other", ["cut-out", "tile"])
def test_two_forms_of_a_day_are_refused_naming_both(tmp_path, other):
    touch_tiles(tmp_path / "a", "MOD11A1", ["h18v04"], ["2019001"])
    if other == "cut-out":
        touch(tmp_path / "b", "MOD11A1", LST_LAYERS, ["2019001"])
    else:  # even where it is another tile
        touch_tiles(tmp_path / "b", "MOD11A1", ["h19v04"], ["2019001"], ["_QC_Day.tif"])
    message = f"MOD11A1 of 2019-01-01 is there in two forms: HDF-EOS2 tile .* and GeoTIFF {other}"
    with pytest.raises(ValueError, match=message):
        modis.find_files(tmp_path, "MOD11A1", LST_LAYERS)


def test_different_days_may_come_in_different_forms(tmp_path):
    touch_tiles(tmp_path / "a", "MOD11A1", ["h18v04"], ["2019001"])
    touch(tmp_path / "b", "MOD11A1", LST_LAYERS, ["2019002"])
    files = modis.find_files(tmp_path, "MOD11A1", LST_LAYERS)
    assert [list(tiles) for tiles in files.values()] == [["h18v04"], [""]]
    assert modis.missing_tiles(files) == {}


def test_a_folder_without_files_is_refused(tmp_path):
    touch(tmp_path / "a", "MOD11A1", LST_LAYERS, ["2019001"])
    with pytest.raises(FileNotFoundError, match=r"no MOD13A2\.061 GeoTIFF .* or HDF-EOS2 tile"):
        modis.find_files(tmp_path, "MOD13A2", VEGETATION_LAYERS)


def test_tiles_that_only_some_days_have_are_named_by_day(tmp_path):
    touch_tiles(tmp_path / "a", "MOD11A1", ["h18v04", "h19v04", "h20v04"], ["2019001"])
    touch_tiles(tmp_path / "a", "MOD11A1", ["h19v04"], ["2019002"])
    touch_tiles(tmp_path / "a", "MOD11A1", ["h18v04", "h19v04", "h20v04"], ["2019003"])
    files = modis.find_files(tmp_path, "MOD11A1", LST_LAYERS)
    assert modis.missing_tiles(files) == {date(2019, 1, 2): ["h18v04", "h20v04"]}
    near = modis.only_tiles(files, {"h18v04"})
    assert {day.day: list(tiles) for day, tiles in near.items()} == {1: ["h18v04"], 3: ["h18v04"]}
    assert modis.missing_tiles(modis.only_tiles(files, {"h19v04"})) == {}


def test_fields_go_by_the_names_that_nasa_gives_them():
    assert PRODUCTS["MYD11A1"].field("QC_Night") == "QC_Night"
    assert PRODUCTS["MOD13A2"].field("NDVI") == "1 km 16 days NDVI"
    found = PRODUCTS["MOD13A1"].field("composite_day_of_the_year")
    assert found == "500m 16 days composite day of the year"


@pytest.mark.parametrize(
    ("day", "out"),
    [(date(2020, 8, 15), False), (date(2020, 8, 16), True), (date(2022, 4, 17), True),
     (date(2022, 4, 18), False), (date(2016, 2, 20), False)],
)  # fmt: skip
def test_aqua_has_outages_of_its_own(day, out):
    assert modis.in_outage(day, "MYD11A1") == out


@pytest.mark.parametrize(
    ("day", "out"),
    [
        (date(2016, 2, 17), False),
        (date(2016, 2, 18), True),
        (date(2016, 2, 28), True),
        (date(2016, 2, 29), False),
        (date(2022, 10, 9), False),
        (date(2022, 10, 19), True),
        (date(2022, 10, 20), False),
    ],
)
def test_known_outages_begin_and_end_on_their_days(day, out):
    assert modis.in_outage(day) == out
