"""Trained keys and values that stand in front of a decoder's rows, in every layer (position "prefix-kv").

A prompt token is H = L x heads x 2 x D numbers, L layers and key-value heads of D: layer by layer, in it head by head,
of each head the key (as the layer keeps it, already rotated where it rotates) and then the value. So K = L pieces are
layers, K = L x heads are heads, and K = 2 x L x heads tell keys from values. PEFT keeps the same numbers as
[L, 2, heads, D]; `to_peft` and `from_peft` are the permutation.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers.cache_utils import Cache, DynamicLayer

from prunekit.models.cache_argument import cache_argument
from prunekit.models.input_rows import InputRows
from prunekit.support.errors import ConfigError

# attention implementations that take a mask [N, heads, Q, K] of numbers to add
_ATTENTIONS = ("eager", "sdpa")


class CacheShape(NamedTuple):
    """What a model keeps of a token: L `layers` of so many key-value `heads`, D = `size` numbers to a key or value."""

    layers: int
    heads: int
    size: int

    @property
    def width(self) -> int:
        """H."""
        return self.layers * self.heads * 2 * self.size

    @property
    def cells(self) -> int:
        """Heads of all layers: the finest pieces that attention can pass over."""
        return self.layers * self.heads

    def __str__(self) -> str:
        return f"{self.layers} layers x {self.heads} key-value heads x 2 x {self.size}"


def to_peft(values: Tensor, shape: CacheShape) -> Tensor:
    """[..., H] prompt vectors in the order of PEFT's `prompt_embeddings`: layer, key or value, head."""
    parts: Tensor = values.unflatten(-1, (shape.layers, shape.heads, 2, shape.size))
    return parts.transpose(-2, -3).flatten(-4)


def from_peft(values: Tensor, shape: CacheShape) -> Tensor:
    """The inverse of `to_peft`: values [..., H] as PEFT has them -> [..., H] in this order."""
    parts: Tensor = values.unflatten(-1, (shape.layers, 2, shape.heads, shape.size))
    return parts.transpose(-2, -3).flatten(-4)


def vectors_of(cache: Any, name: str) -> tuple[Tensor, CacheShape]:
    """Prompt vectors [T, H] of a cache that a model filled with one row of T tokens, and their shape.

    Raises:
        ConfigError: where its layers do not all keep keys and values of one shape.
    """
    parts: list[Any] = [getattr(layer, part, None) for layer in cache.layers for part in ("keys", "values")]
    shapes = {tuple(part.shape) if isinstance(part, Tensor) else () for part in parts}
    if len(shapes) != 1 or len(next(iter(shapes))) != 4:
        raise ConfigError(
            f"position = prefix-kv: the layers of {name} do not all keep keys and values of one shape, so that a "
            "prompt token has no one width; use --position first"
        )
    _, heads, tokens, size = parts[0].shape
    shape = CacheShape(len(cache.layers), heads, size)
    both = torch.stack([part[0] for part in parts]).unflatten(0, (-1, 2))  # [L, 2, heads, T, D]
    return both.permute(3, 0, 2, 1, 4).reshape(tokens, shape.width), shape


@dataclass(frozen=True)
class PrefixRows(InputRows):
    """N rows of T tokens behind S prefixes of P; `attention` and `counted` are of the tokens alone.

    Attributes:
        rows: (S, B, R), whose product is N.
        prefix: [S, B or 1, 1, P, H].
        gates: [S, B or 1, 1, P, L x heads], added to the attention that the tokens pay, or None.
        before: Bool[N, P], the slots of the prefix that are no padding.
        shape: of the prefix's vectors.
    """

    rows: tuple[int, int, int]
    prefix: Tensor
    gates: Tensor | None
    before: Tensor
    shape: CacheShape

    def select(self, rows: Tensor, slots: Tensor) -> PrefixRows:
        """The rows Int[n], and of each only the slots Int[n, T'] of its tokens."""
        tokens = InputRows(self.embeds, self.attention, self.positions, self.counted).select(rows, slots)
        prefix, gates = (
            None if part is None else part.expand(*self.rows, *part.shape[3:]).flatten(0, 2)[rows, None, None]
            for part in (self.prefix, self.gates)
        )
        assert prefix is not None
        before = self.before[rows]
        return PrefixRows(
            **vars(tokens), rows=(len(rows), 1, 1), prefix=prefix, gates=gates, before=before, shape=self.shape
        )

    def cache(self, query_heads: int, *, grows: bool = False) -> Cache:
        """The prefix as a cache that the rows stand behind.

        Args:
            query_heads: of each layer; every key-value head serves as many of them.
            grows: whether what is written is added to it.
        """
        layers, heads, size = self.shape
        keys_values = self.prefix.unflatten(-1, (layers, heads, 2, size))  # [S, b, 1, P, L, heads, 2, D]
        keys_values = keys_values.permute(4, 6, 0, 1, 2, 5, 3, 7)  # [L, 2, S, b, 1, heads, P, D]
        gates: Sequence[Tensor | None] = [None] * layers
        if self.gates is not None:
            by_layer = self.gates.unflatten(-1, (layers, heads)).permute(4, 0, 1, 2, 5, 3)  # [L, S, b, 1, heads, P]
            gates = by_layer.repeat_interleave(query_heads // heads, dim=4).unbind(0)
        kind = GrowingPrefixLayer if grows else PrefixLayer
        parts = zip(keys_values.unbind(0), gates, strict=True)
        return Cache(layers=[kind(both[0], both[1], gate, self.rows) for both, gate in parts])


class PrefixLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's trained keys and values in front of those of rows; never changed, so that a pass may be repeated.

    Attributes:
        keys: [S, B or 1, 1, heads, P, D].
        values: the same.
        gates: [S, B or 1, 1, query heads, P], or None.
        rows: (S, B, R), whose product is the number of rows.
    """

    def __init__(self, keys: Tensor, values: Tensor, gates: Tensor | None, rows: tuple[int, int, int]) -> None:
        super().__init__()
        self.keys, self.values, self.gates, self.rows = keys, values, gates, rows
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **more: Any) -> tuple[Tensor, Tensor]:
        """The rows' own keys and values [N, heads, T, D] behind the prefix, [N, heads, P + T, D]."""
        return self._joined(self.keys, key_states), self._joined(self.values, value_states)

    def _joined(self, prefix: Tensor, states: Tensor) -> Tensor:
        parts = [prefix.expand(*self.rows, *prefix.shape[3:]), states.unflatten(0, self.rows)]
        return torch.cat(parts, dim=-2).flatten(0, 2)


class GrowingPrefixLayer(PrefixLayer):
    """The same for writing: what comes behind the prefix stays; keys and values [N, heads, P, D]."""

    def __init__(self, keys: Tensor, values: Tensor, gates: Tensor | None, rows: tuple[int, int, int]) -> None:
        keys, values = (part.expand(*rows, *part.shape[3:]).flatten(0, 2) for part in (keys, values))
        super().__init__(keys, values, gates, rows)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **more: Any) -> tuple[Tensor, Tensor]:
        """All keys and values so far, the new ones included."""
        joined: tuple[Tensor, Tensor] = DynamicLayer.update(self, key_states, value_states)
        return joined


