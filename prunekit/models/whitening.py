"""What a model's first attention makes of texts, W_q W_k^T X^T, from which bilinear prompts take their start.

Per token x, as the first attention reads it: g = W_q W_k^T x, summed over heads, a vector in the space of the tokens
that ask. Sigma is the mean of g g^T over all real tokens of some texts. (BPT, arXiv 2506.22908, averages images place
by place and divides by the width; the places of two texts have nothing in common, so each token counts for itself.)
Where positions are turned into the queries and keys (rotary embeddings), that turning is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from prunekit.models.base import FrozenModel
from prunekit.models.batch import Ids
from prunekit.support.errors import ConfigError

#: More texts would cost time and hardly move a mean over this many times their tokens.
MOST_TEXTS = 1000

# how attention modules call their maps to queries and keys
_NAMES = (("q", "k"), ("q_proj", "k_proj"), ("query", "key"), ("q_lin", "k_lin"), ("query_proj", "key_proj"))
# who keeps queries, keys and values in one matrix, head by head
_FUSED_BY_HEAD = {"gpt_neox", "bloom"}


class _StopForwardError(Exception):
    """Raised once the input of the first attention is recorded: the rest of the model need not run."""


def query_key_moment(model: FrozenModel, texts: Sequence[Ids]) -> Tensor:
    """Sigma [H, H], float64: the mean of g g^T over the tokens of the first `MOST_TEXTS` texts.

    X is measured where queries and keys read it: behind the first norm in models that norm before attention, the
    embeddings' own output in the others (BERT, BART). Texts go through one by one, so that neither padding nor a batch
    can have a part in it.

    Raises:
        ConfigError: where the model keeps its queries and keys in a way that is not known here.
    """
    entry, queries, keys = _first_attention(model)
    width = queries.shape[1]
    if width != model.width:
        raise _cannot(f"its attention is {width} wide and its embeddings {model.width}")
    moment = torch.zeros(width, width, dtype=torch.float64)
    count = 0
    for text in texts[:MOST_TEXTS]:
        states = _read(model, entry, text)  # [T, H]
        moment += states.T @ states
        count += len(states)
    joined = queries.T @ keys  # [H, H], W_q W_k^T of the papers, whose weights map rows
    return joined @ (moment / max(1, count)) @ joined.T


@torch.no_grad()
def _read(model: FrozenModel, entry: nn.Module, text: Ids) -> Tensor:
    """[T, H] what `entry` reads of a text that stands alone, float64, on the CPU."""
    states: list[Tensor] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        states.append(inputs[0].detach().cpu().double().flatten(0, -2))
        raise _StopForwardError

    ids = torch.tensor([text], device=model.device)
    hook = entry.register_forward_pre_hook(keep)
    try:
        model.text_module(inputs_embeds=model.embed(ids), attention_mask=torch.ones_like(ids))
    except _StopForwardError:
        pass
    finally:
        hook.remove()
    return states[0]


def _first_attention(model: FrozenModel) -> tuple[nn.Module, Tensor, Tensor]:
    """The module that makes the first queries, and W_q, W_k as [A, H] float64, one row per number of every head."""
    heads = int(model.text_config.num_attention_heads)
    text_layers = getattr(model.text_module, "language_model", model.text_module)  # not what sees pictures
    for module in text_layers.modules():
        children = dict(module.named_children())
        for query, key in _NAMES:
            if isinstance(children.get(query), nn.Linear) and isinstance(children.get(key), nn.Linear):
                queries = _exact(children[query].weight)
                return children[query], queries, _shared(_exact(children[key].weight), len(queries), heads)
        fused = children.get("c_attn")
        if isinstance(fused, Conv1D) and fused.nf == 3 * fused.nx:  # GPT-2: [H, 3 H], queries, keys, values
            parts = _exact(fused.weight).T.unflatten(0, (3, -1))
            return fused, parts[0], parts[1]
        fused = children.get("query_key_value")
        if fused is not None and model.config.model_type in _FUSED_BY_HEAD:
            parts = _exact(fused.weight).unflatten(0, (heads, 3, -1))
            return fused, parts[:, 0].flatten(0, 1), parts[:, 1].flatten(0, 1)
    raise _cannot("where its first attention keeps queries and keys is unknown to this version of prunekit")


def _shared(keys: Tensor, rows: int, heads: int) -> Tensor:
    """Keys as every head of queries meets them, where several share one (grouped queries)."""
    if len(keys) == rows:
        return keys
    predict_from_head: Tensor = keys.unflatten(0, (-1, rows // heads))
    return predict_from_head.repeat_interleave(rows // len(keys), dim=0).flatten(0, 1)


def _exact(weight: Any) -> Tensor:
    values: Tensor = weight.detach().cpu().double()
    return values


def _cannot(reason: str) -> ConfigError:
    return ConfigError(
        f"method = bilinear cannot measure this model's queries and keys: {reason}; start from random columns instead "
        "(--no-whiten)"
    )
