"""A decoder's prompt between text and answer: behind cached texts, as whole rows, and read one example at a time."""

from dataclasses import replace

import pytest
import tiny
import torch
from naive import close, slots
from torch import nn

from prunekit.engine import memory
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.evaluate import evaluate
from prunekit.engine.gradient_scores import gradient_scores
from prunekit.engine.train import train
from prunekit.experiment import run
from prunekit.experiment.prepare import prepare
from prunekit.models import Encoded, load, suffix, wrap
from prunekit.models.decoder import Decoder
from prunekit.models.text_cache import TextCache
from prunekit.models.text_groups import TextKey
from prunekit.runs.paths import RunKey
from prunekit.runs.round_files import starting_ticket
from prunekit.support.errors import ConfigError

DECODERS = ("gpt2", "llama", "opt", "neox", "stories260k")
ABSENT = ("remove", "hide", "zero")
HOLES = tiny.masked([False, True, True, True, False], drop=[(1, 1), (3, 0)])
TAIL = tiny.masked([False, False, False, False, True])
FULL = tiny.masked([True] * 5)


@pytest.fixture(scope="module")
def stories(request):
    folder = request.getfixturevalue("shared") / "models" / "stories260k"
    return lambda **options: load(str(folder), position="suffix", precision="float32", **options)


@pytest.fixture
def suffixed(request):
    """kind, options -> a fresh model with its prompt behind the text."""

    def make(kind, **options):
        if kind == "stories260k":
            return request.getfixturevalue("stories")(**options)
        return tiny.frozen(kind, position="suffix", **options)

    return make


@pytest.fixture(params=tiny.at_night(*DECODERS, gate=2))  # learned positions and rotary; pairs below try all
def bone(request, suffixed):
    return suffixed(request.param)


def rows_of(answers, count=6):
    """Examples of 3 to 13 tokens; answers: "one" token each, "several", or each example's "own"."""
    fixed = {"one": ((5,), (6,)), "several": ((7, 8, 9), (6,), (10, 11)), "long": ((3, 4, 5, 6), (9, 7, 8, 5))}
    made = []
    for index in range(count):
        text = tuple(1 + (7 * index + 3 * position) % 48 for position in range(3 + 2 * index))
        own = tuple(tuple(4 + (index + n + k) % 40 for k in range(1 + n)) for n in range(1 + index % 3))
        choices = own if answers == "own" else fixed[answers]
        made.append(Encoded(index, text, choices, index % len(choices), answers == "own"))
    return made


def cohort(bone, masks=(FULL, HOLES, TAIL), dropped_as="remove", dtype=torch.float32):
    return [replace(tiny.ticket(bone, tokens=5, seed=seed, dropped_as=dropped_as, dtype=dtype), mask=mask)
            for seed, mask in enumerate(masks)]  # fmt: skip


def prompts(tickets):
    return prompt_batch([Member(ticket) for ticket in tickets])


def uncached(bone):
    """Whole rows through the model, from here on."""
    bone.caches_texts = False
    return bone


@torch.no_grad()
def naive(bone, ticket, row):
    """Sum of log p [C] of one example's choices: nothing but the Hugging Face model, a choice at a time, unpadded."""
    vectors, there = slots(ticket)
    scores = []
    for choice in row.choices:
        table = bone.model.get_input_embeddings()
        text, answer = (table(torch.tensor(ids, dtype=torch.long)) for ids in (row.text, choice[:-1]))
        seen = torch.cat([torch.ones(len(text)), there.float(), torch.ones(len(answer))]).long()
        # where nothing is hidden, the model is left to itself
        hiding = {} if bool(there.all()) else {"attention_mask": seen[None]}
        logits = bone.model(inputs_embeds=torch.cat([text, vectors, answer])[None], **hiding).logits[0]
        last = len(text) + (int(there.nonzero().max()) if bool(there.any()) else -1)
        reads = [last, *range(len(text) + len(vectors), len(logits))]
        scores.append(sum(logits[at].log_softmax(-1)[token] for at, token in zip(reads, choice, strict=True)))
    return torch.stack(scores)


# ---- the same as one example at a time


