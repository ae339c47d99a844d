"""The invented world: its physics by hand, its files by independent readers."""

import hashlib
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import rasterio
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from rasterio.windows import Window

from gssm_cube.grid import Grid, Layout
from gssm_cube.sources import synthetic, synthetic_era5
from gssm_cube.sources.synthetic_ismn import place_stations
from gssm_cube.sources.world import SPINUP_DAYS, TAIL_DAYS, Bucket, Soil, World, pixel_sums

SMALL = Layout.covering((-32.0, 43.2, -31.2, 43.6), date(2018, 3, 1), date(2018, 3, 21), 48)
DEMO = Layout.covering((-32.0, 42.0, -30.4, 43.6), date(2018, 3, 1), date(2021, 2, 28), 96)


@dataclass
class Written:
    """The small world, its folder, its truth and what was told of its progress."""

    world: World
    raw: Path
    truth: Path
    told: list[tuple[str, int, int]]


def write(folder: Path, seed: int) -> Written:
    told: list[tuple[str, int, int]] = []
    raw, truth = folder / "raw", folder / "truth.zarr"
    synthetic.write_world(
        raw, SMALL, seed=seed, stations=16, progress=lambda *s: told.append(s), truth_store=truth
    )
    return Written(World(SMALL, seed), raw, truth, told)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write(tmp_path_factory.mktemp("small"), seed=0)


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def one_place(ridge: float = 0.0) -> Bucket:
    numbers = (50.0, 20.0, 30.0, 1.3, 0.0)  # sand, clay, silt, density, carbon
    bucket = Bucket(Soil(*(np.array([value]) for value in numbers)), np.array([ridge]))
    bucket.top = 0.2 * bucket.capacity
    return bucket


def test_the_same_seed_writes_the_same_bytes_and_another_seed_does_not(
    small: Written, tmp_path: Path
) -> None:
    first = digests(small.raw.parent)
    write(tmp_path / "again", seed=0)
    assert digests(tmp_path / "again") == first
    assert not np.array_equal(World(SMALL, 1).terrain.elv, small.world.terrain.elv)


def test_a_wet_day_raises_soil_moisture_by_the_rain_spread_over_six_centimetres() -> None:
    bucket = one_place()
    before = bucket.ssm
    bucket.step(np.array([3.0]), np.array([10.0]), np.array([0.0]))
    assert_allclose(bucket.ssm - before, 3.0 / 60)


def test_snow_waits_for_a_warm_day_and_then_melts_three_millimetres_a_degree() -> None:
    bucket = one_place()
    before = bucket.ssm
    bucket.step(np.array([5.0]), np.array([-1.0]), np.array([0.0]))
    assert_allclose(bucket.ssm, before)
    bucket.step(np.array([0.0]), np.array([1.0]), np.array([0.0]))
    assert_allclose(bucket.ssm - before, 3.0 / 60)
    assert_allclose(bucket.snow, 2.0)


def test_soil_moisture_stays_between_residual_and_porosity_and_valleys_are_wetter() -> None:
    assert one_place(-2.0).ssm > one_place(0.0).ssm > one_place(2.0).ssm
    bucket = one_place()
    bucket.step(np.array([500.0]), np.array([10.0]), np.array([0.0]))
    # clay 20 %: residual 0.02 + 0.024; density 1.3 without organic matter: porosity 1 - 1.3/2.65
    assert 0.044 < bucket.ssm[0] <= 1 - 1.3 / 2.65
    for _ in range(400):
        bucket.step(np.array([0.0]), np.array([25.0]), np.array([8.0]))
    assert_allclose(bucket.ssm, 0.044, atol=1e-3)


def test_the_water_of_a_day_is_kept_as_storage_or_evaporation() -> None:
    bucket = one_place()
    before = bucket.top + bucket.root + bucket.snow
    lost = bucket.step(np.array([4.0]), np.array([10.0]), np.array([3.0]))
    assert_allclose(bucket.top + bucket.root + bucket.snow, before + 4.0 - lost)


