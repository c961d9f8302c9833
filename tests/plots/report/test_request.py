import shlex
from pathlib import Path

import pytest
import tiny
from typer.main import get_command

from prunekit.cli.app import build_app
from prunekit.experiment import run as experiment
from prunekit.experiment import settings_io
from prunekit.experiment.prepare import prepare
from prunekit.plots.report import commands
from prunekit.plots.report.request import request
from prunekit.runs.run import Run


@pytest.fixture(scope="module")
def prepared(folder):
    return prepare(tiny.experiment("gpt2", folder, seeds=3, score="signed", batch_size=8))


@pytest.fixture(scope="module")
def run(folder, prepared):
    """Only what names a run: its settings and those of two stages."""
    made = Run(folder / "out" / prepared.name)
    made.write_settings(experiment._settings(prepared, [[0, 1, 2]]))
    made.write_stage(prepared.stage, prepared.experiment.pruning.model_dump(mode="json"))
    made.write_stage(prepared.search_stage, prepared.search_settings)
    return made


def parsed(command):
    """The verb of a command line, and the experiment that its flags ask for."""
    program, verb, *rest = shlex.split(command)
    assert program == "prunekit"
    known = get_command(build_app()).commands[verb].make_context(verb, rest).params
    own = {"experiment", "out", "controls", "tolerance", "minutes", "dry_run", "json"}
    settings = {name: value for name, value in known.items() if name not in own and value is not None}
    return verb, settings_io.experiment(None, settings), known


def test_the_command_asks_for_the_very_run(run, prepared):
    verb, wanted, known = parsed(commands.to_go_on(run, prepared.stage, "--controls"))
    assert verb == "prune"
    assert Path(known["out"]) == run.path.parent
    assert known["controls"] is True
    again = prepare(wanted)
    assert (again.id, again.stage) == (prepared.id, prepared.stage)
    assert wanted.seeds == (0, 1, 2)


def test_a_search_and_the_dense_round_have_their_own_verbs(run, prepared):
    verb, wanted, _ = parsed(commands.to_go_on(run, prepared.search_stage))
    assert verb == "search"
    assert wanted.search == prepared.experiment.search
    assert wanted.pruning.score == "signed"
    verb, wanted, _ = parsed(commands.to_go_on(run))
    assert verb == "tune"
    assert wanted.training == prepared.experiment.training


def test_the_command_to_score_names_the_dense_round_and_names_with_spaces_are_quoted(run, tmp_path):
    command = commands.to_score(run, 2, "shapley")
    assert shlex.split(command) == ["prunekit", "score", f"{run.path}/seed=2/round=00", "--kind", "shapley"]
    made = Run(tmp_path / "a folder; rm" / "x")
    made.write_settings(run.settings() | {"seeds": [3, 5]})
    words = shlex.split(commands.to_go_on(made))
    assert words[words.index("--out") + 1] == str(tmp_path / "a folder; rm")
    assert words[words.index("--seeds") + 1] == "3,5"


def test_what_was_asked_is_said_in_words(run, prepared):
    answers = dict(request(run))
    assert answers["Text"] == "{sentence} :"
    assert answers["Answers"] == "good, bad"
    assert answers["Seeds"] == "3 (0, 1, 2)"
    assert answers["Prompt"].startswith("4 tokens, 4 pieces each, method direct, placed first")
    assert answers[prepared.stage].startswith("2 rounds of pruning, keep tokens 2 and pieces 0.5; score signed")
    assert "grid paper" in answers[prepared.search_stage]
    assert "dense continued" in answers["Named beforehand"]


def test_shuffled_labels_are_named(run, tmp_path):
    made = Run(tmp_path / "shuffled")
    settings = run.settings()
    made.write_settings(settings | {"task": settings["task"] | {"labels": "shuffled"}})
    assert "Labels" not in dict(request(run))
    assert "a null of training" in dict(request(made))["Labels"]


def test_a_task_file_that_changed_is_not_quoted(run, folder):
    file = folder / "toy" / "toy.toml"
    kept = file.read_text()
    try:
        file.write_text(kept.replace("{sentence} :", "{sentence} ?"))
        assert dict(request(run))["Text"] == "the task file has changed since"
        file.unlink()
        assert dict(request(run))["Text"] == "the task file is not where it was"
    finally:
        file.write_text(kept)


@pytest.mark.parametrize("seeds", [(0,), (5,), (0, 1, 2), (3, 5)])
def test_a_command_asks_for_the_seeds_of_its_run(folder, seeds):
    made = prepare(tiny.experiment("gpt2", folder, seeds=",".join(map(str, seeds)) + ","))
    run = Run(folder / "out" / f"seeds-{seeds}")
    run.write_settings(experiment._settings(made, [list(seeds)]))
    run.write_stage(made.stage, made.experiment.pruning.model_dump(mode="json"))
    _, wanted, _ = parsed(commands.to_go_on(run, made.stage))
    assert wanted.seeds == seeds
