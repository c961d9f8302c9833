"""From examples to token ids: texts cut to what there is room for, answers as they are read behind them, all checked.

An answer's tokens are those that it has where text, separator and answer are written together, as a model met them in
pretraining. What a row says is plain text, also where it says "</s>"; special tokens are meant where the author of a
task wrote them: in its template or its fixed answers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from prunekit.models import answers
from prunekit.models.batch import Encoded, Ids
from prunekit.models.text_reader import Join, TextReader
from prunekit.support.errors import ConfigError, DataError, PrunekitError
from prunekit.tasks import SEPARATORS, Example
from prunekit.tasks.example import literals

# answers are read "behind" the text, "apart" from it (an encoder-decoder's), or not at all, where a "head" answers
AnswerPlace = Literal["behind", "apart", "head"]

# texts that are tokenised at once: many, since a tokenizer spreads them over cores, and few enough to fit in memory
_AT_ONCE = 1000
# characters of a text's end that a message shows
_SHOWN = 20


@dataclass(frozen=True)
class EncodingOptions:
    """What is asked of the texts and answers of a task.

    Attributes:
        answer_place: how its answers are read.
        own_choices: whether they are each example's own, and so a row's words.
        by_sum: whether answers are ranked by the sum of their tokens' log-probabilities.
        text_tokens: most tokens of a text.
        row_tokens: most of a text and its longest answer together, or of a text alone where answers are read apart.
        rows: how many ids the model has embeddings for.
        end: the token that ends a target, where it is not added by the tokenizer; None where there is none.
    """

    answer_place: AnswerPlace
    own_choices: bool
    by_sum: bool = True
    text_tokens: int = 10**9
    row_tokens: int = 10**9
    rows: int = 10**9
    end: int | None = None


@dataclass(frozen=True)
class _Fitted:
    """An example that is short enough, with the ids of its text and its answers."""

    example: Example
    text: Ids
    answers: tuple[Ids, ...] = ()
    target_cut: bool = False

    @property
    def longest(self) -> int:
        return max(map(len, self.answers), default=0)


def encode(reader: TextReader, examples: Iterable[Example], options: EncodingOptions) -> list[Encoded]:
    """Token ids of examples; a text over the limits loses the end of its longest field.

    Raises:
        ConfigError: in one line where an answer cannot be read, be told from another or ever win, where text and answer
            share a token, or where a row holds what cannot be read as plain text.
        DataError: in one line where an answer cannot be read, be told from another or ever win, where text and answer
            share a token, or where a row holds what cannot be read as plain text.
    """
    rows: list[Encoded] = []
    for encoder, chunk in _by_author(reader, examples, options):
        rows += encoder.encoded(chunk)
    return rows


def text_lengths(reader: TextReader, examples: Iterable[Example], options: EncodingOptions) -> list[int]:
    """How many tokens each text has before it is cut."""
    lengths: list[int] = []
    for encoder, chunk in _by_author(reader, examples, options):
        lengths += [encoder.frame + len(ids) for ids in encoder.texts(chunk)]
    return lengths


def _by_author(
    reader: TextReader, examples: Iterable[Example], options: EncodingOptions
) -> Iterator[tuple[TaskEncoder, list[Example]]]:
    """Examples of one author's words, some at once."""

    def words(example: Example) -> tuple[str, ...]:
        return (example.template, *(() if options.own_choices else example.choices))

    for _, group in groupby(map(reader.in_chat, examples), words):
        alike = list(group)
        encoder = TaskEncoder(reader, alike[0], options)
        for start in range(0, len(alike), _AT_ONCE):
            yield encoder, alike[start : start + _AT_ONCE]


