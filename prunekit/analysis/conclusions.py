"""What a study may conclude: a question, one of a few answers, and a sentence made of numbers.

The notebooks and the report end in such sentences, so that nothing that they conclude was typed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from prunekit.support.errors import DataError

Answer = Literal["yes", "hardly", "no", "inconclusive", "not measured"]


@dataclass(frozen=True)
class Conclusion:
    """A question, its answer, and the sentence that says so with numbers.

    "hardly": beyond chance, but of a size that does not matter. "inconclusive" is not "no": the numbers leave it open.
    "not measured": there are none.
    """

    question: str
    answer: Answer
    sentence: str


def as_table(conclusions: list[Conclusion]) -> pd.DataFrame:
    """Columns: question, answer, sentence (str)."""
    rows = [(conclusion.question, conclusion.answer, conclusion.sentence) for conclusion in conclusions]
    return pd.DataFrame(rows, columns=["question", "answer", "sentence"])


def unmeasured(question: str, what: str) -> Conclusion:
    """That a question stays open since `what` was not measured."""
    return Conclusion(question, "not measured", f"Not measured: {what}.")


def rows(table: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """The rows with these values; of an empty table, which may lack the columns, none."""
    for name, value in wanted.items():
        if table.empty:
            break
        table = table[table[name] == value]
    return table


def one_row(table: pd.DataFrame, **wanted: Any) -> dict[str, Any] | None:
    """The row with these values, None where there is none.

    Raises:
        DataError: where there are several: a conclusion is about one prompt per seed.
    """
    matching = rows(table, **wanted)
    if len(matching) > 1:
        names = ", ".join(f"{name} {value}" for name, value in wanted.items())
        raise DataError(f"{len(matching)} rows for {names}; give the table of one run, stage, arm and round")
    return {str(name): value for name, value in matching.iloc[0].items()} if len(matching) else None


def refuse_several(table: pd.DataFrame, *names: str) -> None:
    """Raises: DataError where a column holds several values, which would be taken for one."""
    for name in names:
        if name in table and table[name].nunique() > 1:
            values = ", ".join(map(str, table[name].unique()))
            raise DataError(f"a conclusion is about one {name}, the table holds {values}; choose one")


def seeds(count: float) -> str:
    """A number of seeds, in words."""
    return f"{int(count)} seed{'' if count == 1 else 's'}"


def span(values: pd.Series[Any]) -> str:
    """Whole numbers as their range."""
    low, high = int(values.min()), int(values.max())
    return f"{low}" if low == high else f"{low} to {high}"


def probability(value: float) -> str:
    """A p (value, in [0, 1]) with two significant digits."""
    return "nan" if pd.isna(value) else f"{value:.2g}"


def capital(text: str) -> str:
    """With its first letter large."""
    return text[:1].upper() + text[1:]
