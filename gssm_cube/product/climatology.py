"""What is normal at a place on a day of the year, and how far a day departs from it.

A climatology describes all values of the baseline years that fall within 15 days of a day of the
year: mean, standard deviation and percentiles, of which 2, 5, 10, 20 and 30 are the thresholds of
the US Drought Monitor (Svoboda et al. 2002, doi:10.1175/1520-0477-83.8.1181). Days are those of a
leap year, so that 1 March is day 61 in every year. ``anomaly`` and ``percentile`` are lazy.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from math import gcd
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
import zarr
from numpy.typing import NDArray

from gssm_cube import blocks
from gssm_cube.blocks import Client, Progress
from gssm_cube.grid import CHUNK_PIXELS, WINDOW_DAYS, Layout, Tile, inner_chunks
from gssm_cube.product.day_statistics import (
    LAYERS,
    MINIMUM,
    PACKING,
    PERCENTILES,
    REACH,
    YEAR_DAYS,
    day_of_leap_year,
    describe_days,
    rank_values,
)
from gssm_cube.product.store import STAGE as PREDICTED
from gssm_cube.product.store import check_product
from gssm_cube.storage.locations import Location
from gssm_cube.storage.shards import read_box
from gssm_cube.storage.stores import (
    array_of,
    create_array,
    created_whole,
    exists,
    layout_attrs,
    open_dataset,
    open_group,
    packed_attrs,
    read_layout,
    write_coordinate,
    write_position,
    write_region,
)
from gssm_cube.variables import FILL

logger = logging.getLogger(__name__)

FORMAT = "gssm_cube climatology 1"
STAGE = "climatology"
DAY_CHUNK = 61  # a sixth of the year: a day's map reads no more
SHARD_PIXELS = 96


# ---- using it ---------------------------------------------------------------------------------


def open_climatology(store: Location) -> xr.Dataset:
    """Open a climatology lazily.

    Returns
    -------
    Dataset (dayofyear, lat, lon)
        ``ssm_mean``, ``ssm_sd`` in m3 m-3, and ``ssm_percentile`` (percentile, dayofyear, lat,
        lon); NaN where the baseline has fewer than 31 values.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no store, or another.
    """
    check_climatology(store)
    return open_dataset(store)


def anomaly(ssm: xr.DataArray, climatology: xr.Dataset) -> xr.DataArray:
    """Return soil moisture minus what is normal on that day of the year.

    Parameters
    ----------
    ssm : DataArray (time, ...), m3 m-3
        Of the product, or a part of it.
    climatology : Dataset
        As ``open_climatology`` gives it; must cover the part.

    Returns
    -------
    DataArray (time, ...), m3 m-3
        Lazy: a Dask array, of the chunks of ``ssm`` if it has any.
    """
    ssm, normal = _matched(ssm, climatology["ssm_mean"])
    departure = (ssm - normal).rename("ssm_anomaly")
    attrs = {"long_name": "Surface soil moisture minus its climatology", "units": "m3 m-3"}
    return departure.assign_attrs(attrs)


def percentile(ssm: xr.DataArray, climatology: xr.Dataset) -> xr.DataArray:
    """Return where soil moisture stands among the baseline's values of that time of year.

    Linear between the stored percentiles; 0 is drier, 100 wetter than all of the baseline. A
    value that several percentiles share has the middle one's.

    Parameters
    ----------
    ssm : DataArray (time, ...), m3 m-3
    climatology : Dataset

    Returns
    -------
    DataArray (time, ...), %
        Lazy: a Dask array, of the chunks of ``ssm`` if it has any.
    """
    ssm, quantiles = _matched(ssm, climatology["ssm_percentile"])
    levels = climatology["percentile"].to_numpy().astype("float32")
    rank = xr.apply_ufunc(
        partial(rank_values, levels=levels),
        ssm,
        quantiles,
        input_core_dims=[[], ["percentile"]],
        dask="parallelized",
        output_dtypes=[np.float32],
    )
    attrs = {"long_name": "Percentile of surface soil moisture for the time of year", "units": "%"}
    return rank.transpose(*ssm.dims).rename("ssm_percentile").assign_attrs(attrs)


def _matched(ssm: xr.DataArray, layer: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Return soil moisture in chunks, and a layer of the climatology at its places and days."""
    days = xr.DataArray(day_of_leap_year(ssm["time"]), dims="time")
    inner = {"time": YEAR_DAYS, "lat": CHUNK_PIXELS, "lon": CHUNK_PIXELS}
    lazy = ssm if ssm.chunks else ssm.chunk({d: n for d, n in inner.items() if d in ssm.dims})
    try:
        here = layer.sel(lat=ssm["lat"], lon=ssm["lon"])
    except KeyError as error:
        raise ValueError(
            f"the climatology does not cover all places of {ssm.name}: {error}; select the part "
            "that both have, or describe the whole product"
        ) from error
    chunks = {d: c for d, c in lazy.chunksizes.items() if d in here.dims}
    whole = {d: -1 for d in here.dims if d not in chunks}
    of_days = here.chunk({**chunks, **whole}).sel(dayofyear=days).drop_vars("dayofyear")
    return lazy, of_days.chunk(time=lazy.chunksizes["time"])


