"""Planted words: of an instruction among filler every word is needed and nothing else, so that the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from analyses.studies.scores_know.planted import planted
from benchmarks.prunebench.entry import Entry
from prunekit import models
from prunekit.engine.probe import TicketProbe
from prunekit.experiment.prepare import encode
from prunekit.models import Encoded, FrozenModel
from prunekit.pruning.schedule import Keep
from prunekit.pruning.ticket import Ticket
from prunekit.tasks import load_splits, load_task
from prunekit.tasks.testbed import MODEL_PATH
from prunekit.tasks.testbed.grammar import TASKS, find_task

#: The twelve tasks of the testbed whose instructions its model knows.
KNOWN_TASKS = tuple(task.name for task in TASKS if not task.held_out)
COLUMNS = ("task", "seed", "entry", "words", "found", "passes")


class PlantedPrompts:
    """The prompts of all tasks, on the testbed's model."""

    def __init__(self, tasks: Sequence[str] = KNOWN_TASKS, examples: int = 32) -> None:
        self.model: FrozenModel = models.load(str(MODEL_PATH))
        self.rows = {name: self._encoded(name, examples) for name in tasks}

    def measure(self, entries: Sequence[Entry], seed: int) -> pd.DataFrame:
        """What each entry finds, with other filler in other places for each seed.

        Columns:
            task; seed; entry; words (of the instruction, which are to be found); found (of them among as many tokens of
                the highest score); passes (forward and backward through the model, summed over examples).
        """
        rows = []
        for name, examples in self.rows.items():
            ticket, needed = planted(self.model, find_task(name).instructions[0], seed)
            for entry in entries:
                top, passes = top_tokens(entry, replace(ticket, seed=seed), self.model, examples, len(needed))
                rows.append((name, seed, entry.name, len(needed), len(top & needed), passes))
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def _encoded(self, name: str, examples: int) -> list[Encoded]:
        task = load_task(f"testbed/{name}")
        splits = load_splits(task, data=None, train_examples=examples, validation_examples=1, test_examples=1)
        return encode(self.model, task, splits.train, 20)


def top_tokens(
    entry: Entry, ticket: Ticket, model: FrozenModel, examples: Sequence[Encoded], count: int
) -> tuple[set[int], float]:
    """The tokens that an entry would keep by its first examples, and passes forward and backward, summed over these."""
    probe = TicketProbe(ticket, model, examples[: entry.examples], keep=Keep(count, 1))
    scores = entry.finder.score(probe).token
    cost = probe.passes.forward + probe.passes.backward
    return set(scores.topk(count).indices.tolist()), cost * probe.examples
