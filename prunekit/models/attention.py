"""How much attention the tokens of a prompt receive, where a model shows the weights of its attention."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from prunekit.models.base import FrozenModel
from prunekit.models.batch import Encoded
from prunekit.models.prompt_batch import PromptBatch
from prunekit.support.errors import ConfigError


@torch.no_grad()
def attention_received(model: FrozenModel, prompts: PromptBatch, example: Encoded) -> Tensor:
    """The attention that each token of one member's prompt receives from a row and its gold answer.

    In an encoder-decoder that is the encoder's. One example at a time: the weights of all layers are many numbers.

    Returns:
        Float[P], the sum over the positions that attend, the mean over layers and heads.

    Raises:
        ConfigError: where the model does not show its attention.
    """
    start = {"suffix": len(example.text), "after-cls": 1}.get(model.position, 0)
    with _showing_weights(model) as passes, model.reading_whole_rows():
        model.forward(prompts, model.batch([[example]], every_choice=False))
    rows = torch.cat([_received(model, attended, layers) for attended, layers in passes])
    return rows.mean(dim=0)[start : start + prompts.values.shape[1]].double().cpu()


@contextmanager
def attending(model: FrozenModel, kind: str) -> Iterator[list[Any]]:
    """Inside, all attention of the model is of this kind, by the name that transformers has for it.

    Yields:
        The configurations of its parts.
    """
    modules: Any = model.model.modules()
    configs = list({id(part.config): part.config for part in modules if hasattr(part, "config")}.values())
    before = [config._attn_implementation for config in configs]
    try:
        for config in configs:
            config._attn_implementation = kind
        yield configs
    finally:
        for config, name in zip(configs, before, strict=True):
            config._attn_implementation = name


@contextmanager
def _showing_weights(model: FrozenModel) -> Iterator[list[tuple[Tensor, Any]]]:
    """Every pass inside leaves which slots are attended to, and the weights of its layers."""
    passes: list[tuple[Tensor, Any]] = []

    def keep(module: Any, arguments: Any, options: Any, output: Any) -> None:
        passes.append((options["attention_mask"], getattr(output, "attentions", None)))

    hook = model.text_module.register_forward_hook(keep, with_kwargs=True)
    try:
        with attending(model, "eager") as configs:
            before = [getattr(config, "output_attentions", False) for config in configs]
            for config in configs:
                config.output_attentions = True
            try:
                yield passes
            finally:
                for config, shows in zip(configs, before, strict=True):
                    config.output_attentions = shows
    finally:
        hook.remove()


def _received(model: FrozenModel, attended: Tensor, layers: Any) -> Tensor:
    """[N, slots] of weights [N, heads, Q, slots] by layer; positions that are not attended to attend to nothing.

    Args:
        attended: [N, slots] of those in the cache and of the row itself.
    """
    if not layers or any(not isinstance(weights, Tensor) or weights.dim() != 4 for weights in layers):
        raise ConfigError(f"score = attention: {type(model.model).__name__} does not show its attention; use another")
    each = torch.stack([weights.float().mean(dim=1) for weights in layers]).mean(dim=0)  # [N, Q, slots]
    return (each * attended[:, -each.shape[1] :, None]).sum(dim=1)
