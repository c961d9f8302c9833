"""DESIGN section 7 on pretrained language models (../shared/models/make.py), held against an independent reading."""

import os
from dataclasses import replace
from pathlib import Path

import naive
import pytest
import tiny
import torch
from test_invariants import chunks, close, gradients, prompts

from prunekit import export
from prunekit.engine.evaluate import evaluate
from prunekit.engine.gradient_scores import gradient_scores
from prunekit.export.side_file import TicketInfo
from prunekit.models import load
from prunekit.models.generation import generate
from prunekit.tasks import load_splits, load_task
from prunekit.tasks.decoding import Decoding

pytestmark = [pytest.mark.slow, pytest.mark.real]

MODELS = Path(os.environ.get("PRUNEKIT_MODELS", Path.home() / ".cache" / "prunekit-models"))
P, K = 5, 16
HOLES = tiny.masked([True, False, True, True, False], pieces=K, drop=[(0, 1), (3, 0), (3, 3)])


@pytest.fixture(scope="module", params=["smollm2-135m-instruct", "gemma3-270m"])
def folder(request):
    path = MODELS / request.param
    if not path.is_dir():
        pytest.skip(f"{path} is absent: python ../shared/models/make.py {request.param}")
    return str(path)


@pytest.fixture(scope="module")
def model(folder):
    return load(folder, precision="float32")


@pytest.fixture(scope="module")
def rows(model, shared):
    """Twelve sentences of SST-2, of 5 to 40 tokens."""
    return encoded(model, shared)


def encoded(model, shared):
    task = load_task("sst2")
    splits = load_splits(task, data=str(shared / "data/sst2"), train_examples=12, validation_examples=1)
    return model.encode(splits.train, own_choices=False, prompt_tokens=P)


def ticket(model, seed=0, **more):
    return tiny.ticket(model, tokens=P, pieces=K, seed=seed, scale=model.embedding_rms, **more)


def test_scores_equal_a_loop_over_single_examples(model, rows):
    full, pruned = ticket(model), replace(ticket(model, 1), mask=HOLES)
    for member, found in zip(
        (full, pruned), gradient_scores([full, pruned], model, chunks(model, rows, 5)), strict=True
    ):
        token, piece = naive.scores("llama", model, member, rows, torch.abs)
        close(found.token[member.mask.token], token[member.mask.token])
        close(found.piece[member.mask.piece], piece[member.mask.piece])


def test_members_of_a_cohort_get_the_gradients_they_would_get_alone(model, rows):
    cohort = [ticket(model), replace(ticket(model, 1), mask=HOLES), ticket(model, 2)]
    parts = [rows[:4], rows[4:8], rows[8:]]
    for together, member, part in zip(gradients(model, cohort, parts), cohort, parts, strict=True):
        (alone,) = gradients(model, [member], [part])
        close(together[0], alone[0])


def test_losses_in_a_padded_batch_are_those_of_the_plain_model_on_each_row(model, rows):
    member = ticket(model)
    with torch.no_grad():
        losses = [naive.loss("llama", model, member.state["values"], row) for row in rows]
    close(evaluate(prompts(member), model, rows).losses[0], torch.stack(losses))


def test_a_removed_token_is_a_row_deleted_by_hand_and_no_token_is_the_bare_model(model, rows):
    pruned = replace(ticket(model), mask=HOLES)
    kept = (pruned.state["values"] * HOLES.expand(model.width))[HOLES.token]
    nothing = replace(pruned, mask=tiny.masked([False] * P, pieces=K))
    for member, values in ((pruned, kept), (nothing, kept[:0])):
        with torch.no_grad():
            scores = [naive.choice_scores("llama", model, values, row)[0] for row in rows[:6]]
        close(tiny.logits(model, rows[:6], member)[0], torch.stack(scores))


def test_the_prompt_behind_kept_texts_is_the_prompt_in_whole_rows(folder, shared):
    model = load(folder, precision="float32", position="suffix")
    rows, member = encoded(model, shared)[:6], ticket(model)
    embedded = model.model.get_input_embeddings()
    scores = []
    for row in rows:
        behind = torch.cat([embedded(torch.tensor(row.text)), member.state["values"]])
        with torch.no_grad():
            scores.append(naive.choice_scores("llama", model, behind, replace(row, text=()))[0])
    close(tiny.logits(model, rows, member)[0], torch.stack(scores))


def test_an_export_answers_in_peft_as_here_and_comes_back(model, tmp_path):
    pruned = replace(ticket(model), mask=HOLES)
    for name, content in export.adapter_files(pruned, model, TicketInfo()).items():
        (tmp_path / name).write_bytes(content)
    assert export.verify(tmp_path, pruned, model).difference <= 1e-5
    assert export.read_adapter(str(tmp_path)) == export.flattened(pruned)


@pytest.mark.parametrize("position", ["first", "suffix"])
def test_what_is_written_side_by_side_is_what_the_plain_model_makes_likeliest(folder, shared, position):
    bone = load(folder, precision="float32", position=position)
    texts = [row.text for row in encoded(bone, shared)[:6]]
    members = [ticket(bone), replace(ticket(bone, 1), mask=HOLES)]
    written = generate(bone, prompts(*members), texts, Decoding(max_tokens=6))
    assert bone.writes_together == "batch"
    for member, answers in zip(members, written, strict=True):
        vectors, present = naive.slots(member)
        for text, ids in zip(texts, answers, strict=True):
            before, after = (bone.embed(torch.tensor(part, dtype=torch.long)) for part in (text, ids[:-1]))
            prompt = vectors[present]
            parts = [prompt, before, after] if position == "first" else [before, prompt, after]
            logits = bone.model(inputs_embeds=torch.cat(parts)[None]).logits[0, -len(ids) :]
            chosen = logits.gather(1, torch.tensor(ids)[:, None]).squeeze(1)
            # the likeliest, or as likely but for rounding
            assert bool((chosen >= logits.amax(dim=1) - 1e-4 * logits.abs().max()).all())
