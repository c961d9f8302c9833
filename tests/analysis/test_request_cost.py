"""The table of what requests behind prefixes cost, of results made by hand."""

import pandas as pd
import pytest

from prunekit.analysis.request_cost import COLUMNS, of_results, request_cost


def row(stage="", number=0, **more):
    return {
        "stage": stage, "arm": "", "round": number, "status": "done", "tokens": 8, "density": 1.0, "cache_bytes": 3000,
        "prefill_seconds": 0.002, "dense_prefill_seconds": 0.002, "decode_seconds": 0.01, "dense_decode_seconds": 0.01,
    } | more  # fmt: skip


def test_bytes_are_counted_into_a_memory_and_seconds_told_in_milliseconds_over_seeds():
    pruned = dict(stage="prune-1", number=1, tokens=2, density=0.25, cache_bytes=750)
    left_out = [row(**pruned, status="diverged", decode_seconds=9.0), row(**pruned) | {"arm": "random"}]
    results = pd.DataFrame([row(), row(decode_seconds=0.03), row(**pruned), *left_out, row(stage="untrained")])
    costs = of_results(results, memory=1e-5)  # 10,000 bytes
    assert list(costs["stage"]) == ["", "prune-1"]
    assert list(costs["requests"]) == [3, 13]
    assert list(costs["seeds"]) == [2, 1]
    assert list(costs["decode_ms"]) == pytest.approx([20.0, 10.0])
    assert list(costs["dense_decode_ms"]) == pytest.approx([10.0, 10.0])


def test_without_times_the_arithmetic_stands_alone_and_input_vectors_have_no_row():
    untimed = pd.DataFrame([{name: value for name, value in row().items() if not name.endswith("_seconds")}])
    costs = of_results(untimed)
    assert costs["requests"].item() == 8_000_000_000 // 3000
    assert costs["decode_ms"].isna().all()
    assert of_results(untimed.drop(columns="cache_bytes")).empty
    assert list(request_cost([])) == list(COLUMNS)
