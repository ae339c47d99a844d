"""The commands on a product that is there: export it, describe its climatology."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gssm_cube.commands.terminal import FirstDay, LastDay, bars, say, told
from gssm_cube.storage.locations import Location

TABLE = "stations.parquet"
Source = Annotated[
    str, typer.Argument(help="A product (Zarr; path or URL), or settings of its run (TOML).")
]


def add_product_commands(app: typer.Typer) -> None:
    """Add the commands to the application."""
    for command in (export, climatology, overviews, view):
        app.command()(command)


def export(
    source: Source,
    target: Annotated[Path, typer.Argument(help="Ends in .nc, .tif, .zarr, .csv or .parquet.")],
    box: Annotated[str | None, typer.Option(help="west,south,east,north in degrees.")] = None,
    region: Annotated[Path | None, typer.Option(help="Polygons, GeoJSON.")] = None,
    points: Annotated[
        Path | None, typer.Option(help="CSV with columns lat, lon and perhaps point or station.")
    ] = None,
    first_day: FirstDay = None,
    last_day: LastDay = None,
) -> None:
    """Write a part of a product as NetCDF, GeoTIFF, plain Zarr, or series as a table."""
    from gssm_cube.product.export import Part, export_points, read_points
    from gssm_cube.product.export import export as export_part
    from gssm_cube.regions import read_region

    if sum(choice is not None for choice in (box, region, points)) > 1:
        raise typer.BadParameter("give one of --box, --region and --points")
    days = {
        name: day.date() if day else None
        for name, day in (("first_day", first_day), ("last_day", last_day))
    }
    with told(), bars() as progress:
        store = product_of(source)
        if points is not None:
            paths = export_points(store, target, read_points(points), **days)
        else:
            polygon = read_region(region) if region else None
            part = Part(_parse_box(box) if box else None, polygon, **days)
            paths = export_part(store, target, part, progress=progress)
    for path in paths:
        say(f"{path}")


def climatology(
    source: Source,
    years: Annotated[str, typer.Option(help="Baseline, as 2001-2020; both included.")],
    out: Annotated[
        str | None, typer.Option(help="Zarr, path or URL; beside the product by default.")
    ] = None,
) -> None:
    """Describe each day of the year: mean, standard deviation, percentiles over years."""
    from gssm_cube.product.climatology import describe_product

    with told(), bars() as progress:
        store = product_of(source)
        target = beside_product(store, "climatology.zarr", out)
        baseline = _parse_years(years)
        with client_of(source) as client:
            status, skipped = describe_product(
                store, target, baseline, client=client, progress=progress
            )
    say(f"climatology: {len(status)} tiles done, {skipped} skipped, in {target}")


def overviews(
    source: Source,
    scratch: Annotated[
        Path | None,
        typer.Option(
            help="Folder that all workers see, for what waits between two passes; by default the "
            "product's or, if that is at a URL, the run's or this one."
        ),
    ] = None,
) -> None:
    """Write coarse daily maps (0.05 and 0.1 deg) into the product, for looking at whole days."""
    from gssm_cube.product.overviews import write_overviews

    with told(), bars() as progress, client_of(source) as client:
        store = product_of(source)
        done, skipped = write_overviews(
            store, scratch=scratch or _scratch_of(source, store), client=client, progress=progress
        )
    say(f"overviews: {done} slabs of six days done, {skipped} skipped")


def _scratch_of(source: str, store: Location) -> Path | None:
    """Return the folder of a run, or this one, for a product that is far away."""
    from gssm_cube.settings import read_settings
    from gssm_cube.storage.locations import is_url

    if not is_url(store):
        return None
    return read_settings(source).folder if source.endswith(".toml") else Path.cwd()


def view(
    source: Source,
    stations: Annotated[
        Path | None, typer.Option(help="Station table; the run's, or the one beside the product.")
    ] = None,
    port: Annotated[int, typer.Option(help="Of the page; 0 takes a free one.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in your browser.")] = False,
) -> None:
    """Show a product on a page of this machine: maps of days, series of places, stations."""
    from gssm_cube.view import check_bokeh, serve

    with told():
        check_bokeh()
        store = product_of(source)
        table = stations or _stations_beside(source, store)
        serve(store, table, port=port, tell=_tell_address, browser=browser)


def _tell_address(address: str) -> None:
    """Say where the page is."""
    say(f"{address}  (Ctrl-C ends it)")


def _stations_beside(source: str, store: Location) -> Path | None:
    """Return the station table of the same run, if there is one."""
    from gssm_cube.settings import read_settings

    if source.endswith(".toml"):
        table = read_settings(source).table(TABLE)
    elif isinstance(store, Path):
        table = store.with_name(TABLE)
    else:
        return None
    return table if table.exists() else None


def product_of(source: str) -> Location:
    """Return the product that a store or the settings of a run name."""
    from gssm_cube.settings import read_settings
    from gssm_cube.storage.locations import location_of

    return read_settings(source).product if source.endswith(".toml") else location_of(source)


def beside_product(store: Location, name: str, chosen: str | None) -> Location:
    """Return the place that was chosen, or that of something beside its product.

    Raises
    ------
    ValueError
        If it would be on a web server.
    """
    from gssm_cube.storage.locations import location_of, sibling
    from gssm_cube.storage.object_stores import is_web

    place = location_of(chosen) if chosen else sibling(store, name)
    if is_web(str(place)):
        raise ValueError(f"{place} is on a web server, which is only read: give --out elsewhere")
    return place


def client_of(source: str) -> Any:
    """Client of the run's cluster; none for a store by itself."""
    from contextlib import nullcontext

    from gssm_cube.clusters import open_client
    from gssm_cube.settings import read_settings

    if not source.endswith(".toml"):
        return nullcontext()
    settings = read_settings(source)
    return open_client(settings.cluster, "predict", folder=settings.folder)


def _parse_box(text: str) -> tuple[float, float, float, float]:
    """Return four numbers separated by commas."""
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(f"box is {text!r}, expected west,south,east,north in degrees") from error
    if not (west < east and south < north):
        raise ValueError(f"box is {text!r}, expected west < east and south < north")
    return west, south, east, north


def _parse_years(text: str) -> tuple[int, int]:
    """Return the first and last year of a span such as 2001-2020."""
    first, _, last = text.partition("-")
    try:
        years = int(first), int(last or first)
    except ValueError as error:
        raise ValueError(f"years are {text!r}, expected a span such as 2001-2020") from error
    if years[0] > years[1]:
        raise ValueError(f"years are {text!r}, expected the first before the last")
    return years
