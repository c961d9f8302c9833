"""The page of a study and the front page of all: Markdown made of plan and tables, so that no number was typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analyses.studies.effects import ALPHA, FEWEST_UNITS, POINT, deciding, effects
from analyses.studies.planning import ENOUGH
from analyses.studies.study import PAGE, PARTS, PICTURE, PLAN, UNITS, Study
from prunekit.analysis import verdicts
from prunekit.support.errors import DataError

_COLUMNS = {
    "claim": "claim",
    "compared": "compared",
    "family": "",
    "units": "units",
    "first": "first arm",
    "second": "second arm",
    "difference": "difference [95 %]",
    "range": "strata, least to most",
    "further": "[95 %] of further strata",
    "p": "p",
    "p_equivalence": "p equivalent",
    "verdict": "verdict",
}

# the order of the verdicts in a headline: what speaks against a claim comes first
_EQUIVALENT = "equivalent"
_AGAINST = (verdicts.OTHER_WAY, _EQUIVALENT)
_ORDER = (*_AGAINST, verdicts.HOLDS, verdicts.INCONCLUSIVE, verdicts.NO_VERDICT)
# which way a difference went that has no verdict
_OTHER_WAY, _AS_CLAIMED, _BY_CHANCE = "beyond chance, the other way", "beyond chance, as claimed", "not beyond chance"
_RULES = (
    "Every study was planned before it ran; its page holds plan, numbers and figures, and is made by one "
    f"command. A verdict takes at least {FEWEST_UNITS} units, the test split, a simulated power of {ENOUGH:g} "
    f"at the smallest difference of interest (in accuracy {POINT:g}, one point), and a p below {ALPHA:g} "
    "(Holm's over all questions of a study but its primary one). A claim *holds* where the difference is as "
    "claimed, and goes the *other way* where it is the reverse; two arms are *equivalent within* that smallest "
    "difference where they are shown to be closer; all else is *inconclusive*. Every verdict is about the mean "
    "of the tasks, training subsets or models (strata) of its study, as its interval is, for further seeds of "
    "the same; p, from flipped signs, is larger where strata differ. From where to where single strata reach "
    "stands beside it, and its page has the interval for further strata."
)
_DESCRIBED = (
    "## Measured, without a verdict\n\nOn the testbed a prompt learns its task whole or hardly at all, so that only "
    "larger differences in accuracy can be told there than one point."
)
_PLANNED = (
    "## Planned, not run yet\n\nEach is one command and wants a GPU; its page shows the power that a pilot gave it."
)


def page(study: Study) -> str:
    """The page: what came out first, the plan as it was written before, then every table."""
    plan = (study.folder / PLAN).read_text(encoding="utf-8").strip()
    command = f"python -m analyses.studies run {study.name}"
    parts = [f"# {study.title}"]
    try:
        tables = study.tables()
    except DataError:
        return "\n\n".join([*parts, "*Planned; not run yet.*", plan, *_power(study), _origin(command)]) + "\n"
    answers = effects(study.questions, tables[UNITS])
    parts += [headline(answers), f"![Effects]({PICTURE})", plan, *_power(study), "## What came out", _effects(answers)]
    for title, table in study.describe(tables):
        parts += [f"### {title}", markdown(table)]
    return "\n\n".join([*parts, _origin(command)]) + "\n"


def headline(answers: pd.DataFrame) -> str:
    """The answers in sentences, those against what was claimed first; what has no verdict after those that have one.

    Args:
        answers: of `effects`.
    """
    rows = sorted(answers.to_dict("records"), key=lambda row: _ORDER.index(_kind(row)))
    sentences = [
        _answer(row, f"**{row['verdict']}**", "Against", contradicted=_kind(row) in _AGAINST) + "."
        for row in rows
        if row["verdict"] != verdicts.NO_VERDICT
    ]
    undecided = [
        _answer(row, way, "against", contradicted=way == _OTHER_WAY)
        for way in (_OTHER_WAY, _AS_CLAIMED, _BY_CHANCE)
        for row in rows
        if row["verdict"] == verdicts.NO_VERDICT and way_of(row) == way
    ]
    if undecided:
        sentences.append(
            "Measured without a verdict, for want of power at one point of accuracy: " + "; ".join(undecided) + "."
        )
    return " ".join([*sentences, *_both_ways(answers.to_dict("records"))])


def way_of(row: Mapping[Any, Any]) -> str:
    """Which way the difference of a row of `effects` goes, whatever its margin, where that is no chance."""
    if not deciding(row) < ALPHA:
        return _BY_CHANCE
    return _AS_CLAIMED if row["difference"] * row["direction"] > 0 else _OTHER_WAY


def front(studies: Sequence[Study]) -> str:
    """The table of all claims with a verdict, that of those without, and what has not run; with links to the pages."""
    decided, described, planned = [], [], []
    for study in studies:
        target = f"{study.folder.name}/{PAGE}"
        try:
            answers = effects(study.questions, study.tables()[UNITS])
        except DataError:
            claims = "; ".join(question.claim for question in study.questions)
            planned.append({"study": f"[{study.title}]({target})", "claims": claims})
            continue
        for row in answers.to_dict("records"):
            cells = {
                "claim": f"[{row['claim']}]({target})",
                "source": row["source"],
                "measured": f"{row['measure']}: {row['compared']}",
            }
            if row["verdict"] == verdicts.NO_VERDICT:
                described.append(cells | {"seen": way_of(row), "size of effect": _size(row)})
            else:
                decided.append(cells | {"verdict": f"**{row['verdict']}**", "size of effect": _size(row)})
    parts = ["# Which claims hold"]
    for text, rows in ((_RULES, decided), (_DESCRIBED, described), (_PLANNED, planned)):
        if rows:
            parts += [text, markdown(pd.DataFrame(rows))]
    return "\n\n".join(parts) + "\n"


def markdown(table: pd.DataFrame) -> str:
    """A table as Markdown; floats with three digits."""
    lines = [[str(name).replace("_", " ") for name in table.columns], ["---"] * len(table.columns)]
    lines += [[_cell(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _kind(row: Mapping[Any, Any]) -> str:
    """The verdict without its margin."""
    return _EQUIVALENT if verdicts.is_equivalent(row["verdict"]) else str(row["verdict"])


def _answer(row: Mapping[Any, Any], outcome: str, against: str, *, contradicted: bool) -> str:
    lead = f"{against} {row['source']}: " if contradicted else ""
    return f"{lead}*{row['claim']}* — {outcome} ({_size(row)})"


def _both_ways(rows: Sequence[Mapping[Any, Any]]) -> list[str]:
    """A sentence on verdicts about means that hide differences of interest, where there are such."""
    mixed = [
        f"*{row['claim']}*"
        for row in rows
        if row["verdict"] != verdicts.NO_VERDICT and row["least"] < -row["margin"] and row["most"] > row["margin"]
    ]
    if not mixed:
        return []
    return [
        "About a mean alone, since single strata go both ways by more than the smallest difference of interest: "
        f"{'; '.join(mixed)}."
    ]


def _effects(answers: pd.DataFrame) -> str:
    rows = []
    for row in answers.to_dict("records"):
        p = _p(row["p"]) if row["family"] == "primary" else f"{_p(row['p_corrected'])} (Holm)"
        rows.append(row | {
            "difference": _difference(row), "range": _range(row), "p": p, "p_equivalence": _p(row["p_equivalence"]),
            "further": f"[{row['further_low']:z.3f}, {row['further_high']:z.3f}]",
        })  # fmt: skip
    table = pd.DataFrame(rows)[list(_COLUMNS)].rename(columns=_COLUMNS)
    return markdown(table)


def _power(study: Study) -> list[str]:
    path = study.folder / "power.csv"
    if not path.exists():
        return []
    return [
        "### Power, simulated before the study from the spread of a pilot on other seeds",
        markdown(pd.read_csv(path)),
    ]


def _size(row: Mapping[Any, Any]) -> str:
    p = f"p = {_p(row['p'])}" if row["family"] == "primary" else f"corrected p = {_p(row['p_corrected'])}"
    return (
        f"{_difference(row)}, {p}, equivalence within "
        f"{row['margin']:g}: p = {_p(row['p_equivalence'])}; {row['units']} units in "
        f"{row['strata']} strata, {_range(row)}"
    )


def _difference(row: Mapping[Any, Any]) -> str:
    return f"{row['difference']:+z.3f} [{row['low']:z.3f}, {row['high']:z.3f}]"


def _range(row: Mapping[Any, Any]) -> str:
    return f"{row['least']:+z.3f} to {row['most']:+z.3f}"


def _p(value: float) -> str:
    """Two digits, or as many as tell on which side of the p that decides it is."""
    digits = next((n for n in range(2, 17) if (float(f"{value:.{n}g}") < ALPHA) == (value < ALPHA)), 17)
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
