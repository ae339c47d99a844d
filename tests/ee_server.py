"""A loopback Earth Engine for the unmodified ``ee`` and ``xee`` clients, with faults on order.

It serves the REST interface (v1) from the discovery document and the list of algorithms that
earthengine-api ships, checks Google's limits on requests, gives out tokens, counts requests in
flight and fails as told.
"""

import hashlib
import io
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from http.server import BaseHTTPRequestHandler
from importlib import resources
from typing import Any
from urllib.parse import parse_qs

import numpy as np
from ee_algebra import Collection, EarthEngineError, Evaluation, Image, plain
from google.auth.credentials import AnonymousCredentials
from loopback import LoopbackServer
from pyproj import Transformer

MOST_BYTES, MOST_SIDE, MOST_BANDS = 48 * 2**20, 32768, 1024  # Google's limits on a request
SINUSOIDAL = "SR-ORG:6974"
PROJ = {SINUSOIDAL: "+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R=6371007.181 +units=m +no_defs"}
STATUS = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED"}


@dataclass
class Catalog:
    """Images and collections by their ids."""

    images: dict[str, Image] = field(default_factory=dict)
    collections: dict[str, Collection] = field(default_factory=dict)

    def image(self, id: str) -> Image:
        """Return an image, also one of a collection."""
        folder, _, index = id.rpartition("/")
        for image in self.collections.get(folder, Collection(())).images:
            if image.properties["system:index"] == index:
                return image
        return self._held(self.images, id, "Image")

    def collection(self, id: str) -> Collection:
        """Return a collection."""
        return self._held(self.collections, id, "ImageCollection")

    @staticmethod
    def _held(known: dict[str, Any], id: str, kind: str) -> Any:
        if id not in known:
            raise EarthEngineError(
                f"{kind}.load: {kind} asset '{id}' not found (does not exist or caller does not "
                "have access)."
            )
        return known[id]


@dataclass
class Fault:
    """What the next requests to a path get: a status, or their connection cut or answer cut."""

    kind: int | str  # a status, "cut" (the connection), "truncated" or "short" (the answer)
    times: int = 1
    path: str = ":computePixels"
    message: str = "told to fail"
    retry_after: str = ""

    def meets(self, path: str) -> bool:
        """Whether a request to a path gets it."""
        return self.path in path


class EarthEngineServer(LoopbackServer):
    """The server: ``with`` starts and stops it; ``url`` is given to ``ee.Initialize``."""

    def __init__(self, catalog: Catalog) -> None:
        super().__init__(_Handler)
        self.catalog = catalog
        self.pixels: list[str] = []  # a hash of each request for pixels, in order
        self.bytes_sent = 0  # of pixels
        self.in_flight = self.most_in_flight = 0
        self.hold: Callable[[int], None] = lambda number: None  # with the pixel request's number
        self.tokens: set[str] | None = None  # those that are good; None lets everyone in
        self.refresh_works = True
        self.refreshed = 0

    def fail(self, kind: int | str, times: int = 1, **more: str) -> None:
        """Let the next requests fail."""
        self.faults.append(Fault(kind, times, **more))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: EarthEngineServer

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output clean."""

    def do_GET(self) -> None:  # noqa: N802
        """Answer the discovery document, algorithms and assets."""
        self._answer(b"")

    def do_POST(self) -> None:  # noqa: N802
        """Answer computations and tokens."""
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _answer(self, body: bytes) -> None:
        """Answer one request, counted while it is in flight."""
        server, path = self.server, self.path.split("?")[0]
        pixels = path.endswith(":computePixels")
        with server.lock:
            server.in_flight += pixels
            server.most_in_flight = max(server.most_in_flight, server.in_flight)
            if pixels:
                server.pixels.append(hashlib.sha256(body).hexdigest())
            number = len(server.pixels)
        try:
            if pixels:
                server.hold(number)
            status, kind, data = self._result(path, body)
        finally:
            # Before the answer leaves: the client may ask anew the moment it has it.
            with server.lock:
                server.in_flight -= pixels
                server.bytes_sent += len(data) if pixels else 0
        self._send(status, kind, data, self._fault)

    def _result(self, path: str, body: bytes) -> tuple[int, str, bytes]:
        """Return status, type and bytes of an answer, or of what was ordered in its place."""
        fault = self._fault = self.server.next_fault(path)
        try:
            if fault is not None and isinstance(fault.kind, int):
                raise EarthEngineError(fault.message, fault.kind)
            kind, data = self._route(path, body)
            return 200, kind, data
        except EarthEngineError as error:
            about = {"code": error.code, "message": str(error)}
            about["status"] = STATUS.get(error.code, "INVALID_ARGUMENT")
            return error.code, "application/json", json.dumps({"error": about}).encode()

    def _send(self, status: int, kind: str, data: bytes, fault: Fault | None) -> None:
        """Send an answer, or as much of it as was ordered."""
        cut = fault.kind if fault is not None else None
        if cut == "cut":
            self.close_connection = True
            return
        length = len(data)
        if cut in ("truncated", "short"):
            data = data[: length // 2]
            self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if fault is not None and fault.retry_after:
            self.send_header("Retry-After", fault.retry_after)
        self.send_header("Content-Length", str(len(data) if cut == "short" else length))
        self.end_headers()
        self.wfile.write(data)

    def _route(self, path: str, body: bytes) -> tuple[str, bytes]:
        """Return type and bytes of what was asked for."""
        json_type = "application/json"
        if path.startswith("/$discovery/rest"):
            return json_type, _shipped("cloud_api_discovery_document.json")
        if path == "/token":
            return json_type, json.dumps(self._token(body)).encode()
        self._check_token()
        if path.endswith("/algorithms"):
            return json_type, _shipped("algorithms.json")
        catalog = self.server.catalog
        if path.endswith("/value:compute"):
            result = Evaluation(catalog, json.loads(body)["expression"]).result
            return json_type, json.dumps({"result": plain(result)}).encode()
        if path.endswith("/image:computePixels"):
            asked = json.loads(body)
            image = Evaluation(catalog, asked["expression"]).result
            return "application/octet-stream", pixels_of(image, asked)
        found = re.fullmatch(r"/v1/projects/earthengine-public/assets/(.+)", path)
        found = found or re.fullmatch(r"/v1/(projects/.+)", path)
        if found is None:
            raise EarthEngineError(f"the loopback has no {self.command} {path}", 404)
        return json_type, json.dumps(catalog.image(found[1]).info()).encode()

    def _token(self, body: bytes) -> dict[str, Any]:
        """Return a fresh token for whatever stands for an account."""
        server = self.server
        if not server.refresh_works:
            raise EarthEngineError("invalid_grant", 400)
        asked = parse_qs(body.decode())
        assert asked.keys() & {"refresh_token", "assertion"}
        with server.lock:
            server.refreshed += 1
            token = f"loopback-token-{server.refreshed}"
            if server.tokens is not None:
                server.tokens.add(token)
        return {"access_token": token, "expires_in": 3600, "token_type": "Bearer"}

    def _check_token(self) -> None:
        """Refuse a token that is not, or no longer, good."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.server.tokens is not None and token not in self.server.tokens:
            raise EarthEngineError("Request had invalid authentication credentials.", 401)


