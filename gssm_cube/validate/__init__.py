"""Products of soil moisture judged beside each other, on the same station-days.

`settings.py` says what is compared, `products.py` and `places.py` read it, `matching.py` keeps the
days that all have, `metrics.py`, `triplets.py`, `strata.py` and `compare.py` score them,
`consistency.py` and `seams.py` look for breaks in time and space, `run.py` composes all, and
`page.py`, `qa4sm.py` and `tidy.py` write what was found. `truth.py` is for invented worlds, whose
truth is known at every pixel.
"""

from gssm_cube.validate.truth import score_against_truth

__all__ = ["score_against_truth"]
