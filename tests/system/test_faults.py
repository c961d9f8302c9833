"""The k-th write, flush, rename or new folder fails, for k = 1 until none does (as SQLite tests itself)."""

import errno
import re

import faults
import pytest
import tiny

from prunekit.runs.paths import RunKey
from prunekit.runs.run import Files, Run
from prunekit.support.atomic import STAGING, as_json

pytestmark = pytest.mark.gate

CODES = {errno.ENOSPC: "No space left on device", errno.EIO: "Input/output error", errno.EACCES: "Permission denied"}
DENSE, PRUNED = [RunKey("", 0, 0), RunKey("", 1, 0)], [RunKey("prune-ab12", 0, 1), RunKey("prune-ab12", 1, 1)]
SETTINGS = {"id": "abcd1234", "seeds": [0, 1], "machine": {"threads": 1}}


def member(key):
    result = {"seed": key.seed, "round": key.round, "status": "done", "test": {"accuracy": 0.5}}
    return Files(key, {"result.json": as_json(result), "log.txt": b"log" * 99}, {"seconds": 1.5})


def job(run):
    """Everything that is ever written to a run, in the order of an experiment."""
    with run.locked():
        if not (run.path / "experiment.toml").exists():
            run.write_environment({"python": "3"})
            run.write_settings(SETTINGS)
        run.write_stage("prune-ab12", {"rounds": 1})
        for cohort in (DENSE, PRUNED):
            if not run.done(cohort):
                run.commit([member(key) for key in cohort])
        run.write_results()


def refused(run, number, code):
    """Do the job with its `number`-th operation refused; the hook, and the error or None."""
    hook = faults.Failing(run.path.parent, number, code)
    with pytest.MonkeyPatch.context() as patch:
        faults.install(hook, patch.setattr)
        try:
            job(run)
        except OSError as error:
            return hook, error
    return hook, None


def strays(folder):
    return [path for path in folder.rglob("*") if path.name.startswith(STAGING) or path.name == ".holder"]


#: An error, and which operations meet it: every one, or one in so many.
LOOPS = [(errno.ENOSPC, 5), *(pytest.param(code, 1, marks=pytest.mark.slow) for code in CODES)]


@pytest.mark.parametrize(("code", "step"), LOOPS)
def test_whichever_operation_fails_what_was_committed_stands_and_the_next_start_finishes(code, step, tmp_path, capsys):
    job(Run(tmp_path / "whole" / "r"))
    whole = tiny.contents(tmp_path / "whole")
    number, failed = 1, []
    while True:
        run = Run(tmp_path / str(number) / "r")
        run.path.parent.mkdir()
        hook, error = refused(run, number, code)
        if hook.refused is None:
            break
        assert error is not None, hook.refused
        assert error.errno == code
        assert str(run.path.parent) in str(error.filename), hook.refused
        # what a full disk is asked for is said, wherever something was to be written
        assert re.search(r", [\d,]+ bytes were to be written", error.strerror) or hook.refused in ("mkdir r",)
        before = committed(run)
        job(Run(run.path))
        assert tiny.contents(tmp_path / str(number)) == whole, hook.refused
        assert before <= whole.keys()
        assert not strays(run.path)
        failed.append(hook.refused)
        number += step
    assert error is None
    named = {"write MANIFEST.json", "flush log.txt", "rename round=01", "replace results.parquet"}
    assert named <= set(failed) if step == 1 else len(failed) > 10
    with capsys.disabled():
        print(f"\n{errno.errorcode[code]}: {len(failed)} of {len(failed)} refused operations left a sound run")


def committed(run):
    """The files of what reads well after a failure: every finished round does."""
    if not (run.path / "experiment.toml").exists():
        return set()
    run = Run.open(run.path)
    run.verify()
    return {f"r/{key}/{name}" for key in run.rounds() for name in run.manifest(key)["files"]}


