import json
from dataclasses import replace

import pytest
import tiny

from prunekit.cli import main
from prunekit.experiment import dry_run, round_runner, run
from prunekit.experiment.prepare import prepare

SEARCH = dict(rounds=None, keep_tokens=None)


def ready(folder, **more):
    return prepare(tiny.experiment("gpt2", folder, **(SEARCH | dict(train_steps=2, evaluate_every=1) | more)))


def tickets(parts):
    return {part.title: part.tickets for part in parts}


def foreseen(folder, tmp_path, capsys, verb, *flags, **more):
    """What `--dry-run --json` says; nothing was written."""
    out = tmp_path / "runs"
    with pytest.raises(SystemExit) as ended:
        main.main([verb, *tiny.arguments("gpt2", folder, **more), f"--out={out}", "--dry-run", "--json", *flags])
    assert ended.value.code == 0
    assert not out.exists()
    return json.loads(capsys.readouterr().out)


# ---- counts


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
    ],
)
def test_the_cells_of_a_search_are_counted(settings, controls, cells, folder):
    prepared = ready(folder, prompt_tokens=20, pieces=16, seeds=3, **settings)
    found = tickets(dry_run.search_parts(prepared, controls))
    assert found == {title: 3 * count for title, count in ({"round 0": 1} | cells).items()}


def test_a_dry_run_of_a_search_says_so_and_writes_nothing(folder, tmp_path, capsys):
    more = SEARCH | dict(prompt_tokens=20, pieces=16, seeds=3)
    facts = foreseen(folder, tmp_path, capsys, "search", **more)
    assert {part["title"]: part["tickets"] for part in facts["parts"]} == {
        "round 0": 3, "token ratios": 30, "piece ratios": 27,
    }  # fmt: skip
    assert facts["minutes"] == pytest.approx(sum(part["minutes"] for part in facts["parts"]))
    assert facts["minutes"] > 0
    assert facts["memory_mb"] > 100


def test_parts_say_what_is_kept(folder, tmp_path, capsys):
    facts = foreseen(folder, tmp_path, capsys, "search", "--controls", **SEARCH)
    assert [(part["title"], part["tokens"], part["pieces"]) for part in facts["parts"]] == [
        ("round 0", "4", "4"),
        ("token ratios", "4 to 1", "4"),
        ("piece ratios", "as chosen", "3 to 1"),
        ("piece-only row", "4", "3 to 1"),
        ("controls", "as chosen", "as chosen"),
    ]


@pytest.fixture
def trained(monkeypatch):
    """How many tickets were trained, round by round."""
    seen = []
    real = round_runner.train

    def train(tickets, *more, **options):
        seen.append(len(tickets))
        return real(tickets, *more, **options)

    monkeypatch.setattr(round_runner, "train", train)
    return seen


@pytest.mark.parametrize(
    ("settings", "controls"),
    [
        ({"grid": "full"}, False),
        ({"halving": "true", "rewind": "reinit"}, True),
        pytest.param({}, True, marks=pytest.mark.slow),
        pytest.param({"rewind": "init"}, True, marks=pytest.mark.slow),
    ],
)
def test_a_search_trains_what_was_foreseen(settings, controls, folder, tmp_path, trained):
    prepared = ready(folder, **settings)
    foretold = sum(part.tickets for part in dry_run.search_parts(prepared, controls))
    run.search(prepared, tmp_path, tiny.Quiet(), controls=controls)
    assert sum(trained) == foretold + 1  # the base line of the untrained prompt


@pytest.mark.parametrize(("rewind", "arms"), [("trained", 12), ("init", 5), ("reinit", 4)])
def test_a_pruning_trains_what_was_foreseen(rewind, arms, folder, tmp_path, trained):
    prepared = ready(folder, rounds=2, keep_tokens=2, rewind=rewind)
    parts = dry_run.pruning_parts(prepared, True)
    assert tickets(parts) == {"round 0": 1, "round 1": 1, "round 2": 1, "controls": arms}
    run.run(prepared, tmp_path, tiny.Quiet(), controls=True)
    assert sum(trained) == sum(part.tickets for part in parts) + 1


def test_a_pruning_without_rounds_or_controls_has_no_such_part(folder):
    assert tickets(dry_run.pruning_parts(ready(folder, rounds=2, keep_tokens=2, seeds=2), False)) == {
        "round 0": 2, "round 1": 2, "round 2": 2,
    }  # fmt: skip
    assert tickets(dry_run.pruning_parts(ready(folder, rounds=0), True)) == {"round 0": 1}


# ---- minutes


def test_minutes_by_hand(folder, monkeypatch):
    """6 updates of a second; 12 examples of validation evaluated at 0, 2, 4, 6 and 12 of test once, half a second."""
    prepared = ready(folder, train_steps=6, evaluate_every=2, grid="full", halving="true", seeds=2)
    monkeypatch.setattr(dry_run, "timed", lambda prepared: (1.0, 0.5))
    parts = dry_run.search_parts(prepared, True)
    each = (6 * 1.0 + (4 * 12 + 12) * 0.5) / 60
    # all cells make the first two updates, half of them the next two, a quarter the last two
    share = (2 + 2 / 2 + 2 / 4) / 6
    assert dry_run.minutes(prepared, parts) == pytest.approx([2 * each, 32 * each * share, 14 * each])
    # without --halving no cell is dropped
    whole = ready(folder, train_steps=6, evaluate_every=2, grid="full", seeds=2)
    assert dry_run.minutes(whole, dry_run.search_parts(whole, False)) == pytest.approx([2 * each, 32 * each])


def test_eight_evaluations_halve_three_times(folder):
    prepared = ready(folder, train_steps=8, evaluate_every=1, grid="token", halving="true")
    _, cells = dry_run.search_parts(prepared, False)
    assert cells.share == pytest.approx((1 + 1 / 2 + 2 / 4 + 4 / 8) / 8)


def test_timing_takes_a_few_updates_of_a_few_members_and_looks_at_no_report(folder, monkeypatch):
    asked = []
    real = dry_run.train

    def train(cohort, model, data, plan):
        asked.append((len(cohort), len(data.validation), plan.train_steps))
        return real(cohort, model, data, plan)

    monkeypatch.setattr(dry_run, "train", train)
    prepared = replace(ready(folder, seeds=5, width=3), test=None)
    update, evaluation = dry_run.timed(prepared)
    assert asked == [(3, 12, 3)]
    assert update >= 0
    assert evaluation > 0


def test_the_table_for_people(folder, tmp_path, capsys):
    out = tmp_path / "runs"
    with pytest.raises(SystemExit) as ended:
        main.main(["search", *tiny.arguments("gpt2", folder, **SEARCH), f"--out={out}", "--dry-run"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "minutes at most" in said
    row = next(line for line in said.splitlines() if line.startswith("token ratios"))
    assert row.split()[2:6] == ["4", "to", "1", "4"]
    assert said.splitlines()[-1].startswith("at most ")
    assert not out.exists()
