"""The ``gssm`` command: a thin face of the pipeline."""

import json
import logging
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape

from gssm_cube.commands.earthengine import (
    MaxRequests,
    add_earthengine_commands,
    show_requests,
)
from gssm_cube.commands.fetch import add_fetch_commands
from gssm_cube.commands.product import add_product_commands
from gssm_cube.commands.release import add_release_commands
from gssm_cube.commands.skill import add_skill_commands
from gssm_cube.commands.terminal import bars, console, say, told, write_text
from gssm_cube.commands.validate import add_validate_command

if TYPE_CHECKING:
    import pandas as pd

    from gssm_cube.insitu.quality import Day

app = typer.Typer(
    help="Global surface soil moisture at 1 km, daily: from provider files to a Zarr cube.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
RunFile = Annotated[Path, typer.Argument(help="Settings of the run (TOML).")]


@app.callback()
def _configure(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Set up the log."""
    handler = RichHandler(console=Console(stderr=True), show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    logging.getLogger("gssm_cube").setLevel(logging.DEBUG if verbose else logging.INFO)
    # A polite kill closes clusters and names what was done, as Ctrl-C does.
    signal.signal(signal.SIGTERM, _end)
    # Read when Dask is imported, here and in the workers: its chatter hides the progress.
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "error")


def _end(number: int, frame: object) -> None:
    """Leave by way of everything that must be closed."""
    raise SystemExit(128 + number)


def _stage(
    name: str,
    run_file: Path,
    *,
    full: bool = False,
    part: tuple[int, int] | None = None,
    take_over: bool = False,
) -> None:
    """Run one stage of a run, or one part of the prediction."""
    from gssm_cube import pipeline
    from gssm_cube.settings import read_settings

    with told(), bars() as progress:
        settings = read_settings(run_file)
        if full:
            training = settings.training.model_copy(update={"full_evaluation": True})
            settings = settings.model_copy(update={"training": training})
        if part is None and not take_over:
            line = pipeline.STAGES[name](settings, progress=progress)
        else:
            line = pipeline.predict_all(settings, progress=progress, part=part, take_over=take_over)
    console.print(line, highlight=False)


def _add_stage(name: str, text: str) -> None:
    """Add a command that runs one stage."""

    def command(run_file: RunFile) -> None:
        _stage(name, run_file)

    command.__doc__ = text
    app.command(name)(command)


for _name, _text in {
    "harmonise": "Build the feature cube from provider files.",
    "samples": "Sample the cube at the stations.",
    "report": "Write the page of scores and figures.",
}.items():
    _add_stage(_name, _text)
add_skill_commands(app)


@app.command()
def stations(
    source: Annotated[Path, typer.Argument(help="Settings of a run (TOML), or an ISMN archive.")],
    out: Annotated[Path | None, typer.Option(help="Table (Parquet) of an archive.")] = None,
    minimum_hours: Annotated[int | None, typer.Option(help="Hours that a day needs.")] = None,
    day: Annotated[
        str, typer.Option(help="UTC, or local: the station's standard day, for no cube yet.")
    ] = "UTC",
) -> None:
    """Read the stations of a run, or of an ISMN archive by itself."""
    from gssm_cube.insitu.station_tables import read_station_counts, summarise

    if source.suffix == ".toml":
        from gssm_cube.settings import read_settings

        if day != "UTC" or minimum_hours is not None or out is not None:
            raise typer.BadParameter("these options are for an archive; a run has its settings")
        _stage("stations", source)
        counts = read_station_counts(read_settings(source).table("stations.parquet"))
        console.print(summarise(counts), highlight=False, soft_wrap=True)
        return
    with told(), TemporaryDirectory() as folder:
        counts, line = _read_archive(source, out or Path(folder) / "s.parquet", minimum_hours, day)
    console.print(summarise(counts), highlight=False, soft_wrap=True)
    console.print(f"{line} in {out}" if out else line)


def _read_archive(
    archive: Path, path: Path, minimum_hours: int | None, day: str
) -> "tuple[pd.DataFrame, str]":
    """Write the table of an archive; return its counts and what it holds."""
    from gssm_cube.insitu.quality import MINIMUM_HOURS, Rules
    from gssm_cube.stations import write_archive

    hours = MINIMUM_HOURS if minimum_hours is None else minimum_hours
    rules = Rules(minimum_hours=hours, day=cast("Day", day))
    with bars() as progress:
        counts = write_archive(
            archive,
            path,
            rules,
            processes=None,
            progress=lambda done, total: progress("stations", done, total),
        )
    return counts, f"{counts.attrs['days']} station days of {counts.attrs['stations']} stations"


@app.command()
def evaluate(
    run_file: Annotated[Path | None, typer.Argument(help="Settings of a run (TOML).")] = None,
    samples: Annotated[Path | None, typer.Option(help="Own table, Parquet or CSV.")] = None,
    observed: Annotated[str, typer.Option(help="Column of the observed SSM.")] = "observed",
    station: Annotated[str, typer.Option(help="Column of the station.")] = "station",
    lat: Annotated[str, typer.Option(help="Column of the latitude.")] = "station_lat",
    lon: Annotated[str, typer.Option(help="Column of the longitude.")] = "station_lon",
    time: Annotated[str, typer.Option(help="Column of the day.")] = "time",
    features: Annotated[str | None, typer.Option(help="Columns, separated by commas.")] = None,
    preset: Annotated[str, typer.Option(help="Recipe of the forest.")] = "default",
    columns: Annotated[
        str | None, typer.Option(help="Weather columns: rain=A,tmin=B,tmax=C,tair=D; NOAA's names.")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="Second table, never trained on.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Scores as JSON.")] = None,
    full: Annotated[bool, typer.Option(help="All splits side by side, over seeds.")] = False,
) -> None:
    """Score the forest of a run, or a recipe on a table of your own."""
    if samples is None and run_file is not None:
        _evaluate_run(run_file, json_file, full=full)
        return
    if samples is None or run_file is not None:
        raise typer.BadParameter("give either a run's TOML file or a table by --samples")
    from gssm_cube.evaluate import evaluate as evaluate_samples
    from gssm_cube.evaluate import read_samples
    from gssm_cube.forest import find_preset
    from gssm_cube.station_weather import derive_lacking

    places = dict(observed=observed, station=station, lat=lat, lon=lon, time=time)
    with told(), bars() as progress:
        names = [*map(str.strip, features.split(","))] if features else find_preset(preset).features
        tables = [read_samples(path) for path in (samples, test) if path]
        tables, roles = derive_lacking(tables, names, places, columns)
        found = evaluate_samples(
            tables[0], preset, features=names, test=tables[1] if test else None, full=full,
            progress=progress, **roles,
        )  # fmt: skip
    _print_scores(found.scores)
    if json_file is not None:
        write_text(json_file, json.dumps(found.scores, indent=1))


def _evaluate_run(run_file: Path, json_file: Path | None, *, full: bool) -> None:
    """Score the forest of a run; show the scores also if they were up to date."""
    from gssm_cube.settings import read_settings

    _stage("evaluate", run_file, full=full)
    text = read_settings(run_file).table("scores.json").read_text()
    _print_scores(json.loads(text))
    if json_file is not None:
        write_text(json_file, text)


def _print_scores(scores: dict[str, Any]) -> None:
    """Print the scores, and all splits side by side if they were compared."""
    from gssm_cube.skill.score_tables import score_table, split_table, within_line

    console.print(score_table(scores))
    if line := within_line(scores):
        say(line)
    if (rows := scores["rows"])["dropped"]:
        say(
            f"{rows['dropped']:,} of {rows['read']:,} rows are left out: they lack what was "
            "observed or a feature"
        )
    if "splits" in scores:
        console.print(split_table(scores["splits"]))


@app.command()
def plan(run_file: RunFile, max_requests: MaxRequests = None) -> None:
    """Print what a run will take, before anything runs."""
    from gssm_cube.costs.calibration import machine_speed
    from gssm_cube.costs.forecast import forecast, forecast_table
    from gssm_cube.plan import plan_before_download, plan_run, plan_table
    from gssm_cube.settings import read_settings

    with told():
        settings = read_settings(run_file)
        requests, size = show_requests(settings, max_requests)
        if requests:
            say("The rest, as if all of it were land, which is not known before the download:")
        costs = plan_before_download(settings, size) if requests else plan_run(settings)
        console.print(plan_table(costs, settings.folder))
        found = forecast(settings, costs, machine_speed())
        console.print(forecast_table(found, costs.blocks, costs.predict_memory))


@app.command()
def check(
    source: Annotated[Path, typer.Argument(help="Settings of a run (TOML), or a forest's folder.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="All of it as JSON.")] = None,
) -> None:
    """Tell what is there, missing and wrong for a run, and its disk and time; or check a forest.

    Reads headers only. The exit status is 0 if the run can start.
    """
    from gssm_cube import pipeline
    from gssm_cube.commands.check_tables import cost_lines, fault_table, source_table
    from gssm_cube.settings import read_settings

    if source.suffix != ".toml":
        with told():
            say(pipeline.check_forest(source))
        return
    with told(), bars() as progress:
        report = pipeline.look(read_settings(source), progress=progress)
    if json_file is not None:
        write_text(json_file, json.dumps(report.to_dict(), indent=1))
    console.print(source_table(report, f"What the run {source} needs"))
    faults = fault_table(report)
    if faults.row_count:
        console.print(faults)
    for line in cost_lines(report):
        console.print(line, highlight=False)
    if not report.can_start:
        say("[bold red]The run cannot start before the faults are mended[/]")
        raise typer.Exit(1)
    warned = any(finding.warnings for finding in report.findings)
    say("The run can start" + "; what the warnings name becomes a gap" * warned)


Detached = Annotated[
    bool, typer.Option("--detach", help="Go on by itself in the background; see gssm status.")
]


@app.command()
def predict(
    run_file: RunFile,
    part: Annotated[
        str | None, typer.Option(help="One of n parts, without Dask, such as 2/8.")
    ] = None,
    detach: Detached = False,
    take_over: Annotated[
        bool,
        typer.Option("--take-over", help="Break another run's lease on a product at a URL."),
    ] = False,
) -> None:
    """Predict all land blocks into the SSM Zarr, or one part of them."""
    from gssm_cube.commands.detached import parse_part

    with told():
        chosen = None if part is None else parse_part(part)
    if detach:
        options = ["--take-over"] * take_over
        _detach("predict", run_file, options + ([] if part is None else ["--part", part]))
    else:
        _stage("predict", run_file, part=chosen, take_over=take_over)


@app.command()
def status(run_file: RunFile) -> None:
    """Tell how far a run is: what is done, left and failed, the rate and the time to go."""
    from gssm_cube.pipeline import AT_ONCE, STAGES
    from gssm_cube.settings import read_settings
    from gssm_cube.status import run_status, status_table

    with told():
        found = run_status(read_settings(run_file).home, AT_ONCE, order=tuple(STAGES))
    console.print(status_table(found))
    for stage in found:
        for unit, error in stage.failed:
            console.print(f"{stage.stage} {unit}: {escape(error)}", highlight=False, soft_wrap=True)


def _detach(command: str, run_file: Path, options: Sequence[str] = ()) -> None:
    """Start a command as a process of its own, which outlives this terminal."""
    from gssm_cube.commands.detached import start_detached
    from gssm_cube.settings import read_settings

    with told():
        folder = read_settings(run_file).folder
        log = folder / f"{command}.log"
        number = start_detached([command, str(run_file.resolve()), *options], log)
    say(
        f"process {number} goes on by itself and writes to {log}\n"
        f"    gssm status {run_file}      how far it is\n"
        f"    kill {number}      end it; the same command goes on where it was"
    )


@app.command()
def run(run_file: RunFile, detach: Detached = False) -> None:
    """Run all stages, or what is left of them."""
    if detach:
        _detach("run", run_file)
        return
    from gssm_cube import pipeline
    from gssm_cube.settings import read_settings

    with told(), bars() as progress:
        pipeline.run(read_settings(run_file), progress=progress, tell=say)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where everything goes.")] = Path("demo"),
) -> None:
    """Run the whole job on a small synthetic world and report."""
    from gssm_cube.demo import plan_and_outcome, run_demo
    from gssm_cube.plan import size

    with told(), bars() as progress:
        scores = run_demo(folder.resolve(), progress=progress, tell=say)
    _print_scores(scores)
    console.print(plan_and_outcome(folder.resolve()))
    for name in ("raw", "features.zarr", "ssm.zarr"):
        files = [path for path in (folder / name).rglob("*") if path.is_file()]
        total = sum(path.stat().st_size for path in files)
        console.print(f"{folder / name}: {len(files)} files, {size(total)}", highlight=False)
    console.print(f"\nReport: {folder / 'report.html'}\nOpen the product:\n", highlight=False)
    console.print(
        "    from gssm_cube import open_product\n"
        f"    ssm = open_product({str(folder / 'ssm.zarr')!r}).ssm\n"
        '    ssm.sel(lat=42.8, lon=-31.1, method="nearest").plot()',
        highlight=False,
    )


add_product_commands(app)
add_earthengine_commands(app)
add_fetch_commands(app)
add_release_commands(app)
add_validate_command(app)

if __name__ == "__main__":
    app()
