"""A backbone from a Hub name, a local folder, or a model and tokenizer already in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)
from transformers.utils import logging

from prunekit.backbones.base import Backbone, Place, Ranking
from prunekit.backbones.decoder import Decoder
from prunekit.backbones.encoder import Encoder
from prunekit.backbones.encoder_decoder import EncoderDecoder
from prunekit.errors import ConfigError, DataError

Family = Literal["encoder-decoder", "decoder", "encoder"]
Precision = Literal["float32", "bfloat16"]


def load(
    name_or_path: str,
    *,
    revision: str | None = None,
    place: Place | Literal["auto"] = "auto",
    ranking: Ranking = "sum",
    max_input_tokens: int = 256,
    precision: Precision = "float32",
    device: str = "cpu",
) -> Backbone:
    """The backbone of a Hub name or local folder, frozen, in eval mode. Code from a checkpoint is never run.

    Raises: DataError where there is no such model; ConfigError where it cannot be used as asked.
    """
    with _quiet(), _readable(name_or_path):
        source: dict[str, Any] = {"trust_remote_code": False} | ({"revision": revision} if revision else {})
        config = AutoConfig.from_pretrained(name_or_path, **source)
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, **source)
        if not tokenizer.is_fast:
            raise ConfigError(f"{name_or_path}: its tokenizer has no fast form, which is needed to shorten texts")
        loader = {"encoder-decoder": AutoModelForSeq2SeqLM, "decoder": AutoModelForCausalLM, "encoder": AutoModel}
        model, report = loader[family(config)].from_pretrained(
            name_or_path, dtype=getattr(torch, precision), output_loading_info=True, **source
        )
    _refuse_random_weights(name_or_path, model, report["missing_keys"])
    return wrap(model.to(device), tokenizer, place=place, ranking=ranking, max_input_tokens=max_input_tokens)


def wrap(
    model: Any,
    tokenizer: Any,
    *,
    place: Place | Literal["auto"] = "auto",
    ranking: Ranking = "sum",
    max_input_tokens: int = 256,
) -> Backbone:
    """The backbone around a loaded Hugging Face model, which is frozen (its parameters stop asking for gradients)."""
    match family(model.config):
        case "encoder-decoder":
            kind: type[Backbone] = EncoderDecoder
        case "decoder":
            kind = Decoder
        case "encoder":
            kind, model = Encoder, model.base_model
    chosen = kind.places[0] if place == "auto" else place
    return kind(model, tokenizer, place=chosen, ranking=ranking, max_input_tokens=max_input_tokens)


def family(config: Any) -> Family:
    """Which family a model's configuration belongs to."""
    if config.is_encoder_decoder:
        return "encoder-decoder"
    kind = config.model_type
    if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return "decoder"
    return "decoder" if getattr(config, "is_decoder", False) else "encoder"


def _refuse_random_weights(name: str, model: Any, missing: Any) -> None:
    """Weights that the checkpoint lacks were drawn at random: a pooler is dropped, anything else refused."""
    if getattr(model, "pooler", None) is not None and any(key.startswith("pooler.") for key in missing):
        model.pooler = None
    others = sorted(key for key in missing if not key.startswith("pooler."))
    if others:
        raise ConfigError(f"{name}: the checkpoint lacks {others[0]} (and {len(others) - 1} more); it would be random")


@contextmanager
def _readable(name: str) -> Iterator[None]:
    """Turns the many errors of loading into one line."""
    try:
        yield
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        if Path(name).is_dir():
            first = str(error).strip().splitlines()[0]
            raise DataError(f"{name}: this folder cannot be loaded as a model: {first}") from error
        raise DataError(
            f'model "{name}": no such folder, and not in the local cache; give a folder that holds config.json, '
            "or download it where there is a network (HF_HUB_OFFLINE unset)"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Loading says nothing; what matters is said by prunekit."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
