"""What a run found, in plain sentences with numbers, and what a reader must know before believing them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from prunekit.runs import summary
from prunekit.runs.paths import UNTRAINED
from prunekit.runs.run import Run
from prunekit.runs.summary import RoundSummary
from prunekit.support import statistics
from prunekit.tasks.duplicates import sentences
from prunekit.tasks.metrics import bounds

#: Seeds with which the sign-flip test of one comparison can reach p < 0.05.
ENOUGH_SEEDS = statistics.units_needed(1, 0.05)
# standard errors between two splits that are no accident any more
_FAR = 2.0


def found(run: Run, results: pd.DataFrame, tolerance: float) -> list[str]:
    """What was reached: the dense prompt beside its base lines, then each pruning and each search."""
    metric = str(run.settings()["metric"])
    rounds = summary.summarise(results, metric)
    dense = next((one for one in rounds if one.stage == "" and one.round == 0), None)
    if dense is None:
        return ["No dense round came to its end: nothing is found."]
    said = [_dense(results, dense, metric)]
    for stage in run.stages():
        if stage.startswith("prune-"):
            said.append(_pruned(stage, _lineage(rounds, stage), tolerance, metric))
        elif stage.startswith("search-"):
            said += _searched(results, stage, dense, metric)
    return said


def warnings(run: Run, results: pd.DataFrame, tolerance: float, gaps: list[str]) -> list[str]:
    """What stands against the numbers. gaps: sentences on what is not finished."""
    settings = run.settings()
    metric = str(settings["metric"])
    said = [f"This run is not finished: {gap}" for gap in gaps]
    stopped = results[results["status"] == "diverged"]
    if len(stopped):
        first = stopped.iloc[0]
        said.append(
            f"{len(stopped)} lineage(s) diverged and are left out of all means; the first is seed {first['seed']} in "
            f"round {first['round']}: {first['reason']}."
        )
    learning = summary.not_learning(results, metric)
    if learning is not None:
        said.append(f"{learning[:1].upper()}{learning[1:]}.")
    seeds = len(settings["seeds"])
    if seeds < ENOUGH_SEEDS:
        least = f"cannot go below p = {statistics.smallest_p(seeds):.2g}" if seeds > 1 else "says nothing"
        said.append(
            f"Too few seeds: with {seeds} the sign-flip test {least}; {ENOUGH_SEEDS} are needed to show any difference "
            f"(add --seeds {ENOUGH_SEEDS} to the same command, finished seeds are kept)."
        )
    said += [f"{line}." for line in sentences(settings.get("duplicates", {}), settings["examples"])]
    said += _disagreement(results, tolerance, metric, settings["examples"])
    return said


def _lineage(rounds: list[RoundSummary], stage: str) -> list[RoundSummary]:
    return [one for one in rounds if one.stage in ("", stage)]


def _dense(results: pd.DataFrame, dense: RoundSummary, metric: str) -> str:
    mine = results[(results["stage"] == "") & (results["status"] == "done")]
    line = (
        f"The dense prompt ({dense.tokens} tokens) reaches test {metric} {_reached(dense)}; always giving the most "
        f"common answer reaches {mine['majority_test'].mean():.3f}"
    )
    untrained = results[results["stage"] == UNTRAINED]
    if len(untrained):
        head = " with a trained head" if untrained["head_parameters"].any() else ""
        line += f", the untrained prompt{head} {untrained[f'test_{metric}'].mean():.3f}"
    return f"{line}."


def _pruned(stage: str, rounds: list[RoundSummary], tolerance: float, metric: str) -> str:
    dense, last = rounds[0], rounds[-1]
    best = summary.smallest(rounds, tolerance)
    if last is dense:
        return f"{stage}: no round is finished."
    if best is None or best is dense:
        return (
            f"{stage}: no pruned ticket stayed within {tolerance:g} of dense on validation; the last, of {last.tokens} "
            f"tokens x {last.pieces} pieces, reaches test {metric} {_reached(last)}."
        )
    return (
        f"{stage}: the smallest ticket within {tolerance:g} of dense on validation is that of round {best.round}, "
        f"{best.tokens} tokens x {best.pieces} pieces, {best.density:.1%} of the dense prompt's cells; it reaches "
        f"test {metric} {_reached(best)} against {_reached(dense)} dense."
    )


def _searched(results: pd.DataFrame, stage: str, dense: RoundSummary, metric: str) -> Iterator[str]:
    chosen = results[(results["stage"] == stage) & (results["arm"] == "") & (results["status"] == "done")]
    if chosen.empty:
        yield f"{stage}: nothing is chosen yet."
        return
    reached = chosen[f"test_{metric}"]
    strata = [reached.to_numpy(dtype=float)]
    low, high = statistics.cut(statistics.t_interval(strata, summary.CONFIDENCE), bounds(metric))
    interval = "" if math.isnan(low) else f" [{low:.3f}, {high:.3f}]"
    yield (
        f"{stage}: the tickets chosen on validation keep {chosen['tokens'].min()} to {chosen['tokens'].max()} tokens, "
        f"{chosen['density'].mean():.1%} of the cells (mean of {len(chosen)} seed{'s' * (len(chosen) > 1)}); they "
        f"reach test {metric} {reached.mean():.3f}{interval} against {_reached(dense)} dense."
    )


def _disagreement(results: pd.DataFrame, tolerance: float, metric: str, sizes: dict[str, int]) -> Iterator[str]:
    """Where the split that chose and the split that judges tell different stories."""
    rounds = summary.summarise(results, metric)
    for stage in dict.fromkeys(one.stage for one in rounds if one.stage):
        lineage = _lineage(rounds, stage)
        dense, best = lineage[0], summary.smallest(lineage, tolerance)
        if dense.round == 0 and best is not None and best.test < dense.test - tolerance:
            yield (
                f"Validation and test disagree in {stage}: round {best.round} is within {tolerance:g} of dense on "
                f"validation ({best.validation:.3f} against {dense.validation:.3f}), but {dense.test - best.test:.3f} "
                f"lower on test ({best.test:.3f} against {dense.test:.3f})."
            )
    tickets = results[(results["status"] == "done") & ~results["stage"].eq(UNTRAINED)]
    pairs = tickets[[f"validation_{metric}", f"test_{metric}"]].dropna()
    pairs = pairs[(pairs >= 0).all(axis=1) & (pairs <= 1).all(axis=1)]
    if pairs.empty:
        return
    validation, test = pairs.mean()
    error = math.sqrt(sum(mean * (1 - mean) / sizes[split] for split, mean in
                          (("validation", validation), ("test", test))))  # fmt: skip
    if validation - test > max(_FAR * error, tolerance):
        yield (
            f"Validation flatters: its {metric} is {validation:.3f} and that of test {test:.3f} (means of tickets), "
            f"further apart than {_FAR:g} standard errors of {sizes['validation']} and {sizes['test']} examples. "
            "Believe test; choose on more examples (--validation-examples)."
        )


def _reached(one: RoundSummary) -> str:
    interval = summary.interval(one)
    return f"{interval} (mean of {one.seeds} seeds, 95 % interval)" if one.low is not None else interval
