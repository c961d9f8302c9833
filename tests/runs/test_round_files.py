import shutil

import pytest
import tiny
import torch

from prunekit.runs import round_files
from prunekit.runs.paths import RunKey
from prunekit.runs.round_files import starting_ticket
from prunekit.runs.ticket_file import save_ticket
from prunekit.support.errors import ArtifactError

DENSE = RunKey("", 0, 0)


@pytest.fixture(scope="module")
def made(folder):
    return tiny.finished("bert", folder, folder / "out")[0]


def test_a_round_comes_back_as_it_was_learned(made):
    ticket, learned = round_files.load(made, DENSE, "absolute", "accuracy")
    assert ticket.round == 0
    assert ticket.mask.density == 1
    assert sorted(learned.snapshots) == [0, 2, 4, 6]
    assert torch.equal(learned.snapshots[0].state["values"], ticket.state["values"])
    assert torch.equal(learned.snapshots[0].head["weight"], ticket.head["weight"])
    assert learned.scores.examples == 24


def test_kept_values_are_those_of_the_best_evaluation(made):
    result = made.result(DENSE)
    _, learned = round_files.load(made, DENSE, "absolute", "accuracy")
    kept = round_files.kept_values(made, DENSE)
    assert torch.equal(kept.state["values"], learned.snapshots[result["kept_step"]].state["values"])
    log = made.table(DENSE, "log.parquet")
    looks = log[(log["split"] == "validation") & (log["step"] > 0)].pivot_table("value", "step", "metric")
    assert result["kept_step"] == looks.sort_values(["accuracy", "loss"], ascending=[False, True]).index[0]


def test_a_finished_ticket_carries_mask_and_kept_values(made):
    key = RunKey(made.stages()[-1], 0, 2)
    ticket = round_files.finished_ticket(made, key)
    assert ticket.mask.tokens == 2
    assert torch.equal(ticket.state["values"], round_files.kept_values(made, key).state["values"])
    assert ticket != starting_ticket(made, key)


def test_a_ticket_opens_from_its_round_and_from_its_file(made, tmp_path):
    key = RunKey(made.stages()[-1], 0, 2)
    ticket = round_files.finished_ticket(made, key)
    save_ticket(ticket, tmp_path / "one.safetensors")
    assert round_files.open_ticket(made.folder(key)) == ticket == round_files.open_ticket(tmp_path / "one.safetensors")
    assert round_files.locate(made.folder(key))[1] == key
    assert round_files.open_ticket(made.folder(key) / "ticket.safetensors") == ticket
    for wrong in (made.path / "untrained", tmp_path):
        with pytest.raises(ArtifactError, match="not a run, nor"):
            round_files.open_ticket(wrong)


def test_a_round_copied_out_of_its_run_is_refused(made, tmp_path):
    copy = tmp_path / "seed=0" / "round=00"
    shutil.copytree(made.folder(DENSE), copy)
    with pytest.raises(ArtifactError, match="outside its run"):
        round_files.open_ticket(copy)
