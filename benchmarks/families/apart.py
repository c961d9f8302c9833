"""Architectures tried in processes of their own, each under a limit of time and of memory."""

from __future__ import annotations

import multiprocessing
import resource
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection

from benchmarks.families.catalogue import Architecture
from benchmarks.families.measure import Fault, Result, measure

# loaded once, in the process that the others are forked from
_PRELOAD = ["benchmarks.families.measure", "transformers.generation", "peft"]
_GIB = 2**30


@dataclass(frozen=True)
class Order:
    """What is tried of an architecture, and under which limits.

    Attributes:
        fault: one to plant, or None.
        verbs: whether prune, search, score, attach and export are tried.
        seconds: what one architecture may take, of time and of address space.
        gib: what one architecture may take, of time and of address space.
    """

    fault: Fault | None = None
    verbs: bool = True
    seconds: int = 120
    gib: int = 12


def tried(chosen: Sequence[Architecture], jobs: int, order: Order) -> Iterator[Result]:
    """Results in the order asked for; jobs: processes side by side."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)

    def alone(architecture: Architecture) -> Result:
        ours, its = context.Pipe(duplex=False)
        process = context.Process(target=_in_child, args=(its, architecture, order))
        began = time.monotonic()
        process.start()
        its.close()
        try:
            if ours.poll(order.seconds):
                result: Result = ours.recv()
                return result
            reason = f"not done after {order.seconds} s"
        except EOFError:
            reason = "the process ended without a result"
        finally:
            process.kill()
            process.join()
        took = round(time.monotonic() - began, 1)
        return Result(architecture.kind, architecture.family, "CRASH", reason, seconds=took)

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(alone, chosen)


def _in_child(answer: Connection, architecture: Architecture, order: Order) -> None:
    """In the process of one architecture: try it and send what was found."""
    resource.setrlimit(resource.RLIMIT_AS, (order.gib * _GIB, order.gib * _GIB))
    answer.send(measure(architecture, order.fault, verbs=order.verbs))
