"""DESIGN section 7 on tiny random models of every family, held against an independent reading (naive.py)."""

import hashlib
from dataclasses import replace

import naive
import pytest
import tiny
import torch
from naive import close

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.evaluate import evaluate
from prunekit.engine.gradient_scores import gradient_scores
from prunekit.engine.train import TrainingData, train
from prunekit.pruning.lottery import Rewinding, RoundResult, find_tickets
from prunekit.pruning.prune import prune_mask
from prunekit.pruning.schedule import Schedule
from prunekit.pruning.scores import Absolute, Signed, Squared

KINDS = tiny.KINDS
PREFIXES = ("llama-kv",)  # keys and values in every layer; others, and by hand: tests/models/test_prefix.py
# a ragged cohort holds a member of all tokens too; what differs in the others' positions is in their first gradients
TRAINED = [
    *tiny.pairs(KINDS + PREFIXES, [True, False], ["chosen"]),
    *tiny.pairs(["t5", "gpt2"], [True], ["written"]),
]
BY_DAY = [*tiny.pairs(("gpt2", *PREFIXES), [True], ["chosen"]), ("gpt2", True, "written")]
WAYS = tiny.in_turn(KINDS, ("remove", "hide", "zero"))
FORMS = {Absolute(): torch.abs, Signed(): torch.neg, Squared(): torch.square}
HOLES = tiny.masked([True, False, True, True, False], drop=[(0, 1), (3, 0), (3, 3)])


def prompts(*tickets):
    with torch.no_grad():
        return prompt_batch([Member(ticket) for ticket in tickets])


def digests(bone):
    return {
        name: hashlib.sha256(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()).hexdigest()
        for name, tensor in bone.model.state_dict().items()
    }


def chunks(bone, rows, size):
    return [bone.batch([rows[at : at + size]], every_choice=False) for at in range(0, len(rows), size)]


# ---- 1


@pytest.mark.parametrize("kind", KINDS + PREFIXES)
def test_training_moves_the_prompt_and_nothing_else(kind):
    bone, cohort = tiny.frozen(kind), []
    before = digests(bone)
    cohort = [tiny.ticket(bone, seed=seed) for seed in range(2)]
    data = tiny.training_data(bone, 8)
    trained = train(cohort, bone, data, tiny.plan(train_steps=6, evaluate_every=3))
    gradient_scores(cohort, bone, chunks(bone, data.train, 4))
    evaluate(prompts(*cohort), bone, data.validation)
    assert digests(bone) == before
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in bone.model.parameters())
    assert not bone.model.training
    for made in trained:
        assert not torch.equal(made.last.values.state["values"], made.ticket.state["values"])
        assert (made.ticket.head is None) == (kind not in tiny.ENCODERS)
        if made.ticket.head is not None:
            assert not torch.equal(made.last.values.head["weight"], made.ticket.head["weight"])


# ---- 2 and 3: the algorithm with real training


@pytest.mark.parametrize("rewind", ["trained", "init", 4])
def test_after_rewinding_the_effective_values_are_mask_times_the_rewound_values(rewind):
    bone = tiny.frozen("t5")
    data = tiny.training_data(bone, 8, tokens=6)

    def learn(tickets):
        trained = train(tickets, bone, data, tiny.plan(train_steps=6, evaluate_every=3), snapshots=(0, 4))
        kept = [replace(t, state=made.best.values.state) for t, made in zip(tickets, trained, strict=True)]
        found = gradient_scores(kept, bone, chunks(bone, data.train, 8))
        return [
            RoundResult(made.best.values, 0.5, score, made.snapshots)
            for made, score in zip(trained, found, strict=True)
        ]

    keeps = Schedule.geometric(3, 1, 1).keeps(6, 4)
    cohort = [tiny.ticket(bone, tokens=6, seed=seed) for seed in range(2)]
    rounds = list(find_tickets(cohort, keeps, learn, Rewinding(rewind)))
    for member in range(2):
        start = {"init": 0, 4: 4}.get(rewind)
        for before, after, keep in zip(rounds, rounds[1:], keeps, strict=False):
            ticket = after.tickets[member]
            assert (ticket.mask.tokens, ticket.mask.cells) == (keep.tokens, keep.tokens * keep.pieces)
            assert ticket.mask <= before.tickets[member].mask
            source = before.results[member].kept if start is None else rounds[0].results[member].snapshots[start]
            values, _ = ticket.prompt()()
            assert torch.equal(values, source.state["values"] * ticket.mask.expand(tiny.WIDTH))
    assert rounds[-1].tickets[0].mask.cells == 1
    first = rounds[0].results[0].snapshots[0].state["values"]
    assert torch.equal(first, cohort[0].state["values"])


