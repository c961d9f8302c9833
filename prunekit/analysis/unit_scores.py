"""Importance seen from several sides: scores beside what leaving a unit out costs, and the words that lie nearest.

A score is an estimate; leave-one-out and Shapley values are measured (`prunekit.engine.ablation`). Whether a score
ranks units as the measurement does is a question of rank correlation, with an interval, since 20 tokens tell little.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from prunekit.analysis import nulls
from prunekit.analysis.subjects import KEYS
from prunekit.pruning.scores import MEASURED_SCORES, ROUND_SCORES, LeaveOneOut
from prunekit.support.errors import DataError
from prunekit.support.seeding import generator
from prunekit.support.statistics import Floats

UNIT = (*KEYS, "level", "token", "piece")
#: Names of the scores that stand side by side: those of every round, and those that are measured, last.
KINDS = tuple(score.name for score in (*ROUND_SCORES, *MEASURED_SCORES))
MEASURED = tuple(score.name for score in MEASURED_SCORES)
AGREEMENT = (
    *KEYS, "level", "first", "second", "units", "spearman", "spearman_low", "spearman_high", "spearman_p", "kendall",
    "kendall_low", "kendall_high", "kendall_p",
)  # fmt: skip
WORDS = (
    "token", "rank", "word", "similarity", "low", "median", "high", "p", "distance", "random_distance", "start_word",
    "note",
)  # fmt: skip

_FEWEST = 5  # units below which no interval is given


def ranked(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores of `tables.scores` with their ranks among what is kept.

    Columns:
        those of `tables.scores`, and rank (1 = the most important of its round, kind and level; ties share the better
            one; NaN where dropped), rank_in_token (the same among the pieces of one token, by which pieces are pruned;
            NaN at level token), units (how many are ranked).
    """
    group = [*KEYS, "kind", "level"]
    table = scores.copy()
    table["rank"] = table.groupby(group, sort=False)["score"].rank(method="min", ascending=False)
    inside = table.groupby([*group, "token"], sort=False)["score"].rank(method="min", ascending=False)
    table["rank_in_token"] = inside.where(table["level"] == "piece")
    table["units"] = table.groupby(group, sort=False)["score"].transform("count").astype(int)
    return table


def beside(scores: pd.DataFrame, measured: pd.DataFrame) -> pd.DataFrame:
    """One row for each token and each piece, with everything that was measured of its importance side by side.

    Args:
        scores: of `tables.scores`.
        measured: of `tables.measured`; where a kind was measured several times on one prompt, the measurement on the
            most examples counts.

    Columns:
        `KEYS`; level, token, piece (-1 at level token); kept (bool), norm, dropped_in; a column for each of `KINDS`
            (NaN where it was not measured); low, high (95 % interval of leave-one-out over examples, not corrected);
            negative (of leave-one-out; NA where not measured); confirmed (on test as well; NA); test_cost (what leaving
            it out costs there; NaN).

    Raises:
        DataError: where a score comes twice.
    """
    if scores.duplicated([*UNIT, "kind"]).any():
        raise DataError("a unit has two scores of one kind; give one stage of each run")
    wide = scores.pivot(index=list(UNIT), columns="kind", values="score").reset_index()
    facts = scores.drop_duplicates(list(UNIT))[[*UNIT, "kept", "norm", "dropped_in"]]
    table = facts.merge(wide, on=list(UNIT), how="left", sort=False)
    for kind in MEASURED:
        table = table.merge(_of_kind(measured, kind), on=list(UNIT), how="left", sort=False)
    columns = [*UNIT, "kept", "norm", "dropped_in", *KINDS, "low", "high", "negative", "confirmed", "test_cost"]
    return table.reindex(columns=columns).astype({"negative": "boolean", "confirmed": "boolean"})


def _of_kind(measured: pd.DataFrame, kind: str) -> pd.DataFrame:
    """One measurement of each unit, that on the most examples, in a column named after its kind."""
    of_kind = measured[measured["kind"] == kind].sort_values("examples", ascending=False, kind="stable")
    of_kind = of_kind.drop_duplicates(list(UNIT)).rename(columns={"score": kind})
    more = ["low", "high", "negative", "confirmed", "test_cost"] if kind == LeaveOneOut.name else []
    return of_kind[[*UNIT, kind, *more]]


