"""How long one waits: for the first line, for help, for a list of runs, for a dry run, for a report.

    python -m benchmarks.startup [--model MODEL] [--repeats 5] [--out page.md]

Each is a process of its own, timed from its start by a clock outside it, files in the machine's memory: the first time
counts for none. A report from nothing finds no page kept, one again finds the page that the one before it has kept. The
runs are of the testbed, trained for two updates a round and copied; MODEL, such as SmolLM2's folder, is what a dry run
is timed on. Let nothing else run meanwhile.
"""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from benchmarks.measure import Spread, machine
from benchmarks.page import command, publish, table
from prunekit.support import kept

_ROOT = Path(__file__).parents[1]
_COPIES, _ROUNDS = 200, 43
_SMALL = (
    "--train-steps=2", "--evaluate-every=1", "--train-examples=16", "--validation-examples=8", "--test-examples=8",
    "--threads=1",
)  # fmt: skip


class Wait(NamedTuple):
    """Something that is waited for.

    Attributes:
        words: of the command line behind `python -m prunekit`, or the code that Python runs.
        most: seconds that it should take at most.
        first_line: whether it is over with the first line that is written.
        fresh: what is done before each time.
    """

    name: str
    words: tuple[str, ...]
    most: float
    first_line: bool = False
    fresh: Callable[[], None] = lambda: None


def seconds(wait: Wait) -> float:
    """From the start of the process to its end, or to its first line.

    Raises:
        RuntimeError: with the end of its output where it failed.
    """
    wait.fresh()
    words = ["-c", *wait.words] if wait.words[0].startswith("import") else ["-m", "prunekit", *wait.words]
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *words], cwd=_ROOT, env=os.environ | {"PYTHONUNBUFFERED": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None, "as it was opened"
        if wait.first_line:
            process.stdout.readline()
            waited = time.perf_counter() - began
            process.terminate()
            return waited
        output = process.stdout.read()
        waited = time.perf_counter() - began
    if process.wait():
        raise RuntimeError(f"{' '.join(wait.words)} failed:\n{output[-4000:]}")
    return waited


def longest_silence(words: tuple[str, ...]) -> float:
    """Seconds of a terminal between two signs of life of a command, at most."""
    terminal, inside = pty.openpty()
    clock = [time.perf_counter()]
    with subprocess.Popen(
        [sys.executable, "-m", "prunekit", *words], cwd=_ROOT, stdout=inside, stderr=inside, stdin=subprocess.DEVNULL
    ) as process:
        os.close(inside)
        with suppress(OSError):  # how the end of a terminal is told on Linux
            while os.read(terminal, 2**16):
                clock.append(time.perf_counter())
    os.close(terminal)
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} failed")
    return max(after - before for before, after in pairwise(clock))


def waits(folder: Path, model: str | None) -> list[Wait]:
    """All of them, on runs that are made here."""
    many, long = folder / "many", folder / "long"
    _train(many, "--rounds=2")
    (run,) = many.iterdir()
    for number in range(1, _COPIES):
        shutil.copytree(run, many / f"{run.name}-{number}")
    _train(long, f"--rounds={_ROUNDS}", "--prompt-tokens=60")
    (long_run,) = long.iterdir()
    report = ("report", str(long_run), f"--out={folder / 'report.html'}")
    dry = ("prune", f"--out={folder / 'dry'}", "--dry-run")
    of_model = (*dry, f"--model={model}", "--task=testbed/first-animal", "--position=suffix")
    return [
        Wait("import prunekit", ("import prunekit",), 0.1),
        Wait("prunekit --help", ("--help",), 0.3),
        Wait("prunekit prune --help", ("prune", "--help"), 0.3),
        Wait("first line of prune", ("prune", f"--out={folder / 'first'}"), 2.0, first_line=True),
        Wait(f"runs list, {_COPIES} runs", ("runs", "list", f"--out={many}"), 1.0),
        Wait("dry run on the testbed", dry, 10.0),
        *([Wait(f"dry run on {Path(model).name}", of_model, 10.0)] if model else []),
        Wait(f"report of {_ROUNDS + 1} rounds, from nothing", report, 15.0, fresh=_forget),
        Wait(f"report of {_ROUNDS + 1} rounds, again", report, 5.0),
    ]


def _forget() -> None:
    """Delete the pages that are kept."""
    shutil.rmtree(os.environ[kept.FOLDER], ignore_errors=True)


def _train(out: Path, *flags: str) -> None:
    words = [sys.executable, "-m", "prunekit", "prune", f"--out={out}", *_SMALL, *flags]
    subprocess.run(words, cwd=_ROOT, check=True, capture_output=True)


def page_table(times: dict[Wait, list[float]]) -> str:
    """A row for each."""
    rows = []
    for wait, values in times.items():
        spread = Spread.of(values)
        rows.append([
            wait.name, f"{spread.median:.2f}", f"{spread.low:.2f} to {spread.high:.2f}", f"{wait.most:g}",
            "yes" if spread.median <= wait.most else "**no**",
        ])  # fmt: skip
    return table(["what is waited for", "s", "range", "at most", "kept"], rows)


def main(
    model: Annotated[str | None, typer.Option(help="a decoder for a dry run")] = None,
    repeats: Annotated[int, typer.Option(help="of each, by turns")] = 5,
    out: Annotated[Path | None, typer.Option(help="page to write")] = None,
) -> None:
    """Measure and print the page."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ[kept.FOLDER] = str(Path(folder) / "cache")  # none of the user's, and none of an earlier measurement
        each = waits(Path(folder), model)
        turns = [[seconds(wait) for wait in each] for _ in range(repeats + 1)][1:]
        of_model = [f"--model={model}", "--task=testbed/first-animal"] if model else []
        silence = longest_silence(("prune", f"--out={folder}/silence", *_SMALL, *of_model, "--rounds=1"))
    times = {wait: [turn[place] for turn in turns] for place, wait in enumerate(each)}
    facts = {
        "command": command("startup"),
        **machine(len(os.sched_getaffinity(0)), "cpu"),
        "work": f"medians of {repeats} repeats by turns, processes timed from outside",
    }
    name = "the testbed" if model is None else Path(model).name
    silent = f"In a small run on {name} nothing was silent for more than {silence:.1f} s of a terminal (at most 2)."
    publish("How long one waits", facts, [page_table(times), silent], out)


if __name__ == "__main__":
    typer.run(main)
