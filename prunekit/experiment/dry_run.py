"""`--dry-run`: what would be trained, part by part, and what of it is finished already; what it costs says `cost`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from prunekit.experiment.pace import members_at_once
from prunekit.experiment.prepare import Prepared
from prunekit.experiment.pruned_levels import pruned_levels
from prunekit.experiment.search_check import check_search
from prunekit.pruning.controls import CONTROL_NAMES, controls_for
from prunekit.pruning.controls.complement import Complement
from prunekit.pruning.controls.dense_continued import DenseContinued
from prunekit.pruning.schedule import Keep, grid, line, rungs
from prunekit.runs.paths import UNTRAINED, RunKey
from prunekit.runs.reader import RunReader
from prunekit.support.digest import identity

Verb = Literal["tune", "prune", "search"]

_UNTRAINED, _CONTROLS, _TRIALS = "untrained prompt", "controls", "trials"


@dataclass(frozen=True)
class Part:
    """Tickets of a kind that would be trained, or a base line that would be measured.

    Attributes:
        title: what they are.
        tokens: how many tokens they keep, in words where it differs.
        pieces: how many pieces they keep, in words where it differs.
        tickets: how many, over all seeds.
        prompt_tokens: how many tokens they keep, on average.
        share: of the updates of a full training that each makes at most; 0 is only evaluated.
        tested: share of them that is evaluated on the test split.
        scored: how often the training examples are gone through to score each, forward and backward.
        is_trial: whether they are ratios that a search tries.
        finished: how many of them are there already.
        row_tokens: mean tokens of a row that is read whole; None where it is the texts of an update and the prompt.
    """

    title: str
    tokens: str
    pieces: str
    tickets: int
    prompt_tokens: int
    share: float = 1.0
    tested: float = 1.0
    scored: float = 0.0
    is_trial: bool = False
    finished: int = 0
    row_tokens: float | None = None

    @property
    def left(self) -> int:
        """How many are still to be done."""
        return self.tickets - self.finished


def parts(prepared: Prepared, verb: Verb, controls: bool) -> list[Part]:
    """What a verb would train, where nothing is finished."""
    match verb:
        case "search":
            return search_parts(prepared, controls)
        case "prune":
            return pruning_parts(prepared, controls)
        case "tune":
            return _start(prepared)


def pruning_parts(prepared: Prepared, controls: bool) -> list[Part]:
    """The rounds of `prune`, and its controls."""
    seeds = len(prepared.experiment.seeds)
    keeps = prepared.experiment.keeps()
    rounds = [
        Part(f"round {number}", _tokens(keep), str(keep.pieces), seeds, keep.tokens, scored=1.0)
        for number, keep in enumerate(keeps, 1)
    ]
    *before, last = [*_start(prepared), *rounds]
    trained = [*(_scored_apart(part, prepared, "prune") for part in before), last]
    return [*trained, _controls(prepared, keeps)] if controls and keeps else trained


def search_parts(prepared: Prepared, controls: bool) -> list[Part]:
    """The trials of `search`, and its controls; of the trials those that are chosen are tested.

    Raises:
        ConfigError: of `check_search`.
    """
    check_search(prepared)
    start = [_scored_apart(part, prepared, "search") for part in _start(prepared)]
    trials = _trials_of_grid(prepared)
    return [*start, *trials, *(_controls_of_search(prepared, trials) if controls else [])]


def with_finished(parts: Sequence[Part], run: RunReader, prepared: Prepared, verb: Verb) -> list[Part]:
    """The parts with what of them a run holds already."""
    counts = Counter(_title(key, prepared, verb) for key in run.tickets() if key.seed in prepared.experiment.seeds)
    counted = []
    for part in parts:
        title = _TRIALS if part.is_trial else part.title
        finished = min(part.tickets, counts[title])
        counts[title] -= finished
        counted.append(replace(part, finished=finished))
    return counted


def timing_key(prepared: Prepared) -> str:
    """A digest that is equal for experiments whose updates and evaluations take equally long."""
    settings = prepared.experiment
    # where values start and how they are cut into pieces changes no shape
    prompt = settings.prompt.model_dump(mode="json", exclude={"init", "init_text", "init_from", "pieces"})
    shared = settings.model_dump(mode="json", include={"model", "task", "machine"})
    training = settings.training.model_dump(mode="json", include={"batch_size", "optimizer"})
    return identity(shared | {"prompt": prompt, "training": training, "members": members_at_once(prepared)})


def _start(prepared: Prepared) -> list[Part]:
    """The dense round that all verbs share, and its base line, whose prompt stays as it was drawn."""
    prompt, seeds = prepared.experiment.prompt, len(prepared.experiment.seeds)
    dense = Part("round 0", str(prompt.tokens), str(prompt.pieces), seeds, prompt.tokens, scored=1.0)
    return [dense, replace(dense, title=_UNTRAINED, share=0.0, scored=0.0)]


def _scored_apart(part: Part, prepared: Prepared, verb: Verb) -> Part:
    """A part that is pruned, with what the score that prunes costs where rounds do not write it anyway."""
    pruning = prepared.experiment.pruning
    if not prepared.experiment.scored_apart(verb) or not part.scored:
        return part
    by_level = {"token": part.prompt_tokens, "piece": part.prompt_tokens * int(part.pieces)}
    units = [by_level[level] for level in pruned_levels(prepared.experiment, verb)]
    train = len(prepared.rows[0])
    share = min(pruning.score_examples or train, train) / train
    return replace(part, scored=part.scored + share * pruning.finder.passes(units).epochs)


def _tokens(keep: Keep) -> str:
    return str(keep.tokens) if keep.rank is None else f"{keep.tokens} at rank {keep.rank}"


def _controls(prepared: Prepared, keeps: Sequence[Keep], without: Sequence[str] = ()) -> Part:
    """The trainings of all controls but some, beside tickets of so many rounds; their last round alone is tested."""
    rewind, dense = prepared.experiment.pruning.rewind, prepared.experiment.prompt.tokens
    last = keeps[-1]
    controls = [control for control in controls_for(last.unit) if control.name not in without]
    tokens = [
        dense if number == 0 or isinstance(control, DenseContinued | Complement) else keeps[number - 1].tokens
        for control in controls
        for number in control.rounds(len(keeps), rewind)
    ]
    seeds, mean = len(prepared.experiment.seeds), -(-sum(tokens) // len(tokens))
    return Part(
        _CONTROLS,
        f"about {_tokens(last)}",
        str(last.pieces),
        seeds * len(tokens),
        mean,
        tested=len(controls) / len(tokens),
    )


def _trials_of_grid(prepared: Prepared) -> list[Part]:
    experiment = prepared.experiment
    tokens, pieces = experiment.prompt.tokens, experiment.prompt.pieces
    ratios = experiment.search.ratios
    counts, piece_counts, pairs = line(tokens, ratios), line(pieces, ratios), grid(tokens, pieces, ratios)
    chosen = _trials(prepared, "piece ratios", "as chosen", _range(piece_counts[1:]), len(piece_counts) - 1)
    return {
        "paper": [_trials(prepared, "token ratios", _range(counts), str(pieces), len(counts)), chosen],
        "token": [_trials(prepared, "token ratios", _range(counts), str(pieces), len(counts))],
        "piece": [_trials(prepared, "piece ratios", str(tokens), _range(piece_counts), len(piece_counts))],
        "full": [_trials(prepared, "all pairs", _range(counts), _range(piece_counts), len(pairs))],
        "rank": [_trials(prepared, "ranks", f"{tokens} at rank {_range(counts)}", str(pieces), len(counts))],
    }[experiment.search.grid]


def _controls_of_search(prepared: Prepared, trials: Sequence[Part]) -> list[Part]:
    """What is trained beside the chosen trials; under "paper" also the row of pieces alone."""
    experiment = prepared.experiment
    tokens, pieces = experiment.prompt.tokens, experiment.prompt.pieces
    piece_only = [replace(trials[1], title="piece-only row", tokens=str(tokens))] if len(trials) > 1 else []
    of_directions = experiment.unit("search") == "directions"
    ticket = [Keep(tokens, pieces, tokens if of_directions else None)]  # not known yet: as long as it may be
    in_grid = () if experiment.search.halving else (DenseContinued.name,)  # a trial, unless halving may stop it
    return [*piece_only, replace(_controls(prepared, ticket, in_grid), tokens="as chosen", pieces="as chosen")]


def _trials(prepared: Prepared, title: str, tokens: str, pieces: str, count: int) -> Part:
    """So many trials for each seed, one of which is chosen: it alone is tested and scored."""
    experiment = prepared.experiment
    share = _halving_share(prepared) if experiment.search.halving else 1.0
    chosen, trials = 1 / max(1, count), count * len(experiment.seeds)
    return Part(title, tokens, pieces, trials, experiment.prompt.tokens, share, chosen, chosen, is_trial=True)


def _title(key: RunKey, prepared: Prepared, verb: Verb) -> str:
    """The part that a finished round belongs to, "" where to none that this verb trains."""
    if key.stage.is_dense:
        return "round 0"
    if key.stage == UNTRAINED:
        return _UNTRAINED
    stage = prepared.search_stage if verb == "search" else prepared.stage
    if key.stage.top != stage or verb == "tune":
        return ""
    if key.stage.is_trial:
        return _TRIALS
    copied = verb == "search" and not prepared.experiment.search.halving and key.stage.arm == DenseContinued.name
    if key.stage.arm in CONTROL_NAMES:
        return "" if copied else _CONTROLS
    return "" if key.stage.arm or verb == "search" else f"round {key.round}"


def _halving_share(prepared: Prepared) -> float:
    """The mean share of the updates that a trial makes under successive halving."""
    plan = prepared.plan
    alive, share, previous = 1.0, 0.0, 0
    for rung in (*rungs(plan.train_steps, plan.evaluate_every), plan.train_steps):
        share += alive * (rung - previous) / plan.train_steps
        alive, previous = alive / 2, rung
    return share


def _range(counts: Sequence[int]) -> str:
    return f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else ", ".join(map(str, counts))
