"""What the step in space gains over filling gaps of LST in time alone, where the truth is known.

``python benchmarks/lst_space.py [--days 548] [--reaches 4,8,16] [--json FILE]``. The invented world
of the demo (192 x 192 pixels, two thirds land): clouds of its own weather hide the surface, 38 % of
a place; what they hide is filled by climatology and air temperature, and with what was seen
round it on that day. Errors are on hidden land, against the surface with its noise of 0.8 K a
pixel, which no filling can know.
"""

import argparse
import json
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from gssm_cube.grid import Layout
from gssm_cube.harmonise import temperature
from gssm_cube.harmonise.spatial import fill_residual
from gssm_cube.sources import synthetic
from gssm_cube.sources.world import SPINUP_DAYS

BOUNDS = (-32.0, 42.0, -30.4, 43.6)  # of the demo
FIRST = date(2018, 3, 1)
FAR = (1, 2, 4, 8, 16)  # pixels from the nearest observation


def series(world: synthetic.World, days: int, overpass: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the surface and what clouds leave of it, (day, land pixel), degC."""
    truth = np.empty((days, int(world.land.sum())), dtype="float32")
    seen = np.empty_like(truth)
    for day in range(days):
        truth[day] = synthetic.surface_temperature(world, day)[overpass] - 273.15
        clouded = synthetic.cloudy(world, day, synthetic.TERRA_HOURS[overpass])
        seen[day] = np.where(clouded, np.nan, truth[day])
    return truth, seen


def estimate_in_time(seen: NDArray[Any], tair: NDArray[Any], times: NDArray[Any]) -> NDArray[Any]:
    """Return climatology plus the departure of air temperature."""
    terms = temperature.harmonic_terms(times)
    curves = [
        temperature.climatology(
            terms, temperature.solve_harmonics(*temperature.normal_equations(terms, values))
        )
        for values in (seen, tair)
    ]
    return temperature.estimate_lst(curves[0], tair, curves[1])


def in_space(
    world: synthetic.World, residual: NDArray[Any], reach: float
) -> tuple[NDArray[Any], float]:
    """Return the residual filled day by day, (day, land pixel), and CPU seconds."""
    aspect = np.cos(np.radians(world.layout.lat))
    filled = np.empty_like(residual)
    plane = np.full(world.land.shape, np.nan, dtype="float32")
    begin = time.process_time()
    for number, day in enumerate(residual):
        plane[world.land] = day
        surface = fill_residual(plane, reach_pixels=reach, aspect=aspect)
        filled[number] = surface[world.land]
    return filled, time.process_time() - begin


def distances(world: synthetic.World, seen: NDArray[Any]) -> NDArray[Any]:
    """Pixels to the nearest observation of the day."""
    far = np.full(seen.shape, np.inf, dtype="float32")
    for number, day in enumerate(seen):
        gaps = np.ones(world.land.shape, dtype=bool)
        gaps[world.land] = np.isnan(day)
        if not gaps.all():
            far[number] = distance_transform_edt(gaps)[world.land]
    return far


def rmse(error: NDArray[Any], where: NDArray[np.bool_]) -> float:
    """Root mean square of an error."""
    return float(np.sqrt(np.mean(np.square(error[where]))))


def judge(world: synthetic.World, overpass: str, days: int, reaches: list[float]) -> dict[str, Any]:
    """Return errors in time and in space of an overpass, by reach and by distance."""
    truth, seen = series(world, days, overpass)
    tair = world.tair[SPINUP_DAYS : SPINUP_DAYS + days].astype("float32")
    estimate = estimate_in_time(seen, tair, world.layout.time[:days])
    hidden, far = np.isnan(seen), distances(world, seen)
    found: dict[str, Any] = {"temporal": rmse(estimate - truth, hidden)}
    bands = list(zip((0, *FAR), (*FAR, np.inf), strict=True))

    def by_distance(error: NDArray[Any]) -> list[float]:
        return [rmse(error, hidden & (far > a) & (far <= b)) for a, b in bands]

    found["temporal by distance"] = by_distance(estimate - truth)
    for reach in reaches:
        surface, seconds = in_space(world, seen - estimate, reach)
        error = estimate + surface - truth
        found[f"reach {reach:g}"] = rmse(error, hidden)
        found[f"reach {reach:g} by distance"] = by_distance(error)
        found[f"reach {reach:g} ns a pixel"] = 1e9 * seconds / (days * world.land.size)
    return found


def main() -> None:
    """Make the world, judge and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=548)
    parser.add_argument("--reaches", default="2,4,8,16,32")
    parser.add_argument("--json", type=Path, help="write the errors here")
    arguments = parser.parse_args()
    last = FIRST + timedelta(days=arguments.days - 1)
    world = synthetic.World(Layout.covering(BOUNDS, FIRST, last, 96), 0)
    reaches = [float(reach) for reach in arguments.reaches.split(",")]
    errors = {o: judge(world, o, arguments.days, reaches) for o in ("Day", "Night")}
    print(f"RMSE, K, on hidden land of {arguments.days} days; by distance up to {FAR} pixels, more")
    for overpass, found in errors.items():
        for name, value in found.items():
            shown = value if isinstance(value, list) else [value]
            print(f"{overpass:5s} {name:22s} {'  '.join(f'{v:.2f}' for v in shown)}")
    if arguments.json:
        arguments.json.write_text(json.dumps(errors, indent=1))


if __name__ == "__main__":
    main()
