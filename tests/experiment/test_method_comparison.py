import json
from math import isnan, nan

import pandas as pd
import pytest
import tiny

import prunekit as pk
from prunekit.cli.compare import print_rates
from prunekit.experiment import learning_rate, method_comparison, round_runner
from prunekit.experiment.method_comparison import FACTORS, factors_of, methods_of, summarise
from prunekit.plots.figure import LackingError
from prunekit.plots.run_choice import dense_prompts
from prunekit.runs.snapshot import Snapshot
from prunekit.support.errors import ConfigError


def called(folder, out, *more, kind="gpt2", code=0, **settings):
    given = dict(rounds=None, keep_tokens=None, keep_pieces=None, learning_rate=None, rank=2, bottleneck=8, seeds=2)
    assert tiny.call("compare", *tiny.arguments(kind, folder, **(given | settings)), f"--out={out}", *more) == code


# ---- what is asked for


def test_methods_are_named_in_any_order():
    assert methods_of("dpt, direct") == ("direct", "dpt")
    assert methods_of(None) == ()
    with pytest.raises(ConfigError, match='--methods: there is no "lora"; choose of direct, dpt'):
        methods_of("direct,lora")


def test_rates_are_positive_multiples():
    assert factors_of("3,0.5") == (0.5, 3.0)
    assert factors_of(None) == FACTORS
    for wrong in ("", "0,1", "a", "inf", "-1", "nan"):
        with pytest.raises(ConfigError, match=r"--learning-rates .*: give multiples of each method's own rate"):
            factors_of(wrong)


# ---- the table


def training(method="dpt", rate=0.1, seed=0, chosen=True, test=0.5, status="done", **more):
    facts = dict(task="t", method=method, parameters=7, head_parameters=0, rate=rate, seed=seed, status=status)
    return facts | dict(chosen=chosen, updates=10, validation=0.8, test=test, majority=0.3) | more


def test_a_method_is_judged_at_its_chosen_rate_alone():
    rows = [training(seed=seed, test=0.5 + 0.1 * seed) for seed in range(3)]
    rows += [training(rate=0.2, seed=seed, chosen=False, test=nan, validation=0.1) for seed in range(3)]
    (found,) = summarise(pd.DataFrame(rows), [2.5]).to_dict("records")
    assert (found["rate"], found["seeds"], found["updates"], found["seconds"]) == (0.1, 3, 10, 2.5)
    assert found["test"] == pytest.approx(0.6)
    assert found["low"] == pytest.approx(0.6 - 4.302652729911275 * 0.1 / 3**0.5)
    assert found["high"] == pytest.approx(0.6 + 4.302652729911275 * 0.1 / 3**0.5)
    assert found["validation"] == pytest.approx(0.8)


def test_one_seed_has_no_interval_and_a_method_that_diverged_no_figure():
    rows = [training(), training(method="ulpt", chosen=False, test=nan, status="diverged")]
    one, none = summarise(pd.DataFrame(rows), [1.0, nan]).to_dict("records")
    assert isnan(one["low"])
    assert none["seeds"] == 0
    assert isnan(none["rate"])
    assert isnan(none["test"])


# ---- the command


def test_methods_are_compared_on_disk_and_on_screen_and_it_resumes(folder, tmp_path, capsys, monkeypatch):
    called(folder, tmp_path, "--methods=direct,dpt", "--learning-rates=0.5,2")
    shown = capsys.readouterr().out
    assert "accuracy at the rate chosen on validation" in shown
    assert "always the most common answer: test accuracy 0.500" in shown
    (written,) = tmp_path.glob("methods-*")
    table = pd.read_parquet(written / "results.parquet")
    assert len(table) == 2 * 2 * 2
    assert list(dict.fromkeys(table["method"])) == ["direct", "dpt"]
    assert set(table["factor"]) == {0.5, 2.0}
    assert (table["test"].notna() == table["chosen"]).all()
    assert (table.groupby("method")["chosen"].sum() == 2).all()
    before = tiny.contents(tmp_path)
    monkeypatch.setattr(round_runner, "train", tiny.refuse)
    called(folder, tmp_path, "--methods=direct,dpt", "--learning-rates=0.5,2", "--json")
    assert tiny.contents(tmp_path) == before
    found = json.loads(capsys.readouterr().out)
    assert [one["method"] for one in found["methods"]] == ["direct", "dpt"]
    assert found["methods"][0]["parameters"] == 4 * 32
    assert found["methods"][0]["seconds"] > 0
    assert len(found["trainings"]) == 8


