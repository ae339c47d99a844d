"""From series to verdicts: what is common, who wins, in which groups, and what is written."""

import re
import tomllib

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pytesmo import metrics as pytesmo
from typer.testing import CliRunner

from gssm_cube.cli import app
from gssm_cube.validate.compare import best_products, difference_rows, sentences, winner
from gssm_cube.validate.consistency import autocorrelation_rows, change_rows
from gssm_cube.validate.matching import coarse_reference, keep_common
from gssm_cube.validate.metrics import product_tables
from gssm_cube.validate.page import headline
from gssm_cube.validate.references import Reference, irrigation_of, read_reference
from gssm_cube.validate.run import compare, resolution_rows, write_findings
from gssm_cube.validate.settings import make_comparison, read_comparison
from gssm_cube.validate.steps import LIMIT

DAYS = pd.date_range("2017-01-01", "2019-12-31", name="time")
STATIONS = 8


def places(count=STATIONS):
    """Stations on a grid of half degrees; the last two share a cell of 0.1 degrees."""
    lat = 50.25 + 0.5 * (np.arange(count) % 2)
    lon = 5.25 + 0.5 * (np.arange(count) // 2)
    lat[-1], lon[-1] = lat[-2] + 0.01, lon[-2] + 0.01
    names = [f"{'AB'[k % 2]}/s{k}" for k in range(count)]
    table = pd.DataFrame(
        {"lat": lat, "lon": lon, "network": [name[0] for name in names], "koeppen": "Cfb",
         "land_cover": None, "irrigated": [k == 0 for k in range(count)]},
        pd.Index(names, name="station"),
    )  # fmt: skip
    return table


def truth(count=STATIONS, seed=0):
    rng = np.random.default_rng(seed)
    season = 0.25 + 0.08 * np.cos(2 * np.pi * DAYS.day_of_year.to_numpy() / 365.25)
    wet = np.zeros((count, DAYS.size))
    for day in range(1, DAYS.size):
        wet[:, day] = 0.9 * wet[:, day - 1] + rng.normal(0, 0.015, count)
    return (season + wet).clip(0.02, 0.6)


@pytest.fixture(scope="module")
def matched():
    """Stations with little noise, a product with more, one with most and gaps."""
    rng = np.random.default_rng(1)
    base = truth()
    columns = [base + rng.normal(0, sd, base.shape) for sd in (0.01, 0.02, 0.05)]
    columns[2][:, 10:40] = np.nan
    values = np.stack(columns).astype("float32")
    reference = Reference(places(), DAYS, values[0])
    return keep_common(reference, "own", ("station", "good", "poor"), values)


@pytest.fixture(scope="module")
def tables(matched):
    return product_tables(matched.values, matched.days, matched.names, matched.products)


# ---- common days ------------------------------------------------------------------------------


def test_a_day_counts_where_all_columns_have_a_value(matched):
    assert matched.common.sum() == STATIONS * (DAYS.size - 30)
    assert np.isnan(matched.values[:, :, 10:40]).all()
    assert matched.alone == {"good": STATIONS * DAYS.size, "poor": STATIONS * (DAYS.size - 30)}


def test_products_without_a_day_in_common_are_refused_with_their_counts():
    values = np.full((3, 1, 4), np.nan, dtype="float32")
    values[0], values[1, 0, :2], values[2, 0, 2:] = 0.1, 0.2, 0.3
    reference = Reference(places(2).iloc[:1], DAYS[:4], values[0])
    with pytest.raises(ValueError, match=r"no station-day is common .* \{'a': 2, 'b': 2\}"):
        keep_common(reference, "own", ("station", "a", "b"), values)


def test_stations_of_a_coarse_cell_are_averaged():
    observed = np.array([[0.1, 0.2, np.nan], [0.3, np.nan, np.nan], [0.5, 0.5, 0.5]], "float32")
    stations = places(4).iloc[[2, 3, 0]].assign(lat=[50.1, 50.2, 50.9], lon=[5.1, 5.2, 5.9])
    frozen = np.array([[True, False, False], [False] * 3, [False] * 3])
    found, cells = coarse_reference(Reference(stations, DAYS[:3], observed, frozen), 0.25)
    np.testing.assert_allclose(found.observed, [[0.2, 0.2, np.nan], [0.5, 0.5, 0.5]])
    np.testing.assert_allclose([cells.lat, cells.lon], [[50.125, 50.875], [5.125, 5.875]])
    assert found.stations["network"].isna().tolist() == [True, False] and cells.half == 0.125
    assert found.stations["koeppen"].tolist() == ["Cfb", "Cfb"]
    assert found.frozen[:, 0].tolist() == [True, False]


# ---- verdicts ---------------------------------------------------------------------------------


def test_the_better_product_wins_and_the_sentence_says_so(tables):
    rows = difference_rows("own", tables, draws=200, seed=0)
    assert winner(rows) == "good" and winner(rows, "station_r") == "good"
    ubrmse = rows.set_index("score").loc["station_ubrmse"]
    assert ubrmse["difference"] == pytest.approx(
        tables["good"]["ubrmse"].median() - tables["poor"]["ubrmse"].median()
    )
    assert ubrmse["high"] < 0 and ubrmse["better"] == "good"
    assert pd.isna(rows.set_index("score").loc["station_bias", "better"])
    (said,) = sentences(rows)
    assert said.startswith(f"good against poor, {STATIONS} stations: ubRMSD 0.02")
    assert "good is better; r 0." in said and said.endswith(".")


def test_the_order_of_the_products_does_not_change_the_winner(tables):
    turned = {name: tables[name] for name in ("poor", "good")}
    assert winner(difference_rows("own", turned, draws=200, seed=0)) == "good"


def test_of_products_alike_one_in_twenty_is_called_better_at_most_about():
    rng = np.random.default_rng(2)
    winners, said = 0, []
    for deal in range(30):
        base = rng.normal(0.25, 0.05, (10, 110))
        values = np.stack([base + rng.normal(0, 0.03, base.shape) for _ in range(3)])
        found = product_tables(values, DAYS[:110], list("abcdefghij"), ["x", "y"])
        rows = difference_rows("own", found, draws=200, seed=deal)
        winners += winner(rows) is not None
        said += sentences(rows)
    assert winners <= 4  # 1.5 of 30 are expected; more than 4 have a chance of 2 %
    assert sum("no significant difference" in sentence for sentence in said) >= 26


def test_fewer_than_five_stations_give_no_difference(tables):
    few = {name: table.iloc[:4] for name, table in tables.items()}
    assert difference_rows("own", few, draws=50, seed=0).empty


def test_a_difference_is_of_the_stations_that_both_have_the_score_of(tables):
    """The good product is constant at the station where both are worst: its r is unknown there."""
    good, poor = (tables[name].copy() for name in ("good", "poor"))
    good["r"], poor["r"] = 0.9, 0.8
    good.iloc[:4, good.columns.get_loc("r")] = np.nan
    poor.iloc[:4, poor.columns.get_loc("r")] = 0.99
    rows = difference_rows("own", {"good": good, "poor": poor}, draws=50, seed=0)
    r = rows.set_index("score").loc["station_r"]
    np.testing.assert_allclose([r["first_value"], r["second_value"], r["difference"]],
                               [0.9, 0.8, 0.1])  # fmt: skip
    # Of four stations nothing can be said; a single one would give an interval without a width.
    assert np.isnan(r["low"]) and not r["significant"] and pd.isna(r["better"])


def test_the_best_product_of_each_station_is_that_of_the_highest_r(tables):
    assert set(best_products(tables)) == {"good"} and len(best_products(tables)) == STATIONS
    assert best_products({name: table.iloc[:0] for name, table in tables.items()}).empty


# ---- time and resolution ----------------------------------------------------------------------


def test_a_step_of_a_product_on_a_day_of_change_is_found_and_fails(matched):
    day = pd.Timestamp("2018-07-01")
    stepped = matched.values.copy()
    stepped[1, :, DAYS >= day] += 0.01
    broken = type(matched)(**{**vars(matched), "values": stepped})
    rows = change_rows(broken, {"new sensor": day.date()}, draws=200, seed=0)
    by = rows.set_index("product")
    assert by.loc["good", "step"] == pytest.approx(0.01, abs=0.002)
    assert by["outcome"].tolist() == ["fail", "cannot tell"] and by.loc["good", "low"] > LIMIT
    # Noise of 0.05 and of 0.01 at 8 stations, some 530 pairs of days: 0.0016 of a mean.
    assert by.loc["poor", "detectable"] == pytest.approx(2.8 * 0.0016, rel=0.5)


def errors_of(matched, error):
    """Stations without noise, and a product with an error (station or 1, day)."""
    values = np.stack([np.full((STATIONS, DAYS.size), 0.2)] * 2)
    values[1] += error
    return type(matched)(**{
        **vars(matched), "values": values.astype("float32"), "columns": ("station", "p"),
    })  # fmt: skip


def test_a_bias_of_the_season_is_no_step(matched):
    """A product that is wet in winter, seen from the summer before to the winter after."""
    day = pd.Timestamp("2018-03-01")
    winter = 0.03 * np.cos(2 * np.pi * np.arange(DAYS.size) / 365)
    (row,) = change_rows(
        errors_of(matched, winter), {"x": day.date()}, draws=50, seed=0
    ).itertuples()
    assert abs(row.step) < 1e-7 and row.outcome == "pass" and row.n == STATIONS


def test_what_all_stations_share_in_a_year_widens_the_interval(matched):
    """Of five other years' steps t of four degrees is 2.776; the year in question has none."""
    days = pd.date_range("2010-01-01", periods=9 * 365)
    levels = np.array([0.002, 0.0, 0.006, 0.008, 0, 0, 0, 0, 0]).repeat(365)
    values = np.stack([np.full((STATIONS, days.size), 0.2)] * 2)
    values[1] += (
        levels + 1e-4 * np.arange(STATIONS)[:, None] * (np.arange(days.size) > 7 * 365)[None]
    )
    held = type(matched)(**{**vars(matched), "values": values.astype("float32"), "days": days,
                            "columns": ("station", "p")})  # fmt: skip
    change = days[6 * 365].date()
    (row,) = change_rows(held, {"x": change}, draws=50, seed=0).itertuples()
    # Those of years 1 to 4 and 8 are 2 years away or more: -2, 6, 2, -8 and 0 thousandths.
    others = np.array([-0.002, 0.006, 0.002, -0.008, 0.0])
    assert row.usual == pytest.approx(others.std(ddof=1), abs=2e-4)
    half = 2.776 * row.usual * np.sqrt(1 + 1 / 5)
    assert row.high - row.step == pytest.approx(half, rel=1e-3) and row.outcome == "cannot tell"


def test_missions_add_the_days_on_which_they_begin_and_have_ended(tmp_path):
    values = {"folder": "out", "stations": "s.csv", "products": {"p": {"path": "p.nc"}},
              "missions": ["AMSR-E", "SMAP"], "changes": {"ours": "2019-01-01"}}  # fmt: skip
    found = make_comparison(values, tmp_path, "x").all_changes
    assert {name: str(day) for name, day in found.items()} == {
        "AMSR-E begins": "2002-06-19", "AMSR-E has ended": "2011-10-04",
        "SMAP begins": "2015-03-31", "ours": "2019-01-01",
    }  # fmt: skip


def test_a_change_outside_of_the_days_is_not_judged(matched):
    rows = change_rows(matched, {"later": pd.Timestamp("2030-01-01").date()}, draws=10, seed=0)
    assert rows["step"].isna().all() and rows["outcome"].isna().all()


def test_autocorrelation_is_that_of_pairs_of_days(matched):
    rows = autocorrelation_rows(matched, min_days=50).set_index(["column", "lag"])
    expected = []
    for station in range(STATIONS):
        series = pd.Series(matched.values[1, station].astype("float64"))
        expected.append(series.corr(series.shift(3)))
    assert rows.loc[("good", 3), "r"] == pytest.approx(np.median(expected), abs=1e-10)
    assert rows.loc[("station", 1), "r"] > rows.loc[("poor", 1), "r"]  # noise forgets


def test_resolution_is_told_of_stations_that_share_a_cell_and_by_irrigation(matched):
    close = matched.stations.copy()
    close["lat"] = 50.0 + 0.001 * np.arange(STATIONS)
    close["lon"] = 5.0
    near = type(matched)(**{**vars(matched), "stations": close})
    rows = resolution_rows(near, 50).set_index(["product", "group"])
    assert rows.loc[("good", "all"), "stations"] == STATIONS
    assert rows.loc[("good", "all"), "spatial_r"] > rows.loc[("poor", "all"), "spatial_r"] > 0.3
    assert "fewer than three stations" in rows.loc[("good", "irrigated"), "skipped"]
    assert resolution_rows(matched, 10)["skipped"].notna().all()  # two stations share a cell


def test_irrigated_fields_are_told_from_the_rainfed_ones_of_their_cell():
    """Three cells of a wet irrigated field and a dry one each: none shares its cell with its like.

    The first product sees all, the second the cells' means: 0.1 of each field, half above.
    """
    lat = np.repeat([50.0, 50.2, 50.4], 2) + np.tile([0.0, 0.01], 3)
    stations = places(6).assign(lat=lat, lon=5.0, irrigated=[True, False] * 3)
    wet, dry = 0.3 + 0.01 * np.sin(np.arange(40.0)), np.full(40, 0.1)
    fields = np.stack([wet, dry] * 3)
    means = np.broadcast_to((wet + dry) / 2, fields.shape)
    values = np.stack([fields, fields, means]).astype("float32")
    held = keep_common(
        Reference(stations, DAYS[:40], values[0]), "own", ("station", "fine", "coarse"), values
    )
    rows = resolution_rows(held, 20).set_index(["product", "group"])
    assert rows["stations"].tolist() == 2 * [6, 3, 3]
    # Departures of the irrigated are all +0.1 or so, and change by half of the sine.
    assert rows.loc[("fine", "irrigated"), "change_r"] == pytest.approx(1, abs=1e-5)
    off = fields[0] - means[0]
    np.testing.assert_allclose(rows.loc[("coarse", "irrigated"), "coarse_rmse"],
                               np.sqrt((off**2).mean()), rtol=1e-5)  # fmt: skip


def test_irrigation_is_told_by_table_or_land_cover_and_else_unknown():
    table = places(3).assign(irrigated=["yes", None, "no"])
    assert irrigation_of(table).fillna("?").tolist() == ["irrigated", "?", "rainfed"]
    cover = ["Cropland, irrigated or post-flooding", None, "Grassland"]
    table = places(3).assign(irrigated=None, land_cover=cover)
    assert irrigation_of(table).fillna("?").tolist() == ["irrigated", "?", "rainfed"]
    assert irrigation_of(table.assign(land_cover=None)).isna().all()


def reference_of(folder, rows):
    pd.DataFrame(rows).to_csv(folder / "s.csv", index=False)
    values = {"folder": "out", "stations": "s.csv", "products": {"p": {"path": "p.nc"}}}
    return read_reference(make_comparison(values, folder, "x"))


def test_stamps_with_a_zone_count_for_their_day_in_utc_and_fill_values_for_none(tmp_path):
    """Summer time in Ohio is 4 hours behind UTC: 21 h there is the next day."""
    place = {"station": "a", "lat": 40.0, "lon": -83.0}
    times = ["2020-06-01T19:00-04:00", "2020-06-01T21:00-04:00", "2020-06-01T22:00-04:00"]
    rows = [place | {"time": time, "observed": value, "frozen": frozen}
            for time, value, frozen in zip(times, (0.1, 0.2, 0.4), (None, True, False),
                                           strict=True)]  # fmt: skip
    rows.append(place | {"time": "2020-06-03T12:00+00:00", "observed": -9999.0, "frozen": None})
    found = reference_of(tmp_path, rows)
    assert [f"{day:%d}" for day in found.days] == ["01", "02"]
    np.testing.assert_allclose(found.observed, [[0.1, 0.3]], rtol=1e-6)
    assert found.frozen.tolist() == [[False, True]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lat": 41.0}, "1 names stand at several places, such as 'a'; write the network"),
        ({"lat": None}, "1 have no place on the globe, such as 'a'"),
        ({"lon": 400.0}, "1 have no place on the globe, such as 'a'"),
        ({"observed": 30.0}, "product stations: 2 of 2 values lie outside 0 .. 1 m3 m-3"),
    ],
)
def test_stations_that_cannot_be_compared_are_refused(tmp_path, change, message):
    row = {"station": "a", "lat": 40.0, "lon": -83.0, "time": "2020-01-01", "observed": 0.2}
    assert len(reference_of(tmp_path, [row, row | {"lat": 40.001}]).stations) == 1  # rounded
    rows = [row, row | change] if change.keys() != {"observed"} else 2 * [row | change]
    with pytest.raises(ValueError, match=message):
        reference_of(tmp_path, rows)


