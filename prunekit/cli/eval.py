"""`prunekit eval`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from prunekit.cli.options import AllowChanged, Json, TicketPath
from prunekit.experiment import settings_io
from prunekit.support import terminal


@settings_io.with_settings("model", "task", "machine")
def evaluate(
    ticket: TicketPath,
    split: Annotated[str, typer.Option(help="train, validation or test")] = "test",
    allow_changed: AllowChanged = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Judge a ticket on a task; model and task default to those it was made with."""
    from prunekit.experiment.api import evaluate as library

    facts = library.evaluate(ticket, split=split, allow_changed=allow_changed, **settings)
    if json:
        terminal.write_json(facts)
        return
    if intervals := facts.get("intervals"):
        print_written(facts, intervals)
        return
    metrics = {name: value for name, value in facts.items() if name != "differs"}
    cells = [f"{value:.4f}" if isinstance(value, float) else str(value) for value in metrics.values()]
    terminal.show(list(metrics), [cells])


def print_written(facts: Mapping[str, Any], intervals: Mapping[str, tuple[float, float]]) -> None:
    """A line for each metric of written answers with its interval over rows, and for the loss."""
    lines = [[name, f"{facts[name]:.4f}", "[{:.4f}, {:.4f}]".format(*ends)] for name, ends in intervals.items()]
    title = f"{facts['examples']} rows of {facts['split']}; loss in nats"
    terminal.show(["metric", "value", "95 % over rows"], [*lines, ["loss", f"{facts['loss']:.4f}", ""]], title=title)
