"""What could be wrong in the benchmarks of prefixes: other work than said, other steps than timed, a wrong page."""

import pytest
import tiny
import torch

from benchmarks import cartridge, prefix_cost, prefix_training
from benchmarks.prefix_training import OURS, PEER, Result, Work
from prunekit.engine.request_times import RequestTimes
from prunekit.pruning.scores import Scores

pytestmark = pytest.mark.gate


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("prefix")
    tiny.save_model("llama", path / "model")
    return path


@pytest.mark.filterwarnings("ignore")
def test_both_sides_train_and_time_every_step_but_the_first(folder):
    pytest.importorskip("peft")
    work = Work(str(folder / "model"), prompt=3, text=5, batch=2, steps=3, threads=1)
    results = {side: [train(work)] for side, train in prefix_training.SIDES.items()}
    assert all(result.seconds > 0 and result.peak_mib > 0 for (result,) in results.values())
    assert work.rows(40).shape == (6, 5)
    assert torch.equal(work.rows(40), work.rows(40))


def test_a_page_divides_the_peers_steps_by_ours_pair_by_pair():
    ours, peer = [Result(0.1, 50, 40), Result(0.2, 60, 40)], [Result(0.3, 90, 40), Result(0.8, 80, 40)]
    lines = prefix_training.page_table({PEER: peer, OURS: ours}).splitlines()
    assert "| 1.00 [1.00, 1.00] |" in lines[2]
    assert "| 3.50 [3.00, 4.00] | 55 | 15 |" in lines[3]


def test_a_step_is_timed_from_the_end_of_the_one_before_it():
    clock = [10.0, 11.0, 13.0, 16.0]
    assert prefix_training._measured(clock, lambda: None).seconds == 2.0


def test_costs_stand_beside_those_of_the_whole_prefix():
    bone = tiny.frozen("llama", position="prefix-kv")
    times = {0: RequestTimes(0.001, 0.01), 2: RequestTimes(0.001, 0.02), 8: RequestTimes(0.002, 0.04)}
    lines = prefix_cost.page_table(bone, [8], 0.25, times, 1e-6).splitlines()
    assert lines[3] == f"| 8 tokens | {8 * bone.width * 4 / 1e6:.2f} MB | 0 | 2.00 | 40.0 | 1.00 |"
    assert lines[4].endswith("| 1 | 1.00 | 20.0 | 0.50 |")


def test_every_part_of_a_cartridge_is_as_large_as_the_scored_one():
    scores = Scores(torch.tensor([0.1, 0.9, 0.3, 0.8, 0.2, 0.4]), torch.ones(6, 4), examples=1)
    masks = cartridge.masks_of(scores, 2, seed=0)
    assert {name: mask.tokens for name, mask in masks.items() if name != cartridge.WHOLE} == dict.fromkeys(
        set(masks) - {cartridge.WHOLE}, 2
    )
    kept = {name: mask.token.nonzero().flatten().tolist() for name, mask in masks.items()}
    assert (kept[cartridge.SCORED], kept["the last"], kept["the first"]) == ([1, 3], [4, 5], [0, 1])
    assert kept["the last, and the first token"] == [0, 5]
    assert kept["random, and the first token"][0] == 0


@pytest.mark.filterwarnings("ignore")
def test_a_cartridge_of_peft_is_scored_pruned_exported_and_predicts_the_same_by_peft():
    pytest.importorskip("peft")
    bone, lengths = tiny.frozen("llama", position="prefix-kv"), cartridge.Lengths(6, 4, 3, 2)
    text = " ".join(f"w{number}" for number in range(1, 14))
    ids = torch.tensor(bone.tokenizer(text)["input_ids"])[: lengths.total]
    losses = cartridge.losses_of(bone, text, ids, lengths, 2, seed=0)
    assert losses[cartridge.BY_PEFT] == pytest.approx(losses[cartridge.SCORED], abs=1e-5)
    with torch.no_grad():  # the whole cartridge is the text itself
        logits = bone.model(input_ids=ids[None]).logits[0]
    expected = torch.nn.functional.cross_entropy(logits[-4:-1], ids[-3:])
    assert losses[cartridge.WHOLE] == pytest.approx(float(expected), abs=1e-5)
