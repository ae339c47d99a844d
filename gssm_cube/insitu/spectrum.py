"""Artefacts in the series of a sensor that its flags may have missed.

The rules and thresholds are those of the spectrum-based checks of the International Soil Moisture
Network: Dorigo et al. (2013), Global automated quality control of in situ soil moisture data from
the International Soil Moisture Network, doi:10.2136/vzj2012.0097, equations 4 to 14 (flags D06,
D07, D09 and D10). Units within are volume percent and hours, as there.
"""

import numpy as np
from numpy.typing import NDArray

NOTHING, SPIKE, LOW, PLATEAU = range(4)

LONGEST_GAP = 48  # hours; a longer gap says no more than this one, whatever the stamps say
STEP = 0.15, 0.01 * 100  # a spike's share of the value before (eq. 4); a break's, vol. % (eq. 7)
BREAK_SHARE = 0.1  # of the value after (eq. 7)
ALIKE = 0.8, 1.2  # curvature before and after a spike (eq. 5)
NOISE = 1.0  # variance over mean of the 24 hours about a spike (eq. 6)
STEEP = 10.0  # a break's slope against the mean slope of 25 hours (eq. 8)
LONE = 10.0  # a break's curvature against the next (eq. 9)
DROP_TO_ZERO = 5.0  # vol. %: the break that ISMN added for values that become 0
FLAT, FLAT_HOURS = 0.05, 12  # variance of a plateau (eq. 10) and its shortest length
RISE, NEAR_HOURS = 0.25, 12  # vol. % an hour at its start (eq. 11), looked for so near
HIGHEST, TOP_SHARE = 60.0, 0.95  # of the highest value of the series (eq. 13)
CONSTANT, CONSTANT_HOURS = 0.001, 13  # variance over mean (eq. 14)


def find_artefacts(stamp: NDArray[np.datetime64], value: NDArray[np.float64]) -> NDArray[np.int8]:
    """Find spikes, constant low values after a drop, and saturated plateaus.

    The first value of an hour stands for the hour. What an hour is found to be holds for all its
    rows. Where two rules apply the spike comes first, then the constant low value. A plateau may
    hold no missing hour, which keeps a logger's gap from looking like one.

    Parameters
    ----------
    stamp : array of datetime64, no NaT
        In any order.
    value : array of float, m3 m-3, no NaN

    Returns
    -------
    array of int8, one per row
        ``NOTHING``, ``SPIKE``, ``LOW`` or ``PLATEAU``.

    References
    ----------
    Dorigo et al. (2013), doi:10.2136/vzj2012.0097, equations 4-14. Of the later rules of ISMN
    only the drop to zero is used.
    """
    if stamp.size == 0:
        return np.zeros(0, dtype="int8")
    hours = whole_hours(stamp)
    if np.all(hours[1:] > hours[:-1]):  # as nearly all sensors have it
        distinct, first = hours, np.arange(hours.size)
        row_hour = first
    else:
        distinct, first, row_hour = np.unique(hours, return_index=True, return_inverse=True)
    place = np.cumsum(np.minimum(np.diff(distinct, prepend=distinct[0]), LONGEST_GAP))
    series = np.full(place[-1] + 1, np.nan)
    series[place] = 100 * value[first]
    kinds = np.full(series.size, NOTHING, dtype="int8")
    slope, curvature = _derivatives(series)
    kinds[plateaus(series, slope)] = PLATEAU
    kinds[constant_lows(series, drops(series, slope, curvature))] = LOW
    kinds[spikes(series, curvature)] = SPIKE
    return kinds[place[row_hour]]


