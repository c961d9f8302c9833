"""Texts kept in memory and in files (models/text_cache.py)."""

import gc
import tempfile

import pytest
import torch

from prunekit.models import text_cache
from prunekit.models.text_cache import Text, TextCache


def text(number, tokens=4, dtype=torch.float32):
    made = torch.arange(2 * 2 * 3 * tokens * 5).view(2, 2, 3, tokens, 5) + number
    return Text(made.to(dtype), torch.full((6,), float(number)))


def reader(log, **options):
    def read(keys):
        for key in keys:
            log.append(key)
            yield key, text(key[0], len(key), **options)

    return read


KEYS = [(3, 1, 4), (1, 5), (9, 2, 6, 5), (3, 1, 4), (8,)]
SIZE = 2 * 2 * 3 * 5 * 4  # bytes per token


def check(found, keys, dtype=torch.float32):
    for one, key in zip(found, keys, strict=True):
        wanted = text(key[0], len(key), dtype)
        assert torch.equal(one.keys_values, wanted.keys_values)
        assert one.keys_values.dtype == dtype
        assert torch.equal(one.state, wanted.state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("room", [0, 5 * SIZE, 2**20])
def test_texts_come_back_as_they_were_and_are_read_once(room, dtype):
    cache, log = TextCache(room), []
    read = reader(log, dtype=dtype)
    check(cache.take(KEYS, read), KEYS, dtype)
    check(cache.take(KEYS[::-1], read), KEYS[::-1], dtype)
    check(cache.take([(7, 7), *KEYS], read), [(7, 7), *KEYS], dtype)
    assert log == [(3, 1, 4), (1, 5), (9, 2, 6, 5), (8,), (7, 7)]
    assert len(cache) == 5
    assert cache.in_memory <= room


def test_memory_holds_no_more_than_its_bound_and_files_the_rest():
    cache = TextCache(5 * SIZE)
    cache.take(KEYS, reader([]))
    assert (cache.in_memory, cache.on_disk) == (5 * SIZE, 5 * SIZE)  # 3 + 2 tokens, 4 + 1 tokens


def test_a_full_file_is_followed_by_another(monkeypatch):
    monkeypatch.setattr(text_cache, "_FILE_BYTES", 3 * SIZE)
    cache = TextCache(0)
    check(cache.take(KEYS, reader([])), KEYS)
    check(cache.take(KEYS, reader([])), KEYS)
    # the third text is larger than a file; the last fits behind none
    assert [file._size for file in cache._files] == [3 * SIZE, 3 * SIZE, 4 * SIZE, 3 * SIZE]


def test_nothing_is_left_in_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cache = TextCache(0)
    (kept, *_) = cache.take(KEYS, reader([]))
    assert list(tmp_path.iterdir()) == []  # nameless from the start: not even a killed process leaves it
    del cache
    gc.collect()
    check([kept], KEYS[:1])  # what was handed out stays readable


def test_a_nearly_full_disk_is_spared(monkeypatch):
    usage = type("Usage", (), {"total": 10 * 2**30, "free": 2**30})
    monkeypatch.setattr(text_cache.shutil, "disk_usage", lambda folder: usage)
    cache, log = TextCache(3 * SIZE), []
    for _ in range(2):
        check(cache.take(KEYS, reader(log)), KEYS)
    assert (len(cache), cache.on_disk) == (1, 0)
    assert log == [(3, 1, 4), (1, 5), (9, 2, 6, 5), (8,), (1, 5), (9, 2, 6, 5), (8,)]


def test_a_disk_that_fills_up_meanwhile_ends_no_run(monkeypatch):
    cache, log = TextCache(0), []
    cache.take(KEYS[:1], reader(log))

    def full(self, tensor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(text_cache._File, "append", full)
    for _ in range(2):
        check(cache.take(KEYS, reader(log)), KEYS)
    assert len(cache) == 1
