"""What trained prompts gain over the best base line: whether they are worth anything that a study could take apart."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses.studies import base_lines
from analyses.studies.effects import of_tasks
from analyses.studies.subsets import parted
from prunekit.support.inference import Inference, infer

_UNIT = ["task", "subset", "seed"]


def paired(prompts: pd.DataFrame, table: pd.DataFrame, model: str) -> pd.DataFrame:
    """Each trained prompt of a model beside the base line that is best on its task, on the same training subset.

    Which one is best is seen on test, so that a gain is rather too small than too large.

    Args:
        prompts: with columns task, model, seed, test.
        table: of `base_lines.measured`.

    Columns:
        first, second (test accuracy of the prompt, of the base line); by task, subset and seed.
    """
    labels = {task: label for (of_model, task), (label, _) in base_lines.best(table).items() if of_model == model}
    lines = _by_subset(table[table["model"] == model])
    lines = lines[lines["label"] == lines["task"].map(labels)][["task", "subset", "test"]]
    trained = _by_subset(prompts[prompts["model"] == model])[[*_UNIT, "test"]]
    both = trained.merge(lines, on=["task", "subset"], suffixes=("_prompt", "_line"))
    return both.set_index(_UNIT).rename(columns={"test_prompt": "first", "test_line": "second"}).sort_index()


def gain(pairs: pd.DataFrame, tasks: Sequence[str]) -> Inference | None:
    """What prompts gain on the mean of tasks, by the rule of all verdicts; None where a task has no prompt.

    Args:
        pairs: of `paired`.
    """
    of_these = pairs[pairs.index.isin(tasks, level="task")]
    if len(of_these.index.unique("task")) < len(tasks):
        return None
    return infer(of_tasks(of_these))


def _by_subset(table: pd.DataFrame) -> pd.DataFrame:
    """With the task alone, and the number of its training subset."""
    return table.assign(**parted(table["task"]))
