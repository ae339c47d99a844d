"""What soil can hold, and when it is frozen: bounds that an estimate is held against.

The estimate of a forest is a mean over stations of other places, so it may say more than the pores
of this soil hold, or less than what its grains never let go. It is flagged then, and cut only
where it lies far above the pores: porosity is itself a map with errors of some hundredths.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Range of the soils that the regression was fitted on, %.
CLAY_RANGE = (5.0, 60.0)
SAND_RANGE = (5.0, 70.0)
MARGIN = 0.05  # m3 m-3 above porosity that is let be: about the error of a mapped porosity
FROST = 0.0  # degC, of the soil, or of the mean of 7 days: soil lags behind a day's weather
SNOW = 10.0  # mm of water that count as a cover

Values = NDArray[np.floating]
Mask = NDArray[np.bool_]


class Bounded(NamedTuple):
    """An estimate after the bounds, and where it was outside them."""

    ssm: Values
    below_residual: Mask
    above_porosity: Mask
    clipped: Mask


def residual_water(clay: Any, sand: Any, porosity: Any) -> Any:
    """Return the water that a soil does not let go, by the regression of Rawls and Brakensiek.

    Parameters
    ----------
    clay, sand : array, %
        Beyond the soils of the regression (clay 5 to 60 %, sand 5 to 70 %) the nearest of them is
        taken.
    porosity : array, m3 m-3

    Returns
    -------
    array, m3 m-3
        At least 0; NaN where something is missing.

    References
    ----------
    Rawls and Brakensiek (1985), Prediction of soil water properties for hydrologic modeling, in:
    Watershed Management in the Eighties, ASCE, 293-299.
    """
    c, s = np.clip(clay, *CLAY_RANGE), np.clip(sand, *SAND_RANGE)
    water = (
        -0.0182482
        + 0.00087269 * s
        + 0.00513488 * c
        + 0.02939286 * porosity
        - 0.00015395 * c**2
        - 0.0010827 * s * porosity
        - 0.00018233 * c**2 * porosity**2
        + 0.00030703 * c**2 * porosity
        - 0.0023584 * porosity**2 * c
    )
    return np.maximum(water, 0.0)


def bound(ssm: Values, residual: Values, porosity: Values, margin: float = MARGIN) -> Bounded:
    """Compare an estimate with what the soil can hold; cut what is far above its pores.

    Parameters
    ----------
    ssm : array (..., lat, lon), m3 m-3
        NaN is within the bounds.
    residual, porosity : array (lat, lon), m3 m-3
        No bound where NaN.
    margin : float, m3 m-3
        What lies more than this above porosity becomes porosity and margin.

    Returns
    -------
    Bounded
        ``below_residual`` and ``above_porosity`` are of the estimate as it was; what is
        ``clipped`` was above porosity as well.
    """
    most = porosity + margin
    clipped = ssm > most
    return Bounded(np.where(clipped, most, ssm), ssm < residual, ssm > porosity, clipped)


def frozen(tair_7d: Values, swe: Values, stl1: Values | None = None) -> Mask:
    """Tell where the upper soil counts as frozen, or lies under snow.

    True where the soil is below 0 degC, or the snow holds more than 10 mm of water. Where the
    temperature of the soil is not known the mean air temperature of 7 days stands for it.

    Parameters
    ----------
    tair_7d : array, degC
    swe : array of the same shape, mm
    stl1 : array of the same shape, degC, optional
        Of the upper soil, such as ERA5-Land's of 0-7 cm; NaN where it is not known.

    Returns
    -------
    array, bool
        What is missing does not count as frozen.
    """
    ground = tair_7d if stl1 is None else np.where(np.isnan(stl1), tair_7d, stl1)
    return np.asarray((ground < FROST) | (swe > SNOW))
