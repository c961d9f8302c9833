"""A training step with the prompt behind cached texts, against the prompt before whole rows.

    python -m benchmarks.suffix_cache [--text 200] [--prompt 20] [--repeats 5] [--threads 2] [--out page.md]

Both train through `prunekit.engine.train.train` on the same random rows and one GPT-2 of random weights (by default of
GPT-2 small's shape). Before that every text is read once; what that takes is a table of its own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import torch
import typer
from tokenizers import Tokenizer, models
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from benchmarks.measure import Spread, interleaved, machine
from benchmarks.page import command, publish, table
from prunekit.engine.cohort import Member, prompt_batch
from prunekit.engine.evaluate import evaluate
from prunekit.engine.optimizer import Plan
from prunekit.engine.train import TrainingData, train
from prunekit.models import Encoded, Position, wrap
from prunekit.models.decoder import Decoder
from prunekit.prompts.mask import Mask
from prunekit.pruning.ticket import Ticket
from prunekit.support.seeding import generator

# updates per repeat, of which the second is timed: the first follows an evaluation, and one follows the last
_UPDATES = 3
_MIB = 2**20
FIRST, MEMORY, FILES = "before whole rows (first)", "behind texts in memory", "behind texts in files"


def three_times(model: Any) -> dict[str, Decoder]:
    """One model three times: the uncached prefix prompt, and the suffix prompt with its texts on either tier."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"?": 0}, unk_token="?")))
    decoders: dict[str, Decoder] = {}
    tiers: dict[str, tuple[Position, int]] = {FIRST: ("first", 0), MEMORY: ("suffix", 2**20), FILES: ("suffix", 0)}
    for name, (position, room) in tiers.items():
        bone = wrap(model, tokenizer, position=position, text_cache_mb=room)
        assert isinstance(bone, Decoder)
        decoders[name] = bone
    return decoders


def rows(count: int, tokens: int, vocabulary: int) -> list[Encoded]:
    """Random texts of exactly T tokens, with two answers of one token."""
    draws = torch.randint(5, vocabulary, (count, tokens), generator=generator("texts", tokens)).tolist()
    return [Encoded(index, tuple(ids), ((5,), (6,)), index % 2) for index, ids in enumerate(draws)]


def ticket(bone: Decoder, prompt: int) -> Ticket:
    """A dense prompt of small random values."""
    values = bone.embedding_rms * torch.randn(prompt, bone.width, generator=generator("prompt"))
    return Ticket(Mask.full(prompt, 1), {"values": values}, None, position=bone.position)


def step_seconds(bone: Decoder, start: Ticket, examples: Sequence[Encoded], batch: int) -> float:
    """Seconds of one update."""
    ticks: list[float] = []
    data = TrainingData(examples, examples[:1], lambda chosen: {"none": 0.0})
    plan = Plan(_UPDATES, _UPDATES, _UPDATES, batch, learning_rate=1e-3, head_learning_rate=1e-3)
    train([start], bone, data, plan, tick=lambda step: ticks.append(time.perf_counter()))
    return ticks[1] - ticks[0]


def reading_seconds(bone: Decoder, start: Ticket, examples: Sequence[Encoded]) -> float:
    """Seconds to read and keep all texts: a first evaluation less a second one."""
    with torch.no_grad():
        prompts = prompt_batch([Member(start, bone.device)])
    took = []
    for _ in range(2):
        began = time.perf_counter()
        evaluate(prompts, bone, examples)
        took.append(time.perf_counter() - began)
    return took[0] - took[1]


def difference(bone: Decoder, start: Ticket, examples: Sequence[Encoded]) -> float:
    """Largest relative difference of the losses of a batch behind cached texts and in whole rows."""
    batch = bone.batch([examples], every_choice=False)
    with torch.no_grad():
        prompts = prompt_batch([Member(start, bone.device)])
        behind = bone.losses(prompts, batch)
        bone.caches_texts = False
        whole = bone.losses(prompts, batch)
        bone.caches_texts = True
    return float(((behind - whole) / whole).abs().max())


def main(
    text: Annotated[int, typer.Option(help="T, tokens of every text")] = 200,
    prompt: Annotated[int, typer.Option(help="P, prompt tokens")] = 20,
    batch: Annotated[int, typer.Option(help="B, examples per update")] = 16,
    examples: Annotated[int, typer.Option(help="N, texts to go through")] = 32,
    layers: Annotated[int, typer.Option(help="of the model")] = 12,
    repeats: Annotated[int, typer.Option(help="of every side, interleaved")] = 5,
    threads: Annotated[int, typer.Option(help="of torch")] = 2,
    out: Annotated[Path | None, typer.Option(help="page to write")] = None,
) -> None:
    """Measure and print the page."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    sides = three_times(GPT2LMHeadModel(GPT2Config(n_layer=layers)))
    encoded = rows(examples, text, 50257)
    starts = {name: ticket(bone, prompt) for name, bone in sides.items()}
    read = {name: reading_seconds(sides[name], starts[name], encoded) for name in (MEMORY, FILES)}
    took = interleaved(list(sides), lambda name: step_seconds(sides[name], starts[name], encoded, batch), repeats)

    facts = {
        "command": command("suffix_cache"),
        **machine(threads, "cpu"),
        "model": f"GPT-2 of random weights, {layers} layers, width 768, float32",
        "rows": f"T = {text}, P = {prompt}, B = {batch}, N = {examples}; {repeats} repeats, interleaved",
        "losses": f"at most {difference(sides[MEMORY], starts[MEMORY], encoded[:batch]):.0e} (relative) "
        "from those of whole rows",
    }
    publish("Suffix prompts behind cached texts", facts, [_steps(took), _texts(read, sides, examples)], out)


def _steps(took: dict[str, list[float]]) -> str:
    lines = []
    for name, seconds in took.items():
        ratio = Spread.of([slow / quick for slow, quick in zip(took[FIRST], seconds, strict=True)])
        cells = [name, f"{1000 * median(seconds):.0f}", f"{1000 * min(seconds):.0f} to {1000 * max(seconds):.0f}"]
        lines.append([*cells, f"{ratio.median:.1f} [{ratio.low:.1f}, {ratio.high:.1f}]"])
    return table(["training step, prompt", "median ms", "range", "first / this, pair by pair"], lines)


def _texts(read: dict[str, float], sides: dict[str, Decoder], examples: int) -> str:
    lines = []
    for name, seconds in read.items():
        cache = sides[name].texts
        size = (cache.in_memory + cache.on_disk) / _MIB
        lines.append([name, f"{seconds / examples:.2f}", f"{size / examples:.1f}", f"{size:.0f}"])
    return table(["texts", "seconds to read one", "MiB of one", "MiB in all"], lines)


if __name__ == "__main__":
    typer.run(main)
