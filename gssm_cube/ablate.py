"""The ablation: what each choice in the model is worth at stations that it has not seen.

One row a variant, judged by folds of whole places over several deals of them, with paired
differences to one of the variants. Fits are spread over the Dask cluster that is active, or over
threads of this process. What is judged is kept, so that a run that was stopped goes on.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd

from gssm_cube import __version__
from gssm_cube.blocks import Progress, digest, silent
from gssm_cube.forest.presets import Preset, Weights
from gssm_cube.skill.trials import Recipe, Samples, predicted
from gssm_cube.splits import BLOCK_KM, blocks_of, place_folds
from gssm_cube.statistics.bootstrap import mean_difference, mean_scores
from gssm_cube.statistics.scores import station_table
from gssm_cube.storage.files import replaced
from gssm_cube.variables import names_of

logger = logging.getLogger(__name__)

FOLDS, SEEDS = 5, 3
POSITION = ("lat", "lon")
SOIL = ("clay", "sand", "silt", "porosity", "omc")
# What remembers water beyond the one index of rain less evaporation that Han et al. (2023) have.
MEMORY = (
    "surplus_50d", "wetness_slow", "wetness_fast", "bucket_20", "bucket_50", "bucket_150",
    "rain_3d", "rain_30d", "swe", "tair_7d", "tair_30d", "climate_bucket",
)  # fmt: skip
CLIMATE = (*names_of("climate"), *names_of("climatology"))
REFERENCE = "seed-like forest"


@dataclass(frozen=True)
class Variant:
    """A recipe with one thing changed.

    Parameters
    ----------
    name : str
    preset : Preset
        Its features are those of the variant; ``lat`` and ``lon`` are of the station.
    """

    name: str
    preset: Preset


def variants(base: Preset) -> list[Variant]:
    """Return what the project's ablation compares.

    Parameters
    ----------
    base : Preset
        A blend, such as ``memory`` or ``default``.

    Returns
    -------
    list of Variant
        The reference first, the blend as it is last.
    """
    forest = base.model_copy(update={"weights": Weights()})
    return [
        *_seed_like(forest),
        *_forests(forest),
        *_feature_sets(forest),
        *_blends(base),
    ]


def _changed(preset: Preset, name: str, **changes: Any) -> Variant:
    """Return a preset with some fields changed, under a name."""
    return Variant(name, Preset.model_validate(preset.model_dump() | changes | {"name": name}))


def _without(preset: Preset, gone: Sequence[str]) -> tuple[str, ...]:
    """Return the features but some."""
    return tuple(name for name in preset.features if name not in gone)


def _seed_like(forest: Preset) -> Iterator[Variant]:
    """Yield random forests of the kind that the project set out from: one index, the position."""
    features = (*_without(forest, (*MEMORY, *CLIMATE)), *POSITION)
    kind = {"kind": "random", "bootstrap": True, "increasing": (), "features": features}
    yield _changed(forest, REFERENCE, **kind)
    own = {"trees": 20, "max_features": "sqrt", "max_samples": 0.5, "min_samples_leaf": 1}
    yield _changed(forest, "as gssm1km: 20 trees, half of the rows", **kind, **own)


def _forests(forest: Preset) -> Iterator[Variant]:
    """Yield forests of all features that are grown in another way."""
    random = {"kind": "random", "bootstrap": True}
    for leaf in (1, 5):
        yield _changed(forest, f"random forest, leaf {leaf}", **random, min_samples_leaf=leaf)
    for leaf in (1, 5, 20):
        yield _changed(forest, f"extremely randomised, leaf {leaf}", min_samples_leaf=leaf)
    yield _changed(forest, "20 trees", trees=20)
    for share in ("sqrt", 0.6):
        yield _changed(forest, f"features tried: {share}", max_features=share)
    yield _changed(forest, "not held to rise", increasing=())


def _feature_sets(forest: Preset) -> Iterator[Variant]:
    """Yield forests of other features."""
    yield _changed(forest, "without memory", features=_without(forest, MEMORY))
    yield _changed(forest, "without soil", features=_without(forest, SOIL))
    yield _changed(forest, "without climate", features=_without(forest, CLIMATE))
    yield _changed(forest, "with latitude and longitude", features=(*forest.features, *POSITION))


def _blends(base: Preset) -> Iterator[Variant]:
    """Yield the members of the blend alone, in pairs, and together."""
    mixed: dict[str, dict[str, float]] = {
        "booster": {"booster": 1},
        "place and departure": {"place": 1},
        "forest and booster": {"forest": 0.5, "booster": 0.5},
        "forest, place and departure": {"forest": 0.5, "place": 0.5},
    }
    for name, weights in mixed.items():
        yield _changed(base, name, weights={"forest": 0.0} | weights)
    yield _changed(base, "booster that sees the climate", weights={"forest": 0, "booster": 1},
                   unseen_by_booster=())  # fmt: skip
    yield _changed(base, "blend that sees the climate throughout", unseen_by_booster=())
    yield _changed(base, "blend with departures like its booster", departures=base.boosting)
    yield _changed(base, "blend")


def ablate(
    known: Samples,
    wanted: Sequence[Variant],
    *,
    folder: Path | None = None,
    seeds: Sequence[int] = range(SEEDS),
    reference: str = REFERENCE,
    progress: Progress = silent,
) -> list[dict[str, Any]]:
    """Judge variants at new places.

    Parameters
    ----------
    known : Samples
        With the features of all variants but the position.
    wanted : sequence of Variant
    folder : Path, optional
        Where the table of stations of each variant is kept, and found again.
    seeds : sequence of int
        Each deals the folds and grows the forests anew.
    reference : str
        Name of the variant that the others are compared with.
    progress : callable

    Returns
    -------
    list of dict
        By variant ``name``, ``scores`` (means over the seeds, named as in
        `bootstrap.confidence`) and ``difference`` (of `bootstrap.mean_difference`, empty for the
        reference).

    Raises
    ------
    ValueError
        If the reference is no variant, or all stations lie in one block.
    """
    names = [variant.name for variant in wanted]
    if reference not in names:
        raise ValueError(f"the reference {reference!r} is no variant, expected one of {names}")
    hashes = [int(pd.util.hash_pandas_object(frame).sum()) for frame in (known.table, known.places)]
    data = digest(hashes, list(map(str, known.table)), __version__)
    tables = {}
    for number, variant in enumerate(wanted):
        progress("variants", number, len(wanted))
        key = digest(data, variant.preset.model_dump(mode="json", exclude={"name"}), list(seeds))
        path = None if folder is None else folder / f"{key[:16]}.parquet"
        tables[variant.name] = _kept(path, partial(judge, known, variant.preset, seeds))
    progress("variants", len(wanted), len(wanted))
    return [_row(name, tables[name], tables[reference], name == reference) for name in names]


def judge(known: Samples, preset: Preset, seeds: Sequence[int]) -> pd.DataFrame:
    """Return the `scores.station_table` of each seed under one another, with a column ``seed``."""
    known = _with_position(known, preset)
    groups = blocks_of(known.places)
    shared = dask.delayed(known, pure=True)
    tasks = []
    for seed in seeds:
        folds = place_folds(groups, k=FOLDS, seed=seed)
        if folds is None:
            raise ValueError(f"all stations lie in one block of {BLOCK_KM:g} km, expected several")
        recipe = Recipe(preset, list(preset.features), seed, n_jobs=1)
        for fold in np.unique(folds):
            held = folds == fold
            tasks.append(dask.delayed(_held_out)(shared, recipe, held, seed))
    found = pd.concat(dask.compute(*tasks))
    tables = [station_table(rows).assign(seed=seed) for seed, rows in found.groupby("seed")]
    return pd.concat(tables)


def _held_out(known: Samples, recipe: Recipe, held: np.ndarray, seed: int) -> pd.DataFrame:
    """Return the estimates of one fold by a model of the others."""
    target = known.places.loc[~held, "observed"].to_numpy("float64")
    forest = recipe.fit(known.table.loc[~held, recipe.features], target)
    return predicted(forest, known, held).assign(seed=seed)


def _with_position(known: Samples, preset: Preset) -> Samples:
    """Return samples whose table has the place of the station, where the preset asks for it."""
    lacking = [name for name in POSITION if name in preset.features and name not in known.table]
    columns: Mapping[str, Any] = {name: known.places[name].astype("float32") for name in lacking}
    return replace(known, table=known.table.assign(**columns)) if lacking else known


def _kept(path: Path | None, work: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Return a table from its file, or make it and keep it."""
    if path is not None and path.exists():
        return pd.read_parquet(path)
    table = work()
    if path is not None:
        with replaced(path) as partial:
            table.to_parquet(partial)
    return table


def _row(name: str, own: pd.DataFrame, other: pd.DataFrame, is_reference: bool) -> dict[str, Any]:
    """Return the scores of a variant and its difference to the reference."""
    tables, others = (
        [rows.drop(columns="seed") for _, rows in table.groupby("seed")] for table in (own, other)
    )
    difference = {} if is_reference else mean_difference(tables, others)
    return {"name": name, "scores": mean_scores(tables), "difference": difference}
