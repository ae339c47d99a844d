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
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import requests

from gssm_cube.sources import tries
from gssm_cube.sources.answers import Part, Span, answered, check_status, part_of, range_of
from gssm_cube.sources.tries import Answer, NoAccess, Passing, Pause

logger = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "localhost", "::1")
EARLY = timedelta(minutes=2)  # a signature is renewed so long before it expires
NEVER = datetime.fromtimestamp(0, UTC)
USER = "edh"  # any name will do: earthdatahub.destine.eu/getting-started
ADVICE = (
    "the token is missing, wrong or has expired: set it in the environment "
    "(docs/open_archives.md), then run it again"
)


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
        NotThere, NoAccess, NoAnswer, Refused
            As ``tries`` says.
        """

        def ask() -> Part:
            if not sign or self._signer is None:
                return self._ask(address, address, span)
            signed, signature = self._signer.signed(address)
            try:
                return self._ask(address, signed, span)
            except NoAccess:  # the signature may have been withdrawn
                self._signer.renew(address, signature)
                return self._ask(address, self._signer.signed(address)[0], span)

        return self.persist(address, ask)

    def persist(self, what: str, call: Callable[[], Answer]) -> Answer:
        """Return what a call returns; try again where its failure may pass, as ``tries`` says."""
        return tries.persist(what, call, self.pause)

    def _ask(self, address: str, full: str, span: Span | None) -> Part:
        """Send one request; ``full`` is the address with a signature, which nobody must see."""
        headers = range_of(*span) if span else {}
        auth = self._token(address)
        with self._lock:
            self.sent += 1
        with answered(self._session, full, headers, shown=address, auth=auth) as answer:
            check_status(answer, address, ADVICE)
            part = _read(answer, span)
            with self._lock:
                self.received += len(answer.content)
        return part

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


def _read(answer: requests.Response, span: Span | None) -> Part:
    """Return what an answer holds: servers may send the whole where a part was asked."""
    if answer.status_code == 200:
        content = answer.content
        cut = content[slice(*span)] if span else content
        return Part(cut, span[0] if span else 0, len(content))
    if span is None:
        raise Passing("a part came where all was asked")
    return part_of(answer, span)


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
