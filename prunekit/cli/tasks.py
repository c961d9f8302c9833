"""`prunekit tasks`: the tasks there are, and one of them as it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunekit.cli.options import Json
from prunekit.experiment import settings_io
from prunekit.support import terminal

if TYPE_CHECKING:
    from prunekit.experiment.task_preview import TaskPreview

app = typer.Typer(invoke_without_command=True)


@app.callback()
def tasks(context: typer.Context, json: Json = False) -> None:
    """List the tasks there are, one line each; `tasks show NAME` shows one."""
    if context.invoked_subcommand is not None:
        return
    from prunekit.tasks import list_tasks

    every = list_tasks()
    if json:
        terminal.write_json([{"name": task.name, "description": task.description} for task in every])
        return
    rows = [[task.name, ", ".join(task.metrics), task.description] for task in every]
    terminal.show(["task", "metrics", "what it asks"], rows)


@app.command("show")
@settings_io.with_settings("model", "task.data", "task.revision", "task.chat", "machine")
def show(
    task: Annotated[str, typer.Argument(metavar="NAME", help="a name from `prunekit tasks`, or a task file")],
    json: Json = False,
    **settings: Any,
) -> None:
    """One text as a model reads it, the answers as tokens (with --model), and how long texts are."""
    from prunekit.experiment.task_preview import preview

    result = preview({**settings, "task": task})
    if json:
        terminal.write_json(result.facts)
    else:
        print_preview(result)


def print_preview(preview: TaskPreview) -> None:
    """A task's first text, its answers, and the lengths of its texts."""
    facts = preview.facts
    lengths = facts["lengths"]
    terminal.write(f"{facts['task']}: {facts['description']}")
    terminal.write(f"judged by {', '.join(facts['metrics'])}")
    if facts["instruction"]:
        terminal.write(f"written instruction: {facts['instruction']}")
    for split in lengths:
        terminal.write(f"{split}: {facts['origin'][split]}")
    terminal.write(f"\nthe first text of train, as it is read:\n{facts['example']['text']}")
    terminal.write(f"right answer: {' or '.join(facts['example']['right'])}\n")
    in_tokens = facts["unit"] == "tokens"
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
