"""What PEFT may write into a prompt or prefix adapter, and which of it a ticket can hold; all else is refused by name.

Written down from PEFT's own configuration classes (`PromptLearningConfig`, `PromptTuningConfig`, `PromptEncoderConfig`,
`PrefixTuningConfig`, `CartridgeConfig`) and its loading (`_setup_prompt_encoder`, `PromptEmbedding`), since an import
needs no PEFT.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from safetensors import SafetensorError, safe_open

from prunekit.export.prefix_tuning import KINDS as PREFIX_KINDS
from prunekit.export.prefix_tuning import shape_of
from prunekit.runs.ticket_file import MOST_NUMBERS
from prunekit.support import reading
from prunekit.support.errors import ConfigError, DataError

CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"
PROMPT = "prompt_embeddings"
CLASSIFIER = "base_model.classifier."

# P-tuning saves what its encoder makes, which is a plain prompt
_KINDS = ("PROMPT_TUNING", "P_TUNING", *PREFIX_KINDS)
_TASKS = ("CAUSAL_LM", "SEQ_2_SEQ_LM", "SEQ_CLS", None)

# settings of how a prompt was started and trained, or where it is from: they change no answer of a saved prompt
_WITHOUT_EFFECT = {
    "peft_type", "task_type", "peft_version", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode",
    "num_attention_heads", "num_layers", "prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path",
    "tokenizer_kwargs", "encoder_reparameterization_type", "encoder_hidden_size", "encoder_num_layers",
    "encoder_dropout", "runtime_config", "prefix_projection", "init_weights", "num_frozen_tokens",
}  # fmt: skip
# settings that are checked one by one
_CHECKED = {"num_virtual_tokens", "num_transformer_submodules", "token_dim", "modules_to_save"}
_NAMES = {"base_model_name_or_path", "revision"}

# how PEFT names a classification model's head, which it saves whether it is asked to or not
_HEADS = ("classifier", "score")
_HEAD_TENSORS = {f"{CLASSIFIER}{layer}{name}" for layer in ("", "out_proj.", "dense.") for name in ("weight", "bias")}
# the types of numbers that PEFT reads into a prompt of float32 as they are
_NUMBERS = {"F64", "F32", "F16", "BF16"}

# the part of a safetensors file that names its tensors; an adapter has few
_MOST_HEADER_BYTES = 2**22


@dataclass(frozen=True)
class TensorHeader:
    """The type and shape that a safetensors file declares for one tensor, read before its numbers."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def numbers(self) -> int:
        """How many numbers it holds."""
        total = 1
        for size in self.shape:
            total *= size
        return total

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


def read_config(folder: Path) -> dict[str, Any]:
    """An adapter's configuration.

    Raises:
        DataError: where there is none.
        ConfigError: naming the first setting that a ticket cannot carry.
    """
    try:
        content = reading.content(folder / CONFIG, reading.JSON)
        config: dict[str, Any] = json.loads(content)
        kind, task = config["peft_type"], config.get("task_type")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{folder}: holds no PEFT adapter ({CONFIG} is missing or damaged)") from error
    if kind not in _KINDS:
        raise ConfigError(
            f"{folder}: a {brief(kind)} adapter; only prompts made of input vectors, or of keys and values, can be "
            f"imported ({', '.join(_KINDS)})"
        )
    if kind in PREFIX_KINDS and task not in ("CAUSAL_LM", None):
        raise ConfigError(
            f"{folder}: a {kind} adapter for {brief(task)}; keys and values before the text are for decoders "
            "(CAUSAL_LM)"
        )
    if task not in _TASKS:
        raise ConfigError(f"{folder}: an adapter for {brief(task)!r}, but prunekit answers by words or classes")
    for name, value in config.items():
        _check_setting(name, value, task, folder / CONFIG)
    return config


def tensor_headers(folder: Path) -> dict[str, TensorHeader]:
    """Type and shape of an adapter's tensors, from the file's first bytes alone.

    Raises:
        DataError: where they cannot be read.
        ConfigError: where they are of a kind that can run code.
    """
    path = folder / TENSORS
    if not path.is_file() and (folder / "adapter_model.bin").exists():
        raise ConfigError(
            f"{folder}: holds only adapter_model.bin, which can run code when opened and is not read; save it again "
            "with safe_serialization=True where you trust it"
        )
    try:
        if not path.is_file():  # a pipe or device would be waited for
            raise OSError("not a file" if path.exists() else "no such file")
        with path.open("rb") as file:
            if int.from_bytes(file.read(8), "little") > _MOST_HEADER_BYTES:
                raise DataError(f"{path}: names more tensors than any adapter has; damaged, or no adapter")
        with safe_open(path, framework="pt") as handle:
            parts = {name: handle.get_slice(name) for name in handle.keys()}  # noqa: SIM118 (a handle, not a dict)
            return {name: TensorHeader(part.get_dtype(), tuple(part.get_shape())) for name, part in parts.items()}
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise DataError(f"{path}: missing or damaged ({' '.join(str(error).split())[:200]})") from error


