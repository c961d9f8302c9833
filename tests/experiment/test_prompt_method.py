"""Every parameterisation through the whole of prunekit: trained, scored, pruned, resumed, loaded again."""

import json
import os
import shutil
from dataclasses import replace

import pytest
import tiny
import torch

from prunekit.cli import main
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.optimizer import MemberOptimizer
from prunekit.experiment import prompt_autoencoder, prompt_method, round_runner
from prunekit.experiment import run as experiment
from prunekit.experiment.prepare import move, prepare
from prunekit.experiment.settings import PromptSettings
from prunekit.models.whitening import query_key_moment
from prunekit.prompts import METHODS, methods
from prunekit.prompts.bilinear import whitened
from prunekit.prompts.options import Context, Decoder, Options
from prunekit.runs.round_files import kept_values, open_ticket
from prunekit.runs.ticket_file import load_ticket
from prunekit.support.errors import ConfigError
from prunekit.support.seeding import generator

every = pytest.mark.parametrize("method", METHODS)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(prompt_autoencoder, "_STEPS", 20)


@pytest.fixture(scope="module")
def sources(folder):
    """Runs that intrinsic prompts can be fitted to, by kind of model."""
    found = {}
    for kind in ("t5", "bert"):
        prepared = prepare(tiny.experiment(kind, folder, seeds=4, train_steps=2))
        found[kind] = experiment.run(prepared, folder / "sources", tiny.Quiet(), prune=False).path
    return found


def ready(folder, method, kind="t5", sources=None, **more):
    if method == "intrinsic" and more.get("subspace") != "random":
        more |= dict(subspace_from=sources[kind])
    return prepare(tiny.experiment(kind, folder, **(dict(method=method, rank=2, bottleneck=8) | more)))


def check_pruning(prepared, out, monkeypatch, controls, tokens):
    """Pruned, loaded again, resumed without training."""
    made = experiment.run(prepared, out, tiny.Quiet(), controls=controls)
    before = tiny.contents(made.path)
    table = made.results()
    rounds = table[(table["arm"] == "") & (table["stage"] != "untrained")]
    assert list(rounds["tokens"]) == tokens
    assert set(table["status"]) == {"done"}
    for place in made.tickets():
        ticket = open_ticket(made.folder(place))
        values, _ = ticket.prompt()()
        assert ticket.method == prepared.experiment.prompt.method
        assert not values[~ticket.mask.expand(tiny.WIDTH)].any()
        start, frozen = load_ticket(made.folder(place) / "ticket.safetensors"), dict(ticket.prompt().named_buffers())
        assert frozen.keys() == dict(start.prompt().named_buffers()).keys()
        kept = kept_values(made, place).state
        assert kept.keys() == dict(ticket.prompt().prompt.named_parameters()).keys()  # what is frozen is not copied
    monkeypatch.setattr(round_runner, "train", tiny.refuse)
    again = experiment.run(prepared, out, tiny.Quiet(), controls=controls)
    assert tiny.contents(again.path) == before


ALONE = (dict(rounds=1, train_steps=2), False, [4, 2])
WITH_CONTROLS = (dict(seeds=2), True, [4, 4, 3, 3, 2, 2])


@pytest.mark.parametrize("method", tiny.by_day(METHODS, ("dpt", "dept", "structured", "intrinsic")))
@pytest.mark.parametrize(
    ("more", "controls", "tokens"), tiny.at_night(ALONE, WITH_CONTROLS), ids=["alone", "two seeds with controls"]
)
def test_a_pruning_runs_resumes_and_its_tickets_load_again(
    method, more, controls, tokens, folder, sources, tmp_path, monkeypatch
):
    check_pruning(ready(folder, method, sources=sources, **more), tmp_path, monkeypatch, controls, tokens)


@pytest.mark.parametrize("method", tiny.by_day(METHODS, ("dept", "intrinsic")))
@pytest.mark.parametrize("more", tiny.at_night({"grid": "token"}, {"seeds": 2}))
def test_a_search_runs(method, more, folder, sources, tmp_path):
    prepared = ready(folder, method, "bert", sources, train_steps=2, **more)
    made = experiment.search(prepared, tmp_path, tiny.Quiet(), controls="seeds" in more)
    assert set(made.results()["status"]) == {"done"}


