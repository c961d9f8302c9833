"""An answer's words as SQuAD compares them (Rajpurkar et al. 2016; T5 and MRQA do the same)."""

from __future__ import annotations

import re
import string
from collections import Counter

_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(answer: str) -> str:
    """Lower case, without punctuation, articles and repeated blanks, in SQuAD's order."""
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", answer.lower().translate(_PUNCTUATION)).split())


def overlap(answer: str, reference: str) -> tuple[int, int, int]:
    """How many words of the two are the same, each counted as often as both have it; how many each has."""
    words, reference_words = Counter(normalised(answer).split()), Counter(normalised(reference).split())
    return (words & reference_words).total(), words.total(), reference_words.total()
