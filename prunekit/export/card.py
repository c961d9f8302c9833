"""The README of an exported adapter: what it is, and the few lines that use it, without prunekit."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prunekit.export.side_file import SIDE, TicketInfo
from prunekit.pruning.ticket import Ticket
from prunekit.tasks.decoding import Decoding

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
about = json.loads((folder / "{side}").read_text())["about"]
tokenizer = AutoTokenizer.from_pretrained({base}{revision})
base = {cls}.from_pretrained({base}{revision}{labels}, dtype=torch.float32)
model = PeftModel.from_pretrained(base, folder).eval()
"""

# texts and answers are read as `models.encoding` reads them; a test compares the two
_TEXT = '''

def read(text):
    return tokenizer(text, add_special_tokens=False, split_special_tokens=about["plain"]).input_ids


def fitted(fields, answer_tokens):
    """Fields and the tokens of their text; as in training, the longest field loses its end where there is no room."""
    fields = {name: str(fields[name]) for name in about["fields"]}
    room = max(0, min(about["max_input_tokens"], about["beside_prompt"] - answer_tokens))
    while True:
        ids = read(about["template"].format_map(fields){strip})
        excess = len(about["opening"] + ids + about["closing"]) - room
        if excess <= 0:
            return fields, ids
        name = max(fields, key=lambda each: len(fields[each]))
        options = dict(add_special_tokens=False, split_special_tokens=about["plain"], return_offsets_mapping=True)
        offsets = tokenizer(fields[name], **options).offset_mapping
        cut = fields[name][: offsets[-excess][0]] if excess <= len(offsets) else ""
        if cut == fields[name]:
            raise ValueError(f"the template alone takes more than the {room} tokens there are for the text")
        fields[name] = cut
'''

_BEHIND = '''

def tokens(fields, choices):
    """Of a text, and of each choice as the tokenizer reads it behind that text."""
    answer_tokens = max(len(read(choice)) for choice in choices)
    while True:
        fields, ids = fitted(fields, answer_tokens)
        text, answers = about["template"].format_map(fields), []
        for choice in choices:
            blank = about["separator"] == " " and (text[-1:].isspace() or choice[:1].isspace())
            answers.append(read(text + ("" if blank else about["separator"]) + choice)[len(ids):])
        answer_tokens = max(map(len, answers))
        if len(about["opening"] + ids + about["closing"]) + answer_tokens <= about["beside_prompt"]:
            return about["opening"] + ids, answers
'''

_APART = '''

def tokens(fields, choices):
    """Of a text, and of each choice as the model was trained to write it, in a decoder of its own."""
    answers = tokenizer(text_target=list(choices), split_special_tokens=about["plain"]).input_ids
    _, ids = fitted(fields, 0)
    return about["opening"] + ids + about["closing"], answers
'''

_BY_WORDS = '''

@torch.no_grad()
def scores(fields, choices=about["choices"]):
    """The log-probability of each choice; one row at a time, since PEFT answers padded rows otherwise."""
    text, answers = tokens(fields, choices)
    totals = []
    for ids in answers:
        row = torch.tensor([{row}])
        logits = model(input_ids=row, attention_mask=torch.ones_like(row){more}).logits[{places}]
        totals.append(float(logits.log_softmax(-1)[range(len(ids)), ids].{total}()))
    return totals
'''

_BY_HEAD = '''

@torch.no_grad()
def scores(fields, choices=about["choices"]):
    """The logit of each choice; one row at a time, since PEFT answers padded rows otherwise."""
    _, ids = fitted(fields, 0)
    row = torch.tensor([about["opening"] + ids + about["closing"]])
    return model(input_ids=row, attention_mask=torch.ones_like(row)).logits[0].tolist()
'''

# each row holds the text and one of its choices, before the closing tokens, and has one logit
_BY_ROWS = '''

@torch.no_grad()
def scores(fields, choices):
    """The logit of each choice; one row at a time, since PEFT answers padded rows otherwise."""
    text, answers = tokens(fields, choices)
    rows = [torch.tensor([text + ids + about["closing"]]) for ids in answers]
    return [float(model(input_ids=row, attention_mask=torch.ones_like(row)).logits) for row in rows]
'''

_ANSWER = '''

def answer(fields, choices=about["choices"]):
    """The index of the answer among the choices."""
    values = scores(fields, choices)
    return max(range(len(values)), key=values.__getitem__)
'''

_WRITE = '''

@torch.no_grad()
def write(fields):
    """What the model writes; one row at a time, since PEFT answers padded rows otherwise."""
    how = about["decoding"]
    _, ids = fitted(fields, {beside})
    row = torch.tensor([about["opening"] + ids + about["closing"]])
    length = dict(max_new_tokens=how["max_tokens"], min_length=0, eos_token_id=about["ends"] or None)
    search = dict({options})
    written = model.generate(input_ids=row, attention_mask=torch.ones_like(row), **length, **search)[0{behind}]
    text = tokenizer.decode(written, skip_special_tokens=True, clean_up_tokenization_spaces=False).lstrip()
    ends = [text.find(stop) for stop in how["stop"] if stop in text]
    return text[: min(ends, default=len(text))].strip()
'''


