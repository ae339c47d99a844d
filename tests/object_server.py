"""An S3 server on loopback for tests, and what a client must know of it."""

import json
import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from moto.server import ThreadedMotoServer

KEY, SECRET = "a-test-key", "a-secret-of-tests"


@dataclass(frozen=True)
class Server:
    """Where a server is and who may use it."""

    endpoint: str
    key: str = KEY
    secret: str = SECRET

    @property
    def environment(self) -> dict[str, str]:
        """What a client takes from its environment."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def make_bucket(self) -> str:
        """Make a bucket and return its name."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self._client().create_bucket(Bucket=name)
        return name

    def publish(self, bucket: str) -> None:
        """Let anybody read a bucket's objects."""
        allowed = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
        statement = allowed | {"Resource": f"arn:aws:s3:::{bucket}/*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self._client().put_bucket_policy(Bucket=bucket, Policy=policy)

    def _client(self) -> Any:
        """Return a client that does what obstore does not."""
        return boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1",
            aws_access_key_id=self.key, aws_secret_access_key=self.secret,
        )  # fmt: skip


def _one_at_a_time(app: Any) -> Any:
    """Answer one request after the other: conditional writes of moto are not atomic."""
    lock = threading.Lock()

    def answer(environ: Any, start_response: Any) -> Any:
        with lock:
            return app(environ, start_response)

    return answer


@contextmanager
def moto_server() -> Iterator[Server]:
    """Run moto's S3 server in threads of this process."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    server._server.app = _one_at_a_time(server._server.app)
    try:
        host, port = server.get_host_and_port()
        yield Server(f"http://{host}:{port}")
    finally:
        server.stop()
