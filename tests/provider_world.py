"""The invented world's provider files as the providers' own servers hand them out, on loopback."""

import io
import json
import re
import tarfile
import threading
import zipfile
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from file_server import Asked, FileServer
from hdfeos_writer import PIXEL, RADIUS, write_lst, write_vegetation
from rasterio.windows import Window

from gssm_cube.fetch import cds, earthdata, transfer, web
from gssm_cube.sources import modis, soilgrids

KEY = "a-key-without-a-colon"
TOKEN = "a-token-of-nasa"
CDS_NAMES = dict(zip(cds.VARIABLES + cds.SOIL, ("t2m", "tp", "e", "swvl1", "stl1"), strict=True))
ACCUMULATED = {"tp", "e"}
JSON = {"Content-Type": "application/json"}
NEWEST = "2021001000000"


def answer(content: Any, status: int = 200) -> tuple[int, dict[str, str], bytes]:
    return status, dict(JSON), json.dumps(content).encode()


# ---- Climate Data Store -----------------------------------------------------------------------


@dataclass
class ClimateStore:
    """Takes orders of ERA5-Land, works them off after some looks, and hands the files out.

    ``looks`` says how often an order is asked about before it is done; ``zipped`` whether
    instantaneous and accumulated variables come apart; ``most`` variables an order may have.
    """

    server: FileServer
    raw: Path
    looks: int = 1
    zipped: bool = True
    most: int = 5
    failing: bool = False
    orders: list[dict[str, Any]] = field(default_factory=list)
    seen: dict[str, int] = field(default_factory=dict)

    def open(self) -> str:
        """Add the store to the server; return the address of its interface."""
        root = "/cds"
        for method, pattern, act in (
            ("GET", f"{root}/catalogue/v1/messages", lambda asked: answer({"messages": []})),
            ("POST", f"{root}/profiles/v1/account/verification/pat", self._known),
            ("GET", f"{root}/retrieve/v1/processes/{cds.DATASET}", self._process),
            ("POST", f"{root}/retrieve/v1/processes/{cds.DATASET}/execution", self._order),
            ("GET", rf"{root}/retrieve/v1/jobs/\w+", self._job),
            ("GET", rf"{root}/retrieve/v1/jobs/\w+/results", self._results),
        ):
            self.server.routes.append((method, pattern, act))
        return f"{self.server.url}{root}"

    def _known(self, asked: Asked) -> Any:
        if asked.headers.get("PRIVATE-TOKEN") != KEY:
            return answer({"title": "Authentication failed", "detail": "unknown key"}, 401)
        return answer({"sub": "someone"})

    def _process(self, asked: Asked) -> Any:
        return answer({"id": cds.DATASET})

    def _order(self, asked: Asked) -> Any:
        request = asked.json["inputs"]
        if len(request["variable"]) > self.most:
            return answer({"title": "cost limits exceeded", "detail": "too large"}, 403)
        self.orders.append(request)
        return self._state(f"n{len(self.orders)}", "accepted")

    def _state(self, number: str, status: str) -> Any:
        monitor = f"{self.server.url}/cds/retrieve/v1/jobs/{number}"
        links = [{"rel": "monitor", "href": monitor}, {"rel": "self", "href": monitor}]
        return answer({"jobID": number, "status": status, "links": links, "processID": cds.DATASET})

    def _job(self, asked: Asked) -> Any:
        number = asked.path.rsplit("/", 1)[1]
        if int(number[1:]) > len(self.orders):
            return answer({"title": "job not found"}, 404)
        self.seen[number] = self.seen.get(number, 0) + 1
        status = "successful" if self.seen[number] > self.looks else "running"
        return self._state(number, "failed" if self.failing else status)

    def _results(self, asked: Asked) -> Any:
        number = asked.path.split("/")[-2]
        if self.failing:
            return answer({"title": "The job has failed", "detail": "MARS is asleep"}, 400)
        path = f"/cache/{number}"
        if path not in self.server.files:
            with transfer.CHECKING:  # NetCDF lets in one thread
                self.server.files[path] = self.file_of(self.orders[int(number[1:]) - 1])
        value = {
            "href": f"{self.server.url}{path}",
            "file:size": len(self.server.files[path]),
            "type": "application/zip",
        }
        return answer({"asset": {"value": value}})

    def file_of(self, request: dict[str, Any]) -> bytes:
        """Return what an order gives: a NetCDF, or a zip of two."""
        names = [CDS_NAMES[name] for name in request["variable"]]
        hours = hours_of(self.raw / "era5_land")
        stamps = [
            np.datetime64(f"{request['year']}-{request['month']}-{day}T{hour}")
            for day in request["day"]
            for hour in request["time"]
        ]
        north, west, south, east = request["area"]
        part = hours.sel(valid_time=stamps, latitude=slice(north, south))
        part = part.sel(longitude=slice(west, east))
        groups = [names]
        if self.zipped:
            apart = ([n for n in names if (n in ACCUMULATED) == kind] for kind in (False, True))
            groups = [group for group in apart if group]
        parts = [bytes(part[group].to_netcdf(engine="netcdf4")) for group in groups]
        if not self.zipped:
            return parts[0]
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w") as archive:
            for number, content in enumerate(parts):
                archive.writestr(f"data_{number}.nc", content)
        return held.getvalue()


