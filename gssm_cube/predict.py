"""From features to soil moisture: one block, a lazy region, or the whole run.

A region goes through ``predict_block``, a pure function of a Dataset and a forest; the whole run
through the block kernel on packed codes (``estimate``), which gives the same bits. NaN goes out
wherever a feature is missing. A lazy region is what the forest says; only the whole run leaves out
frozen ground and holds the estimate against what the soil can hold.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from gssm_cube import blocks, cube, product
from gssm_cube.block_inputs import block_sizes, check_complete, input_units
from gssm_cube.blocks import Client, Progress
from gssm_cube.clusters import ForestPlugin, register
from gssm_cube.estimate import Frozen, estimate_block
from gssm_cube.forest import CompiledForest, forest_hash, load_forest
from gssm_cube.forest.folder import CARD_FILE
from gssm_cube.grid import Block, Layout
from gssm_cube.storage import locations
from gssm_cube.storage.fetched import fetch_folder
from gssm_cube.storage.growth import end_growth, is_growing
from gssm_cube.storage.locations import Location
from gssm_cube.storage.run_log import NO_LOG, RunLog
from gssm_cube.storage.stores import DIMS, open_group, read_layout
from gssm_cube.variables import FILL, SSM, SSM_SPREAD

STAGE = product.STAGE


@lru_cache(maxsize=2)
def open_forest(path: str, digest: str = "") -> CompiledForest:
    """Open a saved forest once per process; its arrays are mapped, a URL is fetched once a machine.

    ``digest`` tells forests apart that one folder held in turn: another one is opened anew, and
    must be the one that is there.
    """
    if "://" in path:
        path = str(
            fetch_folder(path, f"forest_{digest}", lambda copy: load_forest(copy, check=True))
        )
    found = forest_hash(path)
    if digest and found != digest:
        raise ValueError(
            f"{path} holds the forest {found[:16]}, expected {digest[:16]}; it was trained again "
            "during the run, or the worker sees another folder: start again"
        )
    return load_forest(path)


def local_forest(folder: Path, url: str | None) -> Path:
    """Return the folder of a forest: as given, or this machine's copy of the one at a URL.

    Raises
    ------
    FileNotFoundError
        If there is neither.
    """
    if url is None or (folder / CARD_FILE).exists():
        return folder
    record = locations.read(locations.join(url, CARD_FILE))
    if record is None:
        raise FileNotFoundError(f"no forest in {folder} or at {url}: run `gssm train` first")
    digest = str(json.loads(record)["digest"])
    if not digest.isalnum():  # it becomes the name of a folder
        raise ValueError(f"{url} is not a forest of this package: its digest is {digest[:70]!r}")
    name = f"forest_{digest}"
    return fetch_folder(url, name, lambda copy: load_forest(copy, check=True))


# ---- one block --------------------------------------------------------------------------------


def feature_values(features: xr.Dataset, names: Sequence[str], place: NDArray[np.bool_]) -> Any:
    """Return float32 rows (day and pixel, feature), static features repeated.

    Parameters
    ----------
    features : Dataset (time, lat, lon)
        Decoded, in memory; static ones are (lat, lon), positions are coordinates.
    names : sequence of str
        Columns, in this order.
    place : (lat, lon) bool
        Pixels that become rows; days vary slowest.
    """
    days = features.sizes["time"]
    rows = np.empty((days, int(place.sum()), len(names)), dtype="float32")
    for column, name in enumerate(names):
        dims = tuple(dim for dim in DIMS if dim in features[name].dims)
        values = features[name].transpose(*dims).values
        if "time" not in dims:
            shape = [features.sizes[dim] if dim in dims else 1 for dim in DIMS[1:]]
            values = np.broadcast_to(values.reshape(shape), place.shape)
        rows[:, :, column] = values[..., place]
    return rows.reshape(-1, len(names))


def predict_block(features: xr.Dataset, forest: CompiledForest) -> xr.DataArray:
    """Estimate the soil moisture of one block; NaN wherever a feature is missing.

    Parameters
    ----------
    features : Dataset (time, lat, lon)
        With all of the forest's features, decoded; loaded here if lazy. Where ``land`` is given,
        sea is left out beforehand.
    forest : CompiledForest

    Returns
    -------
    DataArray (time, lat, lon), float32, m3 m-3
    """
    shape = tuple(features.sizes[dim] for dim in DIMS)
    place = np.ones(shape[1:], dtype=bool)
    if "land" in features:
        place = features["land"].transpose("lat", "lon").values == 1
    ssm = np.full(shape, np.nan, dtype="float32")
    if place.any() and shape[0]:
        rows = feature_values(features, forest.features, place)
        ssm[:, place] = forest.predict_array(rows).reshape(shape[0], -1)
    coords = {dim: features[dim] for dim in DIMS}
    return xr.DataArray(ssm, coords, DIMS, name="ssm", attrs=SSM.attrs)


def check_features(features: xr.Dataset, forest: CompiledForest) -> None:
    """Raise if the Dataset lacks features that the forest needs, or has other days."""
    missing = [name for name in forest.features if name not in features.variables]
    if missing:
        raise ValueError(
            f"the forest needs {missing}, which the features {sorted(map(str, features.data_vars))}"
            " do not have; build the cube with them or train another preset"
        )
    learnt, found = forest.card.get("day"), features.attrs.get("gssm_day")
    if learnt and found and learnt != found:
        raise ValueError(
            f"the forest was trained on {learnt!r} days, those of the features are {found!r}; "
            "train it on samples of this cube"
        )


def predict(features: xr.Dataset, forest: CompiledForest | str | Path) -> xr.DataArray:
    """Estimate the soil moisture of any region of an opened cube, lazily.

    Parameters
    ----------
    features : Dataset (time, lat, lon)
        A region of ``open_cube``, or a single day, row or column of it; given inner chunks of 366
        days and 48 x 48 pixels if it has none.
    forest : CompiledForest or path
        With a path, each worker process opens it by itself: quicker for many processes.

    Returns
    -------
    DataArray (time, lat, lon), float32, m3 m-3
        Lazy, of those dimensions that the features have; NaN over sea and where a feature is
        missing. Neither frozen ground is left out nor the estimate held against the soil:
        ``physics`` has what does so.

    Raises
    ------
    ValueError
        If the forest needs a feature that is not there, or the features are no region.
    """
    keep: Any = forest
    if isinstance(forest, str | Path):
        keep = partial(open_forest, str(forest), digest=forest_hash(forest))
    opened = keep() if callable(keep) else keep
    check_features(features, opened)
    features, single = _as_region(features)
    names = [name for name in opened.features if name not in features.dims]
    if "land" in features:
        names.append("land")
    wanted = features[names]
    if not wanted.chunks:
        wanted = wanted.chunk(time=366, lat=48, lon=48)
    chunks = tuple(wanted.chunks[dim] for dim in DIMS)
    shape = tuple(wanted.sizes[dim] for dim in DIMS)
    coords = {dim: wanted[dim] for dim in DIMS}
    empty = da.empty(shape, dtype="float32", chunks=chunks)
    template = xr.DataArray(empty, coords, DIMS, name="ssm", attrs=SSM.attrs)
    ssm = xr.map_blocks(_predict_chunk, wanted, kwargs={"forest": keep}, template=template)
    return ssm.squeeze(single)


def _as_region(features: xr.Dataset) -> tuple[xr.Dataset, list[str]]:
    """Return features with all three dimensions, and which of them a selection took away."""
    single = [dim for dim in DIMS if dim in features.coords and not features[dim].dims]
    region = features.expand_dims(single)
    if set(DIMS) - {*region.dims}:
        raise ValueError(
            f"the features have the dimensions {sorted(map(str, features.dims))}, expected a "
            f"region of {DIMS}; select by slices, lists or single values, and take points from it"
        )
    if "land" in features:  # of no day
        place = [dim for dim in single if dim != "time"]
        region = region.assign(
            land=features["land"].drop_vars("time", errors="ignore").expand_dims(place)
        )
    return region, single


def _predict_chunk(
    features: xr.Dataset, forest: CompiledForest | Callable[[], CompiledForest]
) -> xr.DataArray:
    """Predict one Dask chunk, by a forest or what opens it."""
    return predict_block(features, forest() if callable(forest) else forest)


# ---- the whole run ----------------------------------------------------------------------------


@dataclass(frozen=True)
class PredictBlock:
    """Task: one block, streamed by inner chunks, one shard and one marker."""

    cube: Location
    product: Location
    forest: Path | str  # a folder that all workers see, or a URL
    forest_digest: str
    layout: Layout
    starts: tuple[int, ...]  # of the composites, days after the first day
    frozen: Frozen
    reanalysis: bool = False  # whether the cube holds ERA5-Land's own soil

    def key(self, block: Block, read: blocks.ReadContents | None = None) -> str:
        """Return a hash of all that a block depends on: forest, packing, its inputs' markers."""
        parts = input_units(self.layout, block, self.starts, reanalysis=self.reanalysis)
        read = read or blocks.read_together(self.cube, parts)
        inputs = [
            (stage, blocks.stage_digest(self.cube, stage, units, read))
            for stage, units in parts.items()
        ]
        packing = str((SSM.packing, SSM_SPREAD.packing))
        return blocks.digest(product.FORMAT, packing, self.forest_digest, self.frozen, inputs)

    def forest_plugin(self) -> ForestPlugin:
        """Return what opens the forest on all workers."""
        return ForestPlugin(str(self.forest), partial(open_forest, digest=self.forest_digest))

    def left(self, units: Sequence[Block], read: blocks.ReadContents) -> list[str]:
        """Return the labels of the blocks that are not done under their present keys."""
        keys = {str(block): self.key(block, read) for block in units}
        return blocks.not_done(self.product, STAGE, keys)

    def show(self, units: Sequence[Block], read: blocks.ReadContents) -> None:
        """Let readers see the days by which the product grew, once all its blocks are done."""
        if is_growing(self.product) and not self.left(units, read):
            end_growth(self.product)

    def __call__(self, unit: str) -> dict[str, Any]:
        """Write the block's soil moisture, its spread and its flags."""
        block = blocks.parse_block(unit, self.layout)
        forest = open_forest(str(self.forest), digest=self.forest_digest)
        found = estimate_block(self.cube, self.layout, block, forest, self.frozen)
        objects = product.write_block(self.product, self.layout, block, found.layers)
        facts = {
            "valid": int((found.codes != FILL).sum()),
            "checksum": blocks.digest([blocks.checksum(layer) for layer in found.layers]),
            **found.counts,
        }
        key = self.key(block)
        written = blocks.write_marker(self.product, STAGE, unit, key, objects, **facts)
        return facts | {"bytes": written}


