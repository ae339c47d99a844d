"""The harmonised cube of the small world, recomputed from the raw files by other means."""

import logging
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
import xarray as xr

from gssm_cube import ingest
from gssm_cube.cube import METEO, STATE_VALUES, open_cube
from gssm_cube.grid import Tile
from gssm_cube.harmonise import memory
from gssm_cube.harmonise.memory import RECURSIVE
from gssm_cube.ingest.run import default_climate_years
from gssm_cube.storage.stores import array_of, open_group
from gssm_cube.variables import PREDICTORS, STORED, names_of

DAYS = (0, 1, 150, 365, 366, 369)  # the second window begins with day 366
INLAND = (30, 60)  # a pixel with land all round it


@pytest.fixture(scope="module")
def features(small_world):
    return open_cube(small_world.cube)


@pytest.fixture(scope="module")
def land(features):
    return features["land"].values == 1


@pytest.fixture(scope="module")
def hours(small_world):
    files = sorted((small_world.raw / "era5_land").glob("*.nc"))
    months = [xr.load_dataset(path, engine="netcdf4").drop_vars("expver") for path in files]
    return xr.concat(months, "valid_time", coords="minimal", compat="override")


def codes_of(small_world, path):
    return array_of(open_group(small_world.cube), path)


# ---- what is there ----------------------------------------------------------------------------


def test_no_land_pixel_day_is_missing_and_land_is_where_the_truth_is(small_world, features, land):
    truth = xr.open_zarr(small_world.folder / "truth.zarr", consolidated=False)["ssm"]
    np.testing.assert_array_equal(land, truth[0].notnull().values)
    assert 0.3 < land.mean() < 0.9 and land[:, :48].any() and land[:, 48:].any()
    for name, array in features.drop_vars("land").data_vars.items():
        values = array.values
        assert np.isfinite(values[..., land]).all(), name
        low, high = STORED[name].valid_range
        assert low <= values[..., land].min() <= values[..., land].max() <= high, name
        if STORED[name].group not in ("meteo", "climate", "reanalysis"):
            assert np.isnan(values[..., ~land]).all(), name


# ---- meteorology ------------------------------------------------------------------------------


def index_by_loop(hours, day, lat, lon, losses=1.0):
    """Sum 34 days of precipitation less evaporation, a term at a time."""
    total = 0.0
    for lag in range(34):
        stamp = day - np.timedelta64(lag, "D") + np.timedelta64(1, "D")  # totals of the day before
        cell = hours.sel(valid_time=stamp.astype("M8[ns]")).sel(
            latitude=lat, longitude=lon, method="nearest"
        )
        rain, upward = max(float(cell["tp"]) * 1000, 0.0), -float(cell["e"]) * 1000
        total += 0.91**lag * (rain - losses * upward)
    return total


def first_land_cell(hours, layout):
    """A cell of the layout that ERA5-Land holds, and the three south and east of it."""
    found = hours["t2m"][0].sel(
        latitude=layout.cell_lat, longitude=layout.cell_lon, method="nearest"
    )
    finite = np.isfinite(found.values)
    corners = finite[:-1, :-1] & finite[1:, :-1] & finite[:-1, 1:] & finite[1:, 1:]
    return tuple(int(place) for place in np.argwhere(corners)[0])


@pytest.mark.parametrize(("name", "losses"), [("apei", 1.0), ("api", 0.0)])
def test_indices_at_cell_centres_are_sums_over_34_days_of_raw_totals(
    small_world, hours, name, losses
):
    layout = small_world.layout
    row, col = first_land_cell(hours, layout)
    stored = codes_of(small_world, "meteo/cells")[METEO.index(name), :, row, col]
    for day in DAYS:
        expected = index_by_loop(
            hours, layout.time[day], layout.cell_lat[row], layout.cell_lon[col], losses
        )
        assert 0.1 * stored[day] == pytest.approx(expected, abs=0.051)


