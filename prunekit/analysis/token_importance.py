"""Which tokens and pieces of a prompt do harm: per-example costs of leaving them out in, tables out.

XPrompt (Ma et al. 2022, section 1) calls a token negative where the prompt does better without it. Its own score takes
absolute values and cannot tell such a token from a needed one; what leaving it out costs each example
(`prunekit.engine.ablation`) can. Of many units some lie below zero by chance alone: so each is tested, the tests are
corrected for their number, and what was chosen on one split is tested again on another.
Scores beside these costs, how far they agree, and the nearest words are in `prunekit.analysis.unit_scores`.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from prunekit.support.seeding import seed_of
from prunekit.support.statistics import TIE, Floats, holm, t_intervals

# sign flips drawn at a time: 40 MB of signs for 5,000 examples
_BLOCK = 1000


def negative(
    costs: ArrayLike,
    right_changes: ArrayLike | None = None,
    *,
    units: Sequence[Any] | None = None,
    alpha: float = 0.05,
    resamples: int = 9999,
    seed: int = 0,
) -> pd.DataFrame:
    """Which units lower the loss by being left out: a test of each, corrected for their number.

    A one-sided paired sign-flip permutation test of the mean over examples, Holm over units. Its null is that costs
    lie symmetrically about 0. Costs of mean 0 with a long right tail pass more often than alpha: of 100 families of 20
    such units (exponential), 24 named one with 50 examples, 12 with 200, 3 with 500 (log-normal: 49, 31, 24; measured).
    Nor is what is sure always large: look at `cost` beside `p_corrected`.

    Args:
        costs: [A, N] loss of each of N examples without unit a, less its loss with the whole prompt; kept units only.
        right_changes: [A, N] whether each example is then right, less whether it was, in {-1, 0, 1}; described, not
            tested.
        units: A names for the first column; 0 to A - 1 by default.
        alpha: bound on the chance of naming any unit negative that is not.
        resamples: random flips per unit; raised to A / alpha where fewer could not reach `alpha` once corrected.
        seed: fixes the flips.

    Columns:
        unit; cost (mean over examples, in units of the loss); low, high (its 95 % t interval, not corrected); p,
            p_corrected; negative (bool); and right_change (mean, in [-1, 1]) where `right_changes` is given.

    Raises:
        ValueError: where costs are not [A, N] of finite numbers with N >= 2, or other shapes do not fit.
    """
    values = _checked(costs)
    names = list(range(len(values))) if units is None else list(units)
    if len(names) != len(values):
        raise ValueError(f"{len(names)} names for {len(values)} units")
    table = _tested(values, alpha, resamples, seed).rename(columns={"passed": "negative"})
    table.insert(0, "unit", pd.Series(names, dtype=None if names else object))
    if right_changes is not None:
        changes = _checked(right_changes)
        if changes.shape != values.shape:
            raise ValueError(f"right_changes have shape {[*changes.shape]}, costs have {[*values.shape]}")
        table["right_change"] = changes.mean(axis=1)
    return table


def confirm(
    costs: ArrayLike, table: pd.DataFrame, *, alpha: float = 0.05, resamples: int = 9999, seed: int = 0
) -> pd.DataFrame:
    """The test of `negative` again, on a split that had no part in choosing, for the chosen units alone.

    Args:
        costs: [chosen, N] costs on that split, a row for each unit that is negative in `table`, in its order.
        table: what `negative` returned.
        alpha: as there; Holm is over the chosen.
        resamples: as there; Holm is over the chosen.
        seed: as there; Holm is over the chosen.

    Columns:
        unit, test_cost, test_low, test_high, test_p, test_p_corrected, confirmed (bool); a row for each chosen unit.

    Raises:
        ValueError: where costs do not have a row for each chosen unit, and as `negative`.
    """
    values = _checked(costs)
    chosen = table.loc[table["negative"], "unit"].reset_index(drop=True)
    if len(chosen) != len(values):
        raise ValueError(f"{len(chosen)} units were chosen, costs have {len(values)} rows; give those of the chosen")
    tested = _tested(values, alpha, resamples, seed).add_prefix("test_")
    tested.insert(0, "unit", chosen)
    return tested.rename(columns={"test_passed": "confirmed"})


def _checked(costs: ArrayLike) -> Floats:
    values = np.asarray(costs, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] < 2:
        raise ValueError(f"want [units, examples] with at least two examples, got {[*values.shape]}")
    if not np.isfinite(values).all():
        raise ValueError("an example has no finite loss; leave examples without a label out")
    return values


def _tested(costs: Floats, alpha: float, resamples: int, seed: int) -> pd.DataFrame:
    """Columns cost, low, high, p, p_corrected, passed; a row for each row of costs."""
    low, high = t_intervals(costs, 0.95)
    p = _sign_flip(costs, max(resamples, ceil(len(costs) / alpha)), seed)
    corrected = holm(p)
    return pd.DataFrame(
        {
            "cost": costs.mean(axis=1),
            "low": low,
            "high": high,
            "p": p,
            "p_corrected": corrected,
            "passed": corrected < alpha,
        }
    )


def _sign_flip(costs: Floats, resamples: int, seed: int) -> Floats:
    """[A] chances that random signs make a mean as low as the observed one, which counts as one of the draws.

    With that one counted, p is never 0 (Phipson and Smyth 2010). All units share their flips: 320 units take one matrix
    product, and Holm needs no independence.
    """
    draw = np.random.default_rng(seed_of("sign-flip", seed))
    limit = costs.sum(axis=1) + TIE * np.abs(costs).sum(axis=1)
    as_low = np.ones(len(costs))
    for start in range(0, resamples, _BLOCK):
        shape = (min(_BLOCK, resamples - start), costs.shape[1])
        signs = draw.integers(2, size=shape, dtype=np.int8) * 2.0 - 1.0
        as_low += (signs @ costs.T <= limit).sum(axis=0)
    return as_low / (resamples + 1)
