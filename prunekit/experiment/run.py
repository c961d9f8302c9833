"""The one place that wires the parts together: an experiment in, a run directory out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from prunekit.engine.distributed import team
from prunekit.engine.gradient_scores import NOT_FINITE
from prunekit.engine.optimizer import Plan
from prunekit.engine.train import Cull
from prunekit.experiment import environment, sameness
from prunekit.experiment.prepare import Prepared, move
from prunekit.experiment.round_runner import Progress, RoundRunner, RoundSpec, TrainedMember
from prunekit.experiment.settings import MachineSettings
from prunekit.pruning import controls as arms
from prunekit.pruning import ratio_search as ratios
from prunekit.pruning.controls import Arm, Target
from prunekit.pruning.lottery import Rewinding, Round, RoundResult, find_tickets
from prunekit.pruning.schedule import Keep, rungs
from prunekit.pruning.scores import Scores
from prunekit.pruning.ticket import Ticket
from prunekit.runs.distributed_run import run_at
from prunekit.runs.paths import DENSE, SETTINGS, UNTRAINED, RunKey, Stage
from prunekit.runs.run import Run
from prunekit.runs.store import Stored
from prunekit.support.errors import ArtifactError, ConfigError

_UNITS = ("tokens", "pieces")


def run(prepared: Prepared, out: Path | Stored, watch: Progress, *, prune: bool = True, controls: bool = False) -> Run:
    """Run an experiment, or finish one that was interrupted: what is done already is loaded, not done again.

    Args:
        out: the folder that holds runs, where wanted with a store.
        prune: with False, only the dense round and its base line are done.
        controls: also train the arms that the last round's ticket is compared with.

    Raises:
        PrunekitError: in one line; everything finished before it stays on disk and valid.
    """
    with begun(prepared, out, watch) as (work, cohorts):
        prepared = work.prepared
        if prune:
            work.directory.write_stage(prepared.stage, prepared.experiment.pruning.model_dump(mode="json"))
        for seeds in cohorts:
            rounds = _prune(work, seeds, prepared.keeps if prune else ())
            _untrained(work, seeds)
            if controls and prune:
                last = [ticket for ticket in rounds[-1].tickets if rounds[-1].number == len(prepared.keeps)]
                targets = [Target(ticket, prepared.keeps) for ticket in last]
                _train_arms(work, prepared.stage, rounds[0], targets)
    return work.directory


def search(prepared: Prepared, out: Path | Stored, watch: Progress, *, controls: bool = False) -> Run:
    """The ratio search of XPrompt: try a grid of token and piece counts for every seed, choose on `validation`.

    Args:
        controls: also train the arms that the chosen ticket is compared with. Otherwise as `run`.
    """
    with begun(prepared, out, watch) as (work, cohorts):
        settings = work.prepared.experiment
        asked = settings.search
        work.directory.write_stage(prepared.search_stage, prepared.search_settings)
        for seeds in cohorts:
            dense = _prune(work, seeds, ())[0]
            _untrained(work, seeds)
            found = ratios.search_ratios(
                dense,
                asked.grid,
                lambda cells: _learn_cells(work, cells),
                _rewinding(work.prepared),
                piece_line=controls,
                rescore=(lambda keys: _rescored(work, keys)) if asked.rescore_pieces else None,
            )
            _finish_search(work, found, controls)
            if controls:
                targets = [Target(found.tickets[key], (key[1],)) for key in found.chosen.items()]
                # the grid's own cell with nothing dropped is that arm, unless halving may have stopped it
                without: tuple[Arm, ...] = () if asked.halving else ("dense-continued",)
                _train_arms(work, work.prepared.search_stage, dense, targets, without)
    return work.directory


def directory_of(prepared: Prepared, out: Path) -> Path:
    """Where a run lies, or will, in the folder `out` or as that folder itself.

    Raises:
        ConfigError: where `out` is another run, with what that one was made with otherwise.
    """
    try:
        return Run.at(out, prepared.name, prepared.id).path
    except ConfigError as error:
        told = sameness.differences(sameness.of_run(Run(out)), prepared.content)
        raise ConfigError(f"{error}; it was made with another: {sameness.in_line(told)}" if told else error) from error


@contextmanager
def begun(prepared: Prepared, out: Path | Stored, watch: Progress) -> Iterator[tuple[RoundRunner, list[list[int]]]]:
    """A run locked, settled and, in the end, with its results table; yields its work and its cohorts of seeds."""
    directory = run_at(team(), out, prepared.name, prepared.id)
    with directory.locked():
        prepared, cohorts = _settle(directory, prepared, watch)
        work = RoundRunner(directory, prepared, watch)
        yield work, cohorts
        if work.loaded:
            watch.say(f"{work.loaded} finished ticket(s) were there already, in {directory.path}")
        directory.write_results()


def _settle(directory: Run, prepared: Prepared, watch: Progress) -> tuple[Prepared, list[list[int]]]:
    """Write the settings, or impose those of the run that is there; returns the cohorts that hold the asked seeds.

    Cohorts, device and threads are settled once: another batch shape would round otherwise, and training amplifies
    that. Seeds that are new form new cohorts.
    """
    experiment = prepared.experiment
    cohorts: list[list[int]] = []
    for line in [] if (directory.path / SETTINGS).exists() else _alike(directory.path.parent, prepared):
        watch.say(line)
    if (directory.path / SETTINGS).exists():
        known = directory.settings()
        cohorts = known["cohorts"]
        machine = MachineSettings.model_validate(known["machine"])
        for name in ("processes", "device_map"):
            if (before := getattr(machine, name)) != getattr(experiment.machine, name):
                raise ConfigError(f"{directory.path}: begun with {name} = {before}; give the same again")
        if machine != experiment.machine:
            watch.say(f"resuming as the run began: {machine.device}, {machine.threads} threads, width {machine.width}")
        experiment = experiment.model_copy(update={"machine": machine})
        prepared = move(prepared, experiment)
        for line in environment.notes(directory, device=machine.device):
            watch.say(line)
    known_seeds = {seed for cohort in cohorts for seed in cohort}
    new = [seed for seed in experiment.seeds if seed not in known_seeds]
    width = prepared.width
    cohorts += [new[start : start + width] for start in range(0, len(new), width)]
    if new:
        directory.write_settings(_settings(prepared, cohorts))  # last: what has settings is a run
    return prepared, [cohort for cohort in cohorts if set(cohort) & set(experiment.seeds)]


def _alike(folder: Path, prepared: Prepared) -> list[str]:
    """A line for each run with the same settings that is there, of another model, data, task or precision.

    Who meant to go on with one of them learns here why another run begins.
    """
    own, lines = _asked(prepared.experiment.model_dump(mode="json")), []
    for path in sorted(folder.glob(f"{prepared.name.rpartition('-')[0]}-*/{SETTINGS}")):
        try:
            known = Run(path.parent).settings()
            told = sameness.differences(sameness.of_run(Run(path.parent)), prepared.content)
            same = _asked(known) == own
        except (ArtifactError, KeyError):  # it is not this run's to complain of another's damage
            continue
        if told and same:
            lines.append(f"note: a new run, since {path.parent.name} was made with another: {sameness.in_line(told)}")
    return lines


def _asked(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings by which a user names a run, without those that are not set and what a machine may choose."""
    return {
        section: {name: value for name, value in settings[section].items() if value is not None and name != "precision"}
        for section in ("model", "task", "prompt")
    }


