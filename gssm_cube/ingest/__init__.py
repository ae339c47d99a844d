"""From provider files to the feature cube, in two steps.

Each file is read once and lands by day in a scratch store (``scratch``); then one task a tile, a
window of cells or a block harmonises, packs and writes whole shards (``static``, ``meteo``,
``lst``, ``vegetation``). ``run`` puts them in order. What a task holds is bounded by its block.
"""

from gssm_cube.ingest.run import harmonise

__all__ = ["harmonise"]
