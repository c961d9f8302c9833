"""What studies of rank measure of prompts: ranks as shares of noise's, and of the directions those a model needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from analyses.studies.study import PartRuns, on_all_cores, runs_of
from prunekit.analysis import functional, model_access, ranks, tables
from prunekit.analysis.subjects import PromptRecord
from prunekit.experiment import prepare
from prunekit.experiment.experiment_of import experiment_of
from prunekit.runs.snapshot import Snapshot

SOURCE = "DPT, sections 1 and 3"
#: What is compared.
RANK, NEEDED = "effective rank over noise's", "share of directions"
#: A rank is low where it is markedly below noise's: by a quarter of it.
MARGIN = 0.25
#: The smallest difference of interest in what a model needs: two directions of twenty.
DIRECTIONS = 0.1


def of_noise(subjects: Sequence[PromptRecord], matrices: Sequence[str]) -> pd.DataFrame:
    """Entropy ranks beside the noise that is hardest to beat: the null whose median is the lowest.

    Args:
        subjects: prompts of different seeds of one run.
        matrices: of `subjects.MATRICES`.

    Columns:
        those of `ranks.table`; share (of that null's median). A row for each prompt and matrix.
    """
    measured = ranks.table(subjects, matrices=matrices)
    measured = measured[measured["measure"] == "entropy"]
    measured = measured.sort_values("median", kind="stable").drop_duplicates(["seed", "matrix"])
    return measured.assign(share=measured["value"] / measured["median"])


def needed(part_runs: PartRuns, parts: Sequence[str], examples: int) -> pd.DataFrame:
    """From how many of a prompt's longest directions on nothing is lost, on so many rows of `test`.

    Args:
        parts: what is cut, of `functional.PARTS`.

    Columns:
        run (its path); those of `functional.ranks` (criterion "loss" or "metric"), with share 1 where the whole is not
        within the tolerance either.
    """
    paths = [run.path for run in runs_of(part_runs)]
    table = on_all_cores(partial(_needed_of, parts=parts, examples=examples), paths)
    return table.assign(share=table["share"].fillna(1.0))


def beside(table: pd.DataFrame, arm: str, other: str, value: float) -> pd.DataFrame:
    """The rows as one arm, beside another whose share always has the same value."""
    return pd.concat([table.assign(arm=arm), table.assign(arm=other, share=value)], ignore_index=True)


def _needed_of(path: Path, parts: Sequence[str], examples: int) -> pd.DataFrame:
    run = tables.opened(path)
    curves = [functional.ranks(curve) for curve in _curves(run, parts, examples)]
    table = pd.concat(curves, ignore_index=True)
    return table[table["criterion"].isin(["loss", "metric"])].assign(run=str(path))


def _curves(run: Snapshot, parts: Sequence[str], examples: int) -> Iterator[pd.DataFrame]:
    model = prepare.model_of(experiment_of(run))
    for subject in tables.subjects(run):
        seed = int(str(subject.keys["seed"]))
        # nothing is chosen here, so that the split that no choice has seen is the one to ask
        evaluate = model_access.evaluator(run, seed, split="test", examples=examples, model=model)
        yield functional.curve(subject, evaluate, of=parts)
