"""The whole job on a small synthetic world: from provider files to SSM cube and report.

The world's true soil moisture is known at every pixel, which no real data allows, so the chain
from raw files to product is judged where there is no station as well.
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from rich.table import Table

from gssm_cube import blocks, pipeline, predict
from gssm_cube.blocks import Progress, digest, silent
from gssm_cube.costs.calibration import machine_speed
from gssm_cube.costs.forecast import forecast, outcome, outcome_table
from gssm_cube.once import content_hash, done_once
from gssm_cube.plan import plan_run
from gssm_cube.product import open_product
from gssm_cube.run_facts import product_units
from gssm_cube.settings import Settings, read_settings
from gssm_cube.sources.synthetic import write_world
from gssm_cube.validate import score_against_truth

logger = logging.getLogger(__name__)

WORSE_BY = 0.03  # m3 m-3, the noise of the degraded copy

# In the middle of the Atlantic, so that nobody takes the invented land for real.
RUN = """\
title = "Demo: an invented coast in the Atlantic"
bounds = [-32.0, 42.0, -30.4, 43.6]  # west, south, east, north: 2 x 2 tiles
first_day = 2018-03-01
last_day = 2021-02-28
tile_size = 96

[sources]
era5_land = "raw/era5_land"
mod11a1 = "raw/mod11a1"
mod13a2 = "raw/mod13a2"
soilgrids = "raw/soilgrids"
merit_hydro = "raw/merit_hydro"
wtd = "raw/wtd"
bedrock = "raw/bedrock"
ismn = "raw/ismn/Data_separate_files_header_20180301_20210228_synthetic.zip"

[training]
preset = "default"
trees = 50
evaluation_trees = 20  # a lighter forest for the scores

[cluster]
kind = "local"
"""


def prepare(folder: Path, *, progress: Progress = silent, text: str = RUN) -> Settings:
    """Write the settings and the synthetic world, unless they are there.

    Parameters
    ----------
    folder : Path
        Gets ``run.toml``, ``raw/`` (provider files) and ``truth.zarr``.
    progress : callable
    text : str
        Settings.

    Returns
    -------
    Settings
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "run.toml"
    if not path.exists():
        blocks.write_atomically(path, text)
    settings = read_settings(path)
    key = digest(settings.layout.to_dict())
    marker = blocks.read_marker(folder / "run", "stages", "world")
    if marker is None or marker["key"] != key:
        write_world(
            folder / "raw", settings.layout, truth_store=folder / "truth.zarr", progress=progress
        )
        blocks.write_marker(folder / "run", "stages", "world", key)
    return settings


def run_demo(
    folder: Path, *, progress: Progress = silent, tell: Callable[[str], None] = logger.info
) -> dict[str, Any]:
    """Run the demo, or what is left of it, and return its scores; ``tell`` gets a line a stage."""
    settings = prepare(folder, progress=progress)
    for name, stage in pipeline.STAGES.items():
        if name == "report":
            add_truth(settings, progress=progress)
        tell(stage(settings, progress=progress))
    tell(judge(settings, progress=progress))
    return json.loads(settings.table("scores.json").read_text())


def add_truth(settings: Settings, *, progress: Progress = silent) -> None:
    """Score the product against the synthetic truth and keep it with the other scores."""
    path = settings.table("scores.json")
    scores = json.loads(path.read_text())
    product = open_product(settings.product)
    made = blocks.stage_digest(settings.product, predict.STAGE, product_units(settings))
    key = digest(made, product.attrs["interval"])
    place = settings.home / "run", "stages", "truth"
    marker = blocks.read_marker(*place)
    if marker and marker["key"] == key and "truth" in scores:
        return
    truth = xr.open_zarr(settings.table("truth.zarr"), chunks=None, consolidated=False)["ssm"]
    calibrated = json.loads(product.attrs["interval"])
    ends = product[["ssm_lower", "ssm_upper"]] if calibrated else None
    scores["truth"] = score_against_truth(product["ssm"], truth, interval=ends, progress=progress)
    blocks.write_atomically(path, json.dumps(scores, indent=1))
    blocks.write_marker(*place, key)


def judge(settings: Settings, *, progress: Progress = silent) -> str:
    """Compare the estimates at withheld stations, a worse copy of them, and the truth.

    Parameters
    ----------
    settings : Settings
        Of a run with ``predictions.parquet``, its product and ``truth.zarr``.
    progress : callable

    Returns
    -------
    str
        Which of them the paired test names, and the page; or that this was done before.
    """
    made = blocks.stage_digest(settings.product, predict.STAGE, product_units(settings))
    key = digest(content_hash(settings.table("predictions.parquet")), made)
    page = settings.folder / "validation" / "validation.html"
    return done_once(
        settings.folder, "validate", key, [page], lambda: _judge(settings, page.parent, progress)
    )


def _judge(settings: Settings, folder: Path, progress: Progress) -> str:
    """Write the estimates as tables of points, compare, and write what was found."""
    from gssm_cube.validate.run import compare, write_findings  # late: most runs are no demo
    from gssm_cube.validate.settings import make_comparison

    folder.mkdir(exist_ok=True)
    held = pd.read_parquet(settings.table("predictions.parquet"))
    held = held[held["split"] == "new_stations"].rename(columns={"predicted": "value"})
    held = held[["lat", "lon", "time", "value"]]
    noise = np.random.default_rng(0).normal(0, WORSE_BY, len(held))
    worse = held.assign(value=(held["value"] + noise).clip(0, 1))
    for name, table in (("withheld", held), ("degraded", worse)):
        table.to_parquet(folder / f"{name}.parquet", index=False)
    points = {"units": "m3 m-3", "max_km": 1.0}
    products = {name: points | {"path": str(folder / f"{name}.parquet")}
                for name in ("withheld", "degraded")}  # fmt: skip
    products["truth"] = {"path": str(settings.table("truth.zarr")), "units": "m3 m-3"}
    values = {
        "title": "Demo: estimates at withheld stations, a worse copy, and the invented truth",
        "stations": str(settings.table("stations.parquet")), "folder": str(folder),
        "products": products, "borders_of": str(settings.product),
        "cube": str(settings.cube), "forest": str(settings.forest),
    }  # fmt: skip
    comparison = make_comparison(values, folder, "the demo's comparison")
    found = compare(comparison, progress=progress)
    page = write_findings(found, comparison)[-1]
    return (
        f"{found.winners['own'] or 'no product'} is significantly nearest to the stations, {page}"
    )


def plan_and_outcome(folder: Path) -> Table:
    """Return what was planned for the demo, and what it took, side by side."""
    settings = read_settings(folder / "run.toml")
    plan = plan_run(settings)
    return outcome_table(plan, forecast(settings, plan, machine_speed()), outcome(settings))
