"""A prompt between text and answer, behind texts whose keys and values are cached (Decoder, position "suffix").

The text comes first and the model is causal and frozen: nothing of it depends on the prompt, so that only the prompt
and the answers go through the model. All choices of an example stand in one row, where none sees another: they share
text and prompt instead of copying them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from prunekit.models.batch import Batch
from prunekit.models.input_rows import InputRows, positions_of
from prunekit.models.prompt_batch import PromptBatch
from prunekit.models.text_cache import Text
from prunekit.models.text_groups import TextKey

# attention implementations that take a mask [N, 1, Q, K] of numbers to add
_ATTENTIONS = ("eager", "sdpa")
_LAYERS = {"full_attention", "sliding_attention"}
# rotary embeddings that depend on the longest row of a batch: a text alone would be rotated otherwise
_BATCH_ROTATIONS = ("dynamic", "longrope")


@dataclass(frozen=True)
class SuffixRows:
    """What stands behind cached texts: N = S * B rows of Q = P + C * A slots, the prompt and then each choice's answer.

    A is one less than L: what follows an answer's last token is not asked for.

    Attributes:
        embeds: [N, Q, H].
        positions: [N, Q].
        mask: [N, 1, Q, T + Q], to be added to attention scores: 0 where a slot is seen.
        slots: [N, 1 + C * A], which outputs to read: 0 is the text's own last output, 1 + q for slot q. First the last
            slot before the answers that is attended to, then the answers' own.
    """

    embeds: Tensor
    positions: Tensor
    mask: Tensor
    slots: Tensor


def suffix_rows(
    prompts: PromptBatch, batch: Batch, texts: Sequence[int], embed: Callable[[Tensor], Tensor], counted: Tensor
) -> SuffixRows:
    """Lay out prompts and answers behind cached texts.

    Args:
        prompts: of S members.
        batch: of B examples each.
        texts: how many tokens each of the M * B texts has.
        embed: token ids to embeddings.
        counted: Bool[S, P], the prompt slots that take a position.
    """
    (members, slots), size = prompts.present.shape, batch.size
    lengths = torch.tensor(texts).view(-1, size).to(counted.device)  # [M, B]
    tails = batch.targets[..., :-1]
    choices, longest = tails.shape[2:]
    answers = embed(tails.flatten(2)).expand(members, size, choices * longest, -1)
    values = prompts.values if prompts.values.dim() == 4 else prompts.values[:, None]
    values = values.to(answers.dtype).expand(members, size, slots, -1)
    before = counted.long().cumsum(-1)  # [S, P]
    offset_in_answer = torch.arange(longest, device=lengths.device).repeat(choices)  # [C * A], place in its own answer
    offsets = torch.cat([before - 1, counted.sum(-1, keepdim=True) + offset_in_answer], dim=-1)  # [S, Q]
    positions = lengths[..., None] + offsets[:, None]
    numbers = torch.arange(1, slots + 1, device=lengths.device)
    last = pad(torch.where(prompts.present, numbers, 0), (1, 0)).amax(-1, keepdim=True)  # [S, 1]
    answer_slots = torch.arange(slots + 1, slots + 1 + len(offset_in_answer), device=lengths.device)
    slots_read = torch.cat([last, answer_slots.expand(members, -1)], dim=-1)[:, None].expand(members, size, -1)
    text = torch.arange(max(texts), device=lengths.device) < lengths[..., None]  # [M, B, T]
    mask = _mask(prompts.present, text, choices, longest, answers.dtype)
    embeds = torch.cat([values, answers], dim=2)
    return SuffixRows(
        embeds.flatten(0, 1), positions.expand(members, size, -1).flatten(0, 1), mask, slots_read.flatten(0, 1)
    )


def _mask(present: Tensor, text: Tensor, choices: int, longest: int, dtype: torch.dtype) -> Tensor:
    """[S * B, 1, Q, T + Q]: a slot sees its text, the present prompt slots before it, and its own answer so far.

    Args:
        present: Bool[S, P].
        text: Bool[M, B, T].
    """
    members, slots = present.shape
    group = torch.arange(choices, device=present.device).repeat_interleave(longest)
    group = torch.cat([group.new_full((slots,), -1), group])  # the prompt is everyone's
    visible = ((group < 0) | (group == group[:, None])).tril()
    present_slots = torch.cat([present, present.new_ones(members, len(group) - slots)], dim=-1)
    # a hidden slot sees itself, since a softmax over nothing has no value; its output is never read
    visible = (visible & present_slots[:, None]) | torch.eye(
        len(group), dtype=torch.bool, device=present.device
    )  # [S, Q, Q]
    shape = (members, text.shape[1], len(group), -1)
    mask = torch.cat([text[:, :, None].expand(*shape[:3], text.shape[-1]), visible[:, None].expand(shape)], dim=-1)
    lowest = torch.finfo(dtype).min
    return torch.zeros(mask.shape, dtype=dtype, device=present.device).masked_fill(~mask, lowest).flatten(0, 1)[:, None]


class TextLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's keys and values of M * B texts, each [2, heads, T, d], in front of those of S * B rows.

    It is read and never changed, so that a forward pass may be repeated.
    """

    def __init__(self, texts: Sequence[Tensor], size: int) -> None:
        super().__init__()
        self._texts, self._size = texts, size
        self._longest = max(text.shape[2] for text in texts)
        self.is_initialized = True

    def get_seq_length(self) -> int:
        """Slots that the texts take up, padding included."""
        return self._longest

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **more: Any) -> tuple[Tensor, Tensor]:
        """The rows' own keys and values [N, heads, Q, d] behind those of their texts, [N, heads, T + Q, d]."""
        return self._joined(0, key_states), self._joined(1, value_states)

    def _joined(self, part: int, states: Tensor) -> Tensor:
        rows, heads, slots, width = states.shape
        room = states.new_empty(rows, heads, self._longest + slots, width)
        by_member = room.unflatten(0, (-1, self._size))
        shared = len(self._texts) == self._size
        for index, text in enumerate(self._texts):
            member, example = divmod(index, self._size)
            target = by_member[:, example] if shared else by_member[member, example]
            tokens = text.shape[2]
            _copy(text[part], target[..., :tokens, :])
            if tokens < self._longest:  # no attention goes there, but 0 x NaN would be NaN
                target[..., tokens : self._longest, :] = 0
        joined: Tensor = _Filled.apply(states, room)  # type: ignore[no-untyped-call]
        return joined


