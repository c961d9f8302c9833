"""The one place that wires the parts together: an experiment in, a run directory out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from prunekit.engine.distributed import team
from prunekit.engine.gradient_scores import NOT_FINITE
from prunekit.engine.optimizer import Plan
from prunekit.engine.train import Cull, Standing
from prunekit.experiment import commits, dry_run, environment, provenance
from prunekit.experiment.baselines import measure as baselines
from prunekit.experiment.prepare import Prepared, move
from prunekit.experiment.round_runner import Progress, RoundRunner, RoundSpec, TrainedMember
from prunekit.experiment.round_watch import TimeLeft
from prunekit.experiment.search_check import check_search
from prunekit.experiment.settings import MachineSettings
from prunekit.pruning.controls import CONTROLS, ControlKey, Target, train_controls
from prunekit.pruning.controls.dense_continued import DenseContinued
from prunekit.pruning.lottery import Rewinding, Round, RoundResult, find_tickets
from prunekit.pruning.ratio_search import SearchResult, Trial, search_ratios, worse_half
from prunekit.pruning.schedule import Keep, rungs
from prunekit.pruning.scores import Scores
from prunekit.pruning.ticket import Ticket
from prunekit.runs.distributed_run import run_at
from prunekit.runs.paths import DENSE, SETTINGS, UNTRAINED, RunKey, Stage
from prunekit.runs.run import Run
from prunekit.runs.store import Stored
from prunekit.support.errors import ArtifactError, ConfigError
from prunekit.tasks import Task

_UNITS = ("tokens", "pieces")


def run(
    prepared: Prepared, out: Path | Stored, progress: Progress, *, prune: bool = True, controls: bool = False
) -> Run:
    """Run an experiment, or finish one that was interrupted: what is done already is loaded, not done again.

    Args:
        prepared: the experiment.
        out: the folder that holds runs, or that folder with an object store.
        progress: where lines and progress go.
        prune: with False, only the dense round and its base line are done.
        controls: also train what the last round's ticket is compared with.

    Raises:
        PrunekitError: in one line; everything finished before it stays on disk and valid.
    """
    with opened_run(prepared, out, progress) as (runner, cohorts):
        prepared = runner.prepared
        keeps = prepared.experiment.keeps() if prune else ()
        if prune:
            runner.directory.write_stage(prepared.stage, prepared.experiment.pruning.model_dump(mode="json"))
        _expect(runner, cohorts, "prune" if prune else "tune", controls)
        for seeds in cohorts:
            rounds = _prune(runner, seeds, keeps)
            _untrained(runner, seeds)
            if controls and prune:
                last = [ticket for ticket in rounds[-1].tickets if rounds[-1].number == len(keeps)]
                targets = [Target(ticket, keeps) for ticket in last]
                _train_controls(runner, prepared.stage, rounds[0], targets)
        # behind all training: their texts may be longer than any before, for which the model would be tried anew
        baselines.measure(runner)
    return runner.directory


def search(prepared: Prepared, out: Path | Stored, progress: Progress, *, controls: bool = False) -> Run:
    """The ratio search of XPrompt: try a grid of counts, or of ranks, for every seed, choose on `validation`.

    Args:
        prepared: the experiment.
        out: as of `run`.
        progress: as of `run`.
        controls: also train what the chosen ticket is compared with. Otherwise as `run`.

    Raises:
        ConfigError: of `check_search`.
    """
    check_search(prepared)
    with opened_run(prepared, out, progress) as (runner, cohorts):
        settings = runner.prepared.experiment.search
        runner.directory.write_stage(prepared.search_stage, prepared.search_settings)
        _expect(runner, cohorts, "search", controls)
        for seeds in cohorts:
            dense = _scored_dense(runner, _prune(runner, seeds, ())[0])
            _untrained(runner, seeds)
            result = search_ratios(
                dense,
                settings.grid,
                lambda trials: _train_trials(runner, trials),
                _rewinding(runner.prepared),
                ratios=settings.ratios,
                piece_line=controls,
                rescore=(lambda trials: _rescored(runner, trials)) if settings.rescore_pieces else None,
            )
            _finish_search(runner, result, controls)
            if controls:
                targets = [Target(result.tickets[trial], (trial[1],)) for trial in result.chosen.items()]
                # the grid's own trial with nothing dropped is that control, unless halving may have stopped it
                without = () if settings.halving else (DenseContinued.name,)
                _train_controls(runner, runner.prepared.search_stage, dense, targets, without)
        baselines.measure(runner)
    return runner.directory


def _expect(runner: RoundRunner, cohorts: Sequence[Sequence[int]], verb: dry_run.Verb, controls: bool) -> None:
    """Count the updates that are left, so that it can be said how long they take."""
    prepared = _of_seeds(runner.prepared, chain(*cohorts))
    parts = dry_run.parts(prepared, verb, controls)
    parts = dry_run.with_finished(parts, runner.directory.snapshot(), prepared, verb)
    runner.left = TimeLeft(sum(part.left * part.share for part in parts) * runner.prepared.plan.train_steps)


def directory_of(prepared: Prepared, out: Path) -> Path:
    """Where a run lies, or will, in the folder `out` or as that folder itself.

    Raises:
        ConfigError: where `out` is another run, with what that one was made with otherwise.
    """
    try:
        return Run.at(out, prepared.name, prepared.id).path
    except ConfigError as error:
        differences = provenance.differences(provenance.run_content(Run(out)), prepared.content)
        reason = f"{error}; it was made with another: {provenance.one_line(differences)}" if differences else error
        raise ConfigError(reason) from error


def with_whole_cohorts(prepared: Prepared, out: Path) -> Prepared:
    """The experiment with every seed that it would train: of a run that is there, cohorts are trained whole.

    Raises:
        ConfigError: of `directory_of`.
    """
    directory, asked = directory_of(prepared, out), prepared.experiment.seeds
    cohorts = Run(directory).settings()["cohorts"] if (directory / SETTINGS).is_file() else []
    return _of_seeds(prepared, {*asked, *chain(*_cohorts_with(asked, cohorts))})


def _of_seeds(prepared: Prepared, seeds: Iterable[int]) -> Prepared:
    experiment = prepared.experiment.model_copy(update={"seeds": tuple(sorted(seeds))})
    return replace(prepared, experiment=experiment)


def _cohorts_with(seeds: Sequence[int], cohorts: Sequence[list[int]]) -> list[list[int]]:
    """The cohorts that hold any of the seeds."""
    return [cohort for cohort in cohorts if set(cohort) & set(seeds)]


@contextmanager
def opened_run(
    prepared: Prepared, out: Path | Stored, progress: Progress
) -> Iterator[tuple[RoundRunner, list[list[int]]]]:
    """Lock a run and resolve its cohorts; in the end, write its results table.

    Yields:
        The runner of its rounds, and its cohorts of seeds.
    """
    directory = run_at(team(), out, prepared.name, prepared.id)
    with directory.locked():
        prepared, cohorts = _resolve_cohorts(directory, prepared, progress)
        runner = RoundRunner(directory, prepared, progress)
        yield runner, cohorts
        if runner.loaded:
            progress.say(f"{runner.loaded} finished ticket(s) were there already, in {directory.path}")
        directory.write_results()


def _resolve_cohorts(directory: Run, prepared: Prepared, progress: Progress) -> tuple[Prepared, list[list[int]]]:
    """Write the settings of a new run, or take those of an existing one; returns the cohorts of the experiment's seeds.

    Cohorts, device and threads are chosen once: another batch shape would round otherwise, and training amplifies
    that. Seeds that are new form new cohorts.
    """
    experiment = prepared.experiment
    cohorts: list[list[int]] = []
    for line in [] if (directory.path / SETTINGS).exists() else _similar_runs(directory.path.parent, prepared):
        progress.say(line)
    if (directory.path / SETTINGS).exists():
        settings = directory.settings()
        cohorts = settings["cohorts"]
        machine = MachineSettings.model_validate(settings["machine"])
        for name in ("processes", "device_map"):
            if (before := getattr(machine, name)) != getattr(experiment.machine, name):
                raise ConfigError(f"{directory.path}: begun with {name} = {before}; use the same")
        if machine != experiment.machine:
            progress.say(
                f"resuming as the run began: {machine.device}, {machine.threads} threads, width {machine.width}"
            )
        experiment = experiment.model_copy(update={"machine": machine})
        prepared = move(prepared, experiment)
        for line in environment.notes(directory, device=machine.device):
            progress.say(line)
    seen_seeds = {seed for cohort in cohorts for seed in cohort}
    new_seeds = [seed for seed in experiment.seeds if seed not in seen_seeds]
    width = prepared.width
    cohorts += [new_seeds[start : start + width] for start in range(0, len(new_seeds), width)]
    if new_seeds:
        directory.write_settings(_settings(prepared, cohorts))  # last: what has settings is a run
    return prepared, _cohorts_with(experiment.seeds, cohorts)


def _similar_runs(folder: Path, prepared: Prepared) -> list[str]:
    """A line for each run in the folder with the same settings but another model, data, task or precision.

    It says why a new run begins where the user may have meant to resume that one.
    """
    named, lines = _naming_settings(prepared.experiment.model_dump(mode="json")), []
    for path in sorted(folder.glob(f"{prepared.name.rpartition('-')[0]}-*/{SETTINGS}")):
        try:
            settings = Run(path.parent).settings()
            differences = provenance.differences(provenance.run_content(Run(path.parent)), prepared.content)
            is_same = _naming_settings(settings) == named
        except (ArtifactError, KeyError):  # damage to another run is not this one's to report
            continue
        if differences and is_same:
            listed = provenance.one_line(differences) + commits.others(settings, prepared.commits)
            lines.append(f"note: a new run, since {path.parent.name} was made with another: {listed}")
    return lines


def _naming_settings(settings: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings by which a user names a run, without those that are not set and what a machine may choose."""
    return {
        section: {
            name: value
            for name, value in settings[section].items()
            if value is not None and value is not False and name != "precision"
        }
        for section in ("model", "task", "prompt")
    }


