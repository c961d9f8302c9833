"""A ticket as a PEFT prompt-tuning adapter: two files that `PeftModel.from_pretrained` loads, written without PEFT.

Pruned tokens are deleted, pruned pieces are exact zeros, and the encoder of an encoder-decoder alone gets the prompt.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from safetensors.torch import save
from torch import Tensor

from prunekit.export.card import card
from prunekit.export.flat import SIDE, Story, flat, side_file
from prunekit.export.foreign import CLASSIFIER, CONFIG, PROMPT, TENSORS
from prunekit.models import FrozenModel
from prunekit.models.encoding import TaskEncoder
from prunekit.models.load import family
from prunekit.pruning.ticket import Ticket
from prunekit.support import atomic
from prunekit.support.errors import ConfigError
from prunekit.tasks.example import Example, placeholders

CARD = "README.md"

TaskType = Literal["CAUSAL_LM", "SEQ_2_SEQ_LM", "SEQ_CLS"]

# encoders whose classification model reads row 0 through the pooler and a linear layer, as place = first does:
# BERT's has the model's own pooler; RoBERTa's has a layer of its own, which can be a copy of the pooler
_POOLED = {"bert"}
_OWN_LAYER = {"roberta", "xlm-roberta", "camembert"}


def adapter_files(ticket: Ticket, model: FrozenModel, story: Story) -> dict[str, bytes]:
    """File name -> bytes of the adapter, with its card and side file.

    Raises:
        ConfigError: where PEFT cannot do what the ticket does, with the reason.
    """
    check_exportable(ticket, model)
    story = as_read(story, model, len(ticket.mask.token))
    slots = flat(ticket)
    tensors = {PROMPT: slots.values} | _head(ticket, model)
    content: bytes = save({name: one.contiguous().clone() for name, one in tensors.items()}, metadata={"format": "pt"})
    kind = task_type(model)
    config = atomic.as_json(_config(kind, slots.values, model, story))
    return {
        SIDE: side_file(ticket, story, content, config),  # first: half an export then shows
        TENSORS: content,
        CONFIG: config,
        CARD: card(kind, ticket, story).encode(),
    }


def as_read(story: Story, model: FrozenModel, tokens: int) -> Story:
    """The story with how a model reads its texts beside a prompt of P = `tokens`."""
    reader = model.reader
    story = replace(
        story,
        ranking=model.ranking,
        max_input_tokens=model.max_input_tokens,
        beside_prompt=model.most_positions - tokens,
        opening=reader.opening,
        closing=reader.closing if reader.closes else (),
    )
    if story.template is None:
        return story
    example = Example(0, story.template, {}, story.choices or ())
    wording = TaskEncoder(reader, example, model.encoding_options(story.choices is None, tokens))
    return replace(story, fields=placeholders(story.template), plain=wording.plain)


def task_type(model: FrozenModel) -> TaskType:
    """What PEFT calls a family."""
    kinds: dict[str, TaskType] = {"decoder": "CAUSAL_LM", "encoder-decoder": "SEQ_2_SEQ_LM", "encoder": "SEQ_CLS"}
    return kinds[family(model.config)]


def check_exportable(ticket: Ticket, model: FrozenModel) -> None:
    """Raises ConfigError, with the reason and a way out, where PEFT cannot do exactly what the ticket does."""
    ticket.prompt().prompt.materialise()
    reason = _reason(ticket, model)
    if reason:
        raise ConfigError(f"no PEFT adapter can be this ticket: {reason}")


def _reason(ticket: Ticket, model: FrozenModel) -> str | None:
    if ticket.position == "suffix":
        return (
            "PEFT puts a prompt before every token, this one stands behind the text; "
            "use --to embeddings or --to prompt-embeds"
        )
    if ticket.position == "after-cls":
        return (
            "PEFT puts a prompt before every token and reads the answer there, this one stands behind [CLS], where the "
            "answer is read; train with --position first, or use --to embeddings"
        )
    if ticket.dropped_as == "hide" and ticket.mask.tokens < len(ticket.mask.token):
        return (
            "its dropped tokens keep a slot that nobody attends to (--dropped-as hide), and PEFT attends to every "
            "prompt token; prune with --dropped-as remove or zero, or use --to embeddings"
        )
    if model.traits.scale != 1:
        return (
            f"this model multiplies the embeddings of token ids by {model.traits.scale:.4g} where it reads ids, and "
            "PEFT feeds it embeddings that nobody multiplies; use --to embeddings"
        )
    if model.traits.per_layer:
        return (
            "the layers of this model have embeddings of their own of each token id, which PEFT does not hand on; use "
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


def _config(kind: TaskType, values: Tensor, model: FrozenModel, story: Story) -> dict[str, Any]:
    """`adapter_config.json`; no key that an older PEFT would not know, and none that it would act on."""
    # PEFT asks for both and uses neither; some models have no attention heads to count
    counts = (getattr(model.text_config, name, 1) for name in ("num_attention_heads", "num_hidden_layers"))
    heads, layers = (count if isinstance(count, int) else 1 for count in counts)
    return {
        "auto_mapping": None,
        "base_model_name_or_path": story.model,
        "inference_mode": True,
        "num_attention_heads": heads,
        "num_layers": layers,
        "num_transformer_submodules": 1,
        "num_virtual_tokens": len(values),
        "peft_type": "PROMPT_TUNING",
        "prompt_tuning_init": "RANDOM",
        "prompt_tuning_init_text": None,
        "revision": story.revision,
        "task_type": kind,
        "token_dim": values.shape[1],
        "tokenizer_name_or_path": None,
    }


def _head(ticket: Ticket, frozen: FrozenModel) -> dict[str, Tensor]:
    """The tensors of a classification head, by the names that PEFT gives them."""
    if ticket.head is None:
        return {}
    names = {name: value.float() for name, value in ticket.head.items()}
    if frozen.config.model_type in _POOLED:
        return {f"{CLASSIFIER}{name}": value for name, value in names.items()}
    model: Any = frozen.model
    layer = {name: value.detach().float().cpu() for name, value in model.pooler.dense.named_parameters()}
    return {f"{CLASSIFIER}out_proj.{name}": value for name, value in names.items()} | {
        f"{CLASSIFIER}dense.{name}": value for name, value in layer.items()
    }
