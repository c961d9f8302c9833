"""`prunekit.evaluate`: a ticket judged on one split of a task."""

from __future__ import annotations

from typing import Any

from prunekit.experiment.api.source import Source, opened_source
from prunekit.experiment.progress import progress_of
from prunekit.experiment.reopen import SPLITS, in_use
from prunekit.support.errors import ConfigError


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
        split, examples, every metric of the task, loss (mean over examples, nats); differs, where anything does.

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
    metrics = use.task.score(examples, answers.answers)
    facts = {"split": split, "examples": len(examples), **metrics, "loss": float(answers.losses.mean())}
    return facts | ({"differs": list(use.differences)} if use.differences else {})
