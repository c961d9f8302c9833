"""`prunekit.predict`: a ticket on unlabelled rows."""

from __future__ import annotations

from typing import Any

from prunekit.experiment.api.source import Source, opened_source
from prunekit.experiment.progress import progress_of
from prunekit.experiment.reopen import in_use
from prunekit.tasks import read_rows


def predict(
    ticket: Source,
    rows: Any,
    model: Any = None,
    tokenizer: Any = None,
    task: str | None = None,
    *,
    allow_changed: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> list[dict[str, Any]]:
    """The answer to every row: its index, the answer, its place among the choices, its score and its label.

    Args:
        ticket: or a run, which means its best; or the path of either, such as "RUN" or "RUN@round=2,seed=1".
        rows: a CSV, TSV, Parquet, JSON or JSONL file, or rows in memory (dicts, a pandas DataFrame, a
            `datasets.Dataset`) with the fields or columns that the task reads.
        model: a loaded model with its `tokenizer`, or a name; None for the one that the ticket was made with.
        task: a name or a task file; None for the one that the ticket was made with.
        allow_changed: also on another model or task than the ticket was made with; it is said then.
        quiet: do not say what differs.
        settings: flags of `prunekit predict --help`, with underscores, over those of the ticket's run.

    Raises:
        ConfigError: with all that differs in one line where it is not allowed.
        DataError: naming the row that cannot be read.
    """
    source, progress = opened_source(ticket), progress_of(quiet)
    with in_use(
        source,
        settings,
        [],
        progress=progress,
        allow_changed=allow_changed,
        model=model,
        tokenizer=tokenizer,
        task=task,
    ) as use:
        examples = read_rows(rows, use.task)
        answers = use.answers(examples)
    choices, scores, labels = answers.chosen[0].tolist(), answers.scores[0].tolist(), use.task.labels
    return [
        {"index": example.index, "answer": example.choices[choice], "choice": choice, "score": score}
        | ({} if labels is None else {"label": labels[choice]})
        for example, choice, score in zip(examples, choices, scores, strict=True)
    ]
