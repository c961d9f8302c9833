"""A run's own model as plain functions of prompt vectors, for analyses that know no model: losses, starts, words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.evaluate import evaluate
from prunekit.experiment import provenance
from prunekit.experiment.experiment_of import experiment_of
from prunekit.experiment.prepare import Prepared, encode, model_of, prepare
from prunekit.experiment.task_of import task_of
from prunekit.models import Encoded, FrozenModel
from prunekit.prompts.mask import Mask
from prunekit.prompts.methods import kind
from prunekit.pruning.ticket import Ticket
from prunekit.runs import round_files
from prunekit.runs.paths import DENSE, RunKey
from prunekit.runs.reader import RunReader
from prunekit.support.errors import ConfigError
from prunekit.tasks import Example, Task
from prunekit.tasks.drawn import drawn

Split = Literal["train", "validation", "test"]

# prompts that go through the model side by side, as many as `ablation` takes
_WIDTH = 64
# seeds of starts that no run has: runs count theirs from 0
_SEEDS = 1_000_000_000


def evaluator(
    run: RunReader,
    seed: int = 0,
    *,
    key: RunKey | None = None,
    split: Split = "validation",
    examples: int | None = None,
    model: FrozenModel | None = None,
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """What a run's model makes of other values in the place of a finished prompt's.

    The function takes prompts [S, P, H] and gives the losses of N examples [S, N] (nats) and the primary metric [S],
    NaN where answers are written: nothing is, here.
    The prompt's own mask says which tokens are there, and its own head reads the answer; the values of a token are
    taken as they are, dropped pieces too. Prompts go through the model side by side.

    Args:
        seed: whose dense prompt is replaced.
        key: the round whose prompt is, instead.
        split: "validation" by default, since `test` is looked at once.
        examples: so many, drawn once; all by default.
        model: the run's, where it is loaded already.

    Raises:
        ArtifactError: where the run or the round is damaged.
        ConfigError: where the method also moves the input embeddings, which no values can replace, or model and task
            cannot be loaded.
    """
    ticket = round_files.finished_ticket(run, key or RunKey(DENSE, seed, 0))
    if kind(ticket.method, ticket.state).moves_input:
        raise ConfigError(f'{run.path}: method "{ticket.method}" also moves the input; its values alone are no prompt')
    experiment = experiment_of(run)
    task, splits = task_of(experiment)
    model = model or model_of(experiment)
    _check_same(run, model, task, {split: splits.parts[split]})
    evaluated = drawn(splits.parts[split], examples)
    rows = encode(model, task, evaluated, len(ticket.mask.token))

    def losses_and_metric(values: Tensor) -> tuple[Tensor, Tensor]:
        blocks = [
            _answers(ticket, values[start : start + _WIDTH], model, rows) for start in range(0, len(values), _WIDTH)
        ]
        losses, chosen = (torch.cat(parts) for parts in zip(*blocks, strict=True))
        if task.open:
            return losses, torch.full((len(losses),), torch.nan, dtype=torch.float64)
        metric = [task.score(evaluated, choices)[task.metrics[0]] for choices in chosen.tolist()]
        return losses, torch.tensor(metric, dtype=torch.float64)

    return losses_and_metric


def starts(run: RunReader) -> Callable[[int], Tensor]:
    """How a run starts its prompts: count -> [count, P, H], different starts of seeds that no run has.

    The same for the same count; each is drawn once.

    Raises:
        ArtifactError: where the run is damaged.
        ConfigError: where model and task cannot be loaded.
        DataError: where model and task cannot be loaded.
    """
    prepared = prepare(experiment_of(run))
    provenance.check(run.path, provenance.run_content(run), prepared.content, allow_changed=False)

    @cache
    def start(number: int) -> Tensor:
        return _start(prepared, _SEEDS + number)

    return lambda count: torch.stack([start(number) for number in range(count)])


def embedding(run: RunReader, model: FrozenModel | None = None) -> tuple[Tensor, list[str]]:
    """The input embeddings of a run's model, [V, H] in float32, and the V words they stand for.

    Args:
        model: the run's, where it is loaded already.

    Raises:
        ArtifactError: where the run is damaged.
        ConfigError: where its model cannot be loaded.
        DataError: where its model cannot be loaded.
    """
    model = model or model_of(experiment_of(run))
    _check_same(run, model)
    count = min(len(model.tokenizer), model.embedding_rows)
    words: list[str] = model.tokenizer.convert_ids_to_tokens(list(range(count)))
    return model.embed(torch.arange(count)).detach().float().cpu(), words


def _check_same(
    run: RunReader, model: FrozenModel, task: Task | None = None, splits: Mapping[str, Sequence[Example]] | None = None
) -> None:
    """Whether model, task and rows are still those that a run was made with; its figures would be of others."""
    provenance.check(
        run.path, provenance.run_content(run), provenance.content(model, task, splits), allow_changed=False
    )


def _answers(ticket: Ticket, values: Tensor, model: FrozenModel, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor]:
    """Losses and choices [S, N] of values [S, P, H] in the place of a ticket's."""
    token = ticket.mask.token
    mask = Mask(token, token[:, None].expand(-1, ticket.mask.piece.shape[1]).clone())
    plain = replace(ticket, method="direct", mask=mask)
    members = [Member(replace(plain, state={"values": prompt}), model.device) for prompt in values]
    with torch.no_grad():
        evaluation = evaluate(prompt_batch(members), model, rows)
    return evaluation.losses, evaluation.chosen


def _start(prepared: Prepared, seed: int) -> Tensor:
    with torch.no_grad():
        values: Tensor = prepared.dense(seed).prompt().prompt()
    return values.detach().float()
