"""The bits of the quality layers, cube's and product's: tables, so that layers join by ``or``."""

from collections.abc import Collection, Mapping
from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

LST_FLAGS = {
    "lst_day_filled": 1,  # by climatology and air temperature
    "lst_night_filled": 2,
    "lst_missing": 4,
    "lst_day_viirs": 8,
    "lst_night_viirs": 16,
    "lst_day_aqua": 32,
    "lst_night_aqua": 64,
    "lst_day_spatial": 128,  # filled, and moved by what was seen round it on that day
    "lst_night_spatial": 256,
}
VEGETATION_FLAGS = {
    "vegetation_filled": 512,  # the composite itself holds no good or marginal observation
    "vegetation_provisional": 1024,  # later composites, within the smoother's reach, are not there
    "vegetation_missing": 2048,
    "vegetation_viirs": 4096,
    "vegetation_aqua": 8192,
}
PREDICTOR_FLAGS = {
    "static_filled": 16384,  # a hole of up to 5 km took nearby land
    "predictor_missing": 32768,  # one of all, static and meteorology included
}
FLAGS = LST_FLAGS | VEGETATION_FLAGS | PREDICTOR_FLAGS  # all 16 bits are taken

PRODUCT_FLAGS = {
    "lst_filled": 1,  # by day or by night
    "lst_other_sensor": 2,
    "vegetation_filled": 4,
    "vegetation_provisional": 8,
    "vegetation_other_sensor": 16,
    "static_filled": 32,
    "predictor_missing": 64,  # one of the forest's: no estimate
    "frozen": 128,  # or under snow
    "below_residual_water": 256,
    "above_porosity": 512,
    "clipped": 1024,  # was farther above porosity than is let be
}
# Where the product advises against its own value; what is only filled or provisional is kept.
RECOMMENDED = ("frozen", "below_residual_water", "above_porosity", "clipped")
RECOMMENDED_BITS = np.uint16(sum(PRODUCT_FLAGS[name] for name in RECOMMENDED))
# What of the cube's flags a bit of the product gathers; the others are found in prediction.
_GATHERED: Mapping[str, tuple[str, ...]] = MappingProxyType({
    "lst_filled": ("lst_day_filled", "lst_night_filled"),
    "lst_other_sensor": (
        "lst_day_viirs", "lst_night_viirs", "lst_day_aqua", "lst_night_aqua",
    ),
    "vegetation_filled": ("vegetation_filled",),
    "vegetation_provisional": ("vegetation_provisional",),
    "vegetation_other_sensor": ("vegetation_viirs", "vegetation_aqua"),
    "static_filled": ("static_filled",),
})  # fmt: skip
_RESTS_ON = {"lst": ("lst", "lst_diff"), "vegetation": ("ndvi", "evi")}


def product_flags(cube_flags: NDArray[np.uint16], features: Collection[str]) -> NDArray[np.uint16]:
    """Return the product's bits that follow from the cube's.

    Parameters
    ----------
    cube_flags : array, uint16
        Bits of ``FLAGS``.
    features : collection of str
        Those of the forest: what it does not look at is not flagged.

    Returns
    -------
    array of the same shape, uint16
        Bits of ``PRODUCT_FLAGS``.
    """
    return _translation(frozenset(features))[cube_flags]


@lru_cache(maxsize=8)
def _translation(features: frozenset[str]) -> NDArray[np.uint16]:
    """Return the product's bits of each of the 65,536 combinations of the cube's."""
    combinations, found = np.arange(2**16, dtype="uint16"), np.zeros(2**16, dtype="uint16")
    for name, gathered in _GATHERED.items():
        needed = _RESTS_ON.get(name.split("_")[0])
        if needed is None or features & set(needed):
            bits = np.uint16(sum(FLAGS[other] for other in gathered))
            found[combinations & bits > 0] |= PRODUCT_FLAGS[name]
    return found


def flag_attrs(flags: dict[str, int], long_name: str) -> dict[str, object]:
    """CF attributes of a layer of flags."""
    return {
        "long_name": long_name,
        "flag_masks": list(flags.values()),
        "flag_meanings": " ".join(flags),
    }