def _rewinding(prepared: Prepared) -> Rewinding:
    pruning = prepared.experiment.pruning
    return Rewinding(pruning.rewind, pruning.dropped_as, prepared.new_values)


def _prune(runner: RoundRunner, seeds: Sequence[int], keeps: Sequence[Keep]) -> list[Round]:
    """The dense round of one cohort of seeds, then a round per entry of `keeps`."""
    prepared = runner.prepared

    def learn(tickets: Sequence[Ticket]) -> list[RoundResult]:
        number = tickets[0].round
        keys = [RunKey(prepared.stage if number else DENSE, ticket.seed, number) for ticket in tickets]
        snapshots = prepared.snapshot_steps if number == 0 else ()
        spec = RoundSpec(f"round {number}", prepared.plan, snapshots)
        results = runner.learn(dict(zip(keys, tickets, strict=True)), spec)
        if number < len(keeps):
            results = _scored(runner, results, prepared.stage)
        return [results[key] for key in keys]

    rounds = []
    for finished in find_tickets([prepared.dense(seed) for seed in seeds], keeps, learn, _rewinding(prepared)):
        rounds.append(finished)
        _announce(f"round {finished.number}", finished.tickets, finished.results, runner)
    return rounds


def _scored(runner: RoundRunner, results: Mapping[RunKey, RoundResult], stage: Stage) -> dict[RunKey, RoundResult]:
    """Results of finished rounds with the scores that prune, where these are not what every round writes."""
    if not runner.prepared.experiment.scored_apart(stage.verb):
        return dict(results)
    trained = {key: result for key, result in results.items() if result.validation is not None}
    return {**results, **{key: replace(trained[key], scores=runner.finder_scores(key, stage)) for key in trained}}


