"""The picture of the summary: every claim that has a verdict on a real model, in one."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from analyses.studies.effects import TESTBED, effects
from analyses.studies.study import UNITS, Study
from prunekit.analysis import verdicts
from prunekit.plots import effects as picture

#: The picture's name, beside the front page.
EVIDENCE_PICTURE = "evidence.svg"


def on_real_models(studies: Sequence[Study]) -> pd.DataFrame:
    """What was decided on real models: model by model, in the order of the front page.

    Columns:
        those of `effects.effects`; label (the claim); heading (the model, where there are several).
    """
    tables = [effects(study.questions, study.tables()[UNITS]) for study in studies if study.has_run()]
    rows = pd.concat(tables, ignore_index=True)
    rows = rows[(rows["model"] != TESTBED) & (rows["verdict"] != verdicts.NO_VERDICT)]
    models = rows["model"].unique().tolist()
    rows = rows.sort_values("model", key=lambda column: column.map(models.index), kind="stable", ignore_index=True)
    return rows.assign(label=rows["claim"], heading=rows["model"] if len(models) > 1 else "")


def render(table: pd.DataFrame) -> bytes:
    """The picture as SVG.

    Args:
        table: of `on_real_models`, with a row at least.
    """
    return picture.render(table, salt="evidence")