def _rewinding(prepared: Prepared) -> Rewinding:
    pruning = prepared.experiment.pruning
    return Rewinding(pruning.rewind, pruning.dropped_as, prepared.fresh)


def _prune(work: RoundRunner, seeds: Sequence[int], keeps: Sequence[Keep]) -> list[Round]:
    """The dense round of one cohort of seeds, then a round per entry of `keeps`."""
    prepared = work.prepared

    def learn(tickets: Sequence[Ticket]) -> list[RoundResult]:
        number = tickets[0].round
        keys = [RunKey(prepared.stage if number else DENSE, ticket.seed, number) for ticket in tickets]
        snapshots = prepared.snapshot_steps if number == 0 else ()
        turn = RoundSpec(f"round {number}", prepared.plan, snapshots)
        learned = work.learn(dict(zip(keys, tickets, strict=True)), turn)
        return [learned[key] for key in keys]

    rounds = []
    for made in find_tickets([prepared.dense(seed) for seed in seeds], keeps, learn, _rewinding(prepared)):
        rounds.append(made)
        _announce(f"round {made.number}", made.tickets, made.learned, work)
    return rounds


def _untrained(work: RoundRunner, seeds: Sequence[int]) -> None:
    """The base line: the prompt stays at its start; on encoders a head learns to read what that makes of the text."""
    prepared = work.prepared
    plan: Plan = replace(prepared.plan, train_prompt=False)
    if not prepared.model.answers_by_head:
        plan = replace(plan, train_steps=0)
    tickets = {RunKey(UNTRAINED, seed, 0): prepared.dense(seed) for seed in seeds}
    # with dropout a frozen prompt and a text give another state each time
    with nullcontext() if plan.model_dropout else prepared.model.remembering():
        work.learn(tickets, RoundSpec("untrained prompt", plan, score=False))