def test_the_random_subspace_goes_all_the_way_too(folder, tmp_path, monkeypatch):
    prepared = ready(folder, "intrinsic", subspace="random", dimension=3, train_steps=2)
    check_pruning(prepared, tmp_path, monkeypatch, False, [4, 3, 2])


def ticket(bone, method, seed=0, dtype=torch.float64, rank=2, **more):
    """A ticket of a method whose every tensor is moved off its start, so that nothing is silent."""
    draw = generator("methods", method, seed)
    values = torch.randn(4, bone.width, generator=draw)
    parts = (torch.randn(*shape, generator=draw) for shape in ((6, 3), (6,), (4, 6), (4, 4, bone.width), values.shape))
    context = Context(whitening=torch.randn(bone.width, bone.width, generator=draw), decoder=Decoder(*parts))
    options = Options(rank=rank, bottleneck=8, input_tokens=64)
    state = methods.start(method, values, draw, options, context).state_dict()
    moved = {
        name: (tensor.double() + 0.05 * torch.randn(tensor.shape, generator=draw)).to(dtype)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in state.items()
    }
    made = tiny.ticket(bone, seed=seed, dtype=dtype)
    return replace(made, method=method, state=moved, **more)


@pytest.mark.parametrize(
    ("method", "kind"), tiny.in_turn(METHODS, ("t5", "bart", "gpt2", "bert"), whole=("dept", "adept", "ept"))
)
def test_losses_depend_neither_on_padding_nor_on_the_batch_nor_on_who_is_beside(method, kind):
    bone = tiny.frozen(kind, dtype=torch.float64)
    rows = tiny.encoded(bone, tiny.examples(6))
    shorter = tiny.masked([True, False, True, True])
    cohort = [ticket(bone, method, seed=0), replace(ticket(bone, method, seed=1), mask=shorter)]
    with torch.no_grad():
        together = bone.losses(prompt_batch([Member(one) for one in cohort]), bone.batch([rows], every_choice=False))
        for member, one in enumerate(cohort):
            for place, row in enumerate(rows):
                alone = bone.losses(prompt_batch([Member(one)]), bone.batch([[row]], every_choice=False))
                assert torch.allclose(alone[0, 0], together[member, place], rtol=1e-9, atol=1e-9)
        still = replace(prompt_batch([Member(cohort[0])]), embed_input=None)
        moved = bone.losses(still, bone.batch([rows], every_choice=False))[0] - together[0]
    assert (moved.abs().max() > 1e-4 * together.max()) == methods.kind(method).moves_input


def test_offsets_learn_at_a_rate_of_their_own():
    bone = tiny.frozen("bert")
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
    bone = tiny.frozen("t5", dtype=torch.float64)
    with pytest.raises(ConfigError, match="cannot be trained side by side"):
        prompt_batch([Member(ticket(bone, "dpt")), Member(ticket(bone, "direct"))])
    with pytest.raises(ConfigError, match="rank = 2 and 3"):
        prompt_batch([Member(ticket(bone, "dpt")), Member(ticket(bone, "dpt", rank=3))])


def test_a_rank_that_cannot_be_is_refused_before_anything_runs(folder):
    with pytest.raises(ConfigError, match="rank = 33"):
        prepare(tiny.experiment("t5", folder, method="dpt", rank=33))


def test_methods_are_listed_with_what_they_train(folder, capsys):
    tiny.save_model("gpt2", folder / "plain")
    with pytest.raises(SystemExit):
        main.main(["methods", f"--model={folder / 'plain'}", "--prompt-tokens=20", "--json"])
    found = {one["method"]: one for one in json.loads(capsys.readouterr().out)}
    assert list(found) == list(METHODS)
    assert found["direct"]["parameters"] == 20 * 32
    assert found["dpt"]["parameters"] == 10 * (20 + 32)
    assert found["bilinear"]["parameters"] == 32 * (20 + 32)  # 75, as published, is more than 32 columns
    assert found["intrinsic"]["parameters"] == 250
    assert all(one["description"] for one in found.values())


