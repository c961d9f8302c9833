"""The documentation's site, built once for all tests; and what its pages hold."""

from __future__ import annotations

import os
import sys
from html.parser import HTMLParser
from pathlib import Path

from filelock import FileLock
from forks import Forks

ROOT = Path(__file__).parents[1]
MAKING = ROOT / "docs" / "making"
if str(MAKING) not in sys.path:
    sys.path.insert(0, str(MAKING))


def built(tmp_path_factory) -> Path:
    """The folder of the site, every warning an error."""
    base = tmp_path_factory.getbasetemp()
    home = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # one for all workers
    with FileLock(home / "site.lock"):
        if not (home / "site.done").exists():
            build(home / "site")
            (home / "site.done").touch()
    return home / "site"


def build(folder: Path) -> None:
    words = ["build", "--strict", "--quiet", "--site-dir", str(folder)]
    code = "import runpy; runpy.run_module('mkdocs', run_name='__main__', alter_sys=True)"
    with Forks() as forks:  # which have imported what the reference is read with
        done = forks.run(words, folder.with_name("built"), code=code, cwd=str(ROOT))
    assert done.code == 0, done.said


class Page(HTMLParser):
    """What a page refers to.

    ids: its anchors.  links: where it leads.  loaded: what a browser fetches for it (scripts, styles, pictures, fonts).
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in ("canonical", "next", "prev", "alternate"):
            self.loaded.append(given.get("href", ""))
        elif "src" in given or tag == "object":
            self.loaded.append(given.get("src") or given.get("data", ""))