# ---- gates: how much attention a head pays to a token of the prefix


def attention_modules(model: nn.Module, shape: CacheShape) -> list[nn.Module]:
    """The module of each layer that attends by a mask to what the cache keeps; none where they are not recognised."""
    if getattr(model.config, "_attn_implementation", None) not in _ATTENTIONS:
        return []
    masked = [module for module in model.modules() if _takes_mask(module)]
    inner = [module for module in masked if not any(part in masked for part in list(module.modules())[1:])]
    return inner if [module.layer_idx for module in inner] == list(range(shape.layers)) else []


def _takes_mask(module: nn.Module) -> bool:
    indexed = isinstance(getattr(module, "layer_idx", None), int)
    return indexed and "attention_mask" in inspect.signature(module.forward).parameters


def let_gates_in(modules: Sequence[nn.Module]) -> None:
    """From now on the modules add the gates of a prefix to their attention; without such a prefix nothing changes."""
    for module in modules:
        if add_gates not in module._forward_pre_hooks.values():
            module.register_forward_pre_hook(add_gates, with_kwargs=True)


def add_gates(module: Any, arguments: Any, options: Any) -> Any:
    """A hook before a layer's attention: the gates of the prefix in its cache are added to its mask."""
    cache = next((value for value in (*options.values(), *arguments) if isinstance(value, Cache)), None)
    layers = () if cache is None else cache.layers[module.layer_idx : module.layer_idx + 1]  # a new cache has none
    layer = layers[0] if layers else None
    if not isinstance(layer, PrefixLayer) or layer.gates is None:
        return None
    call = inspect.signature(module.forward).bind(*arguments, **options)
    states: Tensor = next(value for value in call.arguments.values() if isinstance(value, Tensor))  # [N, Q, ...]
    call.arguments["attention_mask"] = _gated(call.arguments.get("attention_mask"), layer, states)
    return call.args, call.kwargs


def _gated(mask: Tensor | None, layer: PrefixLayer, states: Tensor) -> Tensor:
    """[N, query heads, Q, P + T], to be added to attention scores."""
    assert layer.gates is not None
    gates = layer.gates.to(states.dtype)
    gates = gates.expand(*layer.rows, *gates.shape[3:]).flatten(0, 2)[:, :, None]  # [N, query heads, 1, P]
    if mask is None:  # one token, which sees all before it
        assert states.shape[1] == 1, "rows of several tokens come with a mask"
        return pad(gates, (0, layer.get_seq_length() + 1 - gates.shape[-1]))
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=states.dtype).masked_fill(~mask, torch.finfo(states.dtype).min)
    return mask + pad(gates, (0, mask.shape[-1] - gates.shape[-1]))


def read_prefix(model: Any, ids: Tensor, name: str) -> tuple[Tensor, CacheShape]:
    """What a model itself keeps of a row of ids Int[T]: prompt vectors [T, H], and their shape.

    Raises:
        ConfigError: where it has no cache, or one that is no prompt.
    """
    from transformers import DynamicCache

    cache = DynamicCache()
    argument = cache_argument(model, cache)
    if not argument:
        raise ConfigError(f"position = prefix-kv: {name} takes no cache of keys and values; use --position first")
    with torch.no_grad():
        model(input_ids=ids[None], attention_mask=torch.ones_like(ids)[None], use_cache=True, **argument)
    return vectors_of(cache, name)
