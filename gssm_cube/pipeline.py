"""The stages in order, on one settings value; each can be run again and does only what is left.

Stages meet here and nowhere else: what passes between them is a store's path or a table in the
run's folder. A stage that finds its result made from the very same inputs says so and stops.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from gssm_cube import __version__, blocks, cube, ingest, predict, product
from gssm_cube.blocks import Progress, digest, silent
from gssm_cube.clusters import Profile, open_client
from gssm_cube.evaluate import evaluate as evaluate_samples
from gssm_cube.exhibits import station_exhibits
from gssm_cube.forest import Preset, compile_forest, find_preset, load_forest, train_forest
from gssm_cube.ingest import inputs
from gssm_cube.quality import Rules
from gssm_cube.report import write_report
from gssm_cube.sample_store import MANIFEST, open_samples, sample_files
from gssm_cube.samples import place_stations, write_samples
from gssm_cube.settings import Settings
from gssm_cube.station_tables import read_station_counts, read_station_table, write_stations
from gssm_cube.stations import gather_stations
from gssm_cube.variables import PREDICTORS

logger = logging.getLogger(__name__)


def run(
    settings: Settings, *, progress: Progress = silent, tell: Callable[[str], None] = logger.info
) -> list[str]:
    """Check all inputs, then run all stages; return a line for each, told as it is done."""
    check(settings)
    lines = []
    for stage in STAGES.values():
        lines.append(stage(settings, progress=progress))
        tell(lines[-1])
    return lines


def check(settings: Settings) -> None:
    """Raise what would fail later: missing files and days, wrong units and grids.

    Reads names and headers only.
    """
    inputs.find_inputs(settings.sources.gridded, settings.layout)
    _file_facts(settings.sources.ismn)
    find_preset(settings.training.preset)


def check_forest(folder: Path) -> str:
    """Compare a forest's arrays with their hashes and look at every index; raise if one is off."""
    forest = load_forest(folder, check=True)
    return f"{folder}: {forest.trees} trees as they were saved, {forest.feature.size} nodes"


def harmonise(settings: Settings, *, progress: Progress = silent) -> str:
    """Build the feature cube from provider files."""
    folders = settings.sources.gridded
    with _client(settings, "ingest") as client:
        steps = ingest.harmonise(
            settings.cube,
            settings.layout,
            folders,
            upsampling=settings.upsampling,
            lst_filling=settings.lst_filling,
            refit_climatology=settings.refit_climatology,
            client=client,
            progress=progress,
        )
    return f"harmonise: {steps['units'].sum()} tasks done, {steps['skipped'].sum()} skipped"


def stations(settings: Settings, *, progress: Progress = silent) -> str:
    """Read the ISMN archive into a daily table."""
    archive, rules = settings.sources.ismn, settings.stations
    facts = [_file_facts(path) for path in (archive, *rules.tables)]
    key = digest(facts, rules.model_dump(mode="json", exclude={"processes"}), __version__)
    target = settings.table("stations.parquet")

    def work() -> str:
        data = gather_stations(
            archive,
            Rules(rules.depth, rules.minimum_hours, day=settings.day, screening=rules.screening),
            tables=rules.tables,
            processes=rules.processes,
            progress=lambda done, total: progress("stations", done, total),
        )
        place_stations(data.table, settings.layout)
        write_stations(data.table, data.counts, target, data.frozen)
        return f"{len(data.table)} station days of {data.table['station'].nunique()} stations"

    return _once(settings, "stations", key, [target], work)


def samples(settings: Settings, *, progress: Progress = silent) -> str:
    """Sample the cube at the stations: the blocks whose stations or features are new."""
    source, target = settings.table("stations.parquet"), settings.table("samples")
    _check_there(source, "stations")
    _check_there(settings.cube / "zarr.json", "harmonise")
    predict.check_complete(settings.cube)
    key = digest(_key_of(settings, "stations"), _cube_digest(settings))

    def work() -> str:
        with _client(settings, "ingest") as client:
            write_samples(
                settings.cube, read_station_table(source), target, client=client, progress=progress
            )
        found = open_samples(target, columns=["station"])["station"]
        return f"{len(found)} samples of {found.nunique()} stations"

    return _once(settings, "samples", key, sample_files(target), work)


def train(settings: Settings, *, progress: Progress = silent) -> str:
    """Train the forest on all samples and save it with its model card."""
    source = settings.table("samples")
    _check_there(source / MANIFEST, "samples")
    preset, seed = _preset(settings), settings.training.seed
    key = digest(_key_of(settings, "samples"), preset.model_dump(), seed, __version__)

    def work() -> str:
        table = open_samples(source)
        forest = train_forest(table, preset, seed=seed)
        card = _model_card(settings, table, preset)
        compile_forest(forest, preset=preset.name, card=card).save(settings.forest)
        # The card has no scores yet: the evaluation puts them there.
        blocks.remove_marker(settings.folder / "run", "stages", "evaluate")
        return f"{preset.trees} trees on {card['rows']} rows of {card['stations']} stations"

    progress("train", 0, 1)
    line = _once(settings, "train", key, [settings.forest / "forest.json"], work)
    progress("train", 1, 1)
    return line


