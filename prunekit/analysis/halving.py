"""Successive halving against the full search, replayed on its curves: what it saves, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from prunekit.pruning.ratio_search import Trial, best_of, worse_half
from prunekit.pruning.schedule import Keep

COLUMNS = (
    "seed", "tokens", "pieces", "full_tokens", "full_pieces", "updates", "full_updates", "saving", "regret",
)  # fmt: skip


def replay(curves: pd.DataFrame, rungs: Sequence[int]) -> pd.DataFrame:
    """What successive halving would have chosen, had it run on the same trials.

    Args:
        curves: of the trials of a search that trained all of them to the end: seed, tokens, pieces, step, validation;
            rank, where it tried ranks.
        rungs: the steps after which the worse half is dropped.

    Columns:
        seed.  tokens, pieces: the counts that halving chooses.  full_tokens, full_pieces: those of the full search;
        beside them rank and full_rank, where ranks were tried.
        updates, full_updates: optimiser updates of all trials.  saving: 1 - updates / full_updates.
        regret: validation metric of the full search's choice less that of halving's.
    """
    rows = []
    sizes = [name for name in ("tokens", "pieces", "rank") if name in curves]
    for seed, of_seed in curves.sort_values("step").groupby("seed"):
        trials = {_trial(curve): curve for _, curve in of_seed.groupby(sizes)}
        full_steps = {trial: int(curve["step"].max()) for trial, curve in trials.items()}
        validation = {trial: float(curve["validation"].max()) for trial, curve in trials.items()}
        steps, survivors = _halved(trials, full_steps, rungs)
        halved, full = best_of({trial: validation[trial] for trial in survivors}), best_of(validation)
        updates, full_updates = sum(steps.values()), sum(full_steps.values())
        costs = {"updates": updates, "full_updates": full_updates, "saving": 1 - updates / full_updates}
        counts = halved[1].counts | {f"full_{name}": count for name, count in full[1].counts.items()}
        rows.append({"seed": seed} | counts | costs | {"regret": validation[full] - validation[halved]})
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(COLUMNS))


def _halved(
    trials: Mapping[Trial, pd.DataFrame], full_steps: Mapping[Trial, int], rungs: Sequence[int]
) -> tuple[dict[Trial, int], list[Trial]]:
    """How many updates each trial of a seed is given, and those that are never dropped."""
    steps, survivors = dict(full_steps), list(full_steps)
    for rung in rungs:
        worse = worse_half({trial: _best_until(trials[trial], rung) for trial in survivors})
        steps |= {trial: min(steps[trial], rung) for trial in worse}
        survivors = [trial for trial in survivors if trial not in worse]
    return steps, survivors


def _trial(curve: pd.DataFrame) -> Trial:
    first = curve.iloc[0].to_dict()
    return int(first["seed"]), Keep.of(first)


def _best_until(curve: pd.DataFrame, step: int) -> float:
    return float(curve[curve["step"] <= step]["validation"].max())
