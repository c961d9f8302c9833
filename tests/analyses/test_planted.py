"""Scores against a known truth: the words of an instruction planted among random filler, on the trained testbed.

The instruction alone solves its task and every word of it is worth at least 0.49 accuracy (the model card's table), so
of the 20 tokens exactly those words are needed.
"""

import pytest

from analyses.studies.scores_know.planted import planted
from prunekit import models
from prunekit.engine.ablation import leave_one_out
from prunekit.engine.gradient_scores import gradient_scores
from prunekit.experiment.prepare import encode
from prunekit.tasks import load_splits, load_task
from prunekit.tasks.testbed import MODEL_PATH
from prunekit.tasks.testbed.grammar import TASKS

pytestmark = pytest.mark.slow  # the gate has tests/benchmarks/test_prunebench.py's


def top(scores, count):
    return set(scores.topk(count).indices.tolist())


def rates(seeds, examples):
    """(cases, hits of leave-one-out, hits of the gradient score) over the seen tasks and `seeds` paddings."""
    bone = models.load(str(MODEL_PATH))
    cases = exact = gradient = 0
    for one in [task for task in TASKS if not task.held_out]:
        task = load_task(f"testbed/{one.name}")
        splits = load_splits(task, data=None, train_examples=examples, validation_examples=1, test_examples=1)
        rows = encode(bone, task, splits.train, 20)
        for seed in range(seeds):
            ticket, needed = planted(bone, one.instructions[0], seed)
            (score,) = gradient_scores([ticket], bone, [bone.batch([rows], every_choice=False)])
            costs = leave_one_out(ticket, bone, rows).costs.mean(dim=1)
            cases += 1
            exact += top(costs, len(needed)) == needed
            gradient += top(score.token, len(needed)) == needed
    return cases, exact, gradient


def test_leave_one_out_finds_the_planted_words_over_ten_paddings(capsys):
    cases, exact, gradient = rates(10, 32)
    with capsys.disabled():
        print(f"\nplanted words on top: leave-one-out {exact} of {cases}, gradient score {gradient} of {cases}")
    assert exact >= 0.95 * cases
