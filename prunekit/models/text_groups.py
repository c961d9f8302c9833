"""Texts that a decoder reads in one pass: cut by the data alone, so that who asks for them, and when, changes no byte.

Rows of a matrix product are rounded by how many stand in it. What is kept of a text therefore depends on the texts that
were read with it; a group names them, and is the same for a run that was never interrupted and for one that was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from prunekit.models.batch import Encoded, Ids, TextGroup
from prunekit.support.digest import identity

# tokens of a group, padding included: with more, two cores read no quicker (SmolLM2, 256 texts of SST-2, one core: a
# text takes 197 ms alone, 79, 76, 68, 76 and 85 in groups of 128, 256, 512, 768 and 1,024 tokens)
_TOKENS = 512


@dataclass(frozen=True)
class TextKey:
    """What the states of a text are kept under: its ids, and the group that it is read with, None where it is alone."""

    text: Ids
    group: TextGroup | None = None

    @property
    def company(self) -> list[TextKey]:
        """All that is read in one pass with this text, itself included."""
        return [self] if self.group is None else [TextKey(text, self.group) for text in self.group.texts]


def grouped(examples: Sequence[Encoded]) -> list[Encoded]:
    """The examples of a split, each with the group of its text: texts of like length, in an order of their own."""
    texts = sorted({example.text for example in examples if example.text}, key=lambda text: (len(text), text))
    groups = {text: group for group in map(_named, _cut(texts)) for text in group.texts}
    return [replace(example, group=groups.get(example.text)) for example in examples]


def whole_groups(missing: Sequence[TextKey]) -> Iterator[list[TextKey]]:
    """The groups that hold what is missing, each once."""
    covered: set[TextKey] = set()
    for key in missing:
        if key not in covered:
            covered.update(key.company)
            yield key.company


def _cut(texts: Sequence[Ids]) -> Iterator[list[Ids]]:
    """Texts in ascending length, in groups of about as many tokens; a longer one is alone."""
    group: list[Ids] = []
    for text in texts:
        if group and (len(group) + 1) * len(text) > _TOKENS:
            yield group
            group = []
        group.append(text)
    if group:
        yield group


def _named(texts: Sequence[Ids]) -> TextGroup:
    return TextGroup(tuple(texts), identity(texts, 32))
