"""The command line: thin verbs. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, ClassVar

import typer

from prunekit import console, flags
from prunekit.errors import ConfigError, PrunekitError

app = typer.Typer(
    help="Train, score, prune and analyse soft prompts on frozen language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
runs_app = typer.Typer(help="List, show, verify and compare runs.", no_args_is_help=True)
app.add_typer(runs_app, name="runs")

ExperimentFile = Annotated[Path | None, typer.Option("--experiment", help="TOML file of settings; flags go over it")]
Out = Annotated[Path, typer.Option("--out", help="folder that holds runs")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="say what would be done, and how long it may take; write nothing")
]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
Tolerance = Annotated[
    float, typer.Option(min=0.0, help="how far below dense, on selection, a ticket may be; also the equivalence margin")
]
Controls = Annotated[
    bool, typer.Option("--controls", help="train the controls too, and compare: is the ticket better than they are?")
]
TicketPath = Annotated[Path, typer.Argument(help="round directory of a run, or a ticket file")]
SECTIONS = ("model", "task", "prompt", "training")


@app.command()
@flags.with_settings("", *SECTIONS, "pruning", "machine")
def prune(
    experiment: ExperimentFile = None,
    out: Out = Path("runs"),
    controls: Controls = False,
    tolerance: Tolerance = 0.01,
    dry_run: DryRun = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Train a prompt, then score, prune, rewind and retrain it, round after round. Run again to resume."""
    wanted = flags.experiments(experiment, settings)
    from prunekit import verbs

    verbs.train(wanted, verbs.Wish("prune", out, tolerance, controls, dry_run, json))


