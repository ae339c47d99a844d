"""One run as one validated value, read from a TOML file.

Unknown keys and impossible values fail with the key's path before any work is done. Relative
paths count from the folder of the TOML file.
"""

import tomllib
from datetime import date
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from gssm_cube.grid import Grid, Layout


class _Part(BaseModel):
    """A frozen table of settings that knows all its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Sources(_Part):
    """Folders of the providers' files; ``ismn`` is an archive (zip or folder)."""

    era5_land: Path
    mod11a1: Path
    mod13a2: Path
    soilgrids: Path
    merit_hydro: Path
    wtd: Path
    bedrock: Path
    ismn: Path

    @property
    def gridded(self) -> dict[str, Path]:
        """Folders of what the feature cube is made of: all but the stations."""
        return {name: folder for name, folder in self if name != "ismn"}


class StationRules(_Part):
    """How station days are made of sensors' hours."""

    depth: tuple[float, float] = (0.0, 0.05)  # m, by enclosure; 2 inch sensors are let in
    minimum_hours: int = Field(default=18, ge=1, le=24)

    @field_validator("depth")
    @classmethod
    def _check_depth(cls, depth: tuple[float, float]) -> tuple[float, float]:
        """Refuse a layer that no sensor can lie in."""
        if not 0 <= depth[0] <= depth[1]:
            raise ValueError(f"depth is {list(depth)} m, expected the upper end first, from 0 on")
        return depth


class Training(_Part):
    """Which forest is trained, and how it is judged."""

    preset: str = "default"
    trees: int | None = Field(default=None, ge=1)  # as the preset says
    evaluation_trees: int | None = Field(default=None, ge=1)  # a lighter forest for the scores
    seed: int = 0


class Cluster(_Part):
    """Where the work runs."""

    kind: str = "local"
    workers: int | None = Field(default=None, ge=1)  # all cores
    memory_limit: str = "auto"

    @field_validator("kind")
    @classmethod
    def _check_kind(cls, kind: str) -> str:
        """Refuse a word that names no cluster before any work is done."""
        if kind not in ("local", "none") and "://" not in kind:
            raise ValueError(f"kind is {kind!r}, expected 'local', 'none' or 'tcp://host:8786'")
        return kind


class Settings(_Part):
    """One run.

    ``bounds`` is (west, south, east, north) in degrees, grown to whole tiles; both days are
    included; stores and tables lie in ``folder`` unless they are given.
    """

    title: str = "GSSM cube"
    bounds: tuple[float, float, float, float]
    first_day: date
    last_day: date
    tile_size: int = 480
    day: Literal["UTC"] = "UTC"
    folder: Path
    sources: Sources
    stations: StationRules = StationRules()
    training: Training = Training()
    cluster: Cluster = Cluster()

    @model_validator(mode="after")
    def _check_layout(self) -> "Settings":
        """Let impossible bounds, days and tiles fail here rather than in a stage."""
        self.layout  # noqa: B018
        return self

    @property
    def layout(self) -> Layout:
        """The box of whole tiles and the days of this run."""
        return Layout.covering(self.bounds, self.first_day, self.last_day, self.tile_size, Grid())

    @property
    def cube(self) -> Path:
        """Store of the features."""
        return self.folder / "features.zarr"

    @property
    def product(self) -> Path:
        """Store of the soil moisture."""
        return self.folder / "ssm.zarr"

    @property
    def forest(self) -> Path:
        """Folder of the trained forest."""
        return self.folder / "forest"

    def table(self, name: str) -> Path:
        """Return the path of one of the run's tables or pages, such as ``samples.parquet``."""
        return self.folder / name


def read_settings(path: str | Path) -> Settings:
    """Read and check a run's TOML file.

    Raises
    ------
    FileNotFoundError
        If the file is not there.
    ValueError
        One line for each key that is unknown, missing or impossible.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no settings file {path}: give the path of a run's TOML file")
    try:
        values = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from error
    try:
        return Settings.model_validate(_absolute(values, path.parent.resolve()))
    except ValidationError as error:
        lines = (f"  {'.'.join(map(str, e['loc'])) or 'run'}: {e['msg']}" for e in error.errors())
        raise ValueError(f"{path} cannot be used:\n" + "\n".join(lines)) from error


def _absolute(values: dict[str, Any], base: Path) -> dict[str, Any]:
    """Make paths absolute: ``folder`` (the file's own by default) and all sources."""
    sources = values.get("sources", {})
    if isinstance(sources, dict):
        sources = {
            key: str(base / value) if isinstance(value, str) else value
            for key, value in sources.items()
        }
        values = values | {"sources": sources}
    folder = values.get("folder", ".")
    return values | {"folder": str(base / folder) if isinstance(folder, str) else folder}
