"""Do seeds keep the same tokens and pieces? Agreement of masks, against what chance gives masks of that size.

Two masks that keep half of 20 tokens share 5 by chance, a Jaccard index of a third: only what is above that is
agreement. Rounds of one seed are nested by construction: they always agree, and their p would mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from prunekit.analysis import nulls
from prunekit.analysis.subjects import KEYS, PromptRecord
from prunekit.support.seeding import seed_of

FAMILY = tuple(key for key in KEYS if key not in ("seed", "round"))
PAIRS = (
    *FAMILY, "between", "seed", "other_seed", "round", "other_round", "level", "kept", "other_kept", "shared",
    "jaccard", "expected", "expected_jaccard", "p", "nested",
)  # fmt: skip
AGREEMENT = (*FAMILY, "round", "level", "seeds", "share", "jaccard", "expected", "low", "high", "p")

Cells = NDArray[np.bool_]

# random masks made at a time: 20 MB for 6 seeds of 100 x 16
_BLOCK = 500


class _Overlap(NamedTuple):
    """Counts of two masks, what they share and what chance would have them share."""

    kept: int
    other_kept: int
    shared: int
    expected: float
    p: float


def pairs(subjects: Sequence[PromptRecord], *, draws: int = 9999, seed: int = 0) -> pd.DataFrame:
    """Every two seeds of one round, and every two rounds of one seed, of the same run, stage and arm.

    Args:
        subjects: any; masks that drop nothing are left out.
        draws: random masks for the p of level "cell".
        seed: fixes them.

    Columns:
        run, task, model, method, labels, stage, arm (str); between ("seeds" or "rounds"); seed, other_seed, round,
            other_round (int); level: "token", "piece" (the cells of those tokens that both keep) or "cell"; kept,
            other_kept, shared (counts); jaccard (shared / kept by either; NaN where nothing is); expected (shared by
            chance, mean); expected_jaccard (the index of that many); p (chance of sharing as many: hypergeometric for
            tokens; for the pieces of shared tokens the sum of hypergeometric counts; for cells simulated, tokens and
            the pieces of each placed at random; not corrected; NaN where nested); nested (bool: one keeps nothing that
            the other does not).
    """
    rows = []
    for family, members in _families(subjects):
        for first, second in combinations(members, 2):
            seeds, rounds = ((first.keys[key], second.keys[key]) for key in ("seed", "round"))
            if (seeds[0] == seeds[1]) == (rounds[0] == rounds[1]):
                continue
            between = "seeds" if rounds[0] == rounds[1] else "rounds"
            left, right = first.mask.piece.numpy(), second.mask.piece.numpy()
            nested = between == "rounds" and bool((left <= right).all() or (right <= left).all())
            for level, overlap in _levels(left, right, draws, seed):
                index, expected = (_jaccard(overlap, count) for count in (overlap.shared, overlap.expected))
                rows.append((
                    *family, between, *seeds, *rounds, level, overlap.kept, overlap.other_kept, overlap.shared, index,
                    overlap.expected, expected, float("nan") if nested else overlap.p, nested,
                ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(PAIRS))


def agreement(subjects: Sequence[PromptRecord], *, draws: int = 1999, seed: int = 0) -> pd.DataFrame:
    """The agreement of all seeds of a round at once: pairs share seeds, so that their single p cannot be joined.

    Args:
        subjects: as in `pairs`.
        seed: as in `pairs`.
        draws: how often all masks are placed at random.

    Columns:
        run, task, model, method, labels, stage, arm (str); round (int); level ("token" or "cell"); seeds (int); share
            (kept / all, mean over seeds); jaccard (mean over pairs); expected, low, high (mean and 95 % band of that
            mean by chance); p (chance of a mean as high). A row for each round with two seeds or more.
    """
    rows = []
    for family, members in _families(subjects):
        for number in sorted({int(member.keys["round"]) for member in members}):
            masks = np.stack([member.mask.piece.numpy() for member in members if member.keys["round"] == number])
            if len(masks) > 1:
                rows += [(*family, number, *row) for row in _agreement(masks, draws, seed)]
    return pd.DataFrame(rows, columns=list(AGREEMENT))


def _agreement(masks: Cells, draws: int, seed: int) -> Iterator[tuple[object, ...]]:
    """Of masks [S, P, K] the columns of `agreement` from level on, a row for each level."""
    random = np.random.default_rng(seed_of("overlap", seed))
    blocks = [_placed(masks, min(_BLOCK, draws - begin), random) for begin in range(0, draws, _BLOCK)]
    for level in ("token", "cell"):
        jaccard = float(_mean_jaccard(masks[None], level)[0])
        chance = np.concatenate([_mean_jaccard(block, level) for block in blocks])
        low, _, high = nulls.band(chance)
        share = float((masks.any(axis=2) if level == "token" else masks).mean())
        yield level, len(masks), share, jaccard, chance.mean(), low, high, nulls.as_high(jaccard, chance)


def _families(subjects: Sequence[PromptRecord]) -> Iterator[tuple[tuple[object, ...], list[PromptRecord]]]:
    """Subjects of one run, stage and arm that drop something, by seed and round."""
    families: dict[tuple[object, ...], list[PromptRecord]] = {}
    for subject in subjects:
        if not bool(subject.mask.piece.all()):
            families.setdefault(tuple(subject.keys[key] for key in FAMILY), []).append(subject)
    for family, members in families.items():
        yield family, sorted(members, key=lambda member: (int(member.keys["seed"]), int(member.keys["round"])))


def _levels(left: Cells, right: Cells, draws: int, seed: int) -> Iterator[tuple[str, _Overlap]]:
    """Of two masks [P, K] the overlap at each level."""
    tokens, pieces = left.shape
    left_tokens, right_tokens = left.any(axis=1), right.any(axis=1)
    both = left_tokens & right_tokens
    a, b, shared = int(left_tokens.sum()), int(right_tokens.sum()), int(both.sum())
    p = float(stats.hypergeom.sf(shared - 1, tokens, a, b))
    yield "token", _Overlap(a, b, shared, a * b / tokens, p)
    left_pieces, right_pieces = left[both].sum(axis=1), right[both].sum(axis=1)
    shared = int((left & right).sum())
    chance = _sum_of_hypergeometrics(pieces, left_pieces, right_pieces)[shared:].sum() if both.any() else np.nan
    expected = float((left_pieces * right_pieces).sum() / pieces)
    yield "piece", _Overlap(int(left_pieces.sum()), int(right_pieces.sum()), shared, expected, float(min(chance, 1.0)))
    cells = int(left.sum()), int(right.sum())
    drawn = _shared_cells(left.sum(axis=1), right.sum(axis=1), pieces, draws, seed)
    p = nulls.as_high(shared, drawn)
    yield "cell", _Overlap(*cells, shared, cells[0] * cells[1] / (tokens * pieces), p)


def _sum_of_hypergeometrics(pieces: int, left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """Chances of 0, 1, ... shared pieces in all, of tokens that keep left[i] and right[i] of so many pieces each."""
    total = np.ones(1)
    for a, b in zip(left, right, strict=True):
        chances: NDArray[np.float64] = stats.hypergeom.pmf(np.arange(min(a, b) + 1), pieces, a, b)
        total = np.convolve(total, chances)
    return total


def _shared_cells(left: NDArray[Any], right: NDArray[Any], pieces: int, draws: int, seed: int) -> NDArray[np.float64]:
    """[draws] cells that two masks share whose tokens, and the pieces in them, are placed at random."""
    random = np.random.default_rng(seed_of("overlap", seed))
    placed = random.permuted(np.repeat(right[None], draws, axis=0), axis=1)
    counts = np.broadcast_to(left, placed.shape)
    shared: NDArray[np.float64] = random.hypergeometric(counts, pieces - counts, placed).sum(axis=1).astype(np.float64)
    return shared


def _placed(masks: Cells, draws: int, random: np.random.Generator) -> Cells:
    """[draws, S, P, K]: each mask with its tokens, and the pieces of each, placed at random."""
    drawn = random.permuted(np.repeat(masks[None], draws, axis=0), axis=3)
    order = random.random(drawn.shape[:3]).argsort(axis=2)
    placed: Cells = np.take_along_axis(drawn, order[..., None], axis=2)
    return placed


def _mean_jaccard(masks: Cells, level: str) -> NDArray[np.float64]:
    """[N] mean over pairs of S masks, of masks [N, S, P, K]."""
    flags = masks.any(axis=3) if level == "token" else masks.reshape(*masks.shape[:2], -1)
    counts: NDArray[Any] = np.asarray(flags, dtype=np.float32)
    shared = (counts @ counts.transpose(0, 2, 1)).astype(np.float64)  # [N, S, S]
    kept = np.diagonal(shared, axis1=1, axis2=2)
    either = kept[:, :, None] + kept[:, None, :] - shared
    first, second = np.triu_indices(masks.shape[1], k=1)
    means: NDArray[np.float64] = (shared / either)[:, first, second].mean(axis=1)
    return means


def _jaccard(overlap: _Overlap, shared: float) -> float:
    either = overlap.kept + overlap.other_kept - shared
    return shared / either if either else float("nan")
