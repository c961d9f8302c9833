"""One safe reader: a regular file of a bounded size, or one line at once and no memory taken."""

import json
import os
import resource
import socket
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from prunekit.support import reading

GB = 2**30


def kinds(folder: Path) -> dict[str, Path]:
    """Everything that is no file of a sensible size, by what is said of it."""
    folder.mkdir(parents=True, exist_ok=True)
    pipe, sparse, bound = folder / "pipe", folder / "sparse", folder / "socket"
    os.mkfifo(pipe)
    with sparse.open("wb") as file:
        file.truncate(10 * GB)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.relpath(bound))
    return {
        "a pipe": pipe,
        "10,737,418,240 bytes": sparse,
        "a device": Path("/dev/zero"),
        "a folder": folder,
        "No such": folder / "gone",
    } | ({"": bound} if bound.exists() else {})


@pytest.fixture
def odd(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return kinds(tmp_path / "odd")


@pytest.mark.parametrize("read", [lambda path: reading.content(path, reading.DATA), reading.tensors])
def test_what_is_no_file_of_its_kind_is_refused_at_once_and_takes_no_memory(odd, read):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for said, path in odd.items():
        began = time.perf_counter()
        with pytest.raises(OSError) as caught:
            read(path)
        assert said in reading.reason(caught.value)
        assert "\n" not in reading.reason(caught.value)
        assert time.perf_counter() - began < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # kB


def test_a_file_is_read_whole_up_to_the_bound_and_not_beyond(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 100)
    assert reading.content(path, 100) == b"x" * 100
    with pytest.raises(OSError, match="it holds 100 bytes, and 99 at most are read"):
        reading.content(path, 99)
    path.write_bytes(b"")
    assert reading.content(path, 0) == b""


@pytest.mark.parametrize("link", ["file", "folder", "dangling", "loop"])
def test_below_the_root_no_link_is_followed_and_it_is_named(tmp_path, link):
    root, path = tmp_path / "run", tmp_path / "run" / "seed=0" / "round=00" / "log"
    path.parent.mkdir(parents=True)
    path.write_text("own")
    assert reading.content(path, 10, root) == b"own"
    target = path if link != "folder" else path.parent
    target.rename(tmp_path / "elsewhere")
    target.symlink_to(
        {"dangling": tmp_path / "nowhere", "loop": target}.get(link, tmp_path / "elsewhere"), target_is_directory=True
    )
    with pytest.raises(OSError, match="a link, and inside a run none is followed") as caught:
        reading.content(path, 10, root)
    assert caught.value.filename == str(target)
    with pytest.raises(OSError, match="a link"):
        reading.check_no_link(path, root)


def test_the_root_itself_may_be_a_link(tmp_path):
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "a").write_text("x")
    (tmp_path / "run").symlink_to(tmp_path / "big", target_is_directory=True)
    assert reading.content(tmp_path / "run" / "a", 1, tmp_path / "run") == b"x"
    reading.check_no_link(tmp_path / "run" / "a", tmp_path / "run")


def packed(table, size=0):
    text = json.dumps(table).encode()
    return len(text).to_bytes(8, "little") + text + bytes(size)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no table of tensors"),
        (b"\x10" + bytes(20), "no table of tensors"),
        (b"\xff" * 64, "no table of tensors"),
        (packed([]), "not a JSON object"),
        (packed({"a": {}}), "does not describe 'a'"),
        (
            packed({"a": {"dtype": "F32", "shape": [10**8, 0], "data_offsets": [0, 0]}}),
            r"shape \[100000000, 0\] does not",
        ),
        (packed({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, 15), "does not fit"),
        (packed({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 0]}}), "does not fit"),
        (packed({"a": {"dtype": "F32", "shape": "x", "data_offsets": [0, 0]}}), "does not describe"),
        (b"\x00\x10\x00\x00\x00\x00\x00\x00" + b"[" * 4096, "."),
    ],
)
def test_a_table_of_tensors_that_claims_more_than_there_is_is_refused(content, said, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        reading.tensors(path)


def test_a_sound_file_of_tensors_is_read_with_its_metadata(tmp_path):
    content = save({"a": torch.ones(3), "none": torch.ones(0, 2)}, metadata={"prunekit": "x"})
    (tmp_path / "a").write_bytes(content)
    assert reading.tensors(tmp_path / "a") == content
    assert reading.metadata(content) == {"prunekit": "x"}
    assert reading.metadata(save({"a": torch.ones(3)})) == {}