@lru_cache
def _shipped(name: str) -> bytes:
    """Bytes of a file that earthengine-api ships for tests."""
    text = (resources.files("ee") / "tests" / name).read_text()
    return text.replace("v1alpha", "v1").encode() if "discovery" in name else text.encode()


def pixels_of(image: Image, asked: dict[str, Any]) -> bytes:
    """Return the pixels of a request as NPY; masked ones are 0."""
    grid, wanted = asked["grid"], asked.get("bandIds")
    bands = [band for band in image.bands if not wanted or band.id in wanted]
    width, height = (int(grid["dimensions"][side]) for side in ("width", "height"))
    _check_limits(width, height, bands)
    scale = grid["affineTransform"]
    x = scale["translateX"] + scale["scaleX"] * (np.arange(width) + 0.5)
    y = scale["translateY"] + scale["scaleY"] * (np.arange(height) + 0.5)
    places = np.meshgrid(x, y)
    crs = grid.get("crsCode") or grid["crsWkt"]
    out = np.zeros((height, width), [(band.id, np.dtype(band.dtype)) for band in bands])
    for band in bands:
        values, valid = band.sample(*places, crs)
        out[band.id] = np.where(valid, values, 0)
    buffer = io.BytesIO()
    np.save(buffer, out)
    return buffer.getvalue()


def _check_limits(width: int, height: int, bands: list[Any]) -> None:
    """Refuse what Google refuses."""
    # A byte of mask a band: Google's server counts so (github.com/google/Xee, issue 209).
    size = width * height * sum(np.dtype(band.dtype).itemsize + 1 for band in bands)
    if not bands:
        raise EarthEngineError("Image has no bands.")
    if max(width, height) > MOST_SIDE:
        raise EarthEngineError(f"Pixel grid dimensions ({width}x{height}) are over {MOST_SIDE}.")
    if len(bands) > MOST_BANDS:
        raise EarthEngineError(f"Number of bands must be less than or equal to {MOST_BANDS}.")
    if size > MOST_BYTES:
        raise EarthEngineError(
            f"Total request size ({size} bytes) must be less than or equal to {MOST_BYTES} bytes."
        )


def to_crs(x: np.ndarray, y: np.ndarray, crs: str, wanted: str) -> tuple[np.ndarray, np.ndarray]:
    """Return places of one projection in another; the same projection changes no bit."""
    if crs == wanted:
        return x, y
    pair = (PROJ.get(crs, crs), PROJ.get(wanted, wanted))
    return Transformer.from_crs(*pair, always_xy=True).transform(x, y)


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for a condition of the server; raise if it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the server did not come to the state that the test waits for")
        time.sleep(0.01)


def let_anyone_in(monkeypatch: Any) -> None:
    """Let this process connect without an account, and without the list that ee fetches afar."""
    monkeypatch.setattr("ee.deprecation._FetchDataCatalogStac", dict)
    monkeypatch.setattr("ee.data.get_persistent_credentials", AnonymousCredentials)
