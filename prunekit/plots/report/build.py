"""From run directories to a page: one section a run, one block a question, and what is missing where it would stand."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from prunekit.analysis import controls, functional, overlap, ranks, tables, unit_scores
from prunekit.analysis.conclusions import as_table
from prunekit.analysis.control_conclusions import conclusions
from prunekit.analysis.importance_conclusions import importance_study
from prunekit.analysis.nulls import Starts
from prunekit.analysis.rank_conclusions import MATRICES, rank_study
from prunekit.experiment import environment
from prunekit.plots.report import asked, found, page, pictures, sheets
from prunekit.plots.report.parts import Block, Missing, Page, Section
from prunekit.plots.report.pictures import Pictures
from prunekit.runs import outputs
from prunekit.runs.run import Run
from prunekit.support import atomic
from prunekit.support.errors import ArtifactError
from prunekit.tasks.metrics import bounds

_OF_ROUNDS = ("density_curve", "cost")
_OF_CONTROLS = ("controls",)
_OF_RANK = ("spectrum", "rank_while_training", "functional_rank")
_OF_TOKENS = ("importance", "token_map", "score_histogram", "score_agreement", "mask_overlap")


def write(
    paths: Sequence[Path], out: Path, tolerance: float, *, with_model: bool = False, overwrite: bool = False
) -> Page:
    """Write the page of some runs; nothing is written where one of them is damaged.

    Args:
        tolerance: how far below dense, on validation, a ticket may be; also the margin of equivalence.
        with_model: also what takes evaluating the frozen models again.
        overwrite: also a file that is no page of prunekit.

    Raises:
        ArtifactError: ConfigError, DataError, each one line.
    """
    outputs.check(out, overwrite=overwrite, is_ours=outputs.is_page)
    made = build(paths, tolerance, with_model=with_model)
    atomic.replace(out, page.render(made).encode())
    return made


def build(paths: Sequence[Path], tolerance: float, *, with_model: bool = False) -> Page:
    """The page of some runs. Every file of theirs is checked against its manifest before anything is made of it."""
    from prunekit.plots.picture import opened

    runs = opened(paths)
    lost = [_sound(run) for run in runs]
    again = shlex.join(["prunekit", "report", *map(str, paths)])
    sections = [
        _section(run, f"run-{place}", again, tolerance, with_model, _shuffled_twin(run, runs), lost[place - 1])
        for place, run in enumerate(runs, 1)
    ]
    title = _title(runs[0]) if len(runs) == 1 else f"{len(runs)} runs of prunekit"
    lead = (
        "What prunekit found about a soft prompt on a frozen language model: which tokens are needed, how many "
        "directions it uses, and what density costs. Every number comes from the run's own files."
    )
    names = ", ".join(run.path.name for run in runs)
    foot = f"Made by prunekit from {names}; nothing on this page is loaded from elsewhere."
    return Page(title, lead, sections, _across(runs, tolerance), foot)


def _sound(run: Run) -> tuple[str, ...]:
    """What is missing of a run, for its page to say. Raises: ArtifactError where anything that is there is damaged."""
    seen = run.audit()
    if seen.damaged:
        raise ArtifactError(seen.damaged[0])
    return tuple(line.removeprefix(f"{run.path}/") for line in seen.missing)


def _title(run: Run) -> str:
    settings = run.settings()
    return f"A soft prompt for {settings['task']['name']} on {settings['model']['name']}"


def _section(
    run: Run, anchor: str, again: str, tolerance: float, with_model: bool, twin: Run | None, lost: Sequence[str]
) -> Section:
    settings = _settings(run, anchor)  # first, since it reads what no manifest covers
    results = run.results()
    gaps = tables.gaps(run)
    drawn = pictures.draw(run, anchor, again, with_model=with_model)
    blocks = [
        *_rounds(run, results, anchor, drawn),
        *_controls(run, results, anchor, tolerance, drawn),
        _rank(run, anchor, drawn, with_model, twin),
        _tokens(run, anchor, drawn),
        *_further(anchor, drawn),
        settings,
    ]
    lines = [str(line) for line in gaps["line"]]
    return Section(
        name=run.path.name,
        anchor=anchor,
        asked=asked.asked(run),
        found=found.found(run, results, tolerance),
        warnings=[*lost, *found.warnings(run, results, tolerance, lines)],
        blocks=blocks,
    )


def _rounds(run: Run, results: pd.DataFrame, anchor: str, drawn: Pictures) -> list[Block]:
    metric = str(run.settings()["metric"])
    every = tables.rounds([run])
    stages = [stage for stage in run.stages() if stage.startswith(("prune-", "search-"))]
    made = []
    for stage in stages or [""]:
        if stage.startswith("search-"):
            shown = sheets.searched(run, stage, metric)
        else:
            mine = every[every["stage"].isin(["", stage]) & every["arm"].isin(["dense", "ticket"])]
            shown = [sheets.rounds(results, stage, metric), sheets.seeds(mine, metric)]
        title = (
            f"Rounds of {stage}" if stage.startswith("prune-") else f"Cells of {stage}" if stage else "The dense round"
        )
        made.append(Block(title, f"{anchor}-rounds-{stage or 'dense'}", tables=shown))
    figures, missing = drawn.of(*_OF_ROUNDS)
    if figures or missing:
        made.append(Block("Density and its cost", f"{anchor}-density", figures=figures, missing=missing))
    return made


def _controls(run: Run, results: pd.DataFrame, anchor: str, tolerance: float, drawn: Pictures) -> list[Block]:
    """One block per stage with controls; where no stage has any, what they would take."""
    stages = [stage for stage in run.stages() if stage.startswith(("prune-", "search-"))]
    with_arms = [stage for stage in stages if set(results.loc[results["stage"] == stage, "arm"]) & set(controls.LABELS)]
    figures, missing = drawn.of(*_OF_CONTROLS)
    made = []
    for stage in with_arms:
        arms = tables.joined([(run, stage)])
        compared = controls.compare(arms, margin=tolerance)
        metric = str(run.settings()["metric"])
        shown = sheets.compared(controls.describe(arms, bounds=bounds(metric)), compared, metric)
        title = f"Is the ticket of {stage} better than its controls?"
        last = stage == with_arms[-1]
        made.append(Block(title, f"{anchor}-controls-{stage}", conclusions(compared), shown, figures if last else ()))
    if made or not stages:
        return made
    why = "without controls nothing says that pruning did it: the same updates may do as well on the whole prompt"
    lacks = [Missing("Controls", why, asked.again(run, stages[-1], "--controls")), *missing[1:]]
    return [Block("Controls", f"{anchor}-controls", missing=lacks)]


def _rank(run: Run, anchor: str, drawn: Pictures, with_model: bool, twin: Run | None) -> Block:
    """The answers of the rank study, as far as this run and its twin on shuffled labels can give them."""
    starts: Starts | None = None
    against: tuple[str, ...] = ranks.NOISE
    if with_model:
        from prunekit.analysis import model_access

        starts, against = model_access.starts(run), (*against, "initialisation")
    measured = ranks.table(tables.subjects(run), matrices=MATRICES, against=against, starts=starts)
    groups = pd.DataFrame() if twin is None else _against_twin(measured, twin)
    curve = drawn.frames.get("functional_rank")
    used = pd.DataFrame() if curve is None else functional.ranks(curve)
    answers = as_table(rank_study(ranks.verdicts(measured), used, groups))
    figures, missing = drawn.of(*_OF_RANK)
    if twin is None and not _is_shuffled(run):
        why = "without the same run on shuffled labels, what training does by itself cannot be told from the task"
        missing.append(Missing("Shuffled labels", why, asked.again(run, "", "--labels", "shuffled")))
    shown = sheets.answers(answers, "Answers computed from this run; the notebook rank_study shows how")
    return Block(
        "Is the learned prompt of low rank?", f"{anchor}-rank", tables=[shown], figures=figures, missing=missing
    )


def _against_twin(measured: pd.DataFrame, twin: Run) -> pd.DataFrame:
    control = ranks.table(tables.subjects(twin), matrices=MATRICES, against=("gaussian",))
    groups = ranks.groups(measured, control)
    return groups[groups["measure"] == "entropy"]


def _shuffled_twin(run: Run, runs: Sequence[Run]) -> Run | None:
    """The run among others that differs from this one in nothing but that its labels were shuffled."""

    def asked_for(one: Run) -> dict[str, Any]:
        settings = one.settings()
        task = {name: value for name, value in settings["task"].items() if name != "labels"}
        return {"task": task} | {name: settings[name] for name in ("model", "prompt", "training")}

    if _is_shuffled(run):
        return None
    mine = asked_for(run)
    return next((one for one in runs if _is_shuffled(one) and asked_for(one) == mine), None)


def _is_shuffled(run: Run) -> bool:
    return bool(run.settings()["task"].get("labels") == "shuffled")


def _tokens(run: Run, anchor: str, drawn: Pictures) -> Block:
    """What each token is worth, and the answers of the importance study."""
    stage = _last_pruning(run)
    measured = tables.measured([run])
    scores = tables.scores([run], stage)
    beside = unit_scores.beside(scores[scores["level"] == "token"], measured)
    answers = importance_study(beside, unit_scores.agreement(beside), _overlap(run, stage))
    shown = sheets.answers(as_table(answers), "Answers computed from this run; the notebook importance_study shows how")
    further = sheets.importance(measured)
    figures, missing = drawn.of(*_OF_TOKENS)
    seed = run.settings()["seeds"][0]
    lacks = [
        Missing(name, "it was not measured on this run", asked.score(run, seed, kind))
        for kind, name in (("leave-one-out", "What leaving each token out costs"), ("shapley", "Shapley values"))
        if kind not in set(measured["kind"])
    ]
    return Block("Which tokens matter?", f"{anchor}-tokens", (), [shown], figures, further, [*missing, *lacks])


def _last_pruning(run: Run) -> str | None:
    """The last stage, by name, with a finished ticket."""
    there = {place.stage for place in run.tickets()}
    return max((stage for stage in tables.prunings(run) if stage in there), default=None)


def _overlap(run: Run, stage: str | None) -> pd.DataFrame:
    """Agreement of the masks of a stage's last round; empty where there is none."""
    found = overlap.agreement(tables.subjects(run, stage)) if stage else pd.DataFrame()
    return found[found["round"] == found["round"].max()] if len(found) else found