@cache
def hours_of(folder: Path) -> xr.Dataset:
    months = [xr.load_dataset(path) for path in sorted(folder.glob("*.nc"))]
    held = xr.concat(months, "valid_time", data_vars="minimal", coords="minimal",
                     compat="override")  # fmt: skip
    return held.assign_coords(
        latitude=np.round(held["latitude"], 1), longitude=np.round(held["longitude"], 1)
    )


# ---- LP DAAC ----------------------------------------------------------------------------------


@dataclass
class Daac:
    """NASA's catalogue and files: the world's cut-outs as HDF-EOS2 grids of a tile.

    ``without`` are days that it has not; ``tile`` is the only one with land. Each file
    was produced twice.
    """

    server: FileServer
    raw: Path
    tile: str
    folder: Path
    without: set[date] = field(default_factory=set)
    size: float = 0.5  # MB, as the catalogue tells
    writing: Any = field(default_factory=threading.Lock)

    def open(self) -> str:
        """Add catalogue and files; return the address of the catalogue."""
        self.server.routes.append(("GET", "/cmr/granules.umm_json", self._search))
        self.server.routes.append(("GET", "/lp-prod-protected/.*", self._file))
        return f"{self.server.url}/cmr/"

    def names(self, product: str) -> list[str]:
        """Names of the files of a product, by the time of their last production."""
        layer = modis.LST_LAYERS[0] if product.endswith("11A1") else modis.VEGETATION_LAYERS[0]
        paths = sorted((self.raw / product.lower()).rglob(f"*_{layer}_*.tif"))
        days = [re.search(r"doy(\d{7})", path.name)[1] for path in paths]
        return [f"{product}.A{day}.{self.tile}.061.{NEWEST}.hdf" for day in days]

    def _search(self, asked: Asked) -> Any:
        product, [pattern] = asked.query["short_name"][0], asked.query["readable_granule_name"]
        wanted = re.escape(pattern).replace(r"\*", ".*")
        names = [name for name in self.names(product) if day_of(name) not in self.without]
        names += [name.replace(NEWEST, "2020001000000") for name in names]  # produced before
        items = [self._granule(product, name) for name in names if re.fullmatch(wanted, name)]
        size = int(asked.query["page_size"][0])
        headers = dict(JSON) | {"CMR-Hits": str(len(items))}
        return 200, headers, json.dumps({"items": items[:size]}).encode()

    def _granule(self, product: str, name: str) -> dict[str, Any]:
        url = f"{self.server.url}/lp-prod-protected/{product}.061/{name[:-4]}/{name}"
        browse = f"{self.server.url}/lp-prod-public/{name}.jpg"
        return {
            "meta": {"concept-id": name, "provider-id": "LPCLOUD"},
            "umm": {
                "CollectionReference": {"ShortName": product, "Version": "061"},
                "RelatedUrls": [
                    {"URL": url, "Type": "GET DATA"},
                    {"URL": browse, "Type": "GET RELATED VISUALIZATION"},
                ],
                "DataGranule": {"ArchiveAndDistributionInformation": [{"Size": self.size}]},
            },
        }

    def _file(self, asked: Asked) -> Any:
        if asked.headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {}, b"HTTP Basic: Access denied."
        with self.writing:  # HDF4 lets in one thread
            if asked.path not in self.server.files:
                name = asked.path.rsplit("/", 1)[1]
                self.server.files[asked.path] = tile_file(self.raw, self.folder, name)
        return 200, {"ETag": '"x"'}, self.server.files[asked.path].read_bytes()


def tile_file(raw: Path, folder: Path, name: str) -> Path:
    """Write the cut-outs of a day as one HDF-EOS2 grid at their place in the world."""
    product, tile, day = name[:7], name[17:23], day_of(name)
    is_lst = product.endswith("11A1")
    layers, corner = {}, {}
    for layer in modis.LST_LAYERS if is_lst else modis.VEGETATION_LAYERS:
        [path] = (raw / product.lower()).rglob(f"*_{layer}_doy{day:%Y%j}*.tif")
        with rasterio.open(path) as source:
            left, top = source.transform.c, source.transform.f
            layers[layer if is_lst else layer.replace("_", " ")] = source.read(1)
        corner = {
            "row": round((np.pi * RADIUS / 2 - top) / PIXEL),
            "col": round((left + np.pi * RADIUS) / PIXEL),
        }
    write = write_lst if is_lst else write_vegetation
    return write(folder, day, tile, layers, product=product, **corner)


def day_of(name: str) -> date:
    """Day in a file's name."""
    return date(int(name[9:13]), 1, 1) + timedelta(days=int(name[13:16]) - 1)


# ---- web servers ------------------------------------------------------------------------------


