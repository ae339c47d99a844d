"""From one word in the settings to a Dask client, and what its workers need."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from distributed import Client, LocalCluster, Worker, WorkerPlugin

logger = logging.getLogger(__name__)

Profile = Literal["ingest", "predict"]


class ForestPlugin(WorkerPlugin):
    """Open the forest once in every worker process, from a path that the worker can see.

    A broadcast by scatter would take longer and hold one copy per process; mapped arrays are
    shared by all processes of a node.
    """

    name = "gssm-forest"

    def __init__(self, path: str, open_forest: Callable[[str], Any]) -> None:
        self.path = path
        self.open_forest = open_forest

    def setup(self, worker: Worker) -> None:
        """Map the forest; the block function finds it in the opener's cache."""
        self.open_forest(self.path)


@contextmanager
def open_client(
    cluster: str,
    profile: Profile,
    *,
    workers: int | None = None,
    memory_limit: str | float = "auto",
) -> Iterator[Client | None]:
    """Yield a client for the cluster that one word names, and close it on the way out.

    Parameters
    ----------
    cluster : str
        ``"local"``, ``"none"`` (this process, without Dask) or a scheduler's address such as
        ``"tcp://127.0.0.1:8786"``.
    profile : {"ingest", "predict"}
        Ingest runs processes of one thread (HDF4 and HDF5 hold global locks); prediction runs one
        process of many threads, so that a forest is mapped once.
    workers : int, optional
        Parallel tasks; all cores by default.
    memory_limit : str or float
        Of one worker process, as Dask takes it.
    """
    if cluster == "none":
        yield None
    elif "://" in cluster:
        with Client(cluster, timeout="60s") as client:
            yield client
    elif cluster == "local":
        with _local_cluster(profile, workers, memory_limit) as local, Client(local) as client:
            logger.info("dask: %s", client.dashboard_link)
            yield client
    else:
        raise ValueError(
            f"cluster is {cluster!r}, expected 'local', 'none' or a scheduler's address such as "
            "'tcp://host:8786'"
        )


def _local_cluster(
    profile: Profile, workers: int | None, memory_limit: str | float
) -> LocalCluster:
    """Return a cluster on loopback in the shape that a profile asks for."""
    count = workers or len(os.sched_getaffinity(0))
    processes, threads = (count, 1) if profile == "ingest" else (1, count)
    return LocalCluster(
        n_workers=processes,
        threads_per_worker=threads,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        memory_limit=memory_limit,
    )
