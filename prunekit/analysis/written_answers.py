"""What was written to the test split: metrics and losses with intervals over its rows, and the answers side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prunekit.runs.paths import BASELINES, DENSE, FACTS, PREDICTIONS, UNTRAINED, RunKey, Stage
from prunekit.runs.reader import RunReader
from prunekit.support import row_bootstrap
from prunekit.support.row_bootstrap import interval, resampled
from prunekit.tasks.text_metrics import judge_of

OVER_ROWS = ("label", "seeds", "rows", "metric", "low", "high", "loss", "less_loss", "less_low", "less_high")
NO_PROMPT = "no-prompt"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Answers:
    """What stands under one name, by seed, rows in the order of the test split.

    Attributes:
        statistics: [seeds][N, k], what each row adds to a metric.
        losses: [seeds][N].
    """

    label: str
    keys: tuple[RunKey, ...]
    statistics: tuple[Floats, ...]
    losses: Floats


def is_written(run: RunReader) -> bool:
    """Whether a run's task has open answers, and any are on record."""
    tables = (_table(run, key) for key in run.rounds() if PREDICTIONS in run.manifest(key)["files"])
    return next(("answer" in table for table in tables if len(table)), False)


def over_rows(run: RunReader, stage: Stage, name: str | None = None) -> pd.DataFrame:
    """Base lines, the dense prompt and a stage's rounds on the test split; what is inferred holds for further rows.

    Rows are resampled, a row's seeds kept together, and a corpus score (BLEU) is computed anew of each sample.

    Args:
        name: of the metric, the primary one by default; `metrics_of` names all.

    Columns:
        label; seeds, rows (int); metric (mean over seeds), low, high (percentile bootstrap, 95 %);
        loss (nats a token); less_loss, less_low, less_high: the loss less that of no prompt to the same rows.
    """
    name = name or _metric_column(run)
    total = judge_of(name).total
    answers = sorted(
        _all_answers(run, stage, name), key=lambda entry: (entry.keys[0].stage == stage, entry.label == "dense")
    )
    bare = next((entry for entry in answers if entry.keys[0].stage == BASELINES.inside(NO_PROMPT)), None)
    samples = row_bootstrap.samples(answers[0].losses.shape[1])
    rows = []
    for entry in answers:
        metric = float(np.mean([total(part) for part in entry.statistics]))
        less = None if bare is None or entry is bare else entry.losses.mean(axis=0) - bare.losses.mean(axis=0)
        rows.append(
            (
                entry.label,
                len(entry.keys),
                entry.losses.shape[1],
                metric,
                *interval(resampled(total, entry.statistics, samples)),
                float(entry.losses.mean()),
                *((np.nan,) * 3 if less is None else (float(less.mean()), *interval(less[samples].mean(axis=1)))),
            )
        )
    return pd.DataFrame(rows, columns=list(OVER_ROWS))


def metrics_of(run: RunReader) -> list[str]:
    """Every metric of the task by which written answers are judged, the primary one first."""
    primary = _metric_column(run)
    results = run.results()
    names = [str(name).removeprefix("test_") for name in results if str(name).startswith("test_")]
    return list(dict.fromkeys([primary, *(name for name in names if name != "loss")]))


def row_interval(run: RunReader, stage: Stage, number: int) -> tuple[float, float, int] | None:
    """The 95 % interval of the primary metric over rows of test, as `over_rows` has it, of the tickets of a round.

    Returns:
        its ends, in units of the metric, and how many rows there are; None where they wrote nothing.
    """
    keys = [key for key in run.tickets() if (key.stage, key.round) == (stage, number)]
    answers = _answers(run, "", keys, _metric_column(run))
    if answers is None:
        return None
    rows = answers.losses.shape[1]
    total = judge_of(_metric_column(run)).total
    low, high = interval(resampled(total, answers.statistics, row_bootstrap.samples(rows)))
    return low, high, rows


