"""The base lines of a run, and whether its dense prompt beats them: what does not is nothing to prune yet.

Judged on validation, seed for seed or row for row; the test split takes no part.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prunekit.runs.paths import BASELINES, DENSE, FACTS, PREDICTIONS, UNTRAINED, RunKey, Stage
from prunekit.runs.reader import RunReader
from prunekit.runs.summary import RoundSummary, of_stage, smallest
from prunekit.support import statistics

COLUMNS = ("name", "label", "kind", "seeds", "validation", "test", "difference", "p", "units", "beaten")
#: Seeds from which on they are the units; with fewer, no test of them could reach the level.
ENOUGH_SEEDS = statistics.units_needed(1, 0.05)

_ALPHA = 0.05
# what follows the kind of a base line in its folder's name
_DETAIL = re.compile(r"=\d+$|(?<=instruction)-[0-9a-f]+$")
_RESAMPLES = 9_999

# of a corpus score, each of which is computed anew
_RESAMPLES_OF_A_CORPUS = 999

# which rows are right [N], or what each adds to the metric of written answers [N, k]
Rights = NDArray[Any]


@dataclass(frozen=True)
class BaseLineRecord:
    """A base line as a run holds it.

    Attributes:
        name: "majority", "untrained", or its folder, such as "no-prompt" and "shots=4".
        label: how people read it.
        kind: "base line", or "ceiling", which nobody asks a prompt to beat.
        seeded: whether each seed has its own; else there is a single one, under seed 0.
        validation: the primary metric by seed.
        test: the same.
        rights: by seed, which rows of validation it has right [N], what each adds to the metric of written answers
            [N, k] (see `TextMetric`), or None where that is not on record.
    """

    name: str
    label: str
    kind: str
    seeded: bool
    validation: dict[int, float]
    test: dict[int, float]
    rights: dict[int, Rights | None]

    @property
    def arm(self) -> str:
        """What tables of arms call it, whatever its words or number: "instruction" of "instruction-1a2b"."""
        return _DETAIL.sub("", self.name)


@dataclass(frozen=True)
class Comparison:
    """The dense prompt against one base line, on validation.

    Attributes:
        record: the base line.
        dense: mean of the primary metric over the seeds that both have.
        other: that of the base line.
        units: what was paired, such as "128 rows", "128 rows x 3 seeds" or "6 seeds".
        p: of a two-sided test; None of an interval over rows of several seeds, and where nothing could be paired.
        beats: whether the dense prompt is better, and by more than chance.
    """

    record: BaseLineRecord
    dense: float
    other: float
    units: str
    p: float | None
    beats: bool

    def __str__(self) -> str:
        more = "" if self.p is None else f"p = {self.p:.2g}, "
        return f"{self.record.label} ({self.other:.3f}; {more}{self.units})"


@dataclass(frozen=True)
class BaseLines:
    """The base lines of a run.

    Attributes:
        metric: the primary one.
        records: in the order of tables.
        comparisons: the dense prompt against each but the ceilings; none where no dense round came to its end.
    """

    metric: str
    records: tuple[BaseLineRecord, ...]
    comparisons: tuple[Comparison, ...]

    @classmethod
    def of(cls, run: RunReader) -> BaseLines:
        """Those of a run, its dense prompts compared with them.

        With `ENOUGH_SEEDS` finished seeds, these are the units of a sign-flip test of the metric. With one, its rows
        are (McNemar's exact test), and with a few, or where answers are written, rows are resampled with the seeds of
        a row kept together; a corpus score (BLEU) is computed anew of each sample.

        Raises:
            ArtifactError: where the run is damaged.
        """
        metric, results = str(run.settings()["metric"]), run.results()
        records = tuple(_records(run, results, metric))
        dense = _reached(results, DENSE, f"validation_{metric}")
        rights = {seed: _right(run, RunKey(DENSE, seed, 0)) for seed in dense}
        opponents = [record for record in records if record.kind == "base line" and dense]
        compared = (_compared(metric, dense, rights, record) for record in opponents)
        return cls(metric, records, tuple(comparison for comparison in compared if comparison is not None))

    @property
    def table(self) -> pd.DataFrame:
        """A row for each, means over seeds.

        Columns:
            name, label, kind; seeds (int: of its own); validation, test (the primary metric); difference (the dense
                prompt's validation metric less its own), p, units, beaten (bool), as `Comparison` has them; these are
                missing of a ceiling.
        """
        by_name = {comparison.record.name: comparison for comparison in self.comparisons}
        rows = [_row(record, by_name.get(record.name)) for record in self.records]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    @property
    def nothing_to_prune(self) -> str | None:
        """A sentence where the dense prompt does not beat every base line: which, and what to try; else None."""
        unbeaten = [comparison for comparison in self.comparisons if not comparison.beats]
        if not unbeaten:
            return None
        others = "; ".join(map(str, unbeaten))
        if min(comparison.other for comparison in unbeaten) >= 1:
            return (
                f"Nothing to prune yet: every row of validation is answered right by {others}, as by the dense prompt. "
                "Try harder rows."
            )
        advice = "more --train-steps, another --learning-rate, more --train-examples or --prompt-tokens"
        if any(comparison.dense > comparison.other for comparison in unbeaten):
            advice = f"more --validation-examples or --seeds to be sure; else {advice}"
        reached = f"{self.metric} {unbeaten[0].dense:.3f}"
        return f"Nothing to prune yet: on validation the dense prompt ({reached}) does not beat {others}. Try {advice}."


def best_of_stage(results: pd.DataFrame, stage: Stage, tolerance: float, base_lines: BaseLines) -> RoundSummary | None:
    """The round that a stage comes to; None where it has none.

    Of a search that is what it chose, else the smallest good ticket, or the dense one where that does not beat its base
    lines.

    Args:
        results: the run's results table.
        stage: a pruning or search, or the dense stage.
        tolerance: how far below dense on validation a ticket may be.
        base_lines: of the same run.
    """
    rounds = of_stage(results, base_lines.metric, stage)
    if stage.verb == "search":
        return rounds[-1] if rounds else None
    if base_lines.nothing_to_prune:
        return next((entry for entry in rounds if entry.round == 0), None)
    return smallest(rounds, tolerance)


def _row(record: BaseLineRecord, comparison: Comparison | None) -> tuple[Any, ...]:
    means = [float(np.mean([*values.values()])) for values in (record.validation, record.test)]
    row = (record.name, record.label, record.kind, len(record.validation), *means)
    if comparison is None:
        return (*row, None, None, None, None)
    return (*row, comparison.dense - comparison.other, comparison.p, comparison.units, comparison.beats)


def _compared(
    metric: str, dense: dict[int, float], rights: dict[int, Rights], record: BaseLineRecord
) -> Comparison | None:
    """Over the seeds that both have; a base line without seeds stands against each."""
    place = {seed: seed if record.seeded else 0 for seed in dense}
    seeds = [seed for seed in dense if place[seed] in record.validation]
    if not seeds:
        return None
    values = np.array([dense[seed] for seed in seeds])
    others = np.array([record.validation[place[seed]] for seed in seeds])
    means = (record, float(values.mean()), float(others.mean()))
    higher = bool(values.mean() > others.mean())
    if len(seeds) >= ENOUGH_SEEDS:
        of_seeds = statistics.sign_flip([values - others])
        return Comparison(*means, f"{len(seeds)} seeds", of_seeds, higher and of_seeds < _ALPHA)
    on_record = ((rights[seed], record.rights[place[seed]]) for seed in seeds)
    pairs = [(ours, theirs) for ours, theirs in on_record if theirs is not None]
    if not pairs:
        return None
    units, p, beats = _over_rows(pairs) if pairs[0][0].ndim == 1 else _over_written(metric, pairs)
    return Comparison(*means, units, p, higher and beats)


def _over_written(metric: str, pairs: Sequence[tuple[Rights, Rights]]) -> tuple[str, float | None, bool]:
    """As `_over_rows`, of what rows add to the metric of written answers."""
    from prunekit.tasks.text_metrics import judge_of

    total = judge_of(metric).total
    rows, width = pairs[0][0].shape
    if width == 1:  # a mean over rows, and so is every difference of two
        differences = np.concatenate([ours - theirs for ours, theirs in pairs], axis=1)  # [rows, seeds]
        low, _ = statistics.clustered_interval(differences, 1 - _ALPHA, _RESAMPLES, seed=0)
    else:
        samples = np.random.default_rng(0).integers(0, rows, (_RESAMPLES_OF_A_CORPUS, rows))
        means = [np.mean([total(ours[each]) - total(theirs[each]) for ours, theirs in pairs]) for each in samples]
        low = float(np.quantile(means, _ALPHA / 2))
    seeds = f" x {len(pairs)} seeds" if len(pairs) > 1 else ""
    return f"{rows} rows{seeds}", None, low > 0


def _over_rows(pairs: Sequence[tuple[Rights, Rights]]) -> tuple[str, float | None, bool]:
    """Units, p, and whether more rows are right than by chance.

    Args:
        pairs: by seed, which rows the dense prompt and the base line have right.
    """
    paired = [dense - other for dense, other in pairs]
    differences = np.stack(paired, axis=1)  # [rows, seeds]
    rows, seeds = differences.shape
    if seeds == 1:
        p = statistics.mcnemar(int((differences > 0).sum()), int((differences < 0).sum()))
        return f"{rows} rows", p, bool(differences.sum() > 0 and p < _ALPHA)
    low, _ = statistics.clustered_interval(differences, 1 - _ALPHA, _RESAMPLES, seed=0)
    return f"{rows} rows x {seeds} seeds", None, low > 0


def _records(run: RunReader, results: pd.DataFrame, metric: str) -> Iterator[BaseLineRecord]:
    """Every base line in the order of tables."""
    if results.empty:
        return
    yield _majority(run, results)
    yield from _measured(run, metric)
    untrained = _reached(results, UNTRAINED, f"validation_{metric}")
    if untrained:
        has_head = results.loc[results["stage"] == UNTRAINED, "head_parameters"].any()
        label = "untrained prompt" + (", trained head" if has_head else "")
        test = _reached(results, UNTRAINED, f"test_{metric}")
        rights = {seed: _right(run, RunKey(UNTRAINED, seed, 0)) for seed in untrained}
        yield BaseLineRecord("untrained", label, "base line", True, untrained, test, dict(rights))


def _majority(run: RunReader, results: pd.DataFrame) -> BaseLineRecord:
    """The most common answer to the rows that judge; which rows that has right, the dense round's rows tell."""
    dense = results[(results["stage"] == DENSE) & (results["status"] == "done")]
    first = (dense if len(dense) else results).iloc[0]
    right = None
    if len(dense) and (answers := _validation(run, RunKey(DENSE, int(first["seed"]), 0))).get("answer") is None:
        golds = answers["gold"]
        counts = Counter(int(answer) for gold in golds for answer in gold)
        most_common = min(counts, key=lambda answer: (-counts[answer], answer), default=None)
        right = np.array([most_common in gold for gold in golds], dtype=np.int64)
    validation, test = ({0: float(first[f"majority_{split}"])} for split in ("validation", "test"))
    return BaseLineRecord("majority", "most common answer", "base line", False, validation, test, {0: right})


def _measured(run: RunReader, metric: str) -> Iterator[BaseLineRecord]:
    """What lies among the base lines."""
    names = dict.fromkeys(key.stage.arm for key in run.rounds() if key.stage.top == BASELINES)
    for name in names:
        keys = [key for key in run.rounds() if key.stage == BASELINES.inside(name)]
        facts: dict[int, dict[str, Any]] = {key.seed: run.facts(key, FACTS) for key in keys}
        first = facts[keys[0].seed]
        validation, test = (
            {seed: float(values[split][metric]) for seed, values in facts.items()} for split in ("validation", "test")
        )
        rights = {key.seed: _right(run, key) for key in keys}
        yield BaseLineRecord(name, first["label"], first["kind"], first["seeded"], validation, test, dict(rights))


def _reached(results: pd.DataFrame, stage: str, column: str) -> dict[int, float]:
    """Seed -> metric of the finished tickets of a stage's round 0."""
    if results.empty or column not in results:  # where none came to an end, no metric was taken
        return {}
    rows = results[(results["stage"] == stage) & (results["round"] == 0) & (results["status"] == "done")]
    return dict(zip(rows["seed"].astype(int), rows[column].astype(float), strict=True))


def _right(run: RunReader, key: RunKey) -> Rights:
    """Which rows of validation were answered right, in the order of the split, or what they add to the metric."""
    table = _validation(run, key)
    if "answer" in table:
        return np.array(table[run.settings()["metric"]].tolist(), dtype=np.float64)
    pairs = zip(table["choice"], table["gold"], strict=True)
    return np.array([choice in gold for choice, gold in pairs], dtype=np.int64)


def _validation(run: RunReader, key: RunKey) -> pd.DataFrame:
    table = run.table(key, PREDICTIONS)
    return table[table["split"] == "validation"]
