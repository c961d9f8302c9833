"""Pictures of the site in the dark: each colour has another there that can be read; in the light none changes."""

import re
import subprocess

import docs_site
import pytest
from docs_site import ROOT

from prunekit.plots import style

# docs_site puts its folder on the path
import dark  # isort: skip

PICTURES = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "*.svg"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    if not name.endswith("terminal.svg")  # a terminal is dark by itself
]
MEDIA = "<style>@media (prefers-color-scheme: dark)"


def luminance(color):
    parts = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
             for value in (part / 255 for part in bytes.fromhex(color[1:]))]  # fmt: skip
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


def contrast(first, second):
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_color_of_a_picture_has_another_in_the_dark_and_nothing_else_changes(path):
    drawing = path.read_text()
    colors = set(re.findall(r"#[0-9a-f]{6}\b", drawing))
    assert [color for color in colors if not dark.in_the_dark(color)] == []
    followed = dark.following(drawing)
    (sheet,) = re.findall(re.escape(MEDIA) + r".*?</style>", followed)
    assert followed.replace(sheet, "") == drawing
    assert colors <= set(re.findall(r'"(#[0-9a-f]{6})"', sheet))


def test_a_picture_of_other_colors_stays_as_it_is():
    drawing = '<svg xmlns="http://www.w3.org/2000/svg"><path fill="#123456"/></svg>'
    assert dark.following(drawing) == drawing


def test_letters_and_lines_can_be_read_in_the_dark():
    assert all(contrast(dark.in_the_dark(color), dark.GROUND) >= 4.5 for color in (style.INK, style.QUIET))
    assert all(contrast(dark.in_the_dark(color), dark.GROUND) >= 3 for color in style.SERIES)


def test_a_tint_of_blue_is_as_far_from_the_ground_as_it_was():
    assert dark.in_the_dark(style.BLUE) == style.DARK[style.BLUE]
    assert dark.in_the_dark("#7fb8d8") == "#3f698c"  # half of each
    assert dark.in_the_dark("#7fb8d0") == ""


def test_the_site_holds_the_pictures_so(tmp_path_factory):
    site = docs_site.built(tmp_path_factory)
    for name in ("gallery/density_curve.svg", "pictures/prompt.svg", "notebooks/importance_study-1.svg"):
        assert MEDIA in (site / name).read_text(), name
