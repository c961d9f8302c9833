"""The command line's power in a few lines of Python, for a model that is already loaded or one that is named.

    import prunekit as pk

    run = pk.prune(model, tokenizer, "sst2", data="path/to/sst2", rounds=3)
    run.best.attach(model).generate(**tokenizer(texts, padding=True, return_tensors="pt"))

Settings are the flags of `prunekit prune --help`, with underscores.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

import pandas as pd
import torch

from prunekit import export
from prunekit.cli import exchange
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.evaluate import evaluate as judge
from prunekit.experiment import run as experiment
from prunekit.experiment import sameness, settings_io, tracking
from prunekit.experiment.prepare import Prepared, encode, model_of, prepare, task_of
from prunekit.experiment.round_runner import Progress
from prunekit.experiment.settings import Experiment
from prunekit.export.attach import Attached, attach
from prunekit.models import FrozenModel, borrowed, wrap
from prunekit.models.load import family
from prunekit.pruning import ticket as tickets
from prunekit.runs import run as runs
from prunekit.runs import summary
from prunekit.runs.paths import UNTRAINED, RunKey
from prunekit.runs.round_files import finished_ticket, locate, open_ticket
from prunekit.runs.ticket_file import save_ticket
from prunekit.support import terminal
from prunekit.support.errors import ArtifactError, ConfigError, nearest


@dataclass(frozen=True, eq=False)
class Ticket(tickets.Ticket):
    """A ticket that can be put to use.

    Attributes:
        used_under: the settings of model, task, prompt and machine that its run has, where it is of a run.
    """

    used_under: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, ticket: tickets.Ticket, run: runs.Run | None = None) -> Self:
        """The same ticket; run: the one that it is of."""
        known = {} if run is None else run.settings()
        own = {name: known[name] for name in ("model", "task", "prompt", "machine")} if known else {}
        return cls(**{one.name: getattr(ticket, one.name) for one in fields(tickets.Ticket)}, used_under=own)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """The ticket of a ticket file, or as a finished round's directory left it.

        Raises:
            ArtifactError: where the path is neither, or damaged.
        """
        found = locate(Path(path))
        return cls.of(open_ticket(Path(path)), None if found is None else found[0])

    def save(self, path: Path | str) -> None:
        """Write the ticket; the same ticket always gives the same bytes."""
        save_ticket(self, path)

    @classmethod
    def from_adapter(cls, source: str | Path, *, revision: str | None = None, pieces: int = 16) -> Self:
        """The ticket of a PEFT prompt-tuning adapter, a folder or Hub name (safetensors only)."""
        return cls.of(export.read_adapter(str(source), revision=revision, pieces=pieces))

    def attach(self, model: Any, *others: tickets.Ticket) -> Attached:
        """The model, which is neither copied nor changed, with this ticket on; call it or its `generate`.

        Args:
            others: more tickets, so that rows of one batch can wear different ones.
        """
        return Attached(model, [self, *others])

    def export(
        self,
        folder: Path | str,
        model: Any,
        tokenizer: Any = None,
        task: str | None = None,
        *,
        verify: bool = True,
        allow_changed: bool = False,
        overwrite: bool = False,
        **settings: Any,
    ) -> None:
        """Write a PEFT adapter for the model that it was trained on, loaded or by name, once it is proved to answer so.

        Args:
            settings: those of the ticket's run that are to be others, such as `data`. Of a ticket that is of no run all
                must be given that are not the defaults.
            verify: whether PEFT is asked.
            allow_changed: also for another model than its own.
            overwrite: also over files that no export wrote.

        Raises:
            ConfigError: where PEFT cannot do what the ticket does, the model is another, or the folder holds files that
                no export wrote.
            ArtifactError: where it would answer otherwise. Nothing is written then.
        """
        own = str(self.origin.get("task") or "testbed/first-animal") if task is None and not self.used_under else task
        given = sameness.settings_of(self) | {"position": self.position, "precision": "float32"} | settings
        asked = _settings(model, own, given, self.used_under)

        def compare(frozen: FrozenModel) -> None:
            _compare(self, sameness.content(frozen), allow_changed, apart=("precision",))

        # a model that is named is loaded by the adapter's own lines too
        with nullcontext() if isinstance(model, str) else _borrowed(model, tokenizer, asked) as frozen:
            files = exchange.adapter(self, asked, frozen, compare, verify=verify)
        exchange.write(Path(folder), files, overwrite=overwrite)


@dataclass(frozen=True)
class Run:
    """What was learned: a run directory, and the stage of it that was asked for ("" is the dense round alone).

    Attributes:
        path: a string will do.
    """

    path: Path
    stage: str = ""
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))

    @property
    def results(self) -> pd.DataFrame:
        """One row per finished ticket of this stage and of the dense round."""
        table = self._run.results()
        return table[table["stage"].isin(["", self.stage])].reset_index(drop=True)

    @property
    def rounds(self) -> list[summary.RoundSummary]:
        """Each round over its seeds."""
        return summary.summarise(self.results, self.metric)

    @property
    def metric(self) -> str:
        """The task's primary one."""
        return str(self._run.settings()["metric"])

    @property
    def best(self) -> Ticket:
        """The smallest ticket within `tolerance` of dense on validation; of its seeds, the best there.

        Of a search, the chosen ticket of the best seed.

        Raises:
            ArtifactError: where nothing finished.
        """
        done = self.results[(self.results["arm"] == "") & (self.results["status"] == "done")]
        if self.stage.startswith("search-"):
            rows = done[done["stage"] == self.stage]
        else:
            found = summary.smallest(self.rounds, self.tolerance)
            rows = done[done["round"] == (0 if found is None else found.round)]
        if rows.empty:
            raise ArtifactError(f"{self.path}: no ticket finished, so none is best")
        order = rows.sort_values([f"validation_{self.metric}", "seed"], ascending=[False, True])
        first = order.iloc[0]
        return self.ticket(int(first["seed"]), int(first["round"]))

    def ticket(self, seed: int = 0, round: int = 0, arm: str = "") -> Ticket:
        """The ticket as a finished round left it; arm: a control, such as "random", or "" for the ticket itself.

        Raises:
            ArtifactError: naming the rounds, seeds or arms that there are, where this one is not among them.
        """
        own = self.results
        own = own[own["arm"] == arm]
        if own.empty:
            arms = sorted(set(self.results["arm"]) - {""})
            raise ArtifactError(f'{self.path}: no arm "{arm}" {self._there_is("arm", arms)}')
        if not arm or round or (own["round"] == 0).any():  # other arms begin at the dense round of the ticket
            self._check_there(own, seed, round)
            stage = "/".join(part for part in (self.stage, arm) if part) if round or arm else ""
        else:
            stage = ""
        return Ticket.of(finished_ticket(self._run, RunKey(stage, seed, round)), self._run)

    def _check_there(self, own: pd.DataFrame, seed: int, round: int) -> None:
        """Raises: ArtifactError where the rows of an arm hold no such round or seed."""
        rounds = sorted(set(own["round"].astype(int)))
        if round not in rounds:
            raise ArtifactError(f"{self.path}: no round {round} {self._there_is('round', rounds)}")
        seeds = sorted(set(own[own["round"] == round]["seed"].astype(int)))
        if seed not in seeds:
            raise ArtifactError(f"{self.path}: no seed {seed} in round {round} {self._there_is('seed', seeds)}")

    def _there_is(self, what: str, names: Sequence[object]) -> str:
        """What can be asked for instead, such as "here: there are rounds 0 and 1"."""
        where = f"of {self.stage}" if self.stage else "of the dense stage"
        if names:
            listed = " and ".join(filter(None, (", ".join(map(str, names[:-1])), str(names[-1]))))
            said = f"there is {what} {listed}" if len(names) == 1 else f"there are {what}s {listed}"
        else:
            said = f"it has no {what}s"
        others = sorted(set(self._run.results()["stage"]) - {"", UNTRAINED, self.stage})
        more = f'; other stages, such as Run(path, "{others[0]}"), have more' if others and not self.stage else ""
        return f"{where}: {said}{more}"

    @property
    def _run(self) -> runs.Run:
        return runs.Run.open(self.path)