def check_supported(config: Mapping[str, Any], headers: Mapping[str, TensorHeader], folder: Path) -> None:
    """Refuse an adapter that holds more than a ticket can, or whose parts do not fit each other.

    Raises:
        ConfigError: naming the tensor or setting, and what to do.
    """
    allowed = {PROMPT} | (_HEAD_TENSORS if config.get("task_type") == "SEQ_CLS" else set())
    for name, header in sorted(headers.items()):
        if name not in allowed:
            raise ConfigError(
                f"{folder}: holds the tensor {brief(name)} {header}, which was trained beside the prompt and which a "
                "ticket cannot carry; import an adapter that was trained without it (modules_to_save), since the "
                "prompt alone answers otherwise"
            )
        if header.dtype not in _NUMBERS:
            raise ConfigError(f"{folder}: its {brief(name)} holds {header.dtype} numbers; save it as float32")
        if not 0 < header.numbers <= MOST_NUMBERS:
            raise ConfigError(
                f"{folder}: its {brief(name)} is {list(header.shape)}, which is the shape of no prompt or head"
            )
    _check_rows(config, headers.get(PROMPT), folder)


def brief(value: Any) -> str:
    """Any value of a file in one short line."""
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_setting(name: str, value: Any, task: str | None, where: Path) -> None:
    if name in _NAMES and not isinstance(value, str | None):
        raise ConfigError(f"{where}: {name} = {brief(value)} is not a name")
    if name in _WITHOUT_EFFECT or (_is_unset(value) and name != "num_virtual_tokens"):
        return
    if name not in _CHECKED:
        raise ConfigError(
            f"{where}: the setting {brief(name)} = {brief(value)} is not one of PEFT's prompt tuning; "
            "if the adapter answers alike without it, delete it there and import again"
        )
    if name == "num_transformer_submodules" and not (_is_count(value) and value <= (2 if _has_two(task) else 1)):
        raise ConfigError(
            f"{where}: num_transformer_submodules = {brief(value)}; PEFT's prompts have 1, or 2 for SEQ_2_SEQ_LM"
        )
    if name == "modules_to_save":
        _check_modules(value, task, where)


def _check_modules(value: Any, task: str | None, where: Path) -> None:
    modules = [value] if isinstance(value, str) else value
    others = (
        [module for module in modules if task != "SEQ_CLS" or module not in _HEADS]
        if isinstance(modules, Sequence)
        else [value]
    )
    if others:
        raise ConfigError(
            f"{where}: modules_to_save = {brief(others[0])}: this part of the model was trained beside the prompt and "
            "a ticket cannot carry it; import an adapter that was trained without it, since the prompt alone answers "
            "otherwise"
        )


def _check_rows(config: Mapping[str, Any], prompt: TensorHeader | None, folder: Path) -> None:
    """Refuse a prompt whose rows or width are not those of the configuration, as PEFT does too.

    An encoder-decoder adapter holds as many rows again for the decoder, which PEFT's prompt tuning never reads.
    """
    count, width = config.get("num_virtual_tokens"), config.get("token_dim")
    if not _is_count(count):
        raise ConfigError(f"{folder / CONFIG}: num_virtual_tokens = {brief(count)} is not a number of tokens")
    parts = config.get("num_transformer_submodules") or (2 if _has_two(config.get("task_type")) else 1)
    if prompt is None or len(prompt.shape) != 2 or prompt.shape[0] != count * parts:
        actual = "no such tensor" if prompt is None else f"it is {list(prompt.shape)}"
        submodules = "" if parts == 1 else f" and num_transformer_submodules = {parts}"
        raise ConfigError(
            f"{folder}: no prompt of {brief(count)} tokens: num_virtual_tokens = {brief(count)}{submodules} need "
            f"{PROMPT} [{brief(count * parts)}, H], but {actual}"
        )
    if config["peft_type"] in PREFIX_KINDS:
        try:
            shape_of(config, prompt.shape[1])
        except ConfigError as error:
            raise ConfigError(f"{folder / CONFIG}: {error}") from error
    elif width is not None and (not _is_count(width) or width != prompt.shape[1]):
        raise ConfigError(f"{folder}: token_dim = {brief(width)}, but {PROMPT} is {prompt.shape[1]} wide")


def _has_two(task: str | None) -> bool:
    return task == "SEQ_2_SEQ_LM"


def _is_count(value: Any) -> TypeGuard[int]:
    """Whether it is a whole number of at least 1; True, which Python counts with, is not."""
    return type(value) is int and value >= 1


def _is_unset(value: Any) -> bool:
    return value is None or value is False or value in ("", [], {})