def test_short_prompts_are_listed_too():
    found = {one["method"]: one["parameters"] for one in prompt_method.list_methods(2, 768)}
    assert found["dpt"] == 2 * (2 + 768)
    assert found["bilinear"] == 75 * (2 + 768)


# ---- bilinear: measured queries and keys


def test_a_bilinear_prompt_starts_from_columns_that_whiten_the_training_texts(folder):
    prepared = ready(folder, "bilinear", "gpt2")
    sigma = query_key_moment(prepared.model, [example.text for example in prepared.training_data.train])
    matrix = whitened(sigma).float()
    columns = prepared.dense(0).state["right"].T
    assert all(any(torch.equal(column, one) for one in matrix.T) for column in columns)
    assert not torch.equal(columns, prepared.dense(1).state["right"].T)


def test_random_columns_need_no_measurement(folder, monkeypatch):
    monkeypatch.setattr(prompt_method, "query_key_moment", lambda *given: pytest.fail("measured"))
    prepared = ready(folder, "bilinear", "gpt2", columns="random")
    assert prepared.dense(0).state["right"].abs().max() <= (6 / 34) ** 0.5
    assert prepared.prompt_factory.context.whitening is None


def test_what_was_measured_is_measured_again_under_other_machine_settings(folder, monkeypatch):
    prepared = ready(folder, "bilinear", "gpt2")
    calls = []
    monkeypatch.setattr(
        prompt_method, "query_key_moment", lambda *given: calls.append(1) or torch.eye(tiny.WIDTH).double()
    )
    same = prepared.experiment
    assert move(prepared, same).prompt_factory is prepared.prompt_factory
    other = same.model_copy(update={"machine": same.machine.model_copy(update={"threads": 2})})
    move(prepared, other)
    move(prepared, same)
    assert len(calls) == 1


# ---- intrinsic: a subspace of other runs


def test_the_sources_are_part_of_what_a_run_is_and_their_paths_are_not(folder, sources, tmp_path):
    made = ready(folder, "intrinsic", sources=sources)
    copy = tmp_path / "elsewhere"
    shutil.copytree(sources["t5"], copy)
    assert ready(folder, "intrinsic", sources={"t5": copy}).id == made.id
    (more,) = made.prompt_factory.notes
    assert more.startswith("a subspace of 2 dimensions, fitted to 4 prompts of 1 runs: ")
    fewer = ready(folder, "intrinsic", sources=sources, dimension=1)
    assert fewer.id != made.id
    assert len(fewer.dense(0).state["code"]) == 1
    run, _ = tiny.finished("t5", folder, tmp_path / "other", prune=False, seeds=4, train_steps=2, learning_rate=0.2)
    assert ready(folder, "intrinsic", sources={"t5": run.path}).id != made.id


def test_an_intrinsic_prompt_says_what_it_needs(folder, sources):
    with pytest.raises(ConfigError, match=r"--method intrinsic needs --subspace-from RUN,RUN.*--subspace random"):
        prepare(tiny.experiment("t5", folder, method="intrinsic"))
    for more in (dict(method="dpt", rank=2), dict(method="intrinsic", subspace="random")):
        with pytest.raises(ConfigError, match="--subspace-from goes with --method intrinsic"):
            prepare(tiny.experiment("t5", folder, subspace_from=sources["t5"], **more))


# ---- learning rates


def test_every_method_has_a_learning_rate_of_its_own(folder):
    small, large = PromptSettings(), 50.0
    assert prompt_method.auto_rate(small, 0.1) == 0.02
    assert prompt_method.auto_rate(small, large) == 10.0
    for method in METHODS:
        rate = prompt_method.auto_rate(PromptSettings(method=method), 0.1)
        assert rate > 0
        scaled = prompt_method.auto_rate(PromptSettings(method=method), large) / rate
        kind = methods.kind(method)
        assert scaled == pytest.approx(500.0 if kind.auto_rate.in_units else 1.0, rel=0.01)
    prepared = ready(folder, "ulpt", "gpt2", learning_rate=None)
    assert prepared.plan.learning_rate == prompt_method.auto_rate(
        PromptSettings(method="ulpt"), prepared.model.embedding_rms
    )
