"""`--minutes`: rounds, updates and examples that fit into a budget, from the estimate of `--dry-run`.

What the user has set stays. Of the rest gives way, in this order: examples (halved, down to `LEAST_EXAMPLES`), updates
a round (down to `FEW_STEPS`), rounds (down to 1), updates again (down to `LEAST_STEPS`). Less is refused. The choice is
written to the run and found there by the next call on the same model and data: nothing is planned twice.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from prunekit.experiment import cost, dry_run
from prunekit.experiment.automatic import auto_every, auto_steps
from prunekit.experiment.baselines import measure as baselines
from prunekit.experiment.cost import Workload
from prunekit.experiment.dry_run import Part, Verb
from prunekit.experiment.pace import Pace
from prunekit.experiment.prepare import Prepared
from prunekit.experiment.settings import Experiment
from prunekit.runs.paths import SETTINGS
from prunekit.runs.run import Run
from prunekit.support.digest import identity
from prunekit.support.errors import ConfigError, PrunekitError

#: Examples of each split below which it is not halved.
LEAST_EXAMPLES = {"train": 256, "validation": 128, "test": 256}
#: Updates a round below which rounds give way, and below which nothing is trained.
FEW_STEPS, LEAST_STEPS = 60, 30
# of the budget, what is planned with: files are written, and machines disturbed
_USED = 0.85
#: What is trained in so many rounds, with all that is measured beside it, and how fast.
Trainings = Callable[[int], Sequence[tuple[Sequence[Part], Pace]]]


@dataclass(frozen=True)
class Budget:
    """How a verb is called that must be finished in time.

    Attributes:
        verb: which.
        controls: whether they are trained too.
        minutes: that it may take.
        varied: what `compare` trains besides its settings: methods and multiples of their rates.
        started: when its minutes began, by the monotonic clock.
    """

    verb: Verb | Literal["compare"]
    controls: bool
    minutes: float
    varied: tuple[str, ...] = ()
    started: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Minutes of it that are not spent yet."""
        return self.minutes - (time.monotonic() - self.started) / 60

    def request(self, asked: Experiment, full: Prepared) -> str:
        """A digest of what is asked for, by which the run that was planned for it is found again.

        Args:
            asked: as the user asked for it.
            full: the experiment with nothing given up: names of model and data do not say what they hold by now.
        """
        settings = asked.model_dump(mode="json", exclude={"machine"})
        digests = {name: full.digests[name] for name in ("model", "data", "task")}
        called = {"settings": settings, "verb": self.verb, "controls": self.controls, "minutes": self.minutes}
        return identity(called | {"digests": digests} | ({"varied": self.varied} if self.varied else {}))


@dataclass(frozen=True)
class Choice:
    """What fits into a budget.

    Attributes:
        steps: updates a round.
        rounds: prunings.
        examples: of the splits that gave way, by name.
        minutes: that it takes at most, by estimate.
    """

    steps: int
    rounds: int
    examples: Mapping[str, int]
    minutes: float

    def on(self, asked: Experiment) -> Experiment:
        """The experiment that was asked for, with the choice in the place of what was left open."""
        sections: dict[str, dict[str, Any]] = {
            "training": {"train_steps": self.steps},
            "pruning": {"rounds": self.rounds},
            "task": {f"{name}_examples": count for name, count in self.examples.items()},
        }
        changed = {name: getattr(asked, name).model_copy(update=update) for name, update in sections.items()}
        return asked.model_copy(update=changed)

    def sentence(self, full: Workload, rounds: int) -> str:
        """What gave way, and what it takes.

        Args:
            full: what would be done without a budget, in so many `rounds`.
        """
        shorter = [f"{getattr(full, name)} {name} examples to {count}" for name, count in self.examples.items()]
        shorter += [f"{full.steps} updates a round to {self.steps}"] if self.steps < full.steps else []
        shorter += [f"{rounds} rounds to {self.rounds}"] if self.rounds < rounds else []
        return f"at most {self.minutes:.1f} minutes by estimate; {', '.join(shorter) or 'nothing'} gave way"

    def facts(self, request: str) -> dict[str, Any]:
        """What the run keeps of it."""
        return {"request": request, "steps": self.steps, "rounds": self.rounds, "examples": dict(self.examples)}


def check_minutes(minutes: float | None) -> None:
    """Whether it is a budget, or none.

    Raises:
        ConfigError: where it is no time.
    """
    if minutes is not None and not 0 < minutes < math.inf:
        raise ConfigError(f"--minutes {minutes:g}: give a number of minutes above 0")


def chosen_before(budget: Budget, request: str, out: Path) -> Choice | None:
    """What an earlier call with the same `request` chose, from the run that it began."""
    for path in [out / SETTINGS, *sorted(out.glob(f"*/{SETTINGS}"))]:
        try:
            facts = Run(path.parent).settings().get("budget", {})
        except PrunekitError:  # no run, or damage that is another run's to report
            continue
        if facts.get("request") == request:
            return Choice(facts["steps"], facts["rounds"], facts["examples"], budget.minutes)
    return None


