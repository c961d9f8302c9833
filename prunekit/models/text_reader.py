"""From strings to token ids: how a tokenizer reads a text, an answer, and the two written together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from prunekit.models import chat
from prunekit.models.batch import Ids
from prunekit.support.errors import ConfigError, DataError
from prunekit.tasks import Example


@dataclass(frozen=True)
class Join:
    """A text alone, and the same text with an answer behind it, as token ids without those that a tokenizer adds."""

    text: Ids
    whole: Ids

    @property
    def merges(self) -> bool:
        """Whether a token reaches over the border, so that no tokens are the answer's own."""
        return self.whole[: len(self.text)] != self.text

    @property
    def border(self) -> int:
        """How many tokens the two begin with in common."""
        pairs = zip(self.text, self.whole, strict=False)
        shorter = min(len(self.text), len(self.whole))
        return next((index for index, (alone, both) in enumerate(pairs) if alone != both), shorter)

    @property
    def answer(self) -> Ids:
        """The answer's tokens; none where the border is merged."""
        return () if self.merges else self.whole[len(self.text) :]


class TextReader:
    """A tokenizer as prunekit uses it.

    Attributes:
        closes: whether a text keeps the closing ones (behind a decoder's text they would tell the model that all is
            over before the answer).
    """

    def __init__(self, tokenizer: Any, *, closes: bool) -> None:
        self.tokenizer, self.closes = tokenizer, closes

    def in_chat(self, example: Example) -> Example:
        """An example of a chat as it is read: its template the whole conversation, up to where the answer stands.

        The prompt stands before all of it, or as a suffix right before the answer.

        Raises:
            ConfigError: where the tokenizer has no chat template, or that one writes no such conversation.
        """
        if not example.chat:
            return example
        saying = example.template, example.turns
        if saying not in self._conversations:
            self._conversations[saying] = chat.written(self.tokenizer, *saying)
        choices = tuple(choice.lstrip() for choice in example.choices)
        template = self._conversations[saying]
        return replace(example, template=template, choices=choices, separator="", chat=False, turns=(), whole=True)

    def ids(self, texts: Sequence[str], *, plain: bool) -> list[Ids]:
        """The tokens of texts, without those that the tokenizer adds around them.

        Args:
            plain: special tokens that a text holds, such as "</s>", are read as any other text.
        """
        return self._read(text=list(texts), add_special_tokens=False, split_special_tokens=plain)

    def targets(self, words: Sequence[str], *, plain: bool) -> list[Ids]:
        """Answers as an encoder-decoder was trained to write them, with what the tokenizer adds around them."""
        return self._read(text_target=list(words), split_special_tokens=plain)

    def framed(self, ids: Ids) -> Ids:
        """The tokens of a text between those that the tokenizer adds around it."""
        return self.opening + ids + (self.closing if self.closes else ())

    @property
    def frame(self) -> int:
        """How many tokens stand around a text."""
        return len(self.framed(()))

    @property
    def opening(self) -> Ids:
        """The special tokens before every text."""
        return self._added[0]

    @property
    def closing(self) -> Ids:
        """The special tokens that the tokenizer adds behind every text."""
        return self._added[1]

    def token_names(self, ids: Ids) -> list[str]:
        """The tokenizer's names of tokens, printable in one line, blanks as U+2423."""
        return [_visible(str(token)) for token in self.tokenizer.convert_ids_to_tokens(list(ids))]

    def decoded(self, ids: Ids) -> str:
        """The text that tokens stand for."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def written(self, ids: Ids) -> str:
        """The text that a model wrote, without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def shortened(self, text: str, tokens: int, *, plain: bool) -> str:
        """The text without (about, and at least one of) its last `tokens` tokens."""
        options = dict(add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=plain, verbose=False)
        offsets = self.tokenizer(text, **options)["offset_mapping"]
        return text[: offsets[-tokens][0]] if 0 < tokens <= len(offsets) else ""

    def special(self, ids: Ids) -> list[int]:
        """Which of the ids are special tokens; the unknown token and tokens that are words or marks do not count."""
        return [] if self._special.isdisjoint(ids) else [token for token in ids if token in self._special]

    def content(self, ids: Ids) -> Ids:
        """The tokens that are more than a blank."""
        return tuple(token for token in ids if not self._is_blank(token))

    @cached_property
    def unknown(self) -> int | None:
        """The id of the unknown token, or None where the tokenizer can read anything."""
        rules = self.tokenizer.backend_tokenizer
        if not hasattr(rules.model, "unk_token"):  # a unigram model does not say it
            return None if self.tokenizer.unk_token_id is None else int(self.tokenizer.unk_token_id)
        token = rules.model.unk_token
        return None if token is None else rules.token_to_id(token)

    @cached_property
    def most_id(self) -> int:
        """The largest id that the tokenizer may give."""
        return int(max(self.tokenizer.get_vocab().values()))

    @cached_property
    def _special(self) -> frozenset[int]:
        names = {index: token.content for index, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        names |= zip(self.tokenizer.all_special_ids, self.tokenizer.all_special_tokens, strict=True)
        ends = {getattr(self.tokenizer, f"{name}_token_id") for name in ("bos", "eos", "cls", "sep")}
        # what is unknown may stand in any text, unless the same token also ends one
        candidates = names.keys() - ({self.unknown} - ends)
        # a word or a mark ("!" for padding, a newline for the end) stands in texts as what it is
        return frozenset(token for token in candidates if len(names[token]) > 2 and not names[token].isalnum())

    @cached_property
    def _added(self) -> tuple[Ids, Ids]:
        """What the tokenizer adds before and behind a text, seen on one that it can read."""
        for text in ("a", "1", *self.tokenizer.get_vocab()):
            try:
                encoded = self.tokenizer(text, return_special_tokens_mask=True)
            except Exception:  # noqa: S112 (a tokenizer may refuse any word; the next is tried)
                continue
            ids, added = tuple(encoded["input_ids"]), list(encoded["special_tokens_mask"])
            if 0 in added:
                first, last = added.index(0), len(added) - added[::-1].index(0)
                return ids[:first], ids[last:]
        raise ConfigError("the tokenizer reads no text at all; check that its vocabulary is not empty")

    def _read(self, **arguments: Any) -> list[Ids]:
        if [] in arguments.values():
            return []
        try:
            return [tuple(ids) for ids in self.tokenizer(**arguments, verbose=False)["input_ids"]]
        except Exception as error:  # what the tokenizers library raises is a bare Exception
            raise DataError(f"the model's tokenizer cannot read these texts: {' '.join(str(error).split())}") from error

    def _is_blank(self, token: int) -> bool:
        if token not in self._blanks:
            self._blanks[token] = not self.decoded((token,)).strip()
        return self._blanks[token]

    @cached_property
    def _blanks(self) -> dict[int, bool]:
        return {}

    @cached_property
    def _conversations(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], str]:
        return {}


def _visible(token: str) -> str:
    characters = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in token)
    return "".join(characters).replace(" ", "\u2423")
