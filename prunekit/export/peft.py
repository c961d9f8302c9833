"""A ticket as a PEFT prompt-tuning adapter: two files that `PeftModel.from_pretrained` loads, written without PEFT.

Pruned tokens are deleted, pruned pieces are exact zeros, and the encoder of an encoder-decoder alone gets the prompt.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from safetensors.torch import save
from torch import Tensor

from prunekit.export import prefix_tuning
from prunekit.export.card import card
from prunekit.export.null_keys import NullKeys
from prunekit.export.peft_format import CLASSIFIER, CONFIG, PROMPT, TENSORS
from prunekit.export.prompt_vectors import prompt_vectors
from prunekit.export.side_file import SIDE, TicketInfo, side_file
from prunekit.models import FrozenModel
from prunekit.models.encoding import TaskEncoder
from prunekit.models.load import family
from prunekit.models.prefix_decoder import PrefixDecoder
from prunekit.pruning.ticket import Ticket
from prunekit.support import atomic
from prunekit.support.errors import ConfigError
from prunekit.tasks.example import Example, placeholders

CARD = "README.md"

TaskType = Literal["CAUSAL_LM", "SEQ_2_SEQ_LM", "SEQ_CLS"]

# encoders whose classification model reads row 0 through the pooler and a linear layer, as position = first does:
# BERT's has the model's own pooler; RoBERTa's has a layer of its own, which can be a copy of the pooler
_POOLED = {"bert"}
_OWN_LAYER = {"roberta", "xlm-roberta", "camembert"}


def adapter_files(
    ticket: Ticket, model: FrozenModel, info: TicketInfo, null_keys: NullKeys | None = None
) -> dict[str, bytes]:
    """File name -> bytes of the adapter, with its card and side file.

    Args:
        null_keys: of a prefix with tokens that some heads alone do not see.

    Raises:
        ConfigError: where PEFT cannot do what the ticket does, with the reason.
    """
    if isinstance(model, PrefixDecoder):
        return _prefix_files(ticket, model, info, null_keys)
    check_exportable(ticket, model)
    info = as_read(info, model, len(ticket.mask.token))
    vectors = prompt_vectors(ticket)
    tensors = {PROMPT: vectors.values} | _head(ticket, model)
    content: bytes = save(
        {name: tensor.contiguous().clone() for name, tensor in tensors.items()}, metadata={"format": "pt"}
    )
    kind = task_type(model)
    config = atomic.as_json(_config(kind, vectors.values, model, info))
    return {
        SIDE: side_file(ticket, info, content, config),  # first: half an export then shows
        TENSORS: content,
        CONFIG: config,
        CARD: card(kind, ticket, info).encode(),
    }


def _prefix_files(
    ticket: Ticket, model: PrefixDecoder, info: TicketInfo, null_keys: NullKeys | None
) -> dict[str, bytes]:
    """The same of keys and values before the text."""
    compact = prefix_tuning.compacted(ticket, model)
    if null_keys is None:
        try:
            prefix_tuning.check_whole(compact, model)
        except ConfigError as error:
            raise ConfigError(f"this ticket cannot become a PEFT adapter: {error}") from error
    tokens = len(compact.mask.token)
    info = read_behind(ticket, compact, model, info, null_keys)
    values = prefix_tuning.tensor(compact, model.shape, None if null_keys is None else null_keys.keys)
    content: bytes = save({PROMPT: values}, metadata={"format": "pt"})
    config = atomic.as_json(prefix_tuning.config(tokens, model.shape, info))
    return {
        SIDE: side_file(compact, info, content, config),
        TENSORS: content,
        CONFIG: config,
        CARD: card(task_type(model), ticket, info).encode(),
    }


def read_behind(
    ticket: Ticket, compact: Ticket, model: PrefixDecoder, info: TicketInfo, null_keys: NullKeys | None
) -> TicketInfo:
    """The info, completed as `as_read` does, its texts no longer than the prefix is exact and null keys hold.

    Args:
        compact: the ticket, compacted (`prunekit.export.prefix_tuning`).
    """
    info = as_read(info, model, len(compact.mask.token))
    room = model.most_positions - len(ticket.mask.token)  # as the run read them, dropped tokens and all
    limits = [room, info.beside_prompt, prefix_tuning.exact_text_tokens(ticket, compact, model)]
    if null_keys is not None:
        info = replace(info, null_keys=null_keys.facts)
        limits.append(null_keys.text_tokens)
    return replace(info, beside_prompt=min(limit for limit in limits if limit is not None))


def as_read(info: TicketInfo, model: FrozenModel, tokens: int) -> TicketInfo:
    """The info, completed by how a model reads texts next to a prompt of P = `tokens`."""
    reader = model.reader
    info = replace(
        info,
        ranking=model.ranking,
        max_input_tokens=model.max_input_tokens,
        beside_prompt=model.most_positions - tokens,
        opening=reader.opening,
        closing=reader.closing if reader.closes else (),
        ends=model.end_ids if info.decoding else (),
    )
    if info.template is None:
        return info
    example = reader.in_chat(Example(0, info.template, {}, info.choices or (), chat=info.chat))
    encoder = TaskEncoder(reader, example, model.encoding_options(info.choices is None, tokens))
    info = replace(info, fields=placeholders(info.template), plain=encoder.plain)
    if not info.chat:
        return info
    choices = None if info.choices is None else example.choices
    return replace(info, template=example.template, choices=choices, separator="", opening=(), closing=())


def task_type(model: FrozenModel) -> TaskType:
    """PEFT's name for the task of a model's family."""
    kinds: dict[str, TaskType] = {"decoder": "CAUSAL_LM", "encoder-decoder": "SEQ_2_SEQ_LM", "encoder": "SEQ_CLS"}
    return kinds[family(model.config)]


def check_exportable(ticket: Ticket, model: FrozenModel) -> None:
    """Refuse a ticket that PEFT cannot reproduce exactly.

    Raises:
        ConfigError: with the reason and a way out.
    """
    ticket.prompt().prompt.materialise()
    reason = _reason(ticket, model)
    if reason:
        raise ConfigError(f"this ticket cannot become a PEFT adapter: {reason}")


def _reason(ticket: Ticket, model: FrozenModel) -> str | None:
    if isinstance(model, PrefixDecoder):
        return None  # `prefix_tuning.compacted` refuses by what was dropped
    if ticket.position == "suffix":
        return (
            "PEFT puts a prompt before every token, this one goes behind the text; "
            "use --to embeddings or --to prompt-embeds"
        )
    if ticket.position == "after-cls":
        return (
            "PEFT puts a prompt before every token and reads the answer there, this one goes behind [CLS], where the "
            "answer is read; train with --position first, or use --to embeddings"
        )
    if ticket.dropped_as == "hide" and ticket.mask.tokens < len(ticket.mask.token):
        return (
            "its dropped tokens keep a slot that is not attended to (--dropped-as hide), and PEFT attends to every "
            "prompt token; prune with --dropped-as remove or zero, or use --to embeddings"
        )
    if model.traits.scale != 1:
        return (
            f"this model multiplies the embeddings of token ids by {model.traits.scale:.4g} where it reads ids, and "
            "PEFT feeds it embeddings without that factor; use --to embeddings"
        )
    if model.traits.per_layer:
        return (
            "the layers of this model have embeddings of their own of each token id, which PEFT does not pass on; use "
            "--to embeddings"
        )
    if family(model.config) == "encoder":
        return _encoder_reason(model)
    return None


def _encoder_reason(model: FrozenModel) -> str | None:
    kind = model.config.model_type
    if kind not in _POOLED | _OWN_LAYER:
        return (
            f"the classification model of {kind} reads its answer in another way than prunekit does (exact are "
            f"{', '.join(sorted(_POOLED | _OWN_LAYER))}); use --to embeddings"
        )
    if getattr(model.model, "pooler", None) is None:
        return (
            "this checkpoint has no pooler, so that the classification model would read the answer through a random "
            "layer; use --to embeddings"
        )
    return None


def _config(kind: TaskType, values: Tensor, model: FrozenModel, info: TicketInfo) -> dict[str, Any]:
    """`adapter_config.json`; no key that an older PEFT would not know, and none that it would act on."""
    # PEFT asks for both and uses neither; some models have no attention heads to count
    counts = (getattr(model.text_config, name, 1) for name in ("num_attention_heads", "num_hidden_layers"))
    heads, layers = (count if isinstance(count, int) else 1 for count in counts)
    return {
        "auto_mapping": None,
        "base_model_name_or_path": info.model,
        "inference_mode": True,
        "num_attention_heads": heads,
        "num_layers": layers,
        "num_transformer_submodules": 1,
        "num_virtual_tokens": len(values),
        "peft_type": "PROMPT_TUNING",
        "prompt_tuning_init": "RANDOM",
        "prompt_tuning_init_text": None,
        "revision": info.revision,
        "task_type": kind,
        "token_dim": values.shape[1],
        "tokenizer_name_or_path": None,
    }


def _head(ticket: Ticket, model: FrozenModel) -> dict[str, Tensor]:
    """The tensors of a classification head, by the names that PEFT gives them."""
    if ticket.head is None:
        return {}
    tensors = {name: value.float() for name, value in ticket.head.items()}
    if model.config.model_type in _POOLED:
        return {f"{CLASSIFIER}{name}": value for name, value in tensors.items()}
    module: Any = model.model
    layer = {name: value.detach().float().cpu() for name, value in module.pooler.dense.named_parameters()}
    return {f"{CLASSIFIER}out_proj.{name}": value for name, value in tensors.items()} | {
        f"{CLASSIFIER}dense.{name}": value for name, value in layer.items()
    }
