"""A run's own model as a function of prompt vectors."""

import pytest
import tiny
import torch

from prunekit.analysis import functional, model_access, tables
from prunekit.experiment.experiment_of import experiment_of
from prunekit.runs.paths import RunKey
from prunekit.support.errors import ArtifactError, ConfigError


def run_of(folder, kind, **more):
    return tiny.finished(kind, folder, folder / f"out-{kind}", train_steps=4, **more)


@pytest.fixture(scope="module", params=["gpt2", "bert"])
def made(request, folder):
    return run_of(folder, request.param)


def reached(run, key):
    return run.result(key)["validation"]["accuracy"]


def test_the_prompt_s_own_values_give_its_own_metric(made):
    run, _ = made
    (dense,) = tables.subjects(run)
    losses, metric = model_access.evaluator(run)(torch.stack([dense.values, dense.values * 0, dense.values]))
    assert losses.shape == (3, 12)
    assert torch.allclose(losses[0], losses[2])
    assert not torch.allclose(losses[0], losses[1])
    assert metric[0].item() == pytest.approx(reached(run, RunKey("", 0, 0)))


def test_a_pruned_prompt_keeps_its_tokens_and_takes_values_as_they_are(made):
    run, prepared = made
    key = RunKey(prepared.stage, 0, 2)
    pruned = tables.subjects(run, prepared.stage)[-1]
    evaluate = model_access.evaluator(run, key=key, model=prepared.model)
    effective = torch.zeros_like(pruned.values)
    effective[pruned.mask.token] = pruned.matrix("values").float()
    loud = effective.clone()
    loud[~pruned.mask.token] = 100.0
    losses, metric = evaluate(torch.stack([effective, loud, pruned.values]))
    assert metric[0].item() == pytest.approx(reached(run, key))
    assert torch.allclose(losses[0], losses[1])  # a dropped token is not there
    assert not torch.allclose(losses[0], losses[2])  # a dropped piece is what it is given as


def test_many_prompts_are_as_one_and_examples_can_be_fewer(made):
    run, prepared = made
    values = torch.randn(70, 4, tiny.WIDTH, generator=torch.Generator().manual_seed(0))
    evaluate = model_access.evaluator(run, split="test", examples=5, model=prepared.model)
    losses, metric = evaluate(values)
    assert (losses.shape, metric.shape) == ((70, 5), (70,))
    alone, _ = evaluate(values[66:67])
    assert torch.allclose(losses[66], alone[0], atol=1e-5)


def test_the_functional_rank_of_a_run(made):
    run, prepared = made
    curve = functional.curve(tables.subjects(run)[0], model_access.evaluator(run, model=prepared.model))
    whole = curve[curve["k"] == 4]
    assert whole["difference"].abs().max() < 1e-5
    assert functional.ranks(curve)["rank"].notna().all()


def test_starts_are_the_run_s_own_and_of_seeds_it_has_not(made):
    run, prepared = made
    draw = model_access.starts(run)
    found = draw(3)
    assert found.shape == (3, 4, tiny.WIDTH)
    assert torch.equal(draw(2), found[:2])
    table = prepared.model.embed(torch.arange(40))
    assert (torch.cdist(found[0], table).amin(dim=1) < 0.01).all()  # init = vocabulary: every token is a word
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[0], tables.subjects(run)[0].start)


def test_embedding_and_words_pair_up(made):
    run, prepared = made
    table, words = model_access.embedding(run)
    assert table.shape == (len(words), tiny.WIDTH)
    key = words.index("w7")
    assert key == prepared.model.tokenizer.convert_tokens_to_ids("w7")
    assert torch.equal(table[key], prepared.model.embed(torch.tensor(key)))


def test_a_method_that_moves_the_input_is_refused(folder):
    run, _ = run_of(folder, "t5", method="dept", rounds=0)
    with pytest.raises(ConfigError, match='"dept" also moves the input'):
        model_access.evaluator(run)


def test_settings_of_another_version_are_one_line(made, tmp_path):
    run, _ = made
    other = type(run)(tmp_path)
    other.write_settings(run.settings() | {"prompt": run.settings()["prompt"] | {"flavour": 1}})
    with pytest.raises(ArtifactError, match=r"not of this version \(prompt\.flavour") as caught:
        experiment_of(other)
    assert "\n" not in str(caught.value)
