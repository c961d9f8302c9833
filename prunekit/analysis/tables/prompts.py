"""The prompts of a run as matrices: where they started, what they became, and the snapshots in between."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from prunekit.analysis.subjects import PromptRecord, Snapshots
from prunekit.analysis.tables.run_columns import key_columns, run_columns
from prunekit.pruning.ticket import State, Ticket, Values
from prunekit.runs import round_files
from prunekit.runs.paths import DENSE, RunKey, Stage
from prunekit.runs.reader import RunReader
from prunekit.support.errors import ArtifactError


def subjects(run: RunReader, stage: str = "", arm: str | None = "ticket") -> list[PromptRecord]:
    """The prompts of one stage that came to the end of their training, by round and seed.

    A method that also moves the input embeddings (DePT, ADePT) is here with its prompt vectors alone.

    Args:
        stage: "" for the dense round; a pruning or a search, such as "prune-1a2b"; or "untrained".
        arm: of a pruning or a search, "ticket" or a control; None for all of them. Trials of a search are never meant.

    Raises:
        ArtifactError: where there is none, or the run is damaged.
    """

    def is_wanted(key: RunKey) -> bool:
        inside = key.stage.top == Stage(stage) and not key.stage.is_trial
        return inside and (arm is None or (key.stage.arm or "ticket") == arm)

    records = _records(run, is_wanted)
    if not records:
        what = f"of {stage}{'' if arm in (None, 'ticket') else f'/{arm}'}" if stage else "of the dense round"
        raise ArtifactError(f"{run.path}: no finished prompt {what}; it has {_stages(run)}")
    return records


def trial_subjects(run: RunReader, stage: str) -> list[PromptRecord]:
    """The prompts of every trial of a search that came to the end of its training; `arm` names the trial.

    Args:
        stage: of the search, such as "search-1a2b".

    Raises:
        ArtifactError: where the run is damaged.
    """
    return _records(run, lambda key: key.stage.top == Stage(stage) and key.stage.is_trial)


def dense_and_pruned(run: RunReader, stage: str) -> list[PromptRecord]:
    """The dense prompts of a run, and what a pruning or search made of them, by round and seed.

    Raises:
        ArtifactError: where either is missing, or the run is damaged.
    """
    return subjects(run) + subjects(run, stage)


def snapshots(run: RunReader, seed: int) -> Snapshots:
    """A dense prompt while it was trained, at its start and at every evaluation.

    Raises:
        ArtifactError: where the round is not finished or holds no snapshots, or the run is damaged.
    """
    key = RunKey(DENSE, seed, 0)
    if not run.done([key]):
        raise ArtifactError(f"{run.path}: the dense round of seed {seed} is not finished; run the same command again")
    ticket = round_files.starting_ticket(run, key)
    states = {step: values.state for step, values in round_files.load_snapshots(run, key).items()}
    sigma = {step: state["sigma"] for step, state in states.items()} if ticket.method == "singular" else None
    vectors = {step: _vectors(ticket, state) for step, state in states.items()}
    return Snapshots(key_columns(run_columns(run), key), vectors, sigma)


def _records(run: RunReader, is_wanted: Callable[[RunKey], bool]) -> list[PromptRecord]:
    return [_record(run, key) for key in run.tickets() if is_wanted(key) and run.result(key)["status"] == "done"]


def _record(run: RunReader, key: RunKey) -> PromptRecord:
    ticket = round_files.starting_ticket(run, key)
    start = _vectors(ticket, ticket.state)
    origin = start if key.round == 0 or ticket.rewind == "reinit" else _first_start(run, key)
    values = _vectors(ticket, round_files.kept_values(run, key).state)
    return PromptRecord(key_columns(run_columns(run), key), values, start, origin, ticket.mask)


def _first_start(run: RunReader, key: RunKey) -> Tensor:
    """[P, H] the start of the round 0 that a round goes back to: its arm's own, else the dense one of its seed."""
    of_arm = key._replace(round=0)
    ticket = round_files.starting_ticket(run, of_arm if run.done([of_arm]) else RunKey(DENSE, key.seed, 0))
    return _vectors(ticket, ticket.state)


def _vectors(ticket: Ticket, state: State) -> Tensor:
    """[P, H] the prompt vectors at saved numbers, whatever the method, without the mask."""
    with torch.no_grad():
        values: Tensor = ticket.at(Values(state, ticket.head)).prompt().prompt()
    return values.detach().float()


def _stages(run: RunReader) -> str:
    return ", ".join(sorted({key.stage or "the dense round" for key in run.tickets()})) or "none"
