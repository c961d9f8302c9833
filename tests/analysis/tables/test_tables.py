"""Tables of runs that are written by hand here, and of small real ones."""

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import tiny

from prunekit.analysis import controls, tables
from prunekit.experiment.api.run import Run as Trained
from prunekit.experiment.api.train import check_ended
from prunekit.plots.report.blocks import _last_pruning
from prunekit.pruning.controls import controls_for
from prunekit.runs.overview import facts_of
from prunekit.runs.paths import RunKey, Stage
from prunekit.runs.run import Files, Run
from prunekit.support import atomic
from prunekit.support.errors import ArtifactError, DivergedError

NAN = float("nan")
STAGE = "prune-ab12"
OF_CELLS = [control.name for control in controls_for("cells")]


class Made:
    """A run written by hand, round by round."""

    def __init__(self, path, task="a", seeds=(0,)):
        self.run = Run(path)
        facts = {"id": "abcd1234", "seeds": list(seeds), "cohorts": [list(seeds)], "metric": "accuracy"}
        self.run.write_settings(facts | {"task": {"name": task}, "model": {"name": "m"}})

    def add(self, stage, number, *seeds, test=0.7, status="done", log=(), answers=(), **more):
        """A finished round of some seeds, or of seed 0; `test` None where it did not look."""
        for seed in seeds or (0,):
            self._add(stage, number, seed, test=test, status=status, log=log, answers=answers, **more)
        return self

    def _add(self, stage, number, seed, *, test, status, log, answers, **more):
        result = {
            "run": "abcd1234", "seed": seed, "round": number, "status": status, "reason": None, "rewind": "trained",
            "tokens": 4, "pieces": 2, "cells": 8, "density": 1.0, "steps": 10, "validation": {"accuracy": 0.6},
            "head_parameters": 0, "parameters": 64, "kept_step": 8, "test": {} if test is None else {"accuracy": test},
            "majority": {"validation": 0.55, "test": 0.45},
        }  # fmt: skip
        entries = pd.DataFrame(log, columns=["step", "split", "metric", "value"])
        given = pd.DataFrame(answers, columns=["split", "example", "choice", "gold", "loss"])
        content = {
            "result.json": atomic.as_json(result | more),
            "log.parquet": atomic.as_parquet(entries),
            "predictions.parquet": atomic.as_parquet(given.assign(score=0.0)),
        }
        self.run.commit([Files(RunKey(stage, seed, number), content, {"seconds": 1.0})])

    def train(self, arm, *steps, first=1, **more):
        """Rounds of an arm that made so many updates each; what is given holds for the last."""
        for number, made in enumerate(steps, start=first):
            last = number == first + len(steps) - 1
            facts = {"rewind": more.get("rewind", "trained")} | (more if last else {"test": None})
            self.add(f"{STAGE}/{arm}".rstrip("/"), number, steps=made, **facts)
        return self


def row(table, arm, seed=0):
    (one,) = table[(table["arm"] == arm) & (table["seed"] == seed)].to_dict("records")
    return one


# ---- arms


def test_base_lines_and_dense(tmp_path):
    made = Made(tmp_path).add("", 0, steps=10, test=0.8).add("untrained", 0, steps=3, test=0.3, tokens=4)
    found = tables.arms(made.run, "")
    assert list(found.columns) == list(tables.ARM_COLUMNS)
    assert row(found, "majority") == {
        "task": "a", "model": "m", "seed": 0, "arm": "majority", "test": 0.45, "validation": 0.55, "tokens": 0,
        "density": 0.0, "updates": 0,
    }  # fmt: skip
    assert row(found, "dense") == {
        "task": "a", "model": "m", "seed": 0, "arm": "dense", "test": 0.8, "validation": 0.6, "tokens": 4,
        "density": 1.0, "updates": 10,
    }  # fmt: skip
    assert (row(found, "untrained")["test"], row(found, "untrained")["updates"]) == (0.3, 3)


def test_updates_by_hand_where_values_are_handed_on(tmp_path):
    made = Made(tmp_path).add("", 0, steps=10)
    made.train("", 7, 5, tokens=2, density=0.25, test=0.9)
    made.train("random", 6, 4).train("dense-continued", 10, 9)
    made.train("reinit", 8, 2, 1, first=0)
    found = tables.arms(made.run, STAGE)
    assert {arm: row(found, arm)["updates"] for arm in ("ticket", "random", "dense-continued", "reinit")} == {
        "ticket": 10 + 7 + 5, "random": 10 + 6 + 4, "dense-continued": 10 + 10 + 9, "reinit": 8 + 2 + 1,
    }  # fmt: skip
    ticket = row(found, "ticket")
    assert (ticket["tokens"], ticket["density"], ticket["test"]) == (2, 0.25, 0.9)


