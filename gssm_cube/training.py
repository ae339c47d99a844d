"""The forest of a run: fitted on all of its samples."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gssm_cube.blocks import Progress, silent
from gssm_cube.forest import Preset, compile_forest
from gssm_cube.forest.compiled import CompiledForest
from gssm_cube.forest.train import fit_forest
from gssm_cube.model_card import model_facts
from gssm_cube.sampling.sample_store import read_manifest
from gssm_cube.skill.station_rows import rows_of_store


def train_on_samples(
    samples: Path, preset: Preset, scratch: Path, *, seed: int, progress: Progress = silent
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
    progress : callable
        Called as ``progress("train", done, total)``: a step is a member of a blend. The total is 1
        as long as rows are read.

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
    progress("train", 0, 1)
    rows = rows_of_store(samples, preset.features, scratch)
    facts = model_facts(rows, preset, read_manifest(samples)["day"])
    everything = rows.training(np.ones(len(rows), dtype=bool), preset.features)
    fitted = fit_forest(*everything, preset, seed=seed, told=partial(progress, "train"))
    del everything
    return compile_forest(fitted, preset=preset.name), facts
