"""A user's own score: named module:Class, and recorded with a digest of its source, so that no other passes for it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from prunekit.pruning.scores.base import Score
from prunekit.support.digest import identity
from prunekit.support.errors import ConfigError
from prunekit.support.user_code import imported

_OPTIONS = "use a name of `--help`, or module:Class of your own score"


def own_score(name: str) -> Score:
    """The score that module:Class names; with #digest behind it, that very source of it.

    Raises:
        ConfigError: where there is none, or its source is another.
    """
    plain, _, digest = name.partition("#")
    named = imported(plain, "--score", _OPTIONS)
    score: Score = named() if isinstance(named, type) else named
    check(score)
    if digest and recorded(score) != name:
        raise ConfigError(f"--score {name}: its source is another now ({recorded(score)}); a score of its own, then")
    return score


def check(score: Any) -> None:
    """Whether something can be used as a score.

    Raises:
        ConfigError: saying what it lacks.
    """
    missing = [part for part in ("name", "score", "passes") if not hasattr(score, part)]
    if missing or not isinstance(score, Score):
        lacks = f"; this one lacks {', '.join(missing)}" if missing else ""
        raise ConfigError(f"a score is a class on prunekit.pruning.scores.Score{lacks}")


def recorded(score: Score) -> str:
    """How a run names it: module:Class#digest, of its source and of what it was made with.

    Raises:
        ConfigError: where its source cannot be read.
    """
    kind = type(score)
    facts = {"source": list(_sources(kind)), "made_with": _plain(vars(score))}
    return f"{kind.__module__}:{kind.__qualname__}#{identity(facts)}"


def _plain(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Numbers and texts among attributes, as Python writes them."""
    kinds = (str, int, float, tuple, type(None))
    return {name: repr(value) for name, value in attributes.items() if isinstance(value, kinds) and name[:2] != "__"}


def _sources(kind: type) -> Iterator[Any]:
    """A class and those that it derives from, up to prunekit's own: functions as they are written, and constants."""
    for part in kind.__mro__:
        if part.__module__.partition(".")[0] in ("prunekit", "builtins", "abc"):
            continue
        yield _plain(vars(part))
        try:
            yield from (inspect.getsource(value) for value in vars(part).values() if inspect.isfunction(value))
        except OSError as error:
            name = f"{part.__module__}.{part.__qualname__}"
            raise ConfigError(f"{name}: its source cannot be read to record it; put the class in a file") from error