# ---- from files to files ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Stations as CSV, two products, and the settings."""
    folder = tmp_path_factory.mktemp("validate")
    rng = np.random.default_rng(3)
    stations, base = places(), truth()
    rows = [
        about.to_dict() | {"station": name, "time": day, "observed": value, "frozen": day.month < 3}
        for (name, about), series in zip(stations.iterrows(), base, strict=True)
        for day, value in zip(DAYS[::3], series[::3] + rng.normal(0, 0.01, len(DAYS[::3])),
                              strict=True)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "stations.csv", index=False)
    lat, lon = np.array([50.75, 50.25]), 5.25 + 0.5 * np.arange(4)
    grid = np.stack([base[1::2], base[0::2]], axis=1)[:4].transpose(2, 1, 0)
    for name, sd in (("good", 0.02), ("poor", 0.05)):
        field = xr.DataArray((grid + rng.normal(0, sd, grid.shape)).clip(0.01), {"time": DAYS,
                             "lat": lat, "lon": lon}, ("time", "lat", "lon"))  # fmt: skip
        field.assign_attrs(units="m3 m-3").to_dataset(name="sm").to_netcdf(folder / f"{name}.nc")
    (folder / "validate.toml").write_text(
        'title = "Two products"\nstations = "stations.csv"\nfolder = "out"\ncoarse_degrees = 0.5\n'
        'show = ["A/s0"]\nchanges = {sensor = 2018-07-01}\ndraws = 100\nmin_days = 50\n'
        '[products.good]\npath = "good.nc"\n[products.poor]\npath = "poor.nc"\n'
    )
    return folder


