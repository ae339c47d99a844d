"""A page that shows a product: the map of a day, the series of a place, what stations saw there."""

from gssm_cube.view.server import check_bokeh, serve

__all__ = ["check_bokeh", "serve"]