class _Silent:
    """A watch that says nothing."""

    def say(self, line: str) -> None:
        """Nothing."""

    def track(self, title: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """Nothing."""
        return nullcontext(lambda done: None)


@dataclass(frozen=True)
class _Call:
    """How a verb was called: everything but model and task."""

    out: Path | str = "runs"
    controls: bool = False
    tolerance: float = 0.01
    track: str | tracking.Tracker | None = None
    quiet: bool = False


def prune(model: Any = "testbed", tokenizer: Any = None, task: str | None = None, **settings: Any) -> Run:
    """Train a prompt, then score, prune, rewind and retrain it, round after round; what is done already is loaded.

    Args:
        model: a loaded Hugging Face model with its tokenizer, or a name.
        task: a name from `prunekit tasks`, or the path of a task file; `data=` names its folder.
        settings: flags, and of this call: out ("runs"), controls (False), tolerance (0.01), track ("tensorboard" or a
            Tracker), quiet (False).

    Raises:
        ConfigError: in one line, before anything is written.
        DataError: in one line, before anything is written.
    """

    def work(prepared: Prepared, call: _Call, watch: Progress) -> tuple[runs.Run, str]:
        return experiment.run(prepared, Path(call.out), watch, controls=call.controls), prepared.stage

    return _run(work, model, tokenizer, task, settings)


def search_ratios(model: Any = "testbed", tokenizer: Any = None, task: str | None = None, **settings: Any) -> Run:
    """XPrompt's search over token and piece ratios; arguments as `prune`."""

    def work(prepared: Prepared, call: _Call, watch: Progress) -> tuple[runs.Run, str]:
        return experiment.search(prepared, Path(call.out), watch, controls=call.controls), prepared.search_stage

    return _run(work, model, tokenizer, task, settings)


def tune(model: Any = "testbed", tokenizer: Any = None, task: str | None = None, **settings: Any) -> Run:
    """Train a prompt, no pruning; arguments as `prune`."""

    def work(prepared: Prepared, call: _Call, watch: Progress) -> tuple[runs.Run, str]:
        return experiment.run(prepared, Path(call.out), watch, prune=False), ""

    return _run(work, model, tokenizer, task, settings)


def evaluate(
    ticket: tickets.Ticket,
    model: Any = "testbed",
    tokenizer: Any = None,
    task: str | None = None,
    *,
    split: str = "test",
    allow_changed: bool = False,
    **settings: Any,
) -> dict[str, float]:
    """Every metric of a ticket on one split of a task, and its mean loss; arguments as `prune`.

    Args:
        allow_changed: also on another model, task, data or precision than the ticket was made with; it is said then.

    Raises:
        ConfigError: with all that differs in one line where it is not allowed.
    """
    asked = _settings(model, task, sameness.settings_of(ticket) | {"position": ticket.position} | settings)
    found, splits = task_of(asked)
    examples = getattr(splits, split)
    with _borrowed(model, tokenizer, asked) as frozen, torch.no_grad():
        _compare(ticket, sameness.content(frozen, found, {split: examples}), allow_changed)
        prompt = prompt_batch([Member(ticket, frozen.device)])
        result = judge(prompt, frozen, encode(frozen, found, examples, len(ticket.mask.token)))
    return found.score(examples, result.chosen[0].tolist()) | {"loss": float(result.losses.mean())}


def _compare(ticket: tickets.Ticket, now: sameness.Content, allow_changed: bool, apart: Collection[str] = ()) -> None:
    """Say in what a use differs from what a ticket was made with, or refuse it."""
    own = sameness.of_ticket(ticket)
    told = sameness.check("this ticket", own, now, allow_changed=allow_changed, apart=apart)
    if told:
        terminal.Screen().say(f"note: not what it was made with, and used all the same: {sameness.in_line(told)}")


def _run(
    work: Callable[[Prepared, _Call, Progress], tuple[runs.Run, str]],
    model: Any,
    tokenizer: Any,
    task: str | None,
    settings: dict[str, Any],
) -> Run:
    own = {one.name for one in fields(_Call)}
    call = _Call(**{name: value for name, value in settings.items() if name in own})
    asked = _settings(model, task, {name: value for name, value in settings.items() if name not in own})
    shown = tracking.tracker(call.track) if isinstance(call.track, str) else call.track
    with _borrowed(model, tokenizer, asked) as frozen:
        prepared = prepare(asked, frozen)
        path = experiment.directory_of(prepared, Path(call.out))
        with tracking.followed(_Silent() if call.quiet else terminal.Screen(), path, shown) as watch:
            for note in prepared.notes:
                watch.say(note)
            made, stage = work(prepared, call, watch)
    return Run(made.path, stage, call.tolerance)


def _settings(
    model: Any, task: str | None, settings: dict[str, Any], own: Mapping[str, Any] | None = None
) -> Experiment:
    """The experiment of keyword settings; a loaded model goes by the name that it was loaded by.

    Args:
        own: a table of settings that hold where no other is given.
    """
    known = settings_io.names()
    for name in settings:
        if name not in known:
            raise ConfigError(f'unknown setting "{name}"; {nearest(name, known)}')
    given = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
    if isinstance(model, str):
        named = {} if model == "testbed" else {"model": model}
    else:
        name = getattr(model.config, "_name_or_path", "") or model.config.model_type
        named = {"model": name, "device": str(next(model.parameters()).device)}
    return settings_io.experiment(
        None, named | {"task": None if task is None else str(task)} | given, deepcopy(dict(own or {}))
    )


@contextmanager
def _borrowed(model: Any, tokenizer: Any, asked: Experiment) -> Iterator[FrozenModel]:
    """The model around a loaded model, which gets its mode and its gradients' switches back in the end."""
    if isinstance(model, str):
        yield model_of(asked)
        return
    if tokenizer is None:
        raise ConfigError("a loaded model needs its tokenizer beside it")
    chosen = asked.model
    with borrowed(model):
        yield wrap(
            model,
            tokenizer,
            position=chosen.position if family(model.config) != "encoder-decoder" else "auto",
            ranking=chosen.ranking,
            max_input_tokens=chosen.max_input_tokens,
            text_cache_mb=chosen.text_cache_mb,
        )


__all__ = ["Run", "Ticket", "attach", "evaluate", "prune", "search_ratios", "tune"]
