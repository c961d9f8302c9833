"""Rank while training and over prunings, and how long the analysis of a large run takes."""

import time

import pytest
import torch
from test_spectra import matrix

from prunekit.analysis import ranks, spectra, tails, training
from prunekit.analysis.spectra import MEASURES
from prunekit.analysis.subjects import KEYS, PromptRecord, Snapshots, plain
from prunekit.prompts.mask import Mask
from prunekit.prompts.methods import build, start
from prunekit.support.seeding import generator

SHAPE = (8, 24)


def noise(seed=0, shape=SHAPE):
    return torch.randn(shape, generator=generator("training", seed), dtype=torch.float64)


def keys(**more):
    return dict.fromkeys(KEYS, "") | {"seed": 0, "round": 0} | more


def test_the_path_has_every_measure_at_every_step():
    made = Snapshots(keys(), {0: noise(), 10: noise() + matrix([60.0], *SHAPE), 5: noise()})
    found = training.path([made], draws=99)
    assert list(found.columns) == list(training.PATH)
    assert len(found) == 3 * 3 * len(MEASURES)
    assert set(found["round"]) == {0}
    stable = found[(found["matrix"] == "change") & (found["measure"] == "stable")].set_index("step")
    assert stable.index.tolist() == [0, 5, 10]
    assert stable["value"].tolist() == pytest.approx([0, 0, 1])  # rank one was added
    assert stable["p"].isna().tolist() == [True, True, False]
    assert stable.loc[10, "p"] == 0.01
    assert list(training.path([]).columns) == list(training.PATH)


def test_seeds_of_a_run_stay_apart():
    made = [Snapshots(keys(seed=seed), {0: noise(seed), 4: noise(seed + 9)}) for seed in (0, 1)]
    found = training.path(made, matrices=("values",), draws=19)
    assert found.groupby(["seed", "step"]).size().tolist() == [7] * 4


def test_positive_entries_of_sigma_and_the_rank_they_bound():
    prompt = start("singular", noise().float(), generator("singular"))
    states = {0: prompt.state_dict(), 3: {name: one.clone() for name, one in prompt.state_dict().items()}}
    states[3]["sigma"][2:] = torch.tensor([0.0, -1, 2, -3, 1, -1])
    values = {step: build("singular", state)().detach() for step, state in states.items()}
    made = Snapshots(keys(), values, {step: state["sigma"] for step, state in states.items()})
    found = training.positive([made, Snapshots(keys(method="direct"), values)])
    assert list(found.columns) == list(training.POSITIVE)
    assert found["step"].tolist() == [0, 3]
    assert found["positive"].tolist() == found["numerical"].tolist() == [8, 4]
    assert found["largest"].tolist() == [8, 8]
    assert found["sigma_sum"].iloc[1] == pytest.approx(states[0]["sigma"][:2].sum().item() + 3)


def test_pruning_shows_what_a_round_started_from_and_what_it_became():
    values, before = noise(1), noise(0)
    piece = torch.zeros(8, 4, dtype=torch.bool)
    piece[:3] = True
    pruned = PromptRecord(keys(round=1), values, before, before, Mask(piece.any(dim=1), piece))
    dense = PromptRecord(keys(), before, before * 0, before * 0, Mask.full(8, 4))
    found = training.pruning([dense, pruned], matrices=("values",), draws=19)
    assert list(found.columns) == list(training.PRUNING)
    stable = found[found["measure"] == "stable"].set_index(["round", "when"])
    hand = torch.linalg.svdvals(before[:3])
    assert stable.loc[(1, "pruned"), "value"] == pytest.approx((hand.square().sum() / hand[0] ** 2).item())
    assert stable.loc[(1, "pruned"), "largest"] == stable.loc[(1, "trained"), "largest"] == 3
    assert stable.loc[(0, "trained"), "largest"] == 8
    assert stable.loc[(0, "pruned"), "value"] == 0
    assert training.pruning([]).columns.tolist() == list(training.PRUNING)


@pytest.mark.slow
def test_a_run_of_100_tokens_of_768_with_50_snapshots_is_analysed_in_under_10_seconds():
    """Must hold 4: the whole path, every null of the final prompt, its edges, spectrum and tails.

    In seconds of one core, which no other work on the machine adds to; with two cores it is sooner.
    """
    shape = (100, 768)
    origin = noise(0, shape).float()
    steps = {10 * number: origin + noise(number, shape).float() * 0.01 * number for number in range(50)}
    final = plain(steps[490], origin=origin)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        began = time.process_time()
        path = training.path([Snapshots(keys(), steps)], seed=7)
        table = ranks.table([final], seed=7)
        ranks.edges([final], seed=7)
        spectra.spectrum([final], seed=7)
        tails.exponents([final], seed=7)
        took = time.process_time() - began
    finally:
        torch.set_num_threads(threads)
    assert len(path) == 50 * 3 * len(MEASURES)
    assert len(ranks.verdicts(table)) == 3 * 4
    assert took < 10, f"{took:.1f} s"
