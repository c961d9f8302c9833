import pytest
import tiny

from prunekit.experiment import learning_rate, round_runner, run
from prunekit.experiment.prepare import prepare
from prunekit.runs.paths import RunKey

FACTORS = (0.1, 1.0, 10.0)


def ready(folder, **more):
    return prepare(tiny.experiment("gpt2", folder, **(dict(rounds=None, keep_tokens=None, seeds=2) | more)))


def search(prepared, out, factors=FACTORS):
    return learning_rate.search_rates(prepared, factors, out, tiny.Quiet())


def forbid(monkeypatch):
    monkeypatch.setattr(round_runner, "train", tiny.refuse)


# ---- the choice


@pytest.mark.parametrize(
    ("reached", "wanted"),
    [
        ({(0.1, 0): 0.5, (0.1, 1): 0.9, (0.2, 0): 0.8, (0.2, 1): 0.7}, 0.2),  # the mean over seeds counts
        ({(0.1, 0): 0.9, (0.1, 1): None, (0.2, 0): 0.5, (0.2, 1): 0.5}, 0.2),  # and that all came to their end
        ({(0.1, 0): 0.9, (0.2, 0): None}, 0.1),
        ({(0.01, 0): 1.0, (0.1, 0): 1.0, (1.0, 0): 1.0}, 0.1),  # of equals the method's own
        ({(0.01, 0): 1.0, (0.1, 0): 0.9, (1.0, 0): 1.0}, 0.01),  # or of two as near, the smaller
        ({(0.1, 0): None}, None),
    ],
)
def test_the_best_rate(reached, wanted):
    assert learning_rate.best(reached, 0.1) == wanted


def test_rates_have_three_digits_and_keep_their_factors():
    assert learning_rate.grid(0.0123, (3.0, 0.3, 1.0)) == {0.00369: 0.3, 0.0123: 1.0, 0.0369: 3.0}


# ---- a search on disk


def test_every_seed_is_trained_at_every_rate_and_report_is_seen_at_the_chosen_one_alone(folder, tmp_path):
    prepared = ready(folder)
    found = search(prepared, tmp_path)
    table = found.run.results()
    cells, chosen = table[table["stage"] == "rates"], table[table["stage"] == found.stage]
    assert sorted(zip(cells["arm"], cells["seed"], strict=True)) == [
        (f"rate={rate}", seed) for rate in ("0.005", "0.05", "0.5") for seed in (0, 1)
    ]
    assert cells["test_accuracy"].isna().all()
    assert list(chosen["seed"]) == [0, 1]
    assert chosen["test_accuracy"].notna().all()
    means = cells.groupby("arm")["validation_accuracy"].mean()
    assert means[f"rate={found.chosen:g}"] == means.max()
    for seed in (0, 1):
        seen = set(found.run.table(RunKey("rates/rate=0.005", seed, 0), "predictions.parquet")["split"])
        assert seen == {"validation"}


def test_rates_are_what_they_say(folder, tmp_path):
    """The training at the run's own rate is the dense round of `tune`, bit for bit."""
    prepared = ready(folder, seeds=1)
    search(prepared, tmp_path)
    made = run.run(prepared, tmp_path, tiny.Quiet(), prune=False)
    one, own = (made.table(key, "log.parquet") for key in (RunKey("rates/rate=0.05", 0, 0), RunKey("", 0, 0)))
    assert one.equals(own)
    other = made.table(RunKey("rates/rate=0.5", 0, 0), "log.parquet")
    assert not other.equals(own)


def test_it_resumes_in_the_same_bytes_and_further_rates_add_to_what_is_there(folder, tmp_path, monkeypatch):
    prepared = ready(folder)
    found = search(prepared, tmp_path)
    before = tiny.contents(found.run.path)
    with monkeypatch.context() as patch:
        forbid(patch)
        assert search(prepared, tmp_path).chosen == found.chosen
        assert search(prepared, tmp_path, (1.0, 10.0)).chosen is not None  # a part of the grid is there as well
    written = ("results.parquet", "journal.json")  # the table, and the journal that holds its digest, are written anew
    assert {name: content for name, content in tiny.contents(found.run.path).items() if name in before} | {
        name: before[name] for name in written
    } == before
    more = search(prepared, tmp_path, (*FACTORS, 2.0))
    assert more.stage != found.stage
    assert "rate=0.1" in set(more.run.results()["arm"])


def test_killed_between_two_rates_it_ends_in_the_same_bytes(folder, tmp_path, monkeypatch):
    whole = search(ready(folder), tmp_path / "whole")
    train, calls = round_runner.train, []

    def dies(*arguments, **more):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(round_runner, "train", dies)
        with pytest.raises(KeyboardInterrupt):
            search(ready(folder), tmp_path / "cut")
    again = search(ready(folder), tmp_path / "cut")
    assert tiny.contents(again.run.path) == tiny.contents(whole.run.path)


def test_where_every_training_diverges_nothing_is_chosen(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(learning_rate, "best", lambda reached, own: None)
    found = search(ready(folder, seeds=1), tmp_path, (1.0,))
    assert found.chosen is None
    assert not (found.run.path / found.stage / "seed=0").exists()
