"""Pages that lie outside docs/: the studies, the gallery, measured comparisons, CONTRIBUTING, CHANGELOG.

Links among them are made to lead to where each stands on the site; a link to a file that is not on the site becomes
its plain text, since the site holds no address of another one.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Folders outside docs/ that are shown: where they lie -> where they stand on the site.
FOLDERS = {
    "docs": "",
    "analyses/studies": "studies",
    "figures/gallery": "gallery",
    "benchmarks/results": "measured",
    "prunekit/tasks/testbed/model": "testbed",
    "prunekit/tasks/testbed_open/model": "testbed-open",
}
_COPIED = (".svg", ".png", ".csv", ".toml")
_LINK = re.compile(r"(?P<open>!?\[)(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
#: What stands on the site until the first study is there.
_NO_STUDY = "# Studies\n\nNo study is finished yet. Plans and results will stand here, each made by one command.\n"


@dataclass(frozen=True)
class OutsidePages:
    """What the site shows of the repository outside docs/.

    Attributes:
        texts: place on the site -> Markdown.
        copies: place on the site -> file.
        studies: their part of the navigation.
    """

    texts: dict[str, str]
    copies: dict[str, Path]
    studies: list[Any]


def read(root: Path) -> OutsidePages:
    """Everything outside docs/ that the site shows, links already leading to its pages."""
    places = dict(_places(root))
    outer = {path: uri for path, uri in places.items() if not path.startswith("docs/")}
    copies = {uri: root / path for path, uri in outer.items() if not uri.endswith(".md")}
    texts = {
        uri: relinked((root / path).read_text(encoding="utf-8"), path, places, uri)
        for path, uri in outer.items()
        if uri.endswith(".md")
    }
    texts.setdefault("studies/index.md", _NO_STUDY)
    pages = sorted(uri for uri in texts if uri.startswith("studies/") and uri != "studies/index.md")
    return OutsidePages(texts, copies, ["studies/index.md", *pages])


def relinked(text: str, path: str, places: dict[str, str], uri: str) -> str:
    """The Markdown of a file of the repository, its links fit for the place `uri` on the site.

    Args:
        text: of the file.
        path: where the file lies.
        places: path -> place on the site of all that is shown.
        uri: its own place on the site.
    """

    def link(match: re.Match[str]) -> str:
        target, mark, anchor = match["target"].partition("#")
        if not target or "://" in target:
            return match[0] if not target else match["text"]
        page = places.get(posixpath.normpath(posixpath.join(posixpath.dirname(path), target)))
        if page is None:
            return match["text"] or target
        new = posixpath.relpath(page, posixpath.dirname(uri) or ".")
        return f"{match['open']}{match['text']}]({new}{mark}{anchor})"

    pieces, start = [], 0
    for fence in _FENCE.finditer(text):  # code stays as it is
        pieces += [_LINK.sub(link, text[start : fence.start()]), fence[0]]
        start = fence.end()
    return "".join([*pieces, _LINK.sub(link, text[start:])])


def _places(root: Path) -> Iterator[tuple[str, str]]:
    """Path in the repository -> place on the site."""
    yield "CONTRIBUTING.md", "contributing.md"
    yield "CHANGELOG.md", "changelog.md"
    for folder, home in FOLDERS.items():
        for file in sorted((root / folder).rglob("*")):
            inside = file.relative_to(root / folder).as_posix()
            if file.name == "plan.md":  # a study's page repeats it
                continue
            if file.suffix == ".md" or (file.suffix in _COPIED and file.is_file()):
                uri = re.sub(r"README[.]md$", "index.md", inside)
                yield f"{folder}/{inside}", posixpath.join(home, uri)
