"""The page of a study and the front page of all: Markdown made of plan and tables, so that no number was typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analyses.studies import base_lines, errors, gains
from analyses.studies.effects import TESTBED, Question, deciding, effects, task_means
from analyses.studies.planning import ENOUGH
from analyses.studies.study import PAGE, PARTS, PICTURE, PLAN, POWER_TABLE, UNITS, Study, Tables
from prunekit.analysis import verdicts
from prunekit.support import statistics
from prunekit.support.inference import ALPHA, FEWEST

#: Beside the front page: of `errors.simulated`.
ERROR_TABLE = "errors.csv"

_COLUMNS = {
    "claim": "claim",
    "compared": "compared",
    "model": "model",
    "family": "",
    "units": "units",
    "subsets": "training subsets",
    "spread": "spread over",
    "first": "first arm",
    "second": "second arm",
    "difference": "difference [95 %]",
    "range": "training subsets, least to most",
    "p": "p",
    "p_equivalence": "p equivalent",
    "verdict": "verdict",
}

# what is said beside a claim of what its prompts are worth
_BEST, _GAIN, _NOT_MEASURED = "best base line", "gain of a trained prompt", "not measured"
# the order of the verdicts in a headline: what speaks against a claim comes first
_AGAINST = (verdicts.OTHER_WAY, verdicts.EQUIVALENT)
_ORDER = (*_AGAINST, verdicts.HOLDS, verdicts.INCONCLUSIVE, verdicts.NO_VERDICT)
# which way a difference went that has no verdict
_OTHER_WAY, _AS_CLAIMED, _BY_CHANCE = "beyond chance, the other way", "beyond chance, as claimed", "not beyond chance"
# how a page's first sentence says an outcome; two arms that are equivalent are left
_SPOKEN = {
    verdicts.HOLDS: "Yes.",
    verdicts.OTHER_WAY: "No, the other way.",
    verdicts.INCONCLUSIVE: "Open: the study cannot tell.",
    _OTHER_WAY: "No verdict, but beyond chance it goes the other way.",
    _AS_CLAIMED: "No verdict, but beyond chance it goes as claimed.",
    _BY_CHANCE: "No verdict: the difference is not beyond chance.",
}
_UNDECIDED = "Measured without a verdict, for want of power at one point of accuracy:"
_RULES = (
    "Every study was planned before it ran; its page holds plan, numbers and figures, and is made by one command. "
    "Each claim is answered on each model apart, real ones first. One interval decides: a claim *holds* where the 95 "
    "% interval of the difference lies on the claimed side of 0, and goes the *other way* where it lies on the other; "
    "two arms are *equivalent within* the smallest difference of interest where the whole interval lies closer to 0 "
    "than that, on tasks that do not differ by more; all else is *inconclusive*. Tasks are fixed and count alike. "
    "Training subsets are draws: where a task has several, the spread is over their means, and what is found holds "
    "for further subsets; where it has one, the spread is over seeds, and what is found holds for further seeds on "
    "that subset alone. The test is the t test of that interval, and of seeds on one subset of one task flipped "
    f"signs, which are exact. A verdict takes at least {FEWEST} units, the test split, and a p below {ALPHA:g} (Holm's "
    "over all comparisons of a study but its primary one, so that an interval without 0 is not always enough). A "
    "share is compared with what the same procedure finds where there is no effect. The best base line is the most "
    "that the same rows come to without a trained prompt, test accuracy, means over training subsets and tasks; the "
    "gain is what the study's trained prompts reach above it, with the 95 % interval of the same rule. Where that is "
    "not above 0, the claim is about prompts that do not beat it."
)
_REAL = "## On real models"
_ON_TESTBED = (
    "## On the testbed\n\nA T5 of 246 words, trained on an artificial grammar: cheap enough for many seeds, and no "
    "evidence about real models."
)
_DESCRIBED = (
    "## Measured, without a verdict\n\nOn the testbed a prompt learns its task whole or hardly at all, so that only "
    "larger differences in accuracy can be told there than one point."
)
_PLANNED = (
    "## Planned, not run yet\n\nEach is one command. Its page shows the power that a pilot gave it. "
    "Where a question has too little, more seeds do not help, but more training subsets do: they are draws."
)
_ERRS = (
    "## How often the rule errs\n\n`python -m analyses.studies errors` simulates studies of which the truth is set, "
    "2,000 of each kind, and judges them by the same code. *False holds*: a difference is found where the true mean is "
    "0, in the direction that is found more often. *False equivalent*: the true mean lies on the margin, on the side "
    "where it passes more often. The bound is 0.06 for each of the first six; the others are beyond it or beside it: "
    "differences as skewed as an exponential distribution, and runs of one task on one training subset, whose test is "
    "flipped signs."
)
_APART = (
    "A true mean of 0.4 margins over tasks, or over training subsets, that differ by several margins: the rule before "
    "flipped the signs of all seeds and took subsets for fixed strata."
)
_AS_PLANNED = (
    "*The plan is as it was written, for the rule before; what decides now is said on the "
    "[front page](../README.md). The power below was simulated again, by the rule of now, from the same pilot.*"
)
_CHANGED = (
    "**What the one rule of all verdicts changed** (training subsets are draws, test and interval and equivalence have "
    "one spread, real models and the testbed stand apart, a share is compared with what the tests name where nothing "
    "does harm): "
)


def page(study: Study) -> str:
    """The page: a picture and a sentence, each answer with its p values, the plan as it was written, every table."""
    plan = (study.folder / PLAN).read_text(encoding="utf-8").strip()
    command = f"python -m analyses.studies run {study.name}"
    parts = [f"# {study.title}"]
    if not study.has_run():
        return "\n\n".join([*parts, _so_far(study), plan, *_power(study), _origin(command)]) + "\n"
    tables = study.tables()
    answers = effects(study.questions, tables[UNITS])
    parts += [
        f"![Each difference with its 95 % interval]({PICTURE})",
        sentence(answers),
        "## Each claim",
        *([changed(study.questions, study.earlier(), answers)] if study.earlier() else []),
        headline(answers),
        plan,
        *([_AS_PLANNED] if study.earlier() else []),
        *_power(study),
        "## What came out",
        _effects(answers),
        *_base_lines(study, tables),
    ]
    for title, table in study.describe(tables):
        parts += [f"### {title}", markdown(table)]
    return "\n\n".join([*parts, _origin(command)]) + "\n"


def _so_far(study: Study) -> str:
    """Which parts of a study have run that has not ended."""
    parts = study.parts()
    ended = [part for part, has_ended in parts.items() if has_ended]
    if not ended:
        return "*Planned; not run yet.*"
    return f"*Not run yet to its end: {', '.join(ended)} of {', '.join(parts)}. Nothing is looked at before the last.*"


def _base_lines(study: Study, tables: Tables) -> list[str]:
    """What the same tasks come to without a trained prompt, and with one, where that was measured."""
    table = tables.get(base_lines.BASE_LINES_TABLE)
    if table is None:
        return []
    title = "### What there is without a trained prompt: test accuracy, means over training subsets"
    means, pairs = base_lines.by_task(table), _pairs(study, tables)
    if pairs is None:
        return [title, markdown(means)]
    rows = [row | _with_prompt(pairs, row["model"], row["task"]) for row in means.to_dict("records")]
    return [f"{title}; and what trained prompts gain over the best of it", markdown(pd.DataFrame(rows))]


def _with_prompt(pairs: pd.DataFrame, model: str, task: str) -> dict[str, Any]:
    """Two more cells of a model's row of one task."""
    reached = task_means(gains.of_model(pairs, model))["first"]
    return {"trained prompt": reached.get(task, float("nan")), _GAIN: _gain(pairs, model, [task])}


