import os
import threading

import pytest

from prunekit import disk


def test_a_replaced_file_is_the_old_or_the_new_one(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "a.txt"
    disk.replace(path, b"old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        disk.replace(path, b"new")
    assert path.read_bytes() == b"old"
    assert [one.name for one in path.parent.iterdir()] == ["a.txt"]  # nothing half-written takes up the disk


def test_a_pipe_is_written_to_and_a_link_leads_where_it_led(tmp_path):
    pipe, link, target = tmp_path / "pipe", tmp_path / "link", tmp_path / "there" / "target"
    os.mkfifo(pipe)
    writing = threading.Thread(target=disk.replace, args=(pipe, b"through"))
    writing.start()
    assert pipe.read_bytes() == b"through"
    writing.join()
    assert pipe.is_fifo()
    disk.replace(target, b"old")
    link.symlink_to(target)
    disk.replace(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_moved_directory_replaces_the_one_that_stood_there(tmp_path):
    for name in ("staged", "target"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    disk.move(tmp_path / "staged", tmp_path / "target")
    assert (tmp_path / "target" / "file").read_text() == "staged"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["target"]


def test_json_has_no_nan_and_a_fixed_order():
    assert disk.as_json({"b": 1, "a": 2}) == b'{\n "a": 2,\n "b": 1\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        disk.as_json({"a": float("nan")})