def _untrained(runner: RoundRunner, seeds: Sequence[int]) -> None:
    """The base line: the prompt stays at its start; on encoders a head learns to read what that makes of the text."""
    prepared = runner.prepared
    plan: Plan = replace(prepared.plan, train_prompt=False)
    if not prepared.model.answers_by_head:
        plan = replace(plan, train_steps=0)
    tickets = {RunKey(UNTRAINED, seed, 0): prepared.dense(seed) for seed in seeds}
    # with dropout a frozen prompt and a text give another state each time
    with nullcontext() if plan.model_dropout else prepared.model.caching_states():
        runner.learn(tickets, RoundSpec("untrained prompt", plan, score=False))


def _train_trials(runner: RoundRunner, trials: Mapping[Trial, Ticket]) -> dict[Trial, RoundResult]:
    """Train the trials of a search. None of them sees the test split, and scores are those of the dense round."""
    prepared = runner.prepared
    run_keys = {_trial_key(prepared, trial): trial for trial in trials}
    members = {run_key: trials[trial] for run_key, trial in run_keys.items()}
    spec = RoundSpec("search", prepared.plan, test=False, score=False, cull=_halving(runner, run_keys))
    results = runner.learn(members, spec)
    return {trial: results[run_key] for run_key, trial in run_keys.items()}


