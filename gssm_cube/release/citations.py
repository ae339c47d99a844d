"""Whom a run owes thanks: citation and licence of each source, and what follows for the product.

Facts as the providers stated them in 2025; they are no legal advice, and terms change.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gssm_cube.insitu.archive import open_archive
from gssm_cube.sources.modis import vegetation_product
from gssm_cube.web_settings import COLLECTION, address_of, form_of, product_of

CC_BY = "CC-BY 4.0"
FREE = "no restriction on use or redistribution (LP DAAC); citation asked for"
LICENCE = (
    "MERIT Hydro may be had under CC-BY-NC 4.0 or ODbL 1.0; what is derived from it must be shared "
    "under the one that was chosen. ODbL 1.0 allows commercial use and asks for share-alike, "
    "CC-BY-NC 4.0 allows none. The other gridded sources only ask to be named, as far as their "
    "providers state terms. The code is MIT."
)
LICENCE_WITHOUT_MERIT = (
    "The gridded sources only ask to be named, as far as their providers state terms; the notice "
    "of Copernicus DEM, which takes MERIT Hydro's place, must go with what is made of it. The code "
    "is MIT."
)
STATIONS = (
    "ISMN's terms (https://ismn.bafg.de/terms-and-conditions): scientific use only, no commercial "
    "use; the data may not be passed on; ISMN and each network must be cited; and it must not be "
    "possible to retrieve the data from models made of them. A forest keeps means of its training "
    "rows in its leaves, single rows where a leaf may hold one, as in the preset `gssm1km`: weigh "
    "this before you hand a forest on. A product holds no station data."
)


@dataclass(frozen=True)
class Source:
    """What is cited: BibTeX fields, licence, and the sentence that the provider asks for."""

    key: str
    title: str
    author: str
    year: int
    doi: str
    licence: str
    kind: str = "misc"
    fields: Mapping[str, str] = field(default_factory=dict)  # journal, volume, pages, publisher
    note: str = ""

    @property
    def text(self) -> str:
        """The citation in a line."""
        where = [self.fields[name] for name in ("journal", "publisher") if name in self.fields]
        where += [self.fields[name] for name in ("volume", "pages") if name in self.fields]
        place = f" {', '.join(where)}." if where else ""
        authors = self.author.replace(" and ", "; ")
        return f"{authors} ({self.year}): {self.title}.{place} https://doi.org/{self.doi}"

    @property
    def bibtex(self) -> str:
        """The citation as BibTeX."""
        held = {
            # An organisation, whose name has no comma, is no person with a first name.
            "author": self.author if "," in self.author else f"{{{self.author}}}",
            "title": f"{{{self.title}}}",
            "year": str(self.year),
            **self.fields,
            "doi": self.doi,
        }
        lines = "".join(f"  {name} = {{{value}}},\n" for name, value in held.items())
        return f"@{self.kind}{{{self.key},\n{lines}}}\n"


def _paper(
    key: str, title: str, author: str, year: int, doi: str, licence: str, place: str, note: str = ""
) -> Source:
    """Return an article; its place is ``journal, volume, pages``."""
    fields = dict(zip(("journal", "volume", "pages"), place.split(", "), strict=True))
    return Source(key, title, author, year, doi, licence, "article", fields, note)


def _nasa(product: str, author: str, year: int, what: str, doi: str) -> Source:
    """Return a product of the LP DAAC."""
    title = f"{product}: {what}"
    key, publisher = product.lower().replace(".", "_"), {"publisher": "NASA LP DAAC"}
    return Source(key, title, author, year, doi, FREE, "misc", publisher)


_WAN, _DIDAN = "Wan, Z. and Hook, S. and Hulley, G.", "Didan, K."
_LST = "land surface temperature and emissivity, daily, 1 km"
_GREEN = "vegetation indices, 16 days, 1 km"
_GREEN_500M = "vegetation indices, 16 days, 500 m"
_VIIRS = "Hulley, G. and Hook, S."
SOURCES: dict[str, tuple[Source, ...]] = {
    "era5_land": (
        _paper(
            "era5_land_paper",
            "ERA5-Land: a state-of-the-art global reanalysis dataset for land applications",
            "Muñoz-Sabater, J. and others", 2021, "10.5194/essd-13-4349-2021", CC_BY,
            "Earth System Science Data, 13, 4349-4383",
        ),
        Source(
            "era5_land", "ERA5-Land hourly data from 1950 to present", "Muñoz Sabater, J.", 2019,
            "10.24381/cds.e2161bac", CC_BY, "misc",
            {"publisher": "Copernicus Climate Change Service (C3S) Climate Data Store"},
            "Contains modified Copernicus Climate Change Service information. Neither the European "
            "Commission nor ECMWF is responsible for any use that may be made of it. Files taken "
            "before 2 July 2025 came under the Licence to use Copernicus Products.",
        ),
    ),
    "mod11a1": (_nasa("MOD11A1.061", _WAN, 2021, f"MODIS/Terra {_LST}",
                      "10.5067/MODIS/MOD11A1.061"),),
    "myd11a1": (_nasa("MYD11A1.061", _WAN, 2021, f"MODIS/Aqua {_LST}",
                      "10.5067/MODIS/MYD11A1.061"),),
    "mod13a2": (_nasa("MOD13A2.061", _DIDAN, 2021, f"MODIS/Terra {_GREEN}",
                      "10.5067/MODIS/MOD13A2.061"),),
    "myd13a2": (_nasa("MYD13A2.061", _DIDAN, 2021, f"MODIS/Aqua {_GREEN}",
                      "10.5067/MODIS/MYD13A2.061"),),
    "vnp21a1d": (_nasa("VNP21A1D.002", _VIIRS, 2023, f"VIIRS/NPP {_LST}, by day",
                       "10.5067/VIIRS/VNP21A1D.002"),),
    "vnp21a1n": (_nasa("VNP21A1N.002", _VIIRS, 2023, f"VIIRS/NPP {_LST}, by night",
                       "10.5067/VIIRS/VNP21A1N.002"),),
    "vnp13a2": (_nasa("VNP13A2.002", "Didan, K. and Barreto, A.", 2023, f"VIIRS/NPP {_GREEN}",
                      "10.5067/VIIRS/VNP13A2.002"),),
    "soilgrids": (
        _paper(
            "soilgrids",
            "SoilGrids 2.0: producing soil information for the globe with quantified spatial "
            "uncertainty",
            "Poggio, L. and de Sousa, L. M. and Batjes, N. H. and Heuvelink, G. B. M. and "
            "Kempen, B. and Ribeiro, E. and Rossiter, D.",
            2021, "10.5194/soil-7-217-2021", CC_BY, "SOIL, 7, 217-240",
        ),
    ),
    "merit_hydro": (
        _paper(
            "merit_hydro",
            "MERIT Hydro: a high-resolution global hydrography map based on latest topography "
            "dataset",
            "Yamazaki, D. and Ikeshima, D. and Sosa, J. and Bates, P. D. and Allen, G. H. and "
            "Pavelsky, T. M.",
            2019, "10.1029/2019WR024873", "CC-BY-NC 4.0 or ODbL 1.0, as the user chooses",
            "Water Resources Research, 55, 5053-5073",
        ),
    ),
    "wtd": (
        _paper(
            "water_table", "Global patterns of groundwater table depth",
            "Fan, Y. and Li, H. and Miguez-Macho, G.", 2013, "10.1126/science.1229881",
            "none stated with the files: ask the authors before commercial use",
            "Science, 339, 940-943",
        ),
    ),
    "bedrock": (
        _paper(
            "bedrock",
            "Mapping the global depth to bedrock for land surface modeling",
            "Shangguan, W. and Hengl, T. and Mendes de Jesus, J. and Yuan, H. and Dai, Y.",
            2017, "10.1002/2016MS000686",
            f"{CC_BY}, as ISRIC states for SoilGrids since 2019; see what came with the file",
            "Journal of Advances in Modeling Earth Systems, 9, 65-88",
        ),
    ),
    "ismn": (
        _paper(
            "ismn",
            "The International Soil Moisture Network: serving Earth system science for over a "
            "decade",
            "Dorigo, W. and others", 2021, "10.5194/hess-25-5749-2021",
            "terms of ISMN and of each network: no passing on, citation required",
            "Hydrology and Earth System Sciences, 25, 5749-5804",
        ),
    ),
}  # fmt: skip
SOURCES |= {  # what may stand in another's place, see ``cited_as``
    "mod13a1": (_nasa("MOD13A1.061", _DIDAN, 2021, f"MODIS/Terra {_GREEN_500M}",
                      "10.5067/MODIS/MOD13A1.061"),),
    "myd13a1": (_nasa("MYD13A1.061", _DIDAN, 2021, f"MODIS/Aqua {_GREEN_500M}",
                      "10.5067/MODIS/MYD13A1.061"),),
    # DOI, licence and notice as public programs that use it tell them; year, title from memory.
    "copernicus_dem": (
        Source(
            "copernicus_dem", "Copernicus DEM: global digital elevation model, GLO-90",
            "European Space Agency", 2022, "10.5270/ESA-c5d3d65",
            "free for any use; its notice must go with what is made of it", "misc",
            {"publisher": "European Space Agency"},
            "Produced using Copernicus WorldDEM-90 © DLR e.V. 2010-2014 and © Airbus Defence and "
            "Space GmbH 2014-2018 provided under COPERNICUS by the European Union and ESA; all "
            "rights reserved. The organisations in charge of the Copernicus programme by law or by "
            "delegation do not incur any liability for any use of the Copernicus WorldDEM-90.",
        ),
    ),
}  # fmt: skip
SOURCES |= {  # of land cover, by legend
    "esa_cci": (
        Source(
            "land_cover", "Land cover classification gridded maps from 1992 to present derived "
            "from satellite observation", "Copernicus Climate Change Service", 2019,
            "10.24381/cds.006f2c9a", "those that were accepted on download; they differ by version",
            "misc", {"publisher": "Copernicus Climate Change Service (C3S) Climate Data Store"},
        ),
    ),
    "worldcover": (
        Source(
            "land_cover", "ESA WorldCover 10 m 2021 v200", "Zanaga, D. and others", 2022,
            "10.5281/zenodo.7254221", CC_BY, "misc", {"publisher": "Zenodo"},
        ),
    ),
    "mcd12q1": (_nasa("MCD12Q1.061", "Friedl, M. and Sulla-Menashe, D.", 2022,
                      "MODIS/Terra+Aqua land cover type, yearly, 500 m",
                      "10.5067/MODIS/MCD12Q1.061"),),
}  # fmt: skip
METHOD = _paper(
    "gssm1km",
    "Global long term daily 1 km surface soil moisture dataset with physics informed machine "
    "learning",
    "Han, Q. and Zeng, Y. and Zhang, L. and Wang, C. and Prikaziuk, E. and Niu, Z. and Su, B.",
    2023, "10.1038/s41597-023-02011-7", CC_BY, "Scientific Data, 10, 101",
)  # fmt: skip


@dataclass(frozen=True)
class Credits:
    """All that a run must cite; ``networks`` has the references of each network of stations."""

    sources: tuple[Source, ...]
    networks: dict[str, str]
    licence: str = LICENCE
    stations: str = STATIONS

    @property
    def bibtex(self) -> str:
        """All sources as BibTeX; the networks' references, which are free text, as comments."""
        told = "".join(f"% network {name}: {text}\n" for name, text in self.networks.items())
        notes = told.replace("@", " at ")  # which would begin an entry
        return "\n".join(source.bibtex for source in self.sources) + "\n" + notes