@pytest.mark.parametrize(
    ("bone", "answers", "dropped_as", "cached"),
    [
        *(pytest.param(*case.values, True, marks=case.marks)
          for case in tiny.pairwise(DECODERS, ("one", "several", "own"), ABSENT)),
        *(pytest.param(*case.values, "hide", False, marks=case.marks)
          for case in tiny.in_turn(DECODERS, ("one", "own"))),
    ],
    indirect=["bone"],
)  # fmt: skip
def test_answers_equal_an_independent_reading_of_single_examples(bone, answers, dropped_as, cached):
    assert bone.caches_texts
    bone.caches_texts = cached
    rows, tickets = rows_of(answers), cohort(bone, dropped_as=dropped_as)
    with torch.no_grad():
        judged = bone.forward(prompts(tickets), bone.batch([rows], every_choice=True))
        gold = bone.losses(prompts(tickets), bone.batch([rows], every_choice=False))
        for member, ticket in enumerate(tickets):
            for position, row in enumerate(rows):
                wanted = naive(bone, ticket, row)
                close(judged.logits[member, position, : len(wanted)], wanted)
                assert (judged.logits[member, position, len(wanted) :] == -torch.inf).all()
                loss = -wanted[row.gold] / len(row.choices[row.gold])
                assert abs(float(judged.losses[member, position] - loss)) <= 1e-5 * float(loss)
                assert abs(float(gold[member, position] - loss)) <= 1e-5 * float(loss)
    assert len(bone.texts) == cached * len(rows)


@pytest.mark.parametrize("takes", [True, False])
def test_whole_rows_need_no_positions(takes, monkeypatch):
    """Text, prompt and answer follow each other without a gap, so that the model's own positions are right."""
    accepts = Decoder.accepts
    monkeypatch.setattr(
        Decoder, "accepts", lambda bone, name: (takes or name != "position_ids") and accepts(bone, name)
    )
    bone = wrap(tiny.model("gpt2"), tiny.tokenizer("gpt2"), position="suffix")
    assert bone.caches_texts is takes
    rows, tickets = rows_of("several"), cohort(bone, dropped_as="hide")
    with torch.no_grad():
        judged = bone.forward(prompts(tickets), bone.batch([rows], every_choice=True))
        close(judged.logits[1, 3], naive(bone, tickets[1], rows[3]))


# ---- the same as whole rows, gradients too


def losses_and_gradients(bone, tickets, rows):
    members = [Member(ticket) for ticket in tickets]
    losses = bone.losses(prompt_batch(members), bone.batch(rows, every_choice=False))
    losses.sum().backward()
    return losses.detach(), [member.masked.prompt.values.grad for member in members]


@pytest.mark.parametrize(
    ("bone", "shared_rows", "answers", "dropped_as"),
    tiny.pairwise(DECODERS, (True, False), ("one", "several"), ABSENT),
    indirect=["bone"],
)
def test_losses_and_gradients_equal_those_of_whole_rows(bone, shared_rows, answers, dropped_as):
    tickets, rows = cohort(bone, dropped_as=dropped_as), rows_of(answers, 9)
    batch = [rows] if shared_rows else [rows[:3], rows[3:6], rows[6:]]
    behind, gradients = losses_and_gradients(bone, tickets, batch)
    assert len(bone.texts) == 9
    whole, wanted = losses_and_gradients(uncached(bone), tickets, batch)
    close(behind, whole)
    for found, right in zip(gradients, wanted, strict=True):
        assert float(right.abs().max()) > 0
        close(found, right)


@pytest.mark.parametrize("answers", ["one", "several"])
def test_a_copy_of_the_prompt_per_example_gets_each_examples_own_gradient(bone, answers):
    rows, tickets = rows_of(answers), cohort(bone, dropped_as="hide")
    batch = bone.batch([rows], every_choice=False)
    gradients = []
    for each in (bone, uncached(bone)):
        copies = prompts(tickets).per_example(len(rows))
        each.losses(copies, batch).sum().backward()
        gradients.append(copies.values.grad)
    close(*gradients)


