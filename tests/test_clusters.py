"""From one word to a Dask client, in the shape that the work asks for."""

import os
import resource
import signal
import time
from types import SimpleNamespace

import dask
import numpy as np
import pytest
from distributed import LocalCluster, Security, Status
from distributed.comm import CommClosedError

from gssm_cube import clusters
from gssm_cube.cluster_settings import Cluster
from gssm_cube.clusters import (
    PROBE,
    ForestPlugin,
    SameSoftware,
    check_workers,
    open_client,
    register,
    worker_faults,
)
from gssm_cube.software import software

ONE_WORKER = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}


def shape_of(client):
    """Threads of each worker process."""
    return sorted(client.nthreads().values())


def allowed_failures(dask_scheduler):
    return dask_scheduler.allowed_failures


def worker_plugins(dask_scheduler):
    return list(dask_scheduler.worker_plugins)


def opener(log):
    """A forest's opener that notes the process that calls it."""

    def open_forest(path):
        with log.open("a") as file:
            file.write(f"{os.getpid()} {path}\n")

    return open_forest


def pages_taken(repeats):
    """Pages that a process asks the system for while arrays of 6 MB come and go."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(repeats):
        np.ones(1_500_000, dtype="float32")
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_none_means_this_process():
    with open_client("none", "predict") as client:
        assert client is None


@pytest.mark.parametrize("word", ["locale", "", "127.0.0.1:8786"])
def test_a_word_that_names_no_cluster_is_refused(word):
    with (
        pytest.raises(ValueError, match=f"cluster is {word!r}, expected 'local', 'none' or"),
        open_client(word, "predict"),
    ):
        pass


def test_ingest_runs_processes_of_one_thread_each_with_its_own_forest(tmp_path):
    with open_client(Cluster(workers=2, memory_limit="1GB"), "ingest") as client:
        assert shape_of(client) == [1, 1]
        pids = set(client.run(os.getpid).values())
        assert len(pids) == 2 and os.getpid() not in pids
        plugin = ForestPlugin("forest", opener(tmp_path / "log"))
        client.register_plugin(plugin)
        client.submit(sum, [1, 2]).result()
        workers = client.scheduler_info()["workers"].values()
        assert [worker["memory_limit"] for worker in workers] == [10**9, 10**9]
    lines = (tmp_path / "log").read_text().splitlines()
    assert sorted(lines) == sorted(f"{pid} forest" for pid in pids)  # once in each process
    assert client.status == "closed"


def test_prediction_runs_one_process_of_many_threads_and_its_forest_can_be_replaced(tmp_path):
    with open_client(Cluster(workers=3), "predict") as client:
        assert shape_of(client) == [3]
        for path in ("first", "second"):
            client.register_plugin(ForestPlugin(path, opener(tmp_path / "log")))
    opened = [line.split()[1] for line in (tmp_path / "log").read_text().splitlines()]
    assert opened == ["first", "second"]


def test_workers_keep_the_memory_of_a_chunk_for_the_next_one():
    with open_client(Cluster(workers=1), "predict") as client:
        client.submit(pages_taken, 1).result()
        again = client.submit(pages_taken, 50).result()
        assert client.run(os.environ.get, "OMP_NUM_THREADS") == dict.fromkeys(
            client.nthreads(), "1"
        )
    assert again < 50 * 6_000_000 / 4096 / 10, f"{again} pages for 50 arrays"
    assert "MALLOC_ARENA_MAX" not in dask.config.get("distributed.nanny.pre-spawn-environ")


def test_all_cores_work_unless_told():
    with open_client("local", "predict") as client:
        assert shape_of(client) == [len(os.sched_getaffinity(0))]


def test_an_address_is_joined_and_left_running():
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"
    ) as cluster:
        for _ in range(2):
            with open_client(cluster.scheduler_address, "ingest") as client:
                assert client.submit(sum, [1, 2]).result() == 3


# ---- who may work -----------------------------------------------------------------------------


def test_workers_of_other_software_or_without_the_folder_are_refused_by_name(tmp_path):
    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0"
    ) as cluster:
        address = next(iter(cluster.workers.values())).worker_address
        with cluster.get_client() as client:
            expected = software()
            check_workers(client, expected)
            match = f"1 of 1 workers .*\n  worker {address}: zarr .*, expected 0.1; it does not see"
            with pytest.raises(ValueError, match=match):
                check_workers(client, expected | {"zarr": "0.1"}, str(tmp_path / "gone"), "t")


def test_a_run_that_refuses_its_workers_says_why(tmp_path, monkeypatch):
    expected = software() | {"zarr": "0.1"}
    monkeypatch.setattr(clusters, "software", lambda: expected)
    with (
        pytest.raises(ValueError, match=r"zarr .*, expected 0\.1"),
        open_client(Cluster(workers=1), "predict", folder=tmp_path),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_of_the_same_name_elsewhere_is_not_the_run_s(tmp_path):
    probe = tmp_path / PROBE
    probe.write_text("of another machine")
    assert "does not see" in worker_faults(software(), str(probe), "mine")[0]
    probe.write_text("mine")
    assert worker_faults(software(), str(probe), "mine") == []


def test_a_worker_that_comes_later_and_is_other_is_sent_away():
    with (
        LocalCluster(**ONE_WORKER) as cluster,
        cluster.get_client() as client,
    ):
        client.register_plugin(SameSoftware(software() | {"zarr": "0.1"}, "", ""))
        end = time.monotonic() + 120
        while time.monotonic() < end and client.scheduler_info()["workers"]:
            time.sleep(0.1)
        assert not client.scheduler_info()["workers"]


def test_the_probe_is_removed_and_the_scheduler_is_patient(tmp_path):
    with open_client(Cluster(workers=1), "predict", folder=tmp_path) as client:
        assert [path.name for path in tmp_path.iterdir()] == [PROBE]
        assert client.run_on_scheduler(allowed_failures) == 10
    assert list(tmp_path.iterdir()) == []


def test_a_scheduler_that_was_there_before_takes_other_workers_afterwards(tmp_path):
    with LocalCluster(host="127.0.0.1", **ONE_WORKER) as cluster:
        with open_client(cluster.scheduler_address, "predict", folder=tmp_path) as client:
            assert "gssm-software" in client.run_on_scheduler(worker_plugins)
        with cluster.get_client() as client:
            assert "gssm-software" not in client.run_on_scheduler(worker_plugins)


def test_a_cluster_is_closed_after_an_error():
    with pytest.raises(KeyboardInterrupt), open_client(Cluster(workers=1), "predict") as client:
        pids = list(client.run(os.getpid).values())
        raise KeyboardInterrupt
    assert client.status == "closed"
    assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def wait_until(true, seconds=120):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.05)


def test_workers_that_dask_has_given_up_are_replaced(monkeypatch):
    monkeypatch.setattr(clusters, "KEEP_SECONDS", 0.2)
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1ms"}),
        open_client(Cluster(workers=1), "predict") as client,
    ):
        first = client.cluster.workers[0]
        os.kill(first.pid, signal.SIGKILL)
        # No worker starts as soon as that, and so Dask closes the nanny that would start it.
        wait_until(lambda: first.status == Status.closed)
        wait_until(lambda: 0 in client.cluster.workers and client.cluster.workers[0] is not first)
        assert client.submit(sum, [1, 2]).result(timeout=120) == 3


def test_a_worker_is_asked_for_until_it_is_there(monkeypatch):
    """Between two looks its successor may fail to start, and Dask forget that as well."""
    asked = []
    monkeypatch.setattr(clusters.SpecCluster, "scale", lambda cluster, n: asked.append(n))
    there = {0: SimpleNamespace(status=Status.running), 1: SimpleNamespace(status=Status.running)}
    cluster = SimpleNamespace(
        workers=dict(there), worker_spec={0: {}, 1: {}}, scheduler_info={"workers": {}}
    )
    look = clusters.ReplaceLost(cluster)
    look()
    assert asked == []
    del cluster.workers[0]
    look()
    look()
    assert asked == [2, 2]
    cluster.workers[0] = there[0]
    look()
    assert asked == [2, 2]


def test_ingest_may_grow_with_the_work():
    with open_client(Cluster(workers=1, max_workers=2), "ingest") as client:
        client.wait_for_workers(1, timeout=120)
        assert client.submit(sum, [1, 2]).result() == 3
        assert len(client.scheduler_info()["workers"]) <= 2


def test_workers_of_a_job_are_told_by_its_name():
    workers = [SimpleNamespace(name=f"SLURMCluster-{n}") for n in ("0-0", "0-1", "10-0")]
    assert [clusters._job_of(w) for w in workers] == [
        "SLURMCluster-0", "SLURMCluster-0", "SLURMCluster-10",
    ]  # fmt: skip


def test_a_worker_that_leaves_while_a_plugin_is_registered_does_not_end_the_run(tmp_path):
    with (
        LocalCluster(processes=False, **ONE_WORKER) as cluster,
        cluster.get_client() as client,
    ):
        really, failed = cluster.scheduler.broadcast, []

        async def fail_twice(**options):
            if len(failed) < 2:
                failed.append(options["msg"]["op"])
                raise CommClosedError("broken off") if len(failed) == 1 else OSError("not found")
            return await really(**options)

        cluster.scheduler.broadcast = fail_twice
        register(client, ForestPlugin("forest", opener(tmp_path / "log")))
        assert failed == ["plugin-add"] * 2
    assert (tmp_path / "log").read_text().split()[1:] == ["forest"]


def test_what_a_plugin_itself_raises_is_raised_at_once(tmp_path):
    def open_forest(path):
        with (tmp_path / "log").open("a") as file:
            file.write("tried\n")
        raise FileNotFoundError("no forest")

    with (
        LocalCluster(processes=False, **ONE_WORKER) as cluster,
        cluster.get_client() as client,
        pytest.raises(FileNotFoundError, match="no forest"),
    ):
        register(client, ForestPlugin("forest", open_forest))
    assert (tmp_path / "log").read_text() == "tried\n"


@pytest.mark.parametrize("joined", [False, True])
def test_a_worker_that_leaves_at_the_end_does_not_fail_a_run_that_is_done(tmp_path, joined):
    told = []
    with LocalCluster(host="127.0.0.1", **ONE_WORKER) as cluster:
        kind = cluster.scheduler_address if joined else "local"
        with open_client(Cluster(kind=kind, workers=1), "predict", folder=tmp_path) as client:

            def fail(name):
                told.append(name)
                raise OSError("timed out trying to connect")

            client.unregister_worker_plugin = fail
    assert told == (["gssm-software"] if joined else [])
    assert list(tmp_path.iterdir()) == []


def test_a_worker_that_has_left_is_not_held_to_be_unlike():
    class Left:
        def run(self, *work, **options):
            return {"tcp://gone": CommClosedError("gone"), "tcp://here": OSError("no disk")}

        def scheduler_info(self, n_workers):
            return {"workers": {"tcp://here": {}}}

    with pytest.raises(
        ValueError, match="1 of 2 workers .*\n  worker tcp://here: OSError: no disk"
    ):
        check_workers(Left(), software())


def test_a_scheduler_without_workers_is_given_up():
    with (
        LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as cluster,
        pytest.raises(RuntimeError, match="no worker of 'tcp://.*' came within 1 s; look"),
        open_client(Cluster(kind=cluster.scheduler_address, start_seconds=1), "predict"),
    ):
        pass


def test_tls_takes_certificates_and_plain_workers_find_no_door(tmp_path):
    keys = Security.temporary().get_tls_config_for_role("client")
    places = {}
    for name, text in (("tls_ca", "ca_file"), ("tls_cert", "cert"), ("tls_key", "key")):
        places[name] = str(tmp_path / name)
        (tmp_path / name).write_text(keys[text])
    own = Security(
        tls_ca_file=places["tls_ca"], require_encryption=True,
        **{f"tls_{role}_{part}": places[f"tls_{part}"]
           for role in ("client", "scheduler", "worker") for part in ("cert", "key")},
    )  # fmt: skip
    with LocalCluster(protocol="tls://", security=own, host="127.0.0.1", **ONE_WORKER) as cluster:
        address = cluster.scheduler_address
        assert address.startswith("tls://127.0.0.1:")
        with open_client(Cluster(kind=address, **places), "predict") as client:
            assert client.submit(sum, [1, 2]).result() == 3