def _pairs(study: Study, tables: Tables) -> pd.DataFrame | None:
    """Trained prompts beside base lines, where the tables hold both."""
    table = tables.get(base_lines.BASE_LINES_TABLE)
    return None if table is None or study.prompts is None else gains.paired(study.prompts(tables), table)


def changed(questions: Sequence[Question], earlier: Mapping[str, str], answers: pd.DataFrame) -> str:
    """What the verdicts were by the rule before, where they are others now.

    Args:
        questions: of the study.
        earlier: verdicts by question.
        answers: of `effects`.
    """
    sentences = []
    for question in questions:
        rows = answers[answers["question"] == question.name].to_dict("records")
        if {row["verdict"] for row in rows} != {earlier[question.name]}:
            now = ", ".join(f"**{row['verdict']}** on {_where(row)}" for row in rows)
            sentences.append(f"*{question.claim}* was **{earlier[question.name]}**, is {now}")
    return _CHANGED + ("; ".join(sentences) if sentences else "no verdict") + "."


def sentence(answers: pd.DataFrame) -> str:
    """The primary comparison in one sentence without p values: what was asked, where, and how it ended.

    Args:
        answers: of `effects`.
    """
    row = min(answers.to_dict("records"), key=lambda row: (row["family"] != "primary", row["model"] == TESTBED))
    outcome = way_of(row) if _kind(row) == verdicts.NO_VERDICT else row["verdict"]
    return (
        f"**{_SPOKEN.get(outcome, f'No difference that matters: {outcome}.')}** *{row['claim']}*, on {_where(row)}: "
        f"{row['measure']} {row['first']:z.3f} beside {row['second']:z.3f}, a difference of {_difference(row)} over "
        f"{row['units']} units."
    )


