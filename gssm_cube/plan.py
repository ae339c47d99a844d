"""What a run will take, before anything runs: blocks, land, bytes, memory.

Counts are exact but for tiles with land: land is judged from 48 x 48 places a tile, so that an
islet may be missed. Bytes written and memory are estimates from the sizes of the arrays.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from gssm_cube import cube
from gssm_cube.download.remote_sources import local_sources
from gssm_cube.forest import find_preset
from gssm_cube.grid import CHUNK_PIXELS, WINDOW_DAYS, Layout
from gssm_cube.ingest import scratch
from gssm_cube.ingest.inputs import (
    file_paths,
    find_inputs,
    meteo_days,
    soil_tiles,
    vegetation_starts,
)
from gssm_cube.settings import Settings
from gssm_cube.sources import era5_land, merit_hydro
from gssm_cube.storage.locations import is_url
from gssm_cube.variables import PREDICTORS, names_of

# Packed arrays on disk over their plain size: seen on the demo's cube and product.
COMPRESSION = 0.55
# What a core does in a second, see benchmarks/README.md, "Time of a run".
RATES = {
    "meteorology": 6.5e5,  # days of a 0.1 deg cell
    "static layers": 1.5e5,  # pixels of tiles with land, here and below
    "LST": 1.1e6,  # pixel-days
    "vegetation": 6.3e6,  # pixel-days
}
# Seconds of a predicted row, and more for each tree: leaves of one sample, and larger ones.
ROW_SECONDS, TREE_SECONDS = 100e-9, (8.7e-9, 5.8e-9)
SMALL_TREE_SECONDS = 1.8e-9  # of a blend's other members, whose spread is not wanted
PROCESS_BYTES = 300e6  # Python with xarray, dask and scikit-learn
PRODUCT_BYTES = 6  # a pixel and day: soil moisture, its spread, flags
RUN_BYTES = 84  # a pixel and day while gaps of LST are filled, some days at a time; measured


@dataclass(frozen=True)
class Plan:
    """Costs of a run; see the module for what is counted and what is estimated."""

    tiles: int
    land_tiles: int
    land_share: float
    windows: int
    days: int
    files: int
    bytes_read: float
    scratch_bytes: float  # beside the cube until it is complete
    cube_bytes: float
    product_bytes: float
    ingest_memory: float  # of a worker process
    predict_memory: float  # of a worker thread, the forest apart
    lacking_soil: str = ""  # what the run does without, for ERA5-Land's files lack it

    @property
    def blocks(self) -> int:
        """Blocks with land: the tasks of prediction."""
        return self.land_tiles * self.windows


def plan_run(settings: Settings) -> Plan:
    """Return the costs of a run from its settings and the headers of its files.

    Raises
    ------
    FileNotFoundError, ValueError
        As the run itself would: missing days, wrong units.
    """
    found = find_inputs(local_sources(settings), settings.layout)
    tiles = soil_tiles(found.soilgrids, settings.layout.bounds)
    paths = list(dict.fromkeys([*file_paths(found), *tiles]))  # a package's members share it
    size = float(sum(path.stat().st_size for path in paths))
    shares = list(tile_shares(settings.layout, found.merit_hydro))
    sensors = (1 + len(found.lst_partners), 1 + len(found.vegetation_partners))
    costs = make_plan(settings, shares, len(paths), size, sensors)
    return replace(costs, lacking_soil=era5_land.lacking_soil(found.era5_land))


def plan_before_download(settings: Settings, bytes_read: float) -> Plan:
    """Return the costs of a run whose sources are still to come: no file is counted, all is land.

    Parameters
    ----------
    settings : Settings
    bytes_read : float
        Of what will be downloaded, uncompressed.
    """
    given = settings.sources.gridded.keys()
    sensors = (
        1 + len(given & {"myd11a1"}) + len(given & {"vnp21a1d"}),
        1 + len(given & {"myd13a2", "vnp13a2"}),
    )
    tiles = len(list(settings.layout.tiles()))
    return make_plan(settings, [1.0] * tiles, 0, bytes_read, sensors)


def make_plan(
    settings: Settings,
    shares: Sequence[float],
    files: int,
    bytes_read: float,
    sensors: tuple[int, int],
) -> Plan:
    """Return the costs of a run.

    Parameters
    ----------
    settings : Settings
    shares : sequence of float
        Share of land of each tile.
    files, bytes_read
        What is read.
    sensors : (int, int)
        How many lie in the scratch, of LST and of vegetation.
    """
    layout = settings.layout
    land_tiles = sum(share > 0 for share in shares)
    pixels = land_tiles * layout.tile_size**2
    land = sum(shares) / len(shares) if shares else 0.0
    land_pixel_days = land * len(shares) * layout.tile_size**2 * layout.days
    features = len(find_preset(settings.training.preset).features)
    return Plan(
        tiles=len(shares),
        land_tiles=land_tiles,
        land_share=land,
        windows=len(layout.windows()),
        days=layout.days,
        files=files,
        bytes_read=bytes_read,
        scratch_bytes=COMPRESSION * scratch_bytes(layout, land_pixel_days, sensors),
        cube_bytes=COMPRESSION * cube_bytes(layout, pixels, land_pixel_days),
        product_bytes=COMPRESSION * PRODUCT_BYTES * land_pixel_days,
        ingest_memory=PROCESS_BYTES + ingest_bytes(layout),
        predict_memory=predict_bytes(layout, features) + held_bytes(settings),
    )


def tile_shares(layout: Layout, terrain: merit_hydro.Files) -> Iterator[float]:
    """Yield the share of land of each tile."""
    step = layout.tile_size / layout.grid.pixels_per_degree
    for tile in layout.tiles():
        west, north = tile.col * step - 180, 90 - tile.row * step
        bounds = (west, north - step, west + step, north)
        yield merit_hydro.land_share(terrain, bounds)


def cube_bytes(layout: Layout, pixels: float, land_pixel_days: float) -> float:
    """Bytes of the cube's arrays before compression, sea left out."""
    rows, cols = layout.cells_shape
    daily = 2 * (len(names_of("daily")) + 1) * land_pixel_days
    composite = 2 * (len(names_of("composite")) + 1) * land_pixel_days / 16
    state = 8 * cube.STATE_VALUES * len(layout.windows())
    cell = 2.0 * len(cube.METEO) * layout.days + 2 * len(cube.CLIMATE) + state
    meteo = cell * rows * cols
    codes = len(names_of("static")) + len(names_of("climatology"))
    static = (2 * codes + 2 * 4 * cube.TERMS) * pixels
    return daily + composite + meteo + static


