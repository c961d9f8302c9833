"""Where two texts differ, word by word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Literal

from prunekit.plots.report.page_parts import Piece


def marked(before: str, after: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces, which joined are the texts again; what only one of them has is marked there.

    Words are what stands between blanks; blanks differ where the words around them do.
    """
    words = [re.findall(r"\s*\S+|\s+$", text) for text in (before, after)]
    # one word is another whatever blank stands before it
    matcher = SequenceMatcher(None, *([word.strip() for word in each] for each in words), autojunk=False)
    pieces: tuple[list[Piece], list[Piece]] = ([], [])
    for kind, *ends in matcher.get_opcodes():
        same = kind == "equal"
        for side, (start, end), only in zip((0, 1), (ends[:2], ends[2:]), _ONLY, strict=True):
            pieces[side].extend(_pieces(words[side][start:end], "" if same else only))
    return pieces


_ONLY: tuple[Literal["del"], Literal["ins"]] = ("del", "ins")


def _pieces(words: Sequence[str], only: Literal["", "del", "ins"]) -> list[Piece]:
    """One piece, the blanks before it outside of its mark."""
    text = "".join(words)
    blanks = text[: len(text) - len(text.lstrip())]
    parts = [Piece(blanks), Piece(text[len(blanks) :], only)] if only else [Piece(text)]
    return [part for part in parts if part.text]
