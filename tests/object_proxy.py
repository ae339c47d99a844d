"""A proxy on loopback before an object store: counts, delays and turns away requests."""

import http.client
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}
DENIED = b"<Error><Code>AccessDenied</Code><AWSAccessKeyId>AKSHOWN</AWSAccessKeyId></Error>"
BUSY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Slow down.</Message></Error>"


@dataclass
class Proxy:
    """What the proxy does to requests, and what it saw; to be changed while it runs."""

    backend: str  # such as http://127.0.0.1:7480
    delay: float = 0.0  # seconds before each GET and HEAD is answered
    busy_every: int = 0  # of so many requests the last is answered 503; 0 for none
    refused: frozenset[str] = frozenset()  # methods that are always answered 503
    refused_paths: str = ""  # and writes to paths that hold this
    denied: bool = False  # whether all are answered 403
    unconditional: bool = False  # whether conditions of writes get lost
    cut: int = 0  # answers to GET of which half is sent before the line breaks
    seen: list[tuple[str, str, int, int]] = field(
        default_factory=list
    )  # method, path, status, size
    asked: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def handler(self) -> type["ProxyHandler"]:
        """What answers a request."""
        return ProxyHandler

    def __enter__(self) -> "Proxy":
        class Handler(self.handler):
            proxy = self

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def turns_away(self, method: str, path: str) -> tuple[int, bytes] | None:
        """Return the answer to a request that does not go on."""
        if self.denied:
            return 403, DENIED
        with self.lock:
            self.asked += 1
            busy = method in self.refused
            busy |= self.busy_every > 0 and self.asked % self.busy_every == 0
        if method == "PUT" and self.refused_paths:
            busy |= self.refused_paths in path
        return (503, BUSY) if busy else None

    def breaks(self, method: str, size: int) -> bool:
        """Whether the line breaks within an answer."""
        with self.lock:
            broken = method == "GET" and size > 1 and self.cut > 0
            self.cut -= broken
        return broken

    def note(self, method: str, path: str, status: int, size: int) -> None:
        """Remember a request, with the bytes of its answer, or of its content."""
        with self.lock:
            self.seen.append((method, path, status, size))

    def forget(self) -> None:
        """Count from nothing."""
        with self.lock:
            self.seen.clear()

    @property
    def counts(self) -> Counter[str]:
        """Requests by method, those turned away left out."""
        with self.lock:
            return Counter(method for method, _, status, _ in self.seen if status != 503)

    def bytes_of(self, method: str) -> int:
        """Bytes that went with requests of a method."""
        with self.lock:
            return sum(size for other, _, _, size in self.seen if other == method)


class ProxyHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def setup(self) -> None:
        super().setup()
        self.backend = http.client.HTTPConnection(urlsplit(self.proxy.backend).netloc)
        self.backend.auto_open = 1

    def finish(self) -> None:
        self.backend.close()
        super().finish()

    def answer(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if answer := self.proxy.turns_away(self.command, self.path):
            status, body = answer
            self.proxy.note(self.command, self.path, status, 0)
            self.reply(status, {"Content-Type": "application/xml"}, body)
            return
        if self.command in ("GET", "HEAD"):
            time.sleep(self.proxy.delay)
        self.backend.request(self.command, self.sent_path(), content or None, self.sent_headers())
        found = self.backend.getresponse()
        body = found.read()
        self.proxy.note(self.command, self.path, found.status, len(content) or len(body))
        self.reply(found.status, dict(found.getheaders()), body)

    def sent_path(self) -> str:
        """What is asked of the store."""
        return self.path

    def sent_headers(self) -> dict[str, str]:
        """What goes with it."""
        lost = {"connection"} | ({"if-none-match"} if self.proxy.unconditional else set())
        return {name: value for name, value in self.headers.items() if name.lower() not in lost}

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        length = str(len(body))
        for name, value in headers.items():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
            elif name.lower() == "content-length" and self.command == "HEAD":
                length = value
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.proxy.breaks(self.command, len(body)):
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        elif self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
