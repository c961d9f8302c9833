"""How many directions a prompt really uses: cut it to k of them, look at loss and metric again, train nothing.

A spectrum counts directions by their length; a model may ignore a long one and need a short one. Here the model itself
answers. It comes as a function, so that nothing in this file knows one; `prunekit.analysis.model_access.evaluator`
makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from prunekit.analysis.subjects import KEYS, PromptRecord, centred
from prunekit.support.seeding import generator
from prunekit.support.statistics import t_intervals

#: Prompts [S, P, H] -> losses of N examples [S, N], and the primary metric [S].
Evaluate = Callable[[Tensor], tuple[Tensor, Tensor]]

#: What is cut: the values; the values but for their column mean, which stays; the change, which is added to the origin.
PARTS = ("values", "values centred", "change")
CURVE = (
    *KEYS, "of", "directions", "draw", "k", "loss", "difference", "low", "high", "metric", "metric_difference",
)  # fmt: skip
RANKS = (*KEYS, "of", "directions", "draw", "criterion", "tolerance", "rank", "full", "share")


def truncated(matrix: Tensor, ks: Sequence[int], basis: Tensor | None = None) -> Tensor:
    """[len(ks), P, H]: the matrix [P, H] on its k longest directions for each k, or on the first k rows of `basis`.

    Args:
        basis: [R, H], orthonormal rows; the right singular vectors by default.
    """
    rows = torch.linalg.svd(matrix.double(), full_matrices=False).Vh if basis is None else basis
    along = matrix.double() @ rows.T  # [P, R]
    cuts = [along[:, :k] @ rows[:k] for k in ks]
    return torch.stack(cuts) if cuts else matrix.new_zeros(0, *matrix.shape).double()


def curve(
    subject: PromptRecord,
    evaluate: Evaluate,
    *,
    of: Sequence[str] = ("values", "change"),
    ks: Sequence[int] | None = None,
    random: int = 0,
    seed: int = 0,
) -> pd.DataFrame:
    """Loss and metric of a prompt that is cut to k directions, for every k, in one cohort for each part.

    Args:
        evaluate: is given the whole prompt first, then its cuts; float32, rows of dropped tokens zeros, to be left out.
            Dropped pieces are zeros in the whole; a cut fills them, as the nearest matrix of rank k does.
        of: of `PARTS`.
        ks: how many directions; 0 to the rank by default.
        random: as many times the prompt is also cut to k random directions of the space of its rows, which tells
            whether the longest directions are better than any.
        seed: fixes them.

    Columns:
        `KEYS`; of (str); directions ("singular", or "random" with draw from 0; draw is -1 for singular); k (int); loss
            (mean over examples, nats); difference (loss less that of the whole prompt); low, high (95 % t interval of
            the difference over examples, paired; for further examples, this prompt given); metric; metric_difference
            (less the whole's).

    Raises:
        ValueError: where `of` or what `evaluate` returns has another shape or is not finite.
    """
    tables = []
    for part in of:
        cut, kept = _part(subject, part)
        full = min(cut.shape)
        counts = list(range(full + 1)) if ks is None else [min(k, full) for k in ks]
        counts = sorted(dict.fromkeys(counts))
        basis = torch.linalg.svd(cut, full_matrices=False).Vh
        turned = [_rotation(full, seed, part, draw) @ basis for draw in range(random)]
        cohort = [subject.matrix("values")[None]]
        cohort += [kept + truncated(cut, counts, rows) for rows in (basis, *turned)]
        losses, metric = _evaluated(evaluate, _spread(torch.cat(cohort), subject))
        for draw in range(-1, random):
            start = 1 + (draw + 1) * len(counts)
            drawn = slice(start, start + len(counts))
            columns = _compared(losses[0], losses[drawn], metric[0], metric[drawn])
            keys = {**subject.keys, "of": part, "directions": "singular" if draw < 0 else "random", "draw": draw}
            tables.append(pd.DataFrame({**keys, "k": counts, **columns}))
    return pd.concat(tables, ignore_index=True).reindex(columns=list(CURVE)) if tables else pd.DataFrame(columns=CURVE)


def ranks(curves: pd.DataFrame, *, tolerance: float = 0.01, metric_tolerance: float = 0.01) -> pd.DataFrame:
    """The functional rank: the smallest k from which on every k is as good as the whole prompt, within a tolerance.

    From which on: a k that is good by luck between two that are not does not count.

    Args:
        curves: of `curve`, with every k.
        tolerance: in nats.
        metric_tolerance: in units of the metric.

    Columns:
        `KEYS`; of, directions, draw (as in `curve`); criterion: "loss" (mean difference at most the tolerance), "loss
            interval" (its upper end at most that: shown, and not only seen) or "metric" (at most that much lower);
            tolerance; rank (NaN where not even the largest k is within); full (largest k); share (rank / full).
    """
    rows = []
    for keys, of_part in curves.groupby([*KEYS, "of", "directions", "draw"], sort=False, dropna=False):
        each = of_part.sort_values("k")
        good = {
            "loss": (each["difference"] <= tolerance, tolerance),
            "loss interval": (each["high"] <= tolerance, tolerance),
            "metric": (each["metric_difference"] >= -metric_tolerance - 1e-9, metric_tolerance),
        }
        full = int(each["k"].max())
        for criterion, (within, bound) in good.items():
            rank = _from_which_on(within.to_numpy(), each["k"])
            rows.append((*keys, criterion, bound, rank, full, rank / full if full else float("nan")))
    return pd.DataFrame(rows, columns=list(RANKS))


def _from_which_on(within: np.ndarray, ks: pd.Series[Any]) -> float:
    """The first of the rising `ks` from which on all are within; NaN where not even the last is."""
    bad = np.flatnonzero(~within)
    first = int(bad[-1]) + 1 if bad.size else 0
    return float(ks.iloc[first]) if first < len(ks) else float("nan")


def _part(subject: PromptRecord, part: str) -> tuple[Tensor, Tensor]:
    """What is cut and what stays, both [P', H] in float64; together they are the prompt."""
    values = subject.matrix("values")
    match part:
        case "values":
            cut = values
        case "values centred":
            cut = centred(values, subject.keep)
        case "change":
            cut = subject.matrix("change")
        case _:
            raise ValueError(f'"{part}" is not cut; {", ".join(PARTS)} are')
    return cut, values - cut


def _rotation(size: int, seed: int, *names: object) -> Tensor:
    """[size, size], a random rotation (Haar), for the draw of these names."""
    drawn = torch.randn(size, size, generator=generator("directions", seed, *names), dtype=torch.float64)
    q, r = torch.linalg.qr(drawn)
    turned: Tensor = q * r.diagonal().sign()  # without the signs, QR prefers some rotations (Mezzadri 2007)
    return turned


def _spread(kept: Tensor, subject: PromptRecord) -> Tensor:
    """[S, P, H] float32 with rows of zeros for dropped tokens, from [S, P', H]."""
    whole = torch.zeros(len(kept), *subject.values.shape)
    whole[:, subject.mask.token] = kept.float()
    return whole


def _evaluated(evaluate: Evaluate, cohort: Tensor) -> tuple[Tensor, Tensor]:
    losses, metric = evaluate(cohort)
    if losses.dim() != 2 or len(losses) != len(cohort) or losses.shape[1] < 2 or metric.shape != (len(cohort),):
        raise ValueError(
            f"want losses [{len(cohort)}, examples] of two examples or more and metric [{len(cohort)}], got "
            f"{[*losses.shape]} and {[*metric.shape]}"
        )
    if not bool(losses.isfinite().all()):
        raise ValueError("a loss is not finite; leave examples without a label out")
    return losses.double().cpu(), metric.double().cpu()


def _compared(whole: Tensor, losses: Tensor, reached: Tensor, metric: Tensor) -> dict[str, np.ndarray]:
    difference = (losses - whole).numpy()
    low, high = t_intervals(difference, 0.95)
    return {
        "loss": losses.mean(dim=1).numpy(),
        "difference": difference.mean(axis=1),
        "low": low,
        "high": high,
        "metric": metric.numpy(),
        "metric_difference": (metric - reached).numpy(),
    }
