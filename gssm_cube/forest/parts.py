"""The parts of a compiled forest: runs of its trees, averaged or summed, and weighed.

A random forest is one part, the mean of its trees. Boosted trees are a sum. A blend has several
parts, and its estimate is the weighted sum of theirs.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """A run of trees that stand together.

    Parameters
    ----------
    name : str
        What it is, for the record.
    trees : int
        How many there are; they follow those of the part before.
    weight : float
        Of its value in the estimate.
    averaged : bool
        Whether its value is the mean of its trees, else it is their sum.
    """

    name: str
    trees: int
    weight: float = 1.0
    averaged: bool = True

    def weighed(self, total: Floats) -> Floats:
        """Return what the part adds to the estimate, from the sum of its trees."""
        # The mean of a single part keeps scikit-learn's bits: one division, and a product by one.
        return self.weight * (total / self.trees if self.averaged else total)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for a record."""
        return asdict(self)


def tree_ranges(parts: Sequence[Part]) -> list[slice]:
    """Return where the trees of each part stand among all."""
    ends = np.cumsum([0, *(part.trees for part in parts)]).tolist()
    return [slice(first, last) for first, last in zip(ends[:-1], ends[1:], strict=True)]


def part_of_spread(parts: Sequence[Part]) -> int | None:
    """Return the number of the part whose trees tell the spread: the first that is averaged.

    Boosted trees are terms of one sum, so that their scatter says nothing of how sure they are.
    """
    return next((number for number, part in enumerate(parts) if part.averaged), None)


def read_parts(said: Any, trees: int) -> tuple[Part, ...]:
    """Return the parts of a saved forest from its record.

    Raises
    ------
    ValueError
        If they are not parts, or do not have that many trees together.
    """
    try:
        parts = tuple(Part(**part) for part in said)
        sound = all(
            isinstance(part.name, str)
            and isinstance(part.averaged, bool)
            and part.trees > 0
            and np.isfinite(part.weight)
            for part in parts
        )
    except TypeError as error:
        raise ValueError(f"the forest's parts are {said}: {error}; save it again") from error
    if not sound or sum(part.trees for part in parts) != trees:
        raise ValueError(f"the forest has {trees} trees, its parts are {said}; save it again")
    return parts
