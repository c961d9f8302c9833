"""Prune a cartridge that PEFT made of a text, and see how well the text is continued behind what is left of it.

    python -m benchmarks.cartridge --model MODEL --texts FOLDER [--count 20] [--part 0.25] [--threads 2] [--out page.md]

Of each text the first P tokens become a CARTRIDGE by PEFT's own text initialiser; PEFT saves it, prunekit imports it.
The tokens behind score those of the cartridge, and what comes behind these is predicted: by all of the cartridge, by
the part with the best scores, and by as many tokens at random, the last and the first. The scored part is exported as
well, loaded by PEFT, and has to predict the same. Nothing is trained.
"""

from __future__ import annotations

import json
import math
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import torch
import typer
from torch import Tensor
from tqdm import tqdm

from benchmarks.measure import machine, mean_interval
from benchmarks.page import command, publish, table
from prunekit import export
from prunekit.engine.gradient_scores import all_scores, scoring_batches
from prunekit.export.prefix_tuning import text_logits
from prunekit.models import Encoded, load
from prunekit.models.prefix_decoder import PrefixDecoder
from prunekit.prompts.mask import Mask
from prunekit.pruning.prune import prune_mask
from prunekit.pruning.schedule import Keep
from prunekit.pruning.scores import Scores
from prunekit.pruning.ticket import Ticket
from prunekit.support.seeding import generator

NOTHING, WHOLE, SCORED, BY_PEFT = "no cartridge", "all of it", "the best by score", "the same, exported, by PEFT"
Losses = dict[str, float]


@dataclass(frozen=True)
class Lengths:
    """Tokens of a text, in their order: a cartridge, those that score it, those that are predicted.

    Attributes:
        stride: tokens of one example of the scoring, read behind all before it.
    """

    cartridge: int = 256
    scoring: int = 64
    predicted: int = 64
    stride: int = 8

    @property
    def total(self) -> int:
        """What a text has at least."""
        return self.cartridge + self.scoring + self.predicted


def texts_of(folder: Path, tokenizer: Any, lengths: Lengths) -> Iterator[tuple[str, Tensor]]:
    """The texts of a folder's MultiRC rows that are long enough, and the ids of what is used of each."""
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            text = json.loads(line)["passage"]["text"]
            ids = tokenizer(text)["input_ids"]
            if len(ids) >= lengths.total:
                yield text, torch.tensor(ids[: lengths.total])


def imported(model: PrefixDecoder, text: str, tokens: int) -> Ticket:
    """The ticket of the cartridge that PEFT makes of the beginning of a text."""
    import peft

    config = peft.CartridgeConfig(task_type="CAUSAL_LM", num_virtual_tokens=tokens, num_frozen_tokens=1)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = peft.get_peft_model(model.model, config)
        peft.initialize_kv_prefix_from_text(
            adapted, model.tokenizer, text=text, use_chat_template=False, max_length=tokens
        )
        adapted.save_pretrained(folder)
        return replace(export.read_adapter(folder), dropped_as="remove")


def scores_of(model: PrefixDecoder, ticket: Ticket, ids: Tensor, stride: int) -> Scores:
    """XPrompt's scores of a cartridge's tokens, by how it predicts the tokens Int[T] behind it."""
    row = ids.tolist()
    examples = [
        Encoded(number, tuple(row[:start]), (tuple(row[start : start + stride]),), 0)
        for number, start in enumerate(range(stride, len(row), stride))
    ]
    (by_name,) = all_scores([ticket], model, scoring_batches(model, examples))
    return by_name["absolute"]


def masks_of(scores: Scores, count: int, seed: int) -> dict[str, Mask]:
    """Which tokens are kept, by name: equally many each time but for the whole."""
    tokens, pieces = scores.piece.shape
    order = torch.arange(tokens).float()
    random = torch.rand(tokens, generator=generator("cartridge", seed))
    ranks = {"random": random, "the last": order, "the first": -order}
    ranks |= {f"{name}, and the first token": rank.index_fill(0, torch.tensor([0]), math.inf) for name, rank in
              (("random", random), ("the last", order))}  # fmt: skip
    whole, keep = Mask.full(tokens, pieces), Keep(count, pieces)
    kept = {name: prune_mask(whole, replace(scores, token=rank), keep) for name, rank in ranks.items()}
    return {WHOLE: whole, SCORED: prune_mask(whole, scores, keep), **kept}


