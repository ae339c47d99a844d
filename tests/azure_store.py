"""Azurite, Microsoft's own emulator of Azure's blobs, on loopback; npm installs it."""

import base64
import email.utils
import hashlib
import hmac
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import Request, urlopen

from slurm_node import free_port

ACCOUNT = "anaccount"
KEY = base64.b64encode(b"a key of tests that is no secret").decode()
VERSION = "2021-08-06"
INSTALLED = Path(__file__).parent.parent / ".services" / "azurite" / "node_modules" / ".bin"
SEARCHED = os.pathsep.join([os.environ["PATH"], str(INSTALLED)])


def azurite() -> str | None:
    """Return the program, if it is installed."""
    return shutil.which("azurite-blob", path=SEARCHED)


@contextmanager
def azure_store(folder: Path) -> Iterator[dict[str, str]]:
    """Yield the environment by which a client finds the server that runs meanwhile."""
    port = free_port()
    words = [str(azurite()), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--silent"]
    words += ["--inMemoryPersistence", "--skipApiVersionCheck"]
    env = os.environ | {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
    log = folder / "azurite.log"
    with log.open("wb") as out:
        process = subprocess.Popen(words, env=env, cwd=folder, stdout=out, stderr=out)
        try:
            _wait(process, port, log)
            yield {
                "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
                "AZURE_STORAGE_ACCOUNT_KEY": KEY,
                "AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{port}/{ACCOUNT}",
                "AZURE_ALLOW_HTTP": "true",
            }
        finally:
            process.kill()  # it keeps nothing, and would wait for its clients
            process.wait()


def _wait(process: subprocess.Popen, port: int, log: Path) -> None:
    """Wait until the server answers; fail with its log if it ends."""
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError):
            urlopen(f"http://127.0.0.1:{port}/", timeout=2)
        if "successfully listens" in log.read_text():
            return
        time.sleep(0.2)
    raise RuntimeError(f"Azurite did not start:\n{log.read_text()}")


def make_container(environment: dict[str, str]) -> str:
    """Make a container and return its name."""
    name, date = f"container-{uuid.uuid4().hex[:12]}", email.utils.formatdate(usegmt=True)
    told = f"x-ms-date:{date}\nx-ms-version:{VERSION}\n"
    signed = "PUT" + "\n" * 12 + told + f"/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    digest = hmac.new(base64.b64decode(KEY), signed.encode(), hashlib.sha256).digest()
    headers = {
        "x-ms-date": date,
        "x-ms-version": VERSION,
        "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
    }
    url = f"{environment['AZURE_STORAGE_ENDPOINT']}/{name}?restype=container"
    with urlopen(Request(url, method="PUT", headers=headers)) as answer:
        assert answer.status == 201
    return name
