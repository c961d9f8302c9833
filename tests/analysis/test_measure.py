import json
import math
import shutil
from pathlib import Path

import pandas as pd
import pytest
import tiny
from tiny import call

import prunekit as pk
from prunekit.analysis import measure, tables
from prunekit.cli.score import print_scores
from prunekit.engine import ablation
from prunekit.experiment.reopen import changed_settings
from prunekit.runs.round_files import open_ticket
from prunekit.runs.ticket_file import save_ticket
from prunekit.support import terminal


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run on the tiny encoder-decoder: dense and two pruned rounds."""
    folder = tmp_path_factory.mktemp("tiny")
    return tiny.finished("t5", folder, folder / "out")


def scored(capsys, *arguments):
    capsys.readouterr()
    assert call("score", *arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def dense(made):
    return made[0].path / "seed=0" / "round=00"


def pruned(made):
    return next(made[0].path.glob("prune-*")) / "seed=0" / "round=02"


def test_leave_one_out_is_the_library_s_and_is_written(made, capsys):
    facts = scored(capsys, dense(made))
    prepared = made[1]
    wanted = ablation.leave_one_out(open_ticket(dense(made)), prepared.model, prepared.training_data.validation)
    assert [one["score"] for one in facts["units"]] == pytest.approx(wanted.costs.mean(dim=1).tolist(), abs=1e-6)
    assert (facts["kind"], facts["level"], facts["split"], facts["examples"]) == (
        "leave-one-out",
        "token",
        "validation",
        12,
    )
    assert all(one["kept"] for one in facts["units"])
    (table,) = made[0].path.glob("score-*/seed=0/round=00/importance.parquet")
    assert len(pd.read_parquet(table)) == 4


def test_the_library_returns_what_the_verb_prints_and_prints_nothing(made, capsys):
    facts = scored(capsys, pruned(made), "--kind=shapley")
    importance = pk.score(pruned(made), kind="shapley", quiet=True)
    assert capsys.readouterr() == ("", "")
    assert importance.facts | {"units": terminal.records(importance.table)} == facts
    ticket = pk.Ticket.load(pruned(made))  # in memory nobody knows where it lies, and nothing is written
    again = pk.score(ticket, kind="shapley", quiet=True)
    assert again.folder is None
    pd.testing.assert_frame_equal(again.table, importance.table)


def test_a_dropped_unit_has_no_score(made, capsys):
    for level, kept, units in (("token", 2, 4), ("piece", 4, 16)):
        rows = scored(capsys, pruned(made), f"--level={level}")["units"]
        assert len(rows) == units
        assert sum(one["kept"] for one in rows) == kept
        assert all((one["score"] is None) is (not one["kept"]) for one in rows)


def test_shapley_values_sum_to_what_the_prompt_is_worth(made, capsys):
    facts = scored(capsys, dense(made), "--kind=shapley")
    total = sum(one["score"] for one in facts["units"])
    assert total == pytest.approx(facts["loss_without_prompt"] - facts["loss"], abs=1e-5)
    assert facts["permutations"] == 0  # four tokens: every subset is looked at
    assert facts["evaluations"] == 16


def test_gradient_scores_are_those_of_the_round(made, capsys):
    from prunekit.runs.paths import RunKey
    from prunekit.runs.round_files import load_scores

    facts = scored(capsys, dense(made), "--kind=absolute", "--level=piece")
    wanted = load_scores(made[0], RunKey("", 0, 0))["absolute"].piece.flatten().tolist()
    assert [one["score"] for one in facts["units"]] == pytest.approx(wanted, rel=1e-5)
    assert (facts["split"], facts["examples"]) == ("train", 24)


def test_scores_are_measured_once(made, capsys, monkeypatch):
    first = scored(capsys, dense(made), "--kind=magnitude")
    monkeypatch.setattr(measure, "_measured", tiny.refuse)
    assert scored(capsys, dense(made), "--kind=magnitude") == first


def test_on_another_task_it_is_another_measurement_which_tables_name(made, capsys):
    run, prepared = made
    own = scored(capsys, dense(made), "--examples=10")
    assert call("score", dense(made), "--examples=10", "--validation-examples=7") == 2
    said = capsys.readouterr().err
    assert "data validation 12 rows" in said and "-> 7 rows" in said and "--allow-changed" in said
    few = scored(capsys, dense(made), "--examples=10", "--validation-examples=7", "--allow-changed")
    assert (own["examples"], few["examples"]) == (10, 7)
    assert few["changed"] == {"task.validation_examples": 7}
    assert scored(capsys, dense(made), "--examples=10") == own
    elsewhere = tmp_copy(prepared.experiment.task.data)
    assert scored(capsys, dense(made), "--examples=10", f"--data={elsewhere}") == own
    first, second = ({"model_revision": f"{name}/b"} for name in ("a", "c"))
    assert changed_settings(run, first) == {"model.revision": "a/b"} != changed_settings(run, second)
    found = tables.measured([run])
    assert 7 not in set(found["examples"])
    assert set(tables.measured([run], {"task.validation_examples": 7})["examples"]) == {7}


def test_a_measurement_on_a_part_of_a_split_is_never_shown_as_the_runs_own(made, capsys):
    run, _ = made
    few, whole = (scored(capsys, pruned(made), *more, "--kind=shapley") for more in (["--examples=5"], []))
    assert (few["examples"], few["rows"]) == (5, 12)
    assert (whole["examples"], whole["rows"]) == (12, 12)
    assert scored(capsys, pruned(made), "--kind=shapley") == whole
    found = tables.measured([run])
    mine = found[(found["round"] == 2) & (found["kind"] == "shapley")]
    assert set(mine["examples"]) == {12}
    assert 5 in set(tables.measured([run], partial=True)["examples"])


def test_a_task_edited_in_its_place_is_another_measurement(made, capsys):
    run, prepared = made
    own = scored(capsys, dense(made), "--kind=absolute")
    file = Path(prepared.experiment.task.name)
    text = file.read_text()
    try:
        file.write_text(text.replace('good = "good"\nbad = "bad"', 'good = "bad"\nbad = "good"'))
        assert call("score", dense(made), "--kind=absolute") == 2
        assert 'task choices ["good","bad"] -> ["bad","good"]' in capsys.readouterr().err
        other = scored(capsys, dense(made), "--kind=absolute", "--allow-changed")
    finally:
        file.write_text(text)
    assert other["differs"] == ['task choices ["good","bad"] -> ["bad","good"]']
    assert other["digests"]["task"] != own["digests"]["task"]
    assert other["digests"]["model"] == own["digests"]["model"]
    assert [one["score"] for one in other["units"]] != [one["score"] for one in own["units"]]
    assert scored(capsys, dense(made), "--kind=absolute") == own
    table = tables.measured([run])
    assert len(table[(table["kind"] == "absolute") & (table["level"] == "token") & (table["round"] == 0)]) == 4


def tmp_copy(folder):
    """The same folder under a path of its own."""
    key = Path(folder).parent / "elsewhere" / Path(folder).name
    shutil.copytree(folder, key)
    return key


def test_scores_do_not_enter_the_results_of_tickets(made, capsys):
    before = len(made[0].results())
    scored(capsys, dense(made), "--kind=random")
    assert len(made[0].results()) == before
    assert made[0].verify() > 0
    assert call("runs", "show", made[0].path) == 0
    assert "score-" not in capsys.readouterr().out


def test_negative_units_are_looked_at_once_on_test(made, capsys, monkeypatch):
    looks = []
    real = ablation.leave_one_out

    def harmful(ticket, model, examples, level="token", *, only=None, tick=lambda done: None):
        looks.append(None if only is None else only.nonzero().flatten().tolist())
        found = real(ticket, model, examples, level, only=only, tick=tick)
        found.without_losses[:] = found.losses + 1.0
        found.without_losses[2] = found.losses - 1.0 - 0.01 * found.losses  # token 2 does harm
        found.without_losses[1, 0] = found.losses[0] - 100  # token 1 on one example, which may be chance
        return found

    monkeypatch.setattr(measure.ablation, "leave_one_out", harmful)
    facts = scored(capsys, dense(made), "--examples=11")
    assert looks == [None, [2]]
    assert (facts["negative"], facts["confirmed"], facts["test_examples"]) == (1, 1, 11)
    rows = facts["units"]
    assert [one["negative"] for one in rows] == [False, False, True, False]
    assert [one["confirmed"] for one in rows] == [None, None, True, None]
    assert rows[2]["test_cost"] == pytest.approx(rows[2]["score"], abs=0.5)
    assert call("score", dense(made), "--examples=11") == 0
    shown = capsys.readouterr().out
    assert "1 of 4 are negative: leaving them out lowers the loss (Holm, 5 %), by 1." in shown
    assert looks == [None, [2]]  # shown from what was written


def test_a_ticket_file_is_scored_and_nothing_is_written(made, tmp_path, capsys):
    file = tmp_path / "mine.safetensors"
    save_ticket(open_ticket(dense(made)), file)
    task = made[1].experiment.task
    capsys.readouterr()
    assert call("score", file, f"--task={task.name}", f"--data={task.data}", "--kind=magnitude") == 0
    assert "magnitude per token on 24 examples of train" in capsys.readouterr().out
    assert sorted(tmp_path.iterdir()) == [file]


def test_many_pieces_are_cut_for_the_screen_and_whole_in_the_file(capsys):
    table = pd.DataFrame({"token": range(60), "kept": True, "score": [math.sin(i) for i in range(60)]})
    print_scores(table, {"kind": "random", "level": "token", "split": "train", "examples": 1})
    shown = capsys.readouterr().out
    assert "the 20 best and the 20 worst of 60 are shown" in shown
    assert sum(line.strip()[:1].isdigit() for line in shown.splitlines()) == 40


@pytest.mark.parametrize(("epochs", "lines"), [(0.0, 0), (4.0, 1)])
def test_work_is_said_where_there_was_some(capsys, epochs, lines):
    table = pd.DataFrame({"token": [0], "kept": True, "score": [1.0]})
    print_scores(table, {"kind": "movement", "level": "token", "split": "train", "examples": 1, "epochs": epochs})
    assert capsys.readouterr().out.count("as much work as") == lines


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        (
            "--kind=gradient",
            "--kind = 'gradient': use one of absolute, signed, squared, magnitude, random, integrated, "
            "second-order, margin, attention, movement, hard-concrete, straight-through, elimination, "
            "leave-one-out, shapley",
        ),
        ("--level=word", "--level = 'word': use one of token, piece"),
        ("--kind=shapley --permutations=3", "permutations = 3: orders come in pairs"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(made, capsys, flag, said):
    capsys.readouterr()
    assert call("score", dense(made), *flag.split()) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert said in lines[-1]
