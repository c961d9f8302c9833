"""What makes a model the same model: its weights, its tokenizer, and the configuration that decides what it computes.

Of the configuration those fields count that differ from their class's defaults, so that a field which a later
transformers adds, with the default that keeps models as they were, makes no other model of this one.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import re
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig
from transformers.utils import logging

# Fields that never change what a frozen model computes: where it came from and which version wrote it, in which type
# and by which kernel it is computed (the run's precision and its environment tell that), what a call returns, and the
# names of a classifier's classes, which no verb reads.
NOT_COMPUTED = frozenset({
    "_name_or_path", "name_or_path", "_commit_hash", "transformers_version", "architectures", "auto_map",
    "custom_pipelines", "_post_init_done",
    "dtype", "torch_dtype", "_attn_implementation", "_attn_implementation_internal", "attn_implementation",
    "_experts_implementation", "_experts_implementation_internal", "experts_implementation",
    "use_cache", "return_dict", "use_return_dict", "output_hidden_states", "output_attentions", "_output_attentions",
    "torchscript", "gradient_checkpointing",
    "id2label", "label2id", "num_labels", "problem_type", "finetuning_task", "task_specific_params",
})  # fmt: skip
#: What stands for a field that has its class's default, where another value of it is named.
DEFAULT = "its default"

_SHARED_CODE = frozenset({"transformers.masking_utils", "transformers.modeling_rope_utils"})
# words, digits, blanks of several kinds and letters beyond ASCII: what normalisers and splitters treat in their own way
_PROBE = "A probé:\tFirst  and 2nd, 1234 words \n don't ÄB. "


@dataclass(frozen=True)
class ModelIdentity:
    """What a model is, in parts that can be compared by name.

    Attributes:
        weights: sha256 over names, types, shapes and bytes.
        rounded: the same with every number rounded to bfloat16, by which two precisions of one model can be compared.
        tokenizer: part -> digest or value.
        configuration: dotted field -> its value as JSON, of those that differ from the default.
    """

    weights: str
    rounded: str
    tokenizer: Mapping[str, str]
    configuration: Mapping[str, str]

    @property
    def digest(self) -> str:
        """sha256 over weights, tokenizer and configuration."""
        return _sha256(_text([self.weights, dict(self.tokenizer), dict(self.configuration)]))


def identity_of(model: Any, weights: Mapping[str, Tensor], tokenizer: Any) -> ModelIdentity:
    """The identity of a loaded model.

    Args:
        weights: every tensor by name, wherever it lies.
        tokenizer: a fast one.
    """
    exact, rounded = hashlib.sha256(), hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        plain = tensor.detach().cpu().contiguous()
        exact.update(f"{name} {plain.dtype} {tuple(plain.shape)}".encode())
        rounded.update(f"{name} {tuple(plain.shape)}".encode())
        exact.update(_bytes(plain))
        rounded.update(_bytes(plain.to(torch.bfloat16) if plain.is_floating_point() else plain))
    fields = configuration(model.config, _code_of(model)) | adapters(model)
    return ModelIdentity(exact.hexdigest(), rounded.hexdigest(), tokenizer_facts(tokenizer), fields)


def adapters(model: Any) -> dict[str, str]:
    """Of a model with adapters of PEFT inside, how strongly each of them acts in which layer; else nothing.

    Their tensors are among the weights; that they act, and how strongly, is not, nor is it in the configuration.
    """
    acting = [
        (name, [[adapter, _plain(layer.scaling.get(adapter))] for adapter in layer.active_adapters])
        for name, layer in model.named_modules()
        if isinstance(getattr(layer, "scaling", None), Mapping)
        and not (getattr(layer, "disable_adapters", False) or getattr(layer, "merged", False))
    ]
    return {"adapters": _sha256(_text(acting))[:16]} if acting else {}


def tokenizer_facts(tokenizer: Any) -> dict[str, str]:
    """The parts of a tokenizer that decide ids: vocabulary, rules, special tokens, and the ids of a text for trial.

    The trial shows what lies outside the rules, such as settings that Python code adds to them.
    """
    rules = tokenizer.backend_tokenizer
    rules.no_truncation()  # what a file ships of these is gone with the first call, and so no part of a model
    rules.no_padding()
    special = {name: [token, tokenizer.convert_tokens_to_ids(token)] for name, token in _special(tokenizer).items()}
    trial = _PROBE + _PROBE.join(token for token, _ in special.values())
    ids = [tokenizer(trial, add_special_tokens=whole)["input_ids"] for whole in (True, False)]
    return {
        "vocabulary": _sha256(_text(sorted(tokenizer.get_vocab().items())))[:16],
        "rules": _sha256(rules.to_str())[:16],
        "special tokens": _text(special),
        "ids of a trial text": _sha256(_text(ids))[:16],
    }


def configuration(config: Any, code: str = "") -> dict[str, str]:
    """Dotted field -> its value as canonical JSON, of the fields that make this model another than its class's default.

    A field that follows from the others (such as a head's width from the model's) is left out: who adds it to the
    class changes no model.

    Args:
        code: of the model. A field that its class does not have counts where the code names it; else nothing reads it,
            and it is one that an earlier or later transformers has.
    """
    with _quiet():
        return dict(sorted(_differing(config, "", code).items()))


def _differing(config: PretrainedConfig, prefix: str, code: str) -> dict[str, str]:
    """`configuration` of a configuration or of one inside it, its names behind `prefix`."""
    values = _fields(config)
    default = _fields(_remade(type(config), {}))
    if default:
        values = {name: value for name, value in values.items() if name in default or _names(code, name)}
    names = _unlike(values, default)
    if against := _contradicted(config, values, names):
        # of itself the class would make something else of these, so that their own default says nothing
        default |= dict.fromkeys(against, _NOTHING)
        names |= against
    differing = {f"{prefix}model_type": _text(config.model_type)}
    for name in names - _implied(config, values, names):
        differing |= _leaves(f"{prefix}{name}", values[name], default.get(name, _NOTHING))
    for name, inner in _nested(config).items():
        differing |= _differing(inner, f"{prefix}{name}.", code)
    return differing


def _code_of(model: Any) -> str:
    """The source of every module of Python that the model's layers are from, and of those that all models share."""
    names = {type(layer).__module__ for layer in model.modules()} | _SHARED_CODE
    sources = []
    for name in sorted(names):
        if not name.startswith("torch."):
            with suppress(ImportError, OSError, TypeError):
                sources.append(inspect.getsource(importlib.import_module(name)))
    return "\n".join(sources)