@pytest.mark.parametrize(("rewind", "before"), [("init", 0), ("reinit", 0), ("4", 4), ("0", 0)])
def test_updates_by_hand_where_each_round_restarts(rewind, before, tmp_path):
    """The values of a round that was rewound to step 4 have seen 4 updates of the dense round and their own."""
    made = Made(tmp_path).add("", 0, steps=10)
    made.train("", 7, 5, rewind=rewind)
    made.add(f"{STAGE}/random", 2, steps=6, rewind=rewind).add(f"{STAGE}/short-prompt", 2, steps=3, rewind="reinit")
    found = tables.arms(made.run, STAGE)
    assert row(found, "ticket")["updates"] == before + 5
    assert row(found, "random")["updates"] == before + 6
    assert row(found, "short-prompt")["updates"] == 3


def test_seeds_are_lineages_of_their_own(tmp_path):
    made = Made(tmp_path, seeds=(0, 1))
    for seed in (0, 1):
        made.add("", 0, seed, steps=10 + seed)
    for seed in (0, 1):
        made.add(STAGE, 1, seed, steps=3 + seed, test=0.5 + seed / 10)
    found = tables.arms(made.run, STAGE)
    assert [row(found, "ticket", seed)["updates"] for seed in (0, 1)] == [13, 15]
    assert [row(found, "ticket", seed)["test"] for seed in (0, 1)] == [0.5, 0.6]
    assert len(found[found["arm"] == "majority"]) == 2


def test_a_lineage_that_did_not_come_to_its_end_has_no_metric(tmp_path):
    made = Made(tmp_path).add("", 0)
    made.train("", 7, 5)
    made.train("random", 3, status="diverged", test=None)  # stopped on the way
    made.train("complement", 3, 2, status="diverged", test=None)  # stopped in the last round
    made.train("short-prompt", 3, test=0.9)  # its last round is still to come
    made.train("reinit", 4, first=0, status="diverged", test=None)
    found = tables.arms(made.run, STAGE)
    for arm, updates in (("random", 13), ("complement", 15), ("short-prompt", 13), ("reinit", 4)):
        one = row(found, arm)
        assert np.isnan([one["test"], one["validation"]]).all(), arm
        assert one["updates"] == updates
    assert row(found, "ticket")["test"] == 0.7
    assert controls.describe(found).set_index("arm").loc["random", "units"] == 0


def test_a_dense_prompt_that_diverged_has_no_metric(tmp_path):
    made = Made(tmp_path).add("", 0, status="diverged", test=None)
    found = tables.arms(made.run, STAGE)
    assert list(found["arm"]) == ["majority", "dense"]
    assert np.isnan(row(found, "dense")["test"])


def test_only_the_asked_stage_and_none_of_its_cells(tmp_path):
    made = Made(tmp_path).add("", 0)
    made.add("prune-0000", 1, test=0.1).add("search-1", 1, test=0.9)
    made.add("search-1/grid/tokens=4-pieces=2", 1, test=None).add("search-1/token-only", 1)
    assert set(tables.arms(made.run, "search-1")["arm"]) == {"majority", "dense", "ticket", "token-only"}
    assert row(tables.arms(made.run, "search-1"), "ticket")["test"] == 0.9
    assert row(tables.arms(made.run, "prune-0000"), "ticket")["test"] == 0.1


def test_an_empty_run_has_no_arms(tmp_path):
    made = Made(tmp_path)
    found = tables.arms(made.run, STAGE)
    assert found.empty
    assert list(found.columns) == list(tables.ARM_COLUMNS)


def test_a_damaged_round_is_named(tmp_path):
    made = Made(tmp_path).add("", 0)
    path = made.run.folder(RunKey("", 0, 0)) / "result.json"
    path.write_bytes(path.read_bytes().replace(b"0.7", b"0.9"))
    with pytest.raises(ArtifactError, match=r"result\.json: damaged"):
        tables.arms(made.run, STAGE)


