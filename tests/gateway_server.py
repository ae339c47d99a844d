"""A dask-gateway server on loopback, from the project's own configuration."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

CONFIG = Path(__file__).parent.parent / "cluster" / "gateway" / "dask_gateway_config.py"
BIN = Path(sys.executable).parent
PASSWORD = "a password for loopback"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def gateway_server(folder: Path) -> Iterator[str]:
    """Yield the address of a server that runs meanwhile; its log stays in the folder."""
    port = free_port()
    env = os.environ | {
        "GSSM_GATEWAY_PORT": str(port),
        "GSSM_GATEWAY_API_PORT": str(free_port()),
        "GSSM_GATEWAY_PASSWORD": PASSWORD,
        "GSSM_GATEWAY_FOLDER": str(folder),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }
    words = [str(BIN / "dask-gateway-server"), "-f", str(CONFIG)]
    with (folder / "gateway.log").open("wb") as log:
        process = subprocess.Popen(
            words, env=env, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait(process, f"http://127.0.0.1:{port}/api/health", folder / "gateway.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def _wait(process: subprocess.Popen, address: str, log: Path) -> None:
    """Wait until the server answers; fail with its log if it ends."""
    end = time.monotonic() + 180
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), urlopen(address, timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.2)
    raise RuntimeError(f"the gateway did not start:\n{log.read_text()}")
