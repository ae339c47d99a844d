"""Codes of the cube at stations' pixels, such that each stored chunk is read once.

What the cube stores serves samples by different measures: a tile's static layers serve all
windows, a year of composites two of them, a chunk of meteorology nine tiles. Each such unit is
read by a task of its own, a pick, which keeps the codes at the wanted places in a scratch. The
samples of a block are then made from its own daily shard and its picks.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import zarr
from numpy.typing import NDArray

from gssm_cube import blocks
from gssm_cube.cube import CELL_CHUNK, COMPOSITES_A_YEAR, upsampling_of
from gssm_cube.grid import Block, Layout
from gssm_cube.interpolate import interpolate_days, nearest_window, upsample_window
from gssm_cube.storage.files import replaced
from gssm_cube.storage.shards import read_points
from gssm_cube.storage.stores import array_of, open_group
from gssm_cube.variables import FILL, STORED, Group, names_of

CELL_STAGES: tuple[Group, ...] = ("climate", "meteo", "reanalysis")  # of 0.1 deg
PLAIN: tuple[Group, ...] = ("climatology", "composite", *CELL_STAGES)
HELD: dict[str, tuple[str, ...]] = {  # by stage
    "static": (*names_of("static"), "land", "filled"),
    "daily": (*names_of("daily"), "quality"),
    **{stage: names_of(stage) for stage in PLAIN},
}
FLAGS = {"quality": "lst_quality", "filled": "static_filled", "land": "land"}  # stored: sampled
CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))  # cells round a pixel, from the north-west one

Names = Sequence[str]
Codes = NDArray[Any]  # int16 packed values, small unsigned integers of flags
Numbers = NDArray[np.int64]


# ---- what is needed ---------------------------------------------------------------------------


def find_needs(
    places: pd.DataFrame, layout: Layout, starts: Numbers, stages: Collection[str]
) -> dict[str, pd.DataFrame]:
    """Return which stored units rows need, by stage of the cube, and where in them.

    Parameters
    ----------
    places : DataFrame
        A row per sample: ``block``, ``tile`` (labels), ``row``, ``col`` (pixel in the store),
        ``day`` (on the daily axis).
    layout : Layout
    starts : (composite,) int64
        Start days of the composites on the daily axis.
    stages : collection of str
        Some of ``static``, ``climatology``, ``composite``, ``climate``, ``meteo``, ``reanalysis``.

    Returns
    -------
    dict of DataFrame
        For each of the stages: ``block``, ``unit``, ``row``, ``col``, no row twice; pixels, but
        cells of 0.1 deg for the last three. Just what the rows need: a day on which a composite
        starts needs no other.
    """
    needs = {}
    if "composite" in stages:
        needs["composite"] = _composite_needs(places, starts)
    if set(stages) - {"composite"}:
        pixels = places.drop_duplicates(["block", "row", "col"])
        of_tiles = pixels[["block", "row", "col"]].assign(unit=pixels["tile"])
        needs |= {"static": of_tiles, "climatology": of_tiles}
    if set(CELL_STAGES) & set(stages):
        needs["meteo"] = needs["reanalysis"] = _cell_needs(pixels, layout)
        chunks = needs["meteo"]["unit"].str.split("_").str[0]
        needs["climate"] = needs["meteo"].assign(unit=chunks)
    return {stage: needs[stage] for stage in stages}


def _composite_needs(places: pd.DataFrame, starts: Numbers) -> pd.DataFrame:
    """Years of composites before and after each day."""
    day = places["day"].to_numpy()
    before = np.maximum(np.searchsorted(starts, day, side="right") - 1, 0)
    # Past the last start nothing is known; on a start's own day the next has no weight.
    after = np.where(day > starts[before], np.minimum(before + 1, len(starts) - 1), before)
    columns = ["block", "tile", "row", "col"]
    both = pd.concat(
        places[columns].assign(year=number // COMPOSITES_A_YEAR).drop_duplicates()
        for number in (before, after)
    ).drop_duplicates()
    pairs = zip(both["tile"], both["year"], strict=True)
    labels = [f"{tile}_y{year:02d}" for tile, year in pairs]
    return both[["block", "row", "col"]].assign(unit=labels)


def _cell_needs(pixels: pd.DataFrame, layout: Layout) -> pd.DataFrame:
    """Return the four cells round each pixel, and the chunks of cells that hold them."""
    n = layout.cell_pixels
    corners = pd.concat(
        pixels[["block"]].assign(row=pixels["row"] // n + r, col=pixels["col"] // n + c)
        for r, c in CORNERS
    ).drop_duplicates()
    windows = corners["block"].astype("str").str.split("_").str[1]
    chunks = (corners["row"] // CELL_CHUNK, corners["col"] // CELL_CHUNK, windows)
    labels = [f"k{r:02d}k{c:02d}_{window}" for r, c, window in zip(*chunks, strict=True)]
    return corners[["block", "row", "col"]].assign(unit=labels)


def needed_stages(chosen: Sequence[str]) -> list[str]:
    """Return the stages whose picks the chosen columns of samples need."""
    return [stage for stage in READERS if needed_names(stage, chosen)]


def needed_names(stage: str, chosen: Sequence[str]) -> tuple[str, ...]:
    """Return which stored arrays or features of a stage the chosen columns of samples need."""
    return tuple(name for name in HELD[stage] if FLAGS.get(name, name) in chosen)


# ---- reading ----------------------------------------------------------------------------------


def read_layers(
    group: str,
    root: zarr.Group,
    layout: Layout,
    names: Names,
    unit: str,
    rows: Numbers,
    cols: Numbers,
) -> NDArray[np.int16]:
    """Return codes (layer, place) of a tile's layers without days at pixels."""
    arrays = (array_of(root, f"{group}/{name}") for name in names)
    return np.stack([read_points(a, rows, cols).astype("int16") for a in arrays])