def serve_maps(server: FileServer, raw: Path) -> None:
    """Add SoilGrids as lists of tiles, packages of MERIT Hydro, the water table and bedrock."""
    for name in soilgrids.LAYERS:
        serve_vrt(server, raw / "soilgrids" / f"{name}_0-5cm_mean.tif", f"/soil/{name}")
    packages: dict[tuple[str, str], list[Path]] = {}
    for path in sorted((raw / "merit_hydro").rglob("*.tif")):
        tile, layer = path.stem.split("_")
        packages.setdefault((web.package_of(tile), layer), []).append(path)
    for (package, layer), paths in packages.items():
        server.files[f"/merit/{layer}_{package}.tar"] = package_file(layer, package, paths)
    [water] = (raw / "wtd").glob("*.nc")
    server.files["/wtd/NAMERICA_WTD_annualmean.nc"] = water
    server.files["/bedrock/BDTICM_M_1km_ll.tif"] = raw / "bedrock" / "BDTICM_M_1km_ll.tif"


def package_file(layer: str, package: str, paths: list[Path]) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        archive.addfile(folder := tarfile.TarInfo(f"{layer}_{package}"))
        folder.type = tarfile.DIRTYPE
        for path in paths:
            archive.add(path, f"{layer}_{package}/{path.name}")
    return held.getvalue()


def serve_vrt(server: FileServer, path: Path, root: str) -> None:
    """Cut a map in four tiles, and list them as the provider does."""
    with rasterio.open(path) as source:
        height, width, transform = source.height, source.width, source.transform
        profile = source.profile | {"tiled": False, "compress": "deflate"}
        sources = []
        for row in (0, 1):
            for col in (0, 1):
                window = Window(col * (width // 2), row * (height // 2),
                                width - width // 2 if col else width // 2,
                                height - height // 2 if row else height // 2)  # fmt: skip
                name = f"tileSG-00{row}-00{col}/tileSG-00{row}-00{col}_1-1.tif"
                about = profile | {"height": window.height, "width": window.width,
                                   "transform": source.window_transform(window)}  # fmt: skip
                for key in ("blockxsize", "blockysize"):
                    about.pop(key, None)
                with rasterio.MemoryFile() as held:
                    with held.open(**about) as target:
                        target.write(source.read(1, window=window), 1)
                    server.files[f"{root}/{path.stem}/{name}"] = bytes(held.getbuffer())
                sources.append(_source_text(f"{path.stem}/{name}", window))
        wkt, nodata = source.crs.to_wkt(), source.nodata
    numbers = ", ".join(str(value) for value in transform.to_gdal())
    server.files[f"{root}/{path.stem}.vrt"] = (
        f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}"><SRS>{_escaped(wkt)}</SRS>'
        f'<GeoTransform>{numbers}</GeoTransform><VRTRasterBand dataType="Int16" band="1">'
        f"<NoDataValue>{nodata if nodata is not None else -32768}</NoDataValue>"
        f"{''.join(sources)}</VRTRasterBand></VRTDataset>"
    ).encode()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def _source_text(name: str, window: Window) -> str:
    size = f'xSize="{window.width}" ySize="{window.height}"'
    return (
        f'<SimpleSource><SourceFilename relativeToVRT="1">./{name}</SourceFilename>'
        f'<SourceBand>1</SourceBand><SrcRect xOff="0" yOff="0" {size}/>'
        f'<DstRect xOff="{window.col_off}" yOff="{window.row_off}" {size}/></SimpleSource>'
    )


@dataclass
class Providers:
    """All servers of a world at one address."""

    server: FileServer
    store: ClimateStore
    daac: Daac


def open_providers(server: FileServer, raw: Path, tile: str, folder: Path) -> Providers:
    """Add all servers of a world to one; its addresses are still to be told to the program."""
    serve_maps(server, raw)
    return Providers(server, ClimateStore(server, raw), Daac(server, raw, tile, folder))


def lead_there(monkeypatch: Any, providers: Providers) -> None:
    """Let the program ask the servers on loopback, with accounts from the environment."""
    url = providers.server.url
    monkeypatch.setattr(web, "SOILGRIDS", f"{url}/soil")
    monkeypatch.setattr(web, "MERIT_HYDRO", f"{url}/merit")
    monkeypatch.setattr(web, "WATER_TABLE", f"{url}/wtd")
    monkeypatch.setattr(web, "BEDROCK", f"{url}/bedrock")
    monkeypatch.setenv("MERIT_HYDRO_USERNAME", "someone")
    monkeypatch.setenv("MERIT_HYDRO_PASSWORD", "secret")
    monkeypatch.setenv("CDSAPI_URL", providers.store.open())
    monkeypatch.setenv("CDSAPI_KEY", KEY)
    monkeypatch.setenv("EARTHDATA_TOKEN", TOKEN)
    monkeypatch.setattr(cds, "POLL_SECONDS", (0.0, 0.0))
    catalog = providers.daac.open()
    try:
        import earthaccess
    except ImportError:
        return
    from dataclasses import replace as replaced

    monkeypatch.setattr(earthdata, "SYSTEM", replaced(earthaccess.PROD, cmr_base_url=catalog))
