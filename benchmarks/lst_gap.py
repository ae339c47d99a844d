"""Fill the cloud gap of one land surface temperature scene, and judge ways to do so.

``python benchmarks/lst_gap.py IN OUT [--variable lst] [--json FILE]``. A fifth of the valid pixels
is hidden in cloud-like patches, several times; each way fills them from the rest. OUT is IN with
its own gaps filled by the package's way, observed pixels to the bit.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from gssm_cube.harmonise.spatial import fill_residual

SEEDS = range(4)
HIDDEN = 0.2  # of the valid pixels
# Sizes (pixels, north to south) and weights of the fields whose highest places are the clouds.
SCALES = ((18.0, 1.0), (4.8, 0.6), (1.2, 0.35))
Scene = NDArray[np.float64]


def cloud(valid: NDArray[np.bool_], seed: int) -> NDArray[np.bool_]:
    """Return valid pixels to hide: where a rough random field is highest."""
    rng = np.random.default_rng(seed)
    field = np.zeros(valid.shape)
    for size, weight in SCALES:
        part = gaussian_filter(rng.normal(size=valid.shape), (size, 2.7 * size), mode="wrap")
        field += weight * part / part.std()
    return (field > np.quantile(field[valid], 1 - HIDDEN)) & valid


def by_mean(scene: Scene) -> Scene:
    """Fill with the scene's mean."""
    return np.where(np.isnan(scene), np.nanmean(scene), scene)


def by_nearest(scene: Scene) -> Scene:
    """Fill with the nearest observed pixel."""
    places = distance_transform_edt(np.isnan(scene), return_distances=False, return_indices=True)
    return scene[tuple(places)]


WAYS: dict[str, Callable[[Scene], Scene]] = {
    "spatial mean": by_mean,
    "nearest neighbour": by_nearest,
    "fill_residual": fill_residual,
}


def judge(scene: Scene) -> dict[str, list[float]]:
    """Return the RMSE of each way on the hidden pixels of each seed."""
    valid = np.isfinite(scene)
    errors: dict[str, list[float]] = {name: [] for name in WAYS}
    for seed in SEEDS:
        hidden = cloud(valid, seed)
        shown = np.where(hidden, np.nan, scene)
        for name, way in WAYS.items():
            errors[name].append(float(np.sqrt(np.mean((way(shown) - scene)[hidden] ** 2))))
    return errors


def fill_file(source: Path, target: Path, variable: str) -> Scene:
    """Write the scene with its gaps filled; return it as it was."""
    with xr.open_dataset(source, engine="netcdf4") as dataset:
        whole = dataset.load()
    if variable not in whole or whole[variable].ndim != 2:
        raise ValueError(f"{source} has {list(whole.data_vars)}, expected {variable} (lat, lon)")
    scene = whole[variable].values.astype("float64")
    filled = whole[variable].copy(data=fill_residual(scene).astype(whole[variable].dtype))
    filled.values[np.isfinite(scene)] = whole[variable].values[np.isfinite(scene)]
    whole.assign({variable: filled}).to_netcdf(target, engine="netcdf4")
    return scene


def main() -> None:
    """Fill, judge and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="NetCDF of one scene, degC, NaN where cloudy")
    parser.add_argument("target", type=Path, help="where the filled scene goes")
    parser.add_argument("--variable", default="lst")
    parser.add_argument("--json", type=Path, help="write the errors here")
    arguments = parser.parse_args()
    errors = judge(fill_file(arguments.source, arguments.target, arguments.variable))
    print(f"RMSE, degC, on {HIDDEN:.0%} of the valid pixels hidden, {len(SEEDS)} times")
    for name, found in errors.items():
        print(f"{name:18s} {np.mean(found):.3f} ({min(found):.2f} to {max(found):.2f})")
    if arguments.json:
        arguments.json.write_text(json.dumps(errors, indent=1))


if __name__ == "__main__":
    main()