def read_composites(
    root: zarr.Group, layout: Layout, names: Names, unit: str, rows: Numbers, cols: Numbers
) -> NDArray[np.int16]:
    """Return codes (feature, composite, place) of a tile's year of composites at pixels."""
    arrays = [array_of(root, f"composite/{name}") for name in names]
    first = int(unit.split("_y")[1]) * COMPOSITES_A_YEAR
    numbers = np.arange(first, min(first + COMPOSITES_A_YEAR, arrays[0].shape[0]))
    points = np.repeat(numbers, rows.size), np.tile(rows, numbers.size), np.tile(cols, numbers.size)
    return np.stack([read_points(a, *points).reshape(-1, rows.size) for a in arrays])


def read_cells(
    path: str,
    root: zarr.Group,
    layout: Layout,
    names: Names,
    unit: str,
    rows: Numbers,
    cols: Numbers,
) -> NDArray[np.int16]:
    """Return codes (feature, day, place) of a window's chunks of meteorology at cells."""
    window = layout.windows()[int(unit.split("_w")[1])]
    cells, features, box = _box_of(root, path, rows, cols)
    # A chunk holds one feature: those that are not wanted are not read.
    found = [np.asarray(cells[features.index(name), window.slice, *box]) for name in names]
    return np.stack(found)[..., rows - box[0].start, cols - box[1].start]


def read_climate(
    root: zarr.Group, layout: Layout, names: Names, unit: str, rows: Numbers, cols: Numbers
) -> NDArray[np.int16]:
    """Return codes (feature, place) of the climate at cells."""
    cells, features, box = _box_of(root, "meteo/climate", rows, cols)
    found = np.asarray(cells[:, *box])[[features.index(name) for name in names]]
    return found[..., rows - box[0].start, cols - box[1].start]


def _box_of(
    root: zarr.Group, path: str, rows: Numbers, cols: Numbers
) -> tuple[zarr.Array, list[str], tuple[slice, slice]]:
    """Return an array of cells, its features, and the box round some cells."""
    cells = array_of(root, path)
    box = (slice(rows.min(), rows.max() + 1), slice(cols.min(), cols.max() + 1))
    return cells, cast("list[str]", cells.attrs["features"]), box


READERS: dict[str, Callable[..., NDArray[np.int16]]] = {
    "static": partial(read_layers, "static"),
    "climatology": partial(read_layers, "climatology"),
    "composite": read_composites,
    "climate": read_climate,
    "meteo": partial(read_cells, "meteo/cells"),
    "reanalysis": partial(read_cells, "meteo/reanalysis"),
}


