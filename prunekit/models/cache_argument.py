"""The keyword by which a model takes a key-value cache, which differs between versions of transformers."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn
from transformers import Cache

# the newest first; from 5.24 on the older one warns, from 5.40 on it is gone
_NAMES = ("cache", "past_key_values")


def cache_argument(model: nn.Module, cache: Cache) -> dict[str, Any]:
    """The keyword argument by which a model reads and fills `cache`; none where it takes no cache."""
    parameters = inspect.signature(model.forward).parameters
    name = next((name for name in _NAMES if name in parameters), None)
    return {} if name is None else {name: cache}
