"""The few row transforms a task may name: from a row as published to flat rows that a template can use.

Each takes one row and yields one or more flat rows, and accepts both the official JSONL form and the flatter form
of the Hub. `where` names the row in errors.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from prunekit.support.errors import DataError
from prunekit.tasks import fields
from prunekit.tasks.fields import Row

TransformName = Literal["none", "mark_spans", "flatten_multirc", "flatten_record", "squad_answers", "nearest_fifth"]

_HIGHLIGHT = "@highlight"
_NEARBY = 2  # words by which a published WSC index may be off: a few are, all by less


def flat_rows(name: TransformName, row: Row, where: str) -> Iterator[dict[str, Any]]:
    """The flat rows that one row stands for, in order.

    Raises:
        DataError: naming the row and what is wrong with it.
    """
    return _TRANSFORMS[name](row, where)


def _none(row: Row, where: str) -> Iterator[dict[str, Any]]:
    yield dict(row)


def _mark_spans(row: Row, where: str) -> Iterator[dict[str, Any]]:
    """WSC: *span1* and #span2# in `text`; WiC: the *word* in `sentence1` and `sentence2`."""
    if "start1" in row or "sentence1" in row:
        yield {**row, **{f"sentence{n}": _mark_characters(row, n, where) for n in (1, 2)}}
        return
    target = row["target"] if isinstance(row.get("target"), Mapping) else row
    words = {f"span{n}_text": fields.text(target, f"span{n}_text", where) for n in (1, 2)}
    yield {**row, **words, "text": _mark_words(row, target, where)}


def _mark_characters(row: Row, n: int, where: str) -> str:
    text = fields.text(row, f"sentence{n}", where)
    start, end = fields.whole(row, f"start{n}", where), fields.whole(row, f"end{n}", where)
    word = text[start:end]
    if start < 0 or end > len(text) or not word or word != word.strip():
        raise DataError(f"{where}: start{n} = {start} and end{n} = {end} do not enclose a word of {text!r}")
    return f"{text[:start]}*{word}*{text[end:]}"


def _mark_words(row: Row, target: Row, where: str) -> str:
    text = fields.text(row, "text", where)
    spans = [(*_find_span(text, target, n, where), sign) for n, sign in ((1, "*"), (2, "#"))]
    return _marked(text, spans)


def _marked(text: str, spans: list[tuple[int, int, str]]) -> str:
    """The text with a sign before and after each span; one may lie in another ("their" in "their mothers")."""
    signs = []
    for start, end, sign in spans:
        signs += [(start, 1, -end, sign), (end, 0, -start, sign)]  # where two meet: close before open, outer outside
    for offset, _, _, sign in sorted(signs, reverse=True):  # from the right, so that offsets on the left stay true
        text = f"{text[:offset]}{sign}{text[offset:]}"
    return text


def _find_span(text: str, target: Row, n: int, where: str) -> tuple[int, int]:
    """Character start and end of a span given by the index of its first word and its text.

    The index counts blank-separated words, which may carry punctuation that the span has not ('him,"' for "him").
    """
    index, span = fields.whole(target, f"span{n}_index", where), fields.text(target, f"span{n}_text", where)
    starts = [word.start() for word in re.finditer(r"\S+", text)]
    pattern = r"(?<!\w)" + r"\s+".join(re.escape(word) for word in span.split()) + r"(?!\w)"
    matches = []
    for match in re.finditer(pattern, text, flags=re.IGNORECASE) if span.strip() else ():
        distance = abs(sum(start <= match.start() for start in starts) - 1 - index)
        matches.append((distance, match.start(), match.end()))
    if not matches or min(matches)[0] > _NEARBY:
        raise DataError(f"{where}: span{n}_text = {span!r} is not at word {index} of {text!r}")
    return min(matches)[1:]


def _flatten_multirc(row: Row, where: str) -> Iterator[dict[str, Any]]:
    """One row per answer: paragraph, question, answer, label, and the question as group."""
    if "paragraph" in row:  # the Hub's form is flat already
        yield {**row, "group": _multirc_group(row, where)}
        return
    passage = fields.table(row, "passage", where)
    text = fields.text(passage, "text", where)
    for number, question in enumerate(fields.tables(passage, "questions", where)):
        question_text = fields.text(question, "question", where)
        # without an official idx the text names the paragraph, so that carving does not depend on row order
        group = f"{_idx(row, text)}-{_idx(question, number)}"
        for answer in fields.tables(question, "answers", where):
            answer_text, label = fields.text(answer, "text", where), answer.get("label")
            yield {"paragraph": text, "question": question_text, "answer": answer_text, "label": label, "group": group}


