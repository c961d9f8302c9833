"""What a ratio search tried and chose, and what halving saved or would have saved."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from prunekit.analysis import halving, tables
from prunekit.pruning.schedule import rungs
from prunekit.runs import summary
from prunekit.runs.reader import RunReader


@dataclass(frozen=True)
class SearchSummary:
    """A search in short.

    Attributes:
        chosen_by: the metric on validation that chose, or "loss" where answers are written.
        trials: a row for each trial of each seed, as `tables.trials` makes it.
        means: what chose, mean over seeds: a row for each number of tokens, a column for each of pieces, the
            most first; of ranks a row for each, with parameters (free numbers) and validation.
        chosen: a row for each seed's ticket, as `tables.chosen` makes it.
        halving: what halving saved, or would have, in a sentence; None where it cannot be replayed.
    """

    chosen_by: str
    trials: pd.DataFrame
    means: pd.DataFrame
    chosen: pd.DataFrame
    halving: str | None


def summarise_search(run: RunReader, stage: str) -> SearchSummary | None:
    """A search of a run in short; None where no trial is finished."""
    trials = tables.trials(run, stage)
    if trials.empty:
        return None
    chosen_by = summary.chosen_by(run.results(), run.settings()["metric"])
    means = _means(trials[trials["status"] == "done"]).sort_index(ascending=False)
    chosen = tables.chosen(run, stage)
    return SearchSummary(chosen_by, trials, means, chosen, _halving(run, stage, trials, chosen_by))


def _means(finished: pd.DataFrame) -> pd.DataFrame:
    if "rank" in finished:
        return finished.groupby("rank")[["parameters", "validation"]].mean()
    means = finished.pivot_table(index="tokens", columns="pieces", values="validation", aggfunc="mean")
    return means.sort_index(axis=1, ascending=False)


def _halving(run: RunReader, stage: str, trials: pd.DataFrame, chosen_by: str) -> str | None:
    """What halving saved, or would have; None where it cannot be replayed (`paper` halves each of its lines apart)."""
    training = run.settings()["training"]
    steps, every = training["train_steps"], training["evaluate_every"]
    dropped = trials["status"].str.startswith("dropped")
    if dropped.any():
        updates, whole = int(trials["steps"].sum()), len(trials) * steps
        return (
            f"successive halving: {updates} updates for {len(trials)} trials, {1 - updates / whole:.0%} less than "
            f"{steps} each; {int(dropped.sum())} dropped"
        )
    if not (trials["status"] == "done").any() or run.stage_settings(stage)["grid"] == "paper":
        return None
    curves = tables.trial_curves(run, stage)
    if chosen_by == "loss":
        curves = curves.assign(validation=-curves["validation"])  # the best trial has the most
    replayed = halving.replay(curves, rungs(steps, every))
    return (
        f"successive halving (--halving) would have saved {replayed['saving'].mean():.0%} of the updates, at a regret "
        f"of {replayed['regret'].mean():.3f} on validation (mean; largest {replayed['regret'].max():.3f})"
    )
