"""The ticket of a run by a short address: `RUN` is its best, `RUN@round=2,seed=1` or `RUN@dense` another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunekit.runs.paths import DENSE, SETTINGS, UNTRAINED, RunKey, Stage, is_trial
from prunekit.runs.snapshot import Snapshot
from prunekit.support.errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from prunekit.runs.reader import RunReader

TOLERANCE = 0.01
_FORM = "write RUN@round=2,seed=1, RUN@dense, RUN@prune-0123abcd, of a control RUN@random, of a trial RUN@grid/rank=4"


@dataclass(frozen=True)
class Address:
    """Which ticket of a run is meant; what is None is chosen as the best.

    Attributes:
        run: the run's directory.
        stage: a pruning or search, such as "prune-0123abcd"; None for the only one there is.
        arm: a control, or a trial of a search; "" the ticket itself.
    """

    run: Path
    stage: str | None = None
    arm: str = ""
    round: int | None = None
    seed: int | None = None

    @classmethod
    def parse(cls, text: Path | str) -> Address | None:
        """The address that a text is; None where it names no run, such as the path of a ticket file.

        Raises:
            ConfigError: where a run is named, and what stands behind its @ cannot be read.
        """
        if (Path(text) / SETTINGS).is_file():
            return cls(Path(text))
        run, at, words = str(text).rpartition("@")
        if not at or not (Path(run) / SETTINGS).is_file():
            return None
        parts: dict[str, Any] = {}
        for word in words.split(","):
            parts |= _part(word.strip(), str(text))
        return cls(Path(run), **parts)

    def key(self, tolerance: float = TOLERANCE) -> RunKey:
        """Where the ticket lies in the run.

        Args:
            tolerance: how far below dense on validation the best may be, in units of the primary metric.

        Raises:
            ArtifactError: naming the rounds, seeds or controls that there are, where this one is not among them.
            ConfigError: where the run has several prunings and none is named.
        """
        run = Snapshot.open(self.run)
        tickets = Tickets.of(run, only_stage(run, self.stage))
        round = tickets.usual_round(self.arm, tolerance) if self.round is None else self.round
        seed = tickets.best_seed(self.arm, round) if self.seed is None else self.seed
        return tickets.key(seed, round, self.arm)


@dataclass(frozen=True)
class Tickets:
    """The finished tickets of one pruning or search and of the dense round.

    Attributes:
        results: their rows of the run's results table.
        metric: the task's primary one.
    """

    path: Path
    stage: Stage
    results: pd.DataFrame
    metric: str

    @classmethod
    def of(cls, run: RunReader, stage: str) -> Tickets:
        """Those of a stage, "" for the dense round alone."""
        table = run.results()
        if not table.empty:
            shared = [] if Stage(stage).is_chosen_rate else [DENSE]  # what `compare` chose has no dense round
            table = table[table["stage"].isin([*shared, stage])].reset_index(drop=True)
        return cls(run.path, Stage(stage), table, str(run.settings()["metric"]))

    def usual_round(self, arm: str, tolerance: float) -> int:
        """The round that is meant where none is named: the smallest within tolerance, of a search or control the last.

        Raises:
            ArtifactError: where nothing finished.
        """
        finished = self._finished(arm)
        if arm:
            return int(finished["round"].max())
        from prunekit.runs.baselines import BaseLines, best_of_stage  # they load numpy, and a list of runs does not

        best = best_of_stage(self.results, self.stage, tolerance, BaseLines.of(Snapshot.open(self.path)))
        return 0 if best is None else best.round

    def best_seed(self, arm: str, round: int) -> int:
        """The seed that did best on validation in a round; ties: the first.

        Raises:
            ArtifactError: naming the rounds that there are, where this one is not among them.
        """
        finished = self._finished(arm)
        rows = finished[finished["round"] == round]
        if rows.empty:
            raise ArtifactError(f"{self.path}: no round {round} {self._choices('round', _values(finished, 'round'))}")
        order = rows.sort_values([f"validation_{self.metric}", "seed"], ascending=[False, True])
        return int(order.iloc[0]["seed"])

    def key(self, seed: int, round: int, arm: str = "") -> RunKey:
        """Where a finished ticket lies.

        Raises:
            ArtifactError: naming the rounds, seeds or controls that there are, where this one is not among them.
        """
        tickets = self._of_arm(arm)
        if not arm or round or (tickets["round"] == 0).any():  # other arms begin at the dense round of the ticket
            self._check(tickets, seed, round)
            within = round or arm or self.stage.is_chosen_rate
            return RunKey(self.stage.inside(arm) if within else DENSE, seed, round)
        return RunKey(DENSE, seed, round)

    def _of_arm(self, arm: str) -> pd.DataFrame:
        """Raises: ArtifactError where there is no such arm."""
        if self.results.empty:
            raise ArtifactError(f"{self.path}: no ticket finished, so none is best")
        tickets = self.results[self.results["arm"] == arm]
        if tickets.empty:
            arms = sorted(set(self.results["arm"]) - {""})
            raise ArtifactError(f'{self.path}: no arm "{arm}" {self._choices("arm", arms)}')
        return tickets

    def _finished(self, arm: str) -> pd.DataFrame:
        tickets = self._of_arm(arm)
        finished = tickets[tickets["status"] == "done"]
        if finished.empty:
            raise ArtifactError(f"{self.path}: no ticket finished, so none is best")
        return finished

    def _check(self, tickets: pd.DataFrame, seed: int, round: int) -> None:
        """Raises: ArtifactError where the rows of an arm hold no such round or seed."""
        rounds = _values(tickets, "round")
        if round not in rounds:
            raise ArtifactError(f"{self.path}: no round {round} {self._choices('round', rounds)}")
        seeds = _values(tickets[tickets["round"] == round], "seed")
        if seed not in seeds:
            raise ArtifactError(f"{self.path}: no seed {seed} in round {round} {self._choices('seed', seeds)}")

    def _choices(self, what: str, names: Sequence[object]) -> str:
        """What can be asked for instead, such as "of prune-0123abcd: there are rounds 0 and 1"."""
        where = f"of {self.stage}" if self.stage else "of the dense stage"
        if not names:
            return f"{where}: it has no {what}s{self._others()}"
        listed = " and ".join(filter(None, (", ".join(map(str, names[:-1])), str(names[-1]))))
        available = f"there is {what} {listed}" if len(names) == 1 else f"there are {what}s {listed}"
        return f"{where}: {available}{self._others()}"

    def _others(self) -> str:
        """Of the dense stage alone: that others have more."""
        others = sorted(set(Snapshot(self.path).results()["stage"]) - {"", UNTRAINED, self.stage})
        return f'; other stages, such as Run(path, "{others[0]}"), have more' if others and not self.stage else ""


def only_stage(run: RunReader, stage: str | None = None) -> Stage:
    """The stage of a run that is named, else its one pruning or search, else the dense round, or what `compare` chose.

    Raises:
        ConfigError: where there is none of that name, or the run has several.
    """
    if stage is not None:
        if stage and stage not in run.stages():
            raise ConfigError(f"{run.path}: has no stage {stage}; there are {', '.join(filter(None, run.stages()))}")
        return Stage(stage)
    stages = [pruned for pruned in run.stages() if pruned.is_pruned]
    if len(stages) > 1:
        raise ConfigError(
            f"{run.path}: has stages {', '.join(stages)}; choose one, as {run.path}@{stages[0]} or in Python "
            f'load(path, "{stages[0]}")'
        )
    if stages or any(key.stage.is_dense for key in run.tickets()):
        return stages[0] if stages else DENSE
    return max((chosen for chosen in run.stages() if chosen.is_chosen_rate), default=DENSE)


def _part(word: str, text: str) -> dict[str, Any]:
    """What a word behind the @ says, as a field of an address."""
    name, equals, value = word.partition("=")
    if name in ("round", "seed") and value.isdecimal():
        return {name: int(value)}
    if is_trial(word):
        return {"arm": word}
    if equals or not word:
        raise ConfigError(f"{text}: {_FORM}")
    if word == "dense":
        return {"round": 0}
    stage = Stage(word)
    return {"stage": word} if stage.is_pruned or stage.is_chosen_rate else {"arm": word}


def _values(tickets: pd.DataFrame, column: str) -> list[int]:
    return sorted(set(tickets[column].astype(int)))
