"""A model is tried before it is believed: it must answer from embeddings what it answers from the ids they stand for.

The reference is `model(input_ids=...)` on one unpadded row, written here from nothing but the model: a prompt made of
the embeddings of some ids, put among a text's, is the same row as those ids put among the text's ids. Against it stand
the forward passes that train and evaluate. What differs is adapted or run apart; what differs still is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, get_args

import torch
from torch import Tensor, nn

from prunekit.backbones.base import Backbone
from prunekit.backbones.batch import Encoded, Ids
from prunekit.backbones.encoder import Encoder
from prunekit.backbones.encoder_decoder import EncoderDecoder
from prunekit.backbones.soft import Head, Soft
from prunekit.backbones.traits import Together, Traits, windows
from prunekit.errors import ConfigError, PrunekitError

# The largest difference allowed, as a part of the largest logit. Narrow numbers round by more: there the trial finds a
# wrong scale or position, not a small one.
BARS = {torch.float64: 1e-9, torch.float32: 1e-5}
NARROW_BAR = 5e-2
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

    expected: by prompt and text, the [C] choice scores of the plain model.  largest: its largest logit.
    """

    prompts: tuple[Ids, Ids]
    texts: tuple[Encoded, Encoded]
    head: Head | None
    expected: dict[tuple[int, int], Tensor]
    largest: float


def settle(backbone: Backbone, length: int = 0) -> None:
    """Find out how a backbone's model must be given its rows (`traits`); again where longer texts may change that.

    length: tokens of the longest row that it will read, where that is known; rows beyond every window up to there, or
    up to what `max_input_tokens` allows, are tried.

    Raises: ConfigError in one line that says what was seen, where the model cannot be used.
    """
    wanted = _text_length(backbone, length)
    if wanted <= backbone.tried:
        return
    try:
        with torch.no_grad():
            backbone.traits = _tried(backbone, wanted)
        backbone.tried = wanted
        backbone.settled()
    except PrunekitError:
        raise
    except Exception as error:  # models of transformers fail in as many ways as there are
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{_name(backbone)}: the model cannot be given rows of embeddings, which a prompt needs "
            f"({type(error).__name__}: {reason})"
        ) from error


def _text_length(backbone: Backbone, length: int) -> int:
    """Tokens of the long text: one past every window that rows can reach; longer rows cannot go wrong by one."""
    reach = max(length, backbone.max_input_tokens + _BESIDE_TEXT)
    reached = [window for window in windows(backbone.config) if window < reach]
    return min(max(6, *(window + 1 for window in reached), 0), max(6, backbone.most_positions - _LONG - 2))


def _tried(backbone: Backbone, length: int) -> Traits:
    sample = _sample(backbone, length)
    bar = _bar(backbone)
    candidates = list(_candidates(backbone))
    with suppress(Exception):  # the usual case in one pass; what is wrong elsewhere is found below
        if _batch_difference(backbone, replace(candidates[0], together="batch"), sample) <= bar:
            return backbone.traits
    bar = max(bar, _NOISE * _rounding(backbone, sample))
    fitting = _fitting(backbone, candidates, sample, bar)
    together: Together
    for together in get_args(Together):
        difference = _batch_difference(backbone, replace(fitting, together=together), sample)
        if difference <= bar:
            return backbone.traits
    raise ConfigError(
        f"{_name(backbone)}: the model answers otherwise when it reads its answers' texts together with others (by "
        f"{difference:.2g} of its largest logit); use another model"
    )


def _fitting(backbone: Backbone, candidates: list[Traits], sample: _Sample, bar: float) -> Traits:
    """The first traits under which a row alone is answered as its ids are.

    Raises: ConfigError where there are none.
    """
    least, failure = math.inf, None
    for traits in candidates:
        try:
            difference = _single_difference(backbone, replace(traits, together="alone"), sample)
        except Exception as error:  # such as an argument that only the outermost module takes
            failure = error
            continue
        if difference <= bar:
            return traits
        least = min(least, difference)
    if failure is not None and least == math.inf:
        raise failure
    raise ConfigError(
        f"{_name(backbone)}: the model answers otherwise from embeddings than from token ids (by {least:.2g} of its "
        "largest logit, whatever scale and positions were tried); a prompt of input vectors would be trained on "
        "a model other than yours"
    )


