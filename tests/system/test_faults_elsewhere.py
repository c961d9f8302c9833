"""Exports, imports, answers and jobs of a sweep: an operation on the disk fails, or is the last that a process does."""

import errno
import json
import signal
from functools import cache

import faults
import pytest
import sweeps
import tiny
from test_faults import CODES, Command, strays

from prunekit.experiment.sweep import jobs
from prunekit.experiment.sweep.jobs import Outcome
from prunekit.experiment.sweep.worker import perform
from prunekit.export import read_adapter
from prunekit.support.errors import PrunekitError

VERBS = ("export", "embeddings", "import", "predict")
SAID = r"/.*, [\d,]+ bytes were to be written; nothing .*"  # of whatever is refused, and nothing half-written is left
pytestmark = pytest.mark.gate


# ---- through the command line


@pytest.fixture(scope="module")
def commands(forks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    flags = ["prune", *tiny.arguments("gpt2", folder, train_steps=2, rounds=1), f"--out={folder / 'runs'}"]
    assert forks.run(flags, folder / "runs").code == 0
    (finished,) = (folder / "runs").glob("*/prune-*/seed=0/round=01")
    rows = folder / "rows.jsonl"
    rows.write_text('{"sentence": "w1 w7"}\n{"sentence": "w0"}\n')
    words = {
        "export": ["export", finished, "--no-verify"],
        "embeddings": ["export", finished, "--to=embeddings"],
        "predict": ["predict", finished, rows],
        "import": ["import", folder / "export" / "whole" / "made", "--pieces=4"],
    }

    @cache
    def of(verb):
        if verb == "import":
            of("export")  # what is imported
        (folder / verb).mkdir()
        return Command(forks, words[verb], folder / verb)

    return of


@pytest.mark.parametrize("verb", ["export"])
def test_a_refused_operation_is_told_in_one_line_and_leaves_nothing(verb, commands, tmp_path):
    commands(verb).refused(tmp_path / "refused", commands(verb).count, errno.ENOSPC, SAID)


@pytest.mark.slow
@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
@pytest.mark.parametrize("verb", VERBS)
def test_every_operation_can_be_refused(verb, code, commands, tmp_path, capsys):
    commands(verb).refused_each(tmp_path, code, SAID)
    with capsys.disabled():
        print(f"\n{verb}, {errno.errorcode[code]}: {commands(verb).count} operations refused, each in one line")


def killed(command, out, point):
    ended = command.run(out, point=point, number=1)
    assert ended.code == -signal.SIGKILL, (point, ended.said)
    command.ends_well(out, f"killed {point}")


@pytest.mark.parametrize("verb", ["export"])
def test_a_killed_command_ends_well_when_it_is_run_again(verb, commands, tmp_path):
    killed(commands(verb), tmp_path, next(point for point in commands(verb).points if point.startswith("half write")))


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_a_command_killed_at_every_point_ends_well_when_it_is_run_again(verb, commands, tmp_path, capsys):
    points = dict.fromkeys(commands(verb).points)
    for place, point in enumerate(points):
        killed(commands(verb), tmp_path / str(place), point)
    with capsys.disabled():
        print(f"\n{verb}: {len(points)} of {len(points)} named points, and run again it ends in the same bytes")


@pytest.mark.slow
def test_an_export_killed_at_any_point_is_whole_or_refused(commands, tmp_path):
    command = commands("export")
    whole = read_adapter(str(command.made))
    seen = set()
    for place, point in enumerate(dict.fromkeys(command.points)):
        out = tmp_path / str(place)
        command.run(out, point=point, number=1)
        try:
            assert read_adapter(str(out / "made")) == whole
            seen.add("whole")
        except PrunekitError:
            seen.add("refused")
    assert seen == {"whole", "refused"}


# ---- a sweep's job, in this process


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """out -> the text of a job that prunes one experiment for two seeds."""
    found = sweeps.read(sweeps.written(tmp_path_factory.mktemp("grid"), methods='"direct"'), threads=1)
    return lambda out: jobs.jobs(found, out, found.experiments)[0].to_text()


def done(text):
    (outcome,) = json.loads(perform(text))
    return Outcome.from_table(outcome)


def of_runs(out):
    """What a job leaves, but for the receipt, which says who did it in what time."""
    return {name: content for name, content in tiny.contents(out).items() if not name.startswith(jobs.LEDGER)}


def outlived(job, out, number, code, whole):
    """The job with one operation refused, then once more; None where it came to its end before that operation."""
    hook = faults.Failing(out, number, code)
    with pytest.MonkeyPatch.context() as patch:
        faults.install(hook, patch.setattr)
        ended = done(job(out))
    if hook.refused is None:
        assert not ended.failed
        return None
    assert CODES[code] in ended.failed, hook.refused
    assert str(out) in ended.failed
    assert "bytes were to be written" in ended.failed or hook.refused.startswith("mkdir")
    assert "\n" not in ended.failed
    again = done(job(out))
    assert not again.failed, (hook.refused, again.failed)
    assert of_runs(out) == whole, hook.refused
    assert jobs.receipt(out, again.key) is not None
    assert not strays(out), hook.refused
    return hook.refused


@pytest.fixture
def whole_job(job, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a worker goes where its job says
    assert not done(job(tmp_path / "whole")).failed
    return of_runs(tmp_path / "whole")


@pytest.mark.slow
def test_a_job_of_a_sweep_outlives_a_refused_operation(job, whole_job, tmp_path):
    assert outlived(job, tmp_path / "refused", 40, errno.EIO, whole_job) is not None


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
def test_a_job_of_a_sweep_outlives_every_refused_operation(code, job, whole_job, tmp_path, capsys):
    number, refused = 1, []
    while found := outlived(job, tmp_path / str(number), number, code, whole_job):
        refused.append(found)
        number += 1 if code == errno.ENOSPC else 7
    assert code != errno.ENOSPC or any(one.startswith("write .prunekit-staging-") for one in refused)
    with capsys.disabled():
        print(f"\nsweep, {errno.errorcode[code]}: {len(refused)} of {len(refused)} refused operations were outlived")
