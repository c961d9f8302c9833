"""Every architecture of transformers, tried against the plain model; the page says which ones work.

    python -m benchmarks.families [--only decoder/llama] [--jobs 1] [--results build/families.jsonl] [--page]

Each architecture runs in a process of its own. What the results file holds already is not tried again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.families import table
from benchmarks.families.catalogue import Architecture, architectures
from benchmarks.families.isolated import TrialOptions, try_all
from benchmarks.families.measure import FAULTS, Result
from benchmarks.measure import machine


def main(
    only: Annotated[list[str] | None, typer.Option(help="an architecture, as decoder/llama; may be repeated")] = None,
    results: Annotated[Path, typer.Option(help="results, a line of JSON each; those it holds are kept")] = Path(
        "build/families.jsonl"
    ),
    jobs: Annotated[int, typer.Option(help="processes side by side")] = 1,
    seconds: Annotated[int, typer.Option(help="time limit of one architecture")] = 120,
    plant: Annotated[str | None, typer.Option(help=f"a fault to plant: {', '.join(FAULTS)}")] = None,
    verbs: Annotated[bool, typer.Option(help="try prune, search, score, attach and export too")] = True,
    page: Annotated[bool, typer.Option(help="write docs/how-to/models.md, and the figures behind it")] = False,
) -> None:
    """Try what the results do not hold yet, and say what all of it came to; the exit code is 1 where a fault is."""
    if plant is not None and plant not in FAULTS:
        raise typer.BadParameter(f"use one of {', '.join(FAULTS)}", param_hint="--plant")
    chosen = _chosen(only)
    results.parent.mkdir(parents=True, exist_ok=True)
    by_name = {result.name: result for result in _read(results)}
    missing = [architecture for architecture in chosen if _is_missing(by_name.get(architecture.name), verbs)]
    with results.open("a", encoding="utf-8") as file:
        options: Any = TrialOptions(plant, verbs, seconds)  # type: ignore[arg-type]  # checked above
        for number, result in enumerate(try_all(missing, jobs, options), 1):
            by_name[result.name] = result
            file.write(result.line() + "\n")
            file.flush()
            print(f"{number} of {len(missing)}: {result.name}: {result.outcome} {result.reason}", flush=True)
    ordered = [by_name[architecture.name] for architecture in chosen]
    print(table.counted(ordered))
    if page:
        facts = machine(1, "cpu")
        table.publish(ordered, {name: facts[name] for name in ("date", "versions")})
    if any(result.outcome in ("WRONG", "CRASH") for result in ordered):
        raise typer.Exit(1)


def _is_missing(result: Result | None, verbs: bool) -> bool:
    """Whether an architecture is still to be tried; one that was compared alone is, where verbs are asked for."""
    return result is None or (verbs and not result.verbs and result.outcome in ("works", "works one by one"))


def _chosen(only: list[str] | None) -> list[Architecture]:
    every = {architecture.name: architecture for architecture in architectures()}
    if unknown := sorted(set(only or ()) - set(every)):
        raise typer.BadParameter(f"no such architecture: {', '.join(unknown)}", param_hint="--only")
    return [architecture for name, architecture in every.items() if not only or name in only]


def _read(path: Path) -> list[Result]:
    """Results of earlier calls; where one was tried twice, both, in their order."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [Result(**json.loads(line)) for line in lines]


if __name__ == "__main__":
    typer.run(main)