def _copy(source: Tensor, target: Tensor) -> None:
    """By one thread on a CPU: memory is the limit, and two would wait for each other once per text and layer."""
    if source.device.type == target.device.type == "cpu":
        np.copyto(target.view(torch.uint8).numpy(), source.view(torch.uint8).numpy())
    else:
        target.copy_(source)


class _Filled(torch.autograd.Function):
    """Rows [..., Q, d] put at the end of [..., T + Q, d], whose beginning is copied once and has no gradient."""

    @staticmethod
    def forward(ctx: Any, new_rows: Tensor, room: Tensor) -> Tensor:
        ctx.slots = new_rows.shape[-2]
        room[..., room.shape[-2] - ctx.slots :, :] = new_rows
        ctx.mark_dirty(room)
        return room

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        return gradient[..., gradient.shape[-2] - ctx.slots :, :], None


def cache_of(texts: Sequence[Text], size: int) -> Cache:
    """M * B texts as a cache that the rows of a batch of B = `size` stand behind, right-padded to the longest."""
    layers = zip(*(text.keys_values for text in texts), strict=True)
    return Cache(layers=[TextLayer(layer, size) for layer in layers])


def rows_to_write_behind(prompts: PromptBatch, batch: Batch, texts: Sequence[Text]) -> InputRows:
    """Texts, padded before them, and the prompts behind: [S * B, T + P]; of the B texts no embeddings are needed."""
    lengths = [text.keys_values.shape[-2] for text in texts]
    (members, slots), size, longest = prompts.present.shape, batch.size, max(lengths)
    device = prompts.present.device
    text = torch.arange(longest, device=device) >= longest - torch.tensor(lengths, device=device)[:, None]
    text = text.expand(members, size, longest)
    attention, counted = (
        torch.cat([text, part[:, None].expand(members, size, slots)], dim=-1)
        for part in (prompts.present, prompts.placed)
    )
    values = prompts.values[:, None].to(texts[0].state.dtype).expand(members, size, slots, -1)
    embeds = torch.cat([values.new_zeros(members, size, longest, values.shape[-1]), values], dim=-2)
    positions = positions_of(counted)
    return InputRows(*(part.flatten(0, 1) for part in (embeds, attention.long(), positions, counted)))


def growing_cache(texts: Sequence[Text], members: int, device: torch.device) -> DynamicCache:
    """B texts, padded before them, as the cache of all members' rows [S * B], which what is written is added to."""
    longest = max(text.keys_values.shape[-2] for text in texts)
    padded = [pad(text.keys_values.to(device), (0, 0, longest - text.keys_values.shape[-2], 0)) for text in texts]
    cache = DynamicCache()
    for number, layer in enumerate(torch.stack(padded, dim=2)):  # [2, B, heads, T, d]
        keys, values = (part.repeat(members, 1, 1, 1) for part in layer)
        cache.update(keys, values, number)
    return cache


def text_keys(batch: Batch) -> list[TextKey]:
    """The M * B texts of a batch, without what of an answer stands behind them, and the groups they are read with."""
    rows, ends = batch.ids[:, :, 0].flatten(0, 1).tolist(), batch.start[:, :, 0].flatten().tolist()
    texts = [tuple(row[: end + 1]) for row, end in zip(rows, ends, strict=True)]
    groups = [group for member in batch.groups for group in member]
    return [
        TextKey(text, group if group and text in group.texts else None)
        for text, group in zip(texts, groups, strict=True)
    ]


def texts_from(cache: Any, hidden: Tensor, lengths: Sequence[int]) -> list[Text]:
    """What a forward pass over right-padded texts left in a cache, text by text; hidden: [N, T, H], lengths: tokens."""
    both = torch.stack([torch.stack([layer.keys, layer.values]) for layer in cache.layers])  # [layers, 2, N, h, T, d]
    return [
        Text(both[:, :, row, :, :tokens].contiguous(), hidden[row, tokens - 1].clone())
        for row, tokens in enumerate(lengths)
    ]


def is_cacheable(config: Any) -> bool:
    """Whether a model's own configuration says that all of a text lies in its layers' keys and values."""
    if config._attn_implementation not in _ATTENTIONS:
        return False
    rotations = repr(getattr(config, "rope_parameters", None))
    return set(getattr(config, "layer_types", None) or ()) <= _LAYERS and not any(
        kind in rotations for kind in _BATCH_ROTATIONS
    )


def is_uniform(cache: Any) -> bool:
    """Whether all layers of a filled cache hold keys and values of one shape."""
    shapes = {getattr(part, "shape", None) for layer in cache.layers for part in (layer.keys, layer.values)}
    return len(shapes) == 1 and None not in shapes
