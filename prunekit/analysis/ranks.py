"""Is a prompt of low rank? Every measure against every null, the directions above noise, and what seeds say together.

"Low" has two readings, and both are answered. Lower than noise: the whole spectrum is more uneven than that of a
random matrix (`table`, `verdicts`); an effective rank of 90 of 100 can be that, so look at `value` beside `median`.
A few directions above noise: how many singular values are larger than noise ever gives (`edges`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from prunekit.analysis import nulls
from prunekit.analysis.nulls import NOISE, Starts
from prunekit.analysis.spectra import DRAWS, EPSILON, MEASURES, STUDIED, edge, measure, singular_values
from prunekit.analysis.subjects import KEYS, PromptRecord, largest_rank
from prunekit.support.errors import DataError
from prunekit.support.statistics import TIE, Floats

#: The null of training on labels that mean nothing: other runs, given as subjects.
SHUFFLED = "shuffled labels"
#: In verdicts: lower than all three of `NOISE`.
ALL_NOISE = "noise"

TABLE = (*KEYS, "matrix", "measure", "value", "largest", "null", "low", "median", "high", "p", "draws")
EDGES = (*KEYS, "matrix", "noise", "edge", "above", "noise_edge", "spikes", "p", "draws")
OVER_SEEDS = tuple(key for key in KEYS if key != "seed")
VERDICTS = (
    *OVER_SEEDS, "matrix", "measure", "null", "seeds", "called", "value", "median", "share", "p", "low_rank",
)  # fmt: skip
GROUPED = tuple(key for key in KEYS if key not in ("run", "labels", "seed"))
GROUPS = (
    *GROUPED, "matrix", "measure", "seeds", "control_seeds", "value", "control_value", "difference", "p",
    "smallest_p", "low_rank",
)  # fmt: skip

_MOST_SPLITS = 50_000  # ways to share seeds between two groups that are all tried


def table(
    subjects: Sequence[PromptRecord],
    *,
    matrices: Sequence[str] = STUDIED,
    against: Sequence[str] = NOISE,
    draws: int = DRAWS,
    seed: int = 0,
    starts: Starts | None = None,
    controls: Sequence[PromptRecord] = (),
) -> pd.DataFrame:
    """Every measure of rank of every matrix, against every null.

    Args:
        matrices: of `subjects.MATRICES`.
        against: nulls, of `nulls.NOISE` and "initialisation".
        draws: null matrices of each.
        seed: fixes them.
        starts: what "initialisation" needs.
        controls: prompts trained on shuffled labels, which add the null "shuffled labels"; few of them reach no small p
            for one prompt (1 / (controls + 1) at best), for which `groups` sets all seeds against all.

    Columns:
        `KEYS`; matrix, measure, null (str); value, and largest, the most it can be (ranks, 0 where the matrix is zero);
            low, median, high (95 % band of the null's values); p (one-sided: chance of a null value as low, not
            corrected; NaN where the matrix is zero); draws (int). A row for each measure and null.
    """
    rows = []
    for subject in subjects:
        for name in matrices:
            matrix = subject.matrix(name)
            measures = {kind: float(value) for kind, value in _measured(singular_values(matrix), matrix).items()}
            for null in (*against, *([SHUFFLED] if controls else [])):
                drawn = _of_controls(controls, name) if null == SHUFFLED else _of_null(
                    null, subject, name, draws, seed, starts
                )  # fmt: skip
                for kind, value in measures.items():
                    low, median, high = nulls.band(drawn[kind])
                    p = nulls.as_low(value, drawn[kind]) if value else float("nan")
                    rows.append((
                        *(subject.keys[key] for key in KEYS), name, kind, value, largest_rank(subject.keep, name), null,
                        low, median, high, p, drawn[kind].size,
                    ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(TABLE))


def edges(
    subjects: Sequence[PromptRecord],
    *,
    matrices: Sequence[str] = STUDIED,
    against: Sequence[str] = NOISE,
    alpha: float = 0.01,
    draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:
    """How many directions stand out of noise.

    Noise is scaled to have the matrix's own median singular value, which a few large directions hardly move, and once
    more without those; where half of all directions or more are large, they are taken for noise, and
    the count is too small. A direction of length t in noise of deviation sigma can be seen from about
    t = sigma (P H)^(1/4) on, and no count sees a weaker one.

    Args:
        against: of `nulls.NOISE`; a direction counts where it stands out of all of them. Gaussian noise alone will not
            do: of 100 matrices of independent entries whose rows differ in size (U[0.2, 1.2)), all had a direction
            above it, 7 in the mean; with the shuffles beside it, 1 had.
        alpha: bound on the chance that noise has a direction that counts.

    Columns:
        `KEYS`; matrix (str); noise (deviation of an entry); edge (Marchenko and Pastur 1967: the largest singular value
            of Gaussian noise in the limit) and above (how many are larger: one or more in 17 % of Gaussian noise, and
            more where rows or columns differ in size); noise_edge (exceeded by a share alpha of simulated noise, of
            that null where it is highest) and spikes (how many are larger); p (chance that noise has a largest singular
            value as large, the largest of the nulls'); draws. noise, edge, above are NaN where pieces are dropped, the
            others are not.

    Raises:
        ValueError: where so few draws cannot reach `alpha`.
    """
    if 1 / (draws + 1) > alpha:
        raise ValueError(f"{draws} draws give no p below {1 / (draws + 1):.2g}; alpha = {alpha} needs more")
    rows = []
    for subject in subjects:
        for name in matrices:
            rank = largest_rank(subject.keep, name)
            s = singular_values(subject.matrix(name)).numpy()[:rank]
            s = np.where(s > s.max(initial=0.0) * max(subject.keep.shape) * EPSILON, s, 0.0)  # rounding is no noise
            sigma, limit = edge(s, subject.keep, name)
            by_null = []
            for null in against:
                drawn = nulls.singular_values(null, subject, name, draws=draws, seed=seed).numpy()[:, :rank]
                by_null.append(_above_noise(s, drawn, alpha))
            counts, limits, chances = zip(*by_null, strict=True)
            spikes, noise_edge, p = min(counts), max(limits), max(chances)
            above = float((s > limit).sum()) if limit == limit else float("nan")
            rows.append((
                *(subject.keys[key] for key in KEYS), name, sigma, limit, above, noise_edge, spikes, p, draws,
            ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(EDGES))


def verdicts(ranks: pd.DataFrame, *, of: str = "entropy", alpha: float = 0.01) -> pd.DataFrame:
    """Whether the prompts of a run are of lower rank than each null, by one measure, over seeds.

    Args:
        ranks: what `table` returned.
        of: the measure, named beforehand: to try them all and keep the best is no test.

    Columns:
        `KEYS` without seed; matrix, measure, null (str; "noise" asks for lower than all three noise nulls, by the
            largest of their p, where all are there); seeds (int); called (seeds with p <= alpha alone); value, median
            (means over seeds, of the measure and of the null's medians); share (value / median); p (Fisher's
            combination over seeds, which holds for these seeds of this run); low_rank (bool: p <= alpha). NaN and False
            where the matrices are zero.
    """
    compared = ranks[(ranks["measure"] == of) & (ranks["null"] != SHUFFLED)]
    noise = compared[compared["null"].isin(NOISE)]
    if set(noise["null"]) == set(NOISE):
        hardest = noise.sort_values(["p", "median"], ascending=[False, True], kind="stable")
        hardest = hardest.groupby([*KEYS, "matrix"], sort=False, dropna=False).head(1)
        hardest = hardest.sort_index()  # seeds as they stand in the others, whose mean is then the same to the last bit
        compared = pd.concat([compared, hardest.assign(null=ALL_NOISE)])
    rows = []
    for keys, seeds in compared.groupby([*OVER_SEEDS, "matrix", "measure", "null"], sort=False):
        rows.append((*keys, *_over_seeds(seeds, alpha)))
    return pd.DataFrame(rows, columns=list(VERDICTS))


def _over_seeds(seeds: pd.DataFrame, alpha: float) -> tuple[Any, ...]:
    """The columns of `verdicts` from seeds on, from a row for each seed."""
    p = seeds["p"].dropna().to_numpy(dtype=float)
    joined = float(stats.combine_pvalues(p, method="fisher").pvalue) if p.size else float("nan")
    value, median = float(seeds["value"].mean()), float(seeds["median"].mean())
    share = value / median if median else float("nan")
    return len(seeds), int((p <= alpha).sum()), value, median, share, joined, joined <= alpha


def groups(ranks: pd.DataFrame, control: pd.DataFrame, *, alpha: float = 0.01) -> pd.DataFrame:
    """Whether training on the true labels ends at lower ranks than training on shuffled ones; seeds are the units.

    Args:
        ranks: what `table` returned for true labels; only values are compared, not the nulls.
        control: the same for shuffled labels.

    Columns:
        task, model, method, stage, arm, round, matrix, measure; seeds, control_seeds (int); value, control_value,
            difference (means, and the first less the second); p (one-sided permutation test that the first is lower,
            exact while there are at most 50,000 ways to share the seeds, else of 50,000 random ones; not corrected for
            the number of measures); smallest_p (what so few seeds can reach); low_rank (bool: p <= alpha).

    Raises:
        DataError: where a side has two values for one seed.
    """
    by = [*GROUPED, "matrix", "measure"]
    sides = [_values(table, by) for table in (ranks, control)]
    rows = []
    for keys in dict.fromkeys(sides[0].index):
        if keys not in sides[1].index:
            continue
        true, shuffled = (np.asarray(side.loc[[keys]], dtype=float) for side in sides)
        rows.append((*keys, *_group(true, shuffled, alpha)))
    return pd.DataFrame(rows, columns=list(GROUPS))


def _group(true: Floats, shuffled: Floats, alpha: float) -> tuple[Any, ...]:
    """The columns of `groups` from seeds on, from the values of each side."""
    p = _lower(true, shuffled)
    smallest = 1 / min(comb(true.size + shuffled.size, true.size), _MOST_SPLITS + 1)
    difference = float(true.mean() - shuffled.mean())
    return true.size, shuffled.size, true.mean(), shuffled.mean(), difference, p, smallest, p <= alpha


def _above_noise(singular: Floats, drawn: Floats, alpha: float) -> tuple[int, float, float]:
    """How many singular values [R] are above noise, from where on they are, and the p of the largest.

    Args:
        drawn: [draws, R] those of noise, in any units.
    """
    if not singular.any():
        return 0, float("nan"), float("nan")
    draws = len(drawn)
    ratio = np.sort(drawn[:, 0] / np.median(drawn, axis=1))
    largest = ratio[draws - int(alpha * (draws + 1) + 1e-9)]
    spikes, before, limit = 0, -1, 0.0
    while before < spikes < singular.size:
        before, limit = spikes, float(largest * np.median(singular[min(spikes, singular.size // 2) :]))
        spikes = max(spikes, int((singular > limit).sum()))
    middle = float(np.median(singular))
    p = nulls.as_high(float(singular[0]) / middle, ratio) if middle else 1 / (draws + 1)
    return spikes, limit, p


def _measured(singular: Tensor, matrix: Tensor) -> dict[str, Tensor]:
    return measure(singular, max(matrix.shape))


def _of_null(
    null: str, subject: PromptRecord, name: str, draws: int, seed: int, starts: Starts | None
) -> dict[str, Floats]:
    drawn = nulls.singular_values(null, subject, name, draws=draws, seed=seed, starts=starts)
    return {kind: value.numpy() for kind, value in measure(drawn, max(subject.keep.shape)).items()}


def _of_controls(controls: Sequence[PromptRecord], name: str) -> dict[str, Floats]:
    matrices = [subject.matrix(name) for subject in controls]
    measures = [_measured(singular_values(matrix), matrix) for matrix in matrices]
    return {kind: torch.stack([of_prompt[kind] for of_prompt in measures]).numpy() for kind in MEASURES}


def _values(ranks: pd.DataFrame, by: list[str]) -> pd.Series[Any]:
    """One value per seed, whatever the nulls beside it."""
    each = ranks.drop_duplicates([*KEYS, "matrix", "measure"])
    if each.duplicated([*by, "seed"]).any():
        raise DataError("a side of the comparison has two prompts of one seed; give one run of each task and model")
    return each.set_index(by)["value"]


def _lower(first: Floats, second: Floats) -> float:
    """The chance that seeds shared at random between two groups give a first mean as low."""
    joined = np.concatenate([first, second])
    reached = first.sum() + TIE * np.abs(joined).sum()
    if comb(joined.size, first.size) <= _MOST_SPLITS:
        sums = np.array([joined[list(group)].sum() for group in combinations(range(joined.size), first.size)])
        return float(np.mean(sums <= reached))
    random = np.random.default_rng(0)
    sums = random.permuted(np.repeat(joined[None], _MOST_SPLITS, axis=0), axis=1)[:, : first.size].sum(axis=1)
    return float((1 + np.count_nonzero(sums <= reached)) / (1 + _MOST_SPLITS))


__all__ = ["ALL_NOISE", "NOISE", "OVER_SEEDS", "SHUFFLED", "edges", "groups", "table", "verdicts"]
