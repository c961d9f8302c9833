"""`python -m analyses.studies`: run a study or a part of it, its pilot, its power, and write the pages."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from analyses.studies import base_lines, catalog, errors, evidence, pages, planning
from analyses.studies.effects import effects
from analyses.studies.performing import Budget, StudyParts, perform, study_parts
from analyses.studies.study import PAGE, PICTURE, PILOT, POWER_TABLE, RESULTS, UNITS, Study
from prunekit.plots import effects as picture
from prunekit.support import atomic, terminal
from prunekit.support.errors import PrunekitError

Names = Annotated[list[str], typer.Argument(help="of the studies", metavar="NAME...")]
Runs = Annotated[Path, typer.Option(help="where runs are kept; all studies share it")]
Shared = Annotated[Path, typer.Option(help="folder that holds models/ and data/")]
Device = Annotated[str, typer.Option(help="cpu, or cuda where there is one")]
Workers = Annotated[int, typer.Option(help="experiments at a time, of one core each; a GPU is shared by all")]
CORES = len(os.sched_getaffinity(0))

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.command()
def pilot(
    names: Names,
    runs: Runs = Path("runs"),
    shared: Shared = Path("../shared"),
    device: Device = "cpu",
    workers: Workers = CORES,
) -> None:
    """Run studies on a few seeds of their own: for the spread of their units, and for what is chosen beforehand."""
    budget = Budget(runs / PILOT, shared.resolve(), workers, device)
    for study in map(catalog.named, names):
        _write_tables(study, PILOT, study_parts(study.folder, pilot=True), budget)


@app.command()
def plan(
    names: Names,
    seeds: Annotated[int, typer.Option(help="on each training subset")] = 8,
    subsets: Annotated[int | None, typer.Option(help="of each task that has several; as the pilot by default")] = None,
    tasks: Annotated[int | None, typer.Option(help="of the study; more than the pilot's spread as those do")] = None,
) -> None:
    """Simulate the power of every question from the pilot's strata; kept beside the plan."""
    for study in map(catalog.named, names):
        table = planning.simulated(study, seeds, subsets, tasks)
        _write_csv(study.folder / POWER_TABLE, table)
        terminal.write(pages.markdown(table))
        write_page(study)


@app.command()
def run(
    names: Names,
    runs: Runs = Path("runs"),
    shared: Shared = Path("../shared"),
    device: Device = "cpu",
    workers: Workers = CORES,
    part: Annotated[str | None, typer.Option(help="only this part; its tables wait for the others'")] = None,
) -> None:
    """Run studies, or go on with them; then write their tables and pages."""
    budget = Budget(runs, shared.resolve(), workers, device)
    for study in map(catalog.named, names):
        folder = RESULTS if part is None else f"{RESULTS}/{part}"
        _write_tables(study, folder, study_parts(study.folder).named(part), budget)
        write_page(study)
    write_front()


@app.command(name="base-lines")
def measure_base_lines(
    names: Names, shared: Shared = Path("../shared"), device: Device = "cpu", runs: Runs = Path("runs")
) -> None:
    """Measure what the tasks of studies come to without a trained prompt; kept among their results."""
    for study in map(catalog.named, names):
        budget = Budget(runs, shared.resolve(), 1, device)
        table = base_lines.measured(study_parts(study.folder).parts, budget)
        _write_csv(study.folder / RESULTS / f"{base_lines.BASE_LINES_TABLE}.csv", table)
        write_page(study)
    write_front()


@app.command(name="errors")
def write_errors() -> None:
    """Simulate how often the rule of all verdicts errs; kept beside the front page, which shows it."""
    _write_csv(catalog.HERE / pages.ERROR_TABLE, errors.simulated())
    write_front()


@app.command(name="pages")
def write_pages() -> None:
    """Write all pages again, from the tables that are there."""
    for study in catalog.STUDIES:
        write_page(study)
    write_front()


def write_page(study: Study) -> None:
    """A study's page, and its picture where there are results."""
    if study.has_run():
        answers = effects(study.questions, study.tables()[UNITS])
        atomic.replace(study.folder / PICTURE, picture.render(answers, salt=study.name))
    atomic.replace(study.folder / PAGE, pages.page(study).encode())


def write_front() -> None:
    """The page of all claims, and the picture of the summary where there is anything to show."""
    decided = evidence.on_real_models(catalog.STUDIES)
    if len(decided):
        atomic.replace(catalog.HERE / evidence.EVIDENCE_PICTURE, evidence.render(decided))
    table = catalog.HERE / pages.ERROR_TABLE
    simulated = pd.read_csv(table) if table.exists() else None
    atomic.replace(catalog.HERE / PAGE, pages.front(catalog.STUDIES, simulated).encode())


def _write_tables(study: Study, folder: str, wanted: StudyParts, budget: Budget) -> None:
    for name, table in study.collect(perform(study.name, wanted.parts, budget)).items():
        _write_csv(study.folder / folder / f"{name}.csv", wanted.only(table))


def _write_csv(path: Path, table: pd.DataFrame) -> None:
    """Six significant digits: what is committed is read back and compared."""
    atomic.replace(path, table.to_csv(index=False, lineterminator="\n", float_format="%.6g").encode())


if __name__ == "__main__":
    try:
        app(prog_name="python -m analyses.studies")
    except PrunekitError as error:
        sys.exit(f"analyses.studies: {error}")
