"""Singular values of learned prompts and seven measures of their rank, each beside what noise gives.

The numerical rank of a trained prompt is always the largest possible, so that it says nothing alone; the others weigh
the singular values s, with e = s^2 / sum(s^2) and q = s / sum(s):

    numerical      s above max(P, H) x the rounding of float32 x the largest
    stable         sum(s^2) / max(s^2)                 (Rudelson and Vershynin 2007)
    entropy        exp(-sum(q log q))                  the effective rank of Roy and Vetterli 2007
    participation  1 / sum(e^2)
    energy_90      how many of the largest hold 90 % of sum(s^2); energy_95 and energy_99 alike
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from prunekit.analysis import nulls
from prunekit.analysis.nulls import NOISE, Starts
from prunekit.analysis.subjects import CENTRED, KEYS, PromptRecord, largest_rank
from prunekit.support.errors import DivergedError

MEASURES = ("numerical", "stable", "entropy", "participation", "energy_90", "energy_95", "energy_99")
#: The matrices that are looked at unless others are named.
STUDIED = ("values", "change", "values centred")
DRAWS = 199  # so that p can reach 0.005

SPECTRUM = (
    *KEYS, "matrix", "index", "singular_value", "energy", "cumulative", "null", "low", "median", "high", "edge",
)  # fmt: skip

#: Relative rounding of the values, which were learned and saved in float32.
EPSILON = float(torch.finfo(torch.float32).eps)
_TIE = 1e-12  # relative: shares that add up to the bound reach it, whatever the rounding of their sum


def singular_values(matrices: Tensor) -> Tensor:
    """[..., R] of matrices [..., P, H], R = min(P, H), falling, in float64.

    Raises:
        DivergedError: where an entry is NaN or infinite.
    """
    if not bool(torch.isfinite(matrices).all()):
        raise DivergedError("NaN or infinite entries have no singular values")
    values: Tensor = torch.linalg.svdvals(matrices.double())
    return values


def measure(singular: Tensor, longest: int) -> dict[str, Tensor]:
    """Every measure of `MEASURES`, [...], of singular values [..., R]; 0 where all of them are 0.

    Args:
        longest: max(P, H) of the matrix.
    """
    s = singular.double()
    largest = s.amax(dim=-1, keepdim=True)
    not_zero = largest.squeeze(-1) > 0
    scaled = s / torch.where(largest > 0, largest, 1.0)  # no square underflows
    square = scaled**2
    total = square.sum(dim=-1)
    safe = torch.where(not_zero, total, 1.0)
    share = scaled / torch.where(not_zero, scaled.sum(dim=-1), 1.0)[..., None]
    cumulative = square.sort(dim=-1, descending=True).values.cumsum(dim=-1) / safe[..., None]
    measures = {
        "numerical": (scaled > longest * EPSILON).sum(dim=-1).double(),
        "stable": total,
        "entropy": torch.special.entr(share).sum(dim=-1).exp(),
        "participation": total**2 / torch.where(not_zero, (square**2).sum(dim=-1), 1.0),
    }
    for percent in (90, 95, 99):
        short = (cumulative < percent / 100 * (1 - _TIE)).sum(dim=-1) + 1
        measures[f"energy_{percent}"] = short.double()
    return {name: torch.where(not_zero, value, 0.0) for name, value in measures.items()}


def spectrum(
    subjects: Sequence[PromptRecord],
    *,
    matrices: Sequence[str] = STUDIED,
    against: Sequence[str] = ("gaussian",),
    draws: int = DRAWS,
    seed: int = 0,
    starts: Starts | None = None,
) -> pd.DataFrame:
    """Singular values, beside those of null matrices of the same sum of squares.

    Args:
        matrices: of `subjects.MATRICES`.
        against: nulls, of `nulls.NOISE` and "initialisation".
        draws: null matrices of each.
        seed: fixes them.
        starts: what "initialisation" needs.

    Columns:
        `KEYS`; matrix, null (str); index (int, from 1); singular_value (units of the embeddings); energy, cumulative
            (shares of the sum of squares); low, median, high (95 % band of the null's value of that index); edge (the
            largest that noise gives in the limit, Marchenko and Pastur 1967, its variance read off the median singular
            value; NaN where pieces are dropped). A row for each index and null.
    """
    tables = [
        _of_matrix(subject, name, null, draws, seed, starts)
        for subject in subjects
        for name in matrices
        for null in against
    ]  # fmt: skip
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(SPECTRUM))


def _of_matrix(
    subject: PromptRecord, name: str, null: str, draws: int, seed: int, starts: Starts | None
) -> pd.DataFrame:
    s = singular_values(subject.matrix(name)).numpy()
    drawn = nulls.singular_values(null, subject, name, draws=draws, seed=seed, starts=starts).numpy()
    norm = np.sqrt((s**2).sum())
    sizes = np.sqrt((drawn**2).sum(axis=1, keepdims=True))
    low, median, high = nulls.band(np.divide(drawn * norm, sizes, out=np.zeros_like(drawn), where=sizes > 0))
    energy = s**2 / norm**2 if norm > 0 else np.full_like(s, np.nan)
    columns = {
        "matrix": name, "index": np.arange(1, s.size + 1), "singular_value": s, "energy": energy,
        "cumulative": energy.cumsum(), "null": null, "low": low, "median": median, "high": high,
        "edge": edge(s, subject.keep, name)[1],
    }  # fmt: skip
    return pd.DataFrame({**subject.keys, **columns}).reindex(columns=list(SPECTRUM))


def edge(singular: np.ndarray[Any, np.dtype[np.float64]], keep: Tensor, name: str) -> tuple[float, float]:
    """The standard deviation of the noise in a matrix of singular values [R], and its edge, sigma (sqrt(P) + sqrt(H)).

    sigma is read off the median singular value, which a few large ones hardly move (Gavish and Donoho 2014), and again
    without those beyond the edge (half of all at most), until none is left. Both NaN where pieces are dropped: noise
    with holes has another law.
    """
    if not bool(keep.all()):
        return float("nan"), float("nan")
    rank = largest_rank(keep, name)
    longest = max(keep.shape) if rank < min(keep.shape) or not name.endswith(CENTRED) else max(keep.shape) - 1
    if rank < 1:
        return float("nan"), float("nan")
    sigma = limit = 0.0
    large, before = 0, -1
    while before < large < rank:
        # what is left of a matrix without its largest directions is noise of a smaller shape
        before, rows, columns = large, rank - large, longest - large
        sigma = float(np.median(singular[large:rank])) / np.sqrt(columns * _median_square(rows / columns))
        limit = sigma * (np.sqrt(rows) + np.sqrt(columns))
        large = max(large, min(int((singular[:rank] > limit).sum()), rank // 2))
    return float(sigma), float(limit)


@lru_cache(maxsize=1024)
def _median_square(ratio: float) -> float:
    """The median of Marchenko and Pastur's law of ratio P / H, in units of sigma^2 x H."""
    # x = 1 + ratio + 2 sqrt(ratio) cos(angle) takes the roots out of the density, which a sum over angles then meets
    angle = (np.arange(20_000) + 0.5) * np.pi / 20_000
    square = 1 + ratio + 2 * np.sqrt(ratio) * np.cos(angle)
    mass = (np.sin(angle) ** 2 / square)[::-1].cumsum()
    return float(np.interp(0.5 * mass[-1], mass, square[::-1]))


__all__ = ["DRAWS", "EPSILON", "MEASURES", "NOISE", "STUDIED", "edge", "measure", "singular_values", "spectrum"]
