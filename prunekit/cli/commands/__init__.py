"""The verbs, thin: flags in, one call of the library; nothing heavy is imported before a verb runs."""

import typer

from prunekit.cli.commands import listing, tickets, training

app = typer.Typer(
    help="Train, score, prune and analyse soft prompts on frozen language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _verbs in (training.app, tickets.app, listing.app):
    app.add_typer(_verbs)
app.add_typer(listing.tasks_app, name="tasks")
app.add_typer(listing.runs_app, name="runs")

__all__ = ["app"]
