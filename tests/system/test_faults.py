"""The k-th write, flush, rename or new folder fails, for k = 1 until none does (as SQLite tests itself)."""

import errno
import re
from functools import cache

import faults
import pytest
import tiny
from test_runs_run import DENSE, PRUNED, member

from prunekit.runs.paths import RunKey
from prunekit.runs.run import Run
from prunekit.support.atomic import STAGING

pytestmark = pytest.mark.gate

#: What a system refuses with, and its words.
CODES = {errno.ENOSPC: "No space left on device", errno.EIO: "Input/output error", errno.EACCES: "Permission denied"}
SETTINGS = {"id": "abcd1234", "seeds": [0, 1], "machine": {"threads": 1}}


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


def refused(run, number, code, work=job):
    """Do the work with its `number`-th operation refused; the hook, and the error or None."""
    hook = faults.Failing(run.path.parent, number, code)
    with pytest.MonkeyPatch.context() as patch:
        faults.install(hook, patch.setattr)
        try:
            work(run)
        except OSError as error:
            return hook, error
    return hook, None


def strays(folder):
    """What a process leaves that ends before its time."""
    return [path for path in folder.rglob("*") if path.name.startswith(STAGING) or path.name == ".holder"]


class Command:
    """A command that writes: its words, the bytes that it ends in, the operations that it takes."""

    def __init__(self, forks, words, folder):
        self.forks, self.words, self.made = forks, words, folder / "whole" / "made"
        log = folder / "points"
        ended = self.run(folder / "whole", points=str(log))
        assert ended.code == 0, ended.said
        self.whole, self.points = tiny.contents(folder / "whole"), log.read_text().splitlines()
        self.count = sum(point.startswith("before ") for point in self.points)

    def run(self, out, *, keeping=True, **how):
        return self.forks.run([*self.words, f"--out={out / 'made'}"], out, keeping=keeping, **how)

    def ends_well(self, out, why):
        """Run again, it ends as if nothing had been."""
        again = self.run(out)
        assert again.code == 0, (why, again.said)
        assert tiny.contents(out) == self.whole, why
        assert not strays(out), why

    def refused(self, out, number, code, said):
        """One operation is refused: code 1 and one line, which is given back and ends in words like `said`."""
        ended = self.run(out, refuse=number, errno=code)
        (line,) = [line for line in ended.said.splitlines() if line.startswith("prunekit: ")]
        assert ended.code == 1, ended.said
        assert "Traceback" not in ended.said
        assert CODES[code] in line
        assert re.fullmatch(f"prunekit: {out}{said}", line), line
        assert "finished" in said or not strays(out)
        self.ends_well(out, f"operation {number} refused")
        return line

    def refused_each(self, folder, code, said):
        for number in range(1, self.count + 1):
            self.refused(folder / str(number), number, code, said)


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
    _, error = refused(run, 1, errno.ENOSPC, lambda run: run.commit([member(RunKey("prune-ab12", 0, 2))]))
    assert "No space" in str(error)
    assert {name: run.path.joinpath(name).read_bytes() for name in before} == before
    assert run.verify() == 8


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_a_round_that_cannot_be_replaced_stays(step, tmp_path):
    run = Run(tmp_path / "r")
    job(run)
    before, number = tiny.contents(run.path), 1
    while True:
        again = lambda run: run.commit([member(key) for key in PRUNED])  # noqa: E731, the same once more
        hook, error = refused(run, number, errno.EIO, again)
        if error is None:
            break
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
    """A three-round pruning, or a search, once run whole."""

    @cache
    def of(verb):
        folder = tmp_path_factory.mktemp(verb)
        return Command(forks, [verb, *tiny.arguments("gpt2", folder, **VERBS[verb])], folder)

    return of


LOST_NOTHING = r".*; nothing finished was lost"


def test_a_refused_operation_ends_a_command_with_one_line(small, tmp_path, capsys):
    command = small("prune")
    said = command.refused(tmp_path / "refused", command.count // 2, errno.ENOSPC, LOST_NOTHING)
    with capsys.disabled():
        print(f"\n{said}")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
def test_every_operation_of_a_command_can_fail(code, verb, small, tmp_path, capsys):
    small(verb).refused_each(tmp_path, code, LOST_NOTHING)
    with capsys.disabled():
        print(f"\n{verb}, {errno.errorcode[code]}: {small(verb).count} operations refused, each said in one line")


@pytest.mark.parametrize(("keeping", "refused"), [(False, "round=00"), (True, "training.safetensors")])
def test_a_real_limit_is_told_like_a_full_disk(keeping, refused, small, tmp_path):
    """The system's own refusal, of a file that may grow no further."""
    ended = small("prune").run(tmp_path, keeping=keeping, limit=4096)
    assert ended.code == 1
    last = ended.said.strip().splitlines()[-1]
    assert re.fullmatch(
        rf"prunekit: .*{re.escape(refused)}: File too large, [\d,]+ bytes were to be written; nothing .*", last
    )
    small("prune").ends_well(tmp_path, "a limit")
