"""Writing answers behind cached texts, against whole rows and against one row at a time.

    python -m benchmarks.writing MODEL [--answers 100] [--text 60] [--tokens 16] [--threads 2] [--out page.md]

MODEL is a decoder's folder or Hub name. Texts are random ids; no answer ends before `--tokens`, so that all sides write
as much. All go through `prunekit.engine.write.write`; seconds of a processor are those of all threads together. One row
at a time is measured on every eighth row, since it takes minutes.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer

from benchmarks.measure import Spread, interleaved, machine
from benchmarks.page import command, publish, table
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.write import write
from prunekit.models import Encoded, FrozenModel, load
from prunekit.models.decoder import Decoder
from prunekit.prompts.mask import Mask
from prunekit.pruning.ticket import Ticket
from prunekit.support.seeding import generator
from prunekit.tasks.decoding import Decoding

BEHIND, WHOLE, SINGLE = "behind cached texts", "whole rows", "whole rows, one at a time"


def rows(model: FrozenModel, count: int, tokens: int) -> list[Encoded]:
    """Random texts of exactly T tokens."""
    draws = torch.randint(5, model.embedding_rows, (count, tokens), generator=generator("texts", tokens)).tolist()
    return [Encoded(index, tuple(ids), (), -1) for index, ids in enumerate(draws)]


def never_ending(model: FrozenModel, tokens: int) -> Decoding:
    """Greedy decoding of so many tokens; the model's own ends are banned."""
    settings = model.model.generation_config
    settings.suppress_tokens = [*(settings.suppress_tokens or ()), *model.end_ids]  # type: ignore[union-attr,operator]
    return Decoding(max_tokens=tokens)


def seconds(side: str, model: Decoder, ticket: Ticket, examples: list[Encoded], decoding: Decoding) -> float:
    """Processor seconds of an answer that is written one way."""
    if side == SINGLE:
        examples = examples[::8]
    with torch.no_grad():
        prompts = prompt_batch([Member(ticket, model.device)])
    model.caches_texts = side == BEHIND
    model.writes_together = "alone" if side == SINGLE else "batch"
    began = time.process_time()
    write(prompts, model, examples, decoding)
    return (time.process_time() - began) / len(examples)


def main(
    model: Annotated[str, typer.Argument(help="a decoder's folder or Hub name")],
    answers: Annotated[int, typer.Option(help="N")] = 100,
    text: Annotated[int, typer.Option(help="T, tokens of every text")] = 60,
    tokens: Annotated[int, typer.Option(help="of every answer")] = 16,
    prompt: Annotated[int, typer.Option(help="P, prompt tokens")] = 20,
    repeats: Annotated[int, typer.Option(help="of every side, interleaved")] = 5,
    threads: Annotated[int, typer.Option(help="of torch")] = 2,
    out: Annotated[Path | None, typer.Option(help="page to write")] = None,
) -> None:
    """Measure and print the page."""
    torch.set_num_threads(threads)
    frozen = load(model, position="suffix", text_cache_mb=2**16)
    assert isinstance(frozen, Decoder)
    values = frozen.embedding_rms * torch.randn(prompt, frozen.width, generator=generator("prompt"))
    ticket = Ticket(Mask.full(prompt, 1), {"values": values}, None, position="suffix")
    examples, decoding = rows(frozen, answers, text), never_ending(frozen, tokens)
    seconds(BEHIND, frozen, ticket, examples, decoding)  # every text is read once, and every side is tried
    took = interleaved([BEHIND, WHOLE, SINGLE], lambda side: seconds(side, frozen, ticket, examples, decoding), repeats)
    facts = {
        "command": command("writing"),
        **machine(threads, "cpu"),
        "model": Path(model).name,
        "rows": f"N = {answers}, T = {text}, P = {prompt}, {tokens} tokens each; {repeats} repeats, interleaved",
    }
    publish("Writing answers", facts, [_table(took)], out)


def _table(took: dict[str, list[float]]) -> str:
    lines = []
    for side, values in took.items():
        ratio = Spread.of([slow / quick for slow, quick in zip(took[WHOLE], values, strict=True)])
        cells = [side, f"{100 * median(values):.1f}", f"{100 * min(values):.1f} to {100 * max(values):.1f}"]
        lines.append([*cells, f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"])
    return table(["answers", "processor seconds a hundred", "range of the repeats", "whole rows / this"], lines)


if __name__ == "__main__":
    typer.run(main)
