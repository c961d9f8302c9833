"""A grid of experiments: an experiment file in which any setting may be a list, and a `[sweep]` table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from prunekit.experiment.settings import Experiment, Settings
from prunekit.experiment.whole_numbers import within
from prunekit.support import toml
from prunekit.support.errors import ConfigError

Verb = Literal["prune", "search", "tune"]
Flat = dict[str, Any]

# these are lists by themselves, one experiment's own, and a table by itself
_LISTS = ("seeds", "task.text", "prompt.subspace_from", "search.ratios")
_TABLES = ("task.label_words",)
# experiments of one sweep; each takes seconds at least
_MOST = 10_000


class Options(Settings):
    """The `[sweep]` table: what is done with every experiment, and which are added or left out."""

    verb: Verb = Field("prune", description="prune, search or tune")
    controls: bool = Field(False, description="train the controls of every experiment too")
    include: tuple[dict[str, Any], ...] = Field((), description="tables of settings: further experiments")
    exclude: tuple[dict[str, Any], ...] = Field((), description="tables of settings: experiments to leave out")
    retries: Annotated[int, within(0, 1_000, "a run that fails so often has a cause")] = Field(
        3, description="how often a run whose worker died goes on with another"
    )
    slurm: dict[str, Any] = Field({}, description="engine = slurm: what submitit is told, such as timeout_min")


@dataclass(frozen=True)
class Grid:
    """The experiments of a sweep, in the order of the file, each once.

    Attributes:
        varied: the dotted names of the settings in which they differ.
    """

    options: Options
    experiments: tuple[Experiment, ...]
    varied: tuple[str, ...]

    def values(self, experiment: Experiment) -> Flat:
        """What sets one experiment apart from the others, by dotted name."""
        flat = flattened(experiment.model_dump(mode="json"))
        return {name: flat.get(name) for name in self.varied}

    def label(self, experiment: Experiment) -> str:
        """The same in one line, such as "testbed/alike-mood, dpt, 0.03"."""
        values = [str(value) for value in self.values(experiment).values()]
        return ", ".join(values) or experiment.task.name


def read(path: Path, parse: Callable[[dict[str, Any]], Experiment]) -> Grid:
    """The grid held by a TOML file. Otherwise as `grid_of`."""
    return grid_of(toml.read_table(path), parse, str(path))


def grid_of(table: dict[str, Any], parse: Callable[[dict[str, Any]], Experiment], where: str) -> Grid:
    """The grid of a table of settings; `parse` makes an experiment of a table without lists.

    A setting's list means each of its values in turn, and so does an array of tables (`[[task]]`) for settings that
    belong together. A setting that is a list by itself, such as seeds, varies by a list of lists. Combinations are made
    of everything that varies; the last in the file varies fastest.

    Args:
        where: what errors call it, such as its file.

    Raises:
        ConfigError: naming what is wrong with it; every experiment is checked here.
    """
    table = dict(table)
    options = toml.parse(table.pop("sweep", {}), Options, where=f"{where}: sweep")
    try:
        combinations = _kept(_combinations(table), options.exclude)
        fixed = flattened({name: part for name, part in table.items() if not _is_choice(name, part)})
        fixed = {name: value for name, value in fixed.items() if not _is_choice(name, value)}
        combinations += [fixed | more for extra in options.include for more in _combinations(extra)]
        experiments = tuple(dict.fromkeys(parse(_nested(combination)) for combination in combinations))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    if not experiments:
        raise ConfigError(f"{where}: no experiment is left; sweep.exclude takes them all")
    return Grid(options, experiments, _varied(experiments))


def flattened(table: Mapping[str, Any], prefix: str = "") -> Flat:
    """A nested table with dotted names."""
    flat: Flat = {}
    for name, value in table.items():
        place = f"{prefix}{name}"
        flat |= flattened(value, f"{place}.") if _is_section(place, value) else {place: value}
    return flat


def _combinations(table: Mapping[str, Any], prefix: str = "") -> list[Flat]:
    """Every combination of a (nested) table's choices.

    Raises:
        ConfigError: where they are more than anyone runs, before memory is taken for them.
    """
    parts = [_alternatives(f"{prefix}{name}", value) for name, value in table.items()]
    count = math.prod(map(len, parts))
    if count > _MOST:
        raise ConfigError(f"the lists come to {count:,} experiments, and {_MOST:,} is the most; make several sweeps")
    return [{name: value for part in chosen for name, value in part.items()} for chosen in product(*parts)]


def _alternatives(place: str, value: Any) -> list[Flat]:
    """The ways in which one entry of a table can be set."""
    if _is_section(place, value):
        return _combinations(value, f"{place}.")
    if not _is_choice(place, value):
        return [{place: value}]
    if not value:
        raise ConfigError(f"{place} = []: name at least one value")
    if place.startswith("machine"):
        raise ConfigError(f"{place}: where a run happens does not make it another run; give one value for the sweep")
    return [alternative for choice in value for alternative in _alternatives(place, choice)]


def _is_section(place: str, value: Any) -> bool:
    return isinstance(value, Mapping) and place not in _TABLES


def _is_choice(place: str, value: Any) -> bool:
    """Whether a value is a list of values: of a setting that is a list by itself, a list of lists."""
    if place in _LISTS:
        return isinstance(value, list) and any(isinstance(part, list | tuple) for part in value)
    return isinstance(value, list)


def _kept(combinations: list[Flat], exclude: Sequence[Mapping[str, Any]]) -> list[Flat]:
    """The combinations that agree with none of the excluded ones.

    Raises:
        ConfigError: where an entry takes nothing out, which is a typing error.
    """
    for number, table in enumerate(exclude, start=1):
        entry = flattened(table)
        left = [combination for combination in combinations if not _agrees(combination, entry)]
        if len(left) == len(combinations):
            raise ConfigError(f"entry {number} of sweep.exclude matches no experiment: {entry}")
        combinations = left
    return combinations


def _agrees(combination: Flat, entry: Flat) -> bool:
    """Whether a combination has every value of an entry; a list there stands for any of its values."""
    return all(
        combination.get(name) in (value if _is_choice(name, value) else [value]) for name, value in entry.items()
    )


def _nested(flat: Flat) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for place, value in flat.items():
        *sections, name = place.split(".")
        inner = table
        for section in sections:
            inner = inner.setdefault(section, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"{place}: {section} is {str(inner)[:40]!r} elsewhere and no section of settings")
        inner[name] = value
    return table


def _varied(experiments: Iterable[Experiment]) -> tuple[str, ...]:
    tables = [flattened(experiment.model_dump(mode="json")) for experiment in experiments]
    names = dict.fromkeys(
        name for flat in tables for name in flat
    )  # some settings are there where they are given alone
    return tuple(name for name in names if any(flat.get(name) != tables[0].get(name) for flat in tables))
