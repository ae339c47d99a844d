"""What the stores and tables of a run tell of it: counts and facts for its report."""

from gssm_cube import __version__, blocks, predict
from gssm_cube.estimate import COUNTED
from gssm_cube.forest import load_forest
from gssm_cube.grid import box_in_words
from gssm_cube.model_card import model_line
from gssm_cube.release.citations import licence_attrs
from gssm_cube.settings import Settings


def flag_counts(settings: Settings) -> dict[str, int]:
    """Count the pixel-days of the product with a value, and with each flag that is counted."""
    names = ("valid", *COUNTED)
    markers = blocks.read_markers(settings.product, predict.STAGE)
    return {name: sum(marker.get(name, 0) for marker in markers) for name in names}


def flag_line(settings: Settings) -> str:
    """Return the counts of the product's flags as text."""
    counts = flag_counts(settings)
    flags = [f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items()]
    return f"pixel-days: {', '.join(flags)}"


def product_units(settings: Settings) -> list[str]:
    """Return the labels of the blocks that are predicted."""
    return blocks.marked_units(settings.product, predict.STAGE)


def run_facts(settings: Settings) -> dict[str, str]:
    """Return what the reader of a report must know of a run."""
    layout, forest = settings.layout, load_forest(settings.forest)
    size = layout.tile_size
    return {
        "Period": f"{layout.first_day} to {layout.last_day}, days are {settings.day}",
        "Area": box_in_words(layout.bounds),
        "Blocks": f"{len(product_units(settings))} of {size} x {size} pixels x 366 days",
        "Frozen ground": {"mask": "left out", "flag": "only flagged"}[settings.frozen],
        "Product": flag_line(settings),
        "Forest": f"{forest.preset}, {len(forest.features)} features",
        "Model": model_line(forest.card["parts"]),
        "Trained on": f"{forest.card['rows']:,} station-days of {forest.card['stations']} stations",
        "Forest digest": forest.digest[:16],
        "Version": f"gssm_cube {__version__}",
        "Licence of the product": licence_attrs(settings.sources.merit_hydro).get(
            "license",
            "MERIT Hydro, one of the sources, is CC-BY-NC 4.0 or ODbL 1.0; what is derived from "
            "it must be shared under one of these",
        ),
    }
