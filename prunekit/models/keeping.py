"""Kept keys and values as an argument of a model: one spelling over the versions of transformers."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn
from transformers import Cache

# the newest first; from 5.24 on the older one warns, from 5.40 on it is gone
_NAMES = ("cache", "past_key_values")


def keeping(model: nn.Module, cache: Cache) -> dict[str, Any]:
    """The argument by which a model reads and fills `cache`; none where it keeps nothing."""
    taken = inspect.signature(model.forward).parameters
    name = next((one for one in _NAMES if one in taken), None)
    return {} if name is None else {name: cache}
