"""`prunekit.tune`: a prompt trained by any method."""

from __future__ import annotations

from typing import Any

from prunekit.experiment.api.run import Run
from prunekit.experiment.api.train import train_one


def tune(model: Any = None, tokenizer: Any = None, task: str | None = None, **settings: Any) -> Run:
    """Train a prompt, no pruning; `prune` and `search` with the same settings go on from it. Arguments as `prune`."""
    return train_one("tune", model, tokenizer, task, settings)
