"""Fixtures that several test modules share."""

import fcntl
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import hypothesis
import pandas as pd
import pytest
from station_files import Reader, write_zip

from gssm_cube import ingest, pipeline
from gssm_cube.grid import Layout
from gssm_cube.settings import read_settings
from gssm_cube.sources.synthetic import write_world
from gssm_cube.stations import read_stations

os.environ["COLUMNS"] = "300"  # of the console, before it is made: lines are compared whole
hypothesis.settings.register_profile("untimed", deadline=None)  # speed is not what tests judge
hypothesis.settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("era5_land", "mod11a1", "mod13a2", "soilgrids", "merit_hydro", "wtd", "bedrock")


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = Path(os.environ.get("GSSM_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real-data kit at {folder}: set GSSM_REAL_DATA to run this test")
    return folder


Shared = Callable[[str, Callable[[Path], Any]], tuple[Path, Any]]


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Fill a folder once for all worker processes of a session; what lies there is read only.

    Returns the folder and what the function that filled it returned.
    """
    place = tmp_path_factory.getbasetemp()
    place = place.parent if "PYTEST_XDIST_WORKER" in os.environ else place

    def _shared(name: str, fill: Callable[[Path], Any]) -> tuple[Path, Any]:
        folder, returned = place / name, place / f"{name}.returned"
        with (place / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # ends with the process
            if not returned.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                returned.write_bytes(pickle.dumps(fill(folder)))
        return folder, pickle.loads(returned.read_bytes())

    return _shared


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    """Read an ISMN archive of the given members."""

    def _read(files, **rules):
        return read_stations(write_zip(tmp_path / "archive.zip", files), **rules)

    return _read


@dataclass(frozen=True)
class SmallWorld:
    """Two tiles of 48 x 48 pixels on an invented coast and 370 days, as provider files."""

    folder: Path
    layout: Layout

    @property
    def raw(self) -> Path:
        """Folder of the provider files."""
        return self.folder / "raw"

    @property
    def folders(self) -> dict[str, Path]:
        """Folder of each gridded source."""
        return {name: self.raw / name for name in SOURCES}

    @property
    def archive(self) -> Path:
        """The ISMN archive."""
        return next((self.raw / "ismn").glob("*.zip"))

    @property
    def cube(self) -> Path:
        """The feature cube, harmonised without Dask; read only."""
        return self.folder / "features.zarr"

    def copy_cube(self, folder: Path) -> Path:
        """Copy the cube with its markers, to be spoilt or built on: what is done is not done again.

        Sources that a test changes are read again, and only these; with ``refit_climatology`` the
        climatology follows the test's files too.
        """
        for name in ("features.zarr", "features.zarr.markers"):
            shutil.copytree(self.folder / name, folder / name)
        return folder / "features.zarr"

    def link_raw(self, folder: Path) -> dict[str, Path]:
        """Make folders of links to the provider files, whose entries may be removed."""
        for path in self.raw.rglob("*"):
            if path.is_file():
                link = folder / path.relative_to(self.raw)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.hardlink_to(path)
        return {name: folder / name for name in SOURCES}

    def write_settings(self, folder: Path, more: str = "") -> Path:
        """Write a run of this world in a folder of its own, without Dask."""
        west, south, east, north = (round(edge, 6) for edge in self.layout.bounds)
        places = {**self.folders, "ismn": self.archive}
        sources = "\n".join(f'{name} = "{place}"' for name, place in places.items())
        text = (
            f"bounds = [{west}, {south}, {east}, {north}]\n"
            f"first_day = {self.layout.first_day}\nlast_day = {self.layout.last_day}\n"
            f"tile_size = 48\n{more}\n[sources]\n{sources}\n"
            "[training]\ntrees = 5\nevaluation_trees = 3\n"
            '[cluster]\nkind = "none"\n'
        )
        path = folder / "run.toml"
        path.write_text(text)
        return path


@pytest.fixture(scope="session")
def small_world(shared: Shared) -> SmallWorld:
    """The small world with its truth and its cube, written once."""
    # 370 days: a window and a short one; LST climatologies need more than seven months.
    bounds, days = (-32.0, 43.2, -31.2, 43.6), (date(2018, 3, 1), date(2019, 3, 5))
    layout = Layout.covering(bounds, *days, 48)

    def fill(folder: Path) -> None:
        world = SmallWorld(folder, layout)
        truth = world.folder / "truth.zarr"
        write_world(world.raw, world.layout, stations=12, truth_store=truth)
        ingest.harmonise(world.cube, world.layout, world.folders)

    return SmallWorld(shared("small", fill)[0], layout)


@pytest.fixture(scope="session")
def short(small_world: SmallWorld) -> Layout:
    """The small world's last twenty days: composites of 2 and 18 February and 6 March."""
    return replace(small_world.layout, first_day=date(2019, 2, 14))


@pytest.fixture(scope="session")
def alone(small_world: SmallWorld, short: Layout, shared: Shared) -> tuple[Path, pd.DataFrame]:
    """Those days, harmonised without Dask: the folder of the cube, to be copied, and its steps."""
    return shared(
        "alone",
        lambda folder: ingest.harmonise(folder / "features.zarr", short, small_world.folders),
    )


@dataclass(frozen=True)
class SmallRun:
    """A whole run of the small world: its settings file and what each stage said."""

    settings: Path
    lines: list[str]

    @property
    def folder(self) -> Path:
        """Folder of the run's stores and tables; read only."""
        return self.settings.parent

    def copy(self, folder: Path) -> Path:
        """Copy the run, to be continued or spoilt; return its settings file."""
        shutil.copytree(self.folder, folder)
        return folder / self.settings.name


@pytest.fixture(scope="session")
def small_run(small_world: SmallWorld, shared: Shared) -> SmallRun:
    """All stages on the small world, without Dask; its cube is a copy."""

    def fill(folder: Path) -> list[str]:
        small_world.copy_cube(folder)
        return pipeline.run(read_settings(small_world.write_settings(folder)))

    folder, lines = shared("run", fill)
    return SmallRun(folder / "run.toml", lines)
