"""What trained prompts gain over the best base line: whether they are worth anything that a study could take apart."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses.studies import base_lines
from analyses.studies.effects import of_tasks
from analyses.studies.subsets import parted
from prunekit.support.inference import Inference, infer

_SUBSET = ["model", "task", "subset"]


def paired(prompts: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Each trained prompt beside the base line that is best for its model and task, on the same training subset.

    Which one is best is seen on test, so that a gain is rather too small than too large.

    Args:
        prompts: with columns task, model, seed, test.
        table: of `base_lines.measured`.

    Columns:
        first, second (test accuracy of the prompt, of the base line); by model, task, subset and seed.
    """
    best = [(*place, label) for place, (label, _) in base_lines.best(table).items()]
    of_best = pd.DataFrame(best, columns=["model", "task", "label"])
    lines = _by_subset(table).merge(of_best, on=["model", "task", "label"]).set_index(_SUBSET)["test"]
    trained = _by_subset(prompts).set_index([*_SUBSET, "seed"])["test"].rename("first")
    return trained.to_frame().join(lines.rename("second"), on=_SUBSET, how="inner").sort_index()


def gain(pairs: pd.DataFrame, model: str, tasks: Sequence[str]) -> Inference | None:
    """What a model's prompts gain on the mean of tasks, by the rule of all verdicts; None where a task has no prompt.

    Args:
        pairs: of `paired`.
    """
    of_these = of_model(pairs, model)
    of_these = of_these[of_these.index.isin(tasks, level="task")]
    if len(of_these.index.unique("task")) < len(tasks):
        return None
    return infer(of_tasks(of_these))


def of_model(pairs: pd.DataFrame, model: str) -> pd.DataFrame:
    """The pairs of a model, by task, subset and seed.

    Args:
        pairs: of `paired`.
    """
    return pairs[pairs.index.get_level_values("model") == model].droplevel("model")


def _by_subset(table: pd.DataFrame) -> pd.DataFrame:
    """With the task alone, and the number of its training subset."""
    return table.assign(**parted(table["task"]))