def core_hours(settings: Settings, plan: Plan) -> dict[str, float]:
    """Return the core-hours of the cube's parts and of the prediction, by measured rates."""
    layout, training = settings.layout, settings.training
    pixels = plan.land_tiles * layout.tile_size**2
    rows, cols = layout.cells_shape
    amounts = {
        "meteorology": rows * cols * len(meteo_days(layout)),
        "static layers": pixels,
        "LST": pixels * layout.days,
        "vegetation": pixels * layout.days,
    }
    seconds = {name: amount / RATES[name] for name, amount in amounts.items()}
    preset = find_preset(training.preset)
    tree_seconds = TREE_SECONDS[preset.min_samples_leaf > 1]
    predicted = plan.land_share * plan.tiles * layout.tile_size**2 * layout.days
    own = (training.trees or preset.trees) * (preset.weights.forest > 0)
    row_seconds = ROW_SECONDS + own * tree_seconds + preset.small_trees * SMALL_TREE_SECONDS
    seconds["prediction"] = predicted * row_seconds
    return {name: spent / 3600 for name, spent in seconds.items()}


def scratch_bytes(layout: Layout, land_pixel_days: float, sensors: tuple[int, int]) -> float:
    """Bytes of the scratch's arrays before compression, sea left out, ERA5-Land's soil included."""
    rows, cols = layout.cells_shape
    meteo = 4.0 * len((*scratch.METEO, *scratch.SOIL)) * rows * cols * len(meteo_days(layout))
    lst = 2 * len(scratch.OVERPASSES) * sensors[0] * land_pixel_days
    composites = len(vegetation_starts(layout)) / layout.days
    vegetation = 2 * len(scratch.VEGETATION) * sensors[1] * composites * land_pixel_days
    return meteo + lst + vegetation


def ingest_bytes(layout: Layout) -> float:
    """Memory of the largest ingest task: a block of daily LST, or a window of its climatology.

    Of a block: its codes, a layer of them encoded in two copies, and the days in work; the flags
    are written and let go of before. Of a climatology: two reads of numbers, degrees, where they
    are missing, and the sums of the fit.
    """
    pixels = layout.tile_size**2
    codes = 2 * (len(names_of("daily")) + 2) * WINDOW_DAYS
    block = codes + RUN_BYTES * scratch.LST_RUN_DAYS
    climatology = (2 * 2 + 4 + 1) * WINDOW_DAYS + 8 * (cube.TERMS**2 + cube.TERMS)
    return float(pixels * max(block, climatology))


def predict_bytes(layout: Layout, features: int) -> float:
    """Memory of a prediction task: its layers, one once more, and a chunk's features twice."""
    chunk = CHUNK_PIXELS**2 * WINDOW_DAYS
    return (
        (PRODUCT_BYTES + 2.0) * layout.tile_size**2 * WINDOW_DAYS
        + 2 * 4 * features * chunk
        + 16 * chunk
    )


def held_bytes(settings: Settings) -> float:
    """Memory that a prediction task holds the shards of a cube in that is in an object store.

    They come whole, as they are stored; days and composites of two years count, all else is small.
    """
    if not is_url(settings.cube):
        return 0.0
    names = find_preset(settings.training.preset).features
    groups = [PREDICTORS[name].group for name in names if name in PREDICTORS]
    daily, composite = groups.count("daily") + 1, groups.count("composite") + 1  # and flags
    layers = daily * WINDOW_DAYS + composite * 2 * cube.COMPOSITES_A_YEAR
    return COMPRESSION * 2.0 * settings.layout.tile_size**2 * layers


def plan_table(plan: Plan, place: Path) -> Table:
    """Return the plan as a table to print."""
    table = Table("what", "value", title=f"Plan of the run in {place}")
    rows: list[tuple[str, Any]] = [
        ("tiles (with land)", f"{plan.tiles} ({plan.land_tiles})"),
        ("land", f"{plan.land_share:.0%}"),
        ("days, windows of 366 days", f"{plan.days}, {plan.windows}"),
        ("blocks to predict", plan.blocks),
        ("files, read", f"{plan.files}, {size(plan.bytes_read)}"),
        ("feature cube, about", size(plan.cube_bytes)),
        ("scratch beside it, about", size(plan.scratch_bytes)),
        ("SSM cube, about", size(plan.product_bytes)),
        ("memory of an ingest process, about", size(plan.ingest_memory)),
        ("memory of a prediction thread, about", f"{size(plan.predict_memory)} + the forest"),
    ]
    if plan.lacking_soil:
        rows.append(("ERA5-Land's own soil", plan.lacking_soil))
    for name, value in rows:
        table.add_row(name, str(value))
    return table


def size(count: float) -> str:
    """Return bytes in a unit that reads well."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:  # else it would read 1e+03
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
