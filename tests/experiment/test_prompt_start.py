import shutil
from dataclasses import replace

import pytest
import tiny
import torch

from prunekit.experiment import prompt_start, round_runner, run
from prunekit.experiment.prepare import prepare
from prunekit.prompts.mask import Mask
from prunekit.pruning.ticket import Ticket
from prunekit.runs import round_files
from prunekit.runs.paths import RunKey
from prunekit.runs.round_files import starting_ticket
from prunekit.runs.run import Run
from prunekit.runs.ticket_file import save_ticket
from prunekit.support.errors import ArtifactError, ConfigError

WIDTH = tiny.WIDTH
DENSE = RunKey("", 0, 0)


def ready(folder, kind="gpt2", **more):
    """A run on another task than the sources' (tiny.save_task makes tasks by folder)."""
    return prepare(tiny.experiment(kind, folder, **(dict(rounds=None, keep_tokens=None, train_steps=2) | more)))


@pytest.fixture(scope="module", params=tiny.at_night("bert", "gpt2"))  # which has a head too
def source(request, folder):
    """A finished run, pruned once to 2 tokens x 3 pieces: kind, run, the places of both rounds."""
    more = dict(rounds=1, keep_tokens=2, keep_pieces=3)
    prepared = ready(folder, request.param, **more)
    made = run.run(prepared, folder / "source", tiny.Quiet())
    return request.param, made, RunKey(prepared.stage, 0, 1)


def values(prepared, seed):
    return prepared.dense(seed).state["values"]


def by_hand(tokens=4, width=WIDTH, pieces=4, mask=None, seed=0):
    """A ticket that no run made."""
    draw = torch.randn(tokens, width, generator=torch.Generator().manual_seed(seed))
    return Ticket(mask or Mask.full(tokens, pieces), {"values": draw}, None, seed=seed)


# ---- values


def test_a_dense_ticket_is_where_every_seed_starts(source, folder):
    kind, made, _ = source
    without = ready(folder, kind)
    assert prompt_start.source(without.experiment.prompt, without.model) is None
    assert "init_from" not in without.digests
    prepared = ready(folder, kind, init_from=made.folder(DENSE))
    kept = round_files.kept_values(made, DENSE).state["values"]
    assert not torch.equal(values(prepared, 0), values(without, 0))
    for seed in (0, 1, 7):
        assert torch.equal(values(prepared, seed), kept)
        assert prepared.dense(seed).mask.density == 1


def test_a_pruned_ticket_gives_its_tokens_its_zeros_and_room_for_new_ones(source, folder):
    kind, made, pruned = source
    prepared, plain = ready(folder, kind, init_from=made.folder(pruned)), ready(folder, kind)
    mask = starting_ticket(made, pruned).mask
    kept = round_files.kept_values(made, pruned).state["values"]
    assert (mask.tokens, mask.cells) == (2, 6)
    for seed in (0, 1):
        found = values(prepared, seed)
        assert torch.equal(found[mask.token], (kept * mask.expand(WIDTH))[mask.token])
        assert (found[mask.token] == 0).sum() == 2 * WIDTH // 4  # one piece of each
        # the others are drawn as they would be without a ticket, for each seed its own
        assert torch.equal(found[~mask.token], values(plain, seed)[~mask.token])
    assert not torch.equal(values(prepared, 0)[~mask.token], values(prepared, 1)[~mask.token])


def test_a_head_is_not_carried_over(source, folder):
    kind, made, pruned = source
    ticket = ready(folder, kind, init_from=made.folder(pruned)).dense(0)
    trained = round_files.kept_values(made, pruned).head
    assert (ticket.head is None) == (trained is None) == (kind == "gpt2")
    if trained is not None:
        assert trained["weight"].abs().max() > 0
        assert all((value == 0).all() for value in ticket.head.values())


def test_the_ticket_of_a_file_is_used_as_it_stands(folder, tmp_path):
    """A file holds the values that a round starts from; they are what the next task starts from."""
    mask = tiny.masked([True, False, True, True], drop=[(0, 1), (2, 3)])
    ticket = by_hand(mask=mask)
    save_ticket(ticket, tmp_path / "one.safetensors")
    prepared = ready(folder, init_from=tmp_path / "one.safetensors", init="uniform")
    found = values(prepared, 3)
    assert torch.equal(found[mask.token], (ticket.state["values"] * mask.expand(WIDTH))[mask.token])
    assert (found[0, 8:16] == 0).all()
    assert (found[2, 24:] == 0).all()
    assert found[1].abs().max() <= 0.5  # U(-0.5, 0.5)
    assert (found[1] != 0).all()


def test_the_ticket_may_have_other_pieces_and_new_values_are_not_its_own(folder, tmp_path):
    save_ticket(by_hand(pieces=8), tmp_path / "one.safetensors")
    prepared = ready(folder, init_from=tmp_path / "one.safetensors")
    assert torch.equal(values(prepared, 0), by_hand().state["values"])
    redrawn = prepared.new_values(replace(prepared.dense(0), round=1)).state["values"]
    assert not torch.equal(redrawn, values(prepared, 0))


# ---- refused


