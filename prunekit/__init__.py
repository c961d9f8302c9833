"""prunekit: train, score, prune and analyse soft prompts on frozen language models.

What `__all__` names is imported from `prunekit.experiment.api` when it is first asked for, so that importing
prunekit is quick.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_API = ("Run", "Ticket", "attach", "evaluate", "prune", "search_ratios", "tune")

__all__ = ["Run", "Ticket", "__version__", "attach", "evaluate", "prune", "search_ratios", "tune"]


def __getattr__(name: str) -> Any:
    if name in _API:
        return getattr(importlib.import_module("prunekit.experiment.api"), name)
    raise AttributeError(f"module 'prunekit' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_API])
