"""Pruning: from scores to the next mask, by rank and exact count (XPrompt, section 3.2: tokens first, then pieces)."""

from __future__ import annotations

import torch
from torch import Tensor

from prunekit.prompts.mask import Mask
from prunekit.pruning.schedule import Keep
from prunekit.pruning.scores import Scores
from prunekit.support.errors import DivergedError


def prune_mask(mask: Mask, scores: Scores, keep: Keep, frozen: int = 0) -> Mask:
    """The mask that keeps exactly `keep.tokens` tokens, and `keep.pieces` pieces of each, the best by score.

    Only kept cells compete, so nothing is revived. Ties go to the lower index.

    Args:
        frozen: so many first tokens stay as they are with all their pieces, whatever their scores; they are among the
            tokens that are kept.

    Raises:
        ValueError: where shapes differ or `keep` asks for more than the mask holds or for nothing.
        DivergedError: where the score of a kept cell is NaN.
    """
    if scores.piece.shape != mask.piece.shape:
        raise ValueError(f"scores have shape {[*scores.piece.shape]}, the mask has {[*mask.piece.shape]}")
    if scores.token[mask.token].isnan().any() or scores.piece[mask.piece].isnan().any():
        raise DivergedError("a score is NaN; nothing was pruned")
    if keep.tokens < 1 or keep.pieces < 1:
        raise ValueError(f"a round keeps at least one token and one piece, asked for {keep}")
    held = torch.arange(len(mask.token)) < frozen
    if keep.tokens <= frozen:
        raise ValueError(f"asked to keep {keep.tokens} tokens, of which {frozen} are frozen")
    token = _best(scores.token, mask.token & ~held, keep.tokens - frozen)
    piece = mask.piece & held[:, None]
    for row in token.nonzero().flatten().tolist():
        piece[row] = _best(scores.piece[row], mask.piece[row], keep.pieces)
    return Mask(token | held, piece)


def _best(score: Tensor, allowed: Tensor, count: int) -> Tensor:
    """Bool[N]: the `count` best-scored of the allowed entries, ties to the lower index."""
    candidates = allowed.nonzero().flatten()
    if count > len(candidates):
        raise ValueError(f"asked to keep {count}, only {len(candidates)} are left")
    order = score[candidates].argsort(descending=True, stable=True)
    kept = torch.zeros_like(allowed)
    kept[candidates[order[:count]]] = True
    return kept
