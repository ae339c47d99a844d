"""The stages in order, on one settings value; each can be run again and does only what is left.

Stages meet here and nowhere else: what passes between them is a store's path or a table in the
run's folder. A stage that finds its result made from the very same inputs says so and stops.
"""

import json
import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from gssm_cube import __version__, blocks, cube, ingest, predict, product
from gssm_cube.blocks import Progress, digest, silent
from gssm_cube.check import Report, check_run
from gssm_cube.clusters import Profile, open_client
from gssm_cube.download.remote_sources import complete, local_sources
from gssm_cube.evaluate import Evaluation
from gssm_cube.evaluate import evaluate as evaluate_samples
from gssm_cube.forest import Preset, check_trainable, find_preset, load_forest
from gssm_cube.ingest import inputs
from gssm_cube.insitu.quality import Rules
from gssm_cube.insitu.station_tables import read_station_counts, remove_station_table
from gssm_cube.kept import unless_kept
from gssm_cube.model_card import model_line, write_cards
from gssm_cube.once import (
    check_there,
    content_hash,
    done_once,
    file_facts,
    key_of,
    scratch_folder,
)
from gssm_cube.plots.exhibits import skill_exhibits, station_exhibits
from gssm_cube.plots.station_summary import station_list, summarise_table
from gssm_cube.release.citations import licence_attrs
from gssm_cube.report import write_report
from gssm_cube.run_facts import flag_line, product_units, run_facts
from gssm_cube.samples import write_samples
from gssm_cube.sampling.placing import check_places, describe_unchosen
from gssm_cube.sampling.sample_store import MANIFEST, count_rows, open_samples, sample_files
from gssm_cube.settings import Settings
from gssm_cube.skill.applicability import overview_layer
from gssm_cube.skill.knndm import prediction_points
from gssm_cube.skill.search import search_forest
from gssm_cube.skill.trials import COLUMNS, complete_samples
from gssm_cube.stations import write_archive
from gssm_cube.storage import locations, stores
from gssm_cube.storage.fetched import publish_folder
from gssm_cube.storage.files import replaced
from gssm_cube.storage.run_log import LOG_FOLDER, RunLog
from gssm_cube.storage.stores import ROOT
from gssm_cube.training import train_on_samples
from gssm_cube.variables import PREDICTORS

logger = logging.getLogger(__name__)

# Settings of how a run gets and works, not of what its product is.
WAYS = {"folder", "sources", "stores", "cluster", "surface", "era5_land", "earthengine", "web"}
EVALUATED = ("scores.json", "predictions.parquet", "importance.csv", "applicability.json")


def run(
    settings: Settings, *, progress: Progress = silent, tell: Callable[[str], None] = logger.info
) -> list[str]:
    """Complete and check all inputs, then run all stages; tell a line for each, and return them."""
    complete(settings, progress=progress)
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
    inputs.find_inputs(local_sources(settings), settings.layout)
    file_facts(settings.sources.ismn)
    check_trainable(find_preset(settings.training.preset))
    locations.check_writable(settings.cube, settings.product, settings.stores.forest)
    if stores.exists(settings.cube):
        cube.check_cube(settings.cube, settings.layout, settings.upsampling)


def look(settings: Settings, *, progress: Progress = silent) -> Report:
    """Look at all that a run needs and return all that is wrong or missing."""
    return check_run(settings, lambda: _client(settings, "ingest"), __version__, progress)


def check_forest(folder: Path) -> str:
    """Compare a forest's arrays with their hashes and look at every index; raise if one is off."""
    forest = load_forest(folder, check=True)
    return f"{folder}: {forest.trees} trees as they were saved, {forest.feature.size} nodes"


def harmonise(settings: Settings, *, progress: Progress = silent) -> str:
    """Build the feature cube from provider files, or from what Earth Engine has of them."""
    locations.check_writable(settings.cube)
    complete(settings, progress=progress)
    with _client(settings, "ingest") as client:
        steps = ingest.harmonise(
            settings.cube,
            settings.layout,
            local_sources(settings),
            upsampling=settings.upsampling,
            lst_filling=settings.lst_filling,
            refit_climatology=settings.refit_climatology,
            climate_years=settings.climate_years,
            scratch_place=settings.scratch,
            client=client,
            progress=progress,
            log=run_log(settings),
        )
    return f"harmonise: {steps['units'].sum()} tasks done, {steps['skipped'].sum()} skipped"


@unless_kept
def stations(settings: Settings, *, progress: Progress = silent) -> str:
    """Read the ISMN archive into a daily table."""
    archive, rules = settings.sources.ismn, settings.stations
    facts = [file_facts(path) for path in (archive, *rules.tables)]
    key = digest(facts, rules.model_dump(mode="json", exclude={"processes"}), __version__)
    target = settings.table("stations.parquet")

    def work() -> str:
        counts = write_archive(
            archive,
            target,
            Rules(rules.depth, rules.minimum_hours, day=settings.day, screening=rules.screening),
            tables=rules.tables,
            processes=rules.processes,
            progress=lambda done, total: progress("stations", done, total),
        )
        try:
            check_places(target, settings.layout)
        except ValueError:
            remove_station_table(target)
            raise
        return f"{counts.attrs['days']} station days of {counts.attrs['stations']} stations"

    return done_once(settings.home, "stations", key, [target], work, log=run_log(settings))


