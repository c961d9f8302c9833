"""Masks: which tokens of a prompt, and which pieces of those tokens, are kept.

P prompt tokens, K pieces per token, H embedding width (K divides H). A piece is one of K equal contiguous slices of a
token's H coordinates. A *cell* is one piece of one token; density counts kept cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from prunekit.support.errors import ConfigError


@dataclass(frozen=True, eq=False, repr=False)
class Mask:
    """Keep-flags of a prompt's tokens and pieces; never edited in place.

    Attributes:
        token: Bool[P], True where the token is kept.
        piece: Bool[P, K], True where the piece is kept; all False for a dropped token, never all False for a kept one.
    """

    token: Tensor
    piece: Tensor

    def __post_init__(self) -> None:
        if self.token.dtype != torch.bool or self.piece.dtype != torch.bool:
            raise ValueError(f"masks are boolean, got token {self.token.dtype} and piece {self.piece.dtype}")
        if self.token.dim() != 1 or self.piece.dim() != 2 or len(self.piece) != len(self.token):
            raise ValueError(f"want token [P] and piece [P, K], got {[*self.token.shape]} and {[*self.piece.shape]}")
        if not torch.equal(self.piece.any(dim=1), self.token):
            raise ValueError("every kept token needs a kept piece, and no dropped token may have one")

    @classmethod
    def full(cls, tokens: int, pieces: int) -> Mask:
        """The dense mask of P = `tokens` and K = `pieces`."""
        return cls(torch.ones(tokens, dtype=torch.bool), torch.ones(tokens, pieces, dtype=torch.bool))

    def expand(self, width: int) -> Tensor:
        """Bool[P, H]: the keep-flag of every coordinate, for an embedding of H = `width`.

        Raises:
            ConfigError: where K does not divide H.
        """
        size = piece_width(width, self.piece.shape[1])
        return self.piece.repeat_interleave(size, dim=1)

    @property
    def tokens(self) -> int:
        """Kept tokens, a count."""
        return int(self.token.sum())

    @property
    def cells(self) -> int:
        """Kept cells (token x piece), a count."""
        return int(self.piece.sum())

    @property
    def density(self) -> float:
        """Kept cells / (P * K), in [0, 1]."""
        return self.cells / self.piece.numel()

    def __le__(self, other: Mask) -> bool:
        """Nested: everything kept here is kept in `other` too."""
        return bool((self.piece <= other.piece).all())

    def __invert__(self) -> Mask:
        """The complement: exactly the cells that are dropped here; a token that keeps all its pieces is not in it."""
        return Mask((~self.piece).any(dim=1), ~self.piece)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and torch.equal(self.piece, other.piece)

    def __hash__(self) -> int:
        return hash(self.piece.numpy().tobytes())

    def __repr__(self) -> str:
        tokens, pieces = self.piece.shape
        return f"Mask({self.tokens} of {tokens} tokens, {self.cells} of {tokens * pieces} cells)"

    def _repr_html_(self) -> str:
        """In a notebook it is drawn."""
        from prunekit.prompts.mask_drawing import svg

        return svg(self.piece)


def piece_width(width: int, pieces: int) -> int:
    """H / K, the coordinates in one piece.

    Raises:
        ConfigError: where K does not divide H.
    """
    if pieces < 1 or width % pieces:
        fits = [count for count in (1, 2, 4, 8, 16, 32, 64) if width % count == 0]
        raise ConfigError(
            f"pieces = {pieces} does not divide the embedding width {width}; use one of {', '.join(map(str, fits))}"
        )
    return width // pieces
