"""What a run came to, from its results table: a row per round, the interval over seeds, the smallest good ticket."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prunekit.pruning.schedule import Keep
from prunekit.runs.paths import DENSE, PRUNING_VERBS, Stage

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = 0.95


@dataclass(frozen=True)
class RoundSummary:
    """One round over its seeds.

    Attributes:
        stage: as in the results table.
        round: 0 is dense.
        seeds: how many came to their end.
        tokens: kept.
        pieces: kept per token, at most.
        cells: kept.
        density: kept cells / (P * K); where directions were pruned, free numbers / (P * H).
        validation: mean of the primary metric.
        test: mean of the primary metric.
        low: lower end of the 95 % t interval of `test` over seeds, cut at what the metric can be; None with fewer than
            two seeds, or with equal ones.
        high: its upper end.
        rank: kept directions, None where no direction was pruned.
    """

    stage: str
    round: int
    seeds: int
    tokens: int
    pieces: int
    cells: int
    density: float
    validation: float
    test: float
    low: float | None
    high: float | None
    rank: int | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """All of it by name, the rank only where directions were pruned."""
        return {name: value for name, value in vars(self).items() if name != "rank" or value is not None}

    @property
    def keep(self) -> Keep:
        """What is kept, in counts."""
        return Keep(self.tokens, self.pieces, self.rank)

    @property
    def kept(self) -> str:
        """The same in words, such as "5 tokens x 8 pieces"."""
        return self.keep.words


def summarise(results: pd.DataFrame, metric: str, verbs: Collection[str] = ("prune",)) -> list[RoundSummary]:
    """One entry per round of the dense stage and of each stage of `verbs`, diverged members and controls left out."""
    if results.empty:
        return []
    rounds = (results["arm"] == "") & results["stage"].map(lambda stage: Stage(stage).verb in ("", *verbs))
    ended = results[rounds & (results["status"] == "done")]
    return [_round(rows, metric) for _, rows in ended.groupby(["stage", "round"], sort=True)]


def of_stage(results: pd.DataFrame, metric: str, stage: Stage) -> list[RoundSummary]:
    """The dense round and those of one stage, over the seeds that all of them have come to.

    A seed that only some of them have come to, such as one that was added later, makes no fair difference. One that
    diverged is come to, so that its round lacks a seed.
    """
    if results.empty:
        return []
    rounds = results[(results["arm"] == "") & results["stage"].isin([DENSE, stage])]
    shared = shared_seeds(set(rows["seed"]) for _, rows in rounds.groupby(["stage", "round"]))
    return summarise(rounds[rounds["seed"].isin(shared)], metric, PRUNING_VERBS)


def shared_seeds(seeds_by_round: Iterable[set[int]]) -> set[int]:
    """The seeds that are in every round.

    Args:
        seeds_by_round: those of each.
    """
    each = list(seeds_by_round)
    return set.intersection(*each) if each else set()


def smallest(rounds: list[RoundSummary], tolerance: float) -> RoundSummary | None:
    """The smallest round whose mean on `validation` is at most `tolerance` below dense; dense itself counts."""
    dense = next((entry for entry in rounds if entry.round == 0), None)
    if dense is None:
        return None
    good = [
        entry
        for entry in rounds
        if entry.seeds == dense.seeds and within(entry.validation - dense.validation, tolerance)
    ]
    return min(good, key=lambda entry: (entry.density, entry.round))


def within(difference: float, tolerance: float) -> bool:
    """Whether a ticket is as good as the dense prompt, or at most `tolerance` below it.

    Args:
        difference: its metric less the dense prompt's; rounded, so that 0.8 is within 0.1 of 0.9.
        tolerance: in units of the metric.
    """
    return round(difference, 12) >= -tolerance


def coarse_tolerance(tolerance: float, examples: int) -> str | None:
    """A line where a tolerance is finer than one example of validation can show; None where it is not.

    Args:
        tolerance: in units of the metric.
        examples: of validation.
    """
    if tolerance == 0 or tolerance * examples >= 1:
        return None
    return (
        f"a tolerance of {tolerance:g} is below one of the {examples} validation examples ({1 / examples:.3f}): use "
        "more --validation-examples, or a larger --tolerance"
    )


def sentence(best: RoundSummary, dense: RoundSummary, metric: str, tolerance: float) -> str:
    """The smallest good ticket beside the dense prompt, in one plain sentence."""
    if best.round == 0:
        return (
            f"No pruned ticket stayed within {tolerance} of dense on validation {metric} "
            f"({dense.validation:.3f}, mean of {dense.seeds} seed{_s(dense.seeds)})."
        )
    return (
        f"Smallest ticket within {tolerance} of dense on validation {metric}: round {best.round}, "
        f"{best.kept}, {best.density:.1%} of the dense prompt; "
        f"test {metric} {interval(best)} against dense {interval(dense)} "
        f"(mean of {best.seeds} seed{_s(best.seeds)}{'' if best.low is None else ', 95 % interval'}). "
        "Add --controls to see whether pruning did it."
    )


def interval(summary: RoundSummary) -> str:
    """The mean on test, with its interval over seeds where there is one."""
    mean = f"{summary.test:.3f}"
    return mean if summary.low is None else f"{mean} [{summary.low:.3f}, {summary.high:.3f}]"


def chosen_by(results: pd.DataFrame, metric: str) -> str:
    """What on validation chose steps and ratios: the primary metric, or the "loss" where answers are written."""
    return "loss" if "validation_loss" in results else metric


def not_learning(results: pd.DataFrame, metric: str) -> str | None:
    """A warning where the dense prompt chooses no better than the answer that ignores the text.

    Where answers are written, their loss says more (`prunekit.analysis.written_answers.loss_sentence`).
    """
    dense = results[(results["stage"] == "") & (results["status"] == "done")]
    if dense.empty or chosen_by(dense, metric) == "loss":
        return None
    reached, majority = dense[f"validation_{metric}"].mean(), dense["majority_validation"].mean()
    if reached > majority:
        return None
    return (
        f"not learning: dense validation {metric} {reached:.3f} is no better than always giving the most common answer "
        f"({majority:.3f}); try more --train-steps, another --learning-rate or more --train-examples"
    )


def _round(rows: pd.DataFrame, metric: str) -> RoundSummary:
    from prunekit.support.statistics import cut, t_interval
    from prunekit.tasks.metrics import bounds

    test = rows[f"test_{metric}"]
    low = high = None
    if len(rows) > 1 and test.std() > 0:
        low, high = cut(t_interval([test.to_numpy(dtype=float)], CONFIDENCE), bounds(metric))
    first = rows.iloc[0]
    return RoundSummary(
        stage=str(first["stage"]),
        round=int(first["round"]),
        seeds=len(rows),
        tokens=int(first["tokens"]),
        pieces=int(first["pieces"]),
        cells=int(first["cells"]),
        density=float(first["density"]),
        validation=float(rows[f"validation_{metric}"].mean()),
        test=float(test.mean()),
        low=low,
        high=high,
        rank=rank_of(first),
    )


def rank_of(result: Mapping[Any, Any] | pd.Series[Any]) -> int | None:
    """The kept directions of a row of results, None where no direction was pruned."""
    rank = result.get("rank")
    return None if rank is None or rank != rank else int(rank)


def ranks_of(results: pd.DataFrame) -> pd.Series[int] | None:
    """The kept directions of each row, None where directions of none were pruned.

    Of a prompt that a search over ranks left whole they are as many as its tokens.
    """
    if "rank" not in results or results["rank"].isna().all():
        return None
    return results["rank"].fillna(results["tokens"]).astype(int)


def _s(count: int) -> str:
    return "" if count == 1 else "s"
