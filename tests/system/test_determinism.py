"""The same experiment gives the same bytes in any process, and the same scores in any batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from roots import ROOT

from prunekit.engine import gradient_scores
from prunekit.engine.gradient_scores import all_scores, scoring_batches
from prunekit.pruning.prune import prune_mask
from prunekit.pruning.schedule import Keep

#: Environments that must make no difference.
PLACES = [
    {"PYTHONHASHSEED": "0", "LC_ALL": "C", "TZ": "UTC"},
    {"PYTHONHASHSEED": "1", "LC_ALL": "C.UTF-8", "TZ": "Asia/Kathmandu", "LANG": "de_DE.UTF-8"},
    {"PYTHONHASHSEED": "4242", "LC_ALL": "tr_TR.UTF-8", "TZ": "America/St_Johns", "LANGUAGE": "tr"},
]
JOBS = {
    "prune": dict(rounds=3, keep_tokens=1, seeds=2, width=2),
    "prune, directions": dict(rounds=2, keep_tokens=None, keep_rank=1, seeds=2, width=2),
    "search": dict(rounds=None, keep_tokens=None, seeds=2, width=3, train_steps=2, evaluate_every=1),
}


def run(arguments, place, cwd):
    """A command in a fresh process, somewhere else and in another language."""
    cwd.mkdir()
    own = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTEST"))}
    own["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-m", "prunekit", *arguments]
    subprocess.run(command, check=True, capture_output=True, env=own | place, cwd=cwd)


@pytest.mark.slow  # the gate has test_wheel.py's
@pytest.mark.parametrize("verb", JOBS)
def test_fresh_processes_write_the_same_bytes(verb, tmp_path, capsys):
    arguments = [verb.partition(",")[0], *tiny.arguments("gpt2", tmp_path, **JOBS[verb])]
    made = []
    for number, place in enumerate(PLACES):
        out = tmp_path / f"out-{number}"
        run([*arguments, f"--out={out}"], place, tmp_path / f"cwd-{number}")
        made.append(next(out.iterdir()))
    assert len({one.name for one in made}) == 1
    contents = [tiny.contents(one) for one in made]
    assert all(one.keys() == contents[0].keys() for one in contents[1:])
    differing = [name for name in contents[0] if len({one[name] for one in contents}) > 1]
    assert differing == []
    assert {path.name for path in made[0].rglob("*") if path.is_file()} - {Path(name).name for name in contents[0]} == {
        "environment.json", "timing.json", ".lock",
    }  # fmt: skip
    with capsys.disabled():
        print(f"\n{verb}: {len(contents[0])} files of {len(PLACES)} fresh processes are the same, byte for byte")


@pytest.mark.parametrize("kind", tiny.by_day(tiny.KINDS, ("t5", "gpt2", "llama", "bert")))
def test_scores_and_masks_do_not_change_with_batch_size_or_padding_side(kind, monkeypatch, capsys):
    bone = tiny.frozen(kind)
    tickets = [tiny.ticket(bone, tokens=6, seed=seed) for seed in range(2)]
    rows = tiny.encoded(bone, tiny.examples(17), 6)
    found = {}
    for side, size in (("right", 32), ("right", 1), ("left", 7)):
        bone.tokenizer.padding_side = side
        monkeypatch.setattr(gradient_scores, "BATCH", size)
        found[side, size] = all_scores(tickets, bone, scoring_batches(bone, rows))
    bone.tokenizer.padding_side = "right"
    wanted, worst = found["right", 32], 0.0
    for scores in found.values():
        for one, other in zip(scores, wanted, strict=True):
            for name in one:
                for part in ("token", "piece"):
                    difference = (getattr(one[name], part) - getattr(other[name], part)).abs().max()
                    worst = max(worst, float(difference / getattr(other[name], part).abs().max()))
                for keep in (Keep(1, 1), Keep(3, 2), Keep(5, 4)):
                    full = tickets[0].mask
                    assert prune_mask(full, one[name], keep) == prune_mask(full, other[name], keep)
    assert worst < 1e-5
    with capsys.disabled():
        print(f"\n{kind}: scores in batches of 1, 7, 17 differ by {worst:.1e} at most, no mask differs")


@pytest.mark.parametrize("kind", ["gpt2", "t5", "bert"])
def test_answers_do_not_change_with_padding_side_or_batch(kind, monkeypatch):
    from prunekit.engine import evaluate
    from prunekit.engine.cohort import Member, prompt_batch

    bone = tiny.frozen(kind)
    rows = tiny.encoded(bone, tiny.examples(17))
    with torch.no_grad():
        prompts = prompt_batch([Member(tiny.ticket(bone))])
    found = []
    for side in ("right", "left"):
        bone.tokenizer.padding_side = side
        for size in (1, 7, 128):
            monkeypatch.setattr(evaluate, "_ROWS", size)
            found.append(evaluate.evaluate(prompts, bone, rows))
    bone.tokenizer.padding_side = "right"
    for one in found:
        assert torch.equal(one.chosen, found[-1].chosen)
        assert torch.allclose(one.losses, found[-1].losses, rtol=1e-5, atol=1e-6)
