"""The directions of a run's prompts, the scores by which they were pruned, and which were kept."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from prunekit.analysis.subjects import KEYS
from prunekit.analysis.tables.run_columns import key_columns, prunings, run_columns
from prunekit.pruning.directions import Directions
from prunekit.runs import round_files, summary
from prunekit.runs.paths import DENSE, RunKey, Stage
from prunekit.runs.reader import RunReader
from prunekit.support.errors import ArtifactError

DIRECTIONS = (*KEYS, "direction", "size", "share", "kind", "score", "next_kept")


def directions(runs: Sequence[RunReader], stage: str | None = None) -> pd.DataFrame:
    """The singular directions of every prompt that one pruning of directions cut, the dense round's first.

    Of a search over ranks those of the dense round, and which of them the chosen ticket kept.

    Args:
        stage: such as "prune-1a2b"; by default the only one of each run that pruned directions.

    Columns:
        `KEYS`; direction (from 0, the longest first); size (the singular value, in the units of the embeddings); share
            (of the prompt's sum of squares, in [0, 1]); kind (of score), score (larger = keep); next_kept (bool: the
            next round has it).

    Raises:
        ArtifactError: where a run pruned no directions, or several times, or is damaged.
    """
    chosen = [(run, _chosen(run, stage)) for run in runs]
    tables = [_of_round(run, key, pruning) for run, pruning in chosen for key in _cut(run, pruning)]
    whole: pd.DataFrame = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return whole.reindex(columns=list(DIRECTIONS))


def _chosen(run: RunReader, stage: str | None) -> Stage:
    stages = [pruning for pruning in prunings(run) if run.unit(pruning) == "directions"]
    if stage is None and len(stages) == 1:
        return stages[0]
    if stage is None or stage not in stages:
        listed = ", ".join(stages) or "none; use `prunekit prune --keep-rank` or `prunekit search --grid rank`"
        raise ArtifactError(f"{run.path}: prunings of directions are {listed}")
    return Stage(stage)


def _cut(run: RunReader, stage: Stage) -> list[RunKey]:
    """The finished rounds after which directions were pruned."""
    keys = {key for key in run.tickets() if key.stage in (DENSE, stage)}
    following = {(key.seed, key.round) for key in keys if key.stage == stage}
    return sorted(
        (key for key in keys if (key.seed, key.round + 1) in following), key=lambda key: (key.seed, key.round)
    )


def _of_round(run: RunReader, key: RunKey, stage: Stage) -> pd.DataFrame:
    of_prompt = Directions.of(round_files.finished_ticket(run, key))
    ((kind, scores),) = round_files.load_scores(run, RunKey(stage.scored, key.seed, key.round)).items()
    squares = of_prompt.size.square()
    rank = summary.rank_of(run.result(RunKey(stage, key.seed, key.round + 1))) or len(squares)
    columns = {
        "direction": range(len(squares)),
        "size": of_prompt.size.numpy(),
        "share": (squares / squares.sum()).numpy(),
        "kind": kind,
        "score": scores.token.double().numpy(),
        "next_kept": of_prompt.best(scores, rank).numpy(),
    }
    return pd.DataFrame(columns).assign(**key_columns(run_columns(run), key))
