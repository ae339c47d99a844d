"""Potential evaporation from the day's extremes of temperature, as FAO-56 has it.

The same in the cube and in station tables. ERA5-Land's own potential evaporation is that of open
water, about twice as much, and is never mixed with this one.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

SOLAR_CONSTANT = 0.0820  # MJ m-2 min-1, FAO-56 eq. 21
MM_PER_MJ = 0.408  # water that 1 MJ m-2 evaporates, FAO-56 eq. 20
COEFFICIENT, WARMTH = 0.0023, 17.8  # degC-0.5 and degC, FAO-56 eq. 52


def extraterrestrial_radiation(days: NDArray[np.datetime64], lat: ArrayLike) -> NDArray[np.float64]:
    """Return the sun's radiation at the top of the air, daily totals.

    Parameters
    ----------
    days : array (day,), datetime64
    lat : array (...), degrees north
        Up to the poles: nights of 24 hours give 0.

    Returns
    -------
    array (day, ...), MJ m-2 d-1

    References
    ----------
    Allen et al. (1998), FAO Irrigation and Drainage Paper 56, eq. 21 to 25
    """
    phi = np.radians(np.asarray(lat, dtype="float64"))
    number = (days.astype("M8[D]") - days.astype("M8[Y]").astype("M8[D]")).astype("int64") + 1
    angle = (2 * np.pi / 365 * number).reshape(-1, *(1,) * phi.ndim)
    nearness = 1 + 0.033 * np.cos(angle)
    declination = 0.409 * np.sin(angle - 1.39)
    sunset = np.arccos(np.clip(-np.tan(phi) * np.tan(declination), -1, 1))
    height = sunset * np.sin(phi) * np.sin(declination)
    height = height + np.cos(phi) * np.cos(declination) * np.sin(sunset)
    return np.maximum(24 * 60 / np.pi * SOLAR_CONSTANT * nearness * height, 0)


def hargreaves(
    tmin: NDArray[np.floating], tmax: NDArray[np.floating], radiation: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return potential evaporation by Hargreaves' equation.

    Parameters
    ----------
    tmin, tmax : array, degC
        Extremes of the day; where they are the wrong way round their difference counts as 0.
    radiation : array, MJ m-2 d-1
        At the top of the air.

    Returns
    -------
    array, mm d-1
        Upward positive and never below 0; NaN where a temperature is.

    References
    ----------
    Allen et al. (1998), FAO Irrigation and Drainage Paper 56, eq. 52
    """
    low, high = np.asarray(tmin, dtype="float64"), np.asarray(tmax, dtype="float64")
    swing = np.sqrt(np.maximum(high - low, 0))
    mean = (low + high) / 2
    return np.maximum(COEFFICIENT * (mean + WARMTH) * swing * MM_PER_MJ * radiation, 0)
