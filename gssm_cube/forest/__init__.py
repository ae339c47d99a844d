"""The random forest: presets and fitting, the compiled form, prediction of rows and blocks."""

from gssm_cube.forest.blend import Blend, Member
from gssm_cube.forest.compiled import CompiledForest, forest_hash, load_forest
from gssm_cube.forest.flatten import compile_forest
from gssm_cube.forest.lanes import predict_codes
from gssm_cube.forest.presets import PRESETS, Boosting, Preset, Weights, find_preset
from gssm_cube.forest.train import check_trainable, train_forest

__all__ = [
    "PRESETS",
    "Blend",
    "Boosting",
    "CompiledForest",
    "Member",
    "Preset",
    "Weights",
    "check_trainable",
    "compile_forest",
    "find_preset",
    "forest_hash",
    "load_forest",
    "predict_codes",
    "train_forest",
]