def headline(answers: pd.DataFrame) -> str:
    """The answers, a line each: real models first, what speaks against a claim first; then what has no verdict.

    Args:
        answers: of `effects`.
    """
    rows = sorted(answers.to_dict("records"), key=lambda row: (row["model"] == TESTBED, _ORDER.index(_kind(row))))
    decided = [
        _answer(row, f"**{row['verdict']}**", "Against", contradicted=_kind(row) in _AGAINST)
        for row in rows
        if row["verdict"] != verdicts.NO_VERDICT
    ]
    undecided = [
        _answer(row, way, "against", contradicted=way == _OTHER_WAY)
        for way in (_OTHER_WAY, _AS_CLAIMED, _BY_CHANCE)
        for row in rows
        if row["verdict"] == verdicts.NO_VERDICT and way_of(row) == way
    ]
    parts = [_list(decided)] if decided else []
    parts += [_UNDECIDED, _list(undecided)] if undecided else []
    return "\n\n".join([*parts, *_both_ways(answers.to_dict("records"))])


def _list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}." for sentence in sentences)


def way_of(row: Mapping[Any, Any]) -> str:
    """Which way the difference of a row of `effects` goes, whatever its margin, where that is no chance."""
    if not deciding(row) < ALPHA:
        return _BY_CHANCE
    return _AS_CLAIMED if row["difference"] * row["direction"] > 0 else _OTHER_WAY


def front(studies: Sequence[Study], simulated: pd.DataFrame | None = None) -> str:
    """The tables of all claims, and what has not run; with links to the pages.

    Args:
        simulated: of `errors.simulated`, shown at the end.
    """
    sections: dict[str, list[dict[str, str]]] = {_REAL: [], _ON_TESTBED: [], _DESCRIBED: [], _PLANNED: []}
    for study in studies:
        target = f"{study.folder.name}/{PAGE}"
        if not study.has_run():
            sections[_PLANNED].append(_waiting(study, target))
            continue
        tables = study.tables()
        table, pairs = tables.get(base_lines.BASE_LINES_TABLE), _pairs(study, tables)
        best = {} if table is None else base_lines.best(table)
        for row in effects(study.questions, tables[UNITS]).to_dict("records"):
            sections[_section(row)].append(_entry(row, target) | _worth(row, best, pairs))
    parts = ["# Which claims hold", _RULES]
    for text, rows in sections.items():
        parts += [text, markdown(pd.DataFrame(rows))] if rows else []
    if simulated is not None:
        parts += [_ERRS, markdown(errors.rates(simulated)), _APART, markdown(errors.apart(simulated))]
    return "\n\n".join(parts) + "\n"


def _waiting(study: Study, target: str) -> dict[str, str]:
    claims = "; ".join(question.claim for question in study.questions)
    path = study.folder / POWER_TABLE
    if not path.exists():
        return {"study": f"[{study.title}]({target})", "claims": claims, "questions with enough power": "not simulated"}
    power = pd.read_csv(path)
    enough = (power[["difference", "equivalence"]] >= ENOUGH).all(axis=1).sum()
    return {
        "study": f"[{study.title}]({target})", "claims": claims,
        "questions with enough power": f"{enough} of {len(power)} at {ENOUGH:g}",
    }  # fmt: skip


def _section(row: Mapping[Any, Any]) -> str:
    if row["verdict"] == verdicts.NO_VERDICT:
        return _DESCRIBED
    return _ON_TESTBED if row["model"] == TESTBED else _REAL


def _entry(row: Mapping[Any, Any], target: str) -> dict[str, str]:
    outcome = way_of(row) if row["verdict"] == verdicts.NO_VERDICT else f"**{row['verdict']}**"
    return {
        "claim": f"[{row['claim']}]({target})",
        "source": row["source"],
        "measured": f"{row['measure']}: {row['compared']}",
        "on": _where(row),
        "seen" if row["verdict"] == verdicts.NO_VERDICT else "verdict": outcome,
        "size of effect": _size(row),
    }


def _worth(
    row: Mapping[Any, Any], best: Mapping[tuple[str, str], tuple[str, float]], pairs: pd.DataFrame | None
) -> dict[str, str]:
    """What a claim's tasks come to without a trained prompt, by the best that is known, and what prompts gain over it.

    Means over tasks.

    Args:
        best: of `base_lines.best`.
        pairs: of `gains.paired`, where prompts were kept.
    """
    model, tasks = row["model"], row["tasks"].split(", ")
    reached = [best[model, task] for task in tasks if (model, task) in best]
    if not reached:
        return {_BEST: _NOT_MEASURED, _GAIN: _NOT_MEASURED}
    labels = ", ".join(dict.fromkeys(label for label, _ in reached))
    mean = sum(value for _, value in reached) / len(reached)
    return {_BEST: f"{mean:.3f} ({labels})", _GAIN: _gain(pairs, model, tasks)}


