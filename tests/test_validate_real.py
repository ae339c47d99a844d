"""Real stations and products of the kit: figures that independent sums give, or that were seen."""

import io
import zipfile

import numpy as np
import pandas as pd
import pytest
import rasterio
import xarray as xr

from gssm_cube.skill.resolution import cell_of
from gssm_cube.stations import read_stations
from gssm_cube.statistics.bootstrap import mean_scores
from gssm_cube.validate.compare import difference_rows, winner
from gssm_cube.validate.metrics import published_table
from gssm_cube.validate.run import compare
from gssm_cube.validate.settings import make_comparison

pytestmark = pytest.mark.real_data


def comparison(folder, products, stations, **more):
    values = {"folder": str(folder / "out"), "stations": str(stations), "products": products}
    return make_comparison(values | {"coarse_degrees": 0, "draws": 200} | more, folder, "test")


def medians(found, score):
    return {name: float(table[score].median()) for name, table in found.by_station.items()}


@pytest.fixture(scope="module")
def oznet(real_data, tmp_path_factory):
    """OZNET against hourly ERA5 (three days a week) and the lists of SMAP."""
    folder = tmp_path_factory.mktemp("oznet")
    pack = real_data / "grids/era5/oznet_region_era5_swvl1_smap_201808_202007.zip"
    zipfile.ZipFile(pack).extractall(folder)
    rows = []
    for path in sorted(folder.glob("*/SMAP/*.nc")):
        with xr.open_dataset(path) as points:
            if not points.sizes["index"]:  # as four of the lists are
                continue
            table = points[["latitude", "longitude", "soil_moisture"]].to_dataframe()
        # The lists have no time: the first entry of each place is of the first day, and so on.
        order = table.groupby(["latitude", "longitude"]).cumcount()
        first = pd.Timestamp(path.name.split("_")[1])
        rows.append(table.assign(time=first + pd.to_timedelta(order, unit="D")))
    pd.concat(rows).to_csv(folder / "smap.csv")
    columns = {"lat": "latitude", "lon": "longitude", "value": "soil_moisture"}
    products = {
        "ERA5": {"path": str(next(folder.glob("*/ERA5"))), "variable": "swvl1"},
        "SMAP": {"path": str(folder / "smap.csv"), "units": "m3 m-3", "columns": columns},
    }
    archive = real_data / "ismn/Data_separate_files_header_20170101_20220101_kit.zip"
    return {
        name: compare(comparison(folder, chosen, archive))
        for name, chosen in (
            ("both", products), *((key, {key: products[key]}) for key in products)
        )
    }  # fmt: skip


def test_oznet_against_era5_and_smap_alone(oznet):
    """By pandas on the same daily values: 0.751 and 0.650 (11 stations of 100 days or more)."""
    assert medians(oznet["ERA5"], "r")["ERA5"] == pytest.approx(0.751, abs=0.001)
    assert medians(oznet["SMAP"], "r")["SMAP"] == pytest.approx(0.650, abs=0.001)


def test_oznet_against_both_on_common_days(oznet):
    both = oznet["both"]
    assert both.counts["own"] == {"common": 2221, "ERA5": 2572, "SMAP": 2373}
    found = medians(both, "r")
    assert found["ERA5"] == pytest.approx(0.742, abs=0.001)
    assert found["SMAP"] == pytest.approx(0.611, abs=0.001)
    assert both.winners["own"] == "ERA5"  # by the ubRMSD
    era5 = both.tables["triplet_medians"].set_index(["column", "measure"])
    assert era5.loc[("ERA5", "err_std"), "value"] < era5.loc[("SMAP", "err_std"), "value"]


