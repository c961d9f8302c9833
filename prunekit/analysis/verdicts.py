"""The words of every verdict on a claimed difference, and what each takes; the same in tables, pages and figures.

*holds*: the difference is as claimed, beyond chance. *other way*: beyond chance, against the claim. *equivalent within
m*: closer than the margin m, beyond doubt, on tasks that do not differ by more. *inconclusive*: none of these is
found. Where no unit differs at all, that is said instead: *all n equal*. What was measured without the power to decide
has *no verdict*.
"""

from __future__ import annotations

from prunekit.support.inference import ALPHA, FEWEST, Inference

HOLDS = "holds"
OTHER_WAY = "other way"
INCONCLUSIVE = "inconclusive"
NO_VERDICT = "no verdict"
#: The kind of verdict, whatever the margin.
EQUIVALENT = "equivalent"
_WITHIN = f"{EQUIVALENT} within "


def judged(inference: Inference, p: float, margin: float, *, direction: int = 1, alpha: float = ALPHA) -> str:
    """The verdict on a claim.

    A difference that is sure to be smaller than the margin supports no claim, however sure it is that it is not 0; nor
    is a mean within the margin called equivalent where tasks differ by more than it.

    Args:
        inference: of the paired differences.
        p: of no difference, that decides: corrected where several claims are judged together.
        margin: the smallest difference of interest, in units of the measure.
        direction: 1 where a positive difference is claimed, -1 where a negative one.
        alpha: level of the two-sided test; each side of the test of equivalence has half of it.
    """
    if inference.all_equal:
        return all_equal(inference.units)
    if inference.units < FEWEST:
        return INCONCLUSIVE
    if inference.equivalence(margin) < alpha / 2:
        return equivalent(margin) if inference.alike(margin) else INCONCLUSIVE
    if p < alpha:
        return HOLDS if inference.estimate * direction > 0 else OTHER_WAY
    return INCONCLUSIVE


def equivalent(margin: float) -> str:
    """The verdict of equivalence.

    Args:
        margin: in units of the measure.
    """
    return f"{_WITHIN}{margin:g}"


def is_equivalent(verdict: str) -> bool:
    """Whether a verdict is one of equivalence, within whatever margin."""
    return verdict.startswith(_WITHIN)


def all_equal(units: int) -> str:
    """What is said of `units` pairs that do not differ at all."""
    return f"all {units} equal"


def is_all_equal(verdict: str) -> bool:
    """Whether no unit differs at all."""
    return verdict.startswith("all ") and verdict.endswith(" equal")


def kind(verdict: str) -> str:
    """The verdict without its numbers; arms that are equal in every unit are equivalent, where there are enough."""
    if is_all_equal(verdict):
        return EQUIVALENT if int(verdict.split()[1]) >= FEWEST else INCONCLUSIVE
    return EQUIVALENT if is_equivalent(verdict) else verdict
