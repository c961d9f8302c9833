import json
from dataclasses import replace

import pytest
import tiny

from prunekit.experiment import cost, dry_run, pace, round_runner, run
from prunekit.experiment.baselines import measure as baselines
from prunekit.experiment.pace import Pace
from prunekit.experiment.prepare import prepare
from prunekit.models import base

SEARCH = dict(rounds=None, keep_tokens=None)


def ready(folder, **more):
    return prepare(tiny.experiment("gpt2", folder, **(SEARCH | dict(train_steps=2, evaluate_every=1) | more)))


def tickets(parts):
    return {part.title: part.tickets for part in parts}


def foreseen(folder, tmp_path, capsys, verb, *flags, **more):
    """What `--dry-run --json` says; nothing was written."""
    out = tmp_path / "runs"
    words = [verb, *tiny.arguments("gpt2", folder, **more), f"--out={out}", "--dry-run", "--json", *flags]
    assert tiny.call(*words) == 0
    assert not out.exists()
    return json.loads(capsys.readouterr().out)


# ---- counts


START = {"round 0": 1, "untrained prompt": 1}
PAPER = {"token ratios": 10, "piece ratios": 9}  # of a prompt of 20 x 16, whose lines have ten counts


@pytest.mark.parametrize(
    ("settings", "controls", "cells"),
    [
        ({}, False, PAPER),
        ({"grid": "full"}, False, {"all pairs": 100}),
        ({"grid": "token"}, False, {"token ratios": 10}),
        ({"grid": "piece"}, False, {"piece ratios": 10}),
        # random, complement, reinit and short-prompt, the last two in two rounds
        ({}, True, PAPER | {"piece-only row": 9, "controls": 6}),
        ({"rewind": "init"}, True, PAPER | {"piece-only row": 9, "controls": 4}),
        ({"grid": "full"}, True, {"all pairs": 100, "controls": 6}),
        ({"grid": "rank"}, False, {"ranks": 10}),
        # random and fixed subspace, lowest directions; full rank is dense continued
        ({"grid": "rank"}, True, {"ranks": 10, "controls": 3}),
        ({"grid": "rank", "halving": "true"}, True, {"ranks": 10, "controls": 4}),
    ],
)
def test_the_cells_of_a_search_are_counted(settings, controls, cells, folder):
    prepared = ready(folder, prompt_tokens=20, pieces=16, seeds=3, **settings)
    found = tickets(dry_run.search_parts(prepared, controls))
    assert found == {title: 3 * count for title, count in (START | cells).items()}


@pytest.mark.parametrize(("more", "epochs"), [({}, 1), ({"grid": "rank"}, 2), ({"score_examples": 6}, 1 + 6 / 24)])
def test_a_search_counts_a_score_that_is_measured_apart(more, epochs, folder):
    """Every round writes the absolute scores of its tokens; of directions, or on fewer examples, they are one more."""
    assert dry_run.search_parts(ready(folder, **more), False)[0].scored == epochs


def test_a_dry_run_of_a_search_says_so_and_writes_nothing(folder, tmp_path, capsys):
    more = SEARCH | dict(prompt_tokens=20, pieces=16, seeds=3)
    facts = foreseen(folder, tmp_path, capsys, "search", **more)
    assert {part["title"]: part["tickets"] for part in facts["parts"]} == {
        "round 0": 3, "untrained prompt": 3, "token ratios": 30, "piece ratios": 27, "no prompt": 1,
    }  # fmt: skip
    assert facts["minutes"] == pytest.approx(sum(part["minutes"] for part in facts["parts"]))
    assert facts["minutes"] > 0
    assert facts["memory_mb"] > 100


def test_parts_say_what_is_kept(folder, tmp_path, capsys):
    facts = foreseen(folder, tmp_path, capsys, "search", "--controls", **SEARCH)
    assert [(part["title"], part["tokens"], part["pieces"]) for part in facts["parts"]] == [
        ("round 0", "4", "4"),
        ("untrained prompt", "4", "4"),
        ("token ratios", "4 to 1", "4"),
        ("piece ratios", "as chosen", "3 to 1"),
        ("piece-only row", "4", "3 to 1"),
        ("controls", "as chosen", "as chosen"),
        ("no prompt", "", ""),
    ]


@pytest.fixture
def trained(monkeypatch):
    """How many tickets were trained, round by round."""
    return tiny.spied(monkeypatch, round_runner, "train", lambda tickets, *_: len(tickets))


