"""Cohorts at work on a run; whole runs are in test_experiment, interruptions in test_search_run."""

from dataclasses import replace

import pytest
import tiny
import torch

from prunekit.experiment import round_runner
from prunekit.experiment.prepare import prepare
from prunekit.experiment.round_runner import Turn, Work, packed
from prunekit.prompts.mask import Mask
from prunekit.runs.paths import Place
from prunekit.runs.run import Run
from prunekit.support.errors import ArtifactError


@pytest.fixture
def work(folder, tmp_path):
    prepared = prepare(tiny.experiment("gpt2", folder, seeds=3, width=2))
    directory = Run.at(tmp_path, prepared.name, prepared.id)
    directory.path.mkdir(parents=True)
    directory.write_settings({"id": prepared.id})
    return Work(directory, prepared, tiny.Quiet())


def members(work):
    return {Place("", seed, 0): work.prepared.dense(seed) for seed in range(3)}


def test_cohorts_hold_members_of_like_length_and_do_not_depend_on_their_order(work):
    dense = work.prepared.dense(0)

    def of(tokens):
        return replace(dense, mask=tiny.masked([place < tokens for place in range(4)]))

    given = {Place("", seed, 0): of(tokens) for seed, tokens in enumerate([1, 4, 2, 4, 1])}
    cut = packed(given, 2)
    assert [[place.seed for place in cohort] for cohort in cut] == [[1, 3], [2, 0], [4]]
    assert packed(dict(reversed(given.items())), 2) == cut


def test_what_is_done_is_loaded_and_never_trained_again(work, monkeypatch):
    turn = Turn("round 0", work.prepared.plan)
    first = work.learn(members(work), turn)
    assert work.loaded == 0
    monkeypatch.setattr(round_runner, "train", lambda *args, **more: pytest.fail("trained again"))
    again = Work(work.directory, work.prepared, tiny.Quiet())
    second = again.learn(members(work), turn)
    assert again.loaded == 3
    for place, one in first.items():
        assert second[place].selection == one.selection
        assert torch.equal(second[place].kept.state["values"], one.kept.state["values"])


def test_the_progress_bar_says_which_cohort_it_is(work):
    work.learn(members(work), Turn("round 0", work.prepared.plan))
    assert work.watch.lines == ["round 0 (1 of 2)", "round 0 (2 of 2)"]


def test_a_round_made_from_another_ticket_is_refused(work):
    turn = Turn("round 0", work.prepared.plan)
    work.learn(members(work), turn)
    other = {
        place: replace(ticket, mask=tiny.masked([True, True, True, False])) for place, ticket in members(work).items()
    }
    with pytest.raises(ArtifactError, match="made from another ticket"):
        work.learn(other, turn)


def test_report_and_scores_are_looked_at_only_where_asked(work):
    quiet = work.learn(members(work), Turn("cells", work.prepared.plan, report=False, score=False))
    for one in quiet.values():
        assert one.report is None
        assert one.importance == {}
        assert one.scores is None


def test_a_chosen_ticket_is_written_again_with_its_look_at_report(work):
    cell = Place("search-0/grid/a", 0, 1)
    ticket = replace(work.prepared.dense(0), round=1, mask=Mask.full(4, 4))
    work.learn({Place("", 0, 0): work.prepared.dense(0)}, Turn("dense", work.prepared.plan))
    work.learn({cell: ticket}, Turn("cells", work.prepared.plan, report=False, score=False))
    new = Place("search-0", 0, 1)
    work.finish({new: cell})
    assert work.directory.result(cell)["report"] == {}
    assert set(work.directory.result(new)["report"]) == {"accuracy"}
    assert work.finished(new) == work.finished(cell)
    before = work.loaded
    work.finish({new: cell})
    assert work.loaded == before + 1
