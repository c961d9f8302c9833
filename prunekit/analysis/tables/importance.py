"""Scores of tokens and pieces: those that pruned the rounds of a run, and those that were measured on its prompts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from prunekit.analysis.subjects import KEYS
from prunekit.analysis.tables.results import facts, keys_of, prunings
from prunekit.prompts.mask import Mask
from prunekit.runs import round_files
from prunekit.runs.paths import FACTS, IMPORTANCE, SCORES, TICKET, RunKey
from prunekit.runs.run import Run
from prunekit.runs.ticket_file import load_ticket
from prunekit.support.errors import ArtifactError

SCORED = (
    *KEYS, "kind", "level", "token", "piece", "score", "kept", "next_kept", "dropped_in", "norm", "pruned_by",
)  # fmt: skip
MEASURED = (
    *KEYS, "kind", "level", "token", "piece", "kept", "score", "error", "low", "high", "p", "p_corrected", "negative",
    "right_change", "test_cost", "confirmed", "split", "examples",
)  # fmt: skip

_STAGE = "score-"


def scores(runs: Sequence[Run], stage: str | None = None) -> pd.DataFrame:
    """The scores of every round of one pruning, the dense round's first, with what became of each token and piece.

    Args:
        stage: such as "prune-1a2b"; by default the only one of each run, or the dense round alone where it has none. ""
            is the dense round alone.

    Columns:
        `KEYS`; kind (the name of a score); level ("token", "piece"); token; piece
            (-1 at level token); score (larger = keep; NaN where dropped already); kept (bool: in this round); next_kept
            (boolean: in the next; NA where there is none); dropped_in (the first round without it, -1 where it is never
            dropped); norm (L2 of the trained values, 0 where dropped); pruned_by (bool: the kind by which this stage
            prunes).

    Raises:
        ArtifactError: where a run has no scores, has several stages to choose from, or is damaged.
    """
    tables = []
    for run in runs:
        known, mine = facts(run), _chosen(run, stage)
        pruned_by = run.stage_settings(mine).get("score") if mine else None
        keys = [key for key in run.tickets() if key.stage in ("", mine)]
        seeds = sorted({key.seed for key in keys if key.stage == ""})
        lineages = [[key for key in keys if key.seed == seed] for seed in seeds]
        found = [_of_seed(run, known, sorted(one, key=_round), pruned_by) for one in lineages]
        tables += [one for one in found if one is not None]
        if not any(one is not None for one in found):
            raise ArtifactError(f"{run.path}: no finished round has scores")
    made: pd.DataFrame = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return made.reindex(columns=list(SCORED))


def measured(runs: Sequence[Run], changed: Mapping[str, Any] | None = None, *, partial: bool = False) -> pd.DataFrame:
    """What `prunekit score` measured on the prompts of some runs; empty where it has not been called.

    Args:
        changed: settings, by dotted name, in which the measuring differed from the runs' own; other measurements are
            left out. By default those are read that were made on a run's own model, task and data.
        partial: also those that were made on a part of a split (`--examples`).

    Columns:
        `KEYS` of the prompt; kind ("leave-one-out", "shapley", or a first-order one); level; token; piece (-1 at level
            token); kept (bool); score (larger = keep); error (standard error of a Shapley value); low, high, p,
            p_corrected, negative, right_change (of leave-one-out, as in `token_importance.negative`); test_cost,
            confirmed (of what is negative, as in `token_importance.confirm`); split, examples (what it was measured
            on).

    Raises:
        ArtifactError: where a run is damaged.
    """
    tables = []
    for run in runs:
        known = facts(run)
        for key in run.rounds():
            top, _, rest = key.stage.partition("/")
            if top.startswith(_STAGE) and IMPORTANCE in run.manifest(key)["files"]:
                about = json.loads(run.read(key, FACTS).read_bytes())
                if not _wanted(about, changed or {}, partial):
                    continue
                table = pd.read_parquet(run.read(key, IMPORTANCE))
                more = {name: about[name] for name in ("kind", "level", "split", "examples")}
                tables.append(table.assign(**keys_of(known, key._replace(stage=rest)), **more))
    found = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    found = found.reindex(columns=list(MEASURED))
    found["piece"] = found["piece"].fillna(-1).astype(int)
    return found.astype({"negative": "boolean", "confirmed": "boolean"})


def _wanted(about: Mapping[str, Any], changed: Mapping[str, Any], partial: bool) -> bool:
    """Whether a measurement is one of those that are read."""
    if about.get("changed", {}) != changed or (about.get("differs") and not changed):
        return False
    return partial or about["examples"] >= about.get("rows", about["examples"])


def _chosen(run: Run, stage: str | None) -> str:
    there = [one for one in prunings(run) if any(key.stage == one for key in run.tickets())]
    if stage is None and len(there) > 1:
        raise ArtifactError(f"{run.path}: has {', '.join(there)}; name one of them")
    if stage and stage not in there:
        raise ArtifactError(f"{run.path}: has no finished round of {stage}; it has {', '.join(there) or 'none'}")
    return (there[0] if there else "") if stage is None else stage


def _round(key: RunKey) -> int:
    return key.round


def _of_seed(run: Run, known: Mapping[str, str], keys: Sequence[RunKey], pruned_by: Any) -> pd.DataFrame | None:
    """The rounds of one lineage, in order; None where it has no scores."""
    masks = {key.round: load_ticket(run.read(key, TICKET)).mask for key in keys}
    tables = []
    for key in keys:
        if SCORES not in run.manifest(key)["files"]:
            continue
        with torch.no_grad():
            values, _ = round_files.finished_ticket(run, key).prompt()()
        for kind, found in round_files.load_scores(run, key).items():
            for level, score in (("token", found.token), ("piece", found.piece)):
                units = _units(level, masks, key.round)
                size = values.shape[1] // found.piece.shape[1]
                norms = values.norm(dim=1) if level == "token" else values.unflatten(1, (-1, size)).norm(dim=2)
                kept = units["kept"].to_numpy()
                table = units.assign(
                    **keys_of(known, key),
                    kind=kind,
                    level=level,
                    score=np.where(kept, score.flatten().double().numpy(), np.nan),
                    norm=norms.flatten().double().numpy(),
                    pruned_by=kind == pruned_by,
                )
                tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else None


def _units(level: str, masks: Mapping[int, Mask], number: int) -> pd.DataFrame:
    """Every token (and piece) with what becomes of it: token, piece, kept, next_kept, dropped_in."""

    def flags(mask: Mask) -> torch.Tensor:
        return mask.token if level == "token" else mask.piece

    now = flags(masks[number])
    keys = np.indices(now.shape).reshape(now.dim(), -1)
    dropped = torch.full(now.shape, -1)
    for later, mask in sorted(masks.items(), reverse=True):
        dropped[~flags(mask)] = later  # the earliest is written last
    following: Any = pd.NA if number + 1 not in masks else flags(masks[number + 1]).flatten().numpy()
    return pd.DataFrame(
        {
            "token": keys[0],
            "piece": keys[1] if level == "piece" else -1,
            "kept": now.flatten().numpy(),
            "next_kept": pd.array(np.broadcast_to(following, now.numel()).tolist(), dtype="boolean"),
            "dropped_in": dropped.flatten().numpy(),
        }
    )
