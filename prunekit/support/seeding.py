"""Random numbers without global state: every draw has a name, and the same name gives the same numbers."""

from __future__ import annotations

import hashlib

import torch


def generator(*names: object) -> torch.Generator:
    """A CPU generator for the draw called `names`, such as ("order", seed, round, epoch)."""
    return torch.Generator().manual_seed(seed_of(*names))


def seed_of(*names: object) -> int:
    """A 63-bit seed for the draw called `names`."""
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
