"""Soil properties in house units from SoilGrids 2.0 (0-5 cm means, as delivered)."""

from typing import TypeVar

import numpy as np
import xarray as xr

Array = TypeVar("Array", np.ndarray, xr.DataArray)

# Particle densities, g cm-3: of minerals as in Han et al. (2023), of organic matter our choice
# from the usual 1.2-1.5.
MINERAL_DENSITY = 2.65
ORGANIC_DENSITY = 1.4
VAN_BEMMELEN = 1.724  # organic matter per organic carbon: 58 % carbon


def porosity(bulk_density: Array, organic_matter_share: Array) -> Array:
    """Return porosity from bulk density, with a particle density that holds for peat.

    Minerals alone (2.65 g cm-3) would give peat too much pore space; the density of the mixture
    is 1 / (om / 1.4 + (1 - om) / 2.65).

    Parameters
    ----------
    bulk_density : array, cg cm-3
        SoilGrids ``bdod``.
    organic_matter_share : array of the same shape, 0..1
        By mass: ``organic_matter`` / 100.

    Returns
    -------
    array, m3 m-3
        NaN where either is.

    References
    ----------
    Poggio et al. (2021), doi:10.5194/soil-7-217-2021 (bdod, soc)
    """
    volume = organic_matter_share / ORGANIC_DENSITY + (1 - organic_matter_share) / MINERAL_DENSITY
    return 1 - bulk_density / 100 * volume


def organic_matter(organic_carbon: Array) -> Array:
    """Return organic matter content, carbon x 1.724.

    Parameters
    ----------
    organic_carbon : array, dg kg-1
        SoilGrids ``soc``; 1 dg kg-1 is 0.01 %.

    Returns
    -------
    array, %
        At most 100: pure peat would pass it by the factor's own error.
    """
    content = organic_carbon * (0.01 * VAN_BEMMELEN)
    return content.clip(max=100.0)


def texture(fraction: Array) -> Array:
    """Return clay, sand or silt content.

    Parameters
    ----------
    fraction : array, g kg-1
        SoilGrids ``clay``, ``sand`` or ``silt`` of the fine earth.

    Returns
    -------
    array, %
    """
    return fraction / 10
