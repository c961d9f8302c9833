"""What a request behind each ticket of a run takes, timed once for each number of tokens that tickets keep."""

from __future__ import annotations

from collections.abc import Sequence

from prunekit.engine.request_times import RequestTimes, request_times
from prunekit.experiment.prefix import slots
from prunekit.models import FrozenModel
from prunekit.models.prefix_decoder import PrefixDecoder
from prunekit.pruning.ticket import Ticket


class RequestTimer:
    """Times requests behind prefixes, each beside one behind all of its tokens at the same time.

    Controls keep as many tokens as their tickets, so that most cohorts of a run find their sizes timed.
    """

    def __init__(self, model: FrozenModel) -> None:
        self._model = model
        self._pairs: dict[tuple[int, int], tuple[RequestTimes, RequestTimes]] = {}

    def of(self, tickets: Sequence[Ticket]) -> list[dict[str, float]]:
        """Seconds a token behind what each ticket keeps, and behind all: of prompts that are no prefixes nothing."""
        if not isinstance(self._model, PrefixDecoder):
            return [{} for _ in tickets]
        sizes = [(slots(ticket), len(ticket.mask.token)) for ticket in tickets]
        self._time(self._model, sorted(set(sizes) - self._pairs.keys()))
        rows = (self._pairs[size] for size in sizes)
        return [
            kept._asdict() | {f"dense_{name}": value for name, value in dense._asdict().items()} for kept, dense in rows
        ]

    def _time(self, model: PrefixDecoder, sizes: Sequence[tuple[int, int]]) -> None:
        counts = sorted({count for size in sizes for count in size})
        times = dict(zip(counts, request_times(model, counts), strict=True)) if counts else {}
        self._pairs |= {(kept, dense): (times[kept], times[dense]) for kept, dense in sizes}
