"""A run on the screen: its rounds and seeds, what a search tried, and what was found in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import TYPE_CHECKING, Any

from prunekit.cli.arms import print_arms
from prunekit.cli.table import Column, digits, print_table
from prunekit.support import terminal

if TYPE_CHECKING:
    import pandas as pd

    from prunekit.analysis.search_summary import SearchSummary
    from prunekit.runs.baselines import BaseLines
    from prunekit.runs.paths import Stage
    from prunekit.runs.reader import RunReader
    from prunekit.runs.summary import RoundSummary

_ROUND_COLUMNS = (
    "round", "seed", "tokens", "pieces", "rank", "density", "params", "validation", "test", "s", "ex/s", "cache",
)  # fmt: skip
# that not every run has, and what a title says of them
_OPTIONAL = {"rank": "kept directions", "cache": "keys and values that a request keeps of the prefix"}
# of the trials of a search; numbers of pieces have a column each
_TRIED = {"tokens": Column("tokens \\ pieces"), "rank": Column("rank"), "parameters": Column("numbers", digits(0))}
# that a narrow terminal does without
_LEAST = ("ex/s", "s", "params", "density", "pieces")


def print_run(
    run: RunReader,
    tolerance: float,
    *,
    stages: Sequence[str] | None = None,
    arms: bool = True,
    memory: float | None = None,
) -> None:
    """The tables of a run's stages, and what was found.

    Args:
        tolerance: how far below dense, on validation, a ticket may be; also the margin of equivalence.
        stages: which to show; default all.
        arms: whether to compare a stage's ticket with its controls, where it has any.
        memory: gigabytes for the prefixes of requests, None for the usual ones.

    Raises:
        ArtifactError: where a file of the run is damaged.
    """
    results = run.results(times=True)
    if results.empty:
        terminal.write(f"{run.path}: no finished round yet")
        return
    for stage in _shown_stages(run, results, stages):
        _print_stage(run, stage, results, tolerance)
        if arms:
            _print_controls(run, stage, results, tolerance)
    if "cache_bytes" in results:
        print_request_cost(results, memory)
    terminal.write(f"written to {run.path}")


def _shown_stages(run: RunReader, results: pd.DataFrame, asked: Sequence[str] | None) -> list[Stage]:
    """Of the stages asked for every pruning and search, or else the dense round; and what `compare` chose."""
    from prunekit.runs.paths import DENSE

    stages = [stage for stage in run.stages() if asked is None or stage in asked]
    pruned = [stage for stage in stages if stage.is_pruned]
    dense = [DENSE] if not pruned and (results["stage"] == DENSE).any() else []
    return [*pruned, *dense, *(stage for stage in stages if stage.is_chosen_rate)]


def _print_stage(run: RunReader, stage: Stage, results: pd.DataFrame, tolerance: float) -> None:
    """One stage: the table of its rounds, or of its search, and what was found."""
    from prunekit.runs.paths import DENSE

    metric = run.settings()["metric"]
    if stage.verb == "search":
        from prunekit.analysis.search_summary import summarise_search
        from prunekit.runs.baselines import BaseLines

        print_search(summarise_search(run, stage), stage, metric)
        _print_written(run, stage, metric)
        print_base_lines(BaseLines.of(run))
        return
    stages = [stage] if stage.is_chosen_rate else [DENSE, stage]  # `compare` has no dense round
    rows = results[results["stage"].isin(stages) & (results["arm"] == "")]
    shuffled = ", trained on shuffled answers" if run.settings()["task"].get("labels") == "shuffled" else ""
    print_rounds(rows, metric, (stage or "dense") + shuffled)
    _print_written(run, stage, metric)
    _print_conclusion(run, stage, rows, tolerance)


def _print_written(run: RunReader, stage: Stage, metric: str) -> None:
    """What is known of written answers; nothing where answers are chosen."""
    from prunekit.analysis import written_answers

    if written_answers.is_written(run):
        table = written_answers.over_rows(run, stage)
        print_over_rows(table, metric)
        if others := written_answers.metrics_of(run)[1:]:
            print_every_metric({metric: table} | {name: written_answers.over_rows(run, stage, name) for name in others})
        if sentence := written_answers.unended_sentence(run):
            terminal.write(sentence)


def _print_controls(run: RunReader, stage: Stage, results: pd.DataFrame, tolerance: float) -> None:
    """The tickets of a stage beside their controls, where any were trained."""
    from prunekit.pruning.controls import CONTROL_NAMES

    if results.loc[results["stage"] == stage, "arm"].isin(CONTROL_NAMES).any():
        from prunekit.analysis.arm_comparison import compare_arms

        print_arms(compare_arms([(run, stage)], tolerance))


def print_rounds(results: pd.DataFrame, metric: str, title: str) -> None:
    """One row per round and seed, then the round's mean with its interval over seeds."""
    from prunekit.runs import summary

    means = {mean.round: mean for mean in summary.summarise(results, metric)}
    rows: list[dict[str, str]] = []
    for _, members in results.groupby("round", sort=True):
        rows += [_member_row(member, metric) for _, member in members.sort_values("seed").iterrows()]
        mean = means.get(int(members["round"].iloc[0]))
        if mean is not None and mean.seeds > 1:
            rows += [_mean_row(mean), {}]
    optional = [name for name in _OPTIONAL if any(row.get(name) for row in rows)]
    columns = [name for name in _ROUND_COLUMNS if name not in _OPTIONAL or name in optional]
    title = f"{title}: {metric}, seconds of the cohort's round, examples per second"
    title = ", ".join([title, *(_OPTIONAL[name] for name in optional)])
    cells = [[row.get(name, "") for name in columns] if row else [""] for row in rows]
    terminal.show(columns, cells, title=title, least=_LEAST)