def cited_as(source: str, place: Any) -> str:
    """Return under which name of ``SOURCES`` a gridded source is cited.

    Parameters
    ----------
    source : str
        As the settings name it.
    place : path or address
        By which another product may stand in: of 500 m for vegetation of 1 km, Copernicus DEM for
        MERIT Hydro.
    """
    address = address_of(place)
    if source in ("mod13a2", "myd13a2"):
        held = product_of(source, address) if address else None
        return (held or vegetation_product(Path(place), source.upper())).lower()
    heights = source == "merit_hydro" and address and form_of(address) == COLLECTION
    return "copernicus_dem" if heights else source


def product_licence(names: Iterable[str]) -> str:
    """Return what follows for a product from the sources that are cited."""
    return LICENCE if "merit_hydro" in names else LICENCE_WITHOUT_MERIT


def licence_attrs(terrain: Any) -> dict[str, str]:
    """Return a product's licence if its terrain is not of MERIT Hydro, whose it inherits else.

    Parameters
    ----------
    terrain : path or address
        Place of the source ``merit_hydro``.
    """
    name = cited_as("merit_hydro", terrain)
    return {} if name == "merit_hydro" else {"license": product_licence([name])}


def credit(names: Iterable[str], networks: Iterable[str], archive: Path | None = None) -> Credits:
    """Return whom to cite for the sources and networks of a run.

    Parameters
    ----------
    names : iterable of str
        Sources, as ``cited_as`` names them.
    networks : iterable of str
        Networks of stations.
    archive : Path, optional
        The ISMN archive, whose readme has the networks' own references.
    """
    names = list(names)
    found = [METHOD, *(source for name in names for source in SOURCES[name])]
    told = network_references(archive) if archive else {}
    lacking = "not told by the archive's readme; see https://ismn.earth/en/networks/"
    references = {n: told.get(n, lacking) for n in sorted(set(networks))}
    return Credits(tuple(found), references, product_licence(names))


def network_references(archive: Path) -> dict[str, str]:
    """Return the references of the networks of an ISMN archive, by its readme."""
    with open_archive(archive) as members:
        readmes = [read for name, read in members.items() if name.lower().endswith("readme.txt")]
        texts = [read().decode("utf-8", errors="replace") for read in readmes]
    return {name: text for readme in texts for name, text in parse_readme(readme).items()}


def parse_readme(text: str) -> dict[str, str]:
    """Return each network's references in the text of ISMN's ``Readme.txt``.

    Networks stand behind one tab under "Network Information", what is told of them behind two;
    references run over lines, until what comes next.
    """
    _, _, part = text.replace("\r\n", "\n").replace("\r", "\n").partition("Network Information")
    found = {}
    for block in re.split(r"\n\t(?=[^\t\n])", part)[1:]:
        name, _, about = block.partition("\n")
        match = re.search(r"\t\tReference:(.*?)(?=\n\t\t[A-Z][A-Za-z ]*:|\Z)", about, re.DOTALL)
        reference = " ".join(match[1].split()).rstrip("; ") if match else ""
        if reference:
            found[name.strip()] = reference
    return found