class TaskEncoder:
    """The template and answers of a task, as its tokenizer reads them.

    Attributes:
        plain: whether special tokens are read as any other text, since the author of the task means none.
        frame: how many tokens are put around a text.
    """

    def __init__(self, reader: TextReader, example: Example, options: EncodingOptions) -> None:
        self.reader, self.options = reader, options
        self.frame = 0 if example.whole else reader.frame
        words = [] if options.own_choices else list(example.choices)
        self._special_in_template = sum(
            len(reader.special(ids)) for ids in reader.ids(literals(example.template), plain=False)
        )
        counts = [len(reader.special(ids)) for ids in reader.ids(words, plain=False)]
        self._special_in_answer = dict(zip(words, counts, strict=True))
        self.plain = not self._special_in_template and not any(counts)
        self._accepted: set[tuple[Ids, ...]] = set()
        self._apart_targets: dict[str, Ids] = {}

    def encoded(self, examples: Sequence[Example]) -> list[Encoded]:
        """Examples as token ids, cut, joined and checked."""
        texts = self.texts(examples)
        for example, text in zip(examples, texts, strict=True):
            self._check_text(example, text)
        answer_tokens = self._answer_tokens(examples)
        fitted = [
            self._cut(example, text, tokens)
            for example, text, tokens in zip(examples, texts, answer_tokens, strict=True)
        ]
        rows = [self._fit_again(self._target_fitted(row)) for row in self._answered(fitted)]
        for row in rows:
            self._check_ids(row)
            self._check_answers(row)
        return [self._row(*pair) for pair in zip(examples, rows, strict=True)]

    def texts(self, examples: Sequence[Example]) -> list[Ids]:
        """The ids of whole texts, without those added around them."""
        return self._ids([self._text(example) for example in examples])

    def joins(self, examples: Sequence[Example], texts: Sequence[Ids] | None = None) -> list[list[Join]]:
        """Text and answer of every choice, read together."""
        texts = self._ids([example.before for example in examples]) if texts is None else texts
        whole = iter(self._ids([example.joined(choice) for example in examples for choice in example.choices]))
        return [
            [Join(text, next(whole)) for _ in example.choices] for example, text in zip(examples, texts, strict=True)
        ]

    def alone(self, words: Sequence[str]) -> list[Ids]:
        """The tokens of answers that no text stands before; an encoder-decoder's with those added around them."""
        return self._targets(words) if self.options.answer_place == "apart" else self._ids(words)

    def faults(self, example: Example) -> list[str]:
        """Everything about an example's answers for which it is refused, a line each; its text is taken as it is."""
        if self.options.answer_place == "head":
            return []
        if self.options.answer_place == "apart":
            return self._faults(example, self._targets(example.choices))
        joins = self.joins([example])[0]
        merged = [
            self._merge_error(example, *pair) for pair in zip(example.choices, joins, strict=True) if pair[1].merges
        ]
        return merged or self._faults(example, [join.answer for join in joins])

    # ---- texts

    def _ids(self, texts: Sequence[str]) -> list[Ids]:
        return self.reader.ids(texts, plain=self.plain)

    def _text(self, example: Example) -> str:
        """What stands before an answer, or all of the text where none is read behind it."""
        return example.before if self.options.answer_place == "behind" else example.text

    def _check_text(self, example: Example, text: Ids) -> None:
        special = self.reader.special(text)
        if len(special) == self._special_in_template:
            return
        fields = [self.reader.special(ids) for ids in self._ids(list(example.fields.values()))]
        name, ids = next((pair for pair in zip(example.fields, fields, strict=True) if pair[1]), ("", special))
        where = f'the field "{name}"' if name else "its text"
        raise DataError(f"example {example.index}: {where} {self._is_special(ids)}")

    def _is_special(self, ids: Sequence[int]) -> str:
        token = " ".join(self.reader.token_names(tuple(ids[:1])))
        return (
            f"says {json.dumps(token, ensure_ascii=False)}, which the model's tokenizer can only read as a special "
            "token; write it otherwise, or take it out"
        )

    def _cut(self, example: Example, text: Ids, answer_tokens: int) -> _Fitted:
        """The example, its longest field shortened from the end until the text leaves `taken` tokens."""
        room = max(0, min(self.options.text_tokens, self.options.row_tokens - self._beside(answer_tokens)))
        while (excess := self.frame + len(text) - room) > 0:
            name = max(example.fields, key=lambda field: len(example.fields[field]))
            shortened = self.reader.shortened(example.fields[name], excess, plain=self.plain)
            if shortened == example.fields[name]:
                raise ConfigError(f"the template alone takes more than the {room} tokens there are for the text")
            example = example.shortened({**example.fields, name: shortened})
            (text,) = self._ids([self._text(example)])
        return _Fitted(example, text)

    def _beside(self, answer_tokens: int) -> int:
        """What an answer takes of a row: nothing where a decoder of its own reads it."""
        return 0 if self.options.answer_place == "apart" else answer_tokens

    # ---- answers

    def _answer_tokens(self, examples: Sequence[Example]) -> list[int]:
        """About how many tokens each example's longest answer takes; exactly where it is read apart."""
        if self.options.answer_place == "head":
            return [0] * len(examples)
        if examples[0].open:
            return [example.target_tokens for example in examples]
        words = list(dict.fromkeys(choice for example in examples for choice in example.choices))
        lengths = dict(zip(words, map(len, self.alone(words)), strict=True))
        return [max((lengths[choice] for choice in example.choices), default=0) for example in examples]

    def _answered(self, rows: Sequence[_Fitted]) -> list[_Fitted]:
        """The same with the ids of their answers."""
        if self.options.answer_place == "head":
            return [replace(row, answers=((),) * len(row.example.choices)) for row in rows]
        if self.options.answer_place == "apart":
            return [replace(row, answers=tuple(self._targets(row.example.choices))) for row in rows]
        joins = self.joins([row.example for row in rows], [row.text for row in rows])
        return [
            replace(row, answers=self._answers_behind(row.example, row_joins))
            for row, row_joins in zip(rows, joins, strict=True)
        ]

    def _answers_behind(self, example: Example, joins: Sequence[Join]) -> tuple[Ids, ...]:
        for choice, join in zip(example.choices, joins, strict=True):
            if join.merges:
                raise self._error(example, self._merge_error(example, choice, join))
        return tuple(join.answer for join in joins)

    def _target_fitted(self, row: _Fitted) -> _Fitted:
        """An open row whose target ends, or is cut where it is too long; any other as it is."""
        if not row.example.open or not row.answers:
            return row
        (target,) = row.answers
        end = () if self.options.end is None or self.options.answer_place == "apart" else (self.options.end,)
        whole, most = target + end, row.example.target_tokens
        return replace(row, answers=(whole[:most],), target_cut=len(whole) > most)

    def _fit_again(self, row: _Fitted) -> _Fitted:
        """The row cut further where its answers turned out to be longer than they are alone."""
        if row.example.open:  # room for the longest was left
            return row
        while self.frame + len(row.text) + self._beside(row.longest) > self.options.row_tokens:
            (row,) = self._answered([self._cut(row.example, row.text, row.longest)])
        return row

    def _targets(self, words: Sequence[str]) -> list[Ids]:
        """Answers read apart, each once."""
        new_words = [word for word in dict.fromkeys(words) if word not in self._apart_targets]
        self._apart_targets |= zip(new_words, self.reader.targets(new_words, plain=self.plain), strict=True)
        return [self._apart_targets[word] for word in words]

    # ---- what is wrong with them

    def _check_answers(self, row: _Fitted) -> None:
        if self.options.answer_place == "head" or row.answers in self._accepted:
            return
        lines = self._faults(row.example, row.answers)
        if lines:
            raise self._error(row.example, lines[0])
        self._accepted.add(row.answers)

    def _faults(self, example: Example, ids: Sequence[Ids]) -> list[str]:
        if example.open:  # cut or ended, its ids are no longer what its words say
            ids = self._targets(example.choices) if self.options.answer_place == "apart" else self._ids(example.choices)
        bare = (
            self._ids(example.choices) if self.options.answer_place == "apart" else ids
        )  # without what is added around them
        for choice, answer in zip(example.choices, bare, strict=True):
            special = self.reader.special(answer)
            if len(special) != self._special_in_answer.get(choice, 0):
                return [f"{answers.named([choice])} {self._is_special(special)}"]
        contents = [self.reader.content(answer) for answer in bare]
        return answers.faults(example.choices, ids, contents, self.reader, by_sum=self.options.by_sum)

    def _merge_error(self, example: Example, choice: str, join: Join) -> str:
        end, token = example.before[-_SHOWN:], self.reader.decoded(join.whole[join.border : join.border + 1])
        quoted = [json.dumps(text, ensure_ascii=False) for text in (end, token)]
        return (
            f"{answers.named([choice])}: behind {quoted[0]} the model's tokenizer joins text and answer to one token, "
            f"{quoted[1]}; {self._advice(example)}"
        )

    def _advice(self, example: Example) -> str:
        """What to write between text and answers, found by trying."""
        words = [choice.lstrip() for choice in example.choices]
        separators = () if example.whole else SEPARATORS
        (text,) = self._ids([example.before])
        for separator in separators:
            joins = [Join(text, whole) for whole in self._ids([example.before + separator + word for word in words])]
            ids = [join.answer for join in joins]
            if not any(join.merges for join in joins) and not self._faults(replace(example, choices=tuple(words)), ids):
                changes = [] if example.before == example.text else ["end the template without a blank or newline"]
                changes += [] if words == list(example.choices) else ["begin the answers without one"]
                return ", ".join([*changes, f"set separator = {json.dumps(separator)} in the task file"])
        return "use other answers" if example.whole else "end the template in another mark, or use other answers"

    def _check_ids(self, row: _Fitted) -> None:
        if self.reader.most_id < self.options.rows:
            return
        unknown_ids = [token for ids in (row.text, *row.answers) for token in ids if token >= self.options.rows]
        if unknown_ids:
            (token,) = self.reader.token_names((unknown_ids[0],))
            raise ConfigError(
                f"example {row.example.index}: the tokenizer reads {json.dumps(token, ensure_ascii=False)} as id "
                f"{unknown_ids[0]}, and the model has embeddings for ids up to {self.options.rows - 1}; give it the "
                "tokenizer that it was trained with, or resize and train its embeddings first"
            )

    def _error(self, example: Example, line: str) -> PrunekitError:
        if self.options.own_choices:
            return DataError(f"example {example.index}: {line}")
        return ConfigError(line)

    def _row(self, example: Example, row: _Fitted) -> Encoded:
        gold, right = (example.gold[0], example.gold) if example.gold else (-1, ())
        cut = row.example is not example
        text = row.text if example.whole else self.reader.framed(row.text)
        if not text and self.options.answer_place == "behind":
            raise DataError(
                f"example {example.index}: its text is empty, and the model's tokenizer puts nothing before it that an "
                "answer could be read behind; fill it, or begin the template with a word"
            )
        own = self.options.own_choices
        return Encoded(example.index, text, row.answers, gold, own, cut, row.target_cut, right=right)
