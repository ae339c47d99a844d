"""The product's estimate made once more in one piece, without tiles, windows or blocks.

Inside of a block nothing tells that it is one; across a border the same forest on the same
predictors must give what the product holds. So the difference of the two has no weather in it.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gssm_cube import physics
from gssm_cube.cube import open_cube
from gssm_cube.estimate import SOIL
from gssm_cube.predict import open_forest, predict_block
from gssm_cube.variables import SSM


def replayed(cube: str, forest: str) -> Callable[[slice, slice, slice], NDArray[np.float32]]:
    """Return what estimates any box of a cube in one piece.

    Parameters
    ----------
    cube, forest : path
        Of which the product was made.

    Returns
    -------
    callable
        Slices of time, rows and columns to soil moisture (time, lat, lon), m3 m-3, in steps of the
        product's packing; also where the product leaves frozen ground out.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no cube or no forest.
    """
    compiled = open_forest(forest)
    names = [name for name in (*compiled.features, *SOIL) if name not in ("time", "lat", "lon")]
    features = open_cube(cube, names=list(dict.fromkeys(names)))

    def estimate(days: slice, rows: slice, cols: slice) -> NDArray[np.float32]:
        box = features.isel(time=days, lat=rows, lon=cols).load()
        ssm = predict_block(box, compiled).values.astype("float64")
        clay, sand, porosity = (box[name].values for name in SOIL)
        held = physics.bound(ssm, physics.residual_water(clay, sand, porosity), porosity).ssm
        return SSM.packing.decode(SSM.packing.encode(held))

    return estimate
