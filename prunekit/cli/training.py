"""What `prune`, `search` and `tune` show: each run as it is finished, then all of them beside their controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from prunekit.cli.arms import print_arms
from prunekit.cli.rounds import print_run
from prunekit.cli.table import Column, digits, print_table
from prunekit.experiment.settings import Experiment
from prunekit.support import terminal

if TYPE_CHECKING:
    from prunekit.experiment.api.run import Run
    from prunekit.experiment.api.train import Forecast, TrainingOptions
    from prunekit.experiment.dry_run import Verb

#: The sections of settings that every verb that trains has flags for.
SECTIONS = ("model", "task", "prompt", "training", "baselines")


# what imports transformers, and then all the rest
_MODELS, _API = "prunekit.models", "prunekit.experiment.api.train"


def train_and_show(
    verb: Verb, experiments: Sequence[Experiment], options: Mapping[str, Any], *, dry_run: bool, json: bool
) -> None:
    """Train task by task with `TrainingOptions`, or say what would be trained; one process alone is heard.

    Raises:
        DivergedError: at the end where a training stopped; what the others reached is kept and shown.
    """
    with terminal.only_first_prints(experiments[0].machine.processes) as heard:
        _load_libraries(verb, experiments[0])
        from prunekit.experiment.api.train import TrainingOptions, check_ended, forecast, train

        chosen = TrainingOptions(**{**options, "track": options["track"] if heard else None})
        if dry_run:
            for outlook in forecast(verb, experiments, chosen):
                _print_forecast(outlook, json=json)
            return
        runs = []
        for run in train(verb, experiments, chosen):
            runs.append(run)
            if not json:
                print_run(run.directory, run.tolerance, stages=["", run.stage], arms=False)
        _print_all(runs, chosen, json=json)
        check_ended(runs, [experiment.seeds for experiment in experiments])


def _print_all(runs: Sequence[Run], options: TrainingOptions, *, json: bool) -> None:
    """The comparison over all tasks, or everything as JSON."""
    from prunekit.analysis.arm_comparison import compare_arms

    comparison = None
    if options.controls:
        comparison = compare_arms([(run.directory, run.stage) for run in runs], options.tolerance)
    if json:
        terminal.write_json(_facts(runs) | ({} if comparison is None else comparison.facts))
    elif comparison is not None:
        print_arms(comparison)


def _facts(runs: Sequence[Run]) -> dict[str, Any]:
    """What runs came to, for a program: of a single one by itself."""
    from prunekit.runs.overview import facts_of

    each = [facts_of(run.directory, run.tolerance, ["", run.stage]) for run in runs]
    each = [facts | {"tickets": terminal.records(facts["tickets"])} for facts in each]
    return each[0] if len(each) == 1 else {"runs": each}


def _load_libraries(verb: Verb, experiment: Experiment) -> None:
    """What takes seconds to import, with a line for each that does."""
    working, what = terminal.Screen().working, f"{verb} {experiment.task.name} on {experiment.model.name}"
    libraries = {"torch": f"{what}: loading torch", _MODELS: "loading transformers", _API: "loading prunekit"}
    for module, title in libraries.items():
        with working(title):
            import_module(module)


def _print_forecast(outlook: Forecast, *, json: bool) -> None:
    if json:
        terminal.write_json(outlook.facts)
        return
    if not outlook.left:
        terminal.write(
            f"all {outlook.parts['tickets'].sum()} tickets and base lines are finished in {outlook.run}: nothing is "
            "left to do"
        )
        return
    finished = outlook.parts["left"].sum() < outlook.parts["tickets"].sum()
    names = ("title", "tokens", "pieces", "tickets", *(["left"] if finished else []))
    columns = {name: Column(name) for name in names} | {"title": Column("part")}
    columns |= {name: Column(name, digits(1)) for name in ("training", "evaluation", "scoring")}
    print_table(outlook.parts, columns | {"minutes": Column("minutes at most", digits(1))})
    if outlook.reading_minutes:
        terminal.write(f"reading all texts once: {outlook.reading_minutes:.1f} minutes")
    terminal.write(f"an estimate, from {outlook.source}: time is taken to grow with the tokens read")
    terminal.write(
        f"at most {outlook.minutes:.1f} minutes, {outlook.least_minutes:.1f} where every ticket stops as early as it "
        f"may, and about {outlook.memory_mb:.0f} MB; "
        + (f"goes on in {outlook.run}" if finished else f"would be written to {outlook.run}")
    )
