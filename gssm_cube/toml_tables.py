"""Settings from TOML files: what is wrong is said by file, one line for each key."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)


def read_table(path: Path, kind: str) -> dict[str, Any]:
    """Read a TOML file.

    Parameters
    ----------
    path : Path
    kind : str
        What it should be, such as ``"run's TOML file"``.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    ValueError
        If it is no TOML.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no settings file {path}: give the path of a {kind}")
    try:
        return tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from error


def checked(model: type[Model], values: Mapping[str, Any], name: str, whole: str) -> Model:
    """Return the settings that values describe.

    Parameters
    ----------
    model : type
        Of the settings.
    values : mapping
    name : str
        Of where the values come from, for messages.
    whole : str
        How a line begins whose fault is not that of one key.

    Raises
    ------
    ValueError
        One line for each key that is unknown, missing or impossible.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = (f"  {'.'.join(map(str, e['loc'])) or whole}: {e['msg']}" for e in error.errors())
        raise ValueError(f"{name} cannot be used:\n" + "\n".join(lines)) from error
