"""The first screen of a run: a verdict in plain words, four numbers, the base lines."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pandas as pd

from prunekit.analysis import controls, tables, verdicts, written_answers
from prunekit.plots.report.caveats import ENOUGH_SEEDS
from prunekit.plots.report.page_parts import Number, Opening
from prunekit.runs import summary
from prunekit.runs.baselines import BaseLines
from prunekit.runs.paths import DENSE, Stage
from prunekit.runs.reader import RunReader
from prunekit.support import statistics
from prunekit.tasks.metrics import bounds

_DENSE_CONTINUED = {
    verdicts.HOLDS: "It beats training the whole prompt for as long.",
    verdicts.OTHER_WAY: "Training the whole prompt for as long does better.",
    verdicts.EQUIVALENT: "Training the whole prompt for as long does as well.",
    verdicts.INCONCLUSIVE: "It is not shown to beat training the whole prompt for as long.",
}


@dataclass(frozen=True)
class Reached:
    """What some tickets of one size came to, over their seeds.

    Attributes:
        name: what a reader calls them.
        tokens: kept, such as "5" or, where seeds chose differently, "3 to 5".
        fewest: tokens of the smallest of them.
        density: kept cells / all, mean.
        parameters: trained numbers, mean.
        test: mean of the primary metric.
        seeds: how many.
        shortens: whether a request has fewer positions where fewer tokens are kept.
        interval: 95 % t interval of `test` over seeds, or of one seed's written answers over rows, in words.
        is_good: whether they are within the tolerance of dense on validation; None where nobody asked.
        ranks: directions kept, such as "5" or "3 to 5"; None where none was pruned.
    """

    name: str
    tokens: str
    fewest: int
    density: float
    parameters: float
    test: float
    seeds: int
    shortens: bool
    interval: str
    is_good: bool | None = None
    ranks: str | None = None

    @property
    def kept(self) -> str:
        """Tokens, or where directions were pruned these."""
        return self.tokens if self.ranks is None else self.ranks


def opening(run: RunReader, results: pd.DataFrame, base_lines: BaseLines, tolerance: float) -> Opening:
    """What one reads first. Its picture is put in by who draws.

    Args:
        run: which.
        results: its results table.
        base_lines: of the run.
        tolerance: how far below dense, on validation, a ticket may be.
    """
    metric = str(run.settings()["metric"])
    lines = [(str(row["label"]), f"{row['test']:.3f}") for row in base_lines.table.to_dict("records")]
    finished = results[(results["status"] == "done") & results["arm"].eq("")]
    dense = _reached(run, finished[finished["stage"] == DENSE], "Whole prompt")
    if dense is None:
        return Opening("No training came to its end: there is nothing to report yet.", "", [], lines)
    stage = _last(run, finished)
    pruned = None if stage is None else _pruned(run, results, stage, tolerance)
    if base_lines.nothing_to_prune:
        stage, pruned = None, pruned and replace(pruned, name="Pruned prompt")
    verdict = _verdict(dense, pruned, metric, base_lines, tolerance)
    doubt = " ".join(_doubts(run, stage, dense, tolerance))
    return Opening(verdict, doubt, _numbers(dense, pruned, metric), lines)


def _last(run: RunReader, finished: pd.DataFrame) -> Stage | None:
    """The last pruning or search, by name, with a finished ticket."""
    return max((stage for stage in tables.prunings(run) if stage in set(finished["stage"])), default=None)


def _pruned(run: RunReader, results: pd.DataFrame, stage: Stage, tolerance: float) -> Reached | None:
    """The smallest good ticket of a stage, else its last; of a search, what was chosen."""
    finished = results[(results["status"] == "done") & results["arm"].eq("")]
    if stage.verb == "search":
        return _reached(run, finished[finished["stage"] == stage], "Chosen by the search")
    rounds = summary.of_stage(results, str(run.settings()["metric"]), stage)
    best = summary.smallest(rounds, tolerance)
    is_good = best is not None and best.round > 0
    shown = best if best is not None and is_good else rounds[-1]
    rows = finished[(finished["stage"] == stage) & (finished["round"] == shown.round)]
    return _reached(run, rows, "Best pruned prompt" if is_good else "Last pruned prompt", is_good=is_good)


def _reached(run: RunReader, rows: pd.DataFrame, name: str, *, is_good: bool | None = None) -> Reached | None:
    if rows.empty:
        return None
    test = rows[f"test_{run.settings()['metric']}"].to_numpy(dtype=float)
    ranks = summary.ranks_of(rows)
    return Reached(
        name=name,
        tokens=_span(rows["tokens"]),
        fewest=int(rows["tokens"].min()),
        density=float(rows["density"].mean()),
        parameters=float(rows["parameters"].mean()),
        test=float(test.mean()),
        seeds=len(rows),
        shortens=ranks is None and bool((rows["dropped_as"].eq("remove") | _is_cache(rows)).all()),
        interval=_interval(run, rows),
        is_good=is_good,
        ranks=None if ranks is None else _span(ranks),
    )


def _span(counts: pd.Series) -> str:
    """Such as "5" or "3 to 5"."""
    fewest, most = int(counts.min()), int(counts.max())
    return str(fewest) if fewest == most else f"{fewest} to {most}"


def _is_cache(rows: pd.DataFrame) -> pd.Series:
    """Which rows are of keys and values that a request need not keep: of a prefix only zeros are seen."""
    return rows.get("cache_bytes", pd.Series(index=rows.index)).notna() & rows["dropped_as"].ne("zero")


def _interval(run: RunReader, rows: pd.DataFrame) -> str:
    """Over seeds; of one seed over the rows of test where their answers are written, which have an interval too."""
    metric = str(run.settings()["metric"])
    test = rows[f"test_{metric}"].to_numpy(dtype=float)
    if len(test) == 1:
        return _over_rows(run, rows.iloc[0]) or "one seed, so no interval"
    low, high = statistics.cut(statistics.t_interval([test], summary.CONFIDENCE), bounds(metric))
    if math.isnan(low) or low == high:
        return f"the same in all {len(test)} seeds"
    return f"95 % interval {low:.3f} to {high:.3f}, {len(test)} seeds"


def _over_rows(run: RunReader, row: pd.Series) -> str:
    interval = written_answers.row_interval(run, Stage(row["stage"]), int(row["round"]))
    if interval is None:
        return ""
    low, high, number = interval
    if low == high:
        return f"the same for all {number} rows, one seed"
    return f"95 % interval {low:.3f} to {high:.3f} over the {number} rows, one seed"


def _verdict(dense: Reached, pruned: Reached | None, metric: str, base_lines: BaseLines, tolerance: float) -> str:
    if base_lines.nothing_to_prune:
        others = " or ".join(
            f"“{comparison.record.label}”" for comparison in base_lines.comparisons if not comparison.beats
        )
        return f"There is nothing to prune yet: on validation, the whole prompt is not shown to beat {others}."
    if pruned is None:
        return f"The whole prompt of {dense.tokens} tokens reaches test {metric} {dense.test:.3f}; nothing is pruned."
    unit = "prompt tokens" if pruned.ranks is None else "directions"
    share = f"{pruned.kept} of {dense.tokens} {unit} ({pruned.density:.0%} of the prompt)"
    both = f"test {metric} {pruned.test:.3f}, against {dense.test:.3f} of the whole prompt"
    if pruned.is_good is None:
        return f"The search chose {share}: {both}."
    if not pruned.is_good:
        return f"No smaller prompt kept up with the whole one on validation: with {share}, {both}."
    if not summary.within(pruned.test - dense.test, tolerance):
        return f"{share} were enough on validation, but not on test: {both}."
    return f"{share} are enough: {both}."


def _doubts(run: RunReader, stage: Stage | None, dense: Reached, tolerance: float) -> list[str]:
    """What the verdict leaves open: whether pruning did it, and whether the seeds can tell."""
    doubts = [] if stage is None else [_by_pruning(run, stage, tolerance)]
    if dense.seeds < ENOUGH_SEEDS:
        seeds = f"{dense.seeds} seed{'s' * (dense.seeds > 1)}"
        doubts.append(f"With {seeds} this is a first look, not proof: {ENOUGH_SEEDS} are needed.")
    return doubts


def _by_pruning(run: RunReader, stage: Stage, tolerance: float) -> str:
    arms = tables.joined([(run, stage)])
    if controls.PRIMARY not in set(arms["arm"]):
        return "No control was trained, so nothing says yet that pruning did it (add --controls)."
    primary = controls.compare(arms, margin=tolerance).iloc[0]
    return _DENSE_CONTINUED.get(verdicts.kind(primary["verdict"]), _DENSE_CONTINUED[verdicts.INCONCLUSIVE])


def _numbers(dense: Reached, pruned: Reached | None, metric: str) -> list[Number]:
    numbers = [Number(dense.name, f"{dense.test:.3f}", f"test {metric}; {dense.interval}")]
    if pruned is None:
        return [*numbers, Number("Its size", f"{dense.tokens} tokens", f"{dense.parameters:,.0f} trained numbers")]
    saved = 1 - pruned.parameters / dense.parameters
    fewer = dense.fewest - pruned.fewest
    units, parts = ("tokens", "cells") if pruned.ranks is None else ("directions", "numbers")
    shorter = f"{fewer} positions fewer in every request" if pruned.shortens else "the input stays as long as it was"
    return [
        *numbers,
        Number(pruned.name, f"{pruned.test:.3f}", f"test {metric}; {pruned.interval}"),
        Number("Its size", f"{pruned.kept} of {dense.tokens} {units}", f"{pruned.density:.1%} of the prompt's {parts}"),
        Number("What it saves", f"{saved:.0%}", f"of the trained numbers; {shorter}"),
    ]
