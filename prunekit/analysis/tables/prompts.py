"""The prompts of a run as matrices: where they started, what they became, and the snapshots in between."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from prunekit.analysis.subjects import PromptRecord, Snapshots
from prunekit.analysis.tables.results import facts, keys_of
from prunekit.pruning.ticket import State, Ticket, Values
from prunekit.runs import round_files
from prunekit.runs.paths import GRID, SNAPSHOTS, TICKET, RunKey
from prunekit.runs.run import Run
from prunekit.runs.ticket_file import load_ticket, unpack
from prunekit.support.errors import ArtifactError


def subjects(run: Run, stage: str = "", arm: str | None = "ticket") -> list[PromptRecord]:
    """The prompts of one stage that came to the end of their training, by round and seed.

    A method that also moves the input embeddings (DePT, ADePT) is here with its prompt vectors alone.

    Args:
        stage: "" for the dense round; a pruning or a search, such as "prune-1a2b"; or "untrained".
        arm: of a pruning or a search, "ticket" or a control; None for all of them. Cells of a search are never meant.

    Raises:
        ArtifactError: where there is none, or the run is damaged.
    """
    known = facts(run)

    def wanted(key: RunKey) -> bool:
        top, _, rest = key.stage.partition("/")
        one = "ticket" if arm is None else arm
        return top == stage and not rest.startswith(GRID) and (arm is None or (rest or "ticket") == one)

    found = _subjects(run, known, wanted)
    if not found:
        what = f"of {stage}{'' if arm in (None, 'ticket') else f'/{arm}'}" if stage else "of the dense round"
        raise ArtifactError(f"{run.path}: no finished prompt {what}; it has {_stages(run)}")
    return found


def lineages(run: Run, stage: str) -> list[PromptRecord]:
    """The dense prompts of a run, and what a pruning or search made of them, by round and seed.

    Raises:
        ArtifactError: where either is missing, or the run is damaged.
    """
    return subjects(run) + subjects(run, stage)


def snapshots(run: Run, seed: int) -> Snapshots:
    """A dense prompt while it was trained, at its start and at every evaluation.

    Raises:
        ArtifactError: where the round is not finished or holds no snapshots, or the run is damaged.
    """
    key = RunKey("", seed, 0)
    if not run.done([key]):
        raise ArtifactError(f"{run.path}: the dense round of seed {seed} is not finished; run the same command again")
    ticket = load_ticket(run.read(key, TICKET))
    tensors, about = unpack(run.read(key, SNAPSHOTS))
    states: dict[int, State] = {}
    for step in about["steps"]:
        start = f"{step}/"
        states[int(step)] = Values.from_flat(
            {name.removeprefix(start): one for name, one in tensors.items() if name.startswith(start)}
        ).state
    sigma = {step: state["sigma"] for step, state in states.items()} if ticket.method == "singular" else None
    values = {step: _made(ticket, state) for step, state in states.items()}
    return Snapshots(keys_of(facts(run), key), values, sigma)


def _subjects(run: Run, known: dict[str, str], wanted: Callable[[RunKey], bool]) -> list[PromptRecord]:
    found = []
    for key in run.tickets():
        if wanted(key) and run.result(key)["status"] == "done":
            ticket = load_ticket(run.read(key, TICKET))
            values = _made(ticket, round_files.kept_values(run, key).state)
            start = _made(ticket, ticket.state)
            origin = start if key.round == 0 or ticket.rewind == "reinit" else _first(run, key)
            found.append(PromptRecord(keys_of(known, key), values, start, origin, ticket.mask))
    return found


def _first(run: Run, key: RunKey) -> Tensor:
    """[P, H] the start of the round 0 that a round goes back to: its arm's own, else the dense one of its seed."""
    own = key._replace(round=0)
    first = own if run.done([own]) else RunKey("", key.seed, 0)
    ticket = load_ticket(run.read(first, TICKET))
    return _made(ticket, ticket.state)


def _made(ticket: Ticket, state: State) -> Tensor:
    """[P, H] the prompt vectors at saved numbers, whatever the method, without the mask."""
    with torch.no_grad():
        values: Tensor = ticket.at(Values(state, ticket.head)).prompt().prompt()
    return values.detach().float()


def _stages(run: Run) -> str:
    return ", ".join(sorted({str(key.stage) or "the dense round" for key in run.tickets()})) or "none"