@unless_kept
def samples(settings: Settings, *, progress: Progress = silent) -> str:
    """Sample the cube at the stations: the blocks whose stations or features are new."""
    source, target = settings.table("stations.parquet"), settings.table("samples")
    check_there(source, "stations")
    check_there(locations.join(settings.cube, ROOT), "harmonise")
    predict.check_complete(settings.cube)
    key = digest(key_of(settings.home, "stations"), blocks.store_digest(settings.cube))

    def work() -> str:
        with _client(settings, "ingest") as client:
            write_samples(
                settings.cube, source, target,
                client=client, progress=progress, log=run_log(settings),
            )  # fmt: skip
        found = count_rows(target)
        lines = [f"{found['rows'].sum()} samples of {found['station'].nunique()} stations"]
        return "; ".join(filter(None, [*lines, describe_unchosen(found, settings.layout)]))

    outputs = sample_files(target)
    return done_once(settings.home, "samples", key, outputs, work, log=run_log(settings))


@unless_kept
def train(settings: Settings, *, progress: Progress = silent) -> str:
    """Train the forest on all samples and save it with its model card."""
    source = settings.table("samples")
    check_there(source / MANIFEST, "samples")
    preset, seed = _preset(settings), settings.training.seed
    search = settings.training.search
    key = digest(key_of(settings.home, "samples"), preset.model_dump(), seed, search, __version__)

    def work() -> str:
        chosen, said = _searched(settings, source, preset) if search else (preset, {})
        about = {
            "seed": seed,
            "cube_digest": blocks.store_digest(settings.cube),
            "gssm_cube": __version__,
        }
        about["last_day"] = settings.last_day.isoformat()
        with scratch_folder(settings.table("train.scratch")) as scratch:
            forest, facts = train_on_samples(source, chosen, scratch, seed=seed, progress=progress)
        card = facts | about | said
        parts = [part.to_dict() for part in forest.parts]
        replace(forest, card=card | {"parts": parts}).save(settings.forest)
        publish_folder(settings.forest, settings.stores.forest, "forest.json")
        # The card has no scores yet: the evaluation puts them there.
        blocks.remove_marker(settings.home / "run", "stages", "evaluate")
        return f"{model_line(parts)} on {card['rows']} rows of {card['stations']} stations"

    outputs = [settings.forest / "forest.json"]
    return done_once(settings.home, "train", key, outputs, work, log=run_log(settings))


def evaluate(settings: Settings, *, progress: Progress = silent) -> str:
    """Score the recipe on rows, years and stations that its forests have not seen."""
    source = settings.table("samples")
    check_there(source / MANIFEST, "samples")
    check_there(settings.forest / "forest.json", "train")
    training = settings.training
    key = digest(
        key_of(settings.home, "train"), training.evaluation_trees, training.full_evaluation
    )
    scores, predictions, importance, reference = (settings.table(name) for name in EVALUATED)

    def work() -> str:
        progress("evaluate", 0, 1)  # until its rows are read, on which the number of fits depends
        preset = Preset.model_validate(load_forest(settings.forest).card["preset"])
        with scratch_folder(settings.table("evaluate.scratch")) as scratch:
            found = evaluate_samples(
                source,
                preset,
                seed=training.seed,
                trees=training.evaluation_trees,
                full=training.full_evaluation,
                points=prediction_points(cube.open_cube(settings.cube)["land"]),
                predictions=predictions,
                scratch=scratch,
                progress=progress,
            )
        with replaced(importance) as partial:
            found.importance.to_csv(partial)
        blocks.write_atomically(reference, json.dumps(found.reference_dict))
        blocks.write_atomically(scores, json.dumps(found.scores, indent=1))
        _add_scores_to_card(settings.forest, found)
        publish_folder(settings.forest, settings.stores.forest, "forest.json")
        return "new stations: " + _score_line(found.scores["new_stations"])

    outputs = [scores, predictions, importance, reference]
    return done_once(settings.home, "evaluate", key, outputs, work, log=run_log(settings))


