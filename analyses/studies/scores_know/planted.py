"""Prompts of which the truth is known: an instruction's words among random filler, on the testbed.

The instruction alone solves its task and every word of it is worth at least 0.49 accuracy (the model card's table), so
of the 20 tokens exactly those words are needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product

import pandas as pd
import torch
from torch import Tensor

from analyses.studies.effects import TESTBED
from analyses.studies.study import on_all_cores
from benchmarks.testbed.table import padded
from prunekit import models
from prunekit.engine.ablation import leave_one_out
from prunekit.engine.gradient_scores import all_scores, scoring_batches
from prunekit.experiment.prepare import encode
from prunekit.models import Encoded, FrozenModel
from prunekit.prompts.mask import Mask
from prunekit.pruning.ticket import Ticket
from prunekit.tasks import load_splits, load_task
from prunekit.tasks.testbed import MODEL_PATH
from prunekit.tasks.testbed.grammar import TASKS, find_task

_TOKENS = 20


def found_words(seeds: Sequence[int], examples: int = 32, fillers: int = 4) -> pd.DataFrame:
    """What each score finds of the planted words, on the twelve tasks that the model knows, a core for each.

    Args:
        seeds: other words in other places for each.
        examples: of `train` that are scored.
        fillers: for each seed, the mean over which is one row.

    Columns:
        task; model; seed; arm (a kind of score; "leave-one-out"; or "chance", the mean of all orders of the tokens);
            found (share of the instruction's I words among the I tokens of the highest score).
    """
    names = [task.name for task in TASKS if not task.held_out]
    table = on_all_cores(partial(_of_task, seeds=seeds, examples=examples, fillers=fillers), names)
    return table.groupby(["task", "model", "seed", "arm"], sort=False)["found"].mean().reset_index()


def _of_task(name: str, *, seeds: Sequence[int], examples: int, fillers: int) -> pd.DataFrame:
    """Columns: those of `found_words`, of one task of the testbed, a row for each filler."""
    model = models.load(str(MODEL_PATH))
    task = load_task(f"testbed/{name}")
    splits = load_splits(task, data=None, train_examples=examples, validation_examples=1, test_examples=1)
    encoded = encode(model, task, splits.train, _TOKENS)
    rows = []
    for seed, number in product(seeds, range(fillers)):
        ticket, needed = planted(model, find_task(name).instructions[0], seed * fillers + number)
        rows.append((task.name, TESTBED, seed, "chance", len(needed) / _TOKENS))
        for arm, score in _scores(model, ticket, encoded).items():
            top = set(score.topk(len(needed)).indices.tolist())
            rows.append((task.name, TESTBED, seed, arm, len(top & needed) / len(needed)))
    return pd.DataFrame(rows, columns=["task", "model", "seed", "arm", "found"])


def planted(model: FrozenModel, instruction: str, seed: int) -> tuple[Ticket, set[int]]:
    """A dense ticket of the padded instruction's own embeddings, and the indices of the instruction's words in it."""
    words = padded(instruction, seed=seed).split()
    ids = [model.tokenizer.convert_tokens_to_ids(word) for word in words]
    needed = {index for index, word in enumerate(words) if word in instruction.split()}
    ticket = Ticket(Mask.full(len(words), 1), {"values": model.embed(torch.tensor(ids))}, None, seed=seed)
    return ticket, needed


def _scores(model: FrozenModel, ticket: Ticket, rows: list[Encoded]) -> Mapping[str, Tensor]:
    """Scores of the tokens [P] by kind."""
    (estimates,) = all_scores([ticket], model, scoring_batches(model, rows))
    costs = leave_one_out(ticket, model, rows).costs.mean(dim=1)
    return {**{kind: scores.token for kind, scores in estimates.items()}, "leave-one-out": costs}
