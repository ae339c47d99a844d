"""One block as the product keeps it: the forest's estimate, held against physics, and its flags.

Everything is done on packed codes, inner chunk by inner chunk, so that memory holds the block's
three layers and one chunk's features.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from gssm_cube import cube, physics
from gssm_cube.flags import PRODUCT_FLAGS, product_flags
from gssm_cube.forest import CompiledForest, predict_codes
from gssm_cube.grid import Block, Layout, inner_chunks
from gssm_cube.product import Layers
from gssm_cube.storage.locations import Location
from gssm_cube.storage.stores import DIMS
from gssm_cube.variables import FILL, PREDICTORS, SSM, SSM_SPREAD, STORED

Frozen = Literal["mask", "flag"]
SOIL = ("clay", "sand", "porosity")  # that the bounds follow from
COLD = ("tair_7d", "swe", "stl1")  # that tell frozen ground; the cube may lack the last
# What is counted by block; the other flags are those of the cube.
COUNTED = (
    "predictor_missing", "frozen", "below_residual_water", "above_porosity", "clipped",
)  # fmt: skip

Codes = dict[str, NDArray[np.int16]]


class Estimate(NamedTuple):
    """What the product stores of a block, and the count of each flag of ``COUNTED``."""

    codes: NDArray[np.int16]
    spread: NDArray[np.int16]
    quality: NDArray[np.uint16]
    counts: dict[str, int]

    @property
    def layers(self) -> Layers:
        """What the product stores."""
        return Layers(self.codes, self.spread, self.quality)


def estimate_block(
    store: Location, layout: Layout, block: Block, forest: CompiledForest, frozen: Frozen
) -> Estimate:
    """Return what the product says of a block.

    Parameters
    ----------
    store : path
        The feature cube.
    layout, block
    forest : CompiledForest
    frozen : "mask" or "flag"
        Whether soil moisture is missing where the ground is frozen, or only flagged.

    Returns
    -------
    Estimate
        Arrays (time, lat, lon) of the block; over the sea missing, and without a flag.
    """
    shape = (block.window.days, layout.tile_size, layout.tile_size)
    codes, spreads = (np.full(shape, FILL, dtype="int16") for _ in range(2))
    quality = np.zeros(shape, dtype="uint16")
    origin = cube.quality_reader(store, block)
    for region, place, chunk in _land_chunks(store, layout, block, forest.features):
        dynamic, static = split_codes(chunk, forest.features)
        # Both float64: rounded once, to a code.
        ssm, spread = predict_codes(forest, dynamic, static, spread=True)
        found = product_flags(origin.read_origin(region), forest.features)
        found[np.isnan(ssm)] |= PRODUCT_FLAGS["predictor_missing"]
        ssm = _hold_against_soil(ssm, chunk, found)
        known = [name for name in COLD if name in chunk]
        cold = physics.frozen(*(STORED[name].packing.decode(chunk[name]) for name in known))
        found[cold] |= PRODUCT_FLAGS["frozen"]
        if frozen == "mask":
            ssm[cold] = spread[cold] = np.nan
        land = chunk["land"].values == 1
        codes[place] = np.where(land, SSM.packing.encode(ssm), FILL)
        spreads[place] = np.where(land, SSM_SPREAD.packing.encode(spread), FILL)
        quality[place] = np.where(land, found, 0)
    return Estimate(codes, spreads, quality, count_flags(quality, COUNTED))


def count_flags(quality: NDArray[np.uint16], names: Iterable[str]) -> dict[str, int]:
    """Count the pixel-days that have each of some flags."""
    return {name: int(np.count_nonzero(quality & PRODUCT_FLAGS[name])) for name in names}


def _land_chunks(
    store: Location, layout: Layout, block: Block, features: Sequence[str]
) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...], xr.Dataset]]:
    """Yield inner chunks with land: their place in the cube, in the block, and their codes."""
    rows, cols = layout.tile_slices(block.tile)
    names = [name for name in dict.fromkeys([*features, *SOIL, *COLD]) if name not in DIMS]
    dataset = cube.open_cube(store, block=block, mask_and_scale=False, names=names)
    for lat, lon in inner_chunks(rows, cols):
        chunk = dataset.isel(time=block.window.slice, lat=lat, lon=lon)
        if not (chunk["land"].values == 1).any():
            continue
        top, left = lat.start - rows.start, lon.start - cols.start
        height, width = chunk.sizes["lat"], chunk.sizes["lon"]
        place = (slice(None), slice(top, top + height), slice(left, left + width))
        yield (block.window.slice, lat, lon), place, chunk.load()


def _hold_against_soil(
    ssm: physics.Values, chunk: xr.Dataset, flags: NDArray[np.uint16]
) -> physics.Values:
    """Bound a chunk's estimate by its soil and note where it was outside."""
    clay, sand, porosity = (PREDICTORS[name].packing.decode(chunk[name]) for name in SOIL)
    residual = physics.residual_water(clay, sand, porosity)
    found = physics.bound(ssm, residual, porosity)
    flags[found.below_residual] |= PRODUCT_FLAGS["below_residual_water"]
    flags[found.above_porosity] |= PRODUCT_FLAGS["above_porosity"]
    flags[found.clipped] |= PRODUCT_FLAGS["clipped"]
    return found.ssm


def split_codes(features: xr.Dataset, names: Sequence[str]) -> tuple[Codes, Codes]:
    """Return the packed features of a chunk: (time, lat, lon) ones, and (lat, lon) ones.

    Positions are packed here, for the cube does not store them.
    """
    dynamic: Codes = {}
    static: Codes = {}
    shape = features.sizes["lat"], features.sizes["lon"]
    for name in names:
        if name in DIMS:
            values = PREDICTORS[name].packing.encode(features[name].values)
            across = values[:, np.newaxis] if name == "lat" else values
            static[name] = np.ascontiguousarray(np.broadcast_to(across, shape))
        elif "time" in features[name].dims:
            dynamic[name] = features[name].values
        else:
            static[name] = features[name].values
    return dynamic, static