def _gain(pairs: pd.DataFrame | None, model: str, tasks: Sequence[str]) -> str:
    """A cell: the gain with its interval."""
    inference = None if pairs is None else gains.gain(pairs, model, tasks)
    if inference is None:
        return _NOT_MEASURED
    low, high = statistics.cut(inference.interval(), (-1.0, 1.0))
    return _difference({"difference": inference.estimate, "low": low, "high": high})


def markdown(table: pd.DataFrame) -> str:
    """A table as Markdown; floats with three digits."""
    lines = [[str(name).replace("_", " ") for name in table.columns], ["---"] * len(table.columns)]
    lines += [[_cell(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _kind(row: Mapping[Any, Any]) -> str:
    """The verdict without its numbers."""
    return verdicts.kind(row["verdict"])


def _answer(row: Mapping[Any, Any], outcome: str, against: str, *, contradicted: bool) -> str:
    lead = f"{against} {row['source']}: " if contradicted else ""
    return f"{lead}*{row['claim']}* on {_where(row)} — {outcome} ({_size(row)})"


def _where(row: Mapping[Any, Any]) -> str:
    """The model, and its tasks where they are few."""
    tasks = row["tasks"].split(", ")
    if row["model"] == TESTBED:
        return "the testbed"
    return f"{row['model']} ({row['tasks']})" if len(tasks) <= 4 and row["tasks"] else str(row["model"])


def _both_ways(rows: Sequence[Mapping[Any, Any]]) -> list[str]:
    """A sentence on verdicts about means that hide differences of interest, where there are such."""
    mixed = [
        f"*{row['claim']}*"
        for row in rows
        if row["verdict"] not in (verdicts.NO_VERDICT, verdicts.INCONCLUSIVE)
        and row["least"] < -row["margin"]
        and row["most"] > row["margin"]
    ]
    if not mixed:
        return []
    return [
        "About a mean alone, since single training subsets go both ways by more than the smallest difference of "
        f"interest: "
        f"{'; '.join(mixed)}."
    ]


def _effects(answers: pd.DataFrame) -> str:
    rows = []
    for row in answers.to_dict("records"):
        p = _p(row["p"]) if row["family"] == "primary" else f"{_p(row['p_corrected'])} (Holm)"
        rows.append(row | {
            "difference": _difference(row), "range": _range(row), "p": p, "p_equivalence": _p(row["p_equivalence"]),
        })  # fmt: skip
    table = pd.DataFrame(rows)[list(_COLUMNS)].rename(columns=_COLUMNS)
    return markdown(table)


def _power(study: Study) -> list[str]:
    path = study.folder / POWER_TABLE
    if not path.exists():
        return []
    return [
        "### Power, simulated by the rule that decides, from the strata of a pilot on other seeds",
        markdown(pd.read_csv(path)),
    ]


def _size(row: Mapping[Any, Any]) -> str:
    p = f"p = {_p(row['p'])}" if row["family"] == "primary" else f"corrected p = {_p(row['p_corrected'])}"
    return (
        f"{_difference(row)} over {row['spread']}, {p}, equivalence within {row['margin']:g}: "
        f"p = {_p(row['p_equivalence'])}; {row['units']} units on {row['subsets']} training "
        f"subset{'' if row['subsets'] == 1 else 's'}, {_range(row)}"
    )


def _difference(row: Mapping[Any, Any]) -> str:
    if pd.isna(row["low"]):
        everywhere = row.get("least", 0) == row.get("most", 0)
        return f"{row['difference']:+z.3f} {'in every unit' if everywhere else '(no interval)'}"
    return f"{row['difference']:+z.3f} [{row['low']:z.3f}, {row['high']:z.3f}]"


def _range(row: Mapping[Any, Any]) -> str:
    return f"{row['least']:+z.3f} to {row['most']:+z.3f}"


def _p(value: float) -> str:
    """Two digits, or as many as tell on which side of what decides it is."""
    levels = (ALPHA, ALPHA / 2)
    digits = next(
        (n for n in range(2, 17) if all((float(f"{value:.{n}g}") < level) == (value < level) for level in levels)), 17
    )
    return f"{value:.{digits}g}"


def _origin(command: str) -> str:
    return (
        f"Made by `{command}` from [{PARTS}]({PARTS}); the tables are in [results](results). "
        "`python -m analyses.studies pages` writes the page again from them."
    )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.3f}".rstrip("0").rstrip(".") if abs(value) < 1000 else f"{value:.0f}"
    return str(value).replace("|", "\\|")
