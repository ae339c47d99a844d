"""Sources that come from Earth Engine: their names, and the account that asks for them."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

SCHEME = "ee://"
# What each source may be there; nothing where it is a map that the user has uploaded.
ASSETS: dict[str, tuple[str, ...]] = {
    "era5_land": ("ECMWF/ERA5_LAND/HOURLY", "ECMWF/ERA5_LAND/DAILY_AGGR"),
    "mod11a1": ("MODIS/061/MOD11A1",),
    "myd11a1": ("MODIS/061/MYD11A1",),
    "mod13a2": ("MODIS/061/MOD13A2",),
    "myd13a2": ("MODIS/061/MYD13A2",),
    "soilgrids": ("projects/soilgrids-isric",),
    "merit_hydro": ("MERIT/Hydro/v1_0_1",),
    "wtd": (),
    "bedrock": (),
}


class EarthEngine(BaseModel):
    """The account that asks Earth Engine.

    ``credentials`` are ``"stored"`` (by ``earthengine authenticate``), ``"application_default"``
    or the path of a service account's key. ``at_once`` are requests in flight, all together;
    Google lets a project have 40.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    project: str
    credentials: str = "stored"
    at_once: int = Field(default=20, ge=1, le=40)
    url: str | None = None  # of the interface; by default the one for many requests

    @field_validator("credentials")
    @classmethod
    def _check_credentials(cls, word: str) -> str:
        """Refuse a word that is no way in; a key is read when it is needed."""
        if word not in ("stored", "application_default") and not word.endswith(".json"):
            raise ValueError(
                f"credentials are {word!r}, expected 'stored', 'application_default' or the path "
                "of a service account's key (.json)"
            )
        return word


def asset_of(place: Any) -> str | None:
    """Return the asset that a place names; None if it lies elsewhere."""
    text = str(place)
    return text.removeprefix(SCHEME) if text.startswith(SCHEME) else None


def check_asset(source: str, asset: str) -> None:
    """Raise unless a source can be read from an asset."""
    if source not in ASSETS:
        known = ", ".join(ASSETS)
        raise ValueError(
            f"{source} is {SCHEME}{asset}, but it is not read from Earth Engine, only {known} are; "
            "give the folder of its files"
        )
    known_assets = ASSETS[source]
    if known_assets and asset not in known_assets:
        shown = " or ".join(SCHEME + name for name in known_assets)
        raise ValueError(f"{source} is {SCHEME}{asset}, expected {shown}")
    if not asset.strip("/"):
        raise ValueError(
            f"{source} is {SCHEME}, expected the asset of your upload, such as "
            f"{SCHEME}projects/my-project/assets/{source}"
        )
