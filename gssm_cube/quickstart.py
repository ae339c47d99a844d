"""One real tile and year from free accounts: settings, downloads and the run, in one go.

Everything goes on where it was: the same command again does only what is left.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from gssm_cube import blocks, pipeline
from gssm_cube.blocks import Progress, silent
from gssm_cube.costs.routes import ISMN
from gssm_cube.download.remote_sources import complete
from gssm_cube.fetch.run import PROVIDERS, check_accounts, fetch, providers_of
from gssm_cube.settings import Settings, read_settings
from gssm_cube.web_settings import EXAMPLES, HEIGHTS

logger = logging.getLogger(__name__)

RUN_FILE = "run.toml"
FOLDERS = {name: f"raw/{name}" for name in (
    "era5_land", "mod11a1", "mod13a2", "soilgrids", "merit_hydro", "wtd", "bedrock")}  # fmt: skip
# Where each source comes from, by route; what Earth Engine or the archives lack comes as files.
ROUTES: dict[str, dict[str, str]] = {
    "fetch": FOLDERS,
    "ee": FOLDERS
    | {
        "era5_land": "ee://ECMWF/ERA5_LAND/DAILY_AGGR",
        "mod11a1": "ee://MODIS/061/MOD11A1",
        "mod13a2": "ee://MODIS/061/MOD13A2",
        "soilgrids": "ee://projects/soilgrids-isric",
        "merit_hydro": "ee://MERIT/Hydro/v1_0_1",
    },
    "open": FOLDERS
    | {name: EXAMPLES[name] for name in ("era5_land", "mod11a1", "mod13a2", "soilgrids")}
    | {"merit_hydro": HEIGHTS},
}
Say = Callable[[str], None]
Bars = Callable[[], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class Start:
    """What a quick start is made of: a box in degrees, a year, a route; ``ismn`` is an archive."""

    bbox: tuple[float, float, float, float]
    year: int
    route: str = "fetch"
    tile_size: int = 480
    project: str | None = None  # of Earth Engine
    ismn: Path = Path("ismn.zip")

    def settings_text(self) -> str:
        """Return the settings of the run.

        Raises
        ------
        ValueError
            If the route is unknown, or is Earth Engine's and no project is given.
        """
        if self.route not in ROUTES:
            raise ValueError(f"route is {self.route!r}, expected one of {', '.join(ROUTES)}")
        places = ROUTES[self.route] | {"ismn": str(self.ismn)}
        account = ""
        if any(place.startswith("ee://") for place in places.values()):
            if self.project is None:
                raise ValueError(
                    "route 'ee' needs --project, the Google Cloud project that is registered for "
                    "Earth Engine"
                )
            account = f'\n[earthengine]\nproject = "{self.project}"\n'
        sources = "".join(f'{name} = "{place}"\n' for name, place in places.items())
        return (
            f'title = "Quick start, {self.year}"\n'
            f"bounds = {list(self.bbox)}  # grown to whole tiles\n"
            f"first_day = {date(self.year, 1, 1)}\nlast_day = {date(self.year, 12, 31)}\n"
            f"tile_size = {self.tile_size}  # pixels; 120 are a degree\n"
            f'\n[sources]\n{sources}{account}\n[cluster]\nkind = "local"\n'
        )


def prepare(folder: Path, start: Start) -> Settings:
    """Write the settings into a folder, unless the same are there, and read them.

    Raises
    ------
    ValueError
        If others are there.
    """
    text, path = start.settings_text(), folder / RUN_FILE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        blocks.write_atomically(path, text)
    elif path.read_text() != text:
        raise ValueError(
            f"{path} is of another quick start, or was changed; give another folder, or go on with "
            f"`gssm fetch all {path}` and `gssm run {path}`"
        )
    return read_settings(path)


def file_sources(settings: Settings) -> dict[str, Path]:
    """Return the folders of a run's sources that are fetched as files."""
    places = settings.sources.gridded
    return {name: place for name, place in places.items() if not isinstance(place, str)}


def fetch_files(
    settings: Settings,
    names: list[str],
    *,
    confirm: Callable[[str], bool],
    bars: Bars = lambda: nullcontext(silent),
    tell: Say = logger.info,
) -> None:
    """Fetch what sources of a run lack, one after another; all accounts are tried before.

    Parameters
    ----------
    settings : Settings
    names : list of str
    confirm : callable
        As for ``fetch.run.fetch``.
    bars : callable
        Gives a context with the progress of one source.
    tell : callable

    Raises
    ------
    ValueError
        If a source does not come as files, before anything is fetched.
    NoAccess, NoAnswer, RuntimeError
        As ``fetch.run.fetch``.
    """
    folders = file_sources(settings)
    for name in names:
        if name not in folders or name not in PROVIDERS:
            raise ValueError(
                f"{name} is {getattr(settings.sources, name, None)!r} in the settings, expected a "
                f"folder of files of one of {', '.join(folders)}; see gssm sources"
            )
    layout, providers = settings.layout, providers_of(soil=settings.era5_land.soil)
    check_accounts(names, layout, folders, providers)
    for name in names:
        with bars() as progress:
            line = fetch(
                name, layout, folders[name], confirm=confirm, progress=progress,
                providers=providers,
            )  # fmt: skip
        tell(line)


def run(settings: Settings, *, progress: Progress = silent, tell: Say = logger.info) -> None:
    """Download all that a run lacks, and run it.

    Raises
    ------
    FileNotFoundError
        If there is no archive of stations, when all else is done: what to do about it.
    """
    names = list(file_sources(settings))

    def state(line: str) -> bool:
        tell(line)
        return True

    fetch_files(settings, names, confirm=state, bars=lambda: nullcontext(progress), tell=tell)
    tell(complete(settings, progress=progress))
    archive = settings.sources.ismn
    if archive.exists():
        pipeline.run(settings, progress=progress, tell=tell)
        return
    tell(pipeline.harmonise(settings, progress=progress))
    raise FileNotFoundError(
        f"the feature cube {settings.cube} is there; for a forest put an archive of stations at "
        f"{archive}: order it at {ISMN} with a free account (ISMN lets no program fetch it), then "
        "give the same command again"
    )