def agreement(units: pd.DataFrame, *, confidence: float = 0.95) -> pd.DataFrame:
    """How alike two kinds of importance rank the kept units, for every two that there are.

    Args:
        units: of `beside`.

    Columns:
        `KEYS`; level; first, second (of `KINDS`, in that order); units (how many have both); spearman, kendall (rank
            correlations in [-1, 1]; NaN where a kind is the same for all); spearman_low, spearman_high (Bonett and
            Wright 2000), kendall_low, kendall_high (Fieller et al. 1957): intervals on Fisher's scale for further units
            like these, approximate, NaN below 5 units; spearman_p, kendall_p (two-sided, of no correlation; not
            corrected).
    """
    rows = []
    for keys, of_prompt in units[units["kept"]].groupby([*KEYS, "level"], sort=False):
        kinds = [kind for kind in KINDS if of_prompt[kind].notna().any()]
        for first, second in combinations(kinds, 2):
            both = of_prompt[[first, second]].dropna().to_numpy(dtype=float)
            rows.append((*keys, first, second, len(both), *_correlations(both, confidence)))
    return pd.DataFrame(rows, columns=list(AGREEMENT))


def nearest_words(
    values: Tensor,
    embedding: Tensor,
    words: Sequence[str],
    *,
    start: Tensor | None = None,
    top: int = 5,
    draws: int = 199,
    seed: int = 0,
) -> pd.DataFrame:
    """The words whose embeddings point most nearly as a token does: a hint, and nothing more.

    Every vector has a nearest word, and prompts that are trained hardly ever mean theirs. So each is set against what
    random directions have for nearest; and against where it came from, since a prompt that started as words lies near
    them for no other reason.

    Args:
        values: [P, H] prompt tokens.
        embedding: [V, H].
        words: V names.
        start: [P, H] what the tokens started from.
        top: words per token.
        draws: random vectors.
        seed: fixes them.

    Columns:
        token (int); rank (1 = nearest); word; similarity (cosine); low, median, high (95 % band of the nearest word's
            cosine for random directions); p (chance of a random direction having a word as near; not corrected for the
            number of tokens); distance (Euclid); random_distance (median distance from a random vector of this norm to
            its nearest word); start_word (the word nearest to the token's start; empty where that is not given); note
            ("hint").

    Raises:
        ValueError: where there is not a name for each row of `embedding`.
    """
    if len(words) != len(embedding):
        raise ValueError(f"{len(words)} words for {len(embedding)} embeddings")
    vectors, table = values.float(), embedding.float()
    sizes = table.norm(dim=1)
    unit = _unit(table)
    noise = _unit(torch.randn(draws, table.shape[1], generator=generator("nearest words", seed))) @ unit.T  # [draws, V]
    best = noise.amax(dim=1).double().numpy()
    low, median, high = nulls.band(best)
    cosines = _unit(vectors) @ unit.T
    began = [""] * len(values) if start is None else [words[word] for word in (_unit(start.float()) @ unit.T).argmax(1)]
    rows = []
    for token, (vector, row) in enumerate(zip(vectors, cosines, strict=True)):
        # |p - e|^2 of a vector of this norm, with a cosine to e
        size = vector.norm()
        apart = (size**2 + sizes**2 - 2 * size * sizes * noise).amin(dim=1).clamp(min=0).sqrt()
        near = row.topk(min(top, len(words)))
        for rank, (cosine, word) in enumerate(zip(near.values.tolist(), near.indices.tolist(), strict=True), start=1):
            rows.append((
                token, rank, words[word], cosine, low, median, high, nulls.as_high(cosine, best),
                float((vector - table[word]).norm()), float(apart.median()), began[token], "hint",
            ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(WORDS))


def _correlations(pairs: Floats, confidence: float) -> tuple[float, ...]:
    """Of pairs [N, 2]: Spearman's rho with its interval and p, then Kendall's tau with its own."""
    count = len(pairs)
    if count < 3 or not np.ptp(pairs, axis=0).all():
        return (float("nan"),) * 8
    rho, tau = stats.spearmanr(pairs[:, 0], pairs[:, 1]), stats.kendalltau(pairs[:, 0], pairs[:, 1])
    rho_error = np.sqrt((1 + rho.statistic**2 / 2) / max(count - 3, 1))
    tau_error = np.sqrt(0.437 / max(count - 4, 1))
    spearman = (*_interval(rho.statistic, rho_error, count, confidence), float(rho.pvalue))
    return (*spearman, *_interval(tau.statistic, tau_error, count, confidence), float(tau.pvalue))


def _unit(vectors: Tensor) -> Tensor:
    """[N, H] of length 1; zeros stay zeros."""
    units: Tensor = vectors / vectors.norm(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    return units


def _interval(value: float, error: float, count: int, confidence: float) -> tuple[float, float, float]:
    """A correlation with its interval on Fisher's scale, which ends at the correlation itself where that is 1."""
    if count < _FEWEST:
        return float(value), float("nan"), float("nan")
    middle = np.arctanh(np.clip(value, -1 + 1e-12, 1 - 1e-12))
    reach = stats.norm.ppf((1 + confidence) / 2) * error
    return float(value), float(np.tanh(middle - reach)), float(np.tanh(middle + reach))
