"""Make a version's golden files: `python tests/golden/make.py tests/golden/VERSION`.

Once a version is released its files are never made again; a later version gets a folder of its own beside them.

A run of every verb that leaves files, tickets by themselves, and what each reader finds in them.
"""

# ruff: noqa: E402, the folders of the tests are on the path first

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(folder) for folder in (TESTS.parent, TESTS, TESTS / "system")]

import tiny
from small import call
from test_golden import findings

from prunekit.runs.paths import RunKey
from prunekit.runs.round_files import finished_ticket
from prunekit.runs.run import Run
from prunekit.runs.ticket_file import save_ticket


def make(target: Path) -> None:
    """Write run, tickets and findings into `target`, made in a folder whose name they do not hold."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        flags = tiny.arguments(
            "bert", Path(), seeds=2, width=2, prompt_tokens=2, train_steps=4, rounds=None, keep_tokens=None
        )
        call("prune", *flags, "--rounds=1", "--keep-tokens=1", "--out=runs")
        call("search", *flags, "--grid=token", "--out=runs")
        (run,) = (Run.open(path) for path in Path("runs").iterdir())
        call("score", str(run.path / "seed=0" / "round=00"), "--kind=magnitude")
        target.mkdir(parents=True)
        for file in run.path.rglob("*"):
            if file.is_file() and file.name not in (".lock", "environment.json", "results.parquet", "journal.json"):
                copy = target / "run" / file.relative_to(run.path)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
        Run.open(target / "run").settle_journal()  # of what was copied: the run's own lists its table too
        save_ticket(finished_ticket(run, RunKey("", 0, 0)), target / "encoder.safetensors")
        stage = next(one for one in run.stages() if one.startswith("prune-"))
        save_ticket(finished_ticket(run, RunKey(stage, 1, 1)), target / "pruned.safetensors")
        for method in ("residual", "dept"):
            call("tune", *flags, f"--method={method}", "--rank=2", "--bottleneck=4", "--train-steps=2", "--out=more")
            (path,) = Path("more").iterdir()
            save_ticket(finished_ticket(Run.open(path), RunKey("", 0, 0)), target / f"{method}.safetensors")
            shutil.rmtree("more")
    (target / "findings.json").write_text(json.dumps(findings(target), sort_keys=True) + "\n")


if __name__ == "__main__":
    shutil.rmtree(sys.argv[1], ignore_errors=True)
    make(Path(sys.argv[1]).resolve())