def _candidates(backbone: Backbone) -> Iterator[Traits]:
    """Ways to give a model its rows, the likeliest first."""
    model: Any = backbone.model
    firsts = [*_first_positions(backbone), None]
    scales = list(dict.fromkeys([1.0, *_scales(model), math.sqrt(backbone.embed(torch.zeros(1).long()).shape[-1])]))
    layered = [True, False] if backbone.per_layer_module is not None else [False]
    for scale, per_layer, first in product(scales, layered, firsts):
        yield Traits(scale=scale, per_layer=per_layer, first_position=first)


def _first_positions(backbone: Backbone) -> list[int]:
    """Where a model that takes position ids may begin to count."""
    if not backbone.accepts("position_ids") or backbone.counts_attended:
        return []
    offsets = [
        module.padding_idx + 1
        for name, module in backbone.model.named_modules()
        if isinstance(module, nn.Embedding) and "position" in name and module.padding_idx is not None
    ]
    return list(dict.fromkeys([*offsets, 0]))


def _scales(model: nn.Module) -> list[float]:
    """The numbers that modules keep to multiply embeddings by."""
    values = [getattr(module, name, None) for module in model.modules() for name in _SCALES]
    scales = [value.item() if isinstance(value, Tensor) and value.numel() == 1 else value for value in values]
    return [
        float(scale) for scale in scales if isinstance(scale, int | float) and not isinstance(scale, bool) and scale
    ]


# ---- what is compared


def _sample(backbone: Backbone, length: int) -> _Sample:
    """Rows of ids that stand for ordinary tokens, with what the plain model answers to them."""
    draw = _plain_ids(backbone)
    answers = tuple(next(draw) for _ in range(3))
    choices = (answers[:1], answers[1:])
    texts = tuple(Encoded(0, tuple(next(draw) for _ in range(count)), choices, 0) for count in (length, 3))
    filler = backbone.filler_id
    count = (_LONG, _SHORT)
    # where layers have embeddings of their own, a prompt's slots get those of the filler, and stand for it here
    prompts = tuple(
        tuple(filler if backbone.per_layer_module is not None else next(draw) for _ in range(size)) for size in count
    )
    head = None
    if backbone.answers_by_head:
        weight = torch.randn(1, 2, backbone.hidden_width, generator=torch.Generator().manual_seed(0))
        weight = weight.to(backbone.device)
        head = Head(weight, weight.new_zeros(1, 2))
    expected, largest = {}, 0.0
    for member, text in ((0, 0), (0, 1), (1, 1)):
        scores, logit = _plain(backbone, prompts[member], texts[text], head)
        expected[member, text] = scores
        largest = max(largest, logit)
    if not all(bool(scores.isfinite().all()) for scores in expected.values()):
        raise ConfigError(f"{_name(backbone)}: the model answers token ids with NaN or infinite numbers")
    return _Sample(prompts, texts, head, expected, largest)  # type: ignore[arg-type]


def _plain_ids(backbone: Backbone) -> Iterator[int]:
    """Ids spread over the embedding's rows, none of which the configuration names (padding, images, masks)."""
    rows = backbone.embedding_rows
    named: set[Any] = set()
    for config in {id(part): part for part in (backbone.config, backbone.text_config)}.values():
        for name, value in vars(config).items():
            if name.endswith(("token_id", "token_ids", "token_index")):
                named |= set(value) if isinstance(value, list | tuple) else {value}
    free = [i for i in range(min(8, rows // 2), rows) if i not in named] or list(range(rows))
    step = max(1, len(free) // 37)
    position = 0
    while True:
        yield free[position % len(free)]
        position += step + 1


def _plain(backbone: Backbone, prompt: Ids, text: Encoded, head: Head | None, copies: int = 1) -> tuple[Tensor, float]:
    """What the user's model says to one row of ids: the scores [C] of a text's choices, and its largest logit.

    copies: how many times the row goes through the model at once.
    """
    model: Any = backbone.model
    at = {"first": 0, "after-cls": 1, "suffix": len(text.text)}[backbone.place]
    ids = _row(backbone, [*text.text[:at], *prompt, *text.text[at:]], copies)
    if isinstance(backbone, Encoder):
        assert head is not None
        state = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[:, 0]
        if backbone.place == "first" and getattr(model, "pooler", None) is not None:
            state = model.pooler(state[:, None])
        scores = state[0].to(head.weight.dtype) @ head.weight[0].T
        return scores, float(scores.abs().max())
    longest = max(text.choices, key=len)
    if isinstance(backbone, EncoderDecoder):
        begun = _row(backbone, [backbone.start_id, *longest[:-1]], copies)
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), decoder_input_ids=begun).logits[0]
    else:
        ids = torch.cat([ids, _row(backbone, longest[:-1], copies)], dim=1)
        more = {"logits_to_keep": len(longest)} if backbone.accepts("logits_to_keep") else {}
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), **more).logits[0, -len(longest) :]
    logits = logits.double()
    logprobs = logits.log_softmax(-1)
    scores = torch.stack([sum(logprobs[place, token] for place, token in enumerate(ids)) for ids in text.choices])
    if backbone.ranking == "mean":
        scores = scores / torch.tensor([len(ids) for ids in text.choices], device=scores.device)
    return scores, float(logits.abs().max())


