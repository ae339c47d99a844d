"""A model that stays as it is while its product gets more days."""

from collections.abc import Callable
from functools import wraps

from gssm_cube.blocks import Progress, silent
from gssm_cube.forest import load_forest
from gssm_cube.settings import Settings
from gssm_cube.storage.stores import exists, open_group, read_layout


def unless_kept(stage: Callable[..., str]) -> Callable[..., str]:
    """Let a stage that makes the model do nothing while the model is kept."""

    @wraps(stage)
    def checked(settings: Settings, *, progress: Progress = silent) -> str:
        last = kept_since(settings)
        if last is None:
            return stage(settings, progress=progress)
        return (
            f"{stage.__name__}: skipped, kept as of {last}, so that the past of the product stays "
            "as it is; set `version` for a new model, whose product lies beside it"
        )

    return checked


def kept_since(settings: Settings) -> str | None:
    """Return the last day that the model knows, if its product gets, or got, more days.

    What a product holds must not change as days are added: its forest, with the samples, the
    scores and the constants of the interval, stays that of the first days.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    str or None
        ISO date; None where there is no product by this forest, or the run has no later days.
    """
    if not (exists(settings.product) and (settings.forest / "forest.json").exists()):
        return None
    forest = load_forest(settings.forest)
    if open_group(settings.product).attrs.get("forest_digest") != forest.digest:
        return None
    last = str(forest.card.get("last_day") or read_layout(settings.product).last_day)
    return last if last < settings.last_day.isoformat() else None
