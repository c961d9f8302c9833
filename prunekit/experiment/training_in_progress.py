"""Where a cohort stands in its training, kept on disk: a process that was ended goes on from there."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from prunekit.engine.train import TrainingState
from prunekit.pruning.ticket import Ticket
from prunekit.runs import training_file
from prunekit.runs.paths import TRAINING, RunKey
from prunekit.runs.run import Run
from prunekit.runs.ticket_file import ticket_bytes
from prunekit.support import reading
from prunekit.support.digest import identity

# seconds between two times that the state is written, and at least so many times what writing took
_EVERY, _TIMES = 60.0, 20.0


class TrainingInProgress:
    """The state of one cohort's training, written at its evaluations but not at all of them.

    Attributes:
        seconds: that earlier processes trained it before the state that was loaded.
    """

    def __init__(self, run: Run, cohort: Sequence[RunKey], tickets: Sequence[Ticket], **facts: Any) -> None:
        """Nothing is read yet; facts: what else the training is a function of, beside the run's own settings."""
        self.run, self.seconds = run, 0.0
        digests = [hashlib.sha256(ticket_bytes(ticket)).hexdigest() for ticket in tickets]
        members = [[str(key), digest] for key, digest in zip(cohort, digests, strict=True)]
        self._of = identity([members, run.id, facts], 64)
        self._began = self._written = time.monotonic()
        self._took = 0.0

    def load(self, say: Callable[[str], None]) -> TrainingState | None:
        """Where the cohort stood when an earlier process ended, None where it begins anew."""
        try:
            content = self.run.training()
            kept = None if content is None else training_file.unpacked(content, self._of)
        except (OSError, ValueError) as error:
            say(f"{self.run.path / TRAINING}: cannot be read ({reading.reason(error)}); the round begins anew")
            kept = None
        if kept is None:
            return None
        state, self.seconds = kept
        say(f"going on after {state.step} updates, where an earlier process ended")
        return state

    def keep(self, state: Callable[[], TrainingState]) -> None:
        """Write the state, where the last time is long enough ago."""
        now = time.monotonic()
        if now - self._written < max(_EVERY, _TIMES * self._took):
            return
        self.run.keep_training(training_file.packed(state(), self._of, self.seconds + now - self._began))
        self._written = time.monotonic()
        self._took = self._written - now
