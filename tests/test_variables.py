"""The table of variables: one exact way from values to codes and back."""

import numpy as np
import pytest

from gssm_cube.grid import Grid
from gssm_cube.variables import FILL, PREDICTORS, SSM, Packing, names_of

ALL = [*PREDICTORS.values(), SSM]
CODES = np.arange(-32767, 32768, dtype="int32").astype("int16")
GSSM_PREDICTORS = {
    "apei", "evaporation", "tair", "lst", "lst_diff", "ndvi", "evi", "clay", "sand", "silt",
    "porosity", "omc", "ti", "elevation", "wtd", "dtb", "lat", "lon",
}  # fmt: skip
MEMORY = {
    "precipitation", "pet", "swe", "surplus_11d", "surplus_50d", "wetness_slow", "wetness_fast",
    "bucket_20", "bucket_50", "bucket_150", "rain_3d", "rain_30d", "tair_7d", "tair_30d",
}  # fmt: skip
CLIMATE = {
    "climate_precipitation", "climate_pet", "climate_p_pet", "climate_tair", "climate_tair_range",
    "climate_wet_days", "climate_bucket", "climate_lst_diff",
}  # fmt: skip


def bits(values):
    return np.asarray(values, dtype="float32").view("uint32")


# ---- packings ---------------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ALL, ids=lambda v: v.name)
def test_every_code_decodes_to_the_one_float32_and_comes_back(variable):
    packing = variable.packing
    decoded = packing.decode(CODES)
    expected = (CODES.astype("float64") * packing.scale + packing.offset).astype("float32")
    np.testing.assert_array_equal(bits(decoded), bits(expected))
    np.testing.assert_array_equal(packing.encode(decoded), CODES)
    assert decoded.dtype == np.float32 and packing.encode(decoded).dtype == np.int16


@pytest.mark.parametrize("variable", ALL, ids=lambda v: v.name)
def test_codes_are_ordered_as_values_are(variable):
    assert (np.diff(variable.packing.decode(CODES)) > 0).all()


@pytest.mark.parametrize("variable", ALL, ids=lambda v: v.name)
def test_the_valid_range_fits_into_codes_but_for_positions(variable):
    if variable.group == "position":
        edge = variable.valid_range[1] - 0.5 / 120  # the outermost pixel centre
        assert variable.packing.saturated([-edge, edge]) == 0
    else:
        assert variable.packing.saturated(variable.valid_range) == 0


def test_missing_is_the_fill_code_and_back():
    packing = Packing(0.1)
    np.testing.assert_array_equal(packing.encode([np.nan, 0.1]), [FILL, 1])
    assert np.isnan(packing.decode(np.int16(FILL)))
    assert packing.decode(np.full((2, 0), FILL, dtype="int16")).shape == (2, 0)


def test_values_beyond_the_codes_saturate_short_of_the_fill_and_are_counted():
    packing = Packing(0.1, offset=5.0)
    values = [-1e9, -3271.8, -3271.7, 3281.7, 3281.8, np.inf, np.nan]
    codes = [-32767, -32767, -32767, 32767, 32767, 32767, FILL]
    np.testing.assert_array_equal(packing.encode(values), codes)
    assert packing.saturated(values) == 4


def test_a_value_between_two_codes_takes_the_nearer():
    np.testing.assert_array_equal(Packing(0.5).encode([0.2, 0.3, -0.2, -0.3]), [0, 1, 0, -1])


@pytest.mark.parametrize("name", ["lat", "lon"])
def test_pixel_centres_have_the_bits_of_the_position_packings(name):
    grid = Grid()
    if name == "lat":
        codes, centres = grid.rows // 2 - 1 - np.arange(grid.rows), grid.lat(np.arange(grid.rows))
    else:
        codes, centres = np.arange(grid.cols) - grid.cols // 2, grid.lon(np.arange(grid.cols))
    packing = PREDICTORS[name].packing
    codes = codes.astype("int16")
    np.testing.assert_array_equal(bits(packing.decode(codes)), bits(centres))
    np.testing.assert_array_equal(packing.encode(centres), codes)
    in_float64 = codes.astype("float64") * packing.scale + packing.offset
    np.testing.assert_array_equal(in_float64, centres)


# ---- the table --------------------------------------------------------------------------------


def test_the_18_predictors_of_gssm1km_api_memory_and_climate_are_there():
    assert GSSM_PREDICTORS | {"api"} | MEMORY | CLIMATE == set(PREDICTORS)
    assert len(GSSM_PREDICTORS) == 18


def test_each_group_lists_its_predictors_in_the_order_of_the_table():
    assert names_of("daily") == ("lst", "lst_diff")
    assert names_of("composite") == ("ndvi", "evi")
    assert names_of("meteo")[:4] == ("apei", "api", "evaporation", "tair")
    assert set(names_of("meteo")[4:]) == MEMORY
    assert set(names_of("climate") + names_of("climatology")) == CLIMATE
    groups = ("position", "static", "daily", "composite", "meteo", "climate", "climatology")
    assert sorted(sum((names_of(group) for group in groups), ())) == sorted(PREDICTORS)


@pytest.mark.parametrize("variable", ALL, ids=lambda v: v.name)
def test_every_variable_says_what_it_is_in_which_units_and_whence(variable):
    attrs = variable.attrs
    assert attrs["long_name"] and attrs["units"] and attrs["source"]
    assert attrs.get("standard_name", "") == variable.standard_name
    assert variable.valid_range[0] < variable.valid_range[1]


def test_units_are_those_of_the_house():
    units = {name: PREDICTORS[name].units for name in ("apei", "evaporation", "tair", "lst_diff")}
    expected = {"apei": "mm", "evaporation": "mm d-1", "tair": "degC", "lst_diff": "K"}
    assert units == expected
    assert (SSM.units, SSM.packing.scale) == ("m3 m-3", 0.001)
    assert SSM.attrs["standard_name"] == "volume_fraction_of_condensed_water_in_soil"
