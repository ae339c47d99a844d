"""Object stores and web servers by URL, through obstore: S3, Google, Azure, https.

Endpoint and credentials come from the environment alone, anew in each process: what travels
between processes, and what errors and logs name, is the URL. Requests that a store turns away
because it is busy (503, SlowDown) are made again after growing pauses, for three minutes at most.
"""

import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import cache, lru_cache
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

# How the environment calls what a kind of store needs.
CLOUDS = {
    **dict.fromkeys(("s3", "s3a"), "AWS_"),
    "gs": "GOOGLE_",
    **dict.fromkeys(("az", "abfs", "abfss"), "AZURE_"),
}
WEB = ("http", "https")  # read only, and without lists
SCHEMES = (*CLOUDS, *WEB)
NO_BUCKET = ("NoSuchBucket", "ContainerNotFound")  # the second is Azure's
CONCURRENCY = 32  # requests of a process at a time
MAX_RETRIES, RETRY_SECONDS = 10, 180.0
PAUSE_SECONDS = (0.1, 15.0)  # the first, and the longest
REQUEST_SECONDS, CONNECT_SECONDS = 300, 10  # a shard of a slow line; obstore allows 30 in all


class StoreError(OSError):
    """A store cannot be reached, or refuses; the message names the URL and what to do."""


def check_url(url: str) -> str:
    """Return a URL without a slash at its end.

    Raises
    ------
    ValueError
        If it is of another kind, or holds what belongs into the environment.
    """
    parts = urlsplit(url)
    named = f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise ValueError(f"{named} is no store's URL, expected one of {', '.join(SCHEMES)}://")
    user = parts.username and not parts.scheme.startswith("abfs")  # there it is the container
    if user or parts.password or parts.query or parts.fragment:
        raise ValueError(
            f"{named} came with a name, key or query in its URL, which logs would show; put "
            "credentials into the environment (README, Object stores)"
        )
    steps = parts.path.strip("/").split("/")
    if {"", ".", ".."} & set(steps) and (parts.path.strip("/") or parts.scheme in CLOUDS):
        raise ValueError(
            f"{named} names no place within its bucket, expected such as {parts.scheme}://"
            f"{parts.hostname}/folder/ssm.zarr, without empty steps, '.' and '..'"
        )
    return url.rstrip("/")


def is_web(url: str) -> bool:
    """Whether a URL is of a web server."""
    return url.startswith(tuple(f"{scheme}://" for scheme in WEB))


def split_url(url: str) -> tuple[Any, str]:
    """Return the obstore of a URL's bucket or server, and the key in it."""
    parts = urlsplit(check_url(url))
    path = unquote(parts.path) if parts.scheme in WEB else parts.path
    return opened(f"{parts.scheme}://{parts.netloc}"), path.lstrip("/")


def opened(url: str) -> Any:
    """Return the obstore of a URL: one for each process, until its environment changes."""
    names = tuple(set(CLOUDS.values()))
    known = [item for item in os.environ.items() if item[0].startswith(names)]
    return _opened(url, hash(frozenset(known)))


@lru_cache(maxsize=64)
def _opened(url: str, environment: int) -> Any:
    """Open what obstore finds in the environment."""
    try:
        from obstore.store import HTTPStore, from_url
    except ImportError as error:
        raise ValueError(
            f"{url} needs obstore: install the package's extra, gssm-cube[s3]"
        ) from error
    first, longest = (timedelta(seconds=pause) for pause in PAUSE_SECONDS)
    # A cloud's own https address is a web page's like others: read without credentials. In other
    # URLs a name is as it stands, where from_url would take %20 for a blank.
    how = HTTPStore.from_url if is_web(url) else from_url
    with explained(url):
        return how(
            url if is_web(url) else url.replace("%", "%25"),
            client_options={
                "timeout": timedelta(seconds=REQUEST_SECONDS),
                "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
                "allow_http": _may_be_plain(url),
            },
            retry_config={
                "max_retries": MAX_RETRIES,
                "retry_timeout": timedelta(seconds=RETRY_SECONDS),
                "backoff": {"init_backoff": first, "max_backoff": longest, "base": 2},
            },
        )


def _may_be_plain(url: str) -> bool:
    """Whether requests may go without TLS: a URL says so itself, an endpoint by a second word.

    Raises
    ------
    ValueError
        If the endpoint is plain http and that word is missing.
    """
    cloud = CLOUDS.get(urlsplit(url).scheme)
    if cloud is None:
        return url.startswith("http://")
    allowed = os.environ.get(f"{cloud}ALLOW_HTTP", "").lower() in ("1", "true", "yes")
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "") if cloud == "AWS_" else ""
    if endpoint.startswith("http://") and not allowed:
        raise ValueError(
            f"{url}: the endpoint that the environment names is plain http, so that keys and data "
            "could be read on the way; set AWS_ALLOW_HTTP=true if the network is your own"
        )
    return allowed


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Say of a store's refusal which URL it is about and what to do.

    The store's own words are left out: they may hold key names and signatures.
    """
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as error:
        if code_of(error) not in NO_BUCKET:
            raise
        raise StoreError(_advice(url, "NoSuchBucket", error)) from None
    except BaseError as error:
        raise StoreError(_advice(url, code_of(error), error)) from None


def code_of(error: Exception) -> str:
    """Return the code by which a store names a refusal, or the HTTP status, or the error's kind."""
    text = str(error)
    for pattern in (r"<Code>(\w+)</Code>", r"status code: (\d+)"):
        if found := re.search(pattern, text):
            return found[1]
    return type(error).__name__


