"""One run as one validated value, read from a TOML file.

Unknown keys and impossible values fail with the key's path before any work is done. Relative
paths count from the folder of the TOML file.
"""

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_serializer,
    field_validator,
    model_validator,
)

from gssm_cube.cluster_settings import Cluster
from gssm_cube.earthengine_settings import EarthEngine, asset_of, check_asset
from gssm_cube.grid import Grid, Layout, Tile
from gssm_cube.regions import read_region, touched_tiles
from gssm_cube.storage.locations import Location, is_url, location_of
from gssm_cube.toml_tables import checked, read_table
from gssm_cube.variables import Legend, Upsampling
from gssm_cube.web_settings import Web, address_of, check_address


class _Part(BaseModel):
    """A frozen table of settings that knows all its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _place(value: Any) -> Any:
    """Keep a URL as it is; anything else is a path."""
    return value if not isinstance(value, str) or "://" in value else Path(value)


Origin = Annotated[Path | str, BeforeValidator(_place)]  # an address is a str


class Sources(_Part):
    """Folders of the providers' files; ``ismn`` is an archive (zip or folder).

    ``era5_land`` may be a Zarr as well: a path that ends in ``.zarr`` or an address with ``://``.
    ``ee://ASSET`` stands for the files that are made of an asset of Earth Engine, ``https://...``
    and ``stac+https://...`` for those that are made of an open archive (``web_settings``).
    Optional, to stand in where Terra saw nothing: ``vnp21a1d`` and ``vnp21a1n`` (LST of VIIRS by
    day and by night, both or neither) and ``vnp13a2``, its vegetation; ``myd11a1`` and
    ``myd13a2``, those of Aqua.
    """

    era5_land: Origin
    mod11a1: Origin
    mod13a2: Origin
    soilgrids: Origin
    merit_hydro: Origin
    wtd: Origin
    bedrock: Origin
    ismn: Path
    vnp21a1d: Origin | None = None
    vnp21a1n: Origin | None = None
    vnp13a2: Origin | None = None
    myd11a1: Origin | None = None
    myd13a2: Origin | None = None

    @model_validator(mode="after")
    def _check_viirs(self) -> "Sources":
        """Refuse one half of VIIRS."""
        halves = {"vnp21a1d": self.vnp21a1d, "vnp21a1n": self.vnp21a1n}
        given = [name for name, place in halves.items() if place is not None]
        if len(given) == 1:
            raise ValueError(
                f"of VIIRS only {given[0]} is given, expected vnp21a1d and vnp21a1n: LST is the "
                "mean of day and night; give both or neither"
            )
        return self

    @model_validator(mode="after")
    def _check_addresses(self) -> "Sources":
        """Refuse addresses that nothing reads."""
        for name, place in self.gridded.items():
            asset, address = asset_of(place), address_of(place)
            if asset is not None:
                check_asset(name, asset)
            elif address is not None:
                check_address(name, address)
            elif isinstance(place, str) and name != "era5_land":
                raise ValueError(
                    f"{name} is {place}, expected a folder or ee://ASSET, or an address https://..."
                )
        return self

    @property
    def assets(self) -> dict[str, str]:
        """Assets of Earth Engine by source."""
        found = {name: asset_of(place) for name, place in self.gridded.items()}
        return {name: asset for name, asset in found.items() if asset is not None}

    @property
    def addresses(self) -> dict[str, str]:
        """Addresses of open archives by source."""
        found = {name: address_of(place) for name, place in self.gridded.items()}
        return {name: address for name, address in found.items() if address is not None}

    @property
    def gridded(self) -> dict[str, Any]:
        """Places of what the feature cube is made of: all that are given but the stations."""
        return {name: place for name, place in self if name != "ismn" and place is not None}


class Era5Land(_Part):
    """What is asked of ERA5-Land where it is ordered, downloaded or read from the web.

    ``soil`` is its own soil moisture and temperature (``swvl1``, ``stl1``) on the run's days: a
    baseline beside every score, and what tells frozen ground. Files that hold them are read anyhow.
    """

    soil: bool = True


Store = Annotated[Path | str | None, BeforeValidator(lambda text: text and location_of(text))]


class Stores(_Part):
    """Where stores lie if not in the run's folder: paths, or URLs such as ``s3://bucket/ssm.zarr``.

    ``forest`` is a URL under which the trained forest is kept as well, and from which each node
    fetches it. Endpoint and credentials come from the environment (README, Object stores).
    """

    cube: Store = None
    product: Store = None
    forest: str | None = None

    @field_validator("forest")
    @classmethod
    def _check_forest(cls, forest: str | None) -> str | None:
        """Refuse a folder of this machine: the forest has its place in the run's."""
        if forest is not None and not is_url(location_of(forest)):
            raise ValueError(f"forest is {forest!r}, expected a URL such as s3://bucket/forest")
        return None if forest is None else str(location_of(forest))


