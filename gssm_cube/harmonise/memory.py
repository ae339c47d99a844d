"""The memory of water: what the weather of the weeks before has left in soil and snow.

Recursions over days with an explicit state, so that a series may be cut anywhere: run in one go or
piece by piece gives the same bits. The same functions serve the cube and station tables.

Days that lack something: a day without precipitation counts as dry, one without temperature takes
temperature and potential evaporation of the last day that had them (before the first: no
evaporation, and whatever falls is rain). All features of such a day are NaN; those of later days
are not, though a long gap leaves its mark on them.

Constants are first guesses on 77 stations of USCRN in 2020, not tuned.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gssm_cube.harmonise.potential_evaporation import extraterrestrial_radiation, hargreaves

SPIN_UP_DAYS = 365  # before the first day whose features count
LOOK_BACK_DAYS = 29  # that the longest sum reaches before its day
SWE_MOST = 1000.0  # mm; a glacier would grow without end
MELT = 3.0  # mm K-1 d-1, degree-day factor
LOSS = 0.5  # share of potential evaporation that the surplus subtracts
SURPLUS_DECAY = (0.91, 0.98)  # share left after a day
WETNESS_RATE = (0.015, 0.03)  # mm-1
WETNESS_IDLE = 0.5  # mm d-1; so that wetness fades without evaporation as well
CAPACITY = (20.0, 50.0, 150.0)  # mm
FIELD = 0.7  # share of the capacity that is held against gravity and evaporates freely
DRAINAGE = 0.15  # d-1, of what is above it

RECURSIVE = (
    "swe", "surplus_11d", "surplus_50d", "wetness_slow", "wetness_fast",
    "bucket_20", "bucket_50", "bucket_150",
)  # fmt: skip
SUMS = {"rain_3d": 3, "rain_30d": 30}  # days
MEANS = {"tair_7d": 7, "tair_30d": 30}  # days

Values = NDArray[np.floating]
Features = dict[str, NDArray[np.float32]]


class MemoryState(NamedTuple):
    """Where the recursions stand at the end of a day; float64 arrays of one shape.

    Parameters
    ----------
    swe, wetness_slow, wetness_fast, bucket_20, bucket_50, bucket_150 : array, mm
    surplus_11d, surplus_50d : array, mm
        Sums; the features are these times (1 - decay).
    tair : array, degC
    pet : array, mm d-1
        Of the last day that had them; NaN if there was none.
    """

    swe: NDArray[np.float64]
    surplus_11d: NDArray[np.float64]
    surplus_50d: NDArray[np.float64]
    wetness_slow: NDArray[np.float64]
    wetness_fast: NDArray[np.float64]
    bucket_20: NDArray[np.float64]
    bucket_50: NDArray[np.float64]
    bucket_150: NDArray[np.float64]
    tair: NDArray[np.float64]
    pet: NDArray[np.float64]


def initial_state(shape: tuple[int, ...]) -> MemoryState:
    """Return the state before any day: no snow, nothing remembered, buckets half full."""
    empty = {name: np.zeros(shape) for name in RECURSIVE[:5]}
    half = {
        name: np.full(shape, size / 2) for name, size in zip(RECURSIVE[5:], CAPACITY, strict=True)
    }
    return MemoryState(**empty, **half, tair=np.full(shape, np.nan), pet=np.full(shape, np.nan))


def remember(
    precipitation: Values, tair: Values, pet: Values, state: MemoryState
) -> tuple[Features, MemoryState]:
    """Run the recursions over consecutive days.

    Snow falls below 0 degC and melts by 3 mm a degree and day above; liquid water L is rain and
    melt. With k = 0.91 and 0.98, a = 0.015 and 0.03 mm-1, c = 20, 50 and 150 mm:

    - surplus: s <- k s + P - PET / 2, times (1 - k);
    - wetness: s <- exp(-a (PET + 0.5)) s + L, a memory that fades faster in warm weather;
    - bucket: s <- min(s + L, c); then evaporation min(s, PET min(1, s / 0.7 c)); then slow
      drainage, 0.15 of what is above 0.7 c; as a share of c.

    Parameters
    ----------
    precipitation : array (day, ...), mm d-1
        Rain and snow.
    tair : array (day, ...), degC
    pet : array (day, ...), mm d-1
    state : MemoryState (...)
        Before the first day; stays as it is.

    Returns
    -------
    features : dict of array (day, ...), float32
        By the names of ``RECURSIVE``, in the units of ``variables.py``. NaN on days that lack
        something; see the module.
    state : MemoryState (...)
        After the last day.
    """
    shape = np.shape(precipitation)
    if np.shape(tair) != shape or np.shape(pet) != shape or state.swe.shape != shape[1:]:
        raise ValueError(
            f"precipitation has shape {shape}, tair {np.shape(tair)}, pet {np.shape(pet)}, the "
            f"state {state.swe.shape}; expected the same, the state without the days"
        )
    forcing = (precipitation, tair, pet)
    rain, warmth, demand = (np.asarray(a, "float64").reshape(shape[0], -1) for a in forcing)
    running = np.stack(state).reshape(len(state), -1)
    out = np.empty((len(RECURSIVE), *rain.shape), dtype="float32")
    _run(rain, warmth, demand, running, out)
    features = dict(zip(RECURSIVE, out.reshape(-1, *shape), strict=True))
    return features, MemoryState(*running.reshape(-1, *shape[1:]))


@njit(nogil=True, cache=True)
def _run(precipitation, tair, pet, state, out):  # type: ignore[no-untyped-def]
    """Move all cells on, day by day; ``state`` (value, cell) changes in place."""
    for day in range(precipitation.shape[0]):
        for cell in range(precipitation.shape[1]):
            rain, warmth, demand = precipitation[day, cell], tair[day, cell], pet[day, cell]
            lacking = np.isnan(rain) or np.isnan(warmth) or np.isnan(demand)
            rain = 0.0 if np.isnan(rain) else rain
            state[8, cell] = state[8, cell] if np.isnan(warmth) else warmth
            state[9, cell] = state[9, cell] if np.isnan(demand) else demand
            _step(rain, state[8, cell], state[9, cell], state[:, cell], out[:, day, cell])
            if lacking:
                out[:, day, cell] = np.nan


@njit(nogil=True, cache=True)
def _step(rain, tair, pet, state, out):  # type: ignore[no-untyped-def]
    """Move one cell one day on."""
    tair = 0.0 if np.isnan(tair) else tair
    pet = 0.0 if np.isnan(pet) else pet
    if tair < 0.0:
        state[0] = min(state[0] + rain, SWE_MOST)
        liquid = 0.0
    else:
        melt = min(state[0], MELT * tair)
        state[0] -= melt
        liquid = rain + melt
    out[0] = state[0]
    for number in range(2):
        decay = SURPLUS_DECAY[number]
        state[1 + number] = decay * state[1 + number] + (rain - LOSS * pet)
        out[1 + number] = (1.0 - decay) * state[1 + number]
        kept = np.exp(-WETNESS_RATE[number] * (pet + WETNESS_IDLE))
        state[3 + number] = kept * state[3 + number] + liquid
        out[3 + number] = state[3 + number]
    for number in range(3):
        most = CAPACITY[number]
        water = min(state[5 + number] + liquid, most)
        water -= min(water, pet * min(1.0, water / (FIELD * most)))
        water -= DRAINAGE * max(0.0, water - FIELD * most)
        state[5 + number] = water
        out[5 + number] = water / most


def moving_sum(values: Values, days: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return sums over each day and those before it, and how many of these have a value.

    Parameters
    ----------
    values : array (day, ...)
        NaN adds nothing.
    days : int
        Length of the sum.

    Returns
    -------
    total, count : array (day - days + 1, ...)
        From the first day whose sum is whole; the same bits whatever else is summed.
    """
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    length = max(len(filled) - days + 1, 0)
    total, count = np.zeros((length, *filled.shape[1:])), np.zeros(filled[:length].shape, "int64")
    for lag in reversed(range(days)):
        part = slice(days - 1 - lag, days - 1 - lag + length)
        total += filled[part]
        count += known[part]
    return total, count