def test_a_pixel_between_four_cells_takes_from_each_by_distance(small_world, hours, features):
    layout = small_world.layout
    row, col = first_land_cell(hours, layout)
    # Pixel 8 of 12 southward and 6 of 12 eastward: its centre is 8.5 and 6.5 pixels on.
    south, east = 8.5 / 12, 6.5 / 12
    weights = np.outer([1 - south, south], [1 - east, east])
    pixel = features.isel(lat=12 * row + 8, lon=12 * col + 6)
    for day in (0, 366):
        cells = [
            [index_by_loop(hours, layout.time[day], lat, lon) for lon in layout.cell_lon[col:][:2]]
            for lat in layout.cell_lat[row:][:2]
        ]
        found = float(pixel["apei"][day])
        assert found == pytest.approx(float((weights * cells).sum()), abs=0.11)


def test_air_temperature_and_evaporation_are_of_the_utc_day(small_world, hours):
    layout = small_world.layout
    row, col = first_land_cell(hours, layout)
    place = dict(latitude=layout.cell_lat[row], longitude=layout.cell_lon[col], method="nearest")
    series = hours.sel(**place)
    tair = codes_of(small_world, "meteo/cells")[METEO.index("tair"), :, row, col]
    upward = codes_of(small_world, "meteo/cells")[METEO.index("evaporation"), :, row, col]
    for day in DAYS:
        midnight = layout.time[day].astype("M8[ns]")
        of_day = series["t2m"].sel(
            valid_time=slice(midnight, midnight + np.timedelta64(23, "h").astype("m8[ns]"))
        )
        assert of_day.size == 24
        assert 0.01 * tair[day] == pytest.approx(float(of_day.mean()) - 273.15, abs=0.0051)
        total = float(series["e"].sel(valid_time=midnight + np.timedelta64(1, "D")))
        assert 0.001 * upward[day] == pytest.approx(-1000 * total, abs=0.00051)


def test_a_sea_cell_takes_all_days_of_the_nearest_land_cell(small_world, hours):
    layout = small_world.layout
    first = hours["t2m"][0].sel(
        latitude=layout.cell_lat, longitude=layout.cell_lon, method="nearest"
    )
    onshore = np.argwhere(np.isfinite(first.values))
    stored = codes_of(small_world, "meteo/cells")[:]
    # Where the sun comes in it shines on the cell's own latitude.
    with_sun = {"pet", "surplus_11d", "surplus_50d", "wetness_slow", "wetness_fast"}
    with_sun |= {name for name in METEO if name.startswith("bucket")}
    same = [number for number, name in enumerate(METEO) if name not in with_sun]
    compared = 0
    for row, col in np.argwhere(np.isnan(first.values)):
        distances = np.hypot(*(onshore - (row, col)).T)
        nearest = onshore[distances == distances.min()]
        if len(nearest) == 1:
            i, j = nearest[0]
            np.testing.assert_array_equal(stored[same, :, row, col], stored[same, :, i, j])
            compared += 1
    assert compared


# ---- temperature of the surface ---------------------------------------------------------------


def modis_series(small_world, row, col, name, folder="mod11a1", product="MOD11A1.061"):
    """All values of a layer at a pixel's centre, placed by pyproj."""
    layout = small_world.layout
    project = pyproj.Proj(proj="sinu", R=6371007.181)
    place = project(layout.lon[col], layout.lat[row])
    values = {}
    for path in sorted((small_world.raw / folder).glob(f"{product}_{name}_doy*.tif")):
        with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="TRUE"), rasterio.open(path) as source:
            stamp = path.stem.split("_doy")[1][:7]
            day = np.datetime64(stamp[:4], "D") + int(stamp[4:]) - 1
            values[day] = int(next(source.sample([place]))[0])
    return values


