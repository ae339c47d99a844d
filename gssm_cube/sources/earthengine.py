"""Earth Engine's client: who asks, what is there, and pixels (``ee.data.computePixels``).

``ee`` is imported here only, and when it is needed. Answers are arrays in memory; what is masked
comes back as the fill of its band. Failures that may pass are tried again, others never.
"""

import io
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from gssm_cube.sources import tries
from gssm_cube.sources.ee_requests import HEADER_BYTES, MOST_AT_ONCE, Band, PixelGrid, Request
from gssm_cube.sources.tries import Answer, NoAccess, Passing, Pause, Refused, first_line

logger = logging.getLogger(__name__)

HIGH_VOLUME = "https://earthengine-highvolume.googleapis.com"  # for many small requests at once
DEADLINE_SECONDS = 600  # computePixels may compute for five minutes before it answers
# NumPy parses the header of an NPY as Python, which in Python 3.11 fails now and then when several
# threads do so at once ("AST constructor recursion depth mismatch").
_one_header = threading.Lock()
EE_TYPES = {"float32": "float", "float64": "double"}
STORED, APPLICATION_DEFAULT = "stored", "application_default"


# ---- access -----------------------------------------------------------------------------------


def connect(project: str, credentials: str = STORED, url: str | None = None) -> None:
    """Let this process in, and see that it is let in.

    Tokens stay in the memory of this process: they are neither logged nor written.

    Parameters
    ----------
    project : str
        Cloud project that is registered for Earth Engine.
    credentials : str
        ``"stored"`` (by ``earthengine authenticate``), ``"application_default"`` (by ``gcloud``
        or ``GOOGLE_APPLICATION_CREDENTIALS``), or the path of a service account's key (JSON).
    url : str, optional
        Of the interface; by default that for many requests at once.

    Raises
    ------
    NoAccess
        Saying what is missing and what to do.
    """
    import ee
    from google.auth.exceptions import GoogleAuthError

    url = url or HIGH_VOLUME
    try:
        found = _credentials(credentials)
        ee.Initialize(found, url=url, project=project, http_transport=_Transport())
        ee.data.setMaxRetries(0)  # retried here, where passing and lasting failures are told apart
        ee.Number(1).add(1).getInfo()
    except (GoogleAuthError, ee.EEException, OSError) as error:
        raise NoAccess(
            f"Earth Engine does not let project {project!r} in with credentials "
            f"{credentials!r}: {first_line(error)}; {_advice(error)}"
        ) from error
    logger.info("Earth Engine: project %s, %s", project, url)


class _Transport:
    """What ee sends requests with: its own keeps ten connections, and drops those beyond."""

    def __init__(self) -> None:
        import requests

        self.session = requests.Session()
        for scheme in ("https://", "http://"):
            self.session.mount(scheme, requests.adapters.HTTPAdapter(pool_maxsize=MOST_AT_ONCE))

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: Any = None,
        headers: Any = None,
        redirections: Any = None,
        connection_type: Any = None,
    ) -> tuple[Any, bytes]:
        """Send a request as httplib2 does, which ee's libraries are made for."""
        import httplib2
        import requests

        try:
            response = self.session.request(
                method, uri, data=body, headers=headers, timeout=DEADLINE_SECONDS
            )
        except requests.exceptions.RequestException as error:
            raise ConnectionError(first_line(error)) from error
        found = dict(response.headers) | {"status": response.status_code}
        return httplib2.Response(found), response.content


def _credentials(word: str) -> Any:
    """Return credentials of one of three kinds; raise if they are not there."""
    import ee
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError
    from google.oauth2 import service_account

    try:
        if word == STORED:
            return ee.data.get_persistent_credentials()
        if word == APPLICATION_DEFAULT:
            return google.auth.default(scopes=ee.oauth.SCOPES)[0]
        return service_account.Credentials.from_service_account_file(word, scopes=ee.oauth.SCOPES)
    except ee.EEException as error:
        raise NoAccess(
            "no stored credentials of Earth Engine; run `earthengine authenticate` once, or set "
            "[earthengine] credentials"
        ) from error
    except FileNotFoundError as error:
        raise NoAccess(
            f"no key of a service account at {Path(word)}; expected a JSON file, 'stored' or "
            "'application_default'"
        ) from error
    except ValueError:
        # Of a damaged file the error holds all the text.
        raise NoAccess(
            f"what {word} names is no key (its contents are not shown); download the JSON key anew"
        ) from None
    except DefaultCredentialsError as error:
        raise NoAccess(
            "no application default credentials; run `gcloud auth application-default login`, or "
            "point GOOGLE_APPLICATION_CREDENTIALS to a key"
        ) from error


def _advice(error: Exception) -> str:
    """Return what to do about a refusal."""
    text = str(error).lower()
    if "invalid_grant" in text or "expired" in text or "revoked" in text:
        return "the credentials have expired or were withdrawn: authenticate anew"
    if "permission" in text or "not registered" in text or "has not been used" in text:
        return "register the project at code.earthengine.google.com/register and enable its API"
    return "check [earthengine] project, credentials and the network"


# ---- what is there ----------------------------------------------------------------------------


def stamps_there(
    asset: str, first: np.datetime64, last: np.datetime64, pause: Pause = time.sleep
) -> set[np.datetime64]:
    """Return the starts of a collection's images from one stamp to another, in their unit."""
    import ee

    after = last + np.timedelta64(1)
    images = ee.ImageCollection(asset).filterDate(str(first), str(after))
    starts = persist(
        f"the images of {asset}", images.aggregate_array("system:time_start").getInfo, pause
    )
    unit = np.datetime_data(first.dtype)[0]
    return set(np.array(starts, dtype="M8[ms]").astype(f"M8[{unit}]"))


