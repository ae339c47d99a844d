"""How large a step is, between what it surely lies, and what step could have been seen at all.

A gate that cannot see the step that it forbids has not been passed: there are three outcomes.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Outcome = Literal["pass", "fail", "cannot tell"]

LIMIT = 0.002  # m3 m-3: a mean step that no user would see among a product's errors
DRAWS = 1000
ENDS = (0.025, 0.975)
POWER = 0.8  # of tests that shall see the step that is called detectable
SIZES = 400  # that are tried between none and the largest


class Judged(NamedTuple):
    """Size of a step, its 95 % interval, the usual size, the detectable one, all m3 m-3."""

    step: float
    usual: float
    low: float
    high: float
    detectable: float

    @property
    def outcome(self) -> Outcome:
        """Whether the step is below the limit."""
        return outcome_of(self.low, self.high)


def outcome_of(low: float, high: float) -> Outcome:
    """Tell whether a step whose interval is known is below the limit, on either side of 0.

    Parameters
    ----------
    low, high : float, m3 m-3
        Ends of its 95 % interval; NaN if there is none.
    """
    if -LIMIT < low and high < LIMIT:
        return "pass"
    return "fail" if low >= LIMIT or high <= -LIMIT else "cannot tell"


def judge_steps(borders: Sequence[tuple[float, Values]], rng: np.random.Generator) -> Judged:
    """Return how large the steps at borders are, beyond those of their neighbours.

    What is seen at a border is its step, of either sign, and what its neighbours have. Of a size
    of step, the mean square at the borders is drawn with neighbours in the place of what is not
    known; the interval holds the sizes of which what was seen is not an outer 2.5 %, and at least
    those that a look without a step usually leaves open (a power-constrained limit). The mean of
    absolute values would not do: below the usual size it hardly grows with the step.

    Parameters
    ----------
    borders : sequence of float and ndarray (neighbour), m3 m-3
        Of each border its step and those of its neighbours.
    rng : Generator

    Returns
    -------
    Judged
        ``step`` and ``usual`` are roots of mean squares; ``detectable`` is the step of which 80 %
        of such looks would give an interval without 0.
    """
    seen = float(np.mean([step**2 for step, _ in borders]))
    drawn = np.stack([rng.choice(near - near.mean(), DRAWS) for _, near in borders])
    signs = rng.choice([-1.0, 1.0], drawn.shape)
    cross, noise = (signs * drawn).mean(axis=0), (drawn**2).mean(axis=0)
    usual = float(noise.mean())
    most = float(np.quantile(noise, ENDS[1]))
    top = 2 * np.sqrt(seen) + 8 * np.sqrt(max(float(noise.max()), 0.0))
    sizes = np.linspace(0, top, SIZES)
    squares = sizes[:, None] ** 2 + 2 * sizes[:, None] * cross + noise
    least, weak, strong = np.quantile(squares, [ENDS[0], 1 - POWER, ENDS[1]], axis=1)
    low = 0.0 if seen <= most else float(sizes[np.argmax(strong >= seen)])
    # Borders that happen to be quieter than their neighbours show no more than usual ones do.
    told = max(seen, float(np.median(noise)))
    high = float(sizes[np.flatnonzero(least <= told)[-1]])
    detectable = float(sizes[np.argmax(weak >= most)])
    step = float(np.sqrt(max(seen - usual, 0.0)))
    return Judged(step, float(np.sqrt(usual)), min(low, step), max(high, step), detectable)
