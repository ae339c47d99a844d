"""What ERA5-Land itself says of the soil: beside the predictors, where its files have it."""

import json
import logging

import numpy as np
import pytest
import xarray as xr
from era5_files import UNITS, hours, write_new

from gssm_cube import ingest
from gssm_cube.cube import open_cube, reanalysis_of
from gssm_cube.estimate import estimate_block
from gssm_cube.flags import PRODUCT_FLAGS
from gssm_cube.forest import PRESETS, load_forest
from gssm_cube.grid import Block, Layout
from gssm_cube.ingest import era5_days
from gssm_cube.physics import frozen
from gssm_cube.sampling.sample_store import open_samples
from gssm_cube.skill.trials import COLUMNS, complete_samples
from gssm_cube.sources import era5_land
from gssm_cube.storage.stores import array_of, open_group
from gssm_cube.variables import PREDICTORS, REANALYSIS

DAYS = np.arange(np.datetime64("2019-01-01"), np.datetime64("2019-01-04"))
LAYOUT = Layout.covering((-0.4, 10.0, 0.0, 10.4), DAYS[0].item(), DAYS[-1].item(), 48)
LAT, LON = LAYOUT.cell_lat, LAYOUT.cell_lon
SOIL_UNITS = UNITS | {"swvl1": "m**3 m**-3", "stl1": "K"}


def write_soil(path, first, last, water):
    """Write one value of water and of temperature (275 K) for each of some hours."""
    stamps = hours(first, last)
    values = np.broadcast_to(np.asarray(water)[:, None, None], (stamps.size, LAT.size, LON.size))
    fields = {"swvl1": values, "stl1": np.full_like(values, 275.0)}
    write_new(path, stamps, LAT, LON, fields, units=SOIL_UNITS)
    return era5_land.read_header(path)[0]


# ---- files ------------------------------------------------------------------------------------


def test_a_day_is_the_mean_of_its_24_hours_and_days_without_a_file_are_missing(tmp_path):
    water = np.r_[np.arange(24) / 100, np.full(24, 0.3)]
    file = write_soil(tmp_path / "a.nc", "2019-01-02T00", "2019-01-03T23", water)
    found, clipped = era5_days.daily_values("swvl1", [file], DAYS, LAYOUT)
    assert found.keys() == {"swvl1"} and clipped == 0
    assert np.isnan(found["swvl1"][0]).all()
    np.testing.assert_allclose(found["swvl1"][1], 0.115, rtol=1e-6)
    np.testing.assert_allclose(found["swvl1"][2], 0.3, rtol=1e-6)
    warmth, _ = era5_days.daily_values("stl1", [file], DAYS, LAYOUT)
    np.testing.assert_allclose(warmth["stl1"][1:], 1.85, atol=1e-4)


def test_daily_aggregates_are_taken_as_they_are(tmp_path):
    stamps = DAYS.astype("M8[h]")
    values = np.broadcast_to(np.array([0.1, 0.2, 0.3])[:, None, None], (3, LAT.size, LON.size))
    write_new(tmp_path / "daily.nc", stamps, LAT, LON, {"swvl1": values}, units=SOIL_UNITS)
    file, _ = era5_land.read_header(tmp_path / "daily.nc")
    found, _ = era5_days.daily_values("swvl1", [file], DAYS, LAYOUT)
    np.testing.assert_allclose(found["swvl1"], values, rtol=1e-6)


def test_water_in_percent_is_refused(tmp_path):
    file = write_soil(tmp_path / "a.nc", "2019-01-01T00", "2019-01-03T23", np.full(72, 30.0))
    with pytest.raises(ValueError, match="swvl1 spans 30 to 30 .*, expected -0.01 to 1"):
        era5_days.daily_values("swvl1", [file], DAYS, LAYOUT)


# ---- the cube ---------------------------------------------------------------------------------