def test_methods_that_diverged_at_every_rate_are_shown_beside_the_others(folder, tmp_path, capsys, monkeypatch):
    def rates(rate, factors):
        return {rate * factor * (1e30 if rate == 0.1 else 1): factor for factor in factors}

    monkeypatch.setattr(method_comparison, "grid", rates)
    monkeypatch.setattr(learning_rate, "grid", rates)
    for _ in range(2):
        called(folder, tmp_path, "--methods=direct,dpt", "--learning-rates=1", code=1)
        shown = capsys.readouterr()
        lines = {line.split()[0]: line.split() for line in shown.out.splitlines() if line}
        assert lines["dpt"][2:] == ["diverged", "0"]
        assert lines["direct"][3] == "2"
        assert shown.err.splitlines()[-1] == (
            "prunekit: no training of dpt came to its end; try smaller factors with --learning-rates"
        )


def test_rates_at_which_trainings_diverged_have_no_figure_and_are_no_end_to_go_beyond(capsys):
    """What diverged keeps an earlier checkpoint, here of a better loss than any that came to its end."""
    rows = [training(factor=factor, validation=0.5 + factor / 10) for factor in (0.5, 1.0)]
    rows += [training(factor=factor, validation=1.0, status="diverged") for factor in (2.0, 4.0)]
    rows += [training(method="ulpt", factor=factor, status="diverged") for factor in (0.5, 1.0, 2.0, 4.0)]
    print_rates(pd.DataFrame(rows), "accuracy")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["dpt", "0.550", "0.600"] in lines
    assert ["ulpt"] in lines
    assert not any("best" in line for line in lines)


def test_a_method_that_diverged_at_all_rates_but_the_smallest_is_best_at_an_end(capsys):
    rows = [training(factor=factor, status="done" if factor == 0.5 else "diverged") for factor in (0.5, 1.0, 2.0)]
    print_rates(pd.DataFrame(rows), "accuracy")
    assert "best at an end of its sweep: dpt" in capsys.readouterr().out


def test_seeds_that_a_run_trains_together_are_counted_and_named(folder, tmp_path, capsys):
    called(folder, tmp_path, "--methods=direct", "--learning-rates=1")
    capsys.readouterr()
    called(folder, tmp_path, "--methods=direct", "--learning-rates=2", "--dry-run", "--json", seeds=1)
    said = capsys.readouterr()
    assert "each for seeds 0, 1 at 2 x" in said.err
    assert [part["trainings"] for part in json.loads(said.out)["parts"]] == [2]


def test_a_run_of_it_can_be_shown_by_itself(folder, tmp_path, capsys):
    called(folder, tmp_path, "--methods=direct", "--learning-rates=1")
    capsys.readouterr()
    (run,) = tmp_path.glob("toy-*")
    assert tiny.call("runs", "show", run) == 0
    assert "rates-" in capsys.readouterr().out


@pytest.mark.slow  # it tries all methods
def test_all_that_can_be_is_compared_by_default_and_a_dry_run_writes_nothing(folder, tmp_path, capsys):
    called(folder, tmp_path, "--dry-run", "--json", train_steps=1)
    captured = capsys.readouterr()
    parts = json.loads(captured.out)["parts"]
    assert [part["method"] for part in parts] == [
        "direct", "dpt", "residual", "dept", "adept", "ept", "bilinear", "structured", "ulpt", "singular"
    ]  # fmt: skip
    assert all(part["trainings"] == 2 * len(FACTORS) for part in parts)
    assert "intrinsic is left out: it needs --subspace-from" in captured.err
    assert not list(tmp_path.iterdir())


def test_a_method_that_cannot_be_is_named(folder, tmp_path, capsys):
    called(folder, tmp_path, "--methods=direct,dpt", rank=99, code=2)
    assert "dpt: rank = 99 (as asked) is more than this prompt can use" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_null_of_training_is_another_comparison(folder, tmp_path, capsys):
    called(folder, tmp_path, "--methods=direct", "--learning-rates=1", "--labels=shuffled")
    assert "toy, shuffled answers: accuracy" in capsys.readouterr().out
    called(folder, tmp_path, "--methods=direct", "--learning-rates=1")
    assert len(list(tmp_path.glob("methods-*"))) == 2
    labels = {pd.read_parquet(path / "results.parquet")["labels"].iloc[0] for path in tmp_path.glob("methods-*")}
    assert labels == {"given", "shuffled"}


def test_the_ticket_at_the_chosen_rate_is_what_a_run_of_a_comparison_means(folder, tmp_path, capsys):
    assert tiny.call("compare", "--methods=direct", "--learning-rates=1", *tiny.arguments("gpt2", folder, rounds=None,
                     keep_tokens=None), f"--out={tmp_path}") == 0  # fmt: skip
    path = next(path for path in tmp_path.iterdir() if (path / "experiment.toml").exists())
    run = pk.load(path)
    assert run.stage.startswith("rates-")
    assert pk.load(f"{path}@{run.stage}") == run.best
    assert tiny.call("runs", "show", path) == 0
    assert "nan" not in capsys.readouterr().out
    with pytest.raises(LackingError, match="compare` made it"):
        dense_prompts(Snapshot.open(path))
