"""NaN and infinity in a loss, gradient, score or decomposition, at any step: who has it ends, the rest goes on."""

from dataclasses import replace
from functools import cache
from itertools import permutations

import pandas as pd
import pytest
import tiny
import torch

from prunekit.analysis.spectra import singular_values
from prunekit.analysis.subjects import PromptRecord
from prunekit.engine.gradient_scores import all_scores, gradient_scores
from prunekit.engine.train import train
from prunekit.experiment import prompt_autoencoder, round_runner, run
from prunekit.experiment.prepare import prepare
from prunekit.prompts import factors
from prunekit.prompts.mask import Mask
from prunekit.pruning.prune import prune_mask
from prunekit.pruning.schedule import Keep
from prunekit.pruning.scores import Magnitude, Scores
from prunekit.runs.paths import RunKey
from prunekit.support.errors import ConfigError, DivergedError

BAD = [float("nan"), float("inf"), float("-inf")]
bad_numbers = pytest.mark.parametrize("bad", BAD, ids=str)


class BadGradient(torch.autograd.Function):
    """The same numbers forward, another gradient for one member."""

    @staticmethod
    def forward(ctx, values, member, bad):
        ctx.member, ctx.bad = member, bad
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.clone()
        gradient[ctx.member] = ctx.bad
        return gradient, None, None


def poisoned(bone, member, bad, *, at, gradient=False):
    """A model whose `at`-th loss (from 1) is bad for one member, or has a bad gradient."""
    real, calls = bone.losses, [0]

    def losses(soft, batch):
        calls[0] += 1
        found = real(soft, batch)
        if calls[0] != at or member >= len(found):
            return found
        if gradient:
            return BadGradient.apply(found, member, bad)
        found = found.clone()
        found[member] = bad
        return found

    bone.losses = losses
    return bone


def cohort(bone, count=3):
    return [tiny.ticket(bone, seed=seed) for seed in range(count)]


def trained(bone, count=3, **changes):
    plan = tiny.plan(**(dict(train_steps=6, evaluate_every=2) | changes))
    return train(cohort(bone, count), bone, tiny.training_data(bone, 8), plan)


@cache
def undisturbed():
    return trained(tiny.frozen("gpt2"))


# ---- training


@pytest.mark.parametrize(("at", "bad"), tiny.in_turn(range(1, 7), BAD))
@pytest.mark.parametrize("gradient", [False, True])
def test_a_member_stops_within_the_step_and_keeps_its_last_good_values(at, gradient, bad):
    bone = poisoned(tiny.frozen("gpt2"), 1, bad, at=at, gradient=gradient)
    made, whole = trained(bone), undisturbed()
    what = "gradient" if gradient else "training loss"
    assert f"the {what}" in made[1].diverged
    assert f"at step {at}" in made[1].diverged
    assert made[1].steps == at - 1
    last = (at - 1) // 2 * 2  # its last evaluation
    assert made[1].last.step == last
    assert all(
        torch.isfinite(value).all() for one in (made[1].best, made[1].last) for value in one.values.state.values()
    )
    for key in (0, 2):
        assert made[key].diverged is None
        assert made[key].steps == 6
        # alone they go on in a smaller batch, which may round in another way
        assert torch.allclose(made[key].last.values.state["values"], whole[key].last.values.state["values"], atol=1e-5)


@bad_numbers
def test_a_bad_loss_on_validation_stops_a_member_before_it_is_chosen(bad):
    bone = tiny.frozen("gpt2")
    real, calls = bone.forward, [0]

    def forward(prompts, batch):
        calls[0] += not torch.is_grad_enabled()  # training reads its losses here too
        judged = real(prompts, batch)
        if calls[0] == 2 and not torch.is_grad_enabled():
            judged.losses[1, 0] = bad
        return judged

    bone.forward = forward
    made = trained(bone)
    assert made[1].diverged == f"the validation loss became {bad} at step 2"
    assert made[1].best.step == made[1].last.step == 0
    assert [one.diverged for one in (made[0], made[2])] == [None, None]


# ---- scores