@pytest.mark.parametrize("rewind", ["trained", "2"])
def test_arms_of_a_real_pruning(rewind, tmp_path, folder):
    """Two prunings after the dense round, two updates each."""
    more = dict(rounds=2, keep_tokens=2, train_steps=2, evaluate_every=1, seeds=2, rewind=rewind)
    made, prepared = tiny.finished("gpt2", folder, tmp_path, controls=True, **more)
    found = tables.arms(made, prepared.stage)
    handed_on, restarted = {"trained": (6, 6), "2": (4, 2)}[rewind]
    updates = {"majority": 0, "no-prompt": 0, "untrained": 0, "dense": 2} | dict.fromkeys(
        ("ticket", *OF_CELLS), handed_on
    )
    updates |= dict.fromkeys(("reinit", "short-prompt"), restarted)  # new values have no dense round behind them
    assert {(one["arm"], one["seed"]): one["updates"] for one in found.to_dict("records")} == {
        (arm, seed): count for arm, count in updates.items() for seed in (0, 1)
    }
    ticket, length = row(found, "ticket"), row(found, "short-prompt")
    assert ((ticket["tokens"], ticket["density"]), (length["tokens"], length["density"])) == ((2, 0.25), (2, 0.5))
    assert row(found, "complement")["density"] == 0.75
    assert row(found, "random")["density"] == 0.25
    assert found["test"].notna().all()
    answers = tables.predictions(made, prepared.stage)
    share = answers.groupby(["arm", "seed"])["right"].mean()
    for (arm, seed), reached in share.items():
        assert reached == pytest.approx(row(found, arm, seed)["test"])
    assert set(answers["arm"]) == {"dense", "ticket", *OF_CELLS}


# ---- predictions

ANSWERS = [
    ("validation", 90, 0, [0], 0.1),
    ("test", 5, 0, [0], 0.25),
    ("test", 6, 1, [0], 0.5),
    ("test", 7, 1, [0, 1], 0.75),  # either is right
]


def test_predictions_by_hand(tmp_path):
    made = Made(tmp_path).add("", 0, answers=ANSWERS)
    made.add(STAGE, 1, answers=ANSWERS[:1], test=None).add(STAGE, 2, answers=ANSWERS[:2])
    made.add(f"{STAGE}/random", 2, answers=ANSWERS[2:])
    made.add("untrained", 0, answers=ANSWERS).add("prune-0000", 1, answers=ANSWERS)
    found = tables.predictions(made.run, STAGE)
    assert list(found.columns) == ["task", "seed", "arm", "example", "right", "loss"]
    assert sorted(found.itertuples(index=False, name=None)) == [
        ("a", 0, "dense", 5, True, 0.25),
        ("a", 0, "dense", 6, False, 0.5),
        ("a", 0, "dense", 7, True, 0.75),
        ("a", 0, "random", 6, False, 0.5),
        ("a", 0, "random", 7, True, 0.75),
        ("a", 0, "ticket", 5, True, 0.25),
    ]


def test_predictions_leave_cells_out(tmp_path):
    made = Made(tmp_path).add("", 0)
    made.add("search-1/grid/tokens=4-pieces=2", 1, answers=ANSWERS, test=None).add("search-1", 1, answers=ANSWERS)
    assert set(tables.predictions(made.run, "search-1")["arm"]) == {"ticket"}


def test_predictions_and_arms_agree_on_who_came_to_the_end(tmp_path):
    made = Made(tmp_path, seeds=(0, 1)).add("", 0, answers=ANSWERS).add("", 0, 1, status="diverged", answers=ANSWERS)
    made.add(STAGE, 1, answers=ANSWERS).add(STAGE, 2, answers=ANSWERS)
    made.add(f"{STAGE}/random", 1, answers=ANSWERS)  # its last round is still to come
    made.add(f"{STAGE}/short-prompt", 2, answers=ANSWERS, status="diverged")
    made.add(f"{STAGE}/dense-continued", 2, answers=ANSWERS, status="dropped at step 4")
    found = tables.predictions(made.run, STAGE)
    arms = tables.arms(made.run, STAGE)
    arms = arms[~arms["arm"].isin(controls.BASE_LINES) & arms["test"].notna()]
    assert {(one.arm, one.seed) for one in found.itertuples()} == {(one.arm, one.seed) for one in arms.itertuples()}
    assert set(found["arm"]) == {"dense", "ticket"}


def test_where_nobody_came_to_the_end_there_are_no_predictions(tmp_path):
    made = Made(tmp_path).add("", 0, status="diverged", test=None)
    found = tables.predictions(made.run, STAGE)
    assert found.empty
    assert list(found.columns) == ["task", "seed", "arm", "example", "right", "loss"]
    assert controls.per_example(found).empty


