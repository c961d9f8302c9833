"""A search on disk: what is trained and looked at, and that an interrupted one ends like one that was not."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import tiny
import torch

from prunekit.analysis import halving, tables
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.evaluate import evaluate
from prunekit.experiment import dry_run, round_runner
from prunekit.experiment import run as experiment
from prunekit.experiment.prepare import prepare
from prunekit.pruning.controls import controls_for
from prunekit.pruning.schedule import line, rungs
from prunekit.pruning.scores import Magnitude
from prunekit.runs import round_files
from prunekit.runs.paths import RunKey
from prunekit.runs.run import Run
from prunekit.runs.ticket_file import ticket_bytes
from prunekit.support.errors import ConfigError

#: The folder of a search that holds its trials.
GRID = "grid"
OF_CELLS = [control.name for control in controls_for("cells")]

pytestmark = pytest.mark.gate

SEEDS = 2


@pytest.fixture(scope="module")
def ready(folder):
    """Prepared experiments, made once."""
    made = {}

    def prepared(kind="gpt2", **more):
        key = (kind, *sorted(more.items()))
        if key not in made:
            flags = dict(rounds=None, keep_tokens=None, train_steps=2, evaluate_every=1, seeds=SEEDS, width=5) | more
            made[key] = prepare(tiny.experiment(kind, folder, **flags))
        return made[key]

    return prepared


def search(prepared, out, controls=False):
    return experiment.search(prepared, out, tiny.Quiet(), controls=controls)


@pytest.fixture
def asked(monkeypatch):
    """The cohorts that `learning.train` was asked for: names of their tickets."""

    def names(tickets, *more):
        return [f"{hash(ticket_bytes(one)):x} seed {one.seed} {one.mask.tokens}x{one.mask.cells}" for one in tickets]

    return tiny.spied(monkeypatch, round_runner, "train", names)


@pytest.fixture(scope="module")
def controlled(ready, tmp_path_factory):
    """One search with controls, and how many members looked at the test split, look by look."""
    with pytest.MonkeyPatch.context() as patch:
        seen = spied(patch)
        made = search(ready(), tmp_path_factory.mktemp("controlled"), controls=True)
    return SimpleNamespace(run=made, looks=seen, prepared=ready())


def spied(patch):
    """(members, examples) of every look at the test split."""
    return tiny.spied(patch, round_runner, "answer", lambda prompts, _, rows, *__: (prompts.members, len(rows)))


def flat(cohorts):
    return sorted(name for cohort in cohorts for name in cohort)


class Stopping:
    """Raises at a commit: behind the `after`-th of this process, or before it."""

    def __init__(self, monkeypatch):
        self.real, self.left, self.before = Run.commit, None, False
        monkeypatch.setattr(Run, "commit", lambda run, members: self(run, members))

    def __call__(self, run, members):
        last = self.left == 1
        if last and self.before:
            raise KeyboardInterrupt
        self.real(run, members)
        if self.left is not None:
            self.left -= 1
        if last:
            raise KeyboardInterrupt


# ---- interrupted and resumed

SEARCHES = {
    "halving with controls": ({"halving": "true", "seeds": 1}, True),
    "paper": ({"seeds": 1, "width": 2}, False),
    "paper with controls": ({}, True),
    "scored again, with controls": ({"rescore_pieces": "true"}, True),
    "full, halving": ({"grid": "full", "halving": "true", "seeds": 1}, False),
    "ranks with controls": ({"grid": "rank", "seeds": 1, "width": 2}, True),
    "ranks, halving with controls": ({"grid": "rank", "halving": "true"}, True),
}


@pytest.mark.parametrize("name", tiny.by_day(list(SEARCHES), ["ranks with controls"]))
def test_a_search_that_is_interrupted_after_every_commit_trains_nothing_twice(
    name, ready, tmp_path, asked, monkeypatch
):
    settings, controls = SEARCHES[name]
    prepared = ready(**settings)
    whole = search(prepared, tmp_path / "whole", controls)
    wanted = list(asked)
    asked.clear()
    stopping = Stopping(monkeypatch)
    commits = 0
    while True:
        stopping.left = 1
        try:
            parts = search(prepared, tmp_path / "parts", controls)
            break
        except KeyboardInterrupt:
            commits += 1
            assert commits < 30, "comes no further"
    assert asked == wanted
    assert commits >= len(wanted) + 1  # every cohort, and what was chosen
    assert tiny.contents(parts.path) == tiny.contents(whole.path)


@pytest.mark.parametrize("number", tiny.at_night(4, 1))
def test_what_was_not_committed_is_all_that_is_trained_again(number, ready, tmp_path, asked, monkeypatch):
    prepared = ready()
    whole = search(prepared, tmp_path / "whole")
    wanted = list(asked)
    asked.clear()
    stopping = Stopping(monkeypatch)
    stopping.left, stopping.before = number, True
    with pytest.raises(KeyboardInterrupt):
        search(prepared, tmp_path / "parts")
    stopping.left = None
    parts = search(prepared, tmp_path / "parts")
    assert asked == [*wanted[:number], wanted[number - 1], *wanted[number:]]
    assert tiny.contents(parts.path) == tiny.contents(whole.path)


@pytest.mark.parametrize("settings", tiny.at_night({"halving": "true"}, {"rescore_pieces": "true"}, {}))
def test_controls_can_be_added_to_a_finished_search(settings, ready, tmp_path, asked):
    """The cells of the search itself are the same with controls and without, and stay as they are."""
    prepared = ready(seeds=1, **settings)
    alone = search(prepared, tmp_path / "one")
    cells = {name: content for name, content in tiny.contents(alone.path).items() if f"/{GRID}/" in name}
    first = flat(asked)
    asked.clear()
    added = search(prepared, tmp_path / "one", controls=True)
    # under halving the cell with nothing dropped may have been stopped, so that arm is trained on its own
    again = set(first) & set(flat(asked))
    assert all("4x16" in name for name in again)
    assert len(again) == ("halving" in settings)
    found = tiny.contents(added.path)
    assert {name: found[name] for name in cells} == cells
    assert found == tiny.contents(search(prepared, tmp_path / "two", controls=True).path)


def test_a_finished_search_is_loaded_and_nothing_is_done_again(controlled, asked):
    before, watch = tiny.contents(controlled.run.path), tiny.Quiet()
    again = experiment.search(controlled.prepared, controlled.run.path.parent, watch, controls=True)
    assert asked == []
    assert again.path == controlled.run.path
    assert tiny.contents(again.path) == before
    finished = len(again.tickets())
    assert any(line.startswith(f"{finished} finished ticket(s) were there already") for line in watch.lines)


def test_searches_and_prunings_of_one_dense_round_share_it(ready, tmp_path, asked):
    search(ready(), tmp_path)
    asked.clear()
    made = search(ready(grid="token"), tmp_path)
    assert len(flat(asked)) == SEEDS * 4
    asked.clear()
    again = experiment.run(ready(rounds=1, keep_tokens=2), tmp_path, tiny.Quiet())
    assert len(flat(asked)) == SEEDS
    assert again.path == made.path
    assert len(made.stages()) == 4
    assert made.verify() > 0


# ---- the test split


@pytest.fixture
def looks(monkeypatch):
    """How many members looked at the test split, look by look."""
    return spied(monkeypatch)


def members(looks):
    assert {examples for _, examples in looks} == {12}
    return sum(count for count, _ in looks)


@pytest.mark.parametrize("grid", tiny.at_night("paper", "rank", "full"))
def test_the_report_split_is_looked_at_for_the_chosen_ticket_alone(grid, ready, tmp_path, looks):
    prepared = ready(grid=grid)
    made = search(prepared, tmp_path)
    assert members(looks) == SEEDS * 3  # dense, untrained, chosen
    results = made.results()
    stage = results[results["stage"] == prepared.search_stage]
    assert list(stage[stage["test_accuracy"].notna()]["arm"]) == [""] * SEEDS
    cells = stage[stage["arm"].str.startswith(GRID)]
    assert len(cells) == SEEDS * {"paper": 7, "full": 16, "rank": 4}[grid]
    assert cells["test_accuracy"].isna().all()
    for key in made.tickets():
        splits = set(made.table(key, "predictions.parquet")["split"])
        assert splits == ({"validation"} if f"/{GRID}/" in key.stage else {"validation", "test"})
        assert made.result(key)["test"].keys() == (splits - {"validation"} and {"accuracy"})
    looks.clear()
    search(prepared, tmp_path)
    assert looks == []


def test_with_controls_every_arm_looks_once_in_its_last_round(controlled):
    prepared, looks, results = controlled.prepared, controlled.looks, controlled.run.results()
    stage = results[(results["stage"] == prepared.search_stage) & ~results["arm"].str.startswith(GRID)]
    looked = stage[stage["test_accuracy"].notna()]
    arms = sorted(["", "token-only", "piece-only", *OF_CELLS])
    assert sorted(looked["arm"]) == sorted(arms * SEEDS)
    assert set(looked["round"]) == {1}
    assert sorted(set(stage[stage["round"] == 0]["arm"])) == ["reinit", "short-prompt"]
    assert members(looks) == SEEDS * (2 + len(arms))


def test_adding_controls_does_not_look_again_with_the_chosen_ticket(ready, tmp_path, looks):
    prepared = ready(seeds=1)
    search(prepared, tmp_path)
    looks.clear()
    made = search(prepared, tmp_path, controls=True)
    stage = made.results().query(f"stage == '{prepared.search_stage}' and test_accuracy.notna()")
    assert members(looks) == len(stage) - 1


def test_the_choice_does_not_see_the_report_split(ready, tmp_path):
    """The same search with other test labels chooses the same."""
    prepared = ready()
    mine = search(prepared, tmp_path / "one")
    swapped = [replace(example, gold=1 - example.gold) for example in prepared.test]
    splits = [replace(example, gold=(1 - example.gold[0],)) for example in prepared.splits.test]
    other = replace(prepared, test=swapped, splits=replace(prepared.splits, test=splits))
    theirs = search(other, tmp_path / "two")
    for seed in range(SEEDS):
        key = RunKey(prepared.search_stage, seed, 1)
        one, two = mine.result(key), theirs.result(key)
        assert one.pop("test")["accuracy"] == pytest.approx(1 - two.pop("test")["accuracy"])
        assert one == two


# ---- what is chosen


def test_the_chosen_ticket_is_its_cell_with_report_and_scores(controlled):
    prepared, made = controlled.prepared, controlled.run
    for seed in range(SEEDS):
        key = RunKey(prepared.search_stage, seed, 1)
        result = made.result(key)
        cell = RunKey(result.pop("chosen_from"), seed, 1)
        wanted = made.result(cell)
        assert result.pop("test").keys() == {"accuracy"}
        assert wanted.pop("test") == {}
        assert result == wanted
        for name in ("ticket.safetensors", "trained.safetensors", "log.parquet"):
            assert made.content(key, name) == made.content(cell, name)
        assert "scores.safetensors" not in made.manifest(cell)["files"]


def test_report_and_scores_of_what_was_chosen_are_its_own(controlled):
    """Tickets are judged and scored side by side; alone each gets the same."""
    prepared, made = controlled.prepared, controlled.run
    for arm in ("", "/token-only", "/piece-only"):
        for seed in range(SEEDS):
            key = RunKey(prepared.search_stage + arm, seed, 1)
            ticket = round_files.finished_ticket(made, key)
            with torch.no_grad():
                found = evaluate(prompt_batch([Member(ticket)]), prepared.model, prepared.test)
            answers = made.table(key, "predictions.parquet").query("split == 'test'")
            assert answers["choice"].tolist() == found.chosen[0].tolist()
            assert answers["loss"].to_numpy() == pytest.approx(found.losses[0].numpy(), rel=1e-5)
            norms = Magnitude().of(ticket)
            assert torch.allclose(round_files.load_scores(made, key)["magnitude"].piece, norms.piece)


def test_cells_are_pruned_by_the_named_score_and_rewound_as_asked(ready, tmp_path):
    prepared = ready(score="signed", rewind="init", dropped_as="zero", seeds=1)
    made = search(prepared, tmp_path, controls=True)
    results = made.results()
    cells = results[results["arm"].str.startswith(GRID)]
    assert set(cells["pruned_by"]) == {"signed"}
    assert set(cells["rewind"]) == {"init"}
    assert set(cells["dropped_as"]) == {"zero"}
    arms = results[(results["stage"] == prepared.search_stage) & ~results["arm"].str.startswith(GRID)]
    assert set(arms["round"]) == {1}  # each arm is trained once, as the ticket was
    assert set(arms[arms["arm"] == "short-prompt"]["dropped_as"]) == {"remove"}


# ---- successive halving


@pytest.mark.parametrize("grid", tiny.at_night("full", "rank"))
def test_halving_does_what_its_replay_on_the_full_search_foretells(grid, ready, tmp_path):
    settings = dict(grid=grid, train_steps=8, evaluate_every=2, seeds=1)
    full, halved = ready(**settings), ready(**settings, halving="true")
    made = search(full, tmp_path)
    foretold = halving.replay(tables.trial_curves(made, full.search_stage), rungs(8, 2)).set_index("seed")
    made = search(halved, tmp_path)
    tried = tables.trials(made, halved.search_stage)
    for seed, mine in tried.groupby("seed"):
        assert mine["steps"].sum() == foretold.loc[seed, "updates"] < len(mine) * 8
        result = made.result(RunKey(halved.search_stage, seed, 1))
        if grid == "rank":
            assert result.get("rank", 4) == foretold.loc[seed, "rank"]
        assert (result["tokens"], result["pieces"]) == tuple(foretold.loc[seed, ["tokens", "pieces"]])
        ends = mine["status"].value_counts().to_dict()
        quarter = len(mine) // 4  # of 16 trials, or of 4 ranks
        assert ends == {"dropped at step 2": 2 * quarter, "dropped at step 4": quarter, "done": quarter}
    assert set(tried["seed"]) == {0}


def test_halving_chooses_nothing_that_it_dropped_and_dense_continued_comes_to_its_end(ready, tmp_path):
    prepared = ready(halving="true", seeds=1)
    made = search(prepared, tmp_path, controls=True)
    status = made.results().set_index("arm")["status"]
    assert made.result(RunKey(prepared.search_stage, 0, 1))["status"] == "done"
    assert status[f"{GRID}/tokens=4-pieces=4"] == "dropped at step 1"
    assert status["dense-continued"] == "done"


# ---- ends


@pytest.mark.parametrize(
    ("more", "poisoned"),
    [
        ({}, {0}),
        ({"halving": "true"}, {0, 1}),
        pytest.param({"halving": "true"}, {0}, marks=pytest.mark.slow),
        pytest.param({"rescore_pieces": "true"}, {0, 1}, marks=pytest.mark.slow),
    ],
)
def test_seeds_that_diverge_have_no_search_and_the_others_go_on(more, poisoned, ready, tmp_path, monkeypatch):
    prepared = ready(**more)
    dense = type(prepared).dense

    def poison(self, seed):
        ticket = dense(self, seed)
        bad = {"values": ticket.state["values"] * float("nan")}
        return replace(ticket, state=bad) if seed in poisoned else ticket

    monkeypatch.setattr(type(prepared), "dense", poison)
    made = search(prepared, tmp_path, controls=True)
    results = made.results()
    assert set(results[results["stage"] == prepared.search_stage]["seed"]) == {0, 1} - poisoned
    assert tables.trials(made, prepared.search_stage).empty == (poisoned == {0, 1})
    arms = tables.arms(made, prepared.search_stage)
    assert arms[arms["arm"] == "dense"]["test"].isna().tolist() == [seed in poisoned for seed in (0, 1)]
    before = tiny.contents(made.path)
    assert tiny.contents(search(prepared, tmp_path, controls=True).path) == before


def test_the_default_grid_is_that_of_the_paper(folder):
    prepared = prepare(tiny.experiment("gpt2", folder, rounds=None, keep_tokens=None))
    assert prepared.search_settings == {
        "score": "absolute", "rewind": "trained", "dropped_as": "remove", "grid": "paper", "halving": False,
        "rescore_pieces": False,
    }  # fmt: skip
    assert len(line(20)) + len(line(16)) - 1 == 19


def test_ratios_of_ones_own_are_another_search_whatever_their_order(folder):
    def stage(**more):
        return prepare(tiny.experiment("gpt2", folder, **more)).search_stage

    paper = ",".join(f"0.{tenth}" for tenth in range(9, 0, -1))
    assert stage(ratios=paper) == stage()
    assert stage(ratios="0.5,0.25") == stage(ratios="0.25,0.5,0.5") != stage()


@pytest.mark.parametrize("ratios", ["0", "1.0", "half", "0.5,", ""])
def test_a_share_that_drops_nothing_or_all_is_refused(folder, ratios):
    with pytest.raises(ConfigError, match="--ratios"):
        tiny.experiment("gpt2", folder, ratios=ratios)


def test_a_search_over_one_ratio_trains_what_the_dry_run_foretells(ready, tmp_path, asked):
    prepared = ready(seeds=1, ratios="0.5")
    foretold = sum(part.tickets for part in dry_run.parts(prepared, "search", False) if part.is_trial)
    run = search(prepared, tmp_path)
    trials = tables.trials(run.snapshot(), prepared.search_stage)
    assert len(trials) == foretold
    tokens, pieces = prepared.experiment.prompt.tokens, prepared.experiment.prompt.pieces
    assert set(trials["tokens"]) == {tokens, tokens - tokens // 2}
    assert set(trials["pieces"]) == {pieces, pieces - pieces // 2}
