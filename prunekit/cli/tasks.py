"""`prunekit tasks`: the tasks there are, one of them as it is read, and a file for one of your own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunekit.cli.help import Command, Group
from prunekit.cli.options import Json, Overwrite
from prunekit.experiment import settings_io
from prunekit.support import atomic, terminal
from prunekit.support.errors import ConfigError

if TYPE_CHECKING:
    from prunekit.experiment.task_preview import TaskPreview

#: The settings that name data and its columns.
COLUMNS = ("task.data", "task.revision", "task.text", "task.label", "task.target")

app = typer.Typer(cls=Group, invoke_without_command=True)


@app.callback()
def tasks(context: typer.Context, json: Json = False) -> None:
    """List the tasks there are, one line each; `tasks show NAME` shows one, `tasks new DATA` writes one."""
    if context.invoked_subcommand is not None:
        return
    from prunekit.tasks import list_tasks

    every = list_tasks()
    if json:
        terminal.write_json([{"name": task.name, "description": task.description} for task in every])
        return
    rows = [[task.name, ", ".join(task.metrics), task.description] for task in every]
    terminal.show(["task", "metrics", "what it asks"], rows)


@app.command("show", cls=Command)
@settings_io.with_settings("model", *COLUMNS, "task.label_words", "task.chat", "machine")
def show(
    task: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="a name from `prunekit tasks`, or a task file; none with --data"),
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="how many rows to show as they are read")] = 1,
    json: Json = False,
    **settings: Any,
) -> None:
    """Rows as a model reads them, the answers as tokens (with --model), and how long texts are."""
    from prunekit.experiment.task_preview import preview

    if task is None and settings["data"] is None:
        raise ConfigError("name a task, or your own rows: --data FILE --text COLUMN --label COLUMN")
    result = preview({**settings, "task": task}, rows)
    if json:
        terminal.write_json(result.facts)
    else:
        print_preview(result)


@app.command("new", cls=Command)
@settings_io.with_settings("task.revision", "task.text", "task.label", "task.target", "task.label_words")
def new(
    data: Annotated[str, typer.Argument(metavar="DATA", help="file, folder or Hub data set of your own rows")],
    out: Annotated[Path, typer.Option("--out", "-o", help="the TOML file to write")] = Path("task.toml"),
    overwrite: Overwrite = False,
    **settings: Any,
) -> None:
    """Write a task file with comments for your own rows, to be edited; columns that are not named are guessed."""
    from prunekit.experiment.settings_io import task_settings
    from prunekit.runs import outputs
    from prunekit.tasks.draft import draft_task

    outputs.check(out, overwrite=overwrite)
    named = task_settings({**settings, "data": data})
    draft = draft_task(data, named.columns, revision=named.revision, folder=out.parent)
    atomic.replace(out, draft.text.encode())
    answer = "target" if draft.columns.target else "label"
    for name, columns in (("text", draft.columns.text), (answer, [draft.columns.answer])):
        guess = f" (a guess; --{name} names another)" if name in draft.guessed else ""
        terminal.write(f"{name}: {', '.join(map(str, columns))}{guess}")
    labels = ", ".join(f"{label} = {word}" for label, word in draft.labels.items())
    terminal.write(f"answers: {labels or 'written, as the target has them'}")
    terminal.write(f"written to {out}; edit it, and look at what a model reads: prunekit tasks show {out}")


def print_preview(preview: TaskPreview) -> None:
    """A task's first texts, its answers, and the lengths of its texts."""
    facts = preview.facts
    lengths = facts["lengths"]
    terminal.write(f"{facts['task']}: {facts['description']}")
    terminal.write(f"judged by {', '.join(facts['metrics'])}")
    if facts["instruction"]:
        terminal.write(f"written instruction: {facts['instruction']}")
    for split in lengths:
        terminal.write(f"{split}: {facts['origin'][split]}")
    number = "" if len(facts["examples"]) == 1 else f" {len(facts['examples'])}"
    terminal.write(
        f"\nthe first{number} text{'s' if number else ''} of train, as {'they are' if number else 'it is'} read:"
    )
    for example in facts["examples"]:
        terminal.write(f"{example['text']}\nright answer: {' or '.join(example['right'])}\n")
    in_tokens = facts["unit"] == "tokens"
    if facts["answers"]:
        print_answers(facts["answers"], in_tokens=in_tokens, by_head=preview.answers_by_head)
    for line in facts["faults"]:
        terminal.write(f"training on this would be refused: {line}")
    names = list(lengths["train"])
    rows = [[split, *[str(lengths[split][name]) for name in names]] for split in lengths]
    terminal.show(["split", *names], rows, title=f"lengths of texts in {facts['unit']}")
    if not in_tokens:
        terminal.write("--model counts its tokens")


def print_answers(answers: Sequence[Mapping[str, Any]], *, in_tokens: bool, by_head: bool) -> None:
    """Every answer with its label, and its tokens where a model was named."""
    columns = ["label", "word", "tokens"] if in_tokens else ["label", "word"]
    if "behind" in answers[0]:
        columns[-1] = "end of the text | tokens of the answer"
    rows = [[row["label"], row["word"], *([_tokens(row)] if in_tokens else [])] for row in answers]
    terminal.show(columns, rows, title="answers (an encoder's head gives them)" if by_head else "answers")


def _tokens(row: Mapping[str, Any]) -> str:
    """An answer's tokens behind those of the text, with a mark at the border where there is one."""
    if row.get("merged"):
        return f"{' '.join([*row['behind'], *row['merged']])} (joined over the border)"
    return " ".join([*row["behind"], "|", *row["tokens"]] if "behind" in row else row["tokens"])