def evaluate(settings: Settings, *, progress: Progress = silent) -> str:
    """Score the recipe on rows, years and stations that its forests have not seen."""
    source = settings.table("samples")
    _check_there(source / MANIFEST, "samples")
    _check_there(settings.forest / "forest.json", "train")
    training = settings.training
    key = digest(_key_of(settings, "train"), training.evaluation_trees)
    names = ("scores.json", "predictions.parquet", "importance.csv")
    scores, predictions, importance = (settings.table(name) for name in names)

    def work() -> str:
        found = evaluate_samples(
            open_samples(source),
            _preset(settings),
            seed=training.seed,
            trees=training.evaluation_trees,
        )
        _replace(predictions, found.predictions.to_parquet)
        _replace(importance, found.importance.to_csv)
        blocks.write_atomically(scores, json.dumps(found.scores, indent=1))
        _add_scores_to_card(settings.forest, found.scores)
        return "new stations: " + _score_line(found.scores["new_stations"])

    progress("evaluate", 0, 1)
    line = _once(settings, "evaluate", key, [scores, predictions, importance], work)
    progress("evaluate", 1, 1)
    return line


def predict_all(settings: Settings, *, progress: Progress = silent) -> str:
    """Predict all land blocks into the SSM Zarr."""
    _check_there(settings.forest / "forest.json", "train")
    _check_there(settings.cube / "zarr.json", "harmonise")
    forest = load_forest(settings.forest)
    attrs = {
        "history": f"gssm_cube {__version__}",
        "forest_digest": forest.digest,
        "forest_preset": forest.preset,
        "settings": settings.model_dump_json(exclude={"folder", "sources", "cluster"}),
        "sources": "; ".join(sorted({variable.source for variable in PREDICTORS.values()})),
        "scores": json.dumps(forest.card.get("scores", {})),
    }
    with _client(settings, "predict") as client:
        status, skipped = predict.predict_product(
            settings.cube,
            settings.product,
            settings.forest,
            attrs,
            client=client,
            progress=progress,
        )
    return f"predict: {len(status)} blocks done, {skipped} skipped"


def report(settings: Settings, *, progress: Progress = silent) -> str:
    """Write the page and its figures."""
    needed = {"scores.json": "evaluate", "predictions.parquet": "evaluate"}
    for name, stage in needed.items():
        _check_there(settings.table(name), stage)
    _check_there(settings.product / "zarr.json", "predict")
    progress("report", 0, 1)
    page = settings.table("report.html")
    key = digest(
        settings.title,
        settings.table("scores.json").read_text(),
        blocks.stage_digest(settings.product, predict.STAGE, _product_units(settings)),
        __version__,
    )
    line = _once(settings, "report", key, [page], lambda: _write_page(settings, page))
    progress("report", 1, 1)
    return line


def _write_page(settings: Settings, page: Path) -> str:
    """Write the page from the run's tables and stores; return its path."""
    importance = pd.read_csv(settings.table("importance.csv"), index_col=0)["importance"]
    write_report(
        page,
        title=settings.title,
        scores=json.loads(settings.table("scores.json").read_text()),
        predictions=pd.read_parquet(settings.table("predictions.parquet")),
        importance=importance.rename("mean decrease in impurity"),
        stations=_station_list(settings),
        product=product.open_product(settings.product),
        cube=cube.open_cube(settings.cube),
        facts=_facts(settings),
        more=station_exhibits(
            read_station_table(settings.table("stations.parquet")),
            read_station_counts(settings.table("stations.parquet")),
        ),
    )
    return str(page)


# Stations first: what is wrong with them shows in minutes, the cube takes hours.
STAGES: dict[str, Callable[..., str]] = {
    "stations": stations,
    "harmonise": harmonise,
    "samples": samples,
    "train": train,
    "evaluate": evaluate,
    "predict": predict_all,
    "report": report,
}


# ---- what stages share ------------------------------------------------------------------------


def _client(settings: Settings, profile: Profile) -> Any:
    """Client of the run's cluster."""
    chosen = settings.cluster
    return open_client(
        chosen.kind, profile, workers=chosen.workers, memory_limit=chosen.memory_limit
    )


