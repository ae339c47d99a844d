"""From one word in the settings to a Dask client, and what its workers need.

Whatever the word, workers come in two shapes. Reading provider files runs processes of one
thread, because HDF4 and HDF5 hold global locks; prediction runs one process of many threads, so
that a forest is mapped once. Nothing starts before all workers are known to run the same software
and to see the run's folder.
"""

import logging
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import dask
from distributed import Client, LocalCluster, Security, SpecCluster, Status, Worker, WorkerPlugin
from distributed.comm import CommClosedError
from tornado.ioloop import PeriodicCallback

from gssm_cube.cluster_settings import ALLOCATION, Cluster
from gssm_cube.software import differences, software

logger = logging.getLogger(__name__)

Profile = Literal["ingest", "predict"]
# How many workers may die under a unit, or beside it, before it counts as their killer.
ALLOWED_FAILURES = 10
NO_WORKERS_SECONDS = 1800.0  # without any worker, until units count as failed instead of waiting
KEEP_SECONDS = 5.0  # between two looks for workers that are lost
AWAY_SECONDS = 120.0  # a job without any of its workers, until it counts as lost
PROBE = ".seen_by_workers"
REGISTER_TRIES = 5


class ForestPlugin(WorkerPlugin):
    """Open the forest once in every worker process, from a path or URL that the worker can see.

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


class LeaveInterrupts(WorkerPlugin):
    """Leave Ctrl-C to the client, which closes its workers: a terminal sends it to all of them."""

    name = "gssm-interrupts"

    def setup(self, worker: Worker) -> None:
        """Ignore it; workers run their loop, and so this, in their main thread."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)


class SameSoftware(WorkerPlugin):
    """Send away workers that come later and would compute otherwise or write elsewhere."""

    name = "gssm-software"

    def __init__(self, expected: dict[str, str], probe: str, token: str) -> None:
        self.expected, self.probe, self.token = expected, probe, token

    def setup(self, worker: Worker) -> None:
        """Close a worker that does not fit; the others go on."""
        faults = worker_faults(self.expected, self.probe, self.token)
        if faults:
            logger.error("worker %s is sent away: %s", worker.address, "; ".join(faults))
            worker.loop.add_callback(worker.close, reason="; ".join(faults))


def register(client: Client, plugin: WorkerPlugin) -> None:
    """Register a plugin with all workers, and with those that come later.

    If a worker leaves at that moment, as it may where their number follows the work, the scheduler
    breaks off, or says after a while that it does not find it: then it is asked again.
    """
    for left in reversed(range(REGISTER_TRIES)):
        try:
            client.register_plugin(plugin)
            return
        except OSError as error:
            # What a plugin itself raises is of another kind, such as FileNotFoundError.
            if not left or type(error) not in (OSError, CommClosedError):
                raise


@contextmanager
def open_client(
    cluster: Cluster | str, profile: Profile, *, folder: Path | None = None
) -> Iterator[Client | None]:
    """Yield a client for the cluster that the settings name, and close it on the way out.

    Parameters
    ----------
    cluster : Cluster or str
        The settings' table, or its one word.
    profile : {"ingest", "predict"}
        Ingest runs processes of one thread; prediction one process of many threads.
    folder : Path, optional
        What all workers must see under this path.

    Raises
    ------
    ValueError
        If the word names no cluster, workers run other software than this process, or do not see
        the folder.
    RuntimeError
        If no worker comes.
    """
    chosen = Cluster(kind=cluster) if isinstance(cluster, str) else cluster
    if chosen.kind == "none":
        yield None
        return
    with ExitStack() as stack:
        client = _open(stack, chosen, profile)
        address = client.scheduler_info(n_workers=0)["address"]
        lack = "" if find_spec("bokeh") else " (which needs bokeh)"
        logger.info("dask: %s, dashboard%s %s", address, lack, client.dashboard_link)
        _wait_for_a_worker(client, chosen)
        client.run_on_scheduler(_patience(ALLOWED_FAILURES, NO_WORKERS_SECONDS))
        if folder is not None or chosen.is_remote:
            stack.enter_context(_checked(client, folder, stays=chosen.is_address))
        yield client


def _open(stack: ExitStack, chosen: Cluster, profile: Profile) -> Client:
    """Return a client; the stack closes it, and then the cluster if it was started here."""
    if chosen.is_address:
        return stack.enter_context(Client(chosen.kind, security=_security(chosen), timeout="60s"))
    starters: dict[str, Callable[..., Any]]
    starters = {"local": _local_cluster, "gateway": _gateway_cluster, "slurm": _slurm_cluster}
    # Set while the cluster lives, since workers that come later start by it, too.
    settings = {f"distributed.nanny.pre-spawn-environ.{key}": v for key, v in ALLOCATION.items()}
    stack.enter_context(dask.config.set(settings))
    started = stack.enter_context(starters[chosen.kind](chosen, profile))
    if isinstance(started, SpecCluster):  # a gateway does so by itself
        stack.enter_context(_kept(started))
    client = stack.enter_context(started.get_client())
    if chosen.kind == "local":
        client.register_plugin(LeaveInterrupts())
    return client


