"""A ticket as bare vectors: the prompt alone, or joined to texts for servers that take prompt embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from safetensors.torch import save
from torch import Tensor

from prunekit.export.attach import Attached
from prunekit.export.prompt_vectors import prompt_vectors
from prunekit.export.side_file import SIDE, TicketInfo, side_file
from prunekit.models import FrozenModel
from prunekit.models.load import family
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ConfigError

EMBEDDINGS = "prompt_embeddings.safetensors"
PROMPT_EMBEDS = "prompt_embeds.safetensors"


def embedding_files(ticket: Ticket, info: TicketInfo) -> dict[str, bytes]:
    """`prompt_embeddings` [n, H] float32, and an encoder's `head.weight` [C, H] and `head.bias` [C].

    Where it goes is `position` in the side file; `present` Bool[n] is there too where a slot must not be attended to.

    Raises:
        ConfigError: where the method has no static prompt.
    """
    vectors = prompt_vectors(ticket)
    tensors: dict[str, Tensor] = {"prompt_embeddings": vectors.values}
    tensors |= {f"head.{name}": value.float() for name, value in (ticket.head or {}).items()}
    if not bool(vectors.present.all()):
        tensors["present"] = vectors.present
    content = _packed(tensors)
    return {SIDE: side_file(ticket, info, content), EMBEDDINGS: content}


def prompt_embeds_files(
    ticket: Ticket, info: TicketInfo, model: FrozenModel, texts: Sequence[Sequence[int]]
) -> dict[str, bytes]:
    """Prompt and text as the rows [n, H] that a server takes as prompt embeddings; tensors "0", "1", ...

    Such a server reads whatever rows it is sent: switch that on for trusted clients only.

    Args:
        ticket: what is exported.
        info: what it belongs to.
        model: the frozen model.
        texts: token ids of each text.

    Raises:
        ConfigError: where the model is no decoder, or a prompt token must not be attended to.
    """
    if family(model.config) != "decoder":
        raise ConfigError("servers take prompt embeddings for decoder-only models; use --to peft or --to embeddings")
    attached = Attached(model.model, [ticket])
    tensors = {}
    with torch.no_grad():
        for number, ids in enumerate(texts):
            row = attached.row(torch.tensor(list(ids), device=model.device))
            if not bool(row.attended.all()):
                raise ConfigError(
                    "a server attends to every row that it is sent, and this ticket's dropped tokens are hidden "
                    "(--dropped-as hide); prune with --dropped-as remove or zero"
                )
            tensors[str(number)] = row.embeds.cpu()
    content = _packed(tensors)
    return {SIDE: side_file(ticket, info, content), PROMPT_EMBEDS: content}


def _packed(tensors: dict[str, Tensor]) -> bytes:
    content: bytes = save(
        {name: tensor.contiguous().clone() for name, tensor in tensors.items()}, metadata={"format": "pt"}
    )
    return content