def predict_all(
    settings: Settings,
    *,
    progress: Progress = silent,
    part: tuple[int, int] | None = None,
    take_over: bool = False,
) -> str:
    """Predict all land blocks into the SSM Zarr, or one part of them without Dask."""
    url = settings.cluster.forest_url or settings.stores.forest
    folder = predict.local_forest(settings.forest, settings.stores.forest)
    check_there(folder / "forest.json", "train")
    check_there(locations.join(settings.cube, ROOT), "harmonise")
    cube.check_cube(settings.cube, settings.layout)
    locations.check_writable(settings.product)
    forest = load_forest(folder)
    attrs = {
        "history": f"gssm_cube {__version__}",
        "forest_digest": forest.digest,
        "forest_preset": forest.preset,
        "settings": settings.model_dump_json(exclude=WAYS),
        **licence_attrs(settings.sources.merit_hydro),
        "sources": "; ".join(sorted({variable.source for variable in PREDICTORS.values()})),
        "scores": json.dumps(forest.card.get("scores", {})),
        "interval": json.dumps(forest.card.get("interval")),
    }
    with nullcontext() if part else _client(settings, "predict") as client:
        status, skipped = predict.predict_product(
            settings.cube,
            settings.product,
            folder,
            attrs,
            frozen=settings.frozen,
            client=client,
            progress=progress,
            log=run_log(settings, part),
            part=part,
            forest_url=None if part else url,
            take_over=take_over,
        )
    return f"predict: {len(status)} blocks done, {skipped} skipped; {flag_line(settings)}"


def report(settings: Settings, *, progress: Progress = silent) -> str:
    """Write the page and its figures."""
    needed = {"scores.json": "evaluate", "predictions.parquet": "evaluate"}
    for name, stage in needed.items():
        check_there(settings.table(name), stage)
    check_there(locations.join(settings.product, ROOT), "predict")
    progress("report", 0, 1)
    page = settings.table("report.html")
    shown = [settings.table(name) for name in (*EVALUATED, "stations.parquet")]
    key = digest(
        settings.title,
        [content_hash(path) for path in shown],
        run_facts(settings),
        blocks.stage_digest(settings.product, predict.STAGE, product_units(settings)),
        blocks.store_digest(settings.cube),
    )
    line = done_once(
        settings.home, "report", key, [page], lambda: _write_page(settings, page),
        log=run_log(settings),
    )  # fmt: skip
    progress("report", 1, 1)
    return line


def _write_page(settings: Settings, page: Path) -> str:
    """Write the page from the run's tables and stores; return its path."""
    importance = pd.read_csv(settings.table("importance.csv"), index_col=0)["importance"]
    scores = json.loads(settings.table("scores.json").read_text())
    reference = json.loads(settings.table("applicability.json").read_text())
    features = cube.open_cube(settings.cube)
    write_report(
        page,
        title=settings.title,
        scores=scores,
        predictions=settings.table("predictions.parquet"),
        importance=importance.rename("mean decrease in impurity"),
        stations=station_list(settings.table("stations.parquet")),
        product=product.open_product(settings.product),
        cube=features,
        facts=run_facts(settings)
        | {"Model": model_line(load_forest(settings.forest).card["parts"])},
        more=[
            *skill_exhibits(scores, overview_layer(reference, features)),
            *station_exhibits(
                summarise_table(settings.table("stations.parquet")),
                read_station_counts(settings.table("stations.parquet")),
            ),
        ],
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
AT_ONCE = ("stations", "samples", "train", "evaluate", "report")  # done in one step


# ---- what stages share ------------------------------------------------------------------------


def _client(settings: Settings, profile: Profile) -> Any:
    """Client of the run's cluster, all of whose workers see the run's folder."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    return open_client(settings.cluster, profile, folder=settings.folder)


def run_log(settings: Settings, part: tuple[int, int] | None = None) -> RunLog:
    """Where the run's clients note what they do."""
    return RunLog(settings.home / LOG_FOLDER, "{}/{}".format(*part) if part else "")


def _preset(settings: Settings) -> Preset:
    """Return the run's preset, with its own number of trees if one is given."""
    preset = find_preset(settings.training.preset)
    trees = settings.training.trees
    return preset if trees is None else preset.model_copy(update={"trees": trees})


def _columns(preset: Preset) -> list[str]:
    """Columns of the samples that a preset needs."""
    return list(dict.fromkeys([*preset.features, *COLUMNS.values()]))


def _searched(settings: Settings, samples: Path, preset: Preset) -> tuple[Preset, dict[str, Any]]:
    """Choose settings of the forest at places held out, on the run's cluster."""
    table = open_samples(samples, columns=_columns(preset))
    known = complete_samples(table, preset.features, COLUMNS, least=2)
    with _client(settings, "ingest"):
        found, said = search_forest(known, preset, seed=settings.training.seed)
    return found, {"search": said}


def _add_scores_to_card(folder: Path, found: Evaluation) -> None:
    """Save the forest again with scores and interval; its digest does not change."""
    forest = load_forest(folder)
    card = {**forest.card, "scores": found.scores, "interval": found.interval_dict}
    replace(forest, card=card).save(folder)
    write_cards(folder, forest.preset, card)


def _score_line(score: dict[str, Any]) -> str:
    """One score as text, or why there is none."""
    if "skipped" in score:
        return f"skipped ({score['skipped']})"
    return f"RMSE {score['rmse']:.3f} m3 m-3, r {score['r']:.2f}, n {score['n']}"
