"""A mask as a small picture for a notebook: a row for each token, a square for each piece, dropped ones empty."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

# pixels of a square, and of the largest picture
_CELL, _MOST = 9, 360


def svg(piece: Tensor) -> str:
    """Inline SVG of Bool[P, K] in the colour of the text around it: K squares across, P down; filled ones are kept."""
    tokens, pieces = piece.shape
    shrunk = min(1.0, _MOST / (_CELL * max(tokens, pieces)))
    size = f'width="{shrunk * _CELL * pieces:.0f}" height="{shrunk * _CELL * tokens:.0f}"'
    label = (
        f"{int(piece.any(dim=1).sum())} of {tokens} tokens and {int(piece.sum())} of {tokens * pieces} pieces are kept"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" {size} '
        f'viewBox="0 0 {pieces} {tokens}"><title>{label}</title>'
        f'<path fill="currentColor" fill-opacity="0.1" d="{"".join(_squares(~piece))}"/>'
        f'<path fill="currentColor" d="{"".join(_squares(piece))}"/></svg>'
    )


def _squares(which: Tensor) -> Iterator[str]:
    """A path of a square, with a gap around it, for each true place of Bool[P, K]."""
    for token, piece in which.nonzero().tolist():
        yield f"M{piece + 0.08:.2f} {token + 0.08:.2f}h.84v.84h-.84z"