@pytest.fixture(scope="module")
def written(folder):
    result = CliRunner().invoke(app, ["validate", str(folder / "validate.toml")])
    assert result.exit_code == 0, result.output
    return folder / "out", re.sub(r"\s+", " ", result.output)


def test_the_command_says_who_is_better_on_each_grid(written):
    _, said = written
    assert "Each on its own grid: good against poor, 8 stations: ubRMSD" in said
    assert "Cells of 0.5 deg: good against poor" in said and "good is better" in said


def test_the_tables_are_tidy(written):
    out, _ = written
    scores = pd.read_parquet(out / "scores.parquet")
    assert set(scores["grid"]) == {"own", "coarse"}
    strata = scores.groupby("stratum")["group"].unique()
    assert sorted(strata["network"]) == ["A", "B"]
    assert sorted(strata["season"]) == ["DJF", "JJA", "MAM", "SON"]
    assert sorted(strata["ground"]) == ["frozen", "not frozen"]
    own = scores[(scores["grid"] == "own") & (scores["score"] == "station_ubrmse")]
    own = own[own["stratum"] == "all"].set_index("product")
    stations = pd.read_parquet(out / "station_scores.parquet")
    chosen = stations[(stations["grid"] == "own") & (stations["score"] == "ubrmse")]
    medians = chosen.groupby("product")["value"].median()
    np.testing.assert_allclose(own.loc[medians.index, "value"], medians)
    assert (own["low"] <= own["value"]).all() and (own["value"] <= own["high"]).all()
    assert len(pd.read_parquet(out / "triplets.parquet")) > 0
    assert pd.read_parquet(out / "consistency.parquet")["name"].unique().tolist() == [
        "sensor, 2018-07-01"
    ]


