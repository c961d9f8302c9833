"""Keys and values before the text as PEFT has them: PREFIX_TUNING or CARTRIDGE adapters, one tensor for both.

PEFT lets a text's positions begin right behind the tokens that are there. Hidden and removed tokens are deleted, which
brings the others nearer to the text than they were trained: their keys are turned back by as many positions.
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


def compacted(ticket: Ticket, model: PrefixDecoder) -> Ticket:
    """The same function as a dense prefix of plain values: only the tokens that are kept, as PEFT would place them.

    Raises:
        ConfigError: where there is no such prefix, with the reason and a way out.
    """
    plain, mask = flattened(ticket), ticket.mask
    tokens, pieces = mask.piece.shape
    if ticket.dropped_as == "zero":  # zeros are attended to: all slots stay
        return replace(plain, mask=Mask.full(tokens, pieces))
    if mask.cells < mask.tokens * pieces:
        raise ConfigError(
            "some of its tokens are hidden from some heads alone, and a prefix of PEFT is seen by all heads or none: "
            "such ragged prefixes cannot be exported yet; prune with --keep-pieces 1.0 (whole tokens) or --dropped-as "
            "zero"
        )
    turn = turn_back(model, tokens - mask.tokens)
    if turn is None:
        raise ConfigError(
            f"without the {tokens - mask.tokens} dropped tokens the others would stand nearer to the text, and the "
            f"keys of {model.name} cannot be turned to other positions (it has no rotary embeddings of a fixed kind); "
            "prune with --dropped-as zero"
        )
    values = turn.vectors(plain.state["values"][mask.token], model.shape)
    return replace(plain, mask=Mask.full(mask.tokens, pieces), state={"values": values})


def tensor(ticket: Ticket, shape: CacheShape) -> Tensor:
    """PEFT's `prompt_embeddings` [P, 2 L heads D] float32 of a compacted ticket."""
    return to_peft(ticket.state["values"].float(), shape).contiguous()


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
