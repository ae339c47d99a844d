"""A product against a reference on the same grid, pixel-day by pixel-day."""

from typing import Any

import numpy as np
import xarray as xr

from gssm_cube.blocks import Progress, silent

WINDOW_DAYS = 122  # days in memory at once


def score_against_truth(
    product: xr.DataArray, truth: xr.DataArray, *, progress: Progress = silent
) -> dict[str, Any]:
    """Score a product over all pixel-days where both have a value.

    Parameters
    ----------
    product, truth : DataArray (time, lat, lon), m3 m-3
        On the same grid; read a few months at a time.
    progress : callable

    Returns
    -------
    dict
        ``n``, ``rmse``, ``ubrmse``, ``bias`` (product minus truth), ``r``; ``missing``: pixel-days
        that the truth has and the product lacks; ``extra``: the reverse (values over the sea).

    Raises
    ------
    ValueError
        If the two are not on the same grid and days.
    """
    try:
        xr.align(product, truth, join="exact", copy=False)
    except ValueError as error:
        raise ValueError(f"product and truth differ in grid or days: {error}") from error
    sums, missing, extra = np.zeros(6), 0, 0
    starts = range(0, truth.sizes["time"], WINDOW_DAYS)
    for number, start in enumerate(starts, start=1):
        days = slice(start, start + WINDOW_DAYS)
        x = truth.isel(time=days).values.astype("float64")
        y = product.isel(time=days).transpose(*truth.dims).values.astype("float64")
        missing += int((np.isfinite(x) & np.isnan(y)).sum())
        extra += int((np.isnan(x) & np.isfinite(y)).sum())
        both = np.isfinite(x) & np.isfinite(y)
        x, y = x[both], y[both]
        sums += (x.size, x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum())
        progress("truth", number, len(starts))
    return {**_scores(*sums), "missing": missing, "extra": extra}


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