def test_totals_since_midnight_put_the_whole_day_at_the_next_00_utc() -> None:
    hourly = np.repeat([[1.0], [2.0], [3.0]], 24, axis=1)  # mm h-1 on three days
    stamps = synthetic_era5.since_midnight(hourly)
    assert stamps.shape == (48,)
    assert_allclose(stamps[:4], [24.0, 2.0, 4.0, 6.0])
    assert_allclose(stamps[24:28], [48.0, 3.0, 6.0, 9.0])


@pytest.fixture(scope="module")
def era5(small: Written) -> xr.Dataset:
    files = sorted((small.raw / "era5_land").glob("*.nc"))
    months = [xr.load_dataset(path, engine="netcdf4") for path in files]
    return xr.concat(months, "valid_time", data_vars="minimal", coords="different", compat="equals")


def test_era5_land_spans_a_year_before_and_a_day_after(era5: xr.Dataset) -> None:
    times = era5["valid_time"].values
    assert times[0] == np.datetime64("2017-03-01T00")
    assert times[-1] == np.datetime64("2018-03-22T23")
    assert (np.diff(times) == np.timedelta64(1, "h")).all()
    assert (np.diff(era5["latitude"]) < 0).all()
    assert era5["expver"].values[0] == "0001"
    assert era5["e"].attrs["units"] == "m of water equivalent"


def test_accumulations_give_back_the_daily_rain(small: Written, era5: xr.Dataset) -> None:
    weather = small.world.weather
    midnight = era5["tp"].sel(valid_time=era5["valid_time"].dt.hour == 0)
    rain = weather.rain.sum(axis=1)[: midnight.sizes["valid_time"]]  # of the day before each stamp
    land = ~np.isnan(midnight.values)
    assert 0.2 < land.mean() < 1
    assert_allclose(1000 * midnight.values[land], rain[land], rtol=1e-4, atol=1e-5)
    steps = era5["tp"].sel(valid_time="2018-03-05").diff("valid_time")[1:]
    assert float(steps.min()) >= -1e-9  # within a day nothing is taken back


def test_evaporation_is_negative_on_balance_with_some_dew(era5: xr.Dataset) -> None:
    midnight = era5["e"].sel(valid_time=era5["valid_time"].dt.hour == 0)
    yearly = 1000 * float(midnight.mean()) * 365
    assert -900 < yearly < -200  # mm
    assert float(era5["e"].max()) > 0


def test_sea_cells_are_missing_where_less_than_half_is_land(
    small: Written, era5: xr.Dataset
) -> None:
    land = small.world.terrain.land  # the layout and 18 pixels more, from the first cell's edge
    found = np.isfinite(era5["t2m"][0].values)
    for row, col in np.ndindex(found.shape):
        cell = land[12 * row : 12 * row + 12, 12 * col : 12 * col + 12]
        assert found[row, col] == (cell.mean() >= 0.5)
    latitude, longitude = era5["latitude"].values, era5["longitude"].values
    assert_allclose(latitude[[0, -1]], [43.7, 43.1])  # one cell more than 43.6 .. 43.2
    assert_allclose(longitude[[0, -1]], [-32.1, -31.1])


def modis(small: Written, name: str, folder: str = "mod11a1") -> rasterio.DatasetReader:
    return rasterio.open(small.raw / folder / f"{name}_aid0001.tif")


def sea(small: Written) -> NDArray[np.bool_]:
    return synthetic.Cutout(SMALL, small.world.land).source == small.world.land.sum()


