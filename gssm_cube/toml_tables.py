"""Settings from TOML files: what is wrong is said by file, one line for each key."""

import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

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
        lines = (f"  {_fault(found, model, whole)}" for found in error.errors())
        raise ValueError(f"{name} cannot be used:\n" + "\n".join(lines)) from error


def _fault(found: ErrorDetails, model: type[BaseModel], whole: str) -> str:
    """Return the key and what is wrong with it, in words of settings rather than of a library."""
    place = ".".join(map(str, found["loc"])) or whole
    if found["type"] == "extra_forbidden":
        return f"{place}: unknown key{_meant(place, model)}"
    if found["type"] == "missing":
        return f"{place}: is missing, expected a value"
    if found["type"] == "value_error":
        return f"{place}: {found['ctx']['error']}"
    return f"{place}: {found['msg']}"


def _meant(place: str, model: type[BaseModel]) -> str:
    """Return which key was meant: one of nearly that name, in its table or in another."""
    known = list(_keys(model))
    names = {key.rpartition(".")[2]: key for key in known}
    near = get_close_matches(place, known, n=1, cutoff=0.8)
    near += [names[name] for name in get_close_matches(place.rpartition(".")[2], names, 1, 0.7)]
    return f"; did you mean {near[0]}?" if near else ""


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield all keys of a table and of the tables in it."""
    for name, field in model.model_fields.items():
        yield prefix + name
        named = "NAME." if get_origin(field.annotation) is dict else ""
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _keys(part, f"{prefix}{name}.{named}")
