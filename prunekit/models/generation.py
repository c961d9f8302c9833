"""What a frozen model writes behind prompts and texts, by Hugging Face `generate` on rows of embeddings."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from prunekit.models.base import FrozenModel
from prunekit.models.batch import Batch, Encoded, Ids, Row, collate
from prunekit.models.prompt_batch import PromptBatch
from prunekit.models.traits import WritesTogether
from prunekit.support.errors import ConfigError
from prunekit.support.seeding import seed_of
from prunekit.tasks.decoding import Decoding

_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4}


class _StopTexts(StoppingCriteria):  # type: ignore[misc]
    """Ends a row once a stop text stands in what was written."""

    def __init__(self, decoding: Decoding, decoded: Callable[[Ids], str], skipped: int) -> None:
        self._decoding, self._decoded, self._skipped = decoding, decoded, skipped

    def __call__(self, input_ids: Tensor, scores: Any, **more: Any) -> Tensor:
        ended = [self._decoding.cut(self._decoded(tuple(ids[self._skipped :])))[1] for ids in input_ids.tolist()]
        return torch.tensor(ended, device=input_ids.device)


class _Draw(LogitsProcessor):  # type: ignore[misc]
    """Adds Gumbel noise, so that the likeliest token is one drawn by the probabilities.

    Each row draws from a stream named by its text: what is written behind it hangs on nothing else that is asked.
    """

    def __init__(self, texts: Sequence[Ids], rows: int, seed: int) -> None:
        names = [seed_of("decoding", seed, text) for text in texts] * (rows // len(texts))
        self._streams = [torch.Generator().manual_seed(name) for name in names]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        waits = torch.empty(scores.shape, dtype=torch.float64)
        for row, stream in zip(waits, self._streams, strict=True):
            row.exponential_(generator=stream)
        return scores.double() - waits.log().to(scores.device)


def generate(model: FrozenModel, prompts: PromptBatch, texts: Sequence[Ids], decoding: Decoding) -> list[list[Ids]]:
    """The ids [S][B] that every member writes behind every text, up to the first that ends them, that one included.

    Args:
        texts: B texts as token ids, special tokens included.

    Raises:
        ConfigError: where the model writes nothing from embeddings, or otherwise than it scores.
    """
    check_writes(model)
    if model.writes_together is None:
        model.writes_together = trial(model)
    together = model.writes_together
    with torch.no_grad():
        return _in_groups(prompts, texts, together, lambda group, rows: _written(model, group, rows, decoding))


def check_writes(model: FrozenModel) -> None:
    """Raises: ConfigError where a model cannot write answers."""
    kind = type(model.model).__name__
    if model.answers_by_head:
        raise ConfigError(f"{kind} answers by a head and writes no text; use a decoder or an encoder-decoder")
    if not hasattr(model.model, "generate") or model.traits.per_layer:
        raise ConfigError(f"{kind} cannot write from embeddings alone; use another model for open answers")


def trial(model: FrozenModel) -> WritesTogether:
    """Which rows a model may write behind together, so that it writes by the probabilities that it scores by.

    Raises:
        ConfigError: where it does not even on single rows.
    """
    for together in ("batch", "lengths", "alone"):
        if writes_as_it_scores(model, together):
            return together
    kind = type(model.model).__name__
    raise ConfigError(f"{kind} writes otherwise than it scores, even row by row; use another model for open answers")


def _in_groups(
    prompts: PromptBatch,
    texts: Sequence[Ids],
    together: WritesTogether,
    write: Callable[[PromptBatch, Sequence[Ids]], list[Any]],
) -> list[list[Any]]:
    """What `write` makes [S][B] of rows, in several passes where they may not share one."""
    if together == "batch":
        outputs = write(prompts, texts)
        return [outputs[start : start + len(texts)] for start in range(0, len(outputs), len(texts))]
    by_member: list[list[Any]] = [[None] * len(texts) for _ in range(prompts.members)]
    for member, outputs in enumerate(by_member):
        for group in _alike(texts, together):
            answers = write(prompts.member(member), [texts[index] for index in group])
            for index, answer in zip(group, answers, strict=True):
                outputs[index] = answer
    return by_member


def _alike(texts: Sequence[Ids], together: WritesTogether) -> Iterator[list[int]]:
    """The places of texts that one member's prompt may stand beside in one pass."""
    order = sorted(range(len(texts)), key=lambda index: (len(texts[index]), index))
    if together == "alone":
        yield from ([index] for index in order)
        return
    for _, group in groupby(order, key=lambda index: len(texts[index])):
        yield list(group)


def _written(model: FrozenModel, prompts: PromptBatch, texts: Sequence[Ids], decoding: Decoding) -> list[Ids]:
    """The ids [S * B] behind rows that share a pass."""
    module: Any = model.model
    skipped = 1 if module.config.is_encoder_decoder else 0  # what every answer begins behind
    stop = StoppingCriteriaList([_StopTexts(decoding, model.reader.written, skipped)] if decoding.stop else [])
    rows = model.generation_rows(prompts, text_batch(texts, model.pad).to(model.device), decoding)
    output = module.generate(
        **rows,
        generation_config=_settings(model, decoding),
        stopping_criteria=stop,
        logits_processor=_drawing(texts, prompts.members * len(texts), decoding),
    )
    return [_ended(tuple(ids[skipped:]), model.end_ids) for ids in output.tolist()]


