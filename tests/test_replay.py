"""The estimate made again in one piece is the product's own, across every border of a real run."""

import numpy as np
import pytest

from gssm_cube.product import open_product
from gssm_cube.replay import replayed
from gssm_cube.settings import read_settings
from gssm_cube.storage.stores import open_dataset, read_layout
from gssm_cube.validate.seams import WHOLE, seam_rows


@pytest.fixture(scope="module")
def run(small_run):
    return read_settings(small_run.settings)


@pytest.fixture(scope="module")
def control(run):
    """What estimates a box in one piece; the same box is estimated once."""
    estimate, known = replayed(str(run.cube), str(run.forest)), {}

    def remembered(*box):
        key = str(box)
        if key not in known:
            known[key] = estimate(*box)
        return known[key]

    return remembered


def test_the_product_is_what_the_forest_says_in_one_piece(run, control):
    product = open_product(run.product)["ssm"]
    layout = read_layout(run.product)
    size = layout.tile_size
    box = slice(360, 370), slice(0, 24), slice(size - 24, size + 24)  # over a window's border too
    found = control(*box)
    expected = product.isel(time=box[0], lat=box[1], lon=box[2]).to_numpy()
    known = np.isfinite(expected)
    assert known.any(axis=(1, 2)).all()
    # Rounded once from float64 in blocks, by way of float32 here: at most the last code differs.
    off = np.abs(found[known] - expected[known])
    assert off.max() < 0.0011 and (off > 1e-6).mean() < 1e-3
    sea = np.isnan(product.isel(lat=box[1], lon=box[2])).all("time").to_numpy()
    assert np.isnan(found[:, sea]).all()


def test_a_product_of_a_run_has_no_seams_and_a_raised_tile_has(run, control):
    layout = read_layout(run.product)
    with open_dataset(run.product) as dataset:
        ssm = dataset["ssm"].load()
    rows = seam_rows(ssm, layout, {}, control=control).set_index(["kind", "against"])
    exact = rows.xs(WHOLE, level="against")
    assert set(exact["outcome"]) == {"pass"} and (exact["high"] < 1e-4).all()
    assert (rows["outcome"] != "fail").all()
    raised = ssm.copy()
    raised[:, :, : layout.tile_size] += 0.004
    found = seam_rows(raised, layout, {}, control=control).set_index(["kind", "against"])
    assert found.loc[("tile", WHOLE), "outcome"] == "fail"
    assert found.loc[("tile", WHOLE), "step"] == pytest.approx(0.004, rel=0.05)
    assert found.loc[("window", WHOLE), "outcome"] == "pass"
