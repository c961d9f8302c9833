import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from prunekit.support import atomic


def test_a_replaced_file_is_the_old_or_the_new_one(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "a.txt"
    atomic.replace(path, b"old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic.replace(path, b"new")
    assert path.read_bytes() == b"old"
    assert [one.name for one in path.parent.iterdir()] == ["a.txt"]  # nothing half-written takes up the disk


def test_a_pipe_is_written_to_and_a_link_leads_where_it_led(tmp_path):
    pipe, link, target = tmp_path / "pipe", tmp_path / "link", tmp_path / "there" / "target"
    os.mkfifo(pipe)
    writing = threading.Thread(target=atomic.replace, args=(pipe, b"through"))
    writing.start()
    assert pipe.read_bytes() == b"through"
    writing.join()
    assert pipe.is_fifo()
    atomic.replace(target, b"old")
    link.symlink_to(target)
    atomic.replace(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    atomic.replace(link, b"own", follow=False)  # where none is followed, what it leads to is not touched
    assert not link.is_symlink()
    assert (link.read_bytes(), target.read_bytes()) == (b"own", b"new")


def test_a_moved_directory_replaces_the_one_that_stood_there(tmp_path):
    for name in ("staged", "target"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    atomic.move(tmp_path / "staged", tmp_path / "target")
    assert (tmp_path / "target" / "file").read_text() == "staged"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["target"]


def test_json_has_no_nan_and_a_fixed_order():
    assert atomic.as_json({"b": 1, "a": 2}) == b'{\n "a": 2,\n "b": 1\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        atomic.as_json({"a": float("nan")})


WRITER = """
import select, sys
from pathlib import Path
from prunekit.support import atomic
letter, number = sys.argv[2].encode(), 0
print("ready", flush=True)
while number < 100 or not select.select([sys.stdin], [], [], 0)[0]:  # until its input is closed
    atomic.replace(Path(sys.argv[1]), letter * (200_000 if number % 2 else 300))
    number += 1
"""


def test_two_processes_that_write_one_file_never_tear_it_for_a_third_that_reads(tmp_path, capsys):
    path = tmp_path / "shared"
    atomic.replace(path, b"a")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), letter], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for letter in "bc"
    ]
    for writer in writers:
        assert writer.stdout.readline() == b"ready\n"
    reads = torn = 0
    while any(writer.poll() is None for writer in writers):
        content = path.read_bytes()
        reads += 1
        torn += len(content) not in (1, 300, 200_000) or len(set(content)) != 1
        if reads == 51:  # a disk in memory may be quicker than who reads
            for writer in writers:
                writer.stdin.close()
    for writer in writers:
        writer.stdout.close()
    assert [writer.returncode for writer in writers] == [0, 0]
    assert torn == 0
    assert reads > 50
    assert [one.name for one in tmp_path.iterdir()] == ["shared"]
    with capsys.disabled():
        print(f"\n{torn} of {reads} reads torn while two processes wrote")


def test_no_two_temporary_names_are_alike_and_all_fit(tmp_path):
    for target in (tmp_path / "a", tmp_path / ("ä" * 127)):
        names = {atomic.staged(target).name for _ in range(1000)}
        assert len(names) == 1000
        atomic.replace(target, b"x")
        assert target.read_bytes() == b"x"


def test_a_sweep_takes_what_is_staged_wherever_it_lies_and_nothing_of_the_users(tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    for folder in (run / "seed=0", other):
        folder.mkdir(parents=True)
    atomic.staged(run / "results.parquet").write_text("half")
    half = atomic.staged(run / "seed=0" / "round=01")
    half.mkdir()
    (half / "log.txt").write_text("half")
    atomic.staged(run / "link").symlink_to(other, target_is_directory=True)
    atomic.staged(other / "x").write_text("of another run")
    (run / "more").symlink_to(other, target_is_directory=True)
    for name in (".staging-notes", "staging", ".prunekit"):
        (run / name).write_text("the user's")
    atomic.remove_staged(run)
    assert sorted(path.name for path in run.iterdir()) == [".prunekit", ".staging-notes", "more", "seed=0", "staging"]
    assert list((run / "seed=0").iterdir()) == []
    assert len(list(other.iterdir())) == 1


def test_what_a_dead_process_left_of_a_file_goes_and_what_a_live_one_writes_stays(tmp_path):
    target = tmp_path / "report.html"
    code = "from pathlib import Path; from prunekit.support import atomic; "
    code += f"print(atomic.staged(Path({str(target)!r})), end='')"
    dead = Path(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    alive, other = atomic.staged(target), dead.with_name(dead.name.replace("report.html", "notes.html"))
    for path in (dead, alive, other):
        path.write_text("half")
    atomic.remove_dead_staged(target)
    assert not dead.exists()
    assert alive.exists()
    assert other.exists()
    atomic.remove_dead_staged(tmp_path / "nowhere" / "x")


def flushed(monkeypatch):
    """The paths of all that is flushed, in order."""
    seen = []
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append(Path(f"/proc/self/fd/{handle}").resolve()))
    return seen


def test_every_folder_that_got_a_new_name_is_flushed_up_to_the_first_that_was_there(tmp_path, monkeypatch):
    seen = flushed(monkeypatch)
    atomic.replace(tmp_path / "runs" / "new" / "prune-ab12" / "stage.toml", b"x")
    folders = [tmp_path, tmp_path / "runs", tmp_path / "runs" / "new"]
    assert seen[:3] == folders
    assert seen[-1] == folders[-1] / "prune-ab12"
    assert len(seen) == 5  # and the file itself
    seen.clear()
    atomic.make_folder(tmp_path / "runs" / "new")
    assert seen == []


def test_a_folder_that_another_process_makes_meanwhile_is_no_failure(tmp_path, monkeypatch):
    real = Path.mkdir

    def slower(path, *more, **options):
        real(path)
        return real(path, *more, **options)

    monkeypatch.setattr(Path, "mkdir", slower)
    atomic.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_refused_flush_names_its_folder(tmp_path, monkeypatch):
    def refused(handle):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(OSError, match="Input/output") as caught:
        atomic.flush(tmp_path)
    assert caught.value.filename == str(tmp_path)
