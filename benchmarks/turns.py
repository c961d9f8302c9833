"""All sides of a benchmark on one job, one after another, again and again."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from transformers import AutoConfig

from benchmarks.measure import machine
from benchmarks.presets import Job
from benchmarks.worker import RATE, run

Outcomes = Mapping[str, Mapping[str, Any]]  # side -> what it found in one repeat


@dataclass(frozen=True)
class Turns:
    """What all sides made of a job, from which a page is made.

    Attributes:
        config: the model's configuration.
        repeats: one mapping of sides per repeat; each also holds the matrix rates, FLOP/s by precision, under "rate".
        command: that measures it again.
        machine: where it was measured, in words by name.
    """

    job: Job
    config: Any
    repeats: Sequence[Outcomes]
    command: str
    machine: Mapping[str, str]

    @property
    def sides(self) -> list[str]:
        """The sides that ran, in their order."""
        return [side for side in self.repeats[0] if side != RATE]


Report = TypeVar("Report", bound=Turns)


def measured(
    report: type[Report], job: Job, sides: str, repeats: int, check: Callable[[Outcomes], None], command: str
) -> Report:
    """The report of sides, named with commas, on a job; the arguments beside are those of `_take_turns`."""
    outcomes = list(_take_turns(job, [side.strip() for side in sides.split(",")], repeats, check))
    return report(job, AutoConfig.from_pretrained(job.model), outcomes, command, machine(job.threads, job.device))


def check_same(outcomes: Outcomes, facts: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Each of these facts is the same of all sides, which are returned.

    Raises:
        RuntimeError: naming what differs.
    """
    sides = {side: outcome for side, outcome in outcomes.items() if side != RATE}
    for fact in facts:
        values = {side: outcome[fact] for side, outcome in sides.items()}
        if len(set(values.values())) > 1:
            raise RuntimeError(f"not the same work: {fact} is {values}")
    return sides


def _take_turns(
    job: Job, sides: Sequence[str], repeats: int, check: Callable[[Outcomes], None]
) -> Iterator[dict[str, dict[str, Any]]]:
    """Every side once, then all again with the next seed; each repeat measures the matrix rate too.

    Args:
        check: raises where the sides of a repeat did not do the same work.
    """
    path = Path(job.folder) / "job.json"
    for seed in range(repeats):
        replace(job, seed=seed).save(path)
        outcomes = {}
        for side in (*sides, RATE):
            began = time.perf_counter()
            outcomes[side] = run(side, path, job.threads)
            print(f"repeat {seed}: {side}, {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        check(outcomes)
        yield outcomes
