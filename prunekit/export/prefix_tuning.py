"""Keys and values before the text as PEFT has them: PREFIX_TUNING or CARTRIDGE adapters, one tensor for both.

PEFT lets a text's positions begin right behind the tokens that are there. Hidden and removed tokens are deleted, which
brings the others nearer to the text than they were trained: their keys are turned back by as many positions. Where some
heads alone do not see a token, its slot holds a key for them that none of their queries looks at (`null_keys`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from prunekit.export.prompt_vectors import flattened
from prunekit.export.side_file import TicketInfo
from prunekit.models.prefix import CacheShape, from_peft, to_peft
from prunekit.models.prefix_decoder import PrefixDecoder
from prunekit.models.rerotation import turn_back
from prunekit.prompts.mask import Mask
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ConfigError

#: PEFT's names for adapters that are keys and values.
KINDS = ("PREFIX_TUNING", "CARTRIDGE")
# kinds of layers that do not see all that came before, and the setting that says how far each does
_REACHES = {"sliding_attention": "sliding_window", "chunked_attention": "attention_chunk_size"}


def compacted(ticket: Ticket, model: PrefixDecoder) -> Ticket:
    """The same function as plain values in the slots that an adapter needs, placed as PEFT would place them.

    Tokens that nobody sees have no slot where the keys of the others can be turned. What is left may be `ragged`.
    """
    plain, mask = flattened(ticket), ticket.mask
    tokens, pieces = mask.piece.shape
    if ticket.dropped_as == "zero":  # zeros are attended to: all slots stay
        return replace(plain, mask=Mask.full(tokens, pieces))
    plain = replace(plain, dropped_as="hide")
    turn = turn_back(model, tokens - mask.tokens)
    if turn is None:
        return plain
    values = turn.vectors(plain.state["values"][mask.token], model.shape)
    return replace(plain, mask=Mask(mask.token[mask.token], mask.piece[mask.token]), state={"values": values})


def ragged(compact: Ticket) -> bool:
    """Whether a slot of a compacted ticket is not seen by all heads of all layers."""
    return compact.mask.cells < compact.mask.piece.numel()


def exact_text_tokens(ticket: Ticket, compact: Ticket, model: PrefixDecoder) -> int | None:
    """How long a text may be for which a compacted ticket is the same function; None without limit.

    Sliding windows and chunks count slots. Where hidden tokens lost theirs, a window reaches further back than with
    them, so that the two differ as soon as prefix and text leave it.
    """
    settings, tokens = model.text_config, len(ticket.mask.token)
    layers = getattr(settings, "layer_types", None) or ["sliding_attention"]
    reaches = [getattr(settings, name, None) for kind, name in _REACHES.items() if kind in layers]
    limits = [int(reach) for reach in reaches if reach]
    if not limits or ticket.dropped_as != "hide" or len(compact.mask.token) == tokens:
        return None
    return max(0, min(limits) - tokens)


def check_whole(compact: Ticket, model: PrefixDecoder) -> None:
    """Refuse a compacted ticket that is no dense prefix.

    Raises:
        ConfigError: with the reason and a way out.
    """
    mask = compact.mask
    if not bool(mask.token.all()):
        raise ConfigError(
            f"without the {len(mask.token) - mask.tokens} dropped tokens the others would stand nearer to the text, "
            f"and the keys of {model.name} cannot be turned to other positions (it has no rotary embeddings of a fixed "
            "kind); prune with --dropped-as zero"
        )
    if ragged(compact):
        raise ConfigError(
            "some of its tokens are hidden from some heads alone, and a plain prefix is seen by all heads; prune with "
            "--keep-pieces 1.0 (whole tokens) or --dropped-as zero"
        )


def seen_by_head(mask: Mask, shape: CacheShape) -> Tensor:
    """Bool[P, L, heads], which of them see a token, of a mask whose pieces are layers or heads."""
    pieces = mask.piece.shape[1]
    by_head: Tensor = mask.piece.repeat_interleave(shape.cells // pieces, dim=1)
    return by_head.view(-1, shape.layers, shape.heads)


def slot_values(compact: Ticket, shape: CacheShape, null_keys: Tensor | None) -> Tensor:
    """[P, H] float32, what the slots of a compacted ticket hold: where a head must not see one, its null key and zeros.

    Args:
        null_keys: [L, heads, D], needed where the ticket is `ragged`.
    """
    values = compact.state["values"].float()
    if null_keys is None:
        return values
    parts: Tensor = values.unflatten(-1, (shape.layers, shape.heads, 2, shape.size))
    nothing = torch.stack([null_keys, torch.zeros_like(null_keys)], dim=2)  # [L, heads, 2, D]
    filled: Tensor = parts.where(seen_by_head(compact.mask, shape)[..., None, None], nothing).flatten(1)
    return filled


def tensor(compact: Ticket, shape: CacheShape, null_keys: Tensor | None = None) -> Tensor:
    """PEFT's `prompt_embeddings` [P, 2 L heads D] float32 of a compacted ticket."""
    return to_peft(slot_values(compact, shape, null_keys), shape).contiguous()


def config(tokens: int, shape: CacheShape, info: TicketInfo) -> dict[str, Any]:
    """`adapter_config.json` of Q = `tokens`, of the kind that `info.prefix` names."""
    of_kind: dict[str, Any] = (
        {"encoder_hidden_size": shape.heads * shape.size, "prefix_projection": False}
        if info.prefix == "PREFIX_TUNING"
        else {"num_frozen_tokens": 0}
    )
    return of_kind | {
        "auto_mapping": None,
        "base_model_name_or_path": info.model,
        "inference_mode": True,
        "num_attention_heads": shape.heads,
        "num_layers": shape.layers,
        "num_transformer_submodules": 1,
        "num_virtual_tokens": tokens,
        "peft_type": info.prefix,
        "revision": info.revision,
        "task_type": "CAUSAL_LM",
        "token_dim": shape.heads * shape.size,
    }


def shape_of(settings: Mapping[str, Any], width: int) -> CacheShape:
    """What a prefix of an adapter is shaped like.

    Args:
        settings: the adapter's configuration.
        width: of its tensor.

    Raises:
        ConfigError: where the two do not fit each other.
    """
    layers, heads, of_layer = (settings.get(name) for name in ("num_layers", "num_attention_heads", "token_dim"))
    counts = [count for count in (layers, heads, of_layer) if type(count) is int and count >= 1]
    if len(counts) < 3 or counts[2] % counts[1] or 2 * counts[0] * counts[2] != width:
        raise ConfigError(
            f"num_layers = {layers}, num_attention_heads = {heads} and token_dim = {of_layer} do not make a prefix "
            f"that is {width} wide"
        )
    return CacheShape(counts[0], counts[1], counts[2] // counts[1])


def values_of(prompt_embeddings: Tensor, settings: Mapping[str, Any]) -> tuple[Tensor, CacheShape]:
    """Prompt vectors [P, H] of an adapter's tensor, and their shape. Raises: as `shape_of`."""
    shape = shape_of(settings, prompt_embeddings.shape[1])
    return from_peft(prompt_embeddings, shape), shape


@torch.no_grad()
def text_logits(ticket: Ticket, model: PrefixDecoder, ids: Tensor) -> Tensor:
    """[1, T, V], what the model says behind a ticket's prefix and each token of a text Int[T]."""
    from prunekit.models.prompt_batch import stack

    return model.text_logits(stack([ticket.prompt().to(model.device)]), ids)