@pytest.mark.real_data
def test_the_netcdf_has_the_names_and_dims_of_qa4sm(written, real_data):
    out, _ = written
    theirs = next(
        (real_data / "grids/products").glob("qa4sm_0-ISMN.soil_moisture_with_1-C3S.sm.nc")
    )
    with xr.open_dataset(theirs) as expected, xr.open_dataset(out / "qa4sm.nc") as found:
        pair = "_between_0-ISMN_and_1-C3S"
        metrics = {name.removesuffix(pair) for name in expected.variables if name.endswith(pair)}
        for product in ("1-good", "2-poor"):
            ours = f"_between_0-STATIONS_and_{product}"
            names = {n.removesuffix(ours) for n in found.variables if str(n).endswith(ours)}
            assert names == metrics
        assert found["R_between_0-STATIONS_and_1-good"].dims == ("loc",)
        assert {"lon", "lat", "idx", "gpi", "n_obs"} <= {*found.variables}
        wanted = {key for key in expected.attrs if key.startswith(("val_dc_", "val_ref"))}
        assert wanted - set(found.attrs) == set()
        assert found.attrs["val_ref"] == "val_dc_dataset0"
        triple = "snr_1-good_between_0-STATIONS_and_1-good_and_2-poor"
        assert np.isfinite(found[triple]).any()


