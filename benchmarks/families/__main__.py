"""Every architecture of transformers, tried against the plain model; the page says which ones work.

    python -m benchmarks.families [--only decoder/llama] [--jobs 1] [--results build/families.jsonl] [--page]

Each architecture runs in a process of its own. What the results file holds already is not tried again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.families import table
from benchmarks.families.apart import Order, tried
from benchmarks.families.catalogue import architectures
from benchmarks.families.measure import Result

RESULTS = Path("build/families.jsonl")


def main(
    only: Annotated[list[str] | None, typer.Option(help="such an architecture, as decoder/llama; may be repeated")] = None,
    results: Annotated[Path, typer.Option(help="file of results, one line of JSON each; what it holds is kept")] = RESULTS,
    jobs: Annotated[int, typer.Option(help="processes side by side")] = 1,
    seconds: Annotated[int, typer.Option(help="time limit of one architecture")] = 120,
    gib: Annotated[int, typer.Option(help="address space of one architecture, in GiB")] = 12,
    fault: Annotated[str | None, typer.Option("--plant", help="a fault to plant: scale, positions or padding")] = None,
    verbs: Annotated[bool, typer.Option(help="try prune, search, score, attach and export too")] = True,
    page: Annotated[bool, typer.Option(help="write docs/how-to/models.md and the results beside the other ones")] = False,
) -> None:
    """Try what is not in the results file yet, then print the table."""
    chosen = [one for one in architectures() if not only or one.name in only]
    if only and len(chosen) < len(set(only)):
        raise typer.BadParameter(f"unknown: {', '.join(set(only) - {one.name for one in chosen})}", param_hint="--only")
    results.parent.mkdir(parents=True, exist_ok=True)
    done = {f"{one.family}/{one.kind}": one for one in read(results)}
    missing = [one for one in chosen if one.name not in done]
    with results.open("a", encoding="utf-8") as file:
        for number, result in enumerate(tried(missing, jobs, Order(fault, verbs, seconds, gib)), 1):
            done[f"{result.family}/{result.kind}"] = result
            file.write(result.line() + "\n")
            file.flush()
            print(f"{number} of {len(missing)}: {result.family}/{result.kind}: {result.outcome} {result.reason}", flush=True)
    found = [done[one.name] for one in chosen]
    print(table.counted(found))
    if page:
        table.publish(found)
    if any(one.outcome in ("WRONG", "CRASH") for one in found):
        raise typer.Exit(1)


def read(path: Path) -> list[Result]:
    """Results of an earlier call; of an architecture that was tried twice, both."""
    if not path.exists():
        return []
    return [Result(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    typer.run(main)
