"""The importance of a finished ticket's tokens or pieces: by gradient, by leaving them out, by Shapley values.

What a measurement on a run finds is written beside the run, and found there the next time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pandas as pd
import torch

from prunekit.analysis import measure_groups, token_importance
from prunekit.analysis.prefix_parts import GROUPS, Group
from prunekit.engine import ablation
from prunekit.engine.gradient_scores import NOT_FINITE, all_scores, scoring_batches
from prunekit.engine.probe import TicketProbe
from prunekit.experiment import environment, provenance
from prunekit.experiment.api.source import Source, opened_source
from prunekit.experiment.prepare import encode
from prunekit.experiment.progress import progress_of
from prunekit.experiment.reopen import OpenedTicket, TicketInUse, changed_settings, in_use
from prunekit.experiment.round_runner import Progress
from prunekit.models import Encoded
from prunekit.pruning.scores import ROUND_SCORES, SCORES, Level
from prunekit.pruning.scores.shapley import most_subsets
from prunekit.pruning.ticket import Ticket
from prunekit.runs.paths import FACTS, IMPORTANCE, WORDS, RunKey, Stage
from prunekit.runs.run import Files, Run
from prunekit.support import atomic
from prunekit.support.digest import identity
from prunekit.support.errors import ConfigError, DivergedError
from prunekit.tasks.drawn import drawn

KINDS = tuple(score.name for score in SCORES)
BY_WORD = ("example", "token", "position", "word", "difference")
LEVELS: tuple[Level | Group, ...] = (*get_args(Level), *GROUPS)
_SPLITS = {score.name: score.splits for score in SCORES}
_LEVELS_OF = {score.name: score.levels for score in SCORES}
_OF_ROUNDS = tuple(score.name for score in ROUND_SCORES)

#: The encoded rows of a split.
Rows = Callable[[str], list[Encoded]]


@dataclass(frozen=True)
class ScoreRequest:
    """What is to be scored, and how.

    Attributes:
        level: what has a score: a token, or a piece of one; by leaving out also, in all tokens at once, a layer of a
            prefix of keys and values, a head, or a head's keys or values ("part").
        examples: at most so many of the split, None for all of it.
        permutations: orders drawn for Shapley values.
        by_word: of leave-one-out on tokens: what each does to each token of the right answers.
    """

    kind: str = "leave-one-out"
    level: Level | Group = "token"
    examples: int | None = None
    permutations: int = 16
    seed: int = 0
    by_word: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"--kind = '{self.kind}': use one of {', '.join(KINDS)}")
        if self.level not in LEVELS:
            raise ConfigError(f"--level = '{self.level}': use one of {', '.join(LEVELS)}")
        if self.level in GROUPS and self.kind != "leave-one-out":
            raise ConfigError(f"--level {self.level}: only leaving it out is measured; leave out --kind")
        if self.level == "piece" and "piece" not in _LEVELS_OF[self.kind]:
            raise ConfigError(
                f"--level piece: {self.kind} does not tell the pieces of a token apart; leave out --level"
            )
        if self.by_word and (self.kind, self.level) != ("leave-one-out", "token"):
            raise ConfigError(
                "--by-word: only tokens that are left out are measured by word; leave out --kind and --level"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """What tells it from another; what came later is left out at its default, so that nothing is measured anew."""
        return {name: value for name, value in asdict(self).items() if name != "by_word" or value}

    @property
    def unit(self) -> Level:
        """The level, where it is one of single tokens."""
        return cast(Level, self.level)


@dataclass(frozen=True)
class Importance:
    """The scores of a ticket's units.

    Attributes:
        table: a row for each unit: token, piece (at level "piece"; at levels layer, head and part both give way to
            layer, head and part), kept, score (larger = keep; NaN where dropped), and of leave-one-out its interval and
            tests, of Shapley values its standard error. By word a row for each kept token and each token of a right
            answer: example, token, position (in the answer), word, difference (nats that leaving the token out adds
            there).
        facts: what is true of all of them: kind, level, split, examples, and more by kind.
        folder: where they lie, None of a ticket that is of no run.
    """

    table: pd.DataFrame
    facts: dict[str, Any]
    folder: Path | None = None


def score(  # noqa: PLR0913 (an argument is a flag)
    ticket: Source,
    model: Any = None,
    tokenizer: Any = None,
    task: str | None = None,
    *,
    kind: str = "leave-one-out",
    level: str = "token",
    examples: int | None = None,
    permutations: int = 16,
    seed: int = 0,
    by_word: bool = False,
    allow_changed: bool = False,
    quiet: bool = False,
    **settings: Any,
) -> Importance:
    """The importance of a ticket's tokens or pieces; which of them are better left out.

    Args:
        ticket: or a run, which means its best; or the path of either, such as "RUN" or "RUN@round=2,seed=1". What is
            measured on a round is written beside its run, and not measured again.
        model: a loaded model with its `tokenizer`, or a name; None for the one that the ticket was made with.
        kind: leave-one-out, shapley, absolute (XPrompt, section 3.2), or another name of `prunekit score --help`.
        level: token or piece; of a prefix of keys and values also layer, head, or part (a head's keys or values).
        examples: at most so many of the split (validation; of gradient scores train); None for all.
        permutations: orders drawn for Shapley values, an even number.
        seed: of what is drawn.
        by_word: with leave-one-out: which token helps which word of the right answers.
        allow_changed: also on another model, task or data than the ticket was made with; it is said then.
        quiet: report no progress.
        settings: flags of `prunekit score --help-all`, with underscores, over those of the ticket's run.

    Raises:
        PrunekitError: in one line where ticket, model or task cannot be used, or are others than the ticket's own and
            that is not allowed.
    """
    request = ScoreRequest(kind, level, examples, permutations, seed, by_word)  # type: ignore[arg-type]  # it checks them itself
    source, progress = opened_source(ticket), progress_of(quiet)
    splits = _SPLITS[request.kind]
    with in_use(
        source,
        settings,
        splits,
        progress=progress,
        allow_changed=allow_changed,
        model=model,
        tokenizer=tokenizer,
        task=task,
    ) as use:
        if source.run is None or source.key is None:
            return _measured(use, request, progress)
        named = {"model": use.experiment.model.name} if model is not None else {}
        flags = settings | named | ({} if task is None else {"task": task})
        return _kept_beside_run(source.run, source.key, use, request, _changes(source, use, flags), progress)


def _changes(source: OpenedTicket, use: TicketInUse, flags: Mapping[str, Any]) -> dict[str, Any]:
    """What tells a measurement on another model, task or data from the run's own; nothing where it is the same."""
    if not use.differences or source.run is None:
        return {}
    return {
        "changed": changed_settings(source.run, flags),
        "differs": list(use.differences),
        "digests": provenance.digests(use.content),
    }


def _kept_beside_run(
    run: Run, prompt: RunKey, use: TicketInUse, request: ScoreRequest, changes: Mapping[str, Any], progress: Progress
) -> Importance:
    """A measurement on a round of a run: that which lies there, or else it is made and written."""
    settings, file = {**request.settings, **changes}, WORDS if request.by_word else IMPORTANCE
    stage = Stage.of("score", identity(settings, 4))
    key = RunKey(stage.inside(prompt.stage), prompt.seed, prompt.round)
    with run.locked():
        run.write_stage(stage, {name: value for name, value in settings.items() if value is not None})
        if not run.done([key]):
            importance = _measured(use, request, progress)
            facts = importance.facts | {"rows": len(use.rows[importance.facts["split"]])}
            facts |= {"digests": provenance.digests(use.content), **changes}
            content = {file: atomic.as_parquet(importance.table), FACTS: atomic.as_json(facts)}
            environment.record(run, [key], use.experiment.machine.device)
            run.commit([Files(key, content, {})])
    return Importance(run.table(key, file), run.facts(key, FACTS), run.folder(key))


def _measured(use: TicketInUse, request: ScoreRequest, progress: Progress) -> Importance:
    def rows(split: str) -> list[Encoded]:
        return encode(use.model, use.task, drawn(use.rows[split], request.examples), len(use.ticket.mask.token))

    if request.by_word:
        return _by_word(use, rows("validation"), request, progress)
    match request.kind:
        case "leave-one-out" if request.level in GROUPS:
            return _left_out_groups(use, rows, request, progress)
        case "leave-one-out":
            return _left_out(use, rows, request, progress)
        case "shapley":
            return _shapley(use, rows("validation"), request, progress)
        case kind if kind in _OF_ROUNDS:
            return _first_order(use, rows("train"), kind, request)
        case kind:
            return _probed(use, rows(_SPLITS[kind][0]), request, progress)


def _left_out(use: TicketInUse, rows: Rows, request: ScoreRequest, progress: Progress) -> Importance:
    """Exact costs on `validation`; units that are negative there are looked at once more, on `test`."""
    ticket, level = use.ticket, request.unit
    examples, kept = rows("validation"), _kept(ticket, level)
    with progress.track(f"leave one {level} out", int(kept.sum()), f"{level}s") as tick:
        ablated = ablation.leave_one_out(ticket, use.model, examples, level, tick=tick)
    units = kept.flatten().nonzero().flatten()
    tested = token_importance.negative(
        ablated.costs.flatten(0, -2)[units].numpy(),
        None if use.task.open else ablation.right_changes(ablated, examples).flatten(0, -2)[units].numpy(),
        units=units.tolist(),
        seed=request.seed,
    )
    negative = [int(unit) for unit in tested.loc[tested["negative"], "unit"]]
    facts = _facts(request, "validation", len(examples))
    facts |= {"loss": float(ablated.losses.mean()), "negative": len(negative)}
    table = _units(ticket, level).merge(tested.rename(columns={"cost": "score"}), how="left", on="unit")
    if negative:
        progress.say(f"{len(negative)} negative on validation: one look at them on test")
        test = rows("test")
        confirmed = _confirmed(use, test, negative, tested, request)
        facts |= {"largest_gain": _largest_gain(tested, "cost"), "test_examples": len(test)}
        facts |= {"confirmed": int(confirmed["confirmed"].sum())}
        table = table.merge(confirmed, how="left", on="unit")
    return Importance(table.drop(columns="unit"), facts)


def _largest_gain(table: pd.DataFrame, costs: str) -> float:
    """Nats that the loss falls by without the worst of the units that are negative, of which there is one."""
    return -float(table.loc[table["negative"].eq(True), costs].min())


def _left_out_groups(use: TicketInUse, rows: Rows, request: ScoreRequest, progress: Progress) -> Importance:
    """Exact costs on `validation` of layers, heads or parts of a prefix, in one cohort with the whole."""
    group, examples = cast(Group, request.level), rows("validation")
    with progress.track(f"leave one {group} out", measure_groups.count(use, group) + 1, "prompts") as tick:
        table, loss = measure_groups.left_out(use, examples, group, seed=request.seed, tick=tick)
    facts = {"loss": loss, "negative": int(table["negative"].eq(True).sum())}
    if facts["negative"]:
        facts["largest_gain"] = _largest_gain(table, "score")
    return Importance(table, _facts(request, "validation", len(examples)) | facts)


def _by_word(use: TicketInUse, examples: Sequence[Encoded], request: ScoreRequest, progress: Progress) -> Importance:
    """Exact costs on `validation`, token of the prompt by token of the right answer."""
    tokens = _kept(use.ticket, "token").nonzero().flatten().tolist()
    with progress.track("leave one token out", len(tokens) + 1, "prompts") as tick:
        costs = ablation.leave_one_out_by_word(use.ticket, use.model, examples, tick=tick)
    tables = []
    for example, cost in zip(examples, costs, strict=True):
        words = [use.model.reader.decoded((token,)) for token in example.choices[example.gold]]
        table = pd.DataFrame(cost.numpy().astype(float), index=tokens).melt(
            var_name="position", value_name="difference", ignore_index=False
        )
        table = table.assign(example=example.index, token=table.index, word=table["position"].map(words.__getitem__))
        tables.append(table.astype({"position": int})[list(BY_WORD)])
    return Importance(
        pd.concat(tables, ignore_index=True), _facts(request, "validation", len(examples)) | {"by_word": True}
    )


def _confirmed(
    use: TicketInUse, examples: Sequence[Encoded], negative: list[int], tested: pd.DataFrame, request: ScoreRequest
) -> pd.DataFrame:
    """The units that were negative on `validation`, tested once more on other examples."""
    kept = _kept(use.ticket, request.unit)
    only = torch.zeros(kept.numel(), dtype=torch.bool)
    only[negative] = True
    again = ablation.leave_one_out(use.ticket, use.model, examples, request.unit, only=only.view(kept.shape))
    return token_importance.confirm(again.costs.flatten(0, -2)[negative].numpy(), tested, seed=request.seed)


def _shapley(use: TicketInUse, examples: Sequence[Encoded], request: ScoreRequest, progress: Progress) -> Importance:
    level, permutations = request.unit, request.permutations
    subsets = most_subsets(int(_kept(use.ticket, level).sum()), permutations)
    with progress.track("Shapley values", subsets, "subsets") as tick:
        shapley = ablation.shapley(
            use.ticket, use.model, examples, permutations=permutations, level=level, seed=request.seed, tick=tick
        )
    facts = _facts(request, "validation", len(examples)) | {
        "loss": shapley.full,
        "loss_without_prompt": shapley.empty,
        "sum": float(shapley.values.sum()),
        "permutations": shapley.permutations,
        "evaluations": shapley.evaluations,
    }
    return Importance(_with_scores(use.ticket, level, shapley.values, shapley.error), facts)


def _first_order(use: TicketInUse, examples: Sequence[Encoded], kind: str, request: ScoreRequest) -> Importance:
    (by_kind,) = all_scores([use.ticket], use.model, scoring_batches(use.model, examples))
    if not by_kind:
        raise DivergedError(NOT_FINITE)
    scores = by_kind[kind].token if request.unit == "token" else by_kind[kind].piece
    return Importance(_with_scores(use.ticket, request.unit, scores), _facts(request, "train", len(examples)))


def _probed(use: TicketInUse, examples: Sequence[Encoded], request: ScoreRequest, progress: Progress) -> Importance:
    """A score that asks the model itself, with what it says of itself and what it cost."""
    finder = next(score for score in SCORES if score.name == request.kind)
    probe = TicketProbe(use.ticket, use.model, examples, (request.unit,), start=use.start)
    with progress.track(finder.label, 1, "prompts") as tick:
        scores = finder.score(probe)
        tick(1)
    values = scores.token if request.unit == "token" else scores.piece
    if not values.isfinite().all():
        raise DivergedError(NOT_FINITE)
    facts = _facts(request, finder.splits[0], len(examples)) | dict(scores.facts) | {"epochs": probe.passes.epochs}
    return Importance(_with_scores(use.ticket, request.unit, values), facts)


def _facts(request: ScoreRequest, split: str, examples: int) -> dict[str, Any]:
    return {"kind": request.kind, "level": request.level, "split": split, "examples": examples}


def _kept(ticket: Ticket, level: Level) -> torch.Tensor:
    return ticket.mask.token if level == "token" else ticket.mask.piece


def _units(ticket: Ticket, level: Level) -> pd.DataFrame:
    """Every unit of the prompt: its flat number, token, piece (at level "piece"), and whether it is kept."""
    kept = _kept(ticket, level)
    indices = np.indices(kept.shape).reshape(kept.dim(), -1)
    names = dict(zip(("token", "piece"), indices, strict=False))
    return pd.DataFrame({"unit": range(kept.numel()), **names, "kept": kept.flatten().tolist()})


def _with_scores(ticket: Ticket, level: Level, scores: torch.Tensor, error: torch.Tensor | None = None) -> pd.DataFrame:
    table = _units(ticket, level).drop(columns="unit").assign(score=scores.flatten().tolist())
    if error is not None:
        table["error"] = error.flatten().tolist()
    values = [name for name in ("score", "error") if name in table]
    table.loc[~table["kept"], values] = float("nan")  # a dropped unit has no score
    return table
