"""`python -m figures.regenerate`: draw every committed picture again, those of the gallery and those of the studies.

The gallery's runs are trained first, or gone on with: some minutes on two cores; that of a prefix is a notebook's. What
its pictures show in words stands in the page beside them, which is written by hand.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

import prunekit as pk
from analyses.notebooks.packing import unpack
from analyses.notebooks.prefix_run import NAME, PACKED
from analyses.studies.__main__ import write_pages
from prunekit.plots.drawing import draw_figures
from prunekit.support import atomic

GALLERY = Path(__file__).parent / "gallery"


def regenerate(out: Annotated[Path, typer.Option(help="folder that holds runs")] = Path("runs")) -> None:
    """Train what the gallery shows, then draw it, and the studies' pictures from their tables."""
    draw_gallery(out)
    write_pages()


def draw_gallery(out: Path) -> None:
    """All figures of six prompts for `alike-mood`, pruned in three rounds, with every control; and those of others."""
    settings: dict[str, Any] = {
        "task": "testbed/alike-mood", "out": out, "train_examples": 64, "validation_examples": 100,
        "test_examples": 200, "evaluate_every": 10, "threads": 1,
    }  # fmt: skip
    run = pk.prune(controls=True, seeds=6, rounds=3, train_steps=80, **settings)
    for kind in ("leave-one-out", "shapley"):
        pk.score(run.path / "seed=0" / "round=00", kind=kind)
    _draw(run.path)
    _draw(pk.search(grid="paper", train_steps=40, **settings).path, "search_map")
    with tempfile.TemporaryDirectory() as folder:
        unpack(PACKED, Path(folder))
        _draw(Path(folder) / NAME, "layers_heads")


def _draw(run: Path, *names: str) -> None:
    """Figures of a run by name, or all that it has."""
    for drawing in draw_figures([run], names, columns=1).drawn:
        atomic.replace(GALLERY / f"{drawing.figure.name}.svg", drawing.content)


if __name__ == "__main__":
    typer.run(regenerate)
