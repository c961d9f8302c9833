"""The parts of a run's section on a page: a block a question, and what is missing where it would stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from prunekit.analysis import controls, functional, overlap, ranks, tables, unit_scores, written_answers
from prunekit.analysis.conclusions import as_table
from prunekit.analysis.control_conclusions import conclusions
from prunekit.analysis.importance_conclusions import importance_study
from prunekit.analysis.nulls import Starts
from prunekit.analysis.rank_conclusions import MATRICES, rank_study
from prunekit.analysis.request_cost import request_cost
from prunekit.experiment import environment
from prunekit.plots.report import answers, commands, page_tables
from prunekit.plots.report.changed_answers import changed_answers
from prunekit.plots.report.drawn_figures import CELL_MAP, WORDS_NEAR, DrawnFigures
from prunekit.plots.report.page_parts import Block, Missing, Table, in_full
from prunekit.plots.report.rows_of_test import rows_of_test
from prunekit.runs.paths import DENSE, Stage
from prunekit.runs.reader import RunReader
from prunekit.tasks.metrics import bounds

_OF_ROUNDS = ("density_curve", "search_map", "cost")
_OF_TRAINING = ("learning_curves",)
_OF_CONTROLS = ("controls",)
_OF_RANK = ("spectrum", "rank_while_training", "functional_rank")
_OF_TOKENS = (
    "importance",
    "token_map",
    "score_histogram",
    "score_agreement",
    "mask_overlap",
    "word_map",
    "layers_heads",
    WORDS_NEAR,
)


@dataclass(frozen=True)
class Material:
    """What the section of a run is made of.

    Attributes:
        run: which.
        anchor: of the section; those of its blocks begin with it.
        results: the run's results table.
        figures: drawn, and lacking.
        tolerance: how far below dense, on validation, a ticket may be; also the margin of equivalence.
        with_model: whether the frozen model is evaluated again.
        twin: the same run on shuffled labels, where it is on the page.
    """

    run: RunReader
    anchor: str
    results: pd.DataFrame
    figures: DrawnFigures
    tolerance: float
    with_model: bool
    twin: RunReader | None

    @property
    def metric(self) -> str:
        """The primary one."""
        return str(self.run.settings()["metric"])


#: What one wants to know of a run -> the blocks that say it.
Question = Callable[[Material], Iterator[Block]]


def blocks_of(material: Material) -> list[Block]:
    """All blocks of a run's section, in their order, but the last: that of `settings`."""
    of_prompts = (_answers, _controls, _training, _rank, _tokens)
    ended = material.results.loc[material.results["stage"] == DENSE, "status"].eq("done").any()
    questions: tuple[Question, ...] = (_rounds, *(of_prompts if ended else (_training,)), _further)
    return [block for blocks in questions for block in blocks(material)]


def settings(run: RunReader, anchor: str) -> Block:
    """Every setting of a run and its stages, and under which versions its rounds were made."""
    by_stage = [page_tables.settings(run.settings(), "Every setting, as it was resolved")]
    by_stage += [
        page_tables.settings(run.stage_settings(stage), f"Settings of {stage}")
        for stage in run.stages()
        if not stage.is_dense
    ]
    return Block(
        "Settings and environment", f"{anchor}-settings", tables=[*by_stage, *_environment(run)], is_open=False
    )


def over_all_tasks(runs: Sequence[RunReader], tolerance: float) -> list[Block]:
    """The primary comparison over all tasks, where each run has one stage of tickets with controls."""
    compared = []
    for run in runs:
        results = run.results()
        of_controls = results[results["arm"].isin(set(controls.LABELS))]
        if of_controls.empty:
            return []
        compared.append((run, str(of_controls["stage"].max())))
    tasks = {run.settings()["task"]["name"] for run in runs}
    if len(runs) < 2 or len(tasks) < len(runs):
        return []
    metrics = dict.fromkeys(str(run.settings()["metric"]) for run in runs)
    conclusions, comparisons = _compared(tables.joined(compared), tuple(metrics), tolerance)
    return [Block("Over all tasks", "all-tasks", conclusions, comparisons)]


def is_shuffled(run: RunReader) -> bool:
    """Whether a run was trained on shuffled labels."""
    return bool(run.settings()["task"].get("labels") == "shuffled")


