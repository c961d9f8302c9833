"""Where a function of the library says how far it is: on standard error, or nowhere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from prunekit.support import terminal

#: What goes on while the context lasts is shown by its title.
Working = Callable[[str], AbstractContextManager[None]]


def unseen(title: str) -> AbstractContextManager[None]:
    """Work that nobody sees."""
    return nullcontext()


class Silent:
    """Progress that nobody sees."""

    def say(self, line: str) -> None:
        """Nothing."""

    def track(self, title: str, total: int, unit: str = "updates") -> AbstractContextManager[terminal.Tick]:
        """Nothing."""
        return nullcontext(lambda completed, note="": None)

    def working(self, title: str) -> AbstractContextManager[None]:
        """Nothing."""
        return unseen(title)


def progress_of(quiet: bool) -> Silent | terminal.Screen:
    """What a function that was called with `quiet` reports to; standard output is never written to."""
    return Silent() if quiet else terminal.Screen()
