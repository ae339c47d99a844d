"""From one word to a Dask client, in the shape that the work asks for."""

import os

import pytest
from distributed import LocalCluster

from gssm_cube.cluster_settings import Cluster
from gssm_cube.clusters import ForestPlugin, open_client


def shape_of(client):
    """Threads of each worker process."""
    return sorted(client.nthreads().values())


def opener(log):
    """A forest's opener that notes the process that calls it."""

    def open_forest(path):
        with log.open("a") as file:
            file.write(f"{os.getpid()} {path}\n")

    return open_forest


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
