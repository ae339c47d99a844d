"""Every fault of the input: told by the check with what to do, and never a silent wrong number."""

import json
import os
import re
import shutil
from contextlib import nullcontext
from dataclasses import replace
from datetime import date, timedelta

import netCDF4
import numpy as np
import pytest
import rasterio
import viirs_writer
from hdfeos_writer import write_lst
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from typer.testing import CliRunner

from gssm_cube import check, ingest
from gssm_cube.cli import app
from gssm_cube.commands.check_tables import duration
from gssm_cube.grid import Layout
from gssm_cube.ingest import inputs, survey
from gssm_cube.ingest.findings import Fault, Finding, ranges
from gssm_cube.settings import read_settings
from gssm_cube.sources import modis

FIRST = date(2019, 2, 14)  # of the fixture ``short``


@pytest.fixture
def folders(small_world, tmp_path):
    """Links to the provider files, to be removed or replaced by spoilt copies."""
    return small_world.link_raw(tmp_path / "raw")


@pytest.fixture
def run_file(small_world, folders, tmp_path):
    """Settings of a run of the last twenty days on these links."""
    path = small_world.write_settings(tmp_path)
    text = path.read_text().replace(str(small_world.raw), str(tmp_path / "raw"))
    path.write_text(text.replace("first_day = 2018-03-01", f"first_day = {FIRST}"))
    return path


def gssm_check(run_file, status):
    """Run the command; return what it printed, and its JSON by source."""
    target = run_file.with_name("check.json")
    words = ["check", str(run_file), "--json", str(target)]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "250"})
    assert result.exit_code == status, result.output
    report = json.loads(target.read_text())
    assert report["can_start"] == (status == 0)
    by_source = {finding["source"]: finding for finding in report["sources"]}
    return result.output, by_source | {"report": report}


def texts(finding, kind="faults"):
    return [fault["text"] for fault in finding[kind]]


def paths_of(folders, source, pattern):
    found = sorted(folders[source].glob(pattern))
    assert found, pattern
    return found


def own(path):
    """Replace a link by a copy, so that the shared file stays as it is."""
    copy = path.with_suffix(".copy")
    shutil.copy(path, copy)
    os.replace(copy, path)
    return path


# ---- a sound run ------------------------------------------------------------------------------


def test_a_sound_run_can_start_and_each_source_says_what_is_there_and_wanted(run_file):
    said, found = gssm_check(run_file, 0)
    assert "The run can start" in said
    report = found["report"]
    assert all(not finding["faults"] + finding["warnings"] for finding in report["sources"])
    # 365 days before the first, and 00 UTC after the last.
    assert found["ERA5-Land"]["wanted"].startswith("2018-02-14 to 2019-03-05 and 00 UTC after")
    assert found["MOD11A1"]["wanted"] == "2019-02-14 to 2019-03-05, 20 days"
    assert (found["MOD11A1"]["files"], found["MOD11A1"]["headers"]) == (80, 20)
    # 2019-02-02 is held; its smoother reaches back 63 days, that of 2019-03-06 ahead 48.
    assert found["MOD13A2"]["wanted"].startswith("2018-12-03 to 2019-04-23, 10 composites")
    assert found["MERIT Hydro"]["found"] == found["MERIT Hydro"]["wanted"] == "n40w035"
    assert found["ISMN"]["found"].startswith("12 stations of ")
    assert found["saved forest"]["found"] == "none yet"
    for source in ("SoilGrids", "water table", "bedrock", "disk"):
        assert source in said
    assert 0 < report["disk"]["needed"] < report["disk"]["free"]
    assert set(report["core_hours"]) == {
        "meteorology", "static layers", "LST", "vegetation", "prediction",
    }  # fmt: skip


# ---- each fault: the check tells it, the ingest stops at it ------------------------------------


