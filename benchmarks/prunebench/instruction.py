"""Planted words on a language model: the tokens of a written instruction among random words of the vocabulary.

Nobody can say which words of an instruction a language model needs, so that it is measured first, on rows that no
finder sees: whether the instruction helps at all, and what leaving out each of its tokens costs. Those that cost are
the truth. Where the instruction does not help, or fewer than two of its tokens cost, there is nothing planted: finders
are then compared with what exact leave-one-out ranks highest on those rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
import torch

from benchmarks.prunebench.entry import Entry
from benchmarks.prunebench.planted import top_tokens
from prunekit.engine.ablation import leave_one_out
from prunekit.engine.evaluate import evaluate
from prunekit.models import Encoded, FrozenModel
from prunekit.prompts.mask import Mask
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ConfigError
from prunekit.support.seeding import generator
from prunekit.support.statistics import t_interval, t_intervals

#: So many tokens must cost for there to be a truth.
FEWEST_WORDS = 2
#: Of the tokens, that leave-one-out's ranking is asked for where there is none.
SHARE = 0.25
#: Of validation, by which it ranks: each seed has prompts of its own to be ranked.
RANKED_ROWS = 32
PLANTED, RANKED = "planted", "leave-one-out"


@dataclass(frozen=True)
class Worth:
    """What an instruction, and each of its I tokens, is worth on some rows.

    Attributes:
        without: share of right answers without a prompt.
        right: share of right answers with the instruction alone.
        gain: by how much less the loss is with the instruction, nats, mean over rows with its 95 % interval: estimate,
            low, high.
        costs: a row for each token: cost (mean rise of the loss without it, nats); low, high (95 % interval over rows).
    """

    without: float
    right: float
    gain: tuple[float, float, float]
    costs: pd.DataFrame

    @property
    def helps(self) -> bool:
        """Whether the loss, which scores and costs are of, is less with the instruction, beyond the interval."""
        return self.gain[1] > 0

    @property
    def needed(self) -> list[int]:
        """The tokens whose leaving out costs, beyond the interval."""
        return [int(number) for number in self.costs.index[self.costs["low"] > 0]]

    @property
    def truth(self) -> str:
        """What finders are compared with."""
        return PLANTED if self.helps and len(self.needed) >= FEWEST_WORDS else RANKED


def worth(model: FrozenModel, ids: Sequence[int], rows: Sequence[Encoded]) -> Worth:
    """What the instruction of these I tokens is worth: I + 2 passes of the rows."""
    ablation = leave_one_out(written(model, ids), model, rows)
    alone = evaluate(model.no_prompt(), model, rows)
    gold = torch.tensor([row.gold for row in rows])
    right, without = (chosen.flatten() == gold for chosen in (ablation.chosen, alone.chosen))
    gains = (alone.losses.flatten() - ablation.losses).double().numpy()
    costs = ablation.costs.double().numpy()
    low, high = t_intervals(costs, 0.95)
    table = pd.DataFrame({"cost": costs.mean(axis=1), "low": low, "high": high})
    return Worth(
        float(without.double().mean()),
        float(right.double().mean()),
        (float(gains.mean()), *t_interval([gains], 0.95)),
        table,
    )


def written(model: FrozenModel, ids: Sequence[int], seed: int = 0) -> Ticket:
    """A dense ticket of the vectors of these tokens, of one piece each."""
    vectors = {"values": model.embed(torch.tensor(ids))}
    return Ticket(Mask.full(len(ids), 1), vectors, None, position=model.position, seed=seed)


@dataclass(frozen=True)
class PlantedInstruction:
    """An instruction that is to be found among filler.

    Attributes:
        model: that answers with words.
        ids: of the instruction's I tokens.
        tokens: P, of the prompts that hold it, more than I.
        train: rows that finders score by.
        validation: rows on which the truth is measured.
    """

    model: FrozenModel
    ids: tuple[int, ...]
    tokens: int
    train: Sequence[Encoded]
    validation: Sequence[Encoded]

    def __post_init__(self) -> None:
        if self.tokens <= len(self.ids):
            raise ConfigError(
                f"--tokens {self.tokens}: the instruction alone has {len(self.ids)}; give more, so that filler has room"
            )

    @cached_property
    def worth(self) -> Worth:
        """What the instruction is worth on `validation`."""
        return worth(self.model, self.ids, self.validation)

    def measure(self, entries: Sequence[Entry], seed: int) -> pd.DataFrame:
        """What each entry finds, with other filler in other places for each seed.

        Columns:
            seed; entry; examples (that it scores by); truth ("planted" or "leave-one-out"); words (tokens to be found);
                found (of them among as many tokens of the highest score); passes (forward and backward through the
                model, summed over examples).
        """
        ticket, places = self.planted(seed)
        needed = self._needed(ticket, places)
        rows = []
        for entry in entries:
            top, passes = top_tokens(entry, ticket, self.model, self.train, len(needed))
            rows.append((seed, entry.name, entry.examples, self.worth.truth, len(needed), len(top & needed), passes))
        return pd.DataFrame(rows, columns=["seed", "entry", "examples", "truth", "words", "found", "passes"])

    def planted(self, seed: int) -> tuple[Ticket, list[int]]:
        """The prompt, and the places [I] of the instruction's tokens in it, in order."""
        draw = generator("planted instruction", seed)
        places = sorted(torch.randperm(self.tokens, generator=draw)[: len(self.ids)].tolist())
        words = torch.tensor(self.model.ordinary_ids())
        line = words[torch.randint(len(words), (self.tokens,), generator=draw)]
        line[places] = torch.tensor(self.ids)
        return written(self.model, line.tolist(), seed), places

    def _needed(self, ticket: Ticket, places: Sequence[int]) -> set[int]:
        """The places that are to be found."""
        if self.worth.truth == PLANTED:
            return {places[number] for number in self.worth.needed}
        costs = leave_one_out(ticket, self.model, self.validation[:RANKED_ROWS]).costs.mean(dim=1)
        return set(costs.topk(max(1, round(SHARE * self.tokens))).indices.tolist())