@app.command()
@flags.with_settings("", *SECTIONS, "search", "pruning.score", "pruning.rewind", "pruning.absent", "machine")
def search(
    experiment: ExperimentFile = None,
    out: Out = Path("runs"),
    controls: Controls = False,
    tolerance: Tolerance = 0.01,
    dry_run: DryRun = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """XPrompt's search: score once, try ratios of tokens and pieces, choose on selection. Run again to resume."""
    wanted = flags.experiments(experiment, settings)
    from prunekit import verbs

    verbs.train(wanted, verbs.Wish("search", out, tolerance, controls, dry_run, json))


@app.command()
@flags.with_settings("", *SECTIONS, "machine")
def tune(
    experiment: ExperimentFile = None,
    out: Out = Path("runs"),
    dry_run: DryRun = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Train a prompt, no pruning. `prune` and `search` with the same settings go on from it."""
    wanted = flags.experiments(experiment, settings)
    from prunekit import verbs

    verbs.train(wanted, verbs.Wish("tune", out, dry_run=dry_run, json=json))


@app.command("eval")
@flags.with_settings("model", "task", "machine")
def evaluate(
    ticket: TicketPath,
    split: Annotated[str, typer.Option(help="train, selection or report")] = "report",
    json: Json = False,
    **settings: Any,
) -> None:
    """Judge a ticket on a task; model and task default to those it was made with."""
    from prunekit import verbs

    verbs.evaluate(ticket, split, settings, json=json)


@app.command()
@flags.with_settings("model", "task", "machine")
def score(
    ticket: TicketPath,
    kind: Annotated[
        str, typer.Option(help="leave-one-out, shapley, absolute, signed, squared, magnitude, random")
    ] = "leave-one-out",
    level: Annotated[str, typer.Option(help="token or piece")] = "token",
    examples: Annotated[int | None, typer.Option(min=2, help="at most so many; default: all of the split")] = None,
    permutations: Annotated[int, typer.Option(help="orders drawn for Shapley values, an even number")] = 16,
    json: Json = False,
    **settings: Any,
) -> None:
    """Importance of a finished ticket's tokens or pieces; which of them are better left out."""
    from prunekit import scoring

    wish = scoring.Wish(kind, level, examples, permutations)  # type: ignore[arg-type]  # checked by Wish itself
    scoring.score(ticket, wish, settings, json=json)


@app.command()
@flags.with_settings("model", "task", "machine")
def predict(
    ticket: TicketPath,
    rows: Annotated[Path, typer.Argument(help="JSONL file of unlabelled rows")],
    out: Annotated[Path | None, typer.Option("--out", help="JSONL file to write; default: standard output")] = None,
    **settings: Any,
) -> None:
    """Answer unlabelled rows with a ticket, JSONL in and out."""
    from prunekit import verbs

    verbs.predict(ticket, rows, out, settings)


@app.command()
def tasks(json: Json = False) -> None:
    """List the tasks there are, one line each."""
    from prunekit.tasks import list_tasks

    found = list_tasks()
    if json:
        import json as codec

        console.write(codec.dumps([{"name": one.name, "description": one.description} for one in found]))
        return
    console.show(
        ["task", "metrics", "what it asks"], [[one.name, ", ".join(one.metrics), one.description] for one in found]
    )


@app.command()
@flags.with_settings("model")
def methods(
    prompt_tokens: Annotated[int, typer.Option(min=1, help="prompt tokens P")] = 20, json: Json = False, **settings: Any
) -> None:
    """List the parameterisations of a prompt, with what each trains on the chosen model."""
    from prunekit import verbs

    verbs.methods(settings, prompt_tokens, json=json)


@runs_app.command("list")
def runs_list(out: Out = Path("runs"), json: Json = False) -> None:
    """The runs inside a folder."""
    from prunekit import inspection

    inspection.list_runs(out, json=json)


@runs_app.command("show")
def runs_show(run: Path, tolerance: Tolerance = 0.01, json: Json = False) -> None:
    """The rounds of a run and what was found."""
    from prunekit import inspection

    inspection.show(run, tolerance, json=json)


@runs_app.command("verify")
def runs_verify(runs: list[Path]) -> None:
    """Check every file of finished rounds against its manifest."""
    from prunekit import inspection

    inspection.verify(runs)


@runs_app.command("compare")
def runs_compare(runs: list[Path], json: Json = False) -> None:
    """Runs side by side: the settings that differ, and their rounds."""
    from prunekit import inspection

    inspection.compare(runs, json=json)


class _Stopped(BaseException):
    """Ctrl-C or SIGTERM came; not a KeyboardInterrupt, which typer would swallow."""

    words: ClassVar = {signal.SIGINT: ("interrupted", 130), signal.SIGTERM: ("terminated", 143)}

    def __init__(self, number: int) -> None:
        super().__init__()
        self.word, self.exit_code = self.words[signal.Signals(number)]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 the run failed, 2 usage or configuration, 130 Ctrl-C, 143 SIGTERM."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    # waiting threads sleep instead of spinning: on a shared machine a round of the testbed took 8 s spinning, 5 s so
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for number in _Stopped.words:
        signal.signal(number, _stop)
    try:
        command = typer.main.get_command(app)
        code = command.main([one for one in arguments if one != "--debug"], prog_name="prunekit", standalone_mode=False)
    except BaseException as error:
        if debug and not isinstance(error, SystemExit):
            raise
        sys.exit(_report(error))
    sys.exit(code if isinstance(code, int) else 0)


def _report(error: BaseException) -> int:
    """One line for the user; the exit code."""
    match error:
        case SystemExit():
            return error.code if isinstance(error.code, int) else 1
        case PrunekitError():
            return _say(str(error), error.exit_code)
        case _Stopped():
            return _say(f"{error.word}; finished rounds are kept, run the same command again to go on", error.exit_code)
        case OSError():
            return _say(f"{error.filename or ''}: {error.strerror or error}; nothing finished was lost", 1)
    if hasattr(error, "format_message"):  # typer's own, or click's under an older typer
        return _say(f"{error.format_message()} See `prunekit --help`.", ConfigError.exit_code)
    return _say(f"{type(error).__name__}: {error} (this should not happen; --debug shows where)", 1)


def _say(line: str, code: int) -> int:
    one_line = " ".join(console.printable(line).split())
    sys.stderr.write(f"prunekit: {one_line}\n")
    return code


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Stopped(number)


if __name__ == "__main__":
    main()
