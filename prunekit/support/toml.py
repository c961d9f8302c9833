"""TOML in and out of frozen pydantic models, with one clear line for every mistake."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from pydantic import BaseModel, ValidationError

from prunekit.support import reading
from prunekit.support.errors import ConfigError, nearest

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[int | str, ...]

# characters of a wrong value that an error repeats
_MAX_VALUE = 80


def read(path: Path, model: type[Model]) -> Model:
    """The model held by a TOML file.

    Raises:
        ConfigError: naming the file, the key and what to do.
    """
    return parse(read_table(path), model, where=str(path))


def read_table(path: Path) -> dict[str, Any]:
    """The nested table of a TOML file.

    Raises:
        ConfigError: where it cannot be read.
    """
    try:
        return tomllib.loads(reading.content(path, reading.TOML).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # a number of 5,000 digits is a ValueError of its own
        raise ConfigError(f"{path}: cannot be read as TOML: {reading.reason(error)}") from error


def parse(
    table: dict[str, Any], model: type[Model], where: str, rename: Callable[[str], str] = lambda key: key
) -> Model:
    """The model held by a table; `where` names its source in the error, `rename` turns a key into what the user typed.

    Raises:
        ConfigError: on the first thing that is wrong.
    """
    try:
        return model.model_validate(table)
    except ValidationError as error:
        raise ConfigError(f"{where}: {explain(error, model, rename)}") from error


def explain(error: ValidationError, model: type[BaseModel], rename: Callable[[str], str] = lambda key: key) -> str:
    """The first problem of a validation error as one sentence, with the nearest valid key for a typo."""
    problems = error.errors(include_url=False)
    # a misspelt key first: it often is why another one is missing
    first = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    if first["type"] == "extra_forbidden":
        section, name = first["loc"][:-1], str(first["loc"][-1])
        return f'unknown key "{_dotted(first["loc"])}"; {nearest(name, _fields(model, section))}'
    if first["type"] == "missing":
        return f'the key "{_dotted(first["loc"])}" is missing; add it'
    location = _key_location(first["loc"], model)
    # a field that may be one thing or another has a message for each
    messages = [_message(problem["msg"]) for problem in problems if _key_location(problem["loc"], model) == location]
    message = "; or ".join(dict.fromkeys(messages))
    if not location:
        return message
    key = _dotted(location)
    name = f'"{key}"' if rename(key) == key else rename(key)
    return f"{name} = {_brief(first['input'])}: {message}"


def _brief(value: Any) -> str:
    """The value in so few characters that the error stays one line."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python writes out
        return "a number of thousands of digits"
    return text if len(text) <= _MAX_VALUE else f"{text[:_MAX_VALUE]}..."


def _message(text: str) -> str:
    text = text.removeprefix("Value error, ")
    if text.startswith("Input should be '"):  # one of some words
        text = text.replace("Input should be", "use", 1)
    return text[:1].lower() + text[1:]


def _dotted(location: Location) -> str:
    return ".".join(map(str, location))


def _key_location(location: Location, model: type[BaseModel]) -> Location:
    """The part of an error's location that names keys of the model; behind them pydantic names the types it tried."""
    keys: list[int | str] = []
    inner: Any = model
    for part in location:
        if not (isinstance(inner, type) and issubclass(inner, BaseModel) and part in inner.model_fields):
            break
        keys.append(part)
        inner = inner.model_fields[str(part)].annotation
    return tuple(keys)


def dump(table: dict[str, Any]) -> str:
    """TOML text of a nested table; None is left out, since TOML has no null, and keys are texts: true for True."""
    return tomli_w.dumps(_without_none(table))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {_key(name): _without_none(item) for name, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list | tuple) else value


def _key(name: Any) -> str:
    return name if isinstance(name, str) else json.dumps(name)


def _fields(model: type[BaseModel], section: Location) -> list[str]:
    """The valid keys of the (nested) model at `section`."""
    for name in section:
        field = model.model_fields.get(str(name))
        inner = field.annotation if field else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        model = inner
    return [field.alias or name for name, field in model.model_fields.items()]