def test_modis_pixels_lie_where_an_independent_projection_puts_them(small: Written) -> None:
    with modis(small, "MOD11A1.061_LST_Day_1km_doy2018060") as raster:
        sphere = CRS.from_proj4("+proj=longlat +R=6371007.181 +no_defs")
        to_degrees = Transformer.from_crs(CRS.from_wkt(raster.crs.to_wkt()), sphere, always_xy=True)
        x, y = raster.xy([0, 20, 47], [5, 30, 50])
        lon, lat = to_degrees.transform(x, y)
        rows = SMALL.grid.row_of(lat) - SMALL.row
        # On the global grid: whole pixels from 20015109 m west and 10007555 m north.
        edge = raster.transform.a
        assert_allclose(edge, 926.62543, atol=1e-5)
        offset = (raster.transform.c + 20015109.354) / edge
        assert_allclose(offset, np.rint(offset), atol=1e-4)
    assert_array_equal(rows, [0, 20, 47])
    assert_allclose(lat, SMALL.lat[[0, 20, 47]], atol=1e-9)
    source = synthetic.Cutout(SMALL, small.world.land).source
    assert raster.shape == source.shape
    number = np.full(SMALL.shape, small.world.land.sum())
    number[small.world.land] = np.arange(small.world.land.sum())
    for place in zip([0, 20, 47], [5, 30, 50], lon, strict=True):
        col = int(SMALL.grid.col_of(place[2])) - SMALL.col
        if 0 <= col < SMALL.shape[1]:
            assert source[place[:2]] == number[place[0], col]


def test_the_cutout_holds_every_corner_of_the_layout(small: Written) -> None:
    with modis(small, "MOD11A1.061_QC_Day_doy2018060") as raster:
        left, bottom, right, top = raster.bounds
        west, south, east, north = SMALL.bounds
        metre = np.radians(6371007.181)
    x = [lon * metre * np.cos(np.radians(lat)) for lon in (west, east) for lat in (south, north)]
    assert left <= min(x) < left + 927 and right - 927 < max(x) <= right
    assert_allclose([bottom, top], [south * metre, north * metre], atol=1e-3)


def test_lst_is_missing_in_clouds_and_at_sea_and_flags_say_which(small: Written) -> None:
    gaps = []
    for day in range(60, 81):
        with modis(small, f"MOD11A1.061_LST_Night_1km_doy2018{day:03d}") as raster:
            lst = raster.read(1)
            assert (raster.dtypes, raster.nodata, raster.scales) == (("uint16",), 0, (0.02,))
        qc = modis(small, f"MOD11A1.061_QC_Night_doy2018{day:03d}").read(1)
        assert_array_equal(lst == 0, (qc & 3) >= 2)
        assert set(np.unique(qc)) <= {0, 2, 3, 17, 65, 129, 193}
        assert_array_equal(qc == 3, sea(small))
        gaps.append(np.mean(qc[qc != 3] == 2))
    assert 0.15 < np.mean(gaps) < 0.6


def test_lst_files_hold_the_world_s_temperature_except_where_the_flags_are_poor(
    small: Written,
) -> None:
    kelvin = synthetic.surface_temperature(small.world, 0)["Day"]
    found = modis(small, "MOD11A1.061_LST_Day_1km_doy2018060").read(1) * 0.02
    qc = modis(small, "MOD11A1.061_QC_Day_doy2018060").read(1)
    wanted = np.append(kelvin, np.nan)[synthetic.Cutout(SMALL, small.world.land).source]
    seen = (qc & 3) < 2
    assert_allclose(found[seen & (qc < 128)], wanted[seen & (qc < 128)], atol=0.011)
    wrong = (wanted - found)[seen & (qc >= 128)]
    assert wrong.size and wrong.min() > 3.9 and wrong.max() < 9.1


def test_wet_soil_swings_eight_kelvin_and_dry_soil_twenty_two(small: Written) -> None:
    world = small.world
    lst = synthetic.surface_temperature(world, 3)
    ssm, soil = world.water.ssm[TAIL_DAYS + 3], world.soil
    share = (ssm - soil.residual) / (soil.porosity - soil.residual)
    season = 0.9 + 0.1 * world.weather.summer[SPINUP_DAYS + 3]
    error = lst["Day"] - lst["Night"] - season * (22 - 14 * share)
    assert_allclose(error.std(), 0.8 * np.sqrt(2), rtol=0.1)
    assert abs(error.mean()) < 0.1


def test_composites_restart_on_the_first_of_january() -> None:
    starts = synthetic.composite_starts(date(2019, 12, 1), date(2020, 1, 20))
    expected = ["2019-11-17", "2019-12-03", "2019-12-19", "2020-01-01", "2020-01-17"]
    assert_array_equal(starts, np.array(expected, "datetime64[D]"))
    # The last one of 2019 reaches three days into 2020; 23 begin in the year.
    assert synthetic.composite_starts(date(2020, 1, 1), date(2020, 12, 31)).size == 1 + 23
    assert synthetic.composite_starts(date(2020, 1, 4), date(2020, 12, 31)).size == 23