# ---- describing a product ---------------------------------------------------------------------


def describe_product(
    store: Location,
    target: Location,
    years: tuple[int, int],
    *,
    client: Client | None = None,
    progress: Progress = blocks.silent,
) -> tuple[pd.DataFrame, int]:
    """Describe all tiles of a product that are not described yet.

    Parameters
    ----------
    store : path or URL
        The product.
    target : path or URL
        The climatology to write or to go on with.
    years : (first, last)
        Baseline, both included; days outside the product are not there, and counted nowhere.

    Returns
    -------
    status : DataFrame
        One row for each tile that was described.
    skipped : int
        Tiles that were done before, of the same soil moisture.

    Raises
    ------
    ValueError
        If the baseline has no day in the product, or ``target`` holds another climatology.
    UnitsFailed
        If tiles failed, after all were tried.
    """
    check_product(store)
    layout = read_layout(store)
    days = baseline_days(layout, years)
    _warn_of_lacking_days(layout.time[days], years)
    with blocks.locked(target):
        blocks.remove_partial_files(target)
        create_climatology(target, layout, years)
        work = DescribeTile(store, target, layout, days)
        tiles = [str(tile) for tile in layout.tiles()]
        todo = [t for t in tiles if not blocks.is_done(target, STAGE, t, work.key(t))]
        status = blocks.run_units(work, todo, stage=STAGE, client=client, progress=progress)
    return status, len(tiles) - len(todo)


def baseline_days(layout: Layout, years: tuple[int, int]) -> slice:
    """Return the days of a product that fall in the baseline years."""
    first, last = (np.datetime64(f"{year}-01-01", "D") for year in (years[0], years[1] + 1))
    start, stop = np.searchsorted(layout.time, [first, last])
    if start == stop:
        raise ValueError(
            f"no day of {years[0]} to {years[1]} is in the product, which spans "
            f"{layout.first_day} to {layout.last_day}; give years that it has"
        )
    return slice(int(start), int(stop))


def _warn_of_lacking_days(days: NDArray[np.datetime64], years: tuple[int, int]) -> None:
    """Say how much of the baseline the product has, unless it has all."""
    wanted = (date(years[1] + 1, 1, 1) - date(years[0], 1, 1)).days
    if days.size < wanted:
        logger.warning(
            "climatology: of the baseline %d to %d the product has %s to %s, %d of %d days: what "
            "is normal is that of these",
            *years, days[0], days[-1], days.size, wanted,
        )  # fmt: skip


