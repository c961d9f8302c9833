"""A finished run as an object: its table, its rounds, its tickets."""

from __future__ import annotations

import html
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from prunekit.experiment.api.ticket import Ticket
from prunekit.experiment.reopen import settings_for_use
from prunekit.runs import summary
from prunekit.runs.address import Address, Tickets
from prunekit.runs.baselines import BaseLines
from prunekit.runs.overview import RunComparison, compare_runs
from prunekit.runs.paths import PRUNING_VERBS, RunKey
from prunekit.runs.round_files import finished_ticket
from prunekit.runs.snapshot import Snapshot

if TYPE_CHECKING:
    from prunekit.plots.run_plots import RunPlots


@dataclass(frozen=True, repr=False)
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
    def rounds(self) -> pd.DataFrame:
        """Each round over its seeds, the dense one first.

        Columns:
            stage, round; seeds (how many came to their end); tokens, pieces, cells (kept, counts); density (kept cells
                / (P x K), or free numbers / (P x H)); validation, test (means of the primary metric); low, high (95 % t
                interval of test over seeds, NaN with fewer than two); rank (kept directions), where these were pruned.
        """
        rounds = [entry.facts for entry in summary.summarise(self.results, self.metric, PRUNING_VERBS)]
        ranked = any("rank" in entry for entry in rounds)
        names = [field.name for field in fields(summary.RoundSummary) if field.name != "rank" or ranked]
        table = pd.DataFrame(rounds, columns=names)
        return table.astype({"low": float, "high": float})

    @property
    def curves(self) -> pd.DataFrame:
        """How training came on: `prunekit.analysis.tables.logs` of this stage and the dense round.

        Columns:
            run, task, model, method, labels, stage, arm, seed, round; step (updates); split; metric ("loss" in nats, or
                a metric's name); value.
        """
        from prunekit.analysis import tables

        logs = tables.logs([self.directory])
        return logs[logs["stage"].isin(["", self.stage])].reset_index(drop=True)

    @property
    def scores(self) -> pd.DataFrame:
        """The scores of every round's tokens and pieces: `prunekit.analysis.tables.scores`.

        Columns:
            run, task, model, method, labels, stage, arm, seed, round; kind (of score, such as "absolute"); level
                ("token", "piece"); token; piece (-1 at level token); score (larger = keep; NaN where dropped already);
                kept, next_kept (in this round, in the next); dropped_in (first round without it, -1: never); norm (L2
                of the trained values); pruned_by (whether this kind of score prunes).

        Raises:
            ArtifactError: where no finished round has scores.
        """
        from prunekit.analysis import tables

        return tables.scores([self.directory], self.stage)

    @property
    def directions(self) -> pd.DataFrame:
        """The directions that each round had and what became of them: `prunekit.analysis.tables.directions`.

        Raises:
            ArtifactError: where this stage pruned none.
        """
        from prunekit.analysis import tables

        return tables.directions([self.directory], self.stage)

    @property
    def predictions(self) -> pd.DataFrame:
        """What each ticket answered to each example: `prunekit.analysis.tables.answers`.

        Columns:
            run, task, model, method, labels, stage, arm, seed, round; split; example (its place in the split); choice,
                gold (places of the answer and of the right ones), right, score (log-probability of the answer, nats),
                or of written answers: answer, tokens, ended and the metrics; loss (nats).
        """
        from prunekit.analysis import tables

        return tables.answers(self.directory, self.stage)

    @property
    def controls(self) -> pd.DataFrame:
        """The tickets beside their controls, the dense prompt and the base lines: `prunekit.analysis.tables.arms`.

        Columns:
            task, model, seed; arm ("ticket", "dense", a control, a base line); test, validation (primary metric);
                tokens (kept); density (kept cells / (P x K)); updates (all that are behind the values).
        """
        from prunekit.analysis import tables

        return tables.arms(self.directory, self.stage)

    @property
    def plot(self) -> RunPlots:
        """The figures of this run: `plot.density()`, `.importance()`, `.token_map()`, ...; each returns its Axes."""
        from prunekit.plots.run_plots import RunPlots

        return RunPlots(self.directory, self.stage or None)

    def compare(self, *others: Run) -> RunComparison:
        """Runs side by side: `settings` are those that differ, `table` has the rounds of all."""
        return compare_runs([self.path, *(other.path for other in others)])

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

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.stage!r})"

    def _repr_html_(self) -> str:
        """In a notebook: its rounds, and the mask of its best ticket where a round is finished."""
        rounds = self.rounds
        best = "" if rounds.empty else self.best._repr_html_()
        title = f"{self.path.name} {self.stage or 'dense'}: {self.metric}"
        table = rounds.to_html(index=False, float_format="{:.3f}".format, na_rep="")
        return f"<p><b>{html.escape(title)}</b></p>{table}{best}"

    @property
    def _tickets(self) -> Tickets:
        return Tickets.of(self.directory, self.stage)

    def _ticket(self, key: RunKey) -> Ticket:
        return Ticket.of(finished_ticket(self.directory, key), settings_for_use(self.directory))