def _row(backbone: Backbone, ids: Iterable[int], copies: int) -> Tensor:
    return torch.tensor([list(ids)] * copies, dtype=torch.long, device=backbone.device)


def _single_difference(backbone: Backbone, traits: Traits, sample: _Sample) -> float:
    """The largest difference of one row alone, as a part of the largest logit."""
    backbone.traits = traits
    soft = _soft(backbone, sample.prompts[:1], sample.head)
    batch = backbone.batch([sample.texts[:1]], every_choice=True)
    return _difference(backbone.logits(soft, batch), sample, [(0, 0)])


def _batch_difference(backbone: Backbone, traits: Traits, sample: _Sample) -> float:
    """The same of both prompts and both texts side by side."""
    backbone.traits = traits
    soft = _soft(backbone, sample.prompts, sample.head)
    batch = backbone.batch([sample.texts], every_choice=True)
    return _difference(backbone.logits(soft, batch), sample, list(sample.expected))


def _difference(logits: Tensor, sample: _Sample, cells: list[tuple[int, int]]) -> float:
    each = [
        (logits[member, text].double() - sample.expected[member, text].double()).abs().max() for member, text in cells
    ]
    worst = float(torch.stack(each).nan_to_num(math.inf).max())
    return worst / max(sample.largest, 1e-30)


def _soft(backbone: Backbone, prompts: tuple[Ids, ...], head: Head | None) -> Soft:
    """Prompts that are the embeddings of ids, padded to the longest on the far side."""
    width = max(map(len, prompts))
    values = torch.stack(
        [
            torch.cat([vectors.new_zeros(width - len(vectors), vectors.shape[-1]), vectors])
            for vectors in (backbone.embed(torch.tensor(ids)) for ids in prompts)
        ]
    )
    slots = torch.arange(width, device=values.device)
    there = torch.stack([slots >= width - len(ids) for ids in prompts])
    source = torch.where(there, slots, -1)
    if head is not None:
        members = len(prompts)
        head = Head(head.weight.expand(members, -1, -1), head.bias.expand(members, -1))
    return Soft(values, there, there, source, None, head)


def _rounding(backbone: Backbone, sample: _Sample) -> float:
    """How much the plain model differs from itself where a row goes through it twice at once, by its largest logit.

    Raises: ConfigError where that is no rounding.
    """
    first, second = (_plain(backbone, sample.prompts[0], sample.texts[0], sample.head, copies)[0] for copies in (1, 2))
    noise = float((first - second).abs().max()) / max(sample.largest, 1e-30)
    if noise > _RANDOM * _bar(backbone):
        raise ConfigError(
            f"{_name(backbone)}: the same row is answered otherwise when it is asked again (by {noise:.2g} of the "
            "largest logit), so that no prompt can be trained on the model"
        )
    return noise


def _bar(backbone: Backbone) -> float:
    if getattr(backbone.model, "is_quantized", False) or getattr(backbone.model, "quantization_method", None):
        return NARROW_BAR
    dtypes = {tensor.dtype for tensor in backbone.model.parameters() if tensor.is_floating_point()}
    return max((BARS.get(dtype, NARROW_BAR) for dtype in dtypes), default=BARS[torch.float32])


def _name(backbone: Backbone) -> str:
    kind = type(backbone.model).__name__
    name = getattr(backbone.config, "_name_or_path", "")
    return f"{name} ({kind})" if name else kind


__all__ = ["BARS", "NARROW_BAR", "settle"]