# ---- the scratch ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Picked:
    """Codes at places: ``codes`` (..., place), ``places`` (row and column, place) in order."""

    codes: NDArray[np.int16]
    places: Numbers

    def at(self, rows: Numbers, cols: Numbers) -> NDArray[np.int16]:
        """Return codes (..., place) at some of the places."""
        known, wanted = _number(*self.places), _number(rows, cols)
        found = np.minimum(np.searchsorted(known, wanted), known.size - 1)
        if not np.array_equal(known[found], wanted):
            raise ValueError(
                f"{np.count_nonzero(known[found] != wanted)} of {wanted.size} places were not "
                "picked; remove the samples' scratch and start again"
            )
        return self.codes[..., found]


def _number(rows: Numbers, cols: Numbers) -> Numbers:
    """One number a place, ordered as rows and columns are."""
    return rows << 32 | cols


def write_request(scratch: Path, stage: str, unit: str, needs: pd.DataFrame, key: str) -> None:
    """Write down which places a pick is to read."""
    unique = np.unique(needs[["row", "col"]].to_numpy("int64"), axis=0).T
    _save(scratch / "requests" / stage / f"{unit}.npz", places=unique, key=np.array(key))


def load_pick(scratch: Path, stage: str, unit: str) -> Picked:
    """Load what a pick read.

    Raises
    ------
    ValueError
        If it is not there: the pick failed.
    """
    path = scratch / stage / f"{unit}.npz"
    if not path.exists():
        raise ValueError(f"{stage} {unit} was not read, see its own failure; start again")
    with np.load(path) as stored:
        return Picked(stored["codes"], stored["places"])


def _save(path: Path, **arrays: NDArray[Any]) -> None:
    """Write arrays so that a reader sees all of them or nothing."""
    with replaced(path) as partial, partial.open("wb") as file:
        np.savez(file, **cast("Mapping[str, Any]", arrays))


@dataclass(frozen=True)
class Pick:
    """Task: read one stored unit of the cube at the requested places, into the scratch."""

    cube: Path | str
    scratch: Path
    layout: Layout
    stage: str
    names: Names

    def __call__(self, unit: str) -> dict[str, Any]:
        """Read and keep the codes."""
        with np.load(self.scratch / "requests" / self.stage / f"{unit}.npz") as request:
            places, key = request["places"], str(request["key"])
        root = open_group(self.cube)
        codes = READERS[self.stage](root, self.layout, self.names, unit, *places)
        name = f"{self.stage}/{unit}.npz"
        _save(self.scratch / name, codes=codes, places=places)
        blocks.write_marker(self.scratch, self.stage, unit, key, [name])
        return {"places": places.shape[1]}


# ---- a block's samples ------------------------------------------------------------------------


@dataclass(frozen=True)
class PixelDays:
    """Samples of one block: pixel rows and columns in the store, days on the daily axis."""

    block: Block
    row: Numbers
    col: Numbers
    day: Numbers

    def table(self) -> pd.DataFrame:
        """Return what ``find_needs`` takes."""
        labels = {"block": str(self.block), "tile": str(self.block.tile)}
        return pd.DataFrame({"row": self.row, "col": self.col, "day": self.day, **labels})


