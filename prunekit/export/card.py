"""The README of an exported adapter: what it is, and the few lines that use it, without prunekit."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from prunekit.export.flat import SIDE, Story
from prunekit.tasks.example import placeholders
from prunekit.tickets import Ticket

_CLASSES = {
    "CAUSAL_LM": "AutoModelForCausalLM",
    "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM",
    "SEQ_CLS": "AutoModelForSequenceClassification",
}

_OPENING = """import json
from pathlib import Path

import torch
from peft import PeftModel
from transformers import AutoTokenizer, {cls}

folder = Path("{folder}")
about = json.loads((folder / "{side}").read_text())["story"]
tokenizer = AutoTokenizer.from_pretrained({base}{revision})
base = {cls}.from_pretrained({base}{revision}{labels}, dtype=torch.float32)
model = PeftModel.from_pretrained(base, folder).eval()
"""

_BY_WORDS = '''

@torch.no_grad()
def answer(fields, choices=about["choices"]):
    """The place of the likeliest choice; one row at a time, since PEFT answers padded rows otherwise."""
    text = tokenizer(about["template"].format_map(fields), return_tensors="pt").input_ids
    scores = []
    for choice in choices:
        ids = torch.tensor([answer_ids(choice)])
{score}
        scores.append(-float(loss){total})
    return max(range(len(scores)), key=scores.__getitem__)
'''

_CAUSAL_IDS = """

def answer_ids(choice):
    before = tokenizer(":", add_special_tokens=False).input_ids
    return tokenizer(f": {choice}", add_special_tokens=False).input_ids[len(before):]
"""

_CAUSAL_SCORE = """        row = torch.cat([text, ids], dim=1)
        labels = torch.cat([torch.full_like(text, -100), ids], dim=1)
        loss = model(input_ids=row, attention_mask=torch.ones_like(row), labels=labels).loss"""

_SEQ2SEQ_IDS = """

def answer_ids(choice):
    return tokenizer(text_target=choice).input_ids
"""

_SEQ2SEQ_SCORE = """        loss = model(input_ids=text, attention_mask=torch.ones_like(text), labels=ids).loss"""

_BY_HEAD = '''

@torch.no_grad()
def answer(fields):
    """The place of the chosen answer; one row at a time, since PEFT answers padded rows otherwise."""
    row = tokenizer(about["template"].format_map(fields), return_tensors="pt")
    return int(model(**row).logits.argmax())
'''


def card(kind: str, ticket: Ticket, story: Story, folder: str = ".") -> str:
    """Markdown with the front matter that the Hub reads."""
    mask = ticket.mask
    cells = f"{mask.tokens} of {len(mask.token)} tokens, {mask.cells} of {mask.piece.numel()} pieces in all"
    lines = ["---", "library_name: peft", "tags: [prompt-tuning, prunekit]"]
    lines += [f"base_model: {json.dumps(story.model)}"] if story.model and not Path(story.model).exists() else []
    lines += ["---", "", f"# A soft prompt for {_plain(story.task or 'an unknown task')}", ""]
    lines += [f"Trained and pruned by prunekit: {cells}; round {ticket.round}, seed {ticket.seed}.", ""]
    lines += [_row("template", story.template)] if story.template else []
    lines += [_row("answers", ", ".join(story.choices))] if story.choices else []
    lines += [_row(f"report {_plain(name)}", f"{value:.4f}") for name, value in story.metrics.items()]
    lines += ["", f"`{SIDE}` tells the rest. It needs PEFT and transformers:", "", "```python"]
    lines += [code(kind, ticket, story, folder).rstrip(), "```", ""]
    if story.template:
        fields = ", ".join(f'"{name}": "..."' for name in placeholders(story.template))
        lines += [f"`answer({{{fields}}})` is the place of an answer in the list above.", ""]
    if kind == "SEQ_CLS" and story.choices is None:
        lines += ["Each row holds a text and one of its choices, and has one logit; the largest is the answer.", ""]
    return "\n".join(lines)


def code(kind: str, ticket: Ticket, story: Story, folder: str = ".") -> str:
    """Lines of Python that load the adapter and define `answer`."""
    labels = f", num_labels={len(ticket.head['bias'])}" if ticket.head else ""
    revision = f", revision={json.dumps(story.revision)}" if story.revision else ""
    opening: Mapping[str, str] = {
        "cls": _CLASSES[kind],
        "folder": folder,
        "side": SIDE,
        "base": json.dumps(story.model or "the/model", ensure_ascii=False),
        "revision": revision,
        "labels": labels,
    }
    text = _OPENING.format_map(opening)
    if kind == "SEQ_CLS":
        return text + _BY_HEAD
    ids, score = (_CAUSAL_IDS, _CAUSAL_SCORE) if kind == "CAUSAL_LM" else (_SEQ2SEQ_IDS, _SEQ2SEQ_SCORE)
    total = " * ids.shape[1]" if story.ranking == "sum" else ""  # the loss is a mean over the answer's tokens
    return text + ids + _BY_WORDS.replace("{score}", score).replace("{total}", total)


def _row(name: str, value: str) -> str:
    """A line of a list; what a stranger wrote stays one piece of text in it, whatever it holds."""
    shown = _plain(value)
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    space = " " if len(fence) > 1 else ""
    return f"- {name}: {fence}{space}{shown}{space}{fence}"


def _plain(text: str) -> str:
    """The text in one line, line ends and control characters as escapes."""
    return json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', '"')
