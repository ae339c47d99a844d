"""Composites of vegetation as the scratch holds them, decoded."""

from dataclasses import dataclass

import numpy as np
import zarr
from numpy.typing import NDArray

from gssm_cube.harmonise import vegetation
from gssm_cube.ingest.sensors import own_start, vegetation_array
from gssm_cube.storage.stores import array_of


@dataclass(frozen=True)
class Composites:
    """An index by composite: ``values`` (1), own ``dates`` (days since 1970), ``weights``.

    All (composite, lat, lon), float32; values and dates NaN where missing, weights then 0.
    """

    values: NDArray[np.float32]
    dates: NDArray[np.float32]
    weights: NDArray[np.float32]


def read_composites(
    scratch_root: zarr.Group, sensor: str, name: str, near: slice, rows: slice, cols: slice
) -> Composites:
    """Read a sensor's composites of ``ndvi`` or ``evi``."""
    numbers, reliability, day = (
        np.asarray(array_of(scratch_root, vegetation_array(sensor, layer))[near, rows, cols])
        for layer in (name, "reliability", "day")
    )
    valid = (numbers >= -2000) & (numbers <= 10000)  # MOD13 user guide (Didan et al. 2015)
    values = np.where(valid, numbers * np.float32(0.0001), np.float32(np.nan))
    starts = np.asarray(scratch_root.attrs["composites"], dtype="M8[D]")[near]
    dates = vegetation.composite_dates(own_start(sensor, starts), day)
    weights = vegetation.reliability_weights(reliability)
    weights = np.where(np.isnan(values) | np.isnan(dates), np.float32(0), weights)
    return Composites(values, dates, weights)