@pytest.mark.parametrize(
    ("settings", "controls"),
    [
        ({"halving": "true", "rewind": "reinit"}, True),
        ({"grid": "rank", "halving": "true"}, True),
        pytest.param({"grid": "full"}, False, marks=pytest.mark.slow),
        pytest.param({}, True, marks=pytest.mark.slow),
        pytest.param({"rewind": "init"}, True, marks=pytest.mark.slow),
    ],
)
def test_a_search_trains_what_was_foreseen(settings, controls, folder, tmp_path, trained):
    prepared = ready(folder, **settings)
    foretold = sum(part.tickets for part in dry_run.search_parts(prepared, controls))
    run.search(prepared, tmp_path, tiny.Quiet(), controls=controls)
    assert sum(trained) == foretold


@pytest.mark.parametrize(("rewind", "arms"), tiny.at_night(("init", 5), ("trained", 12), ("reinit", 4)))
def test_a_pruning_trains_what_was_foreseen(rewind, arms, folder, tmp_path, trained):
    prepared = ready(folder, rounds=2, keep_tokens=2, rewind=rewind)
    parts = dry_run.pruning_parts(prepared, True)
    assert tickets(parts) == START | {"round 1": 1, "round 2": 1, "controls": arms}
    run.run(prepared, tmp_path, tiny.Quiet(), controls=True)
    assert sum(trained) == sum(part.tickets for part in parts)


def test_a_pruning_without_rounds_or_controls_has_no_such_part(folder):
    assert tickets(dry_run.pruning_parts(ready(folder, rounds=2, keep_tokens=2, seeds=2), False)) == {
        "round 0": 2, "untrained prompt": 2, "round 1": 2, "round 2": 2,
    }  # fmt: skip
    assert tickets(dry_run.pruning_parts(ready(folder, rounds=0), True)) == START


# ---- what is finished