def _rounds(material: Material) -> Iterator[Block]:
    rounds = tables.rounds([material.run])
    for stage in tables.prunings(material.run) or [DENSE]:
        if stage.verb == "search":
            title, stage_tables = f"Trials of {stage}", page_tables.searched(material.run, stage, material.metric)
        else:
            title = "The dense round" if stage.is_dense else f"Rounds of {stage}"
            of_stage = rounds[rounds["stage"].isin([DENSE, stage]) & rounds["arm"].isin(["dense", "ticket"])]
            means = page_tables.rounds(material.results, stage, material.metric)
            stage_tables = [means, page_tables.seeds(of_stage, material.metric)]
        yield Block(title, f"{material.anchor}-rounds-{stage or 'dense'}", tables=stage_tables)
    figures, missing = material.figures.of(*_OF_ROUNDS)
    costs = request_cost([material.run])
    of_requests = [page_tables.requests(costs)] if len(costs) else []
    if figures or missing or of_requests:
        anchor = f"{material.anchor}-density"
        yield Block("Density and its cost", anchor, tables=of_requests, figures=figures, missing=missing)


def _answers(material: Material) -> Iterator[Block]:
    """What was written to the test split, stage by stage; where answers are chosen, those that pruning changed."""
    run = material.run
    if not written_answers.is_written(run):
        yield from _changed_answers(material)
        return
    for stage in tables.prunings(run) or [DENSE]:
        table = written_answers.over_rows(run, stage)
        every, worst = answers.all_metrics(run, stage), answers.side_by_side(run, stage, material.tolerance)
        yield Block(
            f"Answers of {stage}" if stage else "Answers",
            f"{material.anchor}-answers-{stage or 'dense'}",
            sentences=[sentence] if (sentence := in_full(written_answers.loss_sentence(table))) else [],
            tables=[part for part in (answers.over_rows(table, material.metric), every, worst) if part is not None],
        )


def _changed_answers(material: Material) -> Iterator[Block]:
    stages = [stage for stage in tables.prunings(material.run) if stage in set(material.results["stage"])]
    rows = rows_of_test(material.run, from_hub=material.with_model) if stages else ()
    for stage in stages:
        table = changed_answers(material.run, stage, material.tolerance, rows)
        if table is not None:
            title = f"Which answers did {stage} change?"
            shown = [table] if table.rows else []
            sentences = [] if table.rows else [f"{table.caption.partition(':')[0]}: none."]
            yield Block(title, f"{material.anchor}-answers-{stage}", sentences, shown)


def _controls(material: Material) -> Iterator[Block]:
    """One block per stage with controls; where no stage has any, what they would take."""
    stages, results = tables.prunings(material.run), material.results
    compared = [stage for stage in stages if set(results.loc[results["stage"] == stage, "arm"]) & set(controls.LABELS)]
    figures, missing = material.figures.of(*_OF_CONTROLS)
    for stage in compared:
        arms = tables.joined([(material.run, stage)])
        conclusions, comparisons = _compared(arms, (material.metric,), material.tolerance)
        title = f"Is the ticket of {stage} better than its controls?"
        drawn = figures if stage == compared[-1] else ()
        yield Block(title, f"{material.anchor}-controls-{stage}", conclusions, comparisons, drawn)
    if stages and not compared:
        why = "without controls nothing says that pruning did it: the same updates may do as well on the whole prompt"
        command = commands.to_go_on(material.run, stages[-1], "--controls")
        lacking = [Missing("Controls", why, command), *missing[1:]]
        yield Block("Controls", f"{material.anchor}-controls", missing=lacking)


def _training(material: Material) -> Iterator[Block]:
    """How training came on."""
    figures, missing = material.figures.of(*_OF_TRAINING)
    if figures or missing:
        yield Block("How did training go?", f"{material.anchor}-training", figures=figures, missing=missing)


def _compared(arms: pd.DataFrame, metrics: Sequence[str], tolerance: float) -> tuple[list[str], list[Table]]:
    """What the comparisons of arms conclude, and their tables."""
    comparisons = controls.compare(arms, margin=tolerance)
    described = controls.describe(arms, bounds=bounds(*metrics))
    return conclusions(comparisons), page_tables.compared(described, comparisons, " / ".join(metrics))


