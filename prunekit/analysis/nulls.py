"""What a spectrum looks like where nothing was learned: singular values of random matrices beside a prompt's own.

A null is matched to a matrix in its shape, its dropped pieces and its centring. All rank measures are free of scale, so
that Gaussian noise needs no variance. The shuffles keep what noise of equal entries does not have: permuting the
entries of each row keeps the norms of tokens, permuting those of each column the means and the spread of coordinates
(language models have a few large ones). Starts of the same initialiser keep what the start alone explains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunekit.analysis.subjects import CENTRED, PromptRecord, centred
from prunekit.support.seeding import seed_of

#: Nulls of no structure; what is lower than all three is called low.
NOISE = ("gaussian", "rows shuffled", "columns shuffled")
#: The null of starts drawn as the prompt's own was; it needs a function that draws them.
INITIALISATION = "initialisation"

#: count -> [count, P, H]: so many different starts of the initialiser that a prompt began with, the same at each call.
Starts = Callable[[int], Tensor]

# random matrices made at a time: 30 MB of 100 x 768
_BLOCK = 50


def singular_values(
    null: str, subject: PromptRecord, name: str, *, draws: int, seed: int, starts: Starts | None = None
) -> Tensor:
    """[draws, R] singular values, falling, of so many null matrices beside the subject's matrix `name`.

    Args:
        null: one of `NOISE`, or `INITIALISATION`, for which `starts` are needed: then a null of "values" and "start" is
            a start, one of "change" the difference of two.

    Raises:
        ValueError: where the null is not known, or needs starts.
    """
    keep, centre = subject.keep, name.endswith(CENTRED)
    shape = (keep.shape[0], keep.shape[1])
    if null == "gaussian":
        return _gaussian(shape, keep.numpy().tobytes(), centre, draws, seed)
    if null in NOISE:
        matrix = subject.matrix(name).numpy()
        return _of_shuffles(null, matrix.tobytes(), shape, keep.numpy().tobytes(), centre, draws, seed)
    if null != INITIALISATION:
        raise ValueError(f'no null is called "{null}"; there are {", ".join((*NOISE, INITIALISATION))}')
    if starts is None:
        raise ValueError("the null of the initialisation needs `starts`, which draws them")
    return _spectra(_started(subject, name, starts, draws), keep, centre)


def as_low(value: float, null: NDArray[np.float64]) -> float:
    """The chance that the null [draws] gives a value as low, the observed one counted among the draws (never 0)."""
    return float((1 + np.count_nonzero(null <= value * (1 + 1e-9))) / (1 + null.size))


def as_high(value: float, null: NDArray[np.float64]) -> float:
    """The same for a value as high; null: [draws]."""
    return float((1 + np.count_nonzero(null >= value * (1 - 1e-9))) / (1 + null.size))


def band(null: NDArray[np.float64]) -> tuple[Any, Any, Any]:
    """Low, median and high [...] of the middle 95 % of a null [draws, ...]."""
    low, median, high = np.quantile(null, [0.025, 0.5, 0.975], axis=0)
    return low, median, high


@lru_cache(maxsize=256)
def _gaussian(shape: tuple[int, int], keep: bytes, centre: bool, draws: int, seed: int) -> Tensor:
    """Once for a shape and mask: the seeds of a run and its snapshots share it."""
    kept = torch.from_numpy(_array(keep, shape, bool))
    random = np.random.default_rng(seed_of("gaussian null", seed))
    blocks = (torch.from_numpy(random.standard_normal((count, *shape))) * kept for count in _counts(draws))
    return _spectra(blocks, kept, centre)


@lru_cache(maxsize=64)
def _of_shuffles(
    null: str, matrix: bytes, shape: tuple[int, int], keep: bytes, centre: bool, draws: int, seed: int
) -> Tensor:
    """Once for a matrix: measures and edges share it."""
    kept = _array(keep, shape, bool)
    blocks = _shuffled(null, _array(matrix, shape, np.float64), kept, draws, seed)
    return _spectra(blocks, torch.from_numpy(kept), centre)


def _shuffled(
    null: str, matrix: NDArray[np.float64], keep: NDArray[np.bool_], draws: int, seed: int
) -> Iterator[Tensor]:
    by_rows = null == "rows shuffled"
    # lines last: permuting along memory is several times quicker
    lines, kept = (matrix, keep) if by_rows else (matrix.T.copy(), keep.T)
    random = np.random.default_rng(seed_of(null, seed))
    for count in _counts(draws):
        block = np.repeat(lines[None], count, axis=0)
        if kept.all():
            random.permuted(block, axis=-1, out=block)
        else:
            for alike in _alike(kept):
                area: Any = (slice(None), *alike)
                block[area] = random.permuted(block[area], axis=-1)
        drawn = torch.from_numpy(block)
        yield drawn if by_rows else drawn.mT


def _alike(kept: NDArray[np.bool_]) -> list[tuple[NDArray[Any], ...]]:
    """Index grids of the kept entries of those lines that keep the same ones, so that they are permuted as a block."""
    patterns, group = np.unique(kept, axis=0, return_inverse=True)
    rows = [np.flatnonzero(group.ravel() == number) for number in range(len(patterns))]
    return [np.ix_(row, np.flatnonzero(line)) for row, line in zip(rows, patterns, strict=True) if line.any()]


def _started(subject: PromptRecord, name: str, starts: Starts, draws: int) -> Iterator[Tensor]:
    token = subject.mask.token
    drawn = starts(2 * draws if name.startswith("change") else draws)  # once: it may give the same again
    for count, begin in zip(_counts(draws), range(0, draws, _BLOCK), strict=True):
        block = drawn[begin : begin + count].double()
        if name.startswith("change"):
            block = block - drawn[draws + begin : draws + begin + count].double()
        yield block[:, token] * subject.keep


def _array(content: bytes, shape: tuple[int, int], kind: type) -> NDArray[Any]:
    return np.frombuffer(content, dtype=kind).reshape(shape).copy()


def _counts(draws: int) -> list[int]:
    return [min(_BLOCK, draws - start) for start in range(0, draws, _BLOCK)]


def _spectra(blocks: Iterator[Tensor], keep: Tensor, centre: bool) -> Tensor:
    return torch.cat([_by_gram(centred(block, keep) if centre else block) for block in blocks])


def _by_gram(matrices: Tensor) -> Tensor:
    """Singular values [N, R] as roots of the eigenvalues of the smaller Gram matrix, in float64.

    Several times quicker than a decomposition of each. A value below 1e-8 of the largest is rounding there; of noise no
    value is that small but those that centring makes exactly zero, and no measure tells 1e-8 from 0.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    gram = matrices.mT @ matrices if tall else matrices @ matrices.mT
    values: Tensor = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt().flip(-1)
    return values
