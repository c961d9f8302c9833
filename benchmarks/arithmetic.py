"""The arithmetic that a model's shape asks for, in floating-point operations (a multiply-add is two).

Counted per row without padding, so that it is the same work for all sides, however they pad. Training needs no gradient
of a frozen weight: a product with a weight costs the same again in the backward pass, one between two activations
(attention) twice the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

#: model types whose layers are those of Llama: attention of grouped heads, and three matrices behind it
DECODERS = ("llama", "gemma3_text")


@dataclass(frozen=True)
class RoundRunner:
    """Operations of products with weights, and of products between activations (attention)."""

    weights: float = 0.0
    attention: float = 0.0

    def __add__(self, other: RoundRunner) -> RoundRunner:
        """Both together."""
        return RoundRunner(self.weights + other.weights, self.attention + other.attention)

    def times(self, count: float) -> RoundRunner:
        """The same work `count` times."""
        return RoundRunner(self.weights * count, self.attention * count)

    @property
    def forward(self) -> float:
        """Operations of a forward pass."""
        return self.weights + self.attention

    @property
    def training(self) -> float:
        """Operations of a forward pass and of a backward pass for activations only."""
        return 2 * self.weights + 3 * self.attention


def row(config: Any, tokens: int, answers: Sequence[int] = ()) -> RoundRunner:
    """One row of a model of this configuration.

    Args:
        tokens: positions of the input, prompt included.
        answers: decoder positions of each answer that is scored (encoder-decoders).
    """
    if config.is_encoder_decoder:
        work = _t5_encoder(config, tokens)
        for length in answers:
            work += _t5_decoder(config, tokens, length)
        return work
    if config.model_type in {"bert", "roberta"}:
        return _bert(config, tokens)
    if config.model_type in DECODERS:
        return decoder(config, tokens)
    raise NotImplementedError(f"the arithmetic of {config.model_type} models is not counted yet")


def decoder(config: Any, tokens: int, behind: int = 0, *, answers: bool = True) -> RoundRunner:
    """New positions of a decoder of `DECODERS` that stand behind others, whose keys and values are kept.

    No window of attention is counted, so that all of them must be at least as long as the row.

    Args:
        tokens: the new ones.
        behind: those that are kept.
        answers: whether one position meets the output matrix.
    """
    wide, head = config.hidden_size, config.head_dim
    parameters = 2 * wide * head * (config.num_attention_heads + config.num_key_value_heads)
    parameters += 3 * wide * config.intermediate_size
    layer = _linear(tokens, parameters) + _attention(tokens, behind + tokens, head * config.num_attention_heads)
    work = layer.times(config.num_hidden_layers)
    return work + _linear(1, wide * config.vocab_size) if answers else work


def _linear(positions: int, parameters: int) -> RoundRunner:
    return RoundRunner(weights=2.0 * positions * parameters)


def _attention(queries: int, keys: int, width: int) -> RoundRunner:
    """Scores and weighted sum."""
    return RoundRunner(attention=4.0 * queries * keys * width)


def _bert(config: Any, tokens: int) -> RoundRunner:
    wide = config.hidden_size
    layer = _linear(tokens, 4 * wide * wide + 2 * wide * config.intermediate_size) + _attention(tokens, tokens, wide)
    return layer.times(config.num_hidden_layers) + _linear(1, wide * wide)  # the pooler reads one position


def _t5_encoder(config: Any, tokens: int) -> RoundRunner:
    inner = config.num_heads * config.d_kv
    layer = _linear(tokens, 4 * config.d_model * inner + _t5_feed_forward(config)) + _attention(tokens, tokens, inner)
    return layer.times(config.num_layers)


def _t5_decoder(config: Any, tokens: int, length: int) -> RoundRunner:
    inner = config.num_heads * config.d_kv
    self_attention = _linear(length, 4 * config.d_model * inner + _t5_feed_forward(config)) + _attention(
        length, length, inner
    )
    cross = _linear(length, 2 * config.d_model * inner) + _linear(tokens, 2 * config.d_model * inner)
    layer = self_attention + cross + _attention(length, tokens, inner)
    return layer.times(config.num_decoder_layers) + _linear(length, config.d_model * config.vocab_size)


def _t5_feed_forward(config: Any) -> int:
    matrices = 3 if config.is_gated_act else 2
    return int(matrices * config.d_model * config.d_ff)