def test_gradient_scores_do_not_depend_on_the_batch(bone):
    rows, tickets = rows_of("several", 7), cohort(bone)
    batches = [
        [bone.batch([rows[at : at + size]], every_choice=False) for at in range(0, 7, size)] for size in (1, 3, 7)
    ]
    alone, few, all_ = (gradient_scores(tickets, bone, some) for some in batches)
    wanted = gradient_scores(tickets, uncached(bone), batches[2])
    for one, right in zip([*alone, *few, *all_], wanted * 3, strict=True):
        close(one.token, right.token)
        close(one.piece, right.piece)


def test_a_row_alone_and_in_any_batch_agree(bone):
    rows, tickets = rows_of("own"), cohort(bone)
    whole = tiny.logits(bone, rows, *tickets)
    largest = float(whole[whole.isfinite()].abs().max())
    for position, row in enumerate(rows):
        alone = tiny.logits(bone, [row], tickets[1])[0, 0]
        assert (whole[1, position, : len(row.choices)] - alone).abs().max() <= 1e-5 * largest


@pytest.mark.parametrize("answers", ["one", "several"])
def test_without_any_prompt_the_bare_model_answers(bone, answers):
    rows = rows_of(answers)
    nothing, full = cohort(bone, (tiny.masked([False] * 5), FULL))
    wanted = torch.stack([naive(bone, nothing, row) for row in rows])
    for tickets in ([nothing], [nothing, full]):
        close(tiny.logits(bone, rows, *tickets)[0], wanted)
    hidden = replace(nothing, dropped_as="hide")  # every slot is there, none is attended to
    close(tiny.logits(bone, rows, hidden)[0], torch.stack([naive(bone, hidden, row) for row in rows]))


def test_evaluation_of_texts_of_all_lengths_is_that_of_whole_rows(bone):
    rows, tickets = rows_of("own", 9), cohort(bone)
    with torch.no_grad():
        behind = evaluate(prompts(tickets), bone, rows)
        whole = evaluate(prompts(tickets), uncached(bone), rows)
    close(behind.losses, whole.losses)
    assert torch.equal(behind.chosen, whole.chosen)


def test_half_precision_and_eager_attention_give_the_same(suffixed):
    for kind in ("gpt2", "llama"):
        for options in ({"dtype": torch.bfloat16}, {}):
            bone = suffixed(kind, **options)
            bone.model.set_attn_implementation("eager")
            behind = tiny.logits(bone, rows_of("several"), *cohort(bone))
            assert len(bone.texts)
            whole = tiny.logits(uncached(bone), rows_of("several"), *cohort(bone))
            close(behind, whole, 5e-2 if options else 1e-5)


def test_a_model_that_scales_its_logits_is_read_right(suffixed):
    bone = suffixed("gpt2")
    bone._plain_output = False
    rows, tickets = rows_of("several"), cohort(bone)
    empty = replace(tickets[0], mask=tiny.masked([False] * 5))
    close(tiny.logits(bone, rows, *tickets, empty)[3, 4], naive(bone, empty, rows[4]))
    assert not len(bone.texts)  # the text's own output is not among what is kept
    close(tiny.logits(bone, rows, *tickets)[1, 4], naive(bone, tickets[1], rows[4]))
    assert len(bone.texts)


def test_padding_behind_a_text_is_never_read(bone):
    rows, tickets = rows_of("several"), cohort(bone)
    wanted, gradients = losses_and_gradients(bone, tickets, [rows])
    torch.use_deterministic_algorithms(True)  # fills memory that nobody wrote with NaN
    try:
        losses, found = losses_and_gradients(bone, tickets, [rows])
    finally:
        torch.use_deterministic_algorithms(False)
    close(losses, wanted)
    close(found[0], gradients[0])


# ---- members


@pytest.mark.parametrize("kind", tiny.at_night("opt", "gpt2"))
def test_members_train_as_they_would_alone(kind, suffixed):
    bone = suffixed(kind, dtype=torch.float64)
    data, plan = tiny.training_data(bone, 12, tokens=5), tiny.plan()
    tickets = cohort(bone, dtype=torch.float64)
    for ticket, made in zip(tickets, train(tickets, bone, data, plan), strict=True):
        assert ticket.position == "suffix"
        (alone,) = train([ticket], suffixed(kind, dtype=torch.float64), data, plan)
        found, wanted = made.last.values.state["values"], alone.last.values.state["values"]
        assert float((found - wanted).abs().max()) <= 1e-8
        assert float((found - ticket.state["values"]).abs().max()) > 0.05