@pytest.fixture(scope="module")
def observed(small_world):
    """LST in degC of an inland pixel by overpass; NaN where the bits do not allow it."""
    series = {}
    for time in ("Day", "Night"):
        numbers = np.array(list(modis_series(small_world, *INLAND, f"LST_{time}_1km").values()))
        quality = np.array(list(modis_series(small_world, *INLAND, f"QC_{time}").values()))
        good = np.isin(quality & 3, [0]) | ((quality & 3 == 1) & (quality < 128))
        series[time] = np.where(good & (numbers >= 7500), numbers * 0.02 - 273.15, np.nan)
    return series


def test_clear_pixel_days_hold_the_files_numbers_and_gaps_are_flagged(
    small_world, features, land, observed
):
    assert land[INLAND]
    pixel = features.isel(lat=INLAND[0], lon=INLAND[1])
    day, night = observed["Day"], observed["Night"]
    clear = np.isfinite(day) & np.isfinite(night)
    assert 50 < clear.sum() < 350
    np.testing.assert_allclose(pixel["lst"][clear], ((day + night) / 2)[clear], atol=0.0051)
    np.testing.assert_allclose(pixel["lst_diff"][clear], (day - night)[clear], atol=0.0051)
    flags = codes_of(small_world, "daily/quality")[:, INLAND[0], INLAND[1]]
    np.testing.assert_array_equal(flags & 1 > 0, np.isnan(day))
    np.testing.assert_array_equal(flags & 2 > 0, np.isnan(night))
    assert not (flags & 4).any()


def test_gaps_hold_the_season_and_the_day_s_departure_of_air_temperature(
    small_world, features, observed
):
    time = small_world.layout.time
    phase = 2 * np.pi / 365.25 * (time - time.astype("M8[Y]")).astype("float64")
    waves = [f(k * phase) for k in (1, 2, 3) for f in (np.cos, np.sin)]
    terms = np.stack([np.ones(time.size), *waves], axis=1)
    tair = features["tair"].isel(lat=INLAND[0], lon=INLAND[1]).values
    usual = terms @ np.linalg.lstsq(terms, tair, rcond=None)[0]
    filled = {}
    for name, values in observed.items():
        seen = np.isfinite(values)
        curve = terms @ np.linalg.lstsq(terms[seen], values[seen], rcond=None)[0]
        filled[name] = np.where(seen, values, curve + tair - usual)
    gaps = np.isnan(observed["Day"]) | np.isnan(observed["Night"])
    assert gaps.sum() > 50
    pixel = features.isel(lat=INLAND[0], lon=INLAND[1])
    expected = (filled["Day"] + filled["Night"]) / 2
    np.testing.assert_allclose(pixel["lst"], expected, atol=0.03)
    np.testing.assert_allclose(pixel["lst_diff"], filled["Day"] - filled["Night"], atol=0.03)


# ---- vegetation -------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "layer"), [("ndvi", "NDVI"), ("evi", "EVI")])
def test_vegetation_on_a_composite_s_day_is_a_weighted_cubic_of_its_neighbours(
    small_world, features, name, layer
):
    layout, (row, col) = small_world.layout, INLAND
    layers = {
        key: modis_series(small_world, row, col, f"_1_km_16_days_{key}", "mod13a2", "MOD13A2.061")
        for key in (layer, "pixel_reliability", "composite_day_of_the_year")
    }
    series = features[name].isel(lat=row, lon=col)
    raw = np.array([value for value in layers[layer].values() if value > -3000]) / 10000
    assert raw.min() - 0.05 < float(series.min()) <= float(series.max()) < raw.max() + 0.05
    for at in np.array(["2018-07-28", "2019-01-01", "2019-02-18"], "M8[D]"):
        near = []
        for start, own in layers["composite_day_of_the_year"].items():
            year = start.astype("M8[Y]") + (own < int((start - start.astype("M8[Y]")).astype(int)))
            apart = int((year.astype("M8[D]") + own - 1 - at).astype(int))
            if abs(apart) <= 48:
                weight = [1, 0.5, 0.2, 0.1][layers["pixel_reliability"][start]]
                near.append((apart, layers[layer][start] / 10000, weight))
        days, values, weights = np.array(near).T
        assert days.size >= 6
        # polyfit squares its weights.
        cubic = np.polynomial.polynomial.polyfit(days, values, 3, w=np.sqrt(weights))
        found = float(series[int((at - layout.time[0]).astype(int))])
        assert found == pytest.approx(cubic[0], abs=0.0002)


