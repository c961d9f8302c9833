"""PruneBench: what finders of tickets are worth.

    python -m benchmarks.prunebench            planted words on the testbed: who finds them, and for what
    python -m benchmarks.prunebench tickets    tickets on the testbed: what each finder keeps, trained on
    python -m benchmarks.prunebench planted    planted words of an instruction, on a language model

Each prints its page. The last two go on from what they measured before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer

from benchmarks.page import command
from benchmarks.prunebench import instruction_page, language, tickets_page
from benchmarks.prunebench.entry import FOLDER, chosen, entries
from benchmarks.prunebench.instruction_page import helps
from benchmarks.prunebench.language import planted_instruction
from benchmarks.prunebench.page import page, table_of
from benchmarks.prunebench.planted import KNOWN_TASKS, PlantedPrompts
from benchmarks.prunebench.row_file import RowFile
from benchmarks.prunebench.tickets import COLUMNS, FINDERS, TASKS, UPDATES, TicketPlan
from prunekit.support.errors import ConfigError, PrunekitError
from prunekit.tasks import load_task

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def planted_words(
    context: typer.Context,
    folder: Annotated[Path, typer.Option("--entries", help="folder of the entries, a file for each finder")] = FOLDER,
    seeds: Annotated[int, typer.Option(help="other filler in other places for each")] = 6,
    tasks: Annotated[int, typer.Option(help="so many of the testbed's tasks")] = len(KNOWN_TASKS),
    threads: Annotated[int, typer.Option(help="CPU threads")] = 1,
    out: Annotated[Path | None, typer.Option(help="folder for prunebench.md and prunebench.csv")] = None,
) -> None:
    """What finders of tickets are worth. Without a command: every entry on planted words of the testbed."""
    if context.invoked_subcommand is not None:
        return
    torch.set_num_threads(threads)
    finders = entries(folder)
    prompts = PlantedPrompts(KNOWN_TASKS[:tasks], max(entry.examples for entry in finders))
    measured = pd.concat([prompts.measure(finders, seed) for seed in range(seeds)], ignore_index=True)
    text = page(table_of(measured, finders), finders, f"python -m benchmarks.prunebench --seeds {seeds}", seeds)
    print(text, end="")
    if out:
        measured.to_csv(out / "prunebench.csv", index=False)
        (out / "prunebench.md").write_text(text)


@app.command()
def tickets(
    finders: Annotated[str, typer.Option(help="at most six entries, absolute and random among them")] = ",".join(
        FINDERS
    ),
    tasks: Annotated[str, typer.Option(help="of the testbed")] = ",".join(TASKS),
    seeds: Annotated[int, typer.Option(min=2, help="dense prompts of each task")] = 6,
    updates: Annotated[int, typer.Option(min=1, help="of each training, dense or pruned")] = UPDATES,
    processes: Annotated[int, typer.Option(min=1, help="a task at a time in each, of one thread")] = 2,
    runs: Annotated[Path, typer.Option(help="folder of the runs, which are resumed")] = Path("runs"),
    out: Annotated[Path, typer.Option(help="folder for prunebench-tickets.md and .csv")] = Path("runs"),
) -> None:
    """What the tickets of each finder are worth.

    A prompt is trained, pruned by each, and trained on. What was measured before is not measured again.
    """
    torch.set_num_threads(1)
    names = chosen(entries(), finders)
    rows = RowFile(out / "prunebench-tickets.csv", COLUMNS)
    plan = TicketPlan(names, tuple(name.strip() for name in tasks.split(",")), seeds, updates, runs, rows)
    text = tickets_page.page(plan.measure(processes), names, command("prunebench"))
    print(text, end="")
    (out / "prunebench-tickets.md").write_text(text, encoding="utf-8")


@app.command()
def planted(  # noqa: PLR0913 (those of the command)
    model: Annotated[str, typer.Option(help="folder or Hub name of a language model")],
    task: Annotated[str, typer.Option(help="whose answers are chosen")],
    data: Annotated[str | None, typer.Option(help="of the task; default: its own")] = None,
    instruction: Annotated[str | None, typer.Option(help="default: the one that the task has")] = None,
    tokens: Annotated[int, typer.Option(min=2, help="of the prompts: the instruction's and filler")] = 24,
    validation: Annotated[int, typer.Option(min=2, help="rows on which the truth is measured")] = 128,
    seeds: Annotated[int, typer.Option(min=2, help="other filler in other places for each")] = 6,
    finders: Annotated[str | None, typer.Option(help="entries by name; default: all")] = None,
    threads: Annotated[int, typer.Option(help="CPU threads")] = 2,
    out: Annotated[Path, typer.Option(help="folder for the page, and for prunebench-planted.csv")] = Path("runs"),
) -> None:
    """Who finds the tokens of an instruction.

    First it is measured whether they help at all. What was measured before is not measured again.
    """
    torch.set_num_threads(threads)
    spec, names = load_task(task), entries() if finders is None else chosen(entries(), finders)
    words = instruction or spec.instruction
    if not words:
        raise ConfigError(f"task = {task}: it has no instruction; write one with --instruction")
    sizes = max(entry.examples for entry in names), validation
    prompts = planted_instruction(model, spec, data, words, tokens=tokens, sizes=sizes)
    typer.echo(helps(prompts.worth, len(prompts.validation)), err=True)
    cell = {"model": Path(model).name, "task": spec.name, "instruction": words}
    rows = RowFile(out / "prunebench-planted.csv", language.COLUMNS)
    measured = language.measured_rows(prompts, names, seeds, rows, cell, lambda line: typer.echo(line, err=True))
    facts = [("command", command("prunebench")), *cell.items()]
    text = instruction_page.page(measured, prompts, names, facts)
    print(text, end="")
    (out / f"{language.file_name(model, spec.name)}.md").write_text(text, encoding="utf-8")


def main() -> None:
    """Run the command; what cannot be done is said in one line."""
    try:
        app()
    except PrunekitError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
