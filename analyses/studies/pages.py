"""The page of a study and the front page of all: Markdown made of plan and tables, so that no number was typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from analyses.studies.effects import ALPHA, effects
from analyses.studies.study import PARTS, PICTURE, PLAN, UNITS, Study
from prunekit.errors import DataError

_SHOWN = {
    "claim": "claim",
    "compared": "compared",
    "family": "",
    "units": "units",
    "first": "first arm",
    "second": "second arm",
    "difference": "difference [95 %]",
    "p": "p",
    "p_equivalence": "p equivalent",
    "verdict": "verdict",
}


def page(study: Study) -> str:
    """The page: what came out first, the plan as it was written before, then every table."""
    plan = (study.folder / PLAN).read_text(encoding="utf-8").strip()
    command = f"python -m analyses.studies run {study.name}"
    parts = [f"# {study.title}"]
    try:
        tables = study.tables()
    except DataError:
        return "\n\n".join([*parts, "*Planned; not run yet.*", plan, *_power(study), _made(command)]) + "\n"
    found = effects(study.questions, tables[UNITS])
    parts += [headline(found), f"![Effects]({PICTURE})", plan, *_power(study), "## What came out", _effects(found)]
    for title, table in study.describe(tables):
        parts += [f"### {title}", markdown(table)]
    return "\n\n".join([*parts, _made(command)]) + "\n"


def headline(found: pd.DataFrame) -> str:
    """The answers in sentences, those against what was claimed first."""
    order = {"does not hold": 0, "holds": 1, "cannot be said": 2}
    rows = sorted(found.to_dict("records"), key=lambda row: order[row["verdict"]])
    said = []
    for row in rows:
        lead = f"Against {row['source']}: " if row["verdict"] == "does not hold" else ""
        said.append(f"{lead}*{row['claim']}* — **{row['verdict']}** ({_size(row)}).")
    return " ".join(said)


def front(studies: Sequence[Study]) -> str:
    """The table of all claims, with links to the pages."""
    rows = []
    for study in studies:
        try:
            found = effects(study.questions, study.tables()[UNITS])
        except DataError:
            found = pd.DataFrame()
        for question in study.questions:
            mine = found[found["question"] == question.name] if len(found) else found
            row = mine.iloc[0].to_dict() if len(mine) else {}
            rows.append(
                {
                    "claim": question.claim,
                    "source": question.source,
                    "measured": question.compared,
                    "verdict": f"**{row['verdict']}**" if row else "not run yet",
                    "size of effect": _size(row) if row else "",
                    "study": f"[{study.title}]({study.folder.name}/README.md)",
                }
            )
    parts = [
        "# Which claims hold",
        "Every study was planned before it ran; its page holds plan, numbers and figures, and is made by one "
        f"command. A verdict takes at least six units, the report split, and a p below {ALPHA:g} (Holm's over all "
        "questions of a study but its primary one); *does not hold* takes equivalence within the smallest difference "
        "of interest, or a difference the other way.",
        markdown(pd.DataFrame(rows)),
    ]
    return "\n\n".join(parts) + "\n"


def markdown(table: pd.DataFrame) -> str:
    """A table as Markdown; floats with three digits."""
    lines = [[str(name).replace("_", " ") for name in table.columns], ["---"] * len(table.columns)]
    lines += [[_cell(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _effects(found: pd.DataFrame) -> str:
    rows = []
    for row in found.to_dict("records"):
        interval = f"{row['difference']:+z.3f} [{row['low']:z.3f}, {row['high']:z.3f}]"
        p = _p(row["p"]) if row["family"] == "primary" else f"{_p(row['p_corrected'])} (Holm)"
        rows.append(row | {"difference": interval, "p": p, "p_equivalence": _p(row["p_equivalence"])})
    table = pd.DataFrame(rows)[list(_SHOWN)].rename(columns=_SHOWN)
    return markdown(table)


def _power(study: Study) -> list[str]:
    path = study.folder / "power.csv"
    if not path.exists():
        return []
    return [
        "### Power, simulated before the study from the spread of a pilot on other seeds",
        markdown(pd.read_csv(path)),
    ]


def _size(row: dict[Any, Any]) -> str:
    p = f"p = {_p(row['p'])}" if row["family"] == "primary" else f"corrected p = {_p(row['p_corrected'])}"
    return (
        f"{row['difference']:+z.3f} [{row['low']:z.3f}, {row['high']:z.3f}], {p}, equivalence within "
        f"{row['margin']:g}: p = {_p(row['p_equivalence'])}; {row['units']} units"
    )


def _p(value: float) -> str:
    """Two digits, or as many as tell on which side of the p that decides it is."""
    digits = next((n for n in range(2, 17) if (float(f"{value:.{n}g}") < ALPHA) == (value < ALPHA)), 17)
    return f"{value:.{digits}g}"


def _made(command: str) -> str:
    return (
        f"Made by `{command}` from [{PARTS}]({PARTS}); the tables are in [results](results). "
        "`python -m analyses.studies pages` writes the page again from them."
    )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.3f}".rstrip("0").rstrip(".") if abs(value) < 1000 else f"{value:.0f}"
    return str(value).replace("|", "\\|")
