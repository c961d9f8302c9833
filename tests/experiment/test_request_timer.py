"""That every size of prefix is timed once, beside the dense one."""

from dataclasses import replace

import tiny

from prunekit.experiment import request_timer
from prunekit.experiment.request_timer import RequestTimer


def keeping(bone, *tokens):
    ticket = tiny.ticket(bone)
    return [
        replace(ticket, dropped_as="hide", mask=tiny.masked([number < count for number in range(4)]))
        for count in tokens
    ]


def test_each_size_is_timed_once_and_always_beside_all_tokens(monkeypatch):
    bone = tiny.frozen("llama", position="prefix-kv")
    timed = tiny.spied(monkeypatch, request_timer, "request_times", lambda model, counts: counts)
    timer = RequestTimer(bone)
    first, again = timer.of(keeping(bone, 2, 2))
    assert timed == [[2, 4]]
    assert first == again
    assert timer.of(keeping(bone, 2, 1))[0] == first  # from memory; the new size is timed with the dense one anew
    assert timed == [[2, 4], [1, 4]]
    assert len(timer.of(keeping(bone, 1, 2))) == len(timed) == 2


def test_a_prompt_that_is_no_prefix_has_no_cache_to_time():
    bone = tiny.frozen("gpt2")
    assert RequestTimer(bone).of([tiny.ticket(bone)] * 2) == [{}, {}]
