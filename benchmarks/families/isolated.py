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
class TrialOptions:
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


def try_all(chosen: Sequence[Architecture], jobs: int, options: TrialOptions) -> Iterator[Result]:
    """Results in the order asked for; jobs: processes side by side."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)

    def try_isolated(architecture: Architecture) -> Result:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_in_child, args=(theirs, architecture, options))
        started = time.monotonic()
        process.start()
        theirs.close()
        try:
            if ours.poll(options.seconds):
                result: Result = ours.recv()
                return result
            reason = f"not done after {options.seconds} s"
        except EOFError:
            reason = "the process ended without a result"
        finally:
            process.kill()
            process.join()
        seconds = round(time.monotonic() - started, 1)
        return Result(architecture.kind, architecture.family, "CRASH", reason, seconds=seconds)

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(try_isolated, chosen)


def _in_child(connection: Connection, architecture: Architecture, options: TrialOptions) -> None:
    """In the process of one architecture: try it and send what was found."""
    resource.setrlimit(resource.RLIMIT_AS, (options.gib * _GIB, options.gib * _GIB))
    connection.send(measure(architecture, options.fault, verbs=options.verbs))
