"""What the heads of a decoder look for: the queries of rows behind a prefix, as the model's own attention gets them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.masking_utils import AttentionMaskInterface, eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from prunekit.models.attention import attending
from prunekit.models.batch import Ids
from prunekit.models.prefix_decoder import PrefixDecoder
from prunekit.models.prompt_batch import PromptBatch
from prunekit.support.errors import ConfigError

# the name of the attention that writes down what it gets, while it does
_NAME = "prunekit-queries"
# how far logits behind that attention may lie from the model's own, as a part of the largest
_BAR = 1e-4

AttentionMaskInterface.register(_NAME, eager_mask)


@dataclass(frozen=True)
class LayerQueries:
    """The queries of N tokens in one layer, and what its attention makes of them.

    Attributes:
        states: [N, heads, G, D], as they meet the keys; each of the key-value heads serves G query heads.
        positions: Int[N], at which they stand.
        scaling: what a product of query and key is multiplied by.
        cap: what the scores are softly kept below, or None.
        floor: [heads], the least logarithm of a sum of exponentials of scores: any score far below it counts nothing.
    """

    states: Tensor
    positions: Tensor
    scaling: float
    cap: float | None
    floor: Tensor

    def scores(self, products: Tensor) -> Tensor:
        """What products of queries and keys [...] become before the softmax."""
        scaled = products * self.scaling
        return scaled if self.cap is None else self.cap * (scaled / self.cap).tanh()


@torch.no_grad()
def queries_of(model: PrefixDecoder, prompts: PromptBatch, texts: Sequence[Ids]) -> list[LayerQueries]:
    """The queries of texts behind the prefix of one member, layer by layer.

    Raises:
        ConfigError: where the model's attention is none that can be looked into.
    """
    rows = [torch.tensor(text, device=model.device) for text in texts]
    expected = model.text_logits(prompts, rows[0])
    with _recording(model) as records:
        logits = [model.text_logits(prompts, ids)[:, -1] for ids in rows]
    start = int(prompts.placed.sum()) if prompts.lengths is None else int(prompts.lengths[0])
    differs = float((logits[0] - expected[:, -1]).abs().max()) > _BAR * float(expected.abs().max())
    if differs or list(records) != list(range(model.shape.layers)):
        raise ConfigError(f"the attention of {model.name} is none whose queries can be read")
    positions = torch.cat([torch.arange(start, start + len(ids)) for ids in rows])
    return [_joined(parts, positions) for parts in records.values()]


@dataclass(frozen=True)
class _Record:
    """What one layer's attention got of one row: queries [T, heads, G, D], the least log-sum-exp [heads]."""

    states: Tensor
    scaling: float
    cap: float | None
    floor: Tensor


def _joined(records: Sequence[_Record], positions: Tensor) -> LayerQueries:
    floor = torch.stack([record.floor for record in records]).amin(dim=0)
    states = torch.cat([record.states for record in records])
    return LayerQueries(states, positions, records[0].scaling, records[0].cap, floor)


@contextmanager
def _recording(model: PrefixDecoder) -> Iterator[dict[int, list[_Record]]]:
    """Every pass inside writes down, by layer, what attention gets; the model is as before in the end."""
    records: dict[int, list[_Record]] = {}

    def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **more: Any) -> Any:
        scaling = more.get("scaling")
        record, weights = _attended(
            query, key, mask, query.shape[-1] ** -0.5 if scaling is None else scaling, more.get("softcap")
        )
        records.setdefault(module.layer_idx, []).append(record)
        values = value.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
        return (weights @ values).transpose(1, 2).contiguous(), weights

    ALL_ATTENTION_FUNCTIONS[_NAME] = attend
    try:
        with attending(model, _NAME):
            yield records
    finally:
        del ALL_ATTENTION_FUNCTIONS[_NAME]


def _attended(
    query: Tensor, key: Tensor, mask: Tensor | None, scaling: float, cap: float | None
) -> tuple[_Record, Tensor]:
    """What is written down of one row, and the weights [1, query heads, T, P + T] of its attention."""
    heads, groups = key.shape[1], query.shape[1] // key.shape[1]
    scores = query @ key.repeat_interleave(groups, dim=1).mT * scaling
    if cap is not None:
        scores = cap * (scores / cap).tanh()
    if mask is not None:
        scores = scores + mask[..., : scores.shape[-1]]
    floor = scores[0].logsumexp(-1).unflatten(0, (heads, groups)).amin(dim=(1, 2))
    states = query[0].unflatten(0, (heads, groups)).permute(2, 0, 1, 3)
    return _Record(states.float().cpu(), scaling, cap, floor.float().cpu()), scores.softmax(-1)
