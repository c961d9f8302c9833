"""The verbs of the command line, in the order of its help; of them only the one that is called is imported."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib import import_module
from typing import Annotated

import typer

from prunekit import __version__
from prunekit.cli.help import Command, Group
from prunekit.cli.usual import USUAL
from prunekit.support import terminal

#: Each verb: the function (or, of several in one, the app) in the module of its name, and its line in the help.
VERBS = {
    "prune": ("prune", "Train a prompt, then score, prune, rewind and retrain it."),
    "search": ("search", "Try token and piece ratios, or ranks (XPrompt); choose on validation."),
    "tune": ("tune", "Train a prompt, without pruning it."),
    "compare": ("compare", "Train every method at its best learning rate, and compare them."),
    "sweep": ("sweep", "Run a grid of experiments on all cores, or a cluster."),
    "eval": ("evaluate", "Judge a ticket on a task."),
    "score": ("score", "How much each token or piece of a ticket is worth."),
    "predict": ("predict", "Answer unlabelled rows with a ticket."),
    "export": ("export", "Write a ticket as a PEFT adapter, or as vectors."),
    "import": ("import_adapter", "Make a ticket of a PEFT adapter: prompt or prefix tuning."),
    "methods": ("methods", "List the parameterisations of a prompt."),
    "presets": ("presets", "List the settings of papers, for `--experiment NAME`."),
    "report": ("report", "One HTML page of runs."),
    "figures": ("figures", "Pictures of runs for a paper, each with its table."),
    "demo": ("demo", "A page to play with: a slider over what a prompt keeps."),
    "tasks": ("app", "List and show tasks."),
    "runs": ("app", "List, show, verify and compare runs."),
}
# modules that may not be called like their verb
_MODULES = {"import": "import_"}
_HELP = ["-h", "--help"]


def build_app(words: Collection[str] | None = None) -> typer.Typer:
    """The command line as typer knows it.

    Args:
        words: those it is called with: verbs that are not among them are listed in its help and can do nothing, so that
            nothing of them is imported; None for all verbs.
    """
    is_short_help = words is not None and _is_short_help([*words])
    # to read even an option that is not there takes pydantic, as long as all the rest: no option stands before the verb
    app = typer.Typer(
        help="Train, score, prune and analyse soft prompts on frozen language models.",
        no_args_is_help=True,
        cls=Group,
        context_settings={"help_option_names": [] if is_short_help else _HELP},
        pretty_exceptions_enable=False,
        add_completion=not is_short_help,
    )
    if not is_short_help:
        app.callback()(_root)
    for name, (function, line) in VERBS.items():
        if words is None or (name in words and not is_short_help):
            _add(app, name, getattr(import_module(f"prunekit.cli.{_MODULES.get(name, name)}"), function))
        else:
            app.command(name, cls=Command, help=line, context_settings={"help_option_names": _HELP})(_listed)
    return app


def _is_short_help(words: Sequence[str]) -> bool:
    """Whether nothing but the short help of a verb is asked for, which is at hand without its flags."""
    usual = USUAL.get(words[0]) if words else None
    return usual is not None and bool(usual.flags) and len(words) == 2 and words[1] in _HELP


def _print_version(version: bool) -> None:
    if version:
        terminal.write(f"prunekit {__version__}")
        raise typer.Exit


def _add(app: typer.Typer, name: str, verb: object) -> None:
    if isinstance(verb, typer.Typer):
        app.add_typer(verb, name=name)
    elif callable(verb):
        app.command(name, cls=Command)(verb)


def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """What stands before a verb."""


def _listed() -> None:
    """Stands for a verb that is only listed."""
