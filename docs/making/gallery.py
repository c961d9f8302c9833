"""The gallery as a page: its table of pictures as a grid, in which a picture opens as large as the window.

It opens without a script: a link leads to a large one that is seen while the address names it.
"""

from __future__ import annotations

import re
from html import escape

_ROW = re.compile(r"^\| !\[\]\((?P<file>(?P<name>\w+)\.svg)\) \| (?P<shows>.*) \|$", re.MULTILINE)
_TABLE = re.compile(r"^\| figure \|.*(?:\n\|.*)*", re.MULTILINE)
_FIGURE = """<figure id="{name}" markdown="block">
<a href="#large-{name}" title="{name}, large"><img src="{file}" alt="{alt}"></a>
<figcaption markdown="span">{shows}</figcaption>
</figure>"""
_LARGE = '<a class="large" id="large-{name}" href="#{name}" title="close"><img src="{file}" alt="{alt}"></a>'


def page(text: str) -> str:
    """The Markdown of the gallery with its table made a grid; text without such a table stays as it is."""
    figures = [row.groupdict() | {"alt": _alt(row["shows"])} for row in _ROW.finditer(text)]
    grid = '<div class="gallery" markdown="block">\n{}\n</div>'.format(
        "\n".join(_FIGURE.format(**row) for row in figures)
    )
    large = "\n".join(_LARGE.format(**row) for row in figures)
    return _TABLE.sub(lambda _: f"{grid}\n\n{large}", text) if figures else text


def _alt(shows: str) -> str:
    """The first sentence of a caption."""
    return escape(shows.replace("`", "").split(". ")[0], quote=True)