def _trial_key(prepared: Prepared, trial: Trial) -> RunKey:
    seed, keep = trial
    return RunKey(prepared.search_stage.trial(keep), seed, 1)


def _halving(runner: RoundRunner, trials: Mapping[RunKey, Trial]) -> Callable[[Sequence[RunKey]], Cull] | None:
    """The rule of successive halving, each seed on its own; None where the search goes without."""
    plan = runner.prepared.plan
    if not runner.prepared.experiment.search.halving:
        return None
    when = rungs(plan.train_steps, plan.evaluate_every)

    def rule(cohort: Sequence[RunKey]) -> Cull:
        def cull(step: int, standings: Sequence[Standing | None]) -> Collection[int]:
            if step not in when:
                return ()
            best = {trials[run_key]: standing for run_key, standing in zip(cohort, standings, strict=True)}
            worse = worse_half({trial: standing.best for trial, standing in best.items() if standing is not None})
            return [number for number, run_key in enumerate(cohort) if trials[run_key] in worse]

        return cull

    return rule


def _scored_dense(runner: RoundRunner, dense: Round) -> Round:
    """The dense round with the scores that a search cuts by."""
    keys = [RunKey(DENSE, ticket.seed, 0) for ticket in dense.tickets]
    results = _scored(runner, dict(zip(keys, dense.results, strict=True)), runner.prepared.search_stage)
    return replace(dense, results=tuple(results[key] for key in keys))


def _rescored(runner: RoundRunner, trials: Sequence[Trial]) -> dict[Trial, Scores]:
    """Importance of finished trials at the values that they kept; none of one whose gradients are not finite."""
    keys = {trial: _trial_key(runner.prepared, trial) for trial in trials}
    if runner.prepared.experiment.scored_apart("search"):
        apart = {trial: runner.finder_scores(key, runner.prepared.search_stage) for trial, key in keys.items()}
        return {trial: scores for trial, scores in apart.items() if scores is not None}
    by_trial = dict(zip(trials, runner.scores([runner.finished(key) for key in keys.values()]), strict=True))
    for (seed, _), scores in by_trial.items():
        if not scores:
            runner.progress.say(f"seed {seed} stopped: {NOT_FINITE}")
    kind = runner.prepared.experiment.pruning.finder.name
    return {trial: scores[kind] for trial, scores in by_trial.items() if scores}


def _finish_search(runner: RoundRunner, result: SearchResult, controls: bool) -> None:
    """Evaluate the chosen tickets on the test split, once."""
    stage, prepared = runner.prepared.search_stage, runner.prepared
    # by itself, so that controls that are asked for later do not change which tickets share a batch with it
    runner.finish({RunKey(stage, trial[0], 1): _trial_key(prepared, trial) for trial in result.chosen.items()})
    if controls:
        arms = _trials_as_controls(prepared, result)
        trials = {(arm, seed): (seed, keep) for arm, keeps in arms.items() for seed, keep in keeps.items()}
        runner.finish(
            {RunKey(stage.inside(arm), seed, 1): _trial_key(prepared, trial) for (arm, seed), trial in trials.items()}
        )
    for seed, keep in result.chosen.items():
        tried = sum(trial[0] == seed for trial in result.results)
        runner.progress.say(
            f"seed {seed}: {keep.words} chosen of {tried}, "
            f"validation {chosen_value(prepared.task, result.results[seed, keep].validation)}"
        )


