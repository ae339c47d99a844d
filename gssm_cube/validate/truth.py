"""A product against a reference on the same grid, pixel-day by pixel-day."""

from typing import Any

import numpy as np
import xarray as xr

from gssm_cube.blocks import Progress, silent

WINDOW_DAYS = 122  # days in memory at once


def score_against_truth(
    product: xr.DataArray,
    truth: xr.DataArray,
    *,
    interval: xr.Dataset | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Score a product over all pixel-days where both have a value.

    Parameters
    ----------
    product, truth : DataArray (time, lat, lon), m3 m-3
        On the same grid; read a few months at a time.
    interval : Dataset (time, lat, lon), optional
        ``ssm_lower`` and ``ssm_upper``, m3 m-3, of the product; lazy with Dask chunks.
    progress : callable

    Returns
    -------
    dict
        ``n``, ``rmse``, ``ubrmse``, ``bias`` (product minus truth), ``r``; ``missing``: pixel-days
        that the truth has and the product lacks; ``extra``: the reverse (values over the sea).
        With an interval also ``coverage``, the share of pairs inside, and ``width``, its mean.

    Raises
    ------
    ValueError
        If the two are not on the same grid and days.
    """
    try:
        xr.align(product, truth, join="exact", copy=False)
    except ValueError as error:
        raise ValueError(f"product and truth differ in grid or days: {error}") from error
    sums, missing, extra, held = np.zeros(6), 0, 0, np.zeros(2)
    starts = range(0, truth.sizes["time"], WINDOW_DAYS)
    for number, start in enumerate(starts, start=1):
        days = slice(start, start + WINDOW_DAYS)
        x = truth.isel(time=days).values.astype("float64")
        y = product.isel(time=days).transpose(*truth.dims).values.astype("float64")
        missing += int((np.isfinite(x) & np.isnan(y)).sum())
        extra += int((np.isnan(x) & np.isfinite(y)).sum())
        both = np.isfinite(x) & np.isfinite(y)
        if interval is not None:
            held += _inside(x, interval.isel(time=days).transpose(*truth.dims), both)
        x, y = x[both], y[both]
        sums += (x.size, x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum())
        progress("truth", number, len(starts))
    scores = {**_scores(*sums), "missing": missing, "extra": extra}
    if interval is not None and scores["n"]:
        scores |= {"coverage": float(held[0] / sums[0]), "width": float(held[1] / sums[0])}
    return scores


def _inside(truth: np.ndarray, interval: xr.Dataset, both: np.ndarray) -> np.ndarray:
    """Return how many pairs lie inside, and the sum of the widths."""
    loaded = interval.compute()  # both ends at once: they are made of the same chunks
    low, high = (loaded[name].values for name in ("ssm_lower", "ssm_upper"))
    inside = (low <= truth) & (truth <= high) & both
    return np.array([inside.sum(), (high - low)[both].sum(dtype="float64")])


def _scores(n: float, x: float, y: float, xx: float, yy: float, xy: float) -> dict[str, Any]:
    """Scores from sums over pairs; NaN where the pairs cannot give one."""
    if n == 0:
        return {"n": 0} | dict.fromkeys(("rmse", "ubrmse", "bias", "r"), float("nan"))
    bias = (y - x) / n
    mean_square = (xx - 2 * xy + yy) / n
    covariance = xy / n - x * y / n**2
    variances = xx / n - (x / n) ** 2, yy / n - (y / n) ** 2
    # A variance below what rounding of the sums can leave is that of a constant.
    constant = any(v < 1e-14 * m / n for v, m in zip(variances, (xx, yy), strict=True))
    spread = np.nan if constant else np.sqrt(variances[0] * variances[1])
    return {
        "n": int(n),
        "rmse": float(np.sqrt(mean_square)),
        "ubrmse": float(np.sqrt(max(mean_square - bias**2, 0.0))),
        "bias": float(bias),
        "r": float(covariance / spread),
    }
