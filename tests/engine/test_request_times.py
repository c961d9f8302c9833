"""What a request behind a prefix takes: that its cache is what the arithmetic says, and its clock the model's own."""

import pytest
import tiny
import torch

from prunekit.engine import request_times as module
from prunekit.engine.request_times import Request, cache_of, request_times


@pytest.mark.parametrize("kind", ["llama", "gpt2", "opt"])
def test_a_cache_holds_as_many_bytes_as_slots_times_the_width_of_a_token(kind):
    bone = tiny.frozen(kind, position="prefix-kv", dtype=torch.float64)
    held = [part for layer in cache_of(bone, 5).layers for part in (layer.keys, layer.values)]
    assert sum(part.nbytes for part in held) == 5 * bone.width * 8


def test_a_text_is_read_behind_the_prefix_and_every_token_written_behind_both(monkeypatch):
    bone = tiny.frozen("llama", position="prefix-kv")
    rows = tiny.spied(monkeypatch, module, "_forward", lambda model, cache, ids: (cache.get_seq_length(), ids.shape[1]))
    request_times(bone, [7, 0], Request(read=4, written=2, turns=1))
    assert rows == [(7, 4), (11, 1), (12, 1), (0, 4), (4, 1), (5, 1)] * 2  # the first turn counts for none


def test_times_are_medians_over_turns_of_seconds_a_token(monkeypatch):
    bone = tiny.frozen("llama", position="prefix-kv")
    clock = iter((0, 1000, 9000, 0, 4, 10, 0, 40, 42, 0, 8, 18))  # the first warms up
    monkeypatch.setattr(module, "_now", lambda model: float(next(clock)))
    (times,) = request_times(bone, [3], Request(read=4, written=2, turns=3))
    assert times == (2.0, 3.0)


@pytest.mark.parametrize(("room", "request_"), [(10**9, (64, 16)), (20, (10, 10)), (3, (2, 1)), (1, (1, 1))])
def test_a_request_fits_the_positions_that_a_prefix_leaves(room, request_):
    usual = module._usual(room)
    assert (usual.read, usual.written) == request_