def test_prune_mask_on_real_scores_keeps_exactly_what_was_asked():
    bone = tiny.frozen("gpt2")
    rows = tiny.encoded(bone, tiny.examples(6), 20)
    (found,) = gradient_scores([tiny.ticket(bone, tokens=20, pieces=16)], bone, chunks(bone, rows, 6))
    mask = tiny.ticket(bone, tokens=20, pieces=16).mask
    for keep in Schedule.geometric(3, 0.25, 0.5).keeps(20, 16):
        smaller = prune_mask(mask, found, keep)
        assert smaller <= mask
        assert (smaller.tokens, smaller.cells) == (keep.tokens, keep.tokens * keep.pieces)
        mask = smaller


# ---- 4


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_scores_equal_a_loop_over_single_examples(kind):
    bone = tiny.frozen(kind)
    ticket = tiny.ticket(bone, tokens=5)
    rows = tiny.encoded(bone, tiny.examples(16), 5)
    slopes = naive.slopes(kind, bone, ticket, rows)
    for score, size in tiny.pairs(FORMS, (1, 3, 7, 16)):
        (found,) = gradient_scores([ticket], bone, chunks(bone, rows, size), score)
        for scores, slope in zip((found.token, found.piece), slopes, strict=True):
            close(scores, FORMS[score](slope).mean(dim=0))
        assert found.examples == 16


@pytest.mark.parametrize(("kind", "dropped_as"), WAYS)
def test_gradient_scores_of_a_pruned_prompt_equal_the_loop(kind, dropped_as):
    bone = tiny.frozen(kind)
    full, pruned = tiny.ticket(bone, tokens=5, seed=1), tiny.ticket(bone, tokens=5, dropped_as=dropped_as)
    pruned = replace(pruned, mask=HOLES)
    rows = tiny.encoded(bone, tiny.examples(7), 5)
    both = gradient_scores([pruned, full], bone, chunks(bone, rows, 3))  # beside a longer member
    (alone,) = gradient_scores([pruned], bone, chunks(bone, rows, 7))
    token, piece = naive.scores(kind, bone, pruned, rows, torch.abs)
    for found in (both[0], alone):
        close(found.token[HOLES.token], token[HOLES.token])
        close(found.piece[HOLES.piece], piece[HOLES.piece])
    close(both[1].token, naive.scores(kind, bone, full, rows, torch.abs)[0])


@pytest.mark.parametrize("examples", [tiny.examples(7, choices=("good w3 w9", "bad")), tiny.open_examples(7)])
@pytest.mark.parametrize("kind", ["t5", "bart", "gpt2", "llama", "opt"])
def test_gradient_scores_with_answers_of_several_tokens_and_mixed_lengths(kind, examples):
    bone = tiny.frozen(kind)
    ticket = tiny.ticket(bone)
    rows = tiny.encoded(bone, examples)
    token, piece = naive.scores(kind, bone, ticket, rows, torch.abs)
    for size in (1, 4, 7):
        (found,) = gradient_scores([ticket], bone, chunks(bone, rows, size))
        close(found.token, token)
        close(found.piece, piece)


def test_a_token_score_is_the_signed_sum_of_its_pieces_and_absolute_is_not():
    bone = tiny.frozen("t5")
    rows = tiny.encoded(bone, tiny.examples(5))
    batch = chunks(bone, rows, 5)
    (signed,) = gradient_scores([tiny.ticket(bone)], bone, batch, Signed())
    close(signed.token, signed.piece.sum(dim=1))
    (absolute,) = gradient_scores([tiny.ticket(bone)], bone, batch)
    assert (absolute.token < absolute.piece.sum(dim=1)).all()


# ---- 5


def trio(bone, dtype=torch.float32, ragged=False):
    cohort = [tiny.ticket(bone, tokens=5, seed=seed, dtype=dtype) for seed in range(3)]
    if ragged:
        shorter = tiny.masked([False, False, True, False, True], drop=[(2, 0)])
        cohort = [cohort[0], replace(cohort[1], mask=HOLES), replace(cohort[2], mask=shorter)]
    return cohort


