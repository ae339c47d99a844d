"""The commands that choose a model: train with a search, and the ablation."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from gssm_cube.commands.terminal import bars, console, say, told, write_text

if TYPE_CHECKING:
    from gssm_cube.ablate import Variant
    from gssm_cube.skill.trials import Samples

SHOWN = {
    "rmse": "RMSE",
    "r": "r",
    "station_r": "r st.",
    "station_ubrmse": "ub st.",
    "station_anomaly_r": "anom. r",
}


def add_skill_commands(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (train, ablate):
        app.command()(command)


def train(
    run_file: Annotated[Path, typer.Argument(help="Settings of the run (TOML).")],
    search: Annotated[
        bool, typer.Option(help="First choose leaf and features tried, at places held out.")
    ] = False,
) -> None:
    """Train the forest on the samples."""
    from gssm_cube import pipeline
    from gssm_cube.settings import read_settings

    with told(), bars() as progress:
        settings = read_settings(run_file)
        if search:
            training = settings.training.model_copy(update={"search": True})
            settings = settings.model_copy(update={"training": training})
        line = pipeline.train(settings, progress=progress)
    say(line)


def ablate(
    source: Annotated[
        Path, typer.Argument(help="A table (Parquet or CSV), or settings of a run (TOML).")
    ],
    preset: Annotated[
        str | None, typer.Option(help="The blend to vary; memory for a table, default for a run.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="Weather columns: rain=A,tmin=B,tmax=C,tair=D; NOAA's names.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Variants that hold one of these words, by commas.")
    ] = None,
    against: Annotated[str | None, typer.Option(help="Variant to compare the others with.")] = None,
    seeds: Annotated[int, typer.Option(help="Deals of the folds.", min=1)] = 3,
    keep: Annotated[
        Path | None, typer.Option(help="Folder of what is judged; to go on after a stop.")
    ] = None,
    cluster: Annotated[str, typer.Option(help="local, none, or a scheduler's address.")] = "local",
    json_file: Annotated[Path | None, typer.Option("--json", help="The rows as JSON.")] = None,
) -> None:
    """Judge what each choice in the model is worth at stations that it has not seen."""
    from gssm_cube.ablate import REFERENCE
    from gssm_cube.ablate import ablate as ablate_samples
    from gssm_cube.clusters import open_client

    with told(), bars() as progress:
        known, wanted, folder = _material(source, preset, columns)
        reference = against or REFERENCE
        if only:
            wanted = _chosen(wanted, only, reference)
        with open_client(cluster, "ingest"):
            rows = ablate_samples(
                known, wanted, folder=keep or folder, seeds=range(seeds),
                reference=reference, progress=progress,
            )  # fmt: skip
    console.print(ablation_table(rows, reference))
    if json_file is not None:
        write_text(json_file, json.dumps(rows, indent=1))


def _chosen(variants: "list[Variant]", only: str, reference: str) -> "list[Variant]":
    """Return the variants whose names hold one of some words, and the reference."""
    words = [word.strip() for word in only.split(",")]
    named = [v for v in variants if any(word in v.name for word in words)]
    if not named:
        names = ", ".join(v.name for v in variants)
        raise ValueError(f"no variant holds {' or '.join(words)}, expected words of: {names}")
    return [v for v in variants if v in named or v.name == reference]


def _material(
    source: Path, preset: str | None, columns: str | None
) -> "tuple[Samples, list[Variant], Path]":
    """Return complete samples, the variants, and where to keep what is judged."""
    from gssm_cube.ablate import variants
    from gssm_cube.evaluate import read_samples
    from gssm_cube.forest import find_preset
    from gssm_cube.sampling.sample_store import open_samples
    from gssm_cube.settings import read_settings
    from gssm_cube.skill.trials import COLUMNS, complete_samples
    from gssm_cube.station_weather import derive_lacking

    if source.suffix == ".toml":
        settings = read_settings(source)
        base = find_preset(preset or settings.training.preset)
        table, roles = open_samples(settings.table("samples")), dict(COLUMNS)
        folder = settings.home / "ablation"
    else:
        base = find_preset(preset or "memory")
        tables, roles = derive_lacking(
            [read_samples(source)], base.features, dict(COLUMNS), columns
        )
        table, folder = tables[0], source.with_name(f"{source.stem}.ablation")
    known = complete_samples(table, base.features, roles, least=2)
    return known, variants(base), folder


def ablation_table(rows: Sequence[dict[str, Any]], reference: str) -> Table:
    """Return a row a variant: scores, and a star where the difference is significant."""
    table = Table(
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        caption=f"New stations, means over the deals. * differs from {reference!r}: the 95 % "
        "interval over stations, shown for 1000 times the RMSE, excludes 0. st.: median of the "
        "stations' r, ubRMSE, anomaly r; r and RMSE (m3 m-3) are pooled",
    )
    table.add_column("variant", min_width=18)
    for title in SHOWN.values():
        table.add_column(title, justify="right", min_width=6)
    table.add_column("1000 dRMSE", justify="right", no_wrap=True)
    for row in rows:
        difference = row["difference"]
        cells = [
            f"{row['scores'][name]:.3f}" + "*" * difference.get(name, {}).get("significant", False)
            for name in SHOWN
        ]
        ends = [1000 * end for end in difference.get("rmse", {}).get("interval") or ()]
        table.add_row(row["name"], *cells, " ".join(f"{end:+.1f}" for end in ends))
    return table
