"""The words of every verdict on a claimed difference, the same in tables, pages and figures.

*holds*: the difference is as claimed, beyond chance. *other way*: beyond chance, against the claim. *equivalent within
m*: closer than the margin m, beyond doubt. *inconclusive*: none of these is shown. Where no unit differs at all, that
is said instead: *all n equal*. What was measured without the power to decide has *no verdict*.
"""

from __future__ import annotations

HOLDS = "holds"
OTHER_WAY = "other way"
INCONCLUSIVE = "inconclusive"
NO_VERDICT = "no verdict"
_EQUIVALENT = "equivalent within "


def equivalent(margin: float) -> str:
    """The verdict of equivalence.

    Args:
        margin: in units of the measure.
    """
    return f"{_EQUIVALENT}{margin:g}"


def is_equivalent(verdict: str) -> bool:
    """Whether a verdict is one of equivalence, within whatever margin."""
    return verdict.startswith(_EQUIVALENT)


def all_equal(units: int) -> str:
    """What is said of `units` pairs that do not differ at all."""
    return f"all {units} equal"


def is_all_equal(verdict: str) -> bool:
    """Whether no unit differs at all."""
    return verdict.startswith("all ") and verdict.endswith(" equal")
