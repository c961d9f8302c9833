"""Scores that pruned a small real run, and what was measured on its prompts."""

import numpy as np
import pytest
import tiny

from prunekit.analysis import tables, unit_scores
from prunekit.analysis.measure import score
from prunekit.analysis.tables.measured import MEASURED
from prunekit.analysis.tables.scores import SCORED
from prunekit.runs import round_files
from prunekit.runs.paths import RunKey
from prunekit.support.errors import ArtifactError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    return tiny.finished("gpt2", folder, folder / "out", seeds=2, train_steps=2, evaluate_every=1)


@pytest.fixture(scope="module")
def scores(made):
    return tables.scores([made[0]])


def test_every_kind_of_every_round_is_there(made, scores):
    assert list(scores.columns) == list(SCORED)
    groups = scores.groupby(["seed", "round", "kind", "level"]).size()
    assert len(groups) == 2 * 3 * 5 * 2
    assert set(groups.xs("token", level="level")) == {4}
    assert set(groups.xs("piece", level="level")) == {16}
    assert scores.loc[scores["pruned_by"], "kind"].unique().tolist() == ["absolute"]
    assert set(scores.loc[scores["round"] == 0, "arm"]) == {"dense"}
    assert set(scores.loc[scores["round"] > 0, "arm"]) == {"ticket"}


def test_scores_are_those_of_the_record_and_nan_where_dropped(made, scores):
    run, prepared = made
    key = RunKey(prepared.stage, 1, 1)
    found = round_files.load_scores(run, key)["absolute"]
    mask = round_files.finished_ticket(run, key).mask
    mine = scores[(scores["seed"] == 1) & (scores["round"] == 1) & (scores["kind"] == "absolute")]
    for level, wanted, kept in (("token", found.token, mask.token), ("piece", found.piece, mask.piece)):
        one = mine[mine["level"] == level]
        assert one["kept"].tolist() == kept.flatten().tolist()
        assert one.loc[one["kept"], "score"].tolist() == pytest.approx(wanted[kept].tolist())
        assert one.loc[~one["kept"], "score"].isna().all()
        assert (one.loc[~one["kept"], "norm"] == 0).all()
        assert (one.loc[one["kept"], "norm"] > 0).all()
    assert (mine.loc[mine["level"] == "token", "piece"] == -1).all()


def test_the_worst_by_the_pruning_score_is_what_goes(scores):
    """Fates agree with ranks: what round 1 lacks is what round 0 ranked last."""
    ranked = unit_scores.ranked(scores[scores["pruned_by"]])
    tokens = ranked[(ranked["level"] == "token") & (ranked["round"] == 0)]
    for _, mine in tokens.groupby("seed"):
        assert mine.loc[mine["rank"] <= 3, "next_kept"].all()
        assert not mine.loc[mine["rank"] > 3, "next_kept"].any()
        assert mine.loc[mine["rank"] > 3, "dropped_in"].tolist() == [1]
        assert sorted(mine["dropped_in"]) == [-1, -1, 1, 2]
    last = ranked[ranked["round"] == 2]
    assert last["next_kept"].isna().all()
    for _, mine in ranked[ranked["kept"]].groupby(["seed", "level", "token", "piece"]):
        first = mine["dropped_in"].iloc[0]
        assert (mine["round"] < first).all() or first == -1


def test_magnitude_is_the_norm_of_what_was_kept(scores):
    mine = scores[(scores["kind"] == "magnitude") & (scores["round"] == 0)]
    assert mine["score"].to_numpy(dtype=float) == pytest.approx(mine["norm"].to_numpy(dtype=float), rel=1e-5)


def test_measurements_stand_beside_scores(made, scores, capsys):
    run, prepared = made
    assert tables.measured([run]).empty
    assert list(tables.measured([run]).columns) == list(MEASURED)
    dense, pruned = run.folder(RunKey("", 0, 0)), run.folder(RunKey(prepared.stage, 0, 2))
    score(dense, quiet=True)
    score(dense, kind="shapley", quiet=True)
    score(pruned, level="piece", quiet=True)
    found = tables.measured([run])
    assert list(found.columns) == list(MEASURED)
    assert found.groupby(["kind", "level", "round"]).size().to_dict() == {
        ("leave-one-out", "piece", 2): 16, ("leave-one-out", "token", 0): 4, ("shapley", "token", 0): 4,
    }  # fmt: skip
    assert set(found["examples"]) == {12}
    assert set(found.loc[found["round"] == 2, "arm"]) == {"ticket"}
    tokens = found[found["level"] == "token"]
    assert (tokens["piece"] == -1).all()
    assert tokens.loc[tokens["kind"] == "leave-one-out", ["low", "high", "p"]].notna().all(axis=None)
    units = unit_scores.beside(scores, found)
    mine = units[(units["level"] == "token") & (units["round"] == 0) & (units["seed"] == 0)]
    assert mine[["absolute", "magnitude", "leave-one-out", "shapley"]].notna().all(axis=None)
    assert len(units) == 2 * 3 * (4 + 16)
    agreed = unit_scores.agreement(units)
    both = agreed[(agreed["first"] == "absolute") & (agreed["second"] == "leave-one-out")]
    assert sorted(both["units"]) == [4, 4]  # of the dense tokens, and of the 2 x 2 pieces that are left
    assert np.isfinite(agreed["units"]).all()


def test_an_unknown_or_unclear_stage_is_one_line(made):
    run, prepared = made
    with pytest.raises(ArtifactError, match=f"no finished round of prune-0000; it has {prepared.stage}"):
        tables.scores([run], "prune-0000")
    assert len(tables.scores([run], prepared.stage)) == len(tables.scores([run]))


def test_a_run_that_was_not_pruned_has_the_scores_of_its_dense_round(tmp_path):
    run, _ = tiny.finished("gpt2", tmp_path, tmp_path / "out", prune=False, train_steps=2, evaluate_every=1)
    found = tables.scores([run])
    assert set(found["round"]) == {0}
    assert found["next_kept"].isna().all()
    assert (found["dropped_in"] == -1).all()
    assert not found["pruned_by"].any()
