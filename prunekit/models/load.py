"""A model from a Hub name, a local folder, or a model and tokenizer already in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub.utils.tqdm import enable_progress_bars
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)
from transformers.utils import logging

from prunekit.models import weights
from prunekit.models.base import FrozenModel, Position, Ranking
from prunekit.models.decoder import Decoder
from prunekit.models.encoder import Encoder
from prunekit.models.encoder_decoder import EncoderDecoder
from prunekit.models.prefix_decoder import PrefixDecoder
from prunekit.models.traits import embedding_rows, text_config
from prunekit.models.trial import find_traits, one_line_errors
from prunekit.models.weights import Precision
from prunekit.support import reading
from prunekit.support.errors import ConfigError, DataError, PrunekitError
from prunekit.support.hub import Repository

Family = Literal["encoder-decoder", "decoder", "encoder"]


def load(
    name_or_path: str,
    *,
    revision: str | None = None,
    position: Position | Literal["auto"] = "auto",
    ranking: Ranking = "sum",
    max_input_tokens: int = 256,
    precision: Precision = "float32",
    device: str = "cpu",
    text_cache_mb: int = 2048,
) -> FrozenModel:
    """The model of a Hub name or local folder, frozen, in eval mode. Code from a checkpoint is never run.

    Args:
        precision: of the weights; prompts, heads, their gradients and optimisers are float32 in any case. 8bit and 4bit
            are by bitsandbytes, on CUDA.
        device: "auto" spreads the layers over all devices, main memory and disk (accelerate).

    Raises:
        DataError: where there is no such model.
        ConfigError: where it cannot be used as asked.
    """
    with quiet(), _readable(name_or_path, revision):
        source: dict[str, Any] = {"trust_remote_code": False}
        if not Path(name_or_path).is_dir():  # one commit for all that is read of it
            commit = Repository("model", name_or_path, revision).commit()
            source |= {"revision": commit.sha, "local_files_only": not commit.online}
        config = AutoConfig.from_pretrained(name_or_path, **source)
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, **source)
        if not tokenizer.is_fast:
            raise ConfigError(f"{name_or_path}: its tokenizer has no fast form, which is needed to shorten texts")
        source |= weights.loading_arguments(precision, device, int(text_config(config).hidden_size))
        # use_safetensors: a .bin file is a pickle, which is never opened
        model, loading_info = _class_of(config).from_pretrained(
            name_or_path, output_loading_info=True, use_safetensors=True, **source
        )
    _refuse_random_weights(name_or_path, model, loading_info["missing_keys"])
    frozen_model = wrap(
        model if "device_map" in source else model.to(device),
        tokenizer,
        position=position,
        ranking=ranking,
        max_input_tokens=max_input_tokens,
        text_cache_mb=text_cache_mb,
    )
    frozen_model.commit = source.get("revision")
    return frozen_model


def wrap(
    model: Any,
    tokenizer: Any,
    *,
    position: Position | Literal["auto"] = "auto",
    ranking: Ranking = "sum",
    max_input_tokens: int = 256,
    text_cache_mb: int = 2048,
) -> FrozenModel:
    """The model around a loaded Hugging Face model, which is frozen (its parameters stop asking for gradients).

    Args:
        tokenizer: None where texts come as ids.

    Raises:
        ConfigError: where the model cannot be used: see `trial.find_traits` and `unwrapped`.
    """
    model = unwrapped(model)
    options: dict[str, Any] = {"ranking": ranking, "max_input_tokens": max_input_tokens}
    _check_prefix(position, model)
    match family(model.config):
        case "encoder-decoder":
            model_class: type[FrozenModel] = EncoderDecoder
        case "decoder" if position == "prefix-kv":
            model_class = PrefixDecoder
        case "decoder":
            model_class, options["text_cache_mb"] = Decoder, text_cache_mb
        case "encoder":
            model_class, model = Encoder, model.base_model
    with one_line_errors(model, "the model cannot be used with a prompt"):
        frozen_model = model_class(
            model, tokenizer, position=model_class.positions[0] if position == "auto" else position, **options
        )
        find_traits(frozen_model)
    return frozen_model


def _check_prefix(position: str, model: Any) -> None:
    """Keys and values before the text are for decoders alone."""
    reasons = {
        "encoder": "an encoder keeps no keys and values of what it has read",
        "encoder-decoder": "PEFT gives one prefix to the encoder-decoder's layers l and l + L / 2 alike, so that it "
        "could not be exported",
    }
    reason = reasons.get(family(model.config)) if position == "prefix-kv" else None
    if reason is not None:
        raise ConfigError(
            f"position = prefix-kv: {type(model).__name__} is no decoder, and {reason}; use --position first, or a "
            "decoder"
        )


@contextmanager
def borrowed(model: Any) -> Iterator[None]:
    """A loaded model gets the mode of each of its modules, and its gradients' switches, back in the end."""
    modes = [(module, module.training) for module in model.modules()]
    asking = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter in asking:
            parameter.requires_grad_(True)


