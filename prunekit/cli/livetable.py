"""How far a sweep is: a table that keeps itself new on a terminal, a line per finished experiment elsewhere."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from prunekit.experiment.sweep.jobs import NOTE, Outcome
from prunekit.runs import checksums
from prunekit.support.errors import ArtifactError
from prunekit.support.terminal import Screen, printable

if TYPE_CHECKING:
    from rich.console import RenderableType

# lines of jobs at work that a terminal is given
_LINES = 20


class LiveTable:
    """What is done and what is at work, from the notes that workers keep; to be used in a `with`."""

    def __init__(self, screen: Screen, ledger: Path, total: int) -> None:
        self.screen, self.ledger, self.total = screen, ledger, total
        self.done = self.failed = 0
        self.began = time.time()
        self._live: Any = None

    def __enter__(self) -> LiveTable:
        if self.screen.console.is_terminal:
            from rich.live import Live

            self._live = Live(self._table(), console=self.screen.console, transient=True, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def ended(self, outcome: Outcome) -> None:
        """An experiment came to its end."""
        self.done += 1
        self.failed += bool(outcome.failed)
        news = f"failed: {outcome.failed}" if outcome.failed else outcome.run
        made = f"{outcome.trained} training(s), {outcome.seconds:.0f} s, {outcome.worker or 'worker gone'}"
        if outcome.again:
            made += f"; damaged in the store and done again: {', '.join(outcome.again)}"
        self.screen.say(f"{self.done} of {self.total}: {outcome.label}: {news} ({made})")

    def look(self) -> None:
        """Show what is at work now."""
        if self._live is not None:
            self._live.update(self._table(), refresh=True)

    def _table(self) -> RenderableType:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        spent = int(time.time() - self.began)
        failed = f", {self.failed} failed" if self.failed else ""
        title = f"{self.done} of {self.total} done{failed}, {spent // 60}:{spent % 60:02d}"
        table = Table("at work", "worker", "news", box=SIMPLE_HEAD, show_edge=False, title=title, title_justify="left")
        for note in self._notes()[:_LINES]:
            table.add_row(*[Text(printable(str(note.get(name, "")))) for name in ("task", "worker", "news")])
        return table

    def _notes(self) -> list[dict[str, Any]]:
        """The notes of this sweep's time; who was killed leaves an older one behind."""
        found = []
        for path in sorted(self.ledger.glob(f"*{NOTE}")):
            try:
                if path.stat().st_mtime >= self.began:
                    found.append(checksums.read_stamped(path))
            except (OSError, ArtifactError):  # it ended just now
                continue
        return found