def _local_cluster(chosen: Cluster, profile: Profile) -> LocalCluster:
    """Return a cluster on loopback in the shape that a profile asks for."""
    count = chosen.workers or len(os.sched_getaffinity(0))
    processes, threads = (count, 1) if profile == "ingest" else (1, count)
    cluster = LocalCluster(
        n_workers=processes,
        threads_per_worker=threads,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        memory_limit=chosen.memory_limit,
    )
    if chosen.max_workers and profile == "ingest":
        cluster.adapt(minimum=count, maximum=chosen.max_workers)
    return cluster


@contextmanager
def _gateway_cluster(chosen: Cluster, profile: Profile) -> Iterator[Any]:
    """Yield a new cluster of a dask-gateway; its password is left to Dask's configuration."""
    gateways = _needed("dask_gateway", "gateway")
    options = chosen.options | (chosen.ingest_options if profile == "ingest" else {})
    cluster = gateways.GatewayCluster(chosen.address, shutdown_on_close=True, **options)
    try:
        if chosen.max_workers:
            cluster.adapt(minimum=chosen.workers or 1, maximum=chosen.max_workers)
        else:
            cluster.scale(chosen.workers or 1)
        yield cluster
    finally:
        cluster.close()
        # Else its __del__ (2026.3) closes again and asks for a loop that has ended.
        cluster.gateway._asynchronous = True


def _slurm_cluster(chosen: Cluster, profile: Profile) -> Any:
    """Return a cluster of Slurm jobs that speak TLS; certificates lie in the user's own folder."""
    jobs = _needed("dask_jobqueue", "hpc")
    keys = Path.home() / ".gssm_cube" / "tls"
    keys.mkdir(parents=True, exist_ok=True, mode=0o700)
    cluster = jobs.SLURMCluster(
        cores=chosen.threads,
        processes=chosen.threads if profile == "ingest" else 1,
        memory=chosen.memory_limit,
        queue=chosen.queue,
        account=chosen.account,
        walltime=chosen.walltime,
        interface=chosen.interface,
        job_extra_directives=list(chosen.directives),
        job_script_prologue=[f"export {name}={value}" for name, value in ALLOCATION.items()],
        security=Security.temporary(),
        protocol="tls://",
        shared_temp_directory=str(keys),
        log_directory=str(keys.parent / "slurm_logs"),
        scheduler_options={"dashboard_address": "127.0.0.1:0"},
    )
    least = chosen.workers or 1
    if chosen.max_workers:
        together = {"worker_key": _job_of} if profile == "ingest" and chosen.threads > 1 else {}
        cluster.adapt(minimum_jobs=least, maximum_jobs=chosen.max_workers, **together)
    else:
        cluster.scale(jobs=least)
    return cluster


def _job_of(worker: Any) -> str:
    """Return the job of one of its several workers: they end together, so only when all idle."""
    return str(worker.name).rpartition("-")[0]


@contextmanager
def _kept(cluster: Any) -> Iterator[None]:
    """Start workers anew meanwhile for those that are lost for good."""
    watch = PeriodicCallback(ReplaceLost(cluster), KEEP_SECONDS * 1000)
    cluster.loop.add_callback(watch.start)
    try:
        yield
    finally:
        cluster.loop.add_callback(watch.stop)


class ReplaceLost:
    """Start a worker for each that Dask has given up; called within the cluster's loop.

    Seconds after a death (``distributed.deploy.lost-worker-timeout``) Dask looks whether another
    is there. If that is still starting, or has died as well, worker and nanny or job are
    closed, and nothing comes in their place. A job of several workers it does not even miss.
    """

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster
        self.started, self.asked = set(cluster.workers), set[Any]()
        self.at_work: dict[Any, float] = {}  # when a job of several workers last had one

    def __call__(self) -> None:
        """Look for what was there and is no more: what is starting has not been there yet."""
        workers, wanted = self.cluster.workers, self.cluster.worker_spec
        for name in self._jobs_without_workers():
            self.cluster.loop.add_callback(workers.pop(name).close)
        ended = {n for n, at in workers.items() if at.status in (Status.closed, Status.failed)}
        for name in ended:
            del workers[name]
        lost = (self.started | ended) & (wanted.keys() - workers.keys())
        if lost - self.asked:
            logger.warning("%d workers are lost for good: others are started", len(lost))
        # Asked for until it is there: Dask may forget one that fails to start before the next look.
        self.started, self.asked = {*workers, *lost}, lost
        if lost:  # not the cluster's own, which may count jobs of several workers each
            SpecCluster.scale(self.cluster, len(wanted))

    def _jobs_without_workers(self) -> list[Any]:
        """Names of jobs all of whose workers are away for long: the job's own node starts them."""
        now = time.monotonic()
        there = {worker["name"] for worker in self.cluster.scheduler_info["workers"].values()}
        groups = {
            n: spec["group"] for n, spec in self.cluster.worker_spec.items() if "group" in spec
        }
        for name, suffixes in groups.items():
            if any(f"{name}{suffix}" in there for suffix in suffixes):
                self.at_work[name] = now
        away = [name for name, last in self.at_work.items() if now - last > AWAY_SECONDS]
        for name in away:
            del self.at_work[name]
        return [name for name in away if name in self.cluster.workers]