def test_the_netcdf_holds_the_numbers_that_pytesmo_gives(folder, written):
    out, _ = written
    comparison = read_comparison(folder / "validate.toml")
    own = compare(comparison.model_copy(update={"coarse_degrees": 0.0})).matched
    both = own.common[2]
    x, y = (own.values[k, 2, both].astype("float64") for k in (0, 1))
    with xr.open_dataset(out / "qa4sm.nc") as found:
        at = found.isel(loc=2)
        values = {
            "R": pytesmo.pearson_r(x, y), "rho": pytesmo.spearman_r(x, y),
            "BIAS": pytesmo.bias(x, y), "RMSD": pytesmo.rmsd(x, y), "mse": pytesmo.msd(x, y),
            "RSS": pytesmo.RSS(x, y), "mse_corr": pytesmo.mse_corr(x, y),
            "mse_bias": pytesmo.mse_bias(x, y), "mse_var": pytesmo.mse_var(x, y),
            "urmsd": pytesmo.ubrmsd(x, y),
        }  # fmt: skip
        for metric, expected in values.items():
            ours = float(at[f"{metric}_between_0-STATIONS_and_1-good"])
            np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-9, err_msg=metric)


def test_the_page_needs_nothing_else_and_shows_all(written):
    out, _ = written
    page = (out / "validation.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    for words in ("good is significantly nearer", "Series of A/s0", "The best product at each",
                  "Triple collocation", "season DJF", "ground frozen", "sensor, 2018-07-01",
                  "How long they remember", "within a cell of 0.1 degrees"):  # fmt: skip
        assert words in page, words
    assert (out / "figures/winners.png").stat().st_size > 5000