def unwrapped(model: Any) -> Any:
    """The model of transformers inside the wrapping of PEFT or torch.compile, with all that a LoRA adapter changes.

    Raises:
        ConfigError: where the wrapping adds what the model inside does not have, such as a prompt of its own.
    """
    wrapped_model = getattr(model, "_orig_mod", model)
    if not hasattr(wrapped_model, "peft_config") or not hasattr(wrapped_model, "get_base_model"):
        return wrapped_model
    base = wrapped_model.get_base_model()
    with borrowed(wrapped_model), torch.no_grad():
        wrapped_model.eval()
        outer, inside = (_first_output(wrapped, base.config) for wrapped in (wrapped_model, base))
    if outer.shape != inside.shape or not torch.equal(outer, inside):
        types = (config.peft_type for config in wrapped_model.peft_config.values())
        kinds = ", ".join(sorted({str(getattr(kind, "value", kind)) for kind in types}))
        raise ConfigError(
            f"the model is wrapped by PEFT ({kinds}), and what the wrapping adds would be lost beside a prompt; give "
            "the model without it, or merge the adapter into the weights first (merge_and_unload)"
        )
    return base


def _first_output(model: Any, config: Any) -> Tensor:
    """What a model says to a row of four ids."""
    ids = torch.arange(4, 8, device=next(model.parameters()).device)[None] % embedding_rows(
        model.get_input_embeddings(), config
    )
    decoder_inputs = {"decoder_input_ids": ids} if config.is_encoder_decoder else {}
    output: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids), **decoder_inputs)[0]
    return output


def family(config: Any) -> Family:
    """Which family a model's configuration belongs to."""
    if config.is_encoder_decoder:
        return "encoder-decoder"
    kind = config.model_type
    writes = kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES or kind in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
    if writes and kind not in MODEL_FOR_MASKED_LM_MAPPING_NAMES:
        return "decoder"
    return "decoder" if getattr(config, "is_decoder", False) else "encoder"


def _class_of(config: Any) -> Any:
    """The automatic class of transformers that loads a model of a configuration with what answers."""
    match family(config):
        case "encoder":
            return AutoModel
        case "decoder" if config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            return AutoModelForCausalLM
        case _:  # beside encoder-decoders, decoders that also hear: Voxtral, Qwen2-Audio
            return AutoModelForSeq2SeqLM


def _refuse_random_weights(name: str, model: Any, missing: Any) -> None:
    """Weights that the checkpoint lacks were drawn at random: a pooler is dropped, anything else refused."""
    if getattr(model, "pooler", None) is not None and any(key.startswith("pooler.") for key in missing):
        model.pooler = None
    others = sorted(key for key in missing if not key.startswith("pooler."))
    if others:
        raise ConfigError(f"{name}: the checkpoint lacks {others[0]} (and {len(others) - 1} more); it would be random")


@contextmanager
def _readable(name: str, revision: str | None) -> Iterator[None]:
    """Turns the many errors of loading into one line."""
    repository = Repository("model", name, revision)
    try:
        if Path(name).is_dir():
            reading.check_model(Path(name))
        with nullcontext() if Path(name).is_dir() else repository.one_line_errors():
            yield
    except PrunekitError:
        raise
    except Exception as error:  # a damaged configuration or tokenizer raises whatever its readers stumble on
        what = f"{name}: this folder" if Path(name).is_dir() else f"{repository}: it"
        raise DataError(f"{what} cannot be loaded as a model: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    """What is wrong, in a line."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    if "does not appear to have a file named model.safetensors" not in first:
        return first
    return (
        "it has no safetensors weights, and pickles (.bin) are never opened; save it anew with save_pretrained, or "
        "look for a converted copy among the pull requests of its repository (--model-revision refs/pr/1)"
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Loading says nothing, but how far a download is; what else matters is said by prunekit."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if bars:
        enable_progress_bars()  # of the Hub's client, shown on a terminal alone
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
