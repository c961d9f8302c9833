"""Tickets: a prompt is trained, pruned in one step by each finder, and trained on for as long as any other finder's."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import pandas as pd

import prunekit
from analyses.studies.study import pool
from benchmarks.prunebench.agreement import agreement, second_mask
from benchmarks.prunebench.entry import Entry
from benchmarks.prunebench.row_file import RowFile
from prunekit import models
from prunekit.experiment.prepare import encode
from prunekit.pruning.schedule import Keep
from prunekit.runs.paths import DENSE, RunKey
from prunekit.runs.round_files import starting_ticket
from prunekit.support.errors import ConfigError
from prunekit.tasks import load_splits, load_task
from prunekit.tasks.testbed import MODEL_PATH
from prunekit.tasks.testbed.grammar import find_task

#: P and K of the dense prompts.
TOKENS, PIECES = 16, 16
TRAIN_EXAMPLES, VALIDATION_EXAMPLES, TEST_EXAMPLES = 256, 128, 500
#: What tickets keep, by the name of the size.
SIZES = {
    "1/4 of the tokens": Keep(4, PIECES),
    "1/8 of the tokens": Keep(2, PIECES),
    "1/8 of the cells": Keep(4, 8),
}
#: Not the easiest: after `UPDATES` a prompt solves the others whatever is kept. The last two the model never saw.
TASKS = ("alike-kind", "count-kind", "opposite-alike-mood", "opposite-judge-topic")
UPDATES = 100
#: XPrompt's score, which others are compared with, and the random mask, which is always shown.
DEFAULT, CHANCE = "absolute", "random"
FINDERS = (DEFAULT, "leave-one-out", "integrated", "attention", "straight-through", CHANCE)
MOST_FINDERS = 6
COLUMNS = (
    "task", "updates", "size", "finder", "examples", "seed", "test", "pruned", "dense", "jaccard", "chance",
    "passes",
)  # fmt: skip


@dataclass(frozen=True)
class TicketPlan:
    """What is measured.

    Attributes:
        finders: at most six; the default and chance among them.
        tasks: of the testbed.
        seeds: a dense prompt for each, on each task.
        updates: of each training, dense or pruned.
        runs: folder of the runs, which are resumed.
        file: of the rows.
    """

    finders: tuple[Entry, ...]
    tasks: tuple[str, ...]
    seeds: int
    updates: int
    runs: Path
    file: RowFile

    def __post_init__(self) -> None:
        names = [entry.name for entry in self.finders]
        if len(names) > MOST_FINDERS or not {DEFAULT, CHANCE} <= set(names):
            raise ConfigError(
                f"finders = {', '.join(names)}: name at most {MOST_FINDERS} of the entries, {DEFAULT} and {CHANCE} "
                "among them, which the others are compared with"
            )
        for task in self.tasks:
            find_task(task)  # which refuses a name that is none
        for entry in self.finders:
            if 2 * entry.examples > TRAIN_EXAMPLES:
                raise ConfigError(
                    f"{entry.name}: two draws of {entry.examples} need over {TRAIN_EXAMPLES} examples; give it fewer"
                )

    def measure(self, processes: int = 1) -> pd.DataFrame:
        """Every row, those that the file has as they are; a task at a time in each process.

        Columns:
            task; updates (of each training); size (of `SIZES`); finder; examples (that it scores by); seed; test
                (accuracy of the ticket); pruned (its accuracy on `validation` before its first update); dense (on
                `test`, of the dense prompt); jaccard (of what the finder keeps on two draws of examples); chance (the
                mean of that index for random masks); passes (forward and backward through the model, summed over
                examples, of one scoring).
        """
        self.file.begin()
        if processes == 1:
            for task in self.tasks:
                _measure_task(self, task)
        else:
            with pool(processes) as workers:
                list(workers.map(partial(_measure_task, self), self.tasks))
        return self.rows()

    def rows(self) -> pd.DataFrame:
        """Of the file those that this plan asks for, in its order; columns as of `measure`."""
        table = self.file.rows(updates=self.updates)
        orders = {
            "task": list(self.tasks), "size": list(SIZES), "finder": [entry.name for entry in self.finders],
            "seed": list(range(self.seeds)),
        }  # fmt: skip
        for column, values in orders.items():
            table = table[table[column].isin(values)]
        table = table[table["examples"] == table["finder"].map({entry.name: entry.examples for entry in self.finders})]
        table = table.drop_duplicates(list(orders))  # more seeds than before come with those before
        places = {column: {value: place for place, value in enumerate(values)} for column, values in orders.items()}
        return table.sort_values(list(orders), key=lambda column: column.map(places[str(column.name)])).reset_index(
            drop=True
        )


class TaskTickets:
    """The prompts of one task, and what the finders make of them."""

    def __init__(self, plan: TicketPlan, task: str) -> None:
        self.plan, self.task = plan, f"testbed/{task}"
        self.model = models.load(str(MODEL_PATH))
        spec = load_task(self.task)
        splits = load_splits(
            spec, data=None, train_examples=TRAIN_EXAMPLES, validation_examples=VALIDATION_EXAMPLES, test_examples=1
        )
        self.rows = encode(self.model, spec, splits.train, TOKENS)

    def measure(self, entry: Entry, keep: Keep) -> pd.DataFrame:
        """The tickets of all seeds, trained side by side, and what the finder keeps on a second draw.

        Columns:
            seed; test; pruned; dense; jaccard; chance; passes: as of `TicketPlan.measure`.
        """
        run = self._run(entry, keep)
        rows = _accuracies(run)
        for seed in rows.index:
            start = starting_ticket(run.directory, RunKey(DENSE, seed, 0))
            second, passes = second_mask(entry, (run.ticket(seed), start), self.model, self.rows, keep)
            rows.loc[seed, ["jaccard", "chance"]] = agreement(run.ticket(seed, 1).mask, second)
            rows.loc[seed, "passes"] = passes
        return rows.reset_index()

    def _run(self, entry: Entry, keep: Keep) -> prunekit.Run:
        """One round by one finder; the dense prompts are those of the task's first run."""
        return prunekit.prune(
            "testbed", task=self.task, prompt_tokens=TOKENS, pieces=PIECES, train_examples=TRAIN_EXAMPLES,
            validation_examples=VALIDATION_EXAMPLES, test_examples=TEST_EXAMPLES, train_steps=self.plan.updates,
            patience=self.plan.updates, rounds=1, keep_tokens=keep.tokens, keep_pieces=keep.pieces, score=entry.score,
            score_examples=entry.examples, seeds=self.plan.seeds, out=self.plan.runs, threads=1, quiet=True,
        )  # fmt: skip


