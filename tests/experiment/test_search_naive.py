"""The search on the testbed, cell by cell and rank by rank, against a naive one: plain loops, one example at a time.

Of prunekit's own code it takes the loaded model, the encoded examples, the starting values and the data order, which
are given to both sides; training, scores, counts, ranking, masks and the choice are done again here.
"""

import math
from functools import cache
from types import SimpleNamespace

import naive
import numpy as np
import pytest
import tiny
import torch
from naive import close
from transformers.models.t5.modeling_t5 import T5DenseActDense

from prunekit.engine.order import epoch_batches
from prunekit.experiment import run as experiment
from prunekit.experiment.prepare import prepare
from prunekit.experiment.settings import Experiment
from prunekit.runs import round_files
from prunekit.runs.paths import RunKey
from prunekit.runs.round_files import starting_ticket

#: The folder of a search that holds its trials.
GRID = "grid"

pytestmark = pytest.mark.gate

P, K = 4, 4
STEPS, EVERY, BATCH, RATE, WARM, CLIP, DECAY = 3, 2, 3, 0.2, 2, 0.05, 0.01
SEED = 5


def settings(grid):
    return Experiment.model_validate({
        "task": {"name": "testbed/judge-topic", "train_examples": 9, "validation_examples": 9, "test_examples": 8},
        "prompt": {"tokens": P, "pieces": K},
        "training": {
            "train_steps": STEPS, "evaluate_every": EVERY, "batch_size": BATCH, "learning_rate": RATE,
            "warmup_fraction": 0.5, "clip_norm": CLIP, "weight_decay": DECAY,
        },
        "search": {"grid": grid},
        "machine": {"threads": 1},
        "seeds": [SEED],
    })  # fmt: skip


def smooth(grid):
    """The experiment, its model without ReLU's kinks, where rounding may switch a unit and slopes jump."""
    prepared = prepare(settings(grid))
    layers = [module for module in prepared.model.model.modules() if isinstance(module, T5DenseActDense)]
    assert layers
    for layer in layers:
        layer.act = torch.nn.Softplus(beta=50)
    return prepared


@pytest.fixture(scope="module", params=tiny.at_night("paper", "rank", "full"))
def made(request, tmp_path_factory):
    prepared = smooth(request.param)
    return request.param, prepared, experiment.search(prepared, tmp_path_factory.mktemp("out"), tiny.Quiet())


# ---- the naive search


def prompt_of(values, kept):
    """What `naive` reads of a ticket: values [P, H], and by token the set of its kept pieces."""
    piece = torch.tensor([[column in kept.get(row, ()) for column in range(K)] for row in range(P)])
    mask = SimpleNamespace(token=piece.any(dim=1), piece=piece)
    return SimpleNamespace(state={"values": values}, head=None, mask=mask, dropped_as="remove")


def judged(bone, values, kept, examples):
    """Accuracy, and minus the mean loss: the larger is the better, in this order."""
    right = loss = 0
    with torch.no_grad():
        vectors, _ = naive.slots(prompt_of(values, kept))
        for example in examples:
            total, _ = naive.choice_scores("t5", bone, vectors, example)
            right += int(total.argmax()) == example.gold
            loss += float(naive.loss("t5", bone, vectors, example))
    return right / len(examples), -loss / len(examples)


