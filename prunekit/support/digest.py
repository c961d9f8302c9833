"""Canonical JSON, and the short digests that name things by their content."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces, no NaN: the same text for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def identity(facts: Any, length: int = 8) -> str:
    """The first hex digits of a sha256 over canonical JSON: equal for equal facts, on every machine."""
    return hashlib.sha256(canonical(facts).encode()).hexdigest()[:length]
