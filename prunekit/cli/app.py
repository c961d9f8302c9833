"""The verbs of the command line, in the order of its help; nothing heavy is imported before a verb runs."""

from __future__ import annotations

import typer

from prunekit.cli import (
    compare,
    eval,
    export,
    figures,
    import_,
    methods,
    predict,
    presets,
    prune,
    report,
    runs,
    score,
    search,
    sweep,
    tasks,
    tune,
)

app = typer.Typer(
    help="Train, score, prune and analyse soft prompts on frozen language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(prune.prune)
app.command()(search.search)
app.command()(tune.tune)
app.command()(compare.compare)
app.command()(sweep.sweep)
app.command("eval")(eval.evaluate)
app.command()(score.score)
app.command()(predict.predict)
app.command()(export.export)
app.command("import")(import_.import_adapter)
app.command()(methods.methods)
app.command()(presets.presets)
app.command()(report.report)
app.command()(figures.figures)
app.add_typer(tasks.app, name="tasks")
app.add_typer(runs.app, name="runs")
