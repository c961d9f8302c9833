"""A model is tried before it is believed: it must answer from embeddings what it answers from the ids they stand for.

The reference is `model(input_ids=...)` on one unpadded row, written here from nothing but the model: a prompt made of
the embeddings of some ids, put among a text's, is the same row as those ids put among the text's ids. Against it stand
the forward passes that train and evaluate. What differs is adapted or run apart; what differs still is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from prunekit.models.base import FrozenModel
from prunekit.models.batch import Encoded, Ids
from prunekit.models.encoder_decoder import EncoderDecoder
from prunekit.models.prompt_batch import Head, PromptBatch
from prunekit.models.traits import Together, Traits, windows
from prunekit.support.errors import ConfigError, PrunekitError

# The largest difference allowed, as a part of the largest logit. Narrow numbers round by more: there the trial finds a
# wrong scale or position, not a small one.
BARS = {torch.float64: 1e-9, torch.float32: 1e-5}
NARROW_BAR = 2e-2
# how many times the model's own rounding (a row alone against the same row twice) passes for equal
_NOISE = 4.0
# above this many times the bar it is no rounding: such a model draws its answers
_RANDOM = 100
# tokens that a prompt and an answer may add to the longest text, where it is not known yet
_BESIDE_TEXT = 64
# prompts of unequal length
_LONG, _SHORT = 3, 1
# names under which modules keep what they multiply embeddings by
_SCALES = ("embed_scale", "embedding_scale", "embeddings_scale", "scale_embeddings", "embed_tokens_scale")


@dataclass(frozen=True)
class _Sample:
    """What is tried: two prompts given as ids, a long and a short text with two answers each.

    Attributes:
        expected: by prompt and text, the [C] choice scores of the plain model.
        largest: its largest logit.
    """

    prompts: tuple[Ids, Ids]
    texts: tuple[Encoded, Encoded]
    head: Head | None
    expected: dict[tuple[int, int], Tensor]
    largest: float


def find_traits(model: FrozenModel, length: int = 0) -> None:
    """Find out how a model's model must be given its rows (`traits`); again where longer texts may change that.

    Args:
        length: tokens of the longest row that it will read, where that is known; rows beyond every window up to there,
            or up to what `max_input_tokens` allows, are tried.

    Raises:
        ConfigError: in one line that says what was seen, where the model cannot be used.
    """
    text_tokens = _text_length(model, length)
    if text_tokens <= model.tried_tokens:
        return
    with one_line_errors(model.model, "the model cannot be given rows of embeddings, which a prompt needs"):
        with torch.no_grad():
            model.traits = _traits_by_trial(model, text_tokens)
        model.tried_tokens = text_tokens
        model.traits_changed()


def check_gradient(model: FrozenModel) -> None:
    """A prompt learns only where a gradient reaches it through the frozen model; some quantised ones let none through.

    Raises:
        ConfigError: in one line where that is so.
    """
    with one_line_errors(model.model, "no gradient reaches a prompt through this model"):
        draw = _plain_ids(model)
        text = Encoded(0, tuple(next(draw) for _ in range(4)), ((next(draw),), (next(draw),)), 0)
        prompts = _prompt_batch(model, (tuple(next(draw) for _ in range(2)),), _head(model))
        prompts = prompts.per_example(1)
        # scores and not the loss, whose gradient is zero where a model is sure; laid out as in training, since what
        # several answers share of a T5's decoder cannot be recomputed (--checkpointing)
        model.logits(prompts, model.batch([[text]], every_choice=False)).sum().backward()
        gradient = prompts.values.grad
    if gradient is None or not bool(gradient.isfinite().all()) or not bool(gradient.any()):
        raise ConfigError(
            f"{_name(model.model)}: no gradient reaches a prompt through this model, so that nothing can be "
            "learned; use its weights as they were before they were quantised"
        )


@contextmanager
def one_line_errors(module: Any, what: str) -> Iterator[None]:
    """Whatever fails inside a model becomes a ConfigError of one line."""
    try:
        yield
    except PrunekitError:
        raise
    except Exception as error:  # models of transformers fail in as many ways as there are
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{_name(module)}: {what} ({type(error).__name__}: {reason})") from error


def _text_length(model: FrozenModel, length: int) -> int:
    """Tokens of the long text: one past every window that rows can reach; longer rows cannot go wrong by one."""
    reach = max(length, model.max_input_tokens + _BESIDE_TEXT)
    passed_windows = [window for window in windows(model.config) if window < reach]
    return min(max(6, *(window + 1 for window in passed_windows), 0), max(6, model.most_positions - _LONG - 2))


def _traits_by_trial(model: FrozenModel, length: int) -> Traits:
    sample = _sample(model, length)
    bar = _bar(model)
    if model.answers_by_head:
        _check_listens(model, sample)
    candidates = list(_candidates(model))
    with suppress(Exception):  # the usual case in one pass; what is wrong elsewhere is found below
        if _batch_difference(model, replace(candidates[0], together="batch"), sample) <= bar:
            return model.traits
    bar = max(bar, _NOISE * _rounding(model, sample))
    fitting = _fitting(model, candidates, sample, bar)
    together: Together
    for together in model.sharing:
        difference = _batch_difference(model, replace(fitting, together=together), sample)
        if difference <= bar:
            return model.traits
    raise ConfigError(
        f"{_name(model.model)}: the model answers otherwise when it reads texts and answers together with others "
        f"(by {difference:.2g} of its largest logit); use another model"
    )


def _fitting(model: FrozenModel, candidates: list[Traits], sample: _Sample, bar: float) -> Traits:
    """The first traits under which a row alone is answered as its ids are.

    Raises:
        ConfigError: where there are none.
    """
    least, failure = math.inf, None
    for traits in candidates:
        try:
            difference = _single_difference(model, replace(traits, together="alone"), sample)
        except Exception as error:  # such as an argument that only the outermost module takes
            failure = error
            continue
        if difference <= bar:
            return traits
        least = min(least, difference)
    if failure is not None and least == math.inf:
        raise failure
    _check_causal(model, sample, bar)
    raise ConfigError(
        f"{_name(model.model)}: the model answers otherwise from embeddings than from token ids (by {least:.2g} of "
        "its largest logit, whatever scale and positions were tried); a prompt of input vectors would be trained on "
        "a model other than yours"
    )


def _check_causal(model: FrozenModel, sample: _Sample, bar: float) -> None:
    """What a decoder says behind a token must not depend on what comes later.

    Raises:
        ConfigError: where it does.
    """
    if model.answers_by_head or isinstance(model, EncoderDecoder):
        return
    module: Any = model.model
    ids = sample.texts[0].text
    row = _row(model, ids, 1)
    alone = _next_logits(model, ids[:-1], (), 1)
    logits_in_row = module(input_ids=row, attention_mask=torch.ones_like(row)).logits[0, -2]
    difference = float((logits_in_row - alone).abs().max()) / max(sample.largest, 1e-30)
    if difference > bar:
        raise ConfigError(
            f"{_name(model.model)}: no causal language model: a token changes what the model says before it (by "
            f"{difference:.2g} of the largest logit), so that an answer cannot be scored in one pass; use another model"
        )


def _check_listens(model: FrozenModel, sample: _Sample) -> None:
    """The state that an encoder's head reads must know of the whole row.

    Raises:
        ConfigError: where it does not, as in a decoder without its head.
    """
    ids = sample.texts[1].text
    states = [_states(model, [*ids[:-1], last], 1) for last in (ids[-1], ids[0])]
    if torch.equal(*states):
        raise ConfigError(
            f"{_name(model.model)}: the state of a row's first token does not depend on the rest of the row, so "
            "that a head would read nothing of it; a decoder is loaded by AutoModelForCausalLM"
        )


def _candidates(model: FrozenModel) -> Iterator[Traits]:
    """Ways to give a model its rows, the likeliest first."""
    module: Any = model.model
    firsts = [*_first_positions(model), None]
    scales = list(dict.fromkeys([1.0, *_scales(module), math.sqrt(model.embed(torch.zeros(1).long()).shape[-1])]))
    layered = [True, False] if model.per_layer_module is not None else [False]
    for scale, per_layer, first in product(scales, layered, firsts):
        yield Traits(scale=scale, per_layer=per_layer, first_position=first)


def _first_positions(model: FrozenModel) -> list[int]:
    """Where a model that takes position ids may begin to count."""
    if not model.accepts("position_ids") or model.counts_attended:
        return []
    offsets = [
        module.padding_idx + 1
        for name, module in model.model.named_modules()
        if isinstance(module, nn.Embedding) and "position" in name and module.padding_idx is not None
    ]
    return list(dict.fromkeys([*offsets, 0]))


def _scales(module_tree: nn.Module) -> list[float]:
    """The numbers that modules keep to multiply embeddings by."""
    values = [getattr(module, name, None) for module in module_tree.modules() for name in _SCALES]
    scales = [value.item() if isinstance(value, Tensor) and value.numel() == 1 else value for value in values]
    return [
        float(scale) for scale in scales if isinstance(scale, int | float) and not isinstance(scale, bool) and scale
    ]


# ---- what is compared


def _sample(model: FrozenModel, length: int) -> _Sample:
    """Rows of ids that stand for ordinary tokens, with what the plain model answers to them."""
    draw = _plain_ids(model)
    answers = tuple(next(draw) for _ in range(3))
    choices = (answers[:1], answers[1:])
    texts = tuple(Encoded(0, tuple(next(draw) for _ in range(count)), choices, 0) for count in (length, 3))
    filler = model.filler_id
    count = (_LONG, _SHORT)
    # where layers have embeddings of their own, a prompt's slots get those of the filler, and stand for it here
    prompts = tuple(
        tuple(filler if model.per_layer_module is not None else next(draw) for _ in range(size)) for size in count
    )
    head = _head(model)
    expected, largest = {}, 0.0
    for member, text in ((0, 0), (0, 1), (1, 0), (1, 1)):
        scores, logit = _plain(model, prompts[member], texts[text], head)
        expected[member, text] = scores
        largest = max(largest, logit)
    if not all(bool(scores.isfinite().all()) for scores in expected.values()):
        raise ConfigError(f"{_name(model.model)}: the model answers token ids with NaN or infinite numbers")
    return _Sample(prompts, texts, head, expected, largest)  # type: ignore[arg-type]


def _head(model: FrozenModel) -> Head | None:
    """A head of two random rows, for models that answer by one."""
    if not model.answers_by_head:
        return None
    weight = torch.randn(1, 2, model.hidden_width, generator=torch.Generator().manual_seed(0)).to(model.device)
    return Head(weight, weight.new_zeros(1, 2))


def _plain_ids(model: FrozenModel) -> Iterator[int]:
    """Ids spread over the embedding's rows, none of which the configuration names (padding, images, masks)."""
    rows = model.embedding_rows
    special_ids: set[Any] = set()
    for config in {id(part): part for part in (model.config, model.text_config)}.values():
        for name, value in vars(config).items():
            if name.endswith(("token_id", "token_ids", "token_index")):
                special_ids |= set(value) if isinstance(value, list | tuple) else {value}
    free = [i for i in range(min(8, rows // 2), rows) if i not in special_ids] or list(range(rows))
    step = max(1, len(free) // 37)
    index = 0
    while True:
        yield free[index % len(free)]
        index += step + 1


def _plain(model: FrozenModel, prompt: Ids, text: Encoded, head: Head | None, copies: int = 1) -> tuple[Tensor, float]:
    """What the user's model says to one row of ids: the scores [C] of a text's choices, and its largest logit.

    Args:
        copies: how many times the row goes through the model at once.
    """
    at = {"first": 0, "after-cls": 1, "suffix": len(text.text), "prefix-kv": 0}[model.position]
    ids = [*text.text[:at], *prompt, *text.text[at:]]
    if head is not None:
        scores = _states(model, ids, copies).to(head.weight.dtype) @ head.weight[0].T
        return scores, float(scores.abs().max())
    longest = max(text.choices, key=len)
    # each token from a row that ends before it, as a model writes
    steps = [_next_logits(model, ids, longest[:length], copies) for length in range(len(longest))]
    logits = torch.stack(steps).double()
    logprobs = logits.log_softmax(-1)
    scores = torch.stack([logprobs[range(len(ids)), list(ids)].sum() for ids in text.choices])
    if model.ranking == "mean":
        scores = scores / torch.tensor([len(ids) for ids in text.choices], device=scores.device)
    return scores, float(logits.abs().max())


def _states(model: FrozenModel, ids: Sequence[int], copies: int) -> Tensor:
    """[H], the state that an encoder's head reads of a row of ids."""
    module: Any = model.model
    row = _row(model, ids, copies)
    output = module(input_ids=row, attention_mask=torch.ones_like(row))
    pooled: Tensor | None = getattr(output, "pooler_output", None) if model.position == "first" else None
    state: Tensor = output.last_hidden_state[:, 0] if pooled is None else pooled
    return state[0]


def _next_logits(model: FrozenModel, ids: Sequence[int], answer: Sequence[int], copies: int) -> Tensor:
    """[V], what a model says follows a text and the first tokens of an answer to it."""
    module: Any = model.model
    if isinstance(model, EncoderDecoder):
        row, decoder_ids = _row(model, ids, copies), _row(model, [model.start_id, *answer], copies)
        output = module(input_ids=row, attention_mask=torch.ones_like(row), decoder_input_ids=decoder_ids)
    else:
        row = _row(model, [*ids, *answer], copies)
        more = {"logits_to_keep": 1} if model.accepts("logits_to_keep") else {}
        output = module(input_ids=row, attention_mask=torch.ones_like(row), **more)
    logits: Tensor | None = getattr(output, "logits", None)
    if logits is None:
        loader = "AutoModelForSeq2SeqLM" if isinstance(model, EncoderDecoder) else "AutoModelForCausalLM"
        raise ConfigError(f"{_name(module)}: the model has no language-modelling head; load it by {loader}")
    return logits[0, -1]


def _row(model: FrozenModel, ids: Iterable[int], copies: int) -> Tensor:
    return torch.tensor([list(ids)] * copies, dtype=torch.long, device=model.device)


def _single_difference(model: FrozenModel, traits: Traits, sample: _Sample) -> float:
    """The largest difference of one row alone, as a part of the largest logit."""
    model.traits = traits
    prompts = _prompt_batch(model, sample.prompts[:1], sample.head)
    batch = model.batch([sample.texts[:1]], every_choice=True)
    return _difference(model.logits(prompts, batch), sample, [(0, 0)])


def _batch_difference(model: FrozenModel, traits: Traits, sample: _Sample) -> float:
    """The same of both prompts and both texts side by side."""
    model.traits = traits
    prompts = _prompt_batch(model, sample.prompts, sample.head)
    batch = model.batch([sample.texts], every_choice=True)
    return _difference(model.logits(prompts, batch), sample, list(sample.expected))


def _difference(logits: Tensor, sample: _Sample, cells: list[tuple[int, int]]) -> float:
    differences = [
        (logits[member, text].double() - sample.expected[member, text].double()).abs().max() for member, text in cells
    ]
    worst = float(torch.stack(differences).nan_to_num(math.inf).max())
    return worst / max(sample.largest, 1e-30)


def _prompt_batch(model: FrozenModel, token_ids: tuple[Ids, ...], head: Head | None) -> PromptBatch:
    """Prompts that are the embeddings of ids, padded as a cohort is: on the far side, by no zeros."""
    width = max(map(len, token_ids))
    vectors = [model.prompt_vectors(torch.tensor(ids)) for ids in token_ids]
    values = torch.stack([torch.cat([rows[:1].expand(width - len(rows), -1), rows]) for rows in vectors])
    slots = torch.arange(width, device=values.device)
    present = torch.stack([slots >= width - len(ids) for ids in token_ids])
    source = torch.where(present, slots, -1)
    if head is not None:
        members = len(token_ids)
        head = Head(head.weight.expand(members, -1, -1), head.bias.expand(members, -1))
    return PromptBatch(values, present, present, source, None, head)


def _rounding(model: FrozenModel, sample: _Sample) -> float:
    """How much the plain model differs from itself where a row goes through it twice at once, by its largest logit.

    Raises:
        ConfigError: where that is no rounding.
    """
    first, second = (_plain(model, sample.prompts[0], sample.texts[0], sample.head, copies)[0] for copies in (1, 2))
    noise = float((first - second).abs().max()) / max(sample.largest, 1e-30)
    if noise > _RANDOM * _bar(model):
        raise ConfigError(
            f"{_name(model.model)}: the same row is answered otherwise when it is asked again (by {noise:.2g} of "
            "the largest logit), so that no prompt can be trained on the model"
        )
    return noise


def _bar(model: FrozenModel) -> float:
    quantized = any(type(module).__module__.startswith("torch.ao.nn.quantized") for module in model.model.modules())
    if quantized or getattr(model.model, "is_quantized", False):
        return NARROW_BAR
    if model.device.type == "cuda" and torch.get_float32_matmul_precision() != "highest":
        return NARROW_BAR  # the card multiplies in TF32, with fewer digits than are stored
    dtypes = {tensor.dtype for tensor in model.model.parameters() if tensor.is_floating_point()}
    return max((BARS.get(dtype, NARROW_BAR) for dtype in dtypes), default=BARS[torch.float32])


def _name(module: Any) -> str:
    kind = type(module).__name__
    name = getattr(module.config, "_name_or_path", "")
    return f"{name} ({kind})" if name else kind
