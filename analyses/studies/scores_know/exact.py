"""What tokens of trained prompts are really worth, on `test`, beside what cheap scores say of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from scipy import stats

from prunekit.engine.ablation import leave_one_out, shapley
from prunekit.experiment.experiment_of import experiment_of
from prunekit.experiment.prepare import encode, model_of
from prunekit.experiment.task_of import task_of
from prunekit.runs.paths import RunKey
from prunekit.runs.round_files import finished_ticket, load_scores
from prunekit.runs.run import Run

_EXAMPLES, _SHAPLEY_EXAMPLES, _PERMUTATIONS = 200, 100, 4


def agreement(path: Path, seeds: tuple[int, ...]) -> pd.DataFrame:
    """Rank correlations over the tokens of a run's dense prompts.

    Args:
        path: of the run directory.

    Columns:
        task; model; seed; arm (a kind of score, made on `train` when the prompt was trained); with ("leave-one-out", on
            the first 200 examples of `test`, or "shapley", of four orders on the first 100); spearman.
    """
    return pd.DataFrame(
        list(_rows(Run.open(path), seeds)), columns=["task", "model", "seed", "arm", "with", "spearman"]
    )


def _rows(run: Run, seeds: tuple[int, ...]) -> Iterator[tuple[str, str, int, str, str, float]]:
    experiment = experiment_of(run)
    task, splits = task_of(experiment)
    model = model_of(experiment)
    rows = encode(model, task, splits.test[:_EXAMPLES], experiment.prompt.tokens)
    for key in (RunKey("", seed, 0) for seed in seeds):
        ticket = finished_ticket(run, key)
        values = shapley(ticket, model, rows[:_SHAPLEY_EXAMPLES], permutations=_PERMUTATIONS).values
        worth = {"leave-one-out": leave_one_out(ticket, model, rows).costs.mean(dim=1), "shapley": values}
        for kind, scores in load_scores(run, key).items():
            for name, exact in worth.items():
                rho = stats.spearmanr(scores.token.numpy(), exact.numpy()).statistic
                yield task.name, Path(experiment.model.name).name, key.seed, kind, name, float(rho)