def test_oznet_against_smap_by_the_lists_as_they_are(real_data, tmp_path):
    """A list holds three days' morning and afternoon passes, and does not say which is which.

    Only its mean is surely of its three days. By pandas on the nearest cell: median r 0.672.
    """
    pack = real_data / "grids/era5/oznet_region_era5_swvl1_smap_201808_202007.zip"
    with zipfile.ZipFile(pack) as lists:
        lists.extractall(tmp_path, [name for name in lists.namelist() if "/SMAP/" in name])
    archive = real_data / "ismn/Data_separate_files_header_20170101_20220101_kit.zip"
    hours, means = oznet_hours(archive), []
    stations = []
    for path in sorted(tmp_path.glob("*/SMAP/*.nc")):
        first = pd.Timestamp(path.name.split("_")[1])
        with xr.open_dataset(path) as points:
            if not points.sizes["index"]:
                continue
            table = points[["latitude", "longitude", "soil_moisture"]].to_dataframe()
        mean = table.groupby(["latitude", "longitude"]).mean().reset_index()
        means.append(mean.assign(time=first))
        within = hours[(hours["time"] >= first) & (hours["time"] < first + pd.Timedelta("3D"))]
        mean = within.groupby(["station", "lat", "lon"])["observed"].mean().reset_index()
        stations.append(mean.assign(time=first))
    pd.concat(means).to_csv(tmp_path / "smap.csv", index=False)
    pd.concat(stations).to_csv(tmp_path / "stations.csv", index=False)
    columns = {"lat": "latitude", "lon": "longitude", "value": "soil_moisture"}
    smap = {"path": str(tmp_path / "smap.csv"), "units": "m3 m-3", "columns": columns}
    found = compare(comparison(tmp_path, {"SMAP": smap}, tmp_path / "stations.csv", min_days=15))
    assert len(found.by_station["SMAP"]) == 12
    assert medians(found, "r")["SMAP"] == pytest.approx(0.672, abs=0.001)


def oznet_hours(archive):
    """Hours of OZNET with flag G: station, lat, lon, time, observed (m3 m-3)."""
    parts = []
    with zipfile.ZipFile(archive) as files:
        for name in files.namelist():
            if name.startswith("OZNET/") and name.endswith(".stm"):
                text = files.read(name).decode("latin1")
                _, _, station, lat, lon, *_ = text[: text.index("\n")].split()
                names = ["day", "hour", "observed", "flag"]
                table = pd.read_csv(io.StringIO(text), sep=r"\s+", skiprows=1, header=None,
                                    usecols=range(4), names=names)  # fmt: skip
                table = table[table["flag"] == "G"]
                time = pd.to_datetime(table["day"] + " " + table["hour"], format="%Y/%m/%d %H:%M")
                parts.append(table.assign(
                    time=time, station=station, lat=float(lat), lon=float(lon)
                ))  # fmt: skip
    return pd.concat(parts)


def test_deos_stations_against_the_daily_geotiffs_of_esa_cci(real_data, tmp_path):
    where = real_data / "grids/delaware_1km"
    places = pd.read_csv(where / "deos_stations.csv").rename(
        columns={"Station": "station", "Latitude": "lat", "Longitude": "lon"}
    )
    wide = pd.read_csv(where / "deos_daily_vwc_2018_kit.csv").rename(columns={"Time": "time"})
    table = wide.melt(id_vars="time", var_name="station", value_name="observed")
    table = table.merge(places[["station", "lat", "lon"]]).assign(network="DEOS")
    table.to_csv(tmp_path / "deos.csv", index=False)
    products = {"CCI": {"path": str(where / "ESA_CCI_SM_v45_201801"), "units": "m3 m-3"}}
    found = compare(comparison(tmp_path, products, tmp_path / "deos.csv", min_days=10))
    pairs = []  # by rasterio alone
    for path in sorted((where / "ESA_CCI_SM_v45_201801").glob("*.tif")):
        day = pd.to_datetime(path.stem[-8:])
        today = table[pd.to_datetime(table["time"]) == day].dropna(subset=["observed"])
        with rasterio.open(path) as image:
            cells = image.read(1, masked=True)
            at = [
                image.index(lon, lat) for lon, lat in zip(today["lon"], today["lat"], strict=True)
            ]
        values = [cells[row, col] for row, col in at]
        pairs += [
            (name, observed, float(value))
            for name, observed, value in zip(
                today["station"], today["observed"], values, strict=True
            )
            if not np.ma.is_masked(value)
        ]
    expected = pd.DataFrame(pairs, columns=["station", "observed", "cci"])
    assert found.counts["own"]["common"] == len(expected) == 359
    by_station = found.by_station["CCI"]
    for name, rows in expected.groupby("station"):
        if len(rows) >= 10:
            r = rows["observed"].corr(rows["cci"])
            assert by_station.loc[name, "r"] == pytest.approx(r, abs=1e-5)


