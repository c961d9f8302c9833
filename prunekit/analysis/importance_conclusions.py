"""Which tokens matter? From the tables of token importance to answers; empty tables are allowed."""

from __future__ import annotations

from typing import Any

import pandas as pd

from prunekit.analysis.conclusions import (
    Conclusion,
    capital,
    one_row,
    probability,
    refuse_several,
    rows,
    seeds,
    span,
    unmeasured,
)
from prunekit.pruning.scores import Absolute
from prunekit.support import statistics

#: A cost or gain of fewer nats per example than this is of no size.
NATS = 0.01
#: A rank correlation of at most this says little about which unit comes first.
WEAK = 0.5
#: Few tokens matter where at most this share of them is needed.
FEW_SHARE = 0.5

_EXACT = {"leave-one-out": "what leaving a token out costs", "shapley": "Shapley values"}


def importance_study(beside: pd.DataFrame, agreement: pd.DataFrame, overlap: pd.DataFrame) -> list[Conclusion]:
    """Answers to: which tokens matter, do some do harm, can gradients tell, and do seeds agree.

    They are about the first round of which some prompt was measured, the dense one where it was.

    Args:
        beside: of `unit_scores.beside`; level "token" is used.
        agreement: of `unit_scores.agreement`; level "token" is used.
        overlap: of `overlap.agreement`, the last round of one pruning. Empty tables are allowed.
    """
    refuse_several(overlap, "round", "stage", "arm")
    which = _measured_round(beside)
    beside, agreement = (rows(table, **which) for table in (beside, agreement))
    return [
        few_matter(beside),
        harmful(beside),
        *(gradient_agrees(agreement, exact) for exact in _EXACT),
        seeds_agree(overlap),
    ]


def few_matter(beside: pd.DataFrame) -> Conclusion:
    """Whether few tokens are needed: leaving one out costs `NATS` or more, its 95 % interval (uncorrected) above 0."""
    question = "Do few tokens matter?"
    tokens = rows(beside, level="token")
    if "leave-one-out" not in tokens or tokens["leave-one-out"].isna().all():
        return unmeasured(question, "what leaving each token out costs")
    tokens = tokens[tokens["leave-one-out"].notna()]
    each = tokens.groupby("seed").size()
    needed = tokens[(tokens["low"] > 0) & (tokens["leave-one-out"] >= NATS)]
    counts = needed.groupby("seed").size().reindex(each.index, fill_value=0)
    sentence = (
        f"{span(counts)} of {span(each)} tokens are needed ({seeds(len(each))}; each costs {NATS:g} nats or more)"
    )
    if needed.empty:
        sentence += ": none is missed alone, which tokens that stand in for each other would show too."
        return Conclusion(question, "inconclusive", capital(sentence))
    best = needed.sort_values("leave-one-out", kind="stable").iloc[-1]
    sentence += (
        f"; most of all token {int(best['token'])} of seed {int(best['seed'])}, {best['leave-one-out']:.3f} nats"
    )
    if len(needed) / len(tokens) <= FEW_SHARE:
        return Conclusion(question, "yes", f"{capital(sentence)}.")
    return Conclusion(question, "no", f"{capital(sentence)}: more than {FEW_SHARE:.0%} of all.")


def harmful(beside: pd.DataFrame) -> Conclusion:
    """Whether leaving some token out lowers the loss, on the split that chose it and on test."""
    question = "Do some tokens do harm?"
    tokens = rows(beside, level="token")
    if "negative" not in tokens or tokens["negative"].isna().all():
        return unmeasured(question, "what leaving each token out costs")
    tested = tokens[tokens["negative"].notna()]
    negative = tested[tested["negative"].astype(bool)]
    if negative.empty:
        sentence = f"No single one of {len(tested)} kept tokens lowers the loss beyond chance when it is left out."
        return Conclusion(question, "no", sentence)
    sentence = f"Leaving out {len(negative)} of {len(tested)} kept tokens, one at a time, lowers the loss on validation"
    confirmed = negative[negative["confirmed"].eq(True).fillna(False).astype(bool)]
    if confirmed.empty:
        return Conclusion(question, "inconclusive", f"{sentence}, none of them on test.")
    gain = -float(confirmed["test_cost"].min())  # on validation they were chosen for it
    sentence += f", {len(confirmed)} of them on test too (by {gain:.3f} nats at most)"
    if gain < NATS:
        return Conclusion(question, "hardly", f"{sentence}: beyond chance, but less than {NATS:g} nats.")
    return Conclusion(question, "yes", f"{sentence}.")


def gradient_agrees(agreement: pd.DataFrame, exact: str) -> Conclusion:
    """Whether the gradient score that prunes ranks tokens as an exact score does, seed by seed."""
    question = f"Does the gradient score rank tokens as {_EXACT[exact]}?"
    tokens = rows(agreement, level="token")
    names = (Absolute.name, exact)
    pairs = pd.concat([rows(tokens, first=first, second=second) for first, second in (names, names[::-1])])
    if pairs.empty or pairs["spearman"].isna().all():
        return unmeasured(question, _EXACT[exact])
    pairs = pairs[pairs["spearman"].notna()]
    rho = pairs["spearman"].to_numpy(dtype=float)
    low, high = statistics.t_interval([rho], 0.95) if rho.size > 1 else pairs[["spearman_low", "spearman_high"]].iloc[0]
    low, high = statistics.cut((low, high), (-1.0, 1.0))
    over = "over seeds" if rho.size > 1 else "over tokens"
    sentence = (
        f"Spearman {rho.mean():z.2f} [{low:z.2f}, {high:z.2f}], Kendall {pairs['kendall'].mean():z.2f} "
        f"({seeds(rho.size)}, 95 % interval {over})"
    )
    if low > 0:
        if high <= WEAK:
            return Conclusion(question, "hardly", f"{sentence}: weakly.")
        return Conclusion(question, "yes", f"{sentence}.")
    if high <= WEAK:
        return Conclusion(question, "no", f"{sentence}: it cannot be taken for it.")
    return Conclusion(question, "inconclusive", f"{sentence}.")


def seeds_agree(overlap: pd.DataFrame) -> Conclusion:
    """Whether the masks of different seeds keep the same tokens more often than random masks of the same counts."""
    question = "Do seeds keep the same tokens?"
    row = one_row(overlap, level="token")
    if row is None or pd.isna(row["jaccard"]):
        return unmeasured(question, "a pruned ticket of a second seed")
    sentence = (
        f"Two of {seeds(row['seeds'])} share {row['jaccard']:.2f} of their tokens (Jaccard); chance gives "
        f"{row['expected']:.2f} [{row['low']:.2f}, {row['high']:.2f}], p = {probability(row['p'])}"
    )
    if row["p"] < 0.05:
        return Conclusion(question, "yes", f"{sentence}.")
    if row["jaccard"] < row["low"]:
        return Conclusion(question, "no", f"{sentence}: less than chance.")
    return Conclusion(question, "inconclusive", f"{sentence}: as chance does.")


def _measured_round(beside: pd.DataFrame) -> dict[str, Any]:
    """Stage, arm and round of the first prompts with an exact score; nothing where there are none."""
    exact = [kind for kind in _EXACT if kind in beside]
    measured = beside[beside[exact].notna().any(axis=1)] if exact else beside.head(0)
    if measured.empty:
        return {}
    first = measured.sort_values(["round", "stage", "arm"], kind="stable").iloc[0]
    return {name: first[name] for name in ("stage", "arm", "round")}
