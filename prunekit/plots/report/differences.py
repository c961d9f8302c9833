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
    first, second = (re.findall(r"\s*\S+|\s+$", text) for text in (before, after))
    # one word is another whatever blank stands before it
    matcher = SequenceMatcher(None, _stripped(first), _stripped(second), autojunk=False)
    pieces: tuple[list[Piece], list[Piece]] = ([], [])
    for kind, start, end, start_after, end_after in matcher.get_opcodes():
        pieces[0].extend(_pieces(first[start:end], "" if kind == "equal" else "del"))
        pieces[1].extend(_pieces(second[start_after:end_after], "" if kind == "equal" else "ins"))
    return pieces


def _stripped(words: Sequence[str]) -> list[str]:
    return [word.strip() for word in words]


def _pieces(words: Sequence[str], only: Literal["", "del", "ins"]) -> list[Piece]:
    """One piece, the blanks before it outside of its mark."""
    text = "".join(words)
    blanks = text[: len(text) - len(text.lstrip())]
    parts = [Piece(blanks), Piece(text[len(blanks) :], only)] if only else [Piece(text)]
    return [part for part in parts if part.text]