def _preset(settings: Settings) -> Preset:
    """Return the run's preset, with its own number of trees if one is given."""
    preset = find_preset(settings.training.preset)
    trees = settings.training.trees
    return preset if trees is None else preset.model_copy(update={"trees": trees})


def _once(
    settings: Settings, stage: str, key: str, outputs: Sequence[Path], work: Callable[[], str]
) -> str:
    """Run a stage unless its outputs stem from the same key; then note the key."""
    marker = blocks.read_marker(settings.folder / "run", "stages", stage)
    if marker and marker["key"] == key and all(path.exists() for path in outputs):
        return f"{stage}: skipped, up to date ({marker['line']})"
    line = work()
    blocks.write_marker(settings.folder / "run", "stages", stage, key, line=line)
    return f"{stage}: {line}"


def _key_of(settings: Settings, stage: str) -> str:
    """Key under which an earlier stage was done."""
    marker = blocks.read_marker(settings.folder / "run", "stages", stage)
    return marker["key"] if marker else ""


def _check_there(path: Path, stage: str) -> None:
    """Raise unless an earlier stage's output is there."""
    if not path.exists():
        raise FileNotFoundError(f"no {path}: run `gssm {stage}` first")


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file beside its place and move it there when it is whole."""
    partial = path.with_name(f"{path.name}.partial")
    write(partial)
    partial.replace(path)


def _file_facts(path: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times of a file or of all files in a folder."""
    if not path.exists():
        raise FileNotFoundError(f"no ISMN archive at {path}: give its zip or folder")
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files]


def _cube_digest(settings: Settings) -> str:
    """Hash over the cube's contents, as its markers state them."""
    root = Path(f"{settings.cube}.markers")
    stages = sorted(folder.name for folder in root.glob("*") if folder.is_dir())
    units = {stage: [path.stem for path in (root / stage).glob("*.json")] for stage in stages}
    return digest([blocks.stage_digest(settings.cube, name, units[name]) for name in stages])


def _model_card(settings: Settings, table: pd.DataFrame, preset: Preset) -> dict[str, Any]:
    """Return what a reader must know of a forest."""
    complete = table.dropna(subset=[*preset.features, "observed"])
    return {
        "features": list(preset.features),
        "packing": {
            name: [PREDICTORS[name].packing.scale, PREDICTORS[name].packing.offset]
            for name in preset.features
        },
        "preset": preset.model_dump(mode="json"),
        "seed": settings.training.seed,
        "rows": len(complete),
        "rows_dropped": len(table) - len(complete),
        "stations": int(complete["station"].nunique()),
        "day": settings.day,
        "cube_digest": _cube_digest(settings),
        "gssm_cube": __version__,
        "scores": {},
    }


def _add_scores_to_card(folder: Path, scores: dict[str, Any]) -> None:
    """Save the forest again with its scores; its digest does not change."""
    forest = load_forest(folder)
    replace(forest, card={**forest.card, "scores": scores}).save(folder)


def _score_line(score: dict[str, Any]) -> str:
    """One score as text, or why there is none."""
    if "skipped" in score:
        return f"skipped ({score['skipped']})"
    return f"RMSE {score['rmse']:.3f} m3 m-3, r {score['r']:.2f}, n {score['n']}"


def _station_list(settings: Settings) -> pd.DataFrame:
    """One row a station with its days."""
    table = read_station_table(settings.table("stations.parquet"))
    grouped = table.groupby("station", as_index=False)
    return grouped.agg(
        network=("network", "first"),
        lat=("lat", "first"),
        lon=("lon", "first"),
        days=("time", "size"),
    )


def _product_units(settings: Settings) -> list[str]:
    """Labels of the blocks that are predicted."""
    folder = blocks.marker_folder(settings.product, predict.STAGE)
    return [path.stem for path in folder.glob("*.json")]


def _facts(settings: Settings) -> dict[str, str]:
    """Facts of a run for the report."""
    layout, forest = settings.layout, load_forest(settings.forest)
    west, south, east, north = layout.bounds
    size = layout.tile_size
    return {
        "Period": f"{layout.first_day} to {layout.last_day}, days are {settings.day}",
        "Area": f"{west:.2f} to {east:.2f} E, {south:.2f} to {north:.2f} N",
        "Blocks": f"{len(_product_units(settings))} of {size} x {size} pixels x 366 days",
        "Forest": f"{forest.preset}, {forest.trees} trees, {len(forest.features)} features",
        "Trained on": f"{forest.card['rows']} station days of {forest.card['stations']} stations",
        "Forest digest": forest.digest[:16],
        "Version": f"gssm_cube {__version__}",
        "Licence of the product": (
            "MERIT Hydro, one of the sources, is CC-BY-NC 4.0 or ODbL 1.0; what is derived from "
            "it must be shared under one of these"
        ),
    }
