"""What a compiled forest takes: memory beside scikit-learn, and opening one of 2 GB of nodes.

``python benchmarks/load.py [--gigabytes 2]``. The large forest is written as arrays, not fitted.
Two worker processes open it and read every node and leaf; the proportional set size (PSS) counts a
page that both hold as half in each, so one copy for the machine is one size in their sum.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client, LocalCluster
from world import FEATURES, station_samples, stored_block

from gssm_cube.forest import compile_forest, lanes, load_forest, predict_codes, train_forest
from gssm_cube.forest.compiled import ARRAYS, NODES
from gssm_cube.forest.folder import FORMAT, VERSION
from gssm_cube.forest.packed import feature_packings, packed_forest

TREES = 20
CHUNK = 10_000_000  # nodes written at once


def memory_of_a_forest() -> None:
    """Print bytes a node of both forms, and what one thread keeps as scratch."""
    samples = station_samples(stations=120, days=120)
    fitted = train_forest(samples, preset="gssm1km")
    trees = [estimator.tree_ for estimator in fitted.estimators_]
    nodes = sum(tree.node_count for tree in trees)
    theirs = sum(tree.__getstate__()["nodes"].nbytes + tree.value.nbytes for tree in trees)
    forest = compile_forest(fitted)
    flat = sum(getattr(forest, name).nbytes for name in ARRAYS)
    packed = packed_forest(forest, feature_packings(forest.features))
    walked = packed.nodes.nbytes + packed.leaves.nbytes
    block = stored_block(days=61, pixels=48)
    predict_codes(forest, block.dynamic(), block.static)
    scratch = sum(array.nbytes for array in lanes._arena.held.values())
    print(f"{nodes} nodes, depth {packed.depth}; bytes a node:")
    print(f"  scikit-learn {theirs / nodes:.1f}")
    print(f"  compiled, as saved for rows {flat / nodes:.1f}: 1/{theirs / flat:.1f}")
    print(f"  what the block kernel maps {walked / nodes:.1f}: 1/{theirs / walked:.1f}")
    print(f"  scratch of a thread {scratch / 1e6:.1f} MB")


def write_large(folder: Path, nodes: int) -> None:
    """Write the arrays of a forest of that many nodes; half of them are leaves."""
    sizes = {"feature": nodes, "threshold": nodes, "right": nodes, "nodes": nodes,
             "leaf": nodes // 2, "node_offsets": TREES + 1, "leaf_offsets": TREES + 1}  # fmt: skip
    types = ARRAYS | {"nodes": NODES}
    rng = np.random.default_rng(0)
    for name, size in sizes.items():
        array = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", types[name], (size,))
        for start in range(0, size, CHUNK):
            part = array[start : start + CHUNK]
            part[:] = rng.integers(0, 100, part.size).astype(types[name])
        array.flush()
    packings = [[packing.scale, packing.offset] for packing in feature_packings(FEATURES)]
    record = {
        "format": FORMAT, "version": VERSION, "preset": "", "features": list(FEATURES),
        "digest": "", "card": {}, "packed": {"packings": packings, "depth": 60},
        "arrays": {name: {"size": size, "sha256": ""} for name, size in sizes.items()},
    }  # fmt: skip
    (folder / "forest.json").write_text(json.dumps(record))


def open_and_read(folder: str, dask_worker: Any) -> dict[str, float]:
    """Open the forest in a worker and read all that the block kernel reads."""
    before = pss()
    start = time.perf_counter()
    forest = load_forest(folder)
    packed = packed_forest(forest, feature_packings(forest.features))
    seconds = time.perf_counter() - start
    total = float(packed.nodes.sum()) + float(packed.leaves.sum())
    dask_worker.kept = forest, packed  # mapped until the worker goes
    return {"seconds": seconds, "before": before, "total": total}


def pss() -> float:
    """Proportional set size of this process, bytes (Linux)."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return float(line.split()[1]) * 1024
    raise RuntimeError("this system tells no proportional set size")


def large_forest(gigabytes: float) -> None:
    """Print how long opening takes and what two workers hold together."""
    nodes = int(gigabytes * 1e9 / 8)
    cluster = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with tempfile.TemporaryDirectory() as name:
        write_large(Path(name), nodes)
        with LocalCluster(**cluster, memory_limit=None) as local, Client(local) as client:
            opened = client.run(open_and_read, name)
            after = client.run(pss)
    grown = sum(after.values()) - sum(facts["before"] for facts in opened.values())
    size = nodes * 8 + nodes // 2 * 8
    print(f"{nodes * 8 / 1e9:.1f} GB of nodes, {size / 1e9:.1f} GB with their leaves")
    print(f"  opened in {max(facts['seconds'] for facts in opened.values()):.3f} s")
    print(f"  PSS of two workers grew by {grown / 1e9:.2f} GB: {grown / size:.2f} copies")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0, help="of nodes")
    gigabytes = parser.parse_args().gigabytes
    memory_of_a_forest()
    large_forest(gigabytes)
