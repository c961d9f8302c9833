"""Pictures that follow the reader: a few rules inside each SVG give it the colours of the house in the dark."""

from __future__ import annotations

import re
from pathlib import Path

from prunekit.plots import style

#: What the site's pages are drawn on in the dark (Material's scheme `slate`).
GROUND = "#1e2129"
_DARK = style.DARK | {style.WHITE: GROUND}
_COLOR, _ROOT = re.compile(r"#[0-9a-f]{6}\b"), re.compile(r"<svg\b[^>]*>")


def follow(site: Path) -> None:
    """Write the rules into every picture of a site that was built."""
    for path in site.rglob("*.svg"):
        drawing = path.read_text(encoding="utf-8")
        path.write_text(following(drawing), encoding="utf-8")


def following(drawing: str) -> str:
    """A drawing with another colour for each of the house's where the reader prefers the dark; others stay.

    Both ways in which a drawing says its colours are met: attributes, and matplotlib's inline styles.
    """
    pairs = {color: dark for color in sorted(set(_COLOR.findall(drawing))) if (dark := in_the_dark(color))}
    if not pairs:
        return drawing
    rules = "".join(_rules(kind, *pair) for pair in pairs.items() for kind in ("fill", "stroke"))
    sheet = f"<style>@media (prefers-color-scheme: dark){{svg{{background:{GROUND}}}{rules}}}</style>"
    return _ROOT.sub(lambda root: root[0] + sheet, drawing, count=1)


def in_the_dark(color: str) -> str:
    """What stands for a colour of the house, or for a tint of its blue; "" for any other."""
    share = (255 - _parts(color)[0]) / 255  # the blue has no red in it
    pairs = zip(_between(style.WHITE, style.BLUE, share), _parts(color), strict=True)
    is_tint = max(abs(first - second) for first, second in pairs) <= 1  # however it was rounded
    tint = "#{:02x}{:02x}{:02x}".format(*_between(GROUND, style.DARK[style.BLUE], share)) if is_tint else ""
    return _DARK.get(color, tint)


def _rules(kind: str, color: str, dark: str) -> str:
    return f'[{kind}="{color}"]{{{kind}:{dark}}}[style*="{kind}: {color}"]{{{kind}:{dark}!important}}'


def _between(first: str, second: str, share: float) -> tuple[int, ...]:
    pairs = zip(_parts(first), _parts(second), strict=True)
    return tuple(round(start + share * (end - start)) for start, end in pairs)


def _parts(color: str) -> tuple[int, ...]:
    """Red, green and blue."""
    return tuple(bytes.fromhex(color[1:]))
