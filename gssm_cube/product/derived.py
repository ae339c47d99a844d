"""Layers that follow from the stored ones: the bounds of the interval, and a masked estimate.

They are worked out when they are read, from packed codes, and come out as codes of soil moisture:
nothing is stored, no Dask graph is built.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from xarray.core import indexing

from gssm_cube.flags import RECOMMENDED, RECOMMENDED_BITS
from gssm_cube.lazy import PackedArray, Reader, Region, StoredReader
from gssm_cube.product.static_layers import mostly_no_soil, no_soil_arrays, no_soil_rule
from gssm_cube.storage.shards import read_box
from gssm_cube.storage.stores import DIMS, array_of
from gssm_cube.variables import FILL, SSM, SSM_SPREAD

Mask = Literal["recommended"]
ENDS = {"ssm_lower": -1, "ssm_upper": 1}
CODE_RANGE = (0, 1000)  # codes of 0 to 1 m3 m-3


@dataclass(frozen=True)
class BoundReader:
    """One end of the interval: ``ssm`` plus ``factor`` times ``sqrt(spread**2 + floor**2)``."""

    ssm: zarr.Array
    spread: zarr.Array
    factor: float  # negative for the lower end
    floor: float  # m3 m-3

    def read(self, region: Region) -> NDArray[np.int16]:
        """Read a region; what lies beyond 0 or 1 m3 m-3 is drawn to it."""
        codes, spread = read_box(self.ssm, region), read_box(self.spread, region)
        return interval_ends(codes, spread, self.factor, self.floor)


def interval_of(attrs: Mapping[str, Any]) -> dict[str, float]:
    """Return ``level``, ``factor`` and ``floor`` (m3 m-3) of a product's interval, or nothing."""
    return json.loads(str(attrs.get("interval") or "null")) or {}


def interval_ends(
    codes: NDArray[np.int16], spread: NDArray[np.int16], factor: float, floor: float
) -> NDArray[np.int16]:
    """Return one end of the interval, packed as soil moisture is.

    Parameters
    ----------
    codes, spread : arrays of one shape, int16
        Packed ``ssm`` and ``ssm_spread``.
    factor : float
        Negative for the lower end.
    floor : float, m3 m-3
    """
    scale = np.hypot(SSM_SPREAD.packing.decode(spread), np.float32(floor))
    ends = codes + np.rint(factor * scale / SSM.packing.scale)
    known = (codes != FILL) & (spread != FILL)
    return np.where(known, np.clip(ends, *CODE_RANGE), FILL).astype("int16")


@dataclass(frozen=True)
class MaskedReader:
    """Codes of a layer, missing where one of the recommended bits is set, or a pixel is no soil."""

    layer: Reader
    quality: zarr.Array
    no_soil: tuple[zarr.Array, ...] = ()

    def read(self, region: Region) -> NDArray[np.int16]:
        """Read a region."""
        advised_against = read_box(self.quality, region) & RECOMMENDED_BITS > 0
        advised_against |= mostly_no_soil(self.no_soil, *region[1:])
        return np.where(advised_against, FILL, self.layer.read(region)).astype("int16")


def with_derived_layers(dataset: xr.Dataset, root: zarr.Group, mask: Mask | None) -> xr.Dataset:
    """Return a product with the ends of its interval, and masked if that is wanted.

    Parameters
    ----------
    dataset : Dataset (time, lat, lon)
        As stored.
    root : Group
        Of the same store.
    mask : "recommended" or None

    Raises
    ------
    ValueError
        If there is no such mask.
    """
    if mask is not None and mask not in get_args(Mask):
        raise ValueError(f"mask is {mask!r}, expected one of {get_args(Mask)} or None")
    ssm, quality = array_of(root, "ssm"), array_of(root, "quality")
    readers: dict[str, Reader] = {}
    about = {"ssm": dict(dataset["ssm"].attrs)}
    interval = interval_of(dataset.attrs)
    for name, sign in ENDS.items() if interval else ():
        factor = sign * interval["factor"]
        readers[name] = BoundReader(ssm, array_of(root, "ssm_spread"), factor, interval["floor"])
        about[name] = _end_attrs(name, interval)
    if mask is not None:
        readers = {"ssm": StoredReader(ssm), **readers}
        no_soil = tuple(no_soil_arrays(root))
        readers = {name: MaskedReader(reader, quality, no_soil) for name, reader in readers.items()}
        rule = f"missing where quality has {' or '.join(RECOMMENDED)}{no_soil_rule(no_soil)}"
        about = {name: {**attrs, "mask": rule} for name, attrs in about.items()}
    layers = {}
    for name, reader in readers.items():
        array = PackedArray(reader, ssm.shape, SSM.packing)
        layers[name] = (DIMS, indexing.LazilyIndexedArray(array), about[name])
    return dataset.assign(layers)


def _end_attrs(name: str, interval: Mapping[str, float]) -> dict[str, str]:
    """Say what an end of the interval is."""
    end = name.removeprefix("ssm_").capitalize()
    return {
        "long_name": f"{end} end of the {interval['level']:.0%} interval of surface soil moisture",
        "units": SSM.units,
        "comment": (
            f"ssm {'-' if ENDS[name] < 0 else '+'} {interval['factor']:.4g} sqrt(ssm_spread^2 + "
            f"{interval['floor']:g}^2), calibrated on stations that their forests had not seen"
        ),
    }
