"""Runs that nobody trained: those of a small one, written down again under other seeds and rounds, or changed."""

import json
from itertools import groupby

from prunekit.runs.paths import BASELINES, RESULT, RunKey, Stage
from prunekit.runs.run import Files, Run
from prunekit.support.atomic import as_json


def long_run(source, path, seeds, rounds):
    """A run of so many seeds, each with the dense round and so many pruned ones.

    Args:
        source: a finished run with a pruning.
    """
    original = Run.open(source).snapshot()
    stage = next(stage for stage in original.stages() if stage.verb == "prune")
    run = Run(path)
    run.write_settings({**original.settings(), "seeds": list(range(seeds)), "cohorts": [list(range(seeds))]})
    run.write_stage(stage, {**original.stage_settings(stage), "rounds": rounds})
    for number in range(rounds + 1):
        run.commit([_round(original, RunKey(stage if number else Stage(), seed, number)) for seed in range(seeds)])
    run.write_results()
    return run


def _round(original, key):
    last = max(ticket.round for ticket in original.tickets() if ticket.stage == key.stage)
    taken = RunKey(key.stage, key.seed % len(original.settings()["seeds"]), min(key.round, last))
    content = {name: original.content(taken, name) for name in original.manifest(taken)["files"]}
    result = json.loads(content[RESULT]) | {"seed": key.seed, "round": key.round}
    return Files(key, content | {RESULT: as_json(result)}, original.timing(taken))


def changed_run(source, path, change, seeds=None):
    """A finished run once more, each result as `change` makes it of the round's key and result.

    Args:
        seeds: all by default.
    """
    original = Run.open(source).snapshot()
    seeds = original.settings()["seeds"] if seeds is None else seeds
    run = Run(path)
    run.write_settings({**original.settings(), "seeds": seeds, "cohorts": [seeds]})
    for stage in filter(None, original.stages()):
        run.write_stage(stage, original.stage_settings(stage))
    keys = [key for key in original.rounds() if key.seed in seeds or key.stage.top == BASELINES]
    for _, cohort in groupby(sorted(keys, key=_place), key=_place):
        run.commit([_changed(original, key, change) for key in cohort])
    run.write_results()
    return run


def _place(key):
    return key.stage, key.round


def _changed(original, key, change):
    content = {name: original.content(key, name) for name in original.manifest(key)["files"]}
    if RESULT in content:
        content[RESULT] = as_json(change(key, json.loads(content[RESULT])))
    return Files(key, content, original.timing(key))