def test_training_touches_no_weight_and_keeps_no_graph(suffixed):
    bone = suffixed("llama")
    before = bone.digest()
    train(cohort(bone), bone, tiny.training_data(bone, 8, tokens=5), tiny.plan(train_steps=4, evaluate_every=2))
    assert bone.digest() == before
    assert all(weight.grad is None and not weight.requires_grad for weight in bone.model.parameters())
    kept = [tensor for text in bone.texts._kept.values() for tensor in (text.keys_values, text.state)]
    assert kept
    assert all(tensor.grad_fn is None and not tensor.requires_grad for tensor in kept)


def test_recomputed_activations_give_the_same_gradients(suffixed):
    bone = suffixed("gpt2")
    tickets, rows = cohort(bone), rows_of("several", 9)
    whole = losses_and_gradients(bone, tickets, [rows])
    memory.recompute_activations(bone)
    again = losses_and_gradients(bone, tickets, [rows])
    assert torch.equal(again[0], whole[0])
    for found, wanted in zip(again[1], whole[1], strict=True):
        close(found, wanted, 1e-6)


# ---- the cache


def reads(bone, monkeypatch):
    """The texts that the model is made to read, as they come."""
    seen, inner = [], bone._read
    monkeypatch.setattr(bone, "_read", lambda keys: seen.extend(key.text for key in keys) or inner(keys))
    return seen


def test_a_text_is_read_once_whatever_stands_behind_it(suffixed, monkeypatch):
    bone = suffixed("gpt2")
    seen, rows = reads(bone, monkeypatch), rows_of("one")
    others = [replace(row, choices=((9, 8), (7,)), gold=0, index=50) for row in rows]
    train(cohort(bone), bone, replace(tiny.training_data(bone, 4), train=rows, validation=others,
          measure=lambda chosen: {"none": 0.0}), tiny.plan(train_steps=6, evaluate_every=3))  # fmt: skip
    assert sorted(seen) == sorted(row.text for row in rows)


# tier -> bytes of memory, and whether memory and disk then hold texts
TIERS = dict(memory=(2**20, True, False), both=(4000, True, True), disk=(0, False, True), none=(0, False, False))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_comes_from_every_tier(suffixed, dtype, monkeypatch):
    rows, found = rows_of("several", 9), []
    for tier, (room, in_memory, on_disk) in TIERS.items():
        bone = suffixed("llama", dtype=dtype)
        bone.texts = TextCache(room)
        monkeypatch.setattr(bone.texts, "_disk_full", tier == "none")
        seen, tickets = reads(bone, monkeypatch), cohort(bone)
        bone.losses(prompts(tickets), bone.batch([rows[::-1]], every_choice=False))
        found.append(losses_and_gradients(bone, tickets, [rows]))
        assert (bone.texts.in_memory > 0, bone.texts.on_disk > 0) == (in_memory, on_disk)
        assert len(seen) == (18 if tier == "none" else 9)
    for losses, gradients in found[1:]:
        assert torch.equal(losses, found[0][0])
        assert all(torch.equal(one, other) for one, other in zip(gradients, found[0][1], strict=True))


def test_what_is_kept_of_a_text_does_not_depend_on_who_came_with_it(bone):
    rows = rows_of("one", 9)
    tiny.logits(bone, rows, *cohort(bone))
    together, bone.texts = bone.texts, TextCache(2**20)
    for row in rows[::-1]:
        tiny.logits(bone, [row], *cohort(bone))
    for row in rows:
        one, other = together._kept[TextKey(row.text)], bone.texts._kept[TextKey(row.text)]
        assert torch.equal(one.keys_values, other.keys_values)
        assert torch.equal(one.state, other.state)


# ---- whole runs