def bands_of(asset: str, pause: Pause = time.sleep) -> set[str]:
    """Return the names of the bands of a collection's first image."""
    import ee

    names = ee.ImageCollection(asset).first().bandNames()
    return set(persist(f"the bands of {asset}", names.getInfo, pause))


def grid_of(asset: str, band: Band, pause: Pause = time.sleep) -> PixelGrid:
    """Return the own grid of an image's band.

    Raises
    ------
    Refused
        If its rows do not run from north to south.
    """
    import ee

    projection = ee.Image(asset + band.asset).select(band.name or 0).projection()
    about = persist(f"the grid of {asset}{band.asset}", projection.getInfo, pause)
    width, shear_x, left, shear_y, height, top = about["transform"]
    if shear_x or shear_y or height >= 0:
        raise Refused(f"{asset}: rows do not run from north to south; upload the map north-up")
    return PixelGrid(about.get("crs") or about["wkt"], (left, top), (width, -height))


# ---- pixels -----------------------------------------------------------------------------------


def fetch(request: Request, pause: Pause = time.sleep) -> NDArray[np.void]:
    """Return the pixels of a request.

    Returns
    -------
    structured array (row, col)
        A field for each band of each stamp, in order of the stamps; masked pixels hold the fills.

    Raises
    ------
    Refused
        If the request is at fault: it is not sent again.
    NoAccess
        If the account is.
    NoAnswer
        If a failure that may pass did not, in eight tries.
    """
    import ee

    params = {
        "expression": _image(request),
        "fileFormat": "NPY",  # as bytes: ee's own reading of them stops at some 200 bands
        "grid": _grid(request),
    }

    def ask() -> NDArray[np.void]:
        answer = io.BytesIO(ee.data.computePixels(dict(params)))
        try:
            pixels = load_answer(answer)
        except (ValueError, EOFError) as error:
            raise Passing(f"the answer was cut ({first_line(error)})") from error
        return _checked(request, pixels)

    return persist(request.about, ask, pause)


def load_answer(file: Path | IO[bytes], mmap_mode: Literal["r"] | None = None) -> Any:
    """Load an answer (NPY), which may have thousands of bands; threads wait for one another."""
    with _one_header:
        return np.load(file, mmap_mode=mmap_mode, max_header_size=HEADER_BYTES)


def _image(request: Request) -> Any:
    """Return the expression of a request: bands in their types, filled where masked."""
    import ee

    if not request.stamps:
        parts = [_filled(ee.Image(request.asset + band.asset), band) for band in request.bands]
        return ee.Image.cat(parts)
    first, after = request.stamps[0], request.stamps[-1] + np.timedelta64(1)
    images = ee.ImageCollection(request.asset).filterDate(str(first), str(after))
    images = images.sort("system:time_start")
    return images.map(
        lambda image: ee.Image.cat([_filled(image, band) for band in request.bands])
    ).toBands()


def _filled(image: Any, band: Band) -> Any:
    """Select a band of an image and fill it, also beyond the image's own edge."""
    name = band.name or "b1"
    part = image.select([band.name or 0], [name]).unmask(band.fill, False)
    return part.cast({name: EE_TYPES.get(band.dtype, band.dtype)})


def _grid(request: Request) -> dict[str, Any]:
    """Return the pixel grid of a request as the REST interface wants it."""
    left, top = request.grid.corner_of((request.rows, request.cols))
    width, height = request.grid.cell
    code = "crsCode" if ":" in request.grid.crs.split("[")[0] else "crsWkt"
    return {
        "dimensions": {"width": len(request.cols), "height": len(request.rows)},
        "affineTransform": {
            "scaleX": width, "shearX": 0, "translateX": left,
            "shearY": 0, "scaleY": -height, "translateY": top,
        },
        code: request.grid.crs,
    }  # fmt: skip


def _checked(request: Request, answer: NDArray[np.void]) -> NDArray[np.void]:
    """Return an answer that holds what was asked; raise Refused if it holds something else."""
    wanted = [band for _ in request.stamps or (None,) for band in request.bands]
    names = answer.dtype.names or ()
    if answer.shape != request.shape or len(names) != len(wanted):
        raise Refused(
            f"{request.about}: the answer is {answer.shape} with {len(names)} bands, expected "
            f"{request.shape} with {len(wanted)}: images were added or withdrawn meanwhile; run "
            "it again"
        )
    return answer


# ---- trying again -----------------------------------------------------------------------------


def persist(what: str, call: Callable[[], Answer], pause: Pause = time.sleep) -> Answer:
    """Return what a call returns; try again after failures that may pass."""
    import ee
    from google.auth.exceptions import GoogleAuthError

    def ask() -> Answer:
        try:
            return call()
        except (ee.EEException, GoogleAuthError, ConnectionError) as error:
            raise _meaning(what, error) from error

    return tries.persist(what, ask, pause)


def _meaning(what: str, error: Exception) -> Exception:
    """Return Passing for a failure that may pass, Refused or NoAccess for one that cannot."""
    import ee
    from google.auth.exceptions import RefreshError

    text = first_line(error)
    response = getattr(error.__context__, "resp", None)  # the client keeps its text only
    status = None if response is None else int(response.status)
    if status in (401, 403) or (isinstance(error, RefreshError) and not error.retryable):
        return NoAccess(f"{what}: {text}; {_advice(error)}")
    if isinstance(error, ee.EEException) and (status is None or not tries.may_pass(status)):
        return Refused(f"{what}: Earth Engine refuses it: {text}")
    asked = "" if response is None else response.get("retry-after", "")
    return Passing(text, tries.seconds_asked(asked))
