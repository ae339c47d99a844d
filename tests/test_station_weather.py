"""Features of a table's own weather: by hand, by NOAA's names, for stations of any order."""

import logging

import numpy as np
import pandas as pd
import pytest

from gssm_cube.forest import PRESETS
from gssm_cube.harmonise import memory
from gssm_cube.station_weather import derive_features, find_columns


def table_of(days=400, stations=("a", "b"), seed=0, start="2019-01-01"):
    """Random weather under NOAA's names, rows of the stations mixed."""
    rng = np.random.default_rng(seed)
    parts = []
    for number, station in enumerate(stations):
        mean, swing = rng.normal(10, 6, days), rng.gamma(4, 2, days)
        parts.append(
            pd.DataFrame(
                {
                    "wban": station,
                    "lst_date": pd.date_range(start, periods=days),
                    "latitude": 35.0 + 5 * number,
                    "longitude": -100.0,
                    "soil_moisture_5_daily": rng.uniform(0.05, 0.4, days),
                    "p_daily_calc": np.where(rng.random(days) < 0.3, rng.gamma(0.5, 10, days), 0),
                    "t_daily_mean": mean,
                    "t_daily_min": mean - swing / 2,
                    "t_daily_max": mean + swing / 2,
                    "sur_temp_daily_avg": mean,
                    "sur_temp_daily_min": mean - swing,
                    "sur_temp_daily_max": mean + swing,
                    "clay_pct": 20.0, "sand_pct": 40.0, "silt_pct": 40.0,
                    "saturation_m3m3": 0.45, "organic_carbon_pct": 1.0, "elevation_m": 300.0,
                }
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True).sample(frac=1, random_state=1)


def of(table, station):
    return table[table["station"] == station].sort_values("time").reset_index(drop=True)


# ---- columns ----------------------------------------------------------------------------------


def test_noaa_s_names_need_no_word_and_give_all_that_the_preset_asks_for():
    found = derive_features(table_of())
    names = [*PRESETS["memory"].features, "observed", "station_lat", "station_lon"]
    assert found[names].notna().all(axis=None) and len(found) == 800
    assert found["omc"].iloc[0] == pytest.approx(1.724)
    np.testing.assert_allclose(found["lst_diff"], 2 * (found["t_daily_max"] - found["t_daily_min"]))


def test_columns_of_other_names_give_the_same(caplog):
    table = table_of()
    other = table.rename(columns={"p_daily_calc": "RAIN", "wban": "site"})
    found = derive_features(other, {"rain": "RAIN", "station": "site"})
    expected = derive_features(table)
    pd.testing.assert_frame_equal(found[expected.columns[-30:]], expected[expected.columns[-30:]])


def test_without_soil_and_surface_temperature_their_features_are_not_made():
    bare = table_of().filter(regex="^(?!sur_|clay|sand|silt|satur|organic|elev)")
    made = set(derive_features(bare).columns)
    lacking = set(PRESETS["memory"].features) - made
    expected = {"lst", "lst_diff", "climate_lst_diff", "clay", "sand", "silt", "porosity", "omc"}
    assert lacking == expected | {"elevation"}


def test_columns_that_are_not_there_are_named():
    table = table_of(40)
    with pytest.raises(ValueError, match=r"roles \['rian'\] are not known"):
        find_columns(table, {"rian": "p_daily_calc"})
    with pytest.raises(ValueError, match=r"has no columns \['P'\]"):
        find_columns(table, {"rain": "P"})
    with pytest.raises(ValueError, match=r"no column for \['rain'\].*'p_daily_calc'.*rain=COLUMN"):
        find_columns(table.drop(columns="p_daily_calc"), {})


def test_a_day_that_is_there_twice_is_refused():
    table = table_of(40)
    with pytest.raises(ValueError, match=r"station a has .* twice \(1 such rows\)"):
        derive_features(pd.concat([table, table[table["wban"] == "a"].iloc[:1]]))
    with pytest.raises(ValueError, match="1 rows have no station, 0 no day"):
        derive_features(table.assign(wban=table["wban"].where(np.arange(80) != 3)))


# ---- values -----------------------------------------------------------------------------------


def test_a_table_is_spun_up_on_its_own_first_year():
    table = table_of(400)
    found = of(derive_features(table), "a")
    days = found["time"].to_numpy().astype("M8[D]")
    names = {"precipitation": "p_daily_calc", "tair": "t_daily_mean", "tmin": "t_daily_min",
             "tmax": "t_daily_max"}  # fmt: skip
    year = {n: np.concatenate([found[c].to_numpy()[:365]] * 2) for n, c in names.items()}
    twice = np.concatenate([days[:365]] * 2)
    state = memory.spin_up(year, twice, np.array(35.0), 365)
    late = {n: values[336:] for n, values in year.items()}
    expected, _ = memory.memory_features(late, twice[336:], np.array(35.0), state)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name][:365], values, err_msg=name)


@pytest.mark.parametrize("days", [5, 100, 364])
def test_a_table_shorter_than_a_year_is_repeated(days):
    found = of(derive_features(table_of(days)), "b")
    assert np.isfinite(found[["bucket_50", "rain_30d", "tair_30d"]]).all(axis=None)
    # Of 30 days before day 0, each day of a table of 5 comes 5.8 times.
    if days == 5:
        rain = found["p_daily_calc"].to_numpy()
        assert found["rain_30d"][4] == pytest.approx(6 * rain.sum(), rel=1e-5)


def test_the_order_of_rows_and_the_other_stations_do_not_matter():
    table = table_of()
    whole = derive_features(table)
    alone = derive_features(table[table["wban"] == "b"].sort_values("lst_date"))
    pd.testing.assert_frame_equal(of(whole, "b"), of(alone, "b"))
    assert whole.index.equals(table.index)


def test_days_without_a_row_count_as_dry_days_that_lack_something():
    table = table_of(200, ("a",))
    gone = table["lst_date"].isin(pd.date_range("2019-03-01", periods=4))
    blank = table.copy()
    weather = ["p_daily_calc", *table.filter(regex="^(t_daily|sur_temp)").columns]
    blank.loc[gone, weather] = np.nan
    found, expected = of(derive_features(table[~gone]), "a"), of(derive_features(blank), "a")
    kept = expected["p_daily_calc"].notna().to_numpy()
    assert expected.loc[~kept, "bucket_50"].isna().all()
    pd.testing.assert_frame_equal(found, expected[kept].reset_index(drop=True))


def test_the_observed_soil_moisture_reaches_no_feature():
    table = table_of()
    other = table.assign(soil_moisture_5_daily=0.3)
    names = list(PRESETS["memory"].features)
    pd.testing.assert_frame_equal(derive_features(table)[names], derive_features(other)[names])


def test_soil_moisture_that_no_soil_can_hold_is_missing_and_counted(caplog):
    table = table_of(40)
    table.iloc[[0, 5], table.columns.get_loc("soil_moisture_5_daily")] = [1.3, -99.0]
    with caplog.at_level(logging.WARNING):
        found = derive_features(table)
    assert found["observed"].isna().sum() == 2
    assert "2 observed values lie outside 0 to 0.8" in caplog.text
