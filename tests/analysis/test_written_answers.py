"""Answers that are on record: intervals over rows, worst first, and what is said of them, on a run of a tiny model."""

import numpy as np
import pytest
import tiny

import prunekit as pk
from prunekit.analysis import written_answers
from prunekit.cli.eval import print_written
from prunekit.cli.rounds import print_run
from prunekit.experiment import run as experiment
from prunekit.experiment.prepare import prepare
from prunekit.runs.paths import BASELINES, DENSE, RunKey
from prunekit.support import terminal
from prunekit.tasks import read_rows


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    prepared = prepare(tiny.experiment("llama", folder, task="swap", seeds=2, rounds=1))
    watch = tiny.Quiet()
    return experiment.run(prepared, folder / "runs", watch), prepared, watch


def test_loss_chooses_while_a_prompt_trains_and_answers_are_written_when_it_has_ended(made):
    run, _, watch = made
    assert watch.lines.count("validation") == watch.lines.count("test") == 3  # dense, round 1, untrained prompt
    assert any(line.startswith("round 1: 2 tokens x 2 pieces, validation loss ") for line in watch.lines)
    result = run.result(RunKey(DENSE, 0, 0))
    assert set(result["validation"]) == set(result["test"]) == {"squad_f1", "squad_exact_match", "loss"}
    log = run.table(RunKey(DENSE, 0, 0), "log.parquet")
    validation = log[(log["split"] == "validation") & (log["metric"] == "loss")].set_index("step")["value"]
    assert result["validation"]["loss"] == pytest.approx(validation[1:].min(), rel=1e-5)
    assert result["kept_step"] == validation[1:].idxmin()


def test_what_is_on_record_gives_the_metrics_again(made):
    run, prepared, _ = made
    for key in [RunKey(DENSE, 1, 0), RunKey(BASELINES.inside("no-prompt"), 0, 0)]:
        table = run.table(key, "predictions.parquet")
        rows = table[table["split"] == "test"]
        metrics = prepared.task.score(prepared.splits.test, list(rows["answer"]))
        metrics["loss"] = rows["loss"].mean()
        reached = run.result(key)["test"] if key.stage == DENSE else run.facts(key, "facts.json")["test"]
        assert reached == pytest.approx(metrics)
        assert np.array(rows["squad_f1"].tolist())[:, 0].mean() == pytest.approx(metrics["squad_f1"])


def test_intervals_are_of_rows_whose_seeds_stay_together(made):
    run, _, _ = made
    (stage,) = (stage for stage in run.stages() if stage.is_pruned)
    table = written_answers.over_rows(run, stage).set_index("label")
    assert set(table.index) == {"no prompt", "written instruction", "untrained prompt", "dense", "round 1 (2 x 2)"}
    assert list(table["seeds"]) == [1 if "no prompt" in label or "instr" in label else 2 for label in table.index]
    tables = {seed: run.table(RunKey(DENSE, seed, 0), "predictions.parquet") for seed in (0, 1)}
    bare = run.table(RunKey(BASELINES.inside("no-prompt"), 0, 0), "predictions.parquet")
    losses = [part.loc[part["split"] == "test", "loss"].to_numpy() for part in (*tables.values(), bare)]
    dense = table.loc["dense"]
    assert written_answers.row_interval(run, DENSE, 0) == (dense["low"], dense["high"], dense["rows"])
    less = (losses[0] + losses[1]) / 2 - losses[2]
    assert dense["less_loss"] == pytest.approx(less.mean())
    reach = 1.96 * less.std(ddof=1) / len(less) ** 0.5  # as a normal interval has it, within a fifth
    assert dense["less_high"] - less.mean() == pytest.approx(reach, rel=0.25)
    assert less.mean() - dense["less_low"] == pytest.approx(reach, rel=0.25)
    assert (table["low"] <= table["metric"]).all()
    assert (table["metric"] <= table["high"]).all()


@pytest.mark.parametrize(
    ("less", "words"),
    [
        ((-0.2, -0.3, -0.1), "is better than no prompt by its loss: -0.200 [-0.300, -0.100]"),
        ((-0.2, -0.5, 0.1), "not learning: the dense prompt is not shown to be better"),
        ((0.2, 0.1, 0.3), "not learning"),
    ],
)
def test_a_prompt_that_is_not_shown_to_beat_no_prompt_is_said_to_learn_nothing(made, less, words):
    run, _, _ = made
    (stage,) = (stage for stage in run.stages() if stage.is_pruned)
    table = written_answers.over_rows(run, stage)
    table.loc[table["label"] == "dense", ["less_loss", "less_low", "less_high"]] = less
    assert words in written_answers.loss_sentence(table)


