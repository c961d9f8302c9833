"""What of the dense prompt the trials of a search kept: known before any of them is trained."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor

from prunekit.analysis import spectra
from prunekit.analysis.tables.scores import scores_by_kind
from prunekit.prompts.mask import Mask
from prunekit.pruning.scores import Scores
from prunekit.runs import round_files
from prunekit.runs.paths import DENSE, RunKey, Stage
from prunekit.runs.reader import RunReader
from prunekit.support.errors import ArtifactError

KEPT_SHARES = ("seed", "tokens", "pieces", "density", "score", "rank")


def kept_shares(run: RunReader, stage: str) -> pd.DataFrame:
    """What of the dense prompt's cells, importance and directions each trial of a search kept.

    Columns:
        seed, tokens, pieces (counts). Shares of the dense prompt, in [0, 1]: density (of its cells);
            score (that of the kept tokens, by
            the score that prunes, times that of their kept pieces; what is negative counts as 0); rank (the effective
            rank, Roy and Vetterli 2007).

    Raises:
        ArtifactError: of a search over ranks, whose trials keep every cell.
    """
    if run.unit(stage) == "directions":
        raise ArtifactError(f"{run.path}: {stage} tried ranks, and no token or piece; name a search over ratios")
    rows = []
    for key in run.tickets():
        if key.stage.is_trial and key.stage.top == Stage(stage):
            dense, result = RunKey(DENSE, key.seed, 0), run.result(key)
            mask = round_files.starting_ticket(run, key).mask
            scores, kind = scores_by_kind(run, dense, Stage(stage))
            shares = (mask.density, _score_share(scores[str(kind)], mask), _rank_share(run, dense, mask))
            rows.append((key.seed, result["tokens"], result["pieces"], *shares))
    return pd.DataFrame(rows, columns=list(KEPT_SHARES))


def _score_share(scores: Scores, mask: Mask) -> float:
    token, piece = scores.token.double().clamp(min=0), scores.piece.double().clamp(min=0)
    return _share(token, mask.token) * _share(piece[mask.token], mask.piece[mask.token])


def _share(whole: Tensor, kept: Tensor) -> float:
    """The part of a sum that is kept; all of it where the sum is 0."""
    total = float(whole.sum())
    return float(whole[kept].sum()) / total if total else 1.0


def _rank_share(run: RunReader, dense: RunKey, mask: Mask) -> float:
    with torch.no_grad():
        values, _ = round_files.finished_ticket(run, dense).prompt()()
    matrices = torch.stack([values, values * mask.expand(values.shape[1])])
    whole, kept = spectra.measure(spectra.singular_values(matrices), max(values.shape))["entropy"].tolist()
    return kept / whole if whole else 1.0