def truncate_hdf(folders):
    """A day's cut-outs become a tile in HDF-EOS2 that lacks its end."""
    for path in paths_of(folders, "mod11a1", "*_doy2019050_*"):
        path.unlink()
    numbers = np.full((40, 40), 15000, "uint16")
    clear = np.zeros((40, 40), "uint8")
    layers = dict(zip(modis.LST_LAYERS, (numbers, clear, numbers, clear), strict=True))
    place = {"row": 5580, "col": 18900}  # where 43.4 N, 31.6 W lie in h15v04
    path = write_lst(folders["mod11a1"], date(2019, 2, 19), "h15v04", layers, **place)
    os.truncate(path, path.stat().st_size * 3 // 4)


def cut_netcdf(folders):
    path = own(paths_of(folders, "era5_land", "*_2018_05.nc")[0])
    os.truncate(path, path.stat().st_size // 2)


def cut_water_table(folders):
    """The water table as a classic NetCDF, behind whose end zeros would be read."""
    path = paths_of(folders, "wtd", "*.nc")[0]
    with netCDF4.Dataset(path) as source:
        lat, lon = source["lat"][:], source["lon"][:]
        heights = np.asarray(source["WTD"][:]).reshape(lat.size, lon.size)
    path.unlink()
    with netCDF4.Dataset(path, "w", format="NETCDF3_CLASSIC") as target:
        for name, values in {"lat": lat, "lon": lon}.items():
            target.createDimension(name, values.size)
            target.createVariable(name, "f8", (name,))[:] = values
        target.createVariable("WTD", "f4", ("lat", "lon"))[:] = heights
        target["WTD"].units = "m"
    os.truncate(path, path.stat().st_size // 2)


def cut_geotiff(folders):
    path = own(paths_of(folders, "mod13a2", "*_NDVI_doy2019049_*")[0])
    os.truncate(path, path.stat().st_size - 20)


def move_geotiff(folders):
    path = own(paths_of(folders, "mod11a1", "*_QC_Night_doy2019055_*")[0])
    with rasterio.open(path, "r+") as raster:
        raster.crs = CRS.from_epsg(4326)
        raster.transform = rasterio.Affine(1 / 120, 0, -32, 0, -1 / 120, 44)


def lose_month(folders):
    for path in paths_of(folders, "era5_land", "*_2018_05.nc"):
        path.unlink()


def double_day(folders):
    path = paths_of(folders, "mod11a1", "*_LST_Day_1km_doy2019050_*")[0]
    path.with_name(path.name.replace("aid0001", "aid0002")).hardlink_to(path)


def change_scale(folders):
    """From 19 February on the files state another scale."""
    for day in range(50, 65):
        path = own(paths_of(folders, "mod11a1", f"*_LST_Day_1km_doy2019{day:03d}_*")[0])
        with rasterio.open(path, "r+") as raster:
            raster.scales = (0.01,)


def change_units(folders):
    for month in ("2018_11", "2018_12", "2019_01"):
        path = own(paths_of(folders, "era5_land", f"*_{month}.nc")[0])
        with netCDF4.Dataset(path, "a") as file:
            file["tp"].units = "mm"


KINDS = {
    truncate_hdf: (
        "MOD11A1", r"A2019050\.h15v04\.061.*\.hdf", "is cut short|cannot be read", "download it",
    ),
    cut_netcdf: ("ERA5-Land", r"_2018_05\.nc", "cannot be opened|is cut short", "download it"),
    cut_water_table: ("water table", r"\.nc", "is cut short", "download it"),
    cut_geotiff: (
        "MOD13A2", r"NDVI_doy2019049_.*\.tif", "is cut short|cannot be read", "download it",
    ),
    move_geotiff: (
        "MOD11A1", r"QC_Night_doy2019055_.*\.tif", "is not on the MODIS 1 km", "order the native",
    ),
    lose_month: ("ERA5-Land", "era5_land", "lacks 31 days that this run needs", "download them"),
    double_day: ("MOD11A1", "2019-02-19", "is there twice", "leave"),
    change_scale: (
        "MOD11A1", r"doy20190\d\d_.*\.tif", "scale and offset are 0.01 and 0", "download it",
    ),
    change_units: ("ERA5-Land", r"_2018_11\.nc", "units of tp are 'mm', expected 'm'", "download"),
}  # fmt: skip


@pytest.mark.parametrize("spoil", KINDS, ids=lambda spoil: spoil.__name__)
def test_the_check_tells_the_fault_and_what_to_do(run_file, folders, spoil):
    source, named, message, advice = KINDS[spoil]
    spoil(folders)
    said, found = gssm_check(run_file, 1)
    assert "cannot start" in said
    fault = found[source]["faults"][0]
    assert advice in fault["advice"]
    assert any(part in fault["text"] for part in message.split("|"))
    assert not any(
        f["faults"] for f in found["report"]["sources"] if f["source"] not in (source, "disk")
    )


def harmonise_again(alone, short, tmp_path, folders):
    """Harmonise over a cube of the sound files: what a spoilt one reaches is read again."""
    shutil.copytree(alone[0], tmp_path / "cube")
    return ingest.harmonise(tmp_path / "cube" / "features.zarr", short, folders)


@pytest.mark.parametrize("spoil", KINDS, ids=lambda spoil: spoil.__name__)
def test_the_ingest_stops_with_one_error_that_names_the_file(
    alone, short, folders, tmp_path, spoil
):
    _, named, message, _ = KINDS[spoil]
    spoil(folders)
    with pytest.raises(
        (ValueError, FileNotFoundError, RuntimeError), match=f"{named}.*({message})"
    ):
        harmonise_again(alone, short, tmp_path, folders)


def write_h5(folder, product):
    """VIIRS tiles, as delivered, round 43.4 N, 31.6 W on 19 and 20 February; return the later."""
    for day in ("2019050", "2019051"):
        values = np.full((40, 40), 15000)
        place = {"row": 5580, "col": 18900}
        if product == "VNP13A2":
            layers = [values // 3, values // 4, 0 * values, 0 * values + 50]
            path = viirs_writer.write_vegetation(folder, "2019049", "h15v04", *layers, **place)
        else:
            layers = [values, 0 * values]
            path = viirs_writer.write_lst(folder, product, day, "h15v04", *layers, **place)
    return path


@pytest.mark.parametrize(("product", "source"), [("VNP21A1N", "VIIRS"), ("VNP13A2", "VNP13A2")])
def test_a_cut_h5_tile_is_a_fault_and_the_ingest_stops_at_it(
    run_file, folders, tmp_path, alone, short, product, source
):
    more = ("vnp21a1d", "vnp21a1n") if source == "VIIRS" else ("vnp13a2",)
    places = {name: tmp_path / name for name in more}
    paths = {name: write_h5(places[name], name.upper()) for name in more}
    lines = "".join(f'{name} = "{place}"\n' for name, place in places.items())
    run_file.write_text(run_file.read_text().replace("[training]", f"{lines}[training]"))
    _, found = gssm_check(run_file, 0)
    assert not found[source]["faults"]

    cut = paths[product.lower()]
    os.truncate(cut, cut.stat().st_size * 3 // 4)
    _, found = gssm_check(run_file, 1)
    (fault,) = found[source]["faults"]
    assert f"{cut.name} ({cut.stat().st_size} bytes) cannot be read" in fault["text"]
    assert "download it again" in fault["advice"]
    with pytest.raises((ValueError, RuntimeError), match=f"{cut.name} .*cannot be read"):
        harmonise_again(alone, short, tmp_path, folders | places)


def test_all_faults_are_told_at_once_with_their_counts_and_ranges(run_file, folders):
    for spoil in (lose_month, cut_geotiff, change_scale, double_day, cut_water_table):
        spoil(folders)
    paths_of(folders, "soilgrids", "clay*")[0].unlink()
    for path in paths_of(folders, "mod13a2", "*_doy2019081_*"):
        path.unlink()
    said, found = gssm_check(run_file, 1)
    assert found["ERA5-Land"]["missing"] == ["2018-05-01..2018-05-31"]
    assert found["MOD13A2"]["missing"] == ["2019-03-22"]
    assert found["SoilGrids"]["missing"] == ["clay"]
    wrong = texts(found["MOD11A1"])
    assert len([text for text in wrong if "scale and offset" in text]) == 15
    assert len([text for text in wrong if "is there twice" in text]) == 1
    assert len(wrong) == 16
    # Of fifteen alike three are written out.
    assert said.count("scale and offset are 0.01") == 3 and "... and 12 more like this" in said
    assert found["water table"]["faults"] and not found["bedrock"]["faults"]
    faults = [fault for finding in found["report"]["sources"] for fault in finding["faults"]]
    assert all(fault["advice"] and fault["text"] for fault in faults)


# ---- sensors beside Terra ---------------------------------------------------------------------

BESIDE = {  # key in the settings: Terra's folder, its layers, and what the other's files are called
    "myd11a1": ("mod11a1", r"MOD11A1\.061_(.*)", "MYD11A1.061_"),
    "myd13a2": ("mod13a2", r"MOD13A2\.061_(.*)", "MYD13A2.061_"),
    "vnp13a2": ("mod13a2", r"MOD13A2\.061_(.*)", "VNP13A2.002_"),
    "vnp21a1d": ("mod11a1", r"MOD11A1\.061_(?:LST_Day_1km|QC_Day)_(.*)", "VNP21A1D.002_"),
    "vnp21a1n": ("mod11a1", r"MOD11A1\.061_(?:LST_Night_1km|QC_Night)_(.*)", "VNP21A1N.002_"),
}


@pytest.fixture
def beside(run_file, folders):
    """Folders of Aqua and VIIRS named in the settings, with Terra's files under their names."""
    places = {key: run_file.with_name(key) for key in BESIDE}
    for key, (terra, pattern, product) in BESIDE.items():
        places[key].mkdir()
        for path in sorted(folders[terra].glob("*_doy*.tif")):
            day = date(int(path.name.split("_doy")[1][:4]), 1, 1)
            day += timedelta(int(path.name.split("_doy")[1][4:7]) - 1)
            if terra == "mod11a1" and day < FIRST or not (name := re.fullmatch(pattern, path.name)):
                continue
            write_beside(path, places[key], key, product, name[1], day)
    lines = "".join(f'{key} = "{place}"\n' for key, place in places.items())
    run_file.write_text(run_file.read_text().replace("[training]", f"{lines}[training]"))
    return places


def write_beside(path, place, key, product, rest, day):
    """Link to Terra's file, or write what differs: VIIRS LST has quality words of 16 bits."""
    if key == "myd13a2":  # Aqua's composites start eight days later
        later = day + timedelta(8)
        rest = rest.replace(f"_doy{day:%Y%j}_", f"_doy{later:%Y%j}_")
    if not key.startswith("vnp21"):
        (place / f"{product}{rest}").hardlink_to(path)
        return
    layer = "LST_1KM" if "_LST_" in path.name else "QC"
    with rasterio.open(path) as raster:
        profile = raster.profile | {"dtype": "uint16", "nodata": None}
        with rasterio.open(place / f"{product}{layer}_{rest}", "w", **profile) as target:
            target.write(raster.read(1).astype("uint16"), 1)


def test_sensors_beside_terra_have_rows_and_a_day_or_composite_that_they_hold_is_not_missed(
    run_file, folders, beside
):
    for source, day in (("mod11a1", 50), ("mod13a2", 49)):
        for path in paths_of(folders, source, f"*_doy2019{day:03d}_*"):
            path.unlink()
    _, found = gssm_check(run_file, 0)
    for source, files in {"MYD11A1": 80, "VIIRS": 80}.items():
        assert found[source]["found"] == "2019-02-14 to 2019-03-05, 20 days"
        assert found[source]["files"] == files
    assert (found["MYD11A1"]["headers"], found["VIIRS"]["headers"]) == (20, 40)
    for source in ("MYD13A2", "VNP13A2"):
        # Under the starts of Terra's composites, which the smoother reaches.
        assert found[source]["found"] == "2018-12-03 to 2019-04-23, 10 days"
        assert (found[source]["files"], found[source]["headers"]) == (40, 10)
    assert not found["MOD11A1"]["faults"] and not found["MOD13A2"]["faults"]


def change_type(path):
    """Numbers as they are after scaling, which no product stores."""
    with rasterio.open(path) as raster:
        values, profile = raster.read(1).astype("float32"), raster.profile
    path.unlink()
    with rasterio.open(path, "w", **profile | {"dtype": "float32", "nodata": None}) as raster:
        raster.write(values, 1)


def cut_end(path):
    os.truncate(path, path.stat().st_size - 20)


def test_a_wrong_file_of_a_sensor_beside_terra_is_a_fault_with_its_name(run_file, beside):
    wrong = {
        "MYD11A1": ("myd11a1", "*_QC_Night_doy2019055_*", cut_end, "cut short"),
        "MYD13A2": ("myd13a2", "*_EVI_doy2019057_*", change_type, "float32"),
        "VNP13A2": ("vnp13a2", "*_NDVI_doy2019049_*", change_type, "float32"),
        "VIIRS": ("vnp21a1n", "*_LST_1KM_doy2019060_*", cut_end, "cut short"),
    }
    names = {}
    for source, (key, pattern, spoil, _) in wrong.items():
        (path,) = paths_of(beside, key, pattern)
        spoil(own(path))
        names[source] = path.name
    _, found = gssm_check(run_file, 1)
    for source, (*_, message) in wrong.items():
        (text,) = texts(found[source])
        assert names[source] in text and message in text, text
        assert found[source]["faults"][0]["advice"]
    others = [f for f in found["report"]["sources"] if f["source"] not in wrong]
    assert not any(finding["faults"] for finding in others)


def test_viirs_by_night_without_a_layer_is_a_fault_and_days_that_it_lacks_are_listed(
    run_file, beside
):
    for pattern in ("*_QC_doy2019050_*", "*_doy2019051_*"):
        for path in paths_of(beside, "vnp21a1n", pattern):
            path.unlink()
    for path in paths_of(beside, "vnp21a1d", "*_doy2019051_*"):
        path.unlink()
    _, found = gssm_check(run_file, 1)
    (text,) = texts(found["VIIRS"])
    assert "VNP21A1N of 2019-02-19" in text and "lacks ['QC']" in text
    assert found["VIIRS"]["missing"] == ["2019-02-20"]


# ---- what becomes a gap is a warning ----------------------------------------------------------


def test_hours_in_two_files_are_a_warning_and_the_run_can_start(run_file, folders):
    path = paths_of(folders, "era5_land", "*_2018_05.nc")[0]
    shutil.copy(path, path.with_name("again_2018_05.nc"))
    _, found = gssm_check(run_file, 0)
    (warning,) = texts(found["ERA5-Land"], "warnings")
    assert warning == ("hours of 31 days are in more than one file: 2018-05-01..2018-05-31")


def write_tiles(folder, day, tiles):
    """Touch tiles of a day in HDF-EOS2: only their names count here."""
    for tile in tiles:
        (folder / f"MOD11A1.A{day:%Y%j}.{tile}.061.2021001000000.hdf").touch()


def test_outages_missing_days_and_absent_tiles_are_told_apart(small_world, tmp_path):
    # From 15 February to 3 March 2016 in h18v04 and h19v04; Terra was in safe mode until the 28th.
    first, last = date(2016, 2, 15), date(2016, 3, 3)
    layout = Layout.covering((14.41, 47.01, 15.19, 47.39), first, last, 48)
    days = [first + timedelta(n) for n in range(18)]
    lost = {date(2016, 2, 16), date(2016, 2, 20), date(2016, 2, 21), date(2016, 3, 1)}
    folder = tmp_path / "mod11a1"
    folder.mkdir()
    for day in set(days) - lost:
        write_tiles(folder, day, ["h18v04", "h19v04"][: 1 + (day.day != 2)])
    folders = small_world.folders | {"mod11a1": folder}
    looks, _ = survey.survey(folders, layout, known={}, version="1")
    finding = looks["mod11a1"].finding
    assert finding.outages == ["2016-02-20..2016-02-21"]
    assert finding.missing == ["2016-02-16", "2016-03-01"]
    assert any("lacks 2 days that this run needs" in fault.text for fault in finding.faults)
    (warning,) = finding.warnings
    assert warning.text.startswith("1 tiles are absent on 1 days on which others are there")
    assert "2016-03-02 h19v04" in warning.text


@pytest.mark.parametrize(
    ("day", "out"),
    [
        ("2000-10-25", False), ("2000-10-26", True), ("2000-10-30", True), ("2000-10-31", False),
        ("2001-06-14", False), ("2001-06-15", True), ("2001-07-02", True), ("2001-07-03", False),
    ],
)  # fmt: skip
def test_outages_of_the_first_years_are_known(day, out):
    assert modis.in_outage(date.fromisoformat(day)) == out


def test_a_tile_of_terrain_that_is_not_there_counts_as_sea_and_is_told(small_world, tmp_path):
    # A box over 40 N: tiles n40w035 and n35w035, of which the second is not there.
    layout = Layout.covering((-32.0, 39.7, -31.7, 40.3), date(2019, 2, 14), date(2019, 2, 15), 48)
    looks, _ = survey.survey(small_world.folders, layout, known={}, version="1")
    finding = looks["merit_hydro"].finding
    assert (finding.found, finding.wanted) == ("n40w035", "n35w035, n40w035")
    (warning,) = finding.warnings
    assert "n35w035" in warning.text and "download" in warning.advice


def test_a_missing_tile_where_bedrock_is_known_is_missing_land(small_world, tmp_path):
    folders = small_world.link_raw(tmp_path / "raw")
    for path in paths_of(folders, "merit_hydro", "n40w035_*"):
        path.rename(path.with_name(path.name.replace("n40w035", "n00w035")))
    looks, _ = survey.survey(folders, small_world.layout, known={}, version="1")
    finding = looks["merit_hydro"].finding
    assert finding.missing == ["n40w035"]
    assert "the map of bedrock has land" in finding.warnings[0].text
    assert "no MERIT Hydro tile" in finding.faults[0].text


# ---- stations, forest, disk -------------------------------------------------------------------


def test_a_cut_archive_a_wrong_table_and_a_changed_forest_are_faults(run_file, folders):
    archive = next((run_file.parent / "raw" / "ismn").glob("*.zip"))
    os.truncate(own(archive), archive.stat().st_size // 2)
    table = run_file.with_name("dutch.csv")
    table.write_text("network,station,lat\nA,b,52\n")
    (run_file.parent / "forest").mkdir()
    more = f'[stations]\ntables = ["{table}"]\n[training]'
    run_file.write_text(run_file.read_text().replace("[training]", more))
    _, found = gssm_check(run_file, 1)
    assert "is not a readable zip" in texts(found["ISMN"])[0]
    assert "dutch.csv" in texts(found["station tables"])[0]
    assert found["saved forest"]["faults"]


def test_an_unknown_preset_is_a_fault_and_the_costs_are_told_all_the_same(run_file):
    text = run_file.read_text().replace("[training]", '[training]\npreset = "best"')
    run_file.write_text(text)
    said, found = gssm_check(run_file, 1)
    assert "best" in texts(found["saved forest"])[0]
    assert found["report"]["core_hours"]["prediction"] > 0


def test_a_cube_of_other_days_is_a_fault_before_anything_runs(small_world, run_file):
    """The small world's cube begins on an earlier day than the settings ask for."""
    text = run_file.read_text()
    run_file.write_text(
        text.replace("[sources]", f'[stores]\ncube = "{small_world.cube}"\n[sources]')
    )
    said, found = gssm_check(run_file, 1)
    assert "2018-03-01" in texts(found["saved cube"])[0]
    assert "give another folder, or remove the store" in said


def test_terrain_whose_values_cannot_be_read_is_a_fault_and_all_counts_as_land(run_file, folders):
    path = own(paths_of(folders, "merit_hydro", "n40w035_elv.tif")[0])
    with rasterio.open(path) as raster:
        blocks = [
            (raster.get_tag_item(f"BLOCK_OFFSET_{col}_{row}", "TIFF", bidx=1), size)
            for (row, col), _ in raster.block_windows(1)
            if (size := raster.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=1))
        ]
    with path.open("r+b") as file:
        for start, size in blocks:
            file.seek(int(start))
            file.write(b"\xff" * int(size))
    said, found = gssm_check(run_file, 1)
    assert "n40w035_elv.tif cannot be read" in texts(found["MERIT Hydro"])[0]
    assert not found["report"]["land_known"] and "at most, for the land is not known" in said


def test_an_archive_without_soil_moisture_at_the_depth_is_a_fault(run_file):
    depth = "[stations]\ndepth = [0.9, 1.0]\n[training]"
    run_file.write_text(run_file.read_text().replace("[training]", depth))
    _, found = gssm_check(run_file, 1)
    assert "none of soil moisture at 0.9..1 m" in texts(found["ISMN"])[0]


def test_a_disk_that_is_too_small_is_a_fault(run_file, monkeypatch):
    usage = shutil._ntuple_diskusage(10**6, 10**6 - 1000, 1000)
    monkeypatch.setattr(check.shutil, "disk_usage", lambda place: usage)
    _, found = gssm_check(run_file, 1)
    (text,) = [fault["text"] for f in found["report"]["sources"] for fault in f["faults"]]
    assert "has 1 kB free, the run needs about" in text


def test_what_is_written_already_is_not_asked_for_again():
    disk = check.Disk(scratch=10.0, cube=100.0, product=30.0, written=90, free=1, place="/")
    assert disk.needed == 50.0
    assert replace(disk, written=500).needed == 0.0


# ---- many files -------------------------------------------------------------------------------


def opened(run_file):
    """Sources whose headers a check opens, and how many units of each."""
    units = {}

    def progress(stage, done, total):
        if stage.startswith("headers"):
            units[stage] = total

    settings = read_settings(run_file)
    report = check.check_run(settings, nullcontext, "1", progress)
    return report, units


def test_headers_that_were_sound_are_opened_again_only_when_their_file_changes(run_file, folders):
    _, units = opened(run_file)
    assert units["headers, MOD11A1"] == 20 and units["headers, MERIT Hydro"] == 1
    assert opened(run_file)[1] == {}
    path = own(paths_of(folders, "mod11a1", "*_LST_Day_1km_doy2019050_*")[0])
    os.truncate(path, path.stat().st_size - 20)
    for _ in range(2):  # what is wrong is not remembered as sound
        report, units = opened(run_file)
        assert units == {"headers, MOD11A1": 1}
        assert not report.can_start


def test_what_no_door_foresaw_is_told_beside_the_faults_of_other_files(
    run_file, folders, monkeypatch
):
    path = own(paths_of(folders, "mod11a1", "*_QC_Day_doy2019060_*")[0])
    os.truncate(path, path.stat().st_size - 20)

    def check_tiles(day, tell, check=modis.check_tiles):
        if "doy2019055" in str(day[""]["QC_Day"]):
            raise KeyError("surprise")
        check(day, tell)

    monkeypatch.setattr(survey.modis, "check_tiles", check_tiles)
    _, found = gssm_check(run_file, 1)
    surprise, cut = texts(found["MOD11A1"])
    assert surprise == "MOD11A1, 2019-02-24: KeyError: 'surprise'"
    assert "doy2019060" in cut and "cut short" in cut


def test_many_files_are_opened_by_the_run_s_workers(run_file, monkeypatch):
    monkeypatch.setattr(survey, "FEW", 1)
    monkeypatch.setattr(survey, "BATCH", 7)
    run_file.write_text(
        run_file.read_text().replace('kind = "none"', 'kind = "local"\nworkers = 1')
    )
    change = own(next((run_file.parent / "raw" / "mod11a1").glob("*_QC_Day_doy2019060_*")))
    os.truncate(change, change.stat().st_size - 20)
    _, found = gssm_check(run_file, 1)
    (text,) = texts(found["MOD11A1"])
    assert "doy2019060" in text


# ---- findings ---------------------------------------------------------------------------------


@given(st.sets(st.integers(0, 30)))
def test_ranges_hold_exactly_the_days_that_were_chosen(numbers):
    days = [date(2019, 1, 1) + timedelta(n) for n in range(31)]
    found = []
    for text in ranges([days[n] for n in sorted(numbers)], days):
        ends = [(date.fromisoformat(end) - days[0]).days for end in text.split("..")]
        found += range(ends[0], ends[-1] + 1)
    assert found == sorted(numbers)
    # Neighbours never stand in two ranges.
    assert len(ranges([days[n] for n in sorted(numbers)], days)) == sum(
        n - 1 not in numbers for n in numbers
    )


def test_composites_that_follow_one_another_are_one_range():
    starts = [date(2018, 12, 3), date(2018, 12, 19), date(2019, 1, 1), date(2019, 1, 17)]
    assert ranges([starts[1], starts[2]], starts) == ["2018-12-19..2019-01-01"]


@pytest.mark.parametrize(
    ("message", "text", "advice"),
    [
        ("a is x, expected y; convert it", "a is x, expected y", "convert it"),
        ("a; b; cut: download it again", "a; b", "cut: download it again"),
        ("layers are missing, download: a, b", "layers are missing", "download: a, b"),
        ("it is broken", "it is broken", "correct what is named, or leave it out"),
    ],
)
def test_an_error_is_parted_into_what_is_wrong_and_what_to_do(message, text, advice):
    fault = Fault.of(message)
    assert (fault.text, fault.advice) == (text, advice)


def test_the_same_fault_counts_once_and_beyond_a_thousand_they_are_only_counted():
    finding = Finding("a", "b")
    for number in [*range(1003), 5]:
        finding.tell(ValueError(f"file {number} is broken; mend it"))
    assert (len(finding.faults), finding.more_faults) == (1000, 3)
    assert len({fault.kind for fault in finding.faults}) == 1


def test_missing_days_travel_with_the_error():
    with pytest.raises(inputs.MissingDays) as error:
        inputs.check_complete("MOD11A1", "x", [date(2019, 1, 2)])
    assert error.value.days == [date(2019, 1, 2)]


@pytest.mark.parametrize(
    ("hours", "text"),
    [
        (0.001, "3.6 s"), (99 / 3600, "99 s"), (100 / 3600, "1.7 min"), (0.5, "30 min"),
        (2.0, "2 h"), (99.0, "99 h"), (240.0, "10 days"), (48e3, "2,000 days"),
    ],
)  # fmt: skip
def test_a_time_is_told_in_a_unit_that_reads_well(hours, text):
    assert duration(hours) == text
