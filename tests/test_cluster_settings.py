"""What a table of the cluster may say; what would be open to anyone is refused."""

import tomllib

import pytest

from gssm_cube.cluster_settings import Cluster

TLS = {"tls_ca": "ca.pem", "tls_cert": "c.pem", "tls_key": "k.pem"}


@pytest.mark.parametrize("kind", ["tcp://10.0.0.7:8786", "tcp://node7:8786", "ws://10.0.0.7:80"])
def test_a_plain_scheduler_off_this_machine_is_refused_unless_one_insists(kind):
    with pytest.raises(ValueError, match="without TLS off this machine: .* insecure = true"):
        Cluster(kind=kind)
    assert Cluster(kind=kind, insecure=True).kind == kind


@pytest.mark.parametrize(
    ("kind", "remote"),
    [
        ("tcp://127.0.0.1:8786", False), ("tcp://[::1]:8786", False), ("tcp://localhost:1", False),
        ("tls://10.0.0.7:8786", True), ("local", False), ("none", False), ("gateway", True),
    ],
)  # fmt: skip
def test_what_is_on_this_machine_and_what_is_not(kind, remote):
    assert Cluster(kind=kind).is_remote is remote


def test_one_word_stands_for_the_table():
    assert Cluster.model_validate("gateway") == Cluster(kind="gateway")


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"kind": "slurm"}, "Slurm must be told memory_limit"),
        ({"workers": 5, "max_workers": 4}, "max_workers is 4, expected at least workers, 5"),
        ({"kind": "tls://h:1", "tls_ca": "ca.pem"}, "all of tls_ca, tls_cert and tls_key"),
        ({"kind": "kubernetes"}, "cluster is 'kubernetes', expected 'local', 'none' or, for"),
        ({"walltimes": "1"}, "walltimes"),
    ],
)
def test_what_cannot_work_is_refused(values, match):
    with pytest.raises(ValueError, match=match):
        Cluster(**values)


@pytest.mark.parametrize("name", ["gateway/gateway.toml", "slurm/slurm.toml", "local.toml"])
def test_the_ready_files_are_valid(name):
    from pathlib import Path

    path = Path(__file__).parent.parent / "cluster" / name
    table = tomllib.loads(path.read_text())["cluster"]
    assert Cluster(**table).kind in name


@pytest.mark.parametrize("limit", ["16 gigs", "much"])
def test_a_limit_of_memory_that_nobody_can_read_is_refused(limit):
    with pytest.raises(ValueError, match=f"memory_limit is '{limit}', expected 'auto' or bytes"):
        Cluster(memory_limit=limit)
    assert Cluster(memory_limit="16 GiB").memory_limit == "16 GiB"
