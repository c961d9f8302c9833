"""Every parameterisation through the whole of prunekit: trained, scored, pruned, resumed, loaded again."""

import json
from dataclasses import replace
from typing import get_args

import pytest
import tiny
import torch

from prunekit import cli, experiment, learning, prompts
from prunekit.cohort import Member, soft
from prunekit.config import PromptSettings
from prunekit.errors import ConfigError
from prunekit.optimizer import MemberOptimizer
from prunekit.prepare import prepare
from prunekit.prompts import Options
from prunekit.randomness import generator
from prunekit.records import open_ticket

METHODS = get_args(PromptSettings.model_fields["method"].annotation)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tiny")


def ready(folder, method, kind="t5", **more):
    return prepare(tiny.experiment(kind, folder, method=method, rank=2, bottleneck=8, **more))


@pytest.mark.parametrize("method", METHODS)
def test_a_pruning_runs_resumes_and_its_tickets_load_again(method, folder, tmp_path, monkeypatch):
    prepared = ready(folder, method, seeds=2)
    made = experiment.run(prepared, tmp_path, tiny.Quiet(), controls=True)
    before = tiny.contents(made.path)
    table = made.results()
    lineage = table[(table["arm"] == "") & (table["stage"] != "untrained")]
    assert list(lineage["tokens"]) == [4, 4, 3, 3, 2, 2]
    assert set(table["status"]) == {"done"}
    for place in made.tickets():
        ticket = open_ticket(made.folder(place))
        values, _ = ticket.prompt()()
        assert ticket.method == method
        assert torch.equal(values == 0, ~ticket.mask.expand(tiny.WIDTH)) or method in ("dpt", "ulpt", "singular")
        assert not values[~ticket.mask.expand(tiny.WIDTH)].any()

    def forbidden(*arguments, **more):
        raise AssertionError("trained again")

    monkeypatch.setattr(learning, "train", forbidden)
    again = experiment.run(prepared, tmp_path, tiny.Quiet(), controls=True)
    assert tiny.contents(again.path) == before


@pytest.mark.parametrize("method", METHODS)
def test_a_search_runs(method, folder, tmp_path):
    made = experiment.search(ready(folder, method, kind="bert", train_steps=2, grid="token"), tmp_path, tiny.Quiet())
    chosen = made.results().query("stage.str.startswith('search') and arm == ''")
    assert list(chosen["status"]) == ["done"]


def ticket(bone, method, seed=0, dtype=torch.float64, rank=2, **more):
    """A ticket of a method whose every tensor is moved off its start, so that nothing is silent."""
    draw = generator("methods", method, seed)
    values = torch.randn(4, bone.width, generator=draw)
    state = prompts.start(method, values, draw, Options(rank=rank, bottleneck=8, input_tokens=64)).state_dict()
    moved = {
        name: (tensor.double() + 0.05 * torch.randn(tensor.shape, generator=draw)).to(dtype)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in state.items()
    }
    made = tiny.ticket(bone, seed=seed, dtype=dtype)
    return replace(made, method=method, state=moved, **more)


@pytest.mark.parametrize("kind", ["t5", "bart", "gpt2", "bert"])
@pytest.mark.parametrize("method", METHODS)
def test_losses_depend_neither_on_padding_nor_on_the_batch_nor_on_who_is_beside(method, kind):
    bone = tiny.backbone(kind, dtype=torch.float64)
    rows = tiny.encoded(bone, tiny.examples(6))
    shorter = tiny.masked([True, False, True, True])
    cohort = [ticket(bone, method, seed=0), replace(ticket(bone, method, seed=1), mask=shorter)]
    with torch.no_grad():
        together = bone.losses(soft([Member(one) for one in cohort]), bone.batch([rows], every_choice=False))
        for member, one in enumerate(cohort):
            for place, row in enumerate(rows):
                alone = bone.losses(soft([Member(one)]), bone.batch([[row]], every_choice=False))
                assert torch.allclose(alone[0, 0], together[member, place], rtol=1e-9, atol=1e-9)


def test_offsets_learn_at_a_rate_of_their_own():
    bone = tiny.backbone("bert")
    plan = tiny.plan(learning_rate=0.3, head_learning_rate=0.003, warmup_fraction=0.0)
    for method in METHODS:
        member = Member(ticket(bone, method, dtype=torch.float32))
        optimizer = MemberOptimizer(member, plan)
        prompt = member.masked.prompt
        own = [] if prompt.offset_rate is None else [prompt.offset_rate.beside(0.3)]
        assert optimizer.rates == [0.3, *own, 0.003]
        moved = sum(len(group["params"]) for group in optimizer.inner.param_groups)
        assert moved == len(list(member.parameters()))
        for parameter in member.parameters():
            parameter.grad = torch.ones_like(parameter)
        before = {name: value.detach().clone() for name, value in prompt.named_parameters()}
        optimizer.step(0)
        for name, value in prompt.named_parameters():
            rate = own[0] if name in prompt.offset_parameters else 0.3
            assert (before[name] - value.detach()).abs().mean() == pytest.approx(rate, rel=1e-3)


def test_members_of_other_methods_or_ranks_are_refused():
    bone = tiny.backbone("t5", dtype=torch.float64)
    with pytest.raises(ConfigError, match="cannot be trained side by side"):
        soft([Member(ticket(bone, "dpt")), Member(ticket(bone, "direct"))])
    with pytest.raises(ConfigError, match="rank = 2 and 3"):
        soft([Member(ticket(bone, "dpt")), Member(ticket(bone, "dpt", rank=3))])


def test_a_rank_that_cannot_be_is_refused_before_anything_runs(folder):
    with pytest.raises(ConfigError, match="rank = 33"):
        prepare(tiny.experiment("t5", folder, method="dpt", rank=33))


def test_methods_are_listed_with_what_they_train(folder, capsys):
    tiny.save_model("gpt2", folder / "plain")
    with pytest.raises(SystemExit):
        cli.main(["methods", f"--model={folder / 'plain'}", "--prompt-tokens=20", "--json"])
    found = {one["method"]: one for one in json.loads(capsys.readouterr().out)}
    assert list(found) == list(METHODS)
    assert found["direct"]["parameters"] == 20 * 32
    assert found["dpt"]["parameters"] == 10 * (20 + 32)
    assert all(one["description"] for one in found.values())
