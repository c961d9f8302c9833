"""The README of an exported adapter: what it is, and the few lines that use it, without prunekit."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from prunekit.export.flat import SIDE, Story
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
from transformers import {imports}

folder = Path("{folder}")
about = json.loads((folder / "{side}").read_text())["story"]
tokenizer = AutoTokenizer.from_pretrained({base}{revision})
base = {cls}.from_pretrained({base}{revision}{labels}, dtype=torch.float32)
model = PeftModel.from_pretrained(base, folder).eval()
"""

# the same cut as `backbones.base.Backbone` makes: a test holds the two together
_TEXT = '''

def text_ids(fields, answers):
    """A text's tokens; as in training, the longest field loses its end where text and answer would not fit."""
    room = min(about["max_input_tokens"], about["beside_prompt"] - max(map(len, answers)))
    fields = {name: str(fields[name]) for name in about["fields"]}
    while len(ids := tokenizer(about["template"].format_map(fields)).input_ids) > room:
        name = max(fields, key=lambda each: len(fields[each]))
        found = tokenizer(fields[name], add_special_tokens=False, return_offsets_mapping=True).offset_mapping
        over = len(ids) - room
        short = fields[name][: found[-over][0]] if over <= len(found) else ""
        if short == fields[name]:
            raise ValueError(f"the template alone takes more than the {room} tokens there are for the text")
        fields[name] = short
    return ids
'''

_CAUSAL_IDS = """

def answer_ids(choice):
    before = tokenizer(":", add_special_tokens=False).input_ids
    return tokenizer(f": {choice}", add_special_tokens=False).input_ids[len(before):]
"""

_SEQ2SEQ_IDS = """

def answer_ids(choice):
    return tokenizer(text_target=choice).input_ids
"""

_HEAD_IDS = """

def answer_ids(choice):
    return tokenizer(choice, add_special_tokens=False).input_ids
"""

_BY_WORDS = '''

@torch.no_grad()
def scores(fields, choices=about["choices"]):
    """The log-probability of each choice; one row at a time, since PEFT answers padded rows otherwise."""
    answers, found = [answer_ids(choice) for choice in choices], []
    text = text_ids(fields, answers)
    for ids in answers:
        row = torch.tensor([{row}])
        logits = model(input_ids=row, attention_mask=torch.ones_like(row){more}).logits[{places}]
        found.append(float(logits.log_softmax(-1)[range(len(ids)), ids].{total}()))
    return found
'''

_BY_HEAD = '''

@torch.no_grad()
def scores(fields, choices=about["choices"]):
    """The logit of each choice; one row at a time, since PEFT answers padded rows otherwise."""
    row = torch.tensor([text_ids(fields, [answer_ids(choice) for choice in choices])])
    return model(input_ids=row, attention_mask=torch.ones_like(row)).logits[0].tolist()
'''

# each row holds the text and one of its choices, before the closing token, and has one logit
_BY_ROWS = '''

@torch.no_grad()
def scores(fields, choices):
    """The logit of each choice; one row at a time, since PEFT answers padded rows otherwise."""
    answers = [answer_ids(choice) for choice in choices]
    text = text_ids(fields, answers)
    rows = [torch.tensor([text[:-1] + ids + text[-1:]]) for ids in answers]
    return [float(model(input_ids=row, attention_mask=torch.ones_like(row)).logits) for row in rows]
'''

_ANSWER = '''

def answer(fields, choices=about["choices"]):
    """The place of the answer among the choices."""
    found = scores(fields, choices)
    return max(range(len(found)), key=found.__getitem__)
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
        fields = ", ".join(f'"{name}": "..."' for name in story.fields)
        choices = "" if story.choices else ', ["...", "..."]'
        among = "list above" if story.choices else "given choices"
        lines += [
            f"`answer({{{fields}}}{choices})` is the place of an answer in the {among}, `scores` tells of each.",
            "",
        ]
    return "\n".join(lines)


def code(kind: str, ticket: Ticket, story: Story, folder: str = ".") -> str:
    """Lines of Python that load the adapter and, where the task is known, define `scores` and `answer`."""
    cls = _CLASSES[kind]
    opening: Mapping[str, str] = {
        "cls": cls,
        "imports": ", ".join(sorted(("AutoTokenizer", cls))),
        "folder": folder,
        "side": SIDE,
        "base": json.dumps(story.model or "the/model", ensure_ascii=False),
        "revision": f", revision={json.dumps(story.revision, ensure_ascii=False)}" if story.revision else "",
        # a checkpoint's own head may be of another task
        "labels": f", num_labels={len(ticket.head['bias'])}, ignore_mismatched_sizes=True" if ticket.head else "",
    }
    text = _OPENING.format_map(opening)
    return text if story.template is None else text + _answering(kind, story)


def _answering(kind: str, story: Story) -> str:
    """The functions that answer, as this family does."""
    if kind == "SEQ_CLS":
        return _defaults(_TEXT + _HEAD_IDS + (_BY_HEAD if story.choices else _BY_ROWS) + _ANSWER, story)
    causal = kind == "CAUSAL_LM"
    parts = {
        "{row}": "text + ids" if causal else "text",
        "{more}": "" if causal else ", labels=torch.tensor([ids])",
        "{places}": "0, -len(ids) - 1 : -1" if causal else "0",
        "{total}": "sum" if story.ranking == "sum" else "mean",
    }
    by_words = _BY_WORDS
    for name, part in parts.items():
        by_words = by_words.replace(name, part)
    return _defaults(_TEXT + (_CAUSAL_IDS if causal else _SEQ2SEQ_IDS) + by_words + _ANSWER, story)


def _defaults(text: str, story: Story) -> str:
    """Where each row has its own choices there are none by default."""
    return text if story.choices else text.replace('choices=about["choices"]', "choices")


def _row(name: str, value: str) -> str:
    """A line of a list; what a stranger wrote stays one piece of text in it, whatever it holds."""
    shown = _plain(value)
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    space = " " if len(fence) > 1 else ""
    return f"- {name}: {fence}{space}{shown}{space}{fence}"


def _plain(text: str) -> str:
    """The text in one line, line ends and control characters as escapes."""
    return json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', '"')
