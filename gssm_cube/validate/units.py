"""Soil moisture in whatever units a product has, as m3 m-3."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

VOLUMETRIC, PERCENT = "m3 m-3", "%"
SATURATION, SATURATION_PERCENT, MASS = "saturation", "saturation %", "kg m-2"
SPELLINGS = {
    VOLUMETRIC: ("m3 m-3", "m3/m3", "m**3 m**-3", "m^3/m^3", "m^3 m^-3", "cm3/cm3", "cm3 cm-3",
                 "cm**3/cm**3", "m3m-3", "m³ m⁻³", "m³/m³"),
    PERCENT: ("%", "percent", "vol%", "% vol", "m3 m-3 %"),
    SATURATION: ("saturation", "degree of saturation"),
    SATURATION_PERCENT: ("saturation %", "% saturation", "percent saturation",
                         "percentage degree of saturation"),
    MASS: ("kg m-2", "kg m^-2", "kg/m2", "kg/m^2", "kg m**-2", "mm"),
}  # fmt: skip
KNOWN = {spelling: units for units, spellings in SPELLINGS.items() for spelling in spellings}
WATER_DENSITY = 1000.0  # kg m-3
HIGHEST = 1.0  # m3 m-3; organic soils hold up to 0.9
MOST_OUTSIDE = 0.5  # share of values outside that says the units are wrong


def units_of(name: str, given: str | None, stated: str | None) -> str:
    """Return the units of a product, in the spelling of this module.

    Parameters
    ----------
    name : str
        Of the product, for messages.
    given : str, optional
        What the settings say.
    stated : str, optional
        What the files say, which counts if the settings say nothing.

    Raises
    ------
    ValueError
        If neither says units that are known.
    """
    said = given if given is not None else stated
    units = KNOWN.get(" ".join(str(said).strip().lower().split()))
    if units is None:
        raise ValueError(
            f"product {name}: units are {said!r}, expected one of {list(SPELLINGS)}; set `units` "
            "of the product"
        )
    return units


def volumetric(
    name: str,
    values: NDArray[np.float64],
    units: str,
    *,
    porosity: ArrayLike | None = None,
    depth: float | None = None,
) -> NDArray[np.float64]:
    """Return values as m3 m-3; what cannot be soil moisture becomes NaN.

    Parameters
    ----------
    name : str
        Of the product, for messages.
    values : ndarray (place, day)
    units : str
        As `units_of` gives them.
    porosity : float or array (place), m3 m-3
        For a degree of saturation.
    depth : float, m
        Of the layer, for ``kg m-2``.

    Returns
    -------
    ndarray (place, day), m3 m-3

    Raises
    ------
    ValueError
        If porosity or depth is needed and not given, or if most values lie outside 0 .. 1 m3 m-3.
    """
    found = values * _factor(name, units, porosity, depth)
    known = np.isfinite(found)
    outside = known & ((found < 0) | (found > HIGHEST))
    if outside.sum() > MOST_OUTSIDE * max(known.sum(), 1):
        low, high = np.nanmin(found), np.nanmax(found)
        raise ValueError(
            f"product {name}: {outside.sum()} of {known.sum()} values lie outside 0 .. 1 m3 m-3 "
            f"({low:.3g} .. {high:.3g}) when read as {units!r}; set `units`, `scale` or `missing`"
        )
    return np.where(outside, np.nan, found)


def _factor(
    name: str, units: str, porosity: ArrayLike | None, depth: float | None
) -> float | NDArray[np.float64]:
    """Return by what a value is multiplied to be m3 m-3, for all places or for each."""
    if units in (VOLUMETRIC, PERCENT):
        return 1.0 if units == VOLUMETRIC else 0.01
    if units == MASS:
        if depth is None:
            raise ValueError(
                f"product {name}: {units!r} needs the layer's `depth` in m, such as 0.1"
            )
        return 1 / (WATER_DENSITY * depth)
    if porosity is None:
        raise ValueError(
            f"product {name}: {units!r} needs `porosity`, a number or a raster in m3 m-3"
        )
    pores = np.asarray(porosity, dtype="float64").reshape(-1, 1)
    return pores if units == SATURATION else 0.01 * pores