def test_only_what_is_missing_is_left(folder, tmp_path, capsys):
    """Of a run of one seed: a second seed, and the controls of both."""
    run.run(ready(folder, rounds=2, keep_tokens=2), tmp_path, tiny.Quiet())
    more = dict(rounds=2, keep_tokens=2, train_steps=2, evaluate_every=1)
    flags = [f"--out={tmp_path}", "--dry-run"]
    before = sorted(tmp_path.rglob("*"))
    assert tiny.call("prune", *tiny.arguments("gpt2", folder, **more), *flags) == 0
    assert "all 5 tickets and base lines are finished in" in capsys.readouterr().out
    assert tiny.call("prune", *tiny.arguments("gpt2", folder, seeds=2, **more), *flags, "--controls", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    left = {part["title"]: (part["tickets"], part["left"]) for part in facts["parts"]}
    assert left == {title: (2, 1) for title in ("round 0", "untrained prompt", "round 1", "round 2")} | {
        "controls": (24, 24),
        "no prompt": (1, 0),
    }
    assert facts["left"] == 28
    assert sorted(tmp_path.rglob("*")) == before


def test_a_cohort_that_was_begun_is_foreseen_and_named_whole(folder, tmp_path, trained, capsys):
    """Seeds 0 to 2 were trained side by side, so that asking for one of them goes on with all."""
    more = dict(rounds=1, keep_tokens=2, train_steps=2, evaluate_every=1)
    call = ["prune", *tiny.arguments("gpt2", folder, **more), f"--out={tmp_path}"]
    run.run(ready(folder, seeds="0,1,2"), tmp_path, tiny.Quiet(), prune=False)
    named = "seeds 0, 1, 2 (trained together, as the run was begun)"
    capsys.readouterr()
    assert tiny.call(*call, "--seeds=1", "--dry-run", "--json") == 0
    said = capsys.readouterr()
    assert named in said.err
    facts = json.loads(said.out)
    assert {part["title"]: part["left"] for part in facts["parts"] if part["left"]} == {"round 1": 3}
    trained.clear()
    assert tiny.call(*call, "--seeds=1") == 0
    assert trained == [3]
    assert named in capsys.readouterr().err


def test_base_lines_that_are_asked_for_later_are_left(folder, tmp_path, capsys):
    """Of the seeds that are asked for, whatever else their cohort holds."""
    run.run(ready(folder, seeds=3), tmp_path, tiny.Quiet(), prune=False)
    settings = SEARCH | dict(train_steps=2, evaluate_every=1, seeds=2, ceiling="lora", shots=2)
    call = ["tune", *tiny.arguments("gpt2", folder, **settings), f"--out={tmp_path}"]
    assert tiny.call(*call, "--dry-run", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert {part["title"]: part["left"] for part in facts["parts"] if part["left"]} == {
        "2 examples in context": 2, "LoRA (ceiling)": 2
    }  # fmt: skip
    assert all(part["minutes"] > 0 for part in facts["parts"] if part["left"])
    assert tiny.call(*call) == 0
    capsys.readouterr()
    assert tiny.call(*call, "--dry-run") == 0
    assert "nothing is left to do" in capsys.readouterr().out


def test_examples_in_context_take_as_long_as_their_rows_are(folder):
    prepared = ready(folder, shots=2)
    plain, shots = (part.row_tokens for part in baselines.parts(prepared))
    length = sum(row.length for row in (*prepared.rows[1], *prepared.rows[2])) / 24
    assert (plain, shots) == pytest.approx((length + 4, 3 * length + 4))


@pytest.mark.parametrize(
    "settings", tiny.at_night({"grid": "token", "halving": "true"}, {"grid": "rank"}, {"grid": "full"}, gate=2)
)
def test_nothing_is_left_of_a_finished_search(settings, folder, tmp_path):
    prepared = ready(folder, **settings)
    directory = run.search(prepared, tmp_path, tiny.Quiet(), controls=True)
    parts = dry_run.with_finished(dry_run.search_parts(prepared, True), directory, prepared, "search")
    assert sum(part.left for part in parts) == 0


# ---- minutes

PACE = Pace(update=1.0, evaluation=0.5, scoring=0.25, text_tokens=6.0, prompt_tokens=4)


def minutes(prepared, parts):
    return [spent.minutes for spent in cost.costs(parts, cost.Workload.of(prepared), PACE)]


def test_minutes_of_a_pruning_by_hand(folder):
    """6 updates of 1 s; 12 examples of validation at 0, 2, 4, 6 and 12 of test once, 0.5 s; 24 scored, 0.25 s."""
    prepared = ready(folder, train_steps=6, evaluate_every=2, rounds=1, keep_tokens=2, seeds=2)
    dense = (6 * 1.0 + (4 * 12 + 12) * 0.5 + 24 * 0.25) / 60
    untrained = (12 + 12) * 0.5 / 60
    shorter = (6 + 2) / (6 + 4)  # rows of 6 tokens of text, beside 2 of the prompt and not 4
    expected = [2 * dense, 2 * untrained, 2 * dense * shorter]
    assert minutes(prepared, dry_run.pruning_parts(prepared, False)) == pytest.approx(expected)


def test_minutes_of_a_search_by_hand(folder):
    """Trials are not scored; the one of 16 that is chosen for a seed is tested and scored."""
    prepared = ready(folder, train_steps=6, evaluate_every=2, grid="full", seeds=2)
    trial = (6 * 1.0 + 4 * 12 * 0.5) / 60
    chosen = (12 * 0.5 + 24 * 0.25) / 60
    assert minutes(prepared, dry_run.search_parts(prepared, False))[2] == pytest.approx(32 * trial + 2 * chosen)
    halved = ready(folder, train_steps=6, evaluate_every=2, grid="full", halving="true", seeds=2)
    # all cells make the first two updates, half of them the next two, a quarter the last two
    share = (2 + 2 / 2 + 2 / 4) / 6
    fewer = cost.costs(dry_run.search_parts(halved, False), cost.Workload.of(halved), PACE)[2]
    assert fewer.training == pytest.approx(32 * 6 * share / 60)


def test_tickets_stop_a_patience_after_their_first_evaluation_at_the_earliest(folder):
    workload = cost.Workload.of(ready(folder, train_steps=20, evaluate_every=2, patience=3))
    assert (workload.least().steps, workload.least().evaluations(1.0)) == (8, 5)
    short = cost.Workload.of(ready(folder, train_steps=6, evaluate_every=2, patience=3))
    assert short.least() == short


def test_eight_evaluations_halve_three_times(folder):
    prepared = ready(folder, train_steps=8, evaluate_every=1, grid="token", halving="true")
    *_, cells = dry_run.search_parts(prepared, False)
    assert cells.share == pytest.approx((1 + 1 / 2 + 2 / 4 + 4 / 8) / 8)


def test_timing_is_of_what_would_be_trained_and_looks_at_no_test(folder, monkeypatch):
    note = lambda cohort, model, data, plan: (len(cohort), len(data.train), len(data.validation))  # noqa: E731
    shapes = tiny.spied(monkeypatch, pace, "train", note)
    prepared = ready(folder, seeds=5, width=3)
    found = pace.measured(replace(prepared, test=()))
    assert shapes == [(1, 2, 1), (3, 4, 1)]  # a small one first, then three tickets on a batch of four
    assert (found.update > 0, found.evaluation > 0, found.scoring > 0) == (True, True, True)
    assert (found.rows, found.prompt_tokens) == (12, 4)
    monkeypatch.setattr(pace, "_PATIENCE", 0.0)
    assert pace.measured(replace(prepared, test=())).rows == 4  # where even two are slow, no more than four are tried


@pytest.mark.parametrize("token_seconds", [1e-6, 1e-4, 1.0])
def test_a_slow_machine_is_timed_on_few_rows_and_foreseen_as_a_quick_one(token_seconds, folder, monkeypatch):
    """On a clock that goes on with the tokens read: four rows of a batch, each with a prompt of four."""
    clock = [0.0]

    def train(cohort, model, data, plan, tick):
        data.measure([])
        for step in range(plan.train_steps):
            longest = max(row.length for row in data.train)
            clock[0] += token_seconds * len(cohort) * len(data.train) * (longest + 4)
            tick(step + 1)

    monkeypatch.setattr(pace, "train", train)
    monkeypatch.setattr(pace.time, "perf_counter", lambda: clock[0])
    prepared = ready(folder, seeds=3)
    rows = sorted(row.length for row in prepared.rows[0])
    padded = [4 * (rows[start + 3] + 4) for start in range(0, 24, 4)]  # each batch as long as its longest
    found = pace.measured(prepared)
    assert found.update == pytest.approx(token_seconds * sum(padded) / 6)
    assert found.scoring == pytest.approx(found.update / 4)
    assert found.rows == {1e-6: 12, 1e-4: 12, 1.0: 4}[token_seconds]


def test_the_table_for_people(folder, tmp_path, capsys):
    out = tmp_path / "runs"
    assert tiny.call("search", *tiny.arguments("gpt2", folder, **SEARCH), f"--out={out}", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "minutes at most" in said
    row = next(line for line in said.splitlines() if line.startswith("token ratios"))
    assert row.split()[2:6] == ["4", "to", "1", "4"]
    assert said.splitlines()[-1].startswith("at most ")
    assert not out.exists()


@pytest.mark.parametrize(("position", "reads"), [("first", "whole"), ("suffix", "answer"), ("prefix-kv", "text")])
def test_only_tokens_that_go_through_the_layers_are_counted(position, reads, folder):
    prepared = ready(folder, position=position)
    if position == "suffix":
        assert prepared.model.caches_texts
    found = pace.measured(prepared)
    texts = sum(row.length for row in prepared.rows[0]) / len(prepared.rows[0])
    answers = sum(row.length - len(row.text) for row in prepared.rows[0]) / len(prepared.rows[0])
    assert found.text_tokens == pytest.approx(answers if reads == "answer" else texts)
    assert found.prompt_tokens == (0 if reads == "text" else 4)
    assert (found.shortened(1) < 1) == (reads != "text")


def test_a_prompt_that_is_read_once_is_cheap_to_train_and_not_to_score(folder, monkeypatch):
    prepared = ready(folder)
    assert pace.measured(prepared).prompt_rows == 1  # a small model reads whole rows
    monkeypatch.setattr(base, "_STARTING", 0)
    monkeypatch.setattr(base, "_READING", 1)
    found = pace.measured(prepared)
    size, tokens, texts = 4, 4, found.text_tokens
    spared = (size - 1) * tokens - 1
    assert found.prompt_rows == pytest.approx(1 - spared / (size * tokens))
    assert found.shortened(0) == pytest.approx(texts / (texts + tokens * found.prompt_rows))
    whole = texts + tokens
    assert found.scoring == pytest.approx(found.update / size * whole / (whole - spared / size))


def test_reading_is_foreseen_for_every_text_though_one_brings_others(folder, monkeypatch):
    clock, prepared = [0.0], ready(folder, position="suffix")
    inner = prepared.model._read_together

    def read(texts):
        clock[0] += len(texts)  # a second each
        return inner(texts)

    monkeypatch.setattr(prepared.model, "_read_together", read)
    monkeypatch.setattr(pace.time, "perf_counter", lambda: clock[0])
    groups = [row.group.texts for row in prepared.training_data.validation]
    assert len(groups[0]) > 1
    assert pace.measured(prepared).reading == pytest.approx(sum(map(len, prepared.rows)), rel=0.25)