def _security(chosen: Cluster) -> Security | None:
    """Return the certificates of a scheduler at a tls:// address, if they are given."""
    if not chosen.tls_ca:
        return None
    certificate, key = chosen.tls_cert, chosen.tls_key
    return Security(
        tls_ca_file=chosen.tls_ca,
        tls_client_cert=certificate,
        tls_client_key=key,
        require_encryption=True,
    )


def _needed(module: str, extra: str) -> Any:
    """Import what only one kind of cluster needs."""
    try:
        return __import__(module)
    except ImportError as error:
        raise ValueError(
            f"this cluster needs {module}: install the package's extra, gssm-cube[{extra}]"
        ) from error


def _wait_for_a_worker(client: Client, chosen: Cluster) -> None:
    """Wait until one worker is there, or say that none came."""
    try:
        client.wait_for_workers(1, timeout=chosen.start_seconds)
    except TimeoutError as error:
        raise RuntimeError(
            f"no worker of {chosen.kind!r} came within {chosen.start_seconds} s; look at its "
            "queue and logs, or raise start_seconds"
        ) from error


def _patience(failures: int, seconds: float) -> Callable[..., None]:
    """Return what a scheduler runs to be patient, not endlessly; nested, to travel by value."""

    def allow(dask_scheduler: Any) -> None:
        dask_scheduler.allowed_failures = max(failures, dask_scheduler.allowed_failures)
        if dask_scheduler.no_workers_timeout is None:
            dask_scheduler.no_workers_timeout = seconds

    return allow


# ---- all workers are alike --------------------------------------------------------------------


def worker_faults(expected: dict[str, str], probe: str, token: str) -> list[str]:
    """Say why this process must not work for a client: other software, or another disk."""
    faults = differences(expected, software())
    if probe and (not os.path.exists(probe) or Path(probe).read_text() != token):
        faults.append(
            f"it does not see {Path(probe).parent}: the run's folder must lie where all workers "
            "see it under the same path"
        )
    return faults


@contextmanager
def _checked(client: Client, folder: Path | None, *, stays: bool) -> Iterator[None]:
    """Refuse unlike workers, also those that come while the client works; others may come later."""
    token, probe = uuid.uuid4().hex, "" if folder is None else str(folder / PROBE)
    if probe:
        Path(probe).write_text(token)
    try:
        check_workers(client, software(), probe, token)
        register(client, SameSoftware(software(), probe, token))
        try:
            yield
        finally:
            if stays and client.status == "running":
                _let_others_in(client)
    finally:
        if probe:
            Path(probe).unlink(missing_ok=True)


def _let_others_in(client: Client) -> None:
    """Take back what sends unlike workers away."""
    with suppress(OSError):  # of a worker that leaves: the scheduler has forgotten it
        client.unregister_worker_plugin(SameSoftware.name)


def check_workers(
    client: Client, expected: dict[str, str], probe: str = "", token: str = ""
) -> None:
    """Raise unless all workers run the expected software and see the probe's text.

    Parameters
    ----------
    client : distributed.Client
    expected : dict
        As ``software`` gives it.
    probe, token : str
        A file that must be seen, and what must stand in it.

    Raises
    ------
    ValueError
        Naming each worker that differs, and in what.
    """
    found = client.run(worker_faults, expected, probe, token, on_error="return")
    there = client.scheduler_info(n_workers=-1)["workers"]
    lines = []
    for address, faults in sorted(found.items()):
        if isinstance(faults, OSError) and address not in there:
            continue  # it has left meanwhile
        if isinstance(faults, BaseException):
            faults = [f"{type(faults).__name__}: {faults}"]
        if faults:
            lines.append(f"  worker {address}: {'; '.join(faults)}")
    if lines:
        raise ValueError(
            f"{len(lines)} of {len(found)} workers would not do the same work; give them the "
            "same environment and folder as this process:\n" + "\n".join(lines)
        )