def test_the_cube_holds_daily_means_of_its_cells(small_world):
    root = open_group(small_world.cube)
    assert reanalysis_of(root) == ("swvl1", "stl1")
    codes = np.asarray(array_of(root, "meteo/reanalysis")[:, :20])
    files = sorted((small_world.raw / "era5_land").glob("*2018_03.nc"))
    with xr.open_dataset(files[0], engine="netcdf4") as month:
        cells = dict(latitude=small_world.layout.cell_lat, longitude=small_world.layout.cell_lon)
        series = month[["swvl1", "stl1"]].sel(cells, method="nearest").isel(valid_time=slice(480))
        daily = series.resample(valid_time="1D").mean()
    for number, (name, offset) in enumerate({"swvl1": 0.0, "stl1": -273.15}.items()):
        expected = daily[name].values + offset
        land = np.isfinite(expected)
        found = REANALYSIS[name].packing.decode(codes[number])
        step = REANALYSIS[name].packing.scale
        assert land.any()
        np.testing.assert_allclose(found[land], expected[land], atol=0.51 * step + 1e-4)


def test_the_invented_reanalysis_follows_the_truth_and_is_biased(small_world):
    truth = xr.open_zarr(small_world.folder / "truth.zarr", consolidated=False)["ssm"].values
    swvl1 = open_cube(small_world.cube)["swvl1"].values
    known = np.isfinite(truth) & np.isfinite(swvl1)
    off = swvl1[known] - truth[known]
    assert np.corrcoef(swvl1[known], truth[known])[0, 1] > 0.5
    assert off.mean() > 0.01 and off.std() > 0.02


def test_no_forest_sees_it(small_run):
    assert not REANALYSIS.keys() & PREDICTORS.keys()
    assert not any(REANALYSIS.keys() & set(preset.features) for preset in PRESETS.values())
    assert not REANALYSIS.keys() & set(load_forest(small_run.folder / "forest").features)


def test_it_stands_beside_the_scores_of_new_stations_and_new_years(small_run):
    scores = json.loads((small_run.folder / "scores.json").read_text())
    samples = open_samples(small_run.folder / "samples")
    features = scores["forest"]["features"]
    known = complete_samples(samples, features, COLUMNS, least=2)
    off = known.more["swvl1"] - known.places["observed"]
    found = scores["new_stations"]["baseline"]["swvl1"]
    assert found["n"] == len(known.table)
    assert found["rmse"] == pytest.approx(np.sqrt(np.mean(off**2)))
    assert "rmse" in found["forest_less_baseline"]


# ---- without it -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare(small_world, short, tmp_path_factory):
    """Those days of the same world, whose ERA5-Land files hold weather alone."""
    folder = tmp_path_factory.mktemp("bare")
    folders = small_world.link_raw(folder / "raw")
    for path in folders["era5_land"].glob("*.nc"):
        with xr.open_dataset(path, engine="netcdf4") as month:
            weather = month.drop_vars(["swvl1", "stl1"]).load()
        path.unlink()
        weather.to_netcdf(path, engine="netcdf4")
    return folder / "features.zarr", short, folders


def test_a_run_without_it_says_so_and_goes_on_as_ever(bare, alone, small_world, caplog):
    store, short, folders = bare
    with caplog.at_level(logging.INFO, "gssm_cube"):
        ingest.harmonise(store, short, folders)
    said = [record.message for record in caplog.records if "files have no" in record.message]
    assert [text.split()[4] for text in said] == ["swvl1:", "stl1:"]
    ours, theirs = open_cube(store), open_cube(alone[0] / "features.zarr")
    assert set(theirs.data_vars) - set(ours.data_vars) == {"swvl1", "stl1"}
    for name in ("tair", "bucket_50", "climate_bucket", "lst"):
        np.testing.assert_array_equal(ours[name].values, theirs[name].values)


def test_a_cube_without_it_has_ground_frozen_by_the_air_s_week(bare, small_run, short):
    store = bare[0]
    block = Block(next(iter(short.tiles())), short.windows()[0])
    forest = load_forest(small_run.folder / "forest")
    quality = estimate_block(store, short, block, forest, "flag").quality
    features = open_cube(store).isel(lat=slice(48), lon=slice(48))
    cold = frozen(features["tair_7d"].values, features["swe"].values)
    land = features["land"].values == 1
    np.testing.assert_array_equal(quality & PRODUCT_FLAGS["frozen"] > 0, cold & land)


def test_a_cube_begun_without_it_stays_without(bare, short, small_world, caplog):
    store = bare[0]
    with caplog.at_level(logging.INFO, "gssm_cube"):
        steps = ingest.harmonise(store, short, small_world.folders)
    assert "was begun without swvl1" in caplog.text
    assert not reanalysis_of(open_group(store))
    assert "ERA5-Land's soil" not in set(steps["step"])
