"""Which trainings the sweep of defaults holds: models with their tasks, positions, rates, and what varies at auto."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

#: multiples of the learning rate that `auto` gives
FACTORS = (1.0, 3.0, 0.3, 10.0, 0.1)
#: the first three choose a rate by validation, the others judge it by test
SEEDS = (0, 1, 2, 3, 4, 5)
CHOOSING = SEEDS[:3]


@dataclass(frozen=True)
class Trial:
    """One training of all seeds.

    Attributes:
        model: its name here, a key of `MODELS`.
        task: a task's name.
        position: where the prompt stands.
        factor: the learning rate as a multiple of auto's.
        batch: examples per update.
        steps: updates.
        rounds: prunings after the dense round; 0 trains alone.
        pieces: pieces per token.
    """

    model: str
    task: str
    position: str
    factor: float = 1.0
    batch: int = 16
    steps: int = 100
    rounds: int = 0
    pieces: int = 16

    @property
    def facts(self) -> dict[str, Any]:
        """Its fields by name."""
        return asdict(self)


#: model -> its tasks and the positions that it has; the folder of a model and of a task's data is asked for by name
MODELS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "smollm2-135m-instruct": (("sst2", "subj"), ("suffix", "first")),
    "gemma3-270m": (("sst2", "subj"), ("suffix", "first")),
    "all-minilm-l6-v2": (("sst2", "subj"), ("after-cls", "first")),
    "stories260k": (("sst2", "subj"), ("suffix", "first")),
    "testbed": (("testbed/first-animal", "testbed/opposite-judge-topic"), ("first",)),
}


def trials(model: str) -> Iterator[Trial]:
    """The trainings of a model, the most informative first: a limit of time leaves out what matters least."""
    tasks, positions = MODELS[model]
    base = [Trial(model, task, position) for position in positions for task in tasks]
    for factor in FACTORS:
        for trial in base:
            yield replace(trial, factor=factor)
    # at equal numbers of examples read: half the batch is updated twice as often
    for trial in (trial for trial in base if trial.position == positions[0]):
        yield replace(trial, batch=8, steps=200)
        yield replace(trial, batch=32, steps=50)
        for pieces in (1, 4, 64):
            yield replace(trial, rounds=1, pieces=pieces)
        yield replace(trial, rounds=1)
