"""The scores of tokens and pieces by which the rounds of a run were pruned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from prunekit.analysis.subjects import KEYS
from prunekit.analysis.tables.run_columns import key_columns, prunings, run_columns
from prunekit.prompts.mask import Mask
from prunekit.pruning.scores import Scores
from prunekit.runs import round_files
from prunekit.runs.paths import DENSE, SCORES, RunKey, Stage
from prunekit.runs.reader import RunReader
from prunekit.support.errors import ArtifactError

SCORED = (
    *KEYS, "kind", "level", "token", "piece", "score", "kept", "next_kept", "dropped_in", "norm", "pruned_by",
)  # fmt: skip


def scores(runs: Sequence[RunReader], stage: str | None = None) -> pd.DataFrame:
    """The scores of every round of one pruning, the dense round's first, with what became of each token and piece.

    Args:
        stage: such as "prune-1a2b"; by default the only one of each run, or the dense round alone where it has none. ""
            is the dense round alone.

    Columns:
        `KEYS`; kind (the cheap scores that every round writes, and that which prunes); level ("token", "piece"); token;
            piece (-1 at level token); score (larger = keep; NaN where dropped already); kept (bool: in this round);
            next_kept (boolean: in the next; NA where there is none); dropped_in (the first round without it, -1 where
            it is never dropped); norm (L2 of the trained values, 0 where dropped); pruned_by (bool: the kind by which
            this stage prunes).

    Raises:
        ArtifactError: where a run has no scores, has several stages to choose from, or is damaged.
    """
    tables = []
    for run in runs:
        of_run = run.once("scores", partial(_of_run, run), _chosen(run, stage))
        if of_run.empty:
            raise ArtifactError(f"{run.path}: no finished round has scores")
        tables.append(of_run)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(SCORED))


def _of_run(run: RunReader, stage: Stage) -> pd.DataFrame:
    """The rows of each round with scores, seed by seed and in the order of the rounds."""
    tables = []
    columns = run_columns(run)
    keys = [key for key in run.tickets() if key.stage in (DENSE, stage)]
    for seed in sorted({key.seed for key in keys if key.stage.is_dense}):
        rounds = sorted((key for key in keys if key.seed == seed), key=lambda key: key.round)
        masks = {key.round: round_files.starting_ticket(run, key).mask for key in rounds}
        for key in rounds:
            scores, pruned_by = scores_by_kind(run, key, stage)
            if scores:
                table = _of_round(run, key, masks, scores)
                tables.append(table.assign(**key_columns(columns, key), pruned_by=table["kind"] == pruned_by))
    whole: pd.DataFrame = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return whole.reindex(columns=list(SCORED))


def scores_by_kind(run: RunReader, key: RunKey, stage: Stage) -> tuple[dict[str, Scores], str | None]:
    """The scores of a round by kind, those that were measured for one pruning among them; the kind that prunes."""
    scores = round_files.load_scores(run, key) if SCORES in run.manifest(key)["files"] else {}
    if stage.is_dense or run.unit(stage) == "directions":  # scores of directions are of no token
        return scores, None
    apart = RunKey(stage.scored, key.seed, key.round)
    if not run.done([apart]):
        return scores, run.stage_settings(stage).get("score")
    finder = round_files.load_scores(run, apart)
    return scores | finder, next(iter(finder))


def _chosen(run: RunReader, stage: str | None) -> Stage:
    """The stage that is asked for, or the only one with tickets."""
    stages = [pruning for pruning in prunings(run) if any(key.stage == pruning for key in run.tickets())]
    if stage is None and len(stages) > 1:
        raise ArtifactError(f"{run.path}: has {', '.join(stages)}; name one of them")
    if stage and stage not in stages:
        raise ArtifactError(f"{run.path}: has no finished round of {stage}; it has {', '.join(stages) or 'none'}")
    if stage is None:
        return stages[0] if stages else DENSE
    return Stage(stage)


def _of_round(run: RunReader, key: RunKey, masks: Mapping[int, Mask], by_kind: Mapping[str, Scores]) -> pd.DataFrame:
    """The rows of each kind of score and level."""
    with torch.no_grad():
        values, _ = round_files.finished_ticket(run, key).prompt()()
    pieces = masks[key.round].piece.shape[1]
    norms = {"token": values.norm(dim=1), "piece": values.unflatten(1, (pieces, -1)).norm(dim=2)}
    levels = {
        level: _units(level, masks, key.round).assign(level=level, norm=norm.flatten().double().numpy())
        for level, norm in norms.items()
    }
    tables = []
    for kind, scores in by_kind.items():
        for level, score in (("token", scores.token), ("piece", scores.piece)):
            units = levels[level]
            of_kept = np.where(units["kept"].to_numpy(), score.flatten().double().numpy(), np.nan)
            tables.append(units.assign(kind=kind, score=of_kept))
    return pd.concat(tables, ignore_index=True)


def _units(level: str, masks: Mapping[int, Mask], number: int) -> pd.DataFrame:
    """Every token (and piece) with what becomes of it: token, piece, kept, next_kept, dropped_in."""

    def flags(mask: Mask) -> torch.Tensor:
        return mask.token if level == "token" else mask.piece

    now = flags(masks[number])
    indices = np.indices(now.shape).reshape(now.dim(), -1)
    dropped = torch.full(now.shape, -1)
    for later, mask in sorted(masks.items(), reverse=True):
        dropped[~flags(mask)] = later  # the earliest is written last
    following: Any = pd.NA if number + 1 not in masks else flags(masks[number + 1]).flatten().numpy()
    return pd.DataFrame(
        {
            "token": indices[0],
            "piece": indices[1] if level == "piece" else -1,
            "kept": now.flatten().numpy(),
            "next_kept": pd.array(np.broadcast_to(following, now.numel()).tolist(), dtype="boolean"),
            "dropped_in": dropped.flatten().numpy(),
        }
    )