# ---- cells and curves


def test_cells_by_hand(tmp_path):
    made = Made(tmp_path).add("", 0).add("search-1", 1, test=0.9)
    made.add("search-1/grid/tokens=2-pieces=1", 1, tokens=2, pieces=1, cells=2, steps=7, test=None)
    made.add("search-1/grid/tokens=1-pieces=2", 1, tokens=1, pieces=2, cells=2, steps=4, test=None,
             status="dropped at step 4", validation={"accuracy": 0.2})  # fmt: skip
    made.add("search-2/grid/tokens=1-pieces=1", 1, test=None)
    found = tables.trials(made.run, "search-1")
    assert list(found.columns) == ["seed", "tokens", "pieces", "cells", "validation", "steps", "status"]
    assert sorted(found.itertuples(index=False, name=None)) == [
        (0, 1, 2, 2, 0.2, 4, "dropped at step 4"),
        (0, 2, 1, 2, 0.6, 7, "done"),
    ]
    assert tables.trials(made.run, "search-3").empty


def test_curves_by_hand(tmp_path):
    log = [
        (0, "validation", "accuracy", 0.1),  # before any update
        (0, "validation", "loss", 2.0),
        (2, "train", "loss", 1.5),
        (2, "validation", "loss", 1.0),
        (2, "validation", "accuracy", 0.4),
        (4, "validation", "accuracy", 0.3),
    ]
    made = Made(tmp_path).add("", 0, log=log).add("search-1", 1, log=log)
    made.add("search-1/grid/tokens=2-pieces=1", 1, tokens=2, pieces=1, log=log, test=None)
    found = tables.trial_curves(made.run, "search-1")
    assert list(found.columns) == ["seed", "tokens", "pieces", "step", "validation"]
    assert list(found.itertuples(index=False, name=None)) == [(0, 2, 1, 2, 0.4), (0, 2, 1, 4, 0.3)]
    none = tables.trial_curves(made.run, "search-2")
    assert none.empty
    assert list(none.columns) == list(found.columns)


# ---- several runs


def test_runs_of_several_tasks_are_joined_and_two_of_one_task_are_refused(tmp_path):
    one, two, again = (
        Made(tmp_path / name, task).add("", 0).add(STAGE, 1) for name, task in (("1", "a"), ("2", "b"), ("3", "a"))
    )
    found = tables.joined([(one.run, STAGE), (two.run, STAGE)])
    assert list(found["task"]) == ["a"] * 3 + ["b"] * 3
    assert list(found.columns) == list(tables.ARM_COLUMNS)
    with pytest.raises(ArtifactError, match="two runs of one task") as caught:
        tables.joined([(one.run, STAGE), (two.run, STAGE), (again.run, STAGE)])
    assert str(again.run.path) in str(caught.value)


# ---- what a command is told of its trainings


def test_only_the_stage_and_seeds_that_were_asked_for_are_said_to_have_stopped(tmp_path):
    made = Made(tmp_path, seeds=(0, 1)).add("", 0, 0).add("", 0, 1, status="diverged", test=None, validation={})
    made.add("prune-1", 1, status="diverged", test=None, validation={}).add("prune-2", 1)
    for stage, seeds, stopped in (("prune-2", (0,), False), ("prune-1", (0,), True), ("prune-2", (0, 1), True)):
        with pytest.raises(DivergedError) if stopped else nullcontext():
            check_ended([Trained(made.run.path, stage)], [seeds])


def test_the_best_of_a_search_is_what_it_chose(tmp_path):
    made = Made(tmp_path).add("", 0, test=0.9).add("search-1", 1, tokens=2, cells=4, density=0.5, test=0.8)
    facts = facts_of(made.run, 0.0)
    assert (facts["best"]["stage"], facts["best"]["tokens"]) == ("search-1", 2)
    assert [entry["stage"] for entry in facts["rounds"]] == ["", "search-1"]


def test_a_page_shows_the_last_pruning_whose_training_came_to_its_end(tmp_path):
    made = Made(tmp_path).add("", 0).add("prune-1", 1)
    made.add("prune-2", 1, status="diverged", test=None, validation={})
    for stage in ("prune-1", "prune-2"):
        made.run.write_stage(Stage(stage), {"unit": "cells"})
    assert _last_pruning(made.run) == "prune-1"
