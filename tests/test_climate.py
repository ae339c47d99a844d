"""The climate of a place: means by hand, and over windows."""

import numpy as np
import pytest

from gssm_cube.harmonise.climate import climate_means, climate_sums
from gssm_cube.variables import names_of

DAYS = np.arange("2018-01-01", "2020-01-01", dtype="M8[D]")


def year(rain=2.0, pet=4.0, bucket=0.5):
    """Two years; the temperature is the number of the month less one."""
    month = DAYS.astype("M8[M]").astype("int64") % 12
    full = np.ones((DAYS.size, 1))
    daily = {"precipitation": rain * full, "pet": pet * full, "bucket_50": bucket * full}
    return daily | {"tair": month[:, None].astype("float64")}


def test_means_are_those_of_the_days():
    daily = year()
    daily["precipitation"][::4] = 0.5  # a quarter of the days is not wet
    found = climate_means(climate_sums(daily, DAYS))
    assert set(found) == set(names_of("climate"))
    dry = len(DAYS[::4])
    rain = (0.5 * dry + 2.0 * (DAYS.size - dry)) / DAYS.size
    assert found["climate_precipitation"][0] == pytest.approx(rain)
    assert found["climate_p_pet"][0] == pytest.approx(rain / 4)
    assert found["climate_wet_days"][0] == pytest.approx(1 - dry / DAYS.size)
    assert found["climate_tair"][0] == pytest.approx(daily["tair"].mean())
    assert found["climate_tair_range"][0] == pytest.approx(11.0)
    assert (found["climate_pet"][0], found["climate_bucket"][0]) == (4.0, 0.5)


def test_a_wet_day_has_more_than_1_mm():
    found = climate_means(climate_sums(year(rain=1.0), DAYS))
    assert found["climate_wet_days"][0] == 0.0


def test_a_day_that_lacks_something_counts_in_none():
    daily = year()
    daily["precipitation"][100:] = 50.0
    daily["pet"][100:] = np.nan
    assert climate_means(climate_sums(daily, DAYS))["climate_precipitation"][0] == 2.0


def test_the_ratio_stays_finite_where_nothing_evaporates():
    found = climate_means(climate_sums(year(pet=0.0), DAYS))
    assert found["climate_p_pet"][0] == pytest.approx(20.0)


def test_sums_of_windows_add_up_to_those_of_all_days():
    daily = year()
    parts = [
        climate_sums({name: values[cut] for name, values in daily.items()}, DAYS[cut])
        for cut in (slice(0, 366), slice(366, None))
    ]
    np.testing.assert_allclose(sum(parts), climate_sums(daily, DAYS))


def test_without_a_day_there_is_no_climate():
    daily = {name: values * np.nan for name, values in year().items()}
    for name, values in climate_means(climate_sums(daily, DAYS)).items():
        assert np.isnan(values).all(), name