def test_a_failing_disk_does_not_touch_the_round_that_was_there(tmp_path):
    run = Run(tmp_path / "r")
    job(run)
    before = tiny.contents(run.path)
    hook = faults.Failing(tmp_path, 1, errno.ENOSPC)
    with pytest.MonkeyPatch.context() as patch:
        faults.install(hook, patch.setattr)
        with pytest.raises(OSError, match="No space"):
            run.commit([member(RunKey("prune-ab12", 0, 2))])
    assert {name: run.path.joinpath(name).read_bytes() for name in before} == before
    assert run.verify() == 8


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_a_round_that_cannot_be_replaced_stays(step, tmp_path):
    run = Run(tmp_path / "r")
    job(run)
    before, number = tiny.contents(run.path), 1
    while True:
        hook = faults.Failing(tmp_path, number, errno.EIO)
        with pytest.MonkeyPatch.context() as patch:
            faults.install(hook, patch.setattr)
            try:
                run.commit([member(key) for key in PRUNED])  # the same once more
                break
            except OSError:
                number += step
        assert run.verify() == 8, hook.refused
        assert {name: run.path.joinpath(name).read_bytes() for name in before} == before, hook.refused
    assert hook.refused is None
    assert number > 20


# ---- through the command line


VERBS = {
    "prune": dict(train_steps=2, rounds=3, keep_tokens=1),
    "search": dict(train_steps=1, evaluate_every=1, rounds=None, keep_tokens=None, grid="token", prompt_tokens=2),
}


@pytest.fixture(scope="module")
def small(forks, tmp_path_factory):
    """Of a three-round pruning, or a search: its flags, its bytes, and how many operations it takes."""
    made = {}

    def of(verb):
        if verb not in made:
            folder = tmp_path_factory.mktemp(verb)
            flags = [verb, *tiny.arguments("gpt2", folder, **VERBS[verb])]
            log = folder / "points"
            ended = forks.run([*flags, f"--out={folder / 'whole'}"], folder / "whole", points=str(log))
            assert ended.code == 0, ended.said
            operations = [line for line in log.read_text().splitlines() if line.startswith("before ")]
            made[verb] = flags, tiny.contents(next((folder / "whole").iterdir())), len(operations)
        return made[verb]

    return of


def survives(forks, small, out, number, code):
    """A command with a refused operation: one line and code 1; run again, it ends as if nothing had been."""
    flags, whole, _ = small
    ended = forks.run([*flags, f"--out={out}"], out, refuse=number, errno=code)
    lines = ended.said.strip().splitlines()
    assert ended.code == 1, ended.said
    assert "Traceback" not in ended.said
    assert CODES[code] in lines[-1]
    assert lines[-1].startswith(f"prunekit: {out}")
    assert lines[-1].endswith("; nothing finished was lost")
    again = forks.run([*flags, f"--out={out}"], out)
    assert again.code == 0, again.said
    (made,) = out.iterdir()
    assert tiny.contents(made) == whole
    assert not strays(made)
    return lines[-1]


def test_a_refused_operation_ends_a_command_with_one_line(forks, small, tmp_path, capsys):
    said = survives(forks, small("prune"), tmp_path / "refused", small("prune")[2] // 2, errno.ENOSPC)
    with capsys.disabled():
        print(f"\n{said}")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
def test_every_operation_of_a_command_can_fail(code, verb, forks, small, tmp_path, capsys):
    count = small(verb)[2]
    for number in range(1, count + 1):
        survives(forks, small(verb), tmp_path / str(number), number, code)
    with capsys.disabled():
        print(f"\n{verb}, {errno.errorcode[code]}: {count} of {count} operations refused, each said in one line")


def test_a_real_limit_is_told_like_a_full_disk(forks, small, tmp_path):
    """The system's own refusal, of a file that may grow no further."""
    out = tmp_path / "limited"
    flags, whole, _ = small("prune")
    ended = forks.run([*flags, f"--out={out}"], out, limit=4096)
    assert ended.code == 1
    last = ended.said.strip().splitlines()[-1]
    assert re.fullmatch(r"prunekit: .*round=00: File too large, [\d,]+ bytes were to be written; nothing .*", last)
    assert forks.run([*flags, f"--out={out}"], out).code == 0
    assert tiny.contents(next(out.iterdir())) == whole
