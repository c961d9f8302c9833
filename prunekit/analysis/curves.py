"""What density costs: the metric of each round over its seeds, the area under it, the smallest ticket that will do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from prunekit.analysis.subjects import KEYS
from prunekit.runs.paths import is_trial
from prunekit.runs.summary import within
from prunekit.support.statistics import cut, t_interval
from prunekit.tasks.metrics import bounds

OVER_SEEDS = tuple(key for key in KEYS if key != "seed")
STAGE = tuple(key for key in OVER_SEEDS if key != "round")
MEANS = ("tokens", "pieces", "cells", "density", "parameters", "seconds")
DENSITY = (
    *OVER_SEEDS, "metric", *MEANS, "seeds", "validation", "validation_low", "validation_high", "test", "low", "high",
    "majority_test",
)  # fmt: skip
AREA = (
    *STAGE, "metric", "seeds", "from_density", "area", "low", "high", "dense", "difference", "difference_low",
    "difference_high",
)  # fmt: skip
SMALLEST = (
    *(key for key in OVER_SEEDS if key != "arm"), "metric", "tokens", "pieces", "cells", "density", "seeds",
    "difference", "lower", "within", "non_inferior", "best", "test", "dense_test",
)  # fmt: skip

_RUN = ("run", "task", "model", "method", "labels")
_CONFIDENCE = 0.95


def density(rounds: pd.DataFrame) -> pd.DataFrame:
    """The metric of each round and arm over its finished seeds.

    Args:
        rounds: of `tables.rounds`. Trials of a search are left out; `tried` has them.

    Columns:
        `KEYS` without seed; metric (its name); tokens, pieces, cells (counts), density, parameters, seconds (means);
            seeds (int); validation, test (means), validation_low, validation_high, low, high (95 % t intervals over
            seeds; NaN for one seed); majority_test (what the most common answer reaches). The dense round stands at the
            head of the "ticket" arm of every pruning and search of its run, as round 0; it stands alone where there is
            none.
    """
    return _over_seeds(_with_dense(rounds))


def tried(rounds: pd.DataFrame) -> pd.DataFrame:
    """The metric of each trial of a search over the seeds in which it came to its end.

    Args:
        rounds: of `tables.rounds`.

    Columns:
        those of `density`; arm names the trial. No trial looks at the test split, so that test, low and high are NaN;
            so are validation and its interval where answers are written, since trials are told by their loss there.
    """
    return _over_seeds(rounds[(rounds["status"] == "done") & _is_trial(rounds)])


def _over_seeds(rounds: pd.DataFrame) -> pd.DataFrame:
    """The columns of `density`, a row for each round and arm."""
    rows = []
    for keys, of_round in rounds.groupby([*OVER_SEEDS, "metric"], sort=False):
        validation, test = (of_round[name].to_numpy(dtype=float) for name in ("validation", "test"))
        rows.append((
            *keys, *(float(of_round[name].mean()) for name in MEANS), len(of_round), validation.mean(),
            *_interval(validation, str(keys[-1])), test.mean(), *_interval(test, str(keys[-1])),
            float(of_round["majority_test"].mean()),
        ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(DENSITY))


def area(rounds: pd.DataFrame) -> pd.DataFrame:
    """The mean of the test metric over densities, from the smallest ticket to dense: one number for a curve.

    By trapezoids between the rounds, over the width of the interval; seeds that lack a round are left out.

    Columns:
        run, task, model, method, labels, stage, arm (str); metric; seeds (int); from_density (where the interval
            begins; it ends at 1); area (mean over seeds, units of the metric), low, high (95 % t interval); dense
            (mean: the area of a curve that loses nothing); difference (area - dense, paired), difference_low,
            difference_high. Curves over other intervals are other quantities: compare those of one `from_density`.
    """
    tickets = _with_dense(rounds)
    rows = []
    for keys, of_stage in tickets[tickets["arm"] == "ticket"].groupby([*STAGE, "metric"], sort=False):
        seeds = _whole_curves(of_stage)
        if not seeds:
            continue
        widths = [float(np.ptp(seed["density"])) for seed in seeds]
        areas = np.array([
            np.trapezoid(seed["test"], seed["density"]) / width for seed, width in zip(seeds, widths, strict=True)
        ])  # fmt: skip
        dense = np.array([float(seed.loc[seed["round"] == 0, "test"].iloc[0]) for seed in seeds])
        lowest = float(np.mean([seed["density"].iloc[0] for seed in seeds]))
        rows.append((
            *keys, len(seeds), lowest, areas.mean(), *_interval(areas, str(keys[-1])), dense.mean(),
            (areas - dense).mean(), *_interval(areas - dense, str(keys[-1]), difference=True),
        ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(AREA))


def _whole_curves(of_stage: pd.DataFrame) -> list[pd.DataFrame]:
    """By seed the rounds of a stage, from the smallest ticket to dense, of the seeds that lack none."""
    number = of_stage["round"].nunique()
    # dense comes last, also where another round kept everything
    ordered = of_stage.sort_values(["density", "round"], ascending=[True, False])
    curves = [seed for _, seed in ordered.groupby("seed") if seed["round"].nunique() == number]
    return [curve for curve in curves if np.ptp(curve["density"]) > 0]  # a schedule may keep everything


def smallest(rounds: pd.DataFrame, *, tolerance: float = 0.01, alpha: float = 0.05) -> pd.DataFrame:
    """Which rounds lose at most `tolerance` against dense on the validation split, and the smallest of them.

    Chosen on validation; test stands beside it and takes no part. Two bars: the mean is within (as `prunekit prune`
    says it, any number of seeds), and non-inferior (the one-sided bound of the mean is; two seeds at least).

    Args:
        tolerance: in units of the metric.
        alpha: of the one-sided bound, not corrected for the number of rounds.

    Columns:
        run, task, model, method, labels, stage (str), round; metric; tokens, pieces, cells, density (means); seeds
            (int: finished both here and dense); difference (validation - dense, mean over seeds); lower (its one-sided
            1 - alpha t bound; NaN for one seed); within, non_inferior (bool; equal differences of n seeds have no
            spread for a t bound, and are shown only where 2^-n <= alpha); best (bool: the least density of those within
            that all seeds of the dense round reach; the dense round itself counts); test, dense_test (means).
    """
    tickets = _with_dense(rounds)
    rows = []
    for keys, of_stage in tickets[tickets["arm"] == "ticket"].groupby([*STAGE, "metric"], sort=False):
        dense = of_stage[of_stage["round"] == 0].set_index("seed")
        names = dict(zip((*STAGE, "metric"), keys, strict=True))
        losses = [
            _against(of_round.set_index("seed"), dense, tolerance, alpha) for _, of_round in of_stage.groupby("round")
        ]
        full = [loss for loss in losses if loss["within"] and loss["seeds"] == len(dense)]
        best = min(full, key=lambda loss: (loss["density"], loss["round"]), default=None)
        rows += [names | loss | {"best": loss is best} for loss in losses]
    return pd.DataFrame(rows).reindex(columns=list(SMALLEST)) if rows else pd.DataFrame(columns=list(SMALLEST))


def _interval(values: np.ndarray[Any, Any], metric: str, *, difference: bool = False) -> tuple[float, float]:
    """The 95 % t interval of a mean of a metric, or of a difference of two, cut at what it can be."""
    least, most = bounds(metric)
    ends = (least - most, most - least) if difference else (least, most)
    return cut(t_interval([values], _CONFIDENCE), ends)


def _with_dense(rounds: pd.DataFrame) -> pd.DataFrame:
    """Finished rounds without a search's trials, the dense one of each run at the head of each of its stages."""
    finished = rounds[(rounds["status"] == "done") & ~_is_trial(rounds)]
    parts = [part for part in _by_stage(finished) if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else finished


def _is_trial(rounds: pd.DataFrame) -> pd.Series[bool]:
    return rounds["arm"].map(is_trial).astype(bool)


def _by_stage(finished: pd.DataFrame) -> Iterator[pd.DataFrame]:
    for _, run in finished.groupby(list(_RUN), sort=False):
        dense = run[run["arm"] == "dense"]
        stages = list(dict.fromkeys(run.loc[run["arm"] == "ticket", "stage"]))
        if not stages:
            yield dense
        for stage in stages:
            yield dense.assign(stage=stage, arm="ticket")
        yield run[run["arm"] != "dense"]


def _against(of_round: pd.DataFrame, dense: pd.DataFrame, tolerance: float, alpha: float) -> dict[str, Any]:
    """A round's row of `smallest`, but for `best`; both tables by seed."""
    seeds = [seed for seed in of_round.index if seed in dense.index]
    pruned, whole = of_round.loc[seeds], dense.loc[seeds]
    # rounded, so that 0.9 - 0.8 is a tenth, and within a tolerance of one
    difference = (pruned["validation"] - whole["validation"]).round(12).to_numpy(dtype=float)
    lower = t_interval([difference], 1 - 2 * alpha)[0] if difference.size else float("nan")
    certain = difference.size > 1 and (bool(np.ptp(difference) > 0) or 2.0**-difference.size <= alpha)
    number = int(of_round["round"].iloc[0])
    return {
        "round": number,
        **{name: float(of_round[name].mean()) for name in ("tokens", "pieces", "cells", "density")},
        "seeds": len(seeds),
        "difference": float(difference.mean()) if difference.size else float("nan"),
        "lower": lower,
        "within": bool(difference.size and within(difference.mean(), tolerance)),
        "non_inferior": number == 0 or bool(certain and lower >= -tolerance),  # dense is no worse than itself
        "test": float(pruned["test"].mean()),
        "dense_test": float(whole["test"].mean()),
    }