def _multirc_group(row: Row, where: str) -> str:
    idx = row.get("idx")
    if isinstance(idx, Mapping) and {"paragraph", "question"} <= idx.keys():
        return f"{idx['paragraph']}-{idx['question']}"
    return _digest([fields.text(row, "paragraph", where), fields.text(row, "question", where)])


def _idx(row: Row, otherwise: str | int) -> str:
    idx = row.get("idx")
    if idx is not None:
        return str(idx)
    return _digest(otherwise) if isinstance(otherwise, str) else str(otherwise)


def _flatten_record(row: Row, where: str) -> Iterator[dict[str, Any]]:
    """One row per query: passage, query, the distinct entities (sorted, so both forms agree), and the answers."""
    if "qas" not in row:  # the Hub's form: one query a row, entities and answers as texts
        passage, entities = fields.text(row, "passage", where), fields.texts(row, "entities", where)
        answers = fields.texts(row, "answers", where) if row.get("answers") else []
        yield {**row, **_record(passage, entities, answers)}
        return
    source = fields.table(row, "passage", where)
    passage = fields.text(source, "text", where)
    entities = [_slice(passage, entity, where) for entity in fields.tables(source, "entities", where)]
    for query in fields.tables(row, "qas", where):
        listed = fields.tables(query, "answers", where) if query.get("answers") else []  # none where labels are hidden
        answers = [fields.text(answer, "text", where) for answer in listed]
        yield {"query": fields.text(query, "query", where), **_record(passage, entities, answers)}


def _record(passage: str, entities: list[str], answers: list[str]) -> dict[str, Any]:
    distinct = sorted({entity.strip() for entity in entities} - {""})
    return {"passage": _clean(passage), "entities": distinct, "answers": [answer.strip() for answer in answers]}


def _slice(text: str, entity: Row, where: str) -> str:
    start, end = fields.whole(entity, "start", where), fields.whole(entity, "end", where)
    if not 0 <= start <= end < len(text):  # `end` is the last character, not one past it
        raise DataError(f"{where}: entity {start}..{end} lies outside the passage of {len(text)} characters")
    return text[start : end + 1]


def _clean(passage: str) -> str:
    """The passage with its highlight lines joined as sentences."""
    parts = [part.strip() for part in passage.split(_HIGHLIGHT)]
    ended = [part if part.endswith((".", "!", "?", '"', "'")) else f"{part}." for part in parts if part]
    return " ".join(ended) if len(parts) > 1 else passage


def _squad_answers(row: Row, where: str) -> Iterator[dict[str, Any]]:
    """SQuAD: the texts of `answers`, which the official form and the Hub's wrap in tables, as a list."""
    answers = row.get("answers")
    if isinstance(answers, Mapping):  # the Hub's form: one table of two columns
        yield {**row, "answers": fields.texts(answers, "text", where)}
    elif isinstance(answers, list) and any(isinstance(answer, Mapping) for answer in answers):
        yield {
            **row,
            "answers": [fields.text(answer, "text", where) for answer in fields.tables(row, "answers", where)],
        }
    else:
        yield dict(row)


def _nearest_fifth(row: Row, where: str) -> Iterator[dict[str, Any]]:
    """STS-B: the label as one of the 26 texts 0.0, 0.2, ... 5.0 (T5's rounding); a hidden one stays as it is."""
    label = fields.optional_value(row, "label", where)
    if label is None or label == -1:
        yield dict(row)
        return
    try:
        fifths = round(5 * float(label))
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{where}: the label {label!r} is not a number from 0 to 5") from None
    yield {**row, "label": f"{fifths / 5:.1f}"}


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


_TRANSFORMS: dict[TransformName, Callable[[Row, str], Iterator[dict[str, Any]]]] = {
    "none": _none,
    "mark_spans": _mark_spans,
    "flatten_multirc": _flatten_multirc,
    "flatten_record": _flatten_record,
    "squad_answers": _squad_answers,
    "nearest_fifth": _nearest_fifth,
}