def test_answers_stand_side_by_side_the_tickets_worst_first(made):
    run, prepared, _ = made
    (stage,) = (stage for stage in run.stages() if stage.is_pruned)
    table = written_answers.side_by_side(run, stage, 1, most=5)
    assert list(table["value"]) == sorted(table["value"])
    assert len(table) == 5
    by_text = {example.text: example for example in prepared.splits.test}
    for row in table.to_dict("records"):
        example = by_text[row["text"]]
        assert tuple(row["references"]) == example.references
        assert prepared.task.row_statistics([example], [row["ticket"]])["squad_f1"][0, 0] == row["value"]


def test_answers_without_an_end_are_counted(made):
    run, _, _ = made
    tables = [run.table(RunKey(DENSE, seed, 0), "predictions.parquet") for seed in (0, 1)]
    count = sum((part.loc[part["split"] == "test", "ended"] == "length").sum() for part in tables)
    assert written_answers.unended_sentence(run).startswith(f"{count} of 24 answers")


def test_predict_and_eval_answer_as_the_run_did(made, tmp_path):
    import prunekit as pk

    run, prepared, _ = made
    questions = [{"sentence": example.fields["sentence"]} for example in prepared.splits.test]
    answers = pk.predict(f"{run.path}@dense", questions, quiet=True)
    table = run.table(RunKey(DENSE, 0, 0), "predictions.parquet")
    rows = table[table["split"] == "test"]
    assert [answer["answer"] for answer in answers] == list(rows["answer"])
    assert [answer["ended"] for answer in answers] == list(rows["ended"])
    assert set(answers[0]) == {"index", "answer", "score", "tokens", "ended"}
    assert all(answer["score"] < 0 for answer in answers)
    metrics = pk.evaluate(f"{run.path}@dense", quiet=True)
    assert metrics["squad_f1"] == pytest.approx(run.result(RunKey(DENSE, 0, 0))["test"]["squad_f1"])
    assert read_rows(questions, prepared.task)[0].open


@pytest.mark.parametrize("width", [120, 60, 40])
def test_every_metric_of_the_task_is_printed_or_named_as_left_out(made, width, capsys, monkeypatch):
    run, _, _ = made
    monkeypatch.setattr(terminal, "_PLAIN_WIDTH", width)
    print_run(run, 0.01)
    _, _, after = capsys.readouterr().out.partition("every metric of the task on test, 95 % intervals over rows\n")
    head, *lines = after.splitlines()
    (stage,) = (stage for stage in run.stages() if stage.is_pruned)
    names = written_answers.metrics_of(run)
    assert names == ["squad_f1", "squad_exact_match"]
    (dense,) = (line for line in lines if line.startswith("dense "))
    for name in (name for name in names if name in head):
        row = written_answers.over_rows(run, stage, name).set_index("label").loc["dense"]
        assert f"{row['metric']:.3f}" in dense
    if left_out := [name for name in names if name not in head]:
        assert width == 40 and f"left out, since the terminal is 40 wide: {', '.join(left_out)}" in lines
    assert max(map(len, [head, dense])) <= width


def test_a_ticket_is_evaluated_by_every_metric_with_its_interval_over_rows(made, capsys):
    run, prepared, _ = made
    facts = pk.evaluate(run.path / "seed=0" / "round=00", quiet=True)
    assert set(facts["intervals"]) == set(prepared.task.metrics)
    answers = run.table(RunKey(DENSE, 0, 0), "predictions.parquet")
    exact = np.array(answers.loc[answers["split"] == "test", "squad_exact_match"].tolist())[:, 0]
    drawn = np.random.default_rng(1).choice(exact, (5000, len(exact))).mean(axis=1)  # other draws of the same rows
    assert facts["intervals"]["squad_exact_match"] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.1)
    assert all(low <= facts[name] <= high for name, (low, high) in facts["intervals"].items())
    print_written(facts, facts["intervals"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[3:]] == [*prepared.task.metrics, "loss"]
