"""The right answers to an open question, as a row holds them."""

from __future__ import annotations

from dataclasses import replace

from prunekit.support.errors import DataError
from prunekit.tasks import fields
from prunekit.tasks.example import Example, placeholders
from prunekit.tasks.fields import Row


def references_of(row: Row, target: str, where: str) -> tuple[str, ...]:
    """Every reference of a row, none twice; none at all where it has no label.

    Args:
        row: with the fields that the target names; one of them may hold a list of texts, a reference each.
        target: text with {field} placeholders.
        where: what names the row in errors.

    Raises:
        DataError: where a reference is empty, or several fields hold lists.
    """
    names = placeholders(target)
    contents = {name: fields.optional_value(row, name, where) for name in names}
    if any(content is None or content == [] for content in contents.values()):
        return ()
    listed = [name for name, content in contents.items() if isinstance(content, list)]
    if len(listed) > 1:
        raise DataError(f'{where}: "{listed[0]}" and "{listed[1]}" both hold lists; a target takes one of them')
    texts = {name: fields.written(row, name, where) for name in names if name not in listed}
    variants = [{name: text} for name in listed for text in fields.texts(row, name, where)] or [{}]
    references = [target.format_map(texts | variant).strip() for variant in variants]
    if "" in references:
        raise DataError(f"{where}: a reference is empty; leave it out, or write what an empty answer is called")
    return tuple(dict.fromkeys(references))


def with_target(example: Example, target: str) -> Example:
    """An open example that is trained on one of its references."""
    return replace(example, choices=(target,), gold=(0,))


def as_open(example: Example, target_tokens: int) -> Example:
    """An example with choices, made open: the right ones are its references, and the first is trained on.

    Args:
        target_tokens: most tokens of what the model writes.
    """
    references = tuple(example.choices[gold] for gold in example.gold)
    return replace(
        example,
        choices=references[:1],
        gold=(0,)[: len(references)],
        references=references,
        target_tokens=target_tokens,
    )
