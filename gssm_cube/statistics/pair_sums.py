"""Sums over pairs without rounding: a score is the same however its rows are cut and ordered.

Float64 numbers are whole multiples of powers of two, and so are their products when the part that
rounding cuts off is kept (Dekker 1971, doi:10.1007/BF01397083). So sums are taken as whole numbers,
and only the score that is made of them is rounded.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

MANTISSA, HALF = 53, 26  # bits of a float64, and of the half that is summed by itself
SPLITTER = 2.0**27 + 1  # cuts a float64 into two of 26 bits each


@dataclass(frozen=True)
class PairSums:
    """Exact sums over pairs of observed and predicted values; those of parts are added by ``+``.

    Parameters
    ----------
    n : int
        Pairs in which both are there.
    x, y, xx, yy, xy : Fraction
        Sums of observed (x) and predicted (y), of their squares and products.
    finite : bool
        Whether no value was infinite; else there are no scores.
    """

    n: int = 0
    x: Fraction = Fraction(0)
    y: Fraction = Fraction(0)
    xx: Fraction = Fraction(0)
    yy: Fraction = Fraction(0)
    xy: Fraction = Fraction(0)
    finite: bool = True

    @classmethod
    def of(cls, observed: ArrayLike, predicted: ArrayLike) -> "PairSums":
        """Sum the pairs of two arrays of one length; a NaN on either side leaves a pair out."""
        x, y = (np.asarray(side, dtype="float64") for side in (observed, predicted))
        if x.shape != y.shape:
            raise ValueError(
                f"observed has shape {x.shape}, predicted {y.shape}; they must be equal"
            )
        both = ~(np.isnan(x) | np.isnan(y))
        x, y = x[both], y[both]
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            return cls(n=x.size, finite=False)
        xx, yy, xy = (exact_sum(exact_products(*pair)) for pair in ((x, x), (y, y), (x, y)))
        return cls(x.size, exact_sum(x), exact_sum(y), xx, yy, xy)

    def __add__(self, other: "PairSums") -> "PairSums":
        """Return the sums of both."""
        return PairSums(
            self.n + other.n, self.x + other.x, self.y + other.y, self.xx + other.xx,
            self.yy + other.yy, self.xy + other.xy, self.finite and other.finite,
        )  # fmt: skip

    @property
    def rmse(self) -> float:
        """Root mean square of predicted minus observed."""
        return self._root(self._mean_square())

    @property
    def bias(self) -> float:
        """Mean of predicted minus observed."""
        return float((self.y - self.x) / self.n) if self._told() else math.nan

    @property
    def ubrmse(self) -> float:
        """RMSE with the bias removed."""
        if not self._told():
            return math.nan
        return self._root(self._mean_square() - ((self.y - self.x) / self.n) ** 2)

    @property
    def deviations(self) -> tuple[float, float]:
        """Standard deviations of observed and predicted, of the whole population."""
        return self._root(self._variance(self.x, self.xx)), self._root(
            self._variance(self.y, self.yy)
        )

    @property
    def r(self) -> float:
        """Pearson's correlation; NaN if either side is constant or there is one pair."""
        spread = self.deviations
        if self.n < 2 or not all(spread):
            return math.nan
        together = float(self.xy / self.n - self.x * self.y / self.n**2)
        return min(max(together / (spread[0] * spread[1]), -1.0), 1.0)

    @property
    def kge(self) -> float:
        """Kling-Gupta efficiency, as `scores.kge` tells it."""
        if math.isnan(self.r) or self.x == 0:
            return math.nan
        spread = self.deviations
        return 1 - math.hypot(self.r - 1, spread[1] / spread[0] - 1, float(self.y / self.x) - 1)

    def _told(self) -> bool:
        """Whether there are pairs, all of them finite."""
        return self.n > 0 and self.finite

    def _mean_square(self) -> Fraction:
        """Mean of the squared errors."""
        return (self.yy - 2 * self.xy + self.xx) / max(self.n, 1)

    def _variance(self, total: Fraction, square: Fraction) -> Fraction:
        """Variance of one side."""
        return square / max(self.n, 1) - (total / max(self.n, 1)) ** 2

    def _root(self, square: Fraction) -> float:
        """Square root; NaN where there is nothing to tell."""
        return math.sqrt(square) if self._told() else math.nan


def exact_sum(values: NDArray[np.float64]) -> Fraction:
    """Return the sum of finite values (row) without rounding."""
    if not values.size:
        return Fraction(0)
    mantissa, exponent = np.frexp(values)
    whole = np.ldexp(mantissa, MANTISSA).astype("int64")
    least = int(exponent.min())
    # Halves of few bits: their sums are whole numbers below 2**53, which float64 adds exactly.
    high = np.bincount(exponent - least, whole >> HALF)
    low = np.bincount(exponent - least, whole & (2**HALF - 1))
    total = sum(
        (int(upper) << HALF) + int(lower) << shift
        for shift, (upper, lower) in enumerate(zip(high, low, strict=True))
        if upper or lower
    )
    return total * Fraction(2) ** (least - MANTISSA)


def exact_products(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the products of two arrays (row), and after them what rounding cut off from each."""
    product = x * y
    (x_high, x_low), (y_high, y_low) = _halves(x), _halves(y)
    rest = ((x_high * y_high - product) + x_high * y_low + x_low * y_high) + x_low * y_low
    return np.concatenate([product, rest])


def _halves(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Cut each value into two whose products are exact."""
    scaled = SPLITTER * x
    high = scaled - (scaled - x)
    return high, x - high
