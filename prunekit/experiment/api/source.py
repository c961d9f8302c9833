"""What the functions that use a ticket take: a ticket, a run, or the path or address of either."""

from __future__ import annotations

from pathlib import Path

from prunekit.experiment.api.run import Run
from prunekit.experiment.reopen import OpenedTicket, opened
from prunekit.pruning.ticket import Ticket

#: A ticket in memory; a run or its directory, which mean its best ticket; an address such as "RUN@round=2,seed=1"; a
#: ticket file.
Source = Ticket | Run | Path | str


def opened_source(source: Source) -> OpenedTicket:
    """The ticket that is meant, with the run that it lies in.

    Raises:
        ArtifactError: naming the rounds and seeds that there are, where what is named is not among them.
        ConfigError: where a run has several prunings, or an address cannot be read.
    """
    if isinstance(source, Run):
        return opened(source.directory.folder(source.best_key))
    return opened(source)
