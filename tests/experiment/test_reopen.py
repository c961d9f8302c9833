"""A finished ticket opened again; the verbs as a user calls them are in tests/cli."""

from dataclasses import replace

import pytest
import tiny
import torch

from prunekit.experiment.reopen import check_fit, in_use, opened
from prunekit.models import load
from prunekit.runs.ticket_file import save_ticket
from prunekit.support.errors import ConfigError


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    return tiny.finished("gpt2", folder, tmp_path_factory.mktemp("runs"), prune=False)[0]


def dense(made):
    return made.path / "seed=0" / "round=00"


def used(path, *, allow_changed, progress=None):
    with in_use(opened(path), {}, [], progress=progress or tiny.Quiet(), allow_changed=allow_changed) as use:
        return use


def test_a_round_is_opened_under_its_runs_settings_with_flags_over_them(made):
    source = opened(dense(made))
    ticket, experiment = source.ticket, source.experiment({"test_examples": 5, "threads": None})
    known = made.settings()
    assert experiment.model.name == known["model"]["name"]
    assert experiment.task.test_examples == 5
    assert experiment.machine.threads == 1
    assert ticket.origin["run"] == known["id"]


def test_a_ticket_file_alone_knows_model_and_task(made, tmp_path):
    ticket = opened(dense(made)).ticket
    path = tmp_path / "alone.safetensors"
    save_ticket(ticket, path)
    source = opened(path)
    experiment = source.experiment({})
    assert source.ticket == ticket
    assert experiment.task.name == ticket.origin["task"]
    assert experiment.model.name == ticket.origin["model"]


def test_a_ticket_of_another_width_is_refused(folder, made):
    source = opened(dense(made))
    ticket, model = source.ticket, load(source.experiment({}).model.name)
    check_fit(ticket, model)
    wider = replace(ticket, state={"values": torch.zeros(4, 2 * tiny.WIDTH)}, origin={})
    with pytest.raises(ConfigError, match=f"64 wide, the model's embeddings {tiny.WIDTH}"):
        check_fit(wider, model)


def test_another_model_than_a_ticket_files_own_is_refused_or_said(folder, made, tmp_path):
    ticket = opened(dense(made)).ticket
    path = tmp_path / "alone.safetensors"
    save_ticket(replace(ticket, origin={**ticket.origin, "model_digest": "0" * 64, "content": {}}), path)
    with pytest.raises(ConfigError, match=r"alone.safetensors: not what it was made with: model; .*--allow-changed"):
        used(path, allow_changed=False)
    progress = tiny.Quiet()
    assert used(path, allow_changed=True, progress=progress).differences == ["model"]
    assert progress.lines == ["note: not what it was made with, and used all the same: model"]
