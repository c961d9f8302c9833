"""Runs seen from outside: which lie in a folder, what a run came to, what is wrong, in what several differ."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prunekit.runs import summary
from prunekit.runs.audit import Audit
from prunekit.runs.journal import read_journal
from prunekit.runs.paths import DENSE, MANIFEST, PRUNING_VERBS, SETTINGS, UNTRAINED, Stage
from prunekit.runs.reader import RunReader
from prunekit.runs.snapshot import Snapshot
from prunekit.runs.summary import RoundSummary
from prunekit.support.errors import ArtifactError

if TYPE_CHECKING:
    import pandas as pd

# settings that follow from others, or say in digests what another says in words
_REPEATED = re.compile(r"id|budget\.request|digests\..*|content\.(answering|model)\..*|content\.weights\.rounded")


def runs_in(folder: Path) -> list[Path]:
    """The runs of a folder, by name; one that has lost its settings is there too."""
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and _was_run(path)]


def facts_of(run: RunReader, tolerance: float, stages: Sequence[str] | None = None) -> dict[str, Any]:
    """What a run came to: its tickets with times, its rounds over seeds, its base lines, the best of its rounds.

    Args:
        tolerance: how far below dense, on validation, the best may be.
        stages: of these alone.
    """
    from prunekit.runs.baselines import BaseLines, best_of_stage  # they load numpy, and a list of runs needs neither

    metric = run.settings()["metric"]
    results = run.results(times=True)
    if stages is not None and not results.empty:
        results = results[results["stage"].isin([*stages, UNTRAINED])]
    rounds = summary.summarise(results, metric, PRUNING_VERBS)
    base_lines = BaseLines.of(run)
    pruned = [stage for stage in map(Stage, sorted(set(results.get("stage", ())))) if stage.is_pruned]
    each = [best_of_stage(results, stage, tolerance, base_lines) for stage in pruned or [DENSE]]
    best = min(filter(None, each), key=lambda entry: (entry.density, entry.round), default=None)
    return {
        "run": str(run.path),
        "metric": metric,
        "tolerance": tolerance,
        "tickets": results,
        "rounds": [entry.facts for entry in rounds],
        "baselines": base_lines.table.to_dict("records"),
        "nothing_to_prune": base_lines.nothing_to_prune,
        "best": None if best is None else best.facts,
    }


@dataclass(frozen=True)
class Verification:
    """The state of one run: what is wrong, a line each, and what was looked at."""

    path: Path
    audit: Audit

    @property
    def state(self) -> str:
        """Such as "whole", or "2 problems, 1 to be finished"."""
        count = len(self.audit.problems)
        state = f"{count} problem{'s' * (count > 1)}" if count else "whole"
        return state + (f", {self.audit.unfinished} to be finished" if self.audit.unfinished else "")


def verify_runs(paths: Sequence[Path]) -> list[Verification]:
    """All that runs should hold is looked at.

    Args:
        paths: runs, or folders of runs.
    """
    runs = [run for path in paths for run in ([path] if _was_run(path) else runs_in(path) or [path])]
    return [Verification(path, _audit(path)) for path in dict.fromkeys(runs)]


@dataclass(frozen=True)
class RunComparison:
    """Runs side by side.

    Attributes:
        settings: a row for each setting that differs, by dotted name; a column for each run.
        rounds: of each run.
    """

    runs: tuple[RunReader, ...]
    settings: pd.DataFrame
    rounds: tuple[list[RoundSummary], ...]

    @property
    def table(self) -> pd.DataFrame:
        """The rounds of all runs, a row each: run, then as `RoundSummary`."""
        import pandas as pd

        entries = zip(self.runs, self.rounds, strict=True)
        return pd.DataFrame([{"run": run.path.name, **entry.facts} for run, rounds in entries for entry in rounds])

    @property
    def facts(self) -> list[dict[str, Any]]:
        """An entry for each run: run, the settings that differ, rounds."""
        names = list(self.settings["setting"])
        return [
            {
                "run": str(run.path),
                "settings": dict(zip(names, self.settings.iloc[:, column], strict=True)),
                "rounds": [entry.facts for entry in rounds],
            }
            for column, (run, rounds) in enumerate(zip(self.runs, self.rounds, strict=True), start=1)
        ]


def compare_runs(paths: Sequence[Path]) -> RunComparison:
    """The settings in which runs differ, and their rounds.

    Raises:
        ArtifactError: where a path is no run, or damaged.
    """
    import pandas as pd

    runs = tuple(Snapshot.open(path) for path in paths)
    settings = [_flat(run.settings()) for run in runs]
    names = sorted({name for flat in settings for name in flat if not _REPEATED.fullmatch(name)})
    differing = [name for name in names if len({str(flat.get(name)) for flat in settings}) > 1]
    values = [[name, *(flat.get(name) for flat in settings)] for name in differing]
    columns = pd.Index(["setting", *(run.path.name for run in runs)])
    rounds = tuple(summary.summarise(run.results(), run.settings()["metric"], PRUNING_VERBS) for run in runs)
    return RunComparison(runs, pd.DataFrame(values, columns=columns, dtype=object), rounds)


def _was_run(path: Path) -> bool:
    """Whether a folder is a run, or holds what is left of one; before its settings are written it is none yet."""
    if os.path.lexists(path / SETTINGS):
        return True
    try:
        written = read_journal(path)
    except ArtifactError:
        return True
    begun = written is not None and bool(written[0].rounds)
    return begun or any(True for _ in path.glob(f"seed=*/round=*/{MANIFEST}"))


def _audit(path: Path) -> Audit:
    return Snapshot(path).audit() if _was_run(path) else Audit((f"{path}: not a run, nor a folder of runs",))


def _flat(table: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in table.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