def finished(folder, out, prune=True, **more):
    prepared = prepare(tiny.experiment("gpt2", folder, position="suffix", seeds=2, **more))
    made, texts = run.run(prepared, out, tiny.Quiet(), prune=prune), prepared.model.texts
    assert len(texts) > 0
    assert (texts.on_disk > 0) == (more.get("text_cache_mb") == 0)
    return made


@pytest.fixture(scope="module")
def whole(folder):
    return finished(folder, folder / "whole")


def test_a_run_that_was_interrupted_meets_texts_in_another_order_and_ends_in_the_same_bytes(whole, folder, tmp_path):
    assert starting_ticket(whole, RunKey("", 0, 0)).position == "suffix"
    finished(folder, tmp_path, prune=False)
    again = finished(folder, tmp_path)
    assert tiny.contents(again.path) == tiny.contents(whole.path)


def test_the_cache_is_no_part_of_what_makes_a_run(whole, folder, tmp_path):
    on_disk = finished(folder, tmp_path, text_cache_mb=0)
    assert on_disk.path.name == whole.path.name
    one, other = tiny.contents(whole.path), tiny.contents(on_disk.path)
    assert [name for name in one if one[name] != other[name]] == ["experiment.toml"]


# ---- where the cache cannot be used


def test_dropout_and_moved_inputs_take_whole_rows(suffixed):
    bone = suffixed("gpt2")
    rows, tickets = rows_of("one"), cohort(bone)
    batch = bone.batch([rows], every_choice=False)
    with torch.no_grad():
        plain = bone.losses(prompts(tickets), batch)
        kept = len(bone.texts)
        still = replace(prompts(tickets), embed_input=lambda embedded, mask: embedded)
        shift = torch.linspace(-1, 1, tiny.WIDTH)
        moved = replace(prompts(tickets), embed_input=lambda embedded, mask: embedded + shift)
        close(bone.losses(still, batch), plain)
        assert float((bone.losses(moved, batch) - plain).abs().max()) > 1e-3
        bone.model.train()
        dropped = bone.losses(prompts(tickets), batch)
        bone.model.eval()
        assert float((dropped - plain).abs().max()) > 1e-3
        assert torch.equal(bone.losses(prompts(tickets), batch), plain)
    assert len(bone.texts) == kept


def test_a_model_that_ignores_its_positions_is_noticed(suffixed):
    model = tiny.frozen("gpt2").model

    class Deaf(nn.Module):
        def __init__(self, table):
            super().__init__()
            self.table = table

        def forward(self, positions):
            return self.table(torch.arange(positions.shape[-1]).expand_as(positions))

    model.transformer.wpe = Deaf(model.transformer.wpe)
    assert not Decoder(model, tiny.tokenizer("gpt2"), position="suffix").caches_texts
    assert suffixed("gpt2").caches_texts


def test_rows_longer_than_a_layers_view_go_whole(suffixed):
    bone = suffixed("llama")
    rows = rows_of("one")
    for size, kept in ((17, 0), (18, len(rows))):  # 13 tokens and 5 of the prompt
        bone.config.sliding_window = size
        tiny.logits(bone, rows, *cohort(bone))
        assert len(bone.texts) == kept


@pytest.mark.parametrize(
    "setting",
    [{"rope_parameters": {"rope_type": "dynamic"}}, {"layer_types": ["mamba", "full_attention"]},
     {"_attn_implementation": "flash_attention_2"}],
)  # fmt: skip
def test_what_a_models_configuration_rules_out(setting):
    plain = {"_attn_implementation": "sdpa", "rope_parameters": {"rope_type": "default"}}
    assert suffix.is_cacheable(type("Config", (), plain))
    assert not suffix.is_cacheable(type("Config", (), plain | setting))


@pytest.mark.parametrize("kind", ["t5", "bert"])
def test_other_families_refuse_it(kind):
    with pytest.raises(ConfigError, match="position = 'suffix' does not fit this model; use one of"):
        tiny.frozen(kind, position="suffix")


def test_first_keeps_no_texts():
    bone = tiny.frozen("gpt2")
    assert (bone.position, bone.positions, bone.caches_texts) == ("first", ("first", "suffix"), False)