def gradients(bone, cohort, rows):
    """First-step gradients of every member, each on its own examples."""
    members = [Member(ticket) for ticket in cohort]
    batch = bone.batch(rows, every_choice=False)
    bone.losses(prompt_batch(members), batch).mean(dim=1).sum().backward()
    return [[parameter.grad for parameter in member.parameters()] for member in members]


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("kind", KINDS + PREFIXES)
def test_members_of_a_cohort_get_the_gradients_they_would_get_alone(kind, ragged):
    bone = tiny.frozen(kind)
    cohort = trio(bone, ragged=ragged)
    rows = tiny.encoded(bone, tiny.examples(12), 5)
    own = [rows[:4], rows[4:8], rows[8:]]
    together = gradients(bone, cohort, own)
    for place in range(3):
        (alone,) = gradients(bone, [cohort[place]], [own[place]])
        for found, wanted in zip(together[place], alone, strict=True):
            close(found, wanted)


@pytest.mark.parametrize(("kind", "ragged", "task"), tiny.by_day(TRAINED, BY_DAY))
def test_members_of_a_cohort_train_as_they_would_alone(kind, ragged, task):
    bone = tiny.frozen(kind, dtype=torch.float64)
    cohort = trio(bone, torch.float64, ragged)
    data, plan = tiny.training_data(bone, 8, tokens=5), tiny.plan(evaluate_every=20 if ragged else 10)
    if task == "written":
        rows = tiny.encoded(bone, tiny.open_examples(8), 5)
        data = TrainingData(rows, rows, lambda chosen: {})
    together = train(cohort, bone, data, plan)
    for ticket, made in zip(cohort, together, strict=True):
        (alone,) = train([ticket], bone, data, plan)
        assert (made.best.step, made.steps) == (alone.best.step, alone.steps) == (alone.best.step, 20)
        found, wanted = made.last.values.flat(), alone.last.values.flat()
        for name, value in wanted.items():
            assert value.dtype == torch.float64
            assert float((found[name] - value).abs().max()) <= 1e-8, name
        assert float((found["state.values"] - ticket.state["values"]).abs().max()) > 0.05


@pytest.mark.parametrize("optimizer", tiny.at_night("adafactor", "adamw", "sgd"))  # AdamW trains the cohort above
def test_members_share_no_optimiser_statistics(optimizer):
    bone = tiny.frozen("bert", dtype=torch.float64)
    cohort = trio(bone, torch.float64)
    data = tiny.training_data(bone, 12, tokens=5)
    plan = tiny.plan(train_steps=5, evaluate_every=5, optimizer=optimizer, learning_rate=0.3, clip_norm=0.1)
    together = train(cohort, bone, data, plan)
    for ticket, made in zip(cohort, together, strict=True):
        (alone,) = train([ticket], bone, data, plan)
        assert float((made.last.values.state["values"] - alone.last.values.state["values"]).abs().max()) <= 1e-8


# ---- 6


@pytest.mark.parametrize("kind", KINDS)
def test_a_removed_token_is_a_row_deleted_by_hand(kind):
    bone = tiny.frozen(kind)
    ticket = replace(tiny.ticket(bone, tokens=5), mask=HOLES)
    values = (ticket.state["values"] * HOLES.expand(tiny.WIDTH))[HOLES.token]
    by_hand = replace(ticket, mask=tiny.masked([True] * 3), state={"values": values})
    rows = tiny.encoded(bone, tiny.examples(6), 5)
    assert torch.equal(tiny.logits(bone, rows, ticket), tiny.logits(bone, rows, by_hand))


@pytest.mark.parametrize("kind", KINDS)
def test_hiding_the_leading_tokens_equals_removing_them_where_positions_are_relative(kind):
    bone = tiny.frozen(kind)
    mask = tiny.masked([False, False, True, True, True])
    rows = tiny.encoded(bone, tiny.examples(6), 5)
    removed, hidden = (
        tiny.logits(bone, rows, replace(tiny.ticket(bone, tokens=5, dropped_as=dropped_as), mask=mask))
        for dropped_as in ("remove", "hide")
    )
    if kind in ("t5", "llama", "neox", "opt"):
        close(hidden, removed)
    else:  # a hidden slot keeps its position, so every text position is another one: documented, not an error
        assert float((hidden - removed).abs().max()) > 1e-3


@pytest.mark.parametrize("kind", KINDS + PREFIXES)
def test_members_of_different_lengths_answer_as_they_do_alone(kind, monkeypatch):
    bone = tiny.frozen(kind)
    cohort = trio(bone, ragged=True)
    rows = tiny.encoded(bone, tiny.examples(6), 5)
    passes = []
    inner = bone._arguments
    monkeypatch.setattr(bone, "_arguments", lambda placed: passes.append(len(placed.embeds)) or inner(placed))
    together = tiny.logits(bone, rows, *cohort)
    assert passes == ([6, 6, 6] if kind == "bart" else [18])  # BART counts positions by itself
    for place, ticket in enumerate(cohort):
        close(together[place], tiny.logits(bone, rows, ticket)[0])