@bad_numbers
@pytest.mark.parametrize("at", [1, 2])
def test_a_member_with_a_bad_gradient_has_no_scores_and_the_others_keep_theirs(at, bad):
    plain = tiny.frozen("gpt2")
    rows = tiny.encoded(plain, tiny.examples(8))

    def batches(bone):
        return (bone.batch([rows[start : start + 4]], every_choice=False) for start in (0, 4))

    wanted = all_scores(cohort(plain), plain, batches(plain))
    bone = poisoned(tiny.frozen("gpt2"), 1, bad, at=at, gradient=True)
    found = all_scores(cohort(bone), bone, batches(bone))
    assert found[1] == {}
    for key in (0, 2):
        assert found[key].keys() == wanted[key].keys()
        for kind, scores in found[key].items():
            assert torch.equal(scores.token, wanted[key][kind].token)
            assert torch.equal(scores.piece, wanted[key][kind].piece)
    bone = poisoned(tiny.frozen("gpt2"), 1, bad, at=at, gradient=True)
    with pytest.raises(DivergedError, match="while scoring; nothing was pruned"):
        gradient_scores(cohort(bone), bone, batches(bone))


def test_values_of_nan_have_no_scores_of_any_kind():
    bone = tiny.frozen("gpt2")
    good, bad = cohort(bone, 2)
    bad = replace(bad, state={"values": bad.state["values"] * float("nan")})
    rows = tiny.encoded(bone, tiny.examples(4))
    found = all_scores([good, bad], bone, [bone.batch([rows], every_choice=False)])
    assert found[1] == {}
    assert len(found[0]) == 5
    assert Magnitude().of(bad).token.isnan().all()  # by itself it tells what it sees, and pruning refuses it


@pytest.mark.parametrize("what", ["token", "piece"])
def test_a_nan_never_ranks_it_is_refused(what):
    for key in range(4):
        scores = Scores(torch.rand(4), torch.rand(4, 2), 1)
        getattr(scores, what)[key] = float("nan")
        with pytest.raises(DivergedError, match="nothing was pruned"):
            prune_mask(Mask.full(4, 2), scores, Keep(2, 1))


def test_infinite_scores_rank_as_what_they_are():
    scores = Scores(torch.tensor([0.0, float("inf"), 1.0, float("-inf")]), torch.zeros(4, 2), 1)
    assert prune_mask(Mask.full(4, 2), scores, Keep(1, 2)).token.tolist() == [False, True, False, False]
    assert prune_mask(Mask.full(4, 2), scores, Keep(3, 2)).token.tolist() == [True, True, True, False]


def test_ties_go_to_the_lower_index_wherever_they_are():
    """Every arrangement of two values over six tokens, every count, kept and dropped cells between them."""
    for ones in range(7):
        for marked in set(permutations([1.0] * ones + [0.0] * (6 - ones))):
            scores = Scores(torch.tensor(marked), torch.tensor([marked[:3]] * 6), 1)
            order = sorted(range(6), key=lambda key: (-marked[key], key))
            pieces = sorted(range(3), key=lambda key: (-marked[key], key))
            for count in range(1, 7):
                mask = prune_mask(Mask.full(6, 3), scores, Keep(count, 2))
                assert mask.token.nonzero().flatten().tolist() == sorted(order[:count])
                row = mask.piece[order[0]].nonzero().flatten().tolist()
                assert row == sorted(pieces[:2])


# ---- decompositions


@bad_numbers
def test_what_is_not_finite_is_not_decomposed(bad):
    values = torch.ones(4, 8)
    values[1, 2] = bad
    with pytest.raises(DivergedError, match="no singular value decomposition"):
        factors.svd(values, 2)
    with pytest.raises(ConfigError, match="not finite"):
        from prunekit.prompts.bilinear import whitened

        whitened(torch.diag(torch.tensor([1.0, bad])))


@bad_numbers
def test_no_analysis_decomposes_what_is_not_finite(bad):
    good = torch.ones(4, 8)
    values = good.clone()
    values[1, 2] = bad
    keys = {"run": "r", "seed": 3, "round": 0}
    subject = PromptRecord(keys, values, good, good, Mask.full(4, 2))
    for name in ("values", "change", "values centred", "change centred"):
        with pytest.raises(DivergedError, match=f"the {name} of run r, seed 3, round 0 hold NaN or infinite"):
            subject.matrix(name)
    assert torch.equal(subject.matrix("start"), good.double())
    with pytest.raises(DivergedError, match="no singular values"):
        singular_values(values)
    with pytest.raises(DivergedError, match="shares no subspace"):
        prompt_autoencoder.fit(values.repeat(4, 1, 1), 2)


# ---- whole runs


def pruned(folder, out, **more):
    prepared = prepare(tiny.experiment("gpt2", folder, **(dict(seeds=3, width=3, rounds=2, train_steps=4) | more)))
    return prepared, lambda watch: run.run(prepared, out, watch)