class StationRules(_Part):
    """How station days are made of sensors' hours."""

    depth: tuple[float, float] = (0.0, 0.05)  # m, by enclosure; 2 inch sensors are let in
    minimum_hours: int = Field(default=18, ge=1, le=24)
    screening: bool = True  # spikes, constant runs and plateaus that the flags missed
    tables: tuple[Path, ...] = ()  # stations outside ISMN: CSV or Parquet
    processes: int | None = Field(default=None, ge=1)  # that read: what the archive is worth

    @field_validator("depth")
    @classmethod
    def _check_depth(cls, depth: tuple[float, float]) -> tuple[float, float]:
        """Refuse a layer that no sensor can lie in."""
        if not 0 <= depth[0] <= depth[1]:
            raise ValueError(f"depth is {list(depth)} m, expected the upper end first, from 0 on")
        return depth


class Surface(_Part):
    """What the static layers of the product are made of, beside terrain and stations' places."""

    land_cover: Path | None = None  # raster of classes in EPSG:4326
    legend: Legend = "esa_cci"


class Training(_Part):
    """Which forest is trained, and how it is judged."""

    preset: str = "default"
    trees: int | None = Field(default=None, ge=1)  # as the preset says
    evaluation_trees: int | None = Field(default=None, ge=1)  # a lighter forest for the scores
    full_evaluation: bool = False  # all splits side by side, over seeds: some 170 fits
    search: bool = False  # leaf and share of features from a grid at places held out
    seed: int = 0


