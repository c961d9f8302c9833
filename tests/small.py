"""The small runs that lie beside the notebooks, unpacked: for tests that need a finished run and train none.

`PYTHONPATH=. python tests/small.py` makes them anew, in a minute or two; do so where what is on disk has changed its
form.
"""

import sys
import tempfile
from pathlib import Path

from analyses.notebooks.packing import packed, unpack

PACKED = Path(__file__).parents[1] / "analyses" / "notebooks" / "small_runs.tar.xz"
NAMES = ("true-labels", "shuffled-labels")
#: 3 seeds of 8 x 4 on one of the testbed's tasks, 80 updates a round.
ASKED = (
    "--task=testbed/alike-mood", "--prompt-tokens=8", "--pieces=4", "--seeds=3", "--train-examples=64",
    "--validation-examples=64", "--test-examples=64", "--train-steps=80", "--evaluate-every=20", "--threads=1",
)  # fmt: skip


def unpacked():
    """A folder, gone with the process, that holds both."""
    folder = tempfile.TemporaryDirectory(prefix="prunekit-small-")
    unpack(PACKED, Path(folder.name))
    return folder


def make(folder):
    """Train, prune and score the runs."""
    true, shuffled = (folder / name for name in NAMES)
    call("prune", "--rounds=2", *ASKED, f"--out={true}")
    call("tune", "--labels=shuffled", *ASKED, f"--out={shuffled}")
    for path in sorted(true.glob("*/seed=*/round=00")):
        call("score", path, "--kind=leave-one-out", "--threads=1")
        call("score", path, "--kind=shapley", "--permutations=4", "--threads=1")


def call(*words):
    """A command of prunekit, which must end well."""
    from prunekit.cli import main

    try:
        main.main([str(word) for word in words])
    except SystemExit as ended:
        if ended.code:
            raise


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        make(Path(made))
        PACKED.write_bytes(packed(Path(made), NAMES))
    sys.stdout.write(f"{PACKED}: {PACKED.stat().st_size} bytes\n")
else:
    _FOLDER = unpacked()
    SMALL_RUN, SHUFFLED_RUN = (Path(_FOLDER.name) / name for name in NAMES)
