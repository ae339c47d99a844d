"""The forest of a run: fitted on all of its samples."""

from pathlib import Path
from typing import Any

import numpy as np

from gssm_cube.forest import Preset, compile_forest
from gssm_cube.forest.compiled import CompiledForest
from gssm_cube.forest.train import fit_forest
from gssm_cube.model_card import model_facts
from gssm_cube.sampling.sample_store import read_manifest
from gssm_cube.skill.station_rows import rows_of_store


def train_on_samples(
    samples: Path, preset: Preset, scratch: Path, *, seed: int
) -> tuple[CompiledForest, dict[str, Any]]:
    """Fit a forest on all complete rows of samples on disk.

    Parameters
    ----------
    samples : Path
        Folder of `samples.write_samples`.
    preset : Preset
    scratch : Path
        Empty folder for what is on disk meanwhile, as much as the features take.
    seed : int

    Returns
    -------
    CompiledForest
        What grew it needs more memory: 4 bytes a feature and row, and 72 bytes a node.
    dict
        What its card tells of features, recipe and rows.

    Raises
    ------
    FileNotFoundError, ValueError
        If the samples are not whole, lack a column or have no complete row.
    """
    rows = rows_of_store(samples, preset.features, scratch)
    facts = model_facts(rows, preset, read_manifest(samples)["day"])
    everything = rows.training(np.ones(len(rows), dtype=bool), preset.features)
    fitted = fit_forest(*everything, preset, seed=seed)
    del everything
    return compile_forest(fitted, preset=preset.name), facts