def _learn_cells(work: RoundRunner, cells: Mapping[ratios.Key, Ticket]) -> dict[ratios.Key, RoundResult]:
    """Train the cells of a search. None of them sees the test split, and scores are those of the dense round."""
    prepared = work.prepared
    run_keys = {_cell(prepared, key): key for key in cells}
    members = {run_key: cells[key] for run_key, key in run_keys.items()}
    turn = RoundSpec("search", prepared.plan, test=False, score=False, cull=_halving(work, run_keys))
    learned = work.learn(members, turn)
    return {key: learned[run_key] for run_key, key in run_keys.items()}


def _cell(prepared: Prepared, key: ratios.Key) -> RunKey:
    seed, keep = key
    return RunKey(prepared.search_stage.trial(keep.tokens, keep.pieces), seed, 1)


def _halving(work: RoundRunner, keys: Mapping[RunKey, ratios.Key]) -> Callable[[Sequence[RunKey]], Cull] | None:
    """The rule of successive halving, each seed on its own; None where the search goes without."""
    plan = work.prepared.plan
    if not work.prepared.experiment.search.halving:
        return None
    when = rungs(plan.train_steps, plan.evaluate_every)

    def rule(cohort: Sequence[RunKey]) -> Cull:
        def cull(step: int, standings: Sequence[float | None]) -> Collection[int]:
            if step not in when:
                return ()
            cells = {keys[run_key]: value for run_key, value in zip(cohort, standings, strict=True)}
            worse = ratios.worse_half({key: value for key, value in cells.items() if value is not None})
            return [number for number, run_key in enumerate(cohort) if keys[run_key] in worse]

        return cull

    return rule


def _rescored(work: RoundRunner, keys: Sequence[ratios.Key]) -> dict[ratios.Key, Scores]:
    """Importance of finished cells at the values that they kept; none of one whose gradients are not finite."""
    kept = [work.finished(_cell(work.prepared, key)) for key in keys]
    found = work.scores(kept)
    kind = work.prepared.experiment.pruning.score
    for key, scores in zip(keys, found, strict=True):
        if not scores:
            work.watch.say(f"seed {key[0]} stopped: {NOT_FINITE}")
    return {key: scores[kind] for key, scores in zip(keys, found, strict=True) if scores}