@dataclass(frozen=True)
class DescribeTile:
    """Task: one tile, square by square of 96 pixels, each a shard of every layer."""

    product: Location
    target: Location
    layout: Layout
    days: slice

    def key(self, unit: str) -> str:
        """Return a hash of all that a tile depends on."""
        windows = self.layout.windows()[self.days.start // WINDOW_DAYS :]
        units = [f"{unit}_{window}" for window in windows if window.start < self.days.stop]
        values = blocks.stage_digest(self.product, PREDICTED, units)
        return blocks.digest(FORMAT, PERCENTILES, REACH, MINIMUM, str(self.days), values)

    def __call__(self, unit: str) -> dict[str, Any]:
        """Write the tile's layers."""
        rows, cols = self.layout.tile_slices(Tile.parse(unit))
        edge = shard_pixels(self.layout)
        objects: list[str] = []
        described = 0
        for top in range(rows.start, rows.stop, edge):
            for left in range(cols.start, cols.stop, edge):
                place = slice(top, top + edge), slice(left, left + edge)
                layers = self.describe(*place)
                described += int((layers["ssm_mean"][0] != FILL).sum())
                objects += self.write(layers, place)
        blocks.write_marker(self.target, STAGE, unit, self.key(unit), objects, pixels=described)
        return {"pixels": described}

    def describe(self, rows: slice, cols: slice) -> dict[str, NDArray[np.int16]]:
        """Return the packed layers of a square, read and described by inner chunks."""
        array = array_of(open_group(self.product), "ssm")
        number = day_of_leap_year(self.layout.time[self.days])
        shape = (YEAR_DAYS, rows.stop - rows.start, cols.stop - cols.start)
        layers = {name: np.full(shape, FILL, dtype="int16") for name in LAYERS[:2]}
        layers[LAYERS[2]] = np.full((len(PERCENTILES), *shape), FILL, dtype="int16")
        for lat, lon in inner_chunks(rows, cols):
            codes = read_box(array, (self.days, lat, lon))
            top, left = lat.start - rows.start, lon.start - cols.start
            place = (..., slice(top, top + CHUNK_PIXELS), slice(left, left + CHUNK_PIXELS))
            for name, values in describe_days(codes, number).items():
                layers[name][place] = values
        return layers

    def write(self, layers: Mapping[str, NDArray[Any]], place: tuple[slice, slice]) -> list[str]:
        """Write a square; return the names of its objects that hold anything."""
        root, objects = open_group(self.target, "r+"), []
        for name, values in layers.items():
            axes = tuple(slice(0, n) for n in values.shape[:-2])
            written = write_region(array_of(root, name), (*axes, *place), values)
            objects += written if np.any(values != FILL) else []
        return objects


# ---- the store --------------------------------------------------------------------------------


def shard_pixels(layout: Layout) -> int:
    """Return the edge of a climatology's shards: what one square of a task holds."""
    return gcd(layout.tile_size, SHARD_PIXELS)


def create_climatology(store: Location, layout: Layout, years: tuple[int, int]) -> None:
    """Create the empty climatology, or check that the one that is there is of these years.

    Raises
    ------
    ValueError
        If the store holds something else, or other years or places.
    """
    if exists(store):
        check_climatology(store)
        found = open_group(store).attrs["gssm_baseline"], read_layout(store)
        # A product may have got more days since; the baseline's are what counts.
        same = layout == found[1] or layout.continues(found[1])
        if found[0] != list(years) or not same:
            raise ValueError(
                f"{store} describes the years {found[0]} of {found[1]}; asked for are "
                f"{list(years)} of {layout}; give another place, or remove it"
            )
        return
    with created_whole(store) as root:
        write_position(root, layout)
        days = {"long_name": "Day of a leap year", "units": "1"}
        write_coordinate(root, "dayofyear", np.arange(1, YEAR_DAYS + 1), days)
        write_coordinate(root, "percentile", np.array(PERCENTILES), {"units": "%"})
        _create_layers(root, layout)
        root.attrs.update(
            {
                "Conventions": "CF-1.11",
                "title": "Climatology of surface soil moisture, 1 km",
                "gssm_format": FORMAT,
                **layout_attrs(layout),
                "gssm_baseline": list(years),
                "gssm_window_days": 2 * REACH + 1,
            }
        )


def _create_layers(root: zarr.Group, layout: Layout) -> None:
    """Create mean, standard deviation and percentiles."""
    edge, names = shard_pixels(layout), ("Mean", "Standard deviation", "Percentiles")
    for layer, name in zip(LAYERS, names, strict=True):
        lead = (len(PERCENTILES),) if layer == "ssm_percentile" else ()
        dims = (*(("percentile",) if lead else ()), "dayofyear", "lat", "lon")
        create_array(
            root,
            layer,
            dims,
            (*lead, YEAR_DAYS, *layout.shape),
            (*lead, DAY_CHUNK, CHUNK_PIXELS, CHUNK_PIXELS),
            (*lead, YEAR_DAYS, edge, edge),
            "int16",
            FILL,
            {"long_name": f"{name} of surface soil moisture", "units": "m3 m-3"}
            | packed_attrs(PACKING),
        )


def check_climatology(store: Location) -> None:
    """Raise unless a store is a climatology of this project."""
    if open_group(store).attrs.get("gssm_format") != FORMAT:
        raise ValueError(f"{store} is not a climatology ({FORMAT}); give another path")