def _further(anchor: str, drawn: Pictures) -> list[Block]:
    """Figures that no other block shows."""
    known = {*_OF_ROUNDS, *_OF_CONTROLS, *_OF_RANK, *_OF_TOKENS}
    figures, missing = drawn.of(*(name for name in drawn.names if name not in known))
    return (
        [Block("Further figures", f"{anchor}-further", figures=figures, missing=missing)] if figures or missing else []
    )


def _settings(run: Run, anchor: str) -> Block:
    shown = [sheets.settings(run.settings(), "Every setting, as it was resolved")]
    shown += [sheets.settings(run.stage_settings(stage), f"Settings of {stage}") for stage in run.stages() if stage]
    return Block("Settings and environment", f"{anchor}-settings", tables=[*shown, *_environment(run)])


def _environment(run: Run) -> list[Any]:
    """The versions and the machine of every round; a table for each environment that any was made in."""
    found = environment.environments(run)
    if not found:
        return [sheets.settings({"versions": "not known"}, "Versions and machine")]
    if len(found) == 1:
        whole = {name: value for name, value in found[0].items() if name != "rounds"}
        return [sheets.settings(whole, "Versions and machine")]
    return [sheets.settings(one, f"Versions and machine of {len(one['rounds'])} rounds") for one in found]


def _across(runs: Sequence[Run], tolerance: float) -> list[Block]:
    """The primary comparison over all tasks, where each run has one stage of tickets with controls."""
    pairs = []
    for run in runs:
        results = run.results()
        known = results[results["arm"].isin(set(controls.LABELS))]
        if known.empty:
            return []
        pairs.append((run, str(known["stage"].max())))
    tasks = {run.settings()["task"]["name"] for run, _ in pairs}
    if len(runs) < 2 or len(tasks) < len(runs):
        return []
    arms = tables.joined(pairs)
    compared = controls.compare(arms, margin=tolerance)
    metrics = dict.fromkeys(str(run.settings()["metric"]) for run in runs)
    shown = sheets.compared(controls.describe(arms, bounds=bounds(*metrics)), compared, " / ".join(metrics))
    return [Block("Over all tasks", "all-tasks", conclusions(compared), shown)]