def whole_hours(stamp: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Return the hours since 1970 that stamps (no NaT) lie in; NumPy's own casts take five times.

    Parameters
    ----------
    stamp : array of datetime64, at least of minutes
    """
    return stamp.astype("datetime64[m]", copy=False).view("int64") // 60


def spikes(series: NDArray[np.float64], curvature: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the places of single hours that leave a quiet series and come back (eq. 4-6)."""
    before, now, after = series[:-2], series[1:-1], series[2:]
    peak = ((now > before) & (now > after)) | ((now < before) & (now < after))
    jump = np.abs(now - before) > STEP[0] * before
    place = np.flatnonzero(peak & jump) + 1
    place = place[(place >= 12) & (place < series.size - 12)]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs(curvature[place - 1] / curvature[place + 1])
        around = series[place[:, None] + np.r_[-12:0, 1:13]]
        noise = np.abs(around.var(axis=1, ddof=1) / around.mean(axis=1))
    return place[(ratio > ALIKE[0]) & (ratio < ALIKE[1]) & (noise < NOISE)]


def drops(
    series: NDArray[np.float64], slope: NDArray[np.float64], curvature: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the places of the first hours after a sudden drop (eq. 7-9, downward)."""
    place = np.flatnonzero(series[:-1] - series[1:] > STEP[1]) + 1
    fall = series[place - 1] - series[place]
    to_zero = (fall > DROP_TO_ZERO) & (series[place] == 0)
    inner = (place >= 12) & (place < series.size - 12)
    near = np.clip(place[:, None] + np.arange(-12, 13), 0, series.size - 1)
    mean_slope = _mean_of_known(slope[near])
    next_place = np.minimum(place + 1, series.size - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mirrored = np.round(np.abs(curvature[place - 1] / curvature[place]), 1) == 1.0
        alone = np.abs(curvature[place] / curvature[next_place]) > LONE
    steep = np.abs(slope[place]) > STEEP * np.abs(mean_slope)
    sudden = inner & (fall > BREAK_SHARE * series[place]) & steep & mirrored & alone
    return place[to_zero | sudden]


def constant_lows(series: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places that stay constant, for 13 hours at least, after a drop (eq. 14)."""
    if starts.size == 0:
        return starts
    variance, mean = _moments(series, CONSTANT_HOURS)
    constant = (variance < CONSTANT * mean) | ((variance == 0) & (mean == 0))
    lengths = _run_lengths(constant)
    starts = starts[starts < lengths.size]
    runs = [np.arange(s, s + lengths[s] + CONSTANT_HOURS - 1) for s in starts if lengths[s]]
    return np.unique(np.concatenate(runs)) if runs else starts[:0]


def plateaus(series: NDArray[np.float64], slope: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the places of flat tops between a rise and a fall, near the highest value (10-13)."""
    variance, _ = _moments(series, FLAT_HOURS)
    flat = variance <= FLAT
    least = TOP_SHARE * np.max(series[series < HIGHEST], initial=0.0)
    edges = np.flatnonzero(np.diff(np.r_[0, flat.astype("int8"), 0]))
    first, last = edges[::2], edges[1::2] - 1
    # Most runs hold no value near the highest, and so no plateau.
    high = np.flatnonzero(series > least)
    tall = np.searchsorted(high, last + FLAT_HOURS) > np.searchsorted(high, first)
    found = [
        _plateau(series, slope, start, end, least)
        for start, end in zip(first[tall].tolist(), last[tall].tolist(), strict=True)
        if _largest(slope, start - NEAR_HOURS, start + NEAR_HOURS) >= RISE
    ]
    return np.concatenate([np.zeros(0, dtype="int64"), *found])


def _plateau(
    series: NDArray[np.float64], slope: NDArray[np.float64], first: int, last: int, least: float
) -> NDArray[np.int64]:
    """Return the hours of one plateau; ``last`` is where the last flat window begins."""
    end = last + FLAT_HOURS - 1
    fall_from, fall_to = last, min(last + 2 * NEAR_HOURS, slope.size - 1)
    if not -_largest(-slope, fall_from, fall_to) < 0:
        return np.zeros(0, dtype="int64")
    fall = fall_from + int(np.nanargmin(slope[fall_from : fall_to + 1]))
    rise_from = max(first - NEAR_HOURS, 0)
    rise = rise_from + int(np.nanargmax(slope[rise_from : first + NEAR_HOURS + 1]))
    hours = np.arange(max(rise, first), min(fall, end) + 1)
    return hours if hours.size and series[hours].mean() > least else hours[:0]


def _largest(values: NDArray[np.float64], first: int, last: int) -> float:
    """Return the largest known value from first to last; minus infinity if there is none."""
    near = values[max(first, 0) : last + 1]
    return float(np.max(near[~np.isnan(near)], initial=-np.inf))


def _derivatives(series: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return slope and curvature; a Savitzky-Golay filter of 3 points and order 2 is this."""
    slope, curvature = np.full(series.size, np.nan), np.full(series.size, np.nan)
    slope[1:-1] = (series[2:] - series[:-2]) / 2
    curvature[1:-1] = series[2:] - 2 * series[1:-1] + series[:-2]
    return slope, curvature


def _moments(
    series: NDArray[np.float64], hours: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return variance and mean of every full window; NaN where an hour is missing."""
    if series.size < hours:
        return np.zeros(0), np.zeros(0)
    mean = _window_sums(series, hours) / hours
    # Squares below 10**5 lose less than 10**-10 in the difference; thresholds are above 10**-5.
    variance = (_window_sums(series**2, hours) - hours * mean**2) / (hours - 1)
    return variance, mean


def _window_sums(values: NDArray[np.float64], hours: int) -> NDArray[np.float64]:
    """Return the sum of every full window, from windows of 1, 2, 4 ... hours.

    A running sum would carry a missing hour, and its rounding, to the end of the series.
    """
    sums, count = np.zeros(values.size - hours + 1), values.size - hours + 1
    done, length = 0, 1
    while done < hours:
        if hours & length:
            sums += values[done : done + count]
            done += length
        values, length = values[:-length] + values[length:], 2 * length
    return sums


def _mean_of_known(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of each row's known values, NaN where there is none."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(axis=1) / known.sum(axis=1)


def _run_lengths(values: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return, at each place, how many true values follow without a break, itself included."""
    falses = np.r_[np.flatnonzero(~values), values.size]
    return falses[np.searchsorted(falses, np.arange(values.size))] - np.arange(values.size)