def _trials_as_controls(prepared: Prepared, result: SearchResult) -> dict[str, dict[int, Keep]]:
    """The trials that are controls of the chosen ones: name of the control -> seed -> what it keeps."""
    arms = {name: dict(keeps) for name, keeps in result.best_of_line.items()}
    if not prepared.experiment.search.halving:
        ended = (seed for seed in result.chosen if result.results[seed, result.whole].validation is not None)
        arms[DenseContinued.name] = dict.fromkeys(ended, result.whole)
    return arms


def _train_controls(
    runner: RoundRunner, stage: Stage, dense: Round, targets: Sequence[Target], without: Sequence[str] = ()
) -> None:
    """The controls beside a stage's tickets; the test split is looked at in their last round."""
    prepared = runner.prepared
    last = max((target.ticket.round for target in targets), default=0)

    def learn(tickets: Mapping[ControlKey, Ticket]) -> dict[ControlKey, RoundResult]:
        number = next(iter(tickets.values())).round
        run_keys = {RunKey(stage.inside(name), seed, number): (name, seed) for name, seed in tickets}
        spec = RoundSpec(f"controls, round {number}", prepared.plan, test=number == last, score=False)
        results = runner.learn({run_key: tickets[key] for run_key, key in run_keys.items()}, spec)
        return {key: results[run_key] for run_key, key in run_keys.items()}

    ended = train_controls(dense, targets, learn, _rewinding(prepared), without=without)
    for control in CONTROLS:
        pairs = [pair for key, pair in ended.items() if key[0] == control.name]
        if pairs:
            _announce(control.name, [ticket for ticket, _ in pairs], [results for _, results in pairs], runner)


def _announce(title: str, tickets: Sequence[Ticket], results: Sequence[RoundResult], runner: RoundRunner) -> None:
    """One line per finished round, and one per member that diverged in it."""
    counts = {(ticket.mask.tokens, ticket.pieces) for ticket in tickets}
    sizes = " x ".join(_span(column, unit) for column, unit in zip(zip(*counts, strict=True), _UNITS, strict=True))
    if ranks := {ticket.rank for ticket in tickets if ticket.rank is not None}:
        sizes += f" at rank {', '.join(map(str, sorted(ranks)))}"
    values = [result.validation for result in results if result.validation is not None]
    line = f"{title}: {sizes}"
    if values:
        mean = sum(values) / len(values)
        line += f", validation {chosen_value(runner.prepared.task, mean)} (mean of {len(values)})"
    runner.progress.say(line)
    for ticket, result in zip(tickets, results, strict=True):
        if isinstance(result, TrainedMember) and result.trained.diverged:
            runner.progress.say(f"seed {ticket.seed} stopped in {title}: {result.trained.diverged}")


def chosen_value(task: Task, value: float | None) -> str:
    """What chooses among a task's tickets, by name, such as "loss 1.234".

    Args:
        value: the primary metric, or minus the loss.
    """
    assert value is not None
    return f"{task.chosen_by} {-value if task.chosen_by == 'loss' else value:.3f}"


def _span(counts: Sequence[int], unit: str) -> str:
    """Such as "5 tokens", or "2 to 5 tokens" where members differ."""
    return f"{min(counts)} to {max(counts)} {unit}" if min(counts) < max(counts) else f"{counts[0]} {unit}"


def _settings(prepared: Prepared, cohorts: list[list[int]]) -> dict[str, Any]:
    """What `experiment.toml` holds; pruning and search are a stage's own."""
    facts: dict[str, Any] = prepared.experiment.model_dump(
        mode="json", exclude={"pruning", "search", "baselines", "seeds"}
    )
    return {
        "id": prepared.id,
        "seeds": sorted(seed for cohort in cohorts for seed in cohort),
        "cohorts": cohorts,
        "metric": prepared.task.metrics[0],
        **facts,
        "digests": prepared.digests,
        "content": prepared.content,
        "commits": prepared.commits or None,
        "examples": prepared.splits.sizes,
        "origin": dict(prepared.splits.origin),
        "duplicates": prepared.duplicates or None,
        "budget": prepared.budget,
    }