def print_request_cost(results: pd.DataFrame, memory: float | None = None) -> None:
    """What a request behind each round's prefix keeps and takes, beside one behind all tokens.

    Args:
        memory: gigabytes for the prefixes of requests, None for the usual ones.
    """
    from prunekit.analysis import request_cost

    room = request_cost.CACHE_MEMORY if memory is None else memory
    costs = request_cost.of_results(results, room)
    columns = {"stage": Column("stage", lambda stage: stage or "dense"), "round": Column("round")}
    columns |= {"tokens": Column("tokens", digits(0)), "cache_bytes": Column("cache", _kilobytes)}
    columns |= {"requests": Column(f"fit {room:g} GB", "{:,}".format)}
    columns |= {"prefill_ms": Column("read ms", digits(2)), "dense_prefill_ms": Column("dense", digits(2))}
    columns |= {"decode_ms": Column("write ms", digits(2)), "dense_decode_ms": Column("dense", digits(2))}
    print_table(
        costs,
        columns,
        "what a request costs: keys and values of its prefix, how many such fit the memory, milliseconds to read and "
        "to write a token, and the same, measured in turns, behind all tokens",
    )


def _kilobytes(count: float) -> str:
    return f"{count / 1000:,.0f} kB"


def _member_row(member: pd.Series[Any], metric: str) -> dict[str, str]:
    from prunekit.runs import summary

    head = f"+{member['head_parameters']}" if member["head_parameters"] else ""
    test = terminal.number(member.get(f"test_{metric}")) if member["status"] == "done" else "diverged"
    return {
        **{name: str(member[name]) for name in ("round", "seed", "tokens", "pieces")},
        "rank": str(summary.rank_of(member) or ""),
        "density": f"{member['density']:.2f}",
        "params": f"{member['parameters']}{head}",
        "validation": terminal.number(member.get(f"validation_{metric}")),
        "test": test,
        "s": f"{member['seconds']:.0f}",
        # what `compare` chose was trained elsewhere, and has no pace of its own
        "ex/s": "" if isnan(member["examples_per_second"]) else f"{member['examples_per_second']:.0f}",
        "cache": _kilobytes(member["cache_bytes"]) if "cache_bytes" in member else "",
    }


def _mean_row(mean: RoundSummary) -> dict[str, str]:
    from prunekit.runs import summary

    reached = {"validation": f"{mean.validation:.3f}", "test": summary.interval(mean)}
    return {"round": str(mean.round), "seed": "mean", **reached}


