import pytest
import tiny
import torch

from prunekit import experiment, records
from prunekit.prepare import prepare
from prunekit.tickets import Ticket


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    return experiment.run(prepare(tiny.experiment("bert", folder)), folder / "out", tiny.Quiet())


def test_a_round_comes_back_as_it_was_learned(made):
    ticket, learned = records.load(made, "", 0, 0, "absolute")
    assert ticket.round == 0
    assert ticket.mask.density == 1
    assert sorted(learned.snapshots) == [0, 2, 4, 6]
    assert torch.equal(learned.snapshots[0].state["values"], ticket.state["values"])
    assert torch.equal(learned.snapshots[0].head["weight"], ticket.head["weight"])
    assert learned.scores.examples == 24


def test_kept_values_are_those_of_the_best_evaluation(made):
    result = made.result("", 0, 0)
    _, learned = records.load(made, "", 0, 0, "absolute")
    kept = records.kept_values(made, "", 0, 0)
    assert torch.equal(kept.state["values"], learned.snapshots[result["kept_step"]].state["values"])
    log = __import__("pandas").read_parquet(made.read("", 0, 0, "log.parquet"))
    accuracy = log[(log["split"] == "selection") & (log["metric"] == "accuracy") & (log["step"] > 0)]
    assert result["kept_step"] == accuracy.loc[accuracy["value"].idxmax(), "step"]  # idxmax: the earliest of equals


def test_a_finished_ticket_carries_mask_and_kept_values(made):
    stage = made.stages()[-1]
    ticket = records.finished_ticket(made, stage, 0, 2)
    assert ticket.mask.tokens == 2
    assert torch.equal(ticket.state["values"], records.kept_values(made, stage, 0, 2).state["values"])
    assert ticket != Ticket.load(made.read(stage, 0, 2, "ticket.safetensors"))
