"""Soil properties by hand."""

import numpy as np
import pytest
import xarray as xr

from gssm_cube.harmonise.soil import organic_matter, porosity, texture


@pytest.mark.parametrize(
    ("bulk_density", "share", "expected"),
    [
        (132.5, 0.0, 0.5),  # mineral soil at half the density of quartz
        (14.0, 1.0, 0.9),  # peat at a tenth of the density of organic matter
        (100.0, 0.5, 1 - (0.5 / 1.4 + 0.5 / 2.65)),
    ],
)
def test_porosity_is_what_particles_leave(bulk_density, share, expected):
    result = porosity(np.array([bulk_density]), np.array([share]))
    np.testing.assert_allclose(result, expected)


def test_peat_has_less_pore_space_than_its_density_in_minerals_would_leave():
    bulk_density = np.array([20.0])
    peat, mineral = (porosity(bulk_density, np.array([share])) for share in (1.0, 0.0))
    np.testing.assert_allclose(mineral - peat, 0.2 / 1.4 - 0.2 / 2.65)


def test_organic_matter_is_carbon_times_the_van_bemmelen_factor():
    carbon = np.array([0.0, 100.0, 5900.0, np.nan])  # dg kg-1: 0, 1 and 59 %
    np.testing.assert_allclose(organic_matter(carbon), [0.0, 1.724, 100.0, np.nan])


def test_texture_turns_grams_a_kilogram_into_percent():
    np.testing.assert_allclose(texture(np.array([0.0, 345.0, 1000.0])), [0.0, 34.5, 100.0])


def test_float32_stays_float32_and_labelled_arrays_stay_lazy():
    soc = xr.DataArray(np.full((2, 2), 100, "float32"), dims=("lat", "lon")).chunk(1)
    content = organic_matter(soc)
    pores = porosity(soc, content / 100)
    assert content.dtype == pores.dtype == np.float32
    assert pores.chunks == soc.chunks
    np.testing.assert_allclose(pores, 1 - (0.01724 / 1.4 + 0.98276 / 2.65), rtol=1e-6)
