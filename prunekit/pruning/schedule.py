"""Schedules and grids: how many tokens and pieces are kept, exact and known before any training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prunekit.support.errors import ConfigError

Grid = Literal["paper", "full", "token", "piece", "rank"]
#: What is pruned: tokens and pieces of tokens, or singular directions of the whole prompt.
Unit = Literal["cells", "directions"]

#: Shares that a search drops, beside none (XPrompt, section 4.1).
RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
# 0.3 of 10 is 3, whatever floating point makes of it
_ROUNDING = 1e-9
# shares of the updates after which successive halving drops the worse half
_RUNGS = (0.125, 0.25, 0.5)


@dataclass(frozen=True)
class Keep:
    """What one round keeps, in counts.

    Attributes:
        tokens: of the P tokens.
        pieces: of the K pieces of each kept token.
        rank: of the prompt's directions, where those are pruned and not tokens and pieces; else None.
    """

    tokens: int
    pieces: int
    rank: int | None = None

    @classmethod
    def of(cls, counts: Mapping[Any, Any]) -> Keep:
        """What a row of a table says, which has a rank where directions were pruned."""
        rank = counts.get("rank")
        return cls(int(counts["tokens"]), int(counts["pieces"]), None if rank is None else int(rank))

    def __repr__(self) -> str:
        rank = "" if self.rank is None else f", rank={self.rank}"
        return f"Keep(tokens={self.tokens}, pieces={self.pieces}{rank})"

    @property
    def unit(self) -> Unit:
        """What is pruned."""
        return "cells" if self.rank is None else "directions"

    @property
    def name(self) -> str:
        """As directories and tables spell it."""
        return f"tokens={self.tokens}-pieces={self.pieces}" if self.rank is None else f"rank={self.rank}"

    @property
    def words(self) -> str:
        """As people read it, such as "5 tokens x 8 pieces"."""
        return f"{self.tokens} tokens x {self.pieces} pieces" if self.rank is None else f"rank {self.rank}"

    @property
    def brief(self) -> str:
        """The same in a narrow column, such as "5 x 8"."""
        return f"{self.tokens} x {self.pieces}" if self.rank is None else self.words

    @property
    def counts(self) -> dict[str, int]:
        """All of it by name; the rank only where directions are pruned."""
        cells = {"tokens": self.tokens, "pieces": self.pieces}
        return cells if self.rank is None else cells | {"rank": self.rank}

    @property
    def size(self) -> tuple[int, int]:
        """What orders counts of one unit as their free numbers do: kept cells, or directions; then tokens."""
        return self.tokens * self.pieces if self.rank is None else self.rank, self.tokens


@dataclass(frozen=True)
class Schedule:
    """A target for the last round and the number of rounds that lead there geometrically.

    Attributes:
        rounds: prunings after the dense round 0.
        keep_tokens: what the last round keeps; an int is a count, a float a fraction of P (of K) in (0, 1].
        keep_pieces: what the last round keeps; an int is a count, a float a fraction of P (of K) in (0, 1].
    """

    rounds: int
    keep_tokens: int | float
    keep_pieces: int | float

    @classmethod
    def geometric(cls, rounds: int, keep_tokens: int | float, keep_pieces: int | float) -> Schedule:
        """The same fraction of what is left is dropped in every round."""
        return cls(rounds, keep_tokens, keep_pieces)

    def keeps(self, tokens: int, pieces: int) -> tuple[Keep, ...]:
        """The exact counts for rounds 1 to N of a prompt of P = `tokens` and K = `pieces`; never rising.

        Raises:
            ConfigError: where a count is zero or larger than what there is.
        """
        last_tokens = target(self.keep_tokens, tokens, "keep_tokens", "tokens")
        last_pieces = target(self.keep_pieces, pieces, "keep_pieces", "pieces")
        return tuple(
            Keep(
                _between(tokens, last_tokens, number / self.rounds), _between(pieces, last_pieces, number / self.rounds)
            )
            for number in range(1, self.rounds + 1)
        )


def ranks(rounds: int, keep_rank: int | float, tokens: int, pieces: int) -> tuple[Keep, ...]:
    """The rank of each of N = `rounds` rounds, geometrically from full rank down to `keep_rank`; never rising.

    Args:
        keep_rank: what the last round keeps; an int is a count, a float a fraction of P in (0, 1].
        tokens: P, all of them kept; no more than H, so that full rank is P.
        pieces: K, all of them kept.

    Raises:
        ConfigError: where the count is zero or larger than P.
    """
    last = target(keep_rank, tokens, "keep_rank", "directions")
    return tuple(Keep(tokens, pieces, _between(tokens, last, number / rounds)) for number in range(1, rounds + 1))


def line(whole: int, ratios: Sequence[float] = RATIOS) -> tuple[int, ...]:
    """What of `whole` is left when nothing or a share is dropped: counts, falling, none twice, at least one.

    The dropped count is rounded down, as in the nearest public code (E2VPT).

    Args:
        ratios: shares in (0, 1).
    """
    counts = {max(1, whole - int(whole * ratio + _ROUNDING)) for ratio in (0, *ratios)}
    return tuple(sorted(counts, reverse=True))


def grid(tokens: int, pieces: int, ratios: Sequence[float] = RATIOS) -> tuple[Keep, ...]:
    """Every pair of a token count and a piece count of a search over P = `tokens` and K = `pieces`.

    Args:
        ratios: shares of tokens and of pieces that are dropped, in (0, 1).
    """
    return tuple(Keep(kept, left) for kept in line(tokens, ratios) for left in line(pieces, ratios))


def rank_line(tokens: int, pieces: int, ratios: Sequence[float] = RATIOS) -> tuple[Keep, ...]:
    """Every rank of a search over the directions of a prompt of P = `tokens`, full rank P first; all cells are kept.

    Args:
        tokens: P, no more than H.
        pieces: K.
        ratios: shares of directions that are dropped.
    """
    return tuple(Keep(tokens, pieces, rank) for rank in line(tokens, ratios))


def rungs(train_steps: int, evaluate_every: int) -> tuple[int, ...]:
    """The steps after which successive halving drops the worse half: evaluations at or after 1/8, 1/4, 1/2 of all."""
    steps = (-(-share * train_steps // evaluate_every) * evaluate_every for share in _RUNGS)
    return tuple(dict.fromkeys(int(step) for step in steps if step < train_steps))


def target(keep: int | float, whole: int, name: str, unit: str) -> int:
    """The count that `keep` (a count, or a fraction of `whole`) stands for; half is rounded up.

    Raises:
        ConfigError: unless 1 <= count <= whole.
    """
    advice = f"give a count from 1 to {whole}, or a fraction up to 1.0"
    if isinstance(keep, float) and not 0 <= keep <= 1:
        raise ConfigError(f"{name} = {keep} is not a fraction of the {whole} {unit}; {advice}")
    count = int(keep * whole + 0.5) if isinstance(keep, float) else keep
    if not 1 <= count <= whole:
        raise ConfigError(f"{name} = {keep} keeps {count} of {whole} {unit}; {advice}")
    return count


def _between(start: int, end: int, progress: float) -> int:
    """The geometric mean of start and end at `progress` in [0, 1], rounded to a whole count."""
    return int(start * (end / start) ** progress + 0.5)
