"""What `prunekit score --by-word` measured on the prompts of some runs."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from prunekit.analysis.subjects import KEYS
from prunekit.analysis.tables.run_columns import key_columns, run_columns
from prunekit.runs.paths import FACTS, WORDS, RunKey
from prunekit.runs.reader import RunReader

COLUMNS = (*KEYS, "example", "token", "position", "word", "difference", "split")


def words(runs: Sequence[RunReader]) -> pd.DataFrame:
    """Which prompt token helps which word of the right answers; empty where it was not measured.

    Only what was measured on a run's own model, task and data; of several measurements of one prompt, that on the most
    examples.

    Columns:
        `KEYS` of the prompt; example (its index); token (of the prompt); position (of the word in the answer, from 0);
            word (the text of that token of the answer); difference (nats that leaving the prompt's token out adds to
            its loss); split.
    """
    tables: dict[tuple[str, RunKey], pd.DataFrame] = {}
    for run in runs:
        columns = run_columns(run)
        for key in run.rounds():
            if key.stage.verb != "score" or WORDS not in run.manifest(key)["files"]:
                continue
            facts = run.facts(key, FACTS)
            prompt = key._replace(stage=key.stage.measured)
            before = tables.get((columns["run"], prompt), pd.DataFrame())
            table = run.table(key, WORDS).assign(**key_columns(columns, prompt), split=facts["split"])
            if not facts.get("differs") and len(table) > len(before):
                tables[columns["run"], prompt] = table
    whole = pd.concat(tables.values(), ignore_index=True) if tables else pd.DataFrame()
    return whole.reindex(columns=list(COLUMNS))
