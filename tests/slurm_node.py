"""Slurm as one node on loopback: munged, slurmctld and slurmd in a folder of their own, no systemd.

Needs Debian's slurmctld, slurmd, slurm-client and munge, and root.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch")
PATHS = os.pathsep.join([os.environ["PATH"], "/usr/sbin"])
CONFIG = """\
ClusterName=gssm
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ReturnToService=2
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=8000 State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def lacking() -> list[str]:
    """Programs that are not installed, or what else keeps Slurm from starting."""
    found = [name for name in NEEDED if shutil.which(name, path=PATHS) is None]
    return found if os.getuid() == 0 else [*found, "root"]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def slurm_node(folder: Path) -> Iterator[None]:
    """Run Slurm meanwhile; its logs stay in the folder, and SLURM_CONF points at it."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    host = socket.gethostname().split(".")[0]
    config = CONFIG.format(
        host=host, folder=folder, port=free_port(), node_port=free_port(), cpus=os.cpu_count()
    )
    (folder / "slurm.conf").write_text(config)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    munge = [f"--{name}={folder}/munge.{name.split('-')[0]}"
             for name in ("socket", "pid-file", "log-file", "seed-file")]  # fmt: skip
    try:
        with ExitStack() as stack:
            words = ["munged", "-F", "--force", f"--key-file={key}", *munge]
            stack.enter_context(daemon(words, folder))
            wait_until(lambda: (folder / "munge.socket").exists(), folder)
            stack.enter_context(daemon(["slurmctld", "-D"], folder))
            stack.enter_context(daemon(["slurmd", "-D", "-N", host], folder))
            wait_until(lambda: told("sinfo", "-h", "-o", "%T") in ("idle", "mixed"), folder)
            yield
    finally:
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before


@contextmanager
def daemon(words: list[str], folder: Path) -> Iterator[None]:
    """Run one program meanwhile, in the foreground."""
    program = shutil.which(words[0], path=PATHS)
    with (folder / f"{words[0]}.out").open("wb") as out:
        process = subprocess.Popen([program, *words[1:]], stdout=out, stderr=out)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def told(*words: str) -> str:
    """What a program of Slurm says."""
    return subprocess.run(words, capture_output=True, text=True).stdout.strip()


def wait_until(done, folder: Path, seconds: float = 120) -> None:
    """Wait for something; fail with the logs if it does not come."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            logs = (f"{p.name}:\n{p.read_text()[-2000:]}" for p in folder.glob("*.[lo]*"))
            raise RuntimeError("Slurm did not do as it should\n" + "\n".join(logs))
        time.sleep(0.2)
