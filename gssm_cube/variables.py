"""The one table of predictors and product layers: names, units, ranges and packings.

The 18 predictors of GSSM1km; ``api``, which Zhang et al. (2021) use in place of ``apei``; the
memory of water (``harmonise.memory``) and the climate of the place (``harmonise.climate``). Beside
them what ERA5-Land itself says of the soil, which the cube may hold and no forest sees.

A value is stored as an int16 code. There is one way back, ``Packing.decode``, used by the cube,
the samples and the forest alike, so that a forest sees in a block the very float32 that it saw
in training. (xarray decodes to float64, which differs in thousands of codes.)
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Legend = Literal["esa_cci", "worldcover", "mcd12q1"]  # of land cover
Upsampling = Literal["bilinear", "nearest"]  # how 0.1 deg cells become pixels
FILL = -32768  # never reached by a value: encode saturates at -32767
Group = Literal[
    "position", "static", "daily", "composite", "meteo", "climate", "climatology", "reanalysis",
    "product",
]  # fmt: skip


@dataclass(frozen=True)
class Packing:
    """Linear int16 packing, ``value = code * scale + offset``; the code -32768 is missing.

    Parameters
    ----------
    scale, offset : float
        In the variable's units; ``scale`` is positive, so codes are ordered as values are.
    """

    scale: float
    offset: float = 0.0

    def encode(self, values: ArrayLike) -> NDArray[np.int16]:
        """Return the nearest int16 codes; NaN becomes the fill code, the rest saturates."""
        codes = np.rint((np.asarray(values, dtype="float64") - self.offset) / self.scale)
        codes = np.clip(codes, FILL + 1, 32767)
        return np.where(np.isnan(codes), FILL, codes).astype("int16")

    def decode(self, codes: ArrayLike) -> NDArray[np.float32]:
        """Return float32 values of int16 codes, computed in float64; fill becomes NaN."""
        codes = np.asarray(codes)
        values = (codes.astype("float64") * self.scale + self.offset).astype("float32")
        return np.where(codes == FILL, np.float32(np.nan), values)

    def saturated(self, values: ArrayLike) -> int:
        """Count the values that lie outside what int16 codes can say."""
        codes = np.rint((np.asarray(values, dtype="float64") - self.offset) / self.scale)
        return int(np.count_nonzero((codes > 32767) | (codes <= FILL)))


@dataclass(frozen=True)
class Variable:
    """One predictor or product layer, as it stands in a store.

    ``group`` tells where the cube keeps it and so its dims: ``static`` (lat, lon) 1 km; ``daily``
    (time, lat, lon) 1 km; ``composite`` (composite, lat, lon) 1 km, 16 days; ``meteo``
    (feature, time, lat, lon) 0.1 deg; ``climate`` (feature, lat, lon) 0.1 deg; ``reanalysis`` as
    ``meteo``, where the files have it; ``climatology`` (lat, lon) 1 km; ``position`` is the pixel
    centre itself.
    """

    name: str
    long_name: str
    units: str
    valid_range: tuple[float, float]
    packing: Packing
    group: Group
    source: str
    standard_name: str = ""

    @property
    def attrs(self) -> dict[str, Any]:
        """CF attributes of the decoded array."""
        attrs = {"long_name": self.long_name, "units": self.units, "source": self.source}
        if self.standard_name:
            attrs["standard_name"] = self.standard_name
        return attrs


_ERA5 = "ERA5-Land hourly (doi:10.24381/cds.e2161bac)"
_LST = "MODIS MOD11A1.061 (doi:10.5067/MODIS/MOD11A1.061)"
_VEGETATION = "MODIS MOD13A2.061 (doi:10.5067/MODIS/MOD13A2.061)"
_SOIL = "SoilGrids 2.0, 0-5 cm mean (doi:10.5194/soil-7-217-2021)"
_MERIT = "MERIT Hydro (doi:10.1029/2019WR024873)"
_WTD = "Water table depth, Fan et al. 2013 (doi:10.1126/science.1229881)"
_BEDROCK = "Depth to bedrock BDTICM, Shangguan et al. 2017 (doi:10.1002/2016MS000686)"

# Steps are chosen for the worst case: APEI of a monsoon passes 1,000 mm, bedrock 1,000 m.
_TABLE = (
    Variable("apei", "Antecedent precipitation evaporation index", "mm", (-1000, 3000),
             Packing(0.1), "meteo", _ERA5),
    Variable("api", "Antecedent precipitation index", "mm", (0, 3000),
             Packing(0.1), "meteo", _ERA5),
    Variable("evaporation", "Evaporation, upward positive", "mm d-1", (-10, 30),
             Packing(0.001), "meteo", _ERA5, "lwe_water_evaporation_rate"),
    Variable("tair", "Daily mean air temperature at 2 m", "degC", (-90, 60),
             Packing(0.01), "meteo", _ERA5, "air_temperature"),
    Variable("precipitation", "Precipitation of the day, rain and snow", "mm d-1", (0, 3000),
             Packing(0.1), "meteo", _ERA5, "lwe_precipitation_rate"),
    Variable("pet", "Potential evaporation (Hargreaves)", "mm d-1", (0, 30),
             Packing(0.001), "meteo", _ERA5),
    Variable("swe", "Water of the snow, of a degree-day model", "mm", (0, 1000),
             Packing(0.1), "meteo", _ERA5, "lwe_thickness_of_surface_snow_amount"),
    Variable("surplus_11d", "Precipitation less half of potential evaporation, weighted mean "
             "that fades by 0.91 a day (e-folding 11 days)", "mm d-1", (-20, 300),
             Packing(0.01), "meteo", _ERA5),
    Variable("surplus_50d", "Precipitation less half of potential evaporation, weighted mean "
             "that fades by 0.98 a day (e-folding 50 days)", "mm d-1", (-20, 150),
             Packing(0.005), "meteo", _ERA5),
    Variable("wetness_slow", "Rain and melt, fading by exp(-0.015 (PET + 0.5)) a day", "mm",
             (0, 6400), Packing(0.1, 3200.0), "meteo", _ERA5),
    Variable("wetness_fast", "Rain and melt, fading by exp(-0.03 (PET + 0.5)) a day", "mm",
             (0, 6400), Packing(0.1, 3200.0), "meteo", _ERA5),
    Variable("bucket_20", "Filling of a bucket of 20 mm", "1", (0, 1),
             Packing(0.0001), "meteo", _ERA5),
    Variable("bucket_50", "Filling of a bucket of 50 mm", "1", (0, 1),
             Packing(0.0001), "meteo", _ERA5),
    Variable("bucket_150", "Filling of a bucket of 150 mm", "1", (0, 1),
             Packing(0.0001), "meteo", _ERA5),
    Variable("rain_3d", "Precipitation of 3 days up to this one", "mm", (0, 6000),
             Packing(0.1, 3200.0), "meteo", _ERA5),
    Variable("rain_30d", "Precipitation of 30 days up to this one", "mm", (0, 12000),
             Packing(0.2, 6400.0), "meteo", _ERA5),
    Variable("tair_7d", "Mean air temperature of 7 days up to this one", "degC", (-90, 60),
             Packing(0.01), "meteo", _ERA5),
    Variable("tair_30d", "Mean air temperature of 30 days up to this one", "degC", (-90, 60),
             Packing(0.01), "meteo", _ERA5),
    Variable("climate_precipitation", "Mean precipitation", "mm d-1", (0, 60),
             Packing(0.002), "climate", _ERA5),
    Variable("climate_pet", "Mean potential evaporation", "mm d-1", (0, 30),
             Packing(0.001), "climate", _ERA5),
    Variable("climate_p_pet", "Mean precipitation over mean potential evaporation", "1", (0, 600),
             Packing(0.01, 300.0), "climate", _ERA5),
    Variable("climate_tair", "Mean air temperature", "degC", (-90, 60),
             Packing(0.01), "climate", _ERA5),
    Variable("climate_tair_range", "Warmest less coldest month", "K", (0, 100),
             Packing(0.01), "climate", _ERA5),
    Variable("climate_wet_days", "Share of days with more than 1 mm", "1", (0, 1),
             Packing(0.0001), "climate", _ERA5),
    Variable("climate_bucket", "Mean filling of a bucket of 50 mm", "1", (0, 1),
             Packing(0.0001), "climate", _ERA5),
    Variable("climate_lst_diff", "Mean day minus night land surface temperature", "K", (-60, 90),
             Packing(0.01), "climatology", _LST),
    Variable("lst", "Mean of day and night land surface temperature", "degC", (-90, 90),
             Packing(0.01), "daily", _LST, "surface_temperature"),
    Variable("lst_diff", "Day minus night land surface temperature", "K", (-60, 90),
             Packing(0.01), "daily", _LST),
    Variable("ndvi", "Normalised difference vegetation index", "1", (-0.3, 1.05),
             Packing(0.0001), "composite", _VEGETATION, "normalized_difference_vegetation_index"),
    Variable("evi", "Enhanced vegetation index", "1", (-0.3, 1.05),
             Packing(0.0001), "composite", _VEGETATION),
    Variable("clay", "Clay content of the fine earth", "%", (0, 100),
             Packing(0.01), "static", _SOIL),
    Variable("sand", "Sand content of the fine earth", "%", (0, 100),
             Packing(0.01), "static", _SOIL),
    Variable("silt", "Silt content of the fine earth", "%", (0, 100),
             Packing(0.01), "static", _SOIL),
    Variable("porosity", "Soil porosity", "m3 m-3", (0, 1),
             Packing(0.0001), "static", _SOIL, "soil_porosity"),
    Variable("omc", "Organic matter content", "%", (0, 100),
             Packing(0.01), "static", _SOIL),
    Variable("ti", "Topographic index ln(SCA / tan slope)", "1", (-10, 45),
             Packing(0.002), "static", _MERIT),
    Variable("elevation", "Elevation", "m", (-500, 9000),
             Packing(0.5), "static", _MERIT, "surface_altitude"),
    Variable("wtd", "Water table depth below the surface", "m", (0, 1600),
             Packing(0.05), "static", _WTD),
    Variable("dtb", "Depth to bedrock", "cm", (0, 300000),
             Packing(10.0), "static", _BEDROCK),
    # Pixel indices, for 0.01 deg steps would merge pixels.
    Variable("lat", "Latitude of the pixel centre", "degrees_north", (-90, 90),
             Packing(1 / 120, 0.5 / 120), "position", "grid", "latitude"),
    Variable("lon", "Longitude of the pixel centre", "degrees_east", (-180, 180),
             Packing(1 / 120, 0.5 / 120), "position", "grid", "longitude"),
)  # fmt: skip

PREDICTORS: dict[str, Variable] = {variable.name: variable for variable in _TABLE}

# Estimates of another model: soil moisture to be compared with, and what tells frozen ground.
_REANALYSIS = (
    Variable("swvl1", "Soil moisture of ERA5-Land, 0-7 cm, daily mean", "m3 m-3", (0, 1),
             Packing(0.0001), "reanalysis", _ERA5, "volume_fraction_of_condensed_water_in_soil"),
    Variable("stl1", "Soil temperature of ERA5-Land, 0-7 cm, daily mean", "degC", (-90, 60),
             Packing(0.01), "reanalysis", _ERA5, "soil_temperature"),
)  # fmt: skip

REANALYSIS: dict[str, Variable] = {variable.name: variable for variable in _REANALYSIS}

STORED = PREDICTORS | REANALYSIS  # all that a feature cube can hold

SSM = Variable(
    "ssm", "Surface soil moisture, 0-5 cm", "m3 m-3", (0, 1), Packing(0.001), "product",
    "gssm_cube random forest", "volume_fraction_of_condensed_water_in_soil",
)  # fmt: skip

SSM_SPREAD = Variable(
    "ssm_spread", "Standard deviation of the forest's trees, uncalibrated", "m3 m-3", (0, 1),
    Packing(0.001), "product", "gssm_cube random forest",
)  # fmt: skip


def names_of(group: Group) -> tuple[str, ...]:
    """Names of one group of what a cube holds, in the table's order."""
    return tuple(name for name, variable in STORED.items() if variable.group == group)
