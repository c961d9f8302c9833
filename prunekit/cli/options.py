"""The options that several verbs take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ExperimentFile = Annotated[
    Path | None,
    typer.Option("--experiment", help="TOML file of settings, or a name of `prunekit presets`; flags go over it"),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="folder that holds runs")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="say what would be done, and how long it may take; write nothing")
]
Minutes = Annotated[
    float | None,
    typer.Option("--minutes", help="a budget: rounds, updates and examples that are not set are chosen to fit into it"),
]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
Tolerance = Annotated[
    float,
    typer.Option(min=0.0, help="how far below dense, on validation, a ticket may be; also the equivalence margin"),
]
CacheMemory = Annotated[
    float,
    typer.Option(min=0.0, help="position prefix-kv: GB for the prefixes of requests; the tables say how many fit"),
]
Controls = Annotated[
    bool, typer.Option("--controls", help="train the controls too, and compare: is the ticket better than they are?")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="replace what is there, also where prunekit did not write it")
]
TicketPath = Annotated[
    Path,
    typer.Argument(
        help="a run, which means its best ticket; RUN@round=2,seed=1 or RUN@dense for another; or a ticket file"
    ),
]
Track = Annotated[
    str | None,
    typer.Option("--track", help="show every round to: tensorboard, wandb, or module:class of your own tracker"),
]
AllowChanged = Annotated[
    bool,
    typer.Option("--allow-changed", help="go on with another model, task, data or precision than it was made with"),
]
