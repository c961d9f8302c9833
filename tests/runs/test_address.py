"""One address for the tickets of a run, wherever a ticket is asked for."""

import re

import pytest
import tiny
import torch

import prunekit as pk
from prunekit.cli.rounds import print_run
from prunekit.experiment.prepare import prepare
from prunekit.experiment.reopen import opened
from prunekit.plots.run_choice import one_of_all, whole_runs
from prunekit.runs.address import Address
from prunekit.runs.overview import facts_of
from prunekit.support.errors import ArtifactError, ConfigError


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """Two seeds and two rounds, with controls, in a folder whose own name has an @."""
    out = tmp_path_factory.mktemp("runs") / "me@home"
    made, prepared = tiny.finished("gpt2", folder, out, controls=True, rounds=2, keep_tokens=2, seeds=2)
    return pk.Run(made.path, prepared.stage)


def test_a_run_means_its_best_ticket(run):
    best = run.best
    for source in (run.path, str(run.path), run.path / str(run.best_key), f"{run.path}@{run.stage}"):
        assert pk.Ticket.load(source) == best
    assert opened(run.path).run.path == run.path.resolve() or opened(run.path).run.path == run.path


@pytest.mark.parametrize(
    ("words", "seed", "round", "arm"),
    [
        ("round=2,seed=1", 1, 2, ""),
        ("seed=1, round=0", 1, 0, ""),
        ("prune,round=1,seed=0", 0, 1, ""),
        ("random,seed=1", 1, 2, "random"),  # of a control the last round
        ("random,round=1,seed=0", 0, 1, "random"),
    ],
)
def test_an_address_names_stage_round_seed_and_control(words, seed, round, arm, run):
    named = f"{run.path}@{words.replace('prune', run.stage)}"
    assert pk.load(named) == run.ticket(seed, round, arm)


def test_what_is_left_out_is_chosen_on_validation(run):
    reached = run.results[run.results["round"] == 0].sort_values(
        ["validation_accuracy", "seed"], ascending=[False, True]
    )
    assert pk.load(f"{run.path}@dense") == run.ticket(int(reached.iloc[0]["seed"]), 0)
    rounds = run.results[(run.results["arm"] == "") & (run.results["seed"] == 1)]
    assert pk.load(f"{run.path}@seed=1").round == run.best.round
    assert set(rounds["round"]) == {0, 1, 2}


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("round=7", r"no round 7 of prune-\w+: there are rounds 0, 1 and 2$"),
        ("round=1,seed=5", r"no seed 5 in round 1 of prune-\w+: there are seeds 0 and 1$"),
        ("randon", r'no arm "randon" of prune-\w+: there are arms complement, .* and short-prompt$'),
        ("prune-0000,round=1", r"has no stage prune-0000; there are prune-\w+$"),
        ("round=two", r"write RUN@round=2,seed=1"),
        ("rounds=2", r"write RUN@round=2,seed=1"),
        ("", r"write RUN@round=2,seed=1"),
    ],
)
def test_a_wrong_address_says_what_there_is(words, reason, run):
    with pytest.raises((ArtifactError, ConfigError), match=reason):
        pk.load(f"{run.path}@{words}")


def test_what_names_no_run_is_no_address(tmp_path):
    assert Address.parse(tmp_path / "me@home" / "ticket.safetensors") is None
    with pytest.raises(ArtifactError, match="not a run, nor a finished round of one"):
        pk.load(tmp_path / "nothing@round=1")


def test_the_functions_and_verbs_that_use_a_ticket_take_a_run(run, tmp_path, capsys):
    best, quiet = run.best, dict(quiet=True)
    facts = pk.evaluate(run, **quiet)
    assert facts == pk.evaluate(run.path, **quiet) == pk.evaluate(best, **quiet)
    row = run.results.query("round == 1 and seed == 1 and arm == ''").iloc[0]
    assert pk.evaluate(f"{run.path}@round=1,seed=1", **quiet)["accuracy"] == row["test_accuracy"]
    answers = pk.predict(run, [{"sentence": "w1 w4"}], **quiet)
    assert answers == pk.predict(str(run.path), [{"sentence": "w1 w4"}], **quiet)
    scores = pk.score(run, kind="magnitude", **quiet)
    assert scores.folder.is_relative_to(run.path)  # measured of a run: written beside it
    assert tiny.call("export", f"{run.path}@dense", "--out", tmp_path / "vectors", "--to", "embeddings") == 0
    assert (tmp_path / "vectors").is_dir()
    capsys.readouterr()


def test_a_picture_takes_stage_and_seed_and_a_report_the_whole_run(run):
    assert one_of_all([run.path], None, None) == ([run.path], None, None)
    assert one_of_all([f"{run.path}@{run.stage},seed=1"], None, None) == ([run.path], 1, run.stage)
    with pytest.raises(ConfigError, match="--seed: both 0 and 1 are named"):
        one_of_all([f"{run.path}@seed=1"], 0, None)
    with pytest.raises(ConfigError, match="a picture shows every round"):
        one_of_all([f"{run.path}@round=1"], None, None)
    with pytest.raises(ConfigError, match="a report shows a whole run"):
        whole_runs([f"{run.path}@round=1"])


def test_a_prompt_is_transferred_from_a_ticket_by_its_address(run, folder):
    prepared = prepare(tiny.experiment("gpt2", folder, init_from=f"{run.path}@dense,seed=1"))
    torch.testing.assert_close(prepared.dense(0).prompt()()[0], run.ticket(1, 0).prompt()()[0])


def test_dense_seeds_that_come_later_leave_the_best_ticket_the_best(folder, tmp_path, capsys, dense_wins):
    pruned, prepared = tiny.finished("gpt2", folder, tmp_path)
    before = pk.Run(pruned.path, prepared.stage, 1.0).best
    assert before.round == 2
    tiny.finished("gpt2", folder, tmp_path, prune=False, seeds=2)
    assert pk.Run(pruned.path, prepared.stage, 1.0).best == before
    assert facts_of(pruned, 1.0)["best"]["round"] == 2
    assert tiny.call("runs", "show", pruned.path, "--tolerance=1") == 0
    assert "No pruned ticket" not in capsys.readouterr().out


def test_what_a_dense_stage_added_is_shown_though_the_run_has_a_pruning(run, capsys):
    print_run(run.directory, 0.01, stages=[""], arms=False)
    shown = capsys.readouterr().out
    assert "dense: accuracy" in shown
    assert run.stage not in shown


def test_several_prunings_are_told_apart_by_addresses_that_work(folder, tmp_path):
    for keep in (2, 3):
        made, _ = tiny.finished("gpt2", folder, tmp_path, rounds=1, keep_tokens=keep)
    with pytest.raises(ConfigError) as error:
        pk.load(made.path)
    address = re.search(r"choose one, as (\S+) or", str(error.value))[1]
    assert pk.load(address).round in (0, 1)