def memory_features(
    weather: Mapping[str, Values],
    days: NDArray[np.datetime64],
    lat: NDArray[np.floating],
    state: MemoryState,
) -> tuple[Features, MemoryState]:
    """Return all features of memory on days that follow a state.

    Parameters
    ----------
    weather : mapping of array (day, ...)
        ``precipitation`` (mm d-1), ``tair``, ``tmin`` and ``tmax`` (degC) on consecutive days,
        the first 29 of them before the state: only the sums need these again.
    days : array (day,), datetime64
    lat : array (...), degrees north
        Of the places; its shape fits all but the first axis.
    state : MemoryState (...)
        At the end of the 29th day.

    Returns
    -------
    features : dict of array (day - 29, ...), float32
        ``precipitation``, ``pet``, ``RECURSIVE``, ``SUMS`` and ``MEANS``; NaN on days that lack
        something.
    state : MemoryState (...)
        At the end of the last day.
    """
    rain, tair = weather["precipitation"], weather["tair"]
    now = slice(LOOK_BACK_DAYS, None)
    pet = potential_evaporation(weather, days, lat)[now]
    features, state = remember(rain[now], tair[now], pet, state)
    lacking = np.isnan(rain[now]) | np.isnan(tair[now]) | np.isnan(pet)
    features |= {"precipitation": rain[now].astype("float32"), "pet": pet.astype("float32")}
    for name, length in (SUMS | MEANS).items():
        values = rain if name in SUMS else tair
        total, count = moving_sum(values[LOOK_BACK_DAYS + 1 - length :], length)
        total = total if name in SUMS else total / np.maximum(count, 1)
        features[name] = np.where(lacking, np.nan, total).astype("float32")
    return features, state


def potential_evaporation(
    weather: Mapping[str, Values], days: NDArray[np.datetime64], lat: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return Hargreaves' potential evaporation (day, ...), mm d-1, of ``tmin`` and ``tmax``."""
    return hargreaves(weather["tmin"], weather["tmax"], extraterrestrial_radiation(days, lat))


def spin_up(
    weather: Mapping[str, Values],
    days: NDArray[np.datetime64],
    lat: NDArray[np.floating],
    lead_days: int,
) -> MemoryState:
    """Return the state at the end of a lead-in.

    A lead-in of less than a year follows on the first 365 days (or as many as there are), which
    stand for the year before.

    Parameters
    ----------
    weather : mapping of array (day, ...)
        As for ``memory_features``: the lead-in, and at least what it lacks to a year behind it.
    days : array (day,), datetime64
    lat : array (...), degrees north
    lead_days : int
        Days of the lead-in.
    """
    pet = potential_evaporation(weather, days, lat)
    rain, tair = weather["precipitation"], weather["tair"]
    state = initial_state(pet.shape[1:])
    runs = [lead_days] if lead_days >= SPIN_UP_DAYS else [SPIN_UP_DAYS, lead_days]
    for length in runs:
        _, state = remember(rain[:length], tair[:length], pet[:length], state)
    return state
