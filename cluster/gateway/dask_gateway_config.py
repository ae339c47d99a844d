"""A dask-gateway on this machine alone: to try ``kind = "gateway"``, and for the tests.

pip install dask-gateway 'dask-gateway-server[local]'
GSSM_GATEWAY_PASSWORD=... dask-gateway-server -f cluster/gateway/dask_gateway_config.py

For Kubernetes see helm_values.yaml. By itself the server would listen on all interfaces and let
any password in: here both addresses are on loopback, and without a password it does not start.
"""

import os

from dask_gateway_server.options import Float, Integer, Options

c = get_config()  # noqa: F821  (given by traitlets)

c.DaskGateway.backend_class = "dask_gateway_server.backends.local.UnsafeLocalBackend"
c.DaskGateway.authenticator_class = "dask_gateway_server.auth.SimpleAuthenticator"
c.SimpleAuthenticator.password = os.environ["GSSM_GATEWAY_PASSWORD"]
c.DaskGateway.address = f"127.0.0.1:{os.environ.get('GSSM_GATEWAY_API_PORT', '8001')}"
c.Proxy.address = f"127.0.0.1:{os.environ.get('GSSM_GATEWAY_PORT', '8000')}"  # the users' door

if "GSSM_GATEWAY_FOLDER" in os.environ:  # logs and certificates of the clusters
    c.UnsafeLocalBackend.clusters_directory = os.environ["GSSM_GATEWAY_FOLDER"]
c.UnsafeLocalBackend.inherited_environment = ["PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "HOME"]
c.UnsafeLocalBackend.sigint_timeout = 2
c.UnsafeLocalBackend.check_timeouts_period = 1.0

# The server still asks for dask-scheduler and dask-worker, which distributed has no more.
c.ClusterConfig.scheduler_cmd = ["dask", "scheduler"]
c.ClusterConfig.worker_cmd = ["dask", "worker"]
c.ClusterConfig.idle_timeout = 3600  # s; a client that was killed leaves its cluster behind
# Freed memory is kept for the next chunk: else half of a block's time goes to mapping it anew.
c.ClusterConfig.environment = {
    "MALLOC_TRIM_THRESHOLD_": "268435456",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_ARENA_MAX": "1",
}
# A scheduler starts on a busy machine in minutes, not seconds.
c.ClusterConfig.cluster_max_workers = 16
c.UnsafeLocalBackend.cluster_start_timeout = 300
c.UnsafeLocalBackend.worker_start_timeout = 300


def handle(options):
    """Turn what a user asks for into what the server gives."""
    memory = int(options.worker_memory * 2**30)
    return {"worker_cores": options.worker_cores, "worker_memory": memory}


c.Backend.cluster_options = Options(
    Integer("worker_cores", default=1, min=1, max=64, label="Threads of a worker"),
    Float("worker_memory", default=2, min=0.5, max=512, label="Memory of a worker, GiB"),
    handler=handle,
)
