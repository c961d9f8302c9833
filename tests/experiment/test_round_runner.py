"""Cohorts at work on a run; whole runs are in test_experiment, interruptions in test_search_run."""

from dataclasses import replace

import pytest
import tiny
import torch

from prunekit.experiment import round_runner
from prunekit.experiment.prepare import prepare
from prunekit.experiment.round_runner import RoundRunner, RoundSpec, pack_cohorts
from prunekit.prompts.mask import Mask
from prunekit.runs.paths import RunKey
from prunekit.runs.run import Run
from prunekit.support.errors import ArtifactError


@pytest.fixture
def work(folder, tmp_path):
    prepared = prepare(tiny.experiment("gpt2", folder, seeds=3, width=2))
    directory = Run.at(tmp_path, prepared.name, prepared.id)
    directory.path.mkdir(parents=True)
    directory.write_settings({"id": prepared.id})
    return RoundRunner(directory, prepared, tiny.Quiet())


def members(work):
    return {RunKey("", seed, 0): work.prepared.dense(seed) for seed in range(3)}


def test_cohorts_hold_members_of_like_length_and_do_not_depend_on_their_order(work):
    dense = work.prepared.dense(0)

    def of(tokens):
        return replace(dense, mask=tiny.masked([key < tokens for key in range(4)]))

    given = {RunKey("", seed, 0): of(tokens) for seed, tokens in enumerate([1, 4, 2, 4, 1])}
    cut = pack_cohorts(given, 2)
    assert [[key.seed for key in cohort] for cohort in cut] == [[1, 3], [2, 0], [4]]
    assert pack_cohorts(dict(reversed(given.items())), 2) == cut


def test_what_is_done_is_loaded_and_never_trained_again(work, monkeypatch):
    turn = RoundSpec("round 0", work.prepared.plan)
    first = work.learn(members(work), turn)
    assert work.loaded == 0
    monkeypatch.setattr(round_runner, "train", lambda *args, **more: pytest.fail("trained again"))
    again = RoundRunner(work.directory, work.prepared, tiny.Quiet())
    second = again.learn(members(work), turn)
    assert again.loaded == 3
    for key, one in first.items():
        assert second[key].validation == one.validation
        assert torch.equal(second[key].kept.state["values"], one.kept.state["values"])


def test_the_progress_bar_says_which_cohort_it_is(work):
    work.learn(members(work), RoundSpec("round 0", work.prepared.plan))
    lines = [line for line in work.progress.lines if line.startswith("round")]
    assert lines == ["round 0 (1 of 2)", "round 0 (2 of 2)"]


def test_a_round_made_from_another_ticket_is_refused(work):
    turn = RoundSpec("round 0", work.prepared.plan)
    work.learn(members(work), turn)
    other = {key: replace(ticket, mask=tiny.masked([True, True, True, False])) for key, ticket in members(work).items()}
    with pytest.raises(ArtifactError, match="made from another ticket"):
        work.learn(other, turn)


def test_report_and_scores_are_looked_at_only_where_asked(work):
    quiet = work.learn(members(work), RoundSpec("cells", work.prepared.plan, test=False, score=False))
    for one in quiet.values():
        assert one.test is None
        assert one.importance == {}
        assert one.scores is None


def test_a_chosen_ticket_is_written_again_with_its_look_at_report(work):
    cell = RunKey("search-0/grid/a", 0, 1)
    ticket = replace(work.prepared.dense(0), round=1, mask=Mask.full(4, 4))
    work.learn({RunKey("", 0, 0): work.prepared.dense(0)}, RoundSpec("dense", work.prepared.plan))
    work.learn({cell: ticket}, RoundSpec("cells", work.prepared.plan, test=False, score=False))
    new = RunKey("search-0", 0, 1)
    work.finish({new: cell})
    assert work.directory.result(cell)["test"] == {}
    assert set(work.directory.result(new)["test"]) == {"accuracy"}
    assert work.finished(new) == work.finished(cell)
    before = work.loaded
    work.finish({new: cell})
    assert work.loaded == before + 1
