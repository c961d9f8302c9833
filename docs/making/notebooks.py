"""Pages of the committed notebooks: their cells as they stand, what they printed, their tables and pictures."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

FOLDER = "analyses/notebooks"
_SUFFIXES = {"image/svg+xml": "svg", "image/png": "png"}
_STYLE = re.compile(r"<style.*?</style>", re.DOTALL)
_TABLE = re.compile(r"<table[^>]*>(.*?)</table>", re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)", re.MULTILINE)
# as Material's script wraps a table, so that a wide one scrolls by itself, with or without scripts
_WRAPPED = r'<div class="md-typeset__scrollwrap"><div class="md-typeset__table"><table>\1</table></div></div>'


def files(root: Path) -> dict[str, str | bytes]:
    """Place on the site -> content: of each notebook its page, its pictures, and itself to take away."""
    texts: dict[str, str | bytes] = {}
    for path in sorted((root / FOLDER).glob("*.ipynb")):
        content = path.read_text(encoding="utf-8")
        page = _Page(path.stem)
        texts[f"notebooks/{path.stem}.md"] = page.markdown(json.loads(content)["cells"])
        texts[f"notebooks/{path.name}"] = content
        texts |= {f"notebooks/{name}": picture for name, picture in page.pictures.items()}
    return texts


class _Page:
    """A notebook as it becomes a page.

    Attributes:
        name: of the notebook.
        pictures: name beside the page -> content.
    """

    def __init__(self, name: str) -> None:
        self.name, self.pictures, self._heading = name, dict[str, bytes](), ""

    def markdown(self, cells: list[dict[str, Any]]) -> str:
        """The page."""
        heading, _, opening = "".join(cells[0]["source"]).partition("\n")
        parts = [heading, self._origin(), opening.strip()]
        for cell in cells[1:]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                self._heading = (_HEADING.findall(source) or [self._heading])[-1]
                parts.append(source)
            else:
                parts += [f"```python\n{source}\n```", *map(self._output, cell["outputs"])]
        return "\n\n".join(parts) + "\n"

    def _origin(self) -> str:
        return (
            f"*[The notebook]({self.name}.ipynb) as `python -m analyses.notebooks {self.name}` executed it; its source "
            f"is `{FOLDER}/{self.name}.py`.*"
        )

    def _output(self, output: dict[str, Any]) -> str:
        """What a cell printed or showed; a picture goes to `pictures`."""
        if "text" in output:
            return _printed("".join(output["text"]))
        ((kind, parts),) = output["data"].items()
        content = "".join(parts)
        if kind in _SUFFIXES:
            return self._picture(kind, content)
        return _plain(content) if kind == "text/html" else _printed(content)

    def _picture(self, kind: str, content: str) -> str:
        file = f"{self.name}-{len(self.pictures) + 1}.{_SUFFIXES[kind]}"
        self.pictures[file] = content.encode() if kind == "image/svg+xml" else base64.b64decode(content)
        return f"![{self._heading}]({file}){{ .paper }}"


def _printed(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"


def _plain(html: str) -> str:
    """Tables in the site's own look, in a block without blank lines, which Markdown leaves alone."""
    plain = _TABLE.sub(_WRAPPED, _STYLE.sub("", html))
    return "\n".join(['<div class="output">', *(line for line in plain.splitlines() if line.strip()), "</div>"])
