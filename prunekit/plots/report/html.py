"""Parts to one HTML page that needs nothing but itself: no address, no file beside it, no network.

Every string is escaped by the template. A content security policy says once more what the page may do: its own style
and script, named by their sha256, pictures inside it, and nothing else.
"""

from __future__ import annotations

import shlex
from functools import cache
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from prunekit.plots.offline_page import policy
from prunekit.plots.report.page_parts import Page
from prunekit.support.errors import DataError

#: Bytes that a page may have at most.
LARGEST = 5 * 2**20


def render(page: Page) -> str:
    """The page as HTML.

    Raises:
        DataError: where it would be larger than `LARGEST`.
    """
    style, script = _beside("page.css"), _beside("page.js")
    may = policy(style, script, "img-src data:")
    # both files are of this package; what a run brought along is escaped
    text = _template().render(page=page, policy=may, style=Markup(style), script=Markup(script))  # noqa: S704
    if (size := len(text.encode())) > LARGEST:
        raise DataError(f"the page would have {size / 2**20:.1f} MB, {LARGEST / 2**20:.0f} at most; report fewer runs")
    return text


def in_lines(command: str, width: int = 76) -> str:
    """A shell command on several lines that a shell takes for one, no word of it cut; what is none stays as it is."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    lines = [""]
    for word in map(shlex.quote, words):
        if lines[-1] and len(lines[-1]) + len(word) > width:
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n".join(lines)


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["in_lines"] = in_lines
    return environment.from_string(_beside("page.html.j2"))


def _beside(name: str) -> str:
    return files("prunekit.plots.report").joinpath(name).read_text(encoding="utf-8")
