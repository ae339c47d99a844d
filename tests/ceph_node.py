"""Ceph's S3 gateway over one monitor and one store in memory, on loopback, in a folder of its own.

Needs Debian's radosgw, ceph-mon and ceph-osd, and root. Object names, conditional writes and
signatures are judged by a server that others run in earnest.
"""

import json
import os
import shutil
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from object_server import KEY, SECRET, Server
from slurm_node import free_port

NEEDED = ("radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "monmaptool", "ceph")
START_SECONDS = 120
CONFIG = """\
[global]
fsid = {fsid}
mon initial members = a
mon host = {monitor}
public network = 127.0.0.0/8
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon warn on pool no redundancy = false
osd objectstore = memstore
memstore device bytes = 4294967296
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
pid file = {folder}/$name.pid
run dir = {folder}
[mon.a]
mon data = {folder}/mon
[osd.0]
osd data = {folder}/osd
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw data = {folder}/rgw
ms mon client mode = crc secure
"""


def lacking() -> list[str]:
    """Programs that are not installed, or what else keeps Ceph from starting."""
    found = [name for name in NEEDED if shutil.which(name) is None]
    return found if os.getuid() == 0 else [*found, "root"]


@contextmanager
def ceph_server(folder: Path) -> Iterator[Server]:
    """Run the gateway meanwhile; its logs stay in the folder."""
    for name in ("mon", "osd", "rgw"):
        (folder / name).mkdir()
    port, fsid = free_port(), str(uuid.uuid4())
    monitor = f"[v2:127.0.0.1:{free_port()},v1:127.0.0.1:{free_port()}]"
    config = CONFIG.format(fsid=fsid, monitor=monitor, folder=folder, port=port)
    (folder / "ceph.conf").write_text(config)
    run = Commands(folder)
    with ExitStack() as stack:
        run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", monitor, f"{folder}/monmap")
        run("ceph-mon", "--mkfs", "-i", "a", "--monmap", f"{folder}/monmap")
        stack.enter_context(run.meanwhile("ceph-mon", "-f", "-i", "a"))
        store = str(uuid.uuid4())
        run("ceph", "osd", "new", store, "0")
        run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", store)
        stack.enter_context(run.meanwhile("ceph-osd", "-f", "-i", "0"))
        _wait_until(run.store_is_up)  # pools that are made before wait for ever
        run("ceph", "osd", "crush", "add", "osd.0", "1.0", "root=default", "host=localhost")
        stack.enter_context(run.meanwhile("radosgw", "-f", "-n", "client.rgw.a"))
        _wait_until(lambda: _answers(f"http://127.0.0.1:{port}"))
        keys = (f"--access-key={KEY}", f"--secret-key={SECRET}")
        run("radosgw-admin", "user", "create", "--uid=tests", "--display-name=tests", *keys)
        yield Server(f"http://127.0.0.1:{port}")


class Commands:
    """Runs Ceph's programs on one configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str, *words: str) -> None:
        """Run a program to its end."""
        with open(self.folder / "commands.log", "ab") as log:
            line = [*self._line(name), *words]
            subprocess.run(line, check=True, timeout=START_SECONDS, stdout=log, stderr=log)

    def store_is_up(self) -> bool:
        """Whether the monitor has heard of the store."""
        line = [*self._line("ceph"), "osd", "stat", "--format", "json"]
        found = subprocess.run(line, check=True, timeout=START_SECONDS, capture_output=True)
        return json.loads(found.stdout)["num_up_osds"] == 1

    @contextmanager
    def meanwhile(self, name: str, *words: str) -> Iterator[None]:
        """Run a program until the end of the context."""
        with open(self.folder / f"{name}.out", "wb") as log:
            process = subprocess.Popen([*self._line(name), *words], stdout=log, stderr=log)
            try:
                yield
            finally:
                process.kill()
                process.wait()

    def _line(self, name: str) -> list[str]:
        """Return the program with its configuration; monmaptool has none."""
        return [name] if name == "monmaptool" else [name, "--conf", f"{self.folder}/ceph.conf"]


def _wait_until(ready: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + START_SECONDS
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"Ceph did not start within {START_SECONDS} s, see its logs")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    """Whether a server answers."""
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True
