"""`prunekit.report`: the page of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from prunekit.experiment.api.run import Run
from prunekit.plots.report import page_text


def report(
    runs: Run | Path | str | Sequence[Run | Path | str],
    out: Path | str | None = None,
    *,
    tolerance: float = 0.01,
    with_model: bool = False,
    overwrite: bool = False,
) -> str:
    """One HTML page of runs: what was asked and found, figures, controls, warnings; it needs no network.

    Args:
        runs: a run, its directory, or several of them.
        out: the file to write as well.
        tolerance: how far below dense, on validation, a ticket may be; also the margin of equivalence.
        with_model: also what takes evaluating the frozen model again: the functional rank.
        overwrite: also a file that is no page of prunekit.

    Returns:
        the page.

    Raises:
        ArtifactError: where a run is damaged; nothing is written then.
        ConfigError: where `out` may not be replaced.
    """
    several = [runs] if isinstance(runs, Run | Path | str) else runs
    paths = [run.path if isinstance(run, Run) else Path(run) for run in several]
    if out is None:
        return page_text.page_text(paths, tolerance, with_model=with_model).html
    return page_text.write(paths, Path(out), tolerance, with_model=with_model, overwrite=overwrite).html
