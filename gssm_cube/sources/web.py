"""Asking web servers: parts of files, tokens from the environment, signed addresses.

Every request is counted, tried again where its failure may pass, and checked to be whole. Tokens
and signatures stay in the memory of this process: they are neither logged nor written, and errors
name addresses without them.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from gssm_cube.sources.tries import Answer, NoAccess, NoAnswer, Pause, Refused, persist

logger = logging.getLogger(__name__)

CONNECT_SECONDS, READ_SECONDS = 10, 300
LOOPBACK = ("127.0.0.1", "localhost", "::1")
EARLY = timedelta(minutes=2)  # a signature is renewed so long before it expires
NEVER = datetime.fromtimestamp(0, UTC)
USER = "edh"  # any name will do: earthdatahub.destine.eu/getting-started
Span = tuple[int, int]  # first byte, and the one after the last


class NotThere(Refused):
    """A server has nothing at an address."""


class Passing(OSError):
    """A failure that may pass."""


class _Expired(Exception):
    """A signature was not accepted."""


@dataclass(frozen=True)
class Part:
    """Bytes of a file, from one on, and the size of the whole."""

    content: bytes
    start: int
    total: int

    @property
    def span(self) -> Span:
        """Where they lie."""
        return self.start, self.start + len(self.content)


class Web:
    """Asks web servers for files and parts of them; shared by threads.

    Parameters
    ----------
    tokens : mapping, optional
        By host, the name of the environment's variable that holds the token for it. Without the
        variable the user's ``.netrc`` counts.
    signer : str, optional
        Address that signs what ``get`` is told to sign.
    pause : callable
    """

    def __init__(
        self,
        tokens: Mapping[str, str] | None = None,
        signer: str | None = None,
        pause: Pause = time.sleep,
        connections: int = 64,
    ) -> None:
        import requests

        logging.getLogger("urllib3.connectionpool").addFilter(_hide_query)
        self.pause, self._tokens = pause, dict(tokens or {})
        self._signer = Signer(signer, self) if signer else None
        self._lock = threading.Lock()
        self.sent = self.received = 0  # requests, and bytes of their answers
        self._session = requests.Session()
        for scheme in ("https://", "http://"):
            adapter = requests.adapters.HTTPAdapter(pool_maxsize=connections)
            self._session.mount(scheme, adapter)

    def get(self, address: str, span: Span | None = None, *, sign: bool = False) -> Part:
        """Return a file, or the part of it within a span.

        Raises
        ------
        NotThere
            If there is none.
        NoAccess, NoAnswer, Refused
            As ``tries`` says.
        """

        def ask() -> Part:
            if not sign or self._signer is None:
                return self._ask(address, address, span)
            signed, signature = self._signer.signed(address)
            try:
                return self._ask(address, signed, span)
            except _Expired:
                self._signer.renew(address, signature)
                return self._ask(address, self._signer.signed(address)[0], span, last=True)

        return self.persist(address, ask)

    def persist(self, what: str, call: Callable[[], Answer]) -> Answer:
        """Return what a call returns; try again where it fails as cut or damaged answers do."""
        # Codecs and GDAL raise these where bytes are damaged.
        passing = (OSError, ValueError, RuntimeError, EOFError)
        return persist(what, call, passing, _raise_lasting, self.pause)

    def _ask(self, address: str, full: str, span: Span | None, last: bool = False) -> Part:
        """Send one request; ``full`` is the address with a signature, which nobody must see."""
        import requests

        headers = {"Accept-Encoding": "identity"}
        if span is not None:
            headers["Range"] = f"bytes={span[0]}-{span[1] - 1}"
        try:
            response = self._session.get(
                full,
                headers=headers,
                auth=self._token(address),
                timeout=(CONNECT_SECONDS, READ_SECONDS),
            )
        except requests.RequestException as error:
            # Its text may hold the signature.
            raise Passing(f"{address}: {type(error).__name__}") from None
        with self._lock:
            self.sent += 1
            self.received += len(response.content)
        _check_status(address, response.status_code, renewable=full != address and not last)
        return _checked_part(address, response, span)

    def _token(self, address: str) -> tuple[str, str] | None:
        """Return name and password for an address, if there is a token for its host."""
        parts = urlsplit(address)
        token = os.environ.get(self._tokens.get(parts.hostname or "", ""), "").strip()
        if not token:
            return None
        if parts.scheme != "https" and parts.hostname not in LOOPBACK:
            raise NoAccess(f"{address}: a token is not sent without TLS; give https://")
        return USER, token


def _hide_query(record: logging.LogRecord) -> bool:
    """Take signatures out of what the library below would log of addresses."""
    if isinstance(record.args, tuple):
        shown = (arg.split("?")[0] if isinstance(arg, str) else arg for arg in record.args)
        record.args = tuple(shown)
    return True


def _raise_lasting(what: str, error: Exception) -> None:
    """Raise what does not pass."""
    if isinstance(error, Refused | NoAccess | NoAnswer):
        raise error


def _check_status(address: str, status: int, *, renewable: bool) -> None:
    """Raise unless a request succeeded."""
    if status in (200, 206):
        return
    if status in (404, 410):
        raise NotThere(f"{address} is not there ({status}); mend the address")
    if status in (401, 403):
        if renewable:
            raise _Expired
        raise NoAccess(
            f"{address}: access is denied ({status}); the token is missing, wrong or has expired: "
            "set it in the environment (docs/open_archives.md), then run it again"
        )
    if status in (408, 425, 429) or status >= 500:
        raise Passing(f"{address}: status {status}")
    raise Refused(f"{address}: the server refuses the request ({status})")


def _checked_part(address: str, response: Any, span: Span | None) -> Part:
    """Return what an answer holds; raise Passing if it is cut, or another part."""
    content, stated = response.content, response.headers.get("Content-Length")
    if stated is not None and int(stated) != len(content):
        raise Passing(f"{address}: {len(content)} bytes came of {stated}")
    if response.status_code == 200:  # servers may send the whole where a part was asked
        cut = content[slice(*span)] if span else content
        return Part(cut, span[0] if span else 0, len(content))
    if span is None:
        raise Passing(f"{address}: a part came where all was asked")
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    place, _, total = rest.partition("/")
    if unit != "bytes" or not total.isdigit() or place.split("-")[0] != str(span[0]):
        raise Passing(f"{address}: bytes {rest!r} came where {span[0]}-{span[1] - 1} were asked")
    if len(content) != min(span[1], int(total)) - span[0]:
        raise Passing(f"{address}: {len(content)} bytes came of {span[0]}-{span[1] - 1}")
    return Part(content, span[0], int(total))


# ---- signatures -------------------------------------------------------------------------------


class Signer:
    """Signs addresses as the Planetary Computer does: a query for each container of an account.

    One signature serves all threads and is renewed before it expires, or when it is not accepted.
    planetarycomputer.microsoft.com/docs/concepts/sas
    """

    def __init__(self, address: str, web: Web) -> None:
        self.address, self._web = address, web
        self._known: dict[str, tuple[str, datetime]] = {}
        self._lock = threading.Lock()

    def signed(self, address: str) -> tuple[str, str]:
        """Return an address with its signature, and that signature."""
        container = _container_of(address)
        with self._lock:  # one asks, the others wait
            query, expiry = self._known.get(container, ("", NEVER))
            if expiry - EARLY <= datetime.now(UTC):
                query, expiry = self._ask(container)
                self._known[container] = query, expiry
        return f"{address}?{query}", query

    def renew(self, address: str, signature: str) -> None:
        """Forget a signature that was not accepted, unless another thread has done so."""
        container = _container_of(address)
        with self._lock:
            if self._known.get(container, ("",))[0] == signature:
                del self._known[container]

    def _ask(self, container: str) -> tuple[str, datetime]:
        """Ask for a signature; say nothing of it where the answer cannot be read."""
        where = f"{self.address}/{container}"
        content = self._web.get(where).content
        try:
            found = json.loads(content)
            expiry = datetime.fromisoformat(found["msft:expiry"])
            query = str(found["token"])
        except (ValueError, KeyError, TypeError):
            raise Passing(f"{where}: the answer is no signature") from None
        return query, expiry if expiry.tzinfo else expiry.replace(tzinfo=UTC)


def _container_of(address: str) -> str:
    """Account and container of an address, as ``modiseuwest/modis-061-cogs``."""
    parts = urlsplit(address)
    account = (parts.hostname or "").split(".")[0]
    return f"{account}/{parts.path.lstrip('/').split('/')[0]}"
