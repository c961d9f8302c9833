"""From run directories to a page: one section a run, one block a question, and what is missing where it would stand."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prunekit.analysis import tables
from prunekit.plots import naming
from prunekit.plots.report import blocks, drawn_figures
from prunekit.plots.report.blocks import Material
from prunekit.plots.report.caveats import caveats
from prunekit.plots.report.findings import findings
from prunekit.plots.report.opening import opening
from prunekit.plots.report.overview import side_by_side
from prunekit.plots.report.page_parts import Block, Figure, Page, Section
from prunekit.plots.report.request import request
from prunekit.runs.baselines import BaseLines
from prunekit.runs.reader import RunReader
from prunekit.runs.snapshot import Snapshot
from prunekit.support.errors import ArtifactError

_LEAD = (
    "What prunekit found about a soft prompt on a frozen language model: which tokens are needed, how many directions "
    "it uses, and what density costs. Every number comes from the run's own files."
)


def build(paths: Sequence[Path], tolerance: float, *, with_model: bool = False) -> Page:
    """The page of some runs. Every file of theirs is read once, and checked before anything is made of it.

    Args:
        paths: of run directories.
        tolerance: how far below dense, on validation, a ticket may be; also the margin of equivalence.
        with_model: also what takes evaluating the frozen models again.

    Raises:
        ArtifactError: where a run is damaged.
    """
    from prunekit.plots.run_choice import opened, whole_runs

    runs = opened(whole_runs(paths))
    missing = [_missing_of_sound(run) for run in runs]
    again = shlex.join(["prunekit", "report", *map(str, paths)])
    sections = []
    for number, run in enumerate(runs, 1):
        anchor = f"run-{number}"
        settings = blocks.settings(run, anchor)  # first, since it reads what no manifest covers
        picture, figures = drawn_figures.draw(run, anchor, again, with_model=with_model).opening()
        material = Material(
            run=run,
            anchor=anchor,
            results=run.results(),
            figures=figures,
            tolerance=tolerance,
            with_model=with_model,
            twin=_shuffled_twin(run, runs),
        )
        sections.append(_section(material, settings, missing[number - 1], picture))
    title = _title(runs[0]) if len(runs) == 1 else f"{len(runs)} runs of prunekit"
    names = ", ".join(run.path.name for run in runs)
    foot = f"Made by prunekit from {names}; nothing on this page is loaded from elsewhere."
    overview = side_by_side(runs, sections) if len(runs) > 1 else None
    return Page(title, _LEAD, sections, blocks.over_all_tasks(runs, tolerance), foot, overview)


def _missing_of_sound(run: Snapshot) -> list[str]:
    """What is missing of a run, for its page to say.

    Raises:
        ArtifactError: where anything that is there is damaged.
    """
    audit = run.audit()
    if audit.damaged:
        raise ArtifactError(audit.damaged[0])
    return [line.removeprefix(f"{run.path}/") for line in audit.missing]


def _title(run: RunReader) -> str:
    settings = run.settings()
    task, model = (naming.last_part(settings[part]["name"]) for part in ("task", "model"))
    return f"A soft prompt for {task} on {model}"


def _section(material: Material, settings: Block, missing: Sequence[str], picture: Figure | None) -> Section:
    run, results = material.run, material.results
    base_lines = BaseLines.of(run)
    gaps = [str(line) for line in tables.gaps(run)["line"]]
    return Section(
        name=run.path.name,
        anchor=material.anchor,
        request=request(run),
        findings=findings(run, results, base_lines, material.tolerance),
        warnings=[*missing, *caveats(run, results, material.tolerance, gaps)],
        blocks=[*blocks.blocks_of(material), settings],
        opening=replace(opening(run, results, base_lines, material.tolerance), picture=picture),
    )


def _shuffled_twin(run: RunReader, runs: Sequence[RunReader]) -> RunReader | None:
    """The run among others that differs from this one in nothing but that its labels were shuffled."""
    if blocks.is_shuffled(run):
        return None
    shuffled = (other for other in runs if blocks.is_shuffled(other))
    return next((other for other in shuffled if _without_labels(other) == _without_labels(run)), None)


def _without_labels(run: RunReader) -> dict[str, Any]:
    """The settings that a twin on shuffled labels shares."""
    settings = run.settings()
    task = {name: value for name, value in settings["task"].items() if name != "labels"}
    return {"task": task} | {name: settings[name] for name in ("model", "prompt", "training")}