@pytest.mark.parametrize(
    ("ticket", "said"),
    [
        (by_hand(width=16), "16 wide, the model's embeddings 32"),
        (by_hand(tokens=5), "a prompt of 5 tokens, this one has 4; add --prompt-tokens 5"),
    ],
)
def test_a_ticket_that_does_not_fit_is_refused_in_one_line(ticket, said, folder, tmp_path, capsys):
    path = tmp_path / "one.safetensors"
    save_ticket(ticket, path)
    with pytest.raises(ConfigError) as caught:
        ready(folder, init_from=path)
    assert str(caught.value) == f"--init-from {path}: {said}"
    assert call("tune", folder, tmp_path / "runs", init_from=path) == 2
    said_by_command = capsys.readouterr().err.splitlines()
    assert said_by_command == [f"prunekit: --init-from {path}: {said}"]
    assert not (tmp_path / "runs").exists()


def test_more_tokens_can_be_asked_for(folder, tmp_path):
    save_ticket(by_hand(tokens=5), tmp_path / "one.safetensors")
    prepared = ready(folder, init_from=tmp_path / "one.safetensors", prompt_tokens=5)
    assert torch.equal(values(prepared, 0), by_hand(tokens=5).state["values"])


def test_what_is_no_ticket_is_refused(folder, tmp_path):
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    for path in (tmp_path / "nowhere", tmp_path / "broken.safetensors"):
        with pytest.raises(ArtifactError) as caught:
            ready(folder, init_from=path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_damaged_round_is_refused(folder, tmp_path, source):
    kind, made, _ = source
    shutil.copytree(made.path, tmp_path / "copy")
    path = tmp_path / "copy" / "seed=0" / "round=00" / "trained.safetensors"
    tiny.flip(path, 0.99)
    with pytest.raises(ArtifactError, match="damaged"):
        ready(folder, kind, init_from=path.parent)


# ---- identity


def test_the_run_is_named_by_the_tickets_content_and_not_by_its_path(folder, tmp_path, source):
    kind, made, pruned = source
    ticket = round_files.finished_ticket(made, pruned)
    save_ticket(ticket, tmp_path / "one")
    save_ticket(ticket, tmp_path / "two")
    shutil.copytree(made.path, tmp_path / "copy")
    paths = [made.folder(pruned), tmp_path / "one", tmp_path / "two", Run(tmp_path / "copy").folder(pruned)]
    found = [ready(folder, kind, init_from=path) for path in paths]
    assert len({prepared.id for prepared in found}) == len({prepared.name for prepared in found}) == 1
    assert {prepared.digests["init_from"] for prepared in found} == {found[0].digests["init_from"]}
    save_ticket(replace(ticket, state={"values": ticket.state["values"] + 1}), tmp_path / "two")
    others = [ready(folder, kind, init_from=tmp_path / "two"), ready(folder, kind, init_from=made.folder(DENSE))]
    assert len({found[0].id, ready(folder, kind).id, *(prepared.id for prepared in others)}) == 4


def test_a_run_goes_on_from_the_same_ticket_at_another_place(folder, tmp_path, source, monkeypatch):
    kind, made, pruned = source
    save_ticket(round_files.finished_ticket(made, pruned), tmp_path / "one")
    first = run.run(ready(folder, kind, init_from=made.folder(pruned)), tmp_path / "out", tiny.Quiet())
    before = tiny.contents(first.path)
    monkeypatch.setattr(round_runner, "train", tiny.refuse)
    again = run.run(ready(folder, kind, init_from=tmp_path / "one"), tmp_path / "out", tiny.Quiet())
    assert tiny.contents(again.path) == before
    assert (
        first.settings()["digests"]["init_from"] == ready(folder, kind, init_from=tmp_path / "one").digests["init_from"]
    )


# ---- across two tasks, through the command line


def call(verb, folder, out, *flags, **more):
    arguments = tiny.arguments("gpt2", folder, **(dict(rounds=None, keep_tokens=None, train_steps=2) | more))
    return tiny.call(verb, *arguments, f"--out={out}", *flags)


def test_a_search_starts_from_the_ticket_that_a_search_on_another_task_chose(folder, tmp_path, capsys):
    """XPrompt Transfer (Table 7): search on one task, start from its ticket on another, search there."""
    assert call("search", folder, tmp_path / "one", "--grid=full") == 0
    one = Run.open(next((tmp_path / "one").iterdir()))
    (stage,) = (name for name in one.stages() if name)
    chosen = RunKey(stage, 0, 1)
    mask = starting_ticket(one, chosen).mask
    kept = round_files.kept_values(one, chosen).state["values"] * mask.expand(WIDTH)
    assert mask.density < 1  # or nothing would be left to see

    other = tmp_path / "other"
    tiny.save_task(other, rows=(16, 8, 8))
    task = dict(task=other / "toy.toml", data=other)
    assert call("search", folder, tmp_path / "two", "--seeds=2", init_from=one.folder(chosen), **task) == 0
    two = Run.open(next((tmp_path / "two").iterdir()))
    assert two.settings()["prompt"]["init_from"] == str(one.folder(chosen))
    assert two.settings()["task"]["name"] == str(other / "toy.toml")
    starting = [starting_ticket(two, RunKey("", seed, 0)) for seed in (0, 1)]
    for ticket in starting:
        assert ticket.mask.density == 1
        assert torch.equal(ticket.state["values"][mask.token], kept[mask.token])
    (stage,) = (name for name in two.stages() if name)
    assert {two.result(RunKey(stage, seed, 1))["status"] for seed in (0, 1)} == {"done"}
    assert two.verify() > 0
