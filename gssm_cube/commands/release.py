"""The commands that hand a product on: compare it, cite its sources, list it in a catalogue."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from gssm_cube.commands.product import Source, beside_product, client_of, product_of
from gssm_cube.commands.terminal import bars, console, say, told, write_text

if TYPE_CHECKING:
    import pandas as pd

    from gssm_cube.release.citations import Credits

JsonFile = Annotated[Path | None, typer.Option("--json", help="All of it as JSON.")]


def add_release_commands(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (surface, diff, cite, stac):
        app.command()(command)


def surface(
    run_file: Annotated[Path, typer.Argument(help="Settings of the run (TOML).")],
) -> None:
    """Write into the product what its places are: water, towns, steep terrain, unlike stations."""
    from gssm_cube.download.remote_sources import local_sources
    from gssm_cube.release.surface import Origins, write_surface
    from gssm_cube.settings import read_settings

    with told(), bars() as progress, client_of(str(run_file)) as client:
        settings = read_settings(run_file)
        chosen, table = settings.surface, settings.table("applicability.json")
        reference = table if table.exists() and table.read_text() != "null" else None
        terrain = local_sources(settings)["merit_hydro"]
        origins = Origins(chosen.land_cover, chosen.legend, terrain, reference)
        done, skipped = write_surface(
            settings.product, settings.cube, origins, client=client, progress=progress
        )
    say(f"surface: {done} tiles done, {skipped} skipped; {', '.join(origins.sources)}")


def diff(
    first: Source,
    second: Source,
    json_file: JsonFile = None,
    map_file: Annotated[
        Path | None, typer.Option("--map", help="Mean difference by pixel: .tif, or .png.")
    ] = None,
) -> None:
    """Tell what differs between two products, second minus first, by year and tile."""
    from gssm_cube.release.difference import compare_products

    with told(), bars() as progress:
        stores = product_of(first), product_of(second)
        found = compare_products(*stores, map_path=map_file, progress=progress)
    if json_file is not None:
        write_text(json_file, json.dumps(found.to_dict(), indent=1))
    console.print(_difference_table(found.by_year, found.overall))
    changed = found.by_tile.groupby("tile")["changed"].sum()
    say(f"{int((changed > 0).sum())} of {len(changed)} tiles differ")


def _difference_table(by_year: "pd.DataFrame", overall: dict[str, Any]) -> Table:
    """Return a row a year, and one of all; percentiles are left to the JSON, for room."""
    shown = {
        "compared": "compared", "changed": "changed", "only_first": "only 1st",
        "only_second": "only 2nd", "mean": "mean", "rms": "rms", "largest": "largest",
    }  # fmt: skip
    title = "Second minus first, m3 m-3; counts are pixel-days"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("year", *shown.values()):
        table.add_column(name, justify="right", no_wrap=True)
    rows: list[dict[Any, Any]] = [*by_year.to_dict("records"), {"year": "all", **overall}]
    for row in rows:
        table.add_row(str(row["year"]), *(_cell(row[name]) for name in shown))
    return table


def _cell(value: float) -> str:
    """Return a measure, or a count, large ones in millions."""
    if isinstance(value, float):
        return f"{value:.4f}"
    return f"{value:,}" if value < 10**5 else f"{value / 1e6:.2f}M"


def cite(
    run_file: Annotated[Path, typer.Argument(help="Settings of the run (TOML).")],
    bibtex: Annotated[Path | None, typer.Option(help="All citations as BibTeX.")] = None,
) -> None:
    """Tell whom the run cites, all licences, and what follows for its product."""
    with told():
        found = _credits(run_file)
    if bibtex is not None:
        write_text(bibtex, found.bibtex)
    for source in found.sources:
        lines = [source.text, f"Licence: {source.licence}", source.note]
        console.print("\n    ".join(filter(None, lines)), highlight=False, soft_wrap=True)
    for name, text in found.networks.items():
        console.print(f"Network {name}: {text}", highlight=False, soft_wrap=True, markup=False)
    console.print(f"\nStations. {found.stations}", highlight=False, soft_wrap=True)
    console.print(f"\nThe product. {found.licence}", highlight=False, soft_wrap=True)


def _credits(run_file: Path) -> "Credits":
    """Return whom a run cites; its networks are those of its station table."""
    from gssm_cube.plots.station_summary import station_list
    from gssm_cube.release.citations import cited_as, credit
    from gssm_cube.settings import read_settings

    settings = read_settings(run_file)
    table = settings.table("stations.parquet")
    if not table.exists():
        raise FileNotFoundError(f"no {table}, which names the networks: run `gssm stations` first")
    names = [cited_as(name, place) for name, place in settings.sources.gridded.items()] + ["ismn"]
    names += [settings.surface.legend] if settings.surface.land_cover else []
    return credit(names, station_list(table)["network"], settings.sources.ismn)


def stac(
    source: Source,
    out: Annotated[
        str | None, typer.Option(help="JSON, path or URL; beside the product by default.")
    ] = None,
    href: Annotated[
        str | None, typer.Option(help="Where readers find the product; its own path by default.")
    ] = None,
) -> None:
    """Describe a product as an item of a SpatioTemporal Asset Catalog."""
    from gssm_cube.release.stac import product_item, write_item

    with told():
        store = product_of(source)
        target = beside_product(store, f"{Path(store).stem}.stac.json", out)
        write_item(product_item(store, href), target)
    say(f"{target}")