class Settings(_Part):
    """One run.

    Where: one of ``bounds``, (west, south, east, north) in degrees; ``region``, a GeoJSON file of
    polygons; ``tiles``, labels such as ``"r010c020"``. All grow to whole tiles: pixels outside a
    polygon but inside a tile that it touches are predicted as well. Both days are included; stores
    and tables lie in ``folder``.

    ``upsampling`` says how the 0.1 deg meteorology becomes pixels, ``lst_filling`` whether gaps of
    LST also take what was seen round them on that day, and ``refit_climatology`` lets the frozen
    LST climatology, and the bridges from other sensors, follow changed files. ``climate_years``,
    first and last, are those over which the climate of a place is the mean; by default the run's
    without the last quarter, which the scores hold out as new years. ``frozen`` says whether the
    product's soil moisture is missing where the ground is frozen or only flagged.

    ``version`` names a product with a model of its own beside others on the same cube: its tables,
    forest and product lie in ``versions/<version>``. By default they lie in ``folder`` itself.
    """

    title: str = "GSSM cube"
    bounds: tuple[float, float, float, float] | None = None
    region: Path | None = None
    tiles: tuple[str, ...] | None = None
    first_day: date
    last_day: date
    tile_size: int = 480
    day: Literal["UTC"] = "UTC"
    upsampling: Upsampling = "bilinear"
    lst_filling: Literal["temporal", "temporal_spatial"] = "temporal"
    refit_climatology: bool = False
    climate_years: tuple[int, int] | None = None
    frozen: Literal["mask", "flag"] = "mask"
    version: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    folder: Path
    sources: Sources
    era5_land: Era5Land = Era5Land()
    stores: Stores = Stores()
    stations: StationRules = StationRules()
    training: Training = Training()
    surface: Surface = Surface()
    cluster: Cluster = Cluster()
    earthengine: EarthEngine | None = None
    web: Web = Web()

    @model_validator(mode="after")
    def _check_account(self) -> "Settings":
        """Refuse assets of Earth Engine without an account."""
        if self.sources.assets and self.earthengine is None:
            raise ValueError(
                f"{', '.join(self.sources.assets)} come from Earth Engine, expected [earthengine] "
                "with the project that asks for them"
            )
        return self

    @model_validator(mode="after")
    def _check_layout(self) -> "Settings":
        """Let impossible bounds, days and tiles fail here rather than in a stage."""
        places = {"bounds": self.bounds, "region": self.region, "tiles": self.tiles}
        given = [name for name, value in places.items() if value is not None]
        if len(given) != 1:
            raise ValueError(
                f"{' and '.join(given) or 'no place'} given, expected exactly one of bounds, "
                "region, tiles"
            )
        self.layout  # noqa: B018
        self._check_climate_years()
        return self

    def _check_climate_years(self) -> None:
        """Refuse years of climate that are not in the run."""
        first, last = self.first_day.year, self.last_day.year
        years = self.climate_years or (first, last)
        if not first <= years[0] <= years[1] <= last:
            raise ValueError(
                f"climate_years are {list(years)}, expected the first and the last of years in "
                f"{first} .. {last}, the days of the run"
            )

    @field_serializer("region")
    def _name_of_region(self, region: Path | None) -> str | None:
        """Keep folders of this machine out of the product's attributes."""
        return None if region is None else region.name

    @property
    def layout(self) -> Layout:
        """The box of whole tiles, those of them that are chosen, and the days of this run."""
        days = (self.first_day, self.last_day)
        if self.bounds is not None:
            return Layout.covering(self.bounds, *days, self.tile_size, Grid())
        if self.region is not None:
            tiles = touched_tiles(read_region(self.region), self.tile_size, Grid())
        else:
            tiles = [Tile.parse(label) for label in self.tiles or ()]
        return Layout.of_tiles(tiles, *days, self.tile_size, Grid())

    @property
    def cube(self) -> Location:
        """Store of the features."""
        return self.stores.cube or self.folder / "features.zarr"

    @property
    def home(self) -> Path:
        """Folder of all that belongs to one version: tables, forest, product, notes on stages."""
        return self.folder / "versions" / self.version if self.version else self.folder

    @property
    def scratch(self) -> Path:
        """Store of what is read of the providers' files, until the cube is complete."""
        return Path(f"{self.folder / 'features.zarr' if is_url(self.cube) else self.cube}.scratch")

    @property
    def product(self) -> Location:
        """Store of the soil moisture."""
        return self.stores.product or self.home / "ssm.zarr"

    @property
    def forest(self) -> Path:
        """Folder of the trained forest."""
        return self.home / "forest"

    def table(self, name: str) -> Path:
        """Return the path of one of the run's tables or pages, such as ``stations.parquet``."""
        return self.home / name


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
    values = _absolute(read_table(path, "run's TOML file"), path.parent.resolve())
    return checked(Settings, values, str(path), "run")


def _absolute(values: dict[str, Any], base: Path) -> dict[str, Any]:
    """Make paths absolute: ``folder`` (the file's own by default), region, sources and so on."""

    def absolute(value: Any) -> Any:
        local = isinstance(value, str) and "://" not in value
        return str(base / value) if local else value

    for name, left in (("sources", ""), ("stores", "forest")):
        if isinstance(found := values.get(name), dict):
            places = {k: v if k == left else absolute(v) for k, v in found.items()}
            values = values | {name: places}
    rules = values.get("stations", {})
    if isinstance(rules, dict) and isinstance(rules.get("tables"), list):
        values = values | {"stations": rules | {"tables": [*map(absolute, rules["tables"])]}}
    surface = values.get("surface", {})
    if isinstance(surface, dict) and "land_cover" in surface:
        place = absolute(surface["land_cover"])
        values = values | {"surface": surface | {"land_cover": place}}
    cluster = values.get("cluster", {})
    if isinstance(cluster, dict):
        keys = {key: absolute(cluster[key]) for key in cluster if key.startswith("tls_")}
        values = values | {"cluster": cluster | keys}
    account = values.get("earthengine", {})
    if isinstance(account, dict) and str(account.get("credentials", "")).endswith(".json"):
        key = {"credentials": absolute(account["credentials"])}
        values = values | {"earthengine": account | key}
    if "region" in values:
        values = values | {"region": absolute(values["region"])}
    return values | {"folder": absolute(values.get("folder", "."))}
