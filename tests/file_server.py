"""A web server on loopback with Range, If-Range, accounts and faults, as providers' servers are."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from loopback import LoopbackServer

Content = bytes | Path | Callable[[], bytes]


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: bytes
    headers: Any

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Fault:
    """What goes wrong with answers to paths that match, some times.

    ``kind`` is a status, "cut" (after ``after`` bytes), "page" (HTML), "short" (a wrong length) or
    "changed" (another version of the file from now on).
    """

    kind: int | str
    match: str = "."
    times: int = 1
    after: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    def meets(self, path: str) -> bool:
        """Whether a request to a path gets it."""
        return re.search(self.match, path) is not None


class FileServer(LoopbackServer):
    """Serves ``files`` by path, and what ``routes`` answer: (method, pattern, function of Asked).

    ``account`` is a name and password without which nothing is given; ``ranges`` says whether
    parts are; ``marked`` whether versions are told.
    """

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.files: dict[str, Content] = {}
        self.routes: list[tuple[str, str, Callable[[Asked], Any]]] = []
        self.log: list[Asked] = []
        self.sent = 0
        self.version = 1
        self.ranges = self.marked = True
        self.account: tuple[str, str] | None = None

    def asked(self, match: str, method: str = "GET") -> list[Asked]:
        """Requests of a kind that came so far."""
        return [a for a in self.log if a.method == method and re.search(match, a.path)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FileServer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:  # noqa: N802
        self._answer()

    do_HEAD = do_POST = do_GET

    def _answer(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = Asked(self.command, parts.path, parse_qs(parts.query), body, self.headers)
        with self.server.lock:
            self.server.log.append(asked)
        fault = self.server.next_fault(parts.path)
        if fault is not None and isinstance(fault.kind, int):
            return self._send(fault.kind, b"no", fault.headers)
        if fault is not None and fault.kind == "page":
            return self._send(200, b"<html>log in</html>", {"Content-Type": "text/html"})
        if fault is not None and fault.kind == "changed":
            self.server.version += 1
        if self.server.account and not self._is_known():
            return self._send(401, b"who?", {})
        for method, pattern, answer in self.server.routes:
            match = re.fullmatch(pattern, parts.path)
            if match and method == self.command:
                status, headers, content = answer(asked)
                return self._send(status, content, headers)
        self._file(parts.path, fault)

    def _is_known(self) -> bool:
        word = base64.b64encode(":".join(self.server.account or ()).encode()).decode()
        return self.headers.get("Authorization") == f"Basic {word}"

    def _file(self, path: str, fault: Fault | None) -> None:
        held = self.server.files.get(path)
        if held is None:
            return self._send(404, b"nothing here", {})
        content = held if isinstance(held, bytes) else None
        if content is None:
            content = held.read_bytes() if isinstance(held, Path) else held()
        if self.server.version > 1:
            content = content[::-1]
        mark = f'"v{self.server.version}"'
        headers = {"ETag": mark} if self.server.marked else {}
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        same = self.headers.get("If-Range", mark) == mark
        if not (match and self.server.ranges and same):
            return self._send(200, content, headers, fault)
        first, last = int(match[1]), int(match[2] or len(content) - 1)
        if first >= len(content):
            return self._send(416, b"", headers | {"Content-Range": f"bytes */{len(content)}"})
        part = content[first : last + 1]
        headers["Content-Range"] = f"bytes {first}-{first + len(part) - 1}/{len(content)}"
        self._send(206, part, headers, fault)

    def _send(
        self, status: int, content: bytes, headers: dict[str, str], fault: Fault | None = None
    ) -> None:
        length = len(content) - (fault is not None and fault.kind == "short")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = fault is not None and fault.kind == "cut"
        sent = content[: fault.after] if cut and fault else content[:length]
        self.wfile.write(sent)
        with self.server.lock:
            self.server.sent += len(sent)
        if cut:
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
