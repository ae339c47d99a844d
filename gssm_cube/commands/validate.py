"""The command that judges products beside each other at stations."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gssm_cube.commands.terminal import FirstDay, LastDay, bars, say, told

if TYPE_CHECKING:
    from gssm_cube.validate.settings import Comparison

NUMBERS = ("porosity", "depth", "scale", "max_km")


def add_validate_command(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(validate)


def validate(
    source: Annotated[
        Path | None, typer.Argument(help="Settings (TOML), instead of flags.")
    ] = None,
    product: Annotated[
        list[str] | None,
        typer.Option(help="NAME=PATH[,variable=V][,units=U]..., as often as there are products."),
    ] = None,
    stations: Annotated[
        Path | None, typer.Option(help="Table of station-days (Parquet, CSV) or ISMN archive.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of what is written.")] = Path("validation"),
    coarse: Annotated[
        float, typer.Option(help="Edge of the common cells, degrees; 0: none.")
    ] = 0.25,
    min_days: Annotated[int, typer.Option(help="Days that a station needs.")] = 100,
    first_day: FirstDay = None,
    last_day: LastDay = None,
) -> None:
    """Judge soil moisture products beside each other, on the same station-days."""
    from gssm_cube.validate.run import compare, write_findings
    from gssm_cube.validate.settings import make_comparison, read_comparison

    with told(), bars() as progress:
        if source is not None and (product or stations):
            raise ValueError("give either a settings file or --stations and --product, not both")
        if source is not None:
            settings = read_comparison(source)
        else:
            values = {"products": _products(product or ()), "stations": str(stations or ""),
                      "folder": str(out), "coarse_degrees": coarse, "min_days": min_days,
                      "first_day": first_day and first_day.date(),
                      "last_day": last_day and last_day.date()}  # fmt: skip
            if stations is None or not product:
                raise ValueError("give a settings file, or --stations and at least one --product")
            settings = make_comparison(values, Path.cwd(), "the flags")
        found = compare(settings, progress=progress)
        paths = write_findings(found, settings)
    _tell(found.sentences, settings)
    say(f"{paths[-1]}")


def _tell(sentences: dict[str, list[str]], settings: "Comparison") -> None:
    """Print the verdicts of each grid."""
    titles = {"own": "Each on its own grid", "coarse": f"Cells of {settings.coarse_degrees:g} deg"}
    for grid, said in sentences.items():
        for sentence in said:
            say(f"{titles[grid]}: {sentence}")


def _products(texts: Sequence[str]) -> dict[str, Any]:
    """Return the tables of products that flags describe."""
    found: dict[str, Any] = {}
    for text in texts:
        name, given, rest = text.partition("=")
        path, *options = rest.split(",")
        pairs = [option.partition("=") for option in options]
        if not given or not path or any(not sign for _, sign, _ in pairs):
            raise ValueError(f"product is {text!r}, expected NAME=PATH or NAME=PATH,variable=V,...")
        found[name] = {"path": path} | {
            key: _number(value) if key in NUMBERS else value for key, _, value in pairs
        }
    return found


def _number(text: str) -> float | str:
    """Return a number, or the text that is none: porosity may be a raster."""
    try:
        return float(text)
    except ValueError:
        return text
