"""The page of all architectures."""

from collections import Counter


def counted(found):
    return str(Counter(one.outcome for one in found))