@pytest.mark.parametrize("bad", tiny.at_night(*BAD), ids=str)
def test_a_seed_whose_scoring_fails_ends_there_and_the_others_are_pruned(bad, folder, tmp_path, monkeypatch):
    """The 24 training rows make one scoring batch a round, behind four updates."""
    prepared, go = pruned(folder, tmp_path)
    monkeypatch.setattr(prepared.model, "losses", prepared.model.losses)
    poisoned(prepared.model, 1, bad, at=5, gradient=True)
    watch = tiny.Quiet()
    made = go(watch)
    results = made.results().query("stage != 'untrained'").set_index(["seed", "round"])
    assert results.loc[(1, 0), "status"] == "diverged"
    assert results.loc[(1, 0), "reason"] == "a gradient became NaN or infinite while scoring; nothing was pruned"
    assert sorted(index for index in results.index if index[0] != 1) == [(s, r) for s in (0, 2) for r in range(3)]
    assert set(results[results.index.get_level_values("seed") != 1]["status"]) == {"done"}
    assert pd.isna(results.loc[(1, 0), "test_accuracy"])
    assert (
        "seed 1 stopped in round 0: a gradient became NaN or infinite while scoring; nothing was pruned" in watch.lines
    )
    assert "scores.safetensors" not in made.manifest(RunKey("", 1, 0))["files"]
    before = tiny.contents(made.path)
    assert tiny.contents(go(tiny.Quiet()).path) == before  # loaded as it is, not scored again
    assert tiny.call("runs", "show", made.path) == 0


def test_a_seed_that_fails_on_the_report_split_ends_without_a_look(folder, tmp_path, monkeypatch):
    prepared, go = pruned(folder, tmp_path, seeds=2, rounds=1)
    real, calls = prepared.model.forward, [0]

    def forward(prompts, batch):
        calls[0] += not torch.is_grad_enabled()  # training reads its losses here too
        judged = real(prompts, batch)
        if calls[0] == 4 and not torch.is_grad_enabled():  # behind the looks at validation of steps 0, 2 and 4
            judged.losses[1, 0] = float("nan")
        return judged

    monkeypatch.setattr(prepared.model, "forward", forward)
    made = go(tiny.Quiet())
    result = made.result(RunKey("", 1, 0))
    assert (result["status"], result["test"]) == ("diverged", {})
    assert result["reason"] == "a loss on the test split became NaN or infinite"
    assert made.result(RunKey(prepared.stage, 0, 1))["status"] == "done"
    assert not made.folder(RunKey(prepared.stage, 1, 1)).exists()


@pytest.fixture
def searched(folder, tmp_path, monkeypatch):
    """A search of two seeds: from its first pruned round on seed 1 has no scores, as where its gradient is NaN."""
    real = round_runner.all_scores

    def scores(kept, model, batches):
        found = real(kept, model, batches)
        return [{} if one.round and one.seed == 1 else each for one, each in zip(kept, found, strict=True)]

    def search(watch, **more):
        flags = dict(rounds=None, keep_tokens=None, train_steps=2, evaluate_every=1, seeds=2, width=2) | more
        prepared = prepare(tiny.experiment("gpt2", folder, **flags))
        return run.search(prepared, tmp_path, watch), prepared.search_stage

    monkeypatch.setattr(round_runner, "all_scores", scores)
    return search


def test_a_chosen_ticket_that_cannot_be_scored_says_so_and_the_others_stand(searched):
    made, stage = searched(tiny.Quiet(), grid="token")
    ends = [made.result(RunKey(stage, seed, 1)) for seed in (0, 1)]
    assert [one["status"] for one in ends] == ["done", "diverged"]
    assert ends[1]["reason"].startswith("a gradient became NaN")
    assert [bool(one["test"]) for one in ends] == [True, False]
    before = tiny.contents(made.path)
    assert tiny.contents(searched(tiny.Quiet(), grid="token")[0].path) == before


def test_a_seed_that_cannot_be_scored_again_has_no_search_and_the_others_go_on(searched):
    watch = tiny.Quiet()
    made, stage = searched(watch, rescore_pieces="true")
    assert made.result(RunKey(stage, 0, 1))["status"] == "done"
    assert not made.folder(RunKey(stage, 1, 1)).exists()
    assert any(line.startswith("seed 1 stopped: a gradient") for line in watch.lines)
