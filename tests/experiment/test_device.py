import pytest
import tiny

from prunekit.engine import memory
from prunekit.experiment import device as machine
from prunekit.experiment.prepare import prepare
from prunekit.experiment.settings import MachineSettings
from prunekit.support.errors import ConfigError


def settled(monkeypatch, free, **given):
    bone = tiny.frozen("gpt2")
    rows = tiny.encoded(bone, tiny.examples(8))
    monkeypatch.setattr(memory, "free_bytes", lambda device: free)
    return machine.resolve_width(MachineSettings(**given), machine.Update(tiny.ticket(bone), bone, rows, 8, {}))


def needs():
    bone = tiny.frozen("gpt2")
    return memory.activation_bytes(tiny.ticket(bone), bone, tiny.encoded(bone, tiny.examples(8)), 8)


def test_the_width_follows_the_memory_at_hand(monkeypatch):
    each = needs()
    assert settled(monkeypatch, 2**40).width == 8
    assert settled(monkeypatch, 2 * 3 * each).width == 3
    assert not settled(monkeypatch, 2 * 3 * each).checkpointing
    assert settled(monkeypatch, 1, width=5).width == 5  # a named one is taken as it is


def test_where_one_does_not_fit_activations_are_recomputed_and_where_even_so_none_does_that_is_said(monkeypatch):
    found = settled(monkeypatch, int(1.5 * needs()))
    assert found.checkpointing
    assert found.width >= 1
    with pytest.raises(ConfigError, match="use a smaller --batch-size or --max-input-tokens"):
        settled(monkeypatch, 1000)


def test_a_device_that_is_not_there_is_refused():
    for name in ("cuda:77", "toaster"):
        with pytest.raises(ConfigError, match=f"--device {name}"):
            machine.device(MachineSettings(device=name))


def test_prepare_settles_and_records_width_and_precision(tmp_path):
    made = prepare(tiny.experiment("gpt2", tmp_path))
    assert made.experiment.machine.width == made.width == 8
    assert made.experiment.model.precision == "float32"  # too narrow a model to gain from bfloat16


@pytest.mark.parametrize("kind", ["t5", "gpt2", "bert"])
def test_activations_may_be_recomputed_in_every_family(kind, tmp_path):
    settings = tiny.experiment(kind, tmp_path, checkpointing="true", train_steps=2)
    assert prepare(settings).experiment.machine.checkpointing
