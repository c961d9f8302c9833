"""PEFT prompt-tuning adapters, whoever trained them, as tickets of round 0. Only safetensors are ever opened."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from prunekit import reading
from prunekit.errors import ArtifactError, ConfigError, DataError
from prunekit.export.flat import FORMAT, SIDE, restored
from prunekit.export.peft import CONFIG, PROMPT, TENSORS
from prunekit.masks import Mask, piece_width
from prunekit.seals import read_stamped
from prunekit.tickets import Ticket, check, finite

# P-tuning saves what its encoder makes, which is a plain prompt
_KINDS = ("PROMPT_TUNING", "P_TUNING")
_WORDS = ("CAUSAL_LM", "SEQ_2_SEQ_LM", None)
_CLASSIFIER = "base_model.classifier."
_BARE = "delete it to import the prompt as it is"


def read_adapter(source: str, *, revision: str | None = None, pieces: int = 16) -> Ticket:
    """The ticket of a local folder or Hub repository that holds a PEFT prompt-tuning adapter.

    One that prunekit exported comes back as it was, its prompt as plain vectors; any other as a dense ticket of round 0
    with K = `pieces`.

    Raises: DataError where there is no such adapter; ConfigError where prunekit cannot do what it does; ArtifactError
    where it is damaged.
    """
    folder = Path(source) if Path(source).is_dir() else _fetched(source, revision)
    side = _side(folder)
    config, tensors, content = _config(folder), *_tensors(folder)
    values, head = _prompt(config, tensors, folder), _head(config, tensors, folder)
    if side is not None:
        return finite(restored(values, head, side, str(folder / SIDE)), folder)
    if _is_two_layers(tensors):
        raise ConfigError(
            f"{folder}: its classification head has a hidden layer of its own (dense), where prunekit reads the "
            "model's pooler"
        )
    origin = {
        "model": config.get("base_model_name_or_path"),
        "model_revision": config.get("revision"),
        "adapter": hashlib.sha256(content).hexdigest(),
        "adapter_source": source,
    }
    try:
        piece_width(values.shape[1], pieces)
        made = Ticket(
            Mask.full(len(values), pieces), {"values": values}, head, origin={k: v for k, v in origin.items() if v}
        )
        check(made)
    except (ConfigError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{folder}: {error}") from error
    return finite(made, folder)


def _fetched(source: str, revision: str | None) -> Path:
    """The folder of a Hub repository's adapter in the local cache."""
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(source, revision=revision, allow_patterns=[CONFIG, TENSORS, SIDE])
    except Exception as error:  # the Hub client raises some ten kinds: offline, absent, gated, not a name
        raise DataError(
            f'adapter "{source}": no such folder, and not in the local cache; give the folder that holds {CONFIG}, or '
            "download it where there is a network (HF_HUB_OFFLINE unset)"
        ) from error
    return Path(found)


def _config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads(reading.content(folder / CONFIG, reading.JSON))
        kind, task = config["peft_type"], config.get("task_type")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{folder}: holds no PEFT adapter ({CONFIG} is missing or damaged)") from error
    if kind not in _KINDS:
        named = " ".join(str(kind).split())[:40]
        raise ConfigError(
            f"{folder}: a {named} adapter; only prompts made of input vectors can be imported ({', '.join(_KINDS)})"
        )
    if task not in (*_WORDS, "SEQ_CLS"):
        raise ConfigError(f"{folder}: an adapter for {str(task)[:40]!r}, where prunekit answers by words or classes")
    return config


def _tensors(folder: Path) -> tuple[dict[str, Tensor], bytes]:
    path = folder / TENSORS
    if not path.is_file() and (folder / "adapter_model.bin").exists():
        raise ConfigError(
            f"{folder}: holds only adapter_model.bin, which can run code when opened and is not read; save it again "
            "with safe_serialization=True where you trust it"
        )
    try:
        content = reading.tensors(path)
        tensors = {name: one.float() for name, one in load(content).items() if one.is_floating_point()}
        return tensors, content
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: missing or damaged ({' '.join(str(error).split())[:200]})") from error


def _prompt(config: Mapping[str, Any], tensors: Mapping[str, Tensor], folder: Path) -> Tensor:
    """[n, H] float32 prompt vectors; what an encoder-decoder adapter holds for the decoder is never used by PEFT."""
    values, count = tensors.get(PROMPT), config.get("num_virtual_tokens")
    if values is None or values.dim() != 2 or not isinstance(count, int) or not 1 <= count <= len(values):
        wanted = " ".join(str(count).split())[:40]
        raise ConfigError(f"{folder}: its tensors are no prompt of {wanted} tokens ({PROMPT} [{wanted}, H] is wanted)")
    values = values[:count]
    if not bool(torch.isfinite(values).all()):
        raise ArtifactError(f"{folder}: its prompt holds NaN or infinite numbers")
    return values.contiguous().clone()


def _head(config: Mapping[str, Any], tensors: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor] | None:
    """A classification adapter's weight [C, H] and bias [C]."""
    if config.get("task_type") != "SEQ_CLS":
        return None
    prefix = f"{_CLASSIFIER}out_proj." if _is_two_layers(tensors) else _CLASSIFIER
    head = {name: tensors.get(prefix + name) for name in ("weight", "bias")}
    if any(value is None for value in head.values()):
        raise ConfigError(
            f"{folder}: this classification adapter has no head that prunekit could read (classifier.weight and "
            "classifier.bias); decoders answer by words here"
        )
    return {name: value.contiguous().clone() for name, value in head.items() if value is not None}


def _is_two_layers(tensors: Mapping[str, Tensor]) -> bool:
    return f"{_CLASSIFIER}dense.weight" in tensors


def _side(folder: Path) -> dict[str, Any] | None:
    """What prunekit wrote beside its own export, once the files it tells of are those that lie there; else None."""
    path = folder / SIDE
    if not path.exists():
        return None
    facts = read_stamped(path, _BARE)
    if facts.get("format") != FORMAT:
        raise ArtifactError(f"{path}: of another version of prunekit; {_BARE}")
    for name, key in ((TENSORS, "tensors_sha256"), (CONFIG, "config_sha256")):
        try:
            content = reading.content(folder / name, reading.TENSORS)
        except OSError as error:
            raise ArtifactError(f"{folder / name}: cannot be read ({reading.reason(error)}); export again") from error
        if hashlib.sha256(content).hexdigest() != facts.get(key):
            raise ArtifactError(f"{path}: tells of another {name}; {_BARE}")
    return facts
