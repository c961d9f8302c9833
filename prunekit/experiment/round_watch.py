"""What is said of a round while it is trained: how it comes on, and how long all that is left may take."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Sequence
from statistics import fmean

from prunekit.engine.optimizer import Plan
from prunekit.engine.train import Cull, Standing
from prunekit.support.terminal import Tick

# seconds of training before it is known how fast it goes
_MEASURED = 3.0


class TimeLeft:
    """How long a whole job takes yet at most, from how long it took so far: evaluation and scoring included.

    Attributes:
        updates: that are left, an update of each member counted by itself, where none stops early.
    """

    def __init__(self, updates: float = 0) -> None:
        self.updates, self._made, self._began = updates, 0, math.nan

    def begin(self) -> None:
        """The first update is about to be made."""
        if math.isnan(self._began):
            self._began = time.monotonic()

    def make(self, updates: int) -> None:
        """So many updates more have been made."""
        self._made += updates
        self.updates -= updates

    def skip(self, updates: int) -> None:
        """So many need not be made, since a cohort stopped early."""
        self.updates -= updates

    @property
    def seconds(self) -> float:
        """NaN where too little was done to tell, or nothing is known of the whole."""
        spent = time.monotonic() - self._began
        if self.updates < 0 or not self._made or not spent > _MEASURED:
            return math.nan
        return spent * self.updates / self._made

    @property
    def words(self) -> str:
        """Such as "at most 4 min left"; "" where it is not known."""
        if math.isnan(seconds := self.seconds):
            return ""
        minutes = math.ceil(seconds / 60)
        if minutes < 2:
            return f"at most {max(1, math.ceil(seconds))} s left" if seconds < 60 else "at most 2 min left"
        hours, minutes = divmod(minutes, 60)
        return f"at most {hours} h {minutes} min left" if hours else f"at most {minutes} min left"


class RoundWatch:
    """Tells a progress bar how a cohort's training comes on.

    Attributes:
        members: how many are trained side by side.
    """

    def __init__(self, tick: Tick, plan: Plan, chosen_by: str, members: int, left: TimeLeft) -> None:
        self.members = members
        self._tick, self._plan, self._chosen_by, self._left = tick, plan, chosen_by, left
        self._standing, self._step = "", 0
        left.begin()

    def hearing(self, rule: Cull | None) -> Cull:
        """A rule of who leaves, by which the standings are heard; the rule may be that nobody does."""

        def cull(step: int, standings: Sequence[Standing | None]) -> Collection[int]:
            if sound := [standing for standing in standings if standing is not None]:
                self._standing = self._words(sound)
            return rule(step, standings) if rule else ()

        return cull

    def _words(self, standings: Sequence[Standing]) -> str:
        """Such as "loss 0.412, accuracy 0.812 (best 0.844), stops in 2": means over members, and who waits least."""
        sign = -1 if self._chosen_by == "loss" else 1
        name = "validation loss" if sign < 0 else self._chosen_by
        now, best = (sign * fmean(getattr(standing, part) for standing in standings) for part in ("reached", "best"))
        loss, waited = fmean(standing.loss for standing in standings), min(standing.waited for standing in standings)
        words = f"loss {loss:.3f}, {name} {now:.3f} (best {best:.3f})"
        return f"{words}, stops in {self._plan.patience - waited}" if 0 < waited < self._plan.patience else words

    def tick(self, step: int) -> None:
        """An update of all members."""
        self._left.make(self.members * (step - self._step))
        self._step = step
        self._tick(step, ", ".join(filter(None, (self._standing, self._left.words))))

    def skip(self, step: int) -> None:
        """So many updates were made by an earlier process."""
        self._left.skip(self.members * step)
        self._step = step

    def end(self) -> None:
        """The cohort has been trained."""
        self._left.skip(self.members * (self._plan.train_steps - self._step))