def trainings_of(verb: Verb, controls: bool, prepared: Prepared, pace: Pace) -> Trainings:
    """Those of a verb on one prompt, and its base lines."""
    base_lines = baselines.parts(prepared)
    return lambda rounds: [([*dry_run.parts(_with_rounds(prepared, rounds), verb, controls), *base_lines], pace)]


def fitted(
    budget: Budget,
    asked: Experiment,
    out: Path,
    full: Prepared,
    trainings: Callable[[], Trainings],
    say: Callable[[str], None],
) -> Choice:
    """What an earlier call of the same command chose, or else the first candidate that fits; either is said.

    Args:
        asked: as the user asked for it.
        out: folder of the runs.
        full: the experiment with nothing given up.
        trainings: times all that share the budget.

    Raises:
        ConfigError: where even the least takes longer, saying how long.
    """
    choice = chosen_before(budget, budget.request(asked, full), out)
    if choice is not None:
        say(f"--minutes {budget.minutes:g}: as this command chose when it was first called")
        return choice
    choice = choose(budget, full, asked, trainings())
    words = choice.sentence(Workload.of(full), full.experiment.pruning.rounds)
    say(f"--minutes {budget.minutes:g}: {words}")
    return choice


def choose(budget: Budget, prepared: Prepared, asked: Experiment, trainings: Trainings) -> Choice:
    """The first candidate that fits.

    Args:
        prepared: the experiment with nothing given up.
        asked: as the user asked for it: what is set there stays.
        trainings: all that share the budget; what gives way does so alike for each of them.

    Raises:
        ConfigError: where even the least takes longer, saying how long.
    """
    needed, left = 0.0, budget.left
    for workload, rounds, least in _candidates(prepared, asked, in_rounds=budget.verb == "prune"):
        jobs = trainings(rounds)
        every = None if asked.training.evaluate_every == "auto" else prepared.plan.evaluate_every
        cuts = [_cut(workload, steps, every) for steps in range(workload.steps + 1)]
        share = sum(_sizes(workload)) / sum(map(len, prepared.rows))
        minutes = [sum(_minutes(*job, cut, share) for job in jobs) for cut in cuts]
        steps = max((steps for steps, spent in enumerate(minutes) if spent <= left * _USED), default=0)
        if steps >= least:
            return Choice(steps, rounds, _shortened(prepared, workload), minutes[steps])
        needed = minutes[least] / _USED + budget.minutes - left
    raise ConfigError(
        f"--minutes {budget.minutes:.3g}: the least takes {needed:.1f} minutes; give more, fewer --seeds, a smaller "
        "--prompt-tokens, or leave open what you set of --rounds, --train-steps and the numbers of examples"
    )


def _minutes(parts: Sequence[Part], pace: Pace, workload: Workload, share: float) -> float:
    """Minutes at most; share: of all texts, those that are read."""
    return pace.reading * share / 60 + sum(spent.minutes for spent in cost.costs(parts, workload, pace))


def _candidates(prepared: Prepared, asked: Experiment, *, in_rounds: bool) -> Iterator[tuple[Workload, int, int]]:
    """How much is done at most, in how many rounds, and the fewest updates that will do: the best first."""
    rounds, is_fixed = prepared.experiment.pruning.rounds, asked.training.train_steps != "auto"
    workloads = list(_smaller(Workload.of(prepared), prepared, asked))
    for workload in workloads:
        yield workload, rounds, workload.steps
    workload = workloads[-1]
    few, least = (workload.steps if is_fixed else min(workload.steps, steps) for steps in (FEW_STEPS, LEAST_STEPS))
    lowest = rounds if not in_rounds or "rounds" in asked.pruning.model_fields_set else min(1, rounds)
    for number in range(rounds, lowest - 1, -1):
        yield workload, number, few
    yield workload, lowest, least


def _smaller(workload: Workload, prepared: Prepared, asked: Experiment) -> Iterator[Workload]:
    """The workload with ever fewer examples, and updates as they are by default for so many."""
    yield workload
    open_splits = {name for name in LEAST_EXAMPLES if getattr(asked.task, f"{name}_examples") is None}
    while larger := [name for name in open_splits if getattr(workload, name) > LEAST_EXAMPLES[name]]:
        halved = {name: max(LEAST_EXAMPLES[name], getattr(workload, name) // 2) for name in larger}
        workload = replace(workload, **halved)
        if asked.training.train_steps == "auto":
            workload = replace(workload, steps=auto_steps(workload.train, prepared.plan.batch_size))
        yield workload


def _cut(workload: Workload, steps: int, every: int | None) -> Workload:
    """The workload with so many updates, evaluated as often as is set, or by default."""
    return replace(workload, steps=steps, every=every or auto_every(steps))


def _sizes(workload: Workload) -> list[int]:
    return [getattr(workload, name) for name in LEAST_EXAMPLES]


def _with_rounds(prepared: Prepared, rounds: int) -> Prepared:
    pruning = prepared.experiment.pruning.model_copy(update={"rounds": rounds})
    return replace(prepared, experiment=prepared.experiment.model_copy(update={"pruning": pruning}))


def _shortened(prepared: Prepared, workload: Workload) -> dict[str, int]:
    """The splits that are smaller than they would be."""
    full = Workload.of(prepared)
    return {name: getattr(workload, name) for name in LEAST_EXAMPLES if getattr(workload, name) < getattr(full, name)}
