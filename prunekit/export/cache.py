"""Keys and values before the text as a plain file, layer by layer as the caches of transformers have them."""

from __future__ import annotations

from safetensors.torch import save
from torch import Tensor

from prunekit.export.null_keys import NullKeys
from prunekit.export.peft import read_behind
from prunekit.export.prefix_tuning import check_whole, compacted, slot_values
from prunekit.export.side_file import SIDE, TicketInfo, side_file
from prunekit.models.prefix import CacheShape
from prunekit.models.prefix_decoder import PrefixDecoder
from prunekit.pruning.ticket import Ticket

CACHE = "cache.safetensors"


def cache_files(
    ticket: Ticket, model: PrefixDecoder, info: TicketInfo, null_keys: NullKeys | None = None
) -> dict[str, bytes]:
    """`layers.<l>.keys` and `layers.<l>.values` [1, heads, Q, D] float32, and the side file.

    `DynamicCache.update(keys, values, l)` takes them layer by layer; a text's positions begin at Q.

    Raises:
        ConfigError: where the ticket takes `null_keys` and there are none.
    """
    compact = compacted(ticket, model)
    if null_keys is None:
        check_whole(compact, model)
    values = slot_values(compact, model.shape, None if null_keys is None else null_keys.keys)
    content: bytes = save(layers(values, model.shape), metadata={"format": "pt"})
    info = read_behind(ticket, compact, model, info, null_keys)
    return {SIDE: side_file(compact, info, content), CACHE: content}


def layers(values: Tensor, shape: CacheShape) -> dict[str, Tensor]:
    """Prompt vectors [Q, H] by layer, as `cache_files` names them."""
    parts = values.unflatten(-1, (shape.layers, shape.heads, 2, shape.size)).permute(
        1, 3, 2, 0, 4
    )  # [L, 2, heads, Q, D]
    names = [f"layers.{layer}.{part}" for layer in range(shape.layers) for part in ("keys", "values")]
    return {name: part[None].contiguous() for name, part in zip(names, parts.flatten(0, 1), strict=True)}
