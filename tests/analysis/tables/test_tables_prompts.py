"""Prompts and snapshots of small real runs as matrices."""

import pytest
import tiny
import torch

from prunekit.analysis import tables, training
from prunekit.analysis.subjects import KEYS
from prunekit.runs.paths import SNAPSHOTS, TRAINED, RunKey
from prunekit.runs.round_files import finished_ticket, starting_ticket
from prunekit.support.errors import ArtifactError


def run_of(folder, name, **more):
    return tiny.finished("gpt2", folder, folder / name, controls=True, train_steps=4, **more)


@pytest.fixture(scope="module")
def made(folder):
    """Two seeds, two prunings and their controls, values handed on from round to round."""
    return run_of(folder, "out", seeds=2)


def test_the_dense_prompts_are_as_they_were_kept(made):
    run, _ = made
    found = tables.subjects(run)
    assert [one.keys["seed"] for one in found] == [0, 1]
    assert all(tuple(one.keys) == KEYS and one.keys["arm"] == "dense" for one in found)
    for one in found:
        key = RunKey("", one.keys["seed"], 0)
        assert torch.equal(one.values, finished_ticket(run, key).state["values"])
        assert torch.equal(one.start, starting_ticket(run, key).state["values"])
        assert torch.equal(one.origin, one.start)
        assert one.mask.density == 1
        assert one.matrix("change").abs().max() > 0


def test_pruned_prompts_start_where_the_round_before_ended_and_come_from_the_dense_start(made):
    run, prepared = made
    prompts = tables.dense_and_pruned(run, prepared.stage)
    assert [(one.keys["round"], one.keys["seed"], one.keys["arm"]) for one in prompts] == [
        (0, 0, "dense"), (0, 1, "dense"), (1, 0, "ticket"), (1, 1, "ticket"), (2, 0, "ticket"), (2, 1, "ticket"),
    ]  # fmt: skip
    by = {(one.keys["round"], one.keys["seed"]): one for one in prompts}
    for seed in (0, 1):
        for number in (1, 2):
            assert torch.equal(by[number, seed].start, by[number - 1, seed].values)
            assert torch.equal(by[number, seed].origin, by[0, seed].start)
        assert by[2, seed].mask.tokens == 2
        assert by[2, seed].matrix("values").shape == (2, tiny.WIDTH)
    assert training.pruning(prompts, draws=9)["value"].notna().all()


def test_new_values_come_from_their_own_start(made):
    run, prepared = made
    arms = {one.keys["arm"]: one for one in tables.subjects(run, prepared.stage, None) if one.keys["round"] == 2}
    dense = tables.subjects(run)[0]
    assert set(arms) > {"ticket", "random", "reinit", "short-prompt", "dense-continued"}
    assert not torch.equal(arms["reinit"].origin, dense.start)
    assert not torch.equal(arms["short-prompt"].origin, dense.start)
    (one,) = [s for s in tables.subjects(run, prepared.stage, "random") if s.keys["round"] == 2 and not s.keys["seed"]]
    assert torch.equal(one.origin, dense.start)


def test_snapshots_go_from_the_start_to_the_last_evaluation(made):
    run, _ = made
    found = tables.snapshots(run, 1)
    assert sorted(found.values) == [0, 2, 4]
    dense = tables.subjects(run)[1]
    assert torch.equal(found.values[0], dense.start)
    assert any(torch.equal(one, dense.values) for one in found.values.values())
    assert found.sigma is None
    assert found.keys == dense.keys


def test_singular_prompts_have_their_sigma(folder):
    run, _ = run_of(folder, "singular", method="singular", rounds=1)
    found = tables.snapshots(run, 0)
    assert {step: one.shape for step, one in found.sigma.items()} == {0: (4,), 2: (4,), 4: (4,)}
    assert torch.allclose(torch.linalg.svdvals(found.values[0]), found.sigma[0], atol=1e-5)
    table = training.positive([found])
    assert table["positive"].tolist()[0] == 4
    assert tables.subjects(run)[0].values.shape == (4, tiny.WIDTH)


def test_methods_that_move_the_input_are_read_by_their_vectors(folder):
    run, _ = run_of(folder, "dept", method="dept", rounds=1)
    assert tables.subjects(run)[0].values.shape == (4, tiny.WIDTH)


def test_what_is_not_there_is_one_line(made, tmp_path):
    run, prepared = made
    with pytest.raises(
        ArtifactError, match=r"no finished prompt of prune-0000; it has prune-.*the dense round, untrained"
    ):
        tables.subjects(run, "prune-0000")
    with pytest.raises(ArtifactError, match=r"no finished prompt of .*/nothing"):
        tables.subjects(run, prepared.stage, "nothing")
    with pytest.raises(ArtifactError, match="the dense round of seed 7 is not finished"):
        tables.snapshots(run, 7)


def test_damage_is_named(folder):
    run, _ = run_of(folder, "damaged", rounds=0, seeds=1)
    for name, read in ((SNAPSHOTS, lambda: tables.snapshots(run, 0)), (TRAINED, lambda: tables.subjects(run))):
        path = run.folder(RunKey("", 0, 0)) / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(ArtifactError, match=name) as caught:
            read()
        assert "\n" not in str(caught.value)
        path.unlink()
        with pytest.raises(ArtifactError, match=name):
            read()
        path.write_bytes(content)
