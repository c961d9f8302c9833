"""The page of all architectures: docs/how-to/models.md, made from the results."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.families.catalogue import FAMILIES
from benchmarks.families.measure import BAR, Outcome, Result
from benchmarks.page import table

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "models.md"
RESULTS = ROOT / "benchmarks" / "results" / "families.json"
COMMAND = "python -m benchmarks.families --page"

_TITLES = {"decoder": "Decoders", "encoder-decoder": "Encoder-decoders", "encoder": "Encoders"}
_ORDER: tuple[Outcome, ...] = ("WRONG", "CRASH", "works", "works one by one", "refused", "not tried")
_MEANING: Mapping[Outcome, str] = {
    "works": "every check holds, whatever stands side by side",
    "works one by one": "every check holds; what may not share a forward pass goes apart, which takes longer",
    "refused": "prunekit says at load why the model cannot be used, in the line that the table repeats",
    "not tried": "transformers itself does not make or run a small model of it here, for the reason it gives",
    "WRONG": "prunekit answers otherwise than the model, without a word: a fault",
    "CRASH": "an error that prunekit does not explain: a fault",
}
_INTRODUCTION = f"""# Which models work

This page is written by `{COMMAND}`, for every architecture that transformers maps to a causal language model, a
sequence-to-sequence model or a text encoder. Of each a tiny model is made with random weights, large ones, so that a
fault shows. prunekit loads it, and its answers are compared with those of the plain model. For that the prompt is made
of the embeddings of some words: the model with that prompt must say what it says by itself to those words and the text,
given as ids, row by row and without padding. Answers must agree to {BAR:g} of the largest logit in float32: one row
alone, rows of unequal length beside each other, and prompts of unequal length beside each other. Then every verb is
tried: prune, a search with `--width 1` and `--width 8` that must choose the same, score, attach, and export into PEFT.

What works here works in its architecture. A checkpoint is still tried when it is loaded ([Your model](model.md)).
"""


def counted(results: Sequence[Result]) -> str:
    """How many came to what, in one line."""
    counts = Counter(result.outcome for result in results)
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in _ORDER if counts[outcome])


def page(results: Sequence[Result], facts: Mapping[str, str]) -> str:
    """The whole page.

    Args:
        facts: what it was measured with, as versions.
    """
    counts = Counter(result.outcome for result in results)
    parts = [_INTRODUCTION.rstrip(), "\n".join(f"- {name}: {value}" for name, value in facts.items())]
    verbs = sum(result.verbs for result in results)
    parts.append(f"The comparison was made on all that work, the verbs were tried on {verbs} of them.")
    rows = [[outcome, counts[outcome], _MEANING[outcome]] for outcome in _ORDER if counts[outcome]]
    parts.append(table(["outcome", "architectures", "which means"], rows))
    for family in FAMILIES:
        of_family = [result for result in results if result.family == family]
        if of_family:
            parts += [f"## {_TITLES[family]}", table(["architecture", "outcome", "why", "into PEFT"], _rows(of_family))]
    return "\n\n".join(parts) + "\n"


def publish(results: Sequence[Result], facts: Mapping[str, str]) -> None:
    """Write the page, and the figures behind it."""
    PAGE.write_text(page(results, facts), encoding="utf-8")
    figures = [{name: value for name, value in asdict(result).items() if name != "trace"} for result in results]
    RESULTS.write_text(json.dumps({"facts": dict(facts), "architectures": figures}, indent=1) + "\n", encoding="utf-8")


def _rows(results: Sequence[Result]) -> list[list[str]]:
    ordered = sorted(results, key=lambda result: (_ORDER.index(result.outcome), result.kind))
    return [[result.kind, result.outcome, _cell(_reason(result)), _cell(result.export)] for result in ordered]


def _reason(result: Result) -> str:
    """Why it is not simply right, of every place that the prompt can have."""
    positions = [
        f"{position}: {what}" for position, what in result.positions.items() if what not in ("works", result.reason)
    ]
    return "; ".join(part for part in [result.reason, *positions] if part)


def _cell(text: str) -> str:
    """Text that a Markdown table holds: no line breaks, no bars, no tags, no addresses."""
    return " ".join(text.replace("|", "/").replace("<", "&lt;").replace(">", "&gt;").replace("://", ": //").split())
