"""What mkdocs is told beyond mkdocs.yml: pages made at build time, from the code and from files outside docs/.

Made: the command line (from the commands themselves), a page of the Python reference per module, the studies where
there are any, the notebooks, the figures' gallery, the measured pages of benchmarks/, CONTRIBUTING and Changes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

# mkdocs puts the folder of a hook on the path while it is read
import command_line
import dark
import gallery
import notebooks
import outside
import reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give what is made its place in the navigation; `made: NAME` stands for it in mkdocs.yml."""
    sections = {"studies": outside.read(ROOT).studies}
    config.nav = [_filled(entry, sections) for entry in config.nav or []]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and the pictures and tables that they show."""
    outside_pages = outside.read(ROOT)
    texts = {"command-line.md": command_line.page(), **reference.pages(ROOT), **outside_pages.texts}
    texts["gallery/index.md"] = gallery.page(texts["gallery/index.md"])
    for uri, text in texts.items():
        files.append(File.generated(config, uri, content=text))
    for uri, path in outside_pages.copies.items():
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    for uri, content in notebooks.files(ROOT).items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_post_build(config: MkDocsConfig) -> None:
    """Let the site's pictures follow the reader into the dark."""
    dark.follow(Path(config.site_dir))


def _filled(entry: Any, sections: dict[str, list[Any]]) -> Any:
    if isinstance(entry, dict):
        return {title: _filled(inner, sections) for title, inner in entry.items()}
    if isinstance(entry, list):
        return [filled for inner in entry for filled in _spread(inner, sections)]
    return entry


def _spread(entry: Any, sections: dict[str, list[Any]]) -> list[Any]:
    is_made = isinstance(entry, dict) and set(entry) == {"made"}
    return sections[entry["made"]] if is_made else [_filled(entry, sections)]
