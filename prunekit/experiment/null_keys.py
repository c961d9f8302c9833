"""Null keys for the export of a prefix that some heads alone do not see: from which texts they are made and tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.experiment.prepare import encode
from prunekit.experiment.settings import Experiment
from prunekit.experiment.task_of import task_of
from prunekit.export import null_keys, readme_check
from prunekit.export.null_keys import NullKeys
from prunekit.export.prefix_tuning import compacted, exact_text_tokens, ragged
from prunekit.models import Encoded, FrozenModel, PromptBatch
from prunekit.models.batch import Ids
from prunekit.models.generation import generate
from prunekit.models.prefix_decoder import PrefixDecoder
from prunekit.models.queries import queries_of
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ConfigError, PrunekitError
from prunekit.support.seeding import generator
from prunekit.tasks.decoding import Decoding

# texts behind which something is written, and how much
_WRITTEN, _WRITTEN_TOKENS = 8, 64
# rows of random words, each as long as a text may be, so that every position is seen
_RANDOM = 2
# tokens whose queries are kept, so that memory is bounded
_MOST_TOKENS = 4096


@dataclass(frozen=True)
class HiddenSlots:
    """What stands in the slots that some heads alone do not see, and for which texts that is the same function.

    Attributes:
        null_keys: where there are such slots.
        texts: that they were tried on.
        exact_tokens: the longest text for which nothing differs (`prunekit.export.prefix_tuning`), None without limit.
    """

    null_keys: NullKeys | None = None
    texts: Sequence[Ids] = ()
    exact_tokens: int | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """For the user."""
        notes = () if self.null_keys is None else (self.null_keys.sentence,)
        if self.exact_tokens is None:
            return notes
        window = (
            "longer ones leave the model's sliding window, which hidden tokens have slots in and deleted ones do not"
        )
        return (*notes, f"the same function for texts of up to {self.exact_tokens} tokens: {window}")


def of_ticket(ticket: Ticket, model: FrozenModel, experiment: Experiment) -> HiddenSlots:
    """A ticket's null keys, where it takes some, and the texts of the test split that they were tried on.

    They are made from texts of the train split, what the model writes behind some of them, and random words; they hold
    for texts twice as long as a text of the task may be.

    Raises:
        ConfigError: where the task's texts are gone, or some heads have no such keys.
    """
    if not isinstance(model, PrefixDecoder):
        return HiddenSlots()
    compact = compacted(ticket, model)
    exact_tokens = exact_text_tokens(ticket, compact, model)
    if not ragged(compact):
        return HiddenSlots(exact_tokens=exact_tokens)
    first = len(compact.mask.token)
    text_tokens = min(2 * model.max_input_tokens, model.most_positions - len(ticket.mask.token))
    with torch.no_grad():
        prompts = prompt_batch([Member(ticket, model.device)])
    try:
        train, test = _texts(ticket, model, experiment)
    except PrunekitError as error:
        raise ConfigError(f"what stands for tokens hidden from some heads is made from texts: {error}") from error
    rows = [*_random(model, text_tokens), *_continued(model, prompts, train[:_WRITTEN]), *train[_WRITTEN:]]
    keys = null_keys.find(compact, model, queries_of(model, prompts, _bounded(rows)), first, text_tokens)
    test = _bounded(test)
    keys = null_keys.verified(keys, compact, model, queries_of(model, prompts, test))
    return HiddenSlots(keys, test, exact_tokens)


def _texts(ticket: Ticket, model: PrefixDecoder, experiment: Experiment) -> tuple[list[Ids], list[Ids]]:
    """Texts of the train and of the test split, each with its right answer."""
    task, splits = task_of(experiment)
    parts = (readme_check.sample(splits.parts[name]) for name in ("train", "test"))
    train, test = (list(map(_row, encode(model, task, rows, len(ticket.mask.token)))) for rows in parts)
    return train, test


def _row(example: Encoded) -> Ids:
    return example.text + example.choices[max(example.gold, 0)]


def _random(model: PrefixDecoder, tokens: int) -> list[Ids]:
    """Rows of words drawn at random, every token of the vocabulary as likely."""
    words = model.ordinary_ids()
    draws = torch.randint(len(words), (_RANDOM, tokens), generator=generator("null-keys", "words")).tolist()
    return [tuple(words[index] for index in draw) for draw in draws]


def _continued(model: PrefixDecoder, prompts: PromptBatch, texts: Sequence[Ids]) -> list[Ids]:
    """Texts and what the model writes behind them."""
    most = model.most_positions - int(prompts.placed.sum()) - max(map(len, texts))
    if most < 1:
        return list(texts)
    (written,) = generate(model, prompts, texts, Decoding(max_tokens=min(_WRITTEN_TOKENS, most)))
    return [text + ids for text, ids in zip(texts, written, strict=True)]


def _bounded(rows: Sequence[Ids]) -> list[Ids]:
    """The first rows, as many as have tokens that fit into memory."""
    kept: list[Ids] = []
    tokens = 0
    for row in rows:
        tokens += len(row)
        if kept and tokens > _MOST_TOKENS:
            break
        kept.append(row)
    return kept
