"""What is measured: a score, and on how many examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from prunekit.experiment.settings import PruningSettings
from prunekit.pruning.scores import Score
from prunekit.support import toml
from prunekit.support.errors import ConfigError, nearest

FOLDER = Path(__file__).parent / "entries"


@dataclass(frozen=True)
class Entry:
    """One finder.

    Attributes:
        name: of its file.
        score: a built-in name, or module:Class.
        examples: of `train` that it is given.
    """

    name: str
    score: str
    examples: int

    @classmethod
    def read(cls, path: Path) -> Entry:
        """The entry of a file with `score` and `examples`.

        Raises:
            ConfigError: naming the file and what it lacks.
        """
        table = toml.read_table(path)
        try:
            return cls(path.stem, str(table["score"]), int(table["examples"]))
        except KeyError as error:
            raise ConfigError(f"{path}: the key {error} is missing; add it") from error

    @cached_property
    def finder(self) -> Score:
        """The score itself."""
        return PruningSettings(score=self.score).finder


def entries(folder: Path = FOLDER) -> list[Entry]:
    """All entries, by name."""
    return [Entry.read(path) for path in sorted(folder.glob("*.toml"))]


def chosen(among: Sequence[Entry], names: str) -> tuple[Entry, ...]:
    """The entries of names with commas, in the order of the names, each once.

    Raises:
        ConfigError: for a name that no entry has, with those that there are.
    """
    by_name = {entry.name: entry for entry in among}
    listed = list(dict.fromkeys(name.strip() for name in names.split(",")))
    for name in listed:
        if name not in by_name:
            raise ConfigError(f'no entry is called "{name}"; {nearest(name, by_name)}')
    return tuple(by_name[name] for name in listed)