def _advice(url: str, code: str, error: Exception) -> str:
    """Return what to do about a refusal."""
    if code in NO_BUCKET:
        return f"{url}: there is no such bucket; make it, or mend the URL"
    if type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError") or code in (
        "403", "401", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch",
    ):  # fmt: skip
        return (
            f"{url}: access is denied ({code}); give credentials that may read and write there by "
            "the environment (README, Object stores)"
        )
    if type(error).__name__ == "NotSupportedError":
        return f"{url}: this kind of store cannot do what was asked; use one that can be written"
    return (
        f"{url}: the store does not answer as it should ({code}), after up to {MAX_RETRIES} "
        f"retries within {RETRY_SECONDS:.0f} s; see that it is up and that the environment names "
        "its endpoint and credentials, then start again: what is done stays done"
    )


# ---- whole objects ----------------------------------------------------------------------------


@cache
def _pool() -> ThreadPoolExecutor:
    """Threads that wait for a process's requests."""
    return ThreadPoolExecutor(CONCURRENCY, thread_name_prefix="gssm-requests")


def fetch(url: str) -> Future[memoryview | None]:
    """Begin to fetch a whole object in one request; None if it is not there."""
    return _pool().submit(get, url)


def get(url: str) -> memoryview | None:
    """Return a whole object; None if it is not there."""
    import obstore

    store, key = split_url(url)
    try:
        with explained(url):
            return memoryview(obstore.get(store, key).bytes())
    except FileNotFoundError:
        return None


def get_tail(url: str, length: int) -> memoryview:
    """Return the last bytes of an object, or all of a shorter one.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    """
    import obstore

    store, key = split_url(url)
    with explained(url):
        if CLOUDS.get(urlsplit(url).scheme) != "AZURE_":  # that knows no ranges from the end
            found = obstore.get(store, key, options={"range": {"suffix": length}})
            return memoryview(found.bytes())
        end = int(obstore.head(store, key)["size"])
        return memoryview(obstore.get_range(store, key, start=max(end - length, 0), end=end))


def get_stretches(url: str, wanted: Sequence[tuple[int, int]]) -> list[memoryview]:
    """Return stretches (offset, length) of an object, near ones in one request."""
    import obstore

    store, key = split_url(url)
    starts, lengths = zip(*wanted, strict=True)
    with explained(url):
        found = obstore.get_ranges(store, key, starts=starts, lengths=lengths)
    return [memoryview(part) for part in found]


def put(url: str, content: bytes, *, new: bool = False) -> bool:
    """Write an object in one request; say False if it was to be new and is not."""
    import obstore
    from obstore.exceptions import AlreadyExistsError

    store, key = split_url(url)
    mode: Literal["create", "overwrite"] = "create" if new else "overwrite"
    with explained(url):
        try:
            obstore.put(store, key, content, mode=mode, use_multipart=False)
        except AlreadyExistsError:
            # A request that was made again meets what it wrote itself.
            return get(url) == content
        except FileNotFoundError as error:
            raise StoreError(_advice(url, "NoSuchBucket", error)) from None
    return True


async def send(store: Any, key: str, content: Any) -> None:
    """Write an object of an open obstore in one request.

    obstore would send a large one in parts, which stay there unseen, and paid for, if the process
    is killed meanwhile.
    """
    import obstore

    await obstore.put_async(store, key, content, use_multipart=False)


def size_of(url: str) -> int:
    """Return an object's size in bytes.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    """
    import obstore

    store, key = split_url(url)
    with explained(url):
        return int(obstore.head(store, key)["size"])


def remove(url: str) -> None:
    """Delete an object; some stores raise FileNotFoundError if it is not there."""
    import obstore

    store, key = split_url(url)
    with explained(url):
        obstore.delete(store, key)


def listed(url: str) -> Iterator[tuple[str, int, float]]:
    """Yield name, size and time of all objects under a URL, without looking at folders one by one.

    Times are seconds since 1970.
    """
    import obstore

    store, key = split_url(url)
    with explained(url):
        for batch in obstore.list(store, f"{key}/"):
            for about in batch:
                name = about["path"].removeprefix(f"{key}/")
                yield name, int(about["size"]), about["last_modified"].timestamp()


def folders(url: str) -> list[str]:
    """Return the names of the folders right in a URL, without looking at what they hold."""
    import obstore

    store, key = split_url(url)
    with explained(url):
        found = obstore.list_with_delimiter(store, f"{key}/")["common_prefixes"]
    return [name.removeprefix(f"{key}/") for name in found]
