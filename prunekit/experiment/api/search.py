"""`prunekit.search`: XPrompt's search over token and piece ratios, or over ranks."""

from __future__ import annotations

from typing import Any

from prunekit.experiment.api.run import Run
from prunekit.experiment.api.train import train_one


def search(model: Any = None, tokenizer: Any = None, task: str | None = None, **settings: Any) -> Run:
    """Score once, try ratios of tokens and pieces, choose on validation; arguments and errors as of `prune`.

    With grid="rank" it tries ranks instead: how many singular directions of the prompt are kept.

    XPrompt (Ma et al. 2022), section 4.1.
    """
    return train_one("search", model, tokenizer, task, settings)