def test_vegetation_is_linear_between_composites(small_world, features):
    ndvi = features["ndvi"].isel(lat=INLAND[0], lon=INLAND[1])
    start = int((np.datetime64("2018-07-28") - small_world.layout.time[0]).astype(int))
    ends = ndvi.values[[start, start + 16]].astype("float64")
    expected = ends[0] + (ends[1] - ends[0]) * np.arange(17) / 16
    np.testing.assert_allclose(ndvi.values[start : start + 17], expected, atol=6e-5)


# ---- another first day ------------------------------------------------------------------------


def test_another_first_day_changes_neither_meteorology_nor_observed_lst(small_world, tmp_path):
    # The eastern tile alone, from day 350: what crosses a border of windows there does not here.
    whole = small_world.layout
    tile = Tile(whole.first_tile.row, whole.first_tile.col + 1)
    layout = replace(whole, first_tile=tile, tile_cols=1, first_day=date(2019, 2, 14))
    ingest.harmonise(tmp_path / "late.zarr", layout, small_world.folders)
    one = open_cube(small_world.cube).isel(time=slice(350, None), lon=slice(48, None))
    other = open_cube(tmp_path / "late.zarr")
    assert (one["time"] == other["time"]).all() and one.sizes["time"] == 20
    for name in RECURSIVE:  # spun up over a year that begins on another day
        scale = np.abs(other[name].values).max()
        np.testing.assert_allclose(one[name].values, other[name].values, atol=0.01 * scale)
    for name in ({*METEO} - {*RECURSIVE}) | {"ndvi", "evi", *names_of("static")}:
        np.testing.assert_array_equal(one[name].values, other[name].values)
    flags = codes_of(small_world, "daily/quality")[350:, :, 48:]
    seen = (flags == 0) & (one["land"].values == 1)
    assert seen.mean() > 0.2
    for name in ("lst", "lst_diff"):
        np.testing.assert_array_equal(one[name].values[seen], other[name].values[seen])


# ---- memory and climate -----------------------------------------------------------------------


def cell_weather(small_world, hours):
    """Daily weather of a land cell, lead-in included, from the raw hours."""
    layout = small_world.layout
    row, col = first_land_cell(hours, layout)
    place = dict(latitude=layout.cell_lat[row], longitude=layout.cell_lon[col], method="nearest")
    series = hours.sel(**place)
    days = np.arange(layout.time[0] - 365, layout.time[-1] + 1)
    closing = (days + 1).astype("M8[ns]")
    first, last = days[0].astype("M8[ns]"), closing[-1] - np.timedelta64(1, "h")
    kelvin = series["t2m"].sel(valid_time=slice(first, last)).values.reshape(-1, 24)
    rain = np.maximum(series["tp"].sel(valid_time=closing).values * 1000, 0)
    weather = {"precipitation": rain, "tair": kelvin.mean(axis=1) - 273.15}
    weather |= {"tmin": kelvin.min(axis=1) - 273.15, "tmax": kelvin.max(axis=1) - 273.15}
    return (row, col), days, weather


