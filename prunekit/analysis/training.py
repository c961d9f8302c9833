"""Rank while a prompt is trained and pruned: spectra at snapshots, DPT's dying singular values, before and after a cut.

DPT (Xiao et al. 2023) trains P = U ReLU(Sigma) V and counts the positive entries of Sigma, which fall. They cannot do
otherwise: an entry at 0 or below gets no gradient and stays there, and steps of a large learning rate carry small ones
over by themselves. So the count means something only beside that of a run on shuffled labels, and beside the rank of P.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from prunekit.analysis import ranks
from prunekit.analysis.spectra import DRAWS, STUDIED, measure, singular_values
from prunekit.analysis.subjects import KEYS, PromptRecord, Snapshots

_BANDED = ("matrix", "measure", "value", "largest", "low", "median", "high", "p")
PATH = (*KEYS, "step", *_BANDED)
POSITIVE = (*KEYS, "step", "positive", "sigma_sum", "largest", "numerical")
PRUNING = (*KEYS, "when", *_BANDED)


def path(
    prompts: Sequence[Snapshots], *, matrices: Sequence[str] = STUDIED, draws: int = DRAWS, seed: int = 0
) -> pd.DataFrame:
    """Every measure of rank at every snapshot, beside Gaussian noise of the same shape.

    The noise is drawn once for a shape. "change" at the first step is zero and has no rank: 0, p NaN.

    Columns:
        `KEYS`; step (int, updates); matrix, measure (str); value, largest, low, median, high, p (as in `ranks.table`,
            against "gaussian").
    """
    tables = []
    for prompt in prompts:
        steps = sorted(prompt.values)
        measured = ranks.table(
            [replace(prompt.at(step), keys={**prompt.keys, "round": step}) for step in steps],
            matrices=matrices,
            against=("gaussian",),
            draws=draws,
            seed=seed,
        )  # the step stands in place of the round, which is that of the snapshots
        tables.append(measured.assign(step=measured["round"], round=prompt.keys["round"]))
    return _joined(tables, PATH)


def positive(prompts: Sequence[Snapshots]) -> pd.DataFrame:
    """Positive entries of Sigma over steps, for prompts of method "singular"; others are left out.

    Columns:
        `KEYS`; step (int); positive (count); sigma_sum (of the positive ones); largest (all entries, a count);
            numerical (rank of P, which `positive` bounds from above, since U and V do not stay orthogonal).
    """
    rows = []
    for prompt in prompts:
        for step, sigma in sorted((prompt.sigma or {}).items()):
            values = prompt.values[step]
            rank = measure(singular_values(values), max(values.shape))["numerical"]
            alive = sigma > 0
            rows.append((
                *(prompt.keys[key] for key in KEYS), step, int(alive.sum()), float(sigma[alive].double().sum()),
                len(sigma), int(rank),
            ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(POSITIVE))


def pruning(
    subjects: Sequence[PromptRecord], *, matrices: Sequence[str] = STUDIED, draws: int = DRAWS, seed: int = 0
) -> pd.DataFrame:
    """Rank before and after each pruning: of every round, what it started from and what it became, under its mask.

    The noise beside it wears the same mask, so that what dropped tokens and pieces take away by themselves is in it.

    Args:
        subjects: of `tables.dense_and_pruned`, rounds in any order.

    Columns:
        `KEYS`; when: "pruned" (the values that the round started from, under the mask it trained) or "trained"; matrix,
            measure (str); value, largest, low, median, high, p (as in `ranks.table`, against "gaussian"). "pruned" of
            round 0 is the start.
    """
    tables = []
    for when in ("pruned", "trained"):
        prompts = [replace(prompt, values=prompt.start) if when == "pruned" else prompt for prompt in subjects]
        measured = ranks.table(prompts, matrices=matrices, against=("gaussian",), draws=draws, seed=seed)
        tables.append(measured.assign(when=when))
    return _joined(tables, PRUNING)


def _joined(tables: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    joined = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return joined.reindex(columns=list(columns))
