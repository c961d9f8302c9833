"""A finished run as an object: its table, its rounds, its tickets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from prunekit.experiment.api.ticket import Ticket
from prunekit.experiment.reopen import settings_for_use
from prunekit.runs import summary
from prunekit.runs.address import Address, Tickets
from prunekit.runs.baselines import BaseLines
from prunekit.runs.paths import RunKey
from prunekit.runs.round_files import finished_ticket
from prunekit.runs.snapshot import Snapshot


@dataclass(frozen=True)
class Run:
    """What was learned: a run directory, and the stage of it that was asked for.

    Attributes:
        path: of the directory; a string will do.
        stage: such as "prune-0123abcd"; "" is the dense round alone.
        tolerance: how far below dense on validation `best` may be, in units of the primary metric.
    """

    path: Path
    stage: str = ""
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    @property
    def results(self) -> pd.DataFrame:
        """One row per finished ticket of this stage and of the dense round."""
        return self._tickets.results

    @property
    def rounds(self) -> list[summary.RoundSummary]:
        """Each round over its seeds."""
        return summary.summarise(self.results, self.metric)

    @property
    def metric(self) -> str:
        """The task's primary one."""
        return str(self.directory.settings()["metric"])

    @property
    def baselines(self) -> pd.DataFrame:
        """What there is without a trained prompt, and whether the dense prompt beats it: `BaseLines.table`."""
        return BaseLines.of(self.directory).table

    @property
    def nothing_to_prune(self) -> str | None:
        """A sentence where the dense prompt does not beat every base line on validation, and what to try; else None."""
        return BaseLines.of(self.directory).nothing_to_prune

    @property
    def best(self) -> Ticket:
        """The smallest ticket within `tolerance` of dense on validation; of its seeds, the best there.

        Where the dense prompt does not beat its base lines (`nothing_to_prune` says so), the dense one. Of a search,
        the chosen ticket of the best seed.

        Raises:
            ArtifactError: where nothing finished.
        """
        return self._ticket(self.best_key)

    @property
    def best_key(self) -> RunKey:
        """Where `best` lies in the directory; errors as there."""
        return Address(self.path, self.stage).key(self.tolerance)

    def ticket(self, seed: int = 0, round: int = 0, arm: str = "") -> Ticket:
        """The ticket as a finished round left it; arm: a control, such as "random", or "" for the ticket itself.

        Raises:
            ArtifactError: naming the rounds, seeds or arms that there are, where this one is not among them.
        """
        return self._ticket(self._tickets.key(seed, round, arm))

    @property
    def directory(self) -> Snapshot:
        """The directory as it is now: every file of it is checked as it is read."""
        return Snapshot.open(self.path)

    @property
    def _tickets(self) -> Tickets:
        return Tickets.of(self.directory, self.stage)

    def _ticket(self, key: RunKey) -> Ticket:
        return Ticket.of(finished_ticket(self.directory, key), settings_for_use(self.directory))
