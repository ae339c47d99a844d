"""The climate of a place: means over whole years of what ``memory`` gives day by day."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

WET_DAY = 1.0  # mm: more than this makes a wet day
LEAST_PET = 0.1  # mm d-1, so that the ratio stays finite where nothing evaporates
NEEDED = ("precipitation", "pet", "tair", "bucket_50")
MONTHS = 12

Values = NDArray[np.floating]


def climate_sums(daily: Mapping[str, Values], days: NDArray[np.datetime64]) -> NDArray[np.float64]:
    """Return what means are made of; sums of several stretches of days add up.

    Parameters
    ----------
    daily : mapping of array (day, ...)
        ``precipitation`` and ``pet`` (mm d-1), ``tair`` (degC), ``bucket_50`` (1). A day that
        lacks one of them counts in none.
    days : array (day,), datetime64

    Returns
    -------
    array (29, ...)
        Days, precipitation, PET, wet days, bucket, then temperature by month, days by month.
    """
    series = [np.asarray(daily[name], dtype="float64") for name in NEEDED]
    known = np.isfinite(series).all(axis=0)
    rain, pet, tair, bucket = (np.where(known, values, 0.0) for values in series)
    month = (days.astype("M8[M]").astype("int64") % MONTHS)[:, np.newaxis] == np.arange(MONTHS)
    by_month = month.T.astype("float64")
    totals = [known, rain, pet, rain > WET_DAY, bucket]
    return np.concatenate(
        [
            np.stack([total.sum(axis=0) for total in totals]),
            np.tensordot(by_month, tair, axes=1),
            np.tensordot(by_month, known.astype("float64"), axes=1),
        ]
    )


def climate_means(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float32]]:
    """Return the climate from its sums.

    Parameters
    ----------
    sums : array (29, ...)
        Of ``climate_sums``, added up.

    Returns
    -------
    dict of array (...), float32
        ``climate_precipitation`` and ``climate_pet`` (mm d-1), ``climate_p_pet`` (1, PET at least
        0.1), ``climate_tair`` (degC), ``climate_tair_range`` (K, warmest less coldest of the
        months that there are), ``climate_wet_days`` and ``climate_bucket`` (1). NaN where no day
        counts.
    """
    count, rain, pet, wet, bucket = sums[:5]
    warmth, month_days = sums[5 : 5 + MONTHS], sums[5 + MONTHS :]
    none = count == 0
    known = np.where(none, 1.0, count)
    monthly = warmth / np.maximum(month_days, 1.0)
    warmest = np.where(month_days > 0, monthly, -np.inf).max(axis=0)
    coldest = np.where(month_days > 0, monthly, np.inf).min(axis=0)
    means = {
        "climate_precipitation": rain / known,
        "climate_pet": pet / known,
        "climate_p_pet": rain / known / np.maximum(pet / known, LEAST_PET),
        "climate_tair": warmth.sum(axis=0) / known,
        "climate_tair_range": warmest - coldest,
        "climate_wet_days": wet / known,
        "climate_bucket": bucket / known,
    }
    return {name: np.where(none, np.nan, mean).astype("float32") for name, mean in means.items()}