def trained(prepared, start, kept, number, made_of=lambda values: values):
    """Kept values, their step and their accuracy on validation: AdamW by its formulas, one example at a time.

    start: the trained numbers as one tensor, of which `made_of` makes the values [P, H].
    """
    bone, data = prepared.model, prepared.training_data
    lengths = [example.length for example in data.train]
    numbers, mean, square = start.clone(), torch.zeros_like(start), torch.zeros_like(start)
    best = ((-1.0, 0.0), 0, start)
    for step in range(STEPS):
        epoch, turn = divmod(step, len(lengths) // BATCH)
        slope = torch.zeros_like(numbers)
        for key in epoch_batches(lengths, BATCH, SEED, number, epoch)[turn]:
            leaf = numbers.clone().requires_grad_()
            vectors, _ = naive.slots(prompt_of(made_of(leaf), kept))
            (one,) = torch.autograd.grad(naive.loss("t5", bone, vectors, data.train[key]), leaf)
            slope += one / BATCH
        slope = slope * min(1.0, CLIP / (float(slope.norm()) + 1e-6))
        rate = RATE * min(1.0, (step + 1) / WARM)
        mean = 0.9 * mean + 0.1 * slope
        square = 0.999 * square + 0.001 * slope**2
        step_size = (mean / (1 - 0.9 ** (step + 1))) / ((square / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8)
        numbers = numbers - rate * DECAY * numbers - rate * step_size
        if (step + 1) % EVERY == 0 or step + 1 == STEPS:
            reached = judged(bone, made_of(numbers), kept, data.validation)
            if reached > best[0]:
                best = (reached, step + 1, made_of(numbers))
    return SimpleNamespace(validation=best[0][0], step=best[1], values=best[2])


def factors(values, onto):
    """The values as far as they lie in the rows of `onto`, as factors both as large as the values: numbers, `made_of`.

    left [P, k] and right [k, H] stand in one row of numbers; their product is scaled by a frozen number.
    """
    (rank, width), size = onto.shape, values.norm() / math.sqrt(values.numel())  # RMS
    right = onto * (size * math.sqrt(width))
    left = values @ onto.T * math.sqrt(rank / width)
    scale = 1 / (size * math.sqrt(rank))

    def made_of(numbers):
        return scale * (numbers[: P * rank].view(P, rank) @ numbers[P * rank :].view(rank, width))

    return torch.cat([left.flatten(), right.flatten()]), made_of


def direction_scores(prepared, values, examples):
    """Of each singular direction u s v the mean over examples of |<u s v, slope>|; and the directions [P, H]."""
    parts = np.linalg.svd(values.double().numpy(), full_matrices=False)
    left, size, right = (torch.from_numpy(part).float() for part in parts)
    total = torch.zeros(P)
    for example in examples:
        leaf = values.clone().requires_grad_()
        (slope,) = torch.autograd.grad(naive.loss("t5", prepared.model, leaf, example), leaf)
        total += torch.stack([(size[k] * left[:, k] @ slope @ right[k]).abs() for k in range(P)])
    return total / len(examples), right


def counts(whole):
    """What is left where 0, 10, ..., 90 % are dropped, the dropped count rounded down."""
    left = []
    for percent in range(0, 100, 10):
        count = max(1, whole - math.floor(whole * percent / 100))
        if count not in left:
            left.append(count)
    return left


def largest(scores, count):
    return sorted(range(len(scores)), key=lambda key: (-float(scores[key]), key))[:count]


def numbers(counts, width):
    """What is left free: of pairs kept cells, then tokens; of a rank k (P + H - k)."""
    return counts[0] * (P + width - counts[0]) if len(counts) == 1 else (counts[0] * counts[1], counts[0])


def better(one, other, width=128):
    """Whether (counts, validation) `one` is to be chosen over `other`."""
    return one[1] > other[1] or (one[1] == other[1] and numbers(one[0], width) < numbers(other[0], width))


def chosen_of(cells):
    best = None
    for found in cells:
        if best is None or better(found, best):
            best = found
    return best[0]


@pytest.fixture(scope="module")
def reading():
    """Dense round, scores and any cell (its mask and its training), as the naive search finds them."""
    prepared = smooth("full")
    everything = {row: set(range(K)) for row in range(P)}
    dense = trained(prepared, prepared.dense(SEED).state["values"], everything, 0)
    of_dense = prompt_of(dense.values, everything)
    token, piece = naive.scores("t5", prepared.model, of_dense, prepared.training_data.train, torch.abs)

    of_directions, right = direction_scores(prepared, dense.values, prepared.training_data.train)

    @cache
    def cell(counts):
        if len(counts) == 1:
            onto = right[largest(of_directions, counts[0])]
            if counts[0] == P:  # nothing is dropped
                return everything, trained(prepared, dense.values, everything, 1)
            start, made_of = factors(dense.values, onto)
            return everything, trained(prepared, start, everything, 1, made_of)
        tokens, pieces = counts
        kept = {row: set(largest(piece[row], pieces)) for row in largest(token, tokens)}
        return kept, trained(prepared, dense.values, kept, 1)

    return SimpleNamespace(dense=dense, token=token, piece=piece, directions=of_directions, cell=cell)


def tried(grid, reading):
    """The cells of a search, (tokens, pieces): all, or those with whole tokens and then those of the best of these.

    Of a search over ranks (rank,).
    """
    if grid == "rank":
        return [(rank,) for rank in counts(P)]
    if grid == "full":
        return [(tokens, pieces) for tokens in counts(P) for pieces in counts(K)]
    paper = [(tokens, K) for tokens in counts(P)]
    best_tokens, _ = chosen_of((pair, reading.cell(pair)[1].validation) for pair in paper)
    return [*paper, *((best_tokens, pieces) for pieces in counts(K)[1:])]


# ---- side by side


def test_the_dense_round_and_its_scores(made, reading):
    _, _, run = made
    key = RunKey("", SEED, 0)
    result = run.result(key)
    assert (result["validation"]["accuracy"], result["kept_step"]) == (reading.dense.validation, reading.dense.step)
    close(round_files.kept_values(run, key).state["values"], reading.dense.values, 1e-4)
    scores = round_files.load_scores(run, key)["absolute"]
    assert scores.examples == 9
    close(scores.token, reading.token, 1e-3)
    close(scores.piece, reading.piece, 1e-3)
    if made[0] == "rank":
        apart = round_files.load_scores(run, RunKey(made[1].search_stage.scored, SEED, 0))["absolute"]
        close(apart.token, reading.directions, 1e-3)


def test_every_cell_has_the_mask_the_counts_and_the_metric_of_the_naive_search(made, reading):
    grid, prepared, run = made
    top = f"{prepared.search_stage}/{GRID}/"
    found = [key for key in run.rounds() if key.stage.startswith(top)]
    names = ("rank={}" if grid == "rank" else "tokens={}-pieces={}").format
    by_name = {f"{top}{names(*pair)}": pair for pair in tried(grid, reading)}
    assert sorted(key.stage for key in found) == sorted(by_name)
    start = round_files.kept_values(run, RunKey("", SEED, 0)).state["values"]
    for key in found:
        result = run.result(key)
        kept, cell = reading.cell(by_name[key.stage])
        assert result["cells"] == result["tokens"] * result["pieces"] == sum(map(len, kept.values()))
        ticket = starting_ticket(run, key)
        assert ticket.mask.piece.tolist() == [[k in kept.get(row, ()) for k in range(K)] for row in range(P)], key
        assert ticket.mask.token.tolist() == [row in kept for row in range(P)]
        if grid != "rank" or by_name[key.stage] == (P,):
            assert torch.equal(ticket.state["values"], start)
        assert (result["validation"]["accuracy"], result["kept_step"]) == (cell.validation, cell.step), key
        # of factors some slopes are near rounding, and Adam takes steps of any size alike
        values = round_files.finished_ticket(run, key).prompt().prompt().detach()
        close(values, cell.values, 1e-3 if result["method"] == "low_rank" else 1e-4)


def test_the_choice_and_its_one_look_at_the_report_split(made, reading):
    grid, prepared, run = made
    pairs = tried(grid, reading)
    pair = chosen_of(
        (pair, reading.cell(pair)[1].validation) for pair in pairs if grid != "paper" or pair[0] == pairs[-1][0]
    )
    result = run.result(RunKey(prepared.search_stage, SEED, 1))
    counted = (result.get("rank", P),) if grid == "rank" else (result["tokens"], result["pieces"])
    assert counted == pair
    kept, cell = reading.cell(pair)
    assert result["validation"]["accuracy"] == cell.validation
    assert result["test"]["accuracy"] == judged(prepared.model, cell.values, kept, prepared.test)[0]


def test_the_naive_search_has_something_to_tell_apart(made, reading):
    """Cells differ, so that agreement is no accident; no metric of a cell hangs on a near tie of two masks."""
    cells = [reading.cell(pair)[1] for pair in tried(made[0], reading)]
    assert len({cell.validation for cell in cells}) >= (2 if made[0] == "rank" else 3)
    assert len({cell.step for cell in cells}) == 2
    scores = reading.directions if made[0] == "rank" else reading.token
    assert (scores.sort().values.diff() > 1e-2 * scores.max()).all()
