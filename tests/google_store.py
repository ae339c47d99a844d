"""A store that Google's client takes for its own: S3 behind a proxy that translates.

No server for Google's XML interface can be installed from PyPI: fake-gcs-server refuses its PUT,
gcp-storage-emulator has no lists.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

from object_proxy import Proxy, ProxyHandler
from object_server import KEY, Server

SIGNED = (
    f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, "
    "Signature=none"
)


class GoogleProxy(Proxy):
    """Lets requests of Google's client go to a server of S3."""

    @property
    def handler(self) -> type[ProxyHandler]:
        return _Translated


class _Translated(ProxyHandler):
    def sent_path(self) -> str:
        path, mark, query = self.path.partition("?")
        return quote(unquote(path)) + mark + query  # one kind quotes what the other does not

    def sent_headers(self) -> dict[str, str]:
        headers = {name.lower(): value for name, value in super().sent_headers().items()}
        headers["authorization"] = SIGNED  # which moto does not verify
        if headers.pop("x-goog-if-generation-match", None) == "0":
            headers["If-None-Match"] = "*"
        return headers


@contextmanager
def google_store(server: Server, folder: Path) -> Iterator[dict[str, str]]:
    """Yield the environment by which a client finds the buckets of a server of S3 as Google's."""
    with GoogleProxy(server.endpoint) as proxy:
        account = {"gcs_base_url": proxy.url, "disable_oauth": True, "client_email": ""}
        key = folder / "service_account.json"
        key.write_text(json.dumps(account | {"private_key": "", "private_key_id": ""}))
        yield {"GOOGLE_SERVICE_ACCOUNT": str(key), "GOOGLE_ALLOW_HTTP": "true"}