@pytest.mark.parametrize(("kind", "dropped_as"), WAYS)
def test_what_stands_for_a_dropped_token_is_what_the_ticket_says(kind, dropped_as):
    bone = tiny.frozen(kind)
    ticket = replace(tiny.ticket(bone, tokens=5, dropped_as=dropped_as), mask=HOLES)
    rows = tiny.encoded(bone, tiny.examples(5), 5)
    vectors, there = naive.slots(ticket)
    hidden = None if bool(there.all()) else there
    found = tiny.logits(bone, rows, ticket)[0]
    with torch.no_grad():
        wanted = [naive.choice_scores(kind, bone, vectors, row, ticket.head, hidden)[0] for row in rows]
    close(found, torch.stack(wanted))


# ---- 7


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_mask_is_the_plain_soft_prompt(kind):
    bone = tiny.frozen(kind)
    ticket = tiny.ticket(bone, tokens=5)
    (row,) = tiny.encoded(bone, tiny.examples(1), 5)
    with torch.no_grad():
        wanted, _ = naive.choice_scores(kind, bone, ticket.state["values"], row, ticket.head)
        loss = naive.loss(kind, bone, ticket.state["values"], row, ticket.head)
        judged = bone.forward(prompts(ticket), bone.batch([[row]], every_choice=True))
    close(judged.logits[0, 0], wanted, 2e-6)
    close(judged.losses[0], loss[None], 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_no_prompt_at_all_is_the_bare_model(kind):
    bone = tiny.frozen(kind)
    ticket = tiny.ticket(bone, tokens=3)
    nothing = replace(ticket, mask=tiny.masked([False] * 3))
    rows = tiny.encoded(bone, tiny.examples(5), 5)
    assert prompts(nothing).values.shape == (1, 0, tiny.WIDTH)
    empty = torch.zeros(0, tiny.WIDTH)
    with torch.no_grad():
        wanted = torch.stack([naive.choice_scores(kind, bone, empty, row, ticket.head)[0] for row in rows])
    close(tiny.logits(bone, rows, nothing)[0], wanted)
    beside = tiny.logits(bone, rows, nothing, ticket)
    close(beside[0], wanted)
    result = evaluate(prompts(nothing), bone, rows)
    assert result.chosen[0].tolist() == wanted.argmax(dim=1).tolist()


@pytest.mark.parametrize("kind", KINDS + PREFIXES)
def test_the_same_seed_and_cohort_give_the_same_bytes_twice(kind):
    def once():
        bone = tiny.frozen(kind)
        cohort = trio(bone, ragged=True)
        trained = train(cohort, bone, tiny.training_data(bone, 8, tokens=5), tiny.plan(train_steps=6, evaluate_every=3))
        rows = tiny.encoded(bone, tiny.examples(8), 5)
        found = gradient_scores(cohort, bone, chunks(bone, rows, 4))
        tensors = [
            value
            for made in trained
            for value in (*made.best.values.flat().values(), *made.last.values.flat().values())
        ]
        tensors += [value for one in found for value in (one.token, one.piece)]
        return [value.contiguous().numpy().tobytes() for value in tensors], [made.log for made in trained]

    assert once() == once()


def test_dropout_of_the_model_is_named_too_and_gone_afterwards():
    def once(active):
        bone = tiny.frozen("t5")
        plan = tiny.plan(train_steps=3, evaluate_every=3, model_dropout=active)
        (made,) = train([tiny.ticket(bone)], bone, tiny.training_data(bone, 8), plan)
        assert not any(module.training for module in bone.model.modules())
        return made.last.values.state["values"]

    state = torch.random.get_rng_state()
    assert torch.equal(once(True), once(True))
    assert not torch.equal(once(True), once(False))
    assert torch.equal(torch.random.get_rng_state(), state)


# ---- a prompt alone can learn


@pytest.mark.gate
@pytest.mark.parametrize("kind", tiny.by_day(KINDS, ["gpt2"]))
def test_two_hundred_steps_lower_the_loss_through_the_prompt_alone(kind):
    bone = tiny.frozen(kind)
    ticket, data = tiny.ticket(bone), tiny.training_data(bone, 16)
    plan = tiny.plan(train_steps=200, evaluate_every=200, batch_size=16, head_learning_rate=1e-30)
    (made,) = train([ticket], bone, data, plan)
    if ticket.head is not None:
        assert torch.equal(made.last.values.head["weight"], ticket.head["weight"])
    losses = [entry.value for entry in made.log if (entry.split, entry.metric) == ("validation", "loss")]
    assert losses[-1] <= 0.8 * losses[0], losses
