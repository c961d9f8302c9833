from collections import Counter
from dataclasses import replace
from itertools import combinations, permutations
from types import SimpleNamespace

import naive
import pytest
import tiny
import torch

from prunekit.engine import ablation
from prunekit.engine.ablation import leave_one_out, leave_one_out_by_word, shapley
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.evaluate import evaluate
from prunekit.models import Encoded
from prunekit.models.base import Predictions
from prunekit.prompts.mask import Mask
from prunekit.pruning.scores.leave_one_out import Ablation
from prunekit.pruning.scores.shapley import most_subsets
from prunekit.pruning.ticket import Ticket
from prunekit.support.errors import ConfigError
from prunekit.support.seeding import generator

ABSENT = ("remove", "hide", "zero")
CASES = tiny.in_turn(tiny.KINDS, ABSENT)
FULL = [[1, 1, 1, 1]] * 4
# pruned already: token 1 is gone, token 2 has lost a piece, and token 3 hangs on its last one
PRUNED = [[1, 1, 1, 1], [0, 0, 0, 0], [0, 1, 1, 1], [0, 0, 1, 0]]


def cells(rows) -> Mask:
    piece = torch.tensor(rows, dtype=torch.bool)
    return Mask(piece.any(dim=1), piece)


def without(rows, token, piece=None):
    """The same cells less one token, or less one piece of it."""
    return [
        [int(kept and not (row == token and piece in (None, column))) for column, kept in enumerate(line)]
        for row, line in enumerate(rows)
    ]


def setting(kind, rows=PRUNED, dropped_as="remove", count=4, **more):
    bone = tiny.frozen(kind, **more)
    ticket = replace(tiny.ticket(bone), mask=cells(rows), dropped_as=dropped_as)
    return bone, ticket, tiny.encoded(bone, tiny.examples(count))


def one_at_a_time(kind, bone, ticket, rows, examples):
    """Losses and choices [N] under the cells `rows`, one example at a time, by nothing of prunekit."""
    prompt, there = naive.slots(replace(ticket, mask=cells(rows)))
    hidden = None if bool(there.all()) else there
    with torch.no_grad():
        losses = [naive.loss(kind, bone, prompt, one, ticket.head, hidden) for one in examples]
        scores = [naive.choice_scores(kind, bone, prompt, one, ticket.head, hidden)[0] for one in examples]
    return torch.stack(losses), torch.stack([one.argmax() for one in scores])


