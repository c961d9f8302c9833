"""What a prefix of P trained keys and values costs each request, before and after pruning to a part of it.

    python -m benchmarks.prefix_cost --model MODEL [--part 0.25] [--memory 8] [--threads 2] [--out page.md]

The model itself runs, with a prefix in its cache, as whoever serves it would run it: it reads a text, then writes token
by token. All lengths take turns. Bytes are arithmetic: slots x layers x key-value heads x 2 x head width x bytes of a
number.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.measure import machine
from benchmarks.page import command, publish, table
from prunekit.engine.request_times import Request, RequestTimes, cache_of, request_times
from prunekit.models import load
from prunekit.models.prefix_decoder import PrefixDecoder

_HEADINGS = ["prefix", "cache of a request", "fit the memory", "ms to read a token", "ms to write a token", "/ whole"]


def kept_of(tokens: int, part: float) -> int:
    """How many tokens are left of P, at least one."""
    return max(1, round(part * tokens))


def page_table(
    model: PrefixDecoder, lengths: Sequence[int], part: float, times: dict[int, RequestTimes], memory: float
) -> str:
    """A row for no prefix, then two for each length: whole and pruned."""
    rows = [[*_row(model, "none", 0, times, memory), ""]]
    for tokens in lengths:
        kept = kept_of(tokens, part)
        ratio = times[kept].decode_seconds / times[tokens].decode_seconds
        rows.append([*_row(model, f"{tokens} tokens", tokens, times, memory), "1.00"])
        rows.append([*_row(model, f"{kept} of them", kept, times, memory), f"{ratio:.2f}"])
    return table(_HEADINGS, rows)


def _row(model: PrefixDecoder, name: str, slots: int, times: dict[int, RequestTimes], memory: float) -> list[str]:
    size = sum(part.nbytes for layer in cache_of(model, slots).layers for part in (layer.keys, layer.values))
    fit = f"{int(1e9 * memory // size):,}" if size else ""
    prefill, decode = (1000 * seconds for seconds in times[slots])
    return [name, f"{size / 1e6:.2f} MB", fit, f"{prefill:.2f}", f"{decode:.1f}"]


def main(
    model: Annotated[str, typer.Option(help="a decoder")],
    part: Annotated[float, typer.Option(help="that pruning leaves")] = 0.25,
    memory: Annotated[float, typer.Option(help="GB for the prefixes of requests")] = 8.0,
    precision: Annotated[str, typer.Option(help="float32 or bfloat16")] = "float32",
    lengths: Annotated[str, typer.Option(help="P, comma-separated")] = "64,256,1024",
    turns: Annotated[int, typer.Option(help="of all lengths, after one that counts for none")] = 5,
    threads: Annotated[int, typer.Option(help="of torch")] = 2,
    out: Annotated[Path | None, typer.Option(help="page to write")] = None,
) -> None:
    """Measure and print the page."""
    torch.set_num_threads(threads)
    bone = load(model, precision=precision, position="prefix-kv")
    assert isinstance(bone, PrefixDecoder)
    whole = [int(length) for length in lengths.split(",")]
    slots = sorted({0, *whole, *(kept_of(tokens, part) for tokens in whole)})
    request = Request(turns=turns)
    times = dict(zip(slots, request_times(bone, slots, request), strict=True))
    facts = {
        "command": command("prefix_cost"),
        **machine(threads, "cpu"),
        "model": f"{Path(model).name}, {bone.shape}, {precision}: {bone.width:,} numbers a token",
        "request": f"one row: {request.read} tokens read, {request.written} written; medians of {turns} turns",
        "memory": f"{memory:g} GB, which hold the prefixes of so many requests, each its own copy",
    }
    publish("What a prefix of keys and values costs", facts, [page_table(bone, whole, part, times, memory)], out)


if __name__ == "__main__":
    typer.run(main)
