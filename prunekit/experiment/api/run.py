"""A finished run as an object: its table, its rounds, its tickets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from prunekit.experiment.api.ticket import Ticket
from prunekit.experiment.reopen import settings_for_use
from prunekit.runs import summary
from prunekit.runs.baselines import BaseLines, dense_or_smallest
from prunekit.runs.paths import DENSE, UNTRAINED, RunKey, Stage
from prunekit.runs.round_files import finished_ticket
from prunekit.runs.snapshot import Snapshot
from prunekit.support.errors import ArtifactError


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
        table = self.directory.results()
        return table[table["stage"].isin(["", self.stage])].reset_index(drop=True)

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
        finished = self.results[(self.results["arm"] == "") & (self.results["status"] == "done")]
        if Stage(self.stage).verb == "search":
            rows = finished[finished["stage"] == self.stage]
        else:
            best = dense_or_smallest(self.rounds, self.tolerance, BaseLines.of(self.directory))
            rows = finished[finished["round"] == (0 if best is None else best.round)]
        if rows.empty:
            raise ArtifactError(f"{self.path}: no ticket finished, so none is best")
        order = rows.sort_values([f"validation_{self.metric}", "seed"], ascending=[False, True])
        first = order.iloc[0]
        return self.ticket(int(first["seed"]), int(first["round"]))

    def ticket(self, seed: int = 0, round: int = 0, arm: str = "") -> Ticket:
        """The ticket as a finished round left it; arm: a control, such as "random", or "" for the ticket itself.

        Raises:
            ArtifactError: naming the rounds, seeds or arms that there are, where this one is not among them.
        """
        results = self.results
        tickets = results[results["arm"] == arm]
        if tickets.empty:
            arms = sorted(set(results["arm"]) - {""})
            raise ArtifactError(f'{self.path}: no arm "{arm}" {self._there_is("arm", arms)}')
        if not arm or round or (tickets["round"] == 0).any():  # other arms begin at the dense round of the ticket
            self._check_there(tickets, seed, round)
            stage = Stage(self.stage).inside(arm) if round or arm else DENSE
        else:
            stage = DENSE
        ticket = finished_ticket(self.directory, RunKey(stage, seed, round))
        return Ticket.of(ticket, settings_for_use(self.directory))

    def _check_there(self, tickets: pd.DataFrame, seed: int, round: int) -> None:
        """Raises: ArtifactError where the rows of an arm hold no such round or seed."""
        rounds = sorted(set(tickets["round"].astype(int)))
        if round not in rounds:
            raise ArtifactError(f"{self.path}: no round {round} {self._there_is('round', rounds)}")
        seeds = sorted(set(tickets[tickets["round"] == round]["seed"].astype(int)))
        if seed not in seeds:
            raise ArtifactError(f"{self.path}: no seed {seed} in round {round} {self._there_is('seed', seeds)}")

    def _there_is(self, what: str, names: Sequence[object]) -> str:
        """What can be asked for instead, such as "here: there are rounds 0 and 1"."""
        where = f"of {self.stage}" if self.stage else "of the dense stage"
        if names:
            listed = " and ".join(filter(None, (", ".join(map(str, names[:-1])), str(names[-1]))))
            available = f"there is {what} {listed}" if len(names) == 1 else f"there are {what}s {listed}"
        else:
            available = f"it has no {what}s"
        others = sorted(set(self.directory.results()["stage"]) - {"", UNTRAINED, self.stage})
        more = f'; other stages, such as Run(path, "{others[0]}"), have more' if others and not self.stage else ""
        return f"{where}: {available}{more}"

    @property
    def directory(self) -> Snapshot:
        """The directory as it is now: every file of it is checked as it is read."""
        return Snapshot.open(self.path)
