"""What is compared with what, as one validated value, read from a TOML file or given by flags."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gssm_cube.statistics.scores import MIN_STATION_DAYS
from gssm_cube.toml_tables import checked, read_table
from gssm_cube.validate.missions import mission_changes

ALL_BITS = 2**31 - 1
COLUMNS = {"lat": "lat", "lon": "lon", "time": "time", "value": "value"}


class _Part(BaseModel):
    """A frozen table of settings that knows all its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Part):
    """One product, as files.

    ``path`` is a Zarr, a file, a folder or a pattern; the ending tells NetCDF (``.nc``, ``.nc4``,
    ``.h5``), GeoTIFF (``.tif``) or a table of points (``.csv``, ``.parquet``). ``variable`` and
    ``units`` need be given only where the files leave a choice. ``units`` are ``m3 m-3``, ``%``
    (of volume), ``saturation`` (0 to 1) and ``saturation %`` with ``porosity`` (a number, or a
    raster in m3 m-3), or ``kg m-2`` with the layer's ``depth`` in m. Stored numbers are multiplied
    by ``scale`` where the files do not say so themselves; ``missing`` are stored numbers that are
    no values. Where any of ``bad_bits`` of the variable ``flag`` is set, the value is left out.
    ``group`` is that of an HDF5 file. A table of points has ``columns`` for lat, lon, time and
    value; a place takes the nearest point within ``max_km``.
    """

    path: str
    variable: str | None = None
    group: str | None = None
    units: str | None = None
    porosity: float | str | None = None
    depth: float | None = Field(default=None, gt=0)
    scale: float = 1.0
    missing: tuple[float, ...] = ()
    flag: str | None = None
    bad_bits: int = ALL_BITS
    columns: dict[str, str] = COLUMNS
    max_km: float = Field(default=25.0, gt=0)

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        """Complete the names of columns; refuse roles that nothing has."""
        if unknown := set(columns) - set(COLUMNS):
            raise ValueError(f"columns has {sorted(unknown)}, expected some of {sorted(COLUMNS)}")
        return COLUMNS | columns


class Comparison(_Part):
    """Products, stations, days and what is told of them.

    ``stations`` is a table (Parquet or CSV: station, lat, lon, time, observed; perhaps network,
    koeppen, land_cover, irrigated, frozen) or an ISMN archive. ``coarse_degrees`` is the edge of
    the cells in which all are compared once more, 0 for none. ``changes`` are named days on which
    a sensor or the meteorology changed; those of ``missions`` (of ``missions.MISSIONS``) are added.
    ``borders_of`` is a product of this project, a Zarr, whose
    tile and window borders are looked at; with the ``cube`` and the ``forest`` that it was made of
    the estimate is made again without borders, beside which the smallest step shows.
    """

    title: str = "Soil moisture products at stations"
    stations: Path
    folder: Path
    products: dict[str, Source] = Field(min_length=1)
    first_day: date | None = None
    last_day: date | None = None
    min_days: int = Field(default=MIN_STATION_DAYS, ge=2)
    coarse_degrees: float = Field(default=0.25, ge=0)
    show: tuple[str, ...] = ()
    changes: dict[str, date] = {}
    missions: tuple[str, ...] = ()
    borders_of: Path | None = None
    cube: Path | None = None
    forest: Path | None = None
    draws: int = Field(default=1000, ge=10)
    seed: int = 0

    @field_validator("products")
    @classmethod
    def _check_names(cls, products: dict[str, Source]) -> dict[str, Source]:
        """Refuse names that mean something else in the tables."""
        wrong = [name for name in products if name == "station" or "|" in name or not name.strip()]
        if wrong:
            raise ValueError(f"products are named {wrong}; 'station' and '|' are taken, use others")
        return products

    @field_validator("missions")
    @classmethod
    def _check_missions(cls, missions: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse missions whose days are not known."""
        mission_changes(missions)
        return missions

    @property
    def all_changes(self) -> dict[str, date]:
        """Days of change, those of the missions and the named ones."""
        return mission_changes(self.missions) | self.changes

    @model_validator(mode="after")
    def _check_whole(self) -> "Comparison":
        """Refuse days in the wrong order, and half of what makes an estimate."""
        if self.first_day and self.last_day and self.first_day > self.last_day:
            raise ValueError(f"first_day {self.first_day} is after last_day {self.last_day}")
        if (self.cube is None) != (self.forest is None):
            given = "cube" if self.forest is None else "forest"
            raise ValueError(f"{given} is given alone, expected cube and forest together")
        if self.cube is not None and self.borders_of is None:
            raise ValueError(
                "cube and forest are given without borders_of, the product made of them"
            )
        return self


def read_comparison(path: str | Path) -> Comparison:
    """Read and check a comparison's TOML file; relative paths count from its folder.

    Raises
    ------
    FileNotFoundError
        If the file is not there.
    ValueError
        One line for each key that is unknown, missing or impossible.
    """
    path = Path(path)
    values = read_table(path, "validate.toml")
    return make_comparison({"folder": "validation"} | values, path.parent.resolve(), str(path))


def make_comparison(values: Mapping[str, Any], base: Path, name: str) -> Comparison:
    """Check a comparison that a file or flags describe.

    Parameters
    ----------
    values : mapping
    base : Path
        What relative paths count from.
    name : str
        Of the source of the values, for messages.

    Raises
    ------
    ValueError
        One line for each key that is unknown, missing or impossible.
    """
    return checked(Comparison, _absolute(values, base), name, "all")


def _absolute(values: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """Make paths absolute; addresses stay as they are."""

    def absolute(table: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
        found = {key: table[key] for key in keys if isinstance(table.get(key), str)}
        return {key: str(base / text) for key, text in found.items() if "://" not in text}

    products = values.get("products", {})
    if isinstance(products, Mapping):
        products = {
            name: dict(table) | absolute(table, ("path", "porosity"))
            if isinstance(table, Mapping)
            else table
            for name, table in products.items()
        }
    return (
        dict(values)
        | absolute(values, ("stations", "folder", "borders_of", "cube", "forest"))
        | {"products": products}
    )
