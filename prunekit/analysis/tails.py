"""Does a spectrum have a power-law tail? An exponent only beside what noise gives, and with its goodness of fit.

A fit always returns an exponent: common tools give 2.7 to 4.8 for pure Gaussian noise and warn of nothing. So each is
set against the exponents of Gaussian matrices of the same shape, and against power laws of that very exponent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from prunekit.analysis import nulls
from prunekit.analysis.spectra import DRAWS, STUDIED, singular_values
from prunekit.analysis.subjects import KEYS, PromptRecord, largest_rank
from prunekit.support.seeding import seed_of
from prunekit.support.statistics import Floats

COLUMNS = (
    *KEYS, "matrix", "exponent", "points", "smallest", "ks", "p_fit", "low", "median", "high", "p", "finding",
)  # fmt: skip

#: Fewer singular values than this tell no law (Clauset, Shalizi and Newman 2009 ask for 50 at least).
FEWEST = 50
_TAIL = 10  # fewest points of a tail
_REFUTED = 0.1  # Clauset's bound on p_fit


class Fit(NamedTuple):
    """Power laws fitted to the tails of N rows. exponent, smallest (where the tail begins), ks, points: each [N]."""

    exponent: Floats
    smallest: Floats
    ks: Floats
    points: Floats


def exponents(
    subjects: Sequence[PromptRecord],
    *,
    matrices: Sequence[str] = STUDIED,
    draws: int = DRAWS,
    seed: int = 0,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """The exponent of a power law fitted to the tail of the squared singular values, and whether it means anything.

    Columns:
        `KEYS`; matrix (str); exponent a of a density x^-a; points (int, in the tail); smallest (square of a singular
            value, where the tail begins); ks (Kolmogorov and Smirnov's distance of tail and law); p_fit (chance that a
            sample of that law fits as badly, Clauset et al. 2009: up to 0.1 refutes it); low, median, high (95 % band
            of the exponents of Gaussian noise of this shape); p (chance that noise gives an exponent as small, a tail
            as heavy); finding: "too few values" (below 50; all numbers NaN), "no power law" (p_fit <= 0.1), "as noise"
            (p > alpha), else "heavier than noise".
    """
    rows = []
    for subject in subjects:
        for name in matrices:
            rank = largest_rank(subject.keep, name)
            squares = singular_values(subject.matrix(name)).numpy()[None, :rank] ** 2
            keys = (*(subject.keys[key] for key in KEYS), name)
            if rank < FEWEST or not squares.all():
                nothing = float("nan")
                rows.append((*keys, nothing, 0, *[nothing] * 7, "too few values"))
                continue
            law = fit(squares)
            noise = nulls.singular_values("gaussian", subject, name, draws=draws, seed=seed).numpy()[:, :rank]
            null = fit(noise**2).exponent
            exponent = float(law.exponent[0])
            fits, p = _goodness(squares[0], law, draws, seed), nulls.as_low(exponent, null)
            finding = "no power law" if fits <= _REFUTED else "as noise" if p > alpha else "heavier than noise"
            rows.append((
                *keys, exponent, int(law.points[0]), float(law.smallest[0]), float(law.ks[0]), fits,
                *nulls.band(null), p, finding,
            ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def fit(samples: Floats) -> Fit:
    """Of each row of samples [N, R], positive, R >= 10: the tail that is nearest to a power law, and the law.

    Every value that leaves at least 10 points is tried as the start of the tail; the maximum-likelihood exponent that
    comes nearest in Kolmogorov and Smirnov's distance is taken (Clauset et al. 2009, section 3.3).
    """
    falling = -np.sort(-samples, axis=1)
    logs = np.log(falling)
    sums = logs.cumsum(axis=1)
    best = Fit(*(np.full(len(samples), np.inf) for _ in Fit._fields))
    for points in range(_TAIL, samples.shape[1] + 1):
        start = logs[:, points - 1]
        with np.errstate(divide="ignore"):
            exponent = 1 + points / (sums[:, points - 1] - points * start)
        # P(X > x) of the law at each point, and the shares of points above it and from it on
        above = np.exp(-(exponent - 1)[:, None] * (logs[:, :points] - start[:, None]))
        rank = np.arange(points)
        ks = np.maximum(np.abs(above - rank / points), np.abs(above - (rank + 1) / points)).max(axis=1)
        better = np.isfinite(exponent) & (ks < best.ks)
        tried = (exponent, falling[:, points - 1], ks, np.full(len(samples), float(points)))
        best = Fit(*(np.where(better, new, old) for new, old in zip(tried, best, strict=True)))
    return best


def _goodness(sample: Floats, law: Fit, draws: int, seed: int) -> float:
    """The chance that a sample of the fitted law, its body drawn from the sample's own, fits as badly."""
    random = np.random.default_rng(seed_of("power law", seed))
    exponent, smallest, points = float(law.exponent[0]), float(law.smallest[0]), int(law.points[0])
    body = sample[sample < smallest]
    shape = (draws, sample.size)
    drawn = smallest * (1 - random.random(shape)) ** (-1 / (exponent - 1))
    if body.size:
        drawn = np.where(random.random(shape) < points / sample.size, drawn, random.choice(body, shape))
    return nulls.as_high(float(law.ks[0]), fit(drawn).ks)
