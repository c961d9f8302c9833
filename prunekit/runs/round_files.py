"""The files of one member's finished round, back from disk: its ticket, values, scores and snapshots."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from prunekit.pruning.lottery import RoundResult
from prunekit.pruning.scores import Scores
from prunekit.pruning.ticket import State, Ticket, Values
from prunekit.runs import paths
from prunekit.runs.address import Address
from prunekit.runs.paths import RunKey
from prunekit.runs.reader import RunReader
from prunekit.runs.run import Run
from prunekit.runs.ticket_file import finite, load_ticket, read_ticket, unpacked
from prunekit.support.errors import ArtifactError


def load(run: RunReader, key: RunKey, kind: str, chosen_by: str) -> tuple[Ticket, RoundResult]:
    """A finished round back from disk: the ticket it started from, and what was learned, with its `kind` of scores.

    Args:
        kind: of scores; None are handed back where the round does not hold it.
        chosen_by: the primary metric, or "loss".

    Raises:
        ArtifactError: naming the file that is missing or damaged.
    """
    ticket = starting_ticket(run, key)
    if (ticket.seed, ticket.round) != (key.seed, key.round):
        raise ArtifactError(f"{run.folder(key)}: holds the ticket of another round or seed")
    names = run.manifest(key)["files"]
    scores = load_scores(run, key).get(kind) if paths.SCORES in names else None
    snapshots = load_snapshots(run, key) if paths.SNAPSHOTS in names else {}
    result = run.result(key)
    reached = result["validation"][chosen_by] if result["status"] == "done" else None
    if chosen_by == "loss" and reached is not None:
        reached = -reached  # more is better
    return ticket, RoundResult(kept_values(run, key), reached, scores, snapshots)


def kept_values(run: RunReader, key: RunKey) -> Values:
    """The values that a finished round kept."""
    tensors, facts = _tensors(run, key, paths.TRAINED)
    return _unprefixed("best" if facts["kept_step"] == facts["best_step"] else "last", tensors)


def starting_ticket(run: RunReader, key: RunKey) -> Ticket:
    """The ticket that a finished round started from."""
    return read_ticket(run.content(key, paths.TICKET), run.folder(key) / paths.TICKET)


def load_snapshots(run: RunReader, key: RunKey) -> dict[int, Values]:
    """The values that a finished round had on the way, by step."""
    tensors, facts = _tensors(run, key, paths.SNAPSHOTS)
    return {int(step): _unprefixed(str(step), tensors) for step in facts["steps"]}


def finished_ticket(run: RunReader, key: RunKey) -> Ticket:
    """The ticket as a finished round left it: its mask, and the values that were kept."""
    return starting_ticket(run, key).at(kept_values(run, key))


def locate(path: Path) -> tuple[Run, RunKey] | None:
    """The run that a ticket lies in and where: of a finished round's directory, or an address; None for a ticket file.

    Args:
        path: or an address, which looks like one: `RUN`, `RUN@round=2,seed=1` (see `prunekit.runs.address`).

    Raises:
        ArtifactError: where it is none of these.
        ConfigError: where the address cannot be read.
    """
    if address := Address.parse(path):
        return Run(address.run), address.key()
    if path.is_file() and (path.parent / paths.MANIFEST).is_file():
        path = path.parent  # a round's own file holds its start; what is meant is what became of it
    if path.is_file():
        return None
    if not (path / paths.MANIFEST).is_file():
        raise ArtifactError(
            f"{path}: not a run, nor a finished round of one (RUN@round=2,seed=1, or its folder), nor a ticket file"
        )
    path = path.resolve()
    root = next((folder for folder in path.parents if (folder / paths.SETTINGS).is_file()), None)
    if root is None:
        raise ArtifactError(f"{path}: a round outside its run (no {paths.SETTINGS} above it)")
    try:
        return Run(root), RunKey.parse(path.relative_to(root))
    except ValueError as error:
        raise ArtifactError(f"{path}: not named like a round (seed=0/round=00)") from error


def open_ticket(path: Path) -> Ticket:
    """The ticket that a finished round's directory holds as it was left, or that a ticket file holds.

    Raises:
        ArtifactError: where the path is neither, damaged, or holds values that are no numbers.
    """
    located = locate(path)
    return finite(load_ticket(path) if located is None else finished_ticket(*located), path)


def load_scores(run: RunReader, key: RunKey) -> dict[str, Scores]:
    """The scores of a finished round, by kind."""
    tensors, facts = _tensors(run, key, paths.SCORES)
    kinds: dict[str, int] = facts["examples"]
    more = facts.get("facts", {})
    return {
        kind: Scores(tensors[f"{kind}.token"], tensors[f"{kind}.piece"], count, more.get(kind, {}))
        for kind, count in kinds.items()
    }


def _tensors(run: RunReader, key: RunKey, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    return unpacked(run.content(key, name), run.folder(key) / name)


def _unprefixed(prefix: str, tensors: State) -> Values:
    start = f"{prefix}/"
    return Values.from_flat(
        {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
    )
