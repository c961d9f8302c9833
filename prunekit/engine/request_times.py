"""How long a request behind a prefix of keys and values takes: seconds to read a token of its text, and to write one.

Only the number of slots counts, not what they hold, and the model runs by itself, as whoever serves it would run it: a
prefix in its cache, a text behind it, then token by token.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache

from prunekit.models.cache_argument import cache_argument
from prunekit.models.prefix_decoder import PrefixDecoder


class RequestTimes(NamedTuple):
    """Medians of several requests.

    Attributes:
        prefill_seconds: seconds a token of the text that is read.
        decode_seconds: seconds a token that is written.
    """

    prefill_seconds: float
    decode_seconds: float


@dataclass(frozen=True)
class Request:
    """A request: a text of so many tokens is read, and so many are written.

    Attributes:
        turns: times that it is repeated for each prefix, after one that counts for none.
    """

    read: int = 64
    written: int = 16
    turns: int = 3


def cache_of(model: PrefixDecoder, slots: int) -> DynamicCache:
    """A cache of so many tokens, all of them zeros."""
    layers, heads, size = model.shape
    weights = next(model.model.parameters())
    cache = DynamicCache()
    for layer in range(layers if slots else 0):
        cache.update(*(weights.new_zeros(1, heads, slots, size) for _ in range(2)), layer)
    return cache


@torch.no_grad()
def request_times(model: PrefixDecoder, slots: Sequence[int], request: Request | None = None) -> list[RequestTimes]:
    """Medians for each number of slots; they take turns, so that what drifts in the machine falls on all alike.

    Args:
        slots: that the prefix takes in the cache.
        request: None for the usual one, or what of it the model's positions leave room for.
    """
    request = request or _usual(model.most_positions - max(slots))
    turns = [[_timed(model, count, request) for count in slots] for _ in range(request.turns + 1)][1:]
    return [
        RequestTimes(*(median(times) for times in zip(*of_slots, strict=True))) for of_slots in zip(*turns, strict=True)
    ]


def _usual(room: int) -> Request:
    written = max(1, min(Request.written, room // 2))
    return Request(read=max(1, min(Request.read, room - written)), written=written)


def _timed(model: PrefixDecoder, slots: int, request: Request) -> RequestTimes:
    cache = cache_of(model, slots)
    ids = torch.arange(request.read, device=model.device)[None] % model.embedding_rows
    clock = [_now(model)]
    _forward(model, cache, ids)
    clock.append(_now(model))
    for _ in range(request.written):
        _forward(model, cache, ids[:, :1])
    clock.append(_now(model))
    return RequestTimes((clock[1] - clock[0]) / request.read, (clock[2] - clock[1]) / request.written)


def _forward(model: PrefixDecoder, cache: DynamicCache, ids: torch.Tensor) -> None:
    module: Any = model.model
    seen = torch.ones(1, cache.get_seq_length() + ids.shape[1], dtype=torch.long, device=ids.device)
    last = {"logits_to_keep": 1} if model.accepts("logits_to_keep") else {}
    module(input_ids=ids, attention_mask=seen, use_cache=True, **cache_argument(module, cache), **last)


def _now(model: PrefixDecoder) -> float:
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.perf_counter()