def _rank(material: Material) -> Iterator[Block]:
    """The answers of the rank study, as far as this run and its twin on shuffled labels can give them."""
    run, twin = material.run, material.twin
    starts: Starts | None = None
    against: tuple[str, ...] = ranks.NOISE
    if material.with_model:
        from prunekit.analysis import model_access

        starts, against = model_access.starts(run), (*against, "initialisation")
    measured = ranks.table(tables.subjects(run), matrices=MATRICES, against=against, starts=starts)
    groups = pd.DataFrame() if twin is None else _against_twin(measured, twin)
    curve = material.figures.frames.get("functional_rank")
    used = pd.DataFrame() if curve is None else functional.ranks(curve)
    evidence = as_table(rank_study(ranks.verdicts(measured), used, groups))
    figures, missing = material.figures.of(*_OF_RANK)
    if twin is None and not is_shuffled(run):
        why = "without the same run on shuffled labels, what training does by itself cannot be told from the task"
        missing.append(Missing("Shuffled labels", why, commands.to_go_on(run, DENSE, "--labels", "shuffled")))
    answer_table = page_tables.answers(evidence, "Answers computed from this run; the notebook rank_study shows how")
    title, anchor = "Is the learned prompt of low rank?", f"{material.anchor}-rank"
    yield Block(title, anchor, tables=[answer_table], figures=figures, missing=missing)


def _against_twin(measured: pd.DataFrame, twin: RunReader) -> pd.DataFrame:
    control = ranks.table(tables.subjects(twin), matrices=MATRICES, against=("gaussian",))
    groups = ranks.groups(measured, control)
    return groups[groups["measure"] == "entropy"]


def _tokens(material: Material) -> Iterator[Block]:
    """What each token is worth, and the answers of the importance study."""
    run, stage = material.run, _last_pruning(material.run)
    measured = tables.measured([run])
    scores = tables.scores([run], stage)
    beside = unit_scores.beside(scores[scores["level"] == "token"], measured)
    exact = beside[beside[list(unit_scores.MEASURED)].notna().any(axis=1)]  # that cheap scores agree answers nothing
    evidence = importance_study(beside, unit_scores.agreement(exact), _overlap(run, stage))
    caption = "Answers computed from this run; the notebook importance_study shows how"
    figures, missing = material.figures.of(*_OF_TOKENS)
    seed = run.settings()["seeds"][0]
    lacking = [
        Missing(name, "it was not measured on this run", commands.to_score(run, seed, kind))
        for kind, name in (("leave-one-out", "What leaving each token out costs"), ("shapley", "Shapley values"))
        if kind not in set(measured["kind"])
    ]
    one_by_one = [material.figures.beside[CELL_MAP]] if CELL_MAP in material.figures.beside else []
    yield Block(
        "Which tokens matter?",
        f"{material.anchor}-tokens",
        tables=[page_tables.answers(as_table(evidence), caption)],
        figures=figures,
        further=[*one_by_one, *page_tables.importance(measured), *page_tables.groups(tables.measured_groups([run]))],
        missing=[*missing, *lacking],
    )


def _last_pruning(run: RunReader) -> Stage | None:
    """The last stage, by name, with a ticket whose training came to its end."""
    results = run.results()
    finished = set(results[(results["status"] == "done") & (results["arm"] == "")]["stage"])
    return max((stage for stage in tables.prunings(run) if stage in finished), default=None)


def _overlap(run: RunReader, stage: str | None) -> pd.DataFrame:
    """Agreement of the masks of a stage's last round; empty where there is none."""
    agreement = overlap.agreement(tables.subjects(run, stage)) if stage else pd.DataFrame()
    return agreement[agreement["round"] == agreement["round"].max()] if len(agreement) else agreement


def _further(material: Material) -> Iterator[Block]:
    """Figures that no other block shows."""
    elsewhere = {*_OF_ROUNDS, *_OF_TRAINING, *_OF_CONTROLS, *_OF_RANK, *_OF_TOKENS}
    figures, missing = material.figures.of(*(name for name in material.figures.names if name not in elsewhere))
    if figures or missing:
        yield Block("Further figures", f"{material.anchor}-further", figures=figures, missing=missing)


def _environment(run: RunReader) -> list[Any]:
    """The versions and the machine of every round; a table for each environment that any was made in."""
    environments = environment.environments(run)
    if not environments:
        return [page_tables.settings({"versions": "not known"}, "Versions and machine")]
    if len(environments) == 1:
        whole = {name: value for name, value in environments[0].items() if name != "rounds"}
        return [page_tables.settings(whole, "Versions and machine")]
    return [
        page_tables.settings(entry, f"Versions and machine of {len(entry['rounds'])} rounds") for entry in environments
    ]
