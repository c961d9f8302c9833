"""The verbs of the command line, in the order of its help; of them only the one that is called is imported."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module

import typer

#: Each verb: the function (or, of several in one, the app) in the module of its name, and its line in the help.
VERBS = {
    "prune": ("prune", "Train a prompt, then score, prune, rewind and retrain it, round after round."),
    "search": ("search", "Try ratios of kept tokens and pieces (XPrompt), and choose on validation."),
    "tune": ("tune", "Train a prompt, without pruning it."),
    "compare": ("compare", "Train every method at several learning rates, and compare them at their best."),
    "sweep": ("sweep", "Run a grid of experiments on all cores, or a cluster."),
    "eval": ("evaluate", "Judge a ticket on a task."),
    "score": ("score", "Importance of a ticket's tokens or pieces; which of them are better left out."),
    "predict": ("predict", "Answer unlabelled rows with a ticket."),
    "export": ("export", "Write a ticket for use without prunekit: a PEFT adapter, or vectors."),
    "import": ("import_adapter", "Make a ticket of a PEFT prompt-tuning adapter."),
    "methods": ("methods", "List the parameterisations of a prompt."),
    "presets": ("presets", "List the settings of papers that ship with prunekit, for `--experiment NAME`."),
    "report": ("report", "One HTML page of runs."),
    "figures": ("figures", "Pictures of runs for a paper, each with its table."),
    "tasks": ("app", "List and show tasks."),
    "runs": ("app", "List, show, verify and compare runs."),
}
# modules that may not be called like their verb
_MODULES = {"import": "import_"}


def build_app(words: Collection[str] | None = None) -> typer.Typer:
    """The command line as typer knows it.

    Args:
        words: those it is called with: verbs that are not among them are listed in its help and can do nothing, so that
            nothing of them is imported; None for all verbs.
    """
    app = typer.Typer(
        help="Train, score, prune and analyse soft prompts on frozen language models.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for name, (function, line) in VERBS.items():
        if words is None or name in words:
            _add(app, name, getattr(import_module(f"prunekit.cli.{_MODULES.get(name, name)}"), function))
        else:
            app.command(name, help=line)(_listed)
    return app


def _add(app: typer.Typer, name: str, verb: object) -> None:
    if isinstance(verb, typer.Typer):
        app.add_typer(verb, name=name)
    elif callable(verb):
        app.command(name)(verb)


def _listed() -> None:
    """Stands for a verb that is only listed."""
