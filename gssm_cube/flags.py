"""The bits of the cube's quality layers: one table, so that layers can be joined by ``or``."""

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


def flag_attrs(flags: dict[str, int], long_name: str) -> dict[str, object]:
    """CF attributes of a layer of flags."""
    return {
        "long_name": long_name,
        "flag_masks": list(flags.values()),
        "flag_meanings": " ".join(flags),
    }
