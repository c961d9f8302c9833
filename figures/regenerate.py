"""Every committed picture made again: `python figures/regenerate.py`, some minutes on two cores.

The gallery's run is trained anew, with the settings that `gallery/README.md` shows; the pictures of the studies are
drawn from their committed tables. What differs afterwards is shown by `git diff --stat`.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
GALLERY = HERE / "gallery"
#: Six prompts of 20 tokens x 16 pieces, pruned in three rounds, with every control.
SETTINGS = (
    "--controls", "--seeds=6", "--rounds=3", "--task=testbed/alike-mood", "--train-examples=64",
    "--validation-examples=100", "--test-examples=200", "--train-steps=80", "--evaluate-every=10", "--threads=1",
)  # fmt: skip


def gallery(runs: Path) -> None:
    """Train and measure the gallery's run inside a folder, and draw every figure of it."""
    _python("-m", "prunekit", "prune", *SETTINGS, f"--out={runs}")
    (run,) = runs.iterdir()
    for kind in ("leave-one-out", "shapley"):
        _python("-m", "prunekit", "score", str(run / "seed=0" / "round=00"), f"--kind={kind}")
    _python("-m", "prunekit", "figures", str(run), f"--out={runs / 'drawn'}", "--columns=1")
    for picture in (runs / "drawn").glob("*.svg"):
        shutil.copyfile(picture, GALLERY / picture.name)


def studies() -> None:
    """Draw the pictures of the studies, and write their pages."""
    _python("-m", "analyses.studies", "pages")


def _python(*words: str) -> None:
    subprocess.run([sys.executable, *words], cwd=HERE.parent, check=True)


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        gallery(Path(folder) / "runs")
    studies()
