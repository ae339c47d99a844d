"""How fast this machine is beside the one whose rates the plan knows: two seconds of work."""

import time

import numpy as np
import pandas as pd

from gssm_cube.forest import Preset, compile_forest, predict_codes, train_forest
from gssm_cube.grid import CHUNK_PIXELS
from gssm_cube.variables import PREDICTORS

# CPU seconds of the work below on the machine of the plan's rates (benchmarks/README.md).
REFERENCE_SECONDS = 0.0107
DYNAMIC, STATIC = ("apei", "tair", "lst"), ("clay", "elevation")
DAYS, TURNS = 61, 5


def machine_speed() -> float:
    """Return how many times as fast a core of this machine is: 2 is twice as fast.

    The block kernel predicts an inner chunk of 61 days with a forest of 20 trees. The best of
    some turns counts, in CPU time: what else runs here slows the whole, not the estimate.
    """
    rng = np.random.default_rng(0)
    names = (*DYNAMIC, *STATIC)
    table = pd.DataFrame({name: _decoded(name, rng.integers(0, 900, 6000)) for name in names})
    table["observed"] = 0.2 + 0.1 * rng.random(len(table)) + 1e-4 * table["apei"]
    preset = Preset(name="calibration", features=names, trees=20, min_samples_leaf=5)
    forest = compile_forest(train_forest(table, preset, seed=0, n_jobs=1))
    dynamic, static = _codes(rng)
    predict_codes(forest, dynamic, static)  # the first call compiles
    return REFERENCE_SECONDS / min(_seconds(forest, dynamic, static) for _ in range(TURNS))


def _decoded(name: str, codes: np.ndarray) -> np.ndarray:
    """Return values of a feature, of a spread that its packing takes."""
    return PREDICTORS[name].packing.decode(codes.astype("int16"))


def _codes(rng: np.random.Generator) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return features that are as alike between neighbours as weather and soil are."""
    cells = CHUNK_PIXELS // 12  # of 0.1 deg
    dynamic = {
        name: np.kron(rng.integers(0, 900, (DAYS, cells, cells)), np.ones((1, 12, 12))).astype("i2")
        for name in DYNAMIC
    }
    shape = (CHUNK_PIXELS, CHUNK_PIXELS)
    return dynamic, {name: rng.integers(0, 900, shape).astype("int16") for name in STATIC}


def _seconds(forest: object, dynamic: dict, static: dict) -> float:
    """CPU seconds of one turn."""
    begin = time.thread_time()
    predict_codes(forest, dynamic, static)  # type: ignore[arg-type]
    return time.thread_time() - begin