def test_irrigated_and_rainfed_fields_of_remedhus_within_their_cells(real_data, tmp_path):
    """Three fields are irrigated by ESA CCI's land cover, and five rainfed ones share a cell.

    LasEritas and Canizal stand together, Granja-g beside the rainfed Carretoro. Who knows the
    fields has all their departures, who knows the mean of the cell has none.
    """
    archive = real_data / "ismn/Data_separate_files_header_20240825_20250825_kit.zip"
    table, _ = read_stations(archive)
    table = table[table["network"] == "REMEDHUS"]
    table.to_parquet(tmp_path / "stations.parquet")
    cell = cell_of(table["lat"], table["lon"])
    coarse = table.groupby([cell, table["time"]])["observed"].transform("mean")
    products = {}
    for name, values in (("fields", table["observed"]), ("cell", coarse)):
        points = table[["lat", "lon", "time"]].assign(value=values)
        points.to_parquet(tmp_path / f"{name}.parquet")
        products[name] = {"path": str(tmp_path / f"{name}.parquet"), "units": "m3 m-3", "max_km": 1}
    found = compare(comparison(tmp_path, products, tmp_path / "stations.parquet", min_days=50))
    scores = found.tables["scores"]
    counts = scores[(scores["stratum"] == "irrigation") & (scores["score"] == "station_r")]
    counts = counts.set_index(["product", "group"])["stations"]
    assert counts["fields"].to_dict() == {"irrigated": 3, "rainfed": 8}
    within = found.tables["resolution"].set_index(["product", "group"])
    assert within["stations"].astype(int).tolist() == 2 * [8, 3, 5]
    np.testing.assert_allclose(within.loc["fields", "spatial_r"].astype(float), 1, atol=1e-6)
    assert within.loc["cell", "spatial_r"].isna().all()
    assert (within.loc["fields", "rmse"] < 1e-6).all()
    assert (within.loc["cell", "coarse_rmse"] > 0.01).all()


def test_gldas_cci_and_merra2_at_points(real_data, tmp_path):
    parts = []
    for path in sorted((real_data / "grids/products/gldas_cci_merra2_daily").glob("*.csv")):
        number = int(path.stem.removeprefix("data_"))  # a cell of the global quarter-degree grid
        row, col = divmod(number, 1440)
        table = pd.read_csv(path, index_col=0, parse_dates=True).rename_axis("time").reset_index()
        place = {"lat": -89.875 + 0.25 * row, "lon": -179.875 + 0.25 * col}
        parts.append(table.assign(station=f"cell {number}", **place))
    series = pd.concat(parts)
    series.to_parquet(tmp_path / "series.parquet")
    stations = series.assign(observed=series["gldas_v21"] / 100).dropna(subset=["observed"])
    stations.to_parquet(tmp_path / "stations.parquet")
    points = {"path": str(tmp_path / "series.parquet"), "units": "%"}
    products = {
        "CCI": points | {"columns": {"value": "CCI_41_COMBINED"}},
        "MERRA-2": points | {"columns": {"value": "merra2"}},
    }
    found = compare(comparison(tmp_path, products, tmp_path / "stations.parquet"))
    for name, rows in series.dropna().groupby("station"):
        for product, column in (("CCI", "CCI_41_COMBINED"), ("MERRA-2", "merra2")):
            row = found.by_station[product].loc[name]
            assert row["n"] == len(rows)
            assert row["r"] == pytest.approx(rows["gldas_v21"].corr(rows[column]), abs=1e-6)
            spearman = rows["gldas_v21"].corr(rows[column], method="spearman")
            assert row["spearman_r"] == pytest.approx(spearman, abs=1e-4)  # float32 makes ties
    assert found.winners["own"] == "CCI"


def test_zhang_2021_per_station_scores_give_its_summary_and_a_verdict_against_esa_cci(real_data):
    table = pd.read_csv(real_data / "grids/products/zhang2021_RF_SSM_station_metrics.csv")
    table = table.set_index(table.columns[0])
    tables = {
        product: published_table(
            table[[f"{name}_{suffix}" for name in ("RMSE", "ubRMSE", "r")]].set_axis(
                ["rmse", "ubrmse", "r"], axis="columns"
            )
        )
        for product, suffix in (("RF SSM", "RF"), ("ESA CCI", "cci"))
    }
    assert len(tables["RF SSM"]) == 1514
    found = mean_scores([tables["RF SSM"]])
    medians = [found[f"station_{name}"] for name in ("rmse", "ubrmse", "r")]
    np.testing.assert_allclose(medians, [0.0546, 0.0465, 0.642], rtol=0, atol=5e-4)
    rows = difference_rows("own", tables, draws=100, seed=0)
    assert winner(rows) == "RF SSM"  # which knew these stations' other days