def _print_conclusion(run: RunReader, stage: Stage, results: pd.DataFrame, tolerance: float) -> None:
    """The base lines, a warning where nothing was learned, the sentence, and what else to prune by."""
    from prunekit.runs import summary
    from prunekit.runs.address import TOLERANCE
    from prunekit.runs.baselines import BaseLines

    settings = run.settings()
    metric = settings["metric"]
    rounds = summary.of_stage(results, metric, stage)
    if not rounds:
        return
    base_lines = BaseLines.of(run)
    print_base_lines(base_lines)
    if warning := summary.not_learning(results, metric):
        terminal.write(warning)
    if base_lines.nothing_to_prune:
        terminal.write(base_lines.nothing_to_prune)
        return
    best = summary.smallest(rounds, tolerance)
    if best is None or len(rounds) == 1:
        return
    terminal.write(summary.sentence(best, rounds[0], metric, tolerance))
    usual = summary.smallest(rounds, TOLERANCE)
    if usual is not None and usual.round != best.round:
        terminal.write(f"In other verbs it is RUN@round={best.round}; RUN alone is the smallest within {TOLERANCE}.")
    coarse = summary.coarse_tolerance(tolerance, settings["examples"]["validation"])
    if coarse and summary.chosen_by(results, metric) == metric:  # a written answer may be right in part
        terminal.write(coarse)
    _print_better_score(run, stage)


def _print_better_score(run: RunReader, stage: Stage) -> None:
    """Where a pruning went by the default score and PruneBench has a better one, its name."""
    from prunekit.pruning.scores.better import BETTER

    if BETTER is not None and stage.verb == "prune" and run.stage_settings(stage).get("score") == BETTER.than:
        terminal.write(BETTER.sentence)


def print_base_lines(base_lines: BaseLines) -> None:
    """What there is without a trained prompt, and whether the dense one beats it on validation."""
    columns = {"label": Column("base line"), "validation": Column("validation", digits(3))}
    columns |= {"test": Column("test", digits(3)), "beaten": Column("dense beats it")}
    print_table(base_lines.table, columns, f"without a trained prompt: {base_lines.metric}")


def print_over_rows(table: pd.DataFrame, metric: str) -> None:
    """Written answers to the test split, with intervals over its rows, and whether the dense prompt learned."""
    from prunekit.analysis import written_answers

    with_intervals = table.assign(
        metric=[_with_interval(*row) for row in table[["metric", "low", "high"]].itertuples(index=False)],
        less_loss=[
            _with_interval(*row) for row in table[["less_loss", "less_low", "less_high"]].itertuples(index=False)
        ],
    )
    columns = {"label": Column("prompt"), "metric": Column(metric), "loss": Column("loss", digits(3))}
    columns |= {"less_loss": Column("loss - no prompt")}
    print_table(
        with_intervals, columns, f"on test, 95 % intervals over {table['rows'].iloc[0]} rows; loss in nats a token"
    )
    if sentence := written_answers.loss_sentence(table):
        terminal.write(sentence)


def print_every_metric(tables: Mapping[str, pd.DataFrame]) -> None:
    """The same prompts by every metric of the task, the primary one first; a narrow terminal leaves out the last.

    Args:
        tables: metric -> table of `written_answers.over_rows`.
    """
    first = next(iter(tables.values()))
    columns = [
        [_with_interval(*row) for row in table[["metric", "low", "high"]].itertuples(index=False)]
        for table in tables.values()
    ]
    rows = list(zip(first["label"], *columns, strict=True))
    terminal.show(["prompt", *tables], rows, title="every metric of the task on test, 95 % intervals over rows")


def _with_interval(value: float, low: float, high: float) -> str:
    return "" if value != value else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def print_search(search: SearchSummary | None, stage: str, metric: str) -> None:
    """The trials of a search: validation metric by what is kept, what each seed chose, what halving does."""
    if search is None:
        terminal.write(f"{stage}: no finished trial yet")
        return
    seeds = search.trials["seed"].nunique()
    table = search.means.reset_index()
    columns = {name: _TRIED.get(str(name), Column(str(name), digits(3))) for name in table}
    title = f"{stage}: validation {search.chosen_by} by what is kept, mean of {seeds} seed{'s' * (seeds > 1)}"
    print_table(table, columns, title)
    chosen = {name: Column(name) for name in ("seed", "tokens", "rank")}
    chosen |= {name: Column(name, digits(3)) for name in ("density", "validation", "test")}
    how = "on validation" if search.chosen_by == metric else f"by validation {search.chosen_by}, and their {metric}"
    print_table(search.chosen, chosen, f"chosen {how}; no other trial was looked at on test")
    if search.halving is not None:
        terminal.write(search.halving)
