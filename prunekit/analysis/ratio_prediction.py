"""The ratio without the grid: what a few trained trials of a search say of those that are not trained.

    train most - 1 trials, spread evenly over the grid in the order of what they keep of the dense prompt
    -> a function of that, never falling, through their validation (isotonic regression)
    -> train the trial of which it promises most; choose among those that were trained

What a trial keeps is known from scores and singular values of the dense prompt, before it is trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from prunekit.pruning.ratio_search import Trial, best_of
from prunekit.pruning.schedule import Keep

COLUMNS = (
    "seed", "tokens", "pieces", "full_tokens", "full_pieces", "trained", "updates", "full_updates", "saving", "regret",
    "error",
)  # fmt: skip


def predict(
    trials: pd.DataFrame, kept: pd.DataFrame, *, by: Sequence[str] = ("score", "rank"), most: int = 5
) -> pd.DataFrame:
    """What a search would have chosen, had it trained no more than a few of its trials.

    Args:
        trials: of a search that trained all of them: seed, tokens, pieces, validation (more is better), steps.
        kept: of `tables.kept_shares`, of the same trials.
        by: its columns whose mean puts trials in order.
        most: trials that are trained, at least 2.

    Columns:
        seed.  tokens, pieces: the counts that are chosen.  full_tokens, full_pieces: those of the full search.
        trained: trials that were needed.  updates, full_updates: optimiser updates of those, and of all trials.
        saving: 1 - updates / full_updates.  regret: validation metric of the full search's choice less that of this
        one.  error: mean distance of the prediction from the validation metric of what it had not seen; NaN where it
        had seen all.

    Raises:
        ValueError: for fewer than 2 trials.
    """
    if most < 2:
        raise ValueError(f"most = {most}: one trial is predicted from others, so train at least 2")
    both = trials.merge(kept, on=["seed", "tokens", "pieces"], validate="one_to_one")
    both = both.assign(order=both[list(by)].mean(axis=1)).sort_values(["seed", "order", "tokens"], kind="stable")
    rows = [_row(of_seed.reset_index(drop=True), most) for _, of_seed in both.groupby("seed")]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(trials: pd.DataFrame, most: int) -> tuple[object, ...]:
    """One seed's, trials in order."""
    validation = _by_trial(trials, trials["validation"])
    trained = np.unique(np.linspace(0, len(trials) - 1, min(most - 1, len(trials))).round().astype(int)).tolist()
    predicted = _isotonic(trials, trained)
    unseen = trials.drop(index=trained)
    error = float((predicted - trials["validation"])[unseen.index].abs().mean())
    if len(unseen):
        promising = best_of(_by_trial(unseen, predicted[unseen.index]))
        trained.append(list(validation).index(promising))
    chosen, full = best_of(_by_trial(trials.loc[trained], trials["validation"][trained])), best_of(validation)
    updates, full_updates = int(trials["steps"][trained].sum()), int(trials["steps"].sum())
    return (
        chosen[0], *_counts(chosen), *_counts(full), len(trained), updates, full_updates, 1 - updates / full_updates,
        validation[full] - validation[chosen], error,
    )  # fmt: skip


def _counts(trial: Trial) -> tuple[int, int]:
    return trial[1].tokens, trial[1].pieces


def _isotonic(trials: pd.DataFrame, trained: list[int]) -> pd.Series[float]:
    """What the trained trials promise of all."""
    from sklearn.isotonic import IsotonicRegression

    seen = trials.loc[trained]
    curve = IsotonicRegression(out_of_bounds="clip").fit(seen["order"], seen["validation"])
    return pd.Series(curve.predict(trials["order"]), index=trials.index)


def _by_trial(trials: pd.DataFrame, values: pd.Series[float]) -> Mapping[Trial, float]:
    counts = zip(trials["seed"], trials["tokens"], trials["pieces"], strict=True)
    keys = [(int(seed), Keep(int(tokens), int(pieces))) for seed, tokens, pieces in counts]
    return dict(zip(keys, values.astype(float), strict=True))
