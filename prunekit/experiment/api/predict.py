"""`prunekit.predict`: a ticket on unlabelled rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prunekit.engine.write import Written
from prunekit.experiment.api.source import Source, opened_source
from prunekit.experiment.progress import progress_of
from prunekit.experiment.reopen import in_use
from prunekit.tasks import Example, read_rows


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

    An answer that is written has no place and no label; its score is the log-probability of its tokens, and tokens (how
    many) and ended stand beside it: "end" (the model's own), "stop" (a stop text) or "length" (of `max_target_tokens`).

    Args:
        ticket: or a run, which means its best; or the path of either, such as "RUN" or "RUN@round=2,seed=1".
        rows: a CSV, TSV, Parquet, JSON or JSONL file, or rows in memory (dicts, a pandas DataFrame, a
            `datasets.Dataset`) with the fields or columns that the task reads; a list of texts where it reads one.
        model: a loaded model with its `tokenizer`, or a name; None for the one that the ticket was made with.
        task: a name or a task file; None for the one that the ticket was made with.
        allow_changed: also on another model or task than the ticket was made with; it is said then.
        quiet: do not say what differs.
        settings: flags of `prunekit predict --help-all`, with underscores, over those of the ticket's run.

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
        if use.task.open:
            return _written(examples, use.written(examples))
        answers = use.answers(examples)
    choices, scores, labels = answers.chosen.tolist(), answers.scores.tolist(), use.task.labels
    return [
        {"index": example.index, "answer": example.choices[choice], "choice": choice, "score": score}
        | ({} if labels is None else {"label": labels[choice]})
        for example, choice, score in zip(examples, choices, scores, strict=True)
    ]


def _written(examples: Sequence[Example], answers: Sequence[tuple[Written, float]]) -> list[dict[str, Any]]:
    return [
        {
            "index": example.index,
            "answer": answer.text,
            "score": score,
            "tokens": len(answer.ids),
            "ended": answer.ended,
        }
        for example, (answer, score) in zip(examples, answers, strict=True)
    ]