def _drawing(texts: Sequence[Ids], rows: int, decoding: Decoding) -> LogitsProcessorList:
    """What makes the likeliest token one that was drawn; nothing where the likeliest is asked for."""
    if decoding.temperature == 0:
        return LogitsProcessorList()
    among = [TopPLogitsWarper(decoding.top_p)] if decoding.top_p < 1 else []
    warmed = TemperatureLogitsWarper(decoding.temperature)
    return LogitsProcessorList([warmed, *among, _Draw(texts, rows, decoding.seed)])


def text_batch(texts: Sequence[Ids], pad: int) -> Batch:
    """Texts [B] without any answer, as a batch of M = 1."""
    return collate([[Row([text], [()], [len(text) - 1], -1, number) for number, text in enumerate(texts)]], pad)


def _settings(model: FrozenModel, decoding: Decoding) -> Any:
    """The model's own generation settings as far as they force or ban tokens; how is searched, the task says."""
    module: Any = model.model
    config = copy.deepcopy(module.generation_config)
    if module.config.is_encoder_decoder:
        config.decoder_start_token_id = model.start_id
    config.update(
        max_new_tokens=decoding.max_tokens,
        max_length=None,
        min_length=0,
        min_new_tokens=None,
        num_beams=decoding.beams,
        do_sample=False,  # `_Draw` does
        temperature=None,
        top_p=None,
        top_k=None,
        length_penalty=1.0,
        early_stopping=False,
        num_return_sequences=1,
        eos_token_id=list(model.end_ids) or None,
        pad_token_id=model.end_ids[0] if model.end_ids else model.pad,
        return_dict_in_generate=False,
        use_cache=True,
        cache_implementation=None,
    )
    return config


def _ended(ids: Ids, ends: Sequence[int]) -> Ids:
    """What comes before padding: the ids up to the first end."""
    place = next((place for place, token in enumerate(ids) if token in ends), len(ids))
    return ids[: place + 1]


# ---- the trial


def tolerance(dtype: torch.dtype) -> float:
    """How far scores of a row that was read in another way may lie apart, as a part of the largest of them."""
    return _TOLERANCE.get(dtype, 5e-2)


def writes_as_it_scores(model: FrozenModel, together: WritesTogether) -> bool:
    """Whether the probabilities of two tokens that are written are those of the same tokens when they are scored."""
    rows = model.embedding_rows
    ids = (
        tuple(5 + index % (rows - 5) for index in range(16)) if rows > 5 else tuple(index % rows for index in range(16))
    )
    texts = (ids[:7], ids[7:10])
    vectors = model.prompt_vectors(torch.tensor(ids[10:13])).expand(2, -1, -1)
    present = torch.tensor([[True] * 3, [False, True, True]], device=vectors.device)  # the second one is padded
    prompts = PromptBatch(vectors, present, present, present.long())
    try:
        with torch.no_grad():
            steps = _in_groups(prompts, texts, together, lambda group, part: _two_steps(model, group, part))
            scored = torch.tensor(_scored(model, prompts, texts, steps))
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):  # what models of any kind may raise
        return False
    written = torch.tensor([[logprob for _, _, logprob in member] for member in steps])
    bar = tolerance(vectors.dtype)
    return bool((written - scored).abs().max() <= bar * max(1.0, float(scored.abs().max())))


def _two_steps(model: FrozenModel, prompts: PromptBatch, texts: Sequence[Ids]) -> list[tuple[int, int, float]]:
    """The two likeliest tokens in a row behind every row, and their log-probability."""
    from transformers import GenerationConfig

    module: Any = model.model
    decoding = Decoding(max_tokens=2)
    inputs = model.generation_rows(prompts, text_batch(texts, model.pad).to(model.device), decoding)
    start = model.start_id if module.config.is_encoder_decoder else None
    config = GenerationConfig(
        max_new_tokens=2, min_new_tokens=2, pad_token_id=model.pad, eos_token_id=None, decoder_start_token_id=start,
        return_dict_in_generate=True, output_logits=True,
    )  # fmt: skip
    output = module.generate(**inputs, generation_config=config)
    tokens = output.sequences[:, -2:]
    logits = torch.stack(output.logits, dim=1)
    logits = logits if logits.dtype == torch.float64 else logits.float()
    logprobs = logits.log_softmax(-1).gather(2, tokens[..., None]).sum((1, 2))
    return [(*pair, logprob) for pair, logprob in zip(tokens.tolist(), logprobs.tolist(), strict=True)]


def _scored(
    model: FrozenModel, prompts: PromptBatch, texts: Sequence[Ids], steps: Sequence[Sequence[tuple[int, int, float]]]
) -> list[list[float]]:
    """The log-probability of the same tokens as answers, by the forward pass that trains."""
    members = []
    for member, written in enumerate(steps):
        pairs = [tuple(row[:2]) for row in written]
        encoded = [
            Encoded(index, text, (pair,), 0) for index, (text, pair) in enumerate(zip(texts, pairs, strict=True))
        ]
        batch = model.batch([encoded], every_choice=True)
        losses = model.losses(prompts.member(member), batch)[0]
        members.append([-2 * float(loss) for loss in losses])
    return members
