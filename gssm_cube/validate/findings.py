"""What a comparison found, as it goes from the scores to the files."""

from dataclasses import dataclass, field

import pandas as pd

from gssm_cube.validate.matching import Matched
from gssm_cube.validate.metrics import Tables


@dataclass
class Findings:
    """What a comparison found: a tidy table of each kind, and what figures need.

    ``tables`` by the names of `run.FILES`; ``matched`` and ``by_station`` (scores of each product
    at each station) on the products' own grids; by grid: ``sentences``, ``winners`` (who is
    significantly better than every other, if any) and ``counts``, station-days common to all and of
    each product alone.
    """

    tables: dict[str, pd.DataFrame]
    matched: Matched
    by_station: Tables
    sentences: dict[str, list[str]]
    winners: dict[str, str | None]
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