def test_composite_days_lie_in_their_composite_and_roll_over_the_year(small: Written) -> None:
    name = "MOD13A2.061__1_km_16_days_composite_day_of_the_year_doy2017353"
    with modis(small, name, "mod13a2") as raster:
        days = raster.read(1)
        assert (raster.dtypes, raster.nodata) == (("int16",), -1)
    assert set(np.unique(days)) == {-1, *range(353, 366), 1, 2, 3}


def test_clouded_composites_read_low(small: Written) -> None:
    stem = "MOD13A2.061__1_km_16_days_{}_doy2018065"
    with modis(small, stem.format("NDVI"), "mod13a2") as raster:
        ndvi = raster.read(1)
        assert (raster.nodata, raster.scales) == (-3000, (0.0001,))
    reliability = modis(small, stem.format("pixel_reliability"), "mod13a2").read(1)
    assert reliability.dtype == "int8"
    assert set(np.unique(reliability)) >= {-1, 0, 1, 3}
    assert_array_equal(ndvi == -3000, reliability == -1)
    assert ndvi[reliability == 0].mean() - ndvi[reliability == 3].mean() > 1200


def test_soil_fractions_sum_to_a_whole_and_have_a_hole_inland(small: Written) -> None:
    layers = []
    for name in ("clay", "sand", "silt"):
        with rasterio.open(small.raw / "soilgrids" / f"{name}_0-5cm_mean.tif") as raster:
            layers.append(raster.read(1).astype("int64"))
            bounds, pixel = raster.bounds, raster.res[0]
    valid = layers[0] != -32768
    assert_array_equal(sum(layers)[valid], 1000)
    west, south, east, north = SMALL.bounds
    margins = west - bounds.left, bounds.right - east, south - bounds.bottom, bounds.top - north
    assert min(margins) > 8 * pixel
    lat = bounds.top - pixel * (np.arange(valid.shape[0]) + 0.5)
    lon = bounds.left + pixel * (np.arange(valid.shape[1]) + 0.5)
    dry = small.world.terrain.relief.height(lat, lon) > 0
    hole = dry & ~valid
    assert_allclose(hole.sum() * pixel**2, np.pi * 0.0135**2, rtol=0.1)
    assert not (valid & ~dry).any()


def test_a_rim_of_merit_cells_counts_half_and_a_corner_a_quarter() -> None:
    cells = np.zeros((11, 11))
    cells[:, 0] = 1.0  # the west rim: 10 rows of half weight
    assert_allclose(pixel_sums(cells), [[5.0]])
    cells[:] = 0.0
    cells[0, 0] = 1.0
    assert_allclose(pixel_sums(cells), [[0.25]])
    assert_allclose(pixel_sums(np.ones((11, 21))), [[100.0, 100.0]])


def test_a_pixel_is_land_where_half_of_the_merit_file_is(small: Written) -> None:
    with rasterio.open(small.raw / "merit_hydro" / "n40w035_elv.tif") as raster:
        assert raster.shape == (6000, 6000) and raster.nodata == -9999
        assert_allclose(raster.bounds[:2], [-35 - 1 / 2400, 40 - 1 / 2400])
        # Pixel 0 of the layout spans 43.6 N, 32 W to 1/120 deg south and east of it.
        first = raster.index(-32.0, 43.6)
        elv = raster.read(1)
    weights = np.ones(11)
    weights[[0, -1]] = 0.5
    land = np.zeros(SMALL.shape, bool)
    for row, col in np.ndindex(*SMALL.shape):
        top, left = first[0] + 10 * row, first[1] + 10 * col
        dry = elv[top : top + 11, left : left + 11] != -9999
        land[row, col] = weights @ dry @ weights >= 50
    truth = xr.open_zarr(small.truth, consolidated=False)["ssm"]
    assert 0 < land.mean() < 1
    assert_array_equal(truth.notnull().values, np.broadcast_to(land, truth.shape))


