"""What a run came to, in plain sentences with numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from prunekit.analysis import written_answers
from prunekit.plots.report.page_parts import in_full
from prunekit.runs import summary
from prunekit.runs.baselines import BaseLines
from prunekit.runs.paths import DENSE
from prunekit.runs.reader import RunReader
from prunekit.runs.summary import RoundSummary
from prunekit.support import statistics
from prunekit.tasks.metrics import bounds


def findings(run: RunReader, results: pd.DataFrame, base_lines: BaseLines, tolerance: float) -> list[str]:
    """What was reached: the dense prompt beside its base lines, then each pruning and each search."""
    metric = str(run.settings()["metric"])
    rounds = summary.summarise(results, metric)
    dense = next((entry for entry in rounds if entry.stage == DENSE and entry.round == 0), None)
    if dense is None:
        return ["No dense round came to its end: nothing is found."]
    sentences = [_dense(base_lines, dense)]
    if summary.chosen_by(results, metric) == "loss":
        sentences.append(in_full(written_answers.loss_sentence(written_answers.over_rows(run, DENSE))))
    if base_lines.nothing_to_prune:
        sentences.append(base_lines.nothing_to_prune)
    for stage in run.stages():
        if stage.verb == "prune":
            of_stage = summary.of_stage(results, metric, stage)
            sentences.append(_pruned(stage, of_stage, tolerance, base_lines))
        elif stage.verb == "search":
            sentences += _searched(results, stage, dense, metric)
    return sentences


def _dense(base_lines: BaseLines, dense: RoundSummary) -> str:
    table = base_lines.table
    others = ", ".join(f"{row['label']} {row['test']:.3f}" for row in table.to_dict("records"))
    return f"The dense prompt ({dense.tokens} tokens) reaches test {base_lines.metric} {_reached(dense)}; {others}."


def _pruned(stage: str, rounds: list[RoundSummary], tolerance: float, base_lines: BaseLines) -> str:
    dense, last, metric = rounds[0], rounds[-1], base_lines.metric
    best = summary.smallest(rounds, tolerance)
    if last is dense:
        return f"{stage}: no round is finished."
    if base_lines.nothing_to_prune:
        return (
            f"{stage}: the last ticket, of {last.kept}, reaches test {metric} "
            f"{_reached(last)}; how much of a prompt can go is no question where it does not beat its base lines."
        )
    if best is None or best is dense:
        return (
            f"{stage}: no pruned ticket stayed within {tolerance:g} of dense on validation; the last, of {last.kept}, "
            f"reaches test {metric} {_reached(last)}."
        )
    return (
        f"{stage}: the smallest ticket within {tolerance:g} of dense on validation is that of round {best.round}, "
        f"{best.kept}, {best.density:.1%} of the dense prompt; it reaches "
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
    ranks = summary.ranks_of(chosen)
    counts, units, parts = (chosen["tokens"], "tokens", "cells") if ranks is None else (ranks, "directions", "numbers")
    yield (
        f"{stage}: the tickets chosen on validation keep {counts.min()} to {counts.max()} {units}, "
        f"{chosen['density'].mean():.1%} of the {parts} (mean of {len(chosen)} seed{'s' * (len(chosen) > 1)}); they "
        f"reach test {metric} {reached.mean():.3f}{interval} against {_reached(dense)} dense."
    )


def _reached(entry: RoundSummary) -> str:
    interval = summary.interval(entry)
    return f"{interval} (mean of {entry.seeds} seeds, 95 % interval)" if entry.low is not None else interval
