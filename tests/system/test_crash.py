"""A run ended at any moment, by anything, and started again ends in the same bytes as one that was left alone."""

import random
import shutil
import signal
from pathlib import Path

import pytest
import tiny
from forks import ENDS

from prunekit.runs.run import Run
from prunekit.support.atomic import STAGING

pytestmark = pytest.mark.gate

# three rounds for two seeds, and a search of all its cells: under a second each, and some 300 operations on the disk
JOBS = {
    "prune": dict(train_steps=6, rounds=3, seeds=2, keep_tokens=1, width=2),
    "prune, directions": dict(train_steps=4, rounds=2, seeds=2, keep_tokens=None, keep_rank=1, width=2),
    "prune, written": dict(train_steps=4, rounds=1, seeds=2, keep_tokens=1, width=2, task="swap"),
    "search": dict(train_steps=2, evaluate_every=1, rounds=None, keep_tokens=None, seeds=2, width=3, grid="token"),
}


class Bench:
    """One kind of job, how it ends when nobody ends it, and how long that takes."""

    def __init__(self, forks, folder, verb):
        self.forks, self.folder, self.verb = forks, folder, verb
        self.arguments = [verb.partition(",")[0], *tiny.arguments("gpt2", folder, **JOBS[verb])]
        whole = self.run("whole")
        assert whole.code == 0, whole.said
        self.seconds = min(whole.seconds, self.run("again").seconds)
        self.contents = tiny.contents(self.made("whole"))
        assert self.contents == tiny.contents(self.made("again"))

    def run(self, name, **how):
        out = self.folder / self.verb / name
        return self.forks.run([*self.arguments, f"--out={out}"], out, keeping=True, **how)

    def made(self, name) -> Path | None:
        """The run directory that `name` wrote, None where it was ended before."""
        found = list((self.folder / self.verb / name).glob("*/experiment.toml"))
        return found[0].parent if found else None

    def check(self, name, why):
        """What is on disk can be read now, and going on ends in the same bytes."""
        made = self.made(name)
        if made is not None:
            Run.open(made).verify()
            Run.open(made).results()
        again = self.run(name)
        assert again.code == 0, (why, again.said)
        made = self.made(name)
        assert tiny.contents(made) == self.contents, why
        assert not list(made.rglob(f"{STAGING}*")), why
        assert not (made / ".holder").exists(), why

    def forget(self, name):
        """What was checked takes up no more of the disk."""
        shutil.rmtree(self.folder / self.verb / name)


@pytest.fixture(scope="module")
def bench(forks, tmp_path_factory):
    made = {}

    def of(verb):
        if verb not in made:
            made[verb] = Bench(forks, tmp_path_factory.mktemp(verb.replace(", ", "-")), verb)
        return made[verb]

    return of


def moments(bench, count, salt):
    """Seconds after the start, anywhere in the run; more than are wanted, since some come when it has ended."""
    chance = random.Random(f"{salt} {count}")
    return [chance.uniform(0, bench.seconds) for _ in range(4 * count)]


def killed_at_random(bench, count, capsys):
    met = 0
    for number, after in enumerate(moments(bench, count, "kill")):
        ended = bench.run(f"kill-{number}", after=after, signal=signal.SIGKILL)
        met += ended.code == -signal.SIGKILL
        bench.check(f"kill-{number}", f"killed after {after:.3f} s")
        bench.forget(f"kill-{number}")
        if met == count:
            break
    assert met == count
    told(capsys, f"{bench.verb}: {met} of {count} runs killed at random moments are readable ({number + 1} begun)")


def told(capsys, line):
    with capsys.disabled():
        print(f"\n{line}, and resumed end in the same bytes")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("verb", JOBS)
def test_two_hundred_runs_killed_at_random_moments_end_in_the_same_bytes(verb, bench, capsys):
    killed_at_random(bench(verb), 200, capsys)


def points(bench):
    """Every named point of a job, in the order of its first time, with how often it comes."""
    log = bench.folder / "points"
    assert bench.run("points", points=str(log)).code == 0
    seen = {}
    for line in log.read_text().splitlines():
        seen[line] = seen.get(line, 0) + 1
    return seen


def killed_at_points(bench, wanted, capsys):
    for place, (point, number) in enumerate(wanted):
        ended = bench.run(f"point-{place}", point=point, number=number)
        assert ended.code == -signal.SIGKILL, (point, number, ended.said)
        bench.check(f"point-{place}", f"killed {point}, time {number}")
        bench.forget(f"point-{place}")
    told(capsys, f"{bench.verb}: {len(wanted)} of {len(wanted)} runs killed at named points are readable")


def test_runs_killed_between_a_manifest_and_its_rename_end_in_the_same_bytes(bench, capsys):
    killed_at_points(bench("prune"), [("half write MANIFEST.json", 3), ("before rename round=01", 2)], capsys)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("verb", JOBS)
def test_runs_killed_at_every_named_point_end_in_the_same_bytes(verb, bench, capsys):
    """Before, half-way and after each write, flush, rename and new folder, of every file: its first and last time."""
    found = points(bench(verb))
    assert {"half write MANIFEST.json", "before flush ticket.safetensors", "after rename round=00"} <= found.keys()
    wanted = [(point, number) for point, count in found.items() for number in sorted({1, count})]
    killed_at_points(bench(verb), wanted, capsys)


def signalled(bench, number, count, capsys):
    """Ended politely: its exit code, one line, no traceback, and the same bytes in the end."""
    code, word = ENDS[number]
    met = 0
    for place, after in enumerate(moments(bench, count, word)):
        name = f"{word}-{place}"
        ended = bench.run(name, after=0.02 + after, signal=number)
        assert ended.code in (0, code), (after, ended.code, ended.said)
        if ended.code:
            met += 1
            lines = ended.said.strip().splitlines()
            assert lines[-1].startswith(f"prunekit: {word}; finished rounds are kept"), ended.said
            assert "Traceback" not in ended.said
            assert sum(line.startswith("prunekit: ") for line in lines) == 1
        bench.check(name, f"{word} after {after:.3f} s")
        bench.forget(name)
        if met == count:
            break
    assert met == count
    told(capsys, f"{bench.verb}: {met} of {count} runs {word} at random moments left with code {code} and one line")


def test_a_run_stopped_by_a_signal_leaves_with_its_code_and_ends_in_the_same_bytes(bench, capsys):
    signalled(bench("prune"), signal.SIGTERM, 1, capsys)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", ENDS)
@pytest.mark.parametrize("verb", JOBS)
def test_two_hundred_runs_stopped_by_a_signal_end_in_the_same_bytes(verb, number, bench, capsys):
    signalled(bench(verb), number, 200, capsys)


def test_a_second_signal_ends_a_run_that_is_slow_to_end(forks, tmp_path):
    code = (
        "import os, signal, time\nfrom prunekit.cli import main\n"
        "def slow(*more, **options):\n"
        "    try: os.kill(os.getpid(), signal.SIGINT); time.sleep(9)\n"
        "    finally: os.kill(os.getpid(), signal.SIGINT); time.sleep(9)\n"
        "main.typer.main.get_command = lambda app: type('Command', (), {'main': slow})\n"
        "main.main([])\n"
    )
    ended = forks.run([], tmp_path / "slow", code=code)
    assert ended.code == -signal.SIGINT  # a shell shows this as 130
    assert ended.said == ""