def _accuracies(run: prunekit.Run) -> pd.DataFrame:
    """By seed: test (of the tickets), pruned (on `validation`, before the first update), dense (on `test`)."""
    results, curves = run.results[run.results["arm"] == ""], run.curves
    first = curves[(curves["round"] == 1) & (curves["step"] == 0) & (curves["metric"] == run.metric)]
    rounds = {number: results[results["round"] == number].set_index("seed") for number in (0, 1)}
    test = f"test_{run.metric}"
    return pd.DataFrame({"test": rounds[1][test], "pruned": first.set_index("seed")["value"], "dense": rounds[0][test]})


def _measure_task(plan: TicketPlan, task: str) -> None:
    """Add what the file lacks of one task, and say how long each finder took at each size."""
    lacking = [cell for cell in product(SIZES, plan.finders) if _is_lacking(plan, task, *cell)]
    tickets = TaskTickets(plan, task) if lacking else None
    for size, entry in lacking:
        assert tickets is not None
        started = time.monotonic()
        rows = tickets.measure(entry, SIZES[size])
        plan.file.add(
            rows.assign(task=task, updates=plan.updates, size=size, finder=entry.name, examples=entry.examples)
        )
        minutes = (time.monotonic() - started) / 60
        print(f"{task}, {size}, {entry.name}: {minutes:.1f} minutes", file=sys.stderr, flush=True)


def _is_lacking(plan: TicketPlan, task: str, size: str, entry: Entry) -> bool:
    """Whether the finder can prune to that size, and has no row of some seed yet."""
    if SIZES[size].pieces < PIECES and "piece" not in entry.finder.levels:
        return False
    cell = {"task": task, "updates": plan.updates, "size": size, "finder": entry.name, "examples": entry.examples}
    return not plan.file.has(range(plan.seeds), **cell)