def _names(code: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", code) is not None


def _unlike(values: Mapping[str, Any], others: Mapping[str, Any]) -> set[str]:
    """The fields that are not as in another configuration of the class."""
    return {name for name, value in values.items() if _text(value) != _text(others.get(name, _NOTHING))}


def _contradicted(config: PretrainedConfig, values: Mapping[str, Any], names: Set[str]) -> set[str]:
    """Fields at their default that the class, given the named ones, would make something else of."""
    remade = _remade(type(config), {name: values[name] for name in names} | _inside(config))
    return set() if remade is None else _unlike(values, _fields(remade))


def _implied(config: PretrainedConfig, values: Mapping[str, Any], names: Set[str]) -> set[str]:
    """Those of the named fields that the class makes of the others by itself."""
    implied: set[str] = set()
    inside = _inside(config)
    for name in sorted(names):
        others = {other: values[other] for other in names - implied - {name}}
        remade = _remade(type(config), others | inside)
        if remade is not None and not _unlike(values, _fields(remade)):
            implied.add(name)
    return implied


def _remade(kind: type[PretrainedConfig], values: Mapping[str, Any]) -> PretrainedConfig | None:
    """A configuration of a class with some fields given; None where the class refuses them."""
    try:
        return kind(**json.loads(_text(values)))
    except Exception:  # a class checks its fields by whatever rule it likes
        return None


def _fields(config: PretrainedConfig | None) -> dict[str, Any]:
    """Every field that counts, as plain values; no configuration inside it."""
    if config is None:
        return {}
    left_out = NOT_COMPUTED | {"model_type"} | set(_nested(config))
    values = {name: _plain(value) for name, value in config.to_dict().items() if name not in left_out}
    quantization = getattr(config, "quantization_config", None)
    if quantization is not None and hasattr(
        quantization, "to_diff_dict"
    ):  # its whole dictionary grows with every version
        values["quantization_config"] = _plain(quantization.to_diff_dict())
    return values


def _nested(config: PretrainedConfig) -> dict[str, PretrainedConfig]:
    """The configurations inside one, such as `text_config`."""
    return {name: value for name, value in vars(config).items() if isinstance(value, PretrainedConfig)}


def _inside(config: PretrainedConfig) -> dict[str, Any]:
    return {name: inner.to_dict() for name, inner in _nested(config).items()}


class _Nothing:
    """What a class without the field has for it."""


_NOTHING = _Nothing()


def _leaves(name: str, value: Any, default: Any) -> dict[str, str]:
    """A value under its dotted name; of a table the entries that differ from the default's."""
    if not isinstance(value, Mapping):
        return {name: _text(value)}
    defaults = default if isinstance(default, Mapping) else {}
    leaves = {f"{name}.{key}": "absent" for key in defaults.keys() - value.keys()}
    for key, inner in value.items():
        if _text(inner) != _text(defaults.get(key, _NOTHING)):
            leaves |= _leaves(f"{name}.{key}", inner, defaults.get(key, _NOTHING))
    return leaves or {name: "{}"}


def _plain(value: Any) -> Any:
    """A value as JSON has it, the same for the same meaning: sets in order, types by name, 10000.0 as 10000."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, Set):
        return sorted((_plain(inner) for inner in value), key=_text)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, str | int | float | None) else str(value).removeprefix("torch.")


def _special(tokenizer: Any) -> dict[str, str]:
    """The tokens that have a part to play, by the part."""
    tokens = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if not isinstance(token, list)}
    return dict(sorted(tokens.items()))


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=lambda other: f"<{type(other).__name__}>")


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.flatten().view(torch.uint8).numpy().data


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """Configurations that are made for comparison alone warn of nothing."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
