"""The ratio search of XPrompt (Ma et al. 2022, sections 3.2 and 4.1): score once, try ratios, choose on `validation`.

    for each pair of ratios:   drop the worst tokens -> of the rest, the worst pieces -> rewind -> train again
    choose the pair whose ticket is best on `validation`

Tokens go first, pieces of the surviving tokens second, both by the scores of the dense round, so that all masks of a
seed are nested along each ratio. As in `lottery`, nothing here knows a model or a disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from prunekit.prompts.mask import Mask
from prunekit.pruning.lottery import Rewinding, Round, RoundResult
from prunekit.pruning.prune import prune_mask
from prunekit.pruning.schedule import Grid, Keep, grid, line
from prunekit.pruning.scores import Scores
from prunekit.pruning.ticket import Ticket

#: One cell of a seed's grid.
Key = tuple[int, Keep]
LearnCells = Callable[[Mapping[Key, Ticket]], Mapping[Key, RoundResult]]
#: Scores of finished cells at the values that they kept.
Rescore = Callable[[Sequence[Key]], Mapping[Key, Scores]]
_Wanted = Mapping[int, Sequence[Keep]]


@dataclass(frozen=True)
class Found:
    """What a search tried and chose.

    Attributes:
        tickets: by (seed, counts).
        learned: by (seed, counts).
        chosen: the best counts of each seed.
        token_only: the best with all pieces, with all tokens, where the search tried such.
        piece_only: the best with all pieces, with all tokens, where the search tried such.
    """

    tickets: Mapping[Key, Ticket]
    learned: Mapping[Key, RoundResult]
    chosen: Mapping[int, Keep]
    token_only: Mapping[int, Keep]
    piece_only: Mapping[int, Keep]


def search_ratios(
    dense: Round,
    asked: Grid,
    learn: LearnCells,
    rewinding: Rewinding,
    *,
    piece_line: bool = False,
    rescore: Rescore | None = None,
) -> Found:
    """Try the ratios of a grid for every seed of the dense round, and choose.

    Args:
        piece_line: under "paper", also try the piece ratios with all tokens, for the piece-only row of a table; they
            are not chosen from.
        rescore: under "paper", gives the scores by which pieces of the chosen tokens go.
    """
    tokens, pieces = dense.tickets[0].mask.piece.shape
    token_line = [Keep(kept, pieces) for kept in line(tokens)]
    all_pieces = [Keep(tokens, kept) for kept in line(pieces)]
    alive = {ticket.seed: one.scores for ticket, one in zip(dense.tickets, dense.learned, strict=True) if one.scores}
    keeps = {"paper": token_line, "full": grid(tokens, pieces), "token": token_line, "piece": all_pieces}[asked]
    whole = {ticket.seed: ticket.mask for ticket in dense.tickets}
    tickets: dict[Key, Ticket] = {}
    learned: dict[Key, RoundResult] = {}

    def attempt(wanted: _Wanted, scores: Mapping[int, Scores], masks: Mapping[int, Mask]) -> None:
        new = {
            (seed, keep): _start(dense, seed, prune_mask(masks[seed], scores[seed], keep), rewinding)
            for seed, keeps in wanted.items()
            for keep in keeps
            if (seed, keep) not in tickets
        }
        tickets.update(new)
        learned.update(learn(new) if new else {})

    attempt(dict.fromkeys(alive, keeps), alive, whole)
    chosen = best(learned, keeps)
    if asked == "paper":
        scores = alive
        if rescore is not None and chosen:
            scores = {key[0]: found for key, found in rescore(list(chosen.items())).items()}
        second = {
            seed: [Keep(keep.tokens, kept) for kept in line(pieces)] for seed, keep in chosen.items() if seed in scores
        }
        # from the chosen masks: new scores choose among pieces, not among tokens again
        attempt(second, scores, {key[0]: tickets[key].mask for key in chosen.items()})
        chosen = {seed: found for seed, keeps in second.items() for found in best(_of(learned, seed), keeps).values()}
        if piece_line:  # last, so that the search is the same with it and without
            attempt(dict.fromkeys(alive, all_pieces), alive, whole)
    return Found(
        tickets,
        learned,
        chosen,
        best(learned, token_line) if asked != "piece" else {},
        best(learned, all_pieces) if asked in ("piece", "full") or (asked == "paper" and piece_line) else {},
    )


def best(learned: Mapping[Key, RoundResult], keeps: Iterable[Keep]) -> dict[int, Keep]:
    """The best counts of each seed among `keeps`; cells that did not come to their end are not chosen."""
    allowed = set(keeps)
    ended = {key: one.validation for key, one in learned.items() if key[1] in allowed and one.validation is not None}
    seeds = dict.fromkeys(seed for seed, _ in ended)
    return {seed: best_of({key: value for key, value in ended.items() if key[0] == seed})[1] for seed in seeds}


def best_of(reached: Mapping[Key, float]) -> Key:
    """The cell with the best validation metric; of equals the one of fewest kept cells, then of fewest tokens."""
    return max(reached, key=lambda key: _rank(key[1], reached[key]))


def worse_half(standings: Mapping[Key, float]) -> set[Key]:
    """The cells that successive halving drops (Jamieson and Talwalkar 2016): of each seed, all but the better half.

    Args:
        standings: the best validation metric so far, of the cells still in training. An odd one stays.
    """
    worse: set[Key] = set()
    for seed in {key[0] for key in standings}:
        keys = [key for key in standings if key[0] == seed]
        keys.sort(key=lambda key: _rank(key[1], standings[key]), reverse=True)
        worse |= set(keys[(len(keys) + 1) // 2 :])
    return worse


def _rank(keep: Keep, validation: float) -> tuple[float, int, int]:
    """Larger is better: the metric, then fewer cells, then fewer tokens."""
    return validation, -keep.tokens * keep.pieces, -keep.tokens


def _start(dense: Round, seed: int, mask: Mask, rewinding: Rewinding) -> Ticket:
    ticket, learned = dense.of(seed)
    return rewinding.start(ticket, mask, 1, learned, learned)


def _of(learned: Mapping[Key, RoundResult], seed: int) -> dict[Key, RoundResult]:
    return {key: one for key, one in learned.items() if key[0] == seed}
