"""The text of a page, made once: as long as nothing that it is made of changes, it is taken from where it is kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from prunekit.plots.report.page_key import page_key
from prunekit.runs import outputs
from prunekit.support import atomic, kept


@dataclass(frozen=True)
class PageText:
    """A page as it is written.

    Attributes:
        html: the page.
        warnings: lines of its sections that a reader must not miss, each with the name of its run.
    """

    html: str
    warnings: Sequence[str]


def page_text(paths: Sequence[Path], tolerance: float, *, with_model: bool = False) -> PageText:
    """The page of some runs, as it was made before where all that decides it is the same.

    Args:
        paths: of run directories.
        tolerance: how far below dense, on validation, a ticket may be; also the margin of equivalence.
        with_model: also what takes evaluating the frozen models again; such a page is always made anew.

    Raises:
        ArtifactError: where a run is damaged.
        DataError: where the page would be too large.
    """
    key = None if with_model or kept.folder() is None else page_key(paths, tolerance)
    if key is not None and (content := kept.take(key)) is not None:
        return PageText(**json.loads(content))
    from prunekit.plots.report import build, html  # seconds of imports, which a page that is kept does without

    page = build.build(paths, tolerance, with_model=with_model)
    warnings = [f"{section.name}: {line}" for section in page.sections for line in section.warnings]
    text = PageText(html.render(page), warnings)
    if key is not None and key == page_key(paths, tolerance):  # else a run went on meanwhile
        kept.keep(key, json.dumps(asdict(text)).encode())
    return text


def write(
    paths: Sequence[Path], out: Path, tolerance: float, *, with_model: bool = False, overwrite: bool = False
) -> PageText:
    """Write the page of some runs; nothing is written where one of them is damaged.

    Args:
        paths: of run directories.
        out: the file.
        tolerance: as of `page_text`.
        with_model: as of `page_text`.
        overwrite: also a file that is no page of prunekit.

    Raises:
        ArtifactError: where a run is damaged.
        ConfigError: where `out` may not be replaced.
        DataError: where the page would be too large.
    """
    outputs.check(out, overwrite=overwrite, is_ours=outputs.is_page)
    text = page_text(paths, tolerance, with_model=with_model)
    atomic.replace(out, text.html.encode())
    return text
