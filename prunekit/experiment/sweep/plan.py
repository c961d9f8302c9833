"""How long many jobs take on so many workers: the rule by which every engine here hands them out, played through."""

from __future__ import annotations

import heapq
from collections.abc import Sequence


def spread(seconds: Sequence[float], workers: int, *, start: float = 0.0, handing: float = 0.0) -> float:
    """Seconds until all jobs are done, each given in its turn to the worker that is free first.

    Args:
        seconds: of each job, in the order they are handed out; any unit does.
        start: what a worker needs once before its first job.
        handing: what handing out one job costs the one who does it, jobs going out one after the other.
    """
    free = [start] * min(workers, len(seconds))
    heapq.heapify(free)
    handed = end = 0.0
    for spent in seconds:
        handed += handing
        ended = max(heapq.heappop(free), handed) + spent
        end = max(end, ended)
        heapq.heappush(free, ended)
    return end