def _finish_search(work: RoundRunner, found: ratios.Found, controls: bool) -> None:
    """The test split is looked at with what was chosen, once."""
    stage, prepared = work.prepared.search_stage, work.prepared
    # by itself, so that controls that are asked for later do not change which tickets share a batch with it
    work.finish({RunKey(stage, key[0], 1): _cell(prepared, key) for key in found.chosen.items()})
    if controls:
        prompt = prepared.experiment.prompt
        whole = Keep(prompt.tokens, prompt.pieces)
        others = {"token-only": found.token_only, "piece-only": found.piece_only}
        if not prepared.experiment.search.halving:
            ended = (seed for seed in found.chosen if found.learned[seed, whole].validation is not None)
            others["dense-continued"] = dict.fromkeys(ended, whole)
        cells = {(arm, seed): (seed, keep) for arm, keeps in others.items() for seed, keep in keeps.items()}
        work.finish({RunKey(stage.inside(arm), seed, 1): _cell(prepared, key) for (arm, seed), key in cells.items()})
    for seed, keep in found.chosen.items():
        reached = found.learned[seed, keep].validation
        work.watch.say(
            f"seed {seed}: {keep.tokens} tokens x {keep.pieces} pieces chosen of {_count(found, seed)}, "
            f"validation {prepared.task.metrics[0]} {reached:.3f}"
        )


def _count(found: ratios.Found, seed: int) -> int:
    return sum(key[0] == seed for key in found.learned)


def _train_arms(
    work: RoundRunner, stage: Stage, dense: Round, targets: Sequence[Target], without: Sequence[Arm] = ()
) -> None:
    """The controls beside a stage's tickets; the test split is looked at in their last round."""
    prepared = work.prepared
    last = max((one.ticket.round for one in targets), default=0)

    def learn(tickets: Mapping[arms.Key, Ticket]) -> dict[arms.Key, RoundResult]:
        number = next(iter(tickets.values())).round
        run_keys = {RunKey(stage.inside(arm), seed, number): (arm, seed) for arm, seed in tickets}
        turn = RoundSpec(f"controls, round {number}", prepared.plan, test=number == last, score=False)
        learned = work.learn({run_key: tickets[key] for run_key, key in run_keys.items()}, turn)
        return {key: learned[run_key] for run_key, key in run_keys.items()}

    ended = arms.train_arms(dense, targets, learn, _rewinding(prepared), without=without)
    for arm in arms.ARMS:
        pairs = [pair for key, pair in ended.items() if key[0] == arm]
        if pairs:
            _announce(arm, [ticket for ticket, _ in pairs], [learned for _, learned in pairs], work)


def _announce(title: str, tickets: Sequence[Ticket], learned: Sequence[RoundResult], work: RoundRunner) -> None:
    """One line per finished round, and one per member that diverged in it."""
    counts = {(one.mask.tokens, int(one.mask.piece.sum(dim=1).max())) for one in tickets}
    kept = " x ".join(_span(column, unit) for column, unit in zip(zip(*counts, strict=True), _UNITS, strict=True))
    reached = [one.validation for one in learned if one.validation is not None]
    line = f"{title}: {kept}"
    if reached:
        metric = work.prepared.task.metrics[0]
        line += f", validation {metric} {sum(reached) / len(reached):.3f} (mean of {len(reached)})"
    work.watch.say(line)
    for ticket, one in zip(tickets, learned, strict=True):
        if isinstance(one, TrainedMember) and one.trained.diverged:
            work.watch.say(f"seed {ticket.seed} stopped in {title}: {one.trained.diverged}")


def _span(counts: Sequence[int], unit: str) -> str:
    """Such as "5 tokens", or "2 to 5 tokens" where members differ."""
    return f"{min(counts)} to {max(counts)} {unit}" if min(counts) < max(counts) else f"{counts[0]} {unit}"


def _settings(prepared: Prepared, cohorts: list[list[int]]) -> dict[str, Any]:
    """What `experiment.toml` holds; pruning and search are a stage's own."""
    facts: dict[str, Any] = prepared.experiment.model_dump(mode="json", exclude={"pruning", "search", "seeds"})
    return {
        "id": prepared.id,
        "seeds": sorted(seed for cohort in cohorts for seed in cohort),
        "cohorts": cohorts,
        "metric": prepared.task.metrics[0],
        **facts,
        "digests": prepared.digests,
        "content": prepared.content,
        "examples": prepared.splits.sizes,
        "origin": dict(prepared.splits.origin),
        "duplicates": prepared.duplicates or None,
    }