def test_water_runs_down_the_steepest_way_into_a_pit_or_the_sea() -> None:
    pit = np.array([[3, 3, 3], [3, 1, 3], [3, 3, 3]], "float32")
    assert synthetic.flow_directions(pit, np.zeros(3))[1, 1] == 255
    # At the equator cells are square, 92.6625 m: a tenth of a MODIS 1 km pixel.
    elv = np.array([[9, 5, -9999], [9, 1, 4], [9, 8, 7]], "float32")
    codes = synthetic.flow_directions(elv, np.zeros(3))
    # 5 falls 5 m to the sea in the east, 4 m to the 1 in the south; the 1 has only the sea,
    # aslant; 4 falls 4 m to the sea in the north, 3 m to the 1. All others steepest to the 1.
    assert_array_equal(codes, [[2, 0, 247], [1, 0, 0], [128, 64, 32]])
    area = synthetic.upstream_area(elv, codes, np.zeros(3))
    cell = 0.0926625**2  # km2
    counts = np.array([[1, 1, np.nan], [1, 6, 1], [1, 1, 1]])
    assert_allclose(np.where(area == -9999, np.nan, area), counts * cell, rtol=1e-4)


def test_upstream_area_grows_downstream_in_the_files(small: Written) -> None:
    layers = {}
    for name in ("elv", "dir", "upa"):
        with rasterio.open(small.raw / "merit_hydro" / f"n40w035_{name}.tif") as raster:
            start = raster.index(-32.0, 43.6)
            layers[name] = raster.read(1, window=Window(start[1], start[0], 400, 400))
            size = Path(raster.name).stat().st_size
            assert size < 8_000_000  # sparse: a full tile would hold 36 million cells
    codes, upa, elv = layers["dir"], layers["upa"], layers["elv"]
    assert_array_equal(codes == 247, elv == -9999)
    moves = [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)]
    ways = {2**turn: move for turn, move in enumerate(moves)}  # clockwise from the east
    checked = 0
    for row, col in np.argwhere(np.isin(codes[1:-1, 1:-1], list(ways))) + 1:
        down, right = ways[int(codes[row, col])]
        assert upa[row + down, col + right] > upa[row, col]
        assert elv[row + down, col + right] < elv[row, col]
        checked += 1
    assert checked > 10_000


def test_the_water_table_is_negative_and_bedrock_is_in_centimetres(small: Written) -> None:
    wtd = xr.load_dataset(small.raw / "wtd" / "wtd_annualmean.nc", engine="netcdf4")["WTD"]
    inside = wtd.sel(lat=SMALL.lat, lon=SMALL.lon, method="nearest", tolerance=1e-9)
    assert_array_equal(np.isfinite(inside), small.world.land)
    assert float(inside.max()) < 0
    with rasterio.open(small.raw / "bedrock" / "BDTICM_M_1km_ll.tif") as raster:
        assert (raster.dtypes, raster.nodata) == (("int32",), -2147483648)
        assert_allclose((raster.bounds.left + 180) * 120 % 1, 0, atol=1e-6)
        depth = raster.read(1)
    assert 200 <= depth[depth != -2147483648].min() < depth.max() < 3100


def test_truth_is_the_world_s_soil_moisture_to_half_a_step(small: Written) -> None:
    truth = xr.open_zarr(small.truth, consolidated=False)["ssm"]
    assert truth.dims == ("time", "lat", "lon")
    assert truth.encoding["chunks"] == (366, 48, 48)
    assert truth.encoding["fill_value"] == truth.encoding["_FillValue"] == -32768
    assert truth.attrs["units"] == "m3 m-3"
    assert_array_equal(truth["time"].values.astype("datetime64[D]"), SMALL.time)
    days = small.world.water.ssm[TAIL_DAYS : TAIL_DAYS + SMALL.days]
    assert_allclose(truth.values[:, small.world.land], days, atol=0.000501)