def side_by_side(run: RunReader, stage: Stage, number: int, most: int) -> pd.DataFrame:
    """Answers to test rows of no prompt, the dense prompt and the ticket of a round, the ticket's worst first.

    Args:
        number: of the round.
        most: rows.

    Columns:
        text (the end of it), references (list of texts), no_prompt, dense, ticket (texts), value (what the ticket's
        answer is worth; minus its loss where the metric is no mean over rows). Of equally bad ones that of the larger
        loss comes first.
    """
    seed = min((key.seed for key in run.tickets() if key.stage == DENSE), default=0)
    keys = {"no_prompt": RunKey(BASELINES.inside(NO_PROMPT), 0, 0), "dense": RunKey(DENSE, seed, 0)}
    keys["ticket"] = RunKey(stage, seed, number) if number else keys["dense"]
    tables = {name: _table(run, key) for name, key in keys.items() if run.done([key])}
    if set(tables) != set(keys) or "text" not in tables["no_prompt"]:
        return pd.DataFrame(columns=["text", "references", *keys, "value"])
    own = tables["ticket"][_metric_column(run)]
    value = [row[0] if len(row) == 1 else -loss for row, loss in zip(own, tables["ticket"]["loss"], strict=True)]
    table = tables["no_prompt"][["text", "references"]].assign(
        **{name: tables[name]["answer"].to_numpy() for name in keys},
        value=value,
        loss=tables["ticket"]["loss"].to_numpy(),
    )
    worst = table.sort_values(["value", "loss"], ascending=[True, False], kind="stable").head(most)
    return worst.drop(columns="loss").reset_index(drop=True)


def loss_sentence(table: pd.DataFrame) -> str:
    """Whether the dense prompt beats no prompt in loss beyond its interval, of the table of `over_rows`."""
    dense = table[table["label"] == "dense"]
    if dense.empty or dense["less_loss"].isna().all():
        return ""
    row = dense.iloc[0]
    difference = f"{row['less_loss']:+.3f} [{row['less_low']:+.3f}, {row['less_high']:+.3f}] nats a token on test"
    if row["less_high"] < 0:
        return f"the dense prompt is better than no prompt by its loss: {difference}"
    return f"not learning: the dense prompt is not shown to be better than no prompt by its loss: {difference}"


def unended_sentence(run: RunReader) -> str:
    """How many answers of the dense prompts to test came to no end of their own; empty where there are none."""
    tables = [_table(run, key) for key in run.tickets() if key.stage == DENSE]
    endings = [ended for table in tables if "ended" in table for ended in table["ended"]]
    count = endings.count("length")
    if not count:
        return ""
    return (
        f"{count} of {len(endings)} answers of the dense prompt came to no end of their own and were cut: more updates "
        "teach the end, a stop text in the task file sets one, or max_target_tokens is too small"
    )


def _all_answers(run: RunReader, stage: Stage, name: str) -> Iterator[_Answers]:
    """Those of base lines, the dense round, and the rounds of a stage, that answered the test split."""
    places: dict[tuple[Stage, int], str] = {}
    for key in run.rounds():
        if key.stage.top == BASELINES:
            places[key.stage, key.round] = str(run.facts(key, FACTS)["label"])
        elif key.stage == UNTRAINED:
            places[key.stage, key.round] = "untrained prompt"
        elif key.stage == DENSE:
            places[key.stage, key.round] = "dense"
        elif key.stage == stage:
            result = run.result(key)
            size = f"round {key.round} ({result['tokens']} x {result['pieces']})"
            places[key.stage, key.round] = "tickets chosen" if stage.verb == "search" else size
    for (place, number), label in places.items():
        keys = [key for key in run.rounds() if key.stage == place and key.round == number]
        if (answers := _answers(run, label, keys, name)) is not None:
            yield answers


def _answers(run: RunReader, label: str, keys: Iterable[RunKey], name: str) -> _Answers | None:
    """What was written in some rounds, and what it adds to a metric; None where nothing was."""
    tables = {key: table for key in keys if "answer" in (table := _table(run, key)) and len(table)}
    if not tables:
        return None
    statistics = tuple(np.array(table[name].tolist(), dtype=np.float64) for table in tables.values())
    losses = np.array([table["loss"] for table in tables.values()], dtype=np.float64)
    return _Answers(label, tuple(tables), statistics, losses)


def _table(run: RunReader, key: RunKey) -> pd.DataFrame:
    table = run.table(key, PREDICTIONS)
    return table[table["split"] == "test"]


def _metric_column(run: RunReader) -> str:
    return str(run.settings()["metric"])
