"""Two processes that share every batch come to what one comes to; another number than asked for is refused."""

import json
import os
import subprocess
import sys

import pytest
import tiny
import torch
from roots import TESTS

from prunekit.cli import main
from prunekit.engine import distributed
from prunekit.support.errors import ConfigError, PrunekitError

HERE = TESTS


def torchrun(count, *arguments, check=True, **more):
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}"]
    environment = dict(os.environ) | {"OMP_NUM_THREADS": "1"}
    asked = [*command, "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", *map(str, arguments)]
    return subprocess.run(asked, capture_output=True, text=True, check=check, env=environment, **more)


def came_to(folder, kind, dtype, steps, processes):
    """What each process of a team wrote."""
    folder.mkdir()
    script = [HERE / "team_member.py", folder, kind, dtype, steps, processes]
    if processes == 1:
        subprocess.run([sys.executable, *map(str, script)], check=True, capture_output=True)
    else:
        torchrun(processes, *script)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(processes)]


def difference(one, two):
    """Largest difference relative to the largest number."""
    one, two = torch.tensor(one, dtype=torch.float64), torch.tensor(two, dtype=torch.float64)
    return float((one - two).abs().max() / one.abs().max())


@pytest.fixture(scope="module")
def ten(tmp_path_factory):
    folder = tmp_path_factory.mktemp("team")
    return came_to(folder / "one", "gpt2", "float64", 10, 1), came_to(folder / "two", "gpt2", "float64", 10, 2)


def compare(one, two, bar):
    for mine, other in zip(one["gradients"], two["gradients"], strict=True):
        for left, right in zip(mine, other, strict=True):
            assert difference(left, right) < bar
    assert difference(one["losses"], two["losses"]) < bar
    assert difference(one["scores"], two["scores"]) < bar


@pytest.mark.slow
def test_ten_float64_updates_of_two_processes_equal_those_of_one(ten):
    (one,), two = ten
    assert two[0] == two[1]  # all processes hold the same bits
    compare(one, two[0], 1e-9)
    assert difference(one["values"], two[0]["values"]) < 1e-9


@pytest.mark.slow
def test_an_update_sends_a_gradient_of_every_prompt_and_a_loss_per_member(ten):
    (one,), two = ten
    members, numbers = 3, 3 * 4 * tiny.WIDTH  # S x P x H
    assert two[0]["numbers"] == numbers
    steps = [later - before for before, later in zip(two[0]["sent"], two[0]["sent"][1:], strict=False)]
    assert set(steps[:-1]) == {numbers + members}
    assert set(one["sent"]) == {0}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["t5", "gpt2", "bert"])
def test_first_gradients_of_two_processes_equal_those_of_one(kind, tmp_path):
    one, two = came_to(tmp_path / "one", kind, "float32", 1, 1), came_to(tmp_path / "two", kind, "float32", 1, 2)
    compare(one[0], two[0], 1e-5)


@pytest.mark.slow
def test_two_processes_draw_the_answers_that_one_draws(ten):
    (one,), two = ten
    assert two[0]["written"] == two[1]["written"] == one["written"]
    assert len({tuple(ids) for ids in one["written"][0]}) > 5


def test_a_number_that_was_not_started_is_refused(tmp_path, capsys):
    few = tiny.arguments("gpt2", tmp_path)
    with pytest.raises(SystemExit) as ended:
        main.main(["prune", *few, "--processes=2", f"--out={tmp_path / 'runs'}"])
    assert ended.value.code == 2
    assert "--processes 2: 1 process(es) were started" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_more_processes_than_asked_for_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    for asked in (1, 2):
        with pytest.raises(ConfigError, match=f"--processes {asked}: 3 process"):
            distributed.join(asked)


def test_a_batch_smaller_than_the_team_is_refused(monkeypatch, tmp_path):
    from prunekit.experiment import device
    from prunekit.experiment.settings import MachineSettings

    with pytest.raises(ConfigError, match="a batch of 4 has no example for each process"):
        device.resolve_width(MachineSettings(processes=5, width=2), device.Update(None, None, range(10), 4, {}))


def test_dropout_is_refused_on_several_processes(tmp_path):
    with pytest.raises(ConfigError, match="goes without model_dropout"):
        tiny.experiment("gpt2", tmp_path, processes=2, model_dropout="true")


def test_parts_and_shares_make_up_the_whole():
    for size in (2, 3, 5):
        team = [distributed.ProcessGroup(size, rank) for rank in range(size)]
        rows = list(range(16))
        assert sorted(row for one in team for row in one.part(rows)) == rows
        assert sum(one.share(16) for one in team) == pytest.approx(1.0, abs=1e-15)
        assert [one.share(16) * 16 for one in team] == [pytest.approx(len(one.part(rows))) for one in team]


def test_different_bytes_on_two_processes_are_noticed(monkeypatch):
    team = distributed.ProcessGroup(2, 0)
    monkeypatch.setattr(
        torch.distributed, "all_reduce", lambda tensor, op=None: tensor.add_(op == torch.distributed.ReduceOp.MAX)
    )
    with pytest.raises(PrunekitError, match="came to different values"):
        team.check_same("ab" * 32)
