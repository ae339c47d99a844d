"""Fill gaps of NDVI composites of several years, and judge ways to do so.

``python benchmarks/ndvi_gap.py IN OUT [--json FILE]``. IN holds variables (x, y, doy, year), each
filled from itself alone. A fifth of the valid pixels of each date is hidden in cloud-like patches,
several times. OUT is IN with its gaps filled, observed values to the bit.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import xarray as xr
from lst_gap import HIDDEN
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from gssm_cube.harmonise.spatial import fill_residual

DIMS = ("x", "y", "doy", "year")
SEEDS = range(2)
# Sizes (pixels) and weights of the fields whose highest places are the clouds.
SCALES = ((9.0, 1.0), (3.0, 0.6), (1.0, 0.3))
Values = NDArray[np.float64]  # (x, y, doy, year)


def clouds(valid: NDArray[np.bool_], seed: int) -> NDArray[np.bool_]:
    """Return valid values to hide, as large a share of every date."""
    rng = np.random.default_rng(seed)
    field = np.zeros(valid.shape)
    for size, weight in SCALES:
        part = gaussian_filter(rng.normal(size=valid.shape), (size, size, 0, 0), mode="wrap")
        field += weight * part / part.std()
    seen = np.where(valid, field, np.nan)
    return (field > np.nanquantile(seen, 1 - HIDDEN, axis=(0, 1), keepdims=True)) & valid


def mean_of(values: Values, axes: tuple[int, ...]) -> Values:
    """Return the mean of what is there; NaN where nothing is."""
    count = np.isfinite(values).sum(axis=axes, keepdims=True)
    return np.nansum(values, axis=axes, keepdims=True) / np.where(count, count, np.nan)


def by_other_years(values: Values) -> Values:
    """Fill with the same date's mean of other years; NaN where no year has it."""
    return np.where(np.isnan(values), mean_of(values, (3,)), values)


def by_years_and_space(values: Values) -> Values:
    """Fill with level of the date, place within the season, and what neighbours deviate.

    A date's level is its median; a pixel's place is its mean deviation from the level on this date
    in all years (on all dates, where none has it); what is then left of the date's observed pixels
    is carried into its gaps.
    """
    level = np.nanmedian(values, axis=(0, 1), keepdims=True)
    deviation = values - level
    place = mean_of(deviation, (3,))
    place = np.where(np.isnan(place), mean_of(deviation, (2, 3)), place)
    estimate = level + _over_dates(place)
    estimate = estimate + _over_dates(values - estimate)
    return np.where(np.isnan(values), estimate, values)


def _over_dates(values: Values) -> Values:
    """Fill each date's gaps in space; a date of which nothing is known is 0."""
    filled = np.empty_like(values)
    for date in np.ndindex(values.shape[2:]):
        surface = fill_residual(values[:, :, *date])
        filled[:, :, *date] = np.where(np.isnan(surface), 0.0, surface)
    return filled


def judge(values: Values) -> dict[str, list[float]]:
    """Return the RMSE of both ways on hidden values that other years can fill, and ours on all."""
    errors: dict[str, list[float]] = {"other years": [], "years and space": [], "on all": []}
    for seed in SEEDS:
        hidden = clouds(np.isfinite(values), seed)
        shown = np.where(hidden, np.nan, values)
        others, ours = by_other_years(shown), by_years_and_space(shown)
        both = hidden & np.isfinite(others)
        for name, filled, where in (("other years", others, both), ("years and space", ours, both),
                                    ("on all", ours, hidden)):  # fmt: skip
            errors[name].append(float(np.sqrt(np.mean((filled - values)[where] ** 2))))
    return errors


def main() -> None:
    """Fill, judge and print, variable by variable."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="NetCDF, variables (x, y, doy, year)")
    parser.add_argument("target", type=Path, help="where the filled variables go")
    parser.add_argument("--json", type=Path, help="write the errors here")
    arguments = parser.parse_args()
    with xr.open_dataset(arguments.source, engine="netcdf4") as opened:
        whole = opened.load()
    errors = {}
    print(f"RMSE on {HIDDEN:.0%} of the valid values of each date hidden, {len(SEEDS)} times")
    for name, array in whole.data_vars.items():
        if array.dims != DIMS:
            raise ValueError(f"{arguments.source}: {name} has {array.dims}, expected {DIMS}")
        values = array.values.astype("float64")
        filled = by_years_and_space(values).astype(array.dtype)
        whole[name] = array.copy(data=np.where(np.isnan(array.values), filled, array.values))
        errors[str(name)] = judge(values)
        means = "  ".join(f"{way} {np.mean(found):.4f}" for way, found in errors[str(name)].items())
        print(f"{name}: {means}")
    whole.to_netcdf(arguments.target, engine="netcdf4")
    if arguments.json:
        arguments.json.write_text(json.dumps(errors, indent=1))


if __name__ == "__main__":
    main()