def close(found, wanted):
    return (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()


# ---- leave one out, by word


@pytest.mark.parametrize("kind", ["t5", "bart", "gpt2", "llama"])
def test_leaving_out_tokens_by_word_equals_deleting_their_rows_by_hand(kind):
    bone, ticket, _ = setting(kind)
    examples = tiny.encoded(bone, tiny.open_examples(5))
    ticks = []
    found = leave_one_out_by_word(ticket, bone, examples, tick=ticks.append)
    read = naive._seq2seq if kind in naive.SEQ2SEQ else naive._causal
    prompt, _ = naive.slots(ticket)  # tokens 0, 2 and 3
    for example, costs in zip(examples, found, strict=True):
        (target,) = example.choices
        with torch.no_grad():
            whole = read(bone.model, prompt, example.text, target, None)
            without = [
                read(bone.model, prompt[[row for row in range(3) if row != left]], example.text, target, None)
                for left in range(3)
            ]
        assert costs.shape == (3, len(target))
        assert (costs - (whole - torch.stack(without))).abs().max() < 1e-5
        assert costs.abs().max() > 1e-3  # or this would compare nothing
    assert ticks[-1] == 4


@pytest.mark.parametrize(("kind", "position"), [("t5", "first"), ("llama", "suffix")])
def test_costs_by_word_have_the_cost_of_the_token_as_their_mean(kind, position):
    bone, ticket, examples = setting(kind, position=position)  # of choices, whose right one counts
    ticket = replace(ticket, position=position)
    found = leave_one_out_by_word(ticket, bone, examples)
    costs = leave_one_out(ticket, bone, examples).costs[[0, 2, 3]]
    assert close(torch.stack([each.mean(dim=1) for each in found], dim=1), costs)


def test_by_word_is_not_said_of_a_head():
    bone, ticket, examples = setting("bert")
    with pytest.raises(ConfigError, match="answers by a head, not by words"):
        leave_one_out_by_word(ticket, bone, examples)


# ---- leave one out


@pytest.mark.parametrize(("kind", "dropped_as"), CASES)
def test_leaving_out_tokens_equals_one_evaluation_at_a_time(kind, dropped_as):
    bone, ticket, examples = setting(kind, dropped_as=dropped_as)
    found = leave_one_out(ticket, bone, examples)
    losses, chosen = one_at_a_time(kind, bone, ticket, PRUNED, examples)
    assert close(found.losses, losses)
    assert torch.equal(found.chosen, chosen)
    assert found.without_losses.shape == found.without_chosen.shape == found.costs.shape == (4, 4)
    for token in (0, 2, 3):
        losses, chosen = one_at_a_time(kind, bone, ticket, without(PRUNED, token), examples)
        assert close(found.without_losses[token], losses)
        assert torch.equal(found.without_chosen[token], chosen)
        assert found.costs[token].abs().max() > 1e-4  # or this would compare nothing
    assert (found.costs[1] == 0).all()
    assert torch.equal(found.without_chosen[1], found.chosen)


@pytest.mark.parametrize(("kind", "dropped_as"), CASES)
def test_leaving_out_pieces_equals_one_evaluation_at_a_time(kind, dropped_as):
    bone, ticket, examples = setting(kind, dropped_as=dropped_as, count=3)
    found = leave_one_out(ticket, bone, examples, "piece")
    assert found.without_losses.shape == found.without_chosen.shape == found.costs.shape == (4, 4, 3)
    for token, line in enumerate(PRUNED):
        for piece, kept in enumerate(line):
            if kept:
                losses, chosen = one_at_a_time(kind, bone, ticket, without(PRUNED, token, piece), examples)
                assert close(found.without_losses[token, piece], losses)
                assert torch.equal(found.without_chosen[token, piece], chosen)
                assert found.costs[token, piece].abs().max() > 1e-5
            else:
                assert (found.costs[token, piece] == 0).all()
                assert torch.equal(found.without_chosen[token, piece], found.chosen)


@pytest.mark.parametrize("dropped_as", ABSENT)
def test_the_last_piece_takes_its_token_with_it(dropped_as):
    bone, ticket, examples = setting("gpt2", dropped_as=dropped_as)
    pieces, tokens = (leave_one_out(ticket, bone, examples, level) for level in ("piece", "token"))
    assert torch.allclose(pieces.without_losses[3, 2], tokens.without_losses[3], rtol=1e-5)


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("level", ["token", "piece"])
def test_how_many_ablations_go_side_by_side_changes_nothing(level, width, monkeypatch):
    bone, ticket, examples = setting("llama", FULL)
    wide = leave_one_out(ticket, bone, examples, level)
    monkeypatch.setattr(ablation, "_WIDTH", width)
    narrow = leave_one_out(ticket, bone, examples, level)
    assert close(narrow.without_losses, wide.without_losses)
    assert torch.equal(narrow.without_chosen, wide.without_chosen)


def test_only_the_units_asked_for_are_left_out():
    bone, ticket, examples = setting("t5")
    every = leave_one_out(ticket, bone, examples, "piece")
    asked = cells([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]).piece  # (1, 0) is dropped already
    left_out, told = asked & ticket.mask.piece, []
    some = leave_one_out(ticket, bone, examples, "piece", only=asked, tick=told.append)
    assert told[-1] == 2
    assert torch.allclose(some.without_losses[left_out], every.without_losses[left_out], rtol=1e-5)
    assert (some.costs[~left_out] == 0).all()
    assert torch.equal(some.without_chosen[~left_out], some.chosen.expand(14, -1))
    tokens = leave_one_out(ticket, bone, examples, only=torch.tensor([True, True, False, False]))
    assert tokens.costs.any(dim=1).tolist() == [True, False, False, False]


def test_a_zero_vector_that_stands_for_itself_costs_nothing():
    bone, ticket, examples = setting("t5", FULL, dropped_as="zero")
    values = ticket.state["values"].clone()
    values[2] = 0
    costs = leave_one_out(replace(ticket, state={"values": values}), bone, examples).costs
    assert costs[2].abs().max() < 1e-5
    assert costs[[0, 1, 3]].abs().max(dim=1).values.min() > 1e-3


# ---- no token at all


@pytest.mark.parametrize(("kind", "dropped_as"), CASES)
def test_a_prompt_of_no_tokens_can_be_evaluated(kind, dropped_as):
    bone, ticket, examples = setting(kind, dropped_as=dropped_as)
    none = [[0] * 4] * 4
    losses, chosen = one_at_a_time(kind, bone, ticket, none, examples)
    empty = replace(ticket, mask=cells(none))
    alone = evaluate(prompt_batch([Member(empty)]), bone, examples)
    beside = evaluate(prompt_batch([Member(ticket), Member(empty)]), bone, examples)
    for row, found in ((0, alone), (1, beside)):
        assert close(found.losses[row], losses)
        assert torch.equal(found.chosen[row], chosen)


@pytest.mark.parametrize("dropped_as", ABSENT)
@pytest.mark.parametrize("kind", tiny.ENCODERS)
def test_a_prompt_of_no_tokens_can_stand_first(kind, dropped_as):
    bone, ticket, examples = setting(kind, dropped_as=dropped_as, position="first")
    found = evaluate(prompt_batch([Member(replace(ticket, mask=cells([[0] * 4] * 4)))]), bone, examples)
    slots = 0 if dropped_as == "remove" else 4
    read = 0 if dropped_as == "zero" else slots  # the first row that is attended to
    for loss, example in zip(found.losses[0], examples, strict=True):
        embeds = torch.cat([torch.zeros(slots, tiny.WIDTH), bone.embed(torch.tensor(example.text))])[None]
        mask = (torch.arange(embeds.shape[1]) >= read).long()[None]
        with torch.no_grad():
            states = bone.model(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
            scores = bone.model.pooler(states[:, read:])[0] @ ticket.head["weight"].t() + ticket.head["bias"]
        assert torch.isclose(loss, -scores.log_softmax(0)[example.gold], rtol=1e-5, atol=1e-5)


def test_a_ticket_of_no_tokens_has_nothing_to_leave_out():
    bone, ticket, examples = setting("t5", [[0] * 4] * 4)
    assert (leave_one_out(ticket, bone, examples).costs == 0).all()
    found = shapley(ticket, bone, examples)
    assert (found.values == 0).all()
    assert (found.full, found.evaluations) == (found.empty, 1)


# ---- Shapley values on models


def brute_force(kind, bone, ticket, units, rows, examples):
    """Values of the units (token,) or (token, piece) from every order, and the losses of all and of none."""
    known = {}

    def worth(kept):
        if kept not in known:
            table = rows
            for unit in set(units) - kept:
                table = without(table, *unit)
            known[kept] = -one_at_a_time(kind, bone, ticket, table, examples)[0].double().mean().item()
        return known[kept]

    gains = {unit: [] for unit in units}
    for order in permutations(units):
        for place, unit in enumerate(order):
            gains[unit].append(worth(frozenset(order[: place + 1])) - worth(frozenset(order[:place])))
    values = {unit: sum(each) / len(each) for unit, each in gains.items()}
    return values, -worth(frozenset(units)), -worth(frozenset())


@pytest.mark.parametrize(("kind", "dropped_as"), tiny.in_turn(("t5", "bart", "gpt2", "bert"), ABSENT))
def test_values_of_few_tokens_are_exact(kind, dropped_as):
    bone, ticket, examples = setting(kind, dropped_as=dropped_as, count=3)
    wanted, full, empty = brute_force(kind, bone, ticket, [(0,), (2,), (3,)], PRUNED, examples)
    found = shapley(ticket, bone, examples)
    assert torch.allclose(found.values[[0, 2, 3]], torch.tensor(list(wanted.values())).double(), atol=1e-5)
    assert (found.error == 0).all()
    assert found.values[1] == 0
    assert [found.full, found.empty] == pytest.approx([full, empty], rel=1e-5)
    assert (found.permutations, found.evaluations) == (0, 8)


def test_values_of_few_pieces_are_exact():
    rows = [[0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]]
    bone, ticket, examples = setting("t5", rows, count=3)
    units = [(0, 1), (0, 2), (2, 3), (3, 0)]
    wanted, _, _ = brute_force("t5", bone, ticket, units, rows, examples)
    found = shapley(ticket, bone, examples, level="piece")
    assert found.values.shape == found.error.shape == (4, 4)
    for unit in units:
        assert found.values[unit].item() == pytest.approx(wanted[unit], abs=1e-5)
    assert (found.values != 0).sum() == 4


@pytest.mark.parametrize(("kind", "level"), tiny.in_turn(tiny.KINDS, ["token", "piece"]))
def test_values_add_up_to_what_the_prompt_is_worth(kind, level):
    bone, ticket, examples = setting(kind, FULL if level == "token" else PRUNED)
    found = shapley(ticket, bone, examples, permutations=4, level=level)
    assert found.permutations == 4  # drawn, not all
    assert found.values.sum().item() == pytest.approx(found.empty - found.full, rel=1e-5, abs=1e-6)
    whole = evaluate(prompt_batch([Member(ticket)]), bone, examples).losses.mean()
    assert found.full == pytest.approx(whole.item(), rel=1e-5)
    assert (found.values[~(ticket.mask.token if level == "token" else ticket.mask.piece)] == 0).all()


# ---- Shapley values of games whose answer is known


class Game:
    """A model whose loss is minus a sum of dividends, each paid where all of its tokens are present.

    A dividend is shared equally by its tokens (Harsanyi 1963): so the Shapley values are known.
    """

    device, pass_tokens = torch.device("cpu"), 5000

    def tokens_read(self, example, prompt_tokens):
        return 1

    def __init__(self, dividends):
        self.dividends = {frozenset(tokens): paid for tokens, paid in dividends.items()}
        self.owners = torch.tensor([[token in tokens for token in range(TEN)] for tokens in dividends])
        self.paid = torch.tensor(list(self.dividends.values()))
        self.seen = []

    def layout(self, example, every_choice):
        return SimpleNamespace(inputs=[()])

    def batch(self, members, every_choice):
        return SimpleNamespace(size=len(members[0]))

    def forward(self, prompts, batch):
        assert prompts.placed.all()
        there = [frozenset(row[row >= 0].tolist()) for row in prompts.source]
        self.seen.append(there)
        present = torch.tensor([[token in tokens for token in range(TEN)] for tokens in there])
        complete = (present[:, None] | ~self.owners).all(dim=2)  # [S, dividends]
        losses = -torch.where(complete, self.paid, 0.0).sum(dim=1)[:, None].expand(-1, batch.size)
        return Predictions(losses, torch.zeros(*losses.shape, 2))

    def values(self, tokens):
        shares = torch.zeros(tokens, dtype=torch.float64)
        for owners, paid in self.dividends.items():
            shares[list(owners)] += paid / len(owners)
        return shares


def plain(tokens, pieces=1):
    return Ticket(Mask.full(tokens, pieces), {"values": torch.ones(tokens, pieces)}, None)


EXAMPLE = [SimpleNamespace(length=1)]
TEN = 10


def random_game(sizes=(1, 2, 3), seed=0):
    draw = generator("game", seed)
    owners = [group for size in sizes for group in combinations(range(TEN), size)]
    return Game(dict(zip(owners, torch.randn(len(owners), generator=draw).tolist(), strict=True)))


def test_more_permutations_leave_less_error():
    game = random_game()
    found = [shapley(plain(TEN), game, EXAMPLE, permutations=count) for count in (8, 32, 112)]
    errors = [one.error.mean().item() for one in found]
    misses = [(one.values - game.values(TEN)).abs().mean().item() for one in found]
    assert errors[0] > 1.3 * errors[1] > 1.3**2 * errors[2] > 0
    assert misses[0] > misses[1] > misses[2]


@pytest.mark.gate
def test_the_error_covers_the_true_value():
    game = random_game()
    covered = []
    for seed in range(40):
        found = shapley(plain(TEN), game, EXAMPLE, permutations=16, seed=seed)
        covered.append((found.values - game.values(TEN)).abs() <= 2.365 * found.error)  # t of 7 degrees, 95 %
    assert 0.9 < torch.stack(covered).double().mean() < 0.99


def test_an_order_and_its_reverse_are_exact_where_tokens_interact_by_pairs():
    game = random_game(sizes=(1, 2))
    found = shapley(plain(TEN), game, EXAMPLE, permutations=4)
    assert torch.allclose(found.values, game.values(TEN), atol=1e-5)
    assert found.error.max() < 1e-5
    threes = random_game()
    assert not torch.allclose(shapley(plain(TEN), threes, EXAMPLE, permutations=4).values, threes.values(TEN), atol=0.1)


def test_tokens_that_stand_in_for_each_other_cost_nothing_alone_and_share_their_worth():
    twins = Game({(0,): 1.0, (1,): 1.0, (0, 1): -1.0, (2,): 0.5})  # either of 0 and 1 is enough; 3 does nothing
    assert leave_one_out(plain(4), twins, EXAMPLE).costs.flatten().tolist() == [0, 0, 0.5, 0]
    for count in (4, 16):  # drawn, and exact
        found = shapley(plain(4), twins, EXAMPLE, permutations=count)
        assert found.values.tolist() == pytest.approx([0.5, 0.5, 0.5, 0])
        assert (found.values[3], found.error[3]) == (0, 0)


def test_a_harmful_token_has_a_negative_value_and_a_negative_cost():
    game = Game({(0,): 1.0, (1,): -0.25, (0, 1): -0.25})
    assert shapley(plain(2), game, EXAMPLE).values.tolist() == pytest.approx([0.875, -0.375])
    assert leave_one_out(plain(2), game, EXAMPLE).costs.flatten().tolist() == [0.75, -0.5]


def test_the_seed_alone_fixes_the_orders():
    game = random_game()
    torch.manual_seed(1)
    one = shapley(plain(TEN), game, EXAMPLE, permutations=8, seed=3)
    torch.manual_seed(2)
    same = shapley(plain(TEN), game, EXAMPLE, permutations=8, seed=3)
    other = shapley(plain(TEN), game, EXAMPLE, permutations=8, seed=4)
    assert torch.equal(one.values, same.values)
    assert torch.equal(one.error, same.error)
    assert not torch.allclose(one.values, other.values)


def test_every_subset_is_evaluated_once_and_in_cohorts_of_one_length():
    game = random_game()
    told = []
    found = shapley(plain(TEN), game, EXAMPLE, permutations=16, tick=told.append)
    seen = Counter(one for cohort in game.seen for one in cohort)
    assert max(seen.values()) == 1
    assert found.evaluations == len(seen) < most_subsets(TEN, 16) == 16 * 9 + 2
    assert len(game.seen) == TEN + 1
    assert told == sorted(told)
    assert told[-1] == most_subsets(TEN, 16)  # a progress bar ends full


def test_many_ablations_are_cut_into_cohorts_of_bounded_width():
    game, told = Game({(0,): 1.0}), []
    leave_one_out(plain(20, pieces=16), game, EXAMPLE, "piece", tick=told.append)
    assert [len(cohort) for cohort in game.seen] == [1, 64, 64, 64, 64, 64]
    assert told == [64, 128, 192, 256, 320]


@pytest.mark.parametrize("count", [-2, 0, 2, 3, 7])
def test_permutations_come_in_pairs_and_a_pair_alone_has_no_error(count):
    with pytest.raises(ConfigError, match="permutations"):
        shapley(plain(3), Game({}), EXAMPLE, permutations=count)


def test_a_choice_is_right_by_any_of_the_right_answers():
    example = Encoded(0, (5,), ((1,), (2,), (3,), (4,)), 1, own_choices=True, right=(1, 3))
    only = Encoded(1, (5,), ((1,), (2,)), 0)
    chosen, without_chosen = torch.tensor([3, 1]), torch.tensor([[1, 0], [0, 1], [3, 1]])
    ablated = Ablation(torch.zeros(2), chosen, torch.zeros(3, 2), without_chosen)
    assert ablation.right_changes(ablated, [example, only]).tolist() == [[0, 1], [-1, 0], [0, 0]]
