"""`prunekit.evaluate`: a ticket judged on one split of a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prunekit.experiment.api.source import Source, opened_source
from prunekit.experiment.progress import progress_of
from prunekit.experiment.reopen import SPLITS, in_use
from prunekit.support import row_bootstrap
from prunekit.support.errors import ConfigError
from prunekit.tasks import Example, Task


def evaluate(
    ticket: Source,
    model: Any = None,
    tokenizer: Any = None,
    task: str | None = None,
    *,
    split: str = "test",
    allow_changed: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Every metric of a ticket on one split of a task, and its mean loss.

    Args:
        ticket: or a run, which means its best; or the path of either, such as "RUN" or "RUN@round=2,seed=1".
        model: a loaded model with its `tokenizer`, or a name; None for the one that the ticket was made with.
        task: a name or a task file; None for the one that the ticket was made with.
        split: train, validation or test.
        allow_changed: also on another model, task, data or precision than the ticket was made with; it is said then.
        quiet: do not say what differs.
        settings: flags of `prunekit eval --help-all`, with underscores, over those of the ticket's run.

    Returns:
        split, examples, every metric of the task, loss (mean over examples, nats); where answers are written also
        intervals (metric -> the ends of its 95 % interval over rows, in its units); differs, where anything does.

    Raises:
        ConfigError: with all that differs in one line where it is not allowed.
    """
    if split not in SPLITS:
        raise ConfigError(f'--split {split}: there are "train", "validation" and "test"')
    source, progress = opened_source(ticket), progress_of(quiet)
    with in_use(
        source,
        settings,
        [split],
        progress=progress,
        allow_changed=allow_changed,
        model=model,
        tokenizer=tokenizer,
        task=task,
    ) as use:
        examples = use.rows[split]
        answers = use.answers(examples)
    facts: dict[str, Any] = {"split": split, "examples": len(examples)}
    loss = {"loss": float(answers.losses.mean())}
    if use.task.open:
        metrics, intervals = _written(use.task, examples, [str(text) for text in answers.answers])
        facts |= metrics | loss | {"intervals": intervals}
    else:
        facts |= use.task.score(examples, answers.answers) | loss
    return facts | ({"differs": list(use.differences)} if use.differences else {})


def _written(
    task: Task, examples: Sequence[Example], texts: Sequence[str]
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Every metric of written answers, and what each is of other rows like these."""
    drawn, rows = row_bootstrap.samples(len(examples)), task.row_statistics(examples, texts)
    intervals = {
        name: row_bootstrap.interval(row_bootstrap.resampled(metric.total, [rows[name]], drawn))
        for name, metric in task.text_metrics.items()
    }
    return task.totals(rows), intervals
