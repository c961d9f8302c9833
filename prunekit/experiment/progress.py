"""Where a function of the library says how far it is: on standard error, or nowhere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from prunekit.support import terminal

if TYPE_CHECKING:  # it imports torch
    from prunekit.experiment.round_runner import Progress


class Silent:
    """Progress that nobody sees."""

    def say(self, line: str) -> None:
        """Nothing."""

    def track(self, title: str, total: int, unit: str = "updates") -> AbstractContextManager[Callable[[int], None]]:
        """Nothing."""
        return nullcontext(lambda completed: None)


def progress_of(quiet: bool) -> Progress:
    """What a function that was called with `quiet` reports to; standard output is never written to."""
    return Silent() if quiet else terminal.Screen()
