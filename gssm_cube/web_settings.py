"""Sources that come from open archives on the web, without an account of Earth Engine.

An address stands in place of a folder, for any source and beside any other::

    era5_land = "https://HOST/PATH.zarr"                   a Zarr, as Earth Data Hub has it
    mod11a1 = "stac+https://HOST/PATH/collections/NAME"    a STAC collection of COGs
    soilgrids = "https://HOST/PATH"                        a folder as ISRIC has it: VRTs and tiles
    soilgrids = "https://HOST/PATH/{layer}.tif"            or GeoTIFFs, one a layer
    merit_hydro = "https://HOST/PATH/{tile}_{layer}.tif"   GeoTIFFs, one a tile and layer
    merit_hydro = "stac+https://HOST/PATH"                 or heights, of which the rest is made
    wtd = "https://HOST/PATH.tif"                          one GeoTIFF; bedrock likewise
"""

import re
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

STAC = "stac+"
SCHEMES = ("http://", "https://")
TOKEN = "EARTHDATAHUB_TOKEN"  # name of the variable that holds the token for ERA5-Land's host
PLANETARY_COMPUTER = "planetarycomputer.microsoft.com"
# planetarycomputer.microsoft.com/docs/concepts/sas
PLANETARY_SIGNER = f"https://{PLANETARY_COMPUTER}/api/sas/v1/token"
COLLECTION, FOLDER, TEMPLATE, FILE = "a STAC collection", "a folder", "a template", "one file"
# What each source may be, and what must stand in braces in its template.
FORMS: dict[str, tuple[str, ...]] = {
    "era5_land": (FOLDER,),
    "mod11a1": (COLLECTION,),
    "myd11a1": (COLLECTION,),
    "mod13a2": (COLLECTION,),
    "myd13a2": (COLLECTION,),
    "soilgrids": (FOLDER, TEMPLATE),
    "merit_hydro": (TEMPLATE, COLLECTION),
    "wtd": (FILE,),
    "bedrock": (FILE,),
}
BRACES = {"soilgrids": ("{layer}",), "merit_hydro": ("{tile}", "{layer}")}
OTHERS = {"11A1": ("11a1",), "13A2": ("13a2",), "13A1": ("13a2",)}  # sources, by product
SOILGRIDS = "https://files.isric.org/soilgrids/latest/data"
EXAMPLES = {
    "era5_land": "https://data.earthdatahub.destine.eu/era5/era5-land-v0.zarr",
    "mod11a1": f"stac+https://{PLANETARY_COMPUTER}/api/stac/v1/collections/modis-11A1-061",
    "mod13a2": f"stac+https://{PLANETARY_COMPUTER}/api/stac/v1/collections/modis-13A1-061",
    "soilgrids": SOILGRIDS,
    "merit_hydro": "https://HOST/PATH/{tile}_{layer}.tif",
    "wtd": "https://HOST/PATH/wtd.tif",
    "bedrock": "https://HOST/PATH/BDTICM_M_1km_ll.tif",
}
# Copernicus DEM in place of MERIT Hydro, which no open archive holds.
HEIGHTS = f"stac+https://{PLANETARY_COMPUTER}/api/stac/v1/collections/cop-dem-glo-90"
EXAMPLES |= {"myd11a1": EXAMPLES["mod11a1"], "myd13a2": EXAMPLES["mod13a2"]}


class Web(BaseModel):
    """How web servers are asked.

    ``at_once`` are requests in flight, all together. ``signer`` is the address that signs what a
    STAC catalog names, by default that of the Planetary Computer for its own catalog.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_once: int = Field(default=8, ge=1, le=64)
    signer: str | None = None

    @field_validator("signer")
    @classmethod
    def _check_signer(cls, signer: str | None) -> str | None:
        """Refuse what is no plain address."""
        if signer is not None:
            _check_plain("signer", signer)
        return signer

    def signer_of(self, address: str) -> str | None:
        """Return the address that signs what a STAC collection names; None if nothing does."""
        host = urlsplit(address.removeprefix(STAC)).hostname
        return self.signer or (PLANETARY_SIGNER if host == PLANETARY_COMPUTER else None)


def address_of(place: Any) -> str | None:
    """Return the address on the web that a place is; None if it lies elsewhere."""
    text = str(place)
    return text if text.removeprefix(STAC).startswith(SCHEMES) else None


def form_of(address: str) -> str:
    """Return what an address names: a collection, a template of files, one file or a folder."""
    if address.startswith(STAC):
        return COLLECTION
    if "{" in address:
        return TEMPLATE
    return FILE if address.lower().endswith((".tif", ".tiff")) else FOLDER


def product_of(source: str, address: str) -> str:
    """Return the product that a source reads from a collection, by the collection's name.

    Vegetation may come at 500 m: ``mod13a2`` from modis-13A1-061 is MOD13A1.
    """
    named = re.findall(r"1[13][aA][12]", address)
    return f"{source[:3]}{named[-1] if named else source[3:]}".upper()


def check_address(source: str, address: str) -> None:
    """Raise unless a source can be read from an address.

    Raises
    ------
    ValueError
        If it is of another form than the source has, or holds a name, key or query, which logs
        would show.
    """
    if source not in FORMS:
        known = ", ".join(FORMS)
        raise ValueError(
            f"{source} is {_shown(address)}, but it is not read from the web, only {known} are; "
            "give the folder of its files"
        )
    _check_plain(source, address)
    form = form_of(address)
    lacking = [part for part in BRACES.get(source, ()) if form == TEMPLATE and part not in address]
    if form not in FORMS[source] or lacking:
        raise ValueError(
            f"{source} is {_shown(address)}, {form}, expected {' or '.join(FORMS[source])} such as "
            f"{EXAMPLES[source]}"
        )
    modis = form == COLLECTION and source != "merit_hydro"
    if modis and source[3:] not in OTHERS.get(product_of(source, address)[3:], ()):
        raise ValueError(
            f"{source} is {_shown(address)}, whose name says {product_of(source, address)}; give a "
            f"collection such as {EXAMPLES[source]}"
        )


def _check_plain(what: str, address: str) -> None:
    """Raise if an address holds more than a host and a path."""
    parts = urlsplit(address.removeprefix(STAC))
    if parts.username or parts.password or parts.query or parts.fragment or not parts.hostname:
        raise ValueError(
            f"{what} is {_shown(address)} with a name, key or query, which logs would show, or "
            f"without a host; give https://HOST/PATH, and a token in the environment ({TOKEN})"
        )


def _shown(address: str) -> str:
    """Return an address without what must not be shown."""
    parts = urlsplit(address.removeprefix(STAC))
    stac = STAC if address.startswith(STAC) else ""
    return f"{stac}{parts.scheme}://{parts.hostname or ''}{parts.path}"
