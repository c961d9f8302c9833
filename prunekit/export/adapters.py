"""PEFT prompt-tuning, prefix-tuning and cartridge adapters, whoever trained them, as tickets of round 0.

Only safetensors are ever opened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from prunekit.export import peft_format
from prunekit.export.peft_format import CLASSIFIER, CONFIG, PROMPT, TENSORS
from prunekit.export.prefix_tuning import KINDS as PREFIX_KINDS
from prunekit.export.prefix_tuning import values_of
from prunekit.export.side_file import FORMAT, SIDE, restored
from prunekit.prompts.mask import Mask, piece_width
from prunekit.pruning.ticket import Ticket
from prunekit.runs.checksums import read_stamped
from prunekit.runs.ticket_file import check, finite
from prunekit.support import reading
from prunekit.support.errors import ArtifactError, ConfigError, DataError
from prunekit.support.hub import Repository

_IMPORT_PLAIN = "delete it to import the prompt as it is"


def read_adapter(source: str, *, revision: str | None = None, pieces: int | None = None) -> Ticket:
    """The ticket of a local folder or Hub repository that holds a PEFT adapter of prompts or of keys and values.

    One that prunekit exported comes back as it was, its prompt as plain vectors; any other as a dense ticket of round 0
    with K = `pieces`.

    Args:
        source: the folder or repository.
        revision: commit or tag of the repository.
        pieces: K, where prunekit did not export it; by default 16, and of keys and values one to each head.

    Raises:
        DataError: where there is no such adapter.
        ConfigError: naming the tensor or setting that a ticket cannot carry.
        ArtifactError: where it is damaged.
    """
    folder = Path(source) if Path(source).is_dir() else _fetched(source, revision)
    side = _side(folder)
    config, headers = peft_format.read_config(folder), peft_format.tensor_headers(folder)
    peft_format.check_supported(config, headers, folder)
    tensors, content = _tensors(folder)
    values, head = _prompt(config, tensors, folder), _head(config, tensors, folder)
    prefix = config["peft_type"] in PREFIX_KINDS
    if prefix:
        values, shape = values_of(values, config)
    pieces = pieces or (shape.cells if prefix else 16)
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
        ticket = Ticket(
            Mask.full(len(values), pieces),
            {"values": values},
            head,
            origin={k: v for k, v in origin.items() if v},
            position="prefix-kv" if prefix else "first",
            dropped_as="hide" if prefix else "remove",
        )
        check(ticket)
    except (ConfigError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{folder}: {error}") from error
    return finite(ticket, folder)


def _fetched(source: str, revision: str | None) -> Path:
    """The folder of a Hub repository's adapter in the local cache."""
    from huggingface_hub import snapshot_download

    repository = Repository("adapter", source, revision)
    commit = repository.commit()
    with repository.one_line_errors():
        files = [CONFIG, TENSORS, SIDE]
        return Path(
            snapshot_download(source, revision=commit.sha, allow_patterns=files, local_files_only=not commit.online)
        )


def _tensors(folder: Path) -> tuple[dict[str, Tensor], bytes]:
    """The adapter's tensors in float32, and the file's bytes."""
    path = folder / TENSORS
    try:
        content = reading.tensors(path)
        return {name: tensor.float() for name, tensor in load(content).items()}, content
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: missing or damaged ({' '.join(str(error).split())[:200]})") from error


def _prompt(config: Mapping[str, Any], tensors: Mapping[str, Tensor], folder: Path) -> Tensor:
    """[n, H] float32 prompt vectors; what an encoder-decoder adapter holds for the decoder is never used by PEFT."""
    values = tensors[PROMPT][: config["num_virtual_tokens"]]
    if not bool(torch.isfinite(values).all()):
        raise ArtifactError(f"{folder}: its prompt holds NaN or infinite numbers")
    return values.contiguous().clone()


def _head(config: Mapping[str, Any], tensors: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor] | None:
    """A classification adapter's weight [C, H] and bias [C]."""
    if config.get("task_type") != "SEQ_CLS":
        return None
    prefix = f"{CLASSIFIER}out_proj." if _is_two_layers(tensors) else CLASSIFIER
    head = {name: tensors.get(prefix + name) for name in ("weight", "bias")}
    if any(value is None for value in head.values()):
        raise ConfigError(
            f"{folder}: this classification adapter has no head that prunekit could read (classifier.weight and "
            "classifier.bias); decoders answer by words here"
        )
    return {name: value.contiguous().clone() for name, value in head.items() if value is not None}


def _is_two_layers(tensors: Mapping[str, Tensor]) -> bool:
    return f"{CLASSIFIER}dense.weight" in tensors


def _side(folder: Path) -> dict[str, Any] | None:
    """The side file of an adapter that prunekit exported, its digests checked; None for any other adapter."""
    path = folder / SIDE
    if not path.exists():
        return None
    facts = read_stamped(path, _IMPORT_PLAIN)
    if facts.get("format") != FORMAT:
        raise ArtifactError(f"{path}: written by another version of prunekit; {_IMPORT_PLAIN}")
    for name, key in ((TENSORS, "tensors_sha256"), (CONFIG, "config_sha256")):
        try:
            content = reading.content(folder / name, reading.TENSORS)
        except OSError as error:
            raise ArtifactError(f"{folder / name}: cannot be read ({reading.reason(error)}); export again") from error
        if hashlib.sha256(content).hexdigest() != facts.get(key):
            raise ArtifactError(f"{path}: was written for another {name}; {_IMPORT_PLAIN}")
    return facts