def test_memory_at_a_cell_is_that_of_the_raw_hours_run_in_one_go(small_world, hours):
    (row, col), days, weather = cell_weather(small_world, hours)
    lat = np.array(small_world.layout.cell_lat[row])
    state = memory.spin_up(weather, days, lat, 365)
    late = {name: values[336:] for name, values in weather.items()}
    expected, end = memory.memory_features(late, days[336:], lat, state)
    for name, values in expected.items():
        codes = codes_of(small_world, "meteo/cells")[METEO.index(name), :, row, col]
        stored = PREDICTORS[name].packing.decode(codes)
        step = PREDICTORS[name].packing.scale
        np.testing.assert_allclose(stored, values, atol=0.51 * step + 2e-4, err_msg=name)
    kept = codes_of(small_world, "meteo/state")[1, :, row, col]
    named = open_group(small_world.cube)["meteo"].attrs["state_values"]
    assert tuple(named) == end._fields and len(named) == STATE_VALUES
    np.testing.assert_allclose(kept, np.stack(end), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("last_day", "years"),
    [
        (date(2018, 12, 30), (2018, 2018)),  # nothing can be left out
        (date(2019, 3, 5), (2018, 2018)),
        (date(2021, 2, 28), (2018, 2019)),  # March 2020 to February 2021 is held out
        (date(2021, 12, 31), (2018, 2020)),
    ],
)
def test_the_climate_s_years_end_before_those_that_are_held_out(small_world, last_day, years):
    layout = replace(small_world.layout, last_day=last_day)
    assert default_climate_years(layout) == years


def test_the_climate_at_a_cell_is_that_of_the_years_that_are_not_held_out(small_world):
    # 2018-03 to 2019-03: of two calendar years the last is held out.
    layout, root = small_world.layout, open_group(small_world.cube)
    assert root["meteo"].attrs["climate_years"] == [2018, 2018]
    assert root["meteo"].attrs["spin_up"] == "365 days before the first"
    chosen = layout.time < np.datetime64("2019-01-01")
    stored = codes_of(small_world, "meteo/cells")[:, :, 2, 3]
    values = {n: PREDICTORS[n].packing.decode(stored[METEO.index(n)])[chosen] for n in METEO}
    tair = pd.Series(values["tair"], layout.time[chosen])
    expected = {
        "climate_precipitation": values["precipitation"].mean(),
        "climate_pet": values["pet"].mean(),
        "climate_p_pet": values["precipitation"].mean() / values["pet"].mean(),
        "climate_tair": values["tair"].mean(),
        "climate_tair_range": np.ptp(tair.groupby(tair.index.month).mean()),
        "climate_wet_days": (values["precipitation"] > 1).mean(),
        "climate_bucket": values["bucket_50"].mean(),
    }
    found = codes_of(small_world, "meteo/climate")[:, 2, 3]
    for name, code in zip(names_of("climate"), found, strict=True):
        packing = PREDICTORS[name].packing
        assert packing.decode(code) == pytest.approx(
            expected[name], abs=0.51 * packing.scale + 1e-4
        )


def test_the_mean_swing_of_the_surface_is_that_of_its_climatology(small_world, features, land):
    root = open_group(small_world.cube)
    day, night = (array_of(root, f"climatology/lst_{time}")[0] for time in ("day", "night"))
    found = features["climate_lst_diff"].values
    np.testing.assert_allclose(found[land], (day - night)[land], atol=0.0051)
    assert np.isnan(found[~land]).all()


def test_a_short_lead_in_is_spun_up_on_its_first_year_and_says_so(small_world, tmp_path, caplog):
    folders = small_world.link_raw(tmp_path / "raw")
    for month in ("2017_02", "2017_03", "2017_04"):
        for path in (tmp_path / "raw/era5_land").glob(f"*_{month}.nc"):
            path.unlink()
    layout = replace(small_world.layout, last_day=date(2018, 10, 31))
    with caplog.at_level(logging.WARNING):
        ingest.harmonise(tmp_path / "features.zarr", layout, folders)
    assert "begins 304 days before 2018-03-01, expected 365" in caplog.text
    attrs = open_group(tmp_path / "features.zarr")["meteo"].attrs
    assert attrs["spin_up"] == "304 days before the first, after the first year that there is"
    short, whole = open_cube(tmp_path / "features.zarr"), open_cube(small_world.cube)
    for name in ("bucket_50", "surplus_11d", "apei", "rain_30d"):
        np.testing.assert_allclose(
            short[name][0].values, whole[name][0].values, atol=0.03, err_msg=name
        )