def card(kind: str, ticket: Ticket, info: TicketInfo, folder: str = ".") -> str:
    """Markdown with the front matter that the Hub reads."""
    mask = ticket.mask
    cells = f"{mask.tokens} of {len(mask.token)} tokens, {mask.cells} of {mask.piece.numel()} pieces in all"
    lines = ["---", "library_name: peft", "tags: [prompt-tuning, prunekit]"]
    lines += [f"base_model: {json.dumps(info.model)}"] if info.model and not Path(info.model).exists() else []
    lines += ["---", "", f"# A soft prompt for {_plain(info.task or 'an unknown task')}", ""]
    lines += [f"Trained and pruned by prunekit: {cells}; round {ticket.round}, seed {ticket.seed}.", ""]
    lines += [_row("template", info.template)] if info.template else []
    lines += [_row("answers", ", ".join(info.choices))] if info.choices else []
    lines += [_row("what is written", info.target)] if info.target else []
    lines += [_row("how", Decoding(**info.decoding).in_words)] if info.decoding else []
    lines += [_row(f"test {_plain(name)}", f"{value:.4f}") for name, value in info.metrics.items()]
    lines += ["", f"`{SIDE}` holds everything else about it. It needs PEFT and transformers:", "", "```python"]
    lines += [code(kind, ticket, info, folder).rstrip(), "```", ""]
    fields = ", ".join(f'"{name}": "..."' for name in info.fields)
    if info.template and info.decoding:
        lines += [f"`write({{{fields}}})` is the answer, as text.", ""]
    elif info.template:
        choices = "" if info.choices else ', ["...", "..."]'
        source = "list above" if info.choices else "given choices"
        lines += [
            f"`answer({{{fields}}}{choices})` is the index of the answer in the {source}; "
            "`scores` gives the score of each.",
            "",
        ]
    return "\n".join(lines)


def code(kind: str, ticket: Ticket, info: TicketInfo, folder: str = ".") -> str:
    """Lines of Python that load the adapter and, where the task is known, define `scores` and `answer`, or `write`."""
    cls = _CLASSES[kind]
    opening: Mapping[str, str] = {
        "cls": cls,
        "imports": ", ".join(sorted(("AutoTokenizer", cls))),
        "folder": folder,
        "side": SIDE,
        "base": json.dumps(info.model or "the/model", ensure_ascii=False),
        "revision": f", revision={json.dumps(info.revision, ensure_ascii=False)}" if info.revision else "",
        # a checkpoint's own head may be of another task
        "labels": f", num_labels={len(ticket.head['bias'])}, ignore_mismatched_sizes=True" if ticket.head else "",
    }
    text = _OPENING.format_map(opening)
    return text if info.template is None else text + _answering(kind, info)


def _answering(kind: str, info: TicketInfo) -> str:
    """The functions that answer, as this family does."""
    own_choices, causal = info.choices is None, kind == "CAUSAL_LM"
    if info.decoding:
        behind = ".rstrip()" if causal and not info.chat else ""
        filling = {
            "{strip}": behind,
            "{options}": _options(info.decoding),
            "{beside}": 'how["max_tokens"]' if causal else "0",
            "{behind}": ", row.shape[1] :" if causal else "",
        }
        return _filled(_TEXT + _WRITE, filling)
    if kind == "SEQ_CLS":
        parts = [_TEXT, _BEHIND, _BY_ROWS] if own_choices else [_TEXT, _BY_HEAD]
    else:
        parts = [_TEXT, _BEHIND if causal else _APART, _BY_WORDS]
    replacements = {
        # what a text ends in, an answer begins with, unless it is an assistant's
        "{strip}": ".rstrip()" if _BEHIND in parts and not info.chat else "",
        "{row}": "text + ids" if causal else "text",
        "{more}": "" if causal else ", labels=torch.tensor([ids])",
        "{places}": "0, -len(ids) - 1 : -1" if causal else "0",
        "{total}": "sum" if info.ranking == "sum" else "mean",
        'choices=about["choices"]': "choices" if own_choices else 'choices=about["choices"]',
    }
    return _filled("".join([*parts, _ANSWER]), replacements)


def _filled(text: str, replacements: Mapping[str, str]) -> str:
    for name, part in replacements.items():
        text = text.replace(name, part)
    return text


def _options(decoding: Mapping[str, Any]) -> str:
    """How `generate` is to search, whatever the model's own settings are."""
    if decoding["temperature"]:
        return 'do_sample=True, temperature=how["temperature"], top_p=how["top_p"], top_k=0'
    return 'do_sample=False, num_beams=how["beams"], length_penalty=1.0, early_stopping=False'


def _row(name: str, value: str) -> str:
    """A line of a Markdown list; the value stays one code span, whatever it holds."""
    text = _plain(value)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if len(fence) > 1 else ""
    return f"- {name}: {fence}{space}{text}{space}{fence}"


def _plain(text: str) -> str:
    """The text in one line, line ends and control characters as escapes."""
    return json.dumps(text, ensure_ascii=False)[1:-1].replace('\\"', '"')
