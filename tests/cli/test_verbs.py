"""What stands between the command line and the library; the verbs as a user calls them are in test_cli."""

from dataclasses import replace

import pytest
import tiny
import torch

from prunekit.cli import verbs
from prunekit.cli.verbs import Wish
from prunekit.experiment.prepare import prepare
from prunekit.experiment.run import run
from prunekit.models import load
from prunekit.runs.ticket_file import save_ticket
from prunekit.support.errors import ConfigError


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    prepared = prepare(tiny.experiment("gpt2", folder))
    return run(prepared, tmp_path_factory.mktemp("runs"), tiny.Quiet(), prune=False)


def test_a_round_is_opened_under_its_runs_settings_with_flags_over_them(made):
    ticket, experiment = verbs.opened(made.path / "seed=0" / "round=00", {"test_examples": 5, "threads": None})
    known = made.settings()
    assert experiment.model.name == known["model"]["name"]
    assert experiment.task.test_examples == 5
    assert experiment.machine.threads == 1
    assert ticket.origin["run"] == known["id"]


def test_a_ticket_file_alone_knows_model_and_task(made, tmp_path):
    ticket, _ = verbs.opened(made.path / "seed=0" / "round=00", {})
    path = tmp_path / "alone.safetensors"
    save_ticket(ticket, path)
    again, experiment = verbs.opened(path, {})
    assert again == ticket
    assert experiment.task.name == ticket.origin["task"]
    assert experiment.model.name == ticket.origin["model"]


def test_a_ticket_of_another_width_is_refused(folder, made):
    ticket, experiment = verbs.opened(made.path / "seed=0" / "round=00", {})
    bone = load(experiment.model.name)
    verbs.check_fit(ticket, bone)
    wider = replace(ticket, state={"values": torch.zeros(4, 2 * tiny.WIDTH)}, origin={})
    with pytest.raises(ConfigError, match=f"64 wide, the model's embeddings {tiny.WIDTH}"):
        verbs.check_fit(wider, bone)


def test_another_model_than_a_ticket_files_own_is_refused_or_said(folder, made, tmp_path, capsys):
    ticket, _ = verbs.opened(made.path / "seed=0" / "round=00", {})
    path = tmp_path / "alone.safetensors"
    save_ticket(replace(ticket, origin={**ticket.origin, "model_digest": "0" * 64, "content": {}}), path)
    with pytest.raises(ConfigError, match=r"alone.safetensors: not what it was made with: model; .*--allow-changed"):
        verbs.in_use(path, {}, [], allow_changed=False)
    assert verbs.in_use(path, {}, [], allow_changed=True).differences == ["model"]
    assert "note: not what it was made with, and used all the same: model" in capsys.readouterr().err


def test_one_task_named_twice_is_refused_before_anything_is_trained(folder, tmp_path):
    experiment = tiny.experiment("gpt2", folder)
    with pytest.raises(ConfigError, match="twice"):
        verbs.train([experiment, experiment], Wish("tune", tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()
