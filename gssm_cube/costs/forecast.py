"""What a run will cost in time, objects and requests; afterwards, what it did cost beside it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from gssm_cube.cube import CELL_CHUNK, COMPOSITES_A_YEAR, METEO
from gssm_cube.estimate import COLD, SOIL
from gssm_cube.forest import find_preset
from gssm_cube.plan import Plan, core_hours, size
from gssm_cube.product import Layers
from gssm_cube.settings import Settings
from gssm_cube.storage.locations import Location, files, join
from gssm_cube.storage.run_log import LOG_FOLDER, read_stage
from gssm_cube.variables import PREDICTORS, names_of

CORES = (1, 8, 64, 512)
METADATA = 5  # of a block: roots of the cube (twice) and the product, days of composites (twice)
FLAGS = 5  # layers of flags that a block reads: land, filled, of days, of two years of composites


@dataclass(frozen=True)
class Forecast:
    """Costs of a run that follow from its plan and this machine's speed."""

    core_hours: dict[str, float]  # by part
    cube_objects: int
    product_objects: int  # shards; sea writes none
    requests: int  # of the prediction, if its stores are far away

    def hours(self, cores: int, blocks: int) -> float:
        """Wall time if all cores work all the time; never more of them than blocks."""
        return sum(self.core_hours.values()) / min(cores, max(blocks, 1))


def forecast(settings: Settings, plan: Plan, speed: float) -> Forecast:
    """Return the costs of a run.

    Parameters
    ----------
    settings : Settings
    plan : Plan
    speed : float
        Of a core of this machine, see ``calibration.machine_speed``.
    """
    hours = {name: spent / speed for name, spent in core_hours(settings, plan).items()}
    return Forecast(hours, cube_objects(settings, plan), plan.blocks, requests(settings, plan))


def cube_objects(settings: Settings, plan: Plan) -> int:
    """Shards and chunks of the cube; those without land are not written."""
    layout = settings.layout
    years = -(-layout.days // (16 * COMPOSITES_A_YEAR)) + 1
    tile = len(names_of("static")) + 2 + len(names_of("climatology")) + 2
    daily, composite = len(names_of("daily")) + 1, len(names_of("composite")) + 1
    cells = len(METEO) * plan.windows + 1 + plan.windows
    rows, cols = layout.cells_shape
    places = -(-rows // CELL_CHUNK) * -(-cols // CELL_CHUNK)
    shards = plan.land_tiles * (tile + composite * years) + plan.blocks * daily
    return shards + places * cells


def requests(settings: Settings, plan: Plan) -> int:
    """Return the requests of the prediction, at most, if cube and product are in an object store.

    A block takes each shard that it reads in one request, vegetation of two years, and the cells'
    chunks whole; it asks for the markers of all these, writes its layers, looks at them, and
    writes its marker.
    """
    names = {*find_preset(settings.training.preset).features, *SOIL, *COLD}
    groups = Counter(PREDICTORS[name].group for name in names if name in PREDICTORS)
    near = 1
    for edge in settings.layout.cells_shape:
        near *= min(2, -(-edge // CELL_CHUNK))  # chunks of cells that a block touches
    shards = groups["static"] + groups["climatology"] + groups["daily"] + 2 * groups["composite"]
    cells = near * (groups["meteo"] + 1)  # the climate is one chunk
    markers = 5 + 2 * near
    written = 2 * len(Layers._fields) + 1
    return plan.blocks * (METADATA + shards + FLAGS + cells + markers + written)


def forecast_table(found: Forecast, blocks: int, memory: float) -> Table:
    """Return core-hours, wall time for numbers of cores, objects and requests as a table."""
    table = Table("what", "value", title="Cost, from a calibration on this machine")
    for name, spent in found.core_hours.items():
        table.add_row(f"{name}, core-hours", f"{spent:.3g}")
    for cores in CORES:
        if cores > 1 and cores > blocks:
            break
        time = describe_hours(found.hours(cores, blocks))
        table.add_row(f"wall time, {cores} cores", f"{time}, memory {size(cores * memory)}")
    table.add_row("objects of the cube, about", f"{found.cube_objects:,}")
    table.add_row("objects of the product, at most", f"{found.product_objects:,}")
    table.add_row("requests of the prediction in an object store, at most", f"{found.requests:,}")
    return table


def describe_hours(hours: float) -> str:
    """Return a time in a unit that reads well."""
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    if hours < 2:
        return f"{hours * 60:.0f} min"
    return f"{hours:.0f} h" if hours < 72 else f"{hours / 24:.1f} days"


# ---- afterwards -------------------------------------------------------------------------------


def outcome(settings: Settings) -> dict[str, float]:
    """Return what a run took: blocks, bytes and objects on disk, hours of the predicted blocks."""
    rows = read_stage(settings.home / LOG_FOLDER, "predict")
    rows = rows[rows["error"] == ""].drop_duplicates("unit", keep="last")
    return {
        "blocks": len(rows),
        "cube_bytes": _bytes(settings.cube),
        "product_bytes": _bytes(settings.product),
        "product_objects": sum(1 for _ in files(join(settings.product, "ssm", "c"))),
        "prediction_hours": float(rows["seconds"].sum()) / 3600,
    }


def outcome_table(plan: Plan, found: Forecast, real: dict[str, float]) -> Table:
    """Return the plan and what then happened, side by side."""
    table = Table("what", "planned", "found", title="The plan, and what it took")
    hours = describe_hours
    rows: Sequence[tuple[str, str, str]] = [
        ("blocks", str(plan.blocks), f"{real['blocks']:.0f}"),
        ("feature cube", size(plan.cube_bytes), size(real["cube_bytes"])),
        ("SSM cube", size(plan.product_bytes), size(real["product_bytes"])),
        ("objects of the product", str(found.product_objects), f"{real['product_objects']:.0f}"),
        (
            "prediction, core time; found: clock time of its blocks",
            hours(found.core_hours["prediction"]),
            hours(real["prediction_hours"]),
        ),
    ]
    for row in rows:
        table.add_row(*row)
    return table


def _bytes(store: Location) -> float:
    """Bytes of all files of a store."""
    return float(sum(found.size for found in files(store)))