def predict_product(
    store: Location,
    target: Location,
    forest: Path,
    attrs: Mapping[str, Any],
    *,
    frozen: Frozen = "mask",
    client: Client | None = None,
    progress: Progress = blocks.silent,
    log: RunLog = NO_LOG,
    part: tuple[int, int] | None = None,
    forest_url: str | None = None,
    take_over: bool = False,
) -> tuple[pd.DataFrame, int]:
    """Predict all land blocks of a cube that are not done yet, or one part of them.

    Parameters
    ----------
    store, target : path or URL
        Feature cube and product; workers must see them there.
    forest : Path
        Its folder.
    attrs : mapping
        Provenance for the product's attributes.
    frozen : "mask" or "flag"
        Whether soil moisture is missing where the ground is frozen, or only flagged.
    client : distributed.Client, optional
    progress : callable
    log : RunLog
        Gets a row for each block.
    part : (int, int), optional
        The first of so many parts is (1, n); parts may run at once, each in a process of its own.
    forest_url : str, optional
        From where workers fetch the forest, if they do not see its folder.
    take_over : bool
        Break the lease that another run has on a product in an object store.

    Returns
    -------
    status : DataFrame
        One row for each block that was predicted, with its counts of flags.
    skipped : int
        Blocks that were done before, by this forest from these features.

    Raises
    ------
    FileNotFoundError, ValueError
        If cube or forest are missing or do not fit, before any block.
    UnitsFailed
        If blocks failed, after all were tried.
    """
    layout = read_layout(store)
    opened = load_forest(forest)
    check_features(cube.open_cube(store), opened)
    read = cache(blocks.marker_contents)  # many blocks share a marker
    every, starts = check_complete(store, read)
    units = every if part is None else every[part[0] - 1 :: part[1]]
    soil = bool(cube.reanalysis_of(open_group(store)))
    work = PredictBlock(
        store, target, forest_url or forest, opened.digest, layout, starts, frozen, soil
    )
    hold = partial(blocks.locked, take_over=take_over) if part is None else blocks.locked_in_part
    with hold(target, partial(_prepare, target, layout, attrs)) as check_held:
        todo = work.left(units, read)
        blocks.remove_damaged(target, STAGE, todo)
        if client is not None:
            register(client, work.forest_plugin())
        sizes, skipped = block_sizes(store, layout, todo), len(units) - len(todo)
        with log.stage(STAGE, sizes, skipped, blocks.marker_folder(target, STAGE)) as stage_log:
            status = blocks.run_units(
                work, todo, stage=STAGE, client=client, progress=progress,
                note=blocks.in_turn(stage_log.add, check_held), weights=sizes,
            )  # fmt: skip
        _clean_after_losses(target, status)
        work.show(every, read)
    return status, skipped


def _prepare(target: Location, layout: Layout, attrs: Mapping[str, Any]) -> None:
    """Create the empty product, or get one that is there ready for what it lacks."""
    blocks.remove_partial_files(target)
    product.create_product(target, layout, attrs)


def _clean_after_losses(target: Location, status: pd.DataFrame) -> None:
    """Remove what lost workers were writing; only while the product is locked."""
    if len(status) and status["retries"].any():
        blocks.remove_partial_files(target)
