"""A frozen language model that soft prompts are placed into: what all families share.

The per-example loss [S, B] is the one primitive: training takes its mean over B, scoring its sum, evaluation reads it.
Families differ only in how they lay out a row and where they read the answer.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prunekit.backbones.batch import Batch, Encoded, Ids, Row, collate
from prunekit.backbones.placing import Placed, beside, joined
from prunekit.backbones.soft import Head, Soft
from prunekit.errors import ConfigError
from prunekit.tasks import Example

Place = Literal["first", "suffix", "after-cls"]
Ranking = Literal["sum", "mean"]

# rows of the embedding table that stand for nothing: BERT's [unused5], T5's <extra_id_3>, Gemma's <unused7>
_UNUSED = re.compile(r"\[unused\d+\]|<extra_id_\d+>|<unused\d+>")

# these count positions over what is attended to, by themselves; a hidden token takes none
COUNTS_ATTENDED = {"opt"}


@dataclass(frozen=True)
class Judged:
    """What a cohort answered to a batch.

    losses: [S, B], mean negative log-likelihood of the gold choice; NaN where none is known.
    logits: [S, B, C], the score by which choices are ranked; -inf for choices an example does not have.
    """

    losses: Tensor
    logits: Tensor


class Backbone:
    """A frozen model and its tokenizer. Its weights never get a gradient and are never changed.

    place: where the prompt goes: "first" (before every token), "suffix" (between a decoder's text and answer) or
    "after-cls" (behind an encoder's first token).
    ranking: choices are ranked by the sum of their tokens' log-probabilities, or by the mean.
    max_input_tokens: longer inputs lose the end of their longest field.
    """

    places: tuple[Place, ...] = ("first",)
    answers_by_head = False

    def __init__(
        self, model: Any, tokenizer: Any, *, place: Place, ranking: Ranking = "sum", max_input_tokens: int = 256
    ) -> None:
        if place not in self.places:
            raise ConfigError(f"place = {place!r} does not fit this model; use one of {', '.join(self.places)}")
        self.model: nn.Module = model
        self.tokenizer = tokenizer
        self.place, self.ranking, self.max_input_tokens = place, ranking, max_input_tokens
        self.model.requires_grad_(False)
        self.model.eval()

    # ---- what a family says of itself

    def layout(self, example: Encoded, every_choice: bool) -> Row:
        """How this family lays out one example, for all its choices or for the gold one alone."""
        raise NotImplementedError

    def answer_ids(self, answer: str) -> Ids:
        """The token ids of one answer, as this family scores them."""
        raise NotImplementedError

    def _judge(self, soft: Soft, batch: Batch) -> Judged:
        raise NotImplementedError

    def remembering(self) -> AbstractContextManager[None]:
        """While prompts stay as they are, what follows from them alone may be kept."""
        return nullcontext()

    @property
    def takes_positions(self) -> bool:
        """Whether members padded to a common length can share a batch: positions can be given, or are relative."""
        return "position_ids" in inspect.signature(self.model.forward).parameters

    # ---- what every family does

    def judge(self, soft: Soft, batch: Batch) -> Judged:
        """Losses and choice scores of every member on every example, from one forward pass."""
        batch = batch.to(self.device)
        if soft.ragged and not self.takes_positions:  # its positions would move: such members go one by one
            parts = [self._judge(soft.member(place), _member(batch, place)) for place in range(soft.members)]
            return Judged(torch.cat([part.losses for part in parts]), torch.cat([part.logits for part in parts]))
        return self._judge(soft, batch)

    def losses(self, soft: Soft, batch: Batch) -> Tensor:
        """[S, B] per-example losses."""
        return self.judge(soft, batch).losses

    def logits(self, soft: Soft, batch: Batch) -> Tensor:
        """[S, B, C] choice scores; -inf where an example has fewer choices."""
        return self.judge(soft, batch).logits

    def encode(self, examples: Iterable[Example], *, own_choices: bool, prompt_tokens: int) -> list[Encoded]:
        """Token ids of examples, each tokenised once.

        own_choices: whether answers differ per example.  prompt_tokens: P, which must fit beside text and answer; a
        text over the limit is shortened field by field.
        """
        answers: dict[str, Ids] = {}
        encoded = []
        for example in examples:
            for choice in example.choices:
                if choice not in answers:
                    answers[choice] = self.answer_ids(choice)
            choices = tuple(answers[choice] for choice in example.choices)
            taken = prompt_tokens + max((len(ids) for ids in choices), default=0)
            text, cut = self._fitted(example, min(self.max_input_tokens, self.most_positions - taken))
            gold = example.gold[0] if example.gold else -1
            encoded.append(Encoded(example.index, text, choices, gold, own_choices, cut))
        return encoded

    def batch(self, members: Sequence[Sequence[Encoded]], *, every_choice: bool) -> Batch:
        """One batch of [M][B] examples; `every_choice=False` lays out the gold choice alone, enough for the loss."""
        return collate([[self.layout(example, every_choice) for example in rows] for rows in members], self.pad)

    def new_head(self, choices: int | None) -> dict[str, Tensor] | None:
        """A zero head of C rows (one scalar row where choices differ per example), or None where words answer."""
        if not self.answers_by_head:
            return None
        rows = 1 if choices is None else choices
        return {"weight": torch.zeros(rows, self.hidden_width), "bias": torch.zeros(rows)}

    @property
    def embedding(self) -> nn.Module:
        """The input embedding module, read-only: ids [...] -> vectors [..., H]."""
        module: nn.Module = self.model.get_input_embeddings()  # type: ignore[operator]
        return module

    def embed(self, ids: Tensor) -> Tensor:
        """[...] token ids -> [..., H], through the model's own embedding module (some scale inside it)."""
        with torch.no_grad():
            vectors: Tensor = self.embedding(ids.to(self.device))
        return vectors

    @property
    def width(self) -> int:
        """H, the width of a prompt vector."""
        return int(self.embed(torch.zeros(1, dtype=torch.long)).shape[-1])

    @property
    def hidden_width(self) -> int:
        """Width of the last hidden state, which a head reads."""
        return int(self.config.hidden_size)

    @property
    def embedding_rms(self) -> float:
        """Root mean square of the embedding table's entries, the unit of `learning_rate = "auto"`."""
        ids = torch.arange(int(self.config.vocab_size))
        return float(self.embed(ids).float().pow(2).mean().sqrt())

    @property
    def config(self) -> Any:
        """The model's own configuration."""
        return self.model.config

    @property
    def device(self) -> torch.device:
        """Where inputs go: where the weights are, or the first of them where they are spread."""
        hook = getattr(self.embedding, "_hf_hook", None)
        known = getattr(hook, "execution_device", None)
        return next(self.model.parameters()).device if known is None else torch.device(known)

    @property
    def spread(self) -> bool:
        """Whether the layers lie on several devices, in main memory or on disk, and come when they are used."""
        return hasattr(self.model, "_hf_hook")

    @property
    def pad(self) -> int:
        """The id that fills up rows; never attended to, so any will do where the tokenizer names none."""
        pad = self.tokenizer.pad_token_id
        return 0 if pad is None else int(pad)

    def ordinary_ids(self, first: int = 5000) -> list[int]:
        """The lowest `first` ids that stand for text: no special tokens, no unused rows (Lester et al. 2021: 5,000)."""
        special = set(self.tokenizer.all_special_ids)
        words = self.tokenizer.convert_ids_to_tokens(list(range(min(len(self.tokenizer), int(self.config.vocab_size)))))
        ordinary = (i for i, word in enumerate(words) if i not in special and word and not _UNUSED.fullmatch(word))
        return [i for _, i in zip(range(first), ordinary, strict=False)]

    def digest(self) -> str:
        """sha256 over the names, types, shapes and bytes of all weights, and over the tokenizer."""
        total = hashlib.sha256()
        for name, tensor in sorted(self._weights().items()):
            total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        total.update(repr(sorted(self.tokenizer.get_vocab().items())).encode())
        rules = self.tokenizer.backend_tokenizer
        rules.no_truncation()  # what a file ships of these is gone with the first call, and so no part of a model
        rules.no_padding()
        total.update(rules.to_str().encode())
        return total.hexdigest()

    def _weights(self) -> dict[str, Tensor]:
        """Every weight by name, fetched from where it lies."""
        weights: dict[str, Tensor] = self.model.state_dict()
        if any(tensor.is_meta for tensor in weights.values()):
            from accelerate.utils.modeling import get_state_dict_offloaded_model

            weights = get_state_dict_offloaded_model(self.model)
        return weights

    # ---- helpers of the families

    def _place(self, soft: Soft, batch: Batch) -> Placed:
        """Prompt vectors put before (or, after-cls, behind the first of) the input embeddings of every row."""
        return joined(beside(soft, batch, self.embed(batch.ids)), split=1 if self.place == "after-cls" else 0)

    def _position_arguments(self, placed: Placed) -> dict[str, Tensor]:
        if not self.takes_positions or self.config.model_type in COUNTS_ATTENDED:
            return {}
        return {"position_ids": placed.positions + self._position_offset}

    @property
    def most_positions(self) -> int:
        """Tokens of the longest row that the model can read; without limit where positions are relative."""
        known = getattr(self.config, "max_position_embeddings", None)
        return 10**9 if known is None else int(known) - self._position_offset

    @property
    def _position_offset(self) -> int:
        """RoBERTa's kind counts positions from behind its padding row."""
        return self.pad + 1 if hasattr(getattr(self.model, "embeddings", None), "padding_idx") else 0

    def _fitted(self, example: Example, limit: int) -> tuple[Ids, bool]:
        """Ids of the text, its longest field shortened from the end until the text has at most `limit` tokens."""
        ids = self._text_ids(example.text)
        cut = len(ids) > limit
        while len(ids) > limit:
            name = max(example.fields, key=lambda field: len(example.fields[field]))
            short = self._shortened(example.fields[name], len(ids) - limit)
            if short == example.fields[name]:
                raise ConfigError(f"the template alone takes more than the {limit} tokens there are for the text")
            example = example.shortened({**example.fields, name: short})
            ids = self._text_ids(example.text)
        return ids, cut

    def _shortened(self, text: str, tokens: int) -> str:
        """The text without (about, and at least one of) its last `tokens` tokens."""
        offsets = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        return text[: offsets[-tokens][0]] if 0 < tokens <= len(offsets) else ""

    def _text_ids(self, text: str) -> Ids:
        return tuple(self.tokenizer(text)["input_ids"])


def by_words(logprobs: Tensor, batch: Batch, ranking: Ranking) -> Judged:
    """Losses and choice scores from [S, B, C, L] log-probabilities of the answers' tokens."""
    real = batch.target_mask.to(logprobs.dtype)
    total = (logprobs * real).sum(-1)  # [S, B, C]
    mean = total / real.sum(-1).clamp(min=1)
    gold = batch.gold.clamp(min=0).expand(mean.shape[:2])[..., None]
    losses = -mean.gather(2, gold).squeeze(2)
    losses = losses.masked_fill(batch.gold < 0, float("nan"))
    ranked = total if ranking == "sum" else mean
    return Judged(losses, ranked.masked_fill(~batch.choice_mask, float("-inf")))


def by_head(states: Tensor, head: Head, batch: Batch) -> Judged:
    """Losses and choice scores from [S, B, R, H] states: a row of the head per choice, or one scalar per row."""
    states = states.to(head.weight.dtype)
    # a linear layer per member, as a classification model has it, so that a single row's scores are its, bit for bit
    each = zip(states, head.weight, head.bias, strict=True)
    scores = torch.stack([F.linear(rows.flatten(0, 1), *layer).view(*rows.shape[:2], -1) for rows, *layer in each])
    logits = scores.squeeze(-1) if scores.shape[-1] == 1 else scores.squeeze(2)  # [S, B, C]
    logits = logits.masked_fill(~batch.choice_mask, float("-inf"))
    gold = batch.gold.clamp(min=0).expand(logits.shape[:2])[..., None]
    losses = -logits.log_softmax(-1).gather(2, gold).squeeze(2)
    return Judged(losses.masked_fill(batch.gold < 0, float("nan")), logits)


def _member(batch: Batch, index: int) -> Batch:
    """One member's own examples; the shared ones where all members read the same."""
    row = slice(index, index + 1) if batch.ids.shape[0] > 1 else slice(None)
    return Batch(**{name: tensor[row] for name, tensor in vars(batch).items()})
