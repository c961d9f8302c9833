"""The ratio search of XPrompt (Ma et al. 2022, sections 3.2 and 4.1): score once, try ratios, choose on `validation`.

    for each pair of ratios:   drop the worst tokens -> of the rest, the worst pieces -> rewind -> train again
    choose the pair whose ticket is best on `validation`

Tokens go first, pieces of the surviving tokens second, both by the scores of the dense round, so that all masks of a
seed are nested along each ratio. A *trial* is one pair of counts tried for one seed. A search over ranks tries how many
singular directions are kept instead, by their scores. As in `lottery`, nothing here knows a model or a disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from prunekit.prompts.mask import Mask
from prunekit.pruning.lottery import Rewinding, Round, RoundResult, next_ticket
from prunekit.pruning.schedule import RATIOS, Grid, Keep, grid, line, rank_line
from prunekit.pruning.scores import Scores
from prunekit.pruning.ticket import Ticket

#: A trial: the seed, and what is kept.
Trial = tuple[int, Keep]
TrainTrials = Callable[[Mapping[Trial, Ticket]], Mapping[Trial, RoundResult]]
#: Scores of finished trials at the values that they kept.
Rescore = Callable[[Sequence[Trial]], Mapping[Trial, Scores]]


class GridLine(NamedTuple):
    """One edge of the grid, whose best trial is shown beside the chosen one.

    Attributes:
        name: as directories and tables spell it.
        label: as tables for people and figures spell it.
    """

    name: str
    label: str


TOKEN_ONLY = GridLine("token-only", "token only")
PIECE_ONLY = GridLine("piece-only", "piece only")
GRID_LINES = (TOKEN_ONLY, PIECE_ONLY)


@dataclass(frozen=True)
class SearchResult:
    """What a search tried and chose.

    Attributes:
        tickets: of every trial.
        results: of every trial.
        whole: the counts of the trial that drops nothing.
        chosen: the best counts of each seed.
        best_of_line: by the name of a grid line (all pieces kept: "token-only"; all tokens kept: "piece-only"), the
            best counts of each seed on it; empty where the search did not try it.
    """

    tickets: Mapping[Trial, Ticket]
    results: Mapping[Trial, RoundResult]
    whole: Keep
    chosen: Mapping[int, Keep]
    best_of_line: Mapping[str, Mapping[int, Keep]]


def search_ratios(
    dense: Round,
    kind: Grid,
    train: TrainTrials,
    rewinding: Rewinding,
    *,
    ratios: Sequence[float] = RATIOS,
    piece_line: bool = False,
    rescore: Rescore | None = None,
) -> SearchResult:
    """Try the ratios of a grid for every seed of the dense round, and choose.

    Args:
        kind: "full", every pair; "paper", token ratios, then piece ratios at the best; "token" or "piece", one line;
            "rank", ranks, for which the dense round has scores of directions.
        ratios: shares that each line drops, beside none.
        piece_line: under "paper", also try the piece ratios with all tokens, for the piece-only row of a table; they
            are not chosen from.
        rescore: under "paper", gives the scores by which pieces of the chosen tokens go.
    """
    tokens, pieces = dense.tickets[0].mask.piece.shape
    token_line = [Keep(kept, pieces) for kept in line(tokens, ratios)]
    all_tokens = [Keep(tokens, kept) for kept in line(pieces, ratios)]
    lines = {"paper": token_line, "token": token_line, "piece": all_tokens}
    keeps = (lines | {"full": grid(tokens, pieces, ratios), "rank": rank_line(tokens, pieces, ratios)})[kind]
    trials = _Trials(dense, train, rewinding)
    trials.run(dict.fromkeys(trials.scores, keeps))
    chosen = best(trials.results, keeps)
    if kind == "paper":
        chosen = _choose_pieces(trials, chosen, line(pieces, ratios), rescore)
        if piece_line:  # last, so that the search is the same with it and without
            trials.run(dict.fromkeys(trials.scores, all_tokens))
    pieces_tried = kind in ("piece", "full") or (kind == "paper" and piece_line)
    best_of_line = {
        TOKEN_ONLY.name: best(trials.results, token_line) if kind != "piece" else {},
        PIECE_ONLY.name: best(trials.results, all_tokens) if pieces_tried else {},
    }
    return SearchResult(trials.tickets, trials.results, keeps[0], chosen, best_of_line)


@dataclass
class _Trials:
    """The trials of a search so far; `scores` are those of the dense round, of the seeds that came to its end."""

    dense: Round
    train: TrainTrials
    rewinding: Rewinding
    tickets: dict[Trial, Ticket] = field(default_factory=dict)
    results: dict[Trial, RoundResult] = field(default_factory=dict)

    def __post_init__(self) -> None:
        members = zip(self.dense.tickets, self.dense.results, strict=True)
        self.scores = {ticket.seed: result.scores for ticket, result in members if result.scores}

    def run(
        self,
        keeps: Mapping[int, Sequence[Keep]],
        scores: Mapping[int, Scores] | None = None,
        masks: Mapping[int, Mask] | None = None,
    ) -> None:
        """Train the trials of these counts by seed that were not tried yet, as one batch.

        Args:
            scores: by seed, default those of the dense round.
            masks: by seed, what is pruned; default the dense masks.
        """
        scores = self.scores if scores is None else scores
        new = {}
        for seed, counts in keeps.items():
            first = ticket, result = self.dense.of(seed)
            whole = ticket.mask if masks is None else masks[seed]
            last = replace(ticket, mask=whole), replace(result, scores=scores[seed])
            for keep in counts:
                if (seed, keep) not in self.tickets:
                    new[seed, keep] = self._start(first, last, keep)
        self.tickets.update(new)
        self.results.update(self.train(new) if new else {})

    def _start(self, first: tuple[Ticket, RoundResult], last: tuple[Ticket, RoundResult], keep: Keep) -> Ticket:
        """As `next_ticket`, but at full rank the dense prompt's own numbers: they are trained on as its control is."""
        ticket, result = last
        if keep.rank == ticket.mask.tokens:
            return self.rewinding.start(ticket, ticket.mask, ticket.round + 1, result, first[1])
        return next_ticket(first, last, keep, self.rewinding)


