"""A loopback web server for files, a STAC API and its signatures, with faults on order."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from loopback import LoopbackServer

API, SIGNER, SIGNED, GUARDED = "/api/stac/v1", "/api/sas/v1/token", "/cogs", "/guarded"
TOKEN = "a-token-of-tests"


@dataclass
class Fault:
    """What the next requests to a path get.

    A status; ``"cut"`` or ``"short"`` (half the answer, of which the length is stated or not) or
    ``"rotten"`` (bytes that are not the file's).
    """

    kind: int | str
    times: int = 1
    path: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def meets(self, path: str) -> bool:
        """Whether a request to a path gets it."""
        return self.path in path


@dataclass
class Asked:
    """A request that came: its path, the range that was asked, the bytes of the answer."""

    path: str
    span: str
    query: str
    status: int = 0
    sent: int = 0


@dataclass
class Page:
    """Items of a collection of the API, as they are put together for a question."""

    items: list[dict[str, Any]] = field(default_factory=list)
    size: int = 3

    def of(self, question: dict[str, str], address: str) -> dict[str, Any]:
        """Return the page that a question asks for, and a link to the next."""
        west, south, east, north = map(float, question["bbox"].split(","))
        first, last = question.get("datetime", "0/9").split("/")
        found = [
            item
            for item in self.items
            if first <= item["properties"]["end_datetime"]
            and item["properties"]["start_datetime"] <= last
            and item["bbox"][0] <= east and item["bbox"][2] >= west
            and item["bbox"][1] <= north and item["bbox"][3] >= south
        ]  # fmt: skip
        start = int(question.get("token", 0))
        links = []
        if start + self.size < len(found):
            query = "&".join(f"{k}={v}" for k, v in question.items() if k != "token")
            links = [{"rel": "next", "href": f"{address}?{query}&token={start + self.size}"}]
        features = found[start : start + self.size]
        return {"type": "FeatureCollection", "features": features, "links": links}


class WebServer(LoopbackServer):
    """The server: ``with`` starts and stops it. Below ``/cogs`` files need a signature, below
    ``/guarded`` the token; all others are free.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(_Handler)
        self.folder = folder
        self.pages: dict[str, Page] = {}
        self.asked: list[Asked] = []
        self.in_flight = self.most_in_flight = 0
        self.hold: Callable[[str], None] = lambda path: None
        self.signatures: set[str] = set()
        self.minted = 0
        self.lifetime = timedelta(hours=1)
        self.ranges = True

    def fail(self, kind: int | str, times: int = 1, path: str = "", **headers: str) -> None:
        """Let the next requests fail; ``Retry_After`` is that header."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.faults.append(Fault(kind, times, path, named))

    def files_asked(self) -> list[Asked]:
        """Return the requests for files, without those that list or sign."""
        return [asked for asked in self.asked if not asked.path.startswith("/api")]

    def sign(self) -> dict[str, str]:
        """Give out a signature."""
        with self.lock:
            self.minted += 1
            signature = f"sig=secret{self.minted}"
            self.signatures.add(signature)
        expiry = datetime.now(UTC) + self.lifetime
        return {"msft:expiry": expiry.isoformat().replace("+00:00", "Z"), "token": signature}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WebServer

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output clean."""

    def do_GET(self) -> None:  # noqa: N802
        """Answer one request, counted while it is in flight."""
        server, parts = self.server, urlsplit(self.path)
        asked = Asked(parts.path, self.headers.get("Range", ""), parts.query)
        with server.lock:
            server.in_flight += 1
            server.most_in_flight = max(server.most_in_flight, server.in_flight)
            server.asked.append(asked)
        try:
            server.hold(parts.path)
            fault = server.next_fault(parts.path)
            if fault is not None and isinstance(fault.kind, int):
                status, headers, body = fault.kind, fault.headers, b"told to fail"
            else:
                status, headers, body = self._result(asked)
            asked.status, asked.sent = status, len(body)
        finally:
            with server.lock:
                server.in_flight -= 1
        self._send(status, headers, body, fault)

    def _send(self, status: int, headers: dict[str, str], body: bytes, fault: Any) -> None:
        """Send an answer, spoilt as told."""
        kind = fault.kind if fault is not None else ""
        length = len(body)
        if kind in ("cut", "short"):
            body = body[: length // 2]
        if kind == "rotten":
            body = bytes(255 - byte for byte in body)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length if kind == "cut" else len(body)))
        self.end_headers()
        self.wfile.write(body)
        if kind == "cut":
            self.close_connection = True
            self.connection.close()

    def _result(self, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body."""
        server, path = self.server, asked.path
        if path.startswith(SIGNER):
            return 200, {}, json.dumps(server.sign()).encode()
        if path.startswith(API):
            return self._api(asked)
        if path.startswith(SIGNED) and asked.query not in server.signatures:
            return 403, {}, b"<Code>AuthenticationFailed</Code>"
        if path.startswith(GUARDED) and not self._has_token():
            return 401, {}, b"who are you?"
        file = server.folder / path.lstrip("/")
        if not file.is_file():
            return 404, {}, b"not found"
        return self._part(file.read_bytes(), asked.span)

    def _part(self, body: bytes, span: str) -> tuple[int, dict[str, str], bytes]:
        """Return a file, or the range that is asked."""
        if not span or not self.server.ranges:
            return 200, {}, body
        first, last = (int(text) for text in span.removeprefix("bytes=").split("-"))
        if first >= len(body):
            return 416, {}, b""
        part = body[first : last + 1]
        place = f"bytes {first}-{first + len(part) - 1}/{len(body)}"
        return 206, {"Content-Range": place}, part

    def _has_token(self) -> bool:
        """Whether a request carries the token, as the password of any user."""
        import base64

        kind, _, text = self.headers.get("Authorization", "").partition(" ")
        return kind == "Basic" and base64.b64decode(text).decode().split(":")[1] == TOKEN

    def _api(self, asked: Asked) -> tuple[int, dict[str, str], bytes]:
        """Answer for a collection, or a page of its items."""
        name, _, more = asked.path.removeprefix(f"{API}/collections/").partition("/")
        if name not in self.server.pages:
            return 404, {}, b"{}"
        address = f"{self.server.url}{API}/collections/{name}"
        if more != "items":
            links = [{"rel": "items", "href": f"{address}/items"}]
            return 200, {}, json.dumps({"type": "Collection", "id": name, "links": links}).encode()
        page = self.server.pages[name].of(dict(parse_qsl(asked.query)), f"{address}/items")
        return 200, {}, json.dumps(page).encode()


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for a condition of the server; raise if it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the server did not come to the state that the test waits for")
        time.sleep(0.01)
