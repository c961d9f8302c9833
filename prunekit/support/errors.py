"""The errors a user can meet: one sentence that says what was wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class PrunekitError(Exception):
    """Base of every error prunekit raises on purpose; its text is one line for the user.

    `exit_code` is what the command line returns: 1 the run failed, 2 usage or configuration.
    """

    exit_code = 1


class ConfigError(PrunekitError):
    """A setting, name or combination that cannot work; nothing was written."""

    exit_code = 2


class BusyError(ConfigError):
    """A run that another process is writing."""


class DataError(PrunekitError):
    """A data set, task file or model folder that cannot be read as asked; nothing was written."""

    exit_code = 2


class ArtifactError(PrunekitError):
    """A file that prunekit wrote and that is now missing, damaged or of another run."""


class DivergedError(PrunekitError):
    """A loss, gradient or value that became NaN or infinite."""


def nearest(word: str, names: Iterable[str]) -> str:
    """A hint such as `did you mean "sst2"?`, or the list of valid names where none is near."""
    options = sorted(set(names))
    close = get_close_matches(word, options, n=1)
    return f'did you mean "{close[0]}"?' if close else f"known: {', '.join(options)}"