def test_of_few_stations_the_page_says_that_nothing_can_be_said(folder, tmp_path):
    comparison = read_comparison(folder / "validate.toml")
    table = pd.read_csv(comparison.stations)
    table[table["station"].isin(["A/s0", "B/s1", "A/s2"])].to_csv(tmp_path / "few.csv", index=False)
    changed = {"stations": tmp_path / "few.csv", "coarse_degrees": 0.0, "changes": {}}
    found = compare(comparison.model_copy(update=changed))
    assert found.winners["own"] is None and found.sentences["own"] == []
    assert "3 stations have days enough, at least 5 are needed" in headline(found)


def test_flags_do_what_the_file_does(folder, tmp_path):
    words = ["validate", "--stations", folder / "stations.csv", "--coarse", "0", "--min-days", "50",
             "--product", f"good={folder / 'good.nc'},variable=sm,scale=1", "--out", tmp_path,
             "--last-day", "2018-12-31"]  # fmt: skip
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    days = pd.read_parquet(tmp_path / "station_scores.parquet")["days"]
    assert days.unique().tolist() == [len(DAYS[DAYS < "2019"][::3])]
    assert "good was judged on" in (tmp_path / "validation.html").read_text()


# ---- faults -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--product", "a=b.nc"], "give a settings file, or --stations and at least one"),
        (["--stations", "s.csv", "--product", "a"], "product is 'a', expected NAME=PATH"),
        (
            ["--stations", "s.csv", "--product", "a=b.nc,unit=%"],
            "products.a.unit: unknown key; did you mean products.NAME.units?",
        ),
        (["--stations", "no.csv", "--product", "a=b.nc"], "no stations at"),
        (["no.toml"], "no settings file no.toml"),
        (["x.toml", "--stations", "s.csv"], "not both"),
    ],
)
def test_what_the_command_cannot_use_is_said_in_a_sentence(words, message):
    result = CliRunner().invoke(app, ["validate", *words])
    assert result.exit_code == 1
    assert message in re.sub(r"\s+", " ", result.output)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stations = 1\n", "stations: Input is not a valid path"),
        ("[products.station]\npath = 'a'\n", "'station' and '|' are taken"),
        ("first_day = 2020-01-02\nlast_day = 2020-01-01\n", "is after last_day"),
        ("[products.a]\npath = 'a'\ncolumns = {x = 'y'}\n", r"columns has \['x'\]"),
        ("borders_of = 'a'\ncube = 'c'\n", "cube is given alone, expected cube and forest"),
        ("cube = 'c'\nforest = 'f'\n", "without borders_of"),
        ("missions = ['Envisat']\n", "no mission 'Envisat'; expected one of .*'SMAP'"),
        ("sations = 'x'\n", r"sations: unknown key; did you mean stations\?"),
    ],
)
def test_settings_that_cannot_be_are_named(tmp_path, text, message):
    base = {"stations": "s.csv", "folder": "out", "products": {"p": {"path": "p.nc"}}}
    with pytest.raises(ValueError, match="(?s)" + message):
        make_comparison(base | tomllib.loads(text), tmp_path, "x")


def test_a_table_without_its_columns_and_one_without_the_days(folder, tmp_path):
    pd.DataFrame({"station": ["a"], "lat": [1.0]}).to_csv(tmp_path / "s.csv")
    base = {"folder": "out", "products": {"p": {"path": "p.nc"}}}
    wrong = make_comparison(base | {"stations": str(tmp_path / "s.csv")}, tmp_path, "x")
    with pytest.raises(ValueError, match=r"columns \['lon', 'time', 'observed'\] are missing"):
        read_reference(wrong)
    late = {"stations": str(folder / "stations.csv"), "first_day": "2030-01-01"}
    with pytest.raises(ValueError, match="none of 2920 observations lies in the days"):
        read_reference(make_comparison(base | late, tmp_path, "x"))


def test_a_station_to_show_that_is_not_there_is_named(folder, tmp_path):
    comparison = read_comparison(folder / "validate.toml")
    changed = {"show": ("Z/s9",), "folder": tmp_path, "coarse_degrees": 0.0}
    wrong = comparison.model_copy(update=changed)
    with pytest.raises(ValueError, match=r"show has \['Z/s9'\], which are no stations"):
        write_findings(compare(wrong), wrong)
