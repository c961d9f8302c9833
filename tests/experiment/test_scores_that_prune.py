"""Pruning by a score that no round writes by itself: measured where it prunes, kept there, and found again."""

import sys
from types import ModuleType

import pytest
import tiny
import torch

from prunekit.analysis import tables
from prunekit.engine.probe import TicketProbe
from prunekit.experiment import round_runner, settings_io
from prunekit.experiment.pruned_levels import pruned_levels
from prunekit.experiment.settings import PruningSettings
from prunekit.pruning.prune import prune_mask
from prunekit.pruning.schedule import Keep
from prunekit.pruning.scores import ROUND_SCORES, LeaveOneOut, Passes, Score, Scores
from prunekit.pruning.scores.own import recorded
from prunekit.runs import round_files
from prunekit.runs.paths import DENSE, RunKey
from prunekit.support.errors import ConfigError
from prunekit.tasks.drawn import drawn


class LastFirst(Score):
    """Of one's own: the last token counts most."""

    name = "last-first"
    factor = 1

    def score(self, probe):
        tokens, pieces = probe.ticket.mask.piece.shape
        order = torch.arange(float(tokens)) * self.factor
        return Scores(order, torch.zeros(tokens, pieces), 0)

    def passes(self, units):
        return Passes()


def pruned(folder, out, score, **more):
    return tiny.finished("gpt2", folder, out, score=score, **more)[0]


def mask_of(run, number):
    stage = run.stages()[-1] if number else DENSE
    return round_files.starting_ticket(run, RunKey(stage, 0, number)).mask


@pytest.fixture(scope="module")
def by_cost(folder, tmp_path_factory):
    return pruned(folder, tmp_path_factory.mktemp("cost"), "leave-one-out")


def test_each_mask_is_pruned_by_the_scores_that_lie_beside_it(by_cost):
    stage = by_cost.stages()[-1]
    for number in (0, 1):
        key = RunKey(stage.scored, 0, number)
        scores = round_files.load_scores(by_cost, key)
        assert list(scores) == ["leave-one-out"]
        after = mask_of(by_cost, number + 1)
        keep = Keep(after.tokens, int(after.piece.sum(dim=1).max()))
        assert prune_mask(mask_of(by_cost, number), scores["leave-one-out"], keep).piece.equal(after.piece)
    assert not by_cost.done([RunKey(stage.scored, 0, 2)])  # the last round is not pruned
    assert by_cost.verify() > 0


def test_rounds_write_what_they_always_do(by_cost):
    written = round_files.load_scores(by_cost, RunKey(DENSE, 0, 0))
    assert set(written) == {score.name for score in ROUND_SCORES}
    table = tables.scores([by_cost])
    assert set(table.loc[table["pruned_by"], "kind"]) == {"leave-one-out"}
    assert set(by_cost.results()["pruned_by"].dropna()) == {"leave-one-out"}


def test_a_finished_pruning_is_loaded_and_nothing_is_measured_again(folder, by_cost, monkeypatch):
    before = tiny.contents(by_cost.path)
    monkeypatch.setattr(round_runner, "TicketProbe", tiny.refuse)
    again = pruned(folder, by_cost.path.parent, "leave-one-out")
    assert tiny.contents(again.path) == before


@pytest.mark.parametrize("score", tiny.at_night("hard-concrete", "movement", "straight-through", gate=2))
def test_learned_masks_hold_exact_counts_and_are_nested(folder, tmp_path, by_cost, score):
    run = pruned(folder, tmp_path, score)
    masks = [mask_of(run, number) for number in range(3)]
    assert [mask.piece.sum(dim=1).sort().values.tolist() for mask in masks] == [
        mask_of(by_cost, number).piece.sum(dim=1).sort().values.tolist() for number in range(3)
    ]
    assert masks[2] <= masks[1] <= masks[0]
    before = tiny.contents(run.path)
    assert tiny.contents(pruned(folder, tmp_path, score).path) == before


def test_a_search_cuts_by_it_too(folder, tmp_path):
    from prunekit.experiment import prepare, run

    chosen = tiny.experiment("gpt2", folder, score="leave-one-out")
    searched = run.search(prepare.prepare(chosen), tmp_path, tiny.Quiet())
    assert searched.done([RunKey(searched.stages()[-1].scored, 0, 0)])