def sample_codes(
    root: zarr.Group,
    daily: Mapping[str, zarr.Array],
    scratch: Path,
    layout: Layout,
    starts: Numbers,
    places: PixelDays,
    chosen: Sequence[str],
) -> dict[str, Codes]:
    """Return the codes of features at a block's samples, and of flags.

    Parameters
    ----------
    root, daily, scratch : zarr.Group, mapping, Path
        Feature cube, the chosen of its daily arrays, and what ``Pick`` left of it.
    layout : Layout
    starts : (composite,) int64
    places : PixelDays
    chosen : sequence of str
        Columns of the samples.

    Returns
    -------
    dict of array (sample,)
        int16 codes by feature, with the bits of ``open_cube(mask_and_scale=False)``; ``land``,
        ``filled`` and ``quality`` as stored.
    """
    stages = needed_stages(chosen)
    needs = find_needs(places.table(), layout, starts, stages) if stages else {}
    names = {stage: needed_names(stage, chosen) for stage in READERS}
    codes: dict[str, Codes] = {}
    for stage in ("static", "climatology"):
        if names[stage]:
            pick = load_pick(scratch, stage, str(places.block.tile))
            codes |= zip(names[stage], pick.at(places.row, places.col), strict=True)
    for name, array in daily.items():
        codes[name] = read_points(array, places.day, places.row, places.col)
    if composite := names["composite"]:
        composites = _composite_codes(scratch, needs["composite"], starts, places, len(composite))
        codes |= zip(composite, composites, strict=True)
    for stage in CELL_STAGES:
        if names[stage]:
            refine = upsample_window if upsampling_of(root) == "bilinear" else nearest_window
            cells = _cell_codes(scratch, layout, (stage, needs[stage]), places, refine)
            codes |= zip(names[stage], cells, strict=True)
    return codes


def _composite_codes(
    scratch: Path, needs: pd.DataFrame, starts: Numbers, places: PixelDays, features: int
) -> NDArray[np.int16]:
    """Composites at pixels, linear in time: codes (feature, sample)."""
    pixels, which = np.unique(_number(places.row, places.col), return_inverse=True)
    days, when = np.unique(places.day, return_inverse=True)
    years = needs["unit"].str.split("_y").str[1].astype("int64")
    first = years.min() * COMPOSITES_A_YEAR
    stop = min((years.max() + 1) * COMPOSITES_A_YEAR, len(starts))
    codes = np.full((features, stop - first, pixels.size), FILL, dtype="int16")
    for year, rows in needs.groupby(years):
        row, col = rows["row"].to_numpy(), rows["col"].to_numpy()
        picked = load_pick(scratch, "composite", rows["unit"].iloc[0]).at(row, col)
        begin = int(year) * COMPOSITES_A_YEAR - first
        where = np.searchsorted(pixels, _number(row, col))
        codes[:, begin : begin + picked.shape[1], where] = picked
    daily = interpolate_days(codes.transpose(1, 0, 2), starts[first:stop], days)
    return daily[when, :, which].T


def _cell_codes(
    scratch: Path,
    layout: Layout,
    wanted: tuple[str, pd.DataFrame],  # stage, and what it needs
    places: PixelDays,
    refine: Callable[..., NDArray[np.int16]],
) -> NDArray[np.int16]:
    """Meteorology or climate at pixels, from the four cells round each: (feature, sample)."""
    stage, needs = wanted
    pixels, which = np.unique(_number(places.row, places.col), return_inverse=True)
    row, col = pixels >> 32, pixels & 0xFFFFFFFF
    n = layout.cell_pixels
    units = needs.groupby("unit")[["row", "col"]]
    cells = {unit: load_pick(scratch, stage, str(unit)) for unit in units.groups}
    known = pd.Series(needs["unit"].to_numpy(), _number(*needs[["row", "col"]].to_numpy().T))
    series = []
    for r, c in zip(row, col, strict=True):
        corners = [np.array([r // n + dr, c // n + dc])[:, np.newaxis] for dr, dc in CORNERS]
        codes = [cells[known[_number(*corner)[0]]].at(*corner) for corner in corners]
        square = np.concatenate(codes, axis=-1)  # (feature, day, corner), or without days
        square = square.reshape(*square.shape[:-1], 2, 2)
        place = (slice(r % n, r % n + 1), slice(c % n, c % n + 1))
        series.append(refine(square, *place, n)[..., 0, 0])
    if stage == "climate":
        return np.stack(series)[which].T
    days = places.day - places.block.window.start
    return np.stack(series)[which, :, days].T


def decode_features(
    codes: Mapping[str, Codes], layout: Layout, row: Numbers, col: Numbers
) -> dict[str, NDArray[np.float32]]:
    """Return float32 features in their units, in the table's order, by the one decode."""
    values = {name: STORED[name].packing.decode(codes[name]) for name in codes.keys() & STORED}
    values["lat"] = layout.lat[row].astype("float32")
    values["lon"] = layout.lon[col].astype("float32")
    return {name: values[name] for name in STORED if name in values}
