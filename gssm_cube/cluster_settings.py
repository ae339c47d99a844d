"""Where the work runs: one word, and a small table for the rest, checked before any work."""

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from dask.utils import parse_bytes
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

OPEN_SCHEMES = ("tcp", "ws")  # of a scheduler that takes orders from whoever reaches it

# How a worker's C library keeps freed memory. Dask lets it give all back at once, and the chunks of
# a block come and go by the hundred: each would be mapped and zeroed anew, half of a block's time.
ALLOCATION = {
    "MALLOC_TRIM_THRESHOLD_": str(256 * 2**20),  # bytes
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),  # the most that glibc takes
    "MALLOC_ARENA_MAX": "1",  # so that threads hand memory on to each other
}


class Cluster(BaseModel):
    """Where the work runs.

    ``kind`` is ``"local"``, ``"none"`` (this process, without Dask), ``"gateway"``, ``"slurm"``
    or the address of a scheduler. ``workers`` are parallel tasks on this machine, jobs
    on Slurm, worker processes elsewhere; with ``max_workers`` their number follows the work
    between the two.
    ``threads`` are those of one worker process on other machines while predicting, and its
    processes while reading files, so that either shape takes the same cores.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = "local"
    workers: int | None = Field(default=None, ge=1)  # all cores here; one worker elsewhere
    max_workers: int | None = Field(default=None, ge=1)  # adaptive up to here
    threads: int = Field(default=1, ge=1)
    memory_limit: str = "auto"  # of one worker process
    start_seconds: int = Field(default=600, ge=1)  # how long the first worker may take to come
    insecure: bool = False  # let a scheduler off loopback be reached without TLS
    tls_ca: str | None = None  # certificates of a scheduler at a tls:// address
    tls_cert: str | None = None
    tls_key: str | None = None
    forest_url: str | None = None  # from where each node fetches the forest, once
    address: str | None = None  # of the gateway; Dask's own configuration by default
    options: dict[str, Any] = Field(default_factory=dict)  # of the gateway's clusters
    ingest_options: dict[str, Any] = Field(default_factory=dict)  # other ones to read files with
    queue: str | None = None  # of Slurm, as are the following
    account: str | None = None
    walltime: str = "08:00:00"
    interface: str | None = None  # network interface that nodes reach one another by
    directives: tuple[str, ...] = ()  # more lines for #SBATCH

    @property
    def is_address(self) -> bool:
        """Whether a scheduler is running already."""
        return "://" in self.kind

    @property
    def is_remote(self) -> bool:
        """Whether workers may be on other machines."""
        return self.kind not in ("local", "none") and not _on_loopback(self.kind)

    @model_validator(mode="before")
    @classmethod
    def _take_word(cls, value: Any) -> Any:
        """Let one word stand for the table."""
        return {"kind": value} if isinstance(value, str) else value

    @field_validator("kind")
    @classmethod
    def _check_kind(cls, kind: str) -> str:
        """Refuse a word that names no cluster."""
        if kind not in ("local", "none", "gateway", "slurm") and "://" not in kind:
            raise ValueError(
                f"cluster is {kind!r}, expected 'local', 'none' or, for other machines, "
                "'gateway', 'slurm' or a scheduler's address such as 'tls://host:8786'"
            )
        return kind

    @field_validator("memory_limit")
    @classmethod
    def _check_memory_limit(cls, memory_limit: str) -> str:
        """Refuse what Dask could not read once the first stages have run."""
        try:
            parse_bytes("0" if memory_limit == "auto" else memory_limit)
        except ValueError as error:
            raise ValueError(
                f"memory_limit is {memory_limit!r}, expected 'auto' or bytes such as '16GB'"
            ) from error
        return memory_limit

    @model_validator(mode="after")
    def _check(self) -> "Cluster":
        """Refuse what cannot work, or would be open to anyone, before any work is done."""
        self._check_open()
        if self.max_workers is not None and self.max_workers < (self.workers or 1):
            raise ValueError(
                f"max_workers is {self.max_workers}, expected at least workers, {self.workers}"
            )
        if self.kind == "slurm" and self.memory_limit == "auto":
            raise ValueError("Slurm must be told memory_limit, such as '16GB' for a worker process")
        return self

    def _check_open(self) -> None:
        """Refuse a plain scheduler that other machines can reach."""
        scheme = urlsplit(self.kind).scheme
        if scheme in OPEN_SCHEMES and not _on_loopback(self.kind) and not self.insecure:
            raise ValueError(
                f"{self.kind} is a scheduler without TLS off this machine: whoever reaches it can "
                "run code as you; use a tls:// address, or set insecure = true if the network is "
                "closed"
            )
        given = [self.tls_ca, self.tls_cert, self.tls_key]
        if any(given) and not all(given):
            raise ValueError("give all of tls_ca, tls_cert and tls_key, or none")


def _on_loopback(address: str) -> bool:
    """Whether an address is of this machine alone."""
    if "://" not in address:
        return False
    host = urlsplit(address).hostname or ""
    if host == "localhost" or urlsplit(address).scheme == "inproc":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: it may resolve to anything
        return False
