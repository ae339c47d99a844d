"""Scores of stations as NetCDF, as the files of the service QA4SM are laid out.

One dimension of places, ``loc``; one variable for each metric and pair, named
``R_between_0-REFERENCE_and_1-PRODUCT``; data sets described by global attributes ``val_dc_...``.
Their reader opens the file. Of its metrics Kendall's tau is not worked out.
"""

import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import t as student

from gssm_cube.validate.findings import Findings
from gssm_cube.validate.matching import STATION
from gssm_cube.validate.settings import Comparison

Column = NDArray[np.float64]

REFERENCE = "STATIONS"
TRIPLET = {"snr": "snr_db", "err_std": "err_std", "beta": "beta"}  # theirs: ours
POSITION = {
    "lon": {"long_name": "location longitude", "standard_name": "longitude",
            "units": "degrees_east", "valid_range": [-180.0, 180.0], "axis": "X"},
    "lat": {"long_name": "location latitude", "standard_name": "latitude",
            "units": "degrees_north", "valid_range": [-90.0, 90.0], "axis": "Y"},
}  # fmt: skip
BIAS_NOTE = "mean of the reference less mean of the product"


def write_qa4sm(path: Path, found: Findings, settings: Comparison) -> Path:
    """Write the scores of all stations, on the products' own grids.

    Parameters
    ----------
    path : Path
    found : Findings
    settings : Comparison

    Returns
    -------
    Path
    """
    first = next(iter(found.by_station.values()))
    places = found.matched.stations.loc[first.index]
    names = {product: f"{number}-{_plain(product)}"
             for number, product in enumerate(found.by_station, start=1)}  # fmt: skip
    reference = f"0-{REFERENCE}"
    dataset = xr.Dataset(attrs=_attrs(found, settings))
    for name, attrs in POSITION.items():
        dataset[name] = "loc", places[name].to_numpy("float64"), attrs
    dataset["idx"] = "loc", np.arange(len(places)), {"long_name": "observation point index"}
    dataset["gpi"] = "loc", np.arange(len(places), dtype="int32")
    dataset["n_obs"] = "loc", first["n"].to_numpy("int32")
    dataset["station"] = "loc", places.index.to_numpy().astype("U")
    dataset["network"] = "loc", places["network"].fillna("").to_numpy().astype("U")
    for product, table in found.by_station.items():
        for metric, values in _pair(table).items():
            variable = f"{metric}_between_{reference}_and_{names[product]}"
            dataset[variable] = "loc", values.astype("float32")
        dataset[f"BIAS_between_{reference}_and_{names[product]}"].attrs["long_name"] = BIAS_NOTE
    triplets = found.tables["triplets"]
    _add_triplets(dataset, triplets[triplets["grid"] == "own"], names, reference, places.index)
    for key in set(dataset.data_vars) - {"lon", "lat", "idx"}:
        dataset[key].attrs["coordinates"] = "idx lat lon"
    dataset.to_netcdf(path, engine="netcdf4")
    return path


def _pair(table: pd.DataFrame) -> dict[str, Column]:
    """Metrics of one product, by QA4SM's names."""
    n, r, rho = (table[name].to_numpy("float64") for name in ("n", "r", "spearman_r"))
    mean_square = table["rmse"].to_numpy("float64") ** 2
    x, y = (
        np.sqrt(np.maximum(table[square] / n - (table[total] / n) ** 2, 0)).to_numpy("float64")
        for square, total in (("xx", "x"), ("yy", "y"))
    )
    bias = table["bias"].to_numpy("float64")
    return {
        "R": r, "p_R": _p_value(r, n), "rho": rho, "p_rho": _p_value(rho, n),
        "BIAS": -bias, "RMSD": table["rmse"].to_numpy("float64"), "mse": mean_square,
        "RSS": mean_square * n, "mse_corr": 2 * x * y * (1 - r), "mse_bias": bias**2,
        "urmsd": table["ubrmse"].to_numpy("float64"), "mse_var": (x - y) ** 2,
        "tau": np.full(len(table), np.nan), "p_tau": np.full(len(table), np.nan),
    }  # fmt: skip


def _p_value(r: Column, n: Column) -> Column:
    """Chance of a correlation at least as large between series that have none."""
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = np.abs(r) * np.sqrt((n - 2) / (1 - r**2))
    return np.where(np.isfinite(r), 2 * student.sf(statistic, np.maximum(n - 2, 1)), np.nan)


def _add_triplets(
    dataset: xr.Dataset,
    triplets: pd.DataFrame,
    names: dict[str, str],
    reference: str,
    stations: pd.Index,
) -> None:
    """Add triple collocation of the triplets with the reference, of their products."""
    for (triplet, column), part in triplets.groupby(["triplet", "column"], sort=False):
        members = str(triplet).split("|")
        if members[0] != STATION or column == STATION:
            continue
        among = "_and_".join([reference, *(names[name] for name in members[1:])])
        for theirs, ours in TRIPLET.items():
            values = part[part["measure"] == ours].set_index("station")["value"]
            found = values.reindex(stations).to_numpy("float32")
            dataset[f"{theirs}_{names[str(column)]}_between_{among}"] = "loc", found


def _attrs(found: Findings, settings: Comparison) -> dict[str, str]:
    """Global attributes: the period and every data set."""
    days = found.matched.days
    attrs = {
        "id": settings.title,
        "date_created": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
        "qa4sm_version": "1.2.1",
        "source": f"gssm_cube {version('gssm-cube')}",
        "val_interval_from": f"{days[0]:%Y-%m-%d %H:%M}",
        "val_interval_to": f"{days[-1]:%Y-%m-%d %H:%M}",
        "val_ref": "val_dc_dataset0",
        "val_scaling_ref": "val_dc_dataset0",
        "val_scaling_method": "none",
        "val_anomalies": "none",
    }
    described = [(REFERENCE, "observed"), *((name, "sm") for name in found.by_station)]
    for number, (name, variable) in enumerate(described):
        plain = _plain(name)
        attrs |= {
            f"val_dc_dataset{number}": plain,
            f"val_dc_version{number}": f"{plain}_0",
            f"val_dc_variable{number}": f"{plain}_{variable}",
            f"val_dc_dataset_pretty_name{number}": name,
            f"val_dc_version_pretty_name{number}": "as given",
            f"val_dc_variable_pretty_name{number}": variable,
            f"val_dc_filters{number}": "none",
            f"val_dc_unit{number}": "m3 m-3",
        }
    return attrs


def _plain(name: str) -> str:
    """Return a name that a variable's name can hold."""
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
