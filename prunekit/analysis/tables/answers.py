"""What every finished ticket of a stage answered."""

from __future__ import annotations

import pandas as pd

from prunekit.analysis.subjects import KEYS
from prunekit.analysis.tables.run_columns import key_columns, run_columns
from prunekit.runs.paths import PREDICTIONS, Stage
from prunekit.runs.reader import RunReader


def answers(run: RunReader, stage: str) -> pd.DataFrame:
    """What each ticket of a stage answered to each example, the dense round's too, trials of a search left out.

    Columns:
        `KEYS`; split ("validation", "test"); example (its place in the split); then, where answers are chosen: choice
            (place of the answer among the choices), gold (places of the right ones), right (bool), score
            (log-probability of the answer, nats); where they are written: answer (text), tokens, ended and the task's
            metrics, as `prunekit.runs.round_record.predictions` has them.
        loss: nats, mean over the tokens of the right answer.

    Raises:
        ArtifactError: where the run is damaged.
    """
    columns, tables = run_columns(run), []
    for key in run.tickets():
        if not key.stage.is_trial and key.stage.top in (stage, Stage("")):
            table = run.table(key, PREDICTIONS)
            if "answer" not in table:
                pairs = zip(table["choice"], table["gold"], strict=True)
                table = table.assign(right=[choice in set(gold) for choice, gold in pairs])
            tables.append(table.assign(**key_columns(columns, key)))
    whole: pd.DataFrame = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(KEYS))
    return whole[[*KEYS, *(name for name in whole if name not in KEYS)]]