def test_fewer_examples_are_another_pruning(folder, tmp_path):
    few, whole = (pruned(folder, tmp_path, "absolute", **more) for more in ({"score_examples": 2}, {}))
    prunings = {stage: few.stage_settings(stage) for stage in whole.stages() if stage.is_pruned}
    assert sorted(settings.get("score_examples", 0) for settings in prunings.values()) == [0, 2]
    (stage,) = [stage for stage, settings in prunings.items() if "score_examples" in settings]
    assert round_files.load_scores(whole, RunKey(stage.scored, 0, 0))["absolute"].examples == 2


def test_few_examples_are_drawn_and_not_the_first_of_a_file_that_is_sorted(folder, tmp_path):
    """The slopes of the file's first label alone are what pruning would go by, else."""
    task = tiny.save_task(tmp_path / "sorted")
    rows = sorted((task.parent / "train.jsonl").read_text().splitlines(), key=lambda line: line.split('"label": ')[1])
    (task.parent / "train.jsonl").write_text("\n".join(rows))
    run, prepared = tiny.finished("gpt2", folder, tmp_path / "out", task=task, data=task.parent, score_examples=8)
    stage = run.stages()[-1]
    scores = round_files.load_scores(run, RunKey(stage.scored, 0, 0))["absolute"]
    picked = drawn(prepared.training_data.train, 8)
    assert {row.gold for row in picked} == {0, 1}
    ticket = round_files.finished_ticket(run, RunKey(DENSE, 0, 0))
    slopes = torch.stack([TicketProbe(ticket, prepared.model, [row]).slopes() for row in picked])
    assert torch.allclose(scores.token, slopes[..., 0].abs().mean(dim=0), atol=1e-6)


def test_a_score_of_ones_own_is_recorded_by_name_and_source(folder, tmp_path, monkeypatch):
    module = ModuleType("my_scores")
    module.LastFirst = LastFirst
    monkeypatch.setitem(sys.modules, "my_scores", module)
    monkeypatch.setattr(LastFirst, "__module__", "my_scores")
    run = pruned(folder, tmp_path, "my_scores:LastFirst")
    assert mask_of(run, 2).token.nonzero().flatten().tolist() == [2, 3]
    name = run.stage_settings(run.stages()[-1])["score"]
    assert name == recorded(LastFirst())
    assert PruningSettings(score=name).finder_name == name
    monkeypatch.setattr(LastFirst, "factor", 2)
    with pytest.raises(ConfigError, match="its source is another now"):
        PruningSettings(score=name)


def test_an_object_is_recorded_with_what_it_was_made_with():
    from prunekit.pruning.scores import Integrated

    four, eight = (PruningSettings(score=Integrated(nodes)).finder_name for nodes in (4, 8))
    assert four.startswith("prunekit.pruning.scores.integrated:Integrated#")
    assert four != eight
    assert PruningSettings(score=LeaveOneOut()).scored_apart


@pytest.mark.parametrize(
    ("score", "reason"),
    [
        ("leave-one", "leave-one-out"),
        ("no_such_module:Score", "cannot be imported"),
        ("collections:OrderedDict", "lacks name, score, passes"),
    ],
)
def test_a_score_that_there_is_not_is_refused_in_one_line(score, reason):
    with pytest.raises(ConfigError, match=reason) as refused:
        settings_io.experiment(None, {"score": score})
    assert "\n" not in str(refused.value)


def test_settings_from_before_keep_their_identity():
    assert "score_examples" not in PruningSettings().model_dump(mode="json")


@pytest.mark.parametrize(
    ("verb", "settings", "levels"),
    [
        ("prune", {"keep_pieces": 1.0}, ("token",)),
        ("prune", {"rounds": 0}, ("token",)),
        ("search", {"grid": "token"}, ("token",)),
        ("prune", {"score": "absolute"}, ("token", "piece")),
        ("search", {"score": "absolute"}, ("token", "piece")),
    ],
)
def test_levels_are_those_at_which_anything_is_dropped(verb, settings, levels):
    (experiment,) = settings_io.experiments(None, {"score": "attention", **settings})
    assert pruned_levels(experiment, verb) == levels


@pytest.mark.parametrize(("verb", "advice"), [("prune", "--keep-pieces 1.0"), ("search", "--grid token")])
def test_pieces_are_not_pruned_by_what_tells_tokens_alone_apart(verb, advice):
    (experiment,) = settings_io.experiments(None, {"score": "attention"})
    with pytest.raises(ConfigError, match=rf"score = attention .*\({advice}\)"):
        pruned_levels(experiment, verb)
