"""`python -m figures.regenerate`: draw every committed picture again, those of the gallery and those of the studies.

The gallery's run is trained first, or gone on with: some minutes on two cores. What its pictures show in words stands
in the page beside them, which is written by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import prunekit as pk
from analyses.studies.__main__ import write_pages
from prunekit.plots.drawing import draw_figures
from prunekit.support import atomic

GALLERY = Path(__file__).parent / "gallery"


def regenerate(out: Annotated[Path, typer.Option(help="folder that holds runs")] = Path("runs")) -> None:
    """Train what the gallery shows, then draw it, and the studies' pictures from their tables."""
    draw_gallery(out)
    write_pages()


def draw_gallery(out: Path) -> None:
    """All figures of six prompts for `alike-mood`, pruned in three rounds, with every control."""
    run = pk.prune(
        task="testbed/alike-mood",
        out=out,
        controls=True,
        seeds=6,
        rounds=3,
        train_examples=64,
        validation_examples=100,
        test_examples=200,
        train_steps=80,
        evaluate_every=10,
        threads=1,
    )
    for kind in ("leave-one-out", "shapley"):
        pk.score(run.path / "seed=0" / "round=00", kind=kind)
    for drawing in draw_figures([run.path], columns=1).drawn:
        atomic.replace(GALLERY / f"{drawing.figure.name}.svg", drawing.content)


if __name__ == "__main__":
    typer.run(regenerate)
