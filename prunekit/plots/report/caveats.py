"""What a reader must know before believing a run's numbers, in plain sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from prunekit.analysis import written_answers
from prunekit.plots.report.page_parts import in_full
from prunekit.runs import summary
from prunekit.runs.paths import DENSE, UNTRAINED, Stage
from prunekit.runs.reader import RunReader
from prunekit.support import statistics
from prunekit.tasks.duplicates import sentences

#: Seeds with which the sign-flip test of one comparison can reach p < 0.05.
ENOUGH_SEEDS = statistics.units_needed(1, 0.05)
# standard errors between two splits that are no accident any more
_FAR = 2.0


def caveats(run: RunReader, results: pd.DataFrame, tolerance: float, gaps: list[str]) -> list[str]:
    """What stands against the numbers.

    Args:
        run: which.
        results: its results table.
        tolerance: how far below dense a ticket may be, in units of the primary metric.
        gaps: sentences on what is not finished.
    """
    settings = run.settings()
    metric = str(settings["metric"])
    lines = [f"This run is not finished: {gap}" for gap in gaps]
    stopped = results[results["status"] == "diverged"]
    if len(stopped):
        first = stopped.iloc[0]
        lines.append(
            f"{len(stopped)} training(s) diverged and are left out of all means; the first is seed {first['seed']} in "
            f"round {first['round']}: {first['reason']}."
        )
    lines += map(in_full, _learning(run, results, metric))
    seeds = len(settings["seeds"])
    if seeds < ENOUGH_SEEDS:
        least = f"cannot go below p = {statistics.smallest_p(seeds):.2g}" if seeds > 1 else "says nothing"
        lines.append(
            f"Too few seeds: with {seeds} the sign-flip test {least}; {ENOUGH_SEEDS} are needed to show any difference "
            f"(add --seeds {ENOUGH_SEEDS} to the same command, finished seeds are kept)."
        )
    lines += [f"{sentence}." for sentence in sentences(settings.get("duplicates", {}), settings["examples"])]
    coarse = summary.coarse_tolerance(tolerance, settings["examples"]["validation"])
    if coarse and summary.chosen_by(results, metric) == metric:  # a written answer may be right in part
        lines.append(in_full(coarse))
    lines += _disagreement(results, tolerance, metric, settings["examples"])
    return lines


def _learning(run: RunReader, results: pd.DataFrame, metric: str) -> list[str]:
    """Where the dense prompt is not shown to have learned, and where it did not learn to end its answers."""
    if summary.chosen_by(results, metric) == metric:
        return [line] if (line := summary.not_learning(results, metric)) else []
    if not written_answers.is_written(run):
        return []
    sentence = written_answers.loss_sentence(written_answers.over_rows(run, DENSE))
    lines = [sentence if sentence.startswith("not learning") else "", written_answers.unended_sentence(run)]
    return [line for line in lines if line]


def _disagreement(results: pd.DataFrame, tolerance: float, metric: str, sizes: dict[str, int]) -> Iterator[str]:
    """Where the split that chose and the split that judges tell different stories."""
    rounds = summary.summarise(results, metric)
    for stage in dict.fromkeys(entry.stage for entry in rounds if entry.stage):
        of_stage = summary.of_stage(results, metric, Stage(stage))
        dense, best = of_stage[0], summary.smallest(of_stage, tolerance)
        if dense.round == 0 and best is not None and best.test < dense.test - tolerance:
            yield (
                f"Validation and test disagree in {stage}: round {best.round} is within {tolerance:g} of dense on "
                f"validation ({best.validation:.3f} against {dense.validation:.3f}), but {dense.test - best.test:.3f} "
                f"lower on test ({best.test:.3f} against {dense.test:.3f})."
            )
    tickets = results[(results["status"] == "done") & ~results["stage"].eq(UNTRAINED)]
    pairs = tickets.reindex(columns=[f"validation_{metric}", f"test_{metric}"]).dropna()
    pairs = pairs[(pairs >= 0).all(axis=1) & (pairs <= 1).all(axis=1)]
    if pairs.empty:
        return
    validation, test = pairs.mean()
    error = math.sqrt(validation * (1 - validation) / sizes["validation"] + test * (1 - test) / sizes["test"])
    if validation - test > max(_FAR * error, tolerance):
        yield (
            f"Validation flatters: its {metric} is {validation:.3f} and that of test {test:.3f} (means of tickets), "
            f"further apart than {_FAR:g} standard errors of {sizes['validation']} and {sizes['test']} examples. "
            "Believe test; choose on more examples (--validation-examples)."
        )