def losses_of(model: PrefixDecoder, text: str, ids: Tensor, lengths: Lengths, kept: int, seed: int) -> Losses:
    """Nats a predicted token of one text, by name of what stands before it."""
    behind = ids[lengths.cartridge :]
    ticket = imported(model, text, lengths.cartridge)
    scores = scores_of(model, ticket, behind[: lengths.scoring], lengths.stride)
    tickets = {name: replace(ticket, mask=mask) for name, mask in masks_of(scores, kept, seed).items()}
    with torch.no_grad():
        bare = model.model(input_ids=behind[None]).logits
        logits = {NOTHING: bare} | {name: text_logits(part, model, behind) for name, part in tickets.items()}
        logits[BY_PEFT] = _by_peft(model, tickets[SCORED], behind)
    return {name: _loss(values[0], behind, lengths.scoring) for name, values in logits.items()}


def _by_peft(model: PrefixDecoder, ticket: Ticket, ids: Tensor) -> Tensor:
    import peft

    with tempfile.TemporaryDirectory() as folder:
        for name, content in export.adapter_files(ticket, model, export.TicketInfo(prefix="CARTRIDGE")).items():
            (Path(folder) / name).write_bytes(content)
        adapted = peft.PeftModel.from_pretrained(model.model, folder).eval()
        logits: Tensor = adapted(input_ids=ids[None], attention_mask=torch.ones_like(ids)[None]).logits
        return logits[:, -len(ids) :]


def _loss(logits: Tensor, ids: Tensor, start: int) -> float:
    return float(torch.nn.functional.cross_entropy(logits[start - 1 : -1], ids[start:]))


def page_table(losses: list[Losses], lengths: Lengths, kept: int) -> str:
    """A row for each thing that stood before the texts: perplexity, and nats more than behind the best by score."""
    rows = []
    for name in losses[0]:
        mean, low, high = mean_interval([each[name] - each[SCORED] for each in losses])
        size = {NOTHING: 0, WHOLE: lengths.cartridge}.get(name, kept)
        perplexity = math.exp(fmean(each[name] for each in losses))
        above = "" if name == SCORED else f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"
        rows.append([name, str(size), f"{perplexity:.2f}", above])
    return table(["before the text", "tokens", "perplexity", "nats a token above the best by score [95 %]"], rows)


def main(
    model: Annotated[str, typer.Option(help="a decoder")],
    texts: Annotated[Path, typer.Option(help="folder of MultiRC's JSON lines")],
    count: Annotated[int, typer.Option(help="texts at most")] = 20,
    part: Annotated[float, typer.Option(help="that is kept")] = 0.25,
    threads: Annotated[int, typer.Option(help="of torch")] = 2,
    out: Annotated[Path | None, typer.Option(help="page to write")] = None,
) -> None:
    """Measure and print the page."""
    torch.set_num_threads(threads)
    bone, lengths = load(model, position="prefix-kv"), Lengths()
    assert isinstance(bone, PrefixDecoder)
    kept = round(part * lengths.cartridge)
    chosen = list(texts_of(texts, bone.tokenizer, lengths))[:count]
    losses = [
        losses_of(bone, text, ids, lengths, kept, seed) for seed, (text, ids) in enumerate(tqdm(chosen, unit="text"))
    ]
    facts = {
        "command": command("cartridge"),
        **machine(threads, "cpu"),
        "model": f"{Path(model).name}, float32",
        "texts": f"{len(chosen)} of MultiRC: {lengths.cartridge} tokens of each in the cartridge, the next "
        f"{lengths.scoring} score it, the next {lengths.predicted} are predicted; nothing is trained",
    }
    publish("Pruning a cartridge that PEFT made", facts, [page_table(losses, lengths, kept)], out)


if __name__ == "__main__":
    typer.run(main)
