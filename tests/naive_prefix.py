"""An independent reading of prefixes of keys and values: one example at a time, attention written out by hand.

Nothing here comes from prunekit's models, cohorts or scores; only the tickets' tensors are read. A prompt vector is,
layer by layer and in it head by head, the key and then the value.
"""

from __future__ import annotations

from copy import deepcopy
from functools import lru_cache

import tiny
import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.masking_utils import eager_mask

HEADS = {"gpt2": 4, "llama": 2, "opt": 4, "neox": 4}
LAYERS, SIZE = 2, 8


@lru_cache
def model(kind: str, dtype: torch.dtype = torch.float32):
    copy = deepcopy(tiny.model(kind)).to(dtype)
    copy.config._attn_implementation = "by-hand"
    return copy


def _by_hand(module, query, key, value, attention_mask, scaling=None, **more):
    """Softmax over what a causal row sees, each of the first P slots weighed by gamma [layers, heads, P]."""
    gamma = module.config.gamma[module.layer_idx]
    groups = query.shape[1] // key.shape[1]
    key, value, gamma = (part.repeat_interleave(groups, dim=-3) for part in (key, value, gamma[:, None]))
    scores = query @ key.transpose(-1, -2) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    ones = torch.ones(*gamma.shape[:2], key.shape[2] - gamma.shape[2])
    seen = torch.ones(scores.shape[-2:]).tril(scores.shape[-1] - scores.shape[-2])
    weights = scores.exp() * seen * torch.cat([gamma, ones], dim=-1)
    return ((weights / weights.sum(-1, keepdim=True)) @ value).transpose(1, 2), weights


AttentionInterface.register("by-hand", _by_hand)
AttentionMaskInterface.register("by-hand", eager_mask)


def vectors(ticket, zeta: Tensor | None = None) -> Tensor:
    """[P, H], the pieces multiplied by zeta [P, K], zeros where the mask drops."""
    pieces = ticket.mask.piece.shape[1]
    cells = ticket.state["values"].unflatten(1, (pieces, -1)) * ticket.mask.piece[:, :, None]
    return (cells if zeta is None else cells * zeta[:, :, None]).flatten(1)


def logprobs(kind: str, values: Tensor, example, gamma: Tensor | None = None, start: int | None = None) -> list[Tensor]:
    """Log-probabilities of each choice's tokens behind a prefix [P, H].

    gamma: [layers, heads, P], how much attention is paid to each slot; start: the text's first position, P by default.
    """
    bare, heads = model(kind, values.dtype), HEADS[kind]
    slots = len(values)
    bare.config.gamma = torch.ones(LAYERS, heads, slots) if gamma is None else gamma
    parts = values.view(slots, LAYERS, heads, 2, SIZE)
    each = []
    for choice in example.choices:
        cache = DynamicCache()
        for layer in range(LAYERS):
            keys, states = (parts[:, layer, :, part].transpose(0, 1)[None] for part in (0, 1))
            cache.update(keys, states, layer)
        ids = torch.tensor([[*example.text, *choice[:-1]]])
        places = torch.arange(ids.shape[1])[None] + (slots if start is None else start)
        more = {} if kind == "opt" else {"position_ids": places}
        mask = torch.ones(1, slots + ids.shape[1]).long()
        logits = bare(input_ids=ids, past_key_values=cache, attention_mask=mask, use_cache=True, **more).logits[0]
        each.append(logits[-len(choice) :].log_softmax(-1)[range(len(choice)), list(choice)])
    return each


def seen(kind: str, ticket) -> Tensor:
    """[layers, heads, P]: 1 where a head sees a token of a ticket whose dropped pieces are hidden."""
    cells = LAYERS * HEADS[kind]
    by_head = ticket.mask.piece.float().repeat_interleave(cells // ticket.mask.piece.shape[1], dim=1)
    return by_head.T.reshape(LAYERS, HEADS[kind], -1)


def answers(kind: str, ticket, example) -> Tensor:
    """[C] summed log-probabilities behind a ticket's prefix."""
    with torch.no_grad():
        match ticket.dropped_as:
            case "zero":
                each = logprobs(kind, vectors(ticket), example)
            case "hide":
                each = logprobs(kind, ticket.state["values"], example, seen(kind, ticket))
            case "remove":
                kept = ticket.mask.token
                gamma = seen(kind, ticket)[:, :, kept]
                each = logprobs(kind, ticket.state["values"][kept], example, gamma, start=len(kept))
        return torch.stack([one.sum() for one in each])


def loss(kind: str, ticket, example, zeta: Tensor | None = None) -> Tensor:
    """Mean negative log-likelihood of the gold choice, with zeta [P, K] on the pieces as the ticket drops them."""
    if ticket.dropped_as == "zero":
        each = logprobs(kind, vectors(ticket, zeta), example)
    else:
        gamma = seen(kind, ticket)
        if zeta is not None:
            by_head = zeta.repeat_interleave(LAYERS * HEADS[kind] // zeta.shape[1], dim=1)
            gamma = gamma * by_head.T.reshape(gamma.shape)
        each = logprobs(kind, ticket.state["values"], example, gamma)
    return -each[example.gold].mean()


def slopes(kind: str, ticket, examples) -> tuple[Tensor, Tensor]:
    """dL/dgamma [N, P] and dL/dzeta [N, P, K] of each example."""
    piece = []
    for example in examples:
        zeta = torch.ones(ticket.mask.piece.shape, dtype=ticket.state["values"].dtype, requires_grad=True)
        loss(kind, ticket, example, zeta).backward()
        piece.append(zeta.grad)
    both = torch.stack(piece)
    return both.sum(-1), both
