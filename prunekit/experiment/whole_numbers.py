"""Whole numbers of settings, as users write them, each with its bounds."""

from __future__ import annotations

import operator
import re
from typing import Annotated, Any

from pydantic import BeforeValidator

#: Tables and files hold whole numbers of 64 bits.
LARGEST = 2**63 - 1
_WHOLE = re.compile(r"[+-]?[0-9]+(_[0-9]+)*")
_EPOCHS = re.compile(r"([1-9][0-9]{0,5}) epochs?")


def within(least: int, most: int, why: str) -> BeforeValidator:
    """A whole number from `least` to `most`; anything else is refused with the bounds.

    Args:
        why: what forbids more, in a few words.
    """

    def check(value: Any) -> int:
        number = whole(value)
        if number is None:
            raise ValueError(f"give a whole number from {least:,} to {most:,}, in digits alone")
        if number < least:
            raise ValueError(f"{least:,} is the least; give a whole number up to {most:,}")
        if number > most:
            raise ValueError(f"{most:,} is the most: {why}")
        return number

    return BeforeValidator(check)


def whole(value: Any) -> int | None:
    """The whole number that is meant; None for text that is none, and for numbers with a point."""
    if isinstance(value, str):
        text = value.strip()
        if not _WHOLE.fullmatch(text):
            return None
        return int(text[:40])  # Python reads no more than some thousand digits; 40 are beyond every bound
    return operator.index(value) if hasattr(value, "__index__") and not isinstance(value, bool) else None


def _epochs(value: Any) -> str:
    """A number of epochs in its one spelling."""
    match = _EPOCHS.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError('say epochs as "100 epochs"')
    return f"{match[1]} epoch{'' if match[1] == '1' else 's'}"


Epochs = Annotated[str, BeforeValidator(_epochs)]
Updates = Annotated[int, within(1, 10_000_000, "so many updates of a prompt take years")]
Examples = Annotated[int, within(1, 1_000_000_000, "no data set has more")]
# a factor wider than any model's embeddings
Factor = Annotated[int, within(1, 65_536, "no model is wider")]
Seed = Annotated[int, within(0, LARGEST, "tables hold whole numbers of 64 bits")]
