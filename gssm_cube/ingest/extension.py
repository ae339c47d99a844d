"""A cube that gets more days: what grows, and what it does not learn anew, so that its past stays.

The harmonics of LST and air temperature and the climate of the place rest on the days that the cube
had when they were fitted; blocks and units of those days keep their keys.
"""

import logging
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gssm_cube.cube import reanalysis_of
from gssm_cube.grid import Layout
from gssm_cube.harmonise.memory import MemoryState
from gssm_cube.ingest.inputs import LEAD_DAYS
from gssm_cube.storage.growth import set_attrs
from gssm_cube.storage.locations import Location
from gssm_cube.storage.stores import day_numbers, lengthen, open_group

logger = logging.getLogger(__name__)


def lengthen_cube(store: Location, layout: Layout, composites: NDArray[np.datetime64]) -> None:
    """Let writers see a cube with the days of a layout, of which it has the first.

    Parameters
    ----------
    store : Location
        Readers see nothing of it before ``growth.end_growth``.
    layout : Layout
        That of the cube, or with days added at its end.
    composites : (composite,) datetime64[D]
        Start dates of the layout's composites; those of the cube are the first of them.
    """
    days, starts = day_numbers(layout.time), day_numbers(composites)
    lengths = {
        "daily": {"time": layout.days},
        "meteo": {"time": layout.days, "window": len(layout.windows())},
        "composite": {"time": starts.size},
    }
    axes = {"daily/time": days, "meteo/time": days, "composite/time": starts}
    lengthen(store, layout, lengths, axes, {})


def fitted_layout(store: Location, layout: Layout, refit: bool) -> Layout:
    """Return the layout with the days that the climatology was fitted on, or is to be.

    Parameters
    ----------
    store : Location
        The cube; notes the days of a fit that is to come.
    layout : Layout
        Of the run.
    refit : bool
        Whether a climatology that was fitted is to follow the run.
    """
    if is_fitted(store) and not refit:
        last = str(_climatology(store)["fitted_on"]).split("/")[1]
        return replace(layout, last_day=date.fromisoformat(last))
    days = f"{layout.first_day}/{layout.last_day}"
    if _climatology(store)["fitted_on"] != days:
        set_attrs(store, {"fitted_on": days}, "climatology")
    return layout


def is_fitted(store: Location) -> bool:
    """Tell whether a cube's climatology was fitted, and so is frozen."""
    return "climatology_digest" in _climatology(store)


def _climatology(store: Location) -> dict[str, Any]:
    """Return what a cube says of its climatology."""
    return dict(open_group(store)["climatology"].attrs)


def held_climate_years(store: Location, refit: bool) -> tuple[int, int] | None:
    """Return the years of a cube's climate, if they are not to be chosen anew."""
    years: Any = open_group(store)["meteo"].attrs.get("climate_years")
    if refit or years is None or not is_fitted(store):
        return None
    return years[0], years[1]


def describe_soil(store: Location, found: tuple[str, ...]) -> None:
    """Say once what a run's files or its cube lack of what ERA5-Land itself says of the soil."""
    held = reanalysis_of(open_group(store))
    names = {"swvl1": "baseline of its soil moisture", "stl1": "frozen ground by its soil"}
    for name, use in names.items():
        if name not in held and name in found:
            logger.info(
                "%s was begun without %s: no %s; build it anew to have it", store, name, use
            )
        elif name not in found:
            logger.info("ERA5-Land's files have no %s: no %s on their days", name, use)


def describe_memory(store: Location, lead_days: int, years: tuple[int, int]) -> None:
    """Note in the cube how the memory was spun up and which years are the climate's."""
    held = open_group(store)["meteo"].attrs
    words = f"{lead_days} days before the first"
    if lead_days < LEAD_DAYS:
        words += ", after the first year that there is"
    said: dict[str, Any] = {
        "spin_up": words,
        "climate_years": list(years),
        "state_values": list(MemoryState._fields),
    }
    if any(held.get(name) != value for name, value in said.items()):
        set_attrs(store, said, "meteo")