def test_the_archive_lists_and_reads_as_ismn_does(small: Written) -> None:
    (path,) = (small.raw / "ismn").iterdir()
    assert path.name == "Data_separate_files_header_20180301_20180321_synthetic.zip"
    form = re.compile(
        r"(?P<net>\w+)/(?P<site>[\w-]+)/(?P=net)_(?P=net)_(?P=site)_"
        r"(static_variables\.csv|(sm|ts)_\d\.\d{6}_\d\.\d{6}_[\w-]+_20180301_20180321\.stm)"
    )
    line = re.compile(r"2018/03/\d\d \d\d:00 (-9999|-?\d+\.\d{1,3}) \w\d{0,2}(,\w\d\d)? M")
    with ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name != "Readme.txt"]
        assert all(form.fullmatch(name) for name in names)
        sites = {tuple(name.split("/")[:2]) for name in names}
        assert len(sites) == sum(name.endswith(".csv") for name in names) == 16
        for name in (name for name in names if name.endswith(".stm")):
            header, *lines = archive.read(name).decode().splitlines()
            network, again, _, lat, lon, _, top, bottom, _ = header.split()
            assert network == again == name.split("/")[0]
            assert small.world.land[
                SMALL.grid.row_of(float(lat)) - SMALL.row, SMALL.grid.col_of(float(lon)) - SMALL.col
            ]
            assert f"_{float(top):.6f}_{float(bottom):.6f}_" in name
            assert len(lines) > 150 and all(line.fullmatch(text) for text in lines)
        depths = {name.split("_")[-5] for name in names if "_sm_" in name}
    assert depths == {"0.050000", "0.050800", "0.000000", "0.100000", "0.200000"}


def test_48_stations_have_three_shared_pixels_and_five_networks() -> None:
    stations = place_stations(World(DEMO), 48)
    pixels = [station.pixel for station in stations]
    assert len(pixels) - len(set(pixels)) >= 3
    assert len({station.network for station in stations}) == 5
    assert len({station.name for station in stations}) == 48


def test_good_readings_follow_the_truth_and_frozen_ones_read_low(small: Written) -> None:
    (path,) = (small.raw / "ismn").iterdir()
    errors = []
    with ZipFile(path) as archive:
        for station in place_stations(small.world, 16):
            site = f"{station.network}/{station.name}/"
            name = next(n for n in archive.namelist() if n.startswith(site) and "_sm_0.0" in n)
            fields = [text.split() for text in archive.read(name).decode().splitlines()[1:]]
            noons = [f for f in fields if f[1] == "12:00" and f[3] == "G"]
            truth = small.world.water.ssm[:, station.pixel]
            for day, _, value, *_ in noons:
                index = (date(*map(int, day.split("/"))) - SMALL.first_day).days
                errors.append(float(value) - truth[TAIL_DAYS + index])
    assert len(errors) > 100
    assert np.std(errors) < 0.03  # a bias of 0.015 a station, noise of 0.005


def test_the_demo_layout_is_half_to_two_thirds_land_with_hills_and_a_coast() -> None:
    world = World(DEMO)
    assert 0.55 < world.land.mean() < 0.65
    assert 1100 < world.elevation.max() <= 1200
    quarters = [world.land[r : r + 96, c : c + 96] for r in (0, 96) for c in (0, 96)]
    assert sum(0.02 < quarter.mean() < 0.98 for quarter in quarters) >= 2


def test_progress_is_told_to_the_end_of_every_stage(small: Written) -> None:
    last = {stage: (done, total) for stage, done, total in small.told}
    assert set(last) == {path.name for path in small.raw.iterdir()} and len(last) == 8
    assert all(done == total for done, total in last.values())
    assert last["mod11a1"] == (84, 84)


@pytest.mark.parametrize(
    ("bounds", "grid"),
    [
        ((0.0, 89.0, 0.8, 89.4), Grid()),
        ((179.0, 10.0, 179.8, 10.4), Grid()),
        ((0.0, 40.0, 0.8, 40.4), Grid(240)),
    ],
)
def test_a_box_at_the_edge_of_the_map_or_another_resolution_is_refused(
    bounds: tuple[float, float, float, float], grid: Grid
) -> None:
    layout = Layout.covering(bounds, date(2018, 1, 1), date(2018, 1, 2), 48, grid)
    with pytest.raises(ValueError, match="expected 120 and a degree of room"):
        World(layout)
