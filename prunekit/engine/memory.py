"""How many members fit side by side: what one of them keeps for its backward pass, against the memory at hand."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.parts import in_parts
from prunekit.models import Encoded, FrozenModel
from prunekit.pruning.ticket import Ticket

#: Bytes of one member's training step, by what decides them on given rows.
Counts = dict[tuple[Any, ...], int]

# of the free memory, what activations may take: evaluation, optimisers and other processes need the rest
_SHARE = 0.5
# workers that draw on the same memory, this one among them; `share_memory` says how many
_sharers = 1
# wider cohorts no longer go faster: on a CPU the arithmetic is the limit, on a GPU its launches are long hidden by then
_WIDEST = {"cpu": 8, "cuda": 64}


def width(member_bytes: int, device: torch.device, free: int | None = None) -> int:
    """Members that go through the model side by side; 0 where not even one fits.

    Args:
        member_bytes: as `activation_bytes`.
        free: bytes at hand, default those of the device.
    """
    free = free_bytes(device) if free is None else free
    return min(_WIDEST.get(device.type, 8), int(_SHARE * free) // max(1, member_bytes))


def activation_bytes(ticket: Ticket, model: FrozenModel, examples: Sequence[Encoded], batch_size: int) -> int:
    """Bytes that one member's training step keeps for its backward pass, on the longest examples there are.

    Counted on few rows, two where that is enough, and on one more, since a large batch takes long: every further one
    keeps as much as the last.
    """
    by_length = sorted(examples, key=lambda example: example.length)
    longest, padded = by_length[-1], by_length[0]
    tokens = int(ticket.mask.token.sum())
    parts = in_parts([[longest] * min(batch_size, len(examples))], model, tokens)
    size = max(len(rows) for (rows,) in parts)
    rows = [longest, padded, *[longest] * (size - 2)][:size]
    few = _alike(model, tokens, size)
    less, more = (_kept_bytes(ticket, model, rows[:count]) for count in (few, few + 1))
    return less + (more - less) * max(0, size - few)


def _alike(model: FrozenModel, prompt_tokens: int, size: int) -> int:
    """The least number of rows, two or more where there are, that are read as `size` are: the prompt once, or often."""
    once = model.tokens_spared(size, prompt_tokens) > 0
    alike = (rows for rows in range(2, size) if (model.tokens_spared(rows, prompt_tokens) > 0) == once)
    return next(alike, size)


def _kept_bytes(ticket: Ticket, model: FrozenModel, rows: Sequence[Encoded]) -> int:
    kept: dict[int, int] = {}
    weights = {tensor.untyped_storage().data_ptr() for tensor in model.model.state_dict().values()}

    def count(tensor: Tensor) -> Tensor:
        """Its bytes, once.  Handed back is a view without history: a node that kept its own output would never go."""
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        loss = model.losses(
            prompt_batch([Member(ticket, model.device)]), model.batch([rows], every_choice=False)
        ).sum()  # held until everything was counted, or its storages would be counted once for many
    del loss
    return sum(kept.values())


def recompute_activations(model: FrozenModel) -> None:
    """Keep only what enters each layer, and compute the rest again in the backward pass: less memory, more time.

    The layers are wrapped, since transformers' own switch works in train mode alone, which would bring dropout.
    """
    for layer in model.model.modules():
        recomputed = getattr(layer.forward, "func", None) is checkpoint  # by an earlier call
        if isinstance(layer, GradientCheckpointingLayer) and not recomputed:
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)


def free_bytes(device: torch.device) -> int:
    """Memory at hand on a device."""
    if device.type == "cuda":
        free, whole = torch.cuda.mem_get_info(device)
        return min(int(free), int(whole) // _sharers)  # what is free lacks already what the others have taken
    limits = [_available(), *(_cgroup())]
    return min(limit for limit in limits if limit is not None) // _sharers


def share_memory(workers: int) -> None:
    """Count on that many workers of this kind beside each other on the machine's memory, this process among them."""
    global _sharers
    _sharers = workers


def peak_memory_mb() -> float:
    """The most that this process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _available() -> int:
    """What Linux says can be had without swapping; elsewhere an assumption, said in the run's settings as its width."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return 4 * 2**30


def _cgroup() -> list[int]:
    """What a container still grants."""
    try:
        folder = Path("/sys/fs/cgroup")
        return [int((folder / "memory.max").read_text()) - int((folder / "memory.current").read_text())]
    except (OSError, ValueError):  # no limit reads "max"
        return []