def _choose_pieces(
    trials: _Trials, tokens: Mapping[int, Keep], pieces: Sequence[int], rescore: Rescore | None
) -> dict[int, Keep]:
    """The second half of the paper's search: piece ratios at the best token count of each seed."""
    scores: Mapping[int, Scores] = trials.scores
    if rescore is not None and tokens:
        scores = {trial[0]: new for trial, new in rescore(list(tokens.items())).items()}
    keeps = {seed: [Keep(keep.tokens, kept) for kept in pieces] for seed, keep in tokens.items() if seed in scores}
    # from the chosen masks: new scores choose among pieces, not among tokens again
    trials.run(keeps, scores, {seed: trials.tickets[seed, keep].mask for seed, keep in tokens.items()})
    chosen: dict[int, Keep] = {}
    for seed, counts in keeps.items():
        chosen |= best({trial: result for trial, result in trials.results.items() if trial[0] == seed}, counts)
    return chosen


def best(results: Mapping[Trial, RoundResult], keeps: Iterable[Keep]) -> dict[int, Keep]:
    """The best counts of each seed among `keeps`; trials that did not come to their end are not chosen."""
    allowed = set(keeps)
    validation = {
        trial: result.validation
        for trial, result in results.items()
        if trial[1] in allowed and result.validation is not None
    }
    seeds = dict.fromkeys(seed for seed, _ in validation)
    return {
        seed: best_of({trial: value for trial, value in validation.items() if trial[0] == seed})[1] for seed in seeds
    }


def best_of(validation: Mapping[Trial, float]) -> Trial:
    """The trial with the best validation metric; of equals the one of least `Keep.size`: the fewest free numbers."""
    return max(validation, key=lambda trial: _rank(trial[1], validation[trial]))


def worse_half(validation: Mapping[Trial, float]) -> set[Trial]:
    """The trials that successive halving drops (Jamieson and Talwalkar 2016): of each seed, all but the better half.

    Args:
        validation: the best metric so far, of the trials still in training. An odd one stays.
    """
    worse: set[Trial] = set()
    for seed in {trial[0] for trial in validation}:
        trials = [trial for trial in validation if trial[0] == seed]
        trials.sort(key=lambda trial: _rank(trial[1], validation[trial]), reverse=True)
        worse |= set(trials[(len(trials) + 1) // 2 :])
    return worse


def _rank(keep: Keep, validation: float) -> tuple[float, int, int]:
    """Larger is better: the metric, then the smaller size."""
    numbers, tokens = keep.size
    return validation, -numbers, -tokens
