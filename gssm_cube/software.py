"""What a process runs: the package's own code and the libraries that decide its results."""

import hashlib
import platform
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("dask", "distributed", "numba", "numcodecs", "numpy", "pandas", "xarray", "zarr")


@lru_cache(maxsize=1)
def software() -> dict[str, str]:
    """Return the versions of Python and of the libraries, and a hash of this package's code."""
    found = {"gssm_cube": package_digest(Path(__file__).parent), "python": _minor_python()}
    return found | {name: _version(name) for name in LIBRARIES}


def package_digest(folder: Path) -> str:
    """Return a hash of all Python files of a package, names included."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        found.update(path.relative_to(folder).as_posix().encode())
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """Say what differs, one phrase each: ``zarr 3.0.1, expected 3.1.6``."""
    return [
        f"{name} {found.get(name, 'none')}, expected {wanted}"
        for name, wanted in expected.items()
        if found.get(name) != wanted
    ]


def _minor_python() -> str:
    """Return the version of Python without its patch level, which changes no result."""
    return ".".join(platform.python_version_tuple()[:2])


def _version(name: str) -> str:
    """Return the version of an installed library."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
