"""The server of the page: Bokeh's, on loopback only."""

import webbrowser
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader

from gssm_cube.storage.locations import Location

if TYPE_CHECKING:
    from bokeh.server.server import Server

HOST = "localhost"  # in both of its forms; nothing outside of this machine is answered


def check_bokeh() -> None:
    """Raise if what draws the page is not installed."""
    try:
        import bokeh  # noqa: F401
    except ImportError as error:
        raise RuntimeError(
            "the viewer needs Bokeh, which is not installed: pip install 'gssm-cube[view]'"
        ) from error


def make_server(store: Location, stations: Path | None = None, *, port: int = 0) -> "Server":
    """Return the server of a product's page, listening but not yet answering.

    Parameters
    ----------
    store : path or URL
        The product.
    stations : Path, optional
        A station table, whose stations are marked and shown beside the series.
    port : int
        0 takes a free one.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such product or table, or the product has too few overviews.
    RuntimeError
        If Bokeh is not installed, or the port is taken.
    """
    check_bokeh()
    from bokeh.document import Document
    from bokeh.server.server import Server

    from gssm_cube.view.downloads import KINDS, Download
    from gssm_cube.view.maps import Atlas
    from gssm_cube.view.page import Page
    from gssm_cube.view.places import Stations

    atlas, table = Atlas(store), Stations(stations)
    _ = table.places  # a table that cannot be read is said now, not to a visitor

    def add_page(doc: Document) -> None:
        doc.template = _template()
        Page(doc, atlas, table)

    shared = {"atlas": atlas, "stations": table}
    names = "|".join(name.replace(".", r"\.") for name in KINDS)
    try:
        return Server(
            {"/": add_page}, address=HOST, port=port,
            extra_patterns=[(rf"/download/({names})", Download, shared)],
        )  # fmt: skip
    except OSError as error:
        raise RuntimeError(f"port {port} is taken ({error}); give another by --port") from error


@cache
def _template() -> object:
    """Return the template of the page."""
    return Environment(loader=PackageLoader("gssm_cube")).get_template("view.html.j2")


def serve(
    store: Location,
    stations: Path | None = None,
    *,
    port: int = 0,
    tell: Callable[[str], None],
    browser: bool = False,
) -> None:
    """Serve the page until the process is ended.

    Parameters
    ----------
    store, stations, port
        As for `make_server`, which says what is raised.
    tell : callable
        Gets the page's address.
    browser : bool
        Open it in the user's browser.
    """
    server = make_server(store, stations, port=port)
    address = f"http://{HOST}:{server.port}/"
    server.start()
    tell(address)
    if browser:
        webbrowser.open(address)
    # Not Bokeh's run_until_shutdown: it takes over signals, and a kill on the way there is lost.
    try:
        server.io_loop.start()
    except KeyboardInterrupt:
        pass
    finally:
        server.stop(wait=False)
